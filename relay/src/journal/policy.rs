//! When a block is sealed and when a sync starts: pure functions of time and amounts.
//!
//! A block is sealed when the write before it has ended, so that blocks grow with the latency of
//! the disk and nothing waits for company. A sync starts at once after a pause; under load one
//! starts every interval, or as soon as a full block waits for it.

use crate::limits::{BACKGROUND_COMMIT_US, BLOCK_BYTES_TARGET, URGENT_SYNC_INTERVAL_US};
use crate::record::Kind;

/// The commit rules of one stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommitPolicy {
    /// Longest wait of an entry for its block to be sealed, microseconds; 0 is at once.
    pub seal_delay_us: u64,
    /// Least time between the starts of two syncs, microseconds.
    pub sync_interval_us: u64,
    /// Bytes that end either wait early.
    pub bytes: usize,
}

impl CommitPolicy {
    /// The rules of `kind` by default.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Urgent => Self {
                seal_delay_us: 0,
                sync_interval_us: URGENT_SYNC_INTERVAL_US,
                bytes: BLOCK_BYTES_TARGET,
            },
            // The wait was spent before the block was sealed.
            Kind::Background => Self {
                seal_delay_us: BACKGROUND_COMMIT_US,
                sync_interval_us: 0,
                bytes: BLOCK_BYTES_TARGET,
            },
        }
    }

    /// Whether the open block is sealed now; asked only while no write is in flight.
    pub fn seals(&self, first_append_us: u64, bytes: usize, now_us: u64) -> bool {
        bytes >= self.bytes || now_us >= first_append_us.saturating_add(self.seal_delay_us)
    }

    /// Whether a sync of `bytes` written ones starts now; asked only while none is in flight.
    /// `due_us` is an interval after the start of the sync before it.
    pub fn syncs(&self, due_us: u64, bytes: usize, now_us: u64) -> bool {
        bytes >= self.bytes || now_us >= due_us
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
    fn syncs_start_an_interval_apart_or_with_a_full_block() {
        let policy = CommitPolicy::of(Kind::Urgent);
        assert!(!policy.syncs(1_000, 1, 999));
        assert!(policy.syncs(1_000, 1, 1_000));
        assert!(policy.syncs(1_000, BLOCK_BYTES_TARGET, 1));
    }
}
