//! One log of a shard: from the open block over the write to the sync.
//!
//! ```text
//! append -> open block -> waiting -> writing -> written -> (sync) -> durable
//! ```
//! Invariants:
//! - Blocks pass these stages in the order of their sequences; at most one is being
//!   written and at most one sync runs.
//! - The bytes of a block stay in memory until a sync has covered them: after a failed
//!   sync the page cache may have dropped them and claim that they are clean.
//! - A segment that saw a failed write or sync is never written or synced again. What it
//!   owed is sealed anew, with the same sequences, into a fresh segment.
//!
//! Limits: `pending_bytes_max` over all stages. Runs on: the shard's thread.

use std::collections::VecDeque;

use crate::journal::block::{self, BlockPlace, BLOCK_HEADER_BYTES};
use crate::journal::config::JournalConfig;
use crate::journal::planted::{is_planted, Planted};
use crate::journal::policy::CommitPolicy;
use crate::journal::{Action, JournalCounters, SealedSegment};
use crate::limits::{BLOCK_ALIGN, BLOCK_BYTES_TARGET, SPARE_BUFFERS_MAX};
use crate::record::{Kind, SegmentId, Sequence, StreamId};

/// First and longest wait after a failed write, sync or preparation.
const RETRY_DELAY_US: u64 = 10_000;
const RETRY_DELAY_MAX_US: u64 = 1_000_000;

/// A block that is not on its way to the disk.
#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    first: Sequence,
    entries: u32,
    /// When the first entry came.
    since_us: u64,
}

impl Block {
    fn last(&self) -> Sequence {
        Sequence(self.first.0 + u64::from(self.entries) - 1)
    }
}

/// A block whose bytes the kernel has.
#[derive(Debug)]
struct Writing {
    token: u64,
    segment: u32,
    length: u32,
    content: usize,
    block: Block,
}

/// A block in the page cache, perhaps on the disk.
#[derive(Debug)]
struct Written {
    segment: u32,
    content: usize,
    block: Block,
}

#[derive(Debug)]
struct Syncing {
    token: u64,
    segment: u32,
    through: Sequence,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    number: u32,
    offset: u32,
}

/// One log of a shard.
#[derive(Debug)]
pub(super) struct Stream {
    id: StreamId,
    policy: CommitPolicy,
    segment_bytes: u32,
    block_bytes_max: usize,
    ahead: usize,
    next: Sequence,
    open: Block,
    waiting: VecDeque<Block>,
    /// Raw bytes of `open` and `waiting`.
    unplaced_bytes: usize,
    writing: Option<Writing>,
    written: VecDeque<Written>,
    /// Raw bytes of `writing` and `written`.
    unsynced_bytes: usize,
    syncing: Option<Syncing>,
    current: Option<Current>,
    prepared: VecDeque<u32>,
    requested: usize,
    next_number: u32,
    left: VecDeque<SealedSegment>,
    written_through: Sequence,
    durable_through: Sequence,
    spare: Vec<Vec<u8>>,
    next_token: u64,
    /// A write or sync failed; what is written has to be appended again.
    failed: bool,
    failures_in_row: u32,
    retry_at_us: u64,
    /// A preparation failed; the next is asked for then.
    prepare_at_us: u64,
}

impl Stream {
    pub(super) fn new(config: &JournalConfig, kind: Kind) -> Self {
        Self {
            id: StreamId {
                boot: config.boot,
                shard: config.shard,
                kind,
            },
            policy: config.policies[kind.index()],
            segment_bytes: config.segment_bytes,
            block_bytes_max: config.block_bytes_max(),
            ahead: config.segments_ahead[kind.index()],
            next: Sequence(1),
            open: Block {
                bytes: Vec::new(),
                first: Sequence(1),
                entries: 0,
                since_us: 0,
            },
            waiting: VecDeque::new(),
            unplaced_bytes: 0,
            writing: None,
            written: VecDeque::new(),
            unsynced_bytes: 0,
            syncing: None,
            current: None,
            prepared: VecDeque::new(),
            requested: 0,
            next_number: 1,
            left: VecDeque::new(),
            written_through: Sequence::NONE,
            durable_through: Sequence::NONE,
            spare: Vec::new(),
            next_token: 0,
            failed: false,
            failures_in_row: 0,
            retry_at_us: 0,
            prepare_at_us: 0,
        }
    }

