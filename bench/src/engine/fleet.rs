//! The fleet: every client of a run on the rings of one thread.
//!
//! A turn: the workload sends what is due; connects are begun; what was written leaves in
//! batches; completions are taken, at most a bounded number; buffers go back. Without work the
//! thread sleeps until the next event is due or a ring wakes it. With TLS, what was written is
//! sealed when it leaves and opened when it comes; everything above sees plaintext.
//!
//! Invariants: the order of bytes to one client is kept, also over a full socket; a completion
//! of an earlier connection of a client never reaches the next one; heartbeats are answered here.
//!
//! Limits: see `limits`; all of them bound one turn.
//! Runs on: the generator's thread.

use super::client::{Client, Phase};
use super::connect;
use super::link::{Link, NONE};
use super::tls::SecureTable;
use super::workload::{EndCause, Workload};
use crate::limits::{
    CONNECTS_PER_TURN, EVENTS_PER_TURN, SETUP_TIMEOUT_NS, SLEEP_NS_MAX, WAKE_INTERVAL_NS,
};
use crate::sys;
use anyhow::{Context, Result};
use interlink_uring::{EndReason, Event, Kernel, Received, RingGroup, SendOutcome, SocketId};
use rustls::ClientConfig;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// What a connection starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// Nothing: bytes from the start (the bare baselines).
    Bare,
    /// The WebSocket upgrade without subprotocol (the echo path).
    WebSocket,
    /// Upgrade, `Hello`, `Subscribe`.
    Session,
}

/// A fleet's settings.
#[derive(Clone, Debug)]
pub struct FleetConfig {
    /// Where the servers listen, at least one; client number n connects to number n modulo them.
    pub targets: Vec<SocketAddr>,
    /// How connections start.
    pub greeting: Greeting,
    /// Number of clients.
    pub clients: u32,
    /// Clients between first byte and live at once.
    pub unfinished_max: u32,
    /// Number of the first source address.
    pub sources_from: u32,
    /// Seed of keys and nonces.
    pub seed: u64,
    /// What clients offer, when they speak TLS.
    pub tls: Option<Arc<ClientConfig>>,
}

/// Clients on their rings.
pub struct Fleet<K: Kernel> {
    pub(super) kernel: K,
    pub(super) config: FleetConfig,
    pub(super) link: Link,
    pub(super) partials: super::link::Pool,
    pub(super) secure: Option<SecureTable>,
    /// By ring and slot: the client.
    slots: Vec<Vec<u32>>,
    /// Clients in the order of their connects, to find those that take too long.
    beginnings: VecDeque<(u32, u64)>,
    descriptors: Vec<OwnedFd>,
    descriptor_clients: Vec<u32>,
    installed: Vec<Result<SocketId, i32>>,
    pub(super) outcomes: Vec<SendOutcome>,
    /// When the last sleep ended.
    woken_ns: u64,
}

impl<K: Kernel> Fleet<K> {
    /// A fleet without connections.
    pub fn new(kernel: K, config: FleetConfig) -> Self {
        let tls = config.tls.as_ref();
        Self {
            kernel,
            link: Link::new(config.clients, config.seed),
            secure: tls.map(|tls| SecureTable::new(tls, config.clients)),
            config,
            partials: super::link::Pool::default(),
            slots: Vec::new(),
            beginnings: VecDeque::new(),
            descriptors: Vec::new(),
            descriptor_clients: Vec::new(),
            installed: Vec::new(),
            outcomes: Vec::new(),
            woken_ns: 0,
        }
    }

    /// The workload's view, for use between turns.
    pub fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    /// Runs turns until `is_over` says so, asked after each turn.
    pub fn run<W: Workload>(
        &mut self,
        workload: &mut W,
        mut is_over: impl FnMut(&mut W, &mut Link) -> bool,
    ) -> Result<()> {
        loop {
            self.turn(workload)?;
            self.link.now_ns = sys::monotonic_ns();
            if is_over(workload, &mut self.link) {
                return Ok(());
            }
        }
    }

    /// One turn; sleeps at its end when nothing is to be done.
    pub fn turn<W: Workload>(&mut self, workload: &mut W) -> Result<()> {
        self.link.now_ns = sys::monotonic_ns();
        let wake_ns = workload.on_turn(&mut self.link);
        self.close_unwanted();
        let connected = self.connect_wanted(workload)?;
        self.flush(workload);
        self.kernel
            .enter()
            .context("entering the generator's rings")?;
        let mut taken = 0;
        while taken < EVENTS_PER_TURN {
            let Some(event) = self.kernel.next_event() else {
                break;
            };
            taken += 1;
            self.on_event(workload, event);
        }
        self.kernel.end_turn();
        self.expire(workload);
        let through = workload.sleeps_through();
        let is_done = taken == 0 || (through && taken < EVENTS_PER_TURN);
        if is_done && connected == 0 && self.link.ready.is_empty() {
            self.sleep(wake_ns, through)?;
        }
        Ok(())
    }

