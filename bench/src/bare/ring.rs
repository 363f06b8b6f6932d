//! One io_uring as the references use it: direct slots, multishot receives, plain sends.
//!
//! The flags, sizes and caps are those of the server's rings; the code is not, on purpose.
//! Contents are never looked at: received bytes are only counted, sent bytes come from one
//! buffer that lives as long as the ring.
//!
//! This file holds `unsafe`: it writes to the kernel's queues and buffer ring itself. Invariants
//! that make it sound: every pointer given to the kernel is into memory owned by this ring, and
//! the queues are dropped (and with them the kernel's operations end) before that memory.
//!
//! Runs on: the only thread of a bare server.

use crate::limits::{BUFFERS_PER_RING, BUFFER_BYTES, RECEIVE_CAP_BYTES};
use anyhow::{Context, Result};
use io_uring::types::{BufRingEntry, Fd, Fixed};
use io_uring::{cqueue, opcode, squeue, IoUring};
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

const SUBMISSION_ENTRIES: u32 = 256;
const COMPLETION_ENTRIES: u32 = 4096;
const GROUP: u16 = 0;
/// `IORING_RECV_MULTISHOT` and `IORING_RECVSEND_BUNDLE` of the kernel interface.
const RECEIVE_OPTIONS: u16 = 1 << 1 | 1 << 4;
const PAGE_BYTES: usize = 4096;

/// What a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Operation {
    /// The accept of new connections.
    Accept = 1,
    /// A receive.
    Receive = 2,
    /// A send; completes only when it did not take all bytes.
    Send = 3,
    /// A wait for room.
    Writable = 4,
    /// A close.
    Close = 5,
}

/// A completion.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// The operation.
    pub operation: Operation,
    /// The slot of the connection.
    pub slot: u32,
    /// The kernel's answer.
    pub result: i32,
    /// First buffer of a receive.
    pub buffer: Option<u16>,
    /// More completions of the operation follow.
    pub is_followed: bool,
}

/// Page-aligned memory that the kernel reads or writes.
struct Memory {
    start: NonNull<u8>,
    bytes: usize,
}

