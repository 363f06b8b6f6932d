//! Reading retained frames one by one, for history and for gaps of other shards.
//!
//! Runs on: the shard thread that owns the log and the pool.

use super::block::{Block, CONTROL};
use crate::memory::{BlockId, BlockPool};
use interlink_protocol::ids::Position;

/// One retained frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'p> {
    /// Byte position of its first byte.
    pub start: u64,
    /// The frame as it is sent.
    pub bytes: &'p [u8],
    /// Where the event stands; for a control frame, where the event before it stands.
    pub position: Position,
    /// When the event was accepted, in seconds of the caller's clock; 0 for a control frame.
    pub time_s: u32,
    /// Whether the frame is an event.
    pub is_event: bool,
}

/// The frames of a log from a byte position to its head.
pub struct Frames<'p> {
    pool: &'p BlockPool,
    block: Option<Block<'p>>,
    index: usize,
}

impl<'p> Frames<'p> {
    pub(super) fn new(pool: &'p BlockPool, block: Option<Block<'p>>, from: u64) -> Self {
        let index = block.map_or(0, |block| {
            let inside = from - block.start();
            block.partition(|entry| entry.end() <= inside)
        });
        Self { pool, block, index }
    }
}

impl<'p> Iterator for Frames<'p> {
    type Item = Frame<'p>;

    fn next(&mut self) -> Option<Frame<'p>> {
        let mut block = self.block?;
        if self.index == block.count() {
            let next = BlockId::from_u32(block.next()).map(|id| Block(self.pool.bytes(id)));
            (self.block, self.index) = (next, 0);
            block = next?;
        }
        let entry = block.entry(self.index);
        let start = block.frame_start(self.index);
        let length = (block.start() + entry.end() - start) as usize;
        let frame = Frame {
            start,
            bytes: &block.frames_from(start)[..length],
            position: block.position(self.index),
            time_s: entry.time_s,
            is_event: !entry.is(CONTROL),
        };
        self.index += 1;
        Some(frame)
    }
}
