//! Asks a server that has taken over how much it has, so that only the rest is submitted again.
//!
//! A replica has all that its master did up to a moment. If it still has a record at the very place
//! that a call of this process was told, it has everything that was placed before: the rewind
//! begins behind the newest such record. A record that is known elsewhere proves nothing: another
//! node may have submitted it, or an earlier rewind.
//!
//! A question that fails is asked again, [`QUESTIONS_MAX`] times; without an answer, and where no
//! record proves anything, the whole minute is submitted.
//!
//! Invariant: an answer from before a later change of lineage counts for nothing.
//!
//! Runs on: the relay thread.

use std::collections::BTreeMap;

use interlink_protocol::ids::RecordId;

use super::lane::LaneId;
use super::limits::{CALL_RECORDS_MAX, QUESTIONS_MAX, READ_PAUSE_US};
use super::planted::{is_planted, Planted};
use super::sequencing::{is_admitted, LineId, Lines};
use super::track::Proof;
use crate::record::Placement;

/// Which of some records does a server still know, and where?
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// Whose they are.
    pub line: LineId,
    /// Names the question; the answer names it again.
    pub number: u64,
    /// Their ids, at most [`CALL_RECORDS_MAX`].
    pub records: Vec<RecordId>,
}

/// A line of which a server is asked.
#[derive(Debug)]
struct Asking {
    number: u64,
    under_way: bool,
    failures: u32,
    again_at_us: u64,
    proofs: Vec<(LaneId, Proof)>,
}

/// Questions that are not answered.
#[derive(Debug, Default)]
pub(super) struct Proving {
    lines: BTreeMap<LineId, Asking>,
    number: u64,
}

impl Proving {
    /// Asks anew of a line, by these records.
    pub fn begin(&mut self, line: LineId, proofs: Vec<(LaneId, Proof)>) {
        self.lines.remove(&line);
        if proofs.is_empty() {
            return;
        }
        self.number += 1;
        let asking = Asking {
            number: self.number,
            under_way: false,
            failures: 0,
            again_at_us: 0,
            proofs,
        };
        self.lines.insert(line, asking);
    }

    /// Whether nothing is to be waited for.
    pub fn is_over(&self) -> bool {
        self.lines.is_empty()
    }

    /// When a question that failed is asked again.
    pub fn next_at_us(&self) -> Option<u64> {
        let waiting = self.lines.values().filter(|asking| !asking.under_way);
        let times = waiting.map(|asking| asking.again_at_us);
        times.filter(|at_us| *at_us > 0).min()
    }

    /// The question that an answer is for, unless it is late.
    fn take(&mut self, line: LineId, number: u64) -> Option<Asking> {
        let asking = self.lines.get(&line)?;
        let is_it = asking.number == number || is_planted(Planted::ProofLate);
        is_it.then(|| self.lines.remove(&line)).flatten()
    }
}

impl Lines {
    /// The next question for the backplane, of a partition that may be called; it is answered by
    /// [`Self::known`] or [`Self::not_known`].
    pub fn next_question(&mut self, now_us: u64) -> Option<Question> {
        self.now_us = now_us.max(self.now_us);
        let now_us = self.now_us;
        let traffic = self.traffic;
        let mut lines = self.proving.lines.iter_mut();
        let (line, asking) = lines.find(|(line, asking)| {
            let is_due = !asking.under_way && asking.again_at_us <= now_us;
            is_due && is_admitted(traffic, **line)
        })?;
        asking.under_way = true;
        let records = asking.proofs.iter().map(|(_, proof)| proof.record);
        Some(Question {
            line: *line,
            number: asking.number,
            records: records.collect(),
        })
    }

    /// Where the server has the records of a question, in their order.
    pub fn known(&mut self, line: LineId, number: u64, places: &[Option<Placement>]) {
        let Some(asking) = self.proving.take(line, number) else {
            return;
        };
        // The newest of a log come first, and the first that is true counts.
        let mut proved: BTreeMap<LaneId, Proof> = BTreeMap::new();
        for ((lane, proof), place) in asking.proofs.iter().zip(places) {
            let known = match place {
                Some(_) if is_planted(Planted::ProofAnywhere) => true,
                place => *place == Some(proof.placement),
            };
            if known {
                proved.entry(*lane).or_insert(*proof);
            }
        }
        self.counters.proved += proved.len() as u64;
        for (lane, proof) in proved {
            self.confirm(line, lane, proof.at);
        }
        self.go_on();
    }

    /// A question was not answered: it is asked again after a pause, or given up.
    pub fn not_known(&mut self, line: LineId, number: u64, now_us: u64) {
        self.now_us = now_us.max(self.now_us);
        let Some(mut asking) = self.proving.take(line, number) else {
            return;
        };
        asking.failures += 1;
        if asking.failures < QUESTIONS_MAX {
            asking.under_way = false;
            asking.again_at_us = self.now_us.saturating_add(READ_PAUSE_US);
            self.proving.lines.insert(line, asking);
        }
        self.go_on();
    }

    fn go_on(&mut self) {
        if self.proving.is_over() {
            self.begin_again();
            self.release();
        }
    }

    /// What is asked of a line: as much as one call takes.
    pub(super) fn prove(&mut self, id: LineId) {
        let line = self.lines.get(&id);
        let proofs = line.into_iter().flat_map(|line| line.proofs());
        let proofs = proofs.take(CALL_RECORDS_MAX).collect();
        self.proving.begin(id, proofs);
    }
}
