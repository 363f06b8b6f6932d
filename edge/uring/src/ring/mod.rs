//! One io_uring: its queues, receive buffers and slots.
//!
//! **Invariants.** Entries that point at memory of a caller are consumed before the call that
//! queued them returns; if the kernel ever stops taking entries the ring is broken for good and
//! is never entered again, so that what such entries point at is never read late. The ring is
//! dropped before the memory that it receives into.
//!
//! **Thread.** The one that opened it (SINGLE_ISSUER).

pub(crate) mod buffers;
pub(crate) mod mapping;
pub(crate) mod slots;

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::thread;

use io_uring::{cqueue, opcode, squeue, types, EnterFlags, IoUring};

use self::buffers::{Buffers, GROUP};
use self::slots::SlotTable;
use crate::config::{RingConfig, SetupError};
use crate::counters::RingCounters;
use crate::features::{open_queues, Features};
use crate::limits::RECEIVE_BYTES;
use crate::operation::Tag;
use crate::socket_id::SocketId;

/// `IORING_RECV_MULTISHOT` of the kernel interface.
const RECEIVE_MULTISHOT: u16 = 1 << 1;
/// `IORING_RECVSEND_BUNDLE` of the kernel interface.
const RECEIVE_BUNDLE: u16 = 1 << 4;
/// Attempts to hand over entries that the kernel refuses for want of memory.
const REFUSALS_MAX: u32 = 10_000;

/// A completion, taken out of the queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    pub(crate) tag: Tag,
    pub(crate) result: i32,
    pub(crate) flags: u32,
}

impl Completion {
    /// More completions of the same operation follow.
    pub(crate) fn more(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// The first provided buffer that the operation consumed.
    pub(crate) fn buffer(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }
}

impl From<cqueue::Entry> for Completion {
    fn from(entry: cqueue::Entry) -> Self {
        Self {
            tag: Tag::from_bits(entry.user_data()),
            result: entry.result(),
            flags: entry.flags(),
        }
    }
}

/// The descriptor of an operation.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    Slot(types::Fixed),
    Descriptor(types::Fd),
}

impl From<types::Fd> for Target {
    fn from(descriptor: types::Fd) -> Self {
        Self::Descriptor(descriptor)
    }
}

impl From<types::Fixed> for Target {
    fn from(slot: types::Fixed) -> Self {
        Self::Slot(slot)
    }
}

/// A receive into the ring's buffers.
pub(crate) fn receive_entry(target: Target, bundled: bool, multishot: bool) -> squeue::Entry {
    let len = if bundled { RECEIVE_BYTES } else { 0 };
    let mut options = 0;
    if bundled {
        options |= RECEIVE_BUNDLE;
    }
    if multishot {
        options |= RECEIVE_MULTISHOT;
    }
    let none = std::ptr::null_mut();
    let receive = match target {
        Target::Slot(slot) => opcode::Recv::new(slot, none, len),
        Target::Descriptor(descriptor) => opcode::Recv::new(descriptor, none, len),
    };
    receive
        .ioprio(options)
        .buf_group(GROUP)
        .build()
        .flags(squeue::Flags::BUFFER_SELECT)
}

/// A connection whose close was submitted.
pub(crate) struct Leaving {
    pub(crate) socket: SocketId,
    /// Flags of [`slots`] of operations that have not ended.
    pub(crate) armed: u8,
    /// The close itself has not ended.
    pub(crate) closing: bool,
}

/// One ring. Fields are dropped in order: the queues before the memory.
pub(crate) struct Ring {
    uring: IoUring,
    pub(crate) buffers: Buffers,
    pub(crate) slots: SlotTable,
    /// Slots that are in use or on their way to be free.
    pub(crate) used: u32,
    /// Completions that were moved out of a full queue.
    kept: VecDeque<Completion>,
    /// Connections whose receive waits for buffers.
    pub(crate) starved: VecDeque<SocketId>,
    /// Connections whose close is under way.
    pub(crate) leaving: Vec<Leaving>,
    broken: Option<i32>,
}

impl Ring {
    pub(crate) fn open(
        number: usize,
        config: &RingConfig,
        features: Features,
        wake: RawFd,
        patient: bool,
    ) -> Result<Self, SetupError> {
        let (submission, completion) = (config.submission_entries, config.completion_entries);
        let (uring, _) = open_queues(submission, completion, Some(features), number, patient)?;
        let count = if number == 0 {
            config.first_ring_buffers
        } else {
            config.buffers
        };
        let refused = |call| {
            move |source: io::Error| match source.raw_os_error() {
                Some(libc::ENOMEM) => SetupError::Memory {
                    ring: number,
                    source,
                },
                _ => SetupError::System { call, source },
            }
        };
        let submitter = uring.submitter();
        submitter
            .register_files_sparse(config.slots_per_ring)
            .map_err(|source| match source.raw_os_error() {
                Some(libc::EMFILE) => SetupError::Slots {
                    ring: number,
                    slots: config.slots_per_ring,
                    source,
                },
                _ => refused("io_uring_register(FILES2)")(source),
            })?;
        submitter
            .register_eventfd(wake)
            .map_err(refused("io_uring_register(EVENTFD)"))?;
        let buffers =
            Buffers::new(&submitter, count).map_err(refused("io_uring_register(PBUF_RING)"))?;
        let slots = SlotTable::new(config.slots_per_ring).map_err(refused("mmap"))?;
        let mut ring = Self {
            uring,
            buffers,
            slots,
            used: 0,
            kept: VecDeque::new(),
            starved: VecDeque::new(),
            leaving: Vec::with_capacity(crate::limits::CLOSES_PER_TURN),
            broken: None,
        };
        ring.signal(false);
        Ok(ring)
    }

