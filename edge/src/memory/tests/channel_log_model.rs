//! Channel logs against a plain vector of frames.

use crate::memory::limits::CHUNK_BYTES;
use crate::memory::{AppendError, BlockPool, ChannelLog, EventMeta, TrimRule, Unrecoverable};
use interlink_protocol::ids::Position;
use proptest::prelude::*;
use std::collections::VecDeque;

#[derive(Debug, Clone)]
enum Step {
    Event { bytes: usize, fault: u8 },
    Control { bytes: usize },
    Trim { keep: u32, age: u32, lag: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = prop_oneof![8 => 1..400usize, 2 => 400..5_000usize, 1 => 5_000..69_000usize];
    let step = prop_oneof![
        12 => (bytes.clone(), 0..24u8).prop_map(|(bytes, fault)| Step::Event { bytes, fault }),
        2 => bytes.prop_map(|bytes| Step::Control { bytes }),
        3 => (0..20u32, 0..40u32, 0..30_000u64)
            .prop_map(|(keep, age, lag)| Step::Trim { keep, age, lag }),
    ];
    prop::collection::vec(step, 1..120)
}

struct Record {
    start: u64,
    bytes: Vec<u8>,
    /// `None` for a control frame.
    meta: Option<EventMeta>,
    /// Where a reader stands after it.
    after: Position,
    follows: bool,
}

/// The reference: every frame in a vector, searched from its beginning.
struct Oracle {
    retained: VecDeque<Record>,
    base: Position,
    top: Position,
    head: u64,
}

impl Oracle {
    fn push(&mut self, bytes: Vec<u8>, meta: Option<EventMeta>) {
        let start = self.head;
        self.head += bytes.len() as u64;
        let follows = meta.is_some_and(|meta| {
            meta.position.offset == self.top.offset + 1 && meta.previous_chain == self.top.chain
        });
        self.top = meta.map_or(self.top, |meta| meta.position);
        self.retained.push_back(Record {
            start,
            bytes,
            meta,
            after: self.top,
            follows,
        });
    }

    fn trim(&mut self, rule: &TrimRule) {
        while let Some(oldest) = self.retained.front() {
            let events = self
                .retained
                .iter()
                .filter(|record| record.meta.is_some())
                .count();
            let passed = oldest.start + oldest.bytes.len() as u64 <= rule.min_cursor;
            let droppable = oldest.meta.is_none_or(|meta| {
                events > rule.keep_events as usize || meta.time_s < rule.before_s
            });
            if !passed || !droppable {
                break;
            }
            self.base = oldest.after;
            self.retained.pop_front();
        }
    }

    fn tail(&self) -> u64 {
        self.retained
            .front()
            .map_or(self.head, |record| record.start)
    }

    fn find(&self, position: Position) -> Result<u64, Unrecoverable> {
        let same = |other: Position| {
            let epoch = position.chain != 0 || position.epoch == other.epoch;
            position.offset == other.offset && position.chain == other.chain && epoch
        };
        if position.offset > self.top.offset {
            return Err(Unrecoverable::Ahead);
        }
        if position.offset == self.top.offset {
            return if same(self.top) {
                Ok(self.head)
            } else {
                Err(Unrecoverable::Diverged)
            };
        }
        if position.offset < self.base.offset {
            return Err(Unrecoverable::Trimmed);
        }
        let mut before = self.base;
        for record in &self.retained {
            if record.after.offset > position.offset {
                return match (record.follows, same(before)) {
                    (false, _) => Err(Unrecoverable::Gap),
                    (true, false) => Err(Unrecoverable::Diverged),
                    (true, true) => Ok(record.start),
                };
            }
            before = record.after;
        }
        unreachable!("an event above the offset is retained, since the top is above it")
    }

    fn position_at(&self, byte: u64) -> Position {
        let passed = |record: &&Record| record.start + record.bytes.len() as u64 <= byte;
        self.retained
            .iter()
            .take_while(passed)
            .last()
            .map_or(self.base, |record| record.after)
    }

    fn boundary(&self, byte: u64) -> u64 {
        let starts = self.retained.iter().map(|record| record.start);
        starts
            .chain([self.head])
            .find(|start| *start >= byte)
            .unwrap_or(self.head)
    }

