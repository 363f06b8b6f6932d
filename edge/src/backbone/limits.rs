//! Limits of the relay thread, each with its reason.

use std::time::Duration;

/// Entries that one take of the lanes brings.
pub const TAKE: usize = 64;

/// Takes of the lanes before brokers are looked at again: enough that a busy shard does not
/// wait for the thread, few enough that calls leave at once.
pub const TAKES_PER_ROUND: usize = 16;

/// Events of the backplane that one round gives to the shards.
pub const EVENTS_PER_ROUND: usize = 1_024;

/// Entries that wait for shards whose lanes are full, before nothing more is taken from the
/// backplane: as many as two lanes hold.
pub const OUTGOING_MAX: usize = 16 * 1024;

/// Events that nobody stores and that wait to be told to other nodes; later ones are lost. A
/// second of what a node tells.
pub const TELLS_MAX: usize = 4 * 1024;

/// Frames to other nodes that are under way at the backplane, of 16 KiB at most: one for each
/// that a full cluster has, and little beside what it takes of records.
pub const NODE_CALLS_MAX: usize = 64;

/// Records that one read of the journal brings: as many as four calls to the backplane.
pub const READ_RECORDS: usize = 1_024;

/// Longest sleep, so that the thread's counters and time move on.
pub const SLEEP_MAX: Duration = Duration::from_millis(250);

/// Pause before subscriptions that failed are asked again, and between two probes of a backplane
/// that is away.
pub const TRY_AGAIN_US: u64 = 250_000;

/// How often the place up to which everything is settled is written: what a restart repeats
/// at most, beside what is under way. Each write is synced.
pub const SETTLED_EVERY_US: u64 = 1_000_000;

/// How long the records of P0 may wait for Kafka before it counts as away: three times what a
/// healthy cluster takes for a change of leader that is noticed at once.
pub const LOG_AWAY_AFTER_US: u64 = 3_000_000;

/// Calls to Redis up to this are not slow: a full batch under load takes ten times what a single
/// record takes at night, and twice this is still within what chat promises.
pub const REDIS_FLOOR_US: u64 = 25_000;

/// Reads of Redis up to this are not slow: a full page of history, or as many subscriptions as the
/// port takes, which come together when clients return.
pub const READS_FLOOR_US: u64 = 100_000;

/// Appends to Kafka up to this are not slow: the linger of P2 and P3 alone is 100 ms.
pub const KAFKA_FLOOR_US: u64 = 250_000;

/// An append that has waited for so long counts as failed: an attempt of the class `standard`. It
/// is not given up, since the producer repeats it itself.
pub const APPEND_US: u64 = 30_000_000;

/// How often the share of lines that tries is another one: every line has its turn within ten
/// seconds, a third of the trial.
pub const TURN_US: u64 = 1_000_000;

/// How long the thread goes on for what is under way once the last shard has ended.
pub const LAST_WORDS: Duration = Duration::from_secs(2);

/// Calls to the archive up to this are not slow: a page of history that is not in its memory.
pub const ARCHIVE_FLOOR_US: u64 = 100_000;

/// A call to the archive that has waited for so long counts as failed: above the longest time that
/// may be configured for one.
pub const ARCHIVE_CALL_US: u64 = 90_000_000;

/// How often moved cursors are written: what a device that changes nodes gets once more. Each
/// write is a transaction.
pub const CURSORS_EVERY_US: u64 = 100_000;

/// Cursors of one write.
pub const CURSORS_AT_ONCE: usize = 1_024;

/// Cursors that wait while the archive is away, of about 200 bytes each: as many as a node holds.
pub const CURSORS_MAX: usize = interlink_relay::limits::CURSORS_MAX;

/// How long events may be on their way to the archive before it is believed that it will not have
/// them: the same as in the archive's own judgement of holes.
pub const ARCHIVE_LAG_US: u64 = 300_000_000;

/// Channels that are read at once of the archive for a Redis that has lost them: about a hundred
/// for each partition, and two megabytes.
pub const SEED_PAGE: usize = 16 * 1024;

/// Calls that give them to Redis at once, beside those of records.
pub const SEED_CALLS_MAX: usize = 16;

/// Pause after such a call failed.
pub const SEED_AGAIN_US: u64 = 1_000_000;

/// An archive of which nothing was asked for so long is asked whether it is there.
pub const ARCHIVE_PROBE_US: u64 = 5_000_000;

/// How often it is said that lines wait for the archive.
pub const ARCHIVE_WARN_US: u64 = 10_000_000;
