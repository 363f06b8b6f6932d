//! Gives records to Kafka, in journal order for each class.
//!
//! A record waits shortly for its position. One that was fed without is followed by a record of
//! its position as soon as that is known. Batches of a class are on their way one behind the
//! other; when one fails, it and all behind it go again, in the same order.
//!
//! Invariants: within a class records are fed in the order in which they came, each log's in its
//! own; a watermark passes only what Kafka has acknowledged; [`Feeder::told`] passes no record
//! whose position is still to be told.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use interlink_protocol::ids::placement_hash;
use interlink_protocol::priority::Priority;

use super::lane::{before, hand_over, lanes_of, Lane, LaneId, Lanes, Read};
use super::limits::{ASKED_MAX, BATCHES_MAX, CALL_RECORDS_MAX, POSITIONED_MAX, POSITION_WAIT_US};
use super::outcome::{Outcome, Placed};
use super::planted::{is_planted, Planted};
use super::positions::Positions;
use crate::event_log::{LogPosition, LogRecord};
use crate::files::LaneReader;
use crate::record::Placement;
use crate::retry::Backoff;

/// Something for Kafka.
#[derive(Clone, Debug)]
pub struct Fed {
    /// The record.
    pub record: Arc<LogRecord>,
    /// Where it stands, if that is known.
    pub placement: Option<Placement>,
    /// The record was fed before, and only its position is told.
    pub positioned: bool,
}

/// What is appended in one call.
#[derive(Clone, Debug)]
pub struct FeedBatch {
    /// The class of all records.
    pub class: Priority,
    /// Names the batch; numbers of a class rise.
    pub number: u64,
    /// The records, in order.
    pub records: Vec<Fed>,
}

/// Counters since the start.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct FeedCounters {
    /// Records that are in Kafka.
    pub fed: u64,
    /// Of them, those that were fed without their positions.
    pub without: u64,
    /// Positions that were told later.
    pub positioned: u64,
    /// Records whose positions were asked again.
    pub asked: u64,
    /// Records whose positions the log will not be told: their places were forgotten here and by
    /// the backplane before Kafka took them.
    pub untold: u64,
    /// Batches that failed.
    pub failures: u64,
}

/// A record that waits to be fed.
#[derive(Debug)]
struct Waiting {
    lane: LaneId,
    number: u64,
    record: Arc<LogRecord>,
    since_us: u64,
}

/// Something on its way to Kafka.
#[derive(Debug)]
struct Sent {
    fed: Fed,
    /// Where it is waited for; a position is waited for in no lane.
    source: Option<(LaneId, u64)>,
}

/// One class.
#[derive(Debug, Default)]
struct Class {
    waiting: VecDeque<Waiting>,
    /// Positions of records that were fed without.
    positioned: VecDeque<(Arc<LogRecord>, Placement)>,
    /// What is on its way, oldest first, with the batches' numbers.
    under_way: VecDeque<(u64, Vec<Sent>)>,
    /// Batches that failed, oldest first.
    again: VecDeque<Vec<Sent>>,
    number: u64,
    /// Failures since the last batch that was taken, and when it goes on after them.
    failed: u32,
    again_at_us: u64,
}

/// Records of one class and log that are or will be in Kafka without their position.
#[derive(Debug, Default)]
struct Owed {
    /// Their positions are asked for.
    asked: BTreeSet<LogPosition>,
    /// Their positions are known; how many of each wait to be told.
    known: BTreeMap<LogPosition, u32>,
}

/// The feeding of a node.
///
/// The driver offers what becomes durable and tells what is placed; in every round it carries out
/// [`Self::next_read`], [`Self::next_batch`] of each class and [`Self::next_forgotten`] until they
/// give nothing. Each batch is answered by [`Self::appended`] or [`Self::failed`].
#[derive(Debug)]
pub struct Feeder {
    lanes: Lanes,
    positions: Positions,
    classes: [Class; Priority::COUNT],
    /// Records that are on their way without a position.
    without: HashSet<LogPosition>,
    owed: BTreeMap<LaneId, [Owed; Priority::COUNT]>,
    /// Records whose position was forgotten and has to be asked.
    forgotten: VecDeque<Arc<LogRecord>>,
    counters: FeedCounters,
    now_us: u64,
}

