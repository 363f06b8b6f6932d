//! Subscribers that a channel's log overtakes.
//!
//! Purpose: a log is cut although somebody has still to be sent what goes, and nobody's place is
//! lost by it. What becomes of the subscriber is decided by the class of the channel
//! ([`overrun`]): P0 and P1 read history, conflated channels give the last value of each key,
//! everything else is skipped, counted and announced.
//!
//! Invariant: while its channel is not dirty, every live subscriber has been sent all that is
//! visible, or stands in `lagging`; so the log may be trimmed and nobody's place is lost.
//!
//! Thread: the shard.

use interlink_protocol::ids::Position;
use interlink_protocol::session::outbox::{overrun, Overrun};
use interlink_wire as wire;

use super::behind::Behind;
use super::channel::SubscriptionState;
use super::connection::{LAGGING, NONE};
use super::mesh::Message;
use super::Shard;

impl Shard {
    /// Whether the subscription's next bytes were given up; if so it is put behind, or the loss
    /// is announced. Nothing more of it may be planned before that has left.
    pub(super) fn overrun(&mut self, subscription: u32) -> bool {
        let sub = &self.subscriptions[subscription];
        let channel = &self.channels[sub.channel];
        if !self.logs.is_overrun(channel, sub.cursor) {
            return false;
        }
        let (tail, oldest) = self.logs.oldest(channel);
        let noted = self.lagging.remove(subscription);
        debug_assert!(noted.is_some(), "a place that is cut off was noted before");
        let last = noted.unwrap_or(oldest);
        let outcome = overrun(sub.priority, self.policy(channel.policy).conflated);
        self.counters.overruns.add(sub.priority, outcome);
        match outcome {
            Overrun::Cursor => self.put_behind(subscription, Behind::recovering(last)),
            Overrun::Conflate => {
                let lost = wire::PositionReason::Slow;
                self.put_behind(subscription, Behind::conflating(last, lost));
            }
            Overrun::Skip => {
                let skipped = oldest.offset.saturating_sub(last.offset);
                self.subscriptions[subscription].cursor = tail;
                self.note_progress(subscription);
                if skipped > 0 {
                    let reason = wire::PositionReason::Slow;
                    self.announce_skipped(subscription, oldest, skipped, reason);
                }
            }
        }
        true
    }

    fn put_behind(&mut self, subscription: u32, behind: Behind) {
        self.subscriptions[subscription].state = SubscriptionState::Behind;
        self.behind.insert(subscription, behind);
        self.fetch_if_behind(subscription);
    }

    /// Tells a subscriber that the events up to `position` which it has not been sent do not come.
    pub(super) fn announce_skipped(
        &mut self,
        subscription: u32,
        position: Position,
        skipped: u64,
        reason: wire::PositionReason,
    ) {
        let sub = self.subscriptions[subscription];
        if sub.connection == NONE {
            return;
        }
        self.count_skipped(subscription, skipped, reason);
        let mut encoder = self.take_encoder();
        let name = &self.channels[sub.channel].name;
        let frame = encoder.position(name, position, skipped, reason);
        self.queue_frame(sub.connection, frame);
        self.encoder = Some(encoder);
    }

    pub(super) fn count_skipped(
        &mut self,
        subscription: u32,
        skipped: u64,
        reason: wire::PositionReason,
    ) {
        let class = self.subscriptions[subscription].priority;
        match reason {
            wire::PositionReason::Conflated => self.counters.events_conflated.add(class, skipped),
            _ => self.counters.events_skipped.add(class, skipped),
        }
    }

    /// Remembers where a subscriber stands that a pass could not send to.
    pub(super) fn note_lagging(&mut self, subscription: u32) {
        if self.lagging.contains(subscription) {
            return;
        }
        let sub = &self.subscriptions[subscription];
        let channel = &self.channels[sub.channel];
        if sub.state != SubscriptionState::Live || self.logs.is_overrun(channel, sub.cursor) {
            return;
        }
        let position = self.logs.position_at(channel, sub.cursor);
        self.lagging.insert(subscription, position);
    }

    /// Remembers where a subscriber stands after a send, unless it was sent everything.
    pub(super) fn note_progress(&mut self, subscription: u32) {
        self.lagging.remove(subscription);
        let sub = &self.subscriptions[subscription];
        if sub.cursor < self.logs.visible_end(&self.channels[sub.channel]) {
            self.note_lagging(subscription);
        }
    }

    /// Remembers where every subscriber of the channel stands, before its log is cut while a
    /// pass over them is due.
    pub(super) fn note_members(&mut self, channel: u32) {
        let end = self.logs.visible_end(&self.channels[channel]);
        for place in 0..self.channels[channel].member_count as usize {
            let subscription = self.members.members(&self.channels[channel])[place];
            if self.subscriptions[subscription].cursor < end {
                self.note_lagging(subscription);
            }
        }
    }

    /// Gives up what the channel's log holds, sent or not, for want of memory: it goes on after
    /// `base`. Members that were sent everything stand at `top`; all of them continue as when
    /// they are slow.
    pub(super) fn give_up_log(&mut self, channel: u32, top: Position, base: Position) {
        let without_log = !self.logs.has_log(&self.channels[channel]);
        for place in 0..self.channels[channel].member_count as usize {
            let subscription = self.members.members(&self.channels[channel])[place];
            let sub = &self.subscriptions[subscription];
            let is_live = sub.state == SubscriptionState::Live;
            let current = !self.logs.is_overrun(&self.channels[channel], sub.cursor);
            if is_live && current && !self.lagging.contains(subscription) {
                let position = match without_log {
                    true => top,
                    false => self.logs.position_at(&self.channels[channel], sub.cursor),
                };
                self.lagging.insert(subscription, position);
            }
        }
        self.logs.restart(&mut self.channels[channel], base);
        for place in 0..self.channels[channel].member_count as usize {
            let subscription = self.members.members(&self.channels[channel])[place];
            let connection = self.subscriptions[subscription].connection;
            if connection != NONE {
                self.connections[connection].set(LAGGING);
                self.mark_ready(connection);
            }
        }
    }

    /// An event found no memory in the log of a channel that this shard owns: the others cannot
    /// be sent it, and are told where the channel stands instead.
    pub(super) fn tell_of_missing(&mut self, channel: u32) {
        let Some(&shards) = self.interest.get(&channel) else {
            return;
        };
        let entry = &self.channels[channel];
        for shard in (0..self.shards).filter(|shard| shards & (1 << shard) != 0) {
            let place = (entry.name.clone(), entry.sequencer.top());
            let message = Message::Granted(Box::new(place));
            self.mesh.send(shard, entry.priority, message);
        }
    }
}
