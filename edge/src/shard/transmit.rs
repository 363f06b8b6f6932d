//! Bytes out: one send for each socket and batch.
//!
//! Purpose: turn what waits for a connection (its reply queue and the unsent
//! ranges of its subscriptions) into at most [`BATCH`] sends, hand them to the
//! kernel in one call, and move the cursors by what was taken.
//!
//! Invariants: a socket appears once in a batch; cursors move only after the
//! kernel has answered; after a short send nothing of another channel goes out
//! before the begun frame ends; a single source is sent from where it lies, only
//! several are copied together, at most [`ARENA_PER_SOCKET`] bytes a socket.
//!
//! Thread: the shard.

use std::ops::Range;

use interlink_protocol::priority::Priority;
use interlink_uring::{Kernel, Send, SendOutcome, SendTarget, SocketId};

use super::channel::SubscriptionState;
use super::connection::{
    BLOCKED, CLOSE_WHEN_SENT, CLOSING, FUTILE_WRITABLE, IN_BATCH, LAGGING, NONE, READY, SEALED,
};
use super::Shard;

/// Sends in one submission.
pub const BATCH: usize = 32;
/// Bytes that are copied together for one socket.
pub const ARENA_PER_SOCKET: usize = 16 * 1024;

/// Where bytes of a planned send come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The reply queue of the connection.
    Queue,
    /// TLS records that the socket did not take before.
    Sealed,
    /// The log of a subscription's channel, from the subscription's cursor.
    Subscription(u32),
}

#[derive(Debug, Clone, Copy)]
struct Part {
    origin: Origin,
    len: u32,
}

/// A planned send: consecutive parts for one socket.
#[derive(Debug, Clone, Copy)]
struct Planned {
    connection: u32,
    socket: SocketId,
    first_part: u32,
    parts: u32,
    /// Where the parts were copied together; meaningless for a single part.
    arena: u32,
    len: u32,
    /// The TLS records of these bytes in the batch; empty when they leave as they lie.
    sealed: (u32, u32),
}

/// The batch that is being built.
#[derive(Debug, Default)]
pub struct Transmit {
    planned: Vec<Planned>,
    parts: Vec<Part>,
    arena: Vec<u8>,
    /// TLS records of the batch.
    pub(super) sealed: Vec<u8>,
    outcomes: Vec<SendOutcome>,
}

impl Transmit {
    /// Whether another socket fits.
    pub fn is_full(&self) -> bool {
        self.planned.len() >= BATCH
    }

    /// Sends that are planned.
    pub fn len(&self) -> usize {
        self.planned.len()
    }

    /// The connection of a planned send.
    pub fn connection(&self, index: usize) -> u32 {
        self.planned[index].connection
    }

    /// Notes that the first `len` bytes of a planned send lie sealed in `records`; empty
    /// records are a session that cannot send any more.
    pub fn seal(&mut self, index: usize, len: usize, records: Range<usize>) {
        let planned = &mut self.planned[index];
        planned.len = len as u32;
        planned.sealed = (records.start as u32, records.end as u32);
        if records.is_empty() {
            planned.socket = SocketId::NONE;
        }
    }

    /// Whether nothing is planned.
    pub fn is_empty(&self) -> bool {
        self.planned.is_empty()
    }
}

impl Shard {
    /// Plans the unsent range of `subscription`, together with waiting replies.
    ///
    /// Returns whether the socket joined the batch.
    pub(super) fn plan_subscription(&mut self, subscription: u32) -> bool {
        let sub = &self.subscriptions[subscription];
        if sub.state != SubscriptionState::Live || sub.connection == NONE {
            return false;
        }
        let connection = sub.connection;
        let entry = &mut self.connections[connection];
        if entry.flags & (BLOCKED | CLOSING | CLOSE_WHEN_SENT | SEALED) != 0 {
            entry.set(LAGGING);
            self.note_lagging(subscription);
            return false;
        }
        // While many channels wait, a send takes all that waits for its socket.
        let combines = self.dirty.is_long() && self.sessions[sub.session].subscription_count > 1;
        let entry = &mut self.connections[connection];
        if entry.queue != NONE || entry.is(LAGGING) || combines {
            entry.set(LAGGING);
            return self.plan_connection(connection);
        }
        if self.overrun(subscription) {
            self.connections[connection].set(LAGGING);
            return false;
        }
        let len = self.unsent(subscription).len();
        if len == 0 {
            return false;
        }
        let covers_log = self.covers_log(subscription, len);
        let entry = &mut self.connections[connection];
        entry.set(IN_BATCH);
        if !covers_log {
            // The rest lies in another block of the log; the pass does not come back for it.
            entry.set(LAGGING);
        }
        let first_part = self.transmit.parts.len() as u32;
        self.transmit.parts.push(Part {
            origin: Origin::Subscription(subscription),
            len: len as u32,
        });
        self.transmit.planned.push(Planned {
            connection,
            socket: entry.socket,
            first_part,
            parts: 1,
            arena: 0,
            len: len as u32,
            sealed: (0, 0),
        });
        true
    }

