//! `ChannelLog`: the frames of one active channel on one shard, ready to be sent.
//!
//! Purpose: a subscription's outbox is a byte position in this log. A frame is written once,
//! and every subscriber is sent the bytes from its own position to the head. The index in the
//! blocks finds the event after a position, which is how a client resumes from memory.
//!
//! Invariants: byte positions only grow and are never used twice; a frame never spans blocks;
//! `tail` and `head` are frame boundaries; offsets of events rise; the log holds exactly the
//! blocks between its first and its last, so an empty log holds none.
//!
//! Limits: a frame has at most `LOG_FRAME_BYTES_MAX` bytes; the pool's cap bounds all logs
//! together. A log without room is left as it was and says so; the caller trims or marks
//! its channel.
//!
//! Source: the check of a position is that of a hash chain. An event's neighbour tells the
//! chain value that a reader must have seen before it.
//!
//! Runs on: the shard thread that owns the log and the pool.

mod block;
mod error;
mod frames;

use super::blocks::{BlockClass, BlockId, BlockPool};
use super::limits::{LOG_BLOCK_CLASS_MAX, LOG_FRAME_BYTES_MAX};
use block::{Block, Entry, BREAK, CONTROL, ENTRY_BYTES, HEADER_BYTES};
pub use error::{AppendError, Unrecoverable};
pub use frames::{Frame, Frames};
use interlink_protocol::ids::Position;

const _: () = assert!(
    LOG_FRAME_BYTES_MAX < 1 << 24,
    "the end of a frame has 24 bits"
);
const _: () = assert!(
    LOG_FRAME_BYTES_MAX + HEADER_BYTES + ENTRY_BYTES <= BlockClass::K68.bytes(),
    "the largest frame fits the largest block"
);

/// What the log keeps about an event besides its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventMeta {
    /// Where the event stands in its channel.
    pub position: Position,
    /// The chain value of the event before it.
    pub previous_chain: u64,
    /// When it was accepted, in seconds of the caller's clock.
    pub time_s: u32,
}

impl EventMeta {
    /// The position just before the event.
    #[must_use]
    pub fn before(&self) -> Position {
        let offset = self.position.offset.saturating_sub(1);
        Position {
            epoch: self.position.epoch,
            offset,
            chain: self.previous_chain,
        }
    }
}

/// Which frames `trim` may drop: those that every cursor has passed and that are either
/// beyond the newest `keep_events` or too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrimRule {
    /// How many of the newest events stay while they are young enough.
    pub keep_events: u32,
    /// Events accepted before this second are too old to keep.
    pub before_s: u32,
    /// The lowest byte position that a subscriber still has to send from.
    pub min_cursor: u64,
}

/// The frames of one channel.
#[derive(Debug)]
pub struct ChannelLog {
    first: Option<BlockId>,
    last: Option<BlockId>,
    /// How many entries of the first block are trimmed.
    trimmed: u32,
    events: u32,
    head: u64,
    tail: u64,
    /// Position just before the oldest retained event.
    base: Position,
    top: Position,
}

const _: () = assert!(std::mem::size_of::<ChannelLog>() <= 96);

impl ChannelLog {
    /// An empty log without memory. `before` is the position before its first event, `start`
    /// the byte position of its first frame: a channel whose log comes back goes on with the
    /// old head, so that cursors stay meaningful.
    #[must_use]
    pub fn new(before: Position, start: u64) -> Self {
        let (first, last) = (None, None);
        let (base, top) = (before, before);
        Self {
            first,
            last,
            trimmed: 0,
            events: 0,
            head: start,
            tail: start,
            base,
            top,
        }
    }

    /// Appends the frame of an event, given in parts, and returns its byte position.
    ///
    /// # Errors
    /// When the pool is empty, the frame too large, or the event not above the last one.
    pub fn append(
        &mut self,
        pool: &mut BlockPool,
        parts: &[&[u8]],
        meta: &EventMeta,
    ) -> Result<u64, AppendError> {
        let Position {
            epoch,
            offset,
            chain,
        } = meta.position;
        if offset <= self.top.offset {
            return Err(AppendError::NotNewer {
                offset,
                top: self.top.offset,
            });
        }
        let follows = offset == self.top.offset + 1 && meta.previous_chain == self.top.chain;
        let end_and_flags = if follows { 0 } else { BREAK };
        let entry = Entry {
            offset,
            chain,
            time_s: meta.time_s,
            end_and_flags,
        };
        let start = self.push(pool, parts, entry, epoch)?;
        self.events += 1;
        self.top = meta.position;
        Ok(start)
    }

    /// Appends a frame that is no event, such as the announcement of a gap. It has no position
    /// of its own and goes as soon as every cursor has passed.
    ///
    /// # Errors
    /// When the pool is empty or the frame too large.
    pub fn append_control(
        &mut self,
        pool: &mut BlockPool,
        parts: &[&[u8]],
    ) -> Result<u64, AppendError> {
        let Position {
            epoch,
            offset,
            chain,
        } = self.top;
        let entry = Entry {
            offset,
            chain,
            time_s: 0,
            end_and_flags: CONTROL,
        };
        self.push(pool, parts, entry, epoch)
    }