    /// Adds an entry of `bytes` bytes that `put` appends to the open block.
    pub(super) fn append(
        &mut self,
        bytes: usize,
        now_us: u64,
        put: impl FnOnce(&mut Vec<u8>),
    ) -> Sequence {
        if self.open.entries == 0 {
            self.start_block(now_us);
        }
        put(&mut self.open.bytes);
        let sequence = self.next;
        self.next = sequence.next();
        self.open.entries += 1;
        self.unplaced_bytes += bytes;
        if self.open.bytes.len() >= self.policy.bytes {
            self.close_block();
        }
        sequence
    }

    /// Bytes that segments at hand still take, without the last `reserve` of them.
    pub(super) fn room(&self, reserve: usize) -> usize {
        let rest = self
            .current
            .map_or(0, |current| (self.segment_bytes - current.offset) as usize)
            .saturating_sub(self.block_bytes_max);
        let fresh = self.prepared.len().saturating_sub(reserve)
            * (self.segment_bytes as usize - self.block_bytes_max);
        // Every block that is not sealed yet may grow by a header and padding.
        let growth = (self.waiting.len() + 2) * (BLOCK_HEADER_BYTES + BLOCK_ALIGN);
        (rest + fresh).saturating_sub(self.unplaced_bytes + growth)
    }

    /// Bytes that wait in memory for the disk.
    pub(super) fn pending_bytes(&self) -> usize {
        self.unplaced_bytes + self.unsynced_bytes
    }

    pub(super) fn written_through(&self) -> Sequence {
        self.written_through
    }

    pub(super) fn durable_through(&self) -> Sequence {
        if is_planted(Planted::AckBeforeSync) {
            return self.written_through;
        }
        self.durable_through
    }

    pub(super) fn next_sequence(&self) -> Sequence {
        self.next
    }

    pub(super) fn is_idle(&self) -> bool {
        self.pending_bytes() == 0 && self.writing.is_none() && self.syncing.is_none()
    }

    /// The next thing to do, if any.
    pub(super) fn next_action(
        &mut self,
        now_us: u64,
        counters: &mut JournalCounters,
    ) -> Option<Action> {
        if self.failed && self.writing.is_none() && self.syncing.is_none() {
            self.append_again(now_us, counters);
        }
        if let Some(action) = self.next_write(now_us, counters) {
            return Some(action);
        }
        if let Some(action) = self.next_sync(now_us, counters) {
            return Some(action);
        }
        if let Some(segment) = self.next_retired() {
            return Some(Action::Retire(segment));
        }
        self.next_prepare(now_us)
    }

    pub(super) fn on_written(
        &mut self,
        token: u64,
        result: i32,
        buffer: Vec<u8>,
        counters: &mut JournalCounters,
    ) {
        let Some(writing) = self.writing.take_if(|writing| writing.token == token) else {
            self.recycle(buffer);
            return;
        };
        let Writing {
            segment,
            length,
            content,
            mut block,
            ..
        } = writing;
        block.bytes = buffer;
        if result == length as i32 {
            self.written_through = self.written_through.max(block.last());
            counters.written_bytes += u64::from(length);
            self.written.push_back(Written {
                segment,
                content,
                block,
            });
        } else {
            counters.write_failures += 1;
            self.failed = true;
            block.bytes.truncate(content);
            self.unsynced_bytes -= content;
            self.unplaced_bytes += content;
            self.waiting.push_front(block);
        }
    }

    pub(super) fn on_synced(&mut self, token: u64, result: i32, counters: &mut JournalCounters) {
        let Some(syncing) = self.syncing.take_if(|syncing| syncing.token == token) else {
            return;
        };
        if result != 0 && !is_planted(Planted::SyncErrorIgnored) {
            counters.sync_failures += 1;
            self.failed = true;
            return;
        }
        counters.syncs += 1;
        self.failures_in_row = 0;
        while let Some(front) = self.written.front() {
            let last = front.block.last();
            if front.segment != syncing.segment || last > syncing.through {
                break;
            }
            self.durable_through = last;
            if let Some(written) = self.written.pop_front() {
                self.unsynced_bytes -= written.content;
                self.recycle(written.block.bytes);
            }
        }
    }

