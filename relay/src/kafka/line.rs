//! What a class has fed: sent, acknowledged, and sent again in order.
//!
//! A line is a queue of records with numbers. They are sent in their order, acknowledged in any,
//! and leave from the front. After a failure everything that is not acknowledged is sent again
//! in order, in a new generation, by a new producer. An acknowledgement is true whichever
//! generation it is of; a failure of an old generation has been dealt with.
//!
//! Invariants: a record leaves only when it and everything before it is acknowledged; within a
//! generation records are sent in their order and none twice.
//! Limits: records and bytes, see [`Line::has_room`]. No I/O and no clock.

use std::collections::VecDeque;

/// What a report changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reported {
    /// One more record is acknowledged.
    Acknowledged,
    /// A record of this generation failed: make a new producer, then [`Line::rewind`].
    Failed,
    /// Nothing: it was known, or is of an earlier generation.
    Known,
}

#[derive(Debug)]
struct Entry<T> {
    item: T,
    bytes: usize,
    /// The call that it came with.
    call: u64,
    acknowledged: bool,
}

/// The records of a class that are under way.
#[derive(Debug)]
pub(crate) struct Line<T> {
    entries: VecDeque<Entry<T>>,
    /// Number of the first entry.
    first: u64,
    /// Number of the next record to send.
    next: u64,
    generation: u32,
    bytes: usize,
    records_max: usize,
    bytes_max: usize,
}

