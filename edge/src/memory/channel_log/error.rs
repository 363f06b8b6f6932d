//! Why a log refuses a frame or cannot continue from a position.
//!
//! Runs on: the shard thread that owns the log; plain values.

use crate::memory::limits::LOG_FRAME_BYTES_MAX;
use thiserror::Error;

/// Why a frame was not appended. The log is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AppendError {
    /// The block pool is exhausted: trim, or treat the channel as overrun.
    #[error("the block pool has no room for the frame: trim logs or raise the pool's cap")]
    PoolEmpty,
    /// The frame is larger than any block.
    #[error("a frame of {bytes} bytes exceeds the limit of {LOG_FRAME_BYTES_MAX} bytes")]
    TooLarge {
        /// Bytes of the frame.
        bytes: usize,
    },
    /// The event's offset is not above the last one: it is a repeat.
    #[error("offset {offset} is not above the last offset {top}: the event is a repeat")]
    NotNewer {
        /// Offset of the event.
        offset: u64,
        /// Offset of the last event in the log.
        top: u64,
    },
}

/// Why the log cannot continue from a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unrecoverable {
    /// The event after the position is no longer in the log; history may have it.
    #[error("the position is older than the log: read history from it")]
    Trimmed,
    /// The position is beyond the last event.
    #[error("the position is beyond the last event of the channel: it is of another lineage")]
    Ahead,
    /// The chain at this offset is another one.
    #[error("the chain at the position differs: it is of another lineage")]
    Diverged,
    /// The log misses events just after the position.
    #[error("events after the position are missing from the log: read history from it")]
    Gap,
}
