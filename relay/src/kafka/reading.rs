//! Reads of one group through the port: a consumer, and what it has handed out.
//!
//! Batches become calls of any size. Positions that follow events are left out: the port hands
//! out events; workers that need positions use [`super::consumer`].
//!
//! Invariant: records are handed out in the order of their partition; a rewind forgets what was
//! read and not yet handed out as well.
//! Runs on: the thread that drives the log.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use tracing::warn;

use super::config::Config;
use super::consumer::{Batch, GroupConfig, GroupConsumer, GroupEvent, GroupFault, Lane, StartAt};
use super::limits;
use super::producer::{Shared, Wake};
use super::record::Item;
use super::route::fed_topics;
use crate::event_log::{LogAnswer, LogError, LogPlace, Logged};
use crate::ports::Ticket;

type Answers = VecDeque<(Ticket, Result<LogAnswer, LogError>)>;

/// The reader of one group.
pub(super) struct Reading {
    consumer: GroupConsumer,
    lanes: HashSet<Lane>,
    /// What was read and not handed out.
    ready: VecDeque<(Lane, VecDeque<Logged>)>,
    reads: VecDeque<(Ticket, usize, Instant)>,
    commits: Vec<(Ticket, Lane, i64)>,
    /// Rewinds under way: what has still to be sought.
    rewinds: VecDeque<(Ticket, HashSet<Lane>)>,
    failures: Vec<(Ticket, GroupFault)>,
    runtime: tokio::runtime::Handle,
    wake: Wake,
}

impl Reading {
    /// Joins the group.
    pub fn open(cluster: &Config, group: &str, shared: &Shared) -> Result<Self, GroupFault> {
        let topics = fed_topics(&cluster.topic_prefix);
        let config = GroupConfig {
            cluster,
            group,
            topics: &topics,
            client: &format!("interlink-log-{group}"),
        };
        let wake = shared.wake.clone();
        let consumer = GroupConsumer::open_with(config, shared.reach.clone(), move || wake())?;
        Ok(Self {
            consumer,
            lanes: HashSet::new(),
            ready: VecDeque::new(),
            reads: VecDeque::new(),
            commits: Vec::new(),
            rewinds: VecDeque::new(),
            failures: Vec::new(),
            runtime: shared.runtime.clone(),
            wake: shared.wake.clone(),
        })
    }

    /// Calls without an answer.
    pub fn open_calls(&self) -> usize {
        self.reads.len() + self.commits.len() + self.rewinds.len() + self.failures.len()
    }

    /// Hands out records, as soon as there are some or after a while.
    pub fn read(&mut self, ticket: Ticket, limit: usize) {
        let wait = Duration::from_millis(limits::READ_WAIT_MS);
        self.reads.push_back((ticket, limit, Instant::now() + wait));
        let wake = self.wake.clone();
        self.runtime.spawn(async move {
            tokio::time::sleep(wait).await;
            wake();
        });
    }

    /// Moves the group's cursor behind a record.
    pub fn commit(&mut self, ticket: Ticket, through: &LogPlace) {
        let LogPlace::Partition { lane, offset } = through else {
            self.failures.push((ticket, GroupFault::ForeignPlace));
            return;
        };
        self.commits.push((ticket, lane.clone(), offset + 1));
        self.consumer.commit(lane, offset + 1);
    }

    /// Reads everything from the group's cursors again.
    pub fn rewind(&mut self, ticket: Ticket) {
        for lane in &self.lanes {
            self.consumer.seek(lane, StartAt::Committed);
        }
        self.rewinds.push_back((ticket, self.lanes.clone()));
        self.ready.clear();
    }

