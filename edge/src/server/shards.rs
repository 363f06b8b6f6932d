//! The seam between the node and its shards: what they get, and how they are stopped.
//!
//! A shard tells its end with [`NodeEvent::ShardEnded`], asked for or not, as the last
//! thing that it does.
//!
//! Runs on: the main thread.

use std::fmt;
use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::sync::Arc;

use super::{NodeEvent, NodeState};
use crate::auth::{Published, Revocations, Verifier};
use crate::config::Config;
use crate::data_dir::DataDirectory;
use crate::telemetry::ShardCounters;
use crate::tls::Serving;

/// What the shards of a node start from.
#[derive(Debug)]
pub struct ShardPlan {
    /// The configuration.
    pub config: Arc<Config>,
    /// Checks tokens.
    pub verifier: Arc<Published<Verifier>>,
    /// Tokens and users that are refused.
    pub revocations: Arc<Published<Revocations>>,
    /// What TLS connections are served with, if the node serves TLS.
    pub tls: Option<Arc<Serving>>,
    /// Shared counters, one for each shard; their number is the number of shards.
    pub counters: Vec<Arc<ShardCounters>>,
    /// State of the node; the journal's recovery moves it to `Recovering`.
    pub node: Arc<NodeState>,
    /// The locked data directory.
    pub data: Arc<DataDirectory>,
    /// Address for clients with its real port.
    pub client_address: SocketAddr,
    /// Where shards tell their end.
    pub events: Sender<NodeEvent>,
}

/// The running shards.
pub struct ShardSet {
    ended: Vec<bool>,
    stop: Box<dyn Fn()>,
    joins: Vec<Box<dyn FnOnce()>>,
}

impl fmt::Debug for ShardSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShardSet({} shards)", self.ended.len())
    }
}

impl ShardSet {
    /// Shards that `stop` asks to stop, without waiting, and of which each has an entry
    /// in `joins` that waits for its thread.
    pub fn new(stop: impl Fn() + 'static, joins: Vec<Box<dyn FnOnce()>>) -> Self {
        Self {
            ended: vec![false; joins.len()],
            stop: Box::new(stop),
            joins,
        }
    }

    /// Asks all shards to stop in order.
    pub fn request_stop(&self) {
        (self.stop)();
    }

    /// Takes note that a shard has told its end.
    pub fn note_end(&mut self, shard: usize) {
        if let Some(ended) = self.ended.get_mut(shard) {
            *ended = true;
        }
    }

    /// True when every shard has told its end.
    pub fn have_ended(&self) -> bool {
        self.ended.iter().all(|ended| *ended)
    }

    /// Waits for the threads. To be called when all have told their end.
    pub fn join(self) {
        for join in self.joins {
            join();
        }
    }
}
