//! Submits records to the backplane: one call in flight for each class and partition.
//!
//! A line is the records of one class whose channels are of one partition. Its calls hold what
//! waits, in order. A call that failed is made again with the same records after a pause, before
//! any later one. While a breaker is open nothing is called; while it tries, whole partitions
//! are.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use interlink_protocol::ids::placement_hash;
use interlink_protocol::priority::Priority;

use super::evidence::Found;
use super::lane::{hand_over, lanes_of, Lane, LaneId, Lanes, Read};
use super::limits::{ASKED_MAX, ASK_WITHIN_US};
use super::line::{Attempts, Calling, Line, Source};
use super::outcome::Placed;
use super::planted::{is_planted, Planted};
use super::proving::Proving;
use super::rewind::Rewinds;
use crate::backplane::{partition_of, Published};
use crate::breaker::Traffic;
use crate::cursors::Settled;
use crate::event_log::{LogPosition, LogRecord};
use crate::files::LaneReader;
use crate::record::Placement;
use crate::retry::Backoff;

/// A class and a partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LineId {
    /// The class.
    pub class: Priority,
    /// The partition.
    pub partition: u16,
}

/// A call to be made.
#[derive(Clone, Debug)]
pub struct Call {
    /// Whose it is; the answer names it again.
    pub line: LineId,
    /// Records of the line's partition, in order.
    pub records: Vec<Arc<LogRecord>>,
    /// Records of it may have been placed longer ago than the backplane remembers ids: they were
    /// submitted by an earlier boot, or without an answer, and are old. Their ids are looked up
    /// in the archive first, which is answered by [`Lines::looked_up`]; while it is away, by
    /// [`Lines::failed`].
    pub doubtful: bool,
}

/// Counters since the start.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct LineCounters {
    /// Records that have their places.
    pub placed: u64,
    /// Records that had to be placed again since a server had lost them.
    pub moved: u64,
    /// Calls that failed.
    pub failures: u64,
    /// Rewinds.
    pub rewinds: u64,
    /// Logs of lines of which a server proved that it had lost little.
    pub proved: u64,
    /// Stretches of the journal that could not be read any more.
    pub holes: u64,
}

/// The sequencing of a node.
///
/// The driver offers what becomes durable, and in every round carries out [`Self::next_read`],
/// [`Self::next_rewind`], [`Self::next_question`] and [`Self::next_call`] until they give nothing.
/// Each call is answered by [`Self::placed`], [`Self::put_off`] or [`Self::failed`], each read by
/// [`Self::read`], each rewind's by [`Self::rewound`], each question by [`Self::known`] or
/// [`Self::not_known`].
#[derive(Debug)]
pub struct Lines {
    partitions: u16,
    pub(super) lanes: Lanes,
    /// Where the logs began.
    pub(super) begin: HashMap<LaneId, LogPosition>,
    /// What earlier processes settled before that, and when.
    pub(super) settled: HashMap<LaneId, Vec<Settled>>,
    /// Partitions that have answered since the start.
    pub(super) heard: HashSet<u16>,
    /// Where rewinds began that the driver has not asked for.
    pub(super) lowest: HashMap<LaneId, LogPosition>,
    pub(super) lines: HashMap<LineId, Line>,
    pub(super) rewinds: Rewinds,
    pub(super) proving: Proving,
    /// Lines that have something to call, for each class.
    ready: [VecDeque<LineId>; Priority::COUNT],
    /// Lines that pause after a failure.
    paused: Vec<LineId>,
    pub(super) traffic: (Traffic, u64),
    pub(super) asked: usize,
    /// The newest boot that was seen: records of earlier ones may have been submitted by them.
    pub(super) boot: u32,
    pub(super) now_us: u64,
    pub(super) counters: LineCounters,
}

