//! The memory of one shard: everything is reserved at start and touched only when used.
//!
//! - `reserved`: an array of fixed capacity in its own anonymous mapping.
//! - `slab`: records by `u32` index on such an array.
//! - `blocks`: byte blocks of five classes under one cap.
//! - `channel_log`: the encoded frames of an active channel, in such blocks.
//! - `last_values`: the newest event of each conflation key, in such blocks.
//! - `frame_pool`: frames written by one thread and read by several.
//! - `prefetch`: asks the processor for records before they are read.
//!
//! Invariants: nothing here grows beyond the capacity given at construction, running out is
//! a value and never a panic, and resident memory follows use because a page that nobody
//! touched costs nothing.
//!
//! Runs on: one shard thread for each structure. Only `FrameRef` crosses threads.

pub mod blocks;
pub mod channel_log;
mod error;
pub mod frame_pool;
pub mod last_values;
pub mod limits;
mod mapping;
pub mod prefetch;
pub mod reserved;
pub mod slab;

#[cfg(test)]
mod tests;

pub use blocks::{BlockClass, BlockId, BlockPool, BlockStats};
pub use channel_log::{AppendError, ChannelLog, EventMeta, TrimRule, Unrecoverable};
pub use error::MemoryError;
pub use frame_pool::{FramePool, FrameRef};
pub use last_values::LastValues;
pub use prefetch::prefetch;
pub use reserved::{Reserved, Zeroed};
pub use slab::Slab;
