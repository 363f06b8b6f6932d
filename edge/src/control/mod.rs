//! The control endpoint: metrics and health over HTTP, away from the data path.
//!
//! `GET /metrics` is the Prometheus text format; `/livez` says whether every shard has
//! turned within the last two seconds; `/readyz` whether the node serves clients;
//! `POST /v1/drain` empties the node and ends it in order.
//! Signals are received here too and passed to the main thread; SIGHUP reads keys and
//! revocations again, which are kept up to date here. The thread's lanes to the shards are
//! served here as well (`gateway`), and the server API (`api`); what the node says about itself
//! on `sys.status` and `sys.metrics` is published from here (`status`).
//!
//! Invariant: without a token ([`guard`]) it listens on loopback addresses only.
//! Runs on: one thread "control" with a current-thread tokio runtime.

pub(crate) mod expose;
pub mod guard;
mod http;
mod pulse;
mod signals;
pub mod status;
#[cfg(test)]
mod tests;

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{oneshot, watch};

use crate::api::{Api, ApiCounts};
use crate::auth::{Keeper, KeeperCounts};
use crate::backbone::BackboneCounts;
use crate::gateway::{Gateway, GatewayTask};
use crate::hand_over::Endpoints;
use crate::server::{NodeEvent, NodeState};
use crate::telemetry::ShardCounters;
use crate::tls::{TlsCounts, TlsKeeper};
use guard::Guard;
use pulse::Pulse;
use status::Facts;

/// Why the control endpoint cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The address is reachable from elsewhere.
    #[error(
        "control address {0} is not a loopback address and the control endpoint has no \
         authentication; name a file with a token in listen.control_token_file, or use 127.0.0.1 \
         and let an agent on this host reach it"
    )]
    NotLoopback(SocketAddr),
    /// The address cannot be bound.
    #[error(
        "cannot listen on control address {address}: {source}; another node may run there, \
         choose another address with --control"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The thread or its runtime cannot start.
    #[error("cannot start the control thread: {0}; check the limits of threads and descriptors")]
    Thread(std::io::Error),
}

/// What the endpoint shows.
#[derive(Debug)]
pub struct ControlState {
    counters: Vec<Arc<ShardCounters>>,
    node: Arc<NodeState>,
    facts: Facts,
    keys: Arc<KeeperCounts>,
    tls: Option<Arc<TlsCounts>>,
    api: Arc<ApiCounts>,
    backbone: Arc<BackboneCounts>,
    events: Option<Sender<NodeEvent>>,
    /// The way into the shards, once the thread runs.
    gateway: Option<Gateway>,
    guard: Option<Guard>,
    /// Only the control thread locks it.
    pulse: Mutex<Pulse>,
}

impl ControlState {
    /// State of a node with these shards.
    pub fn new(counters: Vec<Arc<ShardCounters>>, node: Arc<NodeState>, plan_bytes: u64) -> Self {
        let pulse = Mutex::new(Pulse::new(counters.len(), Instant::now()));
        Self {
            counters,
            node,
            facts: Facts::new(plan_bytes),
            keys: Arc::default(),
            tls: None,
            api: Arc::default(),
            backbone: Arc::default(),
            events: None,
            gateway: None,
            guard: None,
            pulse,
        }
    }

    /// The state of a node with this name.
    pub fn named(mut self, name: &str) -> Self {
        self.facts.node = name.to_owned();
        self
    }

    /// The state of a node whose relay thread writes these.
    pub fn in_cluster(mut self, counts: Arc<BackboneCounts>) -> Self {
        self.backbone = counts;
        self
    }

    /// The way into the shards; none before the thread starts.
    pub fn gateway(&self) -> Option<&Gateway> {
        self.gateway.as_ref()
    }

    /// Serves only who names the token, if there is one.
    pub fn guarded(mut self, guard: Option<Guard>) -> Self {
        self.guard = guard;
        self
    }

