//! Arguments of the commands.
//!
//! Arguments that set a configuration property are texts here: the configuration reads
//! and checks them, so that there is one parser for each property.
//!
//! Runs on: the main thread.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use interlink_client::Position;

use crate::commands::position_from_text;
use crate::config::duration_from_text;

/// Address of a node on this host that runs with the defaults.
const DEFAULT_URL: &str = "ws://127.0.0.1:8080/v1/connect";

/// Arguments that set properties of a node.
#[derive(Clone, Debug, Default, Args)]
pub struct NodeArguments {
    /// Address for clients (listen.client_address).
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Address for metrics and health (listen.control_address).
    #[arg(long, value_name = "ADDRESS")]
    pub control: Option<String>,
    /// Address of the server API (listen.api_address).
    #[arg(long, value_name = "ADDRESS")]
    pub api: Option<String>,
    /// Data directory (node.data_directory).
    #[arg(long, value_name = "DIRECTORY")]
    pub data: Option<String>,
    /// Number of shard threads, 0 for one a core (node.shards).
    #[arg(long, value_name = "COUNT")]
    pub shards: Option<String>,
}

/// The configuration of a node.
#[derive(Clone, Debug, Args)]
pub struct RunArguments {
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Arguments of the node.
    #[command(flatten)]
    pub node: NodeArguments,
}

/// Arguments of `run`.
#[derive(Clone, Debug, Args)]
pub struct StartArguments {
    /// Take over from the node that runs on the data directory: it passes on its ports, stores
    /// what it accepted, and sends its clients here. Without such a node this is an ordinary
    /// start.
    #[arg(long)]
    pub take_over: bool,
    /// Configuration of the node.
    #[command(flatten)]
    pub run: RunArguments,
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
    /// Identity of the token (jti), by which it can be revoked.
    #[arg(long, conflicts_with = "channel")]
    pub id: Option<String>,
    /// File with the key to sign with, which also decides the algorithm; by default the first
    /// configured one.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Life of the token.
    #[arg(long, value_parser = parse_duration, default_value = "1h")]
    pub ttl: Duration,
    /// Where the key is found.
    #[command(flatten)]
    pub settings: SettingsArguments,
}

/// How a client command reaches a node.
#[derive(Clone, Debug, Args)]
pub struct ConnectArguments {
    /// Address of the node.
    #[arg(long, default_value = DEFAULT_URL)]
    pub url: String,
    /// PEM file of the certificate authorities to trust with wss://, instead of the system's.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// User token, also taken from INTERLINK_TOKEN; without one a token is issued with
    /// the key of the node.
    #[arg(long)]
    pub token: Option<String>,
    /// User of the issued token; by default one that the channel's name allows.
    #[arg(long, conflicts_with = "token")]
    pub user: Option<String>,
    /// Where the key is found.
    #[command(flatten)]
    pub settings: SettingsArguments,
}

/// Arguments of `tail`.
#[derive(Clone, Debug, Args)]
pub struct TailArguments {
    /// The channel.
    pub channel: String,
    /// End after so many events.
    #[arg(long, value_name = "COUNT")]
    pub count: Option<u64>,
    /// Begin after this position, epoch:offset:chain as --json shows it.
    #[arg(long, value_name = "POSITION", value_parser = position_from_text)]
    pub after: Option<Position>,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
    /// How to reach the node.
    #[command(flatten)]
    pub connect: ConnectArguments,
}

/// Arguments of `top`.
#[derive(Clone, Debug, Args)]
pub struct TopArguments {
    /// Print one snapshot as text and end.
    #[arg(long)]
    pub once: bool,
    /// How to reach a node.
    #[command(flatten)]
    pub connect: ConnectArguments,
}

/// Arguments of `publish`.
#[derive(Clone, Debug, Args)]
pub struct PublishArguments {
    /// The channel.
    pub channel: String,
    /// File with the payload of one event; without it each line of standard input is one.
    pub file: Option<PathBuf>,
    /// Number of the event type in the registry, 0 for an opaque payload; without it the
    /// payload is text and takes the form that the channel accepts.
    #[arg(long, value_name = "NUMBER")]
    pub event_type: Option<u16>,
    /// How to reach the node.
    #[command(flatten)]
    pub connect: ConnectArguments,
}

/// Arguments of `demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArguments {
    /// Address for clients of the demo's own node.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// No colours.
    #[arg(long)]
    pub plain: bool,
    /// Time between two lines.
    #[arg(long, value_parser = parse_duration, default_value = "900ms")]
    pub pause: Duration,
}

/// Arguments of `demo-user`.
#[derive(Clone, Debug, Args)]
pub struct DemoUserArguments {
    /// The channel.
    pub channel: String,
    /// Begin after this position.
    #[arg(long, value_name = "POSITION", value_parser = position_from_text)]
    pub after: Option<Position>,
    /// How to reach the node.
    #[command(flatten)]
    pub connect: ConnectArguments,
}

/// Arguments of `conformance`.
#[derive(Clone, Debug, Args)]
pub struct ConformanceArguments {
    /// Address to listen on.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// PEM file with a certificate chain: speak TLS.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file with its private key.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
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

/// Commands about journals.
#[derive(Clone, Debug, Subcommand)]
pub enum JournalCommand {
    /// Print every record of a journal directory, one JSON object a line.
    #[command(after_help = "Example:\n  interlink-edge journal dump interlink-data/journal")]
    Dump {
        /// The journal directory of a data directory.
        directory: PathBuf,
    },
    /// Bring to Redis and Kafka what the journal of a node that never starts again still has.
    /// It may be stopped and run again; nothing is removed.
    #[command(after_help = "Example:\n  \
            interlink-edge journal feed /mnt/dead/interlink-data --config edge.toml")]
    Feed {
        /// The data directory of the dead node.
        directory: PathBuf,
        /// The configuration of the dead node; its name in the cluster is in it.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    duration_from_text(text)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "write digits and one of s, m, h, d, for example 1h".to_owned())
}