impl Feeder {
    /// A feeder over logs that continue behind these positions.
    pub fn new(logs: &[LogPosition]) -> Self {
        Self {
            lanes: lanes_of(logs),
            positions: Positions::default(),
            classes: Default::default(),
            without: HashSet::new(),
            owed: BTreeMap::new(),
            forgotten: VecDeque::new(),
            counters: FeedCounters::default(),
            now_us: 0,
        }
    }

    /// Takes a record that has become durable on the node. Records of a log come in its order;
    /// what is left out before one is read from the journal, so that the newest is never left out.
    pub fn offer(&mut self, record: &Arc<LogRecord>, now_us: u64) {
        self.now_us = now_us.max(self.now_us);
        let lane = (record.at.shard, record.at.kind);
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.offer(record);
        }
        self.sort_new();
    }

    /// The next stretch of a log to be read.
    pub fn next_read(&mut self) -> Option<(LaneId, Read)> {
        let now_us = self.now_us;
        let mut lanes = self.lanes.iter_mut();
        lanes.find_map(|(id, lane)| Some((*id, lane.next_read(now_us)?)))
    }

    /// What was read of a log, and where the reader stands now; `None` when the files refused.
    pub fn read(&mut self, id: LaneId, read: Option<(LaneReader, Vec<LogRecord>)>, now_us: u64) {
        self.now_us = now_us.max(self.now_us);
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.read(read, now_us);
        }
        self.sort_new();
    }

    fn sort_new(&mut self) {
        let since_us = self.now_us;
        let classes = &mut self.classes;
        hand_over(&mut self.lanes, |lane, number, record| {
            classes[record.class.index()].waiting.push_back(Waiting {
                lane,
                number,
                record: Arc::clone(record),
                since_us,
            });
        });
    }

    /// The backplane has placed a record. One that was fed already was fed without its position,
    /// or with one that is lost.
    pub fn placed(&mut self, placed: &Placed) {
        let (record, placement) = (&placed.record, placed.placement);
        let id = (record.at.shard, record.at.kind);
        let lane = self.lanes.get(&id);
        if placed.outcome == Outcome::Kept {
            return;
        }
        let is_fed = lane.is_some_and(|lane| lane.has_passed(record.at));
        if !is_fed && !self.without.remove(&record.at) {
            let fed = placed.outcome == Outcome::Moved && self.is_under_way_with(record);
            if !fed {
                self.positions.insert(id, record.at, placement);
                return;
            }
        }
        if !is_planted(Planted::PositionUntold) {
            let owed = self.owed(record);
            owed.asked.remove(&record.at);
            *owed.known.entry(record.at).or_default() += 1;
            let class = &mut self.classes[record.class.index()];
            class.positioned.push_back((Arc::clone(record), placement));
        }
    }

    /// Whether a record is on its way with a position that is lost.
    fn is_under_way_with(&self, record: &LogRecord) -> bool {
        let class = &self.classes[record.class.index()];
        let under_way = class.under_way.iter().map(|(_, sent)| sent);
        let mut sent = under_way.chain(&class.again).flatten();
        sent.any(|sent| sent.source.is_some() && sent.fed.record.at == record.at)
    }

    fn owed(&mut self, record: &LogRecord) -> &mut Owed {
        let lane = (record.at.shard, record.at.kind);
        &mut self.owed.entry(lane).or_default()[record.class.index()]
    }

    /// A position of a record is in Kafka; a later one may still be on its way.
    fn told_of_record(&mut self, record: &LogRecord) {
        let known = &mut self.owed(record).known;
        if let Some(count) = known.get_mut(&record.at) {
            *count -= 1;
            if *count == 0 {
                known.remove(&record.at);
            }
        }
    }

    /// The next batch of a class; `is_placed` tells whether a record has its place in the
    /// backplane, so that a position that was forgotten here is not waited for.
    pub fn next_batch(
        &mut self,
        class: Priority,
        now_us: u64,
        is_placed: impl Fn(&LogRecord) -> bool,
    ) -> Option<FeedBatch> {
        self.now_us = now_us.max(self.now_us);
        let index = class.index();
        let queue = &self.classes[index];
        if queue.under_way.len() >= BATCHES_MAX || self.now_us < queue.again_at_us {
            return None;
        }
        let again = match is_planted(Planted::BatchLast) {
            true => None,
            false => self.classes[index].again.pop_front(),
        };
        let batch = again.or_else(|| {
            let batch = self.fill(index, is_placed);
            (!batch.is_empty()).then_some(batch)
        });
        let batch = batch.or_else(|| self.classes[index].again.pop_front())?;
        let records = batch.iter().map(|sent| sent.fed.clone()).collect();
        let queue = &mut self.classes[index];
        queue.number += 1;
        let number = queue.number;
        queue.under_way.push_back((number, batch));
        Some(FeedBatch {
            class,
            number,
            records,
        })
    }

    fn fill(&mut self, index: usize, is_placed: impl Fn(&LogRecord) -> bool) -> Vec<Sent> {
        let mut batch = Vec::new();
        while batch.len() < CALL_RECORDS_MAX {
            if let Some((record, placement)) = self.classes[index].positioned.pop_front() {
                let (placement, positioned) = (Some(placement), true);
                let fed = Fed {
                    record,
                    placement,
                    positioned,
                };
                batch.push(Sent { fed, source: None });
                continue;
            }
            let Some(waiting) = self.classes[index].waiting.front() else {
                break;
            };
            let placement = self.positions.get(waiting.lane, waiting.record.at);
            if placement.is_none() {
                let forgotten = is_placed(&waiting.record);
                let late_us = waiting.since_us.saturating_add(POSITION_WAIT_US);
                if !forgotten && self.now_us < late_us {
                    break;
                }
                if forgotten && self.forgotten.len() >= ASKED_MAX {
                    break;
                }
                self.counters.without += 1;
                let record = Arc::clone(&waiting.record);
                self.without.insert(record.at);
                if forgotten {
                    self.owed(&record).asked.insert(record.at);
                    self.forgotten.push_back(record);
                }
            }
            let Some(waiting) = self.classes[index].waiting.pop_front() else {
                break;
            };
            let fed = Fed {
                record: waiting.record,
                placement,
                positioned: false,
            };
            let source = Some((waiting.lane, waiting.number));
            batch.push(Sent { fed, source });
        }
        batch
    }

    /// A batch is in Kafka, and so is everything before it. Batches of a class are answered in
    /// their order; the answer to one that was given up says nothing.
    pub fn appended(&mut self, class: Priority, number: u64) {
        let queue = &mut self.classes[class.index()];
        if queue
            .under_way
            .front()
            .is_none_or(|front| front.0 != number)
        {
            return;
        }
        let (_, batch) = queue.under_way.pop_front().unwrap_or_default();
        queue.failed = 0;
        for sent in batch {
            let record = &sent.fed.record;
            match sent.source {
                Some((id, number)) => {
                    self.counters.fed += 1;
                    self.without.remove(&record.at);
                    if let Some(lane) = self.lanes.get_mut(&id) {
                        lane.finish(number);
                    }
                }
                None => {
                    self.counters.positioned += 1;
                    self.told_of_record(record);
                }
            }
        }
        for (id, lane) in &self.lanes {
            self.positions.forget_through(*id, lane.done());
        }
    }

    /// A batch is not in Kafka, or may not be: it and those behind it go again after a pause, in
    /// their order. The caller forgets those that it has not submitted.
    pub fn failed(&mut self, class: Priority, number: u64) {
        let queue = &mut self.classes[class.index()];
        let Some(at) = queue.under_way.iter().position(|batch| batch.0 == number) else {
            return;
        };
        self.counters.failures += 1;
        if is_planted(Planted::BatchForgotten) {
            return self.appended(class, number);
        }
        let failed = queue.under_way.split_off(at);
        for (_, batch) in failed.into_iter().rev() {
            queue.again.push_front(batch);
        }
        queue.failed = queue.failed.saturating_add(1);
        let pause_us = Backoff::LINE.pause_us(queue.failed, placement_hash(&number.to_le_bytes()));
        queue.again_at_us = self.now_us.saturating_add(pause_us);
    }

    /// The next record whose position has to be asked, for [`super::Lines::ask_again`].
    pub fn next_forgotten(&mut self) -> Option<Arc<LogRecord>> {
        let next = self.forgotten.pop_front();
        self.counters.asked += u64::from(next.is_some());
        next
    }

    /// The position of a record can not be asked any more.
    pub fn give_up(&mut self, record: &LogRecord) {
        self.counters.untold += 1;
        self.without.remove(&record.at);
        self.owed(record).asked.remove(&record.at);
    }

    /// Everything of a log up to here is in Kafka.
    pub fn done(&self, id: LaneId) -> Option<LogPosition> {
        self.lanes.get(&id).map(Lane::done)
    }

    /// Everything of a class in a log up to here is in Kafka.
    pub fn done_of(&self, id: LaneId, class: Priority) -> Option<LogPosition> {
        self.lanes.get(&id).map(|lane| lane.done_of(class))
    }

    /// Everything of a log up to here is in Kafka, and so are the positions that are known of
    /// it: together with [`super::Lines::done`] where a later process goes on. It goes back when
    /// records that had been told get other places.
    pub fn told(&self, id: LaneId) -> Option<LogPosition> {
        let mut told = self.done(id)?;
        for class in Priority::ALL {
            told = told.min(self.limit(id, class).unwrap_or(told));
        }
        Some(told)
    }

    /// The same for one class: together with [`super::Lines::done_of`] what is settled.
    pub fn told_of(&self, id: LaneId, class: Priority) -> Option<LogPosition> {
        let done = self.done_of(id, class)?;
        Some(done.min(self.limit(id, class).unwrap_or(done)))
    }

    fn limit(&self, id: LaneId, class: Priority) -> Option<LogPosition> {
        let owed = self
            .owed
            .get(&id)
            .filter(|_| !is_planted(Planted::CursorPasses))?;
        let owed = &owed[class.index()];
        let known = owed.known.keys().next();
        owed.asked
            .first()
            .into_iter()
            .chain(known)
            .min()
            .map(|at| before(*at))
    }

    /// Whether batches of a class are on their way.
    pub fn is_under_way(&self, class: Priority) -> bool {
        !self.classes[class.index()].under_way.is_empty()
    }

    /// Records that wait in memory, and whether a log is read from the journal.
    pub fn backlog(&self) -> (usize, bool) {
        let waiting = self.lanes.values().map(Lane::len).sum();
        (waiting, self.lanes.values().any(Lane::is_behind))
    }

    /// Positions that are kept for records which were not fed yet.
    pub fn positions(&self) -> usize {
        self.positions.len()
    }

    /// Whether so many positions wait to be told that no more are to be asked for.
    pub fn is_full(&self) -> bool {
        let waiting = self.classes.iter().map(|class| class.positioned.len());
        waiting.sum::<usize>() >= POSITIONED_MAX
    }

    /// Whether nothing is left to be fed.
    pub fn is_idle(&self) -> bool {
        let told = self.classes.iter().all(|class| {
            class.positioned.is_empty() && class.under_way.is_empty() && class.again.is_empty()
        });
        told && self.forgotten.is_empty() && self.lanes.values().all(Lane::is_idle)
    }

    /// Counters since the start.
    pub fn counters(&self) -> FeedCounters {
        self.counters
    }

    /// When a record has waited long enough for its position, if any waits.
    pub fn next_at_us(&self) -> Option<u64> {
        let fronts = self
            .classes
            .iter()
            .filter_map(|class| class.waiting.front());
        let waits = fronts.map(|waiting| waiting.since_us.saturating_add(POSITION_WAIT_US));
        waits
            .chain(self.lanes.values().filter_map(Lane::next_at_us))
            .min()
    }
}
