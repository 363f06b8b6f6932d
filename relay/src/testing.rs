//! A node without a network, for tests: journals of all shards over real files, driven at
//! once, and the channels' numbering.

use std::collections::HashMap;
use std::path::Path;

use interlink_protocol::frame::event::patch_position;
use interlink_protocol::frame::{EventFields, FrameEncoder};
use interlink_protocol::ids::{placement_hash, InstanceId, Position, RecordId};
use interlink_protocol::priority::Priority;

use crate::backplane::Sequencer;
use crate::files::{DirectJournal, FilesConfig, JournalFiles};
use crate::journal::{Journal, JournalConfig};
use crate::limits::HISTORY_BYTES_MAX;
use crate::record::{Mark, Placement, RecordRef};
use crate::recovery::RecoveredNode;

pub(crate) const SEGMENT_BYTES: u32 = 64 * 1024;

/// A running node.
pub(crate) struct Node {
    pub files: JournalFiles,
    pub recovered: RecoveredNode,
    pub journals: Vec<DirectJournal>,
    pub channels: HashMap<String, Sequencer>,
    pub now_us: u64,
    pub next_id: u64,
}

/// Settings with small segments, under a chosen boot of the operating system.
pub(crate) fn config(directory: &Path, shards: u16, system: &str) -> FilesConfig {
    let mut config = FilesConfig::new(directory, shards);
    config.segment_bytes = SEGMENT_BYTES;
    config.pool_segments = 2;
    config.system_boot = Some(system.to_owned());
    config
}

impl Node {
    /// Starts a node as the edge does.
    pub fn start(config: FilesConfig, now_us: u64) -> Self {
        let shards = config.shards;
        let (files, recovered) = JournalFiles::open(config, now_us).expect("a journal");
        let journals = (0..shards).map(|shard| {
            let mut config = JournalConfig::new(files.boot().id, shard, shards);
            config.segment_bytes = SEGMENT_BYTES;
            config.frame_bytes_max = 8 * 1024;
            for policy in &mut config.policies {
                policy.bytes = 4 * 1024;
            }
            let journal = Journal::new(&config).expect("a valid configuration");
            // What tests look at is in the page cache.
            DirectJournal::new(journal, shard).without_syncs()
        });
        let mut node = Self {
            journals: journals.collect(),
            files,
            channels: HashMap::new(),
            now_us,
            next_id: now_us << 16,
            recovered,
        };
        for channel in &node.recovered.channels {
            let sequencer = channel.sequencer(node.recovered.epoch);
            node.channels.insert(channel.name.to_string(), sequencer);
        }
        node.drive();
        node
    }

    /// Carries out everything that the journals want.
    pub fn drive(&mut self) {
        for journal in &mut self.journals {
            journal.drive(&mut self.files, self.now_us).expect("driven");
        }
    }

    /// Lets background commits come due, and carries them out.
    pub fn settle(&mut self) {
        self.now_us += 1_000_000;
        self.drive();
        assert!(self
            .journals
            .iter()
            .all(|journal| journal.journal().is_idle()));
    }

    /// Publishes on a channel that `shard` owns, when the next sync may start; the position it
    /// got.
    pub fn publish(&mut self, shard: u16, class: Priority, channel: &str) -> Placement {
        self.now_us += crate::limits::URGENT_SYNC_INTERVAL_US;
        self.next_id += 1;
        let id = self.next_id;
        let epoch = self.recovered.epoch;
        let sequencer = self
            .channels
            .entry(channel.to_owned())
            .or_insert(Sequencer::new(epoch));
        let placement = sequencer.place(RecordId(u128::from(id)));
        let frame = frame(channel, id, placement);
        let record = record(class, channel, id, Some(placement), &frame);
        let journal = &mut self.journals[usize::from(shard)];
        journal.append(&record, self.now_us).expect("room");
        self.drive();
        placement
    }

