//! The node: start in order, wait, stop in order.
//!
//! Start: data directory and lock, keys, control (so that health can be asked from the
//! beginning), shards, ready; a process that takes over reads its keys first and gets lock and
//! addresses from its predecessor (`crate::hand_over`). Stop, which `conduct` carries
//! out: health says draining, intake ends, what was accepted is settled, clients are sent away,
//! shards end; then control ends.
//!
//! Invariant: a node that is ready has replayed its journal and listens.
//! Runs on: the main thread.

mod conduct;
mod giving;
mod identity;
pub mod node;
mod ready;
pub mod shards;
#[cfg(test)]
mod tests;

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, Sender};
use std::sync::Arc;

use tracing::info;

use crate::api::{Api, ApiPlan, Bounds, Callers};
use crate::auth::Key;
use crate::backbone::BackboneCounts;
use crate::config::{Config, MemoryPlan};
use crate::control::{Control, ControlState, Keepers};
use crate::data_dir::DataDirectory;
use crate::exit::{CommandError, Exit};
use crate::gateway::{Gateway, GatewayTask};
use crate::hand_over::{Door, Inherited, Successor};
use crate::lanes::{self, Port};
use crate::shard::Message;
use crate::telemetry::ShardCounters;
use crate::tls::TlsKeeper;
use conduct::Conduct;

pub use identity::{load_guard, load_keys, load_tls, Keys};
pub use node::{NodeEvent, NodeState, Phase};
pub use ready::unix_seconds;
pub use shards::{Levers, ShardPlan, ShardSet};

/// Starts the shards of a plan; returns when all of them listen.
pub type Launch = fn(ShardPlan) -> Result<ShardSet, CommandError>;

/// How a node starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// On a data directory that nobody uses.
    Alone,
    /// After the node that runs on the data directory, if there is one.
    TakeOver,
}

/// Runs a node, whose shards `launch` starts, until a signal or a failure.
///
/// # Errors
/// Why the node could not start, or which part of it ended by itself.
pub fn run(config: Config, entry: Entry, launch: Launch) -> Result<(), CommandError> {
    let config = Arc::new(config);
    let Entered {
        mut successor,
        mut inherited,
        client_address,
        keys,
        tls,
        data,
    } = enter(&config, entry)?;
    // Held to the end or until it is given up, so that the lock outlives every shard.
    let data = Arc::new(data);
    let plan = MemoryPlan::of(&config);
    info!(shards = plan.shards, plan_bytes = plan.bytes(), "starting");

    let (events, inbox) = mpsc::channel();
    let node = Arc::new(NodeState::default());
    let counters: Vec<Arc<ShardCounters>> =
        (0..config.shard_count()).map(|_| Arc::default()).collect();
    let backbone = Arc::<BackboneCounts>::default();
    let state = ControlState::new(counters.clone(), Arc::clone(&node), plan.bytes());
    let state = told_by(state, &config, &backbone)?;
    let (ports, gateway) = open_ports(&config, &node)?;
    let first_start = first_token(&config, keys.created.as_ref())?;
    let (verifier, revocations) = (keys.keeper.verifier(), keys.keeper.revocations());
    let serving = tls.as_ref().map(TlsKeeper::serving);
    let keys = keys.keeper;
    let keepers = Keepers { keys, tls };
    let (api, api_address) = open_api(&config, &mut inherited, &keepers, gateway.0.clone())?;
    let socket = inherited.take_control(config.listen.control_address);
    let tasks = (api, events.clone());
    let mut control = open_control(&config, socket, state, keepers, gateway, tasks)?;
    open_door(&data, events.clone())?;
    let shards = launch(ShardPlan {
        config: Arc::clone(&config),
        verifier,
        revocations,
        tls: serving,
        ports,
        counters: counters.clone(),
        backbone,
        node: Arc::clone(&node),
        data: Arc::clone(&data),
        client_address,
        sockets: inherited.clients,
        events,
    })?;
    node.advance(Phase::Ready);
    successor.tell_ready();
    ready::announce(
        &config,
        client_address,
        (control.address(), api_address),
        first_start.as_deref(),
    );
    let outcome = Conduct {
        inbox: &inbox,
        shards,
        node: &node,
        counters: &counters,
        drain: config.drain.clone(),
        control: &mut control,
        data: Some(data),
    }
    .run();
    control.stop();
    node.advance(Phase::Stopped);
    outcome
}

/// What the control port tells beside the counters of shards, and whom it asks for a token.
fn told_by(
    state: ControlState,
    config: &Config,
    backbone: &Arc<BackboneCounts>,
) -> Result<ControlState, CommandError> {
    let state = state.named(&config.node.name);
    let state = state.in_cluster(Arc::clone(backbone));
    Ok(state.guarded(load_guard(config)?))
}

/// The ends of the lanes of shards and relay thread, and the control thread's way into the shards.
type Ports = (Vec<Port<Message>>, (Gateway, GatewayTask));

