//! The backplane's task: one loop that owns channels, links and what waits for the caller.
//!
//! Calls to servers run as tasks beside it and report by [`Outcome`]; nothing in the loop waits
//! for a server. Messages are taken only while the caller takes events, so that what is too much
//! is dropped at the [`Gate`](super::gate::Gate) and read again later, instead of growing.
//!
//! Runs on: the runtime that was handed in.

mod calls;
mod channels;
mod links;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use interlink_protocol::ids::{Position, RecordId};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::config::{Address, Config};
use super::functions::{Batch, Functions, Seeds};
use super::gate::Push;
use super::limits::{EVENTS_MAX, PUSH_BYTES_MAX, TELLS_MAX, TICK};
use super::lineage::Lineage;
use super::memory;
use super::outcome::Outcome;
use super::Memory;
use crate::backplane::{BackplaneAnswer, BackplaneError, BackplaneEvent, NodeId, Standing};
use crate::ports::Ticket;
use channels::Channel;
use links::Link;

/// Called when there is something to take.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// Events that wait in the task before it takes no messages.
const OUT_MAX: usize = 1_024;

/// Messages or requests that are taken before the loop looks at everything else again.
const TAKEN_AT_ONCE: usize = 64;

/// A request of the caller.
#[derive(Debug)]
pub enum Request {
    /// Place records, as of microseconds since the Unix epoch; asked when the caller had taken so
    /// many changes of lineage.
    Publish(Batch, u64, u64),
    /// Take what an archive knows; the numbers as above.
    Seed(Seeds, u64, u64),
    /// Say where records of a partition stand; asked when the caller had taken so many changes of
    /// lineage.
    Known(u16, Box<[RecordId]>, u64),
    /// Tell other nodes.
    Tell(Box<str>, Vec<u8>),
    /// Read events.
    History(Box<str>, Position, usize),
    /// Read the newest position.
    Top(Box<str>),
    /// Hear a channel.
    Subscribe(Box<str>),
    /// Hear it no longer.
    Unsubscribe(Box<str>),
    /// Keep a node's lease for so many milliseconds.
    Lease(NodeId, u64),
    /// Say who has a lease.
    Leases,
}

/// What happened next.
enum Step {
    Room,
    Outcome(Outcome),
    Push(Push),
    Request(Ticket, Request),
    Tick,
}

/// The ends of the ways between the task and the caller.
#[derive(Debug)]
pub struct Ends {
    /// Requests.
    pub requests: mpsc::Receiver<(Ticket, Request)>,
    /// Events.
    pub events: mpsc::Sender<BackplaneEvent>,
    /// Bytes of frames among the events that were not taken.
    pub held: Arc<AtomicUsize>,
}

/// The backplane's task.
pub struct Core {
    config: Arc<Config>,
    functions: Arc<Functions>,
    /// Names this node among those that tell each other.
    node: u64,
    addresses: Vec<Address>,
    ends: Ends,
    waker: Waker,
    outcomes: (mpsc::Sender<Outcome>, mpsc::Receiver<Outcome>),
    pushes: (mpsc::Sender<Push>, mpsc::Receiver<Push>),
    push_bytes: Arc<AtomicUsize>,
    links: BTreeMap<u64, Link>,
    next_link: u64,
    /// The link of each partition.
    owners: Vec<Option<u64>>,
    /// The server that each partition was last reached at.
    lineages: Vec<Option<Lineage>>,
    /// Where the caller finds them.
    memory: watch::Sender<Memory>,
    /// Changes of lineage so far, and by partition the number of its newest.
    changes: u64,
    changed: Vec<u64>,
    /// The epoch in which this node placed last, by partition; 0 before it did since a change.
    placed_in: Vec<u64>,
    /// Where recent tops are read from next, by partition.
    recent_from: Vec<String>,
    is_locating: bool,
    located_at: Option<Instant>,
    channels: HashMap<Box<str>, Channel>,
    /// Subscribed channels, by partition.
    heard: Vec<usize>,
    /// Channels whose server was ahead when its tops were read last.
    suspects: Vec<Box<str>>,
    /// What is told with the next call, by link.
    tells: BTreeMap<u64, (Vec<Ticket>, redis::Pipeline)>,
    out: VecDeque<BackplaneEvent>,
    standing: Standing,
    lost_at: Option<Instant>,
    ticked_at: Instant,
    highest_epoch: u64,
}

