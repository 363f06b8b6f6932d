//! Passes over the subscribers of channels with new events.
//!
//! Purpose: the fan-out. A publish marks its channel dirty once; a pass then sends
//! every subscriber what lies between its cursor and the visible end, in one
//! contiguous send. Events that arrive during a pass leave with the next one, so
//! that load itself coalesces and no timer is needed.
//!
//! Order between priorities: P0 first, always; the others share the rest of a
//! turn by [`WEIGHTS`], so none starves.
//!
//! Thread: the shard.

use std::collections::VecDeque;

use interlink_protocol::priority::Priority;
use interlink_uring::Kernel;

use super::channel::{DIRTY, SPENT};
use super::connection::{BLOCKED, IN_BATCH, LAGGING, NONE, READY};
use super::turn::SENDS_PER_TURN;
use super::Shard;
use crate::telemetry::latency::Stage;

/// Shares of the sends that P0 leaves over, for replies, P1, P2 and P3.
const WEIGHTS: [usize; 4] = [4, 20, 6, 2];
const _: () = assert!(WEIGHTS[0] + WEIGHTS[1] + WEIGHTS[2] + WEIGHTS[3] == SENDS_PER_TURN);

/// Channels whose events one turn gives up; there are more only after somebody lagged.
const SPENT_PER_TURN: usize = 64;

/// Dirty channels by priority.
#[derive(Debug, Default)]
pub struct DirtyChannels {
    queues: [VecDeque<u32>; 4],
    /// Channels without history whose events nobody waits for any more, once what is planned
    /// has left.
    spent: Vec<u32>,
}

impl DirtyChannels {
    /// Whether no channel waits.
    pub fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }

    /// Whether more channels wait than one turn serves.
    pub fn is_long(&self) -> bool {
        self.queues.iter().map(VecDeque::len).sum::<usize>() > SENDS_PER_TURN
    }

    /// Adds a channel to the queue of its priority.
    pub fn push(&mut self, priority: Priority, channel: u32) {
        self.queues[priority.index()].push_back(channel);
    }
}

impl Shard {
    /// Lets events up to `end` of the channel's log be sent.
    pub(super) fn mark_dirty(&mut self, channel: u32) {
        let entry = &mut self.channels[channel];
        if entry.flags & DIRTY == 0 && entry.member_count > 0 {
            entry.flags |= DIRTY;
            self.dirty.push(entry.priority, channel);
        }
    }

    /// Sends at most one turn's share; returns whether anything was sent.
    pub(super) fn send_some<K: Kernel>(&mut self, kernel: &mut K) -> bool {
        let before = self.counters.sends;
        let mut left = SENDS_PER_TURN;
        left -= self.pass_channels(kernel, Priority::P0, left);
        let shares = WEIGHTS.map(|weight| (weight * left).div_ceil(SENDS_PER_TURN));
        let mut unused = 0;
        for priority in [Priority::P1, Priority::P2, Priority::P3] {
            let share = shares[priority.index()] + unused;
            let used = self.pass_channels(kernel, priority, share);
            unused = share.saturating_sub(used);
        }
        // Last, since a reply leaves together with the events for its socket.
        self.pass_connections(kernel, shares[0] + unused);
        self.flush_batch(kernel);
        self.drop_spent_events();
        self.counters.sends > before
    }

    /// Plans up to `share` connections from the ready queue.
    fn pass_connections<K: Kernel>(&mut self, kernel: &mut K, share: usize) -> usize {
        let mut planned = 0;
        while planned < share {
            let Some(connection) = self.ready.pop_front() else {
                break;
            };
            if self.connections[connection].is(IN_BATCH) {
                self.flush_batch(kernel);
            }
            let entry = &mut self.connections[connection];
            if !entry.is(READY) {
                continue;
            }
            entry.clear(READY);
            if !self.dirty.is_empty() {
                // The events of channels whose turn has not come leave with the reply.
                entry.set(LAGGING);
            }
            if self.plan_connection(connection) {
                planned += 1;
            } else {
                self.after_nothing_to_send(connection);
            }
            if self.transmit.is_full() {
                self.flush_batch(kernel);
            }
        }
        planned
    }

