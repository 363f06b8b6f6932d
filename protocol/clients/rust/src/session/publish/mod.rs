//! Publishes that wait, are on their way, or are acknowledged but not yet settled.
//!
//! Purpose: keeps each publish until the server says that nothing can lose it any more, and
//! sends it again, under the same id, on every new session until then.
//! Invariants: within a class publishes leave in the order of their ids, so that what is
//! sent again goes before what is new; at most the granted credit is unacknowledged; an id
//! is never given to a second publish; an entry goes only when it is refused for good, or
//! acknowledged and settled.
//! Limits: `limits::UNSETTLED_PER_CLASS_MAX` entries and
//! `limits::UNSETTLED_BYTES_PER_CLASS_MAX` bytes a class; a full class refuses and the
//! caller waits.
//! Runs on: any thread; the clock comes in as an argument.

use std::collections::BTreeSet;

use interlink_protocol::priority::Priority;

use crate::error::Error;
use crate::limits;

mod class_queue;
mod values;

use class_queue::ClassQueue;
pub use values::{Answer, AnswerKind, Departure, Draft, PublishOutcome};

/// All unsettled publishes of a client.
#[derive(Clone, Debug)]
pub struct PublishBook {
    classes: [ClassQueue; Priority::COUNT],
    next_id: u64,
    credit: u32,
    credit_critical: u32,
    round: [u32; 3],
    /// When the time to live of a publish ends, with its id and class.
    expiries: BTreeSet<(u64, u64, usize)>,
}

impl Default for PublishBook {
    fn default() -> Self {
        Self {
            classes: Default::default(),
            next_id: 1,
            credit: limits::PUBLISH_CREDIT,
            credit_critical: limits::PUBLISH_CREDIT_CRITICAL,
            round: limits::CLASS_WEIGHTS,
            expiries: BTreeSet::new(),
        }
    }
}

impl PublishBook {
    /// Takes a publish and names its id; gives it back when its class is full.
    pub fn push(&mut self, class: Priority, draft: Draft, now_ms: u64) -> Result<u64, Draft> {
        if !self.has_room(class, draft.charged_bytes()) {
            return Err(draft);
        }
        let id = self.next_id;
        self.next_id += 1;
        if draft.time_to_live_ms > 0 {
            let end = now_ms + u64::from(draft.time_to_live_ms);
            self.expiries.insert((end, id, class.index()));
        }
        self.classes[class.index()].push(id, draft);
        Ok(id)
    }

    /// Counts a publish of the class that failed before it was taken.
    pub fn skip(&mut self, class: Priority) {
        self.classes[class.index()].skip();
    }

    /// True when the class takes a further publish of `bytes` charged bytes.
    pub fn has_room(&self, class: Priority, bytes: usize) -> bool {
        self.classes[class.index()].has_room(bytes)
    }

    /// Starts on a new connection. `resumed` says that the server still holds the session
    /// that acknowledged; otherwise everything unsettled is sent again.
    pub fn on_welcome(&mut self, resumed: bool, highest_accepted: u64, settled: [u64; 4]) {
        // An id above our counter can only be an earlier life of this instance.
        self.next_id = self.next_id.max(highest_accepted.saturating_add(1));
        for (queue, mark) in self.classes.iter_mut().zip(settled) {
            queue.on_settled(mark);
            if resumed {
                queue.on_lost();
            } else {
                queue.send_all_again();
            }
        }
    }

    /// Takes the credit that the server grants.
    pub fn on_credit(&mut self, credit: u32, critical: u32) {
        self.credit = credit.max(1);
        self.credit_critical = critical.max(1);
    }

    /// The connection is gone: what was on its way waits again.
    pub fn on_lost(&mut self) {
        self.classes.iter_mut().for_each(ClassQueue::on_lost);
    }