    /// Drops frames from the tail by the rule and returns how many bytes of frames went.
    pub fn trim(&mut self, pool: &mut BlockPool, rule: &TrimRule) -> u64 {
        let old_tail = self.tail;
        while let Some(first) = self.first {
            let block = Block(pool.bytes(first));
            let entry = block.entry(self.trimmed as usize);
            let is_event = !entry.is(CONTROL);
            let kept = self.events <= rule.keep_events && entry.time_s >= rule.before_s;
            if block.start() + entry.end() > rule.min_cursor || (is_event && kept) {
                break;
            }
            self.tail = block.start() + entry.end();
            self.base = block.position(self.trimmed as usize);
            self.events -= u32::from(is_event);
            self.trimmed += 1;
            if self.trimmed as usize == block.count() {
                let next = BlockId::from_u32(block.next());
                self.drop_first(pool, first, next);
            }
        }
        self.tail - old_tail
    }

    /// Drops every frame, whoever has not passed: the channel goes or its owner gave up on
    /// the slow ones. Must be called before the log itself is dropped.
    pub fn clear(&mut self, pool: &mut BlockPool) {
        let min_cursor = self.head;
        self.trim(
            pool,
            &TrimRule {
                keep_events: 0,
                before_s: u32::MAX,
                min_cursor,
            },
        );
    }

