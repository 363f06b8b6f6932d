//! What one log says after a crash: which blocks are believed, where its end is, and
//! whether something is missing that was durable.
//!
//! The judgement is by sequence. Blocks are taken in segment order; a block is believed
//! when it joins what is believed already. Behind a break (a block that is torn, damaged or
//! lost) later blocks do not join, unless they are the ones that the journal appended again
//! after a failed write or sync. Every block also says through which sequence everything
//! was durable when it was sealed:
//! - a hole above the highest such proof is the torn tail of what nobody was promised: it
//!   is cut, and nothing behind it is believed;
//! - a hole at or below it is damage: what is missing is reported, the segment is to be
//!   kept aside, and the log goes on behind the hole up to the proof.
//!
//! Invariant: the result depends on the bytes alone, so that recovering again, also after
//! a crash in the middle, gives the same.
//! Limits: about 60 bytes of memory per block. Runs on: any thread; no I/O.

use std::ops::RangeInclusive;

use crate::journal::planted::{is_planted, Planted};
use crate::journal::{SegmentBlock, SegmentReader};
use crate::record::{Sequence, StreamId};

/// A block that is believed, at least in part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Believed {
    /// Its segment.
    pub segment: u32,
    /// Its offset in the segment.
    pub offset: u32,
    /// The first entry that counts; earlier ones are repeats.
    pub from: Sequence,
}

/// Entries that were durable and are not readable any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The log.
    pub stream: StreamId,
    /// The segment in which the unbroken run ended; it must be kept aside.
    pub segment: u32,
    /// Where in it.
    pub offset: u32,
    /// What is missing.
    pub missing: RangeInclusive<u64>,
}

/// The cut end of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TornTail {
    /// The log.
    pub stream: StreamId,
    /// The segment in which the unbroken run ended.
    pub segment: u32,
    /// Where in it.
    pub offset: u32,
    /// Last sequence that is believed.
    pub kept_through: Sequence,
    /// Whole blocks behind the cut that are not believed.
    pub dropped_blocks: u32,
}

/// The judgement of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamState {
    /// What counts, in order.
    pub believed: Vec<Believed>,
    /// Last sequence that counts.
    pub last: Sequence,
    /// Holes in what was durable.
    pub damage: Vec<Damage>,
    /// The end, when it is not a clean one.
    pub torn: Option<TornTail>,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    segment: u32,
    offset: u32,
    first: Sequence,
    end: Sequence,
    /// A summary: nothing to read, but it counts as whole.
    summary: bool,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    segment: u32,
    /// Where the unbroken run from the segment's start ended.
    offset: u32,
    broken: bool,
    end: Sequence,
}

/// Collects the segments of one log, in order of their numbers, and judges them.
#[derive(Debug)]
pub struct StreamScan {
    stream: StreamId,
    candidates: Vec<Candidate>,
    runs: Vec<Run>,
    proven: Sequence,
}

impl StreamScan {
    /// A log of which nothing is known yet.
    pub fn new(stream: StreamId) -> Self {
        Self {
            stream,
            candidates: Vec::new(),
            runs: Vec::new(),
            proven: Sequence::NONE,
        }
    }

    /// Adds a complete segment whose entries `first..end` were checked and indexed before.
    pub fn add_summary(&mut self, segment: u32, first: Sequence, end: Sequence, length: u32) {
        self.proven = self.proven.max(Sequence(end.0.saturating_sub(1)));
        self.candidates.push(Candidate {
            segment,
            offset: 0,
            first,
            end,
            summary: true,
        });
        self.runs.push(Run {
            segment,
            offset: length,
            broken: false,
            end,
        });
    }

    /// Adds a segment by its bytes, from offset 0; returns how many blocks of this log it
    /// holds, a broken one included.
    pub fn add_segment(&mut self, segment: u32, bytes: &[u8]) -> usize {
        let before = self.candidates.len();
        let reader = SegmentReader::new(self.stream, segment, bytes);
        let mut blocks = reader.blocks(0);
        let mut end = Sequence::NONE;
        for block in &mut blocks {
            end = block.header.end();
            self.add_block(segment, &block);
        }
        let run_end = blocks.offset();
        let mut broken = blocks.is_broken();
        let mut offset = run_end;
        while let Some(block) = reader.next_block_after_break(offset) {
            broken = true;
            offset = block.offset + block.header.length;
            self.add_block(segment, &block);
        }
        self.runs.push(Run {
            segment,
            offset: run_end,
            broken,
            end,
        });
        self.candidates.len() - before + usize::from(broken)
    }

