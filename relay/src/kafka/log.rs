//! [`KafkaLog`]: the event log on Kafka behind its port.
//!
//! Appends go to the producer of their class; calls are answered in the order in which their last
//! records are acknowledged. Reads are served by one consumer for each group (`reading`).
//!
//! Invariants: a call is taken whole or not at all; after [`KafkaLog::close`] nothing is taken.
//! Runs on: the thread that drives it; [`KafkaLog::close`] alone blocks.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use interlink_protocol::namespace::Namespaces;
use interlink_protocol::priority::Priority;
use tokio::runtime::Handle;
use tracing::warn;

use super::config::{Config, ConfigError};
use super::consumer::{Consumed, GroupFault};
use super::context::Reach;
use super::limits;
use super::producer::{ClassProducer, Outgoing, Shared, Wake};
use super::reading::Reading;
use super::record::Encoded;
use super::replicas::{Asking, Replicas};
use super::route::Routes;
use crate::event_log::{Append, AppendKind, EventLog, LogAnswer, LogError, LogRequest};
use crate::limits::{PORT_BATCH_MAX, PORT_CALLS_MAX};
use crate::ports::{Busy, Ticket};
use crate::record::Placement;

/// What a log is made of.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// How the cluster is reached.
    pub cluster: Config,
    /// Identity of the journal whose records are appended: part of their source. Another data
    /// directory needs another one, since its sequences begin anew and would be taken for
    /// repeats. At most 255 bytes.
    pub node: String,
    /// The region of this node: the origin of its records. At most 255 bytes.
    pub region: String,
    /// The table that says which topic a channel has.
    pub namespaces: Arc<Namespaces>,
}

/// An event of another region, to be appended here; for bridges.
#[derive(Clone, Copy, Debug)]
pub struct Forward<'a> {
    /// Name of the topic behind the prefix, the same as there.
    pub topic: &'a str,
    /// The event as it was consumed there.
    pub record: &'a Consumed,
    /// The event, or only where it stands when it was appended before.
    pub kind: AppendKind,
    /// Where it stands here.
    pub placement: Placement,
}

/// Whether Kafka answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogStanding {
    /// As far as is known.
    Connected,
    /// No broker can be reached; clients go on trying.
    Away,
}

/// The event log on Kafka.
pub struct KafkaLog {
    routes: Routes,
    /// Shared names of topics.
    topics: HashMap<Box<str>, Arc<str>>,
    node: Box<str>,
    cluster: Config,
    producers: [ClassProducer; Priority::COUNT],
    /// Records of each call that are not acknowledged.
    calls: HashMap<u64, usize>,
    readings: HashMap<Box<str>, Reading>,
    answers: VecDeque<(Ticket, Result<LogAnswer, LogError>)>,
    next: u64,
    /// Calls whose records were acknowledged; kept for its memory.
    done: Vec<u64>,
    is_closed: bool,
    shared: Shared,
    replicas: Arc<Replicas>,
    asking: Option<Asking>,
}

impl std::fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let waiting = self.waiting();
        let mut log = f.debug_struct("KafkaLog");
        log.field("waiting", &waiting).finish_non_exhaustive()
    }
}

impl KafkaLog {
    /// A log with its producers. `wake` is called, from any thread, when
    /// [`EventLog::complete`] has something to do; whoever drives the log then calls it until it
    /// gives nothing more.
    ///
    /// # Errors
    /// When the configuration contradicts itself or names a file that cannot be read. A cluster
    /// that cannot be reached is no error: appends wait.
    pub fn new(config: LogConfig, runtime: Handle, wake: Wake) -> Result<Self, ConfigError> {
        let shared = Shared {
            origin: clipped(&config.region).into(),
            wake,
            reach: Arc::new(Reach::default()),
            runtime,
        };
        let node = clipped(&config.node);
        let make = |class| ClassProducer::new(class, &config.cluster, node, shared.clone());
        let [p0, p1, p2, p3] = Priority::ALL.map(make);
        Ok(Self {
            routes: Routes::new(config.namespaces, &config.cluster.topic_prefix),
            topics: HashMap::new(),
            node: node.into(),
            producers: [p0?, p1?, p2?, p3?],
            cluster: config.cluster,
            calls: HashMap::new(),
            readings: HashMap::new(),
            answers: VecDeque::new(),
            next: 0,
            done: Vec::new(),
            is_closed: false,
            shared,
            replicas: Arc::default(),
            asking: None,
        })
    }