impl Memory {
    fn new(bytes: usize) -> Result<Self> {
        let bytes = bytes.next_multiple_of(PAGE_BYTES);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        // SAFETY: a new anonymous mapping at a place of the kernel's choice touches nothing.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, kind, -1, 0) };
        anyhow::ensure!(
            start != libc::MAP_FAILED,
            "mapping {bytes} bytes failed: out of memory?"
        );
        let start = NonNull::new(start.cast()).context("a mapping at address zero")?;
        Ok(Self { start, bytes })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by this value; the ring, its only user, is gone.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// The ring; fields are dropped in order, the queues first.
pub struct BareRing {
    uring: IoUring,
    entries: Memory,
    buffers: Memory,
    answers: Memory,
    /// Entries given to the kernel since the start, modulo 2^16.
    tail: u16,
}

impl BareRing {
    /// A ring of `slots` connections whose sends have at most `answer_bytes`.
    pub fn new(slots: u32, answer_bytes: usize) -> Result<Self> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(COMPLETION_ENTRIES)
            .build(SUBMISSION_ENTRIES)
            .context("opening io_uring: is kernel.io_uring_disabled set?")?;
        uring
            .submitter()
            .register_files_sparse(slots)
            .context("registering slots: is the limit of open files lower (ulimit -n)?")?;
        let count = usize::from(BUFFERS_PER_RING);
        let mut ring = Self {
            uring,
            entries: Memory::new(count * std::mem::size_of::<BufRingEntry>())?,
            buffers: Memory::new(count * BUFFER_BYTES as usize)?,
            answers: Memory::new(answer_bytes.max(1))?,
            tail: 0,
        };
        let address = ring.entries.start.as_ptr() as u64;
        let submitter = ring.uring.submitter();
        // SAFETY: the entries are page aligned, hold this many, and outlive the queues.
        unsafe { submitter.register_buf_ring_with_flags(address, BUFFERS_PER_RING, GROUP, 0) }
            .context("registering receive buffers")?;
        (0..BUFFERS_PER_RING).for_each(|buffer| ring.give(buffer));
        ring.publish();
        Ok(ring)
    }

    /// Gives one buffer to the kernel; it is seen after [`Self::publish`].
    fn give(&mut self, buffer: u16) {
        let place = usize::from(self.tail & (BUFFERS_PER_RING - 1));
        let offset = usize::from(buffer) * BUFFER_BYTES as usize;
        // SAFETY: place and offset are inside the two mappings, and the kernel does not read
        // this entry before the tail moves past it.
        unsafe {
            let entry = &mut *self
                .entries
                .start
                .as_ptr()
                .cast::<BufRingEntry>()
                .add(place);
            entry.set_addr(self.buffers.start.as_ptr().add(offset) as u64);
            entry.set_len(BUFFER_BYTES);
            entry.set_bid(buffer);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        // SAFETY: the tail lies in the first entry by definition of the interface; the kernel
        // reads it concurrently, hence the atomic store after the entries.
        unsafe {
            let first = self.entries.start.as_ptr().cast::<BufRingEntry>();
            let tail = BufRingEntry::tail(first).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }

    /// Gives the buffers of a receive back. Buffers were handed out in ring order and go back in
    /// the order of completions, so that entry and buffer keep the same number.
    pub fn give_back(&mut self, first: u16, received: u32) {
        for step in 0..received.div_ceil(BUFFER_BYTES).max(1) as u16 {
            self.give((first + step) & (BUFFERS_PER_RING - 1));
        }
        self.publish();
    }

    fn push(&mut self, entry: squeue::Entry, operation: Operation, slot: u32) -> Result<()> {
        let entry = entry.user_data((operation as u64) << 56 | u64::from(slot));
        loop {
            // SAFETY: what the entry points at is owned by this ring and lives as long.
            if unsafe { self.uring.submission().push(&entry) }.is_ok() {
                return Ok(());
            }
            self.uring.submit().context("submitting")?;
        }
    }

    /// Accepts connections into free slots until told otherwise.
    pub fn accept(&mut self, listener: RawFd) -> Result<()> {
        let entry = opcode::AcceptMulti::new(Fd(listener))
            .allocate_file_index(true)
            .build();
        self.push(entry, Operation::Accept, 0)
    }

    /// Arms the receive of a connection.
    pub fn receive(&mut self, slot: u32) -> Result<()> {
        let receive = opcode::Recv::new(Fixed(slot), std::ptr::null_mut(), RECEIVE_CAP_BYTES)
            .ioprio(RECEIVE_OPTIONS)
            .buf_group(GROUP)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT);
        self.push(receive, Operation::Receive, slot)
    }

    /// Sends `bytes` of the answer buffer; nothing is reported when all fit.
    pub fn send(&mut self, slot: u32, bytes: u32) -> Result<()> {
        debug_assert!(bytes as usize <= self.answers.bytes);
        let flags = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        let entry = opcode::Send::new(Fixed(slot), self.answers.start.as_ptr(), bytes)
            .flags(flags)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS);
        self.push(entry, Operation::Send, slot)
    }

    /// Reports when a connection takes bytes again.
    pub fn wait_writable(&mut self, slot: u32) -> Result<()> {
        let entry = opcode::PollAdd::new(Fixed(slot), libc::POLLOUT as u32).build();
        self.push(entry, Operation::Writable, slot)
    }

    /// Closes a connection and frees its slot.
    pub fn close(&mut self, slot: u32) -> Result<()> {
        let entry = opcode::Close::new(Fixed(slot)).build();
        self.push(entry, Operation::Close, slot)
    }

    /// Submits what is queued, waits for `wanted` completions and takes all that are there.
    pub fn turn(&mut self, wanted: usize, completions: &mut Vec<Completion>) -> Result<()> {
        self.uring
            .submit_and_wait(wanted)
            .context("waiting for completions")?;
        completions.clear();
        let queue = self.uring.completion();
        completions.extend(queue.map(|entry| Completion {
            operation: match entry.user_data() >> 56 {
                1 => Operation::Accept,
                2 => Operation::Receive,
                3 => Operation::Send,
                4 => Operation::Writable,
                _ => Operation::Close,
            },
            slot: entry.user_data() as u32,
            result: entry.result(),
            buffer: cqueue::buffer_select(entry.flags()),
            is_followed: cqueue::more(entry.flags()),
        }));
        Ok(())
    }
}
