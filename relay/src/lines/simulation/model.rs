//! Models of what is outside: a backplane with an asynchronous replica, and what was accepted.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use interlink_protocol::ids::{InstanceId, RecordId};
use interlink_protocol::priority::Priority;

use crate::backplane::{Published, Sequencer};
use crate::event_log::{LogPosition, LogRecord};
use crate::lines::Question;
use crate::record::{Kind, Placement, Sequence};

pub const PARTITIONS: u16 = 4;
pub const CHANNELS: u64 = 12;
pub const PUBLISHERS: u64 = 9;

/// How long the backplane remembers ids, also those of a partition that nobody reaches.
const REMEMBERED_US: u64 = 300_000_000;

pub fn at(boot: u32, shard: u16, sequence: u64) -> LogPosition {
    LogPosition {
        boot,
        shard,
        kind: Kind::Urgent,
        sequence: Sequence(sequence),
    }
}

/// Record `id` of a publisher, who numbers across boots.
pub fn record(at: LogPosition, id: u64, channel: u64, publisher: u64, now_us: u64) -> LogRecord {
    let class = match channel % 4 {
        0 => Priority::P0,
        _ => Priority::P1,
    };
    LogRecord {
        at,
        class,
        record: RecordId(u128::from(id)),
        instance: InstanceId(u128::from(publisher)),
        client_message_id: id,
        payload_hash: 0,
        accepted_at_us: now_us,
        channel: format!("class.c{channel}").into(),
        placement: None,
        frame: [0; 16].into(),
    }
}

/// A server of the backplane.
#[derive(Clone, Default)]
pub struct Server {
    pub epoch: u64,
    /// What was placed, in its order.
    pub channels: HashMap<Box<str>, (Option<Sequencer>, Vec<RecordId>)>,
    /// Places and when they were given.
    pub ids: HashMap<RecordId, (Placement, u64)>,
}

impl Server {
    pub fn publish(&mut self, records: &[Arc<LogRecord>], now_us: u64) -> Vec<Published> {
        let place = |record: &Arc<LogRecord>| self.place(record, now_us);
        records.iter().map(place).collect()
    }

    /// Places of the records that are known.
    pub fn look_up(&self, question: &Question, now_us: u64) -> Vec<Option<Placement>> {
        let known = question.records.iter().map(|record| self.ids.get(record));
        let is_known = |known: &&(Placement, u64)| now_us < known.1 + REMEMBERED_US;
        known.map(|known| Some(known.filter(is_known)?.0)).collect()
    }

    fn place(&mut self, record: &LogRecord, now_us: u64) -> Published {
        let known = self.ids.get(&record.record);
        if let Some((placement, ..)) = known.filter(|known| now_us < known.1 + REMEMBERED_US) {
            return Published {
                placement: *placement,
                repeated: true,
            };
        }
        let epoch = self.epoch;
        let entry = self.channels.entry(record.channel.clone()).or_default();
        let sequencer = entry.0.get_or_insert_with(|| Sequencer::new(epoch));
        let placement = sequencer.place(record.record);
        entry.1.push(record.record);
        self.ids.insert(record.record, (placement, now_us));
        Published {
            placement,
            repeated: false,
        }
    }

    /// Another server takes over with what this one has.
    pub fn promote(&mut self, epoch: u64) {
        self.epoch = epoch;
        for (sequencer, _) in self.channels.values_mut() {
            *sequencer = sequencer.map(|it| Sequencer::resume_in(epoch, it.top()));
        }
    }
}

/// Every record has its place once, in the order of its publisher.
pub fn check_places(server: &Server, accepted: &[LogRecord]) {
    let placed: usize = server.channels.values().map(|it| it.1.len()).sum();
    let unique: HashSet<_> = server.channels.values().flat_map(|it| &it.1).collect();
    assert_eq!(unique.len(), placed, "placed once in effect");
    assert_eq!(unique.len(), accepted.len(), "nothing is lost");
    for (channel, (_, placed)) in &server.channels {
        check_order(placed, accepted, channel);
    }
}

/// Ids of each publisher and class rise.
pub fn check_order(ids: &[RecordId], accepted: &[LogRecord], what: &str) {
    let mut last: HashMap<(InstanceId, Priority), RecordId> = HashMap::new();
    for id in ids {
        let record = &accepted[id.0 as usize - 1];
        let before = last.insert((record.instance, record.class), *id);
        assert!(before.is_none_or(|before| before < *id), "order of {what}");
    }
}
