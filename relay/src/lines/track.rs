//! When the records of a line were placed, in one log: what a rewind goes back to.
//!
//! The answer that a record is new tells when it was placed. The answer that its id is known does
//! not: it was placed by an attempt whose answer was lost, a moment or minutes ago, and perhaps by
//! a server that another one has followed since. So every stretch of the log has two times, and
//! its records were placed between them. A rewind goes back to what may have been placed within
//! the last minute, by the later time; whether the backplane may have forgotten an id is judged by
//! the earlier one.
//!
//! Invariants: spans rise; a record of the line that no span has was placed long ago; while a
//! rewind is not over nothing of what it goes through is dropped.
//!
//! Limits: [`SPANS_MAX`] spans of a log; with more the two oldest become one with the times of
//! both, which goes back further and asks more, and is never wrong.

use std::collections::VecDeque;

use super::lane::{before, LaneId};
use super::limits::{REWIND_US, SPANS_MAX, SPAN_US};
use crate::cursors::Settled;
use crate::event_log::LogPosition;

/// Between which times something was placed, microseconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Times {
    /// Not before this.
    pub earliest_us: u64,
    /// Not after this.
    pub latest_us: u64,
}

impl Times {
    /// Long ago.
    pub const LONG_AGO: Self = Self {
        earliest_us: 0,
        latest_us: 0,
    };

    /// Placed at a time that is known.
    pub const fn at(now_us: u64) -> Self {
        Self {
            earliest_us: now_us,
            latest_us: now_us,
        }
    }

    fn with(self, other: Self) -> Self {
        Self {
            earliest_us: self.earliest_us.min(other.earliest_us),
            latest_us: self.latest_us.max(other.latest_us),
        }
    }

    /// Whether both times of one are near those of the other.
    fn is_near(self, other: Self) -> bool {
        let early_us = self.earliest_us.abs_diff(other.earliest_us);
        early_us.max(self.latest_us.abs_diff(other.latest_us)) <= SPAN_US
    }

    fn is_recent(self, now_us: u64) -> bool {
        now_us < self.latest_us.saturating_add(REWIND_US)
    }
}

/// Records of a stretch, from the one behind the span before.
#[derive(Clone, Copy, Debug)]
struct Span {
    through: LogPosition,
    times: Times,
}

/// What a line goes through again in one log: behind the first position, up to the second.
pub(super) type Stretch = (LogPosition, LogPosition);

/// What a line has placed in one log.
#[derive(Debug)]
pub(super) struct Track {
    pub lane: LaneId,
    /// Everything up to here was placed long ago, if it is of this line.
    begin: LogPosition,
    spans: VecDeque<Span>,
    /// Where a rewind that is not over began.
    floor: Option<LogPosition>,
    /// The last record of that rewind that was answered.
    again: Option<LogPosition>,
}

impl Track {
    /// Nothing behind `begin` was placed.
    pub fn new(lane: LaneId, begin: LogPosition) -> Self {
        Self {
            lane,
            begin,
            spans: VecDeque::new(),
            floor: None,
            again: None,
        }
    }

    /// An earlier process has placed everything up to `begin`; points tell what was settled when,
    /// oldest first. `down_us` of the time since then do not count.
    pub fn behind(lane: LaneId, begin: LogPosition, points: &[Settled], down_us: u64) -> Self {
        let mut track = Self::new(lane, begin);
        let mut points = points.iter().filter(|point| point.through <= begin);
        if let Some(first) = points.next() {
            track.begin = first.through;
        }
        for point in points {
            let times = Times {
                earliest_us: 0,
                latest_us: point.at_us.saturating_add(down_us),
            };
            track.append(point.through, times);
        }
        track.append(begin, Times::LONG_AGO);
        track
    }

    fn append(&mut self, at: LogPosition, times: Times) {
        if at <= self.through() {
            return;
        }
        match self.spans.back_mut() {
            Some(last) if last.times.is_near(times) => {
                last.through = at;
                last.times = last.times.with(times);
            }
            _ => self.spans.push_back(Span { through: at, times }),
        }
        self.bound();
    }

    /// The last record that was placed.
    pub fn through(&self) -> LogPosition {
        self.spans.back().map_or(self.begin, |span| span.through)
    }

    /// Where a rewind began that is not over.
    pub fn floor(&self) -> Option<LogPosition> {
        self.floor
    }

    /// When a record was placed.
    pub fn times(&self, at: LogPosition) -> Times {
        let index = self.spans.partition_point(|span| span.through < at);
        let span = self.spans.get(index).filter(|_| at > self.begin);
        span.map_or(Times::LONG_AGO, |span| span.times)
    }

    /// A record was placed, behind all others.
    pub fn place(&mut self, at: LogPosition, times: Times, now_us: u64) {
        if at <= self.through() {
            return self.set(before(at), at, times);
        }
        self.append(at, times);
        self.trim(now_us);
    }

    /// A rewind has come to a record; `times` are new ones, if it has other ones now.
    pub fn pass_again(&mut self, at: LogPosition, times: Option<Times>) {
        let last = self.again.replace(at).filter(|last| *last < at);
        if let Some(times) = times {
            // The line has no record between two that a rewind comes to.
            self.set(last.unwrap_or(before(at)), at, times);
        }
    }

    /// A single record has other times now.
    pub fn set_one(&mut self, at: LogPosition, times: Times) {
        self.set(before(at), at, times);
    }

