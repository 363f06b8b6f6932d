//! A shard: one pinned thread and everything it owns.
//!
//! Purpose: serve the sessions of its users and number the channels that fall to it.
//! Nothing here is shared with another thread but what [`Shared`] names; shards talk
//! through lanes. The logic holds no runtime: [`driver`] runs turns under glommio, a
//! test runs the same turns over a scripted kernel.
//!
//! Map: `turn` is the loop's body; `accept`, `proxy`, `handshake`, `arrival` bring
//! clients in; `receive` finds frames; `publish`, `foreign`, `journal`, `settle` take events;
//! `backbone` and `leaving` give them to the relay thread of a cluster, `skips` hears where
//! channels go on; `subscribe`, `recover`, `behind`, `overrun`, `values` give them, `kept` while
//! nobody else can, `ack` notes how far; `fanout`, `transmit`, `queues` send;
//! `heartbeat`, `close`, `drain` and `tokens` end; `rates` and `pause` slow, `anomalies` notices;
//! `presence` tells who is there; `mesh`, `interest`, `files` reach other threads; `service` takes
//! what comes from no session; `tables`, `logs` and `places` hold, `measure` and `latencies` tell.
//!
//! Limits: every table is sized from the configuration at start; see `config plan`.

mod accept;
mod ack;
mod anomalies;
mod arrival;
pub mod backbone;
mod behind;
mod channel;
mod clock;
mod close;
mod connection;
mod connections;
pub mod drain;
pub mod driver;
mod fanout;
pub mod files;
mod foreign;
mod handshake;
mod handshake_expiry;
mod heartbeat;
mod interest;
mod journal;
pub mod judged;
pub mod kept;
mod latencies;
pub(crate) mod leaving;
mod limits;
mod logs;
mod measure;
mod mesh;
mod overrun;
mod pace;
mod partials;
mod pause;
mod places;
pub mod presence;
mod proxy;
mod publish;
mod queues;
mod random;
mod rates;
mod receive;
mod recover;
mod replies;
mod restore;
mod secure;
mod secure_handshake;
pub mod service;
mod session;
mod settle;
pub mod skips;
pub(crate) mod start;
mod subscribe;
mod tables;
mod tokens;
mod transmit;
mod turn;
mod values;
mod warm;
mod wishes;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::AtomicUsize;
use std::sync::Arc;

use interlink_protocol::frame::FrameEncoder;
use interlink_protocol::ids::{InstanceId, SessionKey};
use interlink_protocol::namespace::{NamespaceId, NamespacePolicy, Namespaces};
use interlink_protocol::registry::Registry;
use interlink_relay::dedupe::PublisherWindow;
use interlink_uring::{Event, SendOutcome, SocketId};

use crate::anomaly::Anomalies;
use crate::auth::{Published, Revocations, Verifier};
use crate::memory::Slab;
use crate::rates::{Batches, Rates};
use crate::telemetry::Counters;
use crate::tls::Serving;
use crate::wheel::Wheel;
use behind::Behind;
use channel::{Channel, MemberLists, Subscription};
use clock::Clock;
use connections::Connections;
use limits::ShardLimits;
use session::{Publisher, Session, User};

pub use mesh::{Foreign, Message};
pub use start::{launch, ShardParts};

/// How long an unused publisher instance is remembered: as long as its ids may come again.
const PUBLISHER_KEPT_MS: u32 = 10 * 60 * 1_000;

/// What the shards of a node share.
#[derive(Debug)]
pub struct Shared {
    /// Checks tokens.
    pub verifier: Arc<Published<Verifier>>,
    /// What TLS connections are served with, if the node serves TLS.
    pub tls: Option<Arc<Serving>>,
    /// Tokens and users that are refused.
    pub revocations: Arc<Published<Revocations>>,
    /// Policies of namespaces.
    pub namespaces: Namespaces,
    /// Event types.
    pub registry: Registry,
    /// How often clients may ask.
    pub rates: Rates,
    /// What has been noticed.
    pub anomalies: Anomalies,
    /// Epoch of channels that are new in this boot.
    pub epoch: u64,
    /// Connections of the process between accept and `Hello`.
    pub unfinished_handshakes: AtomicUsize,
    /// What all shards are to do.
    pub direction: drain::Direction,
}

