//! The command line of `cluster`.
//!
//! Runs on: the main thread, before anything else.

use crate::cli::RunOptions;
use clap::Subcommand;

/// What is measured of a cluster.
#[derive(Clone, Debug, Subcommand)]
pub enum ClusterScenario {
    /// Direct chats between users of different nodes: capacity, then latency at half of it.
    Latency {
        /// Nodes. Example: --nodes 2
        #[arg(long, default_value_t = 2)]
        nodes: usize,
        /// Users. Example: --users 2000
        #[arg(long, default_value_t = 2_000)]
        users: u32,
        /// Events a second instead of half the capacity; the search is skipped.
        #[arg(long, value_name = "RATE")]
        half_load: Option<f64>,
        /// Options of every run.
        #[command(flatten)]
        options: RunOptions,
    },
    /// As many durable events as all parts on this machine carry.
    Throughput {
        /// Nodes. Example: --nodes 2
        #[arg(long, default_value_t = 2)]
        nodes: usize,
        /// Seconds of the measured run. Example: --seconds 60
        #[arg(long, default_value_t = 60.0)]
        seconds: f64,
        /// Publishing connections. Example: --connections 256
        #[arg(long, default_value_t = 256)]
        connections: u32,
        /// Publishes of each connection that are not settled. Example: --window 128
        #[arg(long, default_value_t = 128)]
        window: u32,
        /// Options of every run.
        #[command(flatten)]
        options: RunOptions,
    },
    /// Chats between two regions while the bridges between them are killed and started again.
    #[command(after_help = "Example: interlink-bench cluster regions --seconds 60 --json -")]
    Regions {
        /// Seconds of the measured run. Example: --seconds 60
        #[arg(long, default_value_t = 60.0)]
        seconds: f64,
        /// Users, half of them in each region. Example: --users 200
        #[arg(long, default_value_t = 200)]
        users: u32,
        /// How often a bridge is killed and started again. Example: --restarts 2
        #[arg(long, default_value_t = 2)]
        restarts: u32,
        /// Options of every run.
        #[command(flatten)]
        options: RunOptions,
    },
}

impl ClusterScenario {
    /// Options of every run.
    pub fn options(&self) -> &RunOptions {
        match self {
            Self::Latency { options, .. }
            | Self::Throughput { options, .. }
            | Self::Regions { options, .. } => options,
        }
    }

    /// Name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Latency { .. } => "latency",
            Self::Throughput { .. } => "throughput",
            Self::Regions { .. } => "regions",
        }
    }

    /// Its own options as words.
    pub fn parameters(&self) -> String {
        match self {
            Self::Latency { nodes, users, .. } => format!("nodes={nodes} users={users}"),
            Self::Throughput {
                nodes,
                seconds,
                connections,
                window,
                ..
            } => {
                format!("nodes={nodes} seconds={seconds} connections={connections} window={window}")
            }
            Self::Regions {
                seconds,
                users,
                restarts,
                ..
            } => format!("seconds={seconds} users={users} restarts={restarts}"),
        }
    }
}
