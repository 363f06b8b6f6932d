//! When events are due: an open loop with a fixed interval.
//!
//! Invariant: the n-th event is due at start + n / rate, whatever happened to the ones before.
//!
//! Runs on: the generator's thread.

/// A constant rate from a start on.
#[derive(Clone, Debug)]
pub struct Schedule {
    start_ns: u64,
    /// Not a number without a rate: then nothing is ever due.
    interval_ns: f64,
    taken: u64,
}

impl Schedule {
    /// `rate` events a second from `start_ns` on. A rate of 0 is never due.
    pub fn new(start_ns: u64, rate: f64) -> Self {
        let interval_ns = if rate > 0.0 { 1e9 / rate } else { f64::NAN };
        Self {
            start_ns,
            interval_ns,
            taken: 0,
        }
    }

    /// The next event if it is due at `now_ns`: the time for which it was scheduled.
    pub fn take(&mut self, now_ns: u64) -> Option<u64> {
        let due = self.next_ns();
        if due > now_ns {
            return None;
        }
        self.taken += 1;
        Some(due)
    }

    /// When the next event is due; `u64::MAX` when none follows.
    pub fn next_ns(&self) -> u64 {
        let offset = self.taken as f64 * self.interval_ns;
        if offset.is_finite() {
            self.start_ns.saturating_add(offset as u64)
        } else {
            u64::MAX
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_caller_gets_every_missed_event_with_its_own_time() {
        let mut schedule = Schedule::new(1_000, 1e6);
        let times: Vec<u64> = std::iter::from_fn(|| schedule.take(4_500)).collect();
        assert_eq!(times, [1_000, 2_000, 3_000, 4_000]);
        assert_eq!(schedule.next_ns(), 5_000);
    }

    #[test]
    fn a_rate_of_zero_never_comes() {
        assert_eq!(Schedule::new(5, 0.0).take(u64::MAX - 1), None);
        assert_eq!(Schedule::new(5, 0.0).next_ns(), u64::MAX);
    }
}
