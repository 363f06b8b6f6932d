//! The index of one segment: what is in it, without reading it.
//!
//! Purpose: a start and a history request must not read gigabytes. While a segment grows,
//! the files thread reads its new blocks and keeps this index in memory; when the segment
//! is complete, the index is written beside it as a [`sidecar`]. The shard does nothing
//! for it. An index holds nothing that the segment does not: a lost or damaged sidecar is
//! built again.
//!
//! Contents: for each placed event the hash of its channel, its offset there and where it
//! lies; records that another shard places, and marks; the newest position of each
//! channel; accepted ids of publishers.
//!
//! Invariant: only whole blocks are indexed, each once.
//! Limits: those of a segment; about 100 bytes for each entry while it grows.
//! Runs on: the journal-files thread, and the main thread at start.

mod filter;
pub(crate) mod sidecar;

use std::collections::hash_map::Entry as Slot;
use std::collections::HashMap;

use interlink_protocol::ids::{placement_hash, InstanceId, Position, RecordId};
use interlink_protocol::priority::Priority;

use crate::dedupe::fingerprint;
use crate::journal::{EntryBody, SegmentBlock};
use crate::record::{Mark, RecordRef, Sequence, StreamId};

pub(crate) use filter::ChannelFilter;

/// An event of a channel: where its entry lies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Place {
    /// Placement hash of the channel's name.
    pub hash: u64,
    /// Offset of the event in its channel.
    pub offset: u64,
    /// Offset of the block in the segment.
    pub block: u32,
    /// Offset of the entry in the segment.
    pub at: u32,
}

/// A record that its channel's owner places by a mark.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Unplaced {
    /// The record.
    pub record: RecordId,
    /// When its block was sealed.
    pub sealed_at_us: u64,
    /// Offset of the block in the segment.
    pub block: u32,
    /// Offset of the entry in the segment.
    pub at: u32,
}

/// An accepted id of a publisher.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct AcceptedId {
    /// The publisher instance.
    pub instance: InstanceId,
    /// The class.
    pub class: Priority,
    /// The id.
    pub id: u64,
    /// Fingerprint of the payload.
    pub fingerprint: u32,
    /// When it was accepted, seconds since the Unix epoch.
    pub second: u32,
}

/// The index of one segment.
#[derive(Clone, Debug)]
pub(crate) struct SegmentIndex {
    /// The log.
    pub stream: StreamId,
    /// The segment.
    pub number: u32,
    /// First sequence; zero while there is none.
    pub first: Sequence,
    /// Sequence after the last one.
    pub end: Sequence,
    /// Bytes covered.
    pub length: u32,
    /// When the first and the last block were sealed.
    pub first_us: u64,
    /// See `first_us`.
    pub last_us: u64,
    pub places: Vec<Place>,
    pub unplaced: Vec<Unplaced>,
    pub marks: Vec<Mark>,
    pub tops: HashMap<Box<str>, Position>,
    /// Channel names of unplaced records, by hash; what marks refer to.
    pub names: HashMap<Box<str>, u64>,
    pub accepted: Vec<AcceptedId>,
    pub entries: u32,
}

impl SegmentIndex {
    /// An index of nothing.
    pub fn new(stream: StreamId, number: u32) -> Self {
        Self {
            stream,
            number,
            first: Sequence::NONE,
            end: Sequence::NONE,
            length: 0,
            first_us: 0,
            last_us: 0,
            places: Vec::new(),
            unplaced: Vec::new(),
            marks: Vec::new(),
            tops: HashMap::new(),
            names: HashMap::new(),
            accepted: Vec::new(),
            entries: 0,
        }
    }

    /// Adds the next block; entries before `from` are repeats and not counted.
    pub fn add_block(&mut self, block: &SegmentBlock<'_>, from: Sequence) {
        if self.first == Sequence::NONE {
            self.first = block.header.first.max(from);
            self.first_us = block.header.sealed_at_us;
        }
        self.end = self.end.max(block.header.end());
        self.last_us = self.last_us.max(block.header.sealed_at_us);
        self.length = block.offset + block.header.length;
        let mut entries = block.entries();
        let mut at = entries.offset();
        while let Some(entry) = entries.next() {
            if entry.sequence >= from {
                self.entries += 1;
                match entry.body {
                    EntryBody::Record(record) => self.add_record(&record, block, at),
                    EntryBody::Mark(mark) => self.add_mark(&mark, block.offset, at),
                    EntryBody::Unknown { .. } => {}
                }
            }
            at = entries.offset();
        }
    }

    /// What notes that a record that earlier boots left without a position has one.
    pub fn resolution(record: &RecordRef<'_>) -> Option<Mark> {
        record.placement.map(|placement| Mark {
            record: record.record,
            channel_hash: placement_hash(record.channel.as_bytes()),
            position: placement.position,
            previous_chain: placement.previous_chain,
        })
    }

    /// The channels in it.
    pub fn filter(&self) -> ChannelFilter {
        let mut hashes: Vec<u64> = self.places.iter().map(|place| place.hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        ChannelFilter::of(&hashes)
    }

    /// Brings the parts into the order that lookups need.
    pub fn sort(&mut self) {
        self.places.sort_unstable();
        self.unplaced.sort_unstable();
        self.accepted.sort_unstable();
    }

    fn add_record(&mut self, record: &RecordRef<'_>, block: &SegmentBlock<'_>, at: u32) {
        self.accepted.push(AcceptedId {
            instance: record.instance,
            class: record.class,
            id: record.client_message_id,
            fingerprint: fingerprint(record.payload_hash),
            second: (record.accepted_at_us / 1_000_000) as u32,
        });
        let hash = placement_hash(record.channel.as_bytes());
        let Some(placement) = record.placement else {
            self.unplaced.push(Unplaced {
                record: record.record,
                sealed_at_us: block.header.sealed_at_us,
                block: block.offset,
                at,
            });
            if !self.names.contains_key(record.channel) {
                self.names.insert(record.channel.into(), hash);
            }
            return;
        };
        let position = placement.position;
        self.places.push(Place {
            hash,
            offset: position.offset,
            block: block.offset,
            at,
        });
        match self.tops.get_mut(record.channel) {
            Some(top) => *top = newer(*top, position),
            None => {
                self.tops.insert(record.channel.into(), position);
            }
        }
    }

    fn add_mark(&mut self, mark: &Mark, block: u32, at: u32) {
        let (hash, offset) = (mark.channel_hash, mark.position.offset);
        self.places.push(Place {
            hash,
            offset,
            block,
            at,
        });
        self.marks.push(*mark);
    }
}

/// The later of two positions of a channel; epochs sort by time.
pub(crate) fn newer(one: Position, other: Position) -> Position {
    if (other.epoch, other.offset) > (one.epoch, one.offset) {
        other
    } else {
        one
    }
}

/// Keeps the later position of each channel.
pub(crate) fn merge_top<K: std::hash::Hash + Eq, V>(
    tops: &mut HashMap<K, (Position, V)>,
    key: K,
    position: Position,
    value: V,
) {
    match tops.entry(key) {
        Slot::Occupied(mut slot) => {
            let (known, _) = slot.get();
            if newer(*known, position) == position {
                slot.insert((position, value));
            }
        }
        Slot::Vacant(slot) => {
            slot.insert((position, value));
        }
    }
}
