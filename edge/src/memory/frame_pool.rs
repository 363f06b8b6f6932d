//! `FramePool` and `FrameRef`: frames written by one thread and read by several.
//!
//! Purpose: a frame that other shards need is encoded once; what crosses a lane is a pointer
//! of eight bytes, and no shard allocates or copies for another.
//!
//! How: a frame is a block of the producer's pool with a header in front: the count of
//! holders, the length, and where it returns to. Whoever drops the last holder pushes the
//! block on the return stack of the pool; the producer takes the whole stack at once and
//! frees the blocks in a batch.
//!
//! Invariants: bytes change only through `FrameRef::get_mut`, which needs the only holder;
//! a block is freed by the producer alone, after the last holder; the memory outlives every
//! holder, even when the pool is dropped first.
//!
//! Limits: the byte cap of the pool; `FRAME_POOL_BYTES_MAX` bytes a frame. An exhausted pool
//! answers `None`, which the caller treats as it treats a full queue.
//!
//! `unsafe` stands here because holders on several threads share raw memory by a count, as
//! `std::sync::Arc` does, which this code follows in its memory orders.
//!
//! Runs on: the pool on its producer thread; a `FrameRef` on any.

use super::blocks::{BlockClass, BlockId, BlockPool, BlockStats};
use super::limits::{FRAME_POOL_BYTES_MAX, FRAME_RETURN_INTERVAL};
use super::MemoryError;
use std::fmt;
use std::mem::size_of;
use std::ops::Deref;
use std::ptr::{null_mut, NonNull};
use std::sync::atomic::{fence, AtomicI64, AtomicPtr, AtomicU32, Ordering};

const HEADER_BYTES: usize = size_of::<Header>();

const _: () = assert!(HEADER_BYTES == 32);
const _: () = assert!(
    size_of::<Option<FrameRef>>() == 8,
    "a frame fits any lane entry"
);
const _: () = assert!(HEADER_BYTES + FRAME_POOL_BYTES_MAX == BlockClass::K68.bytes());

/// In front of the bytes of each frame.
#[repr(C)]
struct Header {
    holders: AtomicU32,
    length: u32,
    returns: NonNull<Returns>,
    /// The link of the return stack; written by whoever pushes.
    next: *mut Header,
    block: BlockId,
}

/// What outlives the pool while frames are held: the return stack, and the memory itself once
/// the pool is gone.
struct Returns {
    /// Top of the stack, or `CLOSED` when nobody will take it any more.
    top: AtomicPtr<Header>,
    /// Frames still held, counted from the end of the pool on. Drops that come before the
    /// pool has added its number take it below zero.
    orphans: AtomicI64,
    /// The memory, handed over by the pool before it adds to `orphans`.
    memory: std::cell::UnsafeCell<Option<BlockPool>>,
}

/// The top of a stack whose pool is gone. Never dereferenced.
const CLOSED: *mut Header = std::ptr::without_provenance_mut(1);

/// Frames of one producer thread under one byte cap.
pub struct FramePool {
    /// Taken out by `drop` alone.
    blocks: Option<BlockPool>,
    returns: NonNull<Returns>,
    held: u32,
    since_collect: u32,
}

// SAFETY: the pool owns its blocks; the shared stack is atomic, and frames outside the pool
// are reached through `FrameRef` only. It has no tie to the thread that made it.
unsafe impl Send for FramePool {}

impl FramePool {
    /// Reserves memory for frames of together at most `cap_bytes`.
    ///
    /// # Errors
    /// When the address space is refused.
    pub fn new(cap_bytes: usize) -> Result<Self, MemoryError> {
        let blocks = Some(BlockPool::new(cap_bytes)?);
        let returns = Box::new(Returns {
            top: AtomicPtr::new(null_mut()),
            orphans: AtomicI64::new(0),
            memory: std::cell::UnsafeCell::new(None),
        });
        let returns = NonNull::from(Box::leak(returns));
        Ok(Self {
            blocks,
            returns,
            held: 0,
            since_collect: 0,
        })
    }

