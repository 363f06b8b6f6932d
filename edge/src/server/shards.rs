//! The seam between the node and its shards: what they get, and how they are stopped.
//!
//! A shard tells its end with [`NodeEvent::ShardEnded`], asked for or not, as the last
//! thing that it does.
//!
//! Runs on: the main thread.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::mpsc::Sender;
use std::sync::Arc;

use super::{NodeEvent, NodeState};
use crate::auth::{Published, Revocations, Verifier};
use crate::backbone::BackboneCounts;
use crate::config::Config;
use crate::data_dir::DataDirectory;
use crate::lanes::Port;
use crate::shard::drain::Course;
use crate::shard::Message;
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
    /// The shards' ends of the lanes, one for each, and behind them that of a cluster's relay
    /// thread.
    pub ports: Vec<Port<Message>>,
    /// Shared counters, one for each shard; their number is the number of shards.
    pub counters: Vec<Arc<ShardCounters>>,
    /// Where a cluster's relay thread tells about itself.
    pub backbone: Arc<BackboneCounts>,
    /// State of the node; the journal's recovery moves it to `Recovering`.
    pub node: Arc<NodeState>,
    /// The locked data directory.
    pub data: Arc<DataDirectory>,
    /// Address for clients with its real port.
    pub client_address: SocketAddr,
    /// Sockets of a predecessor on which clients are accepted; without any, new ones are opened.
    pub sockets: Vec<OwnedFd>,
    /// Where shards tell their end.
    pub events: Sender<NodeEvent>,
}

/// What the main thread can do with running shards, without waiting for them.
pub trait Levers {
    /// Tells every shard what to do.
    fn set_course(&self, course: Course);
    /// Whether every shard has settled what it accepted.
    fn are_settled(&self) -> bool;
    /// Gives up the journal of settled shards, of which none writes any more; says whether that
    /// was done in time.
    fn give_up_journal(&self) -> bool;
}

/// The running shards.
pub struct ShardSet {
    ended: Vec<bool>,
    levers: Box<dyn Levers>,
    joins: Vec<Box<dyn FnOnce()>>,
    sockets: Vec<OwnedFd>,
}

impl fmt::Debug for ShardSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShardSet({} shards)", self.ended.len())
    }
}

impl ShardSet {
    /// Shards that `levers` direct, of which each has an entry in `joins` that waits for its
    /// thread, and which accept on `sockets`.
    pub fn new(
        levers: impl Levers + 'static,
        joins: Vec<Box<dyn FnOnce()>>,
        sockets: Vec<OwnedFd>,
    ) -> Self {
        Self {
            ended: vec![false; joins.len()],
            levers: Box::new(levers),
            joins,
            sockets,
        }
    }

    /// The sockets on which the shards accept.
    pub fn sockets(&self) -> &[OwnedFd] {
        &self.sockets
    }

    /// Lets go of the sockets, so that the port is free once the shards have too.
    pub fn close_sockets(&mut self) {
        self.sockets.clear();
    }

    /// Gives up the journal of settled shards; says whether that was done in time.
    pub fn give_up_journal(&self) -> bool {
        self.levers.give_up_journal()
    }

    /// Tells every shard what to do.
    pub fn set_course(&self, course: Course) {
        self.levers.set_course(course);
    }

    /// Whether every shard has settled what it accepted.
    pub fn are_settled(&self) -> bool {
        self.levers.are_settled()
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
        // The levers may hold what a thread waits to see dropped.
        drop(self.levers);
        for join in self.joins {
            join();
        }
    }
}
