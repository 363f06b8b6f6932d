//! The files of a node's journal: everything that blocks.
//!
//! Purpose: segments are made before a shard needs them, indexed while they grow, kept for
//! their time, recycled afterwards, and read for history. At start the same module recovers
//! what earlier boots left.
//!
//! Invariants:
//! - One process has a journal open, by a lock that the kernel releases with the process.
//! - A name that a shard was told about is durable in its directory.
//! - A segment goes only when it is sealed, retention has passed it, no consumer needs it,
//!   and, for earlier boots, [`JournalFiles::release_recovered`] was called.
//!
//! Limits: [`FilesConfig`]. Runs on: the main thread until the shards start, then a thread
//! of its own named `journal-files`.

mod boot;
pub(crate) mod catalog;
mod consumers;
mod direct;
mod error;
mod history;
pub(crate) mod layout;
mod lookup;
mod pool;
mod retention;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use interlink_protocol::ids::RecordId;

pub use boot::Boot;
pub use consumers::LaneReader;
pub use direct::DirectJournal;
pub use error::FilesError;
pub use history::{Gap, HistoryFloor, HistoryPage};
pub use layout::SegmentKey;

use crate::index::sidecar;
use crate::index::{ChannelFilter, SegmentIndex};
use crate::journal::{EntryBody, SealedSegment};
use crate::limits::{
    MARK_SLACK_US, POOL_SEGMENTS_DEFAULT, RETENTION_BYTES_DEFAULT, RETENTION_S_DEFAULT,
    SEGMENTS_AT_START, SEGMENT_BYTES_DEFAULT,
};
use crate::record::{Kind, SegmentId, Sequence, StreamId};
use crate::recovery::build::Build;
use crate::recovery::scan::Scan;
use crate::recovery::RecoveredNode;
use catalog::{Catalog, Growing, SegmentFile};
use layout::{
    create_directory, segment_path, shard_directory, sidecar_path, sync_directory, Layout,
};
use pool::Pool;

/// Settings of the files side.
#[derive(Clone, Debug)]
pub struct FilesConfig {
    /// The journal's directory; made when missing.
    pub directory: PathBuf,
    /// Shards of this boot.
    pub shards: u16,
    /// Size of new segments, the same as in [`crate::journal::JournalConfig`].
    pub segment_bytes: u32,
    /// Sealed segments beyond this go, oldest first.
    pub retention_bytes: u64,
    /// Sealed segments older than this go, seconds.
    pub retention_s: u64,
    /// Pre-written segments kept free.
    pub pool_segments: usize,
    /// Boot identity of the operating system; asked of the kernel when absent.
    pub system_boot: Option<String>,
}

impl FilesConfig {
    /// The defaults for a journal in `directory`.
    pub fn new(directory: &Path, shards: u16) -> Self {
        Self {
            directory: directory.to_path_buf(),
            shards,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            retention_bytes: RETENTION_BYTES_DEFAULT,
            retention_s: RETENTION_S_DEFAULT,
            pool_segments: POOL_SEGMENTS_DEFAULT,
            system_boot: None,
        }
    }
}

/// Plain counters and levels.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct FilesCounters {
    /// Segments handed to shards.
    pub prepared: u64,
    /// Segments sealed and indexed.
    pub sealed: u64,
    /// Segments that retention removed or recycled.
    pub retired: u64,
    /// Blocks or indexes that could not be read.
    pub damaged: u64,
    /// Bytes of all segments in boots.
    pub segment_bytes: u64,
    /// Bytes of pre-written segments.
    pub pool_bytes: u64,
}

