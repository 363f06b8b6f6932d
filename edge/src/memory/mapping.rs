//! One anonymous private mapping, released on drop.
//!
//! Invariants: the range starts zeroed, stays at one address, and is never executable. Pages
//! become resident on first touch, as small ones, since one touched byte should not make 2 MiB
//! resident. What is in use all over may be turned into huge pages: a message touches records in
//! a dozen places, and each would cost a walk through the page tables.
//!
//! `unsafe` stands here because a mapping is raw memory; the owners above give it types.
//!
//! Runs on: any thread; the owner decides who touches the bytes.

use super::MemoryError;
use std::ptr::NonNull;

/// Size of a huge page.
const HUGE_PAGE: usize = 2 * 1024 * 1024;

/// A range of reserved address space.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a mapping is plain memory with one owner and no tie to the thread that made it.
unsafe impl Send for Mapping {}
// SAFETY: shared access gives out a pointer only; the owners above guard what is read.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Reserves `bytes` (rounded up to whole pages by the kernel) without committing them.
    pub(super) fn new(bytes: usize) -> Result<Self, MemoryError> {
        if bytes == 0 {
            // The alignment of a page keeps the pointer valid for every element type.
            let start = NonNull::<Page>::dangling().cast();
            return Ok(Self { start, bytes });
        }
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: an anonymous mapping at an address that the kernel chooses touches no
        // memory of ours, and every argument is a plain value.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(MemoryError::Map {
                bytes,
                errno: last_errno(),
            });
        }
        let Some(start) = NonNull::new(address.cast::<u8>()) else {
            return Err(MemoryError::Map {
                bytes,
                errno: libc::ENOMEM,
            });
        };
        // SAFETY: the range is the mapping made above. The advice changes residency only, and
        // a kernel without huge pages refuses it, which is as good.
        unsafe { libc::madvise(address, bytes, libc::MADV_NOHUGEPAGE) };
        Ok(Self { start, bytes })
    }

    /// The first byte.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// The bytes before `end` are in use, `step` more than last time: when they have filled a
    /// huge page, it becomes one. The kernel copies it, once for each; it may decline.
    pub(super) fn fill(&mut self, end: usize, step: usize) {
        let start = self.start.as_ptr() as usize;
        let full = (start + end) / HUGE_PAGE;
        if (start + end - step) / HUGE_PAGE == full || (full - 1) * HUGE_PAGE < start {
            return;
        }
        let offset = (full - 1) * HUGE_PAGE - start;
        assert!(offset + HUGE_PAGE <= self.bytes, "outside the mapping");
        // SAFETY: the range lies inside this mapping (checked above); both calls change the
        // size of its pages and no byte in them.
        unsafe {
            let address = self.start.as_ptr().add(offset).cast();
            libc::madvise(address, HUGE_PAGE, libc::MADV_HUGEPAGE);
            libc::madvise(address, HUGE_PAGE, libc::MADV_COLLAPSE);
        }
    }

    /// Gives the pages of a range back; they read as zero afterwards (madvise(2)).
    ///
    /// The caller owns the bytes of the range and keeps no reference into it.
    pub(super) fn discard(&mut self, offset: usize, bytes: usize) {
        assert!(
            offset <= self.bytes && bytes <= self.bytes - offset,
            "outside the mapping"
        );
        // SAFETY: the range lies inside this mapping (checked above), `&mut self` excludes
        // other users of the mapping itself, and zero pages are valid contents for it.
        unsafe {
            let address = self.start.as_ptr().add(offset);
            libc::madvise(address.cast(), bytes, libc::MADV_DONTNEED);
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        // SAFETY: the range was mapped by `new`, is unmapped once, and every pointer into it
        // is gone with its owner.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

#[repr(align(4096))]
struct Page;

fn last_errno() -> i32 {
    std::io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::ENOMEM)
}