/// Where the sweeps over slow-changing tables go on.
#[derive(Debug, Default)]
struct Sweep {
    publisher: u32,
    user: u32,
    /// Shard milliseconds at which the next portion is due.
    due_ms: u32,
}

/// All state of one shard.
pub struct Shard {
    id: u16,
    shards: u16,
    shared: Arc<Shared>,
    limits: ShardLimits,
    clock: Clock,
    random: random::Random,
    counters: Counters,
    samples: latencies::Samples,
    shown: measure::Shown,

    // Coming in.
    ahead: Vec<Event>,
    listening: Option<start::Listening>,
    accepting: accept::Accepting,
    handshakes: handshake::Handshakes,
    handshake_outcomes: Vec<SendOutcome>,
    arrivals: arrival::Arrivals,
    install_outcomes: Vec<Result<SocketId, i32>>,
    partials: partials::Partials,
    secure: secure::SecureTable,
    deferred: Vec<(SocketId, Vec<u8>)>,
    granted: Vec<u32>,

    // Tables.
    connections: Connections,
    open_connections: u32,
    attachments: u32,
    sessions: Slab<Session>,
    users: Slab<User>,
    publishers: Slab<Publisher>,
    subscriptions: Slab<Subscription>,
    channels: Slab<Channel>,
    members: MemberLists,
    tables: tables::Tables,
    interest: HashMap<u32, u64>,
    cursors: ack::Cursors,
    look_ups: recover::LookUps,
    tokens: tokens::Tokens,
    batches: Batches,
    sweep: Sweep,

    // Events.
    journal: journal::ShardJournal,
    files: files::FilesLink,
    mesh: mesh::Mesh,
    unplaced: VecDeque<mesh::Foreign>,
    backbone: Option<backbone::Backbone>,
    service: service::Service,
    take_over: restore::TakeOver,
    recovered_windows: HashMap<InstanceId, PublisherWindow>,
    logs: logs::Logs,
    dirty: fanout::DirtyChannels,
    behind: HashMap<u32, Behind>,
    lagging: places::Places,

    // Going out.
    encoder: Option<Box<FrameEncoder>>,
    queues: queues::Queues,
    ready: VecDeque<u32>,
    transmit: transmit::Transmit,

    // Time.
    wheel: Wheel,
    due: Vec<u32>,
    lingering: VecDeque<(SocketId, u32)>,
    closing: VecDeque<SocketId>,
    absent: VecDeque<(SessionKey, u32, u32)>,
    unfinished_messages: VecDeque<(SocketId, u32)>,
    blocked: VecDeque<(SocketId, u32)>,
    retries: VecDeque<(SocketId, u32)>,
    pauses: pause::Pauses,

    presence: presence::Presence,
    drain: drain::Drain,
}

impl Shard {
    /// The connection with this socket, unless it has ended.
    fn connection_of(&self, socket: SocketId) -> Option<u32> {
        self.connections.find(socket)
    }

    /// The policy of a channel's namespace.
    fn policy(&self, id: NamespaceId) -> &NamespacePolicy {
        self.shared.namespaces.get(id)
    }

    /// Whether another turn has something to do at once.
    fn has_work(&self) -> bool {
        !self.ready.is_empty()
            || !self.dirty.is_empty()
            || !self.closing.is_empty()
            || self.arrivals.are_waiting()
            || !self.unplaced.is_empty()
            || self.service.has_work()
            || self.mesh.has_work()
            || self
                .backbone
                .as_ref()
                .is_some_and(backbone::Backbone::is_blocked)
            || self.tokens.have_work()
            || self.presence.has_work()
            || self.journal.holds_acks()
    }
}
