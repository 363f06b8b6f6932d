//! The last values of conflated channels, and who is given them.
//!
//! Purpose: an event replaces an earlier one of its conflation key. A subscriber that the log
//! has overtaken, or that comes back to such a channel, is given what is left of the events that
//! it missed: for each key the newest, in the order of the channel, and between them by
//! `Position` how many are skipped, and why.
//!
//! Invariant: a subscriber is given values only below the log's oldest event, and nothing from
//! the log before all of them; so its offsets rise, and none is given twice.
//!
//! Limits: [`PAGE_BYTES`] of values wait for a connection at a time; the rest follows when they
//! have left, and is by then what is newest.
//!
//! Thread: the shard. The owner of a channel tells shards that become interested.

use interlink_protocol::frame::event::{conflation_key_of, read_position};
use interlink_protocol::ids::Position;
use interlink_protocol::session::outbox::{Conflating, Told};
use interlink_protocol::websocket::{frame::server_header, DataKind, Opcode};
use interlink_protocol::CloseCode;
use interlink_wire as wire;

use super::behind::{Behind, Source};
use super::channel::SubscriptionState;
use super::connection::{FETCHING, NONE};
use super::mesh::Message;
use super::Shard;

/// Values that wait for a connection: what one send gathers.
const PAGE_BYTES: usize = super::transmit::ARENA_PER_SOCKET;

/// Values that a shard is told when its first member of a channel comes: clients make and end
/// subscriptions as often as they may ask, and each of these is copied.
const VALUES_TOLD_MAX: u32 = 256;

/// The last values of a channel, for a shard that becomes interested in it.
#[derive(Debug)]
pub struct ToldValues {
    channel: Box<str>,
    all_kept_above: u64,
    /// Encoded events, oldest first.
    frames: Vec<Box<[u8]>>,
}

const _: () = {
    // The last value of a page begins below the bound; with it comes a `Position`.
    let page = PAGE_BYTES + 2 * interlink_protocol::limits::SERVER_FRAME_BYTES;
    assert!(page <= super::queues::QUEUE_BYTES_MAX);
};

impl Shard {
    /// Keeps an event of a conflated channel as the last value of its key.
    pub(super) fn keep_value(&mut self, channel: u32, position: Position, frame: &[u8]) {
        if !self.policy(self.channels[channel].policy).conflated {
            return;
        }
        match conflation_key_of(frame) {
            Some(key) => self.logs.values.keep(channel, position, key, frame),
            None => self.logs.values.pass_over(channel, position.offset),
        }
    }

    /// Where a subscription starts that comes back to a conflated channel without history: at
    /// `wanted`, or where this numbering of the channel began to have values. `None` when there
    /// are none that it can miss.
    pub(super) fn start_at_values(
        &mut self,
        subscription: u32,
        wanted: Position,
    ) -> Option<Position> {
        let channel = self.subscriptions[subscription].channel;
        let top = self.channels[channel].sequencer.top();
        let same = wanted.epoch == top.epoch;
        let above = if same { wanted.offset } else { 0 };
        let first = self.logs.values.first_above(channel, above)?;
        let start = match same {
            true => wanted,
            false => before(self.logs.values.value(first).0),
        };
        self.subscriptions[subscription].state = SubscriptionState::Behind;
        let behind = Behind::conflating(start, wire::PositionReason::Ephemeral);
        self.behind.insert(subscription, behind);
        Some(start)
    }

    /// Gives a subscription the values after `last` that the log does not hold, as many as may
    /// wait, and lets it go live after the last of them.
    pub(super) fn send_values(
        &mut self,
        subscription: u32,
        (last, lost): (Position, wire::PositionReason),
    ) {
        let channel = self.subscriptions[subscription].channel;
        let (tail, base) = self.logs.oldest(&self.channels[channel]);
        let mut at = Conflating {
            after: last.offset,
            until: base.offset,
            lost,
        };
        let all_kept_above = self.logs.values.all_kept_above(channel);
        let mut value = self.logs.values.first_above(channel, at.after);
        while self.has_room_for_values(subscription) {
            let offset = value.map(|value| self.logs.values.value(value).0.offset);
            match (at.next(offset, all_kept_above), value) {
                (Told::Live { skipped, reason }, _) => {
                    self.go_live(subscription, tail);
                    if skipped > 0 {
                        self.announce_skipped(subscription, base, skipped, reason);
                    }
                    return;
                }
                (
                    Told::Value {
                        offset,
                        skipped,
                        reason,
                    },
                    Some(given),
                ) => {
                    self.queue_value(subscription, given, (skipped, reason));
                    at.after = offset;
                    value = self.logs.values.next(given);
                }
                (Told::Value { .. }, None) => return,
            }
        }
        if let Some(behind) = self.behind.get_mut(&subscription) {
            behind.position = Position {
                offset: at.after,
                ..base
            };
            behind.source = Source::Values(lost);
        }
    }

