//! Limits of the memory structures, each with its reason.

use std::mem::size_of;

/// Largest single reservation, in bytes: 64 GiB is beyond any sensible setting and far below
/// the 128 TiB of address space of a process, so a larger request is a mistake.
pub const RESERVED_BYTES_MAX: usize = 64 << 30;

/// Most slots of a slab: indices stay below 2^24, the width of a slot number in the identity
/// of a connection and in the links of the timer wheel.
pub const SLAB_SLOTS_MAX: usize = (1 << 24) - 1;

const _: () = assert!(
    size_of::<usize>() == 8,
    "the reservations need a 64-bit address space"
);
