//! Where a consumer stood when: the trail that its cursor leaves in one log.
//!
//! Purpose: whoever goes back by a time has to know where everything stood then, also when an
//! earlier process moved the cursor. A point says that through a position everything was settled
//! at a time.
//!
//! Invariants: times and positions of the points rise; a cursor that goes back takes with it what
//! lies behind it, since that is not settled any more.
//!
//! Limits: points of [`TRAIL_US`] and one older, at most one for each [`POINT_EVERY_US`].

use std::collections::VecDeque;

use crate::event_log::LogPosition;
use crate::limits::MARK_SLACK_US;

/// How long a trail is: as long as segments are kept that nobody needs.
pub const TRAIL_US: u64 = MARK_SLACK_US;

/// Nearer points become one, with the time of the later.
pub const POINT_EVERY_US: u64 = 900_000;

/// A point of a trail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settled {
    /// Everything up to here was settled.
    pub through: LogPosition,
    /// When, microseconds since the Unix epoch.
    pub at_us: u64,
}

/// The trail of a cursor in one log.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Trail {
    points: VecDeque<Settled>,
}

impl Trail {
    /// The cursor stands here now; it may have gone back. A clock that went back stands still.
    pub fn note(&mut self, through: LogPosition, now_us: u64) {
        let is_behind = |point: &mut Settled| point.through > through;
        while self.points.pop_back_if(is_behind).is_some() {}
        let last_us = self.points.back().map_or(0, |last| last.at_us);
        let at_us = now_us.max(last_us);
        let count = self.points.len();
        let before = count.checked_sub(2).map(|index| self.points[index].at_us);
        if before.is_some_and(|before| last_us - before < POINT_EVERY_US) {
            self.points.pop_back();
        }
        self.points.push_back(Settled { through, at_us });
        while self.points.len() > 1 && self.points[1].at_us.saturating_add(TRAIL_US) <= at_us {
            self.points.pop_front();
        }
    }

    /// The points, oldest first.
    pub fn points(&self) -> impl ExactSizeIterator<Item = Settled> + '_ {
        self.points.iter().copied()
    }

    /// Where the trail begins: nobody goes back further.
    pub fn begin(&self) -> Option<LogPosition> {
        self.points.front().map(|point| point.through)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Kind, Sequence};

    const SECOND_US: u64 = 1_000_000;

    fn at(sequence: u64) -> LogPosition {
        LogPosition {
            boot: 1,
            shard: 0,
            kind: Kind::Urgent,
            sequence: Sequence(sequence),
        }
    }

    fn points(trail: &Trail) -> Vec<(u64, u64)> {
        let points = trail.points();
        points
            .map(|point| (point.through.sequence.0, point.at_us / SECOND_US))
            .collect()
    }

    #[test]
    fn a_trail_reaches_back_for_two_minutes_and_one_point_more() {
        let mut trail = Trail::default();
        for second in 0..1_000 {
            trail.note(at(second), second * SECOND_US);
        }
        let all = points(&trail);
        assert_eq!((all.len(), all[0], all[120]), (121, (879, 879), (999, 999)));
        trail.note(at(1_000), 5_000 * SECOND_US);
        assert_eq!(points(&trail), [(999, 999), (1_000, 5_000)]);
    }

    #[test]
    fn points_that_are_near_become_one() {
        let mut trail = Trail::default();
        for step in 0..=2_000 {
            trail.note(at(step), 7 * SECOND_US + step * 1_000);
        }
        let through: Vec<_> = points(&trail).iter().map(|point| point.0).collect();
        assert_eq!(through, [0, 900, 1_800, 2_000]);
    }

    #[test]
    fn a_cursor_that_goes_back_takes_what_lies_behind_it_along() {
        let mut trail = Trail::default();
        for second in 0..10 {
            trail.note(at(second), second * SECOND_US);
        }
        trail.note(at(3), 20 * SECOND_US);
        assert_eq!(points(&trail), [(0, 0), (1, 1), (2, 2), (3, 3), (3, 20)]);
        trail.note(at(9), 19 * SECOND_US);
        assert_eq!(points(&trail).last(), Some(&(9, 20)));
    }
}
