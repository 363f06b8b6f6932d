//! The name of a connection inside a kernel: ring, slot and generation.
//!
//! **Invariants.** The name fits in 56 bits, so that it fits beside an operation code in the 64
//! bits of user data that io_uring carries through an operation. The generation of a slot changes
//! each time the slot is closed and is never zero, so zeroed memory reads as
//! [`SocketId::NONE`].
//!
//! **Limits.** 256 rings, 2^24 slots a ring; a name repeats after 2^24 - 1 uses of its slot.

use std::fmt;

/// Bits of the slot number.
pub const SLOT_BITS: u32 = 24;
/// Bits of the generation.
pub const GENERATION_BITS: u32 = 24;
/// Largest slot number and largest generation.
pub const FIELD_MASK: u32 = (1 << SLOT_BITS) - 1;

/// A connection: ring (8 bits), generation (24 bits), slot (24 bits), from high to low.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(u64);

impl SocketId {
    /// No connection. No kernel ever gives this name.
    pub const NONE: Self = Self(0);

    /// Builds a name from its parts. Bits above 24 of `generation` and `slot` are cut off.
    #[must_use]
    pub const fn new(ring: u8, generation: u32, slot: u32) -> Self {
        let generation = (generation & FIELD_MASK) as u64;
        let slot = (slot & FIELD_MASK) as u64;
        Self(((ring as u64) << (GENERATION_BITS + SLOT_BITS)) | (generation << SLOT_BITS) | slot)
    }

    /// The ring in which the connection lives.
    #[must_use]
    pub const fn ring(self) -> u8 {
        (self.0 >> (GENERATION_BITS + SLOT_BITS)) as u8
    }

    /// The number of the slot's current use, 1 to 2^24 - 1.
    #[must_use]
    pub const fn generation(self) -> u32 {
        (self.0 >> SLOT_BITS) as u32 & FIELD_MASK
    }

    /// The direct-descriptor slot inside the ring.
    #[must_use]
    pub const fn slot(self) -> u32 {
        self.0 as u32 & FIELD_MASK
    }

    /// The name as a number below 2^56.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The inverse of [`Self::as_u64`]. Bits above 56 are cut off.
    #[must_use]
    pub const fn from_u64(bits: u64) -> Self {
        Self(bits & ((1 << (8 + GENERATION_BITS + SLOT_BITS)) - 1))
    }
}

impl fmt::Debug for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}#{}", self.ring(), self.slot(), self.generation())
    }
}

impl Default for SocketId {
    fn default() -> Self {
        Self::NONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_survive_the_round_trip_at_their_extremes() {
        for ring in [0, 1, 63, 255] {
            for generation in [1, 77, FIELD_MASK] {
                for slot in [0, 19_999, FIELD_MASK] {
                    let id = SocketId::new(ring, generation, slot);
                    assert_eq!(
                        (id.ring(), id.generation(), id.slot()),
                        (ring, generation, slot)
                    );
                    assert_eq!(SocketId::from_u64(id.as_u64()), id);
                    assert!(id.as_u64() < 1 << 56);
                    assert_ne!(id, SocketId::NONE);
                }
            }
        }
    }
}
