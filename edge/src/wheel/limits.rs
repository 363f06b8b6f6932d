//! Limits of the wheel, each with its reason.

/// Milliseconds of a slot: a deadline fires at most this much late, which is little beside
/// the 5 s that a client has for its answer and the 30 s between heartbeats.
pub const WHEEL_TICK_MS: u64 = 10;

/// Slots of the wheel: one revolution of 40.96 s holds a heartbeat interval and the time for
/// its answer, so that the deadlines of an idle connection are looked at once.
pub const WHEEL_SLOTS: usize = 4096;

/// Most further revolutions of a deadline: what eight bits hold.
pub const WHEEL_REVOLUTIONS_MAX: u64 = 255;

/// The farthest a deadline can lie ahead, in milliseconds: 2 h 54 min.
pub const WHEEL_HORIZON_MS: u64 = (WHEEL_REVOLUTIONS_MAX + 1) * WHEEL_SLOTS as u64 * WHEEL_TICK_MS;

/// Most indices of a wheel: links have 24 bits, and the lists take 4,097 of the numbers.
pub const WHEEL_INDICES_MAX: usize = (1 << 24) - 1 - (WHEEL_SLOTS + 1);

/// Entries that a turn of a shard looks at: heartbeats of 100,000 sessions are 33 in 10 ms,
/// and a turn lasts at most 250 us, so this keeps up forty times over.
pub const WHEEL_ENTRIES_A_TURN: usize = 32;

const _: () = assert!(
    WHEEL_SLOTS as u64 * WHEEL_TICK_MS > 35_000,
    "an idle deadline fits"
);
const _: () = assert!(
    WHEEL_SLOTS.is_multiple_of(64),
    "slots fill whole words of the bitmap"
);