    /// Slots that are surely free.
    pub(crate) fn room(&self) -> u32 {
        self.slots.len() - self.used
    }

    /// Turns the signalling of the eventfd on or off.
    pub(crate) fn signal(&mut self, on: bool) {
        let queue = self.uring.completion();
        if on {
            queue.enable_eventfd();
        } else {
            queue.disable_eventfd();
        }
    }

    /// Makes sure that `entries` fit into the submission queue without an enter between them.
    pub(crate) fn reserve(&mut self, entries: usize, counters: &mut RingCounters) {
        let queue = self.uring.submission();
        if queue.capacity() - queue.len() < entries {
            drop(queue);
            // A ring that breaks here says so at the next enter of the turn.
            let _ = self.submit(false, counters);
        }
    }

    /// Queues an entry.
    ///
    /// # Safety
    /// What the entry points at must stay valid until the entry is consumed or, when the
    /// operation outlasts that, until its last completion.
    pub(crate) unsafe fn push(&mut self, entry: &squeue::Entry, counters: &mut RingCounters) {
        self.reserve(1, counters);
        if self.broken.is_some() {
            return;
        }
        // SAFETY: the caller vouches for what the entry points at.
        let pushed = unsafe { self.uring.submission().push(entry) };
        debug_assert!(pushed.is_ok(), "a place was reserved");
    }

    /// Work that only an enter does: entries to submit, deferred or held back completions.
    pub(crate) fn wants_enter(&mut self) -> bool {
        let queue = self.uring.submission();
        !queue.is_empty() || queue.taskrun() || queue.cq_overflow()
    }

    /// The kernel holds deferred work for this ring.
    pub(crate) fn deferred(&mut self) -> bool {
        self.uring.submission().taskrun()
    }

    /// Completions that are held back because the queue is full.
    pub(crate) fn overflown(&mut self) -> bool {
        self.uring.submission().cq_overflow()
    }

    /// Completions that can be read without an enter.
    pub(crate) fn unread(&mut self) -> usize {
        self.kept.len() + self.uring.completion().len()
    }

    /// Hands all queued entries to the kernel; with `run` also runs deferred work once.
    pub(crate) fn submit(&mut self, run: bool, counters: &mut RingCounters) -> io::Result<()> {
        let mut refusals = 0;
        let mut run = run;
        loop {
            if let Some(errno) = self.broken {
                return Err(io::Error::from_raw_os_error(errno));
            }
            let queued = self.uring.submission().len() as u32;
            if queued == 0 && !run {
                return Ok(());
            }
            let flags = if run {
                EnterFlags::GETEVENTS
            } else {
                EnterFlags::empty()
            };
            counters.enters += 1;
            // SAFETY: no argument is passed; the entries are vouched for by `push`.
            let answer = unsafe {
                self.uring
                    .submitter()
                    .enter::<libc::sigset_t>(queued, 0, flags.bits(), None)
            };
            match answer {
                Ok(taken) => {
                    counters.submitted += taken as u64;
                    if taken as u32 >= queued {
                        return Ok(());
                    }
                    run = false;
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => continue,
                    Some(libc::EAGAIN | libc::EBUSY | libc::ENOMEM) => {
                        self.keep_unread();
                        run = true;
                    }
                    errno => {
                        self.broken = Some(errno.unwrap_or(libc::EIO));
                        continue;
                    }
                },
            }
            refusals += 1;
            if refusals > REFUSALS_MAX {
                self.broken = Some(libc::EBUSY);
            } else {
                thread::yield_now();
            }
        }
    }

    /// Makes room in the completion queue and has the kernel post what it held back.
    pub(crate) fn flush_overflow(&mut self, counters: &mut RingCounters) -> io::Result<()> {
        while self.overflown() {
            counters.overflow_flushes += 1;
            self.keep_unread();
            self.submit(true, counters)?;
        }
        Ok(())
    }

    /// The next completion without an enter.
    pub(crate) fn next_completion(&mut self) -> Option<Completion> {
        if !self.kept.is_empty() {
            return self.kept.pop_front();
        }
        self.uring.completion().next().map(Completion::from)
    }

    /// Looks at the unread completions after the first `skip`, without taking them.
    pub(crate) fn look(&mut self, skip: usize, mut see: impl FnMut(&Completion)) {
        let kept = self.kept.len();
        for completion in self.kept.iter().skip(skip) {
            see(completion);
        }
        let mut queue = self.uring.completion();
        for entry in queue.by_ref().skip(skip.saturating_sub(kept)) {
            see(&Completion::from(entry));
        }
        // Without its drop the queue's head stays where it was: nothing was taken.
        mem::forget(queue);
    }

    /// Ends all operations; waits up to a second for each kind of straggler.
    pub(crate) fn cancel_all(&mut self, counters: &mut RingCounters) {
        // Queued entries are submitted first, since only submitted ones can be cancelled.
        let _ = self.submit(false, counters);
        let patience = types::Timespec::new().sec(1);
        let all = types::CancelBuilder::any();
        // "Nothing to cancel" is an answer too, and after any other error the drop of the ring
        // cancels what is left.
        let _ = self
            .uring
            .submitter()
            .register_sync_cancel(Some(patience), all);
        let _ = self.submit(true, counters);
    }

    fn keep_unread(&mut self) {
        let queue = self.uring.completion();
        self.kept.extend(queue.map(Completion::from));
    }
}
