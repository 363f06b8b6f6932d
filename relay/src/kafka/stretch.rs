//! What topics have got since a time: read once, up to where they end at the start, in no group.
//!
//! Purpose: a worker that places again what nodes have fed reads the last minutes and nothing else,
//! and moves no cursor of anybody.
//!
//! Invariants: records of a partition come in order and without holes, each once; the partition's
//! [`StretchEvent::Ended`] comes behind them. Partitions begin in the order of their topics.
//! Limits: [`limits::STRETCH_LANES`] partitions at a time, one batch of each gathers, and
//! [`limits::STRETCH_BATCHES`] wait; a reader that takes nothing stops the reading. While no broker
//! answers, it waits.
//! Thread: one of its own, which ends with the stretch or when [`Stretch`] is dropped.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::config::{Config, ConfigError};
use super::consumer::{consumed, list, Batch, Consumed, Lane};
use super::limits;

/// What is read.
#[derive(Clone, Copy, Debug)]
pub struct StretchConfig<'a> {
    /// How the cluster is reached.
    pub cluster: &'a Config,
    /// Whole names of the topics, in the order in which they begin. One that is not there has
    /// nothing.
    pub topics: &'a [String],
    /// Records at or after this time are read, milliseconds since the Unix epoch.
    pub since_ms: i64,
    /// Name of this client, and of the group whose rights it needs; nobody joins it.
    pub client: &'a str,
}

/// A stretch of a partition; never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    /// The partition.
    pub lane: Lane,
    /// Offset of the first record.
    pub start: i64,
    /// Offset behind the last one.
    pub end: i64,
}

/// What comes of a stretch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StretchEvent {
    /// What will be read; first and once.
    Found(Vec<Span>),
    /// Records.
    Batch(Batch),
    /// A partition has no more.
    Ended(Lane),
}

/// A stretch that is being read.
#[derive(Debug)]
pub struct Stretch {
    events: mpsc::Receiver<StretchEvent>,
}

impl Stretch {
    /// Begins to read.
    ///
    /// # Errors
    /// When the configuration contradicts itself or no thread can be made. A cluster that cannot
    /// be reached is no error.
    pub fn open(config: StretchConfig<'_>) -> Result<Self, ConfigError> {
        let mut client = config.cluster.client(config.client)?;
        client.set("group.id", config.client);
        client.set("enable.auto.commit", "false");
        client.set("enable.auto.offset.store", "false");
        client.set("auto.offset.reset", "earliest");
        client.set("check.crcs", "true");
        for (name, value) in [
            ("queued.max.messages.kbytes", limits::FETCH_AHEAD_KIB),
            ("queued.min.messages", limits::FETCH_AHEAD_RECORDS),
            ("fetch.wait.max.ms", limits::FETCH_WAIT_MS),
        ] {
            client.set(name, value.to_string());
        }
        let (sender, events) = mpsc::channel(limits::STRETCH_BATCHES);
        let reading = Reading {
            client: client.create()?,
            topics: config.topics.to_vec(),
            since_ms: config.since_ms,
            waiting: VecDeque::new(),
            lanes: BTreeMap::new(),
            events: sender,
        };
        let thread = std::thread::Builder::new().name("kafka-stretch".into());
        // Whoever has dropped the stretch wants nothing of it.
        let run = move || drop(reading.run());
        thread.spawn(run).map_err(ConfigError::Thread)?;
        Ok(Self { events })
    }

    /// What comes next; nothing behind the end of the last partition.
    pub async fn next(&mut self) -> Option<StretchEvent> {
        self.events.recv().await
    }
}

/// The stretch was dropped.
#[derive(Debug)]
struct Dropped;

/// A partition that is being read.
#[derive(Debug)]
struct Gathering {
    end: i64,
    records: Vec<Consumed>,
    bytes: usize,
}

/// The thread's state.
struct Reading {
    client: BaseConsumer,
    topics: Vec<String>,
    since_ms: i64,
    waiting: VecDeque<Span>,
    lanes: BTreeMap<Lane, Gathering>,
    events: mpsc::Sender<StretchEvent>,
}

impl Reading {
    fn run(mut self) -> Result<(), Dropped> {
        let spans = self.find_patiently()?;
        self.waiting = spans.iter().cloned().collect();
        self.tell(StretchEvent::Found(spans))?;
        let mut heard_at = Instant::now();
        loop {
            self.begin_some();
            if self.lanes.is_empty() {
                return Ok(());
            }
            match self.client.poll(Duration::from_millis(limits::BATCH_MS)) {
                Some(Ok(message)) => {
                    heard_at = Instant::now();
                    let (lane, record) = consumed(&message);
                    drop(message);
                    self.take(&lane, record)?;
                }
                Some(Err(error)) => {
                    debug!(%error, "Kafka stretch");
                    if self.events.is_closed() {
                        return Err(Dropped);
                    }
                    // Who does not answer, or refuses, is not silent.
                    heard_at = Instant::now();
                }
                None => {
                    self.hand_over_all()?;
                    let silent = heard_at.elapsed();
                    if silent >= Duration::from_millis(limits::STRETCH_SILENCE_MS) {
                        self.end_silent()?;
                        heard_at = Instant::now();
                    }
                }
            }
        }
    }

