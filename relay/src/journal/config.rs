//! Settings of one shard's journal, and their check.

use crate::journal::block::{padded, BLOCK_HEADER_BYTES};
use crate::journal::entry::ENTRY_OVERHEAD_MAX;
use crate::journal::policy::CommitPolicy;
use crate::limits::{
    BACKGROUND_SEGMENTS_AHEAD, BLOCK_ALIGN, BLOCK_BYTES_TARGET, CHANNEL_BYTES_MAX, FRAME_BYTES_MAX,
    PENDING_BYTES_MAX, QUOTA_BYTES_DEFAULT, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX,
    URGENT_SEGMENTS_AHEAD,
};
use crate::record::Kind;

/// Settings of one shard's journal.
#[derive(Clone, Debug)]
pub struct JournalConfig {
    /// Random identity of the boot, from the data directory.
    pub boot: u64,
    /// The shard.
    pub shard: u16,
    /// Size of the segments that the files side prepares.
    pub segment_bytes: u32,
    /// Largest frame that is accepted.
    pub frame_bytes_max: usize,
    /// Share of the node's disk quota that belongs to this shard.
    pub quota_bytes: u64,
    /// Bytes that may wait in memory for the disk, for each kind.
    pub pending_bytes_max: usize,
    /// Segments kept ready besides the current one, by kind.
    pub segments_ahead: [usize; 2],
    /// Commit rules, by kind.
    pub policies: [CommitPolicy; 2],
}

/// Settings that cannot work together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A segment must hold at least two of the largest blocks.
    #[error(
        "journal segments of {segment} bytes are too small for frames of {frame} bytes: \
             set journal.segment to at least {minimum}"
    )]
    SegmentTooSmall {
        /// What was asked for.
        segment: u32,
        /// The largest frame.
        frame: usize,
        /// The smallest segment that works.
        minimum: usize,
    },
    /// Offsets and the time of a start bound the size of a segment.
    #[error(
        "journal segments of {segment} bytes are not supported: set journal.segment to a \
             multiple of 512 of at most {maximum}"
    )]
    SegmentShape {
        /// What was asked for.
        segment: u32,
        /// The largest that is supported.
        maximum: u32,
    },
    /// Frames are bounded by the block format.
    #[error("frames of {frame} bytes cannot be journaled: set the frame cap to at most {maximum}")]
    FrameTooLarge {
        /// What was asked for.
        frame: usize,
        /// The largest that is supported.
        maximum: usize,
    },
}

impl JournalConfig {
    /// The defaults for one of `shards` shards.
    pub fn new(boot: u64, shard: u16, shards: u16) -> Self {
        Self {
            boot,
            shard,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            frame_bytes_max: FRAME_BYTES_MAX,
            quota_bytes: QUOTA_BYTES_DEFAULT / u64::from(shards.max(1)),
            pending_bytes_max: PENDING_BYTES_MAX,
            segments_ahead: [URGENT_SEGMENTS_AHEAD, BACKGROUND_SEGMENTS_AHEAD],
            policies: Kind::ALL.map(CommitPolicy::of),
        }
    }

    /// Largest block under these settings.
    pub(crate) fn block_bytes_max(&self) -> usize {
        let target = self.policies[0].bytes.max(self.policies[1].bytes);
        debug_assert!(target <= BLOCK_BYTES_TARGET);
        padded(target + BLOCK_HEADER_BYTES + ENTRY_OVERHEAD_MAX + CHANNEL_BYTES_MAX)
            + padded(self.frame_bytes_max)
    }

    /// Whether a journal can run with these settings.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.frame_bytes_max > FRAME_BYTES_MAX {
            return Err(ConfigError::FrameTooLarge {
                frame: self.frame_bytes_max,
                maximum: FRAME_BYTES_MAX,
            });
        }
        let shaped = (self.segment_bytes as usize).is_multiple_of(BLOCK_ALIGN);
        if !shaped || self.segment_bytes > SEGMENT_BYTES_MAX {
            return Err(ConfigError::SegmentShape {
                segment: self.segment_bytes,
                maximum: SEGMENT_BYTES_MAX,
            });
        }
        let minimum = 2 * self.block_bytes_max();
        if (self.segment_bytes as usize) < minimum {
            return Err(ConfigError::SegmentTooSmall {
                segment: self.segment_bytes,
                frame: self.frame_bytes_max,
                minimum,
            });
        }
        Ok(())
    }
}
