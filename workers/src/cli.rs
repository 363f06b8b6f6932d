//! Command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::exit::Exit;
use crate::roles::Role;

/// The slower tiers of Interlink: workers that read what nodes feed to Kafka.
#[derive(Debug, Parser)]
#[command(name = "interlink-workers", version, about, after_help = Exit::TABLE)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one or several roles until a signal stops them.
    #[command(after_help = "Example:
  interlink-workers run realtime --config /etc/interlink/workers.toml")]
    Run {
        /// The roles.
        #[arg(value_enum, required = true)]
        roles: Vec<Role>,
        /// Configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Compare the topics of the cluster with those that are wanted, and create or change them.
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// Prepare the database of a back end that has an outbox.
    #[command(subcommand)]
    Outbox(OutboxCommand),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// Commands about topics.
#[derive(Debug, Subcommand)]
pub enum TopicsCommand {
    /// Print what `apply` would do, and change nothing.
    #[command(after_help = "Examples:
  interlink-workers topics plan --brokers 127.0.0.1:9092 --profile single
  interlink-workers topics plan --config /etc/interlink/workers.toml")]
    Plan(TopicsArguments),
    /// Create the topics that are missing and lengthen what is too short. Nothing is ever made
    /// smaller, and the partition count of a topic with keys never changes.
    #[command(after_help = "Examples:
  interlink-workers topics apply --brokers 127.0.0.1:9092 --profile single
  interlink-workers topics apply --config /etc/interlink/workers.toml --profile production")]
    Apply(TopicsArguments),
    /// Count the events in the topics by the region in which they were accepted, as JSON. An
    /// event that stands twice in the log of its own region came back from another one.
    #[command(after_help = "Example:
  interlink-workers topics census --brokers 127.0.0.1:9092")]
    Census(CensusArguments),
}

/// Where the cluster is.
#[derive(Debug, Args)]
pub struct CensusArguments {
    /// Configuration file; its section [kafka] says how the cluster is reached.
    #[arg(long, value_name = "FILE", required_unless_present = "brokers")]
    pub config: Option<PathBuf>,
    /// Brokers as HOST:PORT, instead of those of the configuration.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub brokers: Vec<String>,
    /// What the names of topics begin with, instead of the prefix of the configuration.
    #[arg(long, value_name = "PREFIX")]
    pub prefix: Option<String>,
}

/// Where the cluster is and what it should have.
#[derive(Debug, Args)]
pub struct TopicsArguments {
    /// Configuration file; its section [kafka] says how the cluster is reached.
    #[arg(long, value_name = "FILE", required_unless_present = "brokers")]
    pub config: Option<PathBuf>,
    /// Brokers as HOST:PORT, instead of those of the configuration.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub brokers: Vec<String>,
    /// Which sizes: production (three brokers or more) or single (one broker).
    #[arg(long, default_value = "production")]
    pub profile: String,
    /// File of wanted topics, instead of the one that was built in (deploy/topics/topics.toml).
    #[arg(long, value_name = "FILE")]
    pub topics: Option<PathBuf>,
    /// What the names of topics begin with, instead of the prefix of the configuration. A new
    /// version of the topics has a new prefix.
    #[arg(long, value_name = "PREFIX")]
    pub prefix: Option<String>,
}

/// Commands about the outbox.
#[derive(Debug, Subcommand)]
pub enum OutboxCommand {
    /// Print the statements that make its tables, to be applied by their owner. Applying them
    /// again changes nothing.
    #[command(after_help = "Example:
  interlink-workers outbox sql --schema interlink | psql school")]
    Sql {
        /// The schema, as in the section [outbox].
        #[arg(long, value_name = "NAME", default_value = "interlink")]
        schema: String,
    },
}

/// Commands about the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say whether a file is right.
    #[command(after_help = "Example:
  interlink-workers config check /etc/interlink/workers.toml")]
    Check {
        /// The file.
        file: PathBuf,
    },
}
