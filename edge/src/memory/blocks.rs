//! `BlockPool`: byte blocks of five fixed classes under one byte cap.
//!
//! Purpose: channel logs, cut frames and frames between threads take blocks instead of heap
//! allocations, so that their memory has a bound and a message costs no allocation.
//!
//! How: the mapping is divided into chunks of 68 KiB. A class takes a whole chunk and divides
//! it; a chunk whose last block is freed serves any class again. Within a chunk the lowest
//! free block goes first, so that few pages become resident.
//!
//! Invariants: a block belongs to one holder from `alloc` to `free`; freeing a free block
//! panics; `alloc` and `free` take constant time; an exhausted pool answers `None`.
//!
//! Limits: the cap given at construction, rounded down to whole chunks.
//!
//! `unsafe` stands here because blocks are raw memory of the mapping.
//!
//! Runs on: the shard thread that owns it; it may be built elsewhere and moved there.

use super::limits::{BLOCK_POOL_BYTES_MAX, BLOCK_UNIT_BYTES, CHUNK_BYTES};
use super::mapping::Mapping;
use super::reserved::{Reserved, Zeroed};
use super::MemoryError;
use std::mem::size_of;
use std::num::NonZeroU32;
use std::ptr::NonNull;

const UNITS_PER_CHUNK: usize = CHUNK_BYTES / BLOCK_UNIT_BYTES;
const LIVE_WORDS: usize = UNITS_PER_CHUNK.div_ceil(64);

/// The size of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum BlockClass {
    /// 256 bytes.
    B256,
    /// 1 KiB.
    K1,
    /// 4 KiB.
    K4,
    /// 16 KiB.
    K16,
    /// 68 KiB: a frame of 64 KiB with what the server adds.
    K68,
}

impl BlockClass {
    /// All classes, smallest first.
    pub const ALL: [Self; 5] = [Self::B256, Self::K1, Self::K4, Self::K16, Self::K68];

    /// Bytes of a block.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::B256 => 256,
            Self::K1 => 1 << 10,
            Self::K4 => 4 << 10,
            Self::K16 => 16 << 10,
            Self::K68 => CHUNK_BYTES,
        }
    }

    /// The smallest class that holds `bytes`, or `None` when none does.
    #[must_use]
    pub const fn for_bytes(bytes: usize) -> Option<Self> {
        let mut index = 0;
        while index < Self::ALL.len() {
            if bytes <= Self::ALL[index].bytes() {
                return Some(Self::ALL[index]);
            }
            index += 1;
        }
        None
    }

    /// The next smaller class.
    #[must_use]
    pub const fn smaller(self) -> Option<Self> {
        match self as usize {
            0 => None,
            index => Some(Self::ALL[index - 1]),
        }
    }

    const fn per_chunk(self) -> usize {
        CHUNK_BYTES / self.bytes()
    }
}

/// The name of an allocated block. The holder keeps it single: four bytes have no room for a
/// generation that would tell an old name from a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockId(NonZeroU32);

const _: () = assert!(size_of::<Option<BlockId>>() == 4);

impl BlockId {
    fn new(chunk: usize, class: BlockClass, block: usize) -> Self {
        let unit = chunk * UNITS_PER_CHUNK + block * (class.bytes() / BLOCK_UNIT_BYTES);
        Self(NonZeroU32::MIN.saturating_add(unit as u32))
    }

    /// The name as a number above zero, for tables that store plain words.
    #[must_use]
    pub const fn to_u32(self) -> u32 {
        self.0.get()
    }

    /// The name that `to_u32` gave, or `None` for zero.
    #[must_use]
    pub const fn from_u32(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    fn unit(self) -> usize {
        self.0.get() as usize - 1
    }

    fn chunk(self) -> usize {
        self.unit() / UNITS_PER_CHUNK
    }

    fn offset(self) -> usize {
        self.unit() * BLOCK_UNIT_BYTES
    }
}

/// What a pool holds and refused; plain numbers for the scraper.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlockStats {
    /// Allocated blocks by class.
    pub live: [u32; 5],
    /// Bytes of the allocated blocks.
    pub live_bytes: usize,
    /// Bytes of the chunks that classes hold; `live_bytes` and their free blocks.
    pub held_bytes: usize,
    /// The cap in bytes.
    pub capacity_bytes: usize,
    /// Allocations answered `None` since start.
    pub refused: u64,
}

