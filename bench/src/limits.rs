//! Every bound of the bench, each with its reason.
//!
//! Runs on: no thread of its own; constants only.

/// Receive buffers of one generator ring, in bytes each: the size that the edge uses.
pub const BUFFER_BYTES: u32 = 2048;

/// Cap of one multishot receive in bytes, the same as on the edge.
pub const RECEIVE_CAP_BYTES: u32 = 4096;

/// Items that one turn of a completion queue may run: the kernel's own batch of deferred work.
pub const DEFERRED_BATCH: usize = 20;

/// Receive buffers of one ring: twice what one batch of deferred work can fill, as on the edge.
pub const BUFFERS_PER_RING: u16 = 128;

const _: () = assert!(
    BUFFERS_PER_RING as usize >= 2 * DEFERRED_BATCH * (RECEIVE_CAP_BYTES / BUFFER_BYTES) as usize
);

/// Direct descriptors of one ring: the lowest open-file limit that is met in practice.
pub const SLOTS_PER_RING: u32 = 20_000;

/// Rings of the generator: 64 x 20,000 slots hold the record of a million clients.
pub const RINGS_MAX: u32 = 64;

/// Connections from one source address: one ring's worth, far below the 55,536 ports of it.
pub const CLIENTS_PER_ADDRESS: u32 = 20_000;

/// Connects begun in one turn, so that set-up never starves the clients that are live.
pub const CONNECTS_PER_TURN: usize = 32;

/// Sends in one submission, and submissions in one turn: one. A send over loopback takes 4 to 6
/// us, so that a turn with this many stays below the lag that voids a latency run.
pub const SENDS_PER_SUBMIT: usize = 16;

const _: () = assert!(SENDS_PER_SUBMIT <= interlink_uring::limits::SEND_BATCH);

/// Completions taken in one turn before what they caused is sent.
pub const EVENTS_PER_TURN: usize = 64;

/// Longest frame that a client accepts, header included: 16 MiB of payload and its header.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024 + 14;

/// Largest plaintext of one TLS record (RFC 8446, section 5.1).
pub const TLS_RECORD_BYTES: usize = 16 * 1024;

/// What a record of TLS 1.3 adds: header 5, type 1, tag 16, rounded up.
pub const TLS_RECORD_OVERHEAD: usize = 32;

/// Most bytes of an incomplete record that a client keeps: a largest one, and a second one of a
/// handshake message that was cut.
pub const TLS_HELD_BYTES_MAX: usize = 2 * (TLS_RECORD_BYTES + TLS_RECORD_OVERHEAD);

/// Pooled buffers of this capacity and above are freed instead of kept.
pub const POOLED_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Least time between two wake-ups of the generator: a quarter of the lag that voids a latency
/// run, and by as much at most a latency is overstated. Woken for each message, the generator
/// needed 92 % of its core for 50,000 publishes a second.
pub const WAKE_INTERVAL_NS: u64 = 50_000;

/// Longest sleep of the generator, so that time-outs of clients are seen.
pub const SLEEP_NS_MAX: u64 = 10_000_000;

/// Time a client has from its first byte to live, before it counts as failed.
pub const SETUP_TIMEOUT_NS: u64 = 30_000_000_000;

/// Publishes that a connection may have unanswered (the protocol's credit of P1 to P3).
pub const WINDOW_MAX: u32 = 64;

/// The same for P0, which has a credit of its own.
pub const CRITICAL_WINDOW_MAX: u32 = 8;

/// Scheduled publishes that wait for credit on one connection before the oldest is given up.
/// At this depth the offered rate is plainly beyond the server and the step has failed.
pub const BACKLOG_MAX: usize = 65_536;

/// A run is void when the generator used more than this share of its core.
pub const GENERATOR_CPU_MAX: f64 = 0.90;

/// A latency run is void when the generator's own lag at p99 is above this.
pub const GENERATOR_LAG_P99_NS_MAX: u64 = 200_000;

/// Above this share of its core the server is what limits a run.
pub const SERVER_SATURATED: f64 = 0.95;

/// Smallest payload that holds a stamp.
pub const PAYLOAD_BYTES_MIN: usize = crate::engine::stamp::STAMP_BYTES;

/// Largest payload; the server's frame cap of 64 KiB less room for the envelope.
pub const PAYLOAD_BYTES_MAX: usize = 60 * 1024;

/// Time for a server process to become ready.
pub const READY_TIMEOUT_S: u64 = 30;

/// Time for a server process to stop after being asked to.
pub const STOP_TIMEOUT_S: u64 = 20;

/// Bytes that the fault proxy reads at once: what a socket buffer holds after one burst.
pub const PROXY_CHUNK_BYTES: usize = 16 * 1024;

/// Bytes that wait in one direction of a proxied connection: 5 MB/s at a delay of 50 ms. What is
/// more stays in the sender, as on a real path.
pub const PROXY_QUEUE_BYTES: usize = 256 * 1024;

/// Ports from the run's first to those of its stand: the run's own servers have these.
pub const STAND_PORT_OFFSET: u16 = 40;

/// Ports from one stand of a run to the next: what `deploy/stand/stand` may use, and some more.
pub const STAND_PORT_STEP: u16 = 100;

/// Receipts that one route of a chaos client waits for: more than its SDK keeps unsettled.
pub const CHAOS_RECEIPTS_MAX: usize = 2_048;

const _: () = assert!(CHAOS_RECEIPTS_MAX > interlink_client::limits::UNSETTLED_PER_CLASS_MAX);

/// Chaos clients that connect at once, so that a slow node is not taken for one that is away.
pub const CHAOS_CONNECTS_MAX: usize = 64;

/// Nodes of one site: their ports end before those of the proxies.
pub const NODES_MAX: usize = 4;

/// Ports of a node.
pub const NODE_PORTS: u16 = 4;

/// Ports from the run's first to those of its fault proxies.
pub const PROXY_PORT_OFFSET: u16 = 32;

/// Sites of one run: two regions.
pub const SITES_MAX: usize = 2;

const _: () = assert!((SITES_MAX * NODES_MAX) as u16 * NODE_PORTS <= PROXY_PORT_OFFSET);
const _: () = assert!(PROXY_PORT_OFFSET + NODES_MAX as u16 <= STAND_PORT_OFFSET);