    /// Whether more values may wait for the subscription's connection. In a crowd a queue that
    /// something waits in is about to be closed.
    fn has_room_for_values(&self, subscription: u32) -> bool {
        let connection = self.subscriptions[subscription].connection;
        if connection == NONE {
            return false;
        }
        let entry = &self.connections[connection];
        let waiting = self.queues.waiting(entry.queue).len();
        let most = if self.queues.is_crowded() {
            1
        } else {
            PAGE_BYTES
        };
        !entry.is(FETCHING) && waiting < most
    }

    /// Queues a value, after the announcement of what is skipped before it.
    fn queue_value(
        &mut self,
        subscription: u32,
        value: u32,
        (skipped, reason): (u64, wire::PositionReason),
    ) {
        let sub = self.subscriptions[subscription];
        let mut encoder = self.take_encoder();
        let (position, event) = self.logs.values.value(value);
        let name = &self.channels[sub.channel].name;
        let told: &[u8] = match skipped {
            0 => &[],
            skipped => encoder.position(name, before(position), skipped, reason),
        };
        let binary = Opcode::Data(DataKind::Binary);
        let mut headers = [[0; 10]; 2];
        let lens = [told.len(), event.len()];
        let mut ends = [0; 2];
        for ((header, len), end) in headers.iter_mut().zip(lens).zip(&mut ends) {
            *end = server_header(binary, true, len, header);
        }
        if skipped == 0 {
            ends[0] = 0;
        }
        let queue = &mut self.connections[sub.connection].queue;
        let parts = [&headers[0][..ends[0]], told, &headers[1][..ends[1]], event];
        let pushed = self.queues.push(queue, &parts);
        self.encoder = Some(encoder);
        if pushed.is_err() {
            return self.cut_off(sub.connection, CloseCode::SlowClient);
        }
        if skipped > 0 {
            self.count_skipped(subscription, skipped, reason);
        }
        self.counters.frames_out += 1 + u64::from(skipped > 0);
        self.counters.events_out.add(sub.priority, 1);
        self.mark_ready(sub.connection);
    }

    /// Tells a shard that becomes interested in a channel its newest values.
    pub(super) fn send_values_to(&mut self, shard: u16, channel: u32) {
        let values = &self.logs.values;
        let Some(first) = values.first_of_newest(channel, VALUES_TOLD_MAX) else {
            return;
        };
        let is_whole = values.first_above(channel, 0) == Some(first);
        let mut told = ToldValues {
            channel: self.channels[channel].name.clone(),
            all_kept_above: match is_whole {
                true => values.all_kept_above(channel),
                false => before(values.value(first).0).offset,
            },
            frames: Vec::new(),
        };
        let mut next = Some(first);
        while let Some(value) = next {
            told.frames.push(values.value(value).1.into());
            next = values.next(value);
        }
        let priority = self.channels[channel].priority;
        self.mesh
            .send(shard, priority, Message::Values(Box::new(told)));
    }

    /// Last values of a channel that another shard owns.
    pub(super) fn on_values_of(&mut self, told: &ToldValues) {
        let Some(channel) = self.find_channel(&told.channel) else {
            return;
        };
        let frames = told.frames.iter().filter_map(|frame| {
            let (position, _) = read_position(frame).ok()?;
            Some((position, conflation_key_of(frame)?, &**frame))
        });
        let values = &mut self.logs.values;
        values.adopt(channel, told.all_kept_above, frames);
    }
}

/// The position before an event of a channel without history.
fn before(position: Position) -> Position {
    Position {
        offset: position.offset.saturating_sub(1),
        ..position
    }
}
