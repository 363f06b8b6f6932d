//! The logs of channels with recent events, and how far each may be sent.
//!
//! Purpose: one place for what a channel has beside its 72 bytes once events come:
//! the log of ready-made WebSocket frames, the end up to which they may be sent (a
//! durable event is visible once its block has been written), and the pass that is
//! under way.
//!
//! Retention: the newest [`KEEP_EVENTS`] events of the last [`KEEP_MS`]; of a channel without
//! history what somebody has still to be sent. A log that stays empty is given up and its
//! channel remembers the byte position at which the next one starts, so that cursors stay
//! meaningful.
//!
//! Thread: the shard.

use std::collections::VecDeque;

use interlink_protocol::ids::Position;
use interlink_protocol::websocket::{frame::server_header, DataKind, Opcode};

use super::channel::{Channel, Visible};
use super::connection::NONE;
use crate::memory::channel_log::Frame;
use crate::memory::{
    AppendError, BlockPool, ChannelLog, EventMeta, LastValues, MemoryError, Slab, TrimRule,
};

/// Events that a log keeps for recovery.
pub const KEEP_EVENTS: u32 = 256;
/// How long it keeps them.
pub const KEEP_MS: u32 = 60_000;
/// A log above this size is trimmed even while a pass is under way.
const LOG_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Events that stay when memory is short.
const KEEP_EVENTS_SCARCE: u32 = 8;

#[derive(Debug)]
struct Entry {
    log: ChannelLog,
    visible: Visible,
}

/// All logs of a shard.
#[derive(Debug)]
pub struct Logs {
    /// The last values of conflated channels.
    pub values: LastValues,
    pool: BlockPool,
    entries: Slab<Entry>,
    /// Channels by the time at which their log is looked at again.
    aging: VecDeque<(u32, u32)>,
}

impl Logs {
    /// At most `logs` logs in `bytes` of memory, and `values` bytes of last values.
    ///
    /// # Errors
    /// When the address space is refused.
    pub fn new(logs: usize, bytes: usize, values: usize) -> Result<Self, MemoryError> {
        Ok(Self {
            values: LastValues::new(values)?,
            pool: BlockPool::new(bytes)?,
            entries: Slab::new(logs)?,
            aging: VecDeque::new(),
        })
    }

    /// Bytes of memory that the blocks hold.
    pub fn held_bytes(&self) -> usize {
        self.pool.stats().held_bytes
    }

    /// Asks for what is needed to append to the channel's log.
    pub fn prefetch(&self, channel: &Channel) {
        self.entries.prefetch(channel.log);
    }

    /// What of the channel's log may be sent from `cursor` on, in one piece.
    pub fn unsent(&self, channel: &Channel, cursor: u64) -> &[u8] {
        let Some(entry) = self.entry(channel) else {
            return &[];
        };
        if cursor >= entry.visible.end {
            return &[];
        }
        let bytes = entry.log.range(&self.pool, cursor).unwrap_or(&[]);
        let most = (entry.visible.end - cursor).min(bytes.len() as u64);
        &bytes[..most as usize]
    }

    /// The rest of the frame in which `cursor` stands.
    pub fn rest_of_frame(&self, channel: &Channel, cursor: u64) -> &[u8] {
        let Some(entry) = self.entry(channel) else {
            return &[];
        };
        let boundary = entry.log.next_frame_boundary(&self.pool, cursor);
        let bytes = entry.log.range(&self.pool, cursor).unwrap_or(&[]);
        &bytes[..(boundary.saturating_sub(cursor)).min(bytes.len() as u64) as usize]
    }

    /// Byte position up to which the channel's events may be sent.
    pub fn visible_end(&self, channel: &Channel) -> u64 {
        self.entry(channel)
            .map_or(channel.log_start, |entry| entry.visible.end)
    }

    /// Position of the last event that may be sent.
    pub fn visible_position(&self, channel: &Channel) -> Position {
        match self.entry(channel) {
            Some(entry) => entry.log.position_at(&self.pool, entry.visible.end),
            None => channel.sequencer.top(),
        }
    }

