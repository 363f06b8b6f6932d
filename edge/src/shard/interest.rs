//! Which shards want the events of a channel.
//!
//! Purpose: a shard asks the owner of a channel for its events when it has the first member, and
//! no longer when the last has gone; the owner grants them from a position. A request about
//! channels that are not granted yet waits here, and later ones of its connection behind it.
//!
//! Limits: at most [`DEFERRED_MAX`] requests wait, each for the lanes' microseconds, or for history
//! that is looked up.
//!
//! Thread: the shard.

use interlink_protocol::channel::ChannelName;
use interlink_protocol::ids::Position;
use interlink_protocol::ErrorCode;
use interlink_relay::backplane::Sequencer;
use interlink_uring::SocketId;
use interlink_wire as wire;

use super::channel::{GRANTED, INTERESTED};
use super::connection::NONE;
use super::mesh::Message;
use super::Shard;

/// Requests of all connections that may wait for grants, which take microseconds, or for what a
/// disk or the archive knows, which takes milliseconds.
const DEFERRED_MAX: usize = 1_024;

impl Shard {
    /// Asks the owner for the events of a channel that has its first member here.
    pub(super) fn show_interest(&mut self, channel: u32) {
        let known = self.knows_positions();
        let entry = &mut self.channels[channel];
        if known || entry.flags & INTERESTED != 0 {
            return;
        }
        entry.flags |= INTERESTED;
        let (name, priority, policy) = (entry.name.clone(), entry.priority, entry.policy);
        let owner = self.numberer_of(&name, self.policy(policy).durable);
        if owner == self.id {
            self.channels[channel].flags |= GRANTED;
            self.watch_elsewhere(channel);
        } else {
            self.mesh.tell_interest(owner, priority, name, true);
        }
    }

    /// Whether the position of a channel of the request is not known here yet; its owner is
    /// asked for it. Nobody is asked for what will be refused.
    pub(super) fn awaits_grants(&mut self, connection: u32, frame: &wire::Subscribe<'_>) -> bool {
        let session = self.connections[connection].session;
        if self.knows_positions() || session == NONE {
            return false;
        }
        let held = u32::from(self.sessions[session].subscription_count);
        let room = self.limits.subscriptions_per_session.saturating_sub(held);
        let mut awaits = false;
        for entry in frame.channels().iter().take(room as usize) {
            let name = match ChannelName::parse(entry.channel()) {
                Ok(name) if self.numberer_named(&name) != self.id => name,
                _ => continue,
            };
            if self
                .check_permission(session, &name, entry.token())
                .is_err()
            {
                continue;
            }
            if let Ok(channel) = self.channel_named(&name) {
                self.show_interest(channel);
                awaits |= self.channels[channel].flags & GRANTED == 0;
            }
        }
        awaits
    }

    /// Whether an earlier request of the connection waits for a grant, so that a later one
    /// about subscriptions has to wait as well.
    pub(super) fn waits_in_line(&self, connection: u32) -> bool {
        let socket = self.connections[connection].socket;
        self.deferred.iter().any(|entry| entry.0 == socket)
    }

    /// Keeps a request until the grants that it waits for have come.
    pub(super) fn defer(&mut self, connection: u32, request_id: u32, frame: &[u8]) {
        if self.deferred.len() >= DEFERRED_MAX {
            return self.reply_error(connection, ErrorCode::Overloaded, request_id);
        }
        let socket = self.connections[connection].socket;
        self.deferred.push((socket, frame.to_vec()));
    }

    /// Takes up the requests of a connection that waited for the archive.
    pub(super) fn retry_deferred_of(&mut self, socket: SocketId) {
        let (taken, others) = std::mem::take(&mut self.deferred)
            .into_iter()
            .partition(|entry| entry.0 == socket);
        self.deferred = others;
        self.retry(taken);
    }

    /// Takes up requests that waited for a grant; channels that nobody took are forgotten once
    /// no request is left that may still want them.
    fn retry_deferred(&mut self) {
        self.retry_questions();
        let taken = std::mem::take(&mut self.deferred);
        self.retry(taken);
    }

    fn retry(&mut self, taken: Vec<(SocketId, Vec<u8>)>) {
        for (socket, frame) in taken {
            if let Some(connection) = self.connection_of(socket) {
                self.on_message(connection, &frame);
            }
        }
        if self.deferred.is_empty() {
            for channel in std::mem::take(&mut self.granted) {
                if self.channels.contains(channel) {
                    self.forget_channel_if_idle(channel);
                }
            }
        }
    }

    pub(super) fn on_interest(&mut self, shard: u16, name: &str) {
        let Ok(parsed) = ChannelName::parse(name) else {
            return;
        };
        let Ok(channel) = self.channel_named(&parsed) else {
            return;
        };
        *self.interest.entry(channel).or_default() |= 1 << shard;
        self.watch_elsewhere(channel);
        let position = self.logs.visible_position(&self.channels[channel]);
        let priority = self.channels[channel].priority;
        self.send_values_to(shard, channel);
        let grant = Message::Granted(Box::new((name.into(), position)));
        self.mesh.send(shard, priority, grant);
    }

    pub(super) fn on_granted(&mut self, name: &str, position: Position) {
        if let Some(channel) = self.find_channel(name) {
            let entry = &mut self.channels[channel];
            entry.flags |= GRANTED;
            let before = entry.sequencer.top();
            let is_current = self.logs.visible_position(entry) == position;
            entry.sequencer = Sequencer::resume(position);
            if !is_current {
                // Events that came while nobody here was interested, or that found no memory at
                // the owner, are not in the log.
                self.logs.values.pass_over(channel, position.offset);
                self.give_up_log(channel, before, position);
            }
            self.granted.push(channel);
        }
        self.retry_deferred();
    }

    pub(super) fn on_no_interest(&mut self, shard: u16, name: &str) {
        if let Some(channel) = self.find_channel(name) {
            if let Some(shards) = self.interest.get_mut(&channel) {
                *shards &= !(1 << shard);
                if *shards == 0 {
                    self.interest.remove(&channel);
                    self.forget_channel_if_idle(channel);
                }
            }
        }
    }
}
