//! Bounds of a bridge, each with its reason.

use std::time::Duration;

/// How far a partition goes back when the backplane of the target may have lost what it placed
/// last (design of the lines: 60 s), in milliseconds.
pub const REWIND_MS: u64 = 60_000;

/// Pause before a call is made again that had no effect: the target's servers are sought several
/// times a second.
pub const PAUSE: Duration = Duration::from_millis(250);

/// How long what is under way may take when the process is told to stop.
pub const STOP_TIME_MAX: Duration = Duration::from_secs(10);

/// Places of a partition that are remembered for going back: one for each second of the rewind,
/// and some more.
pub const MARKS_MAX: usize = 128;
