//! Second pass of a start: from indexes and the newest segments to what shards take over.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;

use interlink_protocol::ids::{placement_hash, Position, RecordId};

use crate::backplane::next_epoch;
use crate::dedupe::{DedupeLimits, PublisherWindows, RecoveredKey, Verdict, KEY_MESSAGE_ID};
use crate::files::catalog::{read_segment, SegmentFile};
use crate::files::layout::{sidecar_path, write_whole, SegmentKey};
use crate::files::{Boot, FilesError};
use crate::index::sidecar::{self, Section, Sidecar};
use crate::index::{merge_top, AcceptedId, SegmentIndex, Unplaced};
use crate::journal::{EntryBody, SegmentReader};
use crate::limits::{DEDUPE_GENERATION_S, DEDUPE_KEEP_S, MARK_SLACK_US, RECENT_BYTES_MAX};
use crate::record::{Mark, Sequence};
use crate::recovery::channels::RecentEvents;
use crate::recovery::scan::{Known, Scan};
use crate::recovery::{RecoveredChannel, RecoveredNode, RecoveredPublisher, UnmarkedRecord};

/// The state of a start between its passes.
#[derive(Debug)]
pub(crate) struct Build<'a> {
    boots: &'a [Boot],
    system: &'a str,
    now_us: u64,
    tops: HashMap<Box<str>, (Position, u32)>,
    mark_tops: HashMap<u64, (Position, u32)>,
    names: HashMap<u64, BTreeSet<Box<str>>>,
    windows: HashMap<u16, PublisherWindows>,
    keys: Vec<RecoveredKey>,
    unplaced: HashMap<RecordId, (SegmentKey, Unplaced)>,
    marked: HashSet<RecordId>,
    recent: RecentEvents,
    /// Records are looked at for marks only if their block was sealed after this.
    floor_us: u64,
    highest_epoch: u64,
    read_bytes: u64,
}

impl<'a> Build<'a> {
    pub fn new(boots: &'a [Boot], system: &'a str, now_us: u64) -> Self {
        Self {
            boots,
            system,
            now_us,
            tops: HashMap::new(),
            mark_tops: HashMap::new(),
            names: HashMap::new(),
            windows: HashMap::new(),
            keys: Vec::new(),
            unplaced: HashMap::new(),
            marked: HashSet::new(),
            recent: RecentEvents::default(),
            floor_us: 0,
            highest_epoch: 0,
            read_bytes: 0,
        }
    }

    /// Runs the pass; writes the indexes that were missing.
    pub fn run(mut self, scan: &mut Scan) -> Result<RecoveredNode, FilesError> {
        let headers = scan.known.values().filter_map(Known::header);
        self.floor_us = headers
            .map(|header| header.unresolved_since_us)
            .max()
            .unwrap_or(0);
        for (key, known) in &scan.known {
            self.absorb(key, known).map_err(|error| {
                let path = scan.files.get(key).map(|file| sidecar_path(&file.path));
                FilesError::access("read", &path.unwrap_or_default())(error)
            })?;
        }
        self.read_recent(scan)?;
        let unmarked = self.unmarked(scan)?;
        self.write_sidecars(scan)?;
        Ok(self.finish(scan, unmarked))
    }

    fn absorb(&mut self, key: &SegmentKey, known: &Known) -> io::Result<()> {
        match known {
            Known::Indexed(sidecar) => self.absorb_sidecar(key, sidecar),
            Known::Scanned(scanned) => {
                self.absorb_index(key, &scanned.index);
                Ok(())
            }
        }
    }

    fn absorb_index(&mut self, key: &SegmentKey, index: &SegmentIndex) {
        for (name, position) in &index.tops {
            self.add_top(name, *position, key.boot);
        }
        for (name, hash) in &index.names {
            self.names.entry(*hash).or_default().insert(name.clone());
        }
        for accepted in &index.accepted {
            self.add_accepted(key.shard, accepted);
        }
        let unsure = index
            .unplaced
            .iter()
            .filter(|one| one.sealed_at_us >= self.floor_us);
        for unplaced in unsure {
            self.unplaced.insert(unplaced.record, (*key, *unplaced));
        }
        for mark in &index.marks {
            self.add_mark(mark, key.boot, true);
        }
    }

