//! Reading blocks and entries from the bytes of a segment, without copying.
//!
//! A reader judges bytes, not logs: it says which blocks of this stream and segment are
//! whole and where the unbroken run from the start ends. Whether an end is a torn tail or
//! damage needs the whole log and is decided by the recovery.

use crate::journal::block::{self, BlockHeader, BlockPlace, Found, BLOCK_HEADER_BYTES};
use crate::journal::entry::{read_entry, Entry};
use crate::limits::BLOCK_ALIGN;
use crate::record::{Sequence, StreamId};

/// The bytes of one segment and whose they should be.
#[derive(Clone, Copy, Debug)]
pub struct SegmentReader<'a> {
    stream: StreamId,
    segment: u32,
    /// Offset in the segment of the first byte.
    base: u32,
    bytes: &'a [u8],
}

/// A whole block in a segment.
#[derive(Clone, Copy, Debug)]
pub struct SegmentBlock<'a> {
    /// Where it starts in the segment.
    pub offset: u32,
    /// Its header.
    pub header: BlockHeader,
    content: &'a [u8],
}

impl<'a> SegmentReader<'a> {
    /// A reader of `bytes`, the content of segment `segment` of `stream` from offset 0.
    pub fn new(stream: StreamId, segment: u32, bytes: &'a [u8]) -> Self {
        Self::at(stream, segment, 0, bytes)
    }

    /// A reader of the part of a segment that starts at offset `base`.
    pub fn at(stream: StreamId, segment: u32, base: u32, bytes: &'a [u8]) -> Self {
        Self {
            stream,
            segment,
            base,
            bytes,
        }
    }

    /// The whole block at `offset`, if there is one.
    pub fn block(&self, offset: u32) -> Option<SegmentBlock<'a>> {
        self.block_at(offset).ok()
    }

    /// Whether a block of this segment begins at `offset`, whole or not.
    pub fn is_begun(&self, offset: u32) -> bool {
        self.block_at(offset).err() != Some(Found::Foreign)
    }

    /// The unbroken run of blocks that starts at `offset`.
    pub fn blocks(&self, offset: u32) -> Blocks<'a> {
        Blocks {
            reader: *self,
            offset,
            broken: false,
        }
    }

    /// The first whole block at or after `offset`, wherever it is; for looking behind a
    /// break.
    pub fn next_block_after_break(&self, offset: u32) -> Option<SegmentBlock<'a>> {
        let end = self.base as usize + self.bytes.len();
        let mut at = (offset as usize).next_multiple_of(BLOCK_ALIGN);
        while at < end {
            if let Ok(block) = self.block_at(at as u32) {
                return Some(block);
            }
            at += BLOCK_ALIGN;
        }
        None
    }

    fn block_at(&self, offset: u32) -> Result<SegmentBlock<'a>, Found> {
        let place = BlockPlace {
            stream: self.stream,
            segment: self.segment,
            offset,
        };
        let start = offset.checked_sub(self.base).map(|start| start as usize);
        let bytes = start
            .and_then(|start| self.bytes.get(start..))
            .unwrap_or_default();
        match block::find(bytes, &place) {
            Found::Block(header) => Ok(SegmentBlock {
                offset,
                header,
                content: &bytes[BLOCK_HEADER_BYTES..header.content as usize],
            }),
            other => Err(other),
        }
    }
}

impl<'a> SegmentBlock<'a> {
    /// The entries, in order.
    pub fn entries(&self) -> Entries<'a> {
        Entries {
            rest: self.content,
            next: self.header.first,
            start: self.offset,
            at: 0,
        }
    }
}

/// Iterator over an unbroken run of blocks.
#[derive(Clone, Debug)]
pub struct Blocks<'a> {
    reader: SegmentReader<'a>,
    offset: u32,
    broken: bool,
}

impl Blocks<'_> {
    /// Where the run has ended, or the next block starts.
    pub fn offset(&self) -> u32 {
        self.offset
    }

    /// Whether the run ended at a header of this segment with a wrong checksum.
    pub fn is_broken(&self) -> bool {
        self.broken
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = SegmentBlock<'a>;

    fn next(&mut self) -> Option<SegmentBlock<'a>> {
        match self.reader.block_at(self.offset) {
            Ok(block) => {
                self.offset += block.header.length;
                Some(block)
            }
            Err(found) => {
                self.broken = found == Found::Broken;
                None
            }
        }
    }
}

/// Iterator over the entries of a block.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
    next: Sequence,
    start: u32,
    at: u32,
}

impl Entries<'_> {
    /// Offset in the segment of the entry that comes next.
    pub fn offset(&self) -> u32 {
        self.start + BLOCK_HEADER_BYTES as u32 + self.at
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let (length, body) = read_entry(self.rest)?;
        self.rest = &self.rest[length..];
        self.at += length as u32;
        let sequence = self.next;
        self.next = sequence.next();
        Some(Entry { sequence, body })
    }
}
