//! Building shards and starting their threads.
//!
//! Purpose: everything of a node that shards need is made here on the main thread
//! and moved to where it runs: lanes, the journal-files thread, then one pinned
//! executor for each shard, which makes its ring on its own thread.
//!
//! Runs on: the main thread, then each shard.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicUsize;
use std::sync::{mpsc, Arc};

use interlink_protocol::namespace::Namespaces;
use interlink_protocol::registry::Registry;
use interlink_relay::journal::Journal;
use interlink_uring::driver::Turn;
use interlink_uring::{listener, EdgeRing, Kernel, RingConfig};

use super::ack::Cursors;
use super::backbone::{Backbone, BackbonePort};
use super::clock::Clock;
use super::connections::Connections;
use super::drain::{Course, Direction, Drain};
use super::files::{FilesLink, FilesRequest, RelayLink};
use super::journal::ShardJournal;
use super::limits::ShardLimits;
use super::logs::Logs;
use super::measure::Shown;
use super::mesh::{Mesh, Message};
use super::partials::Partials;
use super::places::Places;
use super::presence::Presence;
use super::secure::SecureTable;
use super::tokens::Tokens;
use super::{driver, Shard, Shared};
use crate::anomaly::Anomalies;
use crate::backbone::{self, RelayPlan};
use crate::config::Config;
use crate::exit::{CommandError, Exit};
use crate::files_thread::{FilesThread, Recovered};
use crate::hand_over::limits::RELEASE_PATIENCE;
use crate::lanes::{Doorbell, Port};
use crate::memory::{MemoryError, Slab};
use crate::rates::Rates;
use crate::server::{Levers, NodeEvent, Phase, ShardPlan, ShardSet};
use crate::telemetry::{Counters, ShardCounters};
use crate::wheel::Wheel;

/// Channels that a shard may know for each session it may have: its own inbox and alerts, and
/// shared ones.
const CHANNELS_PER_SESSION: usize = 4;
/// Subscriptions that a shard plans for, for each session.
const SUBSCRIPTIONS_PER_SESSION: usize = crate::config::SUBSCRIPTIONS_PLANNED as usize;
/// Channels that may have recent events at one time, for each session.
const LOGS_PER_SESSION: usize = 2;

/// What one shard is made of.
pub struct ShardParts {
    /// Number of the shard.
    pub id: u16,
    /// Shards of the node.
    pub shards: u16,
    /// The configuration.
    pub config: Arc<Config>,
    /// What the shards share.
    pub shared: Arc<Shared>,
    /// Where the scraper reads.
    pub counters: Arc<ShardCounters>,
    /// Its end of the lanes.
    pub port: Port<Message>,
    /// Its link to the journal-files thread.
    pub files: FilesLink,
    /// Its journal.
    pub journal: Journal,
    /// The way to the relay thread of a cluster.
    pub backbone: Option<BackbonePort>,
    /// What it takes over from earlier boots.
    pub recovered: Recovered,
    /// Told once the shard accepts clients.
    pub listening: Option<Listening>,
}