    fn set(&mut self, after: LogPosition, at: LogPosition, times: Times) {
        if at <= self.begin {
            if at < self.begin {
                let (through, times) = (self.begin, Times::LONG_AGO);
                self.spans.push_front(Span { through, times });
            }
            self.begin = after;
            self.spans.push_front(Span { through: at, times });
            return self.bound();
        }
        let (from, to) = (self.cut(after), self.cut(at));
        self.spans.drain(from..to);
        let joined = from
            .checked_sub(1)
            .and_then(|last| self.spans.get_mut(last));
        match joined.filter(|last| last.times.is_near(times)) {
            Some(last) => {
                last.through = at;
                last.times = last.times.with(times);
            }
            None => self.spans.insert(from, Span { through: at, times }),
        }
        self.bound();
    }

    /// Lets a span end at a position; says which is the first behind it.
    fn cut(&mut self, at: LogPosition) -> usize {
        let index = self.spans.partition_point(|span| span.through <= at);
        let first = match index.checked_sub(1) {
            Some(last) => self.spans[last].through,
            None => self.begin,
        };
        if at <= first {
            return index;
        }
        if let Some(span) = self.spans.get(index).copied() {
            self.spans.insert(
                index,
                Span {
                    through: at,
                    ..span
                },
            );
            return index + 1;
        }
        index
    }

    /// What the line has to go through again, if anything; it is not over until
    /// [`Self::end_rewind`].
    pub fn rewind(&mut self, now_us: u64) -> Option<Stretch> {
        self.trim(now_us);
        let mut spans = self.spans.iter();
        let old = spans
            .by_ref()
            .take_while(|span| !span.times.is_recent(now_us));
        let start = old.last().map_or(self.begin, |span| span.through);
        let start = self.floor.map_or(start, |floor| floor.min(start));
        self.floor = Some(start);
        self.again = None;
        (start < self.through()).then(|| (start, self.through()))
    }

    /// The rewind is over.
    pub fn end_rewind(&mut self) {
        self.floor = None;
        self.again = None;
    }

    /// Leaves out what no rewind goes back to any more.
    fn trim(&mut self, now_us: u64) {
        let is_old = |span: &mut Span| !span.times.is_recent(now_us);
        while self.floor.is_none() {
            let Some(span) = self.spans.pop_front_if(is_old) else {
                return;
            };
            self.begin = span.through;
        }
    }

    fn bound(&mut self) {
        while self.spans.len() > SPANS_MAX {
            let Some(oldest) = self.spans.pop_front() else {
                return;
            };
            if let Some(next) = self.spans.front_mut() {
                next.times = next.times.with(oldest.times);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

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

    fn between(earliest_s: u64, latest_s: u64) -> Times {
        Times {
            earliest_us: earliest_s * SECOND_US,
            latest_us: latest_s * SECOND_US,
        }
    }

    fn track() -> Track {
        Track::new((0, Kind::Urgent), at(0))
    }

    #[test]
    fn records_that_are_placed_one_behind_the_other_share_spans() {
        let mut track = track();
        (1..=600).for_each(|it| track.place(at(it), Times::at(it * 100_000), it * 100_000));
        assert_eq!(track.spans.len(), 29);
        assert_eq!(track.rewind(100 * SECOND_US), Some((at(399), at(600))));
    }

    #[test]
    fn records_that_move_do_not_divide_what_lies_between_them() {
        let mut track = track();
        track.place(at(1_000), Times::at(SECOND_US), SECOND_US);
        track.rewind(2 * SECOND_US);
        track.pass_again(at(10), None);
        (11..=100).for_each(|it| track.pass_again(at(it * 10), Some(between(9, 9))));
        assert_eq!(track.spans.len(), 2);
        assert_eq!(track.times(at(10)), between(1, 1));
        assert_eq!(track.times(at(11)), between(9, 9));
    }

    #[test]
    fn what_is_placed_behind_the_begin_has_times_too() {
        let mut track = Track::new((0, Kind::Urgent), at(50));
        track.set_one(at(20), between(1, 100));
        assert_eq!(track.times(at(19)), Times::LONG_AGO);
        assert_eq!(track.times(at(20)), between(1, 100));
        assert_eq!(track.times(at(21)), Times::LONG_AGO);
        assert_eq!(track.rewind(100 * SECOND_US), Some((at(19), at(50))));
    }

    /// Every record with the times that it really has.
    #[derive(Default)]
    struct Plain(BTreeMap<u64, Times>);

    #[test]
    fn no_record_has_been_placed_outside_of_its_times() {
        for seed in 0..300 {
            let mut random = StdRng::seed_from_u64(seed);
            let (mut track, mut plain) = (track(), Plain::default());
            let (mut now_us, mut newest) = (100 * SECOND_US, 0);
            for _ in 0..200 {
                now_us += random.random_range(0..5 * SECOND_US);
                let back_us = random.random_range(0..3) * 40 * SECOND_US;
                let earliest_us = now_us - back_us.min(now_us);
                let times = Times {
                    earliest_us,
                    latest_us: now_us,
                };
                if newest > 0 && random.random_range(0..4) == 0 {
                    let moved = random.random_range(1..=newest);
                    if let Some(known) = plain.0.get_mut(&moved) {
                        *known = times;
                        track.set_one(at(moved), times);
                    }
                } else {
                    newest += random.random_range(1..5);
                    plain.0.insert(newest, times);
                    track.place(at(newest), times, now_us);
                }
                assert!(track.spans.len() <= SPANS_MAX);
                check(&mut track, &plain, now_us);
            }
        }
    }

    fn check(track: &mut Track, plain: &Plain, now_us: u64) {
        let start = track.rewind(now_us).map_or(track.through(), |it| it.0);
        track.end_rewind();
        for (sequence, real) in &plain.0 {
            let known = track.times(at(*sequence));
            let is_recent = real.is_recent(now_us);
            assert!(!is_recent || at(*sequence) > start, "it is gone through");
            assert!(known.earliest_us <= real.earliest_us);
            assert!(!is_recent || known.latest_us >= real.latest_us);
        }
    }
}