/// The files of a node's journal, open and locked.
#[derive(Debug)]
pub struct JournalFiles {
    config: FilesConfig,
    layout: Layout,
    _lock: File,
    node: u128,
    boot: Boot,
    pool: Pool,
    catalog: Catalog,
    /// Records of this and earlier boots whose mark has not been seen, with the time of
    /// their block.
    unresolved: HashMap<RecordId, u64>,
    /// Marks whose record has not been seen.
    early_marks: HashSet<RecordId>,
    /// Records that earlier boots left without a position, until their copy is seen.
    handed_over: HashSet<RecordId>,
    /// Earlier boots may go.
    released: bool,
    /// First segment that a consumer still needs, by shard and kind.
    needed_from: HashMap<(u16, Kind), SegmentKey>,
    /// First segment to which a consumer may go back.
    kept_from: HashMap<(u16, Kind), SegmentKey>,
    /// Durable through, of this boot, by shard and kind.
    durable: HashMap<(u16, Kind), Sequence>,
    /// Every record sealed before this time had a position at the start.
    resolved_us: u64,
    /// Everything that was accepted after this time is retained.
    retained_since_us: u64,
    counters: FilesCounters,
}

impl JournalFiles {
    /// Opens a journal, recovers earlier boots and begins a new one. `now_us` is the time
    /// since the Unix epoch.
    ///
    /// # Errors
    /// [`FilesError`]: nothing was lost, and the same start can be tried again.
    pub fn open(config: FilesConfig, now_us: u64) -> Result<(Self, RecoveredNode), FilesError> {
        let layout = Layout::new(&config.directory);
        for directory in [
            layout.root().to_path_buf(),
            layout.boots(),
            layout.pool(),
            layout.quarantine(),
        ] {
            create_directory(&directory)?;
        }
        let lock = boot::lock(&layout)?;
        sync_directory(layout.root())?;
        let node = boot::node_identity(&layout)?;
        let system = match &config.system_boot {
            Some(system) => system.clone(),
            None => boot::system_boot()?,
        };
        let boots = Boot::list(&layout)?;
        let mut scan = Scan::new(&layout);
        for boot in &boots {
            scan.add_boot(boot)?;
        }
        let recovered = Build::new(&boots, &system, now_us).run(&mut scan)?;
        let at_start = usize::from(config.shards) * SEGMENTS_AT_START;
        let keep = config.pool_segments;
        let mut pool = Pool::open(&layout, config.segment_bytes, keep, at_start)?;
        for (_, file) in &scan.empty {
            pool.recycle(&file.path, true)?;
        }
        let number = boots.last().map_or(1, |boot| boot.number + 1);
        let boot = Boot::create(&layout, number, &system, config.shards)?;
        let retained_since_us = retained_since_us(&scan, &boots, now_us);
        let unmarked = recovered.unmarked.iter().map(|record| record.record);
        let mut files = Self {
            config,
            layout,
            _lock: lock,
            node,
            boot,
            pool,
            catalog: Catalog {
                files: scan.files,
                growing: HashMap::new(),
                scratch: Vec::new(),
            },
            unresolved: unmarked.clone().map(|record| (record, 0)).collect(),
            early_marks: HashSet::new(),
            handed_over: unmarked.collect(),
            released: recovered.unmarked.is_empty(),
            needed_from: HashMap::new(),
            kept_from: HashMap::new(),
            durable: HashMap::new(),
            resolved_us: recovered.resolved_us,
            retained_since_us,
            counters: FilesCounters::default(),
        };
        files.remove_empty_boots()?;
        Ok((files, recovered))
    }

    /// The boot that began with this start; its id goes into [`crate::journal::JournalConfig`].
    pub fn boot(&self) -> &Boot {
        &self.boot
    }

    /// Identity of the node, the same for all its boots.
    pub fn node(&self) -> u128 {
        self.node
    }

    /// Makes the segment that a shard's journal asked for and opens it for reading and
    /// writing. Blocks for a rename and a directory sync, and for reserving its room on the
    /// disk when none is free.
    pub fn prepare(&mut self, shard: u16, segment: SegmentId) -> Result<File, FilesError> {
        let directory = shard_directory(&self.boot.path, shard);
        let path = segment_path(&directory, segment);
        let file = self.pool.take(&path)?;
        let reading = file
            .try_clone()
            .map_err(FilesError::access("open", &path))?;
        let stream = StreamId {
            boot: self.boot.id,
            shard,
            kind: segment.kind,
        };
        let key = SegmentKey {
            boot: self.boot.number,
            shard,
            id: segment,
        };
        self.catalog.files.insert(
            key,
            SegmentFile {
                stream,
                path,
                bytes: u64::from(self.config.segment_bytes),
                last_us: 0,
                sealed: false,
                poisoned: false,
                damaged: false,
                channels: ChannelFilter::default(),
                checked: false,
            },
        );
        let index = SegmentIndex::new(stream, segment.number);
        self.catalog
            .growing
            .insert(key, Growing::new(reading, index));
        self.counters.prepared += 1;
        Ok(file)
    }