    /// Takes a frame of `length` bytes with one holder, to be filled through `get_mut`. Its
    /// bytes are whatever an earlier frame left. `None` when the pool is exhausted or the
    /// frame larger than `FRAME_POOL_BYTES_MAX`.
    pub fn take(&mut self, length: usize) -> Option<FrameRef> {
        let class = BlockClass::for_bytes(length.checked_add(HEADER_BYTES)?)?;
        self.since_collect += 1;
        if self.since_collect >= FRAME_RETURN_INTERVAL {
            self.collect();
        }
        let block = match self.blocks.as_mut()?.alloc(class) {
            Some(block) => block,
            None => {
                self.collect();
                self.blocks.as_mut()?.alloc(class)?
            }
        };
        self.held += 1;
        let header = self.blocks.as_ref()?.pointer(block).cast::<Header>();
        let fields = Header {
            holders: AtomicU32::new(1),
            length: length as u32,
            returns: self.returns,
            next: null_mut(),
            block,
        };
        // SAFETY: the block was just allocated, so nobody else reads or writes it; it is
        // larger than the header and aligned to 256 bytes.
        unsafe { header.write(fields) };
        Some(FrameRef { header })
    }

    /// Takes a frame and writes it from its parts.
    pub fn write(&mut self, parts: &[&[u8]]) -> Option<FrameRef> {
        let length = parts.iter().map(|part| part.len()).sum();
        let mut frame = self.take(length)?;
        let mut rest = frame.get_mut()?;
        for part in parts {
            let (front, back) = rest.split_at_mut(part.len());
            front.copy_from_slice(part);
            rest = back;
        }
        Some(frame)
    }

    /// Frees the blocks of all frames whose last holder is gone and returns how many. Call it
    /// once a turn; `take` calls it now and then, and before it gives up.
    pub fn collect(&mut self) -> usize {
        self.since_collect = 0;
        // SAFETY: the shared part lives as long as the pool.
        let top = unsafe { &self.returns.as_ref().top };
        if top.load(Ordering::Relaxed).is_null() {
            return 0;
        }
        self.free_stack(top.swap(null_mut(), Ordering::Acquire))
    }

    /// What the pool holds now; frames that wait on the return stack count as live.
    #[must_use]
    pub fn stats(&self) -> BlockStats {
        self.blocks
            .as_ref()
            .map_or_else(BlockStats::default, BlockPool::stats)
    }

    /// Gives the pages of unused chunks back to the kernel; see `BlockPool::give_back`.
    pub fn give_back(&mut self, keep: usize, limit: usize) -> usize {
        self.blocks
            .as_mut()
            .map_or(0, |blocks| blocks.give_back(keep, limit))
    }

    fn free_stack(&mut self, mut top: *mut Header) -> usize {
        let Some(blocks) = self.blocks.as_mut() else {
            return 0;
        };
        let mut count = 0;
        while let Some(header) = NonNull::new(top) {
            // SAFETY: a frame on the stack has no holder and was pushed with Release order,
            // which the Acquire swap saw; this thread alone reads it now.
            let (next, block) = unsafe { ((*header.as_ptr()).next, (*header.as_ptr()).block) };
            blocks.free(block);
            top = next;
            count += 1;
        }
        self.held -= count as u32;
        count
    }
}

impl Drop for FramePool {
    fn drop(&mut self) {
        // SAFETY: the shared part lives at least until `close` below.
        let returns = unsafe { self.returns.as_ref() };
        let top = returns.top.swap(CLOSED, Ordering::AcqRel);
        self.free_stack(top);
        // SAFETY: nobody reads the memory slot before `orphans` reaches zero from above,
        // which needs the addition below; it orders this write before that read.
        unsafe { *returns.memory.get() = self.blocks.take() };
        let orphans = i64::from(self.held);
        let before = returns.orphans.fetch_add(orphans, Ordering::AcqRel);
        if before + orphans == 0 {
            // SAFETY: every frame is gone and the stack is closed, so this is the last use.
            unsafe { release(self.returns) };
        }
    }
}

