//! One batch of a pass: which of its events are due, what becomes of each, and which places the
//! log has not told. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use interlink_protocol::ids::RecordId;
use interlink_relay::backplane::{partition_of, Floor, NodeName, Publish, Published};
use interlink_relay::kafka::consumer::{Batch, Consumed};
use interlink_relay::kafka::record::{FedEvent, Item};
use interlink_relay::limits::PORT_BATCH_MAX;
use interlink_relay::record::Placement;

use super::limits::AGE_MAX_US;
use super::watch::Scope;
use crate::transit::{Gate, Transit};

/// Whose records a pass places.
#[derive(Clone, Debug)]
pub struct Whose {
    /// The region; events of others are those of bridges.
    pub region: Box<str>,
    /// Partitions of the backplane.
    pub partitions: u16,
    /// Those whose records are placed.
    pub scope: Scope,
    /// Whether an archive can be asked about old records.
    pub has_archive: bool,
}

/// What a pass has done.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Records that were read.
    pub read: u64,
    /// Events of nodes with a lease, of other regions and of other partitions.
    pub others: u64,
    /// Events that were placed.
    pub placed: u64,
    /// Events that had a place.
    pub known: u64,
    /// Places that the log was told.
    pub told: u64,
    /// Events of nodes that got a lease during the pass.
    pub returned: u64,
    /// Events that are too old to be placed.
    pub old: u64,
    /// Records that no node wrote.
    pub unreadable: u64,
}

/// A place that the log is to be told.
#[derive(Debug)]
pub struct Told {
    /// The event.
    pub record: Consumed,
    /// Where it stands.
    pub placement: Placement,
}

impl Told {
    /// Bytes that it takes in memory, about.
    pub fn bytes(&self) -> usize {
        self.record.bytes()
    }
}

/// Places that the log has not told so far, of events that are known.
pub(super) type Owed = BTreeMap<RecordId, Told>;

/// Why an event was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Left {
    Known,
    Returned,
    Old,
}

/// What is known of an event beside what its transit knows.
#[derive(Debug)]
struct Due {
    node: NodeName,
    /// Where the log or the archive says that it stands.
    place: Option<Placement>,
    /// It had no place that is forgotten by now before this time.
    fresh_since_us: u64,
    is_asked: bool,
    left: Option<Left>,
}

impl Due {
    /// What becomes of it now.
    fn judge(
        &self,
        leased: &BTreeSet<NodeName>,
        has_archive: bool,
        now_us: u64,
    ) -> Result<Gate, Left> {
        if leased.contains(&self.node) {
            return Err(Left::Returned);
        }
        if now_us <= self.fresh_since_us.saturating_add(AGE_MAX_US) {
            return Ok(Gate::Go);
        }
        match (self.place, has_archive) {
            // It was placed, and long enough ago to be on every server.
            (Some(_), _) => Err(Left::Known),
            (None, true) => Ok(Gate::Wait),
            (None, false) => Err(Left::Old),
        }
    }
}

/// A batch under way.
#[derive(Debug)]
pub(super) struct Stage {
    transit: Transit,
    due: Vec<Due>,
    /// The last copy of each event.
    last: HashMap<RecordId, usize>,
    /// Bytes of the batch.
    pub bytes: usize,
    /// Tells it from other batches.
    pub number: u64,
}

impl Stage {
    /// Begins a batch and takes out of `owed` what is told in it; says how many bytes that were.
    pub fn begin(
        batch: Batch,
        whose: &Whose,
        leased: &BTreeSet<NodeName>,
        owed: &mut Owed,
    ) -> (Self, usize) {
        let bytes = bytes_of(&batch);
        let mut due: Vec<Due> = Vec::new();
        let mut last: HashMap<RecordId, usize> = HashMap::new();
        let mut told_bytes = 0;
        let transit = Transit::new(batch, whose.partitions, |item| match item {
            Item::Event(event) => {
                let node = NodeName::of(&event.node);
                if leased.contains(&node) || !is_of(event, whose) {
                    return false;
                }
                let record = &event.record;
                let earlier = last.insert(record.record, due.len());
                // Its place may have been told behind an earlier copy.
                let told = earlier.and_then(|index| due[index].place);
                due.push(Due {
                    node,
                    place: told.or(record.placement),
                    fresh_since_us: record.accepted_at_us,
                    is_asked: false,
                    left: None,
                });
                true
            }
            Item::Positioned(told) => {
                if let Some(index) = last.get(&told.record) {
                    due[*index].place = Some(told.placement);
                }
                let is_same = |owed: &Told| owed.placement == told.placement;
                if owed.get(&told.record).is_some_and(is_same) {
                    told_bytes += owed.remove(&told.record).map_or(0, |told| told.bytes());
                }
                false
            }
        });
        let stage = Self {
            transit,
            due,
            last,
            bytes,
            number: 0,
        };
        (stage, told_bytes)
    }