    fn sleep(&mut self, wake_ns: u64, through: bool) -> Result<()> {
        let now = sys::monotonic_ns();
        if wake_ns <= now {
            return Ok(());
        }
        if through {
            std::thread::sleep(Duration::from_nanos((wake_ns - now).min(SLEEP_NS_MAX)));
            return Ok(());
        }
        // In dense traffic each wake-up would bring a single message, and cost more than it.
        let rested_ns = self.woken_ns + WAKE_INTERVAL_NS;
        if now < rested_ns {
            std::thread::sleep(Duration::from_nanos(rested_ns - now));
            self.woken_ns = rested_ns;
            return Ok(());
        }
        if self.kernel.start_sleep() {
            let pause = (wake_ns - now).min(SLEEP_NS_MAX);
            sys::sleep_on(self.kernel.wake_descriptor(), pause).context("sleeping")?;
        }
        self.kernel.end_sleep();
        self.woken_ns = sys::monotonic_ns();
        Ok(())
    }

    fn connect_wanted<W: Workload>(&mut self, workload: &mut W) -> Result<usize> {
        let mut begun = 0;
        while begun < CONNECTS_PER_TURN && self.link.unfinished < self.config.unfinished_max {
            let Some(client) = self.link.wanted.pop_front() else {
                break;
            };
            // A client that is still closing waits for its slot to be free.
            if self.link.clients[client as usize].phase != Phase::Idle {
                self.link.wanted.push_back(client);
                begun += 1;
                continue;
            }
            let state = &mut self.link.clients[client as usize];
            state.started_ns = sys::monotonic_ns();
            state.phase = Phase::Upgrading;
            self.link.unfinished += 1;
            self.link.totals.connects += 1;
            let target = self.config.targets[client as usize % self.config.targets.len()];
            match connect::begin(self.config.sources_from, client, target) {
                Ok(descriptor) => {
                    self.descriptors.push(descriptor);
                    self.descriptor_clients.push(client);
                }
                Err(error) => {
                    let errno = error.downcast_ref::<std::io::Error>();
                    let errno = errno.and_then(std::io::Error::raw_os_error);
                    self.end(workload, client, EndCause::Socket(errno.unwrap_or(0)));
                }
            }
            begun += 1;
        }
        if !self.descriptors.is_empty() {
            self.install(workload);
        }
        Ok(begun)
    }

    fn install<W: Workload>(&mut self, workload: &mut W) {
        let mut installed = std::mem::take(&mut self.installed);
        let mut clients = std::mem::take(&mut self.descriptor_clients);
        while !self.descriptors.is_empty() {
            self.kernel
                .install(RingGroup::Common, &mut self.descriptors, &mut installed);
            for (client, result) in clients.drain(..installed.len()).zip(&installed) {
                match *result {
                    Ok(socket) => self.start(workload, client, socket),
                    Err(errno) => self.end(workload, client, EndCause::Socket(errno)),
                }
            }
        }
        self.descriptor_clients = clients;
        self.installed = installed;
    }

    fn start<W: Workload>(&mut self, workload: &mut W, client: u32, socket: SocketId) {
        let ring = usize::from(socket.ring());
        let slot = socket.slot() as usize;
        if self.slots.len() <= ring {
            self.slots.resize(ring + 1, Vec::new());
        }
        if self.slots[ring].len() <= slot {
            self.slots[ring].resize(slot + 1, NONE);
        }
        let before = std::mem::replace(&mut self.slots[ring][slot], client);
        if let Some(state) = self.link.clients.get_mut(before as usize) {
            // The slot was free, so its last connection is closed, though the event that says so
            // may still wait behind others.
            let is_same_slot =
                state.socket.ring() == socket.ring() && state.socket.slot() == socket.slot();
            if state.phase == Phase::Closing && is_same_slot {
                state.socket = SocketId::NONE;
                state.phase = Phase::Idle;
            }
        }
        let state = &mut self.link.clients[client as usize];
        state.socket = socket;
        self.beginnings.push_back((client, state.started_ns));
        self.kernel.arm_receive(socket);
        if let Some(secure) = &mut self.secure {
            // Its first record leaves now; what is written meanwhile waits for the handshake.
            if let Err(cause) = secure.begin(client) {
                return self.end(workload, client, cause);
            }
            self.link.mark_ready(client);
        }
        self.open(workload, client);
    }

