//! Every bound of this crate, each with its reason.
//!
//! Sizes are bytes, times are what the name's last word says. Derived relations are
//! const assertions at the end, so that changing one bound cannot silently break another.

/// Blocks start and end on this boundary. A sector that is durable is then never written
/// again, so that a torn write can hurt only what it carries itself.
pub const BLOCK_ALIGN: usize = 512;

/// A block is closed once it holds this much; with a group commit of this size the
/// fixed cost of a sync (about 50 us of CPU) is below 1 ns a byte.
pub const BLOCK_BYTES_TARGET: usize = 64 * 1024;

/// Largest encoded event frame. The protocol caps frames at 64 KiB by default; four times
/// that leaves room for configured caps without letting one record fill a segment.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;

/// Longest channel name in bytes; a name's length is stored in 16 bits and the protocol
/// allows less.
pub const CHANNEL_BYTES_MAX: usize = 1024;

/// Largest block: a full one plus the record that closed it, rounded up.
pub const BLOCK_BYTES_MAX: usize = 512 * 1024;

/// Default segment: at 60 MB/s one lasts a quarter of a second, ten times as long as
/// writing a fresh one takes, and a start reads at most one unsealed one per stream.
pub const SEGMENT_BYTES_DEFAULT: u32 = 16 * 1024 * 1024;

/// Smallest segment: tests roll often with it.
pub const SEGMENT_BYTES_MIN: u32 = 1024 * 1024;

/// Largest segment: file offsets inside one are stored in 32 bits, and an unsealed one
/// is read completely at start.
pub const SEGMENT_BYTES_MAX: u32 = 256 * 1024 * 1024;

/// Segments that the urgent stream keeps ready besides the current one. The last of them
/// is touched by P0 only: its preallocated room.
pub const URGENT_SEGMENTS_AHEAD: usize = 3;

/// Segments that the background stream keeps ready.
pub const BACKGROUND_SEGMENTS_AHEAD: usize = 1;

/// Segments that the start of a shard takes: one to write and those ahead, in each log.
pub const SEGMENTS_AT_START: usize = URGENT_SEGMENTS_AHEAD + BACKGROUND_SEGMENTS_AHEAD + 2;

/// Bytes of a stream that may wait in memory for the disk, synced or not: the windows of 1,024
/// busy connections (65,536 records of 412 bytes) fit into the share of the other classes.
/// P0 may use all of it, other classes three quarters; beyond that an append is refused.
pub const PENDING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Share of `PENDING_BYTES_MAX` that classes other than P0 may use, in percent.
pub const PENDING_SHARED_PERCENT: usize = 75;

/// Block buffers kept for reuse by a stream; one commit rarely has more in flight.
pub const SPARE_BUFFERS_MAX: usize = 64;

/// Least time between the starts of two syncs of urgent records, unless a full block waits.
/// A sync costs the node 50 to 100 us of CPU however little it carries, so syncs that follow
/// each other at the disk's own pace would take a third of a core from delivery.
pub const URGENT_SYNC_INTERVAL_US: u64 = 2_000;

/// Background records are committed at this interval.
pub const BACKGROUND_COMMIT_US: u64 = 100_000;

/// Disk quota of the journal of a node by default.
pub const QUOTA_BYTES_DEFAULT: u64 = 16 * 1024 * 1024 * 1024;

/// Percent of the quota at which each class is refused, by class index. P0 is refused
/// only when its preallocated room is used up.
pub const QUOTA_PERCENT: [u64; 4] = [100, 90, 80, 70];

/// Accepted ids held for one publisher and class. Clients keep at most 1,000 unsettled
/// publishes a class, so that everything a client may send again is judged exactly.
pub const DEDUPE_WINDOW_IDS: usize = 1_024;

/// Accepted ids are held at least this long.
pub const DEDUPE_KEEP_S: u32 = 600;

/// Ids leave in generations of this length: half of `DEDUPE_KEEP_S`, so that an id is held
/// between one and one and a half times that long.
pub const DEDUPE_GENERATION_S: u32 = DEDUPE_KEEP_S / 2;