    /// Journals a record at `home` without a position; its id.
    pub fn publish_unplaced(&mut self, home: u16, channel: &str) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        let frame = frame(channel, id, Placement::default());
        let record = record(Priority::P1, channel, id, None, &frame);
        self.journals[usize::from(home)]
            .append(&record, self.now_us)
            .expect("room");
        self.drive();
        id
    }

    /// Places a record of another shard by a mark in the owner's journal.
    pub fn mark(&mut self, owner: u16, channel: &str, id: u64) -> Placement {
        let epoch = self.recovered.epoch;
        let sequencer = self
            .channels
            .entry(channel.to_owned())
            .or_insert(Sequencer::new(epoch));
        let placement = sequencer.place(RecordId(u128::from(id)));
        let mark = Mark {
            record: RecordId(u128::from(id)),
            channel_hash: placement_hash(channel.as_bytes()),
            position: placement.position,
            previous_chain: placement.previous_chain,
        };
        self.journals[usize::from(owner)]
            .append_mark(&mark, self.now_us)
            .expect("room");
        self.drive();
        placement
    }

    /// Does for unmarked records what shards do after a start.
    pub fn place_recovered(&mut self) {
        for unmarked in std::mem::take(&mut self.recovered.unmarked) {
            let epoch = self.recovered.epoch;
            let name = unmarked.channel.to_string();
            let sequencer = self.channels.entry(name).or_insert(Sequencer::new(epoch));
            let placement = sequencer.place(unmarked.record);
            let mut frame = unmarked.frame.to_vec();
            patch_position(&mut frame, placement.position, placement.previous_chain)
                .expect("an event");
            let record = unmarked.placed(placement, &frame);
            self.journals[0].append(&record, self.now_us).expect("room");
        }
        self.settle();
        self.files.release_recovered();
    }

    /// Offsets of a page of history, checked against frames and chains. Where a page ends because
    /// of its bytes the next one is read.
    pub fn page(&mut self, channel: &str, after: Position, limit: usize) -> Vec<u64> {
        let (mut offsets, mut last, mut chain) = (Vec::new(), after, None);
        loop {
            let page = self
                .files
                .history(channel, last, limit - offsets.len())
                .expect("readable");
            assert_eq!(page.gap, None, "{channel} after {last:?}");
            let mut bytes = 0;
            for event in &page.events {
                let read = interlink_protocol::frame::event::read_position(&event.frame);
                let (position, previous) = read.expect("an event");
                assert_eq!(position, event.placement.position);
                assert_eq!(previous, event.placement.previous_chain);
                assert!(chain.is_none_or(|chain| chain == previous));
                chain = Some(position.chain);
                offsets.push(position.offset);
                bytes += event.frame.len();
            }
            last = page.last;
            let cut = page.more && bytes >= HISTORY_BYTES_MAX;
            if !cut || offsets.len() == limit {
                return offsets;
            }
        }
    }
}

/// An encoded event with a payload of the id.
pub(crate) fn frame(channel: &str, id: u64, placement: Placement) -> Vec<u8> {
    frame_with(channel, id, placement, &[id as u8; 100])
}

/// An encoded event with this payload.
pub(crate) fn frame_with(channel: &str, id: u64, placement: Placement, payload: &[u8]) -> Vec<u8> {
    let mut encoder = FrameEncoder::new();
    let fields = EventFields {
        channel,
        position: placement.position,
        previous_chain: placement.previous_chain,
        record: RecordId(u128::from(id)),
        publisher: "ada",
        priority: Priority::P1,
        event_type: 1,
        schema_version: 1,
        server_time_us: 1,
        payload,
        conflation_key: None,
        trace: None,
    };
    encoder.event(&fields).to_vec()
}

/// A record around a frame.
pub(crate) fn record<'a>(
    class: Priority,
    channel: &'a str,
    id: u64,
    placement: Option<Placement>,
    frame: &'a [u8],
) -> RecordRef<'a> {
    RecordRef {
        class,
        record: RecordId(u128::from(id)),
        instance: InstanceId(9),
        client_message_id: id,
        payload_hash: id * 7,
        accepted_at_us: id >> 16,
        channel,
        placement,
        frame,
    }
}
