//! Publish spikes: a publisher against its own recent past.
//!
//! Purpose: time is cut into parts of ten seconds. A publisher's usual number is a mean over its
//! recent parts in which the newer ones weigh more; a part with many times the usual number, and
//! with more than a floor below which nothing matters, is a spike.
//!
//! Invariants: a part is a spike at most once; a publisher that keeps a rate for a minute is
//! usual at that rate.
//!
//! Runs on: the home shard of the publisher; time is an argument.

use super::limits::{PARTS_REMEMBERED, PART_MS, USUAL_WEIGHT};

/// Parts of a publish in which the usual number is kept.
const FINE: u32 = 16;

/// From when on a part is a spike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpikeRule {
    /// How many times the usual number; 0 finds none.
    pub factor: u32,
    /// Publishes of a part that are never a spike.
    pub floor: u32,
}

/// The recent past of one publisher.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct RecentPublishes {
    part: u32,
    count: u32,
    /// The usual number of a part, in sixteenths.
    usual: u32,
}

impl RecentPublishes {
    /// Counts a publish; whether the present part becomes a spike with it.
    pub fn count(&mut self, now_ms: u32, rule: SpikeRule) -> bool {
        let part = now_ms / PART_MS;
        if part != self.part {
            self.end_part(part.saturating_sub(self.part));
            self.part = part;
        }
        self.count = self.count.saturating_add(1);
        rule.factor > 0 && self.count == self.most(rule).saturating_add(1)
    }

    /// The most publishes of a part that are none.
    fn most(&self, rule: SpikeRule) -> u32 {
        let many = u64::from(self.usual) * u64::from(rule.factor) / u64::from(FINE);
        rule.floor.max(many.min(u64::from(u32::MAX)) as u32)
    }

    fn end_part(&mut self, passed: u32) {
        let count = self.count.min(u32::MAX / FINE) * FINE;
        self.usual = follow(self.usual, count);
        for _ in 1..passed.min(PARTS_REMEMBERED) {
            self.usual = follow(self.usual, 0);
        }
        self.count = 0;
    }
}

fn follow(usual: u32, count: u32) -> u32 {
    usual - usual / USUAL_WEIGHT + count / USUAL_WEIGHT
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULE: SpikeRule = SpikeRule {
        factor: 10,
        floor: 100,
    };

    /// Publishes `count` times in each of some parts; the parts that are spikes.
    fn spikes(recent: &mut RecentPublishes, parts: &[(u32, u32)]) -> Vec<u32> {
        let mut found = Vec::new();
        for &(part, count) in parts {
            for _ in 0..count {
                if recent.count(part * PART_MS + 5, RULE) {
                    found.push(part);
                }
            }
        }
        found
    }

    #[test]
    fn many_times_the_usual_number_is_a_spike_once() {
        let mut recent = RecentPublishes::default();
        let quiet: Vec<(u32, u32)> = (1..20).map(|part| (part, 20)).collect();
        assert!(spikes(&mut recent, &quiet).is_empty());
        assert_eq!(spikes(&mut recent, &[(20, 5_000)]), [20]);
    }

    #[test]
    fn what_is_kept_up_becomes_usual() {
        let mut recent = RecentPublishes::default();
        let loud: Vec<(u32, u32)> = (1..20).map(|part| (part, 1_000)).collect();
        let found = spikes(&mut recent, &loud);
        assert_eq!(found, [1]);
        assert!(spikes(&mut recent, &[(20, 5_000)]).is_empty());
    }

    #[test]
    fn little_is_never_a_spike_and_a_long_silence_forgets() {
        let mut recent = RecentPublishes::default();
        assert!(spikes(&mut recent, &[(1, 1), (2, 1), (3, 100)]).is_empty());
        let loud: Vec<(u32, u32)> = (4..20).map(|part| (part, 1_000)).collect();
        spikes(&mut recent, &loud);
        assert_eq!(spikes(&mut recent, &[(200, 1_000)]), [200]);
    }

    #[test]
    fn a_factor_of_zero_finds_nothing() {
        let mut recent = RecentPublishes::default();
        let rule = SpikeRule {
            factor: 0,
            floor: 0,
        };
        assert!((0..10_000).all(|_| !recent.count(1, rule)));
    }

    proptest! {
        #[test]
        fn a_part_is_a_spike_at_most_once_and_never_below_the_floor(
            steps in prop::collection::vec((0u32..30_000, 1u32..400), 1..60),
        ) {
            let (mut recent, mut now_ms) = (RecentPublishes::default(), 0);
            let mut parts = std::collections::HashMap::new();
            for (pause_ms, count) in steps {
                now_ms += pause_ms;
                let (total, found) = parts.entry(now_ms / PART_MS).or_insert((0_u32, 0));
                for _ in 0..count {
                    *total += 1;
                    if recent.count(now_ms, RULE) {
                        prop_assert!(*total > RULE.floor);
                        *found += 1;
                    }
                }
            }
            prop_assert!(parts.values().all(|(_, found)| *found <= 1));
        }

        #[test]
        fn no_times_or_numbers_overflow(times: Vec<u32>, factor: u32, floor: u32, usual: u32) {
            let mut recent = RecentPublishes { usual, count: u32::MAX, part: 7 };
            for now_ms in times {
                recent.count(now_ms, SpikeRule { factor, floor });
            }
        }
    }
}
