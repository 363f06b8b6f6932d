//! The thread of a member of a group.
//!
//! It sleeps until there is an order, a record or a change of the group, or until a batch is due.
//! Nothing in it waits for a receiver of events: what does not fit stays in an outbox that is
//! bounded by one batch of each partition and one answer to each order.

use std::collections::{HashMap, VecDeque};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::super::batch::Batcher;
use super::super::context::{Change, MemberContext, Reach};
use super::super::limits;
use super::super::record::Header;
use super::{Consumed, GroupConfig, GroupEvent, GroupFault, Lane, Order, StartAt};

type Client = BaseConsumer<MemberContext>;

/// Records that are taken between two looks at orders and changes.
const TURN_RECORDS: usize = 1_000;

/// Events other than records that are taken for the end of the queue; they are rare, and a look
/// at an empty queue costs less than a microsecond.
const EVENTS_MAX: usize = 8;

/// State of a member.
pub(super) struct Member {
    client: Client,
    batcher: Batcher,
    /// Partitions that are read, and the group's cursor as far as it is known.
    lanes: HashMap<Lane, Option<i64>>,
    /// Partitions that came and that nobody has started.
    assigned: Vec<Lane>,
    /// Starts whose cursors could not be looked up yet.
    starting: Vec<(Lane, StartAt)>,
    start_again_at: Option<Instant>,
    /// Commits that were ordered in this turn.
    commits: Vec<(Lane, i64)>,
    outbox: VecDeque<GroupEvent>,
    began: Instant,
    settings: ClientConfig,
    topics: Vec<String>,
    orders: SyncSender<Order>,
    reach: Arc<Reach>,
}

impl Member {
    /// A member that has subscribed.
    pub fn new(
        config: GroupConfig<'_>,
        orders: SyncSender<Order>,
        reach: Arc<Reach>,
    ) -> Result<Self, GroupFault> {
        let settings = settings(config)?;
        let client = connect(&settings, config.topics, &orders, &reach)?;
        Ok(Self {
            client,
            batcher: Batcher::default(),
            lanes: HashMap::new(),
            assigned: Vec::new(),
            starting: Vec::new(),
            start_again_at: None,
            commits: Vec::new(),
            outbox: VecDeque::new(),
            began: Instant::now(),
            settings,
            topics: config.topics.to_vec(),
            orders,
            reach,
        })
    }

