//! Admission: how many clients may be on their way in.
//!
//! Limits: at most [`ACCEPTS_ARMED_MAX`] accepts of a shard wait in the kernel, and at
//! most `limits.unfinished_handshakes` connections of the process are between accept and
//! `Hello`. What all shards have armed counts as accepted, since it may be at any time.
//! At the bound nothing is armed and clients wait in the backlog.
//!
//! Invariant: accepts are armed at the end of a turn only, when every client that the kernel
//! reported is counted.
//!
//! Thread: the shard.

use std::sync::atomic::Ordering;

use interlink_uring::Kernel;

use super::Shard;

/// Most accepts of a shard that wait in the kernel: a burst is taken without a round trip.
const ACCEPTS_ARMED_MAX: usize = 32;
/// After the kernel refused an accept, the listener rests this long.
const REST_MS: u32 = 100;

/// The listeners of a shard.
#[derive(Debug, Default)]
pub struct Accepting {
    /// How many there are.
    pub listeners: u8,
    /// They rest until then, in shard milliseconds.
    rests_until_ms: u32,
}

impl Shard {
    /// Whether as many handshakes are unfinished as may be.
    pub(super) fn accepts_are_full(&self) -> bool {
        let unfinished = self.shared.unfinished_handshakes.load(Ordering::Relaxed);
        let armed = self.accepts_to_arm() * usize::from(self.shards);
        unfinished + armed >= self.limits.unfinished_handshakes
    }

    /// Accepts that this shard arms: all shards together leave half of the room to handshakes
    /// that have begun.
    fn accepts_to_arm(&self) -> usize {
        let share = self.limits.unfinished_handshakes / (2 * usize::from(self.shards));
        share.clamp(1, ACCEPTS_ARMED_MAX)
    }

    /// Arms accepts, or lets the listener rest.
    pub(super) fn rearm_accepts<K: Kernel>(&mut self, kernel: &mut K) {
        let resting = self.clock.now_ms < self.accepting.rests_until_ms;
        let full = self.connections_are_full() || self.accepts_are_full();
        let closed = self.drain.refuses_work() || !self.is_ready();
        let wanted = if closed || resting || full {
            0
        } else {
            self.accepts_to_arm()
        };
        if self.drain.closes_listeners() {
            (0..self.accepting.listeners).for_each(|listener| kernel.close_listener(listener));
        }
        for listener in 0..self.accepting.listeners {
            // A shard has more than one only after a process with more shards.
            kernel.accept(
                listener,
                wanted.div_ceil(usize::from(self.accepting.listeners)),
            );
        }
        if wanted > 0 {
            if let Some(listening) = self.listening.take() {
                // The starter may have given up waiting.
                let _ = listening.send(Ok(()));
            }
        }
    }

    /// Whether clients can be served: everything older has its number, and the journal has
    /// segments to write to.
    pub(super) fn is_ready(&self) -> bool {
        self.has_taken_over() && (self.listening.is_none() || self.journal.journal.is_ready())
    }

    fn connections_are_full(&self) -> bool {
        self.open_connections as usize >= self.limits.max_sessions
    }

    /// The kernel refused an accept. If for want of descriptors or memory, or because the socket
    /// does not listen, it is tried again after a rest; clients wait in the backlog meanwhile.
    pub(super) fn on_accept_failed(&mut self, errno: i32) {
        self.counters.accept_failures += 1;
        let out_of_room = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
        let not_listening = [libc::EINVAL, libc::EBADF];
        if out_of_room.contains(&errno) || not_listening.contains(&errno) {
            self.accepting.rests_until_ms = self.clock.now_ms + REST_MS;
        }
    }
}
