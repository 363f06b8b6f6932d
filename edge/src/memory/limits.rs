//! Limits of the memory structures, each with its reason.

use super::BlockClass;
use std::mem::size_of;

/// Largest single reservation, in bytes: 64 GiB is beyond any sensible setting and far below
/// the 128 TiB of address space of a process, so a larger request is a mistake.
pub const RESERVED_BYTES_MAX: usize = 64 << 30;

/// Most slots of a slab: as many 32 B records as one reservation holds, with an index to
/// spare for the end of the free list.
pub const SLAB_SLOTS_MAX: usize = RESERVED_BYTES_MAX / 32;

const _: () = assert!(
    size_of::<usize>() == 8,
    "the reservations need a 64-bit address space"
);

/// The unit of blocks, in bytes: the smallest class.
pub const BLOCK_UNIT_BYTES: usize = 256;

/// The largest block, in bytes, and the unit in which classes take memory from a pool: a frame
/// of 64 KiB, the default cap for a client, with 4 KiB of room for what the server adds to it
/// (channel, publisher, positions, headers). A multiple of the page size.
pub const CHUNK_BYTES: usize = 68 << 10;

/// Largest byte cap of one block pool: block names are 32-bit counts of units.
pub const BLOCK_POOL_BYTES_MAX: usize = RESERVED_BYTES_MAX;

const _: () = assert!(
    CHUNK_BYTES.is_multiple_of(4096),
    "whole pages can be given back"
);
const _: () = assert!(BLOCK_POOL_BYTES_MAX / BLOCK_UNIT_BYTES < u32::MAX as usize);

/// Largest frame of a channel log, in bytes: a chunk without the block's header and entry.
pub const LOG_FRAME_BYTES_MAX: usize = CHUNK_BYTES - 64;

/// Blocks of a log grow to this class only: one contiguous send of 16 KiB is all that the
/// socket's low-water mark lets out at once.
pub const LOG_BLOCK_CLASS_MAX: BlockClass = BlockClass::K16;

/// Largest frame between threads, in bytes: a chunk without the frame's header.
pub const FRAME_POOL_BYTES_MAX: usize = CHUNK_BYTES - 32;

/// A frame pool looks at its return stack after this many frames taken: often enough that a
/// burst reuses warm blocks, seldom enough that the stack's cache line stays with the readers.
pub const FRAME_RETURN_INTERVAL: u32 = 32;

/// Last values of one conflated channel: a document or a room with so many people shows one value
/// each, and more would not be looked at. Finding the first one to give walks over all of them.
pub const VALUES_PER_CHANNEL_MAX: u32 = 1_024;

/// Old values that go to make room for a new one. Blocks of another size become free only with
/// their whole chunk, and one event must not pay for emptying many.
pub const EVICTIONS_PER_VALUE_MAX: usize = 8;
