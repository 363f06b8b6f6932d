//! Presence: who has a subscription with a connection, where somebody wants to know.
//!
//! Purpose: a user is present in a channel while one of the user's sessions subscribes to it and
//! has a connection, and for a grace afterwards. Each shard plays up to three parts for a channel:
//!
//! - `told`, home of subscribers: counts devices of its users in channels that an owner asks for;
//! - `owned`, owner of the channel: keeps the table of the scope
//!   ([`interlink_relay::presence`]), which joins the shards, waits for the grace and makes pages
//!   and changes;
//! - `watched` and `asked`, home of those who want to know: hand changes and pages to connections.
//!
//! In a cluster `elsewhere` carries what the tables of owners on different nodes tell each other.
//!
//! Nobody counts anything in a channel whose presence nobody asks for.
//!
//! Full: tables of a shard are charged to `presence.bytes_per_shard`. A scope without room is
//! answered `overloaded`; who watches it hears of it again when there is room. To a connection
//! that does not read the count is told later, in the place of changes.
//!
//! Thread: the shard.

mod asked;
mod elsewhere;
pub mod limits;
pub mod messages;
mod owned;
#[cfg(test)]
mod tests;
mod told;
mod watched;

use std::collections::VecDeque;

use interlink_protocol::priority::Priority;
use interlink_relay::presence::{ClusterCounts, PresenceRules, PresenceTable};

use super::mesh::Message;
use super::Shard;
use crate::config::Config;
use asked::Asked;
use elsewhere::Elsewhere;
use limits::{MESSAGES_PER_TURN, USERS_PER_TURN};
use messages::PresenceMessage;
use owned::Owned;
use told::Told;
use watched::Watched;

/// Class of everything about presence.
const CLASS: Priority = Priority::P2;

/// A shard's part of presence.
#[derive(Debug)]
pub struct Presence {
    /// Messages that are taken in this turn or the next ones, also those to itself.
    inbox: VecDeque<PresenceMessage>,
    owned: Owned,
    told: Told,
    watched: Watched,
    asked: Asked,
    elsewhere: Elsewhere,
    bytes_max: usize,
}

impl Presence {
    /// Nobody asks for anything yet.
    pub fn new(config: &Config, shards: u16) -> Self {
        let settings = &config.presence;
        let bytes_max = settings.bytes_per_shard.0 as usize;
        let ms = |time: std::time::Duration| time.as_millis() as u64;
        let table = PresenceTable::new(PresenceRules {
            sources: shards,
            is_clustered: config.is_clustered(),
            grace_ms: ms(settings.grace),
            interval_ms: ms(settings.change_interval),
            // Half for the scopes of which the shard is owner, half for its own users.
            bytes_max: bytes_max / 2,
        });
        Self {
            inbox: VecDeque::new(),
            owned: Owned::new(table),
            told: Told::default(),
            watched: Watched::default(),
            asked: Asked::default(),
            elsewhere: Elsewhere::default(),
            bytes_max,
        }
    }

    /// Whether another turn has something to do at once.
    pub fn has_work(&self) -> bool {
        !self.inbox.is_empty()
            || self.owned.has_work()
            || self.told.has_work()
            || self.watched.has_work()
            || self.elsewhere.has_frames()
            || (self.elsewhere.may_send() && self.owned.table.has_messages())
    }

    /// Shard millisecond at which something is due.
    pub fn next_due_ms(&self) -> Option<u32> {
        let owned = self.owned.next_due_ms();
        owned.into_iter().chain(self.watched.next_due_ms()).min()
    }

    /// Bytes of all tables, as the limit counts them.
    pub fn bytes(&self) -> usize {
        self.owned.table.bytes() + self.local_bytes()
    }

    /// Scopes and users of which the shard is owner.
    pub fn owned(&self) -> (usize, usize) {
        (self.owned.table.scopes(), self.owned.table.members())
    }

    /// What happened between this shard and other nodes.
    pub fn between_nodes(&self) -> ClusterCounts {
        self.owned.table.cluster_counts()
    }

    fn local_bytes(&self) -> usize {
        self.told.bytes() + self.watched.bytes()
    }

    /// Whether there is room for so many more bytes about own users.
    fn has_room(&self, bytes: usize) -> bool {
        self.local_bytes() + bytes <= self.bytes_max / 2
    }
}

impl Shard {
    /// Takes a message of another shard.
    pub(super) fn on_presence(&mut self, message: PresenceMessage) {
        match message {
            PresenceMessage::Frame(frame) => self.on_node_frame(frame),
            PresenceMessage::FrameEnded => self.on_frame_ended(),
            message => self.presence.inbox.push_back(message),
        }
    }

    fn send_presence(&mut self, to: u16, message: PresenceMessage) {
        if to == self.id {
            return self.presence.inbox.push_back(message);
        }
        let message = Message::Presence(Box::new(message));
        self.mesh.send(to, CLASS, message);
    }

    /// Does what a turn may do for presence.
    pub(super) fn keep_presence(&mut self) {
        let now_ms = self.clock.now_ms;
        let is_due = self.presence.next_due_ms().is_some_and(|at| at <= now_ms);
        if !is_due && !self.presence.has_work() {
            return;
        }
        self.take_presence_messages();
        self.hear_nodes();
        self.count_members();
        self.tell_devices();
        self.keep_scopes();
        self.tell_nodes();
        self.give_pages();
        self.tell_watchers();
    }

    fn take_presence_messages(&mut self) {
        let mut users = 0;
        for _ in 0..MESSAGES_PER_TURN {
            let Some(message) = self.presence.inbox.pop_front() else {
                return;
            };
            if let PresenceMessage::Told { users: told, .. } = &message {
                users += told.len();
            }
            self.take_presence(message);
            if users >= USERS_PER_TURN {
                return;
            }
        }
    }

    fn take_presence(&mut self, message: PresenceMessage) {
        match message {
            PresenceMessage::Watch { shard, scope } => self.on_watch(shard, &scope),
            PresenceMessage::Unwatch { shard, scope } => self.on_unwatch(shard, &scope),
            PresenceMessage::Ask(ask) => self.on_ask(ask),
            PresenceMessage::Told {
                shard,
                round,
                users,
                is_complete,
            } => self.on_told(shard, round, &users, is_complete),
            PresenceMessage::NoRoom { round } => self.presence.owned.table.refuse(round),
            PresenceMessage::Tell { round, scope } => self.on_tell(round, &scope),
            PresenceMessage::Rest { round, scope } => self.on_rest(round, &scope),
            PresenceMessage::Changed {
                scope,
                count,
                frame,
            } => self.on_changed(&scope, count, frame),
            PresenceMessage::Dropped { scope } => self.on_dropped(&scope),
            PresenceMessage::Answer(answer) => self.on_presence_answer(&answer),
            PresenceMessage::Cluster(view) => self.on_cluster(&view),
            // These are taken at once, or sent to the relay thread.
            PresenceMessage::Frame(_) | PresenceMessage::FrameEnded | PresenceMessage::Send(_) => {}
        }
    }
}
