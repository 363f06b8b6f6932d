//! Admission: how many clients may be on their way in.
//!
//! Limits: at most [`ACCEPTS_ARMED`] accepts wait in the kernel, and at most
//! `limits.unfinished_handshakes` connections of the process are between accept and
//! `Hello`. At that bound nothing is re-armed and clients wait in the backlog.
//!
//! Thread: the shard.

use std::sync::atomic::Ordering;

use interlink_uring::Kernel;

use super::Shard;

/// Accepts that wait in the kernel.
const ACCEPTS_ARMED: usize = 32;
/// The shard's only listener.
const LISTENER: u8 = 0;
/// After the kernel refused an accept, the listener rests this long.
const REST_MS: u32 = 100;

impl Shard {
    /// Whether as many handshakes are unfinished as may be.
    pub(super) fn accepts_are_full(&self) -> bool {
        let unfinished = self.shared.unfinished_handshakes.load(Ordering::Relaxed);
        unfinished + ACCEPTS_ARMED >= self.limits.unfinished_handshakes
    }

    /// Arms accepts, or lets the listener rest.
    pub(super) fn rearm_accepts<K: Kernel>(&mut self, kernel: &mut K) {
        let resting = self.clock.now_ms < self.accept_rests_until_ms;
        let full = self.connections_are_full() || self.accepts_are_full();
        let closed = self.stopping || !self.is_ready();
        let wanted = if closed || resting || full {
            0
        } else {
            ACCEPTS_ARMED
        };
        if wanted != self.accepts_wanted {
            self.accepts_wanted = wanted;
            kernel.accept(LISTENER, wanted);
            if let Some(listening) = self.listening.take() {
                // The starter may have given up waiting.
                let _ = listening.send(Ok(()));
            }
        }
    }

    /// Whether clients can be served: everything older has its number, and the journal has
    /// segments to write to.
    fn is_ready(&self) -> bool {
        self.has_taken_over() && (self.listening.is_none() || self.journal.journal.is_ready())
    }

    fn connections_are_full(&self) -> bool {
        self.open_connections as usize >= self.limits.max_sessions
    }

    /// The kernel refused an accept: no descriptor or no memory. It is tried again after a
    /// rest; clients wait in the backlog meanwhile.
    pub(super) fn on_accept_failed(&mut self, errno: i32) {
        self.counters.accept_failures += 1;
        let out_of_room = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
        if out_of_room.contains(&errno) {
            self.accept_rests_until_ms = self.clock.now_ms + REST_MS;
            self.accepts_wanted = 0;
        }
    }
}