    /// Takes note that a shard's journal has left a segment for good: it is indexed to its
    /// end, and from then on subject to retention.
    pub fn retire(&mut self, shard: u16, sealed: SealedSegment) -> Result<(), FilesError> {
        let key = SegmentKey {
            boot: self.boot.number,
            shard,
            id: sealed.segment,
        };
        // Marks of records in this segment are in others; they are read up to here first.
        let seen_us = self.index_growing()?;
        let Some(file) = self.catalog.files.get_mut(&key) else {
            return Ok(());
        };
        file.sealed = true;
        file.poisoned |= sealed.poisoned;
        self.counters.sealed += 1;
        let Some(growing) = self.catalog.growing.get_mut(&key) else {
            return Ok(());
        };
        if growing.index.length != sealed.length {
            self.counters.damaged += 1;
            return Ok(());
        }
        growing.finish();
        if sealed.poisoned {
            // Part of it may never have reached the disk: it stays without a sidecar, so
            // that a start judges its bytes.
            return Ok(());
        }
        self.write_index(&key, seen_us)
    }

    /// Leaves the journal to another process: what is still in use gets its index, so that the
    /// next start need not read it, and what was prepared and never written is free again. The
    /// lock goes with this.
    ///
    /// To be called when every journal is idle and writes nothing any more. A failure costs the
    /// next start time and nothing else.
    pub fn leave(mut self) -> Result<(), FilesError> {
        let seen_us = self.index_growing()?;
        let in_use = self.catalog.growing.iter();
        let in_use: Vec<(SegmentKey, bool)> = in_use
            .filter(|(_, growing)| growing.grows())
            .map(|(key, growing)| (*key, growing.index.length == 0))
            .collect();
        for (key, is_empty) in in_use {
            if !is_empty {
                self.write_index(&key, seen_us)?;
            } else if let Some(file) = self.catalog.files.get(&key) {
                self.pool.recycle(&file.path, true)?;
            }
        }
        Ok(())
    }

    /// Writes the index of a segment that is complete.
    fn write_index(&mut self, key: &SegmentKey, seen_us: u64) -> Result<(), FilesError> {
        let (Some(file), Some(growing)) = (
            self.catalog.files.get_mut(key),
            self.catalog.growing.get_mut(key),
        ) else {
            return Ok(());
        };
        growing.index.sort();
        let oldest = self.unresolved.values().min().copied().unwrap_or(seen_us);
        let resolved_us = oldest
            .min(seen_us.saturating_sub(MARK_SLACK_US))
            .max(self.resolved_us);
        let bytes = sidecar::encode(&growing.index, resolved_us, false);
        layout::write_whole(&sidecar_path(&file.path), &bytes, false)?;
        file.channels = growing.index.filter();
        file.checked = true;
        self.catalog.growing.remove(key);
        Ok(())
    }

    /// Regular work, at least once a second and best every 50 ms: index what was written,
    /// keep segments ready, remove what has had its time. Says whether more can be done at
    /// once.
    pub fn tick(&mut self, now_us: u64) -> Result<bool, FilesError> {
        self.index_growing()?;
        let removed = self.apply_retention(now_us)?;
        let filled = self.pool.refill()?;
        self.counters.segment_bytes = self.catalog.bytes();
        self.counters.pool_bytes = self.pool.bytes();
        Ok(removed || filled)
    }

    /// How long to wait before [`Self::fill_ahead`] is due; nothing while enough segments are
    /// ready.
    pub fn fill_pause(&self) -> Option<Duration> {
        self.pool.pause()
    }

    /// Writes one portion of a segment that will be needed.
    pub fn fill_ahead(&mut self) -> Result<(), FilesError> {
        self.pool.refill()?;
        self.counters.pool_bytes = self.pool.bytes();
        Ok(())
    }

