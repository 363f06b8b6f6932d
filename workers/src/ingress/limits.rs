//! Bounds of publishing for back ends, each with its reason.

use std::time::Duration;

/// Calls under way, over all partitions: the server API takes 1,024 connections from all callers.
pub const CALLS_MAX: usize = 64;

/// First pause after a failed attempt (mission 1.7, real time).
pub const PAUSE_FIRST: Duration = Duration::from_millis(25);

/// Longest pause: an edge that is back is used within seconds.
pub const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long brokers may take to tell or move a mark of attempts.
pub const MARK_WAIT: Duration = Duration::from_secs(5);

/// How long what is under way may take when the process is told to stop.
pub const STOP_TIME_MAX: Duration = Duration::from_secs(10);

/// Largest record; the server API takes 4 MiB a body, and payloads are far smaller.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;

const _: () = assert!(PAUSE_FIRST.as_millis() < PAUSE_MAX.as_millis());
