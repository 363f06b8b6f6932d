//! One batch on its way to another region: placed by its backplane, then appended to its log.
//!
//! Invariants: only events that originate in the own region go on; events of one partition of the
//! backplane are placed in their order, one call at a time, the same events again after a failure
//! before any later one; the batch is appended when all of it is placed, in its order. Pure.

use std::collections::{BTreeMap, VecDeque};

use interlink_protocol::ids::RecordId;
use interlink_protocol::priority::Priority;
use interlink_relay::backplane::{partition_of, Published};
use interlink_relay::event_log::AppendKind;
use interlink_relay::kafka::consumer::Batch;
use interlink_relay::kafka::record::{FedEvent, Item};
use interlink_relay::limits::PORT_BATCH_MAX;
use interlink_relay::record::Placement;

/// An event of a batch.
#[derive(Debug)]
pub struct Carried {
    /// Its index in the batch.
    pub index: usize,
    /// Full channel name.
    pub channel: Box<str>,
    /// Class of the channel.
    pub class: Priority,
    /// Identity of the record.
    pub record: RecordId,
    /// When it was accepted.
    pub accepted_at_us: u64,
    placed: Option<Published>,
}

/// What is appended of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Onward {
    /// The event's index in the batch.
    pub index: usize,
    /// The event, or its place only.
    pub kind: AppendKind,
    /// Where it stands in the target.
    pub placement: Placement,
}

/// How many records of a batch stay where they are.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Left {
    /// Events of other regions.
    pub foreign: usize,
    /// What no node wrote.
    pub unreadable: usize,
}

/// A batch on its way.
#[derive(Debug)]
pub struct Transit {
    /// The batch.
    pub batch: Batch,
    /// Its events.
    pub events: Vec<Carried>,
    /// What does not go on.
    pub left: Left,
    /// Events that wait for a call, for each partition of the backplane.
    waiting: BTreeMap<u16, VecDeque<usize>>,
    /// Events of the open call of a partition.
    open: BTreeMap<u16, Vec<usize>>,
    /// Offsets before this one were appended by an earlier pass.
    appended_before: i64,
}

impl Transit {
    /// A batch of the region `own` begins. Records before the offset `appended_before` were
    /// appended already and are only placed again.
    pub fn new(batch: Batch, own: &str, partitions: u16, appended_before: i64) -> Self {
        let mut transit = Self {
            batch,
            events: Vec::new(),
            left: Left::default(),
            waiting: BTreeMap::new(),
            open: BTreeMap::new(),
            appended_before,
        };
        for index in 0..transit.batch.records.len() {
            match transit.batch.records[index].decode() {
                Ok(Item::Event(event)) if *event.origin == *own => {
                    transit.carry(index, &event, partitions);
                }
                Ok(Item::Event(_)) => transit.left.foreign += 1,
                // Places of one region mean nothing in another.
                Ok(Item::Positioned(_)) => {}
                Err(_) => transit.left.unreadable += 1,
            }
        }
        transit
    }

    fn carry(&mut self, index: usize, event: &FedEvent, partitions: u16) {
        let record = &event.record;
        let partition = partition_of(&record.channel, partitions);
        let waiting = self.waiting.entry(partition).or_default();
        waiting.push_back(self.events.len());
        self.events.push(Carried {
            index,
            channel: record.channel.clone(),
            class: record.class,
            record: record.record,
            accepted_at_us: record.accepted_at_us,
            placed: None,
        });
    }

    /// The next call of the backplane: a partition without an open one, and the events.
    pub fn next_call(&mut self) -> Option<(u16, &[usize])> {
        let open = &self.open;
        let (partition, waiting) = self
            .waiting
            .iter_mut()
            .find(|(partition, waiting)| !waiting.is_empty() && !open.contains_key(partition))?;
        let count = waiting.len().min(PORT_BATCH_MAX);
        let events: Vec<usize> = waiting.drain(..count).collect();
        let partition = *partition;
        Some((partition, self.open.entry(partition).or_insert(events)))
    }

    /// A call was answered.
    pub fn on_placed(&mut self, partition: u16, placed: &[Published]) {
        for (event, placed) in self.open.remove(&partition).iter().flatten().zip(placed) {
            self.events[*event].placed = Some(*placed);
        }
    }

    /// A call had no effect that is known: its events are placed again before later ones.
    pub fn on_failed(&mut self, partition: u16) {
        let events = self.open.remove(&partition).unwrap_or_default();
        let waiting = self.waiting.entry(partition).or_default();
        for event in events.into_iter().rev() {
            waiting.push_front(event);
        }
    }

    /// Whether every event is placed.
    pub fn is_placed(&self) -> bool {
        self.events.iter().all(|event| event.placed.is_some())
    }

    /// What is to be appended once every event is placed, in the order of the batch.
    pub fn onward(&self) -> Vec<Onward> {
        let events = self.events.iter().filter_map(|event| {
            let placed = event.placed?;
            let appended = self.batch.records[event.index].offset < self.appended_before;
            let kind = match appended {
                false => AppendKind::Event,
                // It stands where it was said to stand.
                true if placed.repeated => return None,
                true => AppendKind::Positioned,
            };
            Some(Onward {
                index: event.index,
                kind,
                placement: placed.placement,
            })
        });
        events.collect()
    }
}
