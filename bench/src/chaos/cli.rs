//! The command line of `chaos`.
//!
//! Runs on: the main thread, before anything else.

use crate::cli::RunOptions;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Forms of Redis in which a master can fail over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Forms {
    /// Sentinel, then Cluster.
    #[default]
    Both,
    /// A master with two replicas and three Sentinels.
    Sentinel,
    /// Three masters with a replica each.
    Cluster,
}

/// Clients of a chaos run, beside the options of every run.
#[derive(Clone, Debug, Args)]
pub struct ChaosOptions {
    /// Users, each with a client of the SDK. Example: --users 300
    #[arg(long, default_value_t = 300)]
    pub users: usize,
    /// Keep the clients' histories in this folder. Example: --histories histories
    #[arg(long, value_name = "DIR")]
    pub histories: Option<PathBuf>,
    /// Options of every run.
    #[command(flatten)]
    pub run: RunOptions,
}

/// What fails.
#[derive(Clone, Debug, Subcommand)]
pub enum ChaosScenario {
    /// A node is killed and started again, in turn, while its clients go to the others.
    EdgeKill {
        /// Kills. Example: --rounds 20
        #[arg(long, default_value_t = 20)]
        rounds: u32,
        /// Nodes; 1 is a node without outside systems. Example: --nodes 3
        #[arg(long, default_value_t = 2)]
        nodes: usize,
        /// Clients and run.
        #[command(flatten)]
        options: ChaosOptions,
    },
    /// A node is killed and never comes back, and neither does its disk.
    EdgeLoss {
        /// Nodes. Example: --nodes 3
        #[arg(long, default_value_t = 3)]
        nodes: usize,
        /// Clients and run.
        #[command(flatten)]
        options: ChaosOptions,
    },
    /// A Redis master is killed, a replica is promoted, the old master comes back.
    RedisFailover {
        /// Kills in each form. Example: --rounds 20
        #[arg(long, default_value_t = 20)]
        rounds: u32,
        /// Forms of Redis.
        #[arg(long, value_enum, default_value_t)]
        form: Forms,
        /// Clients and run.
        #[command(flatten)]
        options: ChaosOptions,
    },
    /// Redis loses everything: by a command, and by a restart on an empty disk.
    RedisEmpty {
        /// Clients and run.
        #[command(flatten)]
        options: ChaosOptions,
    },
    /// The connection by which a node gets events goes silent, then the whole path to Redis.
    WedgedPubsub {
        /// Times that each of both is done. Example: --rounds 3
        #[arg(long, default_value_t = 3)]
        rounds: u32,
        /// Clients and run.
        #[command(flatten)]
        options: ChaosOptions,
    },
    /// The path from a node to Redis is slow, loses bytes, is reset, is half open.
    RedisPath {
        /// Clients and run.
        #[command(flatten)]
        options: ChaosOptions,
    },
    /// Each of three brokers is killed in turn and comes back.
    KafkaLoss {
        /// Clients and run.
        #[command(flatten)]
        options: ChaosOptions,
    },
    /// All brokers are away for a time.
    KafkaOutage {
        /// For how long. Example: --seconds 60
        #[arg(long, default_value_t = 60.0)]
        seconds: f64,
        /// Clients and run.
        #[command(flatten)]
        options: ChaosOptions,
    },
    /// Each node is stopped in order and started again.
    RollingRestart {
        /// Nodes. Example: --nodes 3
        #[arg(long, default_value_t = 3)]
        nodes: usize,
        /// Clients that a node sends away in a second. Example: --reconnects 50
        #[arg(long, default_value_t = 50)]
        reconnects: u32,
        /// Clients and run.
        #[command(flatten)]
        options: ChaosOptions,
    },
}

impl ChaosScenario {
    /// Clients and run.
    pub fn options(&self) -> &ChaosOptions {
        match self {
            Self::EdgeKill { options, .. }
            | Self::EdgeLoss { options, .. }
            | Self::RedisFailover { options, .. }
            | Self::RedisEmpty { options }
            | Self::WedgedPubsub { options, .. }
            | Self::RedisPath { options }
            | Self::KafkaLoss { options }
            | Self::KafkaOutage { options, .. }
            | Self::RollingRestart { options, .. } => options,
        }
    }

    /// Name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::EdgeKill { .. } => "edge-kill",
            Self::EdgeLoss { .. } => "edge-loss",
            Self::RedisFailover { .. } => "redis-failover",
            Self::RedisEmpty { .. } => "redis-empty",
            Self::WedgedPubsub { .. } => "wedged-pubsub",
            Self::RedisPath { .. } => "redis-path",
            Self::KafkaLoss { .. } => "kafka-loss",
            Self::KafkaOutage { .. } => "kafka-outage",
            Self::RollingRestart { .. } => "rolling-restart",
        }
    }

    /// Its own options as words.
    pub fn parameters(&self) -> String {
        let own = match self {
            Self::EdgeKill { rounds, nodes, .. } => format!("rounds={rounds} nodes={nodes}"),
            Self::EdgeLoss { nodes, .. } => format!("nodes={nodes}"),
            Self::RedisFailover { rounds, form, .. } => format!("rounds={rounds} form={form:?}"),
            Self::WedgedPubsub { rounds, .. } => format!("rounds={rounds}"),
            Self::KafkaOutage { seconds, .. } => format!("seconds={seconds}"),
            Self::RollingRestart {
                nodes, reconnects, ..
            } => format!("nodes={nodes} reconnects={reconnects}"),
            Self::RedisEmpty { .. } | Self::RedisPath { .. } | Self::KafkaLoss { .. } => {
                String::new()
            }
        };
        format!("{own} users={}", self.options().users)
            .trim()
            .to_owned()
    }
}