/// One chunk: which class it serves and which of its blocks are live. Links are chunk
/// numbers plus one, so that zeroed memory is a chunk without any.
#[derive(Clone, Copy)]
struct Chunk {
    live: [u64; LIVE_WORDS],
    count: u16,
    class: u8,
    next: u32,
    previous: u32,
}

// SAFETY: every field is an integer.
unsafe impl Zeroed for Chunk {}

/// The pool.
pub struct BlockPool {
    mapping: Mapping,
    chunks: Reserved<Chunk>,
    /// Per class the first chunk that it holds and that has a free block.
    with_room: [u32; 5],
    /// Chunks that no class holds: used before and perhaps resident, given back to the
    /// kernel, and (from `fresh` on) never used.
    warm: u32,
    warm_count: usize,
    cold: u32,
    fresh: usize,
    stats: BlockStats,
}

impl BlockPool {
    /// Reserves `cap_bytes`, rounded down to whole chunks of 68 KiB.
    ///
    /// # Errors
    /// When the cap is beyond what names can address or the kernel refuses the range.
    pub fn new(cap_bytes: usize) -> Result<Self, MemoryError> {
        if cap_bytes > BLOCK_POOL_BYTES_MAX {
            let (capacity, limit) = (cap_bytes, BLOCK_POOL_BYTES_MAX);
            return Err(MemoryError::TooLarge { capacity, limit });
        }
        let count = cap_bytes / CHUNK_BYTES;
        let capacity_bytes = count * CHUNK_BYTES;
        Ok(Self {
            mapping: Mapping::new(capacity_bytes)?,
            chunks: Reserved::new(count)?,
            with_room: [0; 5],
            warm: 0,
            warm_count: 0,
            cold: 0,
            fresh: 0,
            stats: BlockStats {
                capacity_bytes,
                ..BlockStats::default()
            },
        })
    }

    /// Takes a block of a class, with whatever bytes its last holder left, or `None` when the
    /// cap is reached.
    pub fn alloc(&mut self, class: BlockClass) -> Option<BlockId> {
        let number = match self.with_room[class as usize] {
            0 => match self.take_chunk(class) {
                Some(number) => number,
                None => {
                    self.stats.refused += 1;
                    return None;
                }
            },
            number => number,
        };
        let chunk = &mut self.chunks[number as usize - 1];
        let word = chunk.live.iter().position(|word| *word != u64::MAX)?;
        let bit = chunk.live[word].trailing_ones();
        chunk.live[word] |= 1 << bit;
        chunk.count += 1;
        if usize::from(chunk.count) == class.per_chunk() {
            self.unlink(number, class);
        }
        self.stats.live[class as usize] += 1;
        self.stats.live_bytes += class.bytes();
        Some(BlockId::new(
            number as usize - 1,
            class,
            word * 64 + bit as usize,
        ))
    }

    /// Gives a block back.
    ///
    /// # Panics
    /// When the block is free: two holders of one block are a programming error.
    pub fn free(&mut self, block: BlockId) {
        assert!(self.is_live(block), "block {} is free", block.to_u32());
        let class = self.class_of(block);
        let number = block.chunk() as u32 + 1;
        let index = block_index(block, class);
        let chunk = &mut self.chunks[block.chunk()];
        let was_full = usize::from(chunk.count) == class.per_chunk();
        chunk.live[index / 64] &= !(1 << (index % 64));
        chunk.count -= 1;
        let is_empty = chunk.count == 0;
        self.stats.live[class as usize] -= 1;
        self.stats.live_bytes -= class.bytes();
        if is_empty {
            if !was_full {
                self.unlink(number, class);
            }
            self.chunks[block.chunk()].next = self.warm;
            self.warm = number;
            self.warm_count += 1;
            self.stats.held_bytes -= CHUNK_BYTES;
        } else if was_full {
            self.link(number, class);
        }
    }

    /// The bytes of a block.
    #[must_use]
    pub fn bytes(&self, block: BlockId) -> &[u8] {
        debug_assert!(self.is_live(block), "block {} is free", block.to_u32());
        let length = self.class_of(block).bytes();
        // SAFETY: the block lies inside the mapping (`pointer` checks), its bytes are
        // initialised since the mapping starts zeroed, and `&self` excludes `bytes_mut`.
        unsafe { std::slice::from_raw_parts(self.pointer(block).as_ptr(), length) }
    }

