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

use interlink_protocol::ids::RecordId;

use super::lane::{before, LaneId};
use super::limits::{REWIND_US, SPANS_MAX, SPAN_US};
use crate::cursors::Settled;
use crate::event_log::LogPosition;
use crate::record::Placement;

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

/// A record that got its place by a call of this process. A server that still has it at that very
/// place has everything that it or its master had before, and so all earlier records of the line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Proof {
    pub at: LogPosition,
    pub record: RecordId,
    pub placement: Placement,
}

/// Records of a stretch, from the one behind the span before.
#[derive(Clone, Copy, Debug)]
struct Span {
    through: LogPosition,
    times: Times,
    /// The last one of the span, if it has any.
    proof: Option<Proof>,
}

impl Span {
    /// Whether records of these times belong to the span as well.
    fn takes(&mut self, at: LogPosition, times: Times, proof: Option<Proof>) -> bool {
        let near = self.times.is_near(times);
        if near {
            self.through = at;
            self.times = self.times.with(times);
            self.proof = proof.or(self.proof);
        }
        near
    }
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
            track.append(point.through, times, None);
        }
        track.append(begin, Times::LONG_AGO, None);
        track
    }

    fn append(&mut self, at: LogPosition, times: Times, proof: Option<Proof>) {
        if at <= self.through() {
            return;
        }
        let last = self.spans.back_mut();
        if !last.is_some_and(|last| last.takes(at, times, proof)) {
            let through = at;
            self.spans.push_back(Span {
                through,
                times,
                proof,
            });
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
    pub fn place(&mut self, at: LogPosition, times: Times, proof: Option<Proof>, now_us: u64) {
        if at <= self.through() {
            return self.set(before(at), at, times, proof);
        }
        self.append(at, times, proof);
        self.trim(now_us);
    }

    /// A rewind has come to a record; `times` are new ones, if it has other ones now.
    pub fn pass_again(&mut self, at: LogPosition, times: Option<Times>, proof: Option<Proof>) {
        let last = self.again.replace(at).filter(|last| *last < at);
        if let Some(times) = times {
            // The line has no record between two that a rewind comes to.
            self.set(last.unwrap_or(before(at)), at, times, proof);
        }
    }

    /// A single record has other times now.
    pub fn set_one(&mut self, at: LogPosition, times: Times) {
        self.set(before(at), at, times, None);
    }

    fn set(&mut self, after: LogPosition, at: LogPosition, times: Times, proof: Option<Proof>) {
        let span = Span {
            through: at,
            times,
            proof,
        };
        if at <= self.begin {
            if at < self.begin {
                self.spans.push_front(Span {
                    through: self.begin,
                    times: Times::LONG_AGO,
                    proof: None,
                });
            }
            self.begin = after;
            self.spans.push_front(span);
            return self.bound();
        }
        let (from, to) = (self.cut(after), self.cut(at));
        self.spans.drain(from..to);
        let last = from
            .checked_sub(1)
            .and_then(|last| self.spans.get_mut(last));
        if !last.is_some_and(|last| last.takes(at, times, proof)) {
            self.spans.insert(from, span);
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
        let Some(span) = self.spans.get_mut(index) else {
            return index;
        };
        let (earlier, later) = match span.proof {
            Some(proof) if proof.at <= at => (span.proof, None),
            proof => (None, proof),
        };
        span.proof = later;
        let before = Span {
            through: at,
            proof: earlier,
            ..*span
        };
        self.spans.insert(index, before);
        index + 1
    }

    /// Records by which a server can prove how much it has, the newest first and the others ever
    /// further apart.
    pub fn proofs(&self) -> impl Iterator<Item = Proof> + '_ {
        let proofs = self.spans.iter().rev().filter_map(|span| span.proof);
        let wanted = |(index, _): &(usize, Proof)| index.is_power_of_two() || *index == 0;
        proofs.enumerate().filter(wanted).map(|(_, proof)| proof)
    }

    /// The server has proved that it has everything up to here: the rewind that is not over
    /// begins behind it.
    pub fn confirm(&mut self, at: LogPosition) {
        self.floor = self.floor.map(|floor| floor.max(at));
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
        (1..=600).for_each(|it| track.place(at(it), Times::at(it * 100_000), None, it * 100_000));
        assert_eq!(track.spans.len(), 55);
        assert_eq!(track.rewind(100 * SECOND_US), Some((at(396), at(600))));
    }

    #[test]
    fn records_that_move_do_not_divide_what_lies_between_them() {
        let mut track = track();
        track.place(at(1_000), Times::at(SECOND_US), None, SECOND_US);
        track.rewind(2 * SECOND_US);
        track.pass_again(at(10), None, None);
        (11..=100).for_each(|it| track.pass_again(at(it * 10), Some(between(9, 9)), None));
        assert_eq!(track.spans.len(), 2);
        assert_eq!(track.times(at(10)), between(1, 1));
        assert_eq!(track.times(at(11)), between(9, 9));
    }

    #[test]
    fn proofs_are_the_last_records_of_spans_and_stay_with_their_side_of_a_cut() {
        let proof = |sequence| {
            Some(Proof {
                at: at(sequence),
                record: RecordId(sequence.into()),
                placement: Placement::default(),
            })
        };
        let sequences =
            |track: &Track| -> Vec<u64> { track.proofs().map(|it| it.at.sequence.0).collect() };
        let mut track = track();
        for second in 1..=20 {
            let now_us = 2 * second * SECOND_US;
            track.place(
                at(10 * second),
                Times::at(now_us),
                proof(10 * second),
                now_us,
            );
            track.place(at(10 * second + 1), between(1, 2 * second), None, now_us);
        }
        assert_eq!(sequences(&track), [200, 190, 180, 160, 120, 40]);
        track.rewind(41 * SECOND_US);
        track.pass_again(at(190), Some(between(41, 41)), proof(190));
        track.pass_again(at(191), Some(between(41, 41)), None);
        assert_eq!(sequences(&track)[..3], [200, 190, 180]);
        track.confirm(at(120));
        assert_eq!(track.floor(), Some(at(120)));
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
                    track.place(at(newest), times, None, now_us);
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
