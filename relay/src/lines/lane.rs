//! One cursor over one log: what is in memory, what has to be read, how far everything is done.
//!
//! A lane holds a window of its log. Records come from memory as long as each follows the one
//! before and there is room; otherwise the lane is *behind* and reads the journal. What arrives
//! meanwhile is kept apart, and reading ends where it begins, so that a lane under steady load
//! comes back to memory.
//!
//! Invariants: records enter the window in the order of the log and leave it when all before
//! them are done; nothing is passed over but what the journal cannot give any more.

use std::collections::VecDeque;
use std::sync::Arc;

use interlink_protocol::priority::Priority;

use super::limits::{
    AHEAD_BYTES_MAX, AHEAD_RECORDS_MAX, LANE_BYTES_MAX, LANE_RECORDS_MAX, READ_PAUSE_US,
    RECORD_BYTES,
};
use super::planted::{is_planted, Planted};
use crate::event_log::{LogPosition, LogRecord};
use crate::files::LaneReader;
use crate::record::{Kind, Sequence};

/// A log of a shard.
pub type LaneId = (u16, Kind);

/// A stretch of the journal to be read, at most [`super::READ_RECORDS`] at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Read {
    /// Where the reader stands.
    pub reader: LaneReader,
    /// The newest record that is known to be on the disk.
    pub durable: Option<LogPosition>,
}

/// A record of a lane.
#[derive(Debug)]
struct Entry {
    record: Arc<LogRecord>,
    done: bool,
}

/// Where a lane that is behind reads.
#[derive(Debug)]
struct Behind {
    reader: LaneReader,
    /// What the read under way was told to be on the disk.
    asked: Option<LogPosition>,
    reading: bool,
    again_at_us: u64,
}

/// One cursor over one log.
#[derive(Debug)]
pub(super) struct Lane {
    entries: VecDeque<Entry>,
    /// Number of the first entry.
    first: u64,
    /// Number of the first entry that was not handed to its queue.
    next: u64,
    bytes: usize,
    /// The last record that was taken.
    taken: LogPosition,
    /// Everything up to here is done.
    done: LogPosition,
    /// Numbers of records that are not done, for each class.
    open: [VecDeque<u64>; Priority::COUNT],
    /// The newest record that was offered.
    newest: Option<LogPosition>,
    behind: Option<Behind>,
    /// What was offered while the lane was behind: the newest stretch without a hole.
    ahead: VecDeque<Arc<LogRecord>>,
    ahead_bytes: usize,
    /// The end of the log has not been seen since the start: what comes next may be of an
    /// earlier boot.
    past: bool,
    /// Holes that the journal could not fill.
    holes: u64,
}

impl Lane {
    /// A lane that reads behind a position until nothing is left there.
    pub fn new(after: LogPosition) -> Self {
        let mut lane = Self {
            entries: VecDeque::new(),
            first: 0,
            next: 0,
            bytes: 0,
            taken: after,
            done: after,
            open: Default::default(),
            newest: None,
            behind: None,
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            past: true,
            holes: 0,
        };
        lane.fall_behind();
        lane
    }

    /// Takes a record that has become durable. One that is not taken is read again later.
    pub fn offer(&mut self, record: &Arc<LogRecord>) {
        let at = record.at;
        if at <= self.newest.unwrap_or(self.taken) {
            return;
        }
        self.newest = Some(at);
        let follows = follows(self.taken, at) || is_planted(Planted::HoleUnnoticed);
        if self.behind.is_none() && follows && self.has_room() {
            self.push(Arc::clone(record));
            return;
        }
        if self.behind.is_none() {
            self.fall_behind();
        }
        self.keep_ahead(record);
    }

    fn fall_behind(&mut self) {
        let taken = self.taken;
        self.behind = Some(Behind {
            reader: LaneReader::new(taken.shard, taken.kind, Some(taken)),
            asked: None,
            reading: false,
            again_at_us: 0,
        });
    }

