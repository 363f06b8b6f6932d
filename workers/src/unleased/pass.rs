//! One pass: records of nodes without a lease go through the backplane again, in the order of the
//! log.
//!
//! An order exists within a partition of Kafka; there one call of each partition of the backplane
//! is under way, and what failed goes again before anything later. Ids that the backplane knows
//! answer with their places. A place that the log does not tell is told: at once when the record
//! was placed by this pass, else at the end of its partition of Kafka, since the log may tell it
//! further on.
//!
//! Invariants:
//! - a node that had a lease at any time of the pass is left alone for all of it: to begin with
//!   its later records would place them before earlier ones;
//! - a record that is older than ids are remembered is in no call before the archive has said that
//!   it has no place; without an archive it is left and counted;
//! - records of a partition of Kafka whose partition of the backplane is the same are placed in
//!   their order, each once.
//!
//! Limits: the caller hands over batches only while [`Pass::has_room`]. Pure: time is an argument.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use interlink_protocol::ids::RecordId;
use interlink_relay::backplane::{NodeName, Publish, Published};
use interlink_relay::kafka::consumer::{Batch, Lane};
use interlink_relay::limits::PORT_BATCH_MAX;
use interlink_relay::record::Placement;

use super::limits::{HELD_BYTES_MAX, OWED_BYTES_MAX};
use super::stage::{bytes_of, Owed, Stage};
pub use super::stage::{Counts, Told, Whose};

/// A call of the backplane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    lane: Lane,
    partition: u16,
    events: Vec<usize>,
}

impl Call {
    /// The partition of Kafka that its records are of.
    pub fn lane(&self) -> &Lane {
        &self.lane
    }

    /// Their partition of the backplane.
    pub fn partition(&self) -> u16 {
        self.partition
    }
}

/// A question to the archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lookup {
    lane: Lane,
    /// Tells the batch that it is about from later ones.
    batch: u64,
    events: Vec<usize>,
    /// The records whose places are asked.
    pub records: Vec<RecordId>,
}

/// A partition of Kafka.
#[derive(Debug, Default)]
struct Reading {
    stage: Option<Stage>,
    queue: VecDeque<Batch>,
    owed: Owed,
    tells: VecDeque<Told>,
    has_ended: bool,
}

/// A pass.
#[derive(Debug)]
pub struct Pass {
    whose: Whose,
    /// Nodes that have or had a lease during the pass.
    leased: BTreeSet<NodeName>,
    lanes: BTreeMap<Lane, Reading>,
    held: usize,
    owed: usize,
    counts: Counts,
    /// Batches so far.
    batches: u64,
}

impl Pass {
    /// A pass over these partitions of Kafka while these nodes have a lease.
    pub fn new(whose: Whose, leased: BTreeSet<NodeName>, lanes: Vec<Lane>) -> Self {
        let lanes = lanes.into_iter().map(|lane| (lane, Reading::default()));
        Self {
            whose,
            leased,
            lanes: lanes.collect(),
            held: 0,
            owed: 0,
            counts: Counts::default(),
            batches: 0,
        }
    }

    /// What was done so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Partitions of Kafka that are not done.
    pub fn open_lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Whether partitions of Kafka have not ended.
    pub fn reads(&self) -> bool {
        self.lanes.values().any(|reading| !reading.has_ended)
    }

    /// Whether everything is placed, and its places are taken to be told.
    pub fn is_over(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Whether a batch may come.
    pub fn has_room(&self) -> bool {
        self.held < HELD_BYTES_MAX
    }

    /// These nodes have a lease by now.
    pub fn on_leases(&mut self, leased: &BTreeSet<NodeName>) {
        self.leased.extend(leased);
    }

    /// The next batch of a partition of Kafka.
    pub fn take(&mut self, batch: Batch) {
        let lane = batch.lane.clone();
        if let Some(reading) = self.lanes.get_mut(&lane) {
            self.held += bytes_of(&batch);
            reading.queue.push_back(batch);
            self.go_on(&lane);
        }
    }

    /// A partition of Kafka has no more.
    pub fn end(&mut self, lane: &Lane) {
        if let Some(reading) = self.lanes.get_mut(lane) {
            reading.has_ended = true;
            self.go_on(lane);
        }
    }

    /// The next call.
    pub fn next_call(&mut self, now_us: u64) -> Option<Call> {
        let (leased, has_archive) = (&self.leased, self.whose.has_archive);
        for (lane, reading) in &mut self.lanes {
            let Some(stage) = &mut reading.stage else {
                continue;
            };
            if let Some((partition, events)) = stage.next_call(leased, has_archive, now_us) {
                return Some(Call {
                    lane: lane.clone(),
                    partition,
                    events,
                });
            }
        }
        // What was left while calls were sought may have been the last of its batch.
        let lanes = self.lanes.iter();
        let over = lanes.filter(|(_, reading)| reading.stage.as_ref().is_some_and(Stage::is_over));
        let over: Vec<Lane> = over.map(|(lane, _)| lane.clone()).collect();
        over.iter().for_each(|lane| self.go_on(lane));
        None
    }

    /// The records of a call.
    pub fn publishes(&self, call: &Call) -> Vec<Publish<'_>> {
        let reading = self.lanes.get(&call.lane);
        let stage = reading.and_then(|reading| reading.stage.as_ref());
        stage.map_or_else(Vec::new, |stage| stage.publishes(&call.events))
    }