    fn absorb_sidecar(&mut self, key: &SegmentKey, sidecar: &Sidecar) -> io::Result<()> {
        for (name, position) in sidecar::tops_of(&sidecar.section(Section::Tops)?) {
            self.add_top(name, position, key.boot);
        }
        for (hash, name) in sidecar::names_of(&sidecar.section(Section::Names)?) {
            self.names.entry(hash).or_default().insert(name.into());
        }
        let last_us = sidecar.header.last_us;
        let held_us = u64::from(DEDUPE_KEEP_S + DEDUPE_GENERATION_S) * 1_000_000;
        if last_us.saturating_add(held_us) >= self.now_us {
            let section = sidecar.section(Section::Accepted)?;
            sidecar::accepted_of(&section, |accepted| self.add_accepted(key.shard, &accepted));
        }
        // Tops need every mark; records that may lack one only those of about their time.
        let resolves = last_us.saturating_add(MARK_SLACK_US) >= self.floor_us;
        for mark in sidecar::marks_of(&sidecar.section(Section::Marks)?) {
            self.add_mark(&mark, key.boot, resolves);
        }
        if last_us >= self.floor_us {
            for unplaced in sidecar::unplaced_of(&sidecar.section(Section::Unplaced)?) {
                if unplaced.sealed_at_us >= self.floor_us {
                    self.unplaced.insert(unplaced.record, (*key, unplaced));
                }
            }
        }
        Ok(())
    }

    fn add_top(&mut self, name: &str, position: Position, boot: u32) {
        self.highest_epoch = self.highest_epoch.max(position.epoch);
        match self.tops.get_mut(name) {
            Some(top) => {
                if (position.epoch, position.offset) >= (top.0.epoch, top.0.offset) {
                    *top = (position, boot);
                }
            }
            None => {
                self.tops.insert(name.into(), (position, boot));
            }
        }
    }

    fn add_mark(&mut self, mark: &Mark, boot: u32, resolves: bool) {
        self.highest_epoch = self.highest_epoch.max(mark.position.epoch);
        if resolves {
            self.marked.insert(mark.record);
        }
        merge_top(&mut self.mark_tops, mark.channel_hash, mark.position, boot);
    }

    fn add_accepted(&mut self, shard: u16, accepted: &AcceptedId) {
        if accepted.id == KEY_MESSAGE_ID {
            let recent = accepted.second.saturating_add(DEDUPE_KEEP_S);
            if u64::from(recent) >= self.now_us / 1_000_000 {
                self.keys.push(RecoveredKey {
                    id: accepted.instance,
                    fingerprint: accepted.fingerprint,
                    second: accepted.second,
                });
            }
            return;
        }
        let windows = self
            .windows
            .entry(shard)
            .or_insert_with(|| PublisherWindows::new(DedupeLimits::default()));
        // A fingerprint is its own hash, see `fingerprint`.
        let hash = u64::from(accepted.fingerprint);
        let AcceptedId {
            instance,
            class,
            id,
            second,
            ..
        } = *accepted;
        if windows.look_up(instance, class, id, hash) == Verdict::New {
            windows.insert(instance, class, id, hash, second);
        }
    }

    /// Reads the newest segments, and all that had no index, for the events in them.
    fn read_recent(&mut self, scan: &mut Scan) -> Result<(), FilesError> {
        let chosen = choose_recent(scan);
        if !self.unplaced.is_empty() {
            self.visit(scan, &chosen, |build, _, body| {
                if let EntryBody::Record(record) = body {
                    if record.placement.is_none() {
                        build.recent.add_unplaced(record);
                    }
                }
            })?;
        }
        self.visit(scan, &chosen, |build, known, body| match body {
            EntryBody::Record(record) => {
                let Some(placement) = record.placement else {
                    return;
                };
                build.recent.add_placed(record, placement);
                // The copy of a record that an earlier start found without a position.
                if build.unplaced.contains_key(&record.record) {
                    build.marked.insert(record.record);
                    if let Known::Scanned(scanned) = known {
                        scanned.index.marks.extend(SegmentIndex::resolution(record));
                    }
                }
            }
            EntryBody::Mark(mark) => build.recent.add_mark(mark),
            EntryBody::Unknown { .. } => {}
        })
    }

