//! Files of the kernel in memory: what is written, what is durable, and what goes wrong.
//!
//! **Invariants.** A write takes effect when it completes. A sync covers the writes that were
//! complete when it was started. After a sync that failed, what it covered stays readable but
//! never becomes durable, and a later sync says nothing about it: so do Linux file systems.

use std::collections::{HashMap, VecDeque};
use std::os::fd::RawFd;

use super::{Ready, ScriptedKernel};
use crate::event::Event;

/// A file. [`File::descriptor`] is what the kernel's operations take; it is no real descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct File(RawFd);

impl File {
    /// The number to pass to [`Kernel::write`](crate::Kernel::write).
    #[must_use]
    pub const fn descriptor(self) -> RawFd {
        self.0
    }
}

/// What goes wrong with a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteFault {
    /// Nothing is written; the result is this errno.
    Fail(i32),
    /// Only this many bytes are written, and the result says so.
    Short(usize),
}

/// Real descriptors are far below: a mix-up fails instead of writing a file of the test.
const FIRST_DESCRIPTOR: RawFd = 1 << 30;

#[derive(Default)]
struct Content {
    readable: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Unsynced>,
    write_faults: VecDeque<WriteFault>,
    sync_faults: VecDeque<i32>,
    delay_ns: u64,
    held: bool,
}

struct Unsynced {
    order: u64,
    offset: u64,
    bytes: Vec<u8>,
}

enum Action {
    Write {
        offset: u64,
        buffer: Vec<u8>,
    },
    /// Covers unsynced writes below this order.
    Sync {
        below: u64,
    },
}

struct Pending {
    descriptor: RawFd,
    token: u64,
    due_ns: u64,
    action: Action,
}

#[derive(Default)]
pub(super) struct Files {
    contents: HashMap<RawFd, Content>,
    pending: Vec<Pending>,
    next_order: u64,
}

impl Files {
    fn content(&mut self, file: File) -> &mut Content {
        self.contents
            .get_mut(&file.0)
            .expect("a file of another kernel")
    }

    pub(super) fn write(
        &mut self,
        descriptor: RawFd,
        offset: u64,
        buffer: Vec<u8>,
        token: u64,
        now_ns: u64,
    ) {
        let due_ns = now_ns + self.contents.get(&descriptor).map_or(0, |c| c.delay_ns);
        let action = Action::Write { offset, buffer };
        self.pending.push(Pending {
            descriptor,
            token,
            due_ns,
            action,
        });
    }

    pub(super) fn sync(&mut self, descriptor: RawFd, token: u64, now_ns: u64) {
        let due_ns = now_ns + self.contents.get(&descriptor).map_or(0, |c| c.delay_ns);
        let action = Action::Sync {
            below: self.next_order,
        };
        self.pending.push(Pending {
            descriptor,
            token,
            due_ns,
            action,
        });
    }

    fn held(&self, pending: &Pending) -> bool {
        self.contents
            .get(&pending.descriptor)
            .is_some_and(|content| content.held)
    }

    pub(super) fn next_due_ns(&self) -> Option<u64> {
        self.pending
            .iter()
            .filter(|p| !self.held(p))
            .map(|p| p.due_ns)
            .min()
    }

    pub(super) fn progress(&mut self, now_ns: u64, ready: &mut VecDeque<Ready>) {
        let mut index = 0;
        while index < self.pending.len() {
            let pending = &self.pending[index];
            if pending.due_ns > now_ns || self.held(pending) {
                index += 1;
                continue;
            }
            let pending = self.pending.remove(index);
            ready.push_back(Ready::Event(self.finish(pending)));
        }
    }

    fn finish(&mut self, pending: Pending) -> Event {
        let token = pending.token;
        let content = self.contents.get_mut(&pending.descriptor);
        match pending.action {
            Action::Write { offset, buffer } => {
                let order = self.next_order;
                self.next_order += 1;
                let result = content.map_or(-libc::EBADF, |c| c.write(order, offset, &buffer));
                Event::Written {
                    token,
                    result,
                    buffer,
                }
            }
            Action::Sync { below } => {
                let result = content.map_or(-libc::EBADF, |c| c.sync(below));
                Event::Synced { token, result }
            }
        }
    }
}

impl Content {
    fn write(&mut self, order: u64, offset: u64, buffer: &[u8]) -> i32 {
        let bytes = match self.write_faults.pop_front() {
            Some(WriteFault::Fail(errno)) => return -errno,
            Some(WriteFault::Short(bytes)) => &buffer[..bytes.min(buffer.len())],
            None => buffer,
        };
        put(&mut self.readable, offset, bytes);
        self.unsynced.push(Unsynced {
            order,
            offset,
            bytes: bytes.to_vec(),
        });
        bytes.len() as i32
    }

    fn sync(&mut self, below: u64) -> i32 {
        let fault = self.sync_faults.pop_front();
        let covered = self
            .unsynced
            .iter()
            .take_while(|write| write.order < below)
            .count();
        for write in self.unsynced.drain(..covered) {
            if fault.is_none() {
                put(&mut self.durable, write.offset, &write.bytes);
            }
        }
        fault.map_or(0, |errno| -errno)
    }
}

fn put(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let start = usize::try_from(offset).expect("a file that fits into memory");
    let end = start + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[start..end].copy_from_slice(bytes);
}

impl ScriptedKernel {
    /// Makes a file whose content (durable already) is `content`.
    pub fn add_file(&mut self, content: &[u8]) -> File {
        let file = File(FIRST_DESCRIPTOR + self.files.contents.len() as RawFd);
        let (readable, durable) = (content.to_vec(), content.to_vec());
        self.files.contents.insert(
            file.0,
            Content {
                readable,
                durable,
                ..Content::default()
            },
        );
        file
    }

    /// What a reader of the file sees.
    pub fn file_bytes(&mut self, file: File) -> &[u8] {
        &self.files.content(file).readable
    }

    /// What is left when all that was never synced is lost.
    pub fn durable_bytes(&mut self, file: File) -> &[u8] {
        &self.files.content(file).durable
    }

    /// Operations on the file that start from now on take this long.
    pub fn delay_file(&mut self, file: File, delay_ns: u64) {
        self.files.content(file).delay_ns = delay_ns;
    }

    /// Holds all operations on the file back, or lets them go on.
    pub fn hold_file(&mut self, file: File, held: bool) {
        self.files.content(file).held = held;
    }

    /// The next write that completes goes wrong.
    pub fn fail_write(&mut self, file: File, fault: WriteFault) {
        self.files.content(file).write_faults.push_back(fault);
    }

    /// The next sync that completes fails with `errno`.
    pub fn fail_sync(&mut self, file: File, errno: i32) {
        self.files.content(file).sync_faults.push_back(errno);
    }

    /// The machine stops and starts again: operations under way are forgotten, and of each write
    /// that no sync covered only the first bytes survive, as many as `survivors(offset, bytes)`
    /// says (0: lost; some: torn).
    pub fn crash_file(&mut self, file: File, mut survivors: impl FnMut(u64, &[u8]) -> usize) {
        self.files
            .pending
            .retain(|pending| pending.descriptor != file.0);
        let content = self.files.content(file);
        for write in content.unsynced.drain(..) {
            let kept = survivors(write.offset, &write.bytes).min(write.bytes.len());
            put(&mut content.durable, write.offset, &write.bytes[..kept]);
        }
        content.readable.clone_from(&content.durable);
        content.held = false;
    }
}
