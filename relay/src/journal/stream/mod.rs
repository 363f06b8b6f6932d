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

mod actions;

use std::collections::VecDeque;

use crate::journal::block::BLOCK_HEADER_BYTES;
use crate::journal::config::JournalConfig;
use crate::journal::planted::{is_planted, Planted};
use crate::journal::policy::CommitPolicy;
use crate::journal::{JournalCounters, SealedSegment};
use crate::limits::{BLOCK_ALIGN, BLOCK_BYTES_TARGET, SPARE_BUFFERS_MAX};
use crate::record::{Kind, Sequence, StreamId};

/// Wait after a failed preparation.
const PREPARE_DELAY_US: u64 = 1_000_000;

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
pub(in crate::journal) struct Stream {
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
    /// Earliest start of the next sync, unless a full block waits.
    sync_at_us: u64,
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
    pub(in crate::journal) fn new(config: &JournalConfig, kind: Kind) -> Self {
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
            sync_at_us: 0,
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
    pub(in crate::journal) fn append(
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
    pub(in crate::journal) fn room(&self, reserve: usize) -> usize {
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
    pub(in crate::journal) fn pending_bytes(&self) -> usize {
        self.unplaced_bytes + self.unsynced_bytes
    }

    pub(in crate::journal) fn written_through(&self) -> Sequence {
        self.written_through
    }

    pub(in crate::journal) fn durable_through(&self) -> Sequence {
        if is_planted(Planted::AckBeforeSync) {
            return self.written_through;
        }
        self.durable_through
    }

    pub(in crate::journal) fn next_sequence(&self) -> Sequence {
        self.next
    }

    pub(in crate::journal) fn is_idle(&self) -> bool {
        self.pending_bytes() == 0 && self.writing.is_none() && self.syncing.is_none()
    }

    pub(in crate::journal) fn on_written(
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

    pub(in crate::journal) fn on_synced(
        &mut self,
        token: u64,
        result: i32,
        counters: &mut JournalCounters,
    ) {
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

    pub(in crate::journal) fn on_prepared(&mut self, number: u32) {
        self.requested = self.requested.saturating_sub(1);
        debug_assert!(self.prepared.back().is_none_or(|last| *last < number));
        self.prepared.push_back(number);
    }

    pub(in crate::journal) fn on_prepare_failed(&mut self, now_us: u64) {
        self.requested = self.requested.saturating_sub(1);
        self.prepare_at_us = now_us.saturating_add(PREPARE_DELAY_US);
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
}
