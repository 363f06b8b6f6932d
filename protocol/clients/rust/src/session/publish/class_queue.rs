//! The publishes of one class.
//!
//! Purpose: order, credit use, pauses and settling within a class.
//! Invariants: `entries` is sorted by id; `waiting` holds exactly the ids in stage waiting;
//! `in_flight` counts the entries in that stage; `bytes` is the sum of their charges.
//! Runs on: any thread; the clock comes in as an argument.

use std::collections::{BTreeSet, VecDeque};

use super::values::{Answer, AnswerKind, Departure, Draft, PublishOutcome};
use crate::error::{Code, Error};
use crate::limits;

/// Where a publish stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// To be sent, for the first time or again.
    Waiting,
    /// Sent on this connection, no answer yet.
    InFlight,
    /// Acknowledged, not settled.
    Acknowledged,
}

#[derive(Clone, Debug)]
struct Entry {
    id: u64,
    /// Publishes of the class that were taken before this one.
    place: u64,
    draft: Draft,
    bytes: usize,
    stage: Stage,
    first_sent_ms: Option<u64>,
    /// The application has its receipt.
    reported: bool,
    /// The server refused it once, so that a settled mark from before proves nothing.
    refused_once: bool,
}

/// One class, in the order of its ids.
#[derive(Clone, Debug, Default)]
pub(super) struct ClassQueue {
    entries: VecDeque<Entry>,
    waiting: BTreeSet<u64>,
    bytes: usize,
    in_flight: u32,
    hold_until_ms: u64,
    /// A publish was refused for now: nothing leaves until everything on its way is answered,
    /// so that what was refused leaves again in order.
    regrouping: bool,
    refusals_in_row: u32,
    settled: u64,
    /// Publishes taken since the start; the place of the next entry in the class.
    taken: u64,
}

impl ClassQueue {
    /// Takes a publish under its id, which is above all ids before.
    pub(super) fn push(&mut self, id: u64, draft: Draft) {
        let bytes = draft.charged_bytes();
        debug_assert!(self.entries.back().is_none_or(|last| last.id < id));
        self.bytes += bytes;
        self.waiting.insert(id);
        self.entries.push_back(Entry {
            id,
            place: self.taken,
            draft,
            bytes,
            stage: Stage::Waiting,
            first_sent_ms: None,
            reported: false,
            refused_once: false,
        });
        self.taken += 1;
    }

    /// Counts a publish that failed before it was taken.
    pub(super) fn skip(&mut self) {
        self.taken += 1;
    }

