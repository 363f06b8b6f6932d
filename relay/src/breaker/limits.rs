//! Numbers of the breaker, each with its reason. Times are microseconds.

/// Calls in a window before it is judged: fewer say nothing about a system.
pub const CALLS_MIN: u64 = 20;

/// Share of failed calls above which a breaker opens, percent.
pub const ERROR_PERCENT: u64 = 50;

/// Time over which calls are counted for it.
pub const ERROR_WINDOW_US: u64 = 60_000_000;

/// Parts of that window: what it holds is exact to a second.
pub const ERROR_SLOTS: usize = 60;

/// How many times the normal latency is too slow.
pub const LATENCY_FACTOR: u64 = 2;

/// How long latency has to be too slow.
pub const LATENCY_US: u64 = 300_000_000;

/// Latency is compared once in this time; a slot that is fast again ends the count.
pub const LATENCY_SLOT_US: u64 = 10_000_000;

/// Time over which the normal latency is taken.
pub const NORMAL_US: u64 = 3_600_000_000;

/// Parts of that hour: what leaves it at once is a twelfth.
pub const NORMAL_SLOTS: usize = 12;

/// Share of the capacity above which a system is saturated, percent.
pub const SATURATION_PERCENT: u64 = 80;

/// How long it has to be.
pub const SATURATION_US: u64 = 120_000_000;

/// How long a breaker stays open at least.
pub const OPEN_US: u64 = 30_000_000;

/// Share of the traffic that tries whether a system is well again, percent.
pub const TRIAL_PERCENT: u8 = 10;

/// How long it tries.
pub const TRIAL_US: u64 = 30_000_000;

/// Share of successful trials from which on a breaker closes, percent.
pub const TRIAL_SUCCESS_PERCENT: u64 = 90;

/// Shares of the traffic after closing, percent, each for the same part of [`RESTART_US`].
pub const RESTART_PERCENT: [u8; 3] = [25, 50, 100];

/// How long the restart takes.
pub const RESTART_US: u64 = 30_000_000;

/// Time between two probes of a lost connection.
pub const PROBE_US: u64 = 250_000;

/// Parts of each doubling in which latencies are counted: a median is exact to 7 %.
pub const LATENCY_STEPS: u32 = 8;

/// Latencies from this on are counted as this; 2^32 us is more than an hour.
pub const LATENCY_OCTAVES: u32 = 32;

const _: () = assert!(ERROR_WINDOW_US.is_multiple_of(ERROR_SLOTS as u64));
const _: () = assert!(NORMAL_US.is_multiple_of(NORMAL_SLOTS as u64));
const _: () = assert!(LATENCY_US.is_multiple_of(LATENCY_SLOT_US));
