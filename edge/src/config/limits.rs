//! Bounds of configuration values that code elsewhere relies on, each with its reason.
//!
//! Runs on: any thread; these are constants.

use interlink_protocol::limits as protocol;

/// Most shards of a node. Lanes stand between every pair of shards, so their memory
/// grows with the square of this; 64 cores is the largest host that is planned for.
pub const SHARDS_MAX: u32 = 64;

/// Fewest unfinished handshakes that a node may be limited to: every shard of the largest host
/// keeps one accept armed and has room for one handshake.
pub const UNFINISHED_HANDSHAKES_MIN: u32 = 2 * SHARDS_MAX;

/// Most rings of one shard: a ring's number takes 8 bits of a socket id, and the
/// shard visits each ring in every turn.
pub const RINGS_MAX: u32 = 64;

/// Slots of one ring when the open-file limit allows it; the kernel binds the size
/// of a direct descriptor table to that limit.
pub const SLOTS_PER_RING_MAX: u32 = 20_000;

/// Most sessions of a node: all slots of all rings of one shard.
pub const SESSIONS_MAX: u32 = RINGS_MAX * SLOTS_PER_RING_MAX;

/// Smallest frame cap: a `Hello` with a token of a few KiB has to fit.
pub const FRAME_BYTES_MIN: u64 = 8 << 10;

/// Largest frame cap: what the protocol allows.
pub const FRAME_BYTES_MAX: u64 = protocol::FRAME_BYTES as u64;

/// Largest payload limit of a namespace: what fits a frame with its names and ids.
pub const PAYLOAD_BYTES_MAX: u64 = protocol::PAYLOAD_BYTES as u64;

/// Most subscriptions of a session: a `Hello` that resumes it lists them all, and the
/// protocol bounds that list.
pub const SUBSCRIPTIONS_MAX: u32 = protocol::SUBSCRIPTIONS_PER_SESSION as u32;

/// Most unacknowledged publishes of a session: the deduplication window of one
/// publisher instance remembers 1,024 ids.
pub const PUBLISH_CREDIT_MAX: u32 = 1_024;

/// Smallest journal segment: a start or end of a segment costs directory work, which
/// has to stay rare beside group commits of 64 KiB.
pub const SEGMENT_BYTES_MIN: u64 = 4 << 20;

/// Largest journal segment: recovery reads the tail of one segment a kind, and the
/// quota is counted in segments.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// Segments that the quota has to hold at least, for each shard: two kinds, each with
/// one open and one prepared, and as many again to retain.
pub const SEGMENTS_PER_SHARD_MIN: u64 = 8;

/// Most clients that a node sends away in a second: what the largest host takes in.
pub const RECONNECTS_MAX: u32 = 1_000_000;

/// Most networks of proxies: each accepted connection is compared with all of them.
pub const PROXIES_MAX: usize = 64;

/// Smallest burst: a `Subscribe` of as many channels as one may list counts as so many messages,
/// and has to be possible.
pub const BURST_MIN: u32 = protocol::ITEMS_PER_FRAME as u32;

/// Most history entries of a channel.
pub const HISTORY_EVENTS_MAX: u32 = 100_000;

/// Most partitions of the numbering: each has its keys in Redis and a line on every node, and
/// Redis Cluster has 16,384 slots.
pub const PARTITIONS_MAX: u32 = 4_096;

/// Longest configuration file. A file with every property and every namespace has
/// less than a tenth of it.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

const _: () = assert!(FRAME_BYTES_MIN <= FRAME_BYTES_MAX);
const _: () = assert!(SEGMENT_BYTES_MIN <= SEGMENT_BYTES_MAX);
const _: () = assert!(RINGS_MAX <= 256, "a ring number has 8 bits");
const _: () = assert!(SLOTS_PER_RING_MAX < 1 << 24, "a slot number has 24 bits");