    fn keep_ahead(&mut self, record: &Arc<LogRecord>) {
        let follows = self
            .ahead
            .back()
            .is_none_or(|last| follows(last.at, record.at));
        let room = self.ahead.len() < AHEAD_RECORDS_MAX && self.ahead_bytes < AHEAD_BYTES_MAX;
        if !follows || !room {
            self.ahead.clear();
            self.ahead_bytes = 0;
        }
        self.ahead_bytes += weight(record);
        self.ahead.push_back(Arc::clone(record));
    }

    fn has_room(&self) -> bool {
        self.entries.len() < LANE_RECORDS_MAX && self.bytes < LANE_BYTES_MAX
    }

    /// What has to be read next, if anything and if there is room for it.
    pub fn next_read(&mut self, now_us: u64) -> Option<Read> {
        let roomy = self.entries.len() < LANE_RECORDS_MAX / 2 && self.bytes < LANE_BYTES_MAX / 2;
        let newest = self.newest;
        let behind = self.behind.as_mut()?;
        if !roomy || behind.reading || now_us < behind.again_at_us {
            return None;
        }
        behind.reading = true;
        behind.asked = newest;
        Some(Read {
            reader: behind.reader,
            durable: newest,
        })
    }

    /// What was read, and where the reader stands now. Nothing was read when the files refused:
    /// it is tried again.
    pub fn read(&mut self, read: Option<(LaneReader, Vec<LogRecord>)>, now_us: u64) {
        let Some(behind) = &mut self.behind else {
            return;
        };
        behind.reading = false;
        let Some((reader, records)) = read else {
            behind.again_at_us = now_us.saturating_add(READ_PAUSE_US);
            return;
        };
        behind.reader = reader;
        let asked = behind.asked;
        let at_end = records.is_empty();
        for record in records {
            if record.at > self.taken {
                self.push(Arc::new(record));
            }
        }
        self.past &= !at_end;
        self.catch_up(at_end, asked, now_us);
    }

    /// Goes over to what was offered meanwhile, if nothing is missing between.
    fn catch_up(&mut self, at_end: bool, asked: Option<LogPosition>, now_us: u64) {
        while let Some(record) = self.ahead.pop_front_if(|record| record.at <= self.taken) {
            self.ahead_bytes -= weight(&record);
        }
        let joined = match self.ahead.front() {
            Some(next) => follows(self.taken, next.at) && (at_end || !self.past),
            None => at_end && self.newest.is_none_or(|newest| newest <= self.taken),
        };
        // The journal was asked for something that was on the disk and does not have it.
        let missing = at_end && asked.is_some_and(|asked| asked > self.taken);
        if !joined && missing {
            if self.ahead.front().is_none() {
                if let Some(behind) = &mut self.behind {
                    behind.again_at_us = now_us.saturating_add(READ_PAUSE_US);
                }
                return;
            }
            self.holes += 1;
        }
        if joined || missing {
            self.behind = None;
            self.past = false;
            self.ahead_bytes = 0;
            let ahead = std::mem::take(&mut self.ahead);
            ahead.into_iter().for_each(|record| self.push(record));
            if self.newest.is_some_and(|newest| newest > self.taken) {
                self.fall_behind();
            }
        }
    }

    fn push(&mut self, record: Arc<LogRecord>) {
        let number = self.first + self.entries.len() as u64;
        self.taken = record.at;
        self.bytes += weight(&record);
        self.open[record.class.index()].push_back(number);
        let done = false;
        self.entries.push_back(Entry { record, done });
    }

    /// The boot before which nothing can come from this lane any more.
    pub fn boot(&self) -> u32 {
        match self.get(self.next) {
            Some(record) => record.at.boot,
            None if self.past => self.taken.boot,
            None => u32::MAX,
        }
    }

    /// The next record that has to go to its queue, if it is of boot `limit` or an earlier one.
    pub fn hand_over(&mut self, limit: u32) -> Option<(u64, Arc<LogRecord>)> {
        let number = self.next;
        let record = self.get(number).filter(|record| record.at.boot <= limit)?;
        let record = Arc::clone(record);
        self.next += 1;
        Some((number, record))
    }

    /// The record with a number, unless it has left.
    pub fn get(&self, number: u64) -> Option<&Arc<LogRecord>> {
        let index = number.checked_sub(self.first)?;
        self.entries.get(index as usize).map(|entry| &entry.record)
    }