    fn tell(&self, event: StretchEvent) -> Result<(), Dropped> {
        self.events.blocking_send(event).map_err(|_| Dropped)
    }

    /// Finds the stretches, however long the brokers are away.
    fn find_patiently(&self) -> Result<Vec<Span>, Dropped> {
        let mut complained = false;
        loop {
            match self.find() {
                Ok(spans) => return Ok(spans),
                Err(error) if complained => debug!(%error, "Kafka stretch"),
                Err(error) => warn!(%error, "Kafka does not say where its topics end"),
            }
            complained = true;
            if self.events.is_closed() {
                return Err(Dropped);
            }
            std::thread::sleep(Duration::from_millis(limits::REMAKE_MS));
        }
    }

    fn find(&self) -> Result<Vec<Span>, KafkaError> {
        let wait = Duration::from_millis(limits::STRETCH_ASK_MS);
        let metadata = self.client.fetch_metadata(None, wait)?;
        let mut times = TopicPartitionList::new();
        for name in &self.topics {
            let there = metadata.topics().iter();
            let there = there.filter(|topic| topic.name() == name);
            for partition in there.flat_map(|topic| topic.partitions()) {
                times.add_partition_offset(name, partition.id(), Offset::Offset(self.since_ms))?;
            }
        }
        if times.count() == 0 {
            return Ok(Vec::new());
        }
        let starts = self.client.offsets_for_times(times, wait)?;
        let mut spans = Vec::new();
        for found in starts.elements() {
            found.error()?;
            // What is not an offset has nothing since then.
            let Offset::Offset(start) = found.offset() else {
                continue;
            };
            let (topic, partition) = (found.topic(), found.partition());
            let (_, end) = self.client.fetch_watermarks(topic, partition, wait)?;
            if start < end {
                let lane = Lane {
                    topic: topic.into(),
                    partition,
                };
                spans.push(Span { lane, start, end });
            }
        }
        let order = |span: &Span| {
            self.topics
                .iter()
                .position(|name| **name == *span.lane.topic)
        };
        spans.sort_by_key(|span| (order(span), span.lane.partition));
        Ok(spans)
    }

    /// Begins partitions while there is room.
    fn begin_some(&mut self) {
        while self.lanes.len() < limits::STRETCH_LANES {
            let Some(span) = self.waiting.pop_front() else {
                return;
            };
            let place = list([(&span.lane, Some(Offset::Offset(span.start)))]);
            if let Err(error) = self.client.incremental_assign(&place) {
                // It is assigned already; what it gives comes once.
                warn!(%error, lane = ?span.lane, "a partition could not be begun");
            }
            let gathering = Gathering {
                end: span.end,
                records: Vec::new(),
                bytes: 0,
            };
            self.lanes.insert(span.lane, gathering);
        }
    }

    fn take(&mut self, lane: &Lane, record: Consumed) -> Result<(), Dropped> {
        let Some(gathering) = self.lanes.get_mut(lane) else {
            return Ok(());
        };
        let (offset, end) = (record.offset, gathering.end);
        if offset < end {
            gathering.bytes += record.bytes();
            gathering.records.push(record);
        }
        let is_full = gathering.records.len() >= limits::BATCH_RECORDS
            || gathering.bytes >= limits::BATCH_BYTES;
        if is_full || offset + 1 >= end {
            self.hand_over(lane)?;
        }
        if offset + 1 >= end {
            self.end(lane)?;
        }
        Ok(())
    }

    fn hand_over_all(&mut self) -> Result<(), Dropped> {
        if self.events.is_closed() {
            return Err(Dropped);
        }
        let lanes: Vec<Lane> = self.lanes.keys().cloned().collect();
        lanes.iter().try_for_each(|lane| self.hand_over(lane))
    }

    fn hand_over(&mut self, lane: &Lane) -> Result<(), Dropped> {
        let Some(gathering) = self.lanes.get_mut(lane) else {
            return Ok(());
        };
        if gathering.records.is_empty() {
            return Ok(());
        }
        gathering.bytes = 0;
        let records = std::mem::take(&mut gathering.records);
        let lane = lane.clone();
        self.tell(StretchEvent::Batch(Batch { lane, records }))
    }

    fn end(&mut self, lane: &Lane) -> Result<(), Dropped> {
        self.lanes.remove(lane);
        if let Err(error) = self.client.incremental_unassign(&list([(lane, None)])) {
            debug!(%error, ?lane, "Kafka stretch");
        }
        self.tell(StretchEvent::Ended(lane.clone()))
    }

    /// Ends partitions whose brokers answer and give nothing.
    fn end_silent(&mut self) -> Result<(), Dropped> {
        let wait = Duration::from_millis(limits::STRETCH_ASK_MS);
        let lanes: Vec<Lane> = self.lanes.keys().cloned().collect();
        for lane in lanes {
            let asked = self
                .client
                .fetch_watermarks(&lane.topic, lane.partition, wait);
            match asked {
                Ok(_) => {
                    warn!(?lane, "a partition has no record before its end");
                    self.end(&lane)?;
                }
                Err(error) => debug!(%error, ?lane, "Kafka stretch"),
            }
        }
        Ok(())
    }
}
