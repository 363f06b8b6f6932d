//! Past events of a channel, read from retained segments.
//!
//! A page is complete or says that it is not: its events follow the wanted position and
//! each other by offset and chain. Where something is missing the page ends; it is never
//! continued behind a hole.

use std::collections::BTreeMap;
use std::io;

use interlink_protocol::frame::event::patch_position;
use interlink_protocol::ids::{placement_hash, Position};

use crate::files::layout::SegmentKey;
use crate::files::{FilesError, JournalFiles};
use crate::index::Place;
use crate::journal::{EntryBody, SegmentReader};
use crate::limits::{HISTORY_BYTES_MAX, HISTORY_EVENTS_MAX};
use crate::record::{Mark, Placement, RecordRef};
use crate::recovery::RecoveredEvent;

/// Why a page does not follow the wanted position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gap {
    /// What follows the position is not retained any more, or was damaged.
    Retention,
    /// The position was never issued, or belongs to a history that was lost.
    Unknown,
}

/// A page of past events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistoryPage {
    /// Events in order, without holes.
    pub events: Vec<RecoveredEvent>,
    /// Position of the last one; the wanted position when there is none.
    pub last: Position,
    /// Set when the first event does not follow the wanted position, or nothing shows that
    /// the position is the newest: then there are no events.
    pub gap: Option<Gap>,
    /// Whether more retained events follow.
    pub more: bool,
}

/// What counts as not retained although it is on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct HistoryFloor {
    /// All but so many of the newest events; 0 keeps every one.
    pub events: u32,
    /// Events that were accepted before this time, microseconds since the Unix epoch.
    pub accepted_us: u64,
}

type Candidates = BTreeMap<u64, Vec<(SegmentKey, Place)>>;

/// A block that was read last, for the events beside the one that asked.
type OpenBlock = Option<(SegmentKey, u32, Vec<u8>)>;

impl JournalFiles {
    /// Events of `channel` after a position, at most `limit` of them; [`Position::ZERO`]
    /// asks from the oldest retained one. Blocks for reading.
    pub fn history(
        &mut self,
        channel: &str,
        after: Position,
        limit: usize,
    ) -> Result<HistoryPage, FilesError> {
        self.history_above(channel, after, limit, HistoryFloor::default())
    }

    /// As [`Self::history`], as if nothing below `floor` were retained.
    pub fn history_above(
        &mut self,
        channel: &str,
        after: Position,
        limit: usize,
        floor: HistoryFloor,
    ) -> Result<HistoryPage, FilesError> {
        self.index_growing()?;
        let limit = limit.clamp(1, HISTORY_EVENTS_MAX);
        let hash = placement_hash(channel.as_bytes());
        let oldest = self.first_above(channel, hash, floor)?;
        // The event at the position itself is looked at too: it shows that it was issued.
        let mut from = after.offset.saturating_sub(1);
        if oldest > after.offset.saturating_add(1) {
            from = oldest - 1;
        }
        let candidates = self.candidates(hash, from, limit + 2)?;
        let mut page = HistoryPage {
            events: Vec::new(),
            last: after,
            gap: None,
            more: false,
        };
        let mut open = None;
        let mut bytes = 0;
        let mut confirmed = after.offset == 0;
        let first = candidates
            .keys()
            .copied()
            .find(|offset| *offset > after.offset);
        let mut chain = (after.offset > 0).then_some(after.chain);
        for (offset, places) in &candidates {
            let Some(event) = self.read_event(channel, places, chain, *offset, after, &mut open)
            else {
                if *offset > after.offset {
                    page.more = !page.events.is_empty();
                    break;
                }
                continue;
            };
            let position = event.placement.position;
            if *offset == after.offset {
                confirmed |= position.chain == after.chain;
                continue;
            }
            let joins = match page.events.last() {
                Some(last) => *offset == last.placement.position.offset + 1,
                None => after.offset == 0 || *offset == after.offset.saturating_add(1),
            };
            if !joins || page.events.len() == limit || bytes >= HISTORY_BYTES_MAX {
                page.more = true;
                break;
            }
            bytes += event.frame.len();
            chain = Some(position.chain);
            page.last = position;
            page.events.push(event);
        }
        if page.events.is_empty() && !(confirmed && first.is_none()) {
            let next = after.offset.saturating_add(1);
            let later = oldest > next || first.is_some_and(|first| first > next);
            page.gap = Some(if later { Gap::Retention } else { Gap::Unknown });
            page.more = false;
        }
        Ok(page)
    }

    /// Offset of the first event of a channel that is not below `floor`. Events are accepted in
    /// the order of their offsets, give or take what was on its way between two shards, so that
    /// the place is found by halving.
    fn first_above(
        &mut self,
        channel: &str,
        hash: u64,
        floor: HistoryFloor,
    ) -> Result<u64, FilesError> {
        if floor == HistoryFloor::default() {
            return Ok(1);
        }
        let mut end = self.top(channel)?.map_or(1, |top| top.offset + 1);
        let mut low = match floor.events {
            0 => 1,
            events => end.saturating_sub(u64::from(events)).max(1),
        };
        let Some(offset) = self.old_from(channel, hash, low, floor)? else {
            return Ok(low);
        };
        low = offset + 1;
        while low < end {
            let middle = low + (end - low) / 2;
            match self.old_from(channel, hash, middle, floor)? {
                Some(offset) => low = offset + 1,
                None => end = middle,
            }
        }
        Ok(low)
    }

