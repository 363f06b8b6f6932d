//! The receive buffers that a ring provides to the kernel.
//!
//! **Invariants.** Entry `i` of the kernel's buffer ring always holds buffer `i`, and buffer `i`
//! lies at `i * BUFFER_BYTES`. The kernel consumes entries in ring order, and buffers go back in
//! ring order too (one that is still in use holds back those behind it), so a receive that spans
//! several buffers spans neighbours, and the mirrored mapping makes them one slice also across
//! the end. The order is asserted with each receive.
//!
//! **Limits.** All memory exists from the start; nothing grows.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use io_uring::Submitter;

use super::mapping::{page_bytes, Mapping};
use crate::limits::BUFFER_BYTES;

/// The only buffer group of a ring.
pub(crate) const GROUP: u16 = 0;

/// The buffers of one ring.
pub(crate) struct Buffers {
    memory: Mapping,
    entries: Mapping,
    count: u16,
    /// Entries given to the kernel since the start, modulo 2^16.
    tail: u16,
    /// Consumed buffers that have not gone back.
    outstanding: u16,
    /// One bit a buffer: the kernel reported it consumed and it has not gone back.
    consumed: Box<[u64]>,
}

impl Buffers {
    /// Maps and touches the memory and hands all buffers to the kernel.
    pub(crate) fn new(submitter: &Submitter<'_>, count: u16) -> io::Result<Self> {
        let memory = Mapping::mirrored(usize::from(count) * BUFFER_BYTES as usize)?;
        let entry_bytes = usize::from(count) * std::mem::size_of::<BufRingEntry>();
        let entries = Mapping::touched(entry_bytes.next_multiple_of(page_bytes()))?;
        // SAFETY: the entries are page aligned, hold `count` entries, and live as long as the
        // ring: the owner drops the ring before its buffers.
        unsafe {
            submitter.register_buf_ring_with_flags(
                entries.start().as_ptr() as u64,
                count,
                GROUP,
                0,
            )?;
        }
        let consumed = vec![0; usize::from(count).div_ceil(64)].into_boxed_slice();
        let mut buffers = Self {
            memory,
            entries,
            count,
            tail: 0,
            outstanding: 0,
            consumed,
        };
        for _ in 0..count {
            buffers.give_next();
        }
        buffers.publish();
        Ok(buffers)
    }

    /// Marks the buffers of a completion consumed and answers the offset of its first byte.
    ///
    /// # Panics
    /// When the kernel named a buffer that it did not own: then bytes of two connections would
    /// mix, and going on is not safe.
    pub(crate) fn take(&mut self, first: u16, bytes: u32) -> u32 {
        let spanned = bytes.div_ceil(BUFFER_BYTES).max(1);
        assert!(first < self.count && spanned <= u32::from(self.count));
        for step in 0..spanned {
            let buffer = usize::from(first.wrapping_add(step as u16) & (self.count - 1));
            let bit = 1 << (buffer % 64);
            assert!(
                self.consumed[buffer / 64] & bit == 0,
                "buffer {buffer} consumed twice"
            );
            self.consumed[buffer / 64] |= bit;
        }
        self.outstanding += spanned as u16;
        u32::from(first) * BUFFER_BYTES
    }

    /// Gives consumed buffers back in ring order; answers how many.
    pub(crate) fn give_back(&mut self) -> u16 {
        let mut given = 0;
        while self.outstanding > 0 {
            let buffer = usize::from(self.tail & (self.count - 1));
            let bit = 1 << (buffer % 64);
            if self.consumed[buffer / 64] & bit == 0 {
                break;
            }
            self.consumed[buffer / 64] &= !bit;
            self.outstanding -= 1;
            self.give_next();
            given += 1;
        }
        if given > 0 {
            self.publish();
        }
        given
    }

    /// All buffers of the ring.
    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    /// Buffers that are not known to be consumed.
    pub(crate) fn available(&self) -> u16 {
        self.count - self.outstanding
    }

    /// Bytes at an offset that [`Self::take`] answered.
    ///
    /// # Panics
    /// When the range leaves the memory.
    pub(crate) fn bytes_mut(&mut self, offset: u32, len: u32) -> &mut [u8] {
        let half = u32::from(self.count) * BUFFER_BYTES;
        assert!(offset < half && len <= half);
        // SAFETY: the mapping is `2 * half` long. The buffers of the range are consumed and have
        // not gone back, so the kernel does not write to them, and the borrow of `self` makes
        // the slice the only one; a range of at most `half` bytes shows no page twice.
        unsafe {
            let start = self.memory.start().as_ptr().add(offset as usize);
            std::slice::from_raw_parts_mut(start, len as usize)
        }
    }

    fn give_next(&mut self) {
        let buffer = self.tail & (self.count - 1);
        let address =
            self.memory.start().as_ptr() as u64 + u64::from(buffer) * u64::from(BUFFER_BYTES);
        // SAFETY: the index is below `count`, for which the memory was mapped, and the kernel
        // does not read this entry before the tail moves past it.
        let entry = unsafe { &mut *self.first_entry().as_ptr().add(usize::from(buffer)) };
        entry.set_addr(address);
        // Some kernels shorten the length of an entry of which a receive used only a part.
        entry.set_len(BUFFER_BYTES);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        // SAFETY: the pointer is to the first entry, whose reserved field is the ring's tail by
        // definition of the interface; it is aligned and lives as long as `self`. The kernel
        // reads it concurrently, hence the atomic store, which orders the entries before it.
        unsafe {
            let tail = BufRingEntry::tail(self.first_entry().as_ptr()).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }

    fn first_entry(&self) -> NonNull<BufRingEntry> {
        self.entries.start().cast()
    }
}
