//! Every bound of the Kafka clients, each with its reason.

use crate::limits::{FRAME_BYTES_MAX, PORT_BATCH_MAX};

/// Longest prefix of topic names: Kafka allows 249 bytes for a whole name.
pub const TOPIC_PREFIX_BYTES: usize = 100;

/// First pause before a broker is tried again, milliseconds.
pub const RECONNECT_MS: u32 = 100;

/// Longest pause, milliseconds: feeding goes on within two seconds after brokers are back.
pub const RECONNECT_MAX_MS: u32 = 2_000;

/// A broker that answers nothing for this long, milliseconds, is given up and tried anew; a
/// stopped process is seen in a third of the time in which recovery must be done.
pub const SOCKET_TIMEOUT_MS: u32 = 10_000;

/// Time for a connection with TLS and credentials, milliseconds.
pub const CONNECT_MS: u32 = 5_000;

/// How often leaders are asked for when nothing fails, milliseconds.
pub const METADATA_MS: u32 = 30_000;

/// Records of a class that are fed and not yet acknowledged: 50,000 records/s of P3, which wait
/// 100 ms for their batch and some more for the disk of three brokers, need about 10,000.
pub const UNACKNOWLEDGED_MAX: usize = 16_384;

/// Bytes of a class that are fed and not yet acknowledged; four classes of ours, and as much
/// again inside the client library.
pub const UNACKNOWLEDGED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How long P0 and P1 wait for company in a batch, milliseconds.
pub const LINGER_FAST_MS: u32 = 2;

/// How long P2 and P3 wait for company in a batch, milliseconds.
pub const LINGER_BATCH_MS: u32 = 100;

/// Records of a batch of one partition (mission 1.5).
pub const BATCH_RECORDS: usize = 1_000;

/// Bytes at which a batch for a consumer is complete, so that what a consumer holds is bounded
/// by its partitions.
pub const BATCH_BYTES: usize = 1024 * 1024;

/// Time after which a batch for a consumer is complete, milliseconds (mission 1.5).
pub const BATCH_MS: u64 = 100;

/// Pause before a failed producer or consumer is made again, milliseconds: a cluster that
/// refuses everything is asked twice a second by each class.
pub const REMAKE_MS: u64 = 500;

/// How long a dropped client may take to end, milliseconds.
pub const FLUSH_STEP_MS: u64 = 50;

/// Session of a group's member, milliseconds: its partitions go to others after this time.
pub const SESSION_MS: u32 = 10_000;

/// Heartbeats of a member, milliseconds: three are missed before the session ends.
pub const HEARTBEAT_MS: u32 = 3_000;

/// Time in which a reader must come back to its consumer, milliseconds. It polls while batches
/// are worked on, so only a stopped process meets this.
pub const MAX_POLL_MS: u32 = 60_000;

/// Bytes that a consumer fetches ahead, KiB, over all of its partitions.
pub const FETCH_AHEAD_KIB: u32 = 16 * 1024;

/// Records that a consumer fetches ahead for a partition.
pub const FETCH_AHEAD_RECORDS: u32 = 1_000;

/// How long a broker waits for the first record of a fetch, milliseconds.
pub const FETCH_WAIT_MS: u32 = 100;

/// How long offsets of a group are asked for before it is tried again, milliseconds.
pub const OFFSETS_MS: u64 = 5_000;

/// How often topics are asked for their replicas, seconds: a setting that was taken back is
/// claimed for no longer.
pub const REPLICAS_SECS: u64 = 60;

/// Pause before they are asked again when nobody has answered, seconds.
pub const REPLICAS_AGAIN_SECS: u64 = 2;

/// How long an answer is waited for, seconds.
pub const REPLICAS_WAIT_SECS: u64 = 5;

/// Partitions of a stretch that are read at a time, each with one batch that gathers.
pub const STRETCH_LANES: usize = 16;

/// Batches of a stretch that wait for whoever reads it; a full queue stops the reading.
pub const STRETCH_BATCHES: usize = 8;

/// A question about the ends of a stretch is given up after this, milliseconds, and asked again.
pub const STRETCH_ASK_MS: u64 = 5_000;

/// When nothing has come for so long, milliseconds, from brokers that answer, partitions of a
/// stretch that are not at their ends have nothing more: what stands there is no record.
pub const STRETCH_SILENCE_MS: u64 = 10_000;

/// Orders that wait for a consumer's thread; a worker gives one for each batch.
pub const ORDERS_MAX: usize = 1_024;

/// Longest sleep of a consumer's thread, milliseconds; it is woken by records and orders.
pub const IDLE_MS: u64 = 250;

/// How long a read of an empty log waits for records, milliseconds.
pub const READ_WAIT_MS: u64 = 150;

/// Groups that one log reads for.
pub const GROUPS_MAX: usize = 16;

/// Headers that are looked at in one record; ours have five.
pub const HEADERS_MAX: usize = 32;

/// Longest name of a node or region in a header.
pub const NAME_BYTES_MAX: usize = 255;

const _: () = assert!(UNACKNOWLEDGED_MAX >= 2 * PORT_BATCH_MAX);
const _: () = assert!(UNACKNOWLEDGED_BYTES_MAX >= 2 * PORT_BATCH_MAX * 64 * 1024 / 2);
const _: () = assert!(
    BATCH_BYTES >= FRAME_BYTES_MAX + 4096,
    "one record always fits"
);
const _: () = assert!(SESSION_MS >= 3 * HEARTBEAT_MS);