    /// The longest run of bytes from `from` within one block, or `None` when nothing follows
    /// or `from` was trimmed away (`from < tail()`, an overrun cursor).
    #[must_use]
    pub fn range<'p>(&self, pool: &'p BlockPool, from: u64) -> Option<&'p [u8]> {
        let block = self.block_at(pool, from)?;
        Some(block.frames_from(from))
    }

    /// The first frame boundary at or after `from`; the end of a frame that is begun. Clamped
    /// to `tail()` and `head()`.
    #[must_use]
    pub fn next_frame_boundary(&self, pool: &BlockPool, from: u64) -> u64 {
        let Some(block) = self.block_at(pool, from) else {
            return from.clamp(self.tail, self.head);
        };
        let inside = from - block.start();
        if inside == 0 {
            return from;
        }
        let index = block.partition(|entry| entry.end() < inside);
        block.start() + block.entry(index).end()
    }

    /// The byte position from which a reader at `position` misses nothing: the event after it,
    /// or the head.
    ///
    /// # Errors
    /// When the log cannot prove that nothing lies between.
    pub fn find(&self, pool: &BlockPool, position: Position) -> Result<u64, Unrecoverable> {
        if position.offset > self.top.offset {
            return Err(Unrecoverable::Ahead);
        }
        if position.offset == self.top.offset {
            let same = is_same_place(position, self.top);
            return if same {
                Ok(self.head)
            } else {
                Err(Unrecoverable::Diverged)
            };
        }
        if position.offset < self.base.offset {
            return Err(Unrecoverable::Trimmed);
        }
        let Some((block, index)) = self.event_after(pool, position.offset) else {
            return Err(Unrecoverable::Trimmed);
        };
        if block.entry(index).is(BREAK) {
            return Err(Unrecoverable::Gap);
        }
        if !is_same_place(position, self.before(pool, block, index)) {
            return Err(Unrecoverable::Diverged);
        }
        Ok(block.frame_start(index))
    }

    /// The position of the last event that lies wholly before a byte position: what a reader
    /// has seen who was sent everything up to there.
    #[must_use]
    pub fn position_at(&self, pool: &BlockPool, byte: u64) -> Position {
        if byte >= self.head {
            return self.top;
        }
        let Some(block) = self.block_at(pool, byte) else {
            return self.base;
        };
        let inside = byte - block.start();
        let index = block.partition(|entry| entry.end() <= inside);
        self.before(pool, block, index)
    }

    /// How many frames lie between two frame boundaries of one block, as one send takes them.
    #[must_use]
    pub fn count_between(&self, pool: &BlockPool, from: u64, to: u64) -> u64 {
        self.block_at(pool, from)
            .map_or(0, |block| block.count_between(from, to))
    }

    /// The retained frames from a byte position on, which is a frame boundary.
    #[must_use]
    pub fn frames<'p>(&self, pool: &'p BlockPool, from: u64) -> Frames<'p> {
        let from = self.next_frame_boundary(pool, from.max(self.tail));
        Frames::new(pool, self.block_at(pool, from), from)
    }

    /// Byte position after the newest frame.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Byte position of the oldest retained frame.
    #[must_use]
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// Position of the newest event, retained or not.
    #[must_use]
    pub fn top(&self) -> Position {
        self.top
    }

    /// Position just before the oldest retained event: the earliest from which `find` can
    /// succeed.
    #[must_use]
    pub fn base(&self) -> Position {
        self.base
    }

    /// How many events are retained.
    #[must_use]
    pub fn events(&self) -> u32 {
        self.events
    }

    /// Whether nothing is retained; such a log holds no memory and may be dropped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn push(
        &mut self,
        pool: &mut BlockPool,
        parts: &[&[u8]],
        entry: Entry,
        epoch: u64,
    ) -> Result<u64, AppendError> {
        let bytes = parts.iter().map(|part| part.len()).sum();
        debug_assert!(bytes > 0, "a frame has at least its header");
        if bytes > LOG_FRAME_BYTES_MAX {
            return Err(AppendError::TooLarge { bytes });
        }
        let fits = |last: &BlockId| {
            let block = Block(pool.bytes(*last));
            block.has_room(bytes) && block.epoch() == epoch
        };
        let last = match self.last.filter(fits) {
            Some(last) => last,
            None => self.add_block(pool, bytes, epoch)?,
        };
        block::push(pool.bytes_mut(last), parts, entry);
        let start = self.head;
        self.head += bytes as u64;
        Ok(start)
    }

    /// Takes a block for a frame. Its size follows what the log retains, so that one small
    /// event costs little, a busy channel sends long runs, and at most about half is unused.
    fn add_block(
        &mut self,
        pool: &mut BlockPool,
        bytes: usize,
        epoch: u64,
    ) -> Result<BlockId, AppendError> {
        let needed = BlockClass::for_bytes(HEADER_BYTES + ENTRY_BYTES + bytes)
            .ok_or(AppendError::TooLarge { bytes })?;
        let retained = (self.head - self.tail) as usize;
        let grown = BlockClass::ALL
            .into_iter()
            .rev()
            .find(|class| class.bytes() <= retained);
        let mut class = needed.max(grown.unwrap_or(needed).min(LOG_BLOCK_CLASS_MAX));
        let id = loop {
            if let Some(id) = pool.alloc(class) {
                break id;
            }
            match class.smaller() {
                Some(smaller) if class > needed => class = smaller,
                _ => return Err(AppendError::PoolEmpty),
            }
        };
        let previous = self.last.map_or(0, BlockId::to_u32);
        block::open(pool.bytes_mut(id), self.head, epoch, previous);
        match self.last {
            Some(last) => block::set_next(pool.bytes_mut(last), id.to_u32()),
            None => (self.first, self.trimmed) = (Some(id), 0),
        }
        self.last = Some(id);
        Ok(id)
    }

    fn drop_first(&mut self, pool: &mut BlockPool, first: BlockId, next: Option<BlockId>) {
        match next {
            Some(next) => block::clear_previous(pool.bytes_mut(next)),
            None => self.last = None,
        }
        pool.free(first);
        (self.first, self.trimmed) = (next, 0);
    }

    /// The block that holds the byte at a position. The walk starts at the nearer end, since
    /// most readers are near the head and resuming ones near the tail.
    fn block_at<'p>(&self, pool: &'p BlockPool, byte: u64) -> Option<Block<'p>> {
        if byte < self.tail || byte >= self.head {
            return None;
        }
        if byte - self.tail < self.head - byte {
            let mut block = Block(pool.bytes(self.first?));
            while block.end() <= byte {
                block = Block(pool.bytes(BlockId::from_u32(block.next())?));
            }
            return Some(block);
        }
        let mut block = Block(pool.bytes(self.last?));
        while block.start() > byte {
            block = Block(pool.bytes(BlockId::from_u32(block.previous())?));
        }
        Some(block)
    }

    /// The first retained event above an offset that is below the top's.
    fn event_after<'p>(&self, pool: &'p BlockPool, offset: u64) -> Option<(Block<'p>, usize)> {
        let mut block = Block(pool.bytes(self.last?));
        while let Some(previous) = BlockId::from_u32(block.previous()) {
            if block.entry(0).offset <= offset {
                break;
            }
            block = Block(pool.bytes(previous));
        }
        // Trimmed entries are not above the base, hence not above the offset either.
        let index = block.partition(|entry| entry.offset <= offset);
        if index < block.count() {
            return Some((block, index));
        }
        let next = Block(pool.bytes(BlockId::from_u32(block.next())?));
        Some((next, 0))
    }

    /// The position of the event before an entry.
    fn before(&self, pool: &BlockPool, block: Block<'_>, index: usize) -> Position {
        if index > 0 {
            return block.position(index - 1);
        }
        let Some(previous) = BlockId::from_u32(block.previous()) else {
            return self.base;
        };
        let previous = Block(pool.bytes(previous));
        previous.position(previous.count() - 1)
    }
}

/// Whether two positions name the same event. Without a chain (ephemeral channels) only the
/// epoch tells two numberings apart.
fn is_same_place(left: Position, right: Position) -> bool {
    let same_epoch = left.chain != 0 || left.epoch == right.epoch;
    left.offset == right.offset && left.chain == right.chain && same_epoch
}
