//! Every bound of the archive on PostgreSQL, each with its reason.

use std::time::Duration;

/// Connections of one process by default: reads of a node and batches of a worker are short, and
/// a server has a few hundred connections for a whole fleet.
pub const CONNECTIONS_DEFAULT: usize = 8;

/// Most connections of one process.
pub const CONNECTIONS_MAX: usize = 128;

/// Time to reach the server: above it the retry is more useful than the wait.
pub const CONNECT_TIME: Duration = Duration::from_secs(2);

/// Time that a call waits for a connection of the pool.
pub const WAIT_TIME: Duration = Duration::from_secs(5);

/// Time of one statement; the server ends what takes longer. A batch of 1,000 records takes tens
/// of milliseconds.
pub const STATEMENT_TIME: Duration = Duration::from_secs(10);

/// Time that a statement waits for a lock, below the time of a statement.
pub const LOCK_TIME: Duration = Duration::from_secs(4);

/// Time of one call of the port by default, all of it: a caller that waits for history gives up
/// before.
pub const CALL_TIME: Duration = Duration::from_secs(15);

/// A connection whose peer acknowledges nothing for this long is given up.
pub const PEER_SILENT: Duration = Duration::from_secs(5);

/// Days for which record ids are unique.
pub const ID_DAYS: i32 = 8;

/// Days of history by default: well above the 24 h that namespaces promise.
pub const HISTORY_DAYS_DEFAULT: i32 = 30;

/// Days for which partitions are made ahead, so that a process that cannot make them today does
/// not stop consumption tonight.
pub const DAYS_AHEAD: i32 = 2;

/// How long what has just been archived may still have a hole that consumers of other partitions
/// fill; afterwards a hole is taken for a loss. Above any lag that is not an alarm.
pub const LAG_TIME_US: u64 = 300_000_000;

/// Attempts up to this age are judged by the backplane, which knows ids for five minutes; the
/// archive has to be complete up to it to call an id new.
pub const ATTEMPT_AGE_US: u64 = 240_000_000;

/// Rows that a page reads beyond its events: events of numberings that were lost.
pub const LOST_ROWS: usize = 64;

/// Sources, cursors and tops that were quiet for this long are forgotten. Ids of older records
/// are not known either.
pub const QUIET_DAYS: u64 = 90;

/// Sources that were quiet for this long are forgotten: two days above the ids.
pub const SOURCE_QUIET_DAYS: u64 = 10;

/// Longest text of an error that is kept with a dead letter.
pub const ERROR_BYTES_MAX: usize = 2_048;

/// Deadlines that are looked at in one transaction.
pub const DEADLINES_AT_ONCE: usize = 256;

const _: () = assert!(HISTORY_DAYS_DEFAULT >= ID_DAYS);
const _: () = assert!(SOURCE_QUIET_DAYS > ID_DAYS as u64);