impl Lines {
    /// Lines over logs that continue behind these positions, one for each log.
    pub fn new(partitions: u16, logs: &[LogPosition]) -> Self {
        let begin = logs.iter().map(|log| ((log.shard, log.kind), *log));
        Self {
            partitions: partitions.max(1),
            lanes: lanes_of(logs),
            begin: begin.collect(),
            settled: HashMap::new(),
            heard: HashSet::new(),
            lowest: HashMap::new(),
            lines: HashMap::new(),
            rewinds: Rewinds::default(),
            proving: Proving::default(),
            ready: Default::default(),
            paused: Vec::new(),
            traffic: (Traffic::All, 0),
            asked: 0,
            boot: 0,
            now_us: 0,
            counters: LineCounters::default(),
        }
    }

    /// Names the present boot: records of earlier ones may have been submitted before.
    #[must_use]
    pub fn with_boot(mut self, boot: u32) -> Self {
        self.boot = boot;
        self
    }

    /// Tells what earlier processes have settled and when, for each log oldest first: a rewind
    /// goes back to it as to what this process has placed.
    #[must_use]
    pub fn with_settled(mut self, points: &[Settled]) -> Self {
        for point in points
            .iter()
            .filter(|_| !is_planted(Planted::SettledForgotten))
        {
            let lane = (point.through.shard, point.through.kind);
            self.settled.entry(lane).or_default().push(*point);
        }
        self
    }