    /// Runs until the consumer is dropped or closed; then leaves the group.
    pub fn run(
        mut self,
        orders: &Receiver<Order>,
        events: &mpsc::Sender<GroupEvent>,
        is_ending: &AtomicBool,
        wake: &dyn Fn(),
    ) {
        let mut wait = Duration::ZERO;
        while !is_ending.load(Ordering::Acquire) {
            match orders.recv_timeout(wait) {
                Ok(order) => self.obey(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while let Ok(order) = orders.try_recv() {
                self.obey(order);
            }
            if !self.commits.is_empty() {
                self.commit();
            }
            let more = self.read();
            self.take_changes();
            self.start_again();
            self.take_batches();
            let told = self.tell(events, wake);
            wait = match (more, told) {
                (_, None) => return,
                (true, _) => Duration::ZERO,
                (false, Some(false)) => Duration::from_millis(limits::FLUSH_STEP_MS / 10),
                (false, Some(true)) => self.sleep(),
            };
        }
        // What was ordered before the end counts; it may have come while a commit was under way.
        while let Ok(order) = orders.try_recv() {
            self.obey(order);
        }
        if !self.commits.is_empty() {
            self.commit();
        }
        // A group that waits for an assignment cannot be left.
        self.assign_what_waits();
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn sleep(&self) -> Duration {
        let due = self.batcher.due_ms();
        let due = due.map_or(limits::IDLE_MS, |due| due.saturating_sub(self.now_ms()));
        Duration::from_millis(due.min(limits::IDLE_MS))
    }

    /// Sends what waits for the receiver; says whether all of it went, and nothing once the
    /// receiver is gone.
    fn tell(&mut self, events: &mpsc::Sender<GroupEvent>, wake: &dyn Fn()) -> Option<bool> {
        let had = !self.outbox.is_empty();
        while let Some(event) = self.outbox.pop_front() {
            match events.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.outbox.push_front(event);
                    break;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return None,
            }
        }
        if had {
            wake();
        }
        Some(self.outbox.is_empty())
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Look => {}
            Order::Start(lanes) => self.start(lanes),
            Order::Done(lane) => {
                if self.batcher.done(&lane) {
                    self.set_paused(&lane, false);
                }
            }
            Order::Seek(lane, to) => self.seek(lane, to),
            Order::Commit(lane, next) => self.commits.push((lane, next)),
        }
    }

    /// Takes records; says whether there may be more.
    fn read(&mut self) -> bool {
        let mut nothing = 0;
        for _ in 0..TURN_RECORDS {
            let consumed = match self.client.poll(Duration::ZERO) {
                // An event that is no record gives nothing as well, and the queue wakes nobody
                // again before it was empty.
                None if nothing < EVENTS_MAX => {
                    nothing += 1;
                    continue;
                }
                None => return false,
                Some(Ok(message)) => consumed(&message),
                Some(Err(error)) => {
                    self.fail(&error);
                    continue;
                }
            };
            self.reach.note_answer();
            let (lane, record) = consumed;
            let now_ms = self.now_ms();
            if self.batcher.push(&lane, record, now_ms) {
                self.set_paused(&lane, true);
            }
        }
        true
    }

    fn fail(&mut self, error: &KafkaError) {
        let KafkaError::MessageConsumptionFatal(code) = error else {
            debug!(%error, "Kafka consumer");
            return;
        };
        warn!(%code, "a Kafka consumer is beyond repair; it joins its group anew");
        match connect(&self.settings, &self.topics, &self.orders, &self.reach) {
            Ok(client) => self.client = client,
            Err(error) => warn!(%error, "a Kafka consumer could not be made again"),
        }
        self.assigned.clear();
        self.starting.clear();
        let lanes: Vec<Lane> = self.lanes.drain().map(|(lane, _)| lane).collect();
        lanes.iter().for_each(|lane| self.batcher.close(lane));
        self.outbox
            .push_back(GroupEvent::Revoked { lanes, lost: true });
    }

    fn take_changes(&mut self) {
        while let Some(change) = self.client.context().take() {
            match change {
                Change::Assigned(lanes) if lanes.is_empty() => {
                    let nothing = TopicPartitionList::new();
                    if let Err(error) = self.client.incremental_assign(&nothing) {
                        warn!(%error, "an empty assignment was refused");
                    }
                }
                Change::Assigned(lanes) => {
                    self.assigned.clone_from(&lanes);
                    self.outbox.push_back(GroupEvent::Assigned(lanes));
                }
                Change::Revoked { lanes, lost } => {
                    for lane in &lanes {
                        self.lanes.remove(lane);
                        self.batcher.close(lane);
                    }
                    self.starting.retain(|(lane, _)| !lanes.contains(lane));
                    // Batches of them that nobody has seen are not to be seen.
                    let gone = |event: &GroupEvent| match event {
                        GroupEvent::Batch(batch) => lanes.contains(&batch.lane),
                        _ => false,
                    };
                    self.outbox.retain(|event| !gone(event));
                    self.outbox.push_back(GroupEvent::Revoked { lanes, lost });
                }
            }
        }
    }

    fn take_batches(&mut self) {
        let now_ms = self.now_ms();
        while let Some((batch, resume)) = self.batcher.take(now_ms) {
            if resume {
                self.set_paused(&batch.lane, false);
            }
            self.outbox.push_back(GroupEvent::Batch(batch));
        }
    }

    fn set_paused(&self, lane: &Lane, pause: bool) {
        let list = list([(lane, None)]);
        let done = match pause {
            true => self.client.pause(&list),
            false => self.client.resume(&list),
        };
        if let Err(error) = done {
            // It was revoked in between.
            debug!(%error, ?lane, pause, "a partition could not be paused or resumed");
        }
    }

    /// Begins to read partitions.
    fn start(&mut self, lanes: Vec<(Lane, StartAt)>) {
        self.starting.extend(lanes);
        self.start_again_at = Some(Instant::now());
        self.start_again();
    }

    fn start_again(&mut self) {
        if self.start_again_at.is_none_or(|at| Instant::now() < at) {
            return;
        }
        let open = self
            .starting
            .iter()
            .filter(|(_, at)| *at == StartAt::Committed);
        let unknown = list(open.map(|(lane, _)| (lane, None)));
        let committed = match unknown.count() {
            0 => Ok(unknown),
            _ => {
                let wait = Duration::from_millis(limits::OFFSETS_MS);
                self.client.committed_offsets(unknown, wait)
            }
        };
        let committed = match committed {
            Ok(committed) => committed,
            Err(error) => {
                debug!(%error, "the offsets of a group are not known yet");
                let pause = Duration::from_millis(limits::REMAKE_MS);
                self.start_again_at = Some(Instant::now() + pause);
                return;
            }
        };
        self.start_again_at = None;
        for (lane, at) in std::mem::take(&mut self.starting) {
            let cursor = match at {
                StartAt::Next(next) => Some(next),
                StartAt::Committed => cursor_in(&committed, &lane),
            };
            self.batcher.open(lane.clone());
            self.lanes.insert(lane, cursor);
        }
        self.assign_what_waits();
    }

    /// Assigns the partitions that came, each at its cursor.
    fn assign_what_waits(&mut self) {
        let assigned = std::mem::take(&mut self.assigned);
        if assigned.is_empty() {
            return;
        }
        let places = assigned.iter().map(|lane| {
            let cursor = self.lanes.get(lane).copied().flatten();
            (lane, Some(cursor.map_or(Offset::Beginning, Offset::Offset)))
        });
        let places = list(places);
        if let Err(error) = self.client.incremental_assign(&places) {
            warn!(%error, "partitions could not be taken over");
        }
    }

    /// Gives a partition back and takes it again at another place; what was fetched of it and
    /// nobody has seen is forgotten.
    fn seek(&mut self, lane: Lane, to: StartAt) {
        if let Some(cursor) = self.lanes.get(&lane) {
            let place = match (to, cursor) {
                (StartAt::Next(next), _) => Offset::Offset(next),
                (StartAt::Committed, Some(next)) => Offset::Offset(*next),
                (StartAt::Committed, None) => Offset::Beginning,
            };
            let here = list([(&lane, None)]);
            let there = list([(&lane, Some(place))]);
            let moved = self.client.incremental_unassign(&here);
            let moved = moved.and_then(|()| self.client.incremental_assign(&there));
            if let Err(error) = moved {
                warn!(%error, ?lane, "a partition could not be read from another place");
            }
            self.batcher.open(lane.clone());
            let stale = |event: &GroupEvent| match event {
                GroupEvent::Batch(batch) => batch.lane == lane,
                _ => false,
            };
            self.outbox.retain(|event| !stale(event));
        }
        self.outbox.push_back(GroupEvent::Sought(lane));
    }

    /// Commits what was ordered since the last time, in one request. It waits for the answer:
    /// the library tells nobody how a commit went for which nobody waited.
    fn commit(&mut self) {
        let ordered = std::mem::take(&mut self.commits);
        let mut furthest: HashMap<&Lane, i64> = HashMap::new();
        for (lane, next) in &ordered {
            let behind = |known: &Option<i64>| known.is_none_or(|known| known < *next);
            if self.lanes.get(lane).is_some_and(behind) {
                let known = furthest.entry(lane).or_insert(*next);
                *known = (*known).max(*next);
            }
        }
        let places = furthest
            .iter()
            .map(|(lane, next)| (*lane, Some(Offset::Offset(*next))));
        let committed = match furthest.is_empty() {
            true => Ok(()),
            false => self.client.commit(&list(places), CommitMode::Sync),
        };
        let committed = committed.map_err(GroupFault::of_commit);
        if committed.is_ok() {
            for (lane, next) in &furthest {
                if let Some(known) = self.lanes.get_mut(*lane) {
                    *known = Some(*next);
                }
            }
        }
        let committed: Vec<_> = ordered
            .iter()
            .map(|(lane, next)| {
                let outcome = match furthest.contains_key(lane) {
                    true => committed.clone(),
                    // It was there or further already.
                    false if self.lanes.contains_key(lane) => Ok(()),
                    false => Err(GroupFault::NotAssigned),
                };
                GroupEvent::Committed {
                    lane: lane.clone(),
                    next: *next,
                    outcome,
                }
            })
            .collect();
        self.outbox.extend(committed);
    }
}

/// Makes a client that has subscribed and wakes the thread by an order.
fn connect(
    settings: &ClientConfig,
    topics: &[String],
    orders: &SyncSender<Order>,
    reach: &Arc<Reach>,
) -> Result<Client, GroupFault> {
    let context = MemberContext::new(reach.clone());
    let mut client = Client::from_config_and_context(settings, context)?;
    let orders = orders.clone();
    // A full channel wakes the thread as well.
    client.set_nonempty_callback(move || drop(orders.try_send(Order::Look)));
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    client.subscribe(&topics)?;
    Ok(client)
}

fn settings(config: GroupConfig<'_>) -> Result<ClientConfig, GroupFault> {
    let mut client = config.cluster.client(config.client)?;
    client.set("group.id", config.group);
    client.set("partition.assignment.strategy", "cooperative-sticky");
    client.set("enable.auto.commit", "false");
    client.set("enable.auto.offset.store", "false");
    client.set("auto.offset.reset", "earliest");
    client.set("check.crcs", "true");
    for (name, value) in [
        ("session.timeout.ms", limits::SESSION_MS),
        ("heartbeat.interval.ms", limits::HEARTBEAT_MS),
        ("max.poll.interval.ms", limits::MAX_POLL_MS),
        ("queued.max.messages.kbytes", limits::FETCH_AHEAD_KIB),
        ("queued.min.messages", limits::FETCH_AHEAD_RECORDS),
        ("fetch.wait.max.ms", limits::FETCH_WAIT_MS),
    ] {
        client.set(name, value.to_string());
    }
    Ok(client)
}

/// Partitions as the client library takes them.
pub(crate) fn list<'a>(
    lanes: impl IntoIterator<Item = (&'a Lane, Option<Offset>)>,
) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (lane, offset) in lanes {
        let mut element = list.add_partition(&lane.topic, lane.partition);
        if let Some(Err(error)) = offset.map(|offset| element.set_offset(offset)) {
            warn!(%error, ?lane, "an offset is none");
        }
    }
    list
}

fn cursor_in(committed: &TopicPartitionList, lane: &Lane) -> Option<i64> {
    let found = committed.find_partition(&lane.topic, lane.partition)?;
    match found.offset() {
        Offset::Offset(next) => Some(next),
        _ => None,
    }
}

/// A record and the partition that it came from.
pub(crate) fn consumed(message: &BorrowedMessage<'_>) -> (Lane, Consumed) {
    let lane = Lane {
        topic: message.topic().into(),
        partition: message.partition(),
    };
    let record = Consumed {
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
        key: message.key().unwrap_or_default().into(),
        value: message.payload().unwrap_or_default().into(),
        headers: headers(message),
    };
    (lane, record)
}

/// The headers of a record. The library panics on a name that is not UTF-8, which anybody who may
/// write to a topic could send; such a record has no headers then, and ends as a dead letter.
pub(crate) fn headers(message: &BorrowedMessage<'_>) -> Box<[Header]> {
    let Some(headers) = message.headers() else {
        return Box::default();
    };
    let read = || {
        let first = headers.iter().take(limits::HEADERS_MAX);
        let pairs =
            first.map(|header| (header.key.into(), header.value.unwrap_or_default().into()));
        pairs.collect()
    };
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_default()
}