    pub(super) fn on_prepared(&mut self, number: u32) {
        self.requested = self.requested.saturating_sub(1);
        debug_assert!(self.prepared.back().is_none_or(|last| *last < number));
        self.prepared.push_back(number);
    }

    pub(super) fn on_prepare_failed(&mut self, now_us: u64) {
        self.requested = self.requested.saturating_sub(1);
        self.prepare_at_us = now_us.saturating_add(RETRY_DELAY_MAX_US);
    }

    /// When `next_action` has something to do that no completion announces.
    pub(super) fn next_deadline_us(&self) -> Option<u64> {
        if self.failed {
            return None;
        }
        let seal = self.next_seal_us().map(|at| at.max(self.retry_at_us));
        let sync = match (self.syncing.as_ref(), self.written.front()) {
            (None, Some(front)) => Some(
                front
                    .block
                    .since_us
                    .saturating_add(self.policy.sync_delay_us),
            ),
            _ => None,
        };
        let lacking = self.prepared.len() + self.requested < self.ahead;
        let prepare = lacking.then_some(self.prepare_at_us);
        [seal, sync, prepare].into_iter().flatten().min()
    }

    /// When the next block can be sealed; `None` while a completion has to come first.
    fn next_seal_us(&self) -> Option<u64> {
        let (at, bytes) = match self.waiting.front() {
            Some(block) => (0, block.bytes.len()),
            None if self.open.entries > 0 => (
                self.open.since_us.saturating_add(self.policy.seal_delay_us),
                self.open.bytes.len(),
            ),
            None => return None,
        };
        let fits = self
            .current
            .as_ref()
            .is_some_and(|current| self.fits(current, bytes));
        (self.writing.is_none() && (fits || !self.prepared.is_empty())).then_some(at)
    }

    fn fits(&self, current: &Current, bytes: usize) -> bool {
        current.offset as usize + block::padded(bytes) <= self.segment_bytes as usize
    }