impl fmt::Debug for FramePool {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("FramePool")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// Ends the shared part and the memory of a closed pool.
///
/// # Safety
/// The pool is closed and no frame is held; called once.
unsafe fn release(returns: NonNull<Returns>) {
    // SAFETY: `FramePool::new` leaked this box; by the contract nobody uses it any more.
    drop(unsafe { Box::from_raw(returns.as_ptr()) });
}

/// One holder of a frame. Clone it once for each thread that shall read the frame.
pub struct FrameRef {
    header: NonNull<Header>,
}

// SAFETY: holders share read access only; the count and the return stack are atomic, and
// writing needs the single holder (`get_mut`).
unsafe impl Send for FrameRef {}
// SAFETY: as for `Send`: shared access reads bytes that nobody may write meanwhile.
unsafe impl Sync for FrameRef {}

impl FrameRef {
    /// The bytes to write, or `None` while another holder exists. The owner of a channel
    /// patches the position into a frame this way before it fans the frame out.
    #[must_use]
    pub fn get_mut(&mut self) -> Option<&mut [u8]> {
        // Acquire pairs with the Release of the holder that went last before: its reads are
        // over before our writes.
        if self.header().holders.load(Ordering::Acquire) != 1 {
            return None;
        }
        let length = self.header().length as usize;
        // SAFETY: this is the only holder and it is borrowed exclusively, so nobody reads or
        // clones; the block holds header and `length` initialised bytes.
        Some(unsafe { std::slice::from_raw_parts_mut(self.start(), length) })
    }

    /// How many holders the frame has now.
    #[must_use]
    pub fn holders(&self) -> u32 {
        self.header().holders.load(Ordering::Relaxed)
    }

    fn header(&self) -> &Header {
        // SAFETY: a holder keeps the block and its header alive, and the fields that change
        // while there are holders are atomic.
        unsafe { self.header.as_ref() }
    }

    fn start(&self) -> *mut u8 {
        // SAFETY: the bytes follow the header inside the same block.
        unsafe { self.header.as_ptr().add(1).cast() }
    }
}

impl Deref for FrameRef {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let length = self.header().length as usize;
        // SAFETY: the block holds header and `length` initialised bytes, and nobody writes
        // while this holder is borrowed.
        unsafe { std::slice::from_raw_parts(self.start(), length) }
    }
}

impl Clone for FrameRef {
    fn clone(&self) -> Self {
        // Relaxed suffices: the new holder comes from one that keeps the frame alive.
        let before = self.header().holders.fetch_add(1, Ordering::Relaxed);
        debug_assert!(before < u32::MAX / 2, "holders are as few as threads");
        Self {
            header: self.header,
        }
    }
}

impl Drop for FrameRef {
    fn drop(&mut self) {
        if self.header().holders.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        // The reads of the other holders come before the block is used again.
        fence(Ordering::Acquire);
        // SAFETY: the count is zero, so this thread alone may touch the header; the shared
        // part lives while a frame is out.
        unsafe { give_back(self.header) };
    }
}

/// Pushes a frame without holders on the return stack of its pool, or counts it when the
/// pool is gone.
///
/// # Safety
/// The frame has no holder and is passed here once.
unsafe fn give_back(header: NonNull<Header>) {
    // SAFETY: by the contract nobody else touches the header now.
    let shared = unsafe { (*header.as_ptr()).returns };
    // SAFETY: the shared part is released only after this frame was returned or counted.
    let returns = unsafe { shared.as_ref() };
    let mut top = returns.top.load(Ordering::Relaxed);
    while top != CLOSED {
        // SAFETY: the header is ours until the exchange below succeeds.
        unsafe { (*header.as_ptr()).next = top };
        let frame = header.as_ptr();
        // Nobody pops single frames, so an equal top is the same stack (no ABA).
        match returns
            .top
            .compare_exchange_weak(top, frame, Ordering::Release, Ordering::Relaxed)
        {
            Ok(_) => return,
            Err(actual) => top = actual,
        }
    }
    if returns.orphans.fetch_sub(1, Ordering::AcqRel) == 1 {
        // SAFETY: the pool is closed (its addition came before, else the count could not be
        // one) and this was its last frame.
        unsafe { release(shared) };
    }
}

impl fmt::Debug for FrameRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("FrameRef")
            .field("bytes", &self.len())
            .field("holders", &self.holders())
            .finish()
    }
}
