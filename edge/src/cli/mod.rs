//! The command line: arguments of every command, each with an example.
//!
//! Runs on: the main thread.

mod arguments;
#[cfg(test)]
mod tests;

use clap::{Parser, Subcommand};

pub use arguments::{
    ConfigCommand, ConformanceArguments, ConnectArguments, DemoArguments, DemoUserArguments,
    JournalCommand, NodeArguments, PublishArguments, RunArguments, SettingsArguments,
    StartArguments, TailArguments, TokenArguments, TopArguments,
};

/// The Interlink edge server. Without a command it runs a node: clients on
/// 127.0.0.1:8080 at /v1/connect, control on 127.0.0.1:8081.
#[derive(Debug, Parser)]
#[command(
    name = "interlink-edge",
    version,
    args_conflicts_with_subcommands = true,
    after_help = format!(
        "Example:\n  interlink-edge --listen 127.0.0.1:9000 --data /tmp/node\n\n{}",
        crate::exit::Exit::table()
    )
)]
pub struct Cli {
    /// What to do; a node is run when no command is given.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Arguments of the node.
    #[command(flatten)]
    pub node: NodeArguments,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node, with a configuration file if one is given.
    #[command(after_help = "Examples:\n  \
        interlink-edge run --config /etc/interlink/edge.toml\n  \
        interlink-edge run --config /etc/interlink/edge.toml --take-over")]
    Run(StartArguments),
    /// Issue a user token, or with --channel a subscription token.
    #[command(after_help = "Examples:\n  \
        interlink-edge token --user ada --institution north --class maths-1 --ttl 8h\n  \
        interlink-edge token --user ada --channel collab.essay-7")]
    Token(TokenArguments),
    /// Print the events of a channel as they come.
    #[command(after_help = "Example:\n  interlink-edge tail class.maths-1")]
    Tail(TailArguments),
    /// Show live what nodes do: rates, latencies, journal, refusals, changes of state.
    #[command(after_help = "Examples:\n  \
        interlink-edge top\n  \
        interlink-edge top --once --url wss://edge.example.org/v1/connect")]
    Top(TopArguments),
    /// Publish a file, or each line of standard input, to a channel.
    #[command(after_help = "Examples:\n  \
        interlink-edge publish class.maths-1 announcement.json\n  \
        echo hello | interlink-edge publish chat.ada~bob --user ada")]
    Publish(PublishArguments),
    /// Two users chat on a node of their own; one is killed and resumes.
    #[command(after_help = "Example:\n  interlink-edge demo")]
    Demo(DemoArguments),
    /// One user of the demo, started by it.
    #[command(
        hide = true,
        after_help = "Example:\n  echo hello | interlink-edge demo-user chat.ada~bob --user ada"
    )]
    DemoUser(DemoUserArguments),
    /// Serve the WebSocket codec alone: any path, no token, every message is echoed.
    #[command(after_help = "Example:\n  interlink-edge conformance --listen 127.0.0.1:9001")]
    Conformance(ConformanceArguments),
    /// Check, print or explain the configuration.
    #[command(
        subcommand,
        after_help = "Example:\n  interlink-edge config check --config edge.toml"
    )]
    Config(ConfigCommand),
    /// Print the reference of all metrics.
    #[command(after_help = "Example:\n  interlink-edge metrics > METRICS.md")]
    Metrics,
    /// Look into journals on disk.
    #[command(
        subcommand,
        after_help = "Example:\n  interlink-edge journal dump interlink-data/journal"
    )]
    Journal(JournalCommand),
}