    /// Bytes of a shard's segments that retention may not remove: those still written and
    /// those that a consumer needs. For [`crate::journal::Journal::set_used_bytes`], at
    /// least once for every segment prepared.
    pub fn used_bytes(&self, shard: u16) -> u64 {
        let files = self.catalog.files.iter();
        let needed = files.filter(|(key, file)| {
            key.shard == shard
                && key.boot == self.boot.number
                && (!file.sealed || self.is_needed(key))
        });
        needed.map(|(_, file)| file.bytes).sum()
    }

    /// Every record of [`RecoveredNode::unmarked`] is durable in the journals of this boot:
    /// the earlier boots are subject to retention from now on.
    pub fn release_recovered(&mut self) {
        self.released = true;
    }

    /// A consumer has committed everything of a log before `segment`; segments from it on
    /// stay.
    pub fn set_needed_from(&mut self, segment: SegmentKey) {
        self.needed_from
            .insert((segment.shard, segment.id.kind), segment);
    }

    /// A consumer goes back to `segment` at most: segments from it on stay although they are
    /// not needed, and do not count against the quota.
    pub fn set_kept_from(&mut self, segment: SegmentKey) {
        self.kept_from
            .insert((segment.shard, segment.id.kind), segment);
    }

    /// Counters since the start, and levels as of the last tick.
    pub fn counters(&self) -> &FilesCounters {
        &self.counters
    }

    /// Path of the file of cursors.
    pub fn cursors_path(&self) -> PathBuf {
        self.layout.cursors()
    }

    /// Indexes what was written to growing segments; returns the time of the newest block.
    fn index_growing(&mut self) -> Result<u64, FilesError> {
        let mut newest_us = 0;
        let Catalog {
            files,
            growing,
            scratch,
        } = &mut self.catalog;
        for (key, growing) in growing {
            let Some(file) = files.get_mut(key) else {
                continue;
            };
            let marks = growing.index.marks.len();
            let unplaced = growing.index.unplaced.len();
            let mut resolutions = Vec::new();
            let handed_over = &self.handed_over;
            let advanced = growing.advance(scratch, |block| {
                if handed_over.is_empty() {
                    return;
                }
                for entry in block.entries() {
                    if let EntryBody::Record(record) = entry.body {
                        if record.placement.is_some() && handed_over.contains(&record.record) {
                            resolutions.push((record.record, SegmentIndex::resolution(&record)));
                        }
                    }
                }
            });
            advanced.map_err(FilesError::access("read", &file.path))?;
            for (record, mark) in resolutions {
                self.handed_over.remove(&record);
                growing.index.marks.extend(mark);
            }
            file.last_us = growing.index.last_us;
            newest_us = newest_us.max(file.last_us);
            for unplaced in &growing.index.unplaced[unplaced..] {
                if !self.early_marks.remove(&unplaced.record) {
                    self.unresolved
                        .insert(unplaced.record, unplaced.sealed_at_us);
                }
            }
            for mark in &growing.index.marks[marks..] {
                if self.unresolved.remove(&mark.record).is_none() {
                    self.early_marks.insert(mark.record);
                }
            }
        }
        Ok(newest_us)
    }
}

/// Since when everything is retained, as far as names and times of what is left tell.
/// Retention takes the segment that ended first; so what it took had ended before any of
/// those that stand first in their logs now.
fn retained_since_us(scan: &Scan, boots: &[Boot], now_us: u64) -> u64 {
    let mut logs = HashSet::new();
    let files = scan.files.iter();
    let fronts = files.filter(|(key, _)| logs.insert((key.boot, key.shard, key.id.kind)));
    let (mut late, mut ends_us) = (boots.first().is_some_and(|boot| boot.number > 1), now_us);
    for (key, file) in fronts {
        late |= key.id.number > 1;
        // A segment of which nothing is believed has no time.
        if file.last_us > 0 {
            ends_us = ends_us.min(file.last_us);
        }
    }
    if late {
        ends_us
    } else {
        0
    }
}