impl Shard {
    /// A shard with empty tables and what was recovered for it.
    ///
    /// # Errors
    /// When the address space for its tables is refused.
    pub fn new(parts: ShardParts, now_ns: u64) -> Result<Self, MemoryError> {
        let sessions = parts.config.limits.max_sessions as usize;
        let connections = Connections::new(&parts.config.rings)?;
        Ok(Self {
            id: parts.id,
            shards: parts.shards,
            tokens: Tokens::new(&parts.shared),
            secure: SecureTable::new(parts.shared.tls.as_ref()),
            shared: parts.shared,
            clock: Clock::new(now_ns),
            random: super::random::Random::from_system(),
            counters: Counters::default(),
            samples: Default::default(),
            shown: Shown::new(parts.counters),
            listening: parts.listening,
            accepting: Default::default(),
            handshakes: Default::default(),
            handshake_outcomes: Vec::new(),
            arrivals: Default::default(),
            install_outcomes: Vec::new(),
            ahead: Vec::new(),
            partials: partials(&parts.config),
            deferred: Vec::new(),
            granted: Vec::new(),
            wheel: Wheel::new(connections.capacity(), 1)?,
            connections,
            open_connections: 0,
            attachments: 0,
            sessions: Slab::new(sessions)?,
            users: Slab::new(sessions)?,
            publishers: Slab::new(sessions)?,
            subscriptions: Slab::new(sessions * SUBSCRIPTIONS_PER_SESSION)?,
            channels: Slab::new(sessions * CHANNELS_PER_SESSION)?,
            members: Default::default(),
            tables: Default::default(),
            interest: HashMap::new(),
            cursors: Cursors::new(parts.shards),
            look_ups: Default::default(),
            batches: Default::default(),
            sweep: Default::default(),
            journal: ShardJournal::new(parts.journal),
            files: parts.files,
            mesh: Mesh::new(parts.port),
            unplaced: VecDeque::new(),
            backbone: parts.backbone.map(Backbone::new),
            service: Default::default(),
            take_over: Default::default(),
            recovered_windows: HashMap::new(),
            logs: logs(&parts.config)?,
            dirty: Default::default(),
            behind: HashMap::new(),
            lagging: Places::new(sessions * SUBSCRIPTIONS_PER_SESSION)?,
            encoder: None,
            queues: Default::default(),
            ready: VecDeque::new(),
            transmit: Default::default(),
            due: Vec::new(),
            lingering: VecDeque::new(),
            closing: VecDeque::new(),
            absent: VecDeque::new(),
            unfinished_messages: VecDeque::new(),
            blocked: VecDeque::new(),
            retries: VecDeque::new(),
            pauses: Default::default(),
            presence: Presence::new(&parts.config, parts.shards),
            drain: Drain::new(parts.config.drain.reconnects_per_second, parts.shards),
            limits: ShardLimits::of(&parts.config),
        }
        .restored(parts.recovered))
    }

    /// Lets other threads wake this one.
    pub(super) fn attach_doorbell(&self, ring: &EdgeRing) -> std::io::Result<()> {
        self.mesh.attach(ring.wake_descriptor())
    }
}

/// Room for messages that have not arrived completely.
fn partials(config: &Config) -> Partials {
    Partials::new(config.limits.partial_bytes_per_shard.0 as usize)
}

/// The logs of channels, and their last values.
fn logs(config: &Config) -> Result<Logs, MemoryError> {
    let limits = &config.limits;
    let most = limits.max_sessions as usize * LOGS_PER_SESSION;
    let bytes = limits.channel_log_bytes_per_shard.0 as usize;
    let values = limits.last_values_bytes_per_shard.0 as usize;
    Logs::new(most, bytes, values)
}

/// Starts the shards of a node; returns when each of them listens.
///
/// # Errors
/// When the address is taken, the kernel lacks a feature, or a thread does not start.
pub fn launch(mut plan: ShardPlan) -> Result<ShardSet, CommandError> {
    let shards = plan.counters.len() as u16;
    let mut sockets = open_sockets(&plan, shards)?;
    let kept = copies(&sockets)?;
    plan.node.advance(Phase::Recovering);
    let (mut files, recovered) = FilesThread::open(&plan.config, &plan.data, shards)?;
    let shared = Arc::new(shared(&plan, recovered.epoch)?);
    let mut ports = std::mem::take(&mut plan.ports);
    let relay = ports.split_off(usize::from(shards)).pop();
    let (relay_link, relay_requests) = relay_link(relay.as_ref());
    let backbone = BackbonePort::of(&plan.config, shards, files.boot());
    let processors = driver::allowed_processors();
    let (listening, ready) = mpsc::channel();
    let mut joins: Vec<Box<dyn FnOnce()>> = Vec::new();
    let mut bells = Vec::new();
    for ((id, port), recovered) in (0..shards).zip(ports).zip(recovered.shards) {
        let Some(link) = files.link(port.receiver.bell()) else {
            break;
        };
        bells.push(port.receiver.bell());
        // The first shards get one more when a predecessor had more of them.
        let own = sockets.len().div_ceil(usize::from(shards - id));
        let own = sockets.drain(..own).collect();
        let parts = ShardParts {
            id,
            shards,
            config: Arc::clone(&plan.config),
            shared: Arc::clone(&shared),
            counters: Arc::clone(&plan.counters[usize::from(id)]),
            port,
            files: link.with_relay(relay_link.clone()),
            backbone,
            journal: files.journal(id)?,
            recovered,
            listening: Some(listening.clone()),
        };
        let processor = processors[usize::from(id) % processors.len()];
        joins.push(start_shard(&plan, parts, own, processor)?);
    }
    drop((listening, relay_link));
    let join_relay = match (relay, relay_requests) {
        (Some(port), Some(requests)) => Some(start_relay(&plan, &mut files, (port, requests))?),
        _ => None,
    };
    let files_requests = files.requests();
    let join_files = files.start()?;
    await_listening(&ready, shards)?;
    // The relay thread ends with the last shard's link to it, the files thread with the last link
    // of all.
    if let Some(last) = joins.pop() {
        joins.push(Box::new(move || {
            last();
            join_relay.into_iter().for_each(|join| join());
            join_files();
        }));
    }
    let levers = NodeLevers {
        shared,
        bells,
        files: files_requests,
    };
    Ok(ShardSet::new(levers, joins, kept))
}

