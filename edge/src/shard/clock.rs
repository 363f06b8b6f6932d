//! The time of a turn.
//!
//! Purpose: one clock read a turn serves everything. Milliseconds count from the
//! start of the shard and fit 32 bits for 49 days of deadlines, wall time follows the
//! monotonic clock from an offset that is measured again every second.
//!
//! Thread: the shard.

use std::time::{SystemTime, UNIX_EPOCH};

/// How often the offset to wall time is measured.
const ALIGN_EVERY_NS: u64 = 1_000_000_000;
/// Most that one measurement sets the time back: it then still runs at half its rate, so that
/// deadlines pass while the wall clock is wrong.
const BACK_US_MAX: i64 = 500_000;

/// The time of a turn in the units that its users want.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub now_ns: u64,
    /// Milliseconds since the shard started, from 1.
    pub now_ms: u32,
    /// Microseconds since the Unix epoch; never goes back.
    pub unix_us: u64,
    start_ns: u64,
    unix_offset_us: i64,
    aligned_ns: u64,
}

impl Clock {
    /// A clock that starts now.
    pub fn new(now_ns: u64) -> Self {
        let mut clock = Self {
            now_ns,
            now_ms: 1,
            unix_us: 0,
            start_ns: now_ns,
            unix_offset_us: 0,
            aligned_ns: 0,
        };
        clock.unix_offset_us = wall_us() - (now_ns / 1_000) as i64;
        clock.aligned_ns = now_ns;
        clock.advance(now_ns);
        clock
    }

    /// Moves to the time of a new turn.
    pub fn advance(&mut self, now_ns: u64) {
        self.now_ns = now_ns.max(self.now_ns);
        if self.now_ns - self.aligned_ns >= ALIGN_EVERY_NS {
            self.align(wall_us());
        }
        self.now_ms = ((self.now_ns - self.start_ns) / 1_000_000) as u32 + 1;
        let unix_us = (self.now_ns / 1_000) as i64 + self.unix_offset_us;
        self.unix_us = self.unix_us.max(unix_us as u64);
    }

    /// Follows the wall clock: forward at once, back by and by.
    fn align(&mut self, wall_us: i64) {
        let offset_us = wall_us - (self.now_ns / 1_000) as i64;
        self.unix_offset_us = offset_us.max(self.unix_offset_us - BACK_US_MAX);
        self.aligned_ns = self.now_ns;
    }

    /// Monotonic microseconds in 32 bits, which wrap after 71 minutes: for times that pass
    /// between two turns.
    pub fn now_us(&self) -> u32 {
        (self.now_ns / 1_000) as u32
    }

    /// When another shard's event was accepted, as [`Self::now_us`] of that time.
    pub fn us_of_unix(&self, accepted_us: u64) -> u32 {
        let ago_us = self.unix_us.saturating_sub(accepted_us);
        self.now_us()
            .wrapping_sub(ago_us.min(u64::from(u32::MAX / 2)) as u32)
    }

    /// Seconds since the Unix epoch.
    pub fn unix_s(&self) -> u64 {
        self.unix_us / 1_000_000
    }

    /// The monotonic nanoseconds of a shard millisecond.
    pub fn ns_of_ms(&self, at_ms: u32) -> u64 {
        self.start_ns + u64::from(at_ms.saturating_sub(1)) * 1_000_000
    }

    /// The monotonic nanoseconds of a Unix microsecond.
    pub fn ns_of_us(&self, at_us: u64) -> u64 {
        self.now_ns + at_us.saturating_sub(self.unix_us) * 1_000
    }
}

fn wall_us() -> i64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    wall.unwrap_or_default().as_micros() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_was_set_back_does_not_stop_the_time() {
        let mut clock = Clock::new(0);
        let start_us = clock.unix_us;
        let hour_us = 3_600_000_000;
        for second in 1..=10_u64 {
            clock.now_ns = second * ALIGN_EVERY_NS;
            clock.align(start_us as i64 - hour_us);
            let before = clock.unix_us;
            clock.aligned_ns = clock.now_ns;
            clock.advance(clock.now_ns + ALIGN_EVERY_NS / 2);
            assert!(clock.unix_us > before, "second {second}");
        }
        let passed_us = clock.unix_us - start_us;
        assert!((5_000_000..=6_000_000).contains(&passed_us), "{passed_us}");
    }

    #[test]
    fn a_wall_clock_that_was_set_forward_is_followed_at_once() {
        let mut clock = Clock::new(0);
        let ahead_us = clock.unix_us as i64 + 3_600_000_000;
        clock.align(ahead_us);
        clock.advance(1_000);
        assert_eq!(clock.unix_us, ahead_us as u64 + 1);
    }
}