    fn start_block(&mut self, now_us: u64) {
        let mut bytes = self
            .spare
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(BLOCK_BYTES_TARGET + 16 * BLOCK_ALIGN));
        bytes.clear();
        bytes.resize(BLOCK_HEADER_BYTES, 0);
        self.unplaced_bytes += BLOCK_HEADER_BYTES;
        self.open = Block {
            bytes,
            first: self.next,
            entries: 0,
            since_us: now_us,
        };
    }

    fn close_block(&mut self) {
        let empty = Block {
            bytes: Vec::new(),
            first: self.next,
            entries: 0,
            since_us: 0,
        };
        self.waiting
            .push_back(std::mem::replace(&mut self.open, empty));
    }

    fn recycle(&mut self, buffer: Vec<u8>) {
        // One huge record must not keep its memory for ever.
        let ordinary = buffer.capacity() <= 4 * BLOCK_BYTES_TARGET && buffer.capacity() > 0;
        if ordinary && self.spare.len() < SPARE_BUFFERS_MAX {
            self.spare.push(buffer);
        }
    }

    fn next_write(&mut self, now_us: u64, counters: &mut JournalCounters) -> Option<Action> {
        if self.writing.is_some() || self.failed || now_us < self.retry_at_us {
            return None;
        }
        if self.waiting.is_empty() {
            let open = &self.open;
            if open.entries == 0 || !self.policy.seals(open.since_us, open.bytes.len(), now_us) {
                return None;
            }
            self.close_block();
        }
        let block = self.waiting.front()?;
        let place = self.place(block.bytes.len(), counters)?;
        let mut block = self.waiting.pop_front()?;
        let content = block.bytes.len();
        let durable = self.durable_through;
        let length = block::seal(
            &mut block.bytes,
            &place,
            block.entries,
            block.first,
            durable,
            now_us,
        );
        if let Some(current) = &mut self.current {
            current.offset += length;
        }
        self.unplaced_bytes -= content;
        self.unsynced_bytes += content;
        counters.blocks += 1;
        let token = self.token();
        let buffer = std::mem::take(&mut block.bytes);
        self.writing = Some(Writing {
            token,
            segment: place.segment,
            length,
            content,
            block,
        });
        Some(Action::Write {
            segment: SegmentId {
                kind: self.id.kind,
                number: place.segment,
            },
            offset: u64::from(place.offset),
            buffer,
            token,
        })
    }

    /// Where a block of `bytes` bytes goes; takes a fresh segment when it does not fit.
    fn place(&mut self, bytes: usize, counters: &mut JournalCounters) -> Option<BlockPlace> {
        if !self
            .current
            .as_ref()
            .is_some_and(|current| self.fits(current, bytes))
        {
            let number = self.prepared.pop_front()?;
            self.leave_current(false);
            self.current = Some(Current { number, offset: 0 });
            counters.segments += 1;
        }
        let current = self.current?;
        Some(BlockPlace {
            stream: self.id,
            segment: current.number,
            offset: current.offset,
        })
    }

    fn leave_current(&mut self, poisoned: bool) {
        if let Some(current) = self.current.take() {
            self.left.push_back(SealedSegment {
                segment: SegmentId {
                    kind: self.id.kind,
                    number: current.number,
                },
                length: current.offset,
                poisoned,
            });
        }
    }

    fn next_sync(&mut self, now_us: u64, counters: &mut JournalCounters) -> Option<Action> {
        if self.syncing.is_some() || self.failed {
            return None;
        }
        let front = self.written.front()?;
        let writing = self.writing.is_some() || !self.waiting.is_empty();
        let waited_since = front.block.since_us;
        if !self
            .policy
            .syncs(waited_since, self.unsynced_bytes, writing, now_us)
        {
            return None;
        }
        let segment = front.segment;
        let covered = self
            .written
            .iter()
            .take_while(|written| written.segment == segment);
        let through = covered.last()?.block.last();
        let token = self.token();
        self.syncing = Some(Syncing {
            token,
            segment,
            through,
        });
        if is_planted(Planted::SyncSkipped) {
            self.on_synced(token, 0, counters);
            return None;
        }
        Some(Action::Sync {
            segment: SegmentId {
                kind: self.id.kind,
                number: segment,
            },
            token,
        })
    }

    /// Takes everything that no sync has covered back to the queue, for a fresh segment.
    fn append_again(&mut self, now_us: u64, counters: &mut JournalCounters) {
        self.failed = false;
        self.leave_current(true);
        // Segments that were left but not yet synced share the failure: their unsynced
        // blocks come before the ones that failed and keep their order only together.
        let oldest = self
            .written
            .front()
            .map_or(u32::MAX, |written| written.segment);
        for left in &mut self.left {
            left.poisoned |= left.segment.number >= oldest;
        }
        while let Some(Written {
            content, mut block, ..
        }) = self.written.pop_back()
        {
            block.bytes.truncate(content);
            self.unsynced_bytes -= content;
            self.unplaced_bytes += content;
            counters.appended_again += u64::from(block.entries);
            self.waiting.push_front(block);
        }
        let shift = self.failures_in_row.min(10);
        let delay = (RETRY_DELAY_US << shift).min(RETRY_DELAY_MAX_US);
        self.failures_in_row += 1;
        self.retry_at_us = now_us.saturating_add(delay);
    }

    fn next_retired(&mut self) -> Option<SealedSegment> {
        let number = self.left.front()?.segment.number;
        let owed = self
            .written
            .front()
            .is_some_and(|written| written.segment <= number);
        let writing = self
            .writing
            .as_ref()
            .is_some_and(|writing| writing.segment <= number);
        if owed || writing || self.failed {
            return None;
        }
        self.left.pop_front()
    }

    fn next_prepare(&mut self, now_us: u64) -> Option<Action> {
        if self.prepared.len() + self.requested >= self.ahead || now_us < self.prepare_at_us {
            return None;
        }
        self.requested += 1;
        let number = self.next_number;
        self.next_number += 1;
        Some(Action::Prepare(SegmentId {
            kind: self.id.kind,
            number,
        }))
    }

    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token << 1 | self.id.kind as u64
    }
}
