//! Every bound of this crate, with its reason.

/// Rings that one kernel may open. With 20,000 slots a ring this holds 1.28 million connections
/// on one thread; the scan of 52 rings for work costs well under a microsecond. One bit of a
/// `u64` stands for a ring.
pub const RINGS_MAX: usize = 64;

/// Direct-descriptor slots a ring. The kernel refuses a table larger than the process's limit of
/// open files, of which 20,000 is a usual value; a ring with more gains nothing.
pub const SLOTS_PER_RING: u32 = 20_000;

/// Submission entries a ring: eight full send batches, or 64 installs and all their receives.
pub const SUBMISSION_ENTRIES: u32 = 256;

/// Completion entries a ring: one enter posts at most 20 deferred completions and one for each
/// submitted entry, so an overflow needs many unread turns.
pub const COMPLETION_ENTRIES: u32 = 4096;

/// Submission entries of the ring of syncs: a shard has at most two syncs under way, one for each
/// of its logs.
pub const SYNC_ENTRIES: u32 = 8;

/// Receive buffers a ring. They go back at the end of each turn, so that a small number suffices
/// and stays in the processor's cache.
pub const BUFFERS: u16 = 128;

/// Bytes of a receive buffer: most client messages fit into one.
pub const BUFFER_BYTES: u32 = 2048;

/// Most bytes that one receive completion carries, so that no client takes a whole turn.
pub const RECEIVE_BYTES: u32 = 4096;

/// Deferred completions that the kernel runs in one enter that does not wait
/// (`IO_LOCAL_TW_DEFAULT_MAX` of Linux 6.13 and later).
pub const DEFERRED_PER_ENTER: u32 = 20;

/// Sends in one batch: the sends of one batch take about 0.2 ms, a turn's budget.
pub const SEND_BATCH: usize = 32;

/// Connections that one call installs: one submission entry names at most so many descriptors.
pub const INSTALL_BATCH: usize = 64;

/// Closes that one turn submits; a close costs tens of microseconds of kernel time.
pub const CLOSES_PER_TURN: usize = 32;

/// Accepts armed on one listener at most.
pub const ACCEPTS_ARMED_MAX: usize = 32;

/// Listeners of one kernel at most (IPv4 and IPv6, plaintext and TLS, with room to spare).
pub const LISTENERS_MAX: usize = 8;

/// Events that are taken from one ring before the next ring has its turn.
pub const EVENTS_PER_RING_VISIT: u32 = 16;

/// Milliseconds during which a refused ring (ENOMEM) is tried again at start: the memory of the
/// rings of a process that ended comes back about 200 ms late.
pub const RING_RETRY_MS: u64 = 1000;

/// Milliseconds during which a port in use is tried again at start: after a kill the old listener
/// lives on for up to 100 ms.
pub const BIND_RETRY_MS: u64 = 2000;

// One enter may fill `DEFERRED_PER_ENTER` receives while those of the enter before are still in
// the caller's hands; both must find buffers.
const _: () = assert!(
    BUFFERS as u32 >= 2 * DEFERRED_PER_ENTER * RECEIVE_BYTES.div_ceil(BUFFER_BYTES),
    "two enters must find buffers for all their receives"
);
const _: () = assert!(
    BUFFERS.is_power_of_two(),
    "the kernel's buffer ring wants a power of two"
);
const _: () = assert!(SUBMISSION_ENTRIES as usize >= 2 * SEND_BATCH);
const _: () = assert!(SUBMISSION_ENTRIES as usize >= 2 * INSTALL_BATCH);
const _: () = assert!(SUBMISSION_ENTRIES as usize >= 3 * CLOSES_PER_TURN);
const _: () = assert!(RINGS_MAX <= u64::BITS as usize, "ring sets are one u64");
