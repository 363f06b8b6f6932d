//! What a log does next: write, sync, retire, prepare.

use crate::journal::block::{self, BlockPlace};
use crate::journal::planted::{is_planted, Planted};
use crate::journal::{Action, JournalCounters, SealedSegment};
use crate::record::SegmentId;

use super::{Current, Stream, Syncing, Writing, Written};

/// First and longest wait after a failed write or sync.
const RETRY_DELAY_US: u64 = 10_000;
const RETRY_DELAY_MAX_US: u64 = 1_000_000;

impl Stream {
    /// The next thing to do, if any.
    pub(in crate::journal) fn next_action(
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

    /// When `next_action` has something to do that no completion announces.
    pub(in crate::journal) fn next_deadline_us(&self) -> Option<u64> {
        if self.failed {
            return None;
        }
        let seal = self.next_seal_us().map(|at| at.max(self.retry_at_us));
        let sync = (self.syncing.is_none() && !self.written.is_empty()).then(|| {
            let full = self.unsynced_bytes >= self.policy.bytes;
            if full {
                0
            } else {
                self.sync_at_us
            }
        });
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
        let bytes = self.unsynced_bytes;
        if !self.policy.syncs(self.sync_at_us, bytes, now_us) {
            return None;
        }
        let segment = front.segment;
        let covered = self
            .written
            .iter()
            .take_while(|written| written.segment == segment);
        let through = covered.last()?.block.last();
        let token = self.token();
        self.sync_at_us = now_us.saturating_add(self.policy.sync_interval_us);
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