    /// The bytes of a block to write.
    #[must_use]
    pub fn bytes_mut(&mut self, block: BlockId) -> &mut [u8] {
        debug_assert!(self.is_live(block), "block {} is free", block.to_u32());
        let length = self.class_of(block).bytes();
        // SAFETY: as in `bytes`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(block).as_ptr(), length) }
    }

    /// The class of a block.
    #[must_use]
    pub fn class_of(&self, block: BlockId) -> BlockClass {
        BlockClass::ALL[usize::from(self.chunks[block.chunk()].class)]
    }

    /// What the pool holds now.
    #[must_use]
    pub fn stats(&self) -> BlockStats {
        self.stats
    }

    /// Gives the pages of unused chunks back to the kernel, except for `keep` of them, which
    /// spares the next burst its page faults. One system call a chunk, at most `limit` now.
    /// Returns how many bytes went back.
    pub fn give_back(&mut self, keep: usize, limit: usize) -> usize {
        let surplus = self.warm_count.saturating_sub(keep).min(limit);
        for _ in 0..surplus {
            let number = self.warm;
            let index = number as usize - 1;
            self.warm = self.chunks[index].next;
            self.mapping.discard(index * CHUNK_BYTES, CHUNK_BYTES);
            self.chunks[index].next = self.cold;
            self.cold = number;
        }
        self.warm_count -= surplus;
        surplus * CHUNK_BYTES
    }

    /// The first byte of a block. The pool itself never touches the bytes of a live block.
    pub(super) fn pointer(&self, block: BlockId) -> NonNull<u8> {
        assert!(
            block.chunk() < self.chunks.capacity(),
            "block of another pool"
        );
        // SAFETY: the chunk is inside the mapping (checked above) and a block is inside it.
        unsafe { self.mapping.start().add(block.offset()) }
    }

    fn is_live(&self, block: BlockId) -> bool {
        let Some(chunk) = self.chunks.get(block.chunk()) else {
            return false;
        };
        let index = block_index(block, BlockClass::ALL[usize::from(chunk.class)]);
        chunk.live[index / 64] & (1 << (index % 64)) != 0
    }

    /// A chunk that no class holds, now held by `class` and linked as having room.
    fn take_chunk(&mut self, class: BlockClass) -> Option<u32> {
        let number = if self.warm != 0 {
            let number = self.warm;
            self.warm = self.chunks[number as usize - 1].next;
            self.warm_count -= 1;
            number
        } else if self.cold != 0 {
            let number = self.cold;
            self.cold = self.chunks[number as usize - 1].next;
            number
        } else if self.fresh < self.chunks.capacity() {
            self.fresh += 1;
            self.fresh as u32
        } else {
            return None;
        };
        let chunk = &mut self.chunks[number as usize - 1];
        debug_assert!(chunk.count == 0 && chunk.live == [0; LIVE_WORDS]);
        chunk.class = class as u8;
        self.link(number, class);
        self.stats.held_bytes += CHUNK_BYTES;
        Some(number)
    }

    fn link(&mut self, number: u32, class: BlockClass) {
        let first = std::mem::replace(&mut self.with_room[class as usize], number);
        if first != 0 {
            self.chunks[first as usize - 1].previous = number;
        }
        let chunk = &mut self.chunks[number as usize - 1];
        (chunk.next, chunk.previous) = (first, 0);
    }

    fn unlink(&mut self, number: u32, class: BlockClass) {
        let Chunk { next, previous, .. } = self.chunks[number as usize - 1];
        match previous {
            0 => self.with_room[class as usize] = next,
            _ => self.chunks[previous as usize - 1].next = next,
        }
        if next != 0 {
            self.chunks[next as usize - 1].previous = previous;
        }
    }
}

/// Which block of its chunk a block is.
fn block_index(block: BlockId, class: BlockClass) -> usize {
    block.unit() % UNITS_PER_CHUNK / (class.bytes() / BLOCK_UNIT_BYTES)
}

impl std::fmt::Debug for BlockPool {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("BlockPool")
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
