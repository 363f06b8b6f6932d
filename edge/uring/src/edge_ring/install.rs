//! Descriptors become slots of a ring.
//!
//! **Invariants.** One files-update entry moves up to 64 descriptors, with the slots chosen by
//! the kernel. It ends inside the enter that submits it. When a ring takes only some, the others
//! go to the next ring of their group, then to a new one, then to those of the other group. The
//! originals are closed afterwards; the slots keep the sockets open.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use io_uring::{opcode, squeue};

use super::EdgeRing;
use crate::config::SetupError;
use crate::kernel::RingGroup;
use crate::limits::INSTALL_BATCH;
use crate::operation::{Operation, Tag};
use crate::socket_id::SocketId;

/// `IORING_FILE_INDEX_ALLOC` of the kernel interface: the kernel chooses the slots.
const ALLOCATE: i32 = -1;

/// Memory that the kernel reads descriptors from and writes slot numbers to.
pub(super) struct InstallArguments(Box<[RawFd; INSTALL_BATCH]>);

impl Default for InstallArguments {
    fn default() -> Self {
        Self(Box::new([-1; INSTALL_BATCH]))
    }
}

impl EdgeRing {
    pub(super) fn install_batch(
        &mut self,
        group: RingGroup,
        descriptors: &mut Vec<OwnedFd>,
        out: &mut Vec<Result<SocketId, i32>>,
    ) {
        out.clear();
        let batch = descriptors.len().min(INSTALL_BATCH);
        let waiting = &descriptors[..batch];
        self.fill_rings(group, waiting, out);
        let mut refusal = libc::ENFILE;
        while out.len() < batch {
            if let Err(errno) = self.open_ring_on_demand(group) {
                refusal = errno;
                break;
            }
            self.fill_ring(self.rings.len() - 1, waiting, out);
        }
        self.fill_rings(group.other(), waiting, out);
        out.resize(batch, Err(refusal));
        let installed = out.iter().filter(|answer| answer.is_ok()).count();
        self.counters.installed += installed as u64;
        self.counters.install_refused += (batch - installed) as u64;
        descriptors.drain(..batch);
    }

    fn fill_rings(
        &mut self,
        group: RingGroup,
        waiting: &[OwnedFd],
        out: &mut Vec<Result<SocketId, i32>>,
    ) {
        for number in 0..self.rings.len() {
            if self.group_of(number) == group {
                self.fill_ring(number, waiting, out);
            }
        }
    }

    /// Moves into one ring what it takes of the descriptors that have no answer yet.
    fn fill_ring(
        &mut self,
        number: usize,
        waiting: &[OwnedFd],
        out: &mut Vec<Result<SocketId, i32>>,
    ) {
        loop {
            let room = self.rings[number].room() as usize;
            let rest = &waiting[out.len()..];
            let rest = &rest[..rest.len().min(room)];
            if rest.is_empty() {
                return;
            }
            match self.install_into(number, rest, out) {
                Ok(()) | Err(libc::ENFILE) => return,
                // The kernel names a descriptor that it does not take by stopping before it.
                Err(errno) => out.push(Err(errno)),
            }
        }
    }

    fn group_of(&self, ring: usize) -> RingGroup {
        match self.urgent & (1 << ring) {
            0 => RingGroup::Common,
            _ => RingGroup::Urgent,
        }
    }

    fn open_ring_on_demand(&mut self, group: RingGroup) -> Result<(), i32> {
        if self.rings.len() == self.config.rings_max {
            return Err(libc::ENFILE);
        }
        self.open_ring(false).map_err(|refused| {
            self.counters.ring_open_failures += 1;
            match refused {
                SetupError::Memory { .. } => libc::ENOMEM,
                _ => libc::ENFILE,
            }
        })?;
        if group == RingGroup::Urgent {
            self.urgent |= 1 << (self.rings.len() - 1);
        }
        Ok(())
    }

    /// Moves descriptors into one ring and appends the names of those that it took. An error says
    /// why it took fewer: ENFILE when its table is full.
    fn install_into(
        &mut self,
        number: usize,
        descriptors: &[OwnedFd],
        out: &mut Vec<Result<SocketId, i32>>,
    ) -> Result<(), i32> {
        let sequence = self.next_sequence();
        for (argument, descriptor) in self.install.0.iter_mut().zip(descriptors) {
            *argument = descriptor.as_raw_fd();
        }
        let entry = opcode::FilesUpdate::new(self.install.0.as_ptr(), descriptors.len() as u32)
            .offset(ALLOCATE)
            .build()
            .user_data(Tag::numbered(Operation::Install, sequence, 0).bits());
        let taken = self.run_install(number, &entry, sequence)?;
        let ring = &mut self.rings[number];
        for slot in &self.install.0[..taken] {
            let slot = *slot as u32;
            let generation = ring.slots.slot(slot).begin();
            ring.used += 1;
            out.push(Ok(SocketId::new(number as u8, generation, slot)));
        }
        if taken == descriptors.len() {
            Ok(())
        } else {
            Err(libc::ENFILE)
        }
    }

    /// Submits the entry and answers how many descriptors were taken.
    fn run_install(
        &mut self,
        number: usize,
        entry: &squeue::Entry,
        sequence: u32,
    ) -> Result<usize, i32> {
        let ring = &mut self.rings[number];
        // SAFETY: the arguments live in a box of `self` and the operation ends inside the submit
        // below; a ring that refuses the submit is never entered again.
        unsafe { ring.push(entry, &mut self.counters) };
        let unread = ring.unread();
        let mut result = None;
        let mut refused = ring.submit(false, &mut self.counters).is_err();
        let mut read = |ring: &mut crate::ring::Ring, skip| {
            ring.look(skip, |completion| {
                let ours = completion.tag.operation() == Some(Operation::Install)
                    && completion.tag.id().generation() == sequence;
                if ours {
                    result = Some(completion.result);
                }
            });
        };
        read(ring, unread);
        if ring.overflown() {
            refused |= ring.flush_overflow(&mut self.counters).is_err();
            read(ring, 0);
        }
        if ring.unread() > 0 {
            self.ready |= 1 << number;
        }
        match result {
            _ if refused => Err(libc::EIO),
            Some(taken) if taken >= 0 => Ok(taken as usize),
            Some(failed) => Err(-failed),
            None => Err(libc::EIO),
        }
    }
}