    /// Offset of the first event from `offset` on, if it was accepted before the floor.
    fn old_from(
        &mut self,
        channel: &str,
        hash: u64,
        offset: u64,
        floor: HistoryFloor,
    ) -> Result<Option<u64>, FilesError> {
        let mut open = None;
        for (offset, places) in &self.candidates(hash, offset - 1, 2)? {
            let zero = Position::ZERO;
            let event = self.read_event(channel, places, None, *offset, zero, &mut open);
            if let Some(event) = event {
                let old = event.accepted_at_us < floor.accepted_us;
                return Ok(old.then_some(*offset));
            }
        }
        Ok(None)
    }

    /// Where the lowest `limit` offsets above `from` lie. Each log is looked through from
    /// its newest segment, no further back than needed; no clock decides.
    fn candidates(&mut self, hash: u64, from: u64, limit: usize) -> Result<Candidates, FilesError> {
        let mut found = Candidates::new();
        let mut boot_done = u32::MAX;
        let mut log_done = None;
        let keys: Vec<SegmentKey> = self.catalog.files.keys().rev().copied().collect();
        for key in &keys {
            let log = (key.boot, key.shard, key.id.kind);
            if log_done == Some(log) {
                continue;
            }
            // Events of an earlier boot come before all of a later one.
            if key.boot < boot_done && from > 0 && found.contains_key(&(from + 1)) {
                break;
            }
            boot_done = key.boot;
            if !matches!(self.catalog.check_places(key, hash), Ok(false)) {
                self.counters.damaged += 1;
            }
            let Ok(places) = self.catalog.places(key, hash, from, limit) else {
                self.counters.damaged += 1;
                continue;
            };
            if from > 0 && places.first().is_some_and(|place| place.offset == from + 1) {
                log_done = Some(log);
            }
            for place in places {
                found.entry(place.offset).or_default().push((*key, place));
            }
            while found.len() > limit {
                found.pop_last();
            }
        }
        Ok(found)
    }

    /// Reads the event at `offset` that follows `chain`; with several copies the one that
    /// fits.
    fn read_event(
        &mut self,
        channel: &str,
        places: &[(SegmentKey, Place)],
        chain: Option<u64>,
        offset: u64,
        after: Position,
        open: &mut OpenBlock,
    ) -> Option<RecoveredEvent> {
        for (key, place) in places {
            let event = match self.read_place(channel, key, place, open) {
                Ok(Some(event)) => event,
                Ok(None) => continue,
                Err(_) => {
                    self.counters.damaged += 1;
                    continue;
                }
            };
            let follows = chain.is_none_or(|chain| event.placement.previous_chain == chain);
            if event.placement.position.offset == offset && (follows || offset <= after.offset) {
                return Some(event);
            }
        }
        None
    }

    fn read_place(
        &self,
        channel: &str,
        key: &SegmentKey,
        place: &Place,
        open: &mut OpenBlock,
    ) -> io::Result<Option<RecoveredEvent>> {
        let found = self.with_entry(key, place.block, place.at, open, |body| match body {
            EntryBody::Record(record) => {
                let placement = record.placement.filter(|_| record.channel == channel);
                Ok(placement.map(|placement| event_of(record, placement)))
            }
            EntryBody::Mark(mark) => Err(*mark),
            EntryBody::Unknown { .. } => Ok(None),
        })?;
        match found {
            Some(Ok(event)) => Ok(event),
            Some(Err(mark)) => self.read_marked(channel, &mark),
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn read_marked(&self, channel: &str, mark: &Mark) -> io::Result<Option<RecoveredEvent>> {
        let Some((key, unplaced)) = self.catalog.find_unplaced(mark.record) else {
            return Ok(None);
        };
        let mut open = None;
        let found = self.with_entry(&key, unplaced.block, unplaced.at, &mut open, |body| {
            let EntryBody::Record(record) = body else {
                return None;
            };
            let placement = Placement {
                position: mark.position,
                previous_chain: mark.previous_chain,
            };
            (record.record == mark.record && record.channel == channel)
                .then(|| event_of(record, placement))
        })?;
        Ok(found.flatten().map(|mut event| {
            // Frames that are no events are only in tests of the journal.
            let _ = patch_position(&mut event.frame, mark.position, mark.previous_chain);
            event
        }))
    }

    /// Lets `read` see the entry at an offset of a segment, in its checked block.
    fn with_entry<T>(
        &self,
        key: &SegmentKey,
        block: u32,
        at: u32,
        open: &mut OpenBlock,
        read: impl Fn(&EntryBody<'_>) -> T,
    ) -> io::Result<Option<T>> {
        if open
            .as_ref()
            .is_none_or(|(known, offset, _)| (known, *offset) != (key, block))
        {
            *open = Some((*key, block, self.catalog.read_block(key, block)?));
        }
        let Some((_, _, bytes)) = open else {
            return Ok(None);
        };
        let file = self.catalog.files.get(key).ok_or(io::ErrorKind::NotFound)?;
        let reader = SegmentReader::at(file.stream, key.id.number, block, bytes);
        let Some(found) = reader.block(block) else {
            return Ok(None);
        };
        let mut entries = found.entries();
        let mut offset = entries.offset();
        while let Some(entry) = entries.next() {
            if offset == at {
                return Ok(Some(read(&entry.body)));
            }
            offset = entries.offset();
        }
        Ok(None)
    }
}

fn event_of(record: &RecordRef<'_>, placement: Placement) -> RecoveredEvent {
    RecoveredEvent {
        placement,
        record: record.record,
        class: record.class,
        accepted_at_us: record.accepted_at_us,
        frame: record.frame.into(),
    }
}
