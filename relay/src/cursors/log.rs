//! The file of cursors: appended in batches, rewritten when most of it is old.
//!
//! ```text
//! entry = length u32 (of the rest) | crc32c u32 (of the rest) | tag u8 | body
//! delivery (1) = epoch u64 | offset u64 | chain u64 | record u128 | user | device | channel
//! consumer (2) = boot u32 | shard u16 | kind u8 | sequence u64 | group
//! settled (3) = time u64 (microseconds since the Unix epoch) | as consumer
//! memory (4) = group | bytes of the group
//! ```
//! Texts have a length of 16 bits before them.
//!
//! Reading ends at the first entry that is not whole; what follows is cut off, so that the
//! next append can be read. A lost cursor only means that events come again. After a write that
//! failed the file may end in half an entry; the next one replaces the file.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use interlink_protocol::ids::{Position, RecordId};

use crate::bytes::{Fields, PutFields};
use crate::cursors::{Cursor, CursorTable, CursorUpdate, Settled, Trail};
use crate::event_log::LogPosition;
use crate::files::layout::{sync_directory, write_whole};
use crate::files::FilesError;
use crate::limits::{CURSORS_MAX, CURSOR_LOG_BYTES_MIN};
use crate::record::{Kind, Sequence};

const TAG_DELIVERY: u8 = 1;
const TAG_CONSUMER: u8 = 2;
const TAG_SETTLED: u8 = 3;
const TAG_MEMORY: u8 = 4;

/// A group of consumers and a log.
type ConsumerKey = (Box<str>, u16, Kind);

/// The file of delivery and consumer cursors.
#[derive(Debug)]
pub struct CursorLog {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Size after the last rewrite.
    live_bytes: u64,
    deliveries: CursorTable,
    consumers: BTreeMap<ConsumerKey, LogPosition>,
    /// Of groups that say when they settled what.
    trails: BTreeMap<ConsumerKey, Trail>,
    /// What groups have to know besides.
    memories: BTreeMap<Box<str>, Box<[u8]>>,
    cut_bytes: u64,
    /// A write failed: what the file ends with is unknown.
    torn: bool,
}

impl CursorLog {
    /// Opens the file, or makes it, and reads what it holds.
    pub fn open(path: &Path) -> Result<Self, FilesError> {
        let mut options = OpenOptions::new();
        let options = options.read(true).append(true).create(true);
        let file = options
            .open(path)
            .map_err(FilesError::access("open", path))?;
        let content = std::fs::read(path).map_err(FilesError::access("read", path))?;
        let mut log = Self {
            path: path.to_path_buf(),
            file,
            bytes: 0,
            live_bytes: CURSOR_LOG_BYTES_MIN,
            deliveries: CursorTable::new(CURSORS_MAX),
            consumers: BTreeMap::new(),
            trails: BTreeMap::new(),
            memories: BTreeMap::new(),
            cut_bytes: 0,
            torn: false,
        };
        if let (true, Some(directory)) = (content.is_empty(), path.parent()) {
            sync_directory(directory)?;
        }
        let whole = log.read(&content);
        log.cut_bytes = content.len() as u64 - whole;
        if log.cut_bytes > 0 {
            let cut = log.file.set_len(whole).and_then(|()| log.file.sync_all());
            cut.map_err(FilesError::access("cut", path))?;
        }
        log.bytes = whole;
        Ok(log)
    }

    /// Appends delivery cursors and syncs; afterwards they survive the machine.
    pub fn append(&mut self, updates: &[CursorUpdate]) -> Result<(), FilesError> {
        let mut batch = Vec::new();
        for update in updates {
            put_delivery(&mut batch, update);
            self.deliveries.restore(update);
        }
        self.write(&batch)
    }

    /// Moves a consumer group's cursor in one log and syncs; it only moves forward.
    pub fn commit(&mut self, group: &str, position: LogPosition) -> Result<(), FilesError> {
        let key = (group.into(), position.shard, position.kind);
        let known = self.consumers.get(&key);
        let place = |position: &LogPosition| (position.boot, position.sequence);
        if known.is_some_and(|known| place(known) >= place(&position)) {
            return Ok(());
        }
        let mut entry = Vec::new();
        put_consumer(&mut entry, group, &position);
        self.consumers.insert(key, position);
        self.write(&entry)
    }