impl Core {
    /// A task that has no connection yet.
    /// `lineages` are those that an earlier process knew.
    pub fn new(
        config: Config,
        addresses: Vec<Address>,
        lineages: Vec<Option<Lineage>>,
        ends: Ends,
        (waker, memory): (Waker, watch::Sender<Memory>),
    ) -> Self {
        let sharded = config.mode == super::Mode::Cluster;
        let partitions = usize::from(config.partitions);
        let pushes = mpsc::channel(super::limits::PUSHES_MAX);
        Self {
            functions: Arc::new(Functions::new(&config.prefix, sharded)),
            config: Arc::new(config),
            node: random(),
            addresses,
            ends,
            waker,
            outcomes: mpsc::channel(crate::limits::PORT_CALLS_MAX),
            pushes,
            push_bytes: Arc::new(AtomicUsize::new(0)),
            links: BTreeMap::new(),
            next_link: 1,
            owners: vec![None; partitions],
            lineages,
            memory,
            changes: 0,
            changed: vec![0; partitions],
            placed_in: vec![0; partitions],
            recent_from: vec!["0".into(); partitions],
            is_locating: false,
            located_at: None,
            channels: HashMap::new(),
            heard: vec![0; partitions],
            suspects: Vec::new(),
            tells: BTreeMap::new(),
            out: VecDeque::from([BackplaneEvent::Standing(Standing::Reconnecting)]),
            standing: Standing::Reconnecting,
            lost_at: Some(Instant::now()),
            ticked_at: Instant::now(),
            highest_epoch: 0,
        }
    }

    /// Works until the caller has gone.
    pub async fn run(mut self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.flush();
            let held = self.ends.held.load(Ordering::Acquire);
            let takes = self.out.len() < OUT_MAX && held < PUSH_BYTES_MAX;
            let gives = !self.out.is_empty();
            let step = tokio::select! {
                permit = self.ends.events.reserve(), if gives => match permit {
                    Ok(_) => Step::Room,
                    Err(_) => return,
                },
                Some(outcome) = self.outcomes.1.recv() => Step::Outcome(outcome),
                Some(push) = self.pushes.1.recv(), if takes => Step::Push(push),
                request = self.ends.requests.recv(), if takes => match request {
                    Some((ticket, request)) => Step::Request(ticket, request),
                    None => return,
                },
                _ = ticks.tick() => Step::Tick,
            };
            match step {
                Step::Room => {}
                Step::Outcome(outcome) => self.on_outcome(outcome),
                Step::Push(push) => self.on_pushes(push),
                Step::Request(ticket, request) => self.on_requests(ticket, request),
                Step::Tick => self.on_tick(),
            }
        }
    }

    /// Tells which servers the partitions have by now.
    pub(super) fn remember(&self) {
        let memory = memory::encode(&self.lineages);
        self.memory.send_replace((self.changes, memory.into()));
    }

    /// Hands events to the caller as far as it takes them.
    fn flush(&mut self) {
        let mut any = false;
        while !self.out.is_empty() {
            let Ok(permit) = self.ends.events.try_reserve() else {
                break;
            };
            let Some(event) = self.out.pop_front() else {
                break;
            };
            let bytes = frame_bytes(&event);
            self.ends.held.fetch_add(bytes, Ordering::AcqRel);
            permit.send(event);
            any = true;
        }
        if any {
            (self.waker)();
        }
    }

    fn on_requests(&mut self, ticket: Ticket, request: Request) {
        self.on_request(ticket, request);
        for _ in 1..TELLS_MAX.min(TAKEN_AT_ONCE) {
            let Ok((ticket, request)) = self.ends.requests.try_recv() else {
                break;
            };
            self.on_request(ticket, request);
        }
        self.send_tells();
    }

    fn on_pushes(&mut self, push: Push) {
        self.on_push(push);
        for _ in 1..TAKEN_AT_ONCE {
            let Ok(push) = self.pushes.1.try_recv() else {
                break;
            };
            self.on_push(push);
        }
    }

    fn on_push(&mut self, push: Push) {
        self.push_bytes
            .fetch_sub(push.payload.len(), Ordering::AcqRel);
        let is_there = self.links.contains_key(&push.link);
        if push.payload.is_empty() && push.channel.is_empty() {
            if is_there {
                self.reset(push.link);
            }
            return;
        }
        let name = std::str::from_utf8(&push.channel).ok();
        let name = name.and_then(|name| self.functions.channel_of(name).map(Box::from));
        if let Some(channel) = name {
            self.on_message(channel, &push.payload);
        }
    }

    fn answer(&mut self, ticket: Ticket, answer: Result<BackplaneAnswer, BackplaneError>) {
        self.out.push_back(BackplaneEvent::Answer(ticket, answer));
    }

    fn spawn(&self, work: impl std::future::Future<Output = Outcome> + Send + 'static) {
        let outcomes = self.outcomes.0.clone();
        tokio::spawn(async move {
            let outcome = work.await;
            // Nobody takes it once the backplane has ended.
            let _ = outcomes.send(outcome).await;
        });
    }
}

/// Bytes of an event that count against the caller's share of memory.
pub fn frame_bytes(event: &BackplaneEvent) -> usize {
    match event {
        BackplaneEvent::Message { frame, .. } | BackplaneEvent::Told { frame, .. } => frame.len(),
        _ => 0,
    }
}

/// A number that no other node has: from the process's random state for hash maps.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish()
}

const _: () = assert!(OUT_MAX <= EVENTS_MAX);
