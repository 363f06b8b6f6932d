//! One line: what waits of one class and partition, the call under way, and how far it is in
//! every log.

use std::collections::VecDeque;
use std::sync::Arc;

use super::lane::{before, LaneId};
use super::limits::{CALL_RECORDS_MAX, NOTE_EVERY_US, REWIND_US};
use super::planted::{is_planted, Planted};
use crate::event_log::{LogPosition, LogRecord};

/// Where a record of a line comes from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// A number in a lane, which is waited for.
    Lane(LaneId, u64),
    /// A rewind.
    Again(Arc<LogRecord>),
    /// A question for a place that was forgotten.
    Asked(Arc<LogRecord>),
}

/// What a line is doing.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) enum Calling {
    /// Nothing; the next call takes what waits.
    #[default]
    Idle,
    /// A call is under way.
    UnderWay,
    /// A call is under way, and its server may have lost what it answers.
    Stale,
    /// A call failed; the same records go again.
    Failed,
}

/// How far a line is in one log.
#[derive(Debug)]
struct Track {
    lane: LaneId,
    /// The last record that was placed.
    through: LogPosition,
    /// When.
    placed_us: u64,
    /// Where `through` stood when; the first note is at least as old as a rewind goes back, or
    /// as old as the line.
    notes: VecDeque<(u64, LogPosition)>,
    /// Where a rewind that is not over began.
    floor: Option<LogPosition>,
}

/// What a line goes through again in one log: behind the first position, up to the second.
pub(super) type Stretch = (LogPosition, LogPosition);

/// One line.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiting: VecDeque<Source>,
    /// What a rewind has read; it goes before everything that waits.
    again: VecDeque<Source>,
    asked: VecDeque<Source>,
    /// The records of the call under way or of the one that failed.
    pub records: Vec<Source>,
    pub calling: Calling,
    /// Rewinds have not read everything yet: what waits stays.
    held: bool,
    /// What a rewind found is not answered yet.
    rewinding: bool,
    /// An attempt of a rewind or question failed and may have been carried out, so that what has
    /// moved looks like a repeat.
    uncertain: bool,
    pub queued: bool,
    /// The archive does not know the records of the call that waits.
    pub is_sure: bool,
    /// Calls that failed since the last answer.
    pub failures: u32,
    pub again_at_us: u64,
    tracks: Vec<Track>,
}

impl Line {
    /// Whether a call can be made.
    pub fn is_ready(&self) -> bool {
        let more = || {
            let behind = !self.held || is_planted(Planted::RewindUnordered);
            let waits = !self.waiting.is_empty() || !self.asked.is_empty();
            !self.again.is_empty() || behind && waits
        };
        match self.calling {
            Calling::Idle => more(),
            Calling::Failed => true,
            Calling::UnderWay => is_planted(Planted::SecondCall) && more(),
            Calling::Stale => false,
        }
    }

    /// Whether nothing waits and no call is open.
    pub fn is_idle(&self) -> bool {
        let nothing = self.waiting.is_empty() && self.again.is_empty() && self.asked.is_empty();
        nothing && self.records.is_empty()
    }

    /// Something waits.
    pub fn push(&mut self, source: Source) {
        match source {
            Source::Lane(..) => self.waiting.push_back(source),
            Source::Again(_) => self.again.push_back(source),
            Source::Asked(_) => self.asked.push_back(source),
        }
    }

    /// The call failed.
    pub fn failed(&mut self) {
        self.doubt();
        match self.calling {
            Calling::Stale => self.put_back(),
            _ => self.calling = Calling::Failed,
        }
        self.failures = self.failures.saturating_add(1);
    }

    fn doubt(&mut self) {
        let mut sources = self.records.iter();
        self.uncertain |= sources.any(|source| !matches!(source, Source::Lane(..)));
    }

    /// The call was answered by a server that may have lost it since.
    pub fn answered_late(&mut self) {
        self.doubt();
        self.put_back();
    }

    /// The call was answered; says whether what has moved may look like a repeat.
    pub fn answered(&mut self) -> bool {
        let uncertain = self.uncertain;
        self.calling = Calling::Idle;
        self.failures = 0;
        self.again_at_us = 0;
        self.is_sure = false;
        if self.rewinding && !self.held && self.again.is_empty() {
            self.rewinding = false;
            self.tracks.iter_mut().for_each(|track| track.floor = None);
        }
        self.uncertain &= self.rewinding;
        uncertain
    }

    /// Moves what the next call holds to where it stays until it is answered: the same records
    /// as before when that call failed.
    pub fn take(&mut self) {
        if self.calling == Calling::Failed && is_planted(Planted::FailureLast) {
            let failed = std::mem::take(&mut self.records);
            self.waiting.extend(failed);
        }
        let holds = self.held && !is_planted(Planted::RewindUnordered);
        while self.records.len() < CALL_RECORDS_MAX && self.calling != Calling::Failed {
            let unordered = is_planted(Planted::RewindUnordered);
            let first = match unordered {
                true => self.waiting.pop_front(),
                false => self.again.pop_front(),
            };
            let next = first.or_else(|| match (holds, unordered) {
                (true, _) => None,
                (false, true) => self.again.pop_front(),
                (false, false) => self.waiting.pop_front(),
            });
            let next = next.or_else(|| self.asked.pop_front_if(|_| !holds));
            match next {
                Some(source) => self.records.push(source),
                None => break,
            }
        }
        self.calling = Calling::UnderWay;
    }