    fn bytes(&self) -> Vec<u8> {
        self.retained
            .iter()
            .flat_map(|record| record.bytes.iter().copied())
            .collect()
    }
}

/// The next event: mostly the successor, sometimes with a hole, another chain or epoch.
fn next_event(top: Position, fault: u8, now: u32) -> EventMeta {
    let skipped = if fault == 0 { 3 } else { 1 };
    let offset = top.offset + skipped;
    let epoch = top.epoch + u64::from(fault == 1);
    let previous_chain = if fault == 2 { 99 } else { top.chain };
    let position = Position {
        epoch,
        offset,
        chain: offset * 31 + previous_chain % 7,
    };
    EventMeta {
        position,
        previous_chain,
        time_s: now,
    }
}

fn check(log: &ChannelLog, pool: &BlockPool, oracle: &Oracle, seen: &[Position]) {
    assert_eq!((log.tail(), log.head()), (oracle.tail(), oracle.head));
    assert_eq!((log.base(), log.top()), (oracle.base, oracle.top));
    let events = oracle
        .retained
        .iter()
        .filter(|record| record.meta.is_some())
        .count();
    assert_eq!(log.events() as usize, events);
    assert_eq!(log.is_empty(), oracle.retained.is_empty());
    assert_eq!(pool.stats().live_bytes == 0, log.is_empty());
    for position in seen {
        assert_eq!(
            log.find(pool, *position),
            oracle.find(*position),
            "{position:?}"
        );
        let diverged = Position {
            chain: position.chain + 1,
            ..*position
        };
        assert_eq!(log.find(pool, diverged), oracle.find(diverged));
    }
    let wanted = oracle.bytes();
    let mut sent = Vec::new();
    while let Some(run) = log.range(pool, log.tail() + sent.len() as u64) {
        sent.extend_from_slice(run);
    }
    assert_eq!(sent, wanted);
    check_bytes(log, pool, oracle);
    let frames: Vec<_> = log.frames(pool, log.tail()).collect();
    assert_eq!(frames.len(), oracle.retained.len());
    for (frame, record) in frames.iter().zip(&oracle.retained) {
        assert_eq!(
            (frame.start, frame.bytes),
            (record.start, &record.bytes[..])
        );
        assert_eq!(
            (frame.position, frame.is_event),
            (record.after, record.meta.is_some())
        );
        assert_eq!(frame.time_s, record.meta.map_or(0, |meta| meta.time_s));
    }
}

/// Queries by byte position: around every boundary, inside frames and outside the log.
fn check_bytes(log: &ChannelLog, pool: &BlockPool, oracle: &Oracle) {
    let ends = [0, log.tail().saturating_sub(1), log.head(), log.head() + 1];
    let starts = oracle.retained.iter().map(|record| record.start);
    let around = starts.flat_map(|start| [start, start + 1, start.saturating_sub(1)]);
    for byte in around.chain(ends) {
        assert_eq!(
            log.position_at(pool, byte),
            oracle.position_at(byte),
            "byte {byte}"
        );
        assert_eq!(
            log.next_frame_boundary(pool, byte),
            oracle.boundary(byte),
            "byte {byte}"
        );
        let inside = byte >= log.tail() && byte < log.head();
        assert_eq!(log.range(pool, byte).is_some(), inside);
        let first = log.frames(pool, byte).next().map(|frame| frame.start);
        let wanted = oracle.boundary(byte);
        assert_eq!(first, Some(wanted).filter(|start| *start < oracle.head));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn a_log_behaves_as_a_vector_of_frames(steps in steps()) {
        let mut pool = BlockPool::new(6 * CHUNK_BYTES).expect("pool");
        let before = Position { epoch: 1, offset: 4, chain: 17 };
        let mut log = ChannelLog::new(before, 1_000);
        let (retained, head) = (VecDeque::new(), 1_000);
        let mut oracle = Oracle { retained, base: before, top: before, head };
        let mut seen = vec![before, Position::default()];
        for (now, step) in steps.into_iter().enumerate() {
            match step {
                Step::Event { bytes, fault } => {
                    let meta = next_event(oracle.top, fault, now as u32);
                    let frame = vec![now as u8; bytes];
                    let (left, right) = frame.split_at(bytes / 3);
                    match log.append(&mut pool, &[left, right], &meta) {
                        Ok(start) => {
                            prop_assert_eq!(start, oracle.head);
                            oracle.push(frame, Some(meta));
                            seen.push(meta.position);
                        }
                        Err(error) => prop_assert_eq!(error, AppendError::PoolEmpty),
                    }
                }
                Step::Control { bytes } => {
                    let frame = vec![now as u8; bytes];
                    if log.append_control(&mut pool, &[&frame]).is_ok() {
                        oracle.push(frame, None);
                    }
                }
                Step::Trim { keep, age, lag } => {
                    let min_cursor = oracle.head.saturating_sub(lag);
                    let before_s = (now as u32).saturating_sub(age);
                    let rule = TrimRule { keep_events: keep, before_s, min_cursor };
                    let tail = oracle.tail();
                    oracle.trim(&rule);
                    prop_assert_eq!(log.trim(&mut pool, &rule), oracle.tail() - tail);
                }
            }
            check(&log, &pool, &oracle, &seen);
        }
        log.clear(&mut pool);
        prop_assert_eq!(pool.stats().live_bytes, 0);
    }
}
