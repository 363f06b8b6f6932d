//! `Slab<T>`: records named by a `u32` index, in reserved memory.
//!
//! Purpose: connections, sessions and subscriptions by the hundred thousand, without a
//! pointer, an allocation or a tag for each.
//!
//! Invariants: an index stays with its record until it is removed; the index freed last is
//! given out first, so that hot pages stay hot; a free slot holds the link of the free list in
//! the record's own bytes. One bit a slot says whether it is live, and every access checks it,
//! because reading a free slot as a record would be undefined behaviour.
//!
//! Cost: `max(size_of::<T>(), 4)` bytes and one bit a slot.
//!
//! `unsafe` stands here because a slot is either a record or a link, without a tag.
//!
//! Runs on: the shard thread that owns it.

use super::limits::SLAB_SLOTS_MAX;
use super::prefetch::prefetch;
use super::reserved::Reserved;
use super::MemoryError;
use std::fmt;
use std::mem::{needs_drop, size_of, ManuallyDrop, MaybeUninit};
use std::ops::{Index, IndexMut};

/// The end of the free list. No slot has this index.
const END: u32 = u32::MAX;

const _: () = assert!(SLAB_SLOTS_MAX < END as usize);
const _: () = assert!(
    size_of::<Slot<[u64; 8]>>() == 64,
    "a 64 B record has no overhead"
);
const _: () = assert!(
    size_of::<Slot<[u32; 8]>>() == 32,
    "a 32 B record has no overhead"
);

union Slot<T> {
    record: ManuallyDrop<T>,
    next_free: u32,
}

/// Records of one type by index, at most `capacity` of them.
pub struct Slab<T> {
    slots: Reserved<MaybeUninit<Slot<T>>>,
    /// One bit a slot, set while the slot holds a record.
    live: Reserved<u64>,
    free: u32,
    /// Slots from here on were never used.
    fresh: u32,
    len: u32,
}

impl<T> Slab<T> {
    /// Reserves `capacity` slots and touches none.
    ///
    /// # Errors
    /// When the address space is refused or `capacity` exceeds the index type.
    pub fn new(capacity: usize) -> Result<Self, MemoryError> {
        if capacity > SLAB_SLOTS_MAX {
            return Err(MemoryError::TooLarge {
                capacity,
                limit: SLAB_SLOTS_MAX,
            });
        }
        let slots = Reserved::new(capacity)?;
        let live = Reserved::new(capacity.div_ceil(64))?;
        Ok(Self {
            slots,
            live,
            free: END,
            fresh: 0,
            len: 0,
        })
    }

    /// Stores a record and returns its index, or `None` when every slot is taken (the record
    /// is then dropped; ask `is_full` first where that matters).
    pub fn insert(&mut self, record: T) -> Option<u32> {
        let index = if self.free != END {
            let index = self.free;
            // SAFETY: a slot on the free list was written as a link when it was freed.
            self.free = unsafe { self.slots[index as usize].assume_init_ref().next_free };
            index
        } else if (self.fresh as usize) < self.slots.capacity() {
            self.fresh += 1;
            self.fresh - 1
        } else {
            return None;
        };
        self.slots[index as usize].write(Slot {
            record: ManuallyDrop::new(record),
        });
        self.live[index as usize / 64] |= 1 << (index % 64);
        self.len += 1;
        if index + 1 == self.fresh {
            self.slots.fill(self.fresh as usize);
        }
        Some(index)
    }

    /// Takes a record out and frees its slot.
    ///
    /// # Panics
    /// When the slot is free: a stale index is a programming error.
    pub fn remove(&mut self, index: u32) -> T {
        self.assert_live(index);
        let slot = &mut self.slots[index as usize];
        // SAFETY: the slot is live (checked above), so it holds a record; its bit is cleared
        // below, so the record is moved out exactly once.
        let record = unsafe { ManuallyDrop::take(&mut slot.assume_init_mut().record) };
        slot.write(Slot {
            next_free: self.free,
        });
        self.free = index;
        self.live[index as usize / 64] &= !(1 << (index % 64));
        self.len -= 1;
        record
    }

    /// The record, or `None` when the slot is free or the index is out of range.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<&T> {
        if !self.contains(index) {
            return None;
        }
        // SAFETY: the slot is live (checked above), so it holds a record.
        Some(unsafe { &self.slots[index as usize].assume_init_ref().record })
    }

    /// The record to change, or `None` when the slot is free or the index is out of range.
    #[must_use]
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        if !self.contains(index) {
            return None;
        }
        // SAFETY: the slot is live (checked above), so it holds a record.
        Some(unsafe { &mut self.slots[index as usize].assume_init_mut().record })
    }

    /// Whether the slot holds a record.
    #[must_use]
    pub fn contains(&self, index: u32) -> bool {
        index < self.fresh && self.live[index as usize / 64] & (1 << (index % 64)) != 0
    }

    /// Asks the processor for a record that will be read soon; any index will do.
    #[inline(always)]
    pub fn prefetch(&self, index: u32) {
        if let Some(slot) = self.slots.get(index as usize) {
            prefetch(slot);
        }
    }

    /// How many records are stored.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether no record is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the next insert would fail.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// How many records fit.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    /// The first live index at or after `from`: a walk that may stop and go on in a later
    /// turn, whatever was inserted or removed meanwhile.
    #[must_use]
    pub fn next_live(&self, from: u32) -> Option<u32> {
        if from >= self.fresh {
            return None;
        }
        let words = (self.fresh as usize).div_ceil(64);
        let mut word = from as usize / 64;
        let mut bits = self.live[word] & (u64::MAX << (from % 64));
        while bits == 0 {
            word += 1;
            if word == words {
                return None;
            }
            bits = self.live[word];
        }
        Some(word as u32 * 64 + bits.trailing_zeros())
    }

    /// All records in the order of their indices.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let index = self.next_live(from)?;
            from = index + 1;
            Some((index, &self[index]))
        })
    }

    fn assert_live(&self, index: u32) {
        assert!(self.contains(index), "slot {index} is free");
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    /// The record of a live slot.
    ///
    /// # Panics
    /// When the slot is free: a stale index is a programming error.
    fn index(&self, index: u32) -> &T {
        self.assert_live(index);
        // SAFETY: the slot is live (checked above), so it holds a record.
        unsafe { &self.slots[index as usize].assume_init_ref().record }
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        self.assert_live(index);
        // SAFETY: the slot is live (checked above), so it holds a record.
        unsafe { &mut self.slots[index as usize].assume_init_mut().record }
    }
}

impl<T> Drop for Slab<T> {
    fn drop(&mut self) {
        if !needs_drop::<T>() {
            return;
        }
        let mut from = 0;
        while let Some(index) = self.next_live(from) {
            drop(self.remove(index));
            from = index + 1;
        }
    }
}

impl<T> fmt::Debug for Slab<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Slab")
            .field("len", &self.len)
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}