    /// A call was answered.
    pub fn on_placed(&mut self, call: &Call, placed: &[Published]) {
        if let Some(stage) = self.stage(&call.lane) {
            stage.on_placed(call.partition, placed);
            self.go_on(&call.lane);
        }
    }

    /// A call had no effect that is known.
    pub fn on_failed(&mut self, call: &Call) {
        if let Some(stage) = self.stage(&call.lane) {
            stage.on_failed(call.partition);
        }
    }

    /// The next question to the archive.
    pub fn next_lookup(&mut self, now_us: u64) -> Option<Lookup> {
        if !self.whose.has_archive {
            return None;
        }
        let leased = &self.leased;
        self.lanes.iter_mut().find_map(|(lane, reading)| {
            let stage = reading.stage.as_mut()?;
            let (events, records) = stage.next_lookup(leased, now_us);
            (!events.is_empty()).then(|| Lookup {
                lane: lane.clone(),
                batch: stage.number,
                events,
                records,
            })
        })
    }

    /// The archive has answered with the places that it knows, or could not.
    pub fn on_looked_up(
        &mut self,
        lookup: &Lookup,
        places: Option<&[Option<Placement>]>,
        now_us: u64,
    ) {
        let stage = self.stage(&lookup.lane);
        if let Some(stage) = stage.filter(|stage| stage.number == lookup.batch) {
            stage.on_looked_up(&lookup.events, places, now_us);
        }
    }

    /// Hands places to the log for as long as it takes them; says which they are of.
    pub fn tell(&mut self, mut tell: impl FnMut(&Lane, &[Told]) -> bool) {
        for (lane, reading) in &mut self.lanes {
            while !reading.tells.is_empty() {
                let count = reading.tells.len().min(PORT_BATCH_MAX);
                if !tell(lane, &reading.tells.make_contiguous()[..count]) {
                    return;
                }
                self.counts.told += count as u64;
                let bytes: usize = reading.tells.drain(..count).map(|told| told.bytes()).sum();
                self.held -= bytes;
            }
        }
        let (before, lanes) = (self.held, &mut self.lanes);
        lanes.retain(|_, reading| !reading.is_done());
        debug_assert!(
            !self.lanes.is_empty() || before == 0,
            "{before} bytes are lost"
        );
    }

    fn stage(&mut self, lane: &Lane) -> Option<&mut Stage> {
        self.lanes.get_mut(lane)?.stage.as_mut()
    }

    /// Ends the batch of a partition of Kafka that is worked off, and begins the next ones.
    fn go_on(&mut self, lane: &Lane) {
        loop {
            let Some(reading) = self.lanes.get_mut(lane) else {
                return;
            };
            match reading.stage.take() {
                Some(stage) if !stage.is_over() => {
                    reading.stage = Some(stage);
                    return;
                }
                Some(stage) => self.settle(lane, stage),
                None => {
                    let Some(batch) = reading.queue.pop_front() else {
                        break;
                    };
                    self.begin(lane, batch);
                }
            }
        }
        if let Some(reading) = self.lanes.get_mut(lane).filter(|reading| reading.has_ended) {
            for (_, told) in std::mem::take(&mut reading.owed) {
                self.owed -= told.bytes();
                reading.tells.push_back(told);
            }
        }
    }

    fn begin(&mut self, lane: &Lane, batch: Batch) {
        let Some(reading) = self.lanes.get_mut(lane) else {
            return;
        };
        self.counts.read += batch.records.len() as u64;
        self.batches += 1;
        let owed = &mut reading.owed;
        let (mut stage, told_bytes) = Stage::begin(batch, &self.whose, &self.leased, owed);
        stage.number = self.batches;
        let (others, unreadable) = stage.passed_over();
        self.counts.others += others as u64;
        self.counts.unreadable += unreadable as u64;
        self.owed -= told_bytes;
        self.held -= told_bytes;
        reading.stage = Some(stage);
    }

    fn settle(&mut self, lane: &Lane, stage: Stage) {
        let Some(reading) = self.lanes.get_mut(lane) else {
            return;
        };
        self.held -= stage.bytes;
        for (record, told, is_new) in stage.settle(&mut self.counts) {
            let bytes = told.bytes();
            self.held += bytes;
            if is_new || self.owed + bytes > OWED_BYTES_MAX {
                reading.tells.push_back(told);
                continue;
            }
            self.owed += bytes;
            if let Some(before) = reading.owed.insert(record, told) {
                self.owed -= before.bytes();
                self.held -= before.bytes();
            }
        }
    }
}

impl Reading {
    fn is_done(&self) -> bool {
        let is_empty = self.stage.is_none() && self.queue.is_empty();
        self.has_ended && is_empty && self.tells.is_empty()
    }
}
