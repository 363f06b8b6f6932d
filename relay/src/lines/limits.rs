//! Limits of the lines, each with its reason.

use crate::limits::PORT_BATCH_MAX;

/// Records in one call: what one script call may take.
pub const CALL_RECORDS_MAX: usize = PORT_BATCH_MAX;

/// Records of one log that wait in memory for one cursor; later ones are read from the journal
/// again. Two seconds of a node's busiest log.
pub const LANE_RECORDS_MAX: usize = 64 * 1024;

/// Their bytes: a quarter of a node's budget for a log, whatever their size.
pub const LANE_BYTES_MAX: usize = 32 << 20;

/// Newest records of one log that are kept while it is read from the journal: a third of a second
/// at full load, many times what a read takes, so that reading meets them.
pub const AHEAD_RECORDS_MAX: usize = 16 * 1024;

/// Their bytes.
pub const AHEAD_BYTES_MAX: usize = 8 << 20;

/// Memory of a record beside its frame and channel.
pub const RECORD_BYTES: usize = 200;

/// Records that one read of the journal brings: as many as four calls take.
pub const READ_RECORDS: usize = 4 * CALL_RECORDS_MAX;

/// Pause before a read that failed is tried again: what refuses a read is rarely over sooner, and
/// a thread that tries at once takes a core.
pub const READ_PAUSE_US: u64 = 100_000;

/// How long a record waits for its position before it is fed without: as long as Redis takes for
/// a call when it is busy. The position follows.
pub const POSITION_WAIT_US: u64 = 50_000;

/// How far a line goes back when its server may have lost what was placed last: an asynchronous
/// replica is behind by milliseconds, and a minute covers one that was cut off.
pub const REWIND_US: u64 = 60_000_000;

/// Records of a line whose times of placement are this near are kept as one stretch: a rewind
/// goes back by at most this much more.
pub const SPAN_US: u64 = 1_000_000;

/// Stretches of a log that a line keeps: four times those of a rewind's minute, since records that
/// moved divide them. 130 bytes each.
pub const SPANS_MAX: usize = 4 * (REWIND_US / SPAN_US) as usize;

/// Attempts to ask a server how much it has of a line: one that cannot be asked is given the whole
/// minute, as soon as it takes calls again.
pub const QUESTIONS_MAX: u32 = 3;

/// Records of rewinds that wait in memory.
pub const REWIND_RECORDS_MAX: usize = 4 * READ_RECORDS;

/// How long after its acceptance a record may be asked for its place: the backplane remembers ids
/// for five minutes at least, and one that it has forgotten would be placed again.
pub const ASK_WITHIN_US: u64 = 240_000_000;

/// Records whose places are to be asked and that wait in memory.
pub const ASKED_MAX: usize = 16 * 1024;

/// Batches of a class that are on their way to Kafka at once: three brokers that catch up after
/// an outage may take 200 ms for one, and this many still give 40,000 records a second. Half of
/// what the log holds unacknowledged.
pub const BATCHES_MAX: usize = 32;

/// Positions of a node that are kept for records which were not fed yet, 56 bytes each: what
/// 15,000 events/s leave in a minute without Kafka. Those of later records are asked of the
/// backplane once more.
pub const POSITIONS_MAX: usize = 1024 * 1024;

/// Positions of records that were fed without, which wait to be told; with more the backplane is
/// asked for no further ones until Kafka takes them.
pub const POSITIONED_MAX: usize = 16 * 1024;

const _: () = assert!(
    READ_RECORDS <= LANE_RECORDS_MAX / 2,
    "a read fits a lane that reads"
);
const _: () = assert!(AHEAD_RECORDS_MAX + LANE_RECORDS_MAX / 2 <= LANE_RECORDS_MAX);
const _: () = assert!(
    REWIND_US + SPAN_US < ASK_WITHIN_US,
    "rewound ids are remembered"
);
