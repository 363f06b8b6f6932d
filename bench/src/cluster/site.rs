//! A whole cluster for one run: its outside systems and its nodes.
//!
//! Purpose: what every cluster and chaos scenario starts from. All nodes take the tokens of one
//! key, have names of their own, and stand on the edge's core; the stand is on the generator's.
//! Invariants: nodes are dropped before the stand, so that none is left to complain.
//! Limits: `limits::NODES_MAX` nodes, which have four ports each.
//!
//! Runs on: the bench's main thread.

use crate::engine::signing_key::{key_set, SigningKey};
use crate::engine::token::{Signer, ISSUER};
use crate::limits::{NODES_MAX, NODE_PORTS, PROXY_PORT_OFFSET};
use crate::scenarios::bench::Bench;
use crate::servers::certificates::replace;
use crate::servers::{ClusterPart, EdgeServer, FaultProxy, KeysOf, RedisAt};
use crate::stand::{Parts, Server, Stand};
use anyhow::{ensure, Context, Result};
use std::net::SocketAddr;

use super::topics;

/// The form of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One server.
    Single,
    /// One server, each node behind a fault proxy of its own.
    Proxied,
    /// A master and two replicas, watched by three Sentinels.
    Sentinel,
    /// Three masters with a replica each.
    Cluster,
}

/// What a scenario wants.
#[derive(Clone, Debug)]
pub struct SitePlan {
    /// Nodes. One node stands alone, without outside systems.
    pub nodes: usize,
    /// Redis.
    pub redis: Form,
    /// Brokers: 1 or 3.
    pub brokers: usize,
    /// Sessions of each node at most.
    pub sessions: u32,
    /// Clients that a draining node sends away in a second; `None` is the default.
    pub reconnects_per_second: Option<u32>,
    /// Name of the region.
    pub region: &'static str,
    /// Number of the site in this run: its ports and folders differ by it.
    pub number: u16,
}

impl SitePlan {
    /// Nodes on one Redis and one broker.
    pub fn new(nodes: usize, sessions: u32) -> Self {
        Self {
            nodes,
            redis: Form::Single,
            brokers: 1,
            sessions,
            reconnects_per_second: None,
            region: "local",
            number: 0,
        }
    }
}

/// A running cluster.
pub struct Site {
    /// The nodes.
    pub nodes: Vec<EdgeServer>,
    /// For each node its path to Redis, with [`Form::Proxied`].
    pub proxies: Vec<FaultProxy>,
    /// Signs tokens that all nodes take.
    pub signer: Signer,
    /// The outside systems; a single node has none.
    pub stand: Option<Stand>,
}

impl Site {
    /// Starts a stand, makes its topics, and starts the nodes.
    pub fn build(bench: &mut Bench, plan: &SitePlan) -> Result<Self> {
        ensure!(
            (1..=NODES_MAX).contains(&plan.nodes),
            "--nodes must be 1 to {NODES_MAX}"
        );
        let key = SigningKey::make("bench")?;
        let keys = bench.folder().join(format!("keys-{}.json", plan.number));
        replace(&keys, &key_set(&[&key]))?;
        let mut site = Self {
            nodes: Vec::new(),
            proxies: Vec::new(),
            signer: key.signer(ISSUER)?,
            stand: None,
        };
        if plan.nodes > 1 {
            site.start_stand(bench, plan)?;
        }
        for number in 0..plan.nodes {
            let part = site.cluster_part(plan, number)?;
            let (listen, control) = node_addresses(bench, plan, number);
            let node = bench.start_edge_with(plan.sessions, |config| {
                config.listen = listen;
                config.control = control;
                config.keys = KeysOf::File(keys.clone());
                config.reconnects_per_second = plan.reconnects_per_second;
                config.cluster = part;
            });
            let node = node.with_context(|| format!("starting node {}", number + 1))?;
            site.nodes.push(node);
        }
        Ok(site)
    }

    fn start_stand(&mut self, bench: &mut Bench, plan: &SitePlan) -> Result<()> {
        let redis = match plan.redis {
            Form::Single | Form::Proxied => "redis",
            Form::Sentinel => "redis-sentinel",
            Form::Cluster => "redis-cluster",
        };
        let kafka = if plan.brokers > 1 { "kafka3" } else { "kafka" };
        bench.progress.say(format!("starting {redis} and {kafka}"));
        let directory = bench.folder().join(format!("stand-{}", plan.number));
        let ports = (bench.options.port, plan.number);
        let core = bench.options.generator_core;
        let stand = Stand::up(&directory, &[redis, kafka], ports, core)?;
        topics::apply(bench, &stand.parts.kafka.brokers)?;
        if plan.redis == Form::Proxied {
            let single = stand.parts.redis.single.as_ref();
            let target = single.context("the stand has no Redis")?.address;
            for number in 0..plan.nodes as u16 {
                let listen = bench.address(PROXY_PORT_OFFSET + number);
                self.proxies.push(FaultProxy::start(listen, target, core)?);
            }
        }
        self.stand = Some(stand);
        Ok(())
    }

    fn cluster_part(&self, plan: &SitePlan, number: usize) -> Result<Option<ClusterPart>> {
        let Some(stand) = &self.stand else {
            return Ok(None);
        };
        let parts = &stand.parts;
        let redis = match self.proxies.get(number) {
            Some(proxy) => RedisAt::Single(proxy.address),
            None => redis_at(parts)?,
        };
        let name = format!("{}-{}", plan.region, number + 1);
        Ok(Some(ClusterPart {
            name,
            region: plan.region.to_owned(),
            redis,
            brokers: addresses(&parts.kafka.brokers),
        }))
    }

    /// Where clients connect.
    pub fn listens(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.config.listen).collect()
    }

    /// Process ids of the nodes.
    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(EdgeServer::pid).collect()
    }

    /// The outside systems.
    pub fn stand(&mut self) -> Result<&mut Stand> {
        let stand = self.stand.as_mut();
        stand.context("a single node has no outside systems: use --nodes 2 or more")
    }
}

/// Where a node listens for clients, and for metrics.
fn node_addresses(bench: &Bench, plan: &SitePlan, number: usize) -> (SocketAddr, SocketAddr) {
    let place = usize::from(plan.number) * NODES_MAX + number;
    let first = place as u16 * NODE_PORTS;
    (bench.address(first), bench.address(first + 1))
}

fn addresses(servers: &[Server]) -> Vec<SocketAddr> {
    servers.iter().map(|server| server.address).collect()
}

/// How nodes reach the Redis of a stand.
fn redis_at(parts: &Parts) -> Result<RedisAt> {
    let redis = &parts.redis;
    if let Some(sentinel) = &redis.sentinel {
        return Ok(RedisAt::Sentinel {
            master: sentinel.master.clone(),
            sentinels: addresses(&sentinel.sentinels),
        });
    }
    if let Some(cluster) = &redis.cluster {
        return Ok(RedisAt::Cluster(addresses(&cluster.nodes)));
    }
    let single = redis.single.as_ref().context("the stand has no Redis")?;
    Ok(RedisAt::Single(single.address))
}
