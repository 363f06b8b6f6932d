//! Writes and data syncs of files.
//!
//! **Invariants.** A write is a plain `pwrite` at once: ext4 takes no buffered write without
//! waiting, so the ring would give each to a worker thread, and a record would wait for that
//! thread's turn on the core. A sync waits for the disk and is an operation of the ring. The
//! order of the two is the caller's affair, who starts a sync after the write.
//!
//! **Limits.** One table entry for each sync under way; the table keeps its size.
//!
//! `unsafe` stands here for the write, which reads a vector, and for pushing entries.

use std::os::fd::RawFd;

use io_uring::{opcode, types};

use super::EdgeRing;
use crate::event::Event;
use crate::operation::{Operation, Tag};

/// The syncs under way, by the caller's token.
#[derive(Default)]
pub(super) struct Files {
    tokens: Vec<Option<u64>>,
    free: Vec<u32>,
}

impl Files {
    fn begin(&mut self, token: u64) -> u32 {
        if let Some(index) = self.free.pop() {
            self.tokens[index as usize] = Some(token);
            return index;
        }
        self.tokens.push(Some(token));
        self.tokens.len() as u32 - 1
    }

    pub(super) fn complete(&mut self, index: u32, result: i32) -> Option<Event> {
        let token = self.tokens.get_mut(index as usize)?.take()?;
        self.free.push(index);
        Some(Event::Synced { token, result })
    }
}

impl EdgeRing {
    pub(super) fn write_file(
        &mut self,
        descriptor: RawFd,
        offset: u64,
        buffer: Vec<u8>,
        token: u64,
    ) {
        self.counters.writes += 1;
        let result = write_at(descriptor, offset, &buffer);
        self.pending.push_back(Event::Written {
            token,
            result,
            buffer,
        });
    }

    pub(super) fn sync_file(&mut self, descriptor: RawFd, token: u64) {
        self.counters.syncs += 1;
        let index = self.files.begin(token);
        let entry = opcode::Fsync::new(types::Fd(descriptor))
            .flags(types::FsyncFlags::DATASYNC)
            .build()
            .user_data(Tag::numbered(Operation::Sync, 0, index).bits());
        // SAFETY: a sync points at no memory.
        unsafe { self.rings[0].push(&entry, &mut self.counters) };
    }
}

/// Bytes written, or a negative errno.
fn write_at(descriptor: RawFd, offset: u64, bytes: &[u8]) -> i32 {
    let offset = i64::try_from(offset).unwrap_or(i64::MAX);
    loop {
        // SAFETY: the call reads the bytes that it is given and keeps nothing.
        let written =
            unsafe { libc::pwrite(descriptor, bytes.as_ptr().cast(), bytes.len(), offset) };
        if written >= 0 {
            // The kernel writes at most 2 GiB at once; the caller sees how far it came.
            return i32::try_from(written).unwrap_or(i32::MAX);
        }
        let errno = std::io::Error::last_os_error().raw_os_error();
        if errno != Some(libc::EINTR) {
            return -errno.unwrap_or(libc::EIO);
        }
    }
}