    /// Moves the cursor of a group that keeps a trail, and syncs. It goes back when what was
    /// settled is not any more.
    pub fn settle(
        &mut self,
        group: &str,
        through: LogPosition,
        at_us: u64,
    ) -> Result<(), FilesError> {
        let point = Settled { through, at_us };
        let mut entry = Vec::new();
        put_settled(&mut entry, group, &point);
        self.take_settled(group.into(), &point);
        self.write(&entry)
    }

    fn take_settled(&mut self, group: Box<str>, point: &Settled) {
        let key = (group, point.through.shard, point.through.kind);
        let trail = self.trails.entry(key.clone()).or_default();
        trail.note(point.through, point.at_us);
        self.consumers.insert(key, point.through);
    }

    /// Where the cursor of a group stood in one log lately, if it keeps a trail.
    pub fn trail(&self, group: &str, shard: u16, kind: Kind) -> Option<&Trail> {
        self.trails.get(&(group.into(), shard, kind))
    }

    /// Keeps what a group has to know besides its cursors, and syncs; a later memory replaces it.
    pub fn remember(&mut self, group: &str, memory: &[u8]) -> Result<(), FilesError> {
        let mut entry = Vec::new();
        put_memory(&mut entry, group, memory);
        self.memories.insert(group.into(), memory.into());
        self.write(&entry)
    }

    /// What a group has kept with [`Self::remember`].
    pub fn memory(&self, group: &str) -> &[u8] {
        self.memories.get(group).map_or(&[], |memory| memory)
    }

    /// A consumer group's cursor in one log.
    pub fn committed(&self, group: &str, shard: u16, kind: Kind) -> Option<LogPosition> {
        self.consumers.get(&(group.into(), shard, kind)).copied()
    }

    /// The cursor of the group that is furthest behind in a log.
    pub fn slowest(&self, shard: u16, kind: Kind) -> Option<LogPosition> {
        let lane = self.consumers.values();
        let lane = lane.filter(|position| position.shard == shard && position.kind == kind);
        lane.min_by_key(|position| (position.boot, position.sequence))
            .copied()
    }

    /// The delivery cursors, for the shards at start and for look-ups.
    pub fn deliveries(&self) -> &CursorTable {
        &self.deliveries
    }

    /// Lets the next write fail.
    #[cfg(test)]
    pub(super) fn break_file(&mut self) {
        self.file = File::open(&self.path).expect("the file is there");
    }

    /// Bytes that were not readable when the file was opened.
    pub fn cut_bytes(&self) -> u64 {
        self.cut_bytes
    }

    /// Makes a batch durable that the tables hold already.
    fn write(&mut self, batch: &[u8]) -> Result<(), FilesError> {
        if self.torn {
            return self.rewrite();
        }
        let write = |file: &mut File| -> io::Result<()> {
            file.write_all(batch)?;
            file.sync_data()
        };
        let written = write(&mut self.file);
        self.torn = written.is_err();
        written.map_err(FilesError::access("write", &self.path))?;
        self.bytes += batch.len() as u64;
        if self.bytes > 4 * self.live_bytes {
            self.rewrite()?;
        }
        Ok(())
    }

    /// Writes what counts to a new file in place of the old one.
    fn rewrite(&mut self) -> Result<(), FilesError> {
        let mut content = Vec::new();
        for update in self.deliveries.iter() {
            put_delivery(&mut content, &update);
        }
        for (key, position) in &self.consumers {
            let trail = self.trails.get(key).into_iter().flat_map(Trail::points);
            trail.for_each(|point| put_settled(&mut content, &key.0, &point));
            if !self.trails.contains_key(key) {
                put_consumer(&mut content, &key.0, position);
            }
        }
        for (group, memory) in &self.memories {
            put_memory(&mut content, group, memory);
        }
        write_whole(&self.path, &content, true)?;
        let file = OpenOptions::new().append(true).open(&self.path);
        self.file = file.map_err(FilesError::access("open", &self.path))?;
        self.torn = false;
        self.bytes = content.len() as u64;
        self.live_bytes = self.bytes.max(CURSOR_LOG_BYTES_MIN);
        Ok(())
    }

