//! `Reserved<T>`: an array of fixed capacity that is touched only when used.
//!
//! Purpose: tables sized for the largest configured number of sessions cost address space at
//! start and memory only for the elements in use.
//!
//! Invariants: the capacity never changes, elements never move, every element reads as zero
//! before it is written, and element destructors never run (`Slab` runs them for its records).
//!
//! `unsafe` stands here because the mapping is raw memory that this type gives a shape.
//!
//! Runs on: the thread that owns the value; it may be built elsewhere and moved there.

use super::limits::RESERVED_BYTES_MAX;
use super::mapping::Mapping;
use super::MemoryError;
use std::marker::PhantomData;
use std::mem::{align_of, needs_drop, size_of, MaybeUninit};
use std::ops::{Deref, DerefMut};

/// A type for which memory full of zeros is a valid value.
///
/// # Safety
/// The implementer promises that all-zero bytes are a valid value of the type.
pub unsafe trait Zeroed {}

macro_rules! zeroed {
    ($($name:ty),* $(,)?) => {
        // SAFETY: every bit pattern of an integer is a value, and zero bytes are `false`.
        $(unsafe impl Zeroed for $name {})*
    };
}

zeroed!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, bool);

// SAFETY: `MaybeUninit` accepts any bytes, initialised or not.
unsafe impl<T> Zeroed for MaybeUninit<T> {}
// SAFETY: an array is its elements side by side, and each accepts zeros.
unsafe impl<T: Zeroed, const N: usize> Zeroed for [T; N] {}
// SAFETY: the padding of a pair may hold anything and both fields accept zeros.
unsafe impl<A: Zeroed, B: Zeroed> Zeroed for (A, B) {}

/// An array of `capacity` elements in its own mapping; use it as a slice.
#[derive(Debug)]
pub struct Reserved<T: Zeroed> {
    mapping: Mapping,
    capacity: usize,
    elements: PhantomData<T>,
}

// SAFETY: the array owns its elements, so it may move wherever they may.
unsafe impl<T: Zeroed + Send> Send for Reserved<T> {}
// SAFETY: shared access to the array gives shared access to its elements only.
unsafe impl<T: Zeroed + Sync> Sync for Reserved<T> {}

impl<T: Zeroed> Reserved<T> {
    /// Reserves room for `capacity` elements, all zero, none resident.
    ///
    /// # Errors
    /// `Map` when the kernel refuses the address space, `TooLarge` when the size is beyond
    /// the limit of one reservation.
    pub fn new(capacity: usize) -> Result<Self, MemoryError> {
        const {
            assert!(!needs_drop::<T>(), "elements of Reserved are never dropped");
            assert!(align_of::<T>() <= 4096, "a mapping starts at a page");
        }
        let limit = RESERVED_BYTES_MAX / size_of::<T>().max(1);
        if capacity > limit {
            return Err(MemoryError::TooLarge { capacity, limit });
        }
        let mapping = Mapping::new(capacity * size_of::<T>())?;
        Ok(Self {
            mapping,
            capacity,
            elements: PhantomData,
        })
    }

    /// The first `count` elements are in use, and one more than last time: memory that they fill
    /// is turned into huge pages.
    pub fn fill(&mut self, count: usize) {
        let size = size_of::<T>();
        self.mapping.fill(count * size, size);
    }

    /// The number of elements, used or not.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }
}

impl<T: Zeroed> Deref for Reserved<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let start = self.mapping.start().cast::<T>().as_ptr();
        // SAFETY: the mapping holds `capacity` elements, is aligned to a page, reads as zero
        // where nothing was written (valid by `Zeroed`), and is borrowed from `self`.
        unsafe { std::slice::from_raw_parts(start, self.capacity) }
    }
}

impl<T: Zeroed> DerefMut for Reserved<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let start = self.mapping.start().cast::<T>().as_ptr();
        // SAFETY: as in `deref`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(start, self.capacity) }
    }
}