    /// Events that others place, and records that no node wrote.
    pub fn passed_over(&self) -> (usize, usize) {
        (self.transit.others, self.transit.unreadable)
    }

    /// Whether every event is placed or left.
    pub fn is_over(&self) -> bool {
        self.transit.is_over()
    }

    /// The next call: partition and events.
    pub fn next_call(
        &mut self,
        leased: &BTreeSet<NodeName>,
        has_archive: bool,
        now_us: u64,
    ) -> Option<(u16, Vec<usize>)> {
        let due = &mut self.due;
        let call = self.transit.next_call(|index, _| {
            let due = &mut due[index];
            due.judge(leased, has_archive, now_us)
                .unwrap_or_else(|left| {
                    due.left = Some(left);
                    Gate::Leave
                })
        });
        call.map(|(partition, events)| (partition, events.to_vec()))
    }

    /// The records of a call.
    pub fn publishes(&self, events: &[usize]) -> Vec<Publish<'_>> {
        let floor = |index: usize| {
            let place = self.due[index].place;
            place.map_or(Floor::NONE, |place| Floor::At(place.position))
        };
        self.transit.publishes(events, floor)
    }

    /// A call was answered.
    pub fn on_placed(&mut self, partition: u16, placed: &[Published]) {
        self.transit.on_placed(partition, placed);
    }

    /// A call had no effect that is known.
    pub fn on_failed(&mut self, partition: u16) {
        self.transit.on_failed(partition);
    }

    /// Events about which the archive is to be asked, and their records; empty when there are none.
    pub fn next_lookup(
        &mut self,
        leased: &BTreeSet<NodeName>,
        now_us: u64,
    ) -> (Vec<usize>, Vec<RecordId>) {
        let (mut events, mut records) = (Vec::new(), Vec::new());
        for (index, (event, due)) in self.transit.events.iter().zip(&mut self.due).enumerate() {
            let waits = event.placed.is_none() && !event.is_left && !due.is_asked;
            if waits && due.judge(leased, true, now_us) == Ok(Gate::Wait) {
                due.is_asked = true;
                events.push(index);
                records.push(event.record);
            }
            if events.len() == PORT_BATCH_MAX {
                break;
            }
        }
        (events, records)
    }

    /// The archive has answered with the places that it knows, or could not.
    pub fn on_looked_up(
        &mut self,
        events: &[usize],
        places: Option<&[Option<Placement>]>,
        now_us: u64,
    ) {
        for (at, index) in events.iter().enumerate() {
            let due = &mut self.due[*index];
            due.is_asked = false;
            match places.and_then(|places| places.get(at)) {
                Some(Some(place)) => due.place = Some(*place),
                Some(None) => due.fresh_since_us = now_us,
                None => {}
            }
        }
    }

    /// Counts what became of it; gives the places that the log has not told, and whether they are
    /// new.
    pub fn settle(self, counts: &mut Counts) -> Vec<(RecordId, Told, bool)> {
        let mut untold = Vec::new();
        for (at, (event, due)) in self.transit.events.iter().zip(&self.due).enumerate() {
            let Some(placed) = event.placed else {
                match due.left {
                    Some(Left::Returned) => counts.returned += 1,
                    Some(Left::Old) => counts.old += 1,
                    Some(Left::Known) | None => counts.known += 1,
                }
                continue;
            };
            match placed.repeated {
                true => counts.known += 1,
                false => counts.placed += 1,
            }
            let is_last = self.last.get(&event.record) == Some(&at);
            if is_last && due.place != Some(placed.placement) {
                let told = Told {
                    record: self.transit.batch.records[event.index].clone(),
                    placement: placed.placement,
                };
                untold.push((event.record, told, !placed.repeated));
            }
        }
        untold
    }
}

/// Bytes of a batch, about.
pub(super) fn bytes_of(batch: &Batch) -> usize {
    batch.records.iter().map(Consumed::bytes).sum()
}

fn is_of(event: &FedEvent, whose: &Whose) -> bool {
    let partition = partition_of(&event.record.channel, whose.partitions);
    let scope = whose.scope.as_ref();
    event.origin == whose.region && scope.is_none_or(|scope| scope.contains(&partition))
}
