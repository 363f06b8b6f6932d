//! The end: nothing in the kernel may point at memory that is freed.
//!
//! **Invariants.** All operations are cancelled first. If an accept does not end in time, its
//! memory is left to the kernel.

use std::thread;
use std::time::{Duration, Instant};

use super::EdgeRing;
use crate::kernel::Kernel;

/// How long the drop of an `EdgeRing` waits for operations that cannot be cancelled.
const PATIENCE: Duration = Duration::from_secs(2);

impl Drop for EdgeRing {
    fn drop(&mut self) {
        self.accepts.rest();
        self.sync_ring.cancel_all(&mut self.counters);
        for ring in &mut self.rings {
            ring.cancel_all(&mut self.counters);
        }
        let started = Instant::now();
        loop {
            // Events are dropped: a client that was accepted meanwhile is closed by that.
            let entered = self.enter().is_ok();
            while self.next_event().is_some() {}
            let quiet = self.accepts.quiet();
            if quiet || !entered || started.elapsed() > PATIENCE {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        if !self.accepts.quiet() {
            self.accepts.leak();
        }
    }
}