/// Dropping a window younger than this counts as early: attempts up to four minutes old
/// are accepted without asking the archive.
pub const DEDUPE_KEEP_PROMISED_S: u32 = 300;

/// Ids held by one table: 128 MiB at 8 bytes each, five minutes at 50,000 new ids/s.
pub const DEDUPE_ENTRIES_MAX: usize = 16 * 1024 * 1024;

/// Publishers held by one table: one for each of 100,000 sessions, and room for those that
/// left in the last ten minutes. About 200 bytes each without their ids.
pub const DEDUPE_PUBLISHERS_MAX: usize = 512 * 1024;

/// Idempotency keys in each of a shard's two sets: 13 MiB a shard at 24 bytes and a control byte
/// in 262,144 places. Two shards know every key for five minutes at 1,500 publishes/s.
pub const KEYS_PER_SET: usize = 229_376;

/// Bytes of both sets of a shard.
pub const KEYS_BYTES: usize = 2 * (KEYS_PER_SET * 8 / 7) * 25;

/// Windows compared when one has to go; eight find a quiet one with near certainty.
pub const DEDUPE_EVICTION_CANDIDATES: usize = 8;

/// Bytes that the index of a growing segment reads at once at most, for one large block.
pub const INDEX_READ_BYTES: usize = 1024 * 1024;

/// Bytes of a growing segment that are read and indexed at once: a few full blocks, so
/// that little more is copied than was written.
pub const INDEX_STEP_BYTES: usize = 128 * 1024;

/// Retained journal of a node by default.
pub const RETENTION_BYTES_DEFAULT: u64 = 8 * 1024 * 1024 * 1024;

/// Retained time by default, seconds.
pub const RETENTION_S_DEFAULT: u64 = 24 * 3600;

/// Pre-written segments kept free; one second of a full load's 60 MB/s.
pub const POOL_SEGMENTS_DEFAULT: usize = 4;

/// Recent events of a channel that a start hands over: what the owner keeps in memory.
pub const RECENT_EVENTS_MAX: usize = 256;

/// Bytes of the newest segments that a start reads for recent events.
pub const RECENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A mark stands in a block that was sealed at most this long before the files side has
/// seen everything older; covers stalled disks.
pub const MARK_SLACK_US: u64 = 120_000_000;

/// Most events of a page of history.
pub const HISTORY_EVENTS_MAX: usize = 1_000;

/// A page of history takes no further event once its frames have this many bytes: a reader sends
/// what it was given at once, and what waits for one client is bounded.
pub const HISTORY_BYTES_MAX: usize = 128 * 1024;

/// Devices whose cursors are kept for one user and channel; nobody reads on more at a time.
pub const CURSOR_DEVICES_MAX: usize = 16;

/// Delivery cursors of a node: two channels on one device of each of 100,000 users, and some
/// more. Held by the shards and once more beside the file.
pub const CURSORS_MAX: usize = 256 * 1024;

/// Memory of a cursor whose user has no other, with names of 16 bytes: device and place 96,
/// channel 40, user 48 and 24 to find and to queue it, names 96, and the map's free places.
pub const CURSOR_BYTES: usize = 350;

/// Users compared when cursors have to go; eight find a quiet one with near certainty.
pub const CURSOR_EVICTION_CANDIDATES: usize = 8;

/// The file of cursors is rewritten at four times the size it needs, and not below four
/// times this.
pub const CURSOR_LOG_BYTES_MIN: u64 = 1024 * 1024;

/// How long a scope of presence is kept after the last look at it, in milliseconds: who reads
/// pages, or asks again and again, does not make all sources tell everything each time.
pub const PRESENCE_LINGER_MS: u64 = 30_000;

/// Users of a scope up to which changes name who moved. An institution at the begin of its day
/// would otherwise send thousands of names to thousands of watchers; they get the count, and pages
/// when they ask. The moves of one interval are named when they fit one frame.
pub const PRESENCE_NAMED_MAX: usize = 1_000;

/// Memory of a scope beside its name: its record, its places in three maps and the maps' free
/// places.
pub const PRESENCE_SCOPE_BYTES: usize = 720;

