//! The commit block: the unit that is written, checked and believed as a whole.
//!
//! ```text
//!  0 magic u32            24 segment u32        40 first sequence u64
//!  4 crc32c u32           28 offset u32         48 durable through u64
//!  8 length u32           32 shard u16          56 sealed at us u64
//! 12 content u32          34 kind u8, version u8
//! 16 boot u64             36 entries u32        64 entries, then zeros up to `length`
//! ```
//! - `length` is the whole block and a multiple of 512; the CRC covers bytes 8..length,
//!   padding included, so that every flipped bit of a written region is seen.
//! - Boot, shard, kind, segment and offset make a block valid at one place only: what a
//!   recycled segment still holds from an earlier life, and blocks that were written to a
//!   wrong place, are not taken for the log's own.
//! - `durable through` is the last sequence known to be synced when the block was sealed.
//!   It proves that everything up to there was durable: damage below it is damage, an end
//!   above it is a torn tail. It is a sequence, not a byte length, since after a failed
//!   sync entries are appended again elsewhere and a length would accuse the wrong file.

use crate::journal::planted::{is_planted, Planted};
use crate::limits::BLOCK_ALIGN;
use crate::record::{Sequence, StreamId};

/// Bytes of a block's header.
pub const BLOCK_HEADER_BYTES: usize = 64;

const MAGIC: u32 = u32::from_le_bytes(*b"ILJB");
const VERSION: u8 = 1;

/// The fields of a block's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockHeader {
    /// Whole block in bytes.
    pub length: u32,
    /// Header and entries in bytes, without padding.
    pub content: u32,
    /// Number of entries.
    pub entries: u32,
    /// Sequence of the first entry.
    pub first: Sequence,
    /// Last sequence known to be durable when the block was sealed.
    pub durable_through: Sequence,
    /// When it was sealed, microseconds since the Unix epoch.
    pub sealed_at_us: u64,
}

impl BlockHeader {
    /// Sequence after the last entry.
    pub fn end(&self) -> Sequence {
        Sequence(self.first.0 + u64::from(self.entries))
    }
}

/// The one place where a block is valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockPlace {
    /// The log.
    pub stream: StreamId,
    /// Segment number.
    pub segment: u32,
    /// Byte offset in the segment.
    pub offset: u32,
}

/// What stands at an offset of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// A whole block of this place.
    Block(BlockHeader),
    /// A header of this place whose checksum is wrong: torn or damaged.
    Broken,
    /// Nothing of this place: never written, or from an earlier life of the segment.
    Foreign,
}

/// Length of the block that holds `content` bytes, header included.
pub(crate) fn padded(content: usize) -> usize {
    content.next_multiple_of(BLOCK_ALIGN)
}

/// Fills in the header of `block`, which holds 64 reserved bytes and the entries, pads it
/// and computes the checksum. Returns the block's length.
pub(crate) fn seal(
    block: &mut Vec<u8>,
    place: &BlockPlace,
    entries: u32,
    first: Sequence,
    durable_through: Sequence,
    now_us: u64,
) -> u32 {
    let content = block.len() as u32;
    let length = padded(block.len());
    block.resize(length, 0);
    let header = &mut block[..BLOCK_HEADER_BYTES];
    header[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    header[8..12].copy_from_slice(&(length as u32).to_le_bytes());
    header[12..16].copy_from_slice(&content.to_le_bytes());
    header[16..24].copy_from_slice(&place.stream.boot.to_le_bytes());
    header[24..28].copy_from_slice(&place.segment.to_le_bytes());
    header[28..32].copy_from_slice(&place.offset.to_le_bytes());
    header[32..34].copy_from_slice(&place.stream.shard.to_le_bytes());
    header[34] = place.stream.kind as u8;
    header[35] = VERSION;
    header[36..40].copy_from_slice(&entries.to_le_bytes());
    header[40..48].copy_from_slice(&first.0.to_le_bytes());
    header[48..56].copy_from_slice(&durable_through.0.to_le_bytes());
    header[56..64].copy_from_slice(&now_us.to_le_bytes());
    let crc = checksum(block, content);
    block[4..8].copy_from_slice(&crc.to_le_bytes());
    length as u32
}

/// Looks for the block of `place` at the start of `bytes`, which run to the segment's end.
pub(crate) fn find(bytes: &[u8], place: &BlockPlace) -> Found {
    let Some(header) = bytes.first_chunk::<BLOCK_HEADER_BYTES>() else {
        return Found::Foreign;
    };
    if !belongs(header, place) {
        return Found::Foreign;
    }
    let length = u32_at(header, 8);
    let content = u32_at(header, 12);
    let shaped = (length as usize).is_multiple_of(BLOCK_ALIGN)
        && content <= length
        && content as usize >= BLOCK_HEADER_BYTES;
    let Some(block) = bytes.get(..length as usize).filter(|_| shaped) else {
        return Found::Broken;
    };
    let intact = checksum(block, content) == u32_at(header, 4);
    if !intact && !is_planted(Planted::ChecksumIgnored) {
        return Found::Broken;
    }
    Found::Block(BlockHeader {
        length,
        content,
        entries: u32_at(header, 36),
        first: Sequence(u64_at(header, 40)),
        durable_through: Sequence(u64_at(header, 48)),
        sealed_at_us: u64_at(header, 56),
    })
}

fn checksum(block: &[u8], content: u32) -> u32 {
    if is_planted(Planted::LengthUncovered) {
        return crc32c::crc32c(&block[16..content as usize]);
    }
    crc32c::crc32c(&block[8..])
}

fn belongs(header: &[u8; BLOCK_HEADER_BYTES], place: &BlockPlace) -> bool {
    if is_planted(Planted::ReuseUnnoticed) {
        return u32_at(header, 0) == MAGIC;
    }
    u32_at(header, 0) == MAGIC
        && u64_at(header, 16) == place.stream.boot
        && u32_at(header, 24) == place.segment
        && u32_at(header, 28) == place.offset
        && header[32..34] == place.stream.shard.to_le_bytes()
        && header[34] == place.stream.kind as u8
        && header[35] == VERSION
}

fn u32_at(header: &[u8; BLOCK_HEADER_BYTES], at: usize) -> u32 {
    let mut field = [0u8; 4];
    field.copy_from_slice(&header[at..at + 4]);
    u32::from_le_bytes(field)
}

fn u64_at(header: &[u8; BLOCK_HEADER_BYTES], at: usize) -> u64 {
    let mut field = [0u8; 8];
    field.copy_from_slice(&header[at..at + 8]);
    u64::from_le_bytes(field)
}