    /// A record is done.
    pub fn finish(&mut self, number: u64) {
        let index = number.checked_sub(self.first);
        let Some(entry) = index.and_then(|index| self.entries.get_mut(index as usize)) else {
            return;
        };
        entry.done = true;
        let class = entry.record.class.index();
        while let Some(&front) = self.open[class].front() {
            let index = (front - self.first) as usize;
            if !self.entries[index].done {
                break;
            }
            self.open[class].pop_front();
        }
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.done) {
            self.first += 1;
            self.bytes -= weight(&entry.record);
            self.done = entry.record.at;
        }
    }

    /// Everything up to here is done.
    pub fn done(&self) -> LogPosition {
        if is_planted(Planted::WatermarkPasses) {
            return self.taken;
        }
        match self.entries.front() {
            Some(open) => self.done.max(before(open.record.at)),
            None => self.taken,
        }
    }

    /// Everything of a class up to here is done.
    pub fn done_of(&self, class: Priority) -> LogPosition {
        let front = self.open[class.index()].front();
        let open = front.and_then(|number| self.get(*number));
        open.map_or(self.taken, |record| before(record.at))
    }

    /// Whether a record has left the window because it is done, or is done in it.
    pub fn has_passed(&self, at: LogPosition) -> bool {
        let front = self.entries.front();
        if front.is_none_or(|front| at < front.record.at) {
            return at <= self.taken;
        }
        let index = self.entries.partition_point(|entry| entry.record.at < at);
        let entry = self.entries.get(index);
        entry.is_some_and(|entry| entry.record.at == at && entry.done)
    }

    /// Whether everything that is known of the log was taken and is done.
    pub fn is_idle(&self) -> bool {
        self.entries.is_empty() && self.behind.is_none()
    }

    /// Records in memory.
    pub fn len(&self) -> usize {
        self.entries.len() + self.ahead.len()
    }

    /// Whether records are read from the journal.
    pub fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// When a read that failed is tried again.
    pub fn next_at_us(&self) -> Option<u64> {
        let behind = self.behind.as_ref()?;
        (!behind.reading && behind.again_at_us > 0).then_some(behind.again_at_us)
    }

    /// Holes that the journal could not fill.
    pub fn holes(&self) -> u64 {
        self.holes
    }
}

/// Lanes of a node.
pub(super) type Lanes = std::collections::BTreeMap<LaneId, Lane>;

/// Lanes that continue behind these positions.
pub(super) fn lanes_of(logs: &[LogPosition]) -> Lanes {
    let lane = |after: &LogPosition| ((after.shard, after.kind), Lane::new(*after));
    logs.iter().map(lane).collect()
}

/// Hands records to their queues: those of earlier boots first, over all lanes, since a user may
/// have been on another shard then.
pub(super) fn hand_over(lanes: &mut Lanes, mut take: impl FnMut(LaneId, u64, &Arc<LogRecord>)) {
    loop {
        let kept = !is_planted(Planted::BootsMixed);
        let limit = |kind: Kind, lanes: &Lanes| {
            let same = lanes.iter().filter(|(id, _)| id.1 == kind && kept);
            same.map(|(_, lane)| lane.boot()).min().unwrap_or(u32::MAX)
        };
        let limits = Kind::ALL.map(|kind| limit(kind, lanes));
        let mut moved = false;
        for (id, lane) in lanes.iter_mut() {
            while let Some((number, record)) = lane.hand_over(limits[id.1.index()]) {
                take(*id, number, &record);
                moved = true;
            }
        }
        if !moved {
            return;
        }
    }
}

/// Whether a record is the next one of its log.
fn follows(last: LogPosition, at: LogPosition) -> bool {
    match at.boot == last.boot {
        true => at.sequence == last.sequence.next(),
        false => at.boot > last.boot && at.sequence == Sequence::NONE.next(),
    }
}

/// The place before a record.
pub(super) fn before(at: LogPosition) -> LogPosition {
    LogPosition {
        sequence: Sequence(at.sequence.0.saturating_sub(1)),
        ..at
    }
}

/// Memory of a record.
pub(super) fn weight(record: &LogRecord) -> usize {
    RECORD_BYTES + record.frame.len() + record.channel.len()
}
