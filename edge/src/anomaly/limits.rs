//! Bounds of the detection of anomalies, each with its reason.
//!
//! Runs on: any thread; these are constants.

/// Addresses, institutions and users whose failures are remembered, each; when more come, those
/// with the fewest recent failures are forgotten first.
pub const FAILING: usize = 4_096;

/// Findings that are remembered as told.
pub const TOLD: usize = 1_024;

/// Time in which failures are counted, in seconds.
pub const WINDOW_S: u32 = 60;

/// The same finding is told again after this time, in seconds: what goes on for an hour is twelve
/// events and not thousands.
pub const QUIET_S: u32 = 5 * 60;

/// Findings that a node tells in a minute at most. Attacks from many addresses, each of which is
/// a finding, are counted beyond it.
pub const TOLD_PER_MINUTE: u32 = 60;

/// Length of one part of a publisher's recent past, in milliseconds.
pub const PART_MS: u32 = 10_000;

/// A publisher's usual rate follows its recent past by this part with each part that ends, so it
/// remembers about a minute.
pub const USUAL_WEIGHT: u32 = 4;

/// Parts without a publish after which a publisher is as good as new.
pub const PARTS_REMEMBERED: u32 = 32;

const _: () = assert!(FAILING.is_power_of_two() && TOLD.is_power_of_two());
const _: () = assert!(QUIET_S > WINDOW_S, "one window is one finding");
