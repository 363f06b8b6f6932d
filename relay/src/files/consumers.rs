//! Reading a log from a position on, for consumers.
//!
//! Only what is durable is handed out: a record that a failure of the machine can still
//! take back must not have been processed. Durable is what a later block proves, what is
//! in a sealed segment or an earlier boot, and what the shard has reported.

use std::collections::BTreeSet;
use std::fs::File;

use crate::event_log::{LogPosition, LogRecord};
use crate::files::layout::SegmentKey;
use crate::files::{FilesError, JournalFiles};
use crate::index::sidecar::Sidecar;
use crate::journal::{EntryBody, SegmentBlock, SegmentReader};
use crate::limits::INDEX_READ_BYTES;
use crate::record::{Kind, Sequence};

use super::catalog::read_up_to;
use super::layout::sidecar_path;

/// A reader's place in one lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LaneReader {
    shard: u16,
    kind: Kind,
    boot: u32,
    /// Last sequence that was handed out.
    through: Sequence,
    /// Segment and offset at which reading goes on.
    place: Option<(SegmentKey, u32)>,
}

impl LaneReader {
    /// Reads a lane from the oldest retained record, or after a committed position.
    pub fn new(shard: u16, kind: Kind, after: Option<LogPosition>) -> Self {
        Self {
            shard,
            kind,
            boot: after.map_or(0, |after| after.boot),
            through: after.map_or(Sequence::NONE, |after| after.sequence),
            place: None,
        }
    }

    /// The last sequence that was handed out.
    pub fn through(&self) -> Sequence {
        self.through
    }

    /// Where it stands.
    pub fn after(&self) -> LogPosition {
        LogPosition {
            boot: self.boot,
            shard: self.shard,
            kind: self.kind,
            sequence: self.through,
        }
    }

    /// Takes the durable records of a block; says whether all of it was taken.
    fn take_block(
        &mut self,
        block: &SegmentBlock<'_>,
        durable: Sequence,
        limit: usize,
        records: &mut Vec<LogRecord>,
    ) -> bool {
        for entry in block.entries() {
            if entry.sequence > durable || records.len() == limit {
                return false;
            }
            if entry.sequence <= self.through {
                continue;
            }
            self.through = entry.sequence;
            if let EntryBody::Record(record) = entry.body {
                let at = LogPosition {
                    boot: self.boot,
                    shard: self.shard,
                    kind: self.kind,
                    sequence: entry.sequence,
                };
                records.push(LogRecord::of(&record, at));
            }
        }
        true
    }
}

impl JournalFiles {
    /// A shard's entries of this boot are durable through `sequence`: consumers may have
    /// them. Without it the newest block waits for the next one.
    pub fn note_durable(&mut self, shard: u16, kind: Kind, sequence: Sequence) {
        let known = self.durable.entry((shard, kind)).or_default();
        *known = sequence.max(*known);
    }

    /// The logs that have segments of this boot or an earlier one.
    pub fn lanes(&self) -> BTreeSet<(u16, Kind)> {
        let keys = self.catalog.files.keys();
        keys.map(|key| (key.shard, key.id.kind)).collect()
    }

    /// The next records of a lane, at most `limit`; marks are left out.
    pub fn read_lane(
        &self,
        reader: &mut LaneReader,
        limit: usize,
    ) -> Result<Vec<LogRecord>, FilesError> {
        let mut records = Vec::new();
        let (start, boot) = (reader.place.map(|(key, _)| key), reader.boot);
        let (shard, kind) = (reader.shard, reader.kind);
        let ahead = self.catalog.files.keys().copied().filter(|key| {
            let lane = key.shard == shard && key.id.kind == kind;
            lane && start.map_or(key.boot >= boot, |start| *key >= start)
        });
        for key in ahead {
            if key.boot > reader.boot {
                reader.boot = key.boot;
                reader.through = Sequence::NONE;
                // The place lies in a segment of the boot that is over: read on from there, its
                // records would pass for those of the next.
                reader.place = None;
            }
            if !self.read_lane_segment(reader, key, limit, &mut records)? {
                break;
            }
        }
        Ok(records)
    }

    /// Reads one segment; says whether the lane may go on in the next.
    fn read_lane_segment(
        &self,
        reader: &mut LaneReader,
        key: SegmentKey,
        limit: usize,
        records: &mut Vec<LogRecord>,
    ) -> Result<bool, FilesError> {
        let Some(file) = self.catalog.files.get(&key) else {
            return Ok(true);
        };
        let sidecar = Sidecar::open(&sidecar_path(&file.path)).map(|sidecar| sidecar.header);
        if sidecar.is_some_and(|header| header.end <= reader.through.next()) {
            return Ok(true);
        }
        let opened = File::open(&file.path).map_err(FilesError::access("open", &file.path))?;
        let length = sidecar.map_or(u32::MAX, |header| header.length);
        let mut offset = reader
            .place
            .filter(|(at, _)| *at == key)
            .map_or(0, |(_, offset)| offset);
        let mut bytes = vec![0; INDEX_READ_BYTES];
        loop {
            let read = read_up_to(&opened, &mut bytes, u64::from(offset))
                .map_err(FilesError::access("read", &file.path))?;
            let number = key.id.number;
            let segment = SegmentReader::at(file.stream, number, offset, &bytes[..read]);
            let start = offset;
            let durable = self.durable_of(&key, segment, start);
            for block in segment
                .blocks(start)
                .take_while(|block| block.offset < length)
            {
                reader.place = Some((key, block.offset));
                if !reader.take_block(&block, durable, limit, records) {
                    return Ok(false);
                }
                offset = block.offset + block.header.length;
            }
            if read < bytes.len() || offset == start {
                return Ok(file.sealed);
            }
        }
    }

    /// Last sequence of a segment's log that is known to be durable.
    fn durable_of(&self, key: &SegmentKey, segment: SegmentReader<'_>, offset: u32) -> Sequence {
        let file = self.catalog.files.get(key);
        let whole = file.is_some_and(|file| file.sealed && !file.poisoned);
        if key.boot != self.boot.number || whole {
            return Sequence(u64::MAX);
        }
        let noted = self
            .durable
            .get(&(key.shard, key.id.kind))
            .copied()
            .unwrap_or_default();
        let proven = segment
            .blocks(offset)
            .map(|block| block.header.durable_through)
            .max();
        noted.max(proven.unwrap_or_default())
    }

    /// The first segment that a reader at `position` still needs; for
    /// [`JournalFiles::set_needed_from`].
    pub fn segment_after(&self, position: LogPosition) -> Option<SegmentKey> {
        let keys = self.catalog.files.keys();
        let mut lane =
            keys.filter(|key| key.shard == position.shard && key.id.kind == position.kind);
        lane.find(|key| {
            key.boot > position.boot
                || key.boot == position.boot && self.ends_after(key, position.sequence)
        })
        .copied()
    }

    fn ends_after(&self, key: &SegmentKey, sequence: Sequence) -> bool {
        match self.catalog.growing.get(key) {
            Some(growing) => {
                let open = self.catalog.files.get(key).is_some_and(|file| !file.sealed);
                open || growing.index.end > sequence.next()
            }
            None => {
                let file = self.catalog.files.get(key);
                let sidecar = file.and_then(|file| Sidecar::open(&sidecar_path(&file.path)));
                sidecar.is_none_or(|sidecar| sidecar.header.end > sequence.next())
            }
        }
    }
}