    /// Asks the cluster from now on how its topics are replicated, for [`Self::is_replicated`].
    ///
    /// # Errors
    /// When no client or thread can be made. A cluster that does not answer is asked again.
    pub fn watch_replicas(&mut self) -> Result<(), ConfigError> {
        let wake = Arc::clone(&self.shared.wake);
        let replicas = Arc::clone(&self.replicas);
        self.asking = Some(Asking::start(&self.cluster, replicas, wake)?);
        Ok(())
    }

    /// Whether a record of a class is on two brokers when its append is answered; not before
    /// [`Self::watch_replicas`] has found that it is. `wake` is called when this changes.
    pub fn is_replicated(&self, class: Priority) -> bool {
        self.replicas.of(class)
    }

    /// Whether brokers answer.
    pub fn standing(&self) -> LogStanding {
        match self.shared.reach.is_away() {
            true => LogStanding::Away,
            false => LogStanding::Connected,
        }
    }

    /// Records of each class that were appended and are not acknowledged.
    pub fn waiting(&self) -> [usize; Priority::COUNT] {
        [0, 1, 2, 3].map(|class| self.producers[class].len())
    }

    /// Takes nothing more and waits until everything is acknowledged, at most `wait`; says
    /// whether it is. What was acknowledged is answered by [`EventLog::complete`] afterwards;
    /// what was not stays in the journal. Blocks.
    pub fn close(&mut self, wait: Duration) -> bool {
        self.is_closed = true;
        let until = Instant::now() + wait;
        for producer in &mut self.producers {
            producer.flush(until, &mut self.done);
        }
        self.answer_done();
        self.waiting() == [0; Priority::COUNT]
    }