    /// Takes over whole entries; returns where they end.
    fn read(&mut self, content: &[u8]) -> u64 {
        let mut fields = Fields::new(content);
        loop {
            let whole = (content.len() - fields.rest().len()) as u64;
            if self.read_entry(&mut fields).is_none() {
                return whole;
            }
        }
    }

    fn read_entry(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        let (length, crc) = (fields.u32()?, fields.u32()?);
        let body = fields.take(length as usize)?;
        if crc32c::crc32c(body) != crc {
            return None;
        }
        let mut body = Fields::new(body);
        match body.u8()? {
            TAG_DELIVERY => self.deliveries.restore(&read_delivery(&mut body)?),
            TAG_CONSUMER => {
                let (group, position) = read_consumer(&mut body)?;
                self.consumers
                    .insert((group, position.shard, position.kind), position);
            }
            TAG_SETTLED => {
                let at_us = body.u64()?;
                let (group, through) = read_consumer(&mut body)?;
                self.take_settled(group, &Settled { through, at_us });
            }
            TAG_MEMORY => {
                let group = body.text()?.into();
                self.memories.insert(group, body.rest().into());
            }
            // Of a newer version: carried over a rewrite by nobody, and not needed here.
            _ => {}
        }
        Some(())
    }
}

fn put_entry(out: &mut Vec<u8>, body: &[u8]) {
    out.put_u32(body.len() as u32);
    out.put_u32(crc32c::crc32c(body));
    out.put_bytes(body);
}

fn put_delivery(out: &mut Vec<u8>, update: &CursorUpdate) {
    let mut body = vec![TAG_DELIVERY];
    let position = update.cursor.position;
    body.put_u64(position.epoch);
    body.put_u64(position.offset);
    body.put_u64(position.chain);
    body.put_u128(update.cursor.record.0);
    body.put_text(&update.user);
    body.put_text(&update.device);
    body.put_text(&update.channel);
    put_entry(out, &body);
}

fn put_consumer(out: &mut Vec<u8>, group: &str, position: &LogPosition) {
    let mut body = vec![TAG_CONSUMER];
    put_position(&mut body, group, position);
    put_entry(out, &body);
}

fn put_settled(out: &mut Vec<u8>, group: &str, point: &Settled) {
    let mut body = vec![TAG_SETTLED];
    body.put_u64(point.at_us);
    put_position(&mut body, group, &point.through);
    put_entry(out, &body);
}

fn put_memory(out: &mut Vec<u8>, group: &str, memory: &[u8]) {
    let mut body = vec![TAG_MEMORY];
    body.put_text(group);
    body.put_bytes(memory);
    put_entry(out, &body);
}

fn put_position(body: &mut Vec<u8>, group: &str, position: &LogPosition) {
    body.put_u32(position.boot);
    body.put_u16(position.shard);
    body.put_u8(position.kind as u8);
    body.put_u64(position.sequence.0);
    body.put_text(group);
}

fn read_delivery(body: &mut Fields<'_>) -> Option<CursorUpdate> {
    let position = Position {
        epoch: body.u64()?,
        offset: body.u64()?,
        chain: body.u64()?,
    };
    let record = RecordId(body.u128()?);
    Some(CursorUpdate {
        user: body.text()?.into(),
        device: body.text()?.into(),
        channel: body.text()?.into(),
        cursor: Cursor { position, record },
    })
}

fn read_consumer(body: &mut Fields<'_>) -> Option<(Box<str>, LogPosition)> {
    let position = LogPosition {
        boot: body.u32()?,
        shard: body.u16()?,
        kind: Kind::from_number(body.u8()?)?,
        sequence: Sequence(body.u64()?),
    };
    Some((body.text()?.into(), position))
}