    /// Plans everything that waits for `connection`, most urgent first.
    pub(super) fn plan_connection(&mut self, connection: u32) -> bool {
        let entry = &self.connections[connection];
        if entry.flags & (BLOCKED | CLOSING) != 0 {
            return false;
        }
        let (socket, queue) = (entry.socket, entry.queue);
        let first_part = self.transmit.parts.len();
        let mut total = 0usize;
        if self.connections[connection].is(SEALED) {
            let waiting = self.secure.waiting(connection).len();
            total += self.plan_part(Origin::Sealed, waiting);
        } else if queue != NONE {
            let waiting = self.queues.waiting(queue).len();
            total += self.plan_part(Origin::Queue, waiting);
        }
        if self.connections[connection].flags & (LAGGING | SEALED) == LAGGING {
            total += self.plan_lagging(connection, total);
        }
        if self.connections[connection].is(CLOSING) {
            // What an overrun subscription was to be told found no room.
            self.transmit.parts.truncate(first_part);
            return false;
        }
        let parts = self.transmit.parts.len() - first_part;
        if parts == 0 {
            return false;
        }
        let arena = self.transmit.arena.len() as u32;
        if parts > 1 {
            self.copy_parts(connection, first_part);
        }
        self.connections[connection].set(IN_BATCH);
        self.transmit.planned.push(Planned {
            connection,
            socket,
            first_part: first_part as u32,
            parts: parts as u32,
            arena,
            len: total as u32,
            sealed: (0, 0),
        });
        true
    }

    fn plan_part(&mut self, origin: Origin, len: usize) -> usize {
        if len > 0 {
            let len = len as u32;
            self.transmit.parts.push(Part { origin, len });
        }
        len
    }

    /// Plans the lagging subscriptions of a connection, by priority, within the arena.
    fn plan_lagging(&mut self, connection: u32, before: usize) -> usize {
        let session = self.connections[connection].session;
        let mut total = 0;
        let mut complete = true;
        self.connections[connection].clear(LAGGING);
        if session == NONE {
            return 0;
        }
        for priority in Priority::ALL {
            let mut next = self.sessions[session].subscriptions;
            while next != NONE {
                let (subscription, sub) = (next, &self.subscriptions[next]);
                next = sub.next;
                if sub.priority != priority || sub.state != SubscriptionState::Live {
                    continue;
                }
                if self.overrun(subscription) {
                    // What it missed is announced, or fetched, before anything else of it.
                    complete = false;
                    continue;
                }
                let len = self.unsent(subscription).len();
                if len == 0 {
                    continue;
                }
                let only = before + total == 0;
                if !only && before + total + len > ARENA_PER_SOCKET {
                    complete = false;
                    self.note_lagging(subscription);
                    continue;
                }
                total += self.plan_part(Origin::Subscription(subscription), len);
                complete &= self.covers_log(subscription, len);
            }
        }
        if !complete {
            self.connections[connection].set(LAGGING);
        }
        total
    }

    /// Whether `len` unsent bytes are all that the subscription lags behind.
    fn covers_log(&self, subscription: u32, len: usize) -> bool {
        let sub = &self.subscriptions[subscription];
        let visible = self.logs.visible_end(&self.channels[sub.channel]);
        sub.cursor + len as u64 >= visible
    }