    /// Appends events of another region as they are, but for their place; answered as
    /// [`LogRequest::Append`]. A record that is no event is left out, and logged.
    ///
    /// # Errors
    /// [`Busy`] when too much is under way; nothing was taken.
    pub fn forward(&mut self, forwards: &[Forward<'_>]) -> Result<Ticket, Busy> {
        if self.is_full() {
            return Err(Busy);
        }
        let mut outgoing = Vec::with_capacity(forwards.len());
        for forward in forwards {
            let Forward { record, kind, .. } = *forward;
            match Encoded::forwarded(record, kind, forward.placement) {
                Ok((encoded, class)) => {
                    let topic = format!("{}{}", self.cluster.topic_prefix, forward.topic);
                    let topic = self.shared_name(&topic);
                    outgoing.push((class, Outgoing { topic, encoded }));
                }
                Err(fault) => warn!(%fault, offset = record.offset, "a record is not forwarded"),
            }
        }
        self.take(outgoing)
    }

    fn append(&mut self, appends: &[Append<'_>]) -> Result<Ticket, Busy> {
        if appends.len() > PORT_BATCH_MAX {
            return Ok(self.answer(Err(LogError::TooMany {
                records: appends.len(),
                limit: PORT_BATCH_MAX,
            })));
        }
        let mut outgoing = Vec::with_capacity(appends.len());
        for append in appends {
            let class = append.record.class;
            let topic = self.routes.topic(append.record.channel, class).to_owned();
            let topic = self.shared_name(&topic);
            let encoded = Encoded::of(append, &self.node);
            outgoing.push((class, Outgoing { topic, encoded }));
        }
        self.take(outgoing)
    }

    /// Hands records to the producers of their classes.
    fn take(&mut self, outgoing: Vec<(Priority, Outgoing)>) -> Result<Ticket, Busy> {
        let mut wanted = [(0, 0); Priority::COUNT];
        for (class, record) in &outgoing {
            let wanted = &mut wanted[class.index()];
            wanted.0 += 1;
            wanted.1 += record.encoded.bytes();
        }
        let producers = self.producers.iter().zip(wanted);
        let mut used = producers.filter(|(_, (records, _))| *records > 0);
        if !used.all(|(producer, (records, bytes))| producer.has_room(records, bytes)) {
            return Err(Busy);
        }
        let ticket = self.ticket();
        if outgoing.is_empty() {
            self.answers.push_back((ticket, Ok(LogAnswer::Appended)));
            (self.shared.wake)();
            return Ok(ticket);
        }
        self.calls.insert(ticket.0, outgoing.len());
        for (class, record) in outgoing {
            self.producers[class.index()].push(record, ticket.0);
        }
        self.pump();
        if !self.answers.is_empty() {
            // Reports were taken that nobody will be woken for again.
            (self.shared.wake)();
        }
        Ok(ticket)
    }

    fn shared_name(&mut self, topic: &str) -> Arc<str> {
        if let Some(known) = self.topics.get(topic) {
            return known.clone();
        }
        let shared: Arc<str> = topic.into();
        self.topics.insert(topic.into(), shared.clone());
        shared
    }

    fn is_full(&self) -> bool {
        let open: usize = self.readings.values().map(Reading::open_calls).sum();
        self.is_closed || self.calls.len() + self.answers.len() + open >= PORT_CALLS_MAX
    }

    fn pump(&mut self) {
        for producer in &mut self.producers {
            producer.pump(&mut self.done);
        }
        self.answer_done();
    }

    fn answer_done(&mut self) {
        for call in self.done.drain(..) {
            let Some(left) = self.calls.get_mut(&call) else {
                continue;
            };
            *left -= 1;
            if *left == 0 {
                self.calls.remove(&call);
                self.answers
                    .push_back((Ticket(call), Ok(LogAnswer::Appended)));
            }
        }
    }

    fn reading(&mut self, group: &str) -> Result<&mut Reading, GroupFault> {
        if !self.readings.contains_key(group) {
            if self.readings.len() >= limits::GROUPS_MAX {
                return Err(GroupFault::TooManyGroups(limits::GROUPS_MAX));
            }
            let shared = &self.shared;
            let reading = Reading::open(&self.cluster, group, shared)?;
            self.readings.insert(group.into(), reading);
        }
        self.readings.get_mut(group).ok_or(GroupFault::Ended)
    }

    fn ticket(&mut self) -> Ticket {
        self.next += 1;
        Ticket(self.next)
    }

    fn answer(&mut self, answer: Result<LogAnswer, LogError>) -> Ticket {
        let ticket = self.ticket();
        self.answers.push_back((ticket, answer));
        ticket
    }

    /// Hands a question to the reader of its group.
    fn ask(&mut self, group: &str, ask: impl FnOnce(&mut Reading, Ticket)) -> Ticket {
        let ticket = self.ticket();
        match self.reading(group) {
            Ok(reading) => ask(reading, ticket),
            Err(fault) => self.answers.push_back((ticket, Err(fault.into()))),
        }
        ticket
    }
}

impl EventLog for KafkaLog {
    fn submit(&mut self, request: LogRequest<'_>, _now_us: u64) -> Result<Ticket, Busy> {
        if self.is_full() {
            return Err(Busy);
        }
        let ticket = match request {
            LogRequest::Append(appends) => return self.append(appends),
            LogRequest::Read { group, limit } => {
                self.ask(group, |reading, ticket| reading.read(ticket, limit))
            }
            LogRequest::Commit { group, through } => {
                self.ask(group, |reading, ticket| reading.commit(ticket, through))
            }
            LogRequest::Rewind { group } => self.ask(group, Reading::rewind),
        };
        Ok(ticket)
    }

    fn complete(&mut self) -> Option<(Ticket, Result<LogAnswer, LogError>)> {
        if self.answers.is_empty() {
            self.pump();
            for reading in self.readings.values_mut() {
                reading.pump(&mut self.answers);
            }
        }
        self.answers.pop_front()
    }
}

/// A name that fits a header.
fn clipped(name: &str) -> &str {
    let end = name.floor_char_boundary(limits::NAME_BYTES_MAX);
    &name[..end]
}
