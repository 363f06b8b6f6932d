//! What an answer proves about the time at which a record was placed.
//!
//! A record that an answer calls new was placed by that call. One that is a repeat was placed by
//! an earlier attempt: of this process, of an earlier boot, or of another node to which its
//! publisher had given it. What a rewind finds where it was keeps the times that it had.
//!
//! Runs on: the relay thread.

use super::limits::ASK_WITHIN_US;
use super::line::{Attempts, Line, Source};
use super::outcome::{Outcome, Placed};
use super::planted::{is_planted, Planted};
use super::sequencing::{LineId, Lines};
use super::track::{Proof, Times, Track};
use crate::backplane::Published;
use crate::event_log::LogRecord;
use crate::record::Placement;

/// Where a record of a call was found to be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    /// It has its place by this call.
    New(Placement),
    /// The backplane knew it.
    Repeat(Placement),
    /// The archive knew it.
    InArchive(Placement),
}

impl Found {
    fn placement(self) -> Placement {
        match self {
            Self::New(placement) | Self::Repeat(placement) | Self::InArchive(placement) => {
                placement
            }
        }
    }
}

impl From<Published> for Found {
    fn from(published: Published) -> Self {
        match published.repeated && !is_planted(Planted::RepeatIsNew) {
            true => Self::Repeat(published.placement),
            false => Self::New(published.placement),
        }
    }
}

impl Lines {
    /// Since when a record of the call may have been placed, without this process having heard of
    /// it, or by what it has heard.
    pub(super) fn earliest_us(&self, line: &Line, source: &Source, record: &LogRecord) -> u64 {
        let attempts = line.attempts();
        match source {
            _ if attempts.looked_up => attempts.since_us,
            Source::Lane(..) if record.at.boot < self.boot => record.accepted_at_us,
            Source::Lane(..) => attempts.since_us,
            Source::Asked(_) => record.accepted_at_us,
            Source::Again(_) => match line.times(record).earliest_us {
                0 => record.accepted_at_us,
                earliest_us => earliest_us,
            },
        }
    }

    /// Finishes a record that has its place; nothing when it has left.
    pub(super) fn finish(
        &mut self,
        id: LineId,
        source: &Source,
        found: Found,
        attempts: Attempts,
    ) -> Option<Placed> {
        let record = self.record(source)?;
        let lane = (record.at.shard, record.at.kind);
        let begin = self.begin.get(&lane).copied();
        // An earlier process may have gone back to it, and have died before it heard of the place.
        let is_inherited = begin.is_some_and(|begin| record.at <= begin);
        let attempts = Attempts {
            uncertain: attempts.uncertain || is_inherited,
            ..attempts
        };
        let outcome = match source {
            Source::Lane(lane, number) => {
                self.counters.placed += 1;
                if let Some(lane) = self.lanes.get_mut(lane) {
                    lane.finish(*number);
                }
                Outcome::Placed
            }
            _ if attempts.uncertain || matches!(found, Found::New(_)) => Outcome::Moved,
            Source::Asked(_) => Outcome::Told,
            Source::Again(_) => Outcome::Kept,
        };
        self.counters.moved += u64::from(outcome == Outcome::Moved);
        self.asked -= usize::from(matches!(source, Source::Asked(_)));
        self.note(id, source, &record, found, attempts);
        let placement = found.placement();
        Some(Placed {
            record,
            placement,
            outcome,
        })
    }

    /// Notes when a record was placed: of a repeat it is known that it was no later than now.
    fn note(
        &mut self,
        id: LineId,
        source: &Source,
        record: &LogRecord,
        found: Found,
        attempts: Attempts,
    ) {
        let now_us = self.now_us;
        let lane = (record.at.shard, record.at.kind);
        let begin = self.begin.get(&lane).copied().unwrap_or(record.at);
        let is_earlier = record.at.boot < self.boot;
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        let settled = &self.settled;
        let track = line.track(lane, || {
            let points = settled.get(&lane).map_or(&[][..], Vec::as_slice);
            Track::behind(lane, begin, points, 0)
        });
        let known = track.times(record.at);
        let may_have_moved = attempts.uncertain.then_some(Times {
            earliest_us: known.earliest_us,
            latest_us: now_us,
        });
        let times = match found {
            Found::New(_) => Some(Times::at(now_us)),
            _ => may_have_moved,
        };
        let proof = match found {
            Found::New(placement) => Some(Proof {
                at: record.at,
                record: record.record,
                placement,
            }),
            _ => None,
        };
        match source {
            Source::Again(_) => return track.pass_again(record.at, times, proof),
            Source::Asked(_) => {
                if let Some(times) = times {
                    track.set_one(record.at, times);
                }
                return;
            }
            Source::Lane(..) => {}
        }
        let earliest_us = match found {
            Found::New(_) => now_us,
            Found::InArchive(_) => 0,
            Found::Repeat(_) if attempts.looked_up => attempts.since_us,
            Found::Repeat(_) if is_earlier => record.accepted_at_us,
            Found::Repeat(_) if attempts.repeated => attempts.since_us,
            // Another node has placed it, to which its publisher had given it before.
            Found::Repeat(_) => record.accepted_at_us.saturating_sub(ASK_WITHIN_US),
        };
        let latest_us = now_us;
        let times = Times {
            earliest_us: earliest_us.max(1),
            latest_us,
        };
        track.place(record.at, times, proof, now_us);
    }
}
