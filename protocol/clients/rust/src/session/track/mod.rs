//! What one channel delivered so far, and what an arriving event means against it.
//!
//! Purpose: order, repeats and gaps of one channel, over reconnections and changes of epoch.
//! Invariants: the position only moves forward within an epoch; an event is handed out at
//! most once; a skipped event is always reported, and so is every change of the numbering: a
//! new epoch, and positions at which events stand again that were handed out before.
//! Limits: `limits::RECORDS_REMEMBERED` record ids are kept for the time around a change of
//! epoch, where offsets alone cannot tell a repeat.
//! Runs on: any thread; pure.

use std::collections::{BTreeSet, VecDeque};

use interlink_protocol::ids::{Position, RecordId};

use crate::event::GapReason;
use crate::limits;

/// What to do with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Hand it out.
    Deliver,
    /// Report the gap, then hand it out.
    DeliverAfterGap {
        /// Events that are missing; 0 when their number is not known.
        skipped: u64,
        /// Why, as far as the client can tell.
        reason: GapReason,
    },
    /// It was handed out before.
    Repeat,
}

/// Nothing is missing; what comes stands elsewhere than the last event leads to.
const RENUMBERED: Verdict = Verdict::DeliverAfterGap {
    skipped: 0,
    reason: GapReason::Lineage,
};

/// The stream of one channel as this client saw it.
#[derive(Clone, Debug, Default)]
pub struct Track {
    last: Option<Position>,
    /// Repeats have moved the position since it was last told.
    moved: bool,
    remembered: RecordWindow,
    /// Events of the current epoch that still have to be compared by record id.
    compare_left: usize,
}

impl Track {
    /// The last position that was handed out, pinned or skipped to.
    pub fn position(&self) -> Option<Position> {
        self.last
    }

    /// Continues from `position`; what was handed out before stays remembered.
    pub fn pin(&mut self, position: Option<Position>) {
        let changed = match (self.last, position) {
            (Some(last), Some(next)) => last.epoch != next.epoch || next.offset < last.offset,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if changed {
            self.compare_left = limits::RECORDS_REMEMBERED;
        }
        // Whoever comes back where repeats had led has not been told so yet.
        if position != self.last {
            self.moved = false;
        }
        self.last = position;
    }

    /// Judges an event and moves the position past it.
    pub fn on_event(&mut self, at: Position, previous_chain: u64, record: RecordId) -> Verdict {
        let verdict = self.judge(at, previous_chain, record);
        if verdict == Verdict::Repeat {
            // A repeat under a new epoch still proves where the stream is now.
            match self.last {
                Some(last) if last.epoch != at.epoch => {
                    self.enter_epoch(at);
                    self.moved = true;
                }
                Some(last) if at.offset <= last.offset => {}
                Some(_) => {
                    self.last = Some(at);
                    self.moved = true;
                }
                None => self.last = Some(at),
            }
            return verdict;
        }
        if self.last.is_some_and(|last| last.epoch != at.epoch) {
            self.enter_epoch(at);
        }
        self.last = Some(at);
        self.moved = false;
        self.compare_left = self.compare_left.saturating_sub(1);
        self.remembered.insert(record);
        verdict
    }

    /// Moves the position as the server says; false when it says nothing new.
    pub fn on_position(&mut self, at: Position) -> bool {
        match self.last {
            Some(last) if last.epoch == at.epoch && at.offset <= last.offset => return false,
            Some(last) if last.epoch != at.epoch => self.enter_epoch(at),
            _ => self.last = Some(at),
        }
        self.moved = false;
        true
    }

    fn enter_epoch(&mut self, at: Position) {
        self.last = Some(at);
        self.compare_left = limits::RECORDS_REMEMBERED;
    }

    fn judge(&self, at: Position, previous_chain: u64, record: RecordId) -> Verdict {
        let Some(last) = self.last else {
            return self.judge_by_record(record).unwrap_or(Verdict::Deliver);
        };
        let follows = at.offset == last.offset.saturating_add(1);
        if at.epoch == last.epoch {
            if at.offset <= last.offset {
                return Verdict::Repeat;
            }
            if let Some(repeat) = self.judge_by_record(record) {
                return repeat;
            }
            return match (follows, previous_chain == last.chain) {
                (true, true) if !self.moved => Verdict::Deliver,
                (true, true) => RENUMBERED,
                (true, false) => Verdict::DeliverAfterGap {
                    skipped: 0,
                    reason: GapReason::Lineage,
                },
                (false, _) => Verdict::DeliverAfterGap {
                    skipped: at.offset - last.offset - 1,
                    reason: GapReason::Unannounced,
                },
            };
        }
        if self.remembered.contains(record) {
            return Verdict::Repeat;
        }
        if follows && previous_chain == last.chain {
            // Before its first event a channel is the same in every epoch.
            return match last.offset == 0 && !self.moved {
                true => Verdict::Deliver,
                false => RENUMBERED,
            };
        }
        Verdict::DeliverAfterGap {
            skipped: at.offset.saturating_sub(last.offset.saturating_add(1)),
            reason: GapReason::Lineage,
        }
    }

    fn judge_by_record(&self, record: RecordId) -> Option<Verdict> {
        (self.compare_left > 0 && self.remembered.contains(record)).then_some(Verdict::Repeat)
    }
}

/// The last record ids of a channel, exact within its size.
#[derive(Clone, Debug, Default)]
struct RecordWindow {
    order: VecDeque<u128>,
    members: BTreeSet<u128>,
}

impl RecordWindow {
    fn contains(&self, record: RecordId) -> bool {
        self.members.contains(&record.0)
    }

    fn insert(&mut self, record: RecordId) {
        if !self.members.insert(record.0) {
            return;
        }
        self.order.push_back(record.0);
        if self.order.len() > limits::RECORDS_REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.members.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests;
