//! Every bound of consumers whose offsets are in the database, each with its reason.

use std::time::Duration;

/// First pause after an error of the connection.
pub const PAUSE_FIRST: Duration = Duration::from_millis(250);

/// Longest pause: a database that came back is used within this time.
pub const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Attempts of one record whose values the database refuses.
pub const ATTEMPTS: u32 = 5;

/// Pause after the first of them, doubled by each.
pub const ATTEMPT_PAUSE: Duration = Duration::from_secs(1);

/// How often partitions without traffic are told to be complete: often enough that a lookup of an
/// id, which bears four minutes, does not wait for it.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(20);

/// Time of a question for the end of a partition.
pub const WATERMARK_TIME: Duration = Duration::from_secs(5);

/// How often partitions of the database are made and dropped.
pub const UPKEEP_EVERY: Duration = Duration::from_secs(3600);

/// How long batches under way may take when the process is told to stop; those that take longer
/// come again.
pub const STOP_TIME_MAX: Duration = Duration::from_secs(20);

/// How often due deadlines are looked for.
pub const DEADLINES_EVERY: Duration = Duration::from_secs(1);

/// How long a device has to acknowledge a P0 event before it is escalated: the time of a
/// reconnect with its five attempts (1, 2, 4, 8, 16 s), twice.
pub const ESCALATE_AFTER_US: u64 = 60_000_000;
