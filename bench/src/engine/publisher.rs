//! One connection's publishes: ids, credit, what is unanswered and what waits for credit.
//!
//! Invariants: ids of a connection are consecutive; an answer closes each id once; the scheduled
//! time of an event is kept until its answer, so that latency counts from it even when the event
//! first waited here for credit. A publish that was refused for now stays open and is sent again
//! with the same id, before any later one: that is how order is kept.
//!
//! Runs on: the generator's thread.

use std::collections::VecDeque;

/// An unanswered publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Client message id.
    pub id: u64,
    /// Monotonic nanoseconds at which it was due.
    pub scheduled_ns: u64,
    /// What the workload wants back with the answer.
    pub tag: u32,
    /// Number of the event in its stream.
    pub sequence: u64,
    /// Uses the credit of P0.
    pub critical: bool,
    answered: bool,
    deferred: bool,
}

/// State of one publishing connection.
#[derive(Clone, Debug, Default)]
pub struct Publisher {
    last_id: u64,
    pending: VecDeque<Pending>,
    unanswered: [u32; 2],
    deferred: u32,
    /// Scheduled time and tag of events that wait for credit.
    pub backlog: VecDeque<(u64, u32)>,
}

impl Publisher {
    /// Unanswered publishes of one credit: P0's or that of all others.
    pub fn unanswered(&self, critical: bool) -> u32 {
        self.unanswered[usize::from(critical)]
    }

    /// All unanswered publishes.
    pub fn open(&self) -> u32 {
        self.unanswered[0] + self.unanswered[1]
    }

    /// True while publishes wait to be sent again; until then later ones would be refused too.
    pub fn is_deferred(&self) -> bool {
        self.deferred > 0
    }

    /// Takes the next id for an event.
    pub fn begin(&mut self, scheduled_ns: u64, tag: u32, sequence: u64, critical: bool) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        self.pending.push_back(Pending {
            id,
            scheduled_ns,
            tag,
            sequence,
            critical,
            answered: false,
            deferred: false,
        });
        self.unanswered[usize::from(critical)] += 1;
        id
    }

    /// Closes `count` ids from `first` on; `closed` gets each that was open.
    pub fn answer(&mut self, first: u64, count: u32, mut closed: impl FnMut(Pending)) {
        let from = self.pending.partition_point(|pending| pending.id < first);
        for pending in self.pending.iter_mut().skip(from) {
            if pending.id - first >= u64::from(count) {
                break;
            }
            if !pending.answered {
                pending.answered = true;
                self.deferred -= u32::from(std::mem::take(&mut pending.deferred));
                self.unanswered[usize::from(pending.critical)] -= 1;
                closed(*pending);
            }
        }
        while self.pending.front().is_some_and(|pending| pending.answered) {
            self.pending.pop_front();
        }
    }

    /// Keeps refused publishes for another attempt; how many of them were open.
    pub fn defer(&mut self, first: u64, count: u32) -> u32 {
        let from = self.pending.partition_point(|pending| pending.id < first);
        let mut deferred = 0;
        for pending in self.pending.iter_mut().skip(from) {
            if pending.id - first >= u64::from(count) {
                break;
            }
            if !pending.answered && !pending.deferred {
                pending.deferred = true;
                deferred += 1;
            }
        }
        self.deferred += deferred;
        deferred
    }

    /// Hands out what was deferred, in the order of the ids, to be sent again.
    pub fn take_deferred(&mut self, mut send: impl FnMut(Pending)) {
        for pending in &mut self.pending {
            if std::mem::take(&mut pending.deferred) {
                send(*pending);
            }
        }
        self.deferred = 0;
    }

    /// Unanswered publishes in the order of their ids.
    pub fn unanswered_publishes(&self) -> impl Iterator<Item = &Pending> {
        self.pending.iter().filter(|pending| !pending.answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(publisher: &mut Publisher, first: u64, count: u32) -> Vec<u64> {
        let mut closed = Vec::new();
        publisher.answer(first, count, |pending| closed.push(pending.id));
        closed
    }

    #[test]
    fn a_run_of_ids_is_closed_by_one_answer() {
        let mut publisher = Publisher::default();
        (1..=5).for_each(|due| assert_eq!(publisher.begin(due, 0, due, false), due));
        assert_eq!(ids(&mut publisher, 1, 3), [1, 2, 3]);
        assert_eq!(publisher.open(), 2);
        assert_eq!(ids(&mut publisher, 1, 3), [0_u64; 0]);
    }

    #[test]
    fn answers_may_come_out_of_order_and_more_than_once() {
        let mut publisher = Publisher::default();
        publisher.begin(10, 7, 1, true);
        publisher.begin(20, 8, 1, false);
        publisher.begin(30, 9, 2, false);
        assert_eq!(ids(&mut publisher, 2, 1), [2]);
        assert_eq!(
            (publisher.unanswered(true), publisher.unanswered(false)),
            (1, 1)
        );
        assert_eq!(ids(&mut publisher, 2, 2), [3]);
        assert_eq!(
            publisher
                .unanswered_publishes()
                .map(|p| p.id)
                .collect::<Vec<_>>(),
            [1]
        );
        assert_eq!(ids(&mut publisher, 1, u32::MAX), [1]);
        assert!(publisher.pending.is_empty());
    }

    #[test]
    fn refused_publishes_are_sent_again_once_and_in_order() {
        let mut publisher = Publisher::default();
        (1..=4).for_each(|due| assert_eq!(publisher.begin(due, 0, due, false), due));
        assert_eq!(publisher.defer(3, 2), 2);
        assert_eq!((publisher.defer(2, 2), publisher.is_deferred()), (1, true));
        let mut again = Vec::new();
        publisher.take_deferred(|pending| again.push(pending.id));
        assert_eq!((again, publisher.is_deferred()), (vec![2, 3, 4], false));
        assert_eq!(publisher.open(), 4);
        publisher.defer(2, 1);
        assert_eq!(ids(&mut publisher, 1, 4), [1, 2, 3, 4]);
        assert!(!publisher.is_deferred());
    }
}
