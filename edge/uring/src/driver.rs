//! A plain blocking loop around an [`EdgeRing`]: no runtime, one thread.
//!
//! **Purpose.** Load generators, tests and measurements run a [`Turn`] here; a runtime's task
//! does the same steps in its own loop.
//!
//! **Invariants.** The loop sleeps only after [`Kernel::start_sleep`] agreed. The timer of the
//! kernel ends a sleep, so a sleep is one blocking read of the eventfd.

use std::io;

use crate::edge_ring::EdgeRing;
use crate::kernel::Kernel;

/// What the loop does after a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Another turn at once.
    Again,
    /// Sleep until something happens, at most until this time (CLOCK_MONOTONIC, nanoseconds).
    SleepUntil(Option<u64>),
    /// End the loop.
    Stop,
}

/// One turn of whatever the loop drives.
pub trait Turn {
    /// Takes events with [`Kernel::next_event`] and starts operations. The loop has entered the
    /// kernel before and ends the turn afterwards. `now_ns` is CLOCK_MONOTONIC.
    fn turn(&mut self, kernel: &mut impl Kernel, now_ns: u64) -> Next;

    /// The turn is over and the loop is about to sleep: a clock read that costs nobody, for
    /// who measures turns. Between turns without sleep the next turn's time says the same.
    fn rests(&mut self, _now_ns: u64) {}
}

/// Drives `turn` on the current thread until it stops.
///
/// # Errors
/// When the kernel can no longer be entered, or the eventfd not be read.
pub fn run(kernel: &mut EdgeRing, turn: &mut impl Turn) -> io::Result<()> {
    loop {
        kernel.enter()?;
        let next = turn.turn(kernel, monotonic_ns());
        kernel.end_turn();
        match next {
            Next::Stop => return Ok(()),
            Next::Again => {}
            Next::SleepUntil(deadline_ns) => {
                kernel.wake_at(deadline_ns);
                // A deadline that is new leaves an entry to submit, so the loop goes round once.
                if kernel.start_sleep() {
                    turn.rests(monotonic_ns());
                    let slept = wait(kernel);
                    kernel.end_sleep();
                    slept?;
                }
            }
        }
    }
}

/// CLOCK_MONOTONIC in nanoseconds.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call fills the struct that it is given and keeps nothing. It cannot fail for
    // this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn wait(kernel: &EdgeRing) -> io::Result<()> {
    let mut count = 0_u64;
    loop {
        // SAFETY: eight bytes are read into a number of eight bytes.
        let read = unsafe { libc::read(kernel.wake_descriptor(), (&raw mut count).cast(), 8) };
        if read == 8 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
