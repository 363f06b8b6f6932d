//! The node: start in order, wait, stop in order.
//!
//! Start: data directory and lock, keys, control (so that health can be asked from the
//! beginning), shards, ready. Stop: health says draining, shards stop accepting, stop
//! intake, flush the journal and close; then control ends.
//!
//! Invariant: a node that is ready has replayed its journal and listens.
//! Limits: shards get `STOP_TIME` to stop; the process ends then in any case.
//! Runs on: the main thread.

mod identity;
pub mod node;
mod ready;
pub mod shards;
#[cfg(test)]
mod tests;

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use crate::config::{Config, MemoryPlan};
use crate::control::{Control, ControlState, Keepers};
use crate::data_dir::DataDirectory;
use crate::exit::{CommandError, Exit};
use crate::telemetry::ShardCounters;
use crate::tls::TlsKeeper;

pub use identity::{load_keys, load_tls, Keys};
pub use node::{NodeEvent, NodeState, Phase};
pub use ready::unix_seconds;
pub use shards::{ShardPlan, ShardSet};

/// Time that shards get to stop: a full flush of the journal takes milliseconds, the
/// close handshakes of many clients a few seconds.
pub const STOP_TIME: Duration = Duration::from_secs(10);

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
    let state = ControlState::new(counters.clone(), Arc::clone(&node), plan.bytes());
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
    let control = Control::start(address, state, keepers, events.clone())
        .map_err(|error| CommandError::new(Exit::Address, error))?;

    let mut shards = launch(ShardPlan {
        config: Arc::clone(&config),
        verifier,
        revocations,
        tls: serving,
        counters,
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
    let cause = wait(&inbox, &mut shards);
    let stopped = stop(shards, &node, &inbox);
    control.stop();
    node.advance(Phase::Stopped);
    drop(data);
    cause.and(stopped)
}

/// Waits for a signal, or for a part that ends by itself.
fn wait(inbox: &Receiver<NodeEvent>, shards: &mut ShardSet) -> Result<(), CommandError> {
    let event = inbox.recv();
    if let Ok(NodeEvent::ShardEnded { shard, .. }) = event {
        shards.note_end(shard);
    }
    match event {
        Ok(NodeEvent::Signal(name)) => {
            info!(signal = name, "stopping");
            Ok(())
        }
        Ok(event @ (NodeEvent::ShardEnded { .. } | NodeEvent::ControlEnded(_))) => {
            error!(%event, "stopping because a part of the node has ended");
            Err(CommandError::new(Exit::Broken, event)
                .cure("see the log lines before; start the node again, it recovers its journal"))
        }
        Err(_) => Err(CommandError::new(
            Exit::Broken,
            "every part of the node has ended",
        )),
    }
}

/// Stops the shards in order. A second signal ends the process at once: what was
/// acknowledged is on disk.
fn stop(
    mut shards: ShardSet,
    node: &NodeState,
    inbox: &Receiver<NodeEvent>,
) -> Result<(), CommandError> {
    node.advance(Phase::Draining);
    shards.request_stop();
    let deadline = Instant::now() + STOP_TIME;
    while !shards.have_ended() {
        match inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(NodeEvent::Signal(name)) => {
                warn!(signal = name, "second signal: ending without waiting");
                return Ok(());
            }
            Ok(NodeEvent::ShardEnded { shard, error }) => {
                info!(shard, error = error.as_deref(), "shard ended");
                shards.note_end(shard);
            }
            Ok(NodeEvent::ControlEnded(reason)) => warn!(reason, "control ended"),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                let seconds = STOP_TIME.as_secs();
                return Err(CommandError::new(
                    Exit::Broken,
                    format!("shards did not stop within {seconds} s"),
                ));
            }
        }
    }
    shards.join();
    Ok(())
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
