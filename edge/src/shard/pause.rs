//! Connections that are not read for a while.
//!
//! Purpose: the answer to a client that goes on although it was told to wait. Its receive ends,
//! so that its socket fills up and TCP slows it; after the pause it is armed again. Bytes that
//! were on their way when the pause began are still used up.
//!
//! Invariants: a paused connection is marked [`PAUSED`], has one entry here, and is read again
//! when the pause is over, unless it has ended. Time in which the node did not read counts
//! neither against an answer to a heartbeat nor against a begun message.
//!
//! Limits: a pause is at most [`PAUSE_MAX_MS`]; one entry of 16 bytes for each paused connection.
//!
//! Thread: the shard.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use interlink_uring::{Kernel, SocketId};

use super::connection::{AWAITING_PONG, CLOSE_WHEN_SENT, CLOSING, PAUSED};
use super::Shard;

/// Shortest pause: below it ending and arming a receive would cost more than it saves.
pub const PAUSE_MIN_MS: u32 = 50;
/// Longest pause: what the client sends meanwhile, as the close of a page, is noticed after it.
pub const PAUSE_MAX_MS: u32 = 1_000;

/// Connections that are not read now.
#[derive(Debug, Default)]
pub struct Pauses {
    /// Receives that have to end.
    begun: Vec<SocketId>,
    /// When whom to read again, in shard milliseconds.
    ends: BinaryHeap<Reverse<(u32, SocketId)>>,
}

impl Pauses {
    /// When the next pause ends, in shard milliseconds.
    pub fn next_end_ms(&self) -> Option<u32> {
        self.ends.peek().map(|Reverse((end_ms, _))| *end_ms)
    }

    fn take_ended(&mut self, now_ms: u32) -> Option<SocketId> {
        let end_ms = self.next_end_ms()?;
        if end_ms > now_ms {
            return None;
        }
        self.ends.pop().map(|Reverse((_, socket))| socket)
    }
}

impl Shard {
    /// Stops reading a connection for `pause_ms`, within the bounds of this module.
    pub(super) fn pause_reading(&mut self, connection: u32, pause_ms: u32) {
        let entry = &mut self.connections[connection];
        if entry.flags & (PAUSED | CLOSE_WHEN_SENT | CLOSING) != 0 {
            return;
        }
        entry.set(PAUSED);
        let socket = entry.socket;
        self.counters.reads_paused += 1;
        self.pauses.begun.push(socket);
        let end_ms = self.clock.now_ms + pause_ms.clamp(PAUSE_MIN_MS, PAUSE_MAX_MS);
        self.pauses.ends.push(Reverse((end_ms, socket)));
    }

    /// Ends the receives of pauses that began, and arms those of pauses that are over.
    pub(super) fn keep_pauses<K: Kernel>(&mut self, kernel: &mut K) {
        for socket in self.pauses.begun.drain(..) {
            kernel.stop_receive(socket);
        }
        while let Some(socket) = self.pauses.take_ended(self.clock.now_ms) {
            if let Some(connection) = self.connection_of(socket) {
                self.read_again(kernel, connection);
            }
        }
    }

    fn read_again<K: Kernel>(&mut self, kernel: &mut K, connection: u32) {
        let entry = &mut self.connections[connection];
        entry.clear(PAUSED);
        if entry.is(CLOSING) {
            return;
        }
        let (socket, partial) = (entry.socket, entry.partial);
        if entry.is(AWAITING_PONG) {
            self.allow_pong_again(connection);
        }
        let now_ms = self.clock.now_ms.max(1);
        if self.partials.restart(partial, now_ms) {
            self.unfinished_messages.push_back((socket, now_ms));
        }
        kernel.arm_receive(socket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_end_in_the_order_of_their_ends() {
        let socket = |slot| SocketId::new(0, 1, slot);
        let mut pauses = Pauses::default();
        for (end_ms, slot) in [(30, 1), (10, 2), (20, 3)] {
            pauses.ends.push(Reverse((end_ms, socket(slot))));
        }
        assert_eq!(pauses.next_end_ms(), Some(10));
        assert_eq!(pauses.take_ended(9), None);
        assert_eq!(pauses.take_ended(20), Some(socket(2)));
        assert_eq!(pauses.take_ended(20), Some(socket(3)));
        assert_eq!(pauses.take_ended(20), None);
        assert_eq!(pauses.take_ended(30), Some(socket(1)));
        assert_eq!(pauses.next_end_ms(), None);
    }
}
