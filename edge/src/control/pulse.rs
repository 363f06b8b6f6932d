//! Decides whether shards are alive: their turn counters have to move.
//!
//! A shard turns at least twice a second even when nothing happens, so one that has
//! not turned for [`STILL`] is stuck.
//!
//! Runs on: the control thread; time is an argument.

use std::time::{Duration, Instant};

/// A shard that has not turned for this long is stuck.
pub(super) const STILL: Duration = Duration::from_secs(2);

/// The last movement of each shard.
#[derive(Debug)]
pub(super) struct Pulse {
    shards: Vec<(u64, Instant)>,
}

impl Pulse {
    /// Shards that are taken to have moved `now`.
    pub(super) fn new(shards: usize, now: Instant) -> Self {
        Self {
            shards: vec![(0, now); shards],
        }
    }

    /// Takes the present turn counters.
    pub(super) fn observe(&mut self, turns: impl Iterator<Item = u64>, now: Instant) {
        for (shard, turns) in self.shards.iter_mut().zip(turns) {
            if shard.0 != turns {
                *shard = (turns, now);
            }
        }
    }

    /// The shards that have not moved for [`STILL`].
    pub(super) fn standing_still(&self, now: Instant) -> Vec<usize> {
        let is_still = |(_, moved): &(u64, Instant)| now.duration_since(*moved) >= STILL;
        let shards = self.shards.iter().enumerate();
        shards
            .filter(|(_, shard)| is_still(shard))
            .map(|(index, _)| index)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_stuck_two_seconds_after_its_last_turn() {
        let start = Instant::now();
        let mut pulse = Pulse::new(2, start);
        let later = start + STILL / 2;
        pulse.observe([1, 0].into_iter(), later);
        assert!(pulse.standing_still(later).is_empty());
        pulse.observe([1, 0].into_iter(), start + STILL);
        assert_eq!(pulse.standing_still(start + STILL), [1]);
        pulse.observe([1, 1].into_iter(), start + STILL);
        assert!(pulse.standing_still(start + STILL).is_empty());
        assert_eq!(pulse.standing_still(later + STILL), [0]);
    }
}