    /// True when a publish of `bytes` charged bytes fits; a single one always does.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let fits = self.bytes + bytes <= limits::UNSETTLED_BYTES_PER_CLASS_MAX;
        self.entries.len() < limits::UNSETTLED_PER_CLASS_MAX && (fits || self.entries.is_empty())
    }

    /// True when something waits and nothing holds it; `held` names the channels that take no
    /// publish yet.
    pub(super) fn is_ready(&self, now_ms: u64, held: impl Fn(&str) -> bool) -> bool {
        let regroups = self.regrouping && self.in_flight > 0;
        let is_free = self.hold_until_ms <= now_ms && !regroups;
        let next = self.waiting.first().filter(|_| is_free);
        let next = next.and_then(|id| self.index_of(*id));
        next.is_some_and(|index| !held(&self.entries[index].draft.channel))
    }

    /// What was on its way waits again.
    pub(super) fn on_lost(&mut self) {
        for entry in &mut self.entries {
            if entry.stage == Stage::InFlight {
                entry.stage = Stage::Waiting;
                self.waiting.insert(entry.id);
            }
        }
        self.in_flight = 0;
        self.hold_until_ms = 0;
        self.regrouping = false;
        self.refusals_in_row = 0;
    }

    /// A session that does not know what was acknowledged gets everything again.
    pub(super) fn send_all_again(&mut self) {
        self.on_lost();
        for entry in &mut self.entries {
            entry.stage = Stage::Waiting;
            self.waiting.insert(entry.id);
        }
    }

    /// Takes an answer to the ids from `answer.first` up to `end`, excluded.
    pub(super) fn on_answer(
        &mut self,
        answer: &Answer,
        end: u64,
        now_ms: u64,
        report: &mut impl FnMut(u64, PublishOutcome),
    ) {
        let from = self
            .entries
            .partition_point(|entry| entry.id < answer.first);
        let to = self.entries.partition_point(|entry| entry.id < end);
        let mut refused = Vec::new();
        for index in from..to {
            if self.entries[index].stage != Stage::InFlight {
                continue;
            }
            self.in_flight -= 1;
            let entry = &mut self.entries[index];
            match &answer.kind {
                AnswerKind::Accepted { .. } => {
                    entry.stage = Stage::Acknowledged;
                    self.refusals_in_row = 0;
                    if !entry.reported {
                        entry.reported = true;
                        let receipt = answer.receipt(entry.id, end);
                        report(entry.id, PublishOutcome::Receipt(receipt));
                    }
                }
                AnswerKind::Refused {
                    temporary: true, ..
                } => {
                    entry.stage = Stage::Waiting;
                    entry.refused_once = true;
                    self.waiting.insert(entry.id);
                }
                AnswerKind::Refused { code, .. } => refused.push((entry.id, *code)),
            }
        }
        if to > from {
            self.hold_after(answer, now_ms);
        }
        for (id, code) in refused {
            if self.remove(id).is_some_and(|entry| !entry.reported) {
                report(id, PublishOutcome::Failed(Error::refused(Code(code))));
            }
        }
    }

    /// A temporary refusal pauses the whole class, which keeps the order of what waits.
    fn hold_after(&mut self, answer: &Answer, now_ms: u64) {
        let AnswerKind::Refused {
            temporary: true,
            retry_after_ms,
            ..
        } = answer.kind
        else {
            return;
        };
        let pause = match u64::from(retry_after_ms) {
            0 => limits::RETRY_AFTER_DEFAULT_MS << self.refusals_in_row.min(16),
            named => named,
        };
        self.refusals_in_row = self.refusals_in_row.saturating_add(1);
        self.regrouping = true;
        let until = now_ms + pause.min(limits::RETRY_AFTER_MAX_MS);
        self.hold_until_ms = self.hold_until_ms.max(until);
    }

    /// Takes the server's mark. It is stated after every answer so far, and therefore covers
    /// publishes that were refused and accepted later too.
    pub(super) fn on_settled(&mut self, mark: u64) {
        self.settled = mark;
        for entry in &mut self.entries {
            if entry.stage == Stage::Acknowledged {
                entry.refused_once = false;
            }
        }
        self.drop_settled();
    }

    /// Drops from the front what is acknowledged and covered by the mark.
    pub(super) fn drop_settled(&mut self) {
        let mark = self.settled;
        let is_over = |entry: &Entry| {
            entry.id <= mark && entry.stage == Stage::Acknowledged && !entry.refused_once
        };
        while self.entries.front().is_some_and(is_over) {
            if let Some(entry) = self.entries.pop_front() {
                self.bytes -= entry.bytes;
            }
        }
    }

    fn index_of(&self, id: u64) -> Option<usize> {
        self.entries
            .binary_search_by_key(&id, |entry| entry.id)
            .ok()
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.entries.remove(self.index_of(id)?)?;
        self.waiting.remove(&id);
        self.bytes -= entry.bytes;
        Some(entry)
    }

    /// Takes the next waiting publish and counts it as sent.
    pub(super) fn depart(&mut self, now_ms: u64) -> Option<Departure<'_>> {
        let id = self.waiting.pop_first()?;
        self.regrouping &= self.in_flight > 0;
        let index = self.index_of(id)?;
        self.in_flight += 1;
        let entry = &mut self.entries[index];
        entry.stage = Stage::InFlight;
        let first = *entry.first_sent_ms.get_or_insert(now_ms);
        Some(Departure {
            id,
            age_ms: u32::try_from(now_ms.saturating_sub(first)).unwrap_or(u32::MAX),
            draft: &entry.draft,
        })
    }

    /// Drops `id` if it was never sent; true when it did.
    pub(super) fn expire(&mut self, id: u64) -> bool {
        let index = self.index_of(id);
        let unsent = index.is_some_and(|index| self.entries[index].first_sent_ms.is_none());
        unsent && self.remove(id).is_some()
    }

    /// Ends everything: the ids whose publisher still waits for an answer.
    pub(super) fn drain_unreported(&mut self, ids: &mut Vec<u64>) {
        let open = self.entries.iter().filter(|entry| !entry.reported);
        ids.extend(open.map(|entry| entry.id));
        *self = Self {
            taken: self.taken,
            ..Self::default()
        };
    }

    /// End of the pause that something waits behind.
    pub(super) fn held_until_ms(&self, now_ms: u64) -> Option<u64> {
        let held = !self.waiting.is_empty() && self.hold_until_ms > now_ms;
        held.then_some(self.hold_until_ms)
    }

    /// Unanswered publishes of this connection.
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// How many publishes are over, counted from the first without holes.
    pub(super) fn settled_count(&self) -> u64 {
        self.entries.front().map_or(self.taken, |entry| entry.place)
    }

    /// Publishes that are kept.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Publishes whose publisher waits for an answer.
    pub(super) fn unanswered(&self) -> usize {
        let open = self.entries.iter().filter(|entry| !entry.reported);
        open.count()
    }

    /// Panics when the bookkeeping contradicts itself; for tests and simulation.
    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        assert!(self.entries.iter().is_sorted_by(|a, b| a.id < b.id));
        let in_stage = |stage| self.entries.iter().filter(move |e| e.stage == stage);
        let waiting: BTreeSet<u64> = in_stage(Stage::Waiting).map(|entry| entry.id).collect();
        assert_eq!(waiting, self.waiting);
        assert_eq!(in_stage(Stage::InFlight).count(), self.in_flight as usize);
        assert_eq!(
            self.entries.iter().map(|entry| entry.bytes).sum::<usize>(),
            self.bytes
        );
        assert!(self.entries.len() <= limits::UNSETTLED_PER_CLASS_MAX);
    }
}
