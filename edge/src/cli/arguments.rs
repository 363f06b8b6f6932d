//! Arguments of the commands.
//!
//! Arguments that set a configuration property are texts here: the configuration reads
//! and checks them, so that there is one parser for each property.
//!
//! Runs on: the main thread.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::config::duration_from_text;

/// Arguments that set properties of a node.
#[derive(Clone, Debug, Default, Args)]
pub struct NodeArguments {
    /// Address for clients (listen.client_address).
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Address for metrics and health (listen.control_address).
    #[arg(long, value_name = "ADDRESS")]
    pub control: Option<String>,
    /// Data directory (node.data_directory).
    #[arg(long, value_name = "DIRECTORY")]
    pub data: Option<String>,
    /// Number of shard threads, 0 for one a core (node.shards).
    #[arg(long, value_name = "COUNT")]
    pub shards: Option<String>,
}

/// Arguments of `run`.
#[derive(Clone, Debug, Args)]
pub struct RunArguments {
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Arguments of the node.
    #[command(flatten)]
    pub node: NodeArguments,
}

/// Where a command that is no node finds the configuration and the keys.
#[derive(Clone, Debug, Default, Args)]
pub struct SettingsArguments {
    /// Configuration file of the node.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory of the node (node.data_directory).
    #[arg(long, value_name = "DIRECTORY")]
    pub data: Option<String>,
}

/// Arguments of `token`.
#[derive(Clone, Debug, Args)]
pub struct TokenArguments {
    /// The user.
    #[arg(long)]
    pub user: String,
    /// The user's institution.
    #[arg(long, conflicts_with = "channel")]
    pub institution: Option<String>,
    /// A department of the user; may be given several times.
    #[arg(long, conflicts_with = "channel")]
    pub department: Vec<String>,
    /// A class of the user; may be given several times.
    #[arg(long, conflicts_with = "channel")]
    pub class: Vec<String>,
    /// A role of the user, such as teacher, staff or service; may be given several times.
    #[arg(long, conflicts_with = "channel")]
    pub role: Vec<String>,
    /// Issue a subscription token for this channel instead.
    #[arg(long)]
    pub channel: Option<String>,
    /// Life of the token.
    #[arg(long, value_parser = parse_duration, default_value = "1h")]
    pub ttl: Duration,
    /// Where the key is found.
    #[command(flatten)]
    pub settings: SettingsArguments,
}

/// Commands about the configuration.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check the configuration and report everything that is wrong.
    #[command(after_help = "Example:\n  interlink-edge config check --config edge.toml")]
    Check(RunArguments),
    /// Print the effective values, their origins and the memory plan.
    #[command(after_help = "Example:\n  interlink-edge config print --config edge.toml")]
    Print(RunArguments),
    /// Print every property with text, default, unit, bounds and example.
    #[command(after_help = "Example:\n  interlink-edge config reference > edge.toml")]
    Reference,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    duration_from_text(text)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "write digits and one of s, m, h, d, for example 1h".to_owned())
}