    fn copy_parts(&mut self, connection: u32, first_part: usize) {
        for index in first_part..self.transmit.parts.len() {
            let part = self.transmit.parts[index];
            let bytes: &[u8] = match part.origin {
                Origin::Queue => self.queues.waiting(self.connections[connection].queue),
                Origin::Sealed => self.secure.waiting(connection),
                Origin::Subscription(subscription) => {
                    let sub = &self.subscriptions[subscription];
                    self.logs.unsent(&self.channels[sub.channel], sub.cursor)
                }
            };
            self.transmit
                .arena
                .extend_from_slice(&bytes[..part.len as usize]);
        }
    }

    fn unsent(&self, subscription: u32) -> &[u8] {
        let sub = &self.subscriptions[subscription];
        self.logs.unsent(&self.channels[sub.channel], sub.cursor)
    }

    /// Sends the batch and moves the cursors.
    pub(super) fn flush_batch<K: Kernel>(&mut self, kernel: &mut K) {
        if self.transmit.is_empty() {
            return;
        }
        self.seal_batch();
        let count = self.transmit.planned.len();
        let mut outcomes = std::mem::take(&mut self.transmit.outcomes);
        outcomes.clear();
        let batch: [Send<'_>; BATCH] = std::array::from_fn(|index| self.send_at(index));
        kernel.send(&batch[..count], &mut outcomes);
        self.counters.sends += count as u64;
        for (index, outcome) in outcomes.iter().enumerate().take(count) {
            self.settle_send(kernel, index, *outcome);
        }
        self.transmit.outcomes = outcomes;
        self.transmit.planned.clear();
        self.transmit.parts.clear();
        self.transmit.arena.clear();
    }

    fn send_at(&self, index: usize) -> Send<'_> {
        let Some(planned) = self.transmit.planned.get(index) else {
            return Send {
                target: SendTarget::Socket(SocketId::NONE),
                bytes: &[],
            };
        };
        let (start, end) = planned.sealed;
        let bytes = if end > 0 {
            &self.transmit.sealed[start as usize..end as usize]
        } else {
            self.planned_bytes(index)
        };
        Send {
            target: SendTarget::Socket(planned.socket),
            bytes,
        }
    }

    /// The bytes of a planned send, before TLS.
    pub(super) fn planned_bytes(&self, index: usize) -> &[u8] {
        let planned = &self.transmit.planned[index];
        let len = planned.len as usize;
        if planned.parts > 1 {
            return &self.transmit.arena[planned.arena as usize..][..len];
        }
        let entry = &self.connections[planned.connection];
        match self.transmit.parts[planned.first_part as usize].origin {
            Origin::Queue => &self.queues.waiting(entry.queue)[..len],
            Origin::Sealed => &self.secure.waiting(planned.connection)[..len],
            Origin::Subscription(subscription) => &self.unsent(subscription)[..len],
        }
    }

    fn settle_send<K: Kernel>(&mut self, kernel: &mut K, index: usize, outcome: SendOutcome) {
        let planned = self.transmit.planned[index];
        if planned.sealed.1 > 0 {
            self.connections[planned.connection].clear(IN_BATCH);
            self.advance_parts(&planned, planned.len);
            let records = planned.sealed.0 as usize..planned.sealed.1 as usize;
            return self.settle_sealed(kernel, planned.connection, records, outcome);
        }
        let taken = match outcome {
            SendOutcome::Sent => planned.len,
            SendOutcome::Short(taken) => {
                self.counters.sends_short += 1;
                taken
            }
            SendOutcome::Blocked | SendOutcome::Failed(_) => 0,
        };
        self.counters.bytes_out += u64::from(taken);
        self.connections[planned.connection].clear(IN_BATCH);
        self.advance_parts(&planned, taken);
        match outcome {
            SendOutcome::Sent => self.after_full_send(planned.connection),
            SendOutcome::Short(_) | SendOutcome::Blocked => {
                self.block(kernel, planned.connection, taken > 0);
            }
            SendOutcome::Failed(_) => self.close_lost(planned.connection),
        }
    }

