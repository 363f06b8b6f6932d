//! When a block is sealed and when a sync starts: pure functions of time and amounts.
//!
//! Both are clocked by the disk itself. A block is sealed when the write before it has
//! ended, a sync starts when the sync before it has ended: under load the disk is never
//! idle and batches grow with its latency, without load nothing waits for company.

use crate::limits::{BACKGROUND_COMMIT_US, BLOCK_BYTES_TARGET, URGENT_SYNC_DELAY_US};
use crate::record::Kind;

/// The commit rules of one stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommitPolicy {
    /// Longest wait of an entry for its block to be sealed, microseconds; 0 is at once.
    pub seal_delay_us: u64,
    /// Longest wait of a written entry for a sync to start, microseconds.
    pub sync_delay_us: u64,
    /// Bytes that end either wait early.
    pub bytes: usize,
}

impl CommitPolicy {
    /// The rules of `kind` by default.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Urgent => Self {
                seal_delay_us: 0,
                sync_delay_us: URGENT_SYNC_DELAY_US,
                bytes: BLOCK_BYTES_TARGET,
            },
            // The wait was spent before the block was sealed.
            Kind::Background => Self {
                seal_delay_us: BACKGROUND_COMMIT_US,
                sync_delay_us: 0,
                bytes: BLOCK_BYTES_TARGET,
            },
        }
    }

    /// Whether the open block is sealed now; asked only while no write is in flight.
    pub fn seals(&self, first_append_us: u64, bytes: usize, now_us: u64) -> bool {
        bytes >= self.bytes || now_us >= first_append_us.saturating_add(self.seal_delay_us)
    }

    /// Whether a sync starts now; asked only while none is in flight. `writing` says that
    /// a write is in flight or waits, whose bytes the same sync could cover.
    pub fn syncs(&self, first_written_us: u64, bytes: usize, writing: bool, now_us: u64) -> bool {
        !writing
            || bytes >= self.bytes
            || now_us >= first_written_us.saturating_add(self.sync_delay_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgent_records_seal_at_once_and_background_ones_after_their_interval() {
        let urgent = CommitPolicy::of(Kind::Urgent);
        assert!(urgent.seals(1_000, 1, 1_000));
        let background = CommitPolicy::of(Kind::Background);
        assert!(!background.seals(1_000, 1, 1_000 + BACKGROUND_COMMIT_US - 1));
        assert!(background.seals(1_000, 1, 1_000 + BACKGROUND_COMMIT_US));
        assert!(background.seals(1_000, BLOCK_BYTES_TARGET, 1_000));
    }

    #[test]
    fn a_sync_waits_for_company_at_most_two_milliseconds() {
        let policy = CommitPolicy::of(Kind::Urgent);
        assert!(policy.syncs(1_000, 1, false, 1_000));
        assert!(!policy.syncs(1_000, 1, true, 2_999));
        assert!(policy.syncs(1_000, 1, true, 3_000));
        assert!(policy.syncs(1_000, BLOCK_BYTES_TARGET, true, 1_000));
    }
}