/// What the shards of a node share.
fn shared(plan: &ShardPlan, epoch: u64) -> Result<Shared, CommandError> {
    let mut random = super::random::Random::from_system();
    Ok(Shared {
        verifier: Arc::clone(&plan.verifier),
        tls: plan.tls.clone(),
        revocations: Arc::clone(&plan.revocations),
        namespaces: namespaces(&plan.config)?,
        registry: Registry::core(),
        rates: Rates::new(&plan.config, random.next_u128() as u64),
        anomalies: Anomalies::new(&plan.config, random.next_u128() as u64),
        epoch,
        unfinished_handshakes: AtomicUsize::new(0),
        direction: Direction::default(),
    })
}

/// What shards hold of the relay thread, and what it hears of them.
type RelayEnds = (Option<RelayLink>, Option<mpsc::Receiver<FilesRequest>>);

fn relay_link(port: Option<&Port<Message>>) -> RelayEnds {
    let Some(port) = port else {
        return (None, None);
    };
    let (sender, requests) = mpsc::channel();
    let link = RelayLink {
        requests: sender,
        bell: port.receiver.bell(),
    };
    (Some(link), Some(requests))
}

/// Starts the relay thread of a cluster; the returned function waits for its end.
fn start_relay(
    plan: &ShardPlan,
    files: &mut FilesThread,
    (port, requests): (Port<Message>, mpsc::Receiver<FilesRequest>),
) -> Result<Box<dyn FnOnce()>, CommandError> {
    let peers = files.peers();
    let logs = files.backbone_logs()?;
    let link = files.link(port.receiver.bell()).ok_or_else(|| {
        CommandError::new(Exit::Host, "the journal-files thread has started already")
    })?;
    let relay = RelayPlan {
        config: Arc::clone(&plan.config),
        boot: files.boot(),
        port,
        requests,
        peers,
        files: link,
        logs,
        last_words: Some(backbone::limits::LAST_WORDS),
        counts: Arc::clone(&plan.backbone),
    };
    backbone::start(relay, plan.events.clone())
}

/// Waits until every shard accepts clients.
fn await_listening(
    ready: &mpsc::Receiver<Result<(), String>>,
    shards: u16,
) -> Result<(), CommandError> {
    for _ in 0..shards {
        ready
            .recv()
            .unwrap_or_else(|_| Err("a shard ended at its start".to_owned()))
            .map_err(|error| {
                CommandError::new(Exit::Host, error)
                    .cure("see the message; `interlink-edge config print` shows the limits in use")
            })?;
    }
    Ok(())
}

/// The sockets of a predecessor, and new ones for shards that would have none.
fn open_sockets(plan: &ShardPlan, shards: u16) -> Result<Vec<OwnedFd>, CommandError> {
    let address_error = |error| CommandError::new(Exit::Address, error);
    let mut sockets = copies(&plan.sockets)?;
    if sockets.is_empty() {
        listener::check_port(plan.client_address).map_err(address_error)?;
    }
    while sockets.len() < usize::from(shards) {
        let options = listener_options(&plan.config);
        let socket = listener::bind_reuse_port(plan.client_address, &options);
        sockets.push(socket.map_err(address_error)?);
    }
    Ok(sockets)
}

fn copies(sockets: &[OwnedFd]) -> Result<Vec<OwnedFd>, CommandError> {
    let copies: std::io::Result<_> = sockets.iter().map(OwnedFd::try_clone).collect();
    copies.map_err(|error| CommandError::new(Exit::Host, error))
}

/// Reaches all shards of a node.
struct NodeLevers {
    shared: Arc<Shared>,
    bells: Vec<Arc<Doorbell>>,
    files: Option<mpsc::Sender<FilesRequest>>,
}

impl Levers for NodeLevers {
    fn set_course(&self, course: Course) {
        self.shared.direction.set(course);
        self.bells.iter().for_each(|bell| bell.ring());
    }

