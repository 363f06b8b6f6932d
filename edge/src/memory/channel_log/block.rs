//! The inside of one block of a channel log: header, frames, entries.
//!
//! ```text
//! | header 32 B | frames, back to back -> ... free ... <- entries, 24 B each, newest first |
//! ```
//!
//! Purpose: the frames of a block are contiguous, so that one send takes many, and the index
//! of a frame lives and goes with its block.
//!
//! Invariants: entries are in the order of their frames; their offsets never fall; the end of
//! a frame is the start of the next. All events of a block have one epoch.
//!
//! Runs on: the shard thread that owns the log.

use interlink_protocol::ids::Position;

/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = 32;
/// Bytes of one entry.
pub(super) const ENTRY_BYTES: usize = 24;

/// The entry is a frame that is no event; its offset and chain are those of the event before.
pub(super) const CONTROL: u32 = 1 << 31;
/// The event does not follow its neighbour: offsets or chain are broken before it.
pub(super) const BREAK: u32 = 1 << 30;
/// The part of `end_and_flags` that is the end.
const END_MASK: u32 = (1 << 24) - 1;

const START: usize = 0;
const EPOCH: usize = 8;
const NEXT: usize = 16;
const PREVIOUS: usize = 20;
const USED: usize = 24;
const COUNT: usize = 28;

/// One frame's place in the block and in the channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) offset: u64,
    pub(super) chain: u64,
    pub(super) time_s: u32,
    /// End of the frame, in bytes from the first frame of the block, and the flags above.
    pub(super) end_and_flags: u32,
}

impl Entry {
    pub(super) fn end(self) -> u64 {
        u64::from(self.end_and_flags & END_MASK)
    }

    pub(super) fn is(self, flag: u32) -> bool {
        self.end_and_flags & flag != 0
    }
}

/// A block to read.
#[derive(Clone, Copy)]
pub(super) struct Block<'a>(pub(super) &'a [u8]);

impl<'a> Block<'a> {
    /// Byte position of the first frame.
    pub(super) fn start(self) -> u64 {
        u64_at(self.0, START)
    }

    /// Byte position after the last frame.
    pub(super) fn end(self) -> u64 {
        self.start() + u64::from(u32_at(self.0, USED))
    }

    pub(super) fn epoch(self) -> u64 {
        u64_at(self.0, EPOCH)
    }

    pub(super) fn next(self) -> u32 {
        u32_at(self.0, NEXT)
    }

    pub(super) fn previous(self) -> u32 {
        u32_at(self.0, PREVIOUS)
    }

    pub(super) fn count(self) -> usize {
        u32_at(self.0, COUNT) as usize
    }

    /// The frames from a byte position inside the block on.
    pub(super) fn frames_from(self, from: u64) -> &'a [u8] {
        let skipped = (from - self.start()) as usize;
        let used = u32_at(self.0, USED) as usize;
        &self.0[HEADER_BYTES + skipped..HEADER_BYTES + used]
    }

    pub(super) fn entry(self, index: usize) -> Entry {
        let at = self.0.len() - ENTRY_BYTES * (index + 1);
        Entry {
            offset: u64_at(self.0, at),
            chain: u64_at(self.0, at + 8),
            time_s: u32_at(self.0, at + 16),
            end_and_flags: u32_at(self.0, at + 20),
        }
    }

    /// Byte position of the first byte of a frame.
    pub(super) fn frame_start(self, index: usize) -> u64 {
        match index {
            0 => self.start(),
            _ => self.start() + self.entry(index - 1).end(),
        }
    }

    /// The position of the event that a frame is or follows.
    pub(super) fn position(self, index: usize) -> Position {
        let entry = self.entry(index);
        Position {
            epoch: self.epoch(),
            offset: entry.offset,
            chain: entry.chain,
        }
    }

    /// The first entry for which `before` is false; entries are ordered so that `before` is
    /// true for a prefix of them.
    pub(super) fn partition(self, before: impl Fn(Entry) -> bool) -> usize {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low + (high - low) / 2;
            if before(self.entry(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// How many frames lie between two of the block's frame boundaries. Most often it is the
    /// newest frame alone, which one look tells.
    pub(super) fn count_between(self, from: u64, to: u64) -> u64 {
        let last = self.count() - 1;
        if to == self.end() && from == self.frame_start(last) {
            return 1;
        }
        let before = |byte: u64| {
            let inside = byte - self.start();
            self.partition(|entry| entry.end() <= inside)
        };
        (before(to) - before(from)) as u64
    }

    /// Whether a frame of `bytes` and its entry fit.
    pub(super) fn has_room(self, bytes: usize) -> bool {
        let frames = HEADER_BYTES + u32_at(self.0, USED) as usize;
        let entries = ENTRY_BYTES * (self.count() + 1);
        frames + bytes + entries <= self.0.len()
    }
}

/// Writes the header of a block without frames.
pub(super) fn open(block: &mut [u8], start: u64, epoch: u64, previous: u32) {
    block[START..START + 8].copy_from_slice(&start.to_ne_bytes());
    block[EPOCH..EPOCH + 8].copy_from_slice(&epoch.to_ne_bytes());
    set_u32(block, NEXT, 0);
    set_u32(block, PREVIOUS, previous);
    set_u32(block, USED, 0);
    set_u32(block, COUNT, 0);
}

/// Sets the link to the block after this one.
pub(super) fn set_next(block: &mut [u8], next: u32) {
    set_u32(block, NEXT, next);
}

/// Cuts the link to the block before this one.
pub(super) fn clear_previous(block: &mut [u8]) {
    set_u32(block, PREVIOUS, 0);
}

/// Adds a frame, given in parts, and its entry; the end is filled in here. The caller has
/// checked the room.
pub(super) fn push(block: &mut [u8], parts: &[&[u8]], mut entry: Entry) {
    let mut used = u32_at(block, USED) as usize;
    for part in parts {
        let at = HEADER_BYTES + used;
        block[at..at + part.len()].copy_from_slice(part);
        used += part.len();
    }
    let count = u32_at(block, COUNT) as usize;
    entry.end_and_flags |= used as u32;
    let at = block.len() - ENTRY_BYTES * (count + 1);
    block[at..at + 8].copy_from_slice(&entry.offset.to_ne_bytes());
    block[at + 8..at + 16].copy_from_slice(&entry.chain.to_ne_bytes());
    set_u32(block, at + 16, entry.time_s);
    set_u32(block, at + 20, entry.end_and_flags);
    set_u32(block, USED, used as u32);
    set_u32(block, COUNT, count as u32 + 1);
}

fn set_u32(block: &mut [u8], at: usize, value: u32) {
    block[at..at + 4].copy_from_slice(&value.to_ne_bytes());
}

fn u32_at(block: &[u8], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&block[at..at + 4]);
    u32::from_ne_bytes(bytes)
}

fn u64_at(block: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&block[at..at + 8]);
    u64::from_ne_bytes(bytes)
}