    fn visit(
        &mut self,
        scan: &mut Scan,
        chosen: &BTreeSet<SegmentKey>,
        mut each: impl FnMut(&mut Self, &mut Known, &EntryBody<'_>),
    ) -> Result<(), FilesError> {
        for key in chosen {
            let (Some(file), Some(known)) = (scan.files.get(key), scan.known.get_mut(key)) else {
                continue;
            };
            let bytes = read_segment(&file.path).map_err(FilesError::access("read", &file.path))?;
            self.read_bytes += bytes.len() as u64;
            let reader = SegmentReader::new(file.stream, key.id.number, &bytes);
            for (offset, from) in countable(known, reader) {
                let Some(block) = reader.block(offset) else {
                    continue;
                };
                for entry in block.entries().filter(|entry| entry.sequence >= from) {
                    each(self, known, &entry.body);
                }
            }
        }
        Ok(())
    }

    /// The records that have no position anywhere, in journal order.
    fn unmarked(&self, scan: &Scan) -> Result<Vec<UnmarkedRecord>, FilesError> {
        let mut places: Vec<_> = self
            .unplaced
            .iter()
            .filter(|(record, _)| !self.marked.contains(record))
            .map(|(_, (key, unplaced))| (*key, unplaced.at, *unplaced))
            .collect();
        places.sort_unstable();
        let mut records = Vec::with_capacity(places.len());
        let mut open: Option<(SegmentKey, Vec<u8>)> = None;
        for (key, _, unplaced) in places {
            let Some(file) = scan.files.get(&key) else {
                continue;
            };
            if open.as_ref().is_none_or(|(known, _)| *known != key) {
                let bytes = read_segment(&file.path);
                open = Some((key, bytes.map_err(FilesError::access("read", &file.path))?));
            }
            let bytes = open.as_ref().map_or(&[][..], |(_, bytes)| bytes);
            let reader = SegmentReader::new(file.stream, key.id.number, bytes);
            let block = reader.block(unplaced.block);
            let entries = block.into_iter().flat_map(|block| block.entries());
            records.extend(entries.filter_map(|entry| match entry.body {
                EntryBody::Record(found) if found.record == unplaced.record => {
                    Some(UnmarkedRecord::of(&found))
                }
                _ => None,
            }));
        }
        Ok(records)
    }

    fn write_sidecars(&self, scan: &mut Scan) -> Result<(), FilesError> {
        let unmarked = self
            .unplaced
            .iter()
            .filter(|(record, _)| !self.marked.contains(record));
        let oldest = unmarked
            .map(|(_, (_, unplaced))| unplaced.sealed_at_us)
            .min();
        let newest = scan
            .files
            .values()
            .map(|file| file.last_us)
            .max()
            .unwrap_or(0);
        // Never below what earlier indexes vouch for: copies of older records were not
        // looked for, so that the new indexes do not name them.
        let resolved_us = oldest
            .unwrap_or(newest)
            .min(newest.saturating_sub(MARK_SLACK_US));
        let resolved_us = resolved_us.max(self.floor_us);
        for (key, known) in &mut scan.known {
            let (Known::Scanned(scanned), Some(file)) = (known, scan.files.get(key)) else {
                continue;
            };
            scanned.index.sort();
            let bytes = sidecar::encode(&scanned.index, resolved_us, scanned.damaged);
            write_whole(&sidecar_path(&file.path), &bytes, false)?;
        }
        Ok(())
    }

    fn finish(mut self, scan: &mut Scan, unmarked: Vec<UnmarkedRecord>) -> RecoveredNode {
        self.name_marks();
        let now_ms = self.now_us / 1_000;
        let last = self.boots.last();
        let lineage = last.map_or(1, |boot| u64::from(boot.number) + 1);
        let damaged_through = scan.damage.iter().map(|(boot, _)| *boot).max().unwrap_or(0);
        let mut channels = Vec::with_capacity(self.tops.len());
        for (name, (top, boot)) in std::mem::take(&mut self.tops) {
            let events = self.recent.take(&name, top.offset, top.chain);
            let continues = boot > damaged_through && self.is_same_system(boot);
            channels.push(RecoveredChannel {
                name,
                top,
                continues,
                events,
            });
        }
        channels.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let mut publishers = Vec::new();
        let mut shards: Vec<_> = std::mem::take(&mut self.windows).into_iter().collect();
        shards.sort_unstable_by_key(|(shard, _)| *shard);
        for (shard, windows) in shards {
            publishers.extend(windows.into_windows().map(|(instance, window)| {
                RecoveredPublisher {
                    shard,
                    instance,
                    window,
                }
            }));
        }
        RecoveredNode {
            boots: self.boots.len(),
            system_restarted: last.is_some_and(|boot| boot.system != self.system),
            degraded: scan.newly_damaged,
            epoch: next_epoch(now_ms, lineage, self.highest_epoch),
            resolved_us: self.floor_us,
            channels,
            publishers,
            keys: std::mem::take(&mut self.keys),
            unmarked,
            damage: scan
                .damage
                .iter()
                .map(|(_, damage)| damage.clone())
                .collect(),
            torn: std::mem::take(&mut scan.torn),
            read_bytes: self.read_bytes + scan.read_bytes,
            read_segments: scan
                .known
                .values()
                .filter(|known| known.header().is_none())
                .count(),
        }
    }

    /// Gives tops that marks know by hash their names. Where two names share a hash the
    /// marks cannot be told apart: both get a new epoch by counting as from no boot.
    fn name_marks(&mut self) {
        for (hash, (position, boot)) in std::mem::take(&mut self.mark_tops) {
            let known = self.names.remove(&hash).unwrap_or_default();
            let boot = if known.len() > 1 { 0 } else { boot };
            for name in known {
                debug_assert_eq!(placement_hash(name.as_bytes()), hash);
                self.add_top(&name, position, boot);
            }
        }
    }

    /// Whether the page cache of a boot still counts.
    fn is_same_system(&self, number: u32) -> bool {
        let boot = self.boots.iter().find(|boot| boot.number == number);
        boot.is_some_and(|boot| boot.system == self.system)
    }
}

/// The newest segments up to a bound, and those without an index.
fn choose_recent(scan: &Scan) -> BTreeSet<SegmentKey> {
    let mut by_age: Vec<(&SegmentKey, &SegmentFile)> = scan.files.iter().collect();
    by_age.sort_unstable_by_key(|(key, file)| std::cmp::Reverse((key.boot, file.last_us)));
    let mut bytes = 0;
    let mut chosen = BTreeSet::new();
    for (key, file) in by_age {
        bytes += file.bytes;
        let scanned = scan
            .known
            .get(key)
            .is_some_and(|known| known.header().is_none());
        if scanned || bytes <= RECENT_BYTES_MAX {
            chosen.insert(*key);
        }
    }
    chosen
}

/// The blocks of a segment that count, with the first entry that does.
fn countable(known: &Known, reader: SegmentReader<'_>) -> Vec<(u32, Sequence)> {
    match known {
        Known::Scanned(scanned) => scanned
            .believed
            .iter()
            .map(|block| (block.offset, block.from))
            .collect(),
        Known::Indexed(sidecar) => {
            let blocks = reader.blocks(0);
            let inside = blocks.take_while(|block| block.offset < sidecar.header.length);
            inside
                .map(|block| (block.offset, sidecar.header.first))
                .collect()
        }
    }
}