    /// Position of a reader that was sent everything up to `cursor`.
    pub fn position_at(&self, channel: &Channel, cursor: u64) -> Position {
        match self.entry(channel) {
            Some(entry) => entry.log.position_at(&self.pool, cursor),
            None => channel.sequencer.top(),
        }
    }

    /// Whether bytes after `cursor` were given up before they were sent.
    pub fn is_overrun(&self, channel: &Channel, cursor: u64) -> bool {
        let tail = self.entry(channel).map(|entry| entry.log.tail());
        cursor < tail.unwrap_or(channel.log_start)
    }

    /// Byte position and stream position of the oldest retained event's predecessor.
    pub fn oldest(&self, channel: &Channel) -> (u64, Position) {
        match self.entry(channel) {
            Some(entry) => (entry.log.tail(), entry.log.base()),
            None => (channel.log_start, channel.sequencer.top()),
        }
    }

    /// The byte position from which a reader at `position` misses nothing.
    pub fn find(&self, channel: &Channel, position: Position) -> Option<u64> {
        let top = channel.sequencer.top();
        match self.entry(channel) {
            Some(entry) => entry.log.find(&self.pool, position).ok(),
            None => (position == top).then_some(channel.log_start),
        }
    }

    /// The pass and visibility of the channel, if it has a log.
    pub fn visible_mut(&mut self, channel: &Channel) -> Option<&mut Visible> {
        if channel.log == NONE {
            return None;
        }
        Some(&mut self.entries[channel.log].visible)
    }

    /// The encoded events that may be sent from byte position `from` on, which is a boundary
    /// between two.
    pub fn visible_events(&self, channel: &Channel, from: u64) -> impl Iterator<Item = &[u8]> {
        self.visible_placed(channel, from).map(|(_, event)| event)
    }

    /// As [`Self::visible_events`], each with its position.
    pub fn visible_placed(
        &self,
        channel: &Channel,
        from: u64,
    ) -> impl Iterator<Item = (Position, &[u8])> {
        let entry = self.entry(channel);
        let end = entry.map_or(from, |entry| entry.visible.end);
        let frames = entry.map(|entry| entry.log.frames(&self.pool, from));
        let visible = move |frame: &Frame<'_>| frame.start < end;
        let frames = frames.into_iter().flatten().take_while(visible);
        frames.map(|frame| {
            let event = &frame.bytes[header_bytes(frame.bytes)..];
            (frame.position, event)
        })
    }

    /// Whether the channel has a log.
    pub fn has_log(&self, channel: &Channel) -> bool {
        channel.log != NONE
    }

    /// Forgets what the log holds, whether it may be sent or not: the channel goes on after
    /// `position`. One byte position is left out, so that every cursor is overrun, also one that
    /// has passed all that was held.
    pub fn restart(&mut self, channel: &mut Channel, position: Position) {
        if channel.log == NONE {
            channel.log_start += 1;
            return;
        }
        let entry = &mut self.entries[channel.log];
        let start = entry.log.head() + 1;
        entry.log.clear(&mut self.pool);
        entry.log = ChannelLog::new(position, start);
        entry.visible = Visible {
            end: start,
            ..Visible::default()
        };
    }

    /// Frames between two byte positions of the channel's log within one block.
    pub fn events_between(&self, channel: &Channel, from: u64, to: u64) -> u64 {
        let entry = self.entries.get(channel.log);
        entry.map_or(0, |entry| entry.log.count_between(&self.pool, from, to))
    }

