//! Writes and data syncs of files.
//!
//! **Invariants.** The kernel owns a buffer from the write until its completion. The two kinds
//! are plain operations: their order is the caller's affair, who starts a sync after the write.
//!
//! **Limits.** One table entry for each operation under way; the table keeps its size.

use std::mem;
use std::os::fd::RawFd;

use io_uring::{opcode, types};

use super::EdgeRing;
use crate::event::Event;
use crate::operation::{Operation, Tag};

enum Entry {
    Free,
    Write { token: u64, buffer: Vec<u8> },
    Sync { token: u64 },
}

/// The file operations under way.
#[derive(Default)]
pub(super) struct Files {
    entries: Vec<Entry>,
    free: Vec<u32>,
}

impl Files {
    fn begin(&mut self, entry: Entry) -> u32 {
        if let Some(index) = self.free.pop() {
            self.entries[index as usize] = entry;
            return index;
        }
        self.entries.push(entry);
        self.entries.len() as u32 - 1
    }

    pub(super) fn complete(&mut self, index: u32, result: i32) -> Option<Event> {
        let entry = self.entries.get_mut(index as usize)?;
        let event = match mem::replace(entry, Entry::Free) {
            Entry::Free => return None,
            Entry::Write { token, buffer } => Event::Written {
                token,
                result,
                buffer,
            },
            Entry::Sync { token } => Event::Synced { token, result },
        };
        self.free.push(index);
        Some(event)
    }

    /// The kernel uses no buffer any more.
    pub(super) fn quiet(&self) -> bool {
        self.entries
            .iter()
            .all(|entry| !matches!(entry, Entry::Write { .. }))
    }

    /// Leaves the buffers to the kernel for ever.
    pub(super) fn leak(&mut self) {
        mem::forget(mem::take(&mut self.entries));
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
        // The kernel writes at most 2 GiB at once; the result tells the caller how far it came.
        let len = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        // The memory of a vector stays where it is when the vector moves into the table.
        let start = buffer.as_ptr();
        let index = self.files.begin(Entry::Write { token, buffer });
        let entry = opcode::Write::new(types::Fd(descriptor), start, len)
            .offset(offset)
            .build()
            .user_data(Tag::numbered(Operation::Write, 0, index).bits());
        // SAFETY: the table keeps the buffer until the write's completion was read; at the end
        // it is leaked if the write cannot be waited for.
        unsafe { self.rings[0].push(&entry, &mut self.counters) };
    }

    pub(super) fn sync_file(&mut self, descriptor: RawFd, token: u64) {
        self.counters.syncs += 1;
        let index = self.files.begin(Entry::Sync { token });
        let entry = opcode::Fsync::new(types::Fd(descriptor))
            .flags(types::FsyncFlags::DATASYNC)
            .build()
            .user_data(Tag::numbered(Operation::Sync, 0, index).bits());
        // SAFETY: a sync points at no memory.
        unsafe { self.rings[0].push(&entry, &mut self.counters) };
    }
}