    /// Looks at the shards and returns those that stand still.
    fn observe(&self, now: Instant) -> Vec<usize> {
        let mut pulse = match self.pulse.lock() {
            Ok(pulse) => pulse,
            // A panic ends the process, so nobody can have left the lock poisoned.
            Err(poisoned) => poisoned.into_inner(),
        };
        pulse.observe(self.counters.iter().map(|counters| counters.turns()), now);
        pulse.standing_still(now)
    }
}

/// What is kept up to date on the control thread.
#[derive(Debug)]
pub struct Keepers {
    /// Keys of tokens, and revocations.
    pub keys: Keeper,
    /// Certificates, if the node serves TLS.
    pub tls: Option<TlsKeeper>,
}

impl Keepers {
    /// Runs for ever; returns only when signals cannot be received.
    async fn run(self) -> std::io::Result<()> {
        let keys = self.keys.run();
        let Some(tls) = self.tls else {
            return keys.await;
        };
        tokio::select! {
            result = keys => result,
            result = tls.run() => result,
        }
    }
}

/// The running endpoint.
#[derive(Debug)]
pub struct Control {
    address: SocketAddr,
    sockets: Option<Endpoints>,
    close: watch::Sender<bool>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Control {
    /// Binds the address and starts the thread.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn start(
        address: SocketAddr,
        state: ControlState,
        keepers: Keepers,
        gateway: (Gateway, GatewayTask),
        tasks: (Api, Sender<NodeEvent>),
    ) -> Result<Self, ControlError> {
        if !address.ip().is_loopback() && state.guard.is_none() {
            return Err(ControlError::NotLoopback(address));
        }
        let bind = |source| ControlError::Bind { address, source };
        let listener = TcpListener::bind(address).map_err(bind)?;
        Self::serve(listener, state, keepers, gateway, tasks)
    }

    /// Starts the thread on a socket that listens already.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn serve(
        listener: TcpListener,
        mut state: ControlState,
        keepers: Keepers,
        (gateway, task): (Gateway, GatewayTask),
        (api, events): (Api, Sender<NodeEvent>),
    ) -> Result<Self, ControlError> {
        let address = listener.local_addr().map_err(ControlError::Thread)?;
        let bind = |source| ControlError::Bind { address, source };
        listener.set_nonblocking(true).map_err(bind)?;
        let sockets = Endpoints {
            control: listener.try_clone().map_err(bind)?,
            api: api.socket().try_clone().map_err(ControlError::Thread)?,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ControlError::Thread)?;
        state.keys = keepers.keys.counts();
        state.events = Some(events.clone());
        state.tls = keepers.tls.as_ref().map(TlsKeeper::counts);
        state.api = api.counts();
        state.gateway = Some(gateway);
        let (stop, stopped) = oneshot::channel();
        let (close, closed) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                let ends = http::Ends {
                    stopped,
                    closed: closed.clone(),
                };
                let served = runtime.block_on(async {
                    tokio::select! {
                        result = http::serve(listener, state, keepers, &events, ends) => result,
                        result = task.run() => result,
                        result = api.serve(closed) => result,
                    }
                });
                if let Err(error) = served {
                    // The main thread may have ended already.
                    let _ = events.send(NodeEvent::ControlEnded(error.to_string()));
                }
            })
            .map_err(ControlError::Thread)?;
        Ok(Self {
            address,
            sockets: Some(sockets),
            close,
            stop,
            thread,
        })
    }

    /// The address with its real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The listening sockets, until they are closed.
    pub fn sockets(&self) -> Option<&Endpoints> {
        self.sockets.as_ref()
    }

    /// Takes no more requests, so that another process answers on the addresses of the endpoint
    /// and of the server API. Signals and keys are still looked after.
    pub fn close(&mut self) {
        self.sockets = None;
        self.close.send_replace(true);
    }

    /// Ends the endpoint and waits for its thread.
    pub fn stop(self) {
        // An error means that the thread has ended by itself.
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}
