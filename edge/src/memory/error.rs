//! What can go wrong when memory is reserved. It happens at start only.

use thiserror::Error;

/// A reservation that the kernel or a limit refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MemoryError {
    /// `mmap` refused the range (mmap(2), ENOMEM or EPERM).
    #[error(
        "cannot reserve {bytes} bytes of address space (errno {errno}): raise `ulimit -v`, set \
         vm.overcommit_memory to 0 or 1, or lower max_sessions"
    )]
    Map {
        /// How many bytes were asked for.
        bytes: usize,
        /// The error number of `mmap`.
        errno: i32,
    },
    /// The size overflows the address space or the index type.
    #[error("a capacity of {capacity} elements is too large: at most {limit} are possible")]
    TooLarge {
        /// How many elements were asked for.
        capacity: usize,
        /// How many the index type can name.
        limit: usize,
    },
}
