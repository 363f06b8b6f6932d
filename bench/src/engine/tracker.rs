//! What arrived: delivered, duplicated, reordered and lost, by the sequence in the payload.
//!
//! A stream is one sender seen by one receiver; its numbers start at 1 and grow by 1. Each
//! stream remembers the highest number and which of the 64 below it came, so that a late event
//! and a repeated one are told apart. An event more than 64 behind counts as reordered.
//!
//! Runs on: the generator's thread.

/// State of one stream.
#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    /// Bit n: number `highest - n` came.
    seen: u64,
    highest: u32,
}

/// Totals over all streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Distinct events that came.
    pub delivered: u64,
    /// Events that came again.
    pub duplicated: u64,
    /// Events that came after a later one of their stream.
    pub reordered: u64,
}

/// Checks the deliveries of many streams.
#[derive(Clone, Debug)]
pub struct Tracker {
    streams: Vec<Stream>,
    totals: Totals,
}

impl Tracker {
    /// A tracker of this many streams.
    pub fn new(streams: usize) -> Self {
        Self {
            streams: vec![Stream::default(); streams],
            totals: Totals::default(),
        }
    }

    /// Notes an event; a stream that does not exist counts as a duplicate, since nobody sent it
    /// there. True when the event is a new one.
    pub fn note(&mut self, stream: usize, sequence: u64) -> bool {
        let Some(state) = self.streams.get_mut(stream) else {
            self.totals.duplicated += 1;
            return false;
        };
        let sequence = sequence as u32;
        if sequence > state.highest {
            let ahead = sequence - state.highest;
            state.seen = if ahead < 64 {
                state.seen << ahead | 1
            } else {
                1
            };
            state.highest = sequence;
            self.totals.delivered += 1;
            return true;
        }
        let behind = state.highest - sequence;
        let bit = if behind < 64 { 1_u64 << behind } else { 0 };
        if bit != 0 && state.seen & bit != 0 {
            self.totals.duplicated += 1;
            return false;
        }
        state.seen |= bit;
        self.totals.delivered += 1;
        self.totals.reordered += 1;
        true
    }

    /// Totals so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn a_late_event_is_reordered_and_its_repeat_is_a_duplicate() {
        let mut tracker = Tracker::new(1);
        for sequence in [1, 2, 4, 3, 3, 5] {
            tracker.note(0, sequence);
        }
        assert_eq!(
            tracker.totals(),
            Totals {
                delivered: 5,
                duplicated: 1,
                reordered: 1
            }
        );
    }

    #[test]
    fn an_event_of_an_unknown_stream_is_not_a_delivery() {
        let mut tracker = Tracker::new(1);
        assert!(!tracker.note(7, 1));
        assert_eq!(tracker.totals().delivered, 0);
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(sequences in prop::collection::vec(1_u64..60, 1..200)) {
            let mut tracker = Tracker::new(1);
            let (mut seen, mut highest) = (HashSet::new(), 0);
            let mut expected = Totals::default();
            for sequence in sequences {
                let is_new = seen.insert(sequence);
                expected.delivered += u64::from(is_new);
                expected.duplicated += u64::from(!is_new);
                expected.reordered += u64::from(is_new && sequence < highest);
                highest = highest.max(sequence);
                prop_assert_eq!(tracker.note(0, sequence), is_new);
            }
            prop_assert_eq!(tracker.totals(), expected);
        }
    }
}