    /// The client to which an event of a connection belongs, unless the connection is over.
    fn client_of(&self, socket: SocketId) -> Option<u32> {
        let client = *self
            .slots
            .get(usize::from(socket.ring()))?
            .get(socket.slot() as usize)?;
        let state = self.link.clients.get(client as usize)?;
        (state.socket == socket).then_some(client)
    }

    fn on_event<W: Workload>(&mut self, workload: &mut W, event: Event) {
        match event {
            Event::Received { socket, bytes } => self.on_received(workload, socket, &bytes),
            Event::ReceiveEnded { socket, reason } => {
                let Some(client) = self.client_of(socket) else {
                    return;
                };
                let cause = match reason {
                    EndReason::Closed | EndReason::Stopped => EndCause::Closed,
                    EndReason::Failed(errno) => EndCause::Socket(errno),
                };
                self.end(workload, client, cause);
            }
            Event::Writable { socket } => {
                let Some(client) = self.client_of(socket) else {
                    return;
                };
                self.link.clients[client as usize].is_blocked = false;
                if self.has_output(client) {
                    self.link.mark_ready(client);
                }
            }
            Event::Closed { socket } => {
                let Some(client) = self.client_of(socket) else {
                    return;
                };
                let state = &mut self.link.clients[client as usize];
                state.socket = SocketId::NONE;
                state.phase = Phase::Idle;
            }
            // The fleet neither listens nor writes files nor sets timers.
            _ => {}
        }
    }

    fn on_received<W: Workload>(&mut self, workload: &mut W, socket: SocketId, bytes: &Received) {
        let Some(client) = self.client_of(socket) else {
            return;
        };
        if !self.link.clients[client as usize].phase.is_connected() {
            return;
        }
        self.link.now_ns = sys::monotonic_ns();
        self.link.totals.receives += 1;
        self.link.totals.received_bytes += bytes.len() as u64;
        let bytes = self.kernel.bytes_mut(bytes);
        let mut stream = super::stream::Stream {
            link: &mut self.link,
            partials: &mut self.partials,
            config: &self.config,
            workload,
        };
        let result = match &mut self.secure {
            None => stream.take(client, bytes),
            Some(secure) => secure.take(client, bytes, &mut stream),
        };
        if let Err(cause) = result {
            self.end(workload, client, cause);
        }
    }

    fn close_unwanted(&mut self) {
        while let Some(client) = self.link.unwanted.pop() {
            self.release(client);
        }
    }

    /// Ends set-ups that take longer than the limit.
    fn expire<W: Workload>(&mut self, workload: &mut W) {
        while let Some(&(client, started_ns)) = self.beginnings.front() {
            let state = &self.link.clients[client as usize];
            let is_same = state.started_ns == started_ns && state.phase.is_unfinished();
            if is_same && self.link.now_ns.saturating_sub(started_ns) < SETUP_TIMEOUT_NS {
                return;
            }
            self.beginnings.pop_front();
            if is_same {
                self.end(workload, client, EndCause::SetupTimeout);
            }
        }
    }

    /// Ends a connection and tells the workload.
    pub(super) fn end<W: Workload>(&mut self, workload: &mut W, client: u32, cause: EndCause) {
        if self.release(client) {
            workload.on_end(&mut self.link, client, cause);
        }
    }

    /// Closes a connection and frees what it holds; false when there was none.
    fn release(&mut self, client: u32) -> bool {
        let state: &mut Client = &mut self.link.clients[client as usize];
        if !state.phase.is_connected() {
            return false;
        }
        self.link.unfinished -= u32::from(state.phase.is_unfinished());
        self.link.live -= u32::from(state.phase == Phase::Live);
        for (buffer, pool) in [
            (&mut state.outgoing, &mut self.link.outgoing),
            (&mut state.partial, &mut self.partials),
        ] {
            if *buffer != NONE {
                pool.give(*buffer);
                *buffer = NONE;
            }
        }
        state.is_blocked = false;
        state.answers_due = 0;
        if let Some(secure) = &mut self.secure {
            secure.end(client);
        }
        if state.socket == SocketId::NONE {
            state.phase = Phase::Idle;
        } else {
            state.phase = Phase::Closing;
            self.kernel.close(state.socket);
        }
        true
    }

    fn open<W: Workload>(&mut self, workload: &mut W, client: u32) {
        super::stream::Stream {
            link: &mut self.link,
            partials: &mut self.partials,
            config: &self.config,
            workload,
        }
        .open(client);
    }
}