/// Memory of a user in a scope beside the name: place in the tree and name 145, what a leave
/// holds for the grace 120, and what a change holds for an interval 25.
pub const PRESENCE_MEMBER_BYTES: usize = 290;

/// Memory of a user of the own node in a scope of a cluster beside what every user takes: the place
/// among changes that other nodes are told.
pub const PRESENCE_INDEX_BYTES: usize = 56;

/// Memory of a user who has left and of whom other nodes have not been told, beside the name.
pub const PRESENCE_GONE_BYTES: usize = 96;

/// Memory of a node that is asked for a scope, or asks for it.
pub const PRESENCE_NODE_BYTES: usize = 208;

/// Users of one message between nodes: a fourth of a frame of the longest names.
pub const PRESENCE_PART_USERS: usize = 64;

/// Bytes of one frame of messages between nodes: what a publish to a channel may have, so that one
/// stands before others in a server as long as a usual event.
pub const PRESENCE_FRAME_BYTES: usize = 16 * 1024;

/// For how long changes are gathered before other nodes are told of them, in milliseconds: a tenth
/// of the time after which watchers hear of them.
pub const PRESENCE_GATHER_MS: u64 = 50;

/// Least time between two asks for the same, in milliseconds: longer than an answer takes.
pub const PRESENCE_ASK_AGAIN_MS: u64 = 250;

/// When an ask that was not answered is repeated, in milliseconds, so that one is lost for a whole
/// lease only when nobody answers.
pub const PRESENCE_REPEAT_MS: u64 = 1_000;

/// How long somebody who asks for a scope waits for the users of other nodes, in milliseconds; then
/// what is known counts, and the rest comes as changes. Answers take milliseconds.
pub const PRESENCE_WAIT_MS: u64 = 2_000;

/// Nodes that are to be told or asked something of a scope and wait for it, each once: 2.5 MiB, all
/// that the largest cluster makes of a thousand scopes.
pub const PRESENCE_SENDS_MAX: usize = 64 * 1024;

/// Short messages to other nodes that wait; what they say ends by itself a lease later.
pub const PRESENCE_WORDS_MAX: usize = 1_024;

/// How long the lease of a node lasts, in milliseconds; a node that has not renewed it by then
/// counts as dead. As long asking another node for its users lasts.
pub const LEASE_MS: u64 = 15_000;

/// How often a lease is renewed, in milliseconds, so that two renewals may fail.
pub const LEASE_RENEW_MS: u64 = 5_000;

/// Pause after a renewal that failed, in milliseconds, and least time between two.
pub const LEASE_AGAIN_MS: u64 = 500;

/// Nodes of a cluster that have a lease. Each keeps something of all others for every channel whose
/// presence it is asked for.
pub const NODES_MAX: usize = 64;

/// Records in one call to a backplane or event log: what one script call may take.
pub const PORT_BATCH_MAX: usize = 256;

/// Calls that an implementation of a port keeps waiting before it answers busy.
pub const PORT_CALLS_MAX: usize = 1_024;

const _: () = assert!(BLOCK_BYTES_TARGET.is_multiple_of(BLOCK_ALIGN));
const _: () = assert!(BLOCK_BYTES_MAX.is_multiple_of(BLOCK_ALIGN));
const _: () = assert!(
    BLOCK_BYTES_TARGET + FRAME_BYTES_MAX + CHANNEL_BYTES_MAX + 4096 <= BLOCK_BYTES_MAX,
    "a full block plus the largest record must fit"
);
const _: () = assert!(
    SEGMENT_BYTES_MIN as usize >= 2 * BLOCK_BYTES_MAX,
    "a segment must hold at least one block after the waste at its end"
);
const _: () = assert!((SEGMENT_BYTES_DEFAULT as usize).is_multiple_of(BLOCK_ALIGN));
const _: () = assert!(URGENT_SEGMENTS_AHEAD >= 2, "one shared and the one of P0");
const _: () = assert!(QUOTA_PERCENT[3] < QUOTA_PERCENT[2] && QUOTA_PERCENT[2] < QUOTA_PERCENT[1]);
const _: () = assert!(
    3 * LEASE_RENEW_MS <= LEASE_MS,
    "a lease outlives two renewals that fail"
);
