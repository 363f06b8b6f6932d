//! Goes back when a server may have lost what it placed last.
//!
//! An asynchronous replica that becomes the master lacks the end of what the old one had
//! answered. The lines of its partitions submit again what they placed within the last minute and
//! the server does not prove to have, in order and before anything new; ids that are still known
//! are answered with their places.
//!
//! Invariant: what a line goes through again it has placed within a minute or a little more, so
//! that the backplane remembers every id that was not lost.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use interlink_protocol::priority::Priority;

use super::lane::{LaneId, Read};
use super::limits::{READ_PAUSE_US, REWIND_RECORDS_MAX, REWIND_US};
use super::line::Source;
use super::planted::{is_planted, Planted};
use super::sequencing::{LineId, Lines};
use super::track::{Stretch, Track};
use crate::event_log::{LogPosition, LogRecord};
use crate::files::LaneReader;
use crate::record::{Kind, Sequence};

/// A log that is gone through again.
#[derive(Debug)]
struct Rewind {
    reader: LaneReader,
    until: LogPosition,
    stretches: HashMap<LineId, Stretch>,
    reading: bool,
    /// A read that was under way when the rewind began anew brings what is not wanted.
    stale: bool,
    again_at_us: u64,
}

impl Rewind {
    /// The boot of what it reads next, or an earlier one.
    fn boot(&self) -> u32 {
        self.reader.after().boot
    }
}

/// Rewinds under way.
#[derive(Debug, Default)]
pub(super) struct Rewinds {
    logs: BTreeMap<LaneId, Rewind>,
}

impl Rewinds {
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// When a read that failed is tried again.
    pub fn next_at_us(&self) -> Option<u64> {
        let waiting = self.logs.values().filter(|rewind| !rewind.reading);
        let times = waiting.map(|rewind| rewind.again_at_us);
        times.filter(|at_us| *at_us > 0).min()
    }

    fn concerned(&self) -> HashSet<LineId> {
        let logs = self.logs.values();
        logs.flat_map(|rewind| rewind.stretches.keys().copied())
            .collect()
    }
}

impl Lines {
    /// The server of these partitions may have lost what it placed last: their lines go back by
    /// a minute.
    pub fn rewind(&mut self, partitions: &[u16], now_us: u64) {
        self.now_us = now_us.max(self.now_us);
        if is_planted(Planted::RewindSkipped) {
            return;
        }
        self.counters.rewinds += 1;
        let lost: HashSet<u16> = partitions.iter().copied().collect();
        let now_us = self.now_us;
        // Lines that a rewind still reads for begin anew as well, in every log: what it has read
        // for them is dropped.
        let reading = self.rewinds.concerned();
        self.recall(&lost);
        for (id, line) in &mut self.lines {
            if !lost.contains(&id.partition) && !reading.contains(id) {
                continue;
            }
            line.hold();
            for (lane, (start, until)) in line.stretches(now_us) {
                let lowest = self.lowest.entry(lane).or_insert(start);
                *lowest = start.min(*lowest);
                let start = match is_planted(Planted::RewindTooFar) {
                    true => self.lanes.get(&lane).map_or(start, |lane| lane.done()),
                    false => start,
                };
                let reader = LaneReader::new(lane.0, lane.1, Some(start));
                let rewind = self.rewinds.logs.entry(lane).or_insert(Rewind {
                    reader,
                    until,
                    stretches: HashMap::new(),
                    reading: false,
                    stale: false,
                    again_at_us: 0,
                });
                rewind.stretches.insert(*id, (start, until));
            }
        }
        self.begin_again();
        self.rewinds
            .concerned()
            .into_iter()
            .for_each(|id| self.prove(id));
        self.release();
    }

    /// A server has everything of a line and log up to here.
    pub(super) fn confirm(&mut self, id: LineId, lane: LaneId, at: LogPosition) {
        if let Some(line) = self.lines.get_mut(&id) {
            line.confirm(lane, at);
        }
        let rewind = self.rewinds.logs.get_mut(&lane);
        if let Some(stretch) = rewind.and_then(|rewind| rewind.stretches.get_mut(&id)) {
            stretch.0 = at.max(stretch.0);
        }
    }

    /// Lines of these partitions know what earlier processes have settled lately, also those that
    /// have placed nothing in this one. Of a partition that has answered nothing since the start
    /// the server may have changed at any time since the last of them settled something: the time
    /// since then does not count.
    fn recall(&mut self, partitions: &HashSet<u16>) {
        let points = self.settled.values().filter_map(|points| points.last());
        let Some(last_us) = points.map(|point| point.at_us).max() else {
            return;
        };
        let since_us = self.now_us.saturating_sub(last_us);
        for (lane, points) in &self.settled {
            let Some(begin) = self.begin.get(lane).copied() else {
                continue;
            };
            let classes = Priority::ALL.into_iter();
            for class in classes.filter(|class| Kind::of(*class) == lane.1) {
                for partition in partitions.iter().copied() {
                    let down_us = match self.heard.contains(&partition) {
                        true if since_us >= REWIND_US => continue,
                        true => 0,
                        false => since_us,
                    };
                    let line = self.lines.entry(LineId { class, partition }).or_default();
                    line.track(*lane, || Track::behind(*lane, begin, points, down_us));
                }
            }
        }
    }