    /// Appends an encoded event, given with the position before it; it is not visible yet.
    /// Returns the log's new head.
    ///
    /// # Errors
    /// When no memory can be freed for it; the log then has a gap after what it holds.
    pub fn append(
        &mut self,
        index: u32,
        channel: &mut Channel,
        (before, meta, frame): (Position, &EventMeta, &[u8]),
        now_ms: u32,
    ) -> Result<u64, AppendError> {
        if channel.log == NONE {
            let log = ChannelLog::new(before, channel.log_start);
            let visible = Visible {
                end: channel.log_start,
                ..Visible::default()
            };
            let Some(slot) = self.entries.insert(Entry { log, visible }) else {
                return Err(AppendError::PoolEmpty);
            };
            channel.log = slot;
            self.aging.push_back((index, now_ms.wrapping_add(KEEP_MS)));
        }
        let mut header = [0; 10];
        let binary = Opcode::Data(DataKind::Binary);
        let len = server_header(binary, true, frame.len(), &mut header);
        let log = &mut self.entries[channel.log].log;
        log.append(&mut self.pool, &[&header[..len], frame], meta)?;
        Ok(log.head())
    }

    /// Whether [`Self::trim`] is due: beyond the retention, and while a pass is due, far
    /// beyond it.
    pub fn is_beyond_retention(&self, channel: &Channel, in_pass: bool) -> bool {
        self.entry(channel).is_some_and(|entry| {
            let bytes = entry.log.head() - entry.log.tail();
            entry.log.events() > KEEP_EVENTS && (!in_pass || bytes >= LOG_BYTES_MAX)
        })
    }

    /// Drops what is beyond the retention, as far as it may have been sent.
    pub fn trim(&mut self, channel: &Channel) {
        self.keep_newest(channel, KEEP_EVENTS);
    }

    /// Drops all but a few events, to make room for another one.
    pub fn trim_scarce(&mut self, channel: &Channel) {
        self.keep_newest(channel, KEEP_EVENTS_SCARCE);
    }

    /// Drops every event that may have been sent.
    pub fn drop_sent(&mut self, channel: &Channel) {
        self.keep_newest(channel, 0);
    }

    fn keep_newest(&mut self, channel: &Channel, keep_events: u32) {
        if channel.log == NONE {
            return;
        }
        let entry = &mut self.entries[channel.log];
        let rule = TrimRule {
            keep_events,
            before_s: 0,
            min_cursor: entry.visible.end,
        };
        entry.log.trim(&mut self.pool, &rule);
    }

    /// The next channel whose log has to be looked at for its age.
    pub fn next_aged(&mut self, now_ms: u32) -> Option<u32> {
        let &(channel, at_ms) = self.aging.front()?;
        if at_ms.wrapping_sub(now_ms) as i32 > 0 {
            return None;
        }
        self.aging.pop_front();
        Some(channel)
    }

    /// Whether so little memory is left that logs have to give some back before it is all used.
    pub fn is_scarce(&self) -> bool {
        let stats = self.pool.stats();
        stats.held_bytes > stats.capacity_bytes / 8 * 7
    }

    /// The channel whose log is to give memory back; each has its turn.
    pub fn next_reclaimed(&mut self, now_ms: u32) -> Option<u32> {
        let (channel, _) = self.aging.pop_front()?;
        self.aging
            .push_back((channel, now_ms.wrapping_add(KEEP_MS / 2)));
        Some(channel)
    }

    /// Drops events older than the retention; gives the log up when nothing is left.
    pub fn age(&mut self, index: u32, channel: &mut Channel, now_ms: u32) {
        if channel.log == NONE {
            return;
        }
        let entry = &mut self.entries[channel.log];
        let rule = TrimRule {
            keep_events: KEEP_EVENTS,
            before_s: now_ms.saturating_sub(KEEP_MS) / 1_000,
            min_cursor: entry.visible.end,
        };
        entry.log.trim(&mut self.pool, &rule);
        if entry.log.is_empty() {
            channel.log_start = entry.log.head();
            self.entries.remove(channel.log);
            channel.log = NONE;
        } else {
            self.aging
                .push_back((index, now_ms.wrapping_add(KEEP_MS / 2)));
        }
    }

    fn entry(&self, channel: &Channel) -> Option<&Entry> {
        (channel.log != NONE).then(|| &self.entries[channel.log])
    }
}

/// Bytes of the WebSocket header in front of a kept event.
fn header_bytes(frame: &[u8]) -> usize {
    match frame[1] & 0x7f {
        126 => 4,
        127 => 10,
        _ => 2,
    }
}