    /// The server of the line may have lost what it placed last: new records stay until what it
    /// may have lost was submitted again, and an answer that is under way proves nothing.
    pub fn hold(&mut self) {
        self.held = true;
        self.rewinding = true;
        self.again.clear();
        match self.calling {
            Calling::UnderWay if is_planted(Planted::StaleBelieved) => {}
            Calling::UnderWay => self.calling = Calling::Stale,
            Calling::Failed => self.put_back(),
            Calling::Idle | Calling::Stale => {}
        }
    }

    /// The records of the last call wait again, before everything later.
    fn put_back(&mut self) {
        self.calling = Calling::Idle;
        for source in std::mem::take(&mut self.records).into_iter().rev() {
            match source {
                Source::Lane(..) => self.waiting.push_front(source),
                // The rewind that has begun reads it again.
                Source::Again(_) => {}
                Source::Asked(_) => self.asked.push_front(source),
            }
        }
    }

    /// Rewinds have read everything; says whether they had not before.
    pub fn release(&mut self) -> bool {
        std::mem::replace(&mut self.held, false)
    }

    /// Records of rewinds that wait.
    pub fn again(&self) -> usize {
        self.again.len()
    }

    /// A record of the line was placed.
    pub fn note(&mut self, lane: LaneId, at: LogPosition, before: LogPosition, now_us: u64) {
        let known = self.tracks.iter().position(|track| track.lane == lane);
        let index = known.unwrap_or_else(|| {
            let notes = VecDeque::from([(now_us, before)]);
            self.tracks.push(Track {
                lane,
                through: before,
                placed_us: now_us,
                notes,
                floor: None,
            });
            self.tracks.len() - 1
        });
        let track = &mut self.tracks[index];
        let last = track.notes.back().map_or(0, |note| note.0);
        if now_us >= last.saturating_add(NOTE_EVERY_US) && !self.rewinding {
            // Nothing was placed since then.
            track.notes.push_back((track.placed_us, track.through));
        }
        track.through = at.max(track.through);
        track.placed_us = now_us;
        trim(&mut track.notes, now_us);
    }

    /// The archive has a record of the line: it was placed long ago, and a rewind does not go back
    /// to it, since the backplane may have forgotten its id.
    pub fn passed(&mut self, lane: LaneId, at: LogPosition, now_us: u64) {
        let known = self.tracks.iter_mut().find(|track| track.lane == lane);
        match known {
            Some(track) => {
                track.through = at.max(track.through);
                // Nothing was placed since the start.
                if track.placed_us == 0 {
                    track.notes = VecDeque::from([(now_us, track.through)]);
                }
            }
            None => self.tracks.push(Track {
                lane,
                through: at,
                placed_us: 0,
                notes: VecDeque::from([(now_us, at)]),
                floor: None,
            }),
        }
    }

    /// A record that was lost has another place: it and all behind it were placed just now.
    pub fn moved(&mut self, lane: LaneId, at: LogPosition, now_us: u64) {
        let track = self.tracks.iter_mut().find(|track| track.lane == lane);
        let Some(track) = track else {
            return;
        };
        while track.notes.pop_back_if(|note| note.1 >= at).is_some() {}
        if track.notes.is_empty() {
            track.notes.push_back((now_us, before(at)));
        }
    }

    /// The last record of a log that the line has placed.
    pub fn through(&self, lane: LaneId) -> Option<LogPosition> {
        let track = self.tracks.iter().find(|track| track.lane == lane)?;
        Some(track.through)
    }

    /// Where a rewind of a log began that is not over.
    pub fn floor(&self, lane: LaneId) -> Option<LogPosition> {
        let track = self.tracks.iter().find(|track| track.lane == lane)?;
        track.floor
    }

    /// What the line goes through again in every log.
    pub fn stretches(&mut self, now_us: u64) -> impl Iterator<Item = (LaneId, Stretch)> + '_ {
        self.tracks.iter_mut().filter_map(move |track| {
            trim(&mut track.notes, now_us);
            let start = track.notes.front()?.1;
            let recent = now_us < track.placed_us.saturating_add(REWIND_US);
            let start = if recent { start } else { track.through };
            let start = track.floor.map_or(start, |floor| floor.min(start));
            track.floor = Some(start);
            (start < track.through).then_some((track.lane, (start, track.through)))
        })
    }
}

/// Leaves one note that is old enough.
fn trim(notes: &mut VecDeque<(u64, LogPosition)>, now_us: u64) {
    while notes.len() > 1 && notes[1].0.saturating_add(REWIND_US) <= now_us {
        notes.pop_front();
    }
}