/// The lanes of the shards, behind them that of a cluster's relay thread, and over the last port
/// of the mesh the control thread's way to the shards.
fn open_ports(config: &Config, node: &Arc<NodeState>) -> Result<Ports, CommandError> {
    let shards = config.shard_count();
    let relays = usize::from(config.is_clustered());
    let mut ports = lanes::mesh::<Message>(shards + relays + 1)
        .map_err(|error| CommandError::new(Exit::Config, error))?;
    let port = ports
        .pop()
        .ok_or_else(|| CommandError::new(Exit::Config, "a node needs a shard"))?;
    let namespaces = config
        .namespace_policies()
        .map_err(|error| CommandError::new(Exit::Config, error))?;
    let namespaces = Arc::new(namespaces);
    let gateway = GatewayTask::open(port, shards as u16, namespaces, Arc::clone(node))
        .map_err(|error| CommandError::new(Exit::Host, error))?;
    Ok((ports, gateway))
}

/// Opens the way for a successor; one that calls before this node serves waits.
fn open_door(data: &DataDirectory, events: Sender<NodeEvent>) -> Result<(), CommandError> {
    Door::open(data.path(), events).map_err(|error| CommandError::new(Exit::Data, error))
}

/// The control endpoint, on the predecessor's socket if there is one.
fn open_control(
    config: &Config,
    socket: Option<TcpListener>,
    state: ControlState,
    keepers: Keepers,
    gateway: (Gateway, GatewayTask),
    tasks: (Api, Sender<NodeEvent>),
) -> Result<Control, CommandError> {
    match socket {
        Some(socket) => Control::serve(socket, state, keepers, gateway, tasks),
        None => Control::start(
            config.listen.control_address,
            state,
            keepers,
            gateway,
            tasks,
        ),
    }
    .map_err(|error| CommandError::new(Exit::Address, error))
}

/// A token for the first start, which has made the development key.
fn first_token(config: &Config, created: Option<&Key>) -> Result<Option<String>, CommandError> {
    created
        .map(|key| ready::first_token(config, key))
        .transpose()
        .map_err(|error| CommandError::new(Exit::Data, error))
}

/// What a process has when the data directory is its own.
struct Entered {
    successor: Successor,
    inherited: Inherited,
    client_address: SocketAddr,
    keys: Keys,
    tls: Option<TlsKeeper>,
    data: DataDirectory,
}

/// Locks the data directory and reads keys and certificates; a process that takes over reads
/// them first, while its predecessor serves.
fn enter(config: &Config, entry: Entry) -> Result<Entered, CommandError> {
    let path = &config.node.data_directory;
    let (mut successor, inherited) = match entry {
        Entry::Alone => (Successor::alone(), Inherited::default()),
        Entry::TakeOver => Successor::call(path, config.drain.settlement)?,
    };
    let mut data = None;
    if successor.is_alone() {
        data = Some(successor.lock(path)?);
    }
    let wanted = config.listen.client_address;
    let client_address = match inherited.client_address(wanted)? {
        Some(address) => address,
        None => free_port(wanted)?,
    };
    let keys = load_keys(config, path)?;
    let tls = load_tls(config)?;
    let data = match data {
        Some(data) => data,
        None => {
            successor.await_release()?;
            successor.lock(path)?
        }
    };
    Ok(Entered {
        successor,
        inherited,
        client_address,
        keys,
        tls,
        data,
    })
}

/// The server API, on the predecessor's socket if there is one, and its address.
fn open_api(
    config: &Config,
    inherited: &mut Inherited,
    keepers: &Keepers,
    gateway: Gateway,
) -> Result<(Api, SocketAddr), CommandError> {
    let address = config.listen.api_address;
    let opened = Api::open(ApiPlan {
        address,
        socket: inherited.take_api(address),
        callers: Callers {
            verifier: keepers.keys.verifier(),
            revocations: keepers.keys.revocations(),
        },
        tls: keepers.tls.as_ref().map(TlsKeeper::serving),
        gateway,
        revoker: keepers.keys.revoker(),
        bounds: Bounds::default(),
    });
    opened
        .and_then(|api| Ok((api.address()?, api)))
        .map(|(address, api)| (api, address))
        .map_err(|error| {
            let problem = format!("cannot listen on API address {address}: {error}");
            CommandError::new(Exit::Address, problem)
                .cure("another node may run there; choose another address with --api")
        })
}

/// The address with a real port: port 0 is replaced by one that is free now.
fn free_port(address: SocketAddr) -> Result<SocketAddr, CommandError> {
    if address.port() != 0 {
        return Ok(address);
    }
    TcpListener::bind(address)
        .and_then(|listener| listener.local_addr())
        .map_err(|error| {
            CommandError::new(Exit::Address, format!("cannot bind {address}: {error}"))
                .cure("choose an address of this host with --listen")
        })
}
