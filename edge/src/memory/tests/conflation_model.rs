//! A slow subscriber of a channel, from its log, its last values and its history, against all
//! that was published.
//!
//! The model's reader does what the shard does: it reads the log until the log has overtaken it,
//! and then what `overrun` says. The oracle knows every event.

use crate::memory::limits::CHUNK_BYTES;
use crate::memory::LastValues;
use interlink_protocol::ids::Position;
use interlink_protocol::priority::Priority;
use interlink_protocol::session::outbox::{overrun, Conflating, Overrun, Told};
use interlink_wire::PositionReason;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Events that the log keeps.
const KEPT: usize = 5;

#[derive(Debug, Clone)]
enum Step {
    Publish { user: u8, key: Option<u8> },
    Read { events: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = prop_oneof![6 => (0..6u8).prop_map(Some), 1 => Just(None)];
    let step = prop_oneof![
        8 => (0..3u8, key).prop_map(|(user, key)| Step::Publish { user, key }),
        1 => (0..12usize).prop_map(|events| Step::Read { events }),
    ];
    prop::collection::vec(step, 1..200)
}

/// What the subscriber was told, in order.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Event(u64),
    Skipped(u64, PositionReason),
}

struct Channel {
    class: Priority,
    conflated: bool,
    /// By offset less one: user and key.
    published: Vec<(u8, Option<u8>)>,
    log: VecDeque<u64>,
    values: LastValues,
    /// Where the reader stands, and up to where it reads values.
    after: u64,
    conflating: Option<Conflating>,
    said: Vec<Said>,
}

impl Channel {
    fn publish(&mut self, user: u8, key: Option<u8>) {
        self.published.push((user, key));
        let offset = self.published.len() as u64;
        self.log.push_back(offset);
        if self.log.len() > KEPT {
            self.log.pop_front();
        }
        let position = Position {
            epoch: 1,
            offset,
            chain: 0,
        };
        match key {
            Some(key) => self
                .values
                .keep(0, position, &key.to_string(), &offset.to_be_bytes()),
            None => self.values.pass_over(0, offset),
        }
    }

    /// Offset before the oldest event of the log.
    fn base(&self) -> u64 {
        let first = self
            .log
            .front()
            .map_or(self.published.len() as u64 + 1, |first| *first);
        first - 1
    }

    fn read_one(&mut self) {
        if let Some(conflating) = &mut self.conflating {
            conflating.until = self.log.front().map_or(0, |first| first - 1);
            return self.read_value();
        }
        if self.after < self.base() {
            match overrun(self.class, self.conflated) {
                Overrun::Cursor => self.take_event(self.after + 1),
                Overrun::Skip => self.skip(self.base() - self.after, PositionReason::Slow),
                Overrun::Conflate => {
                    self.conflating = Some(Conflating {
                        after: self.after,
                        until: self.base(),
                        lost: PositionReason::Slow,
                    });
                    self.read_value();
                }
            }
        } else if self.after < self.published.len() as u64 {
            self.take_event(self.after + 1);
        }
    }

    fn read_value(&mut self) {
        let Some(at) = self.conflating else { return };
        let value = self.values.first_above(0, at.after);
        let value = value.map(|value| self.values.value(value).0.offset);
        match at.next(value, self.values.all_kept_above(0)) {
            Told::Value {
                offset,
                skipped,
                reason,
            } => {
                self.skip(skipped, reason);
                self.take_event(offset);
                self.conflating = Some(Conflating {
                    after: offset,
                    ..at
                });
            }
            Told::Live { skipped, reason } => {
                self.skip(skipped, reason);
                self.conflating = None;
            }
        }
    }

    fn take_event(&mut self, offset: u64) {
        assert!(offset > self.after, "{offset} after {}", self.after);
        self.after = offset;
        self.said.push(Said::Event(offset));
    }

    fn skip(&mut self, skipped: u64, reason: PositionReason) {
        if skipped > 0 {
            self.after += skipped;
            self.said.push(Said::Skipped(skipped, reason));
        }
    }

    fn check(&self) {
        let top = self.published.len() as u64;
        let mut at = 0;
        let mut given = BTreeSet::new();
        for said in &self.said {
            match said {
                Said::Event(offset) => {
                    // Rising offsets are the order of each publisher, too.
                    assert_eq!(*offset, at + 1, "every offset is given or counted");
                    given.insert(*offset);
                    at = *offset;
                }
                Said::Skipped(skipped, reason) => {
                    assert!(self.class >= Priority::P2, "{said:?} on {:?}", self.class);
                    let missed = at + 1..=at + skipped;
                    if *reason == PositionReason::Conflated {
                        missed.for_each(|offset| self.assert_superseded(offset));
                    }
                    at += skipped;
                }
            }
        }
        assert_eq!(at, top, "a reader that read everything knows of everything");
        if overrun(self.class, self.conflated) == Overrun::Cursor {
            assert_eq!(given.len() as u64, top);
        }
        if self.conflated && self.class >= Priority::P2 {
            for offset in self.newest_of_keys().values() {
                assert!(given.contains(offset), "the last value at {offset}");
            }
        }
    }

    fn newest_of_keys(&self) -> BTreeMap<u8, u64> {
        let events = self.published.iter().zip(1..);
        events
            .filter_map(|((_, key), offset)| Some(((*key)?, offset)))
            .collect()
    }

    fn assert_superseded(&self, offset: u64) {
        let key = self.published[offset as usize - 1].1;
        let later = &self.published[offset as usize..];
        let is_superseded = key.is_some() && later.iter().any(|event| event.1 == key);
        assert!(is_superseded, "{offset} was called conflated");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn a_slow_reader_gets_the_last_value_of_each_key_and_the_count_of_the_rest(
        steps in steps(), class in 0..4usize, conflated: bool,
    ) {
        let mut channel = Channel {
            class: Priority::ALL[class],
            conflated,
            published: Vec::new(),
            log: VecDeque::new(),
            values: LastValues::new(4 * CHUNK_BYTES).expect("memory"),
            after: 0,
            conflating: None,
            said: Vec::new(),
        };
        for step in steps {
            match step {
                Step::Publish { user, key } => channel.publish(user, key),
                Step::Read { events } => (0..events).for_each(|_| channel.read_one()),
            }
        }
        while channel.after < channel.published.len() as u64 || channel.conflating.is_some() {
            channel.read_one();
        }
        channel.check();
    }
}