    fn advance_parts(&mut self, planned: &Planned, mut taken: u32) {
        let first = planned.first_part as usize;
        for index in first..first + planned.parts as usize {
            let part = self.transmit.parts[index];
            let sent = part.len.min(taken);
            taken -= sent;
            match part.origin {
                Origin::Queue => {
                    let queue = &mut self.connections[planned.connection].queue;
                    self.queues.advance(queue, sent as usize);
                }
                Origin::Sealed => self.advance_sealed(planned.connection, sent as usize),
                Origin::Subscription(subscription) => {
                    let before = self.subscriptions[subscription].cursor;
                    self.subscriptions[subscription].cursor += u64::from(sent);
                    if 0 < sent && sent < part.len {
                        self.end_begun_frame(planned.connection, subscription);
                    }
                    self.count_delivered(subscription, before);
                    self.note_progress(subscription);
                }
            }
        }
    }

    /// Counts the events between the subscription's former cursor and its present one.
    fn count_delivered(&mut self, subscription: u32, before: u64) {
        let sub = &self.subscriptions[subscription];
        if sub.cursor > before {
            let channel = &self.channels[sub.channel];
            let events = self.logs.events_between(channel, before, sub.cursor);
            self.counters.events_out.add(sub.priority, events);
            self.counters.frames_out += events;
        }
    }

    /// Moves the rest of a begun frame to the replies, which go out before all else; the
    /// log may then be trimmed, or the subscription end, without tearing the frame.
    fn end_begun_frame(&mut self, connection: u32, subscription: u32) {
        let sub = &mut self.subscriptions[subscription];
        let rest = self
            .logs
            .rest_of_frame(&self.channels[sub.channel], sub.cursor);
        sub.cursor += rest.len() as u64;
        let queue = &mut self.connections[connection].queue;
        // The replies were sent before this part, so the queue is empty and has room.
        let pushed = rest.is_empty() || self.queues.push(queue, &[rest]).is_ok();
        debug_assert!(pushed, "an empty queue takes one frame");
    }

    pub(super) fn after_full_send(&mut self, connection: u32) {
        let entry = &mut self.connections[connection];
        entry.blocked_since_ms = 0;
        entry.clear(FUTILE_WRITABLE);
        // A page is asked for when the socket has taken the one before; TLS sends it in parts.
        if !self.behind.is_empty() && entry.queue == NONE {
            self.fetch_behind_of(connection);
        }
        let entry = &mut self.connections[connection];
        if entry.queue != NONE || entry.is(LAGGING) {
            self.mark_ready(connection);
        } else if entry.is(CLOSE_WHEN_SENT) {
            self.linger(connection);
        }
    }

    pub(super) fn block<K: Kernel>(&mut self, kernel: &mut K, connection: u32, progressed: bool) {
        let now_ms = self.clock.now_ms.max(1);
        let entry = &mut self.connections[connection];
        entry.set(BLOCKED | LAGGING);
        if entry.blocked_since_ms == 0 || progressed {
            entry.blocked_since_ms = now_ms;
        }
        self.counters.sends_blocked += 1;
        if entry.is(FUTILE_WRITABLE) && !progressed {
            self.retry_later(connection);
            return;
        }
        kernel.poll_writable(entry.socket);
        self.arm_write_timeout(connection);
    }

    /// The kernel says that the socket takes bytes again.
    pub(super) fn on_writable(&mut self, socket: SocketId) {
        let Some(connection) = self.connection_of(socket) else {
            return;
        };
        let entry = &mut self.connections[connection];
        entry.clear(BLOCKED);
        entry.set(FUTILE_WRITABLE);
        self.mark_ready(connection);
    }

    /// Queues `connection` for [`plan_connection`](Self::plan_connection).
    pub(super) fn mark_ready(&mut self, connection: u32) {
        let entry = &mut self.connections[connection];
        if entry.flags & (READY | BLOCKED | CLOSING) == 0 {
            entry.set(READY);
            self.ready.push_back(connection);
        }
    }

    /// As [`Self::mark_ready`], before all others: for answers of P0.
    pub(super) fn mark_ready_first(&mut self, connection: u32) {
        let entry = &mut self.connections[connection];
        if entry.flags & (READY | BLOCKED | CLOSING) == 0 {
            entry.set(READY);
            self.ready.push_front(connection);
        }
    }
}
