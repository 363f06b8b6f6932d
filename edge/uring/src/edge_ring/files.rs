//! Writes and data syncs of files.
//!
//! **Invariants.** A write is a plain `pwrite` at once: ext4 takes no buffered write without
//! waiting, so the ring would give each to a worker thread, and a record would wait for that
//! thread's turn on the core. A sync waits for the disk and is an operation of a ring. The
//! order of the two is the caller's affair, who starts a sync after the write.
//!
//! That ring has nothing else: the kernel hands out what ended in the order in which it ended, at
//! most 20 at an enter, so that between the sockets of an overloaded node the end of a sync would
//! wait for a round of all of them.
//!
//! **Limits.** One table entry for each sync under way; the table keeps its size.
//!
//! `unsafe` stands here for the write, which reads a vector, and for pushing entries.

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, types};

use super::EdgeRing;
use crate::config::{RingConfig, SetupError};
use crate::event::Event;
use crate::features::Features;
use crate::limits::{BUFFER_BYTES, SYNC_ENTRIES};
use crate::operation::{Operation, Tag};
use crate::ring::mapping::page_bytes;
use crate::ring::Ring;

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
        unsafe { self.sync_ring.push(&entry, &mut self.counters) };
        // The disk works while the turn goes on. An error shows again when the caller enters.
        let _ = self.sync_ring.submit(false, &mut self.counters);
    }

    /// Lets the kernel report syncs that have ended.
    pub(super) fn enter_syncs(&mut self) -> io::Result<()> {
        if self.sync_ring.wants_enter() {
            self.sync_ring.submit(true, &mut self.counters)?;
        }
        self.sync_ready = self.sync_ring.unread() > 0;
        Ok(())
    }
}

/// The ring of syncs, with as little as a ring can have.
pub(super) fn open_ring(
    config: &RingConfig,
    features: Features,
    wake: RawFd,
) -> Result<Ring, SetupError> {
    let number = config.rings_max;
    let config = RingConfig {
        slots_per_ring: 1,
        submission_entries: SYNC_ENTRIES,
        completion_entries: 2 * SYNC_ENTRIES,
        buffers: (page_bytes() / BUFFER_BYTES as usize).max(1) as u16,
        ..config.clone()
    };
    Ring::open(number, &config, features, wake, true)
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

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::kernel::{Kernel, RingGroup};

    #[test]
    fn the_end_of_a_sync_comes_before_bytes_that_wait() {
        let mut edge = EdgeRing::new(RingConfig::default()).expect("io_uring");
        let pairs = (0..40).map(|_| UnixStream::pair().expect("a pair"));
        let (servers, mut clients): (Vec<_>, Vec<_>) = pairs.unzip();
        let mut descriptors: Vec<OwnedFd> = servers.into_iter().map(OwnedFd::from).collect();
        let mut answers = Vec::new();
        edge.install(RingGroup::Common, &mut descriptors, &mut answers);
        for socket in answers.into_iter().flatten() {
            edge.arm_receive(socket);
        }
        edge.enter().expect("armed");
        for client in &mut clients {
            client.write_all(b"bytes").expect("there is room");
        }
        edge.enter().expect("bytes have come");
        assert!(edge.rings[0].unread() > 0);
        let file = File::open("/proc/self/exe").expect("the test's own file");
        edge.sync_data(file.as_raw_fd(), 7);
        let started = Instant::now();
        while !edge.sync_ready {
            assert!(started.elapsed() < Duration::from_secs(30), "no sync ended");
            edge.enter().expect("the ring takes entries");
        }
        let first = edge.next_event();
        assert!(
            matches!(
                first,
                Some(Event::Synced {
                    token: 7,
                    result: 0
                })
            ),
            "{first:?}"
        );
        assert!(matches!(edge.next_event(), Some(Event::Received { .. })));
    }
}
