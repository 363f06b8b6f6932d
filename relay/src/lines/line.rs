//! One line: what waits of one class and partition, the call under way, and how far it is in
//! every log.

use std::collections::VecDeque;
use std::sync::Arc;

use super::lane::LaneId;
use super::limits::CALL_RECORDS_MAX;
use super::planted::{is_planted, Planted};
use super::track::{Proof, Stretch, Times, Track};
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

/// What is known of the attempts of a call.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Attempts {
    /// When its records were submitted first, by this process. Once they were looked up, when
    /// that was: they had not been placed by then.
    pub since_us: u64,
    /// They were submitted before, without an answer that counts.
    pub repeated: bool,
    /// The archive does not know them.
    pub looked_up: bool,
    /// What a rewind or a question has moved may look like a repeat.
    pub uncertain: bool,
}

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
    /// A call of a rewind or question that is not made again may have been carried out, so that
    /// what it has moved will look like a repeat.
    uncertain: bool,
    /// So many of what waits first were submitted before, and since when.
    tried: (usize, u64),
    attempts: Attempts,
    pub queued: bool,
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
        match self.calling {
            Calling::Stale => self.put_back(),
            _ => self.calling = Calling::Failed,
        }
        self.attempts.repeated = true;
        self.failures = self.failures.saturating_add(1);
    }

    /// The call was not carried out, and is made again at once.
    pub fn put_off(&mut self) {
        match self.calling {
            Calling::Stale => self.put_back(),
            Calling::UnderWay => self.calling = Calling::Failed,
            Calling::Idle | Calling::Failed => {}
        }
    }

    /// The call was answered by a server that may have lost it since.
    pub fn answered_late(&mut self) {
        self.put_back();
    }

    /// What is known of the attempts of the call.
    pub fn attempts(&self) -> Attempts {
        let doubted = self.attempts.repeated || self.attempts.looked_up;
        Attempts {
            uncertain: self.uncertain || doubted,
            ..self.attempts
        }
    }

    /// The archive was asked for the records of the call; those that it knows are done.
    pub fn looked_up(&mut self, unknown: Vec<Source>, now_us: u64) {
        if unknown.is_empty() {
            self.answered();
            return;
        }
        self.records = unknown;
        self.calling = Calling::Failed;
        self.attempts.since_us = now_us;
        self.attempts.looked_up = true;
    }

    /// The call was answered.
    pub fn answered(&mut self) {
        self.calling = Calling::Idle;
        self.failures = 0;
        self.again_at_us = 0;
        self.end_rewind();
    }

    /// A rewind is over once everything that it has read is answered.
    fn end_rewind(&mut self) {
        let is_again = |source: &Source| matches!(source, Source::Again(_));
        let waits = self.held || !self.again.is_empty() || self.records.iter().any(is_again);
        if self.rewinding && !waits {
            self.rewinding = false;
            self.tracks.iter_mut().for_each(Track::end_rewind);
        }
        self.uncertain &= self.rewinding;
    }

    /// Moves what the next call holds to where it stays until it is answered: the same records
    /// as before when that call failed.
    pub fn take(&mut self, now_us: u64) {
        if self.calling == Calling::Failed && is_planted(Planted::FailureLast) {
            let failed = std::mem::take(&mut self.records);
            self.waiting.extend(failed);
        }
        if self.calling != Calling::Failed {
            self.attempts = Attempts {
                since_us: now_us,
                ..Attempts::default()
            };
            self.fill();
        }
        self.calling = Calling::UnderWay;
    }

    fn fill(&mut self) {
        let unordered = is_planted(Planted::RewindUnordered);
        let holds = self.held && !unordered;
        while self.records.len() < CALL_RECORDS_MAX {
            let first = match unordered {
                true => self.next_waiting(),
                false => self.again.pop_front(),
            };
            let next = first.or_else(|| match (holds, unordered) {
                (true, _) => None,
                (false, true) => self.again.pop_front(),
                (false, false) => self.next_waiting(),
            });
            let next = next.or_else(|| self.asked.pop_front_if(|_| !holds));
            match next {
                Some(source) => self.records.push(source),
                None => break,
            }
        }
    }

    fn next_waiting(&mut self) -> Option<Source> {
        let next = self.waiting.pop_front()?;
        let (tried, since_us) = self.tried;
        if tried > 0 {
            self.tried.0 -= 1;
            self.attempts.repeated = true;
            self.attempts.since_us = self.attempts.since_us.min(since_us);
        }
        Some(next)
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
        let since_us = match self.tried.0 {
            0 => self.attempts.since_us,
            _ => self.attempts.since_us.min(self.tried.1),
        };
        for source in std::mem::take(&mut self.records).into_iter().rev() {
            self.uncertain |= !matches!(source, Source::Lane(..));
            match source {
                Source::Lane(..) => {
                    self.waiting.push_front(source);
                    self.tried = (self.tried.0 + 1, since_us);
                }
                // The rewind that has begun reads it again.
                Source::Again(_) => {}
                Source::Asked(_) => self.asked.push_front(source),
            }
        }
    }

    /// Rewinds have read everything; says whether they had not before.
    pub fn release(&mut self) -> bool {
        let was_held = std::mem::replace(&mut self.held, false);
        if was_held {
            self.end_rewind();
        }
        was_held
    }

    /// Records of rewinds that wait.
    pub fn again(&self) -> usize {
        self.again.len()
    }

    /// What the line has placed in a log; `begin` makes a track that begins.
    pub fn track(&mut self, lane: LaneId, begin: impl FnOnce() -> Track) -> &mut Track {
        let known = self.tracks.iter().position(|track| track.lane == lane);
        let index = known.unwrap_or_else(|| {
            self.tracks.push(begin());
            self.tracks.len() - 1
        });
        &mut self.tracks[index]
    }

    /// What the line has placed in a log, if anything.
    pub fn known(&self, lane: LaneId) -> Option<&Track> {
        self.tracks.iter().find(|track| track.lane == lane)
    }

    /// When a record was placed.
    pub fn times(&self, record: &LogRecord) -> Times {
        let track = self.known((record.at.shard, record.at.kind));
        track.map_or(Times::LONG_AGO, |track| track.times(record.at))
    }

    /// Records by which a server can prove how much it has of the line, for each log the newest
    /// first.
    pub fn proofs(&self) -> impl Iterator<Item = (LaneId, Proof)> + '_ {
        let tracks = self.tracks.iter().filter(|track| track.floor().is_some());
        tracks.flat_map(|track| track.proofs().map(|proof| (track.lane, proof)))
    }

    /// The server has everything of a log up to here.
    pub fn confirm(&mut self, lane: LaneId, at: LogPosition) {
        let mut tracks = self.tracks.iter_mut();
        if let Some(track) = tracks.find(|track| track.lane == lane) {
            track.confirm(at);
        }
    }

    /// What the line goes through again in every log.
    pub fn stretches(&mut self, now_us: u64) -> impl Iterator<Item = (LaneId, Stretch)> + '_ {
        let tracks = self.tracks.iter_mut();
        tracks.filter_map(move |track| Some((track.lane, track.rewind(now_us)?)))
    }
}