    /// Takes events and answers calls.
    pub fn pump(&mut self, answers: &mut Answers) {
        let ended = self.take_events(answers).err();
        let sought = |(_, lanes): &(Ticket, HashSet<Lane>)| lanes.is_empty();
        while self.rewinds.front().is_some_and(sought) {
            if let Some((ticket, _)) = self.rewinds.pop_front() {
                answers.push_back((ticket, Ok(LogAnswer::Rewound)));
            }
        }
        self.answer_reads(answers);
        for (ticket, fault) in self.failures.drain(..) {
            answers.push_back((ticket, Err(fault.into())));
        }
        let Some(fault) = ended else { return };
        let commits = self.commits.drain(..).map(|(ticket, _, _)| ticket);
        let rewinds = self.rewinds.drain(..).map(|(ticket, _)| ticket);
        let reads = self.reads.drain(..).map(|(ticket, _, _)| ticket);
        for ticket in commits.chain(rewinds).chain(reads) {
            answers.push_back((ticket, Err(fault.clone().into())));
        }
    }

    fn take_events(&mut self, answers: &mut Answers) -> Result<(), GroupFault> {
        while let Some(event) = self.consumer.try_next()? {
            match event {
                GroupEvent::Assigned(lanes) => {
                    self.lanes.extend(lanes.iter().cloned());
                    let starts = lanes.into_iter().map(|lane| (lane, StartAt::Committed));
                    self.consumer.start(starts.collect());
                }
                GroupEvent::Revoked { lanes, .. } => {
                    for lane in &lanes {
                        self.lanes.remove(lane);
                        self.note_sought(lane);
                    }
                    self.ready.retain(|(lane, _)| !lanes.contains(lane));
                }
                GroupEvent::Batch(batch) => self.take_batch(batch),
                GroupEvent::Sought(lane) => self.note_sought(&lane),
                GroupEvent::Committed {
                    lane,
                    next,
                    outcome,
                } => {
                    let found = |(_, l, n): &(Ticket, Lane, i64)| *l == lane && *n == next;
                    if let Some(at) = self.commits.iter().position(found) {
                        let (ticket, ..) = self.commits.remove(at);
                        let answer = outcome.map(|()| LogAnswer::Committed);
                        answers.push_back((ticket, answer.map_err(LogError::from)));
                    }
                }
            }
        }
        Ok(())
    }

    fn note_sought(&mut self, lane: &Lane) {
        let waiting = self.rewinds.iter_mut();
        let mut waiting = waiting.filter(|(_, lanes)| lanes.contains(lane));
        if let Some((_, lanes)) = waiting.next() {
            lanes.remove(lane);
        }
    }

    fn take_batch(&mut self, batch: Batch) {
        // It was read before a rewind that is under way.
        if self
            .rewinds
            .iter()
            .any(|(_, lanes)| lanes.contains(&batch.lane))
        {
            return;
        }
        let mut logged = VecDeque::new();
        for record in &batch.records {
            let event = match record.decode() {
                Ok(Item::Event(event)) => event,
                Ok(Item::Positioned(_)) => continue,
                Err(fault) => {
                    let lane = &batch.lane;
                    warn!(%fault, ?lane, offset = record.offset, "a record was left out");
                    continue;
                }
            };
            logged.push_back(Logged {
                place: LogPlace::Partition {
                    lane: batch.lane.clone(),
                    offset: record.offset,
                },
                record: event.record,
            });
        }
        match logged.is_empty() {
            true => self.consumer.done(&batch.lane),
            false => self.ready.push_back((batch.lane, logged)),
        }
    }

    fn answer_reads(&mut self, answers: &mut Answers) {
        while let Some((ticket, limit, until)) = self.reads.front().copied() {
            let records = self.hand_out(limit);
            if records.is_empty() && Instant::now() < until {
                return;
            }
            self.reads.pop_front();
            answers.push_back((ticket, Ok(LogAnswer::Records(records))));
        }
    }

    /// Records of the partition whose turn it is.
    fn hand_out(&mut self, limit: usize) -> Vec<Logged> {
        let Some((lane, mut logged)) = self.ready.pop_front() else {
            return Vec::new();
        };
        let count = limit.min(logged.len());
        let records = logged.drain(..count).collect();
        match logged.is_empty() {
            true => self.consumer.done(&lane),
            false => self.ready.push_back((lane, logged)),
        }
        records
    }
}
