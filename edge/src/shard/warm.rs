//! Looks ahead at what arrived, so that the memory for it is there when its turn comes.
//!
//! Purpose: with ten thousand users and more the records of the next message lie in no cache:
//! connection, session, user, publisher, subscription, channel. The records of several
//! completions are asked for level by level, so that their waits for main memory overlap.
//!
//! Invariants: nothing is decided here, and an index that is stale by the time of its event does
//! no harm; a turn takes no more because of it than one full completion would bring.
//!
//! Thread: the shard.

use interlink_uring::{Event, Kernel};

use super::connection::NONE;
use super::Shard;
use crate::memory::prefetch;

/// Completions that are looked at together.
const LOOK_AHEAD: usize = 16;
/// Bytes after which no further completion is looked at: as much as one of them holds at most.
const LOOK_AHEAD_BYTES: usize = 4096;

/// Fills `ahead` with the next completions.
pub fn look_ahead<K: Kernel>(kernel: &mut K, ahead: &mut Vec<Event>) {
    let mut bytes_ahead = 0;
    while ahead.len() < LOOK_AHEAD && bytes_ahead < LOOK_AHEAD_BYTES {
        let Some(event) = kernel.next_event() else {
            return;
        };
        if let Event::Received { bytes, .. } = &event {
            bytes_ahead += bytes.len();
        }
        ahead.push(event);
    }
}

impl Shard {
    /// Asks for the records that `events` will touch, level by level: what a record points at is
    /// asked for when the record has come.
    pub(super) fn warm(&self, events: &[Event]) {
        let mut sessions = [NONE; LOOK_AHEAD];
        for event in events {
            if let Event::Received { socket, .. } = event {
                self.connections.prefetch(*socket);
            }
        }
        for (session, event) in sessions.iter_mut().zip(events) {
            if let Event::Received { socket, .. } = event {
                let connection = self.connections.find(*socket);
                *session = connection.map_or(NONE, |at| self.connections[at].session);
                self.sessions.prefetch(*session);
            }
        }
        let live = sessions.iter().filter_map(|&at| self.sessions.get(at));
        for session in live.clone() {
            self.users.prefetch(session.user);
            self.publishers.prefetch(session.publisher);
            self.subscriptions.prefetch(session.subscriptions);
        }
        for session in live.clone() {
            if let Some(user) = self.users.get(session.user) {
                prefetch(&*user.name);
                prefetch(user.claims.bytes());
            }
            if let Some(publisher) = self.publishers.get(session.publisher) {
                self.channels.prefetch(publisher.last_channel);
                publisher.window.classes().for_each(prefetch);
            }
            if let Some(subscription) = self.subscriptions.get(session.subscriptions) {
                self.channels.prefetch(subscription.channel);
            }
        }
        for session in live {
            let Some(publisher) = self.publishers.get(session.publisher) else {
                continue;
            };
            let windows = publisher.window.classes();
            windows
                .filter_map(|window| window.newest())
                .for_each(prefetch);
            if let Some(channel) = self.channels.get(publisher.last_channel) {
                prefetch(&*channel.name);
                self.logs.prefetch(channel);
            }
        }
    }
}