    /// Every rewind starts where its first line does. One that was under way goes through all
    /// of it anew, for its other lines too: their places are known by then.
    pub(super) fn begin_again(&mut self) {
        self.rewinds.logs.retain(|_, rewind| {
            rewind.stretches.retain(|_, stretch| stretch.0 < stretch.1);
            !rewind.stretches.is_empty()
        });
        for (lane, rewind) in &mut self.rewinds.logs {
            let stretches = rewind.stretches.values();
            let start = stretches.clone().map(|stretch| stretch.0).min();
            let until = stretches.map(|stretch| stretch.1).max();
            rewind.until = until.unwrap_or(rewind.until);
            rewind.reader = LaneReader::new(lane.0, lane.1, start);
            rewind.stale = rewind.reading;
        }
    }

    /// The next stretch that a rewind reads.
    pub fn next_rewind(&mut self) -> Option<(LaneId, Read)> {
        if self.rewinds.is_empty() || !self.proving.is_over() {
            return None;
        }
        let waiting: usize = self.lines.values().map(|line| line.again()).sum();
        if waiting >= REWIND_RECORDS_MAX {
            return None;
        }
        let now_us = self.now_us;
        // What earlier boots placed goes first, over all logs.
        let boots = self.rewinds.logs.values().map(Rewind::boot);
        let boot = boots.min()?;
        let mut logs = self.rewinds.logs.iter_mut();
        let (id, rewind) = logs.find(|(_, rewind)| {
            !rewind.reading && rewind.again_at_us <= now_us && rewind.boot() == boot
        })?;
        rewind.reading = true;
        let (reader, durable) = (rewind.reader, Some(rewind.until));
        Some((*id, Read { reader, durable }))
    }

    /// What a rewind has read, and where the reader stands now; `None` when the files refused.
    pub fn rewound(&mut self, id: LaneId, read: Option<(LaneReader, Vec<LogRecord>)>) {
        let now_us = self.now_us;
        let Some(rewind) = self.rewinds.logs.get_mut(&id) else {
            return;
        };
        rewind.reading = false;
        if std::mem::take(&mut rewind.stale) {
            return;
        }
        let Some((reader, mut records)) = read else {
            rewind.again_at_us = now_us.saturating_add(READ_PAUSE_US);
            return;
        };
        rewind.reader = reader;
        let others = self.rewinds.logs.iter().filter(|(other, _)| **other != id);
        let limit = others.map(|(_, other)| other.boot()).min();
        let later = |record: &LogRecord| limit.is_some_and(|limit| record.at.boot > limit);
        let cut = records.iter().position(later);
        let Some(rewind) = self.rewinds.logs.get_mut(&id) else {
            return;
        };
        if let Some(cut) = cut {
            let place = match cut.checked_sub(1) {
                Some(last) => records[last].at,
                None => LogPosition {
                    sequence: Sequence::NONE,
                    ..records[cut].at
                },
            };
            rewind.reader = LaneReader::new(id.0, id.1, Some(place));
            records.truncate(cut);
            if cut == 0 {
                return;
            }
        }
        let until = rewind.until;
        let over = records.last().is_none_or(|last| last.at >= until);
        for record in records {
            let line = self.line_of(&record);
            let rewind = self.rewinds.logs.get(&id);
            let stretch = rewind.and_then(|rewind| rewind.stretches.get(&line));
            if stretch.is_some_and(|(start, until)| record.at > *start && record.at <= *until) {
                self.enqueue(line, Source::Again(Arc::new(record)));
            }
        }
        if over {
            self.rewinds.logs.remove(&id);
            self.release();
        }
    }

    /// Where a later process goes on in a log: everything up to here is placed, and nothing of it
    /// is still to be submitted again. It goes back with a rewind; a driver keeps it then, so that
    /// a process that dies in the middle of one goes through it again.
    pub fn cursor(&self, id: LaneId) -> Option<LogPosition> {
        let floors = self
            .lines
            .values()
            .filter_map(|line| line.known(id)?.floor());
        floors.chain(self.done(id)).min()
    }

    /// How far the cursor of a log has gone back since this was asked last, if it has: a later
    /// process may have to know also when it stands further on by now, since what lies between
    /// was placed anew.
    pub fn went_back(&mut self, id: LaneId) -> Option<LogPosition> {
        self.lowest.remove(&id)
    }

    /// Lines that no rewind concerns any more go on.
    pub(super) fn release(&mut self) {
        let concerned = self.rewinds.concerned();
        let mut free = Vec::new();
        for (id, line) in &mut self.lines {
            if !concerned.contains(id) && line.release() {
                free.push(*id);
            }
        }
        // Their order is that of a map, and runs are to be repeatable.
        free.sort_unstable();
        free.into_iter().for_each(|id| self.make_ready(id));
    }
}
