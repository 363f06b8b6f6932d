//! What a breaker remembers of calls: counts over a minute, and how long calls take.
//!
//! Everything has a fixed size; time moves slots out of their windows.

use super::limits::{
    ERROR_SLOTS, ERROR_WINDOW_US, LATENCY_OCTAVES, LATENCY_STEPS, NORMAL_SLOTS, NORMAL_US,
};

/// Time of a slot of the counts.
const COUNT_SLOT_US: u64 = ERROR_WINDOW_US / ERROR_SLOTS as u64;
/// Time of a slot of the latencies.
const NORMAL_SLOT_US: u64 = NORMAL_US / NORMAL_SLOTS as u64;
/// Buckets of a histogram.
const BUCKETS: usize = (LATENCY_OCTAVES * LATENCY_STEPS) as usize;

/// Calls and failures of the last minute.
#[derive(Debug)]
pub(super) struct Counts {
    slots: [(u64, u64); ERROR_SLOTS],
    /// Number of the newest slot.
    newest: u64,
}

impl Counts {
    pub fn new(now_us: u64) -> Self {
        let newest = now_us / COUNT_SLOT_US;
        let slots = [(0, 0); ERROR_SLOTS];
        Self { slots, newest }
    }

    fn advance(&mut self, now_us: u64) {
        let slot = now_us / COUNT_SLOT_US;
        let passed = slot.saturating_sub(self.newest).min(ERROR_SLOTS as u64);
        for _ in 0..passed {
            self.newest += 1;
            self.slots[(self.newest % ERROR_SLOTS as u64) as usize] = (0, 0);
        }
        if passed == ERROR_SLOTS as u64 {
            self.slots = [(0, 0); ERROR_SLOTS];
            self.newest = slot;
        }
    }

    pub fn add(&mut self, failed: bool, now_us: u64) {
        self.advance(now_us);
        let slot = &mut self.slots[(self.newest % ERROR_SLOTS as u64) as usize];
        slot.0 += 1;
        slot.1 += u64::from(failed);
    }

    /// Calls and failures.
    pub fn sums(&mut self, now_us: u64) -> (u64, u64) {
        self.advance(now_us);
        let add = |sum: (u64, u64), slot: &(u64, u64)| (sum.0 + slot.0, sum.1 + slot.1);
        self.slots.iter().fold((0, 0), add)
    }
}

/// How many calls took how long; buckets grow with what they hold.
#[derive(Clone, Debug)]
pub(super) struct Latencies {
    buckets: Box<[u32; BUCKETS]>,
    calls: u64,
}

impl Latencies {
    pub fn new() -> Self {
        let buckets = Box::new([0; BUCKETS]);
        Self { buckets, calls: 0 }
    }

    pub fn add(&mut self, latency_us: u64) {
        let bucket = &mut self.buckets[bucket_of(latency_us)];
        *bucket = bucket.saturating_add(1);
        self.calls += 1;
    }

    pub fn calls(&self) -> u64 {
        self.calls
    }

    pub fn clear(&mut self) {
        self.buckets.fill(0);
        self.calls = 0;
    }

    /// The latency that half of the calls did not exceed, as the middle of its bucket.
    pub fn median_us(&self) -> Option<u64> {
        median_us(|bucket| u64::from(self.buckets[bucket]), self.calls)
    }
}

/// Latencies of the last hour.
#[derive(Debug)]
pub(super) struct Normal {
    slots: Vec<Latencies>,
    newest: u64,
}

impl Normal {
    pub fn new(now_us: u64) -> Self {
        Self {
            slots: vec![Latencies::new(); NORMAL_SLOTS],
            newest: now_us / NORMAL_SLOT_US,
        }
    }

    fn advance(&mut self, now_us: u64) {
        let slot = now_us / NORMAL_SLOT_US;
        let passed = slot.saturating_sub(self.newest);
        for step in 1..=passed.min(NORMAL_SLOTS as u64) {
            self.slots[((self.newest + step) % NORMAL_SLOTS as u64) as usize].clear();
        }
        if passed >= NORMAL_SLOTS as u64 {
            self.slots.iter_mut().for_each(Latencies::clear);
        }
        self.newest += passed;
    }

    pub fn add(&mut self, latency_us: u64, now_us: u64) {
        self.advance(now_us);
        self.slots[(self.newest % NORMAL_SLOTS as u64) as usize].add(latency_us);
    }

    /// Calls of the last hour, and their median.
    pub fn median_us(&mut self, now_us: u64) -> (u64, Option<u64>) {
        self.advance(now_us);
        let calls = self.slots.iter().map(Latencies::calls).sum();
        let count = |bucket: usize| {
            let slots = self.slots.iter();
            slots.map(|slot| u64::from(slot.buckets[bucket])).sum()
        };
        (calls, median_us(count, calls))
    }
}

fn median_us(count: impl Fn(usize) -> u64, calls: u64) -> Option<u64> {
    let mut below = 0;
    (0..BUCKETS).find_map(|bucket| {
        below += count(bucket);
        (below > 0 && 2 * below >= calls).then(|| middle_of(bucket))
    })
}

/// Octave and step of a latency.
fn bucket_of(latency_us: u64) -> usize {
    let latency = latency_us.clamp(1, (1 << LATENCY_OCTAVES) - 1);
    let octave = latency.ilog2();
    let above = latency - (1 << octave);
    let step = (above * u64::from(LATENCY_STEPS)) >> octave;
    (octave * LATENCY_STEPS) as usize + step as usize
}

fn middle_of(bucket: usize) -> u64 {
    let octave = bucket as u32 / LATENCY_STEPS;
    let step = (bucket as u32 % LATENCY_STEPS) as u64;
    let base = 1u64 << octave;
    base + ((2 * step + 1) << octave) / (2 * u64::from(LATENCY_STEPS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_known_to_seven_percent() {
        for latency_us in (0..40_000).chain((1 << 20..1 << 32).step_by(7_654_321)) {
            let near = middle_of(bucket_of(latency_us)) as i64;
            let error = (near - latency_us as i64).abs();
            assert!(
                error * 100 <= latency_us as i64 * 7 + 100,
                "{latency_us} {near}"
            );
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn counts_leave_after_their_minute() {
        let mut counts = Counts::new(0);
        counts.add(true, 0);
        counts.add(false, 30_000_000);
        assert_eq!(counts.sums(59_999_999), (2, 1));
        assert_eq!(counts.sums(60_000_000), (1, 0));
        assert_eq!(counts.sums(u64::MAX), (0, 0));
    }

    #[test]
    fn the_normal_latency_is_that_of_the_last_hour() {
        let mut normal = Normal::new(0);
        normal.add(1_000, 0);
        normal.add(64_000, 3_599_999_999);
        normal.add(64_000, 3_599_999_999);
        assert_eq!(normal.median_us(3_599_999_999).0, 3);
        assert_eq!(normal.median_us(3_600_000_000).0, 2);
        assert_eq!(normal.median_us(u64::MAX), (0, None));
    }
}
