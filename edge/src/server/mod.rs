//! The node: start in order, wait, stop in order.
//!
//! Start: data directory and lock, keys, control (so that health can be asked from the
//! beginning), shards, ready. Stop, which `conduct` carries out: health says draining, intake
//! ends, what was accepted is settled, clients are sent away, shards end; then control ends.
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
use std::sync::mpsc;
use std::sync::Arc;

use tracing::info;

use crate::config::{Config, MemoryPlan};
use crate::control::{Control, ControlState, Keepers};
use crate::data_dir::DataDirectory;
use crate::exit::{CommandError, Exit};
use crate::gateway::{Gateway, GatewayTask};
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

/// Runs a node, whose shards `launch` starts, until a signal or a failure.
///
/// # Errors
/// Why the node could not start, or which part of it ended by itself.
pub fn run(config: Config, launch: Launch) -> Result<(), CommandError> {
    let config = Arc::new(config);
    // Held here to the end, so that the lock outlives every shard.
    let data = DataDirectory::open(&config.node.data_directory)
        .map_err(|error| CommandError::new(Exit::Data, error))?;
    let data = Arc::new(data);
    let keys = load_keys(&config, data.path())?;
    let tls = load_tls(&config)?;
    let client_address = free_port(config.listen.client_address)?;
    let plan = MemoryPlan::of(&config);
    info!(shards = plan.shards, plan_bytes = plan.bytes(), "starting");

    let (events, inbox) = mpsc::channel();
    let node = Arc::new(NodeState::default());
    let counters: Vec<Arc<ShardCounters>> =
        (0..config.shard_count()).map(|_| Arc::default()).collect();
    let guard = load_guard(&config)?;
    let state = ControlState::new(counters.clone(), Arc::clone(&node), plan.bytes())
        .named(&config.node.name)
        .guarded(guard);
    let mut ports = lanes::mesh::<Message>(config.shard_count() + 1)
        .map_err(|error| CommandError::new(Exit::Config, error))?;
    let gateway = open_gateway(&config, ports.pop(), &node)?;
    let first_start = keys
        .created
        .map(|key| ready::first_token(&config, &key))
        .transpose()
        .map_err(|error| CommandError::new(Exit::Data, error))?;
    let (verifier, revocations) = (keys.keeper.verifier(), keys.keeper.revocations());
    let serving = tls.as_ref().map(TlsKeeper::serving);
    let address = config.listen.control_address;
    let keepers = Keepers {
        keys: keys.keeper,
        tls,
    };
    let control = Control::start(address, state, keepers, gateway, events.clone())
        .map_err(|error| CommandError::new(Exit::Address, error))?;

    let shards = launch(ShardPlan {
        config: Arc::clone(&config),
        verifier,
        revocations,
        tls: serving,
        ports,
        counters: counters.clone(),
        node: Arc::clone(&node),
        data: Arc::clone(&data),
        client_address,
        events,
    })?;
    node.advance(Phase::Ready);
    ready::announce(
        &config,
        client_address,
        control.address(),
        first_start.as_deref(),
    );
    let conduct = Conduct {
        inbox: &inbox,
        shards,
        node: &node,
        counters: &counters,
        drain: config.drain.clone(),
    };
    let outcome = conduct.run();
    control.stop();
    node.advance(Phase::Stopped);
    drop(data);
    outcome
}

/// The control thread's way into the shards, over the last port of the mesh.
fn open_gateway(
    config: &Config,
    port: Option<Port<Message>>,
    node: &Arc<NodeState>,
) -> Result<(Gateway, GatewayTask), CommandError> {
    let port = port.ok_or_else(|| CommandError::new(Exit::Config, "a node needs a shard"))?;
    let namespaces = config
        .namespace_policies()
        .map_err(|error| CommandError::new(Exit::Config, error))?;
    GatewayTask::open(port, Arc::new(namespaces), Arc::clone(node))
        .map_err(|error| CommandError::new(Exit::Host, error))
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