    /// Chooses the next publish and counts it as sent. A class whose next publish is to a channel
    /// that `held` names waits, so that its order stays.
    pub fn depart(
        &mut self,
        now_ms: u64,
        held: impl Fn(&str) -> bool + Copy,
    ) -> Option<Departure<'_>> {
        let class = self.next_class(now_ms, held)?;
        self.classes[class].depart(now_ms)
    }

    /// True when `depart` would find something.
    pub fn can_depart(&self, now_ms: u64, held: impl Fn(&str) -> bool + Copy) -> bool {
        self.critical_ready(now_ms, held) || self.shared_ready(now_ms, held)
    }

    /// Takes an answer and reports what it means, publish by publish.
    pub fn on_answer(
        &mut self,
        answer: &Answer,
        now_ms: u64,
        mut report: impl FnMut(u64, PublishOutcome),
    ) {
        let end = answer.first.saturating_add(u64::from(answer.count.max(1)));
        for queue in &mut self.classes {
            queue.on_answer(answer, end, now_ms, &mut report);
        }
        match answer.settled {
            Some(settled) => self.on_settled(settled),
            None => self.classes.iter_mut().for_each(ClassQueue::drop_settled),
        }
    }

    /// Takes the settled marks of the server, by class.
    pub fn on_settled(&mut self, settled: [u64; 4]) {
        for (queue, mark) in self.classes.iter_mut().zip(settled) {
            queue.on_settled(mark);
        }
    }

    /// Drops publishes that were never sent and whose time to live is over. One that was
    /// sent is left to the server, which alone knows whether it accepted it.
    pub fn expire(&mut self, now_ms: u64, mut report: impl FnMut(u64, PublishOutcome)) {
        while let Some(&(end, id, class)) = self.expiries.first() {
            if end > now_ms {
                return;
            }
            self.expiries.pop_first();
            if self.classes[class].expire(id) {
                report(id, PublishOutcome::Failed(Error::Expired));
            }
        }
    }

    /// Ends everything: the ids whose publisher still waits for an answer, in order.
    pub fn drain_unreported(&mut self) -> Vec<u64> {
        let mut ids = Vec::new();
        for queue in &mut self.classes {
            queue.drain_unreported(&mut ids);
        }
        self.expiries.clear();
        ids.sort_unstable();
        ids
    }

    /// The earliest end of a pause or of a time to live.
    pub fn deadline_ms(&self, now_ms: u64) -> Option<u64> {
        let held = self
            .classes
            .iter()
            .filter_map(|queue| queue.held_until_ms(now_ms))
            .min();
        let expiry = self.expiries.first().map(|&(end, _, _)| end);
        held.into_iter().chain(expiry).min()
    }

    /// For each class, how many publishes are over, counted from the first without holes.
    pub fn settled_counts(&self) -> [u64; Priority::COUNT] {
        std::array::from_fn(|class| self.classes[class].settled_count())
    }

    /// Publishes that are kept.
    pub fn unsettled(&self) -> usize {
        self.classes.iter().map(ClassQueue::len).sum()
    }

    /// Publishes whose publisher waits for an answer.
    pub fn unanswered(&self) -> usize {
        self.classes.iter().map(ClassQueue::unanswered).sum()
    }

    /// Panics when the bookkeeping contradicts itself; for tests and simulation.
    #[cfg(test)]
    pub(crate) fn check_invariants(&self) {
        self.classes.iter().for_each(ClassQueue::check_invariants);
        assert!(self.classes[0].in_flight() <= self.credit_critical);
        assert!(self.shared_in_flight() <= self.credit);
    }

    fn next_class(&mut self, now_ms: u64, held: impl Fn(&str) -> bool + Copy) -> Option<usize> {
        if self.critical_ready(now_ms, held) {
            return Some(Priority::P0.index());
        }
        if !self.shared_ready(now_ms, held) {
            return None;
        }
        // The second pass is reached when every class that is ready used up its share.
        for _ in 0..2 {
            for class in 1..Priority::COUNT {
                if self.round[class - 1] > 0 && self.classes[class].is_ready(now_ms, held) {
                    self.round[class - 1] -= 1;
                    return Some(class);
                }
            }
            self.round = limits::CLASS_WEIGHTS;
        }
        None
    }

    fn critical_ready(&self, now_ms: u64, held: impl Fn(&str) -> bool) -> bool {
        let critical = &self.classes[Priority::P0.index()];
        critical.is_ready(now_ms, held) && critical.in_flight() < self.credit_critical
    }

    fn shared_ready(&self, now_ms: u64, held: impl Fn(&str) -> bool + Copy) -> bool {
        let mut shared = self.classes[1..].iter();
        self.shared_in_flight() < self.credit && shared.any(|queue| queue.is_ready(now_ms, held))
    }

    fn shared_in_flight(&self) -> u32 {
        self.classes[1..].iter().map(ClassQueue::in_flight).sum()
    }
}

#[cfg(test)]
mod tests;
