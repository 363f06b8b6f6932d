//! A member of a consumer group: partitions, batches, offsets.
//!
//! A member joins its group by the classic protocol with cooperative-sticky assignment: when
//! members come and go, partitions that stay are read on. What is assigned waits for
//! [`GroupConsumer::start`], which says from where to read: a worker that keeps its offsets in a
//! store looks them up first. Nothing is committed by itself.
//!
//! Batches have up to 1,000 records or 100 ms; one of a partition is under way at a time, until
//! [`GroupConsumer::done`]. A worker that cannot go on keeps its batch; the member polls on and
//! stays in the group.
//!
//! Invariants: between an `Assigned` and a `Revoked` records of a partition come in order and
//! without holes, but for [`GroupConsumer::seek`], behind whose `Sought` they begin anew; the
//! cursor of a group never goes back by a commit of this member.
//! Limits: two batches of each partition, [`super::limits`]. Thread: one for each member, which
//! alone touches the client; the consumer's methods only talk to it.

mod member;

#[cfg(test)]
pub(super) use member::headers as headers_of;
pub(super) use member::{consumed, list};

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{sync_channel, SyncSender};
use std::sync::Arc;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::mpsc;

use super::config::{Config, ConfigError};
use super::context::Reach;
use super::limits;
use super::record::{decode, Header, Item, RecordFault};

/// A partition of a topic.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Lane {
    /// The topic's whole name.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
}

/// Where reading begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartAt {
    /// At the group's cursor in Kafka, or at the oldest record when there is none.
    Committed,
    /// At this offset.
    Next(i64),
}

/// A record as it is in Kafka.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Consumed {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, milliseconds since the Unix epoch; 0 when it has none.
    pub timestamp_ms: i64,
    /// Its key; empty when it has none.
    pub key: Box<[u8]>,
    /// Its value; empty when it has none.
    pub value: Box<[u8]>,
    /// The first of its headers.
    pub headers: Box<[Header]>,
}

impl Consumed {
    /// What a node fed.
    ///
    /// # Errors
    /// When something else than a node wrote the record.
    pub fn decode(&self) -> Result<Item, RecordFault> {
        decode(&self.headers, &self.value)
    }

    /// Bytes that it takes in memory, about.
    pub fn bytes(&self) -> usize {
        let headers = self.headers.iter();
        let headers: usize = headers.map(|(key, value)| key.len() + value.len()).sum();
        size_of::<Self>() + self.key.len() + self.value.len() + headers
    }
}

/// Records of a partition in their order; never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// The partition.
    pub lane: Lane,
    /// The records.
    pub records: Vec<Consumed>,
}

impl Batch {
    /// Offset of the first record.
    pub fn start(&self) -> i64 {
        self.records.first().map_or(0, |record| record.offset)
    }

    /// The offset to commit and to go on at once all records were processed.
    pub fn next(&self) -> i64 {
        self.records.last().map_or(0, |record| record.offset + 1)
    }
}

/// What happens to a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GroupEvent {
    /// Partitions came; answer by [`GroupConsumer::start`] for all of them. Until then the group
    /// waits.
    Assigned(Vec<Lane>),
    /// Partitions went. What is under way of them must not take effect any more, if it can be
    /// helped; when they were lost, another member may have them already.
    Revoked {
        /// The partitions.
        lanes: Vec<Lane>,
        /// Whether they were taken without asking.
        lost: bool,
    },
    /// Records.
    Batch(Batch),
    /// From here on records of a partition are those behind a seek.
    Sought(Lane),
    /// A commit has an outcome.
    Committed {
        /// The partition.
        lane: Lane,
        /// What was committed: the next offset.
        next: i64,
        /// Whether the cursor is there or further.
        outcome: Result<(), GroupFault>,
    },
}

/// Why something about a group failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GroupFault {
    /// The partition belongs to another member now.
    #[error("the partition belongs to another member of the group; its records come there again")]
    NotAssigned,
    /// The group's coordinator refused the commit.
    #[error("the offset was not committed: {0}; the records may come again")]
    Commit(RDKafkaErrorCode),
    /// The client refused something.
    #[error("Kafka: {0}; it is tried again")]
    Client(String),
    /// The member's thread has ended.
    #[error("the consumer has ended; open it again")]
    Ended,
    /// A log reads for as many groups as it may.
    #[error("the log reads for {0} groups already; use another log")]
    TooManyGroups(usize),
    /// The place is none of Kafka.
    #[error("the place is in another log; commit what this log has handed out")]
    ForeignPlace,
    /// The member cannot be made.
    #[error("the consumer cannot be made: {0}")]
    Config(String),
}

