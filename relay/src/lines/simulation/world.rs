//! The node of a run, with its journal, its disk and what is under way to its brokers.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use interlink_protocol::ids::RecordId;
use interlink_protocol::priority::Priority;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::model::{
    at, check_order, check_places, record, Server, CHANNELS, PARTITIONS, PUBLISHERS,
};
use crate::backplane::{partition_of, Published};
use crate::cursors::Trail;
use crate::event_log::{LogPosition, LogRecord};
use crate::files::LaneReader;
use crate::lines::limits::{AHEAD_RECORDS_MAX, LANE_RECORDS_MAX};
use crate::lines::*;
use crate::record::{Kind, Placement};

/// Shards of the boot with the most.
const SHARDS_MAX: u16 = 3;

/// A replica is behind by less than a rewind goes back.
const REPLICA_BEHIND_US: u64 = 50_000_000;

/// The fate of a call that is answered.
const FINE: u32 = 9;

/// A node and its brokers.
pub struct World {
    random: StdRng,
    pub now_us: u64,
    step_us: u64,
    boot: u32,
    shards: u16,
    journals: Vec<Vec<LogRecord>>,
    accepted: Vec<LogRecord>,
    /// What is on the disk: how far everything is settled and was lately, and the epoch in which
    /// the backplane was then.
    trails: Vec<Trail>,
    kept_epoch: u64,
    epochs: u64,
    pub lines: Lines,
    feeder: Feeder,
    server: Server,
    replica: Server,
    replica_us: u64,
    away: HashSet<u16>,
    calls: VecDeque<(Call, Option<Vec<Published>>)>,
    questions: VecDeque<(Question, Option<Vec<Option<Placement>>>)>,
    batches: VecDeque<FeedBatch>,
    placed: HashSet<RecordId>,
    pub fed: Vec<RecordId>,
    fed_ids: HashSet<RecordId>,
    pub positions: HashMap<RecordId, Placement>,
    untold: HashSet<RecordId>,
    /// The newest records of shards whose lanes are full.
    held: [Option<Arc<LogRecord>>; SHARDS_MAX as usize],
    /// Whether the node dies from time to time.
    restarts: bool,
    /// Whether little comes and little fails, so that what is settled is new.
    calm: bool,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let cursors: Vec<_> = (0..SHARDS_MAX).map(|shard| at(1, shard, 0)).collect();
        let step_us = [30_000, 6_000_000][seed as usize % 2];
        Self {
            random: StdRng::seed_from_u64(seed),
            now_us: 1_000_000,
            step_us,
            boot: 1,
            shards: 2,
            journals: vec![Vec::new(); usize::from(SHARDS_MAX)],
            accepted: Vec::new(),
            lines: Lines::new(PARTITIONS, &cursors).with_boot(1),
            feeder: Feeder::new(&cursors),
            trails: cursors.iter().map(|begin| trail(*begin)).collect(),
            kept_epoch: 0,
            epochs: 0,
            server: Server::default(),
            replica: Server::default(),
            replica_us: 0,
            away: HashSet::new(),
            calls: VecDeque::new(),
            questions: VecDeque::new(),
            batches: VecDeque::new(),
            placed: HashSet::new(),
            fed: Vec::new(),
            fed_ids: HashSet::new(),
            positions: HashMap::new(),
            untold: HashSet::new(),
            held: Default::default(),
            restarts: seed % 4 < 2,
            calm: seed.is_multiple_of(3),
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    /// What becomes of a call: it fails, its answer is lost, or it is answered.
    fn fate(&mut self) -> u32 {
        let fates = if self.calm { 60 } else { 10 };
        self.random.random_range(0..fates)
    }

    pub fn accept(&mut self, count: u64) {
        for _ in 0..count {
            let publisher = self.random.random_range(0..PUBLISHERS);
            let channel = self.random.random_range(0..CHANNELS);
            let shard = (publisher % u64::from(self.shards)) as u16;
            let journal = &mut self.journals[usize::from(shard)];
            let last = journal.last().map(|last| last.at);
            let sequence = last.filter(|last| last.boot == self.boot);
            let sequence = sequence.map_or(1, |last| last.sequence.0 + 1);
            let id = self.accepted.len() as u64 + 1;
            let place = at(self.boot, shard, sequence);
            let record = record(place, id, channel, publisher, self.now_us);
            journal.push(record.clone());
            self.accepted.push(record.clone());
            let record = Arc::new(record);
            // A full lane leaves records out, but never the newest.
            match self.chance(1) {
                true => self.held[usize::from(shard)] = Some(record),
                false => self.offer(&record),
            }
        }
    }

    fn offer(&mut self, record: &Arc<LogRecord>) {
        self.held[usize::from(record.at.shard)] = None;
        self.lines.offer(record);
        self.feeder.offer(record, self.now_us);
    }

    fn offer_held(&mut self) {
        for shard in 0..self.held.len() {
            if let Some(record) = self.held[shard].take() {
                self.offer(&record);
            }
        }
    }

    fn stretch(&mut self, read: Read) -> Option<(LaneReader, Vec<LogRecord>)> {
        if self.chance(5) {
            return None;
        }
        let after = read.reader.after();
        let journal = &self.journals[usize::from(after.shard)];
        let from = journal.partition_point(|record| record.at <= after);
        let records: Vec<_> = journal[from..].iter().take(READ_RECORDS).cloned().collect();
        let last = records.last().map_or(after, |last| last.at);
        let reader = LaneReader::new(after.shard, Kind::Urgent, Some(last));
        Some((reader, records))
    }

    fn read(&mut self) {
        for _ in 0..SHARDS_MAX {
            if let Some((id, read)) = self.lines.next_rewind() {
                let read = self.stretch(read);
                self.lines.rewound(id, read);
            }
            if let Some((id, read)) = self.lines.next_read() {
                let read = self.stretch(read);
                self.lines.read(id, read);
            }
            if let Some((id, read)) = self.feeder.next_read() {
                let read = self.stretch(read);
                self.feeder.read(id, read, self.now_us);
            }
        }
    }

    pub fn submit(&mut self) {
        while let Some(record) = self.feeder.next_forgotten() {
            if !self.lines.ask_again(Arc::clone(&record)) {
                self.untold.insert(record.record);
                self.feeder.give_up(&record);
            }
        }
        while let Some(question) = self.lines.next_question(self.now_us) {
            self.questions.push_back((question, None));
        }
        while let Some(call) = self.lines.next_call(self.now_us) {
            assert!(call.records.len() <= CALL_RECORDS_MAX && !call.records.is_empty());
            for record in &call.records {
                let partition = partition_of(&record.channel, PARTITIONS);
                let own = (call.line.partition, call.line.class);
                assert_eq!((partition, record.class), own);
            }
            let again = self.calls.iter().any(|other| other.0.line == call.line);
            assert!(!again, "one call of a line at a time");
            if call.doubtful {
                // What a server has lost is not known to have its place.
                let held = call
                    .records
                    .iter()
                    .map(|it| self.server.ids.get(&it.record));
                let known: Vec<_> = held.map(|held| Some(held?.0)).collect();
                for placed in self.lines.looked_up(call.line, &known) {
                    self.placed.insert(placed.record.record);
                    self.feeder.placed(&placed);
                }
                continue;
            }
            self.calls.push_back((call, None));
        }
    }

    /// Answers a call, fails it, puts it off, or applies it and loses the answer.
    fn answer(&mut self, faults: bool) {
        let Some((call, earlier)) = self.calls.pop_front() else {
            return;
        };
        let fate = match faults {
            _ if earlier.is_some() => FINE,
            _ if self.away.contains(&call.line.partition) => 0,
            true => self.fate(),
            false => FINE,
        };
        match fate {
            0 => return self.lines.failed(call.line, self.now_us),
            2 => return self.lines.put_off(call.line),
            _ => {}
        }
        let published = earlier.unwrap_or_else(|| self.apply(&call));
        if fate == 1 {
            return self.lines.failed(call.line, self.now_us);
        }
        for placed in self.lines.placed(call.line, &published) {
            self.feeder.placed(&placed);
        }
    }

    /// Tells which records the server has, or fails.
    fn tell_known(&mut self, faults: bool) {
        let Some((question, earlier)) = self.questions.pop_front() else {
            return;
        };
        let is_away = self.away.contains(&question.line.partition);
        if earlier.is_none() && faults && (is_away || self.fate() == 0) {
            let (line, number) = (question.line, question.number);
            return self.lines.not_known(line, number, self.now_us);
        }
        let places = earlier.unwrap_or_else(|| self.server.look_up(&question, self.now_us));
        self.lines.known(question.line, question.number, &places);
    }

    fn apply(&mut self, call: &Call) -> Vec<Published> {
        let ids = call.records.iter().map(|record| record.record);
        self.placed.extend(ids);
        self.server.publish(&call.records, self.now_us)
    }

    fn feed(&mut self) {
        for class in Priority::ALL {
            let lines = &self.lines;
            let is_placed = |record: &LogRecord| lines.is_placed(record);
            while let Some(batch) = self.feeder.next_batch(class, self.now_us, is_placed) {
                self.batches.push_back(batch);
            }
        }
    }

    /// Answers a batch, refuses it, or takes it and loses the answer: those behind it on their
    /// way are refused too.
    fn append(&mut self, faults: bool) {
        let Some(batch) = self.batches.pop_front() else {
            return;
        };
        let fate = match faults {
            true => self.fate(),
            false => FINE,
        };
        if fate > 0 {
            self.take(&batch);
        }
        if fate > 1 {
            return self.feeder.appended(batch.class, batch.number);
        }
        self.feeder.failed(batch.class, batch.number);
        let class = batch.class;
        self.batches.retain(|behind| behind.class != class);
    }

    fn take(&mut self, batch: &FeedBatch) {
        for fed in &batch.records {
            let id = fed.record.record;
            // Consumers know repeats.
            if !fed.positioned && self.fed_ids.insert(id) {
                self.fed.push(id);
            }
            if let Some(placement) = fed.placement {
                self.positions.insert(id, placement);
            }
        }
    }

    /// The replica takes over without what it had not got yet. Calls that name the lineage of
    /// before are refused; some were answered before.
    pub fn fail_over(&mut self) {
        self.epochs += 1;
        let epoch = self.epochs;
        for index in 0..self.calls.len() {
            if self.chance(50) && self.calls[index].1.is_none() {
                let call = self.calls[index].0.clone();
                if !self.away.contains(&call.line.partition) {
                    self.calls[index].1 = Some(self.apply(&call));
                }
            }
        }
        for index in 0..self.questions.len() {
            if self.chance(50) && self.questions[index].1.is_none() {
                let places = self.server.look_up(&self.questions[index].0, self.now_us);
                self.questions[index].1 = Some(places);
            }
        }
        self.server = self.replica.clone();
        self.server.promote(epoch);
        self.rewind();
        for (call, answer) in std::mem::take(&mut self.calls) {
            match answer {
                None => self.lines.failed(call.line, self.now_us),
                answer => self.calls.push_back((call, answer)),
            }
        }
    }

    fn rewind(&mut self) {
        let partitions: Vec<u16> = (0..PARTITIONS).collect();
        self.lines.rewind(&partitions, self.now_us);
    }

    pub fn replicate(&mut self) {
        self.replica = self.server.clone();
        self.replica_us = self.now_us;
    }

    /// The node dies and starts again, with another number of shards.
    fn restart(&mut self) {
        for (call, answer) in std::mem::take(&mut self.calls) {
            // One that was answered by a server that is not the master any more comes to no other.
            let arrives = answer.is_none() && !self.away.contains(&call.line.partition);
            if arrives && self.chance(50) {
                self.apply(&call);
            }
        }
        for batch in std::mem::take(&mut self.batches) {
            if self.chance(50) {
                break;
            }
            self.take(&batch);
        }
        self.boot += 1;
        self.shards = 5 - self.shards;
        let cursors: Vec<_> = self.trails.iter().map(cursor).collect();
        let settled: Vec<_> = self.trails.iter().flat_map(Trail::points).collect();
        let lines = Lines::new(PARTITIONS, &cursors).with_boot(self.boot);
        self.lines = lines.with_settled(&settled);
        self.feeder = Feeder::new(&cursors);
        // It may be down for long.
        if self.chance(20) {
            self.now_us += self.random.random_range(0..400_000_000);
        }
        // Servers change also while the node is down, and between a change and the disk.
        if self.chance(20) {
            self.server = self.replica.clone();
            self.server
                .promote(self.server.epoch.max(self.kept_epoch) + 1);
        }
        if self.server.epoch != self.kept_epoch {
            self.rewind();
        }
    }

    fn keep_cursors(&mut self) {
        let now_us = self.now_us;
        for (shard, trail) in self.trails.iter_mut().enumerate() {
            let lane = (shard as u16, Kind::Urgent);
            let ends = (self.lines.cursor(lane), self.feeder.told(lane));
            if let Some(lowest) = self.lines.went_back(lane) {
                trail.note(lowest.min(cursor(trail)), now_us);
            }
            if let (Some(placed), Some(told)) = ends {
                trail.note(placed.min(told), now_us);
            }
        }
        self.kept_epoch = self.server.epoch;
    }

    pub fn check_watermarks(&self) {
        for (shard, journal) in self.journals.iter().enumerate() {
            let lane = (shard as u16, Kind::Urgent);
            let (placed, fed) = (self.lines.done(lane), self.feeder.done(lane));
            let newest = journal.iter().rev().take(500);
            for record in newest {
                let at = Some(record.at);
                assert!(
                    at > placed || self.placed.contains(&record.record),
                    "placed"
                );
                assert!(at > fed || self.fed_ids.contains(&record.record), "fed");
            }
        }
        let memory = usize::from(SHARDS_MAX) * (LANE_RECORDS_MAX + AHEAD_RECORDS_MAX);
        assert!(self.lines.backlog().0 <= memory && self.feeder.backlog().0 <= memory);
    }

    pub fn settle(&mut self) {
        self.offer_held();
        self.away.clear();
        for _ in 0..200_000 {
            self.now_us += 10_000;
            self.read();
            self.submit();
            self.answer(false);
            self.tell_known(false);
            self.feed();
            self.append(false);
            if self.lines.is_idle() && self.feeder.is_idle() && self.calls.is_empty() {
                return self.keep_cursors();
            }
        }
        let (lines, feeder) = (self.lines.backlog(), self.feeder.backlog());
        panic!("does not settle: {lines:?} {feeder:?}");
    }

    pub fn check_end(&self) {
        check_places(&self.server, &self.accepted);
        assert_eq!(self.fed.len(), self.accepted.len(), "everything is fed");
        check_order(&self.fed, &self.accepted, "what was fed");
        for record in &self.accepted {
            if !self.untold.contains(&record.record) {
                let told = self.positions.get(&record.record);
                let known = self.server.ids.get(&record.record).map(|known| &known.0);
                assert_eq!(told, known, "{record:?}");
            }
        }
        for (trail, journal) in self.trails.iter().zip(&self.journals) {
            let last = journal.last().map_or(cursor(trail), |last| last.at);
            assert!(cursor(trail) >= last, "the cursor is at the end");
        }
    }

    pub fn step(&mut self) {
        self.now_us += self.random.random_range(0..self.step_us);
        match self.random.random_range(0..200) {
            0..80 => {
                let most = if self.calm { 10 } else { 200 };
                let count = self.random.random_range(1..most);
                self.accept(count);
            }
            80..84 => self.fail_over(),
            84..90 => self.replicate(),
            90..110 if !self.calm => self.replicate(),
            110..112 if self.restarts => self.restart(),
            112..114 if !self.calm => {
                let partition = self.random.random_range(0..PARTITIONS);
                if !self.away.remove(&partition) {
                    self.away.insert(partition);
                }
            }
            114..150 => self.keep_cursors(),
            150..170 => self.offer_held(),
            _ => {}
        }
        if self.now_us > self.replica_us + REPLICA_BEHIND_US - self.step_us {
            self.replicate();
        }
        self.read();
        self.submit();
        let most = if self.calm { 20 } else { 6 };
        for _ in 0..self.random.random_range(0..most) {
            self.answer(true);
            self.tell_known(true);
        }
        self.feed();
        for _ in 0..self.random.random_range(0..most) {
            self.append(true);
        }
        self.check_watermarks();
    }
}

/// A trail that begins.
fn trail(begin: LogPosition) -> Trail {
    let mut trail = Trail::default();
    trail.note(begin, 0);
    trail
}

/// Where a trail ends.
fn cursor(trail: &Trail) -> LogPosition {
    trail.points().last().expect("every trail begins").through
}