    /// Takes a record that has become durable on the node. Records of a log come in its order;
    /// what is left out before one is read from the journal, so that the newest is never left out.
    pub fn offer(&mut self, record: &Arc<LogRecord>) {
        let id = (record.at.shard, record.at.kind);
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.offer(record);
        }
    }

    /// The next stretch of a log to be read.
    pub fn next_read(&mut self) -> Option<(LaneId, Read)> {
        let now_us = self.now_us;
        let mut lanes = self.lanes.iter_mut();
        lanes.find_map(|(id, lane)| Some((*id, lane.next_read(now_us)?)))
    }

    /// What was read of a log, and where the reader stands now; `None` when the files refused.
    pub fn read(&mut self, id: LaneId, read: Option<(LaneReader, Vec<LogRecord>)>) {
        let now_us = self.now_us;
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.read(read, now_us);
        }
    }

    /// Asks for the place of a record once more; it was placed before. Says whether it will be
    /// asked: not when that was too long ago for the backplane to know, or too many wait.
    pub fn ask_again(&mut self, record: Arc<LogRecord>) -> bool {
        let old = record.accepted_at_us.saturating_add(ASK_WITHIN_US) <= self.now_us;
        if old || !self.can_ask() || !self.is_placed(&record) {
            return false;
        }
        self.asked += 1;
        let id = self.line_of(&record);
        self.enqueue(id, Source::Asked(record));
        true
    }

    /// Whether [`Self::ask_again`] takes a record.
    pub fn can_ask(&self) -> bool {
        self.asked < ASKED_MAX
    }

    /// Whether a record has its place.
    pub fn is_placed(&self, record: &LogRecord) -> bool {
        let lane = (record.at.shard, record.at.kind);
        if self
            .begin
            .get(&lane)
            .is_some_and(|begin| record.at <= *begin)
        {
            return true;
        }
        let line = self.lines.get(&self.line_of(record));
        let track = line.and_then(|line| line.known(lane));
        track.is_some_and(|track| record.at <= track.through())
    }

    /// Which partitions are called: what a breaker lets through. With each `turn` a share of a
    /// tenth is the next tenth, so that no partition waits for the calls of another.
    pub fn admit(&mut self, traffic: Traffic, turn: u64) {
        self.traffic = (traffic, turn);
    }

    /// The next call, the most urgent first.
    pub fn next_call(&mut self, now_us: u64) -> Option<Call> {
        self.now_us = now_us.max(self.now_us);
        self.sort_new();
        self.end_pauses();
        for class in Priority::ALL {
            for _ in 0..self.ready[class.index()].len() {
                let id = self.ready[class.index()].pop_front()?;
                if !is_admitted(self.traffic, id) {
                    self.ready[class.index()].push_back(id);
                    continue;
                }
                if let Some(call) = self.call(id) {
                    return Some(call);
                }
            }
        }
        None
    }

    fn call(&mut self, id: LineId) -> Option<Call> {
        let line = self.lines.get_mut(&id)?;
        line.queued = false;
        if !line.is_ready() {
            return None;
        }
        line.take(self.now_us);
        let line = self.lines.get(&id)?;
        let sources = line.records.iter();
        let records: Vec<_> = sources.filter_map(|source| self.record(source)).collect();
        let sources = line.records.iter().zip(&records);
        let earliest = sources.map(|(source, record)| self.earliest_us(line, source, record));
        let earliest_us = earliest.min().unwrap_or(self.now_us);
        Some(Call {
            line: id,
            records,
            doubtful: earliest_us.saturating_add(ASK_WITHIN_US) <= self.now_us,
        })
    }

    /// A call was answered; its records have their places, in their order. Gives them back with
    /// their records; nothing when the call has to be made again, since its server may have lost
    /// them after it had answered.
    pub fn placed(&mut self, id: LineId, published: &[Published]) -> Vec<Placed> {
        let Some(line) = self.lines.get_mut(&id) else {
            return Vec::new();
        };
        if line.calling == Calling::Stale {
            line.answered_late();
            self.make_ready(id);
            return Vec::new();
        }
        if published.len() != line.records.len() {
            self.failed(id, self.now_us);
            return Vec::new();
        }
        self.heard.insert(id.partition);
        let attempts = line.attempts();
        let sources = std::mem::take(&mut line.records);
        let mut placed = Vec::with_capacity(sources.len());
        for (source, published) in sources.iter().zip(published) {
            placed.extend(self.finish(id, source, (*published).into(), attempts));
        }
        if let Some(line) = self.lines.get_mut(&id) {
            line.answered();
        }
        self.make_ready(id);
        placed
    }

    /// The archive was asked for the ids of a doubtful call, in its order: records that it knows
    /// have their places, the others are called next.
    pub fn looked_up(&mut self, id: LineId, known: &[Option<Placement>]) -> Vec<Placed> {
        let Some(line) = self.lines.get_mut(&id) else {
            return Vec::new();
        };
        if line.calling == Calling::Stale {
            line.answered_late();
            self.make_ready(id);
            return Vec::new();
        }
        let attempts = line.attempts();
        let sources = std::mem::take(&mut line.records);
        let mut placed = Vec::new();
        let mut unknown = Vec::new();
        for (index, source) in sources.into_iter().enumerate() {
            // An id behind one that is not known can have been placed only after it was.
            let place = known.get(index).copied().flatten();
            match place {
                Some(placement) => {
                    let found = Found::InArchive(placement);
                    placed.extend(self.finish(id, &source, found, attempts));
                }
                None => unknown.push(source),
            }
        }
        let now_us = self.now_us;
        if let Some(line) = self.lines.get_mut(&id) {
            line.looked_up(unknown, now_us);
        }
        self.make_ready(id);
        placed
    }

    /// A call failed or was not answered in time: the same records are submitted again after a
    /// pause, before any later one.
    pub fn failed(&mut self, id: LineId, now_us: u64) {
        self.now_us = now_us.max(self.now_us);
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        if is_planted(Planted::FailureForgotten) {
            let sources = std::mem::take(&mut line.records);
            line.calling = Calling::Idle;
            let found = Found::New(Placement::default());
            for source in sources {
                self.finish(id, &source, found, Attempts::default());
            }
            return self.make_ready(id);
        }
        line.failed();
        let random = placement_hash(&self.now_us.to_le_bytes()) ^ u64::from(id.partition);
        let pause_us = Backoff::LINE.pause_us(line.failures, placement_hash(&random.to_le_bytes()));
        line.again_at_us = self.now_us.saturating_add(pause_us);
        self.counters.failures += 1;
        self.paused.push(id);
    }

    /// The backplane wanted to know more before it carried the call out: the same records are
    /// submitted again at once, before any later one.
    pub fn put_off(&mut self, id: LineId) {
        if let Some(line) = self.lines.get_mut(&id) {
            line.put_off();
        }
        self.make_ready(id);
    }

    /// The backplane is back: nobody has to wait for the end of a pause.
    pub fn resume(&mut self) {
        for id in std::mem::take(&mut self.paused) {
            if let Some(line) = self.lines.get_mut(&id) {
                line.again_at_us = 0;
            }
            self.make_ready(id);
        }
    }

    /// Everything of a log up to here is placed.
    pub fn done(&self, id: LaneId) -> Option<LogPosition> {
        self.lanes.get(&id).map(Lane::done)
    }

    /// Everything of a class in a log up to here is placed.
    pub fn done_of(&self, id: LaneId, class: Priority) -> Option<LogPosition> {
        self.lanes.get(&id).map(|lane| lane.done_of(class))
    }

    /// The logs.
    pub fn logs(&self) -> impl Iterator<Item = LaneId> + '_ {
        self.lanes.keys().copied()
    }

    /// Records that wait in memory, and whether a log is read from the journal.
    pub fn backlog(&self) -> (usize, bool) {
        let waiting = self.lanes.values().map(Lane::len).sum();
        (waiting, self.lanes.values().any(Lane::is_behind))
    }

    /// Whether nothing is left to be placed.
    pub fn is_idle(&self) -> bool {
        let waits = self.lines.values().all(Line::is_idle);
        waits && self.lanes.values().all(Lane::is_idle) && self.rewinds.is_empty()
    }

    /// Counters since the start.
    pub fn counters(&self) -> LineCounters {
        LineCounters {
            holes: self.lanes.values().map(Lane::holes).sum(),
            ..self.counters
        }
    }

    /// When a pause ends, if any does.
    pub fn next_at_us(&self) -> Option<u64> {
        let paused = self.paused.iter().filter_map(|id| self.lines.get(id));
        let pauses = paused.map(|line| line.again_at_us);
        let reads = self.lanes.values().filter_map(Lane::next_at_us);
        let others = [self.rewinds.next_at_us(), self.proving.next_at_us()];
        pauses
            .chain(reads)
            .chain(others.into_iter().flatten())
            .min()
    }

    /// Gives what lanes have taken to the lines.
    fn sort_new(&mut self) {
        let mut new = Vec::new();
        let partitions = self.partitions;
        hand_over(&mut self.lanes, |lane, number, record| {
            new.push((line_of(record, partitions), Source::Lane(lane, number)));
        });
        for (id, source) in new {
            self.enqueue(id, source);
        }
    }

    fn end_pauses(&mut self) {
        let mut ended = Vec::new();
        self.paused.retain(|id| {
            let line = self.lines.get(id);
            let waits = line.is_some_and(|line| line.again_at_us > self.now_us);
            if !waits {
                ended.push(*id);
            }
            waits
        });
        ended.into_iter().for_each(|id| self.make_ready(id));
    }

    pub(super) fn line_of(&self, record: &LogRecord) -> LineId {
        line_of(record, self.partitions)
    }

    pub(super) fn enqueue(&mut self, id: LineId, source: Source) {
        self.lines.entry(id).or_default().push(source);
        self.make_ready(id);
    }

    /// Queues a line that has something to call, no call under way, and no pause.
    pub(super) fn make_ready(&mut self, id: LineId) {
        let now_us = self.now_us;
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        if line.is_ready() && !line.queued && line.again_at_us <= now_us {
            line.queued = true;
            self.ready[id.class.index()].push_back(id);
        }
    }

    pub(super) fn record(&self, source: &Source) -> Option<Arc<LogRecord>> {
        match source {
            Source::Again(record) | Source::Asked(record) => Some(Arc::clone(record)),
            Source::Lane(lane, number) => self.lanes.get(lane)?.get(*number).cloned(),
        }
    }
}

/// Whether the partition of a line may be called.
pub(super) fn is_admitted((traffic, turn): (Traffic, u64), id: LineId) -> bool {
    let hash = placement_hash(&id.partition.to_le_bytes());
    traffic.admits(hash % 100 + turn % 10 * 10)
}

fn line_of(record: &LogRecord, partitions: u16) -> LineId {
    LineId {
        class: record.class,
        partition: partition_of(&record.channel, partitions),
    }
}
