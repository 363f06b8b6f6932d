//! Sleeping without losing a wake-up.
//!
//! **Invariants.** While running, the rings do not signal: every completion would write the
//! eventfd. Work that arrives then is not signalled later either, so after the signals are
//! enabled everything is looked at once more. With deferred completion work the flag of the
//! submission queue tells of it; a poll of the ring's own descriptor never would.

use std::sync::atomic::{fence, Ordering};

use super::EdgeRing;

impl EdgeRing {
    pub(super) fn signal_all(&mut self, on: bool) {
        self.sync_ring.signal(on);
        for ring in &mut self.rings {
            ring.signal(on);
        }
    }

    pub(super) fn prepare_sleep(&mut self) -> bool {
        // What this side knows without a look at the rings.
        if self.ready != 0 || self.sync_ready || !self.pending.is_empty() || !self.closes.is_empty()
        {
            return false;
        }
        self.signal_all(true);
        // The signals must be visible to the kernel before its flags are read here: it orders
        // its flag before its look at the signals in the same way.
        fence(Ordering::SeqCst);
        if self.has_work() {
            self.signal_all(false);
            return false;
        }
        self.counters.sleeps += 1;
        true
    }

    fn has_work(&mut self) -> bool {
        self.handshakes.starving()
            || self.sync_ring.wants_enter()
            || self.sync_ring.unread() > 0
            || self
                .rings
                .iter_mut()
                .any(|ring| ring.wants_enter() || ring.unread() > 0 || !ring.starved.is_empty())
    }
}