    /// Walks dirty channels of `priority` until `share` sends are planned.
    fn pass_channels<K: Kernel>(
        &mut self,
        kernel: &mut K,
        priority: Priority,
        share: usize,
    ) -> usize {
        let mut planned = 0;
        while planned < share {
            let Some(&channel) = self.dirty.queues[priority.index()].front() else {
                break;
            };
            let (sends, ended) = self.pass_channel(kernel, channel, share - planned);
            planned += sends;
            if ended {
                self.dirty.queues[priority.index()].pop_front();
                self.end_pass(channel);
            }
        }
        planned
    }

    /// Continues the pass over one channel; returns the sends and whether it ended.
    fn pass_channel<K: Kernel>(
        &mut self,
        kernel: &mut K,
        channel: u32,
        share: usize,
    ) -> (usize, bool) {
        let mut planned = 0;
        let Some(mut next) = self.begin_pass(channel) else {
            return (0, true);
        };
        while planned < share {
            let Some(subscription) = self.member(channel, next) else {
                return (planned, true);
            };
            next += 1;
            let connection = self.subscriptions[subscription].connection;
            if connection == NONE {
                continue;
            }
            if self.connections[connection].is(IN_BATCH) {
                self.flush_batch(kernel);
            }
            if self.plan_subscription(subscription) {
                planned += 1;
            }
            if self.transmit.is_full() {
                self.flush_batch(kernel);
            }
        }
        self.pause_pass(channel, next);
        (planned, false)
    }

    fn member(&self, channel: u32, place: u32) -> Option<u32> {
        let entry = &self.channels[channel];
        self.members.members(entry).get(place as usize).copied()
    }

    /// Where the pass goes on, or `None` if the channel holds no events.
    fn begin_pass(&mut self, channel: u32) -> Option<u32> {
        let visible = self.logs.visible_mut(&self.channels[channel])?;
        if visible.pass_next == 0 {
            visible.pass_end = visible.end;
            let coming = visible.coming.take();
            if coming.events > 0 {
                visible.passing.add(coming.since_us, coming.events);
            }
        }
        Some(visible.pass_next)
    }

    fn pause_pass(&mut self, channel: u32, next: u32) {
        if let Some(visible) = self.logs.visible_mut(&self.channels[channel]) {
            visible.pass_next = next;
        }
    }

    fn end_pass(&mut self, channel: u32) {
        let entry = &mut self.channels[channel];
        entry.flags &= !DIRTY;
        let class = entry.priority;
        let Some(visible) = self.logs.visible_mut(&self.channels[channel]) else {
            return;
        };
        visible.pass_next = 0;
        let passed = visible.passing.take();
        if passed.events > 0 {
            self.samples
                .note(Stage::Delivery(class), passed.since_us, passed.events);
        }
        if visible.end > visible.pass_end {
            self.mark_dirty(channel);
        } else {
            self.note_spent(channel);
        }
    }

    /// Notes a channel that no pass is due for: without history its events are of no further use.
    pub(super) fn note_spent(&mut self, channel: u32) {
        let entry = &self.channels[channel];
        if entry.flags & SPENT == 0 && !self.policy(entry.policy).durable {
            self.channels[channel].flags |= SPENT;
            self.dirty.spent.push(channel);
        }
    }

    /// Gives back the memory of events that cannot be asked for again, once nobody has still to
    /// be sent some: the next event then finds it in the cache, whatever its channel.
    fn drop_spent_events(&mut self) {
        if !self.lagging.is_empty() || !self.behind.is_empty() {
            return;
        }
        for _ in 0..SPENT_PER_TURN {
            let Some(channel) = self.dirty.spent.pop() else {
                return;
            };
            let entry = self.channels.get_mut(channel);
            // The index may be another channel's by now.
            let Some(entry) = entry.filter(|entry| entry.flags & SPENT != 0) else {
                continue;
            };
            entry.flags &= !SPENT;
            if entry.flags & DIRTY == 0 {
                self.logs.drop_sent(entry);
            }
            if entry.log == NONE {
                self.forget_channel_if_idle(channel);
            }
        }
    }

    /// A connection that was ready had nothing to send.
    fn after_nothing_to_send(&mut self, connection: u32) {
        let entry = &mut self.connections[connection];
        if entry.flags & (BLOCKED | LAGGING) == LAGGING {
            entry.clear(LAGGING);
        }
        if entry.is(super::connection::CLOSE_WHEN_SENT) && entry.queue == NONE {
            self.linger(connection);
        }
    }
}
