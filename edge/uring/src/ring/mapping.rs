//! Memory that the kernel writes into, owned as a mapping.
//!
//! **Invariants.** A mapping is page aligned, zeroed at first and unmapped when dropped. A
//! mirrored mapping shows the same pages twice, back to back, so that a range that runs over the
//! end continues at the start without a copy.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};

/// A range of mapped memory.
pub(crate) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    /// Private memory whose pages exist only after their first use.
    pub(crate) fn lazy(bytes: usize) -> io::Result<Self> {
        Self::anonymous(
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_NORESERVE,
        )
    }

    /// Private memory whose pages exist at once.
    pub(crate) fn touched(bytes: usize) -> io::Result<Self> {
        Self::anonymous(
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_POPULATE,
        )
    }

    /// `bytes` of memory (a multiple of the page size), visible at offset 0 and again at offset
    /// `bytes`. Its pages exist at once.
    pub(crate) fn mirrored(bytes: usize) -> io::Result<Self> {
        if bytes == 0 || !bytes.is_multiple_of(page_bytes()) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let memory = memory_file(bytes)?;
        let whole = Self::anonymous(2 * bytes, libc::PROT_NONE, libc::MAP_NORESERVE)?;
        for half in [0, bytes] {
            // SAFETY: the target range lies inside `whole`, which nobody else uses yet, so
            // replacing its pages is sound; the descriptor is open and `bytes` long.
            let answer = unsafe {
                libc::mmap(
                    whole.start.as_ptr().add(half).cast::<c_void>(),
                    bytes,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_SHARED | libc::MAP_FIXED | libc::MAP_POPULATE,
                    memory.as_raw_fd(),
                    0,
                )
            };
            if answer == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(whole)
    }

    fn anonymous(bytes: usize, protection: i32, flags: i32) -> io::Result<Self> {
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no memory
        // that is in use.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                protection,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast::<u8>())
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        Ok(Self { start, bytes })
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by this value and no reference into it outlives it: all
        // are borrowed from its owner.
        let answer = unsafe { libc::munmap(self.start.as_ptr().cast::<c_void>(), self.bytes) };
        debug_assert_eq!(answer, 0, "unmapping an own mapping cannot fail");
    }
}

/// The page size in bytes.
pub(crate) fn page_bytes() -> usize {
    // SAFETY: the call reads a constant of the system.
    let answer = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(answer).unwrap_or(4096)
}

fn memory_file(bytes: usize) -> io::Result<OwnedFd> {
    // SAFETY: the name is a static string that ends with zero; the answer is checked.
    let descriptor =
        unsafe { libc::memfd_create(c"interlink-buffers".as_ptr(), libc::MFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just created and nobody else owns it.
    let memory = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let length =
        libc::off_t::try_from(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: the descriptor is open; the call touches no memory.
    if unsafe { libc::ftruncate(memory.as_raw_fd(), length) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirrored_mapping_shows_the_same_byte_twice() {
        let bytes = page_bytes();
        let mapping = Mapping::mirrored(bytes).expect("one page must be available");
        // SAFETY: both offsets lie inside the mapping, which only this test uses.
        unsafe {
            let start = mapping.start().as_ptr();
            start.add(bytes - 1).write_volatile(7);
            start.add(bytes).write_volatile(9);
            assert_eq!(start.add(2 * bytes - 1).read_volatile(), 7);
            assert_eq!(start.read_volatile(), 9);
        }
    }

    #[test]
    fn a_mirror_of_part_of_a_page_is_refused() {
        assert!(Mapping::mirrored(page_bytes() / 2).is_err());
        assert!(Mapping::mirrored(0).is_err());
    }
}