    /// Judges what was added.
    pub fn resolve(&self) -> StreamState {
        let mut state = StreamState {
            believed: Vec::new(),
            last: Sequence::NONE,
            damage: Vec::new(),
            torn: None,
        };
        // Earlier segments may have gone with their time; then the log starts later.
        let starts_late = self.runs.first().is_none_or(|run| run.segment > 1);
        let first = self
            .candidates
            .first()
            .map_or(Sequence(1), |block| block.first);
        let mut expected = if starts_late { first } else { Sequence(1) };
        let mut at = 0;
        loop {
            at = self.believe_joined(at, &mut expected, &mut state.believed);
            let last = Sequence(expected.0 - 1);
            if last >= self.proven && !is_planted(Planted::HoleBelieved) {
                break;
            }
            let behind = self.candidates[at..].iter().map(|block| block.first);
            let next = behind.filter(|first| *first > expected).min();
            let known = next.filter(|next| *next <= self.proven.next());
            let believed = known.or(next.filter(|_| is_planted(Planted::HoleBelieved)));
            if last < self.proven {
                let found = known.unwrap_or(self.proven.next());
                state.damage.push(self.damage(expected, found));
            }
            let Some(next) = believed else { break };
            expected = next;
        }
        state.last = Sequence(expected.0 - 1);
        state.torn = self.torn(&state, at);
        state
    }

    fn add_block(&mut self, segment: u32, block: &SegmentBlock<'_>) {
        self.proven = self.proven.max(block.header.durable_through);
        self.candidates.push(Candidate {
            segment,
            offset: block.offset,
            first: block.header.first,
            end: block.header.end(),
            summary: false,
        });
    }

    /// Believes every block from `at` on that joins; returns where that ended.
    fn believe_joined(
        &self,
        mut at: usize,
        expected: &mut Sequence,
        believed: &mut Vec<Believed>,
    ) -> usize {
        let joins = |block: &Candidate, expected: Sequence| block.first <= expected;
        while at < self.candidates.len() {
            let block = &self.candidates[at];
            if !joins(block, *expected) {
                let later = self.candidates[at..]
                    .iter()
                    .position(|block| joins(block, *expected) && block.end > *expected);
                match later {
                    Some(skipped) => at += skipped,
                    None => break,
                }
                continue;
            }
            if block.end > *expected {
                if !block.summary {
                    believed.push(Believed {
                        segment: block.segment,
                        offset: block.offset,
                        from: *expected,
                    });
                }
                *expected = block.end;
            }
            at += 1;
        }
        at
    }

    /// The run that should have gone on with `expected`.
    fn run_before(&self, expected: Sequence) -> Option<&Run> {
        let ended = self
            .runs
            .iter()
            .rev()
            .find(|run| run.end == expected && run.broken);
        ended
            .or_else(|| {
                self.runs
                    .iter()
                    .find(|run| run.broken && run.end <= expected)
            })
            .or_else(|| self.runs.iter().rev().find(|run| run.end == expected))
            .or(self.runs.last())
    }

    fn damage(&self, expected: Sequence, found: Sequence) -> Damage {
        let run = self.run_before(expected);
        Damage {
            stream: self.stream,
            segment: run.map_or(1, |run| run.segment),
            offset: run.map_or(0, |run| run.offset),
            missing: expected.0..=found.0.saturating_sub(1),
        }
    }

    fn torn(&self, state: &StreamState, at: usize) -> Option<TornTail> {
        let dropped = self.candidates[at..]
            .iter()
            .filter(|block| block.end > state.last.next());
        let dropped_blocks = dropped.count() as u32;
        let run = self.run_before(state.last.next())?;
        let cut = run.broken && run.end.0 <= state.last.0 + 1 && !self.is_damage(run, state);
        (dropped_blocks > 0 || cut).then_some(TornTail {
            stream: self.stream,
            segment: run.segment,
            offset: run.offset,
            kept_through: state.last,
            dropped_blocks,
        })
    }

    fn is_damage(&self, run: &Run, state: &StreamState) -> bool {
        state
            .damage
            .iter()
            .any(|damage| damage.segment == run.segment && damage.offset == run.offset)
    }
}