    fn are_settled(&self) -> bool {
        self.shared.direction.settled(self.bells.len() as u16)
    }

    fn give_up_journal(&self) -> bool {
        let (done, is_done) = mpsc::channel();
        let asked = self.files.as_ref().map(|files| {
            // A files thread that has ended has given up everything.
            let _ = files.send(FilesRequest::GiveUp(done));
        });
        asked.is_some() && is_done.recv_timeout(RELEASE_PATIENCE).is_ok()
    }
}

/// Where a shard tells that it accepts clients, or why it never will.
pub type Listening = mpsc::Sender<Result<(), String>>;

fn start_shard(
    plan: &ShardPlan,
    parts: ShardParts,
    sockets: Vec<OwnedFd>,
    processor: usize,
) -> Result<Box<dyn FnOnce()>, CommandError> {
    let id = parts.id;
    let events = plan.events.clone();
    let build = move || build_shard(parts, sockets);
    let ended = move |outcome: anyhow::Result<()>| {
        let error = outcome.err().map(|error| format!("{error:#}"));
        // The main thread may have stopped waiting.
        let _ = events.send(NodeEvent::ShardEnded {
            shard: usize::from(id),
            error,
        });
    };
    let handle = driver::spawn(&format!("shard-{id}"), processor, build, ended)
        .map_err(|error| CommandError::new(Exit::Host, error))?;
    Ok(Box::new(move || drop(handle.join())))
}

fn build_shard(parts: ShardParts, sockets: Vec<OwnedFd>) -> anyhow::Result<(Shard, EdgeRing)> {
    let listening = parts.listening.clone();
    let built = (|| {
        let mut ring = EdgeRing::new(ring_config(&parts.config))?;
        let mut shard = Shard::new(parts, driver::monotonic_ns())?;
        for socket in sockets {
            shard.accepting.listeners = ring.add_listener(socket) + 1;
        }
        shard.attach_doorbell(&ring)?;
        anyhow::Ok((shard, ring))
    })();
    if let (Err(error), Some(listening)) = (&built, listening) {
        // The starter may have given up waiting.
        let _ = listening.send(Err(format!("{error:#}")));
    }
    built
}

fn ring_config(config: &Config) -> RingConfig {
    let rings = &config.rings;
    let defaults = RingConfig::default();
    RingConfig {
        rings_at_start: rings.rings_at_start as usize,
        rings_max: rings.rings_max as usize,
        slots_per_ring: rings.slots_per_ring.min(defaults.slots_per_ring),
        buffers: rings.buffers as u16,
        first_ring_buffers: rings.first_ring_buffers as u16,
        ..defaults
    }
}

fn listener_options(config: &Config) -> listener::ListenerOptions {
    listener::ListenerOptions {
        backlog: config.listen.backlog as i32,
        // The shard's own timeout begins when the socket is full, which is later than the kernel's,
        // and its close frame is to have a chance.
        write_timeout: 2 * config.limits.write_timeout,
        ..listener::ListenerOptions::default()
    }
}

/// The namespace table with the configuration's overrides.
fn namespaces(config: &Config) -> Result<Namespaces, CommandError> {
    config
        .namespace_policies()
        .map_err(|error| CommandError::new(Exit::Config, error))
}

/// Runs a machine of its own on one listener and one pinned executor, and waits for its end.
///
/// # Errors
/// When the address is taken, the kernel lacks a feature, or the machine fails.
pub fn serve_machine<T: Turn + 'static>(
    address: SocketAddr,
    machine: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<()> {
    listener::check_port(address)?;
    let socket = listener::bind_reuse_port(address, &listener::ListenerOptions::default())?;
    let processor = driver::allowed_processors().first().copied().unwrap_or(0);
    let build = move || {
        let mut ring = EdgeRing::new(RingConfig {
            first_ring_buffers: 256,
            ..RingConfig::default()
        })?;
        ring.add_listener(socket);
        Ok((machine(), ring))
    };
    let (ended, outcome) = mpsc::channel();
    let ended = move |result| drop(ended.send(result));
    let handle = driver::spawn("conformance", processor, build, ended)
        .map_err(|error| anyhow::anyhow!("the executor does not start: {error}"))?;
    drop(handle.join());
    outcome
        .recv()
        .unwrap_or_else(|_| Err(anyhow::anyhow!("the server ended without a word")))
}
