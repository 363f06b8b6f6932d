//! One batch of the log on its way through a backplane.
//!
//! Invariants: events of one partition of the backplane are placed in their order, one call at a
//! time, the same events again after a failure before any later one; an event is in a call only
//! when it was let through for that call. Pure.

use std::collections::{BTreeMap, VecDeque};

use interlink_protocol::ids::RecordId;
use interlink_protocol::priority::Priority;
use interlink_relay::backplane::{partition_of, Floor, Publish, Published};
use interlink_relay::kafka::consumer::Batch;
use interlink_relay::kafka::record::{FedEvent, Item};
use interlink_relay::limits::PORT_BATCH_MAX;

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
    /// Where it stands, once that is known.
    pub placed: Option<Published>,
    /// It is not placed after all.
    pub is_left: bool,
}

/// What becomes of an event for which a call is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gate {
    /// It goes into the call.
    Go,
    /// It is not placed.
    Leave,
    /// It waits, and so does what is behind it in its partition.
    Wait,
}

/// A batch on its way.
#[derive(Debug)]
pub struct Transit {
    /// The batch.
    pub batch: Batch,
    /// The events of it that are placed.
    pub events: Vec<Carried>,
    /// Events that others place.
    pub others: usize,
    /// Records that no node wrote.
    pub unreadable: usize,
    /// Events that wait for a call, for each partition of the backplane.
    waiting: BTreeMap<u16, VecDeque<usize>>,
    /// Events of the open call of a partition.
    open: BTreeMap<u16, Vec<usize>>,
}

impl Transit {
    /// A batch begins. `takes` is asked in the order of the batch which events are placed, and
    /// hears of the places between them.
    pub fn new(batch: Batch, partitions: u16, mut takes: impl FnMut(&Item) -> bool) -> Self {
        let mut transit = Self {
            batch,
            events: Vec::new(),
            others: 0,
            unreadable: 0,
            waiting: BTreeMap::new(),
            open: BTreeMap::new(),
        };
        for index in 0..transit.batch.records.len() {
            let Ok(item) = transit.batch.records[index].decode() else {
                transit.unreadable += 1;
                continue;
            };
            match (takes(&item), &item) {
                (true, Item::Event(event)) => transit.carry(index, event, partitions),
                (false, Item::Event(_)) => transit.others += 1,
                (_, Item::Positioned(_)) => {}
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
            is_left: false,
        });
    }

    /// The next call of the backplane: a partition without an open one, and the events that `gate`
    /// lets through.
    pub fn next_call(
        &mut self,
        mut gate: impl FnMut(usize, &Carried) -> Gate,
    ) -> Option<(u16, &[usize])> {
        for (partition, waiting) in &mut self.waiting {
            if self.open.contains_key(partition) {
                continue;
            }
            let mut events = Vec::new();
            while events.len() < PORT_BATCH_MAX {
                let Some(event) = waiting.front().copied() else {
                    break;
                };
                match gate(event, &self.events[event]) {
                    Gate::Go => events.push(event),
                    Gate::Leave => self.events[event].is_left = true,
                    Gate::Wait => break,
                }
                waiting.pop_front();
            }
            if !events.is_empty() {
                let partition = *partition;
                return Some((partition, self.open.entry(partition).or_insert(events)));
            }
        }
        None
    }

    /// Events as the backplane takes them; `floor` is what is known of an event's channel.
    pub fn publishes(&self, events: &[usize], floor: impl Fn(usize) -> Floor) -> Vec<Publish<'_>> {
        let publishes = events.iter().map(|index| {
            let event = &self.events[*index];
            Publish {
                channel: &event.channel,
                class: event.class,
                record: event.record,
                accepted_at_us: event.accepted_at_us,
                floor: floor(*index),
                frame: &self.batch.records[event.index].value,
            }
        });
        publishes.collect()
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

    /// Whether every event is placed or left.
    pub fn is_over(&self) -> bool {
        let mut events = self.events.iter();
        events.all(|event| event.placed.is_some() || event.is_left)
    }
}