impl<T> Line<T> {
    /// An empty line with its bounds.
    pub fn new(records_max: usize, bytes_max: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            first: 0,
            next: 0,
            generation: 0,
            bytes: 0,
            records_max,
            bytes_max,
        }
    }

    /// Whether so much more may come. An empty line takes any call.
    pub fn has_room(&self, records: usize, bytes: usize) -> bool {
        self.entries.is_empty()
            || self.entries.len() + records <= self.records_max
                && self.bytes + bytes <= self.bytes_max
    }

    /// Takes a record.
    pub fn push(&mut self, item: T, bytes: usize, call: u64) {
        self.bytes += bytes;
        self.entries.push_back(Entry {
            item,
            bytes,
            call,
            acknowledged: false,
        });
    }

    /// The next record to send and its number.
    pub fn next_unsent(&mut self) -> Option<(u64, &T)> {
        let sent = (self.next - self.first) as usize;
        let mut open = self.entries.iter().skip(sent);
        let acknowledged = open.position(|entry| !entry.acknowledged);
        self.next += acknowledged? as u64;
        let index = (self.next - self.first) as usize;
        let number = self.next;
        self.entries.get(index).map(|entry| (number, &entry.item))
    }

    /// The record that [`Line::next_unsent`] gave was sent.
    pub fn note_sent(&mut self) {
        debug_assert!(self.next < self.first + self.entries.len() as u64);
        self.next += 1;
    }

    /// Generation of what is sent now.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// A producer of a generation has an outcome for a record.
    pub fn on_report(&mut self, generation: u32, number: u64, delivered: bool) -> Reported {
        if !delivered {
            let current = generation == self.generation && number >= self.first;
            return match current {
                true => Reported::Failed,
                false => Reported::Known,
            };
        }
        let index = number.checked_sub(self.first);
        let entry = index.and_then(|index| self.entries.get_mut(index as usize));
        match entry {
            Some(entry) if !entry.acknowledged => {
                entry.acknowledged = true;
                Reported::Acknowledged
            }
            _ => Reported::Known,
        }
    }

    /// Sends what is not acknowledged again, in a new generation.
    pub fn rewind(&mut self) {
        self.generation += 1;
        self.next = self.first;
    }

    /// Takes the first record out when it is acknowledged; gives its call.
    pub fn pop(&mut self) -> Option<u64> {
        if !self.entries.front()?.acknowledged {
            return None;
        }
        let entry = self.entries.pop_front()?;
        self.first += 1;
        self.next = self.next.max(self.first);
        self.bytes -= entry.bytes;
        Some(entry.call)
    }

    /// Records under way.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Records that were not sent in this generation.
    pub fn unsent(&self) -> usize {
        (self.first + self.entries.len() as u64 - self.next) as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sent(line: &mut Line<u64>) -> Vec<u64> {
        let mut sent = Vec::new();
        while let Some((_, item)) = line.next_unsent() {
            sent.push(*item);
            line.note_sent();
        }
        sent
    }

    fn line(items: std::ops::Range<u64>) -> Line<u64> {
        let mut line = Line::new(100, 1_000);
        items.for_each(|item| line.push(item, 1, item));
        line
    }

    #[test]
    fn what_is_acknowledged_out_of_order_leaves_in_order() {
        let mut line = line(0..3);
        sent(&mut line);
        assert_eq!(line.on_report(0, 2, true), Reported::Acknowledged);
        assert_eq!(line.on_report(0, 1, true), Reported::Acknowledged);
        assert_eq!(line.pop(), None);
        line.on_report(0, 0, true);
        assert_eq!([line.pop(), line.pop(), line.pop()], [0, 1, 2].map(Some));
        assert_eq!(line.pop(), None);
    }

    #[test]
    fn a_failure_sends_everything_open_again_in_order() {
        let mut line = line(0..4);
        sent(&mut line);
        line.on_report(0, 0, true);
        line.on_report(0, 2, true);
        assert_eq!(line.on_report(0, 1, false), Reported::Failed);
        line.rewind();
        assert_eq!(sent(&mut line), [1, 3], "2 is in the log already");
        assert_eq!(line.on_report(0, 3, false), Reported::Known, "of before");
        assert_eq!(line.on_report(0, 3, true), Reported::Acknowledged);
        assert_eq!(line.on_report(1, 3, true), Reported::Known);
        assert_eq!(line.on_report(1, 1, true), Reported::Acknowledged);
        while line.pop().is_some() {}
        assert_eq!((line.len(), line.unsent()), (0, 0));
    }

    #[test]
    fn a_full_line_has_no_room_and_an_empty_one_takes_any_call() {
        let mut line = Line::new(2, 10);
        assert!(line.has_room(5, 100));
        line.push(0, 9, 0);
        assert!(line.has_room(1, 1));
        assert!(!line.has_room(1, 2) && !line.has_room(2, 1));
    }

    proptest! {
        /// Any mixture of sending, outcomes and failures: records leave in order, once, only
        /// when acknowledged; and after each failure the log's unique tail is in order.
        #[test]
        fn random_lives_lose_and_reorder_nothing(steps in prop::collection::vec(0u8..8, 1..400)) {
            let mut line = Line::new(1_000, 100_000);
            let (mut pushed, mut left) = (0u64, 0u64);
            // Records that a generation has sent and that have no outcome yet.
            let mut open: Vec<(u32, u64)> = Vec::new();
            let mut last_sent: Option<u64> = None;
            let mut delivered = std::collections::HashSet::new();
            for (at, step) in steps.iter().enumerate() {
                match step {
                    0..=1 => {
                        line.push(pushed, 1, pushed);
                        pushed += 1;
                    }
                    2..=3 => {
                        if let Some((number, item)) = line.next_unsent() {
                            prop_assert_eq!(number, *item);
                            prop_assert!(last_sent.is_none_or(|last| last < number));
                            last_sent = Some(number);
                            open.push((line.generation(), number));
                            line.note_sent();
                        }
                    }
                    4..=6 if !open.is_empty() => {
                        let (generation, number) = open.remove(at % open.len());
                        line.on_report(generation, number, true);
                        delivered.insert(number);
                    }
                    7 if !open.is_empty() => {
                        let (generation, number) = open.remove(at % open.len());
                        if line.on_report(generation, number, false) == Reported::Failed {
                            line.rewind();
                            last_sent = None;
                        }
                    }
                    _ => {}
                }
                while let Some(call) = line.pop() {
                    prop_assert_eq!(call, left);
                    prop_assert!(delivered.contains(&call));
                    left += 1;
                }
            }
            // When failures end, everything arrives.
            line.rewind();
            while let Some((number, _)) = line.next_unsent() {
                line.note_sent();
                let generation = line.generation();
                line.on_report(generation, number, true);
            }
            while line.pop().is_some() {
                left += 1;
            }
            prop_assert_eq!(left, pushed);
        }
    }
}
