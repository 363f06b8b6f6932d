//! `Doorbell`: wakes the thread that takes from lanes, and only when it sleeps.
//!
//! How: the taker says that it parks, then looks at its lanes once more, then sleeps on its
//! eventfd. The pusher pushes everything, then looks whether the taker is parked. A SeqCst
//! fence on both sides, between the write and the look, makes at least one of them see the
//! other (Dekker's argument): a push is found before the sleep, or it ends the sleep.
//!
//! Invariants: at most one wake-up is written for each time that the taker parks; without a
//! sleeping taker ringing costs a fence and a load.
//!
//! Runs on: `ring` on any thread; the rest on the taking thread.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{fence, AtomicBool, Ordering};
use std::sync::OnceLock;

/// The bell of one taking thread.
#[derive(Debug, Default)]
pub struct Doorbell {
    parked: AtomicBool,
    /// A duplicate of the taker's eventfd, so that a bell that rings late never writes to a
    /// descriptor that was closed and given to something else.
    wake: OnceLock<File>,
}

impl Doorbell {
    /// A bell that nobody sleeps behind yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the eventfd on which the taker sleeps. Later calls change nothing.
    ///
    /// # Errors
    /// When the descriptor cannot be duplicated.
    pub fn attach(&self, wake: RawFd) -> io::Result<()> {
        // SAFETY: the call duplicates a descriptor by number and touches no memory; a number
        // that is not open is answered with EBADF.
        let copy = unsafe { libc::fcntl(wake, libc::F_DUPFD_CLOEXEC, 0) };
        if copy < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just made this descriptor for us and nobody else knows it.
        let copy = unsafe { OwnedFd::from_raw_fd(copy) };
        // A second attach drops its copy, which closes it.
        let _first_wins = self.wake.set(File::from(copy));
        Ok(())
    }

    /// Wakes the taker if it sleeps. Call it once a turn, after all pushes of the turn.
    pub fn ring(&self) {
        // The pushes before the fence are visible to a taker whose own fence comes later.
        fence(Ordering::SeqCst);
        if self.parked.load(Ordering::Relaxed) && self.parked.swap(false, Ordering::AcqRel) {
            self.write();
        }
    }

    /// Says that the taker is about to sleep. It must look at its lanes after this and before
    /// it sleeps.
    pub fn park(&self) {
        self.parked.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Says that the taker is awake. A bell that rang meanwhile leaves its count on the
    /// eventfd, which makes one later sleep short and harms nothing.
    pub fn unpark(&self) {
        self.parked.store(false, Ordering::Relaxed);
    }

    /// Whether the taker is parked; for tests and metrics.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.parked.load(Ordering::Relaxed)
    }

    fn write(&self) {
        let Some(mut wake) = self.wake.get() else {
            return;
        };
        // A full counter means that a wake-up is pending already, which is what we want.
        let _pending = wake.write(&1u64.to_ne_bytes());
    }
}