impl GroupFault {
    fn of_commit(error: KafkaError) -> Self {
        let code = error.rdkafka_error_code();
        Self::Commit(code.unwrap_or(RDKafkaErrorCode::Fail))
    }
}

impl From<KafkaError> for GroupFault {
    fn from(error: KafkaError) -> Self {
        Self::Client(error.to_string())
    }
}

impl From<ConfigError> for GroupFault {
    fn from(error: ConfigError) -> Self {
        Self::Config(error.to_string())
    }
}

/// What the thread is told.
#[derive(Debug)]
enum Order {
    /// There may be records or changes.
    Look,
    Start(Vec<(Lane, StartAt)>),
    Done(Lane),
    Seek(Lane, StartAt),
    Commit(Lane, i64),
}

/// A member of a group.
#[derive(Debug)]
pub struct GroupConsumer {
    orders: SyncSender<Order>,
    events: mpsc::Receiver<GroupEvent>,
    is_ending: Arc<AtomicBool>,
}

/// What a member is made of.
#[derive(Clone, Copy, Debug)]
pub struct GroupConfig<'a> {
    /// How the cluster is reached.
    pub cluster: &'a Config,
    /// The group.
    pub group: &'a str,
    /// Whole names of the topics.
    pub topics: &'a [String],
    /// Name of this client in the logs of brokers.
    pub client: &'a str,
}

impl GroupConsumer {
    /// Joins a group. `wake` is called, from the member's thread, when an event has come; who
    /// awaits [`GroupConsumer::next`] needs none.
    ///
    /// # Errors
    /// When the configuration contradicts itself. A cluster that cannot be reached is no error.
    pub fn open(
        config: GroupConfig<'_>,
        wake: impl Fn() + Send + 'static,
    ) -> Result<Self, GroupFault> {
        Self::open_with(config, Arc::default(), wake)
    }

    pub(super) fn open_with(
        config: GroupConfig<'_>,
        reach: Arc<Reach>,
        wake: impl Fn() + Send + 'static,
    ) -> Result<Self, GroupFault> {
        let (orders, inbox) = sync_channel(limits::ORDERS_MAX);
        let (outbox, events) = mpsc::channel(limits::ORDERS_MAX);
        let is_ending = Arc::new(AtomicBool::new(false));
        let member = member::Member::new(config, orders.clone(), reach)?;
        let ending = is_ending.clone();
        let thread = std::thread::Builder::new().name(format!("group-{}", config.group));
        let run = move || member.run(&inbox, &outbox, &ending, &wake);
        let spawned = thread.spawn(run);
        spawned.map_err(|error| GroupFault::Config(error.to_string()))?;
        Ok(Self {
            orders,
            events,
            is_ending,
        })
    }

    /// The next event; nothing once the member has ended.
    pub async fn next(&mut self) -> Option<GroupEvent> {
        self.events.recv().await
    }

    /// The next event, if one has come.
    ///
    /// # Errors
    /// [`GroupFault::Ended`] once the member has ended.
    pub fn try_next(&mut self) -> Result<Option<GroupEvent>, GroupFault> {
        match self.events.try_recv() {
            Ok(event) => Ok(Some(event)),
            Err(mpsc::error::TryRecvError::Empty) => Ok(None),
            Err(mpsc::error::TryRecvError::Disconnected) => Err(GroupFault::Ended),
        }
    }

    /// Reads the partitions of an `Assigned` from these places on.
    pub fn start(&self, lanes: Vec<(Lane, StartAt)>) {
        self.order(Order::Start(lanes));
    }

    /// A partition's batch was worked off: its next one may come.
    pub fn done(&self, lane: &Lane) {
        self.order(Order::Done(lane.clone()));
    }

    /// Reads a partition from another place on; its batch is taken for worked off. `Sought`
    /// says from when on.
    pub fn seek(&self, lane: &Lane, to: StartAt) {
        self.order(Order::Seek(lane.clone(), to));
    }

    /// Moves the group's cursor of a partition to the next offset to read; `Committed` tells the
    /// outcome. A cursor that is further stays there.
    pub fn commit(&self, lane: &Lane, next: i64) {
        self.order(Order::Commit(lane.clone(), next));
    }

    /// Leaves the group, so that others get the partitions at once, and waits until it is left.
    /// Commits that were ordered before are tried first.
    pub async fn close(mut self) {
        self.end();
        while self.events.recv().await.is_some() {}
    }

    fn order(&self, order: Order) {
        // A thread that has ended tells so by the end of its events.
        let _ = self.orders.send(order);
    }

    fn end(&self) {
        self.is_ending.store(true, Ordering::Release);
        let _ = self.orders.try_send(Order::Look);
    }
}

impl Drop for GroupConsumer {
    fn drop(&mut self) {
        self.end();
    }
}
