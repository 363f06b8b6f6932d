//! The command line.
//!
//! Runs on: the main thread, before anything else.

use crate::bare::Script;
use crate::chaos::cli::ChaosScenario;
use crate::cluster::cli::ClusterScenario;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Load generator and scenarios of Interlink.
#[derive(Debug, Parser)]
#[command(
    name = "interlink-bench",
    version,
    about,
    after_help = "Example: interlink-bench run echo --connections 10000 --json -"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a scenario against an edge that the bench starts and pins itself.
    #[command(after_help = "Example: interlink-bench run chat --json chat.json --html chat.html")]
    Run {
        /// The scenario.
        #[command(subcommand)]
        scenario: Scenario,
    },
    /// Measure a cluster: nodes on Redis and Kafka that the bench starts itself.
    #[command(after_help = "Example: interlink-bench cluster latency --nodes 2 --users 2000")]
    Cluster {
        /// What to measure.
        #[command(subcommand)]
        scenario: ClusterScenario,
    },
    /// Let parts of a cluster fail under load, and judge by what clients saw.
    #[command(after_help = "Example: interlink-bench chaos edge-kill --rounds 20 --json -")]
    Chaos {
        /// What fails.
        #[command(subcommand)]
        scenario: ChaosScenario,
    },
    /// Name every scenario with its definition and goals.
    List,
    /// Compare two results: for each number the ratio, and whether it is within the noise.
    #[command(after_help = "Example: interlink-bench compare before.json after.json")]
    Compare {
        /// The result to compare with.
        before: PathBuf,
        /// The result to compare.
        after: PathBuf,
    },
    /// Turn results into one self-contained HTML page with plots.
    #[command(after_help = "Example: interlink-bench report *.json --html report.html")]
    Report {
        /// Results written by --json.
        #[arg(required = true)]
        results: Vec<PathBuf>,
        /// The page to write.
        #[arg(long, value_name = "PATH")]
        html: PathBuf,
    },
    /// Answer so many bytes for so many; started by the bench itself.
    #[command(hide = true)]
    BareExchange {
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddr,
        /// Steps of IN:OUT bytes; + repeats the last.
        #[arg(long)]
        script: Script,
    },
    /// Hand connections on, or not, as lines on standard input say; started by the bench itself.
    #[command(hide = true)]
    FaultProxy {
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddr,
        /// Where connections go.
        #[arg(long)]
        target: SocketAddr,
    },
    /// Stop a stand when standard input ends; started by the bench itself.
    #[command(hide = true)]
    StandGuard {
        /// The stand's program.
        #[arg(long)]
        program: PathBuf,
        /// The stand's folder.
        #[arg(long)]
        directory: PathBuf,
    },
    /// Send to every socket on a trigger; started by the bench itself.
    #[command(hide = true)]
    BarePush {
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddr,
        /// Connections to wait for.
        #[arg(long)]
        sockets: usize,
        /// Bytes of a trigger.
        #[arg(long = "in")]
        bytes_in: usize,
        /// Bytes of a send.
        #[arg(long = "out")]
        bytes_out: usize,
    },
}

/// A scenario and its own options.
#[derive(Clone, Debug, Subcommand)]
pub enum Scenario {
    /// Memory and heartbeats of idle sessions, then one broadcast to all.
    Idle {
        /// Sessions to hold. Example: --sessions 100000
        #[arg(long, default_value_t = 100_000)]
        sessions: u32,
        /// Speak TLS.
        #[arg(long)]
        tls: bool,
        /// Options of every scenario.
        #[command(flatten)]
        options: RunOptions,
    },
    /// CPU of an echoed message, on the codec path and on the full publish path.
    Echo {
        /// Connections, each with one message under way. Example: --connections 10000
        #[arg(long, default_value_t = 10_000)]
        connections: u32,
        /// Speak TLS, and profile how much of the server's CPU is cryptography.
        #[arg(long)]
        tls: bool,
        /// Options of every scenario.
        #[command(flatten)]
        options: RunOptions,
    },
    /// One channel with many subscribers: cost of a send, and deliveries under load.
    Fanout {
        /// Subscribers of the channel. Example: --subscribers 10000
        #[arg(long, default_value_t = 10_000)]
        subscribers: u32,
        /// Options of every scenario.
        #[command(flatten)]
        options: RunOptions,
    },
    /// Publishes that are on disk before their ack: rate, then latency at a fixed rate.
    Durable {
        /// Publishing connections. Example: --connections 1024
        #[arg(long, default_value_t = 1_024)]
        connections: u32,
        /// Unanswered publishes of each connection. Example: --window 64
        #[arg(long, default_value_t = 64)]
        window: u32,
        /// Options of every scenario.
        #[command(flatten)]
        options: RunOptions,
    },
    /// Group chats: capacity, then latency at half of it.
    Chat {
        /// Group sizes and numbers.
        #[command(flatten)]
        groups: Groups,
        /// Options of every scenario.
        #[command(flatten)]
        options: RunOptions,
    },
    /// Alerts (P0) beside chat, without and with background traffic that is always ready.
    Isolation {
        /// Group sizes and numbers.
        #[command(flatten)]
        groups: Groups,
        /// Alerts a second. Example: --alerts 100
        #[arg(long, default_value_t = 100.0)]
        alerts: f64,
        /// Connections that always have P3 ready. Example: --background 64
        #[arg(long, default_value_t = 64)]
        background: u32,
        /// Options of every scenario.
        #[command(flatten)]
        options: RunOptions,
    },
    /// All four priorities at once, at the sustained and at the peak rate.
    Mixed {
        /// Users, each with channels of its own. Example: --users 2000
        #[arg(long, default_value_t = 2_000)]
        users: u32,
        /// Options of every scenario.
        #[command(flatten)]
        options: RunOptions,
    },
    /// Kill -9 under load, again and again: what was acknowledged must arrive.
    Crash {
        /// Kills. Example: --kills 20
        #[arg(long, default_value_t = 20)]
        kills: u32,
        /// Users. Example: --users 500
        #[arg(long, default_value_t = 500)]
        users: u32,
        /// Seconds after the last restart in which everything has to arrive.
        #[arg(long, default_value_t = 30.0)]
        settle: f64,
        /// Options of every scenario.
        #[command(flatten)]
        options: RunOptions,
    },
    /// A second process takes over from the first under load.
    Drain {
        /// Sessions that move. Example: --sessions 20000
        #[arg(long, default_value_t = 20_000)]
        sessions: u32,
        /// Clients that the first process sends away in a second. Example: --reconnects 5000
        #[arg(long, default_value_t = 5_000)]
        reconnects: u32,
        /// Options of every scenario.
        #[command(flatten)]
        options: RunOptions,
    },
    /// Events over the server API in batches, to users who check their order.
    Api {
        /// What is sent.
        #[command(flatten)]
        plan: ApiPlan,
        /// Options of every scenario.
        #[command(flatten)]
        options: RunOptions,
    },
    /// Chat beside clients that stop reading busy channels of every class, and read again.
    Slow {
        /// Group sizes and numbers.
        #[command(flatten)]
        groups: Groups,
        /// Connections that stop reading. Example: --stalled 100
        #[arg(long, default_value_t = 100)]
        stalled: u32,
        /// Options of every scenario.
        #[command(flatten)]
        options: RunOptions,
    },
    /// Connects with token check, from the first SYN to the last subscription.
    Storm {
        /// Sessions of one round. Example: --sessions 20000
        #[arg(long, default_value_t = 20_000)]
        sessions: u32,
        /// Sessions between SYN and subscribed at once. Example: --unfinished 2000
        #[arg(long, default_value_t = 2_000)]
        unfinished: u32,
        /// Speak TLS, in turn with full handshakes and with those that continue a session, and
        /// profile how much of the server's CPU is cryptography.
        #[arg(long)]
        tls: bool,
        /// How tokens are signed, and where the server has the key from. Example: --tokens jwks
        #[arg(long, value_enum, default_value_t)]
        tokens: Tokens,
        /// Options of every scenario.
        #[command(flatten)]
        options: RunOptions,
    },
    /// Tokens, signing key and certificate are replaced under load.
    Rotation {
        /// Sessions, those that expire included. Example: --sessions 10000
        #[arg(long, default_value_t = 10_000)]
        sessions: u32,
        /// Sessions that do not replace their token. Example: --expiring 1000
        #[arg(long, default_value_t = 1_000)]
        expiring: u32,
        /// Options of every scenario.
        #[command(flatten)]
        options: RunOptions,
    },
}

/// How tokens are signed, and where the server has the key from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Tokens {
    /// HS256, with the key that the server makes at its first start.
    #[default]
    Hs256,
    /// EdDSA, with the public key in a file of the server.
    Eddsa,
    /// EdDSA, with the public key in a key set that the server fetches.
    Jwks,
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hs256 => "hs256",
            Self::Eddsa => "eddsa",
            Self::Jwks => "jwks",
        })
    }
}

/// What back ends send.
#[derive(Clone, Copy, Debug, Args)]
pub struct ApiPlan {
    /// Events. Example: --events 50000
    #[arg(long, default_value_t = 50_000)]
    pub events: u32,
    /// Events of one request. Example: --batch 100
    #[arg(long, default_value_t = 100)]
    pub batch: u32,
    /// Users, each with a connection and an inbox. Example: --users 1000
    #[arg(long, default_value_t = 1_000)]
    pub users: u32,
    /// Connections of the API, each with the next batch when the last is answered.
    #[arg(long, default_value_t = 4)]
    pub callers: u32,
}

impl fmt::Display for ApiPlan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            events,
            batch,
            users,
            callers,
        } = self;
        write!(
            out,
            "events={events} batch={batch} users={users} callers={callers}"
        )
    }
}

/// Users in group chats.
#[derive(Clone, Debug, Args)]
pub struct Groups {
    /// Users. Example: --users 2000
    #[arg(long, default_value_t = 2_000)]
    pub users: u32,
    /// Members of one channel; every user is in one. Example: --members 10
    #[arg(long, default_value_t = 10)]
    pub members: u32,
    /// Messages a second instead of half the capacity; the search is skipped.
    #[arg(long, value_name = "RATE")]
    pub half_load: Option<f64>,
}

/// Options of every scenario.
#[derive(Clone, Debug, Args)]
pub struct RunOptions {
    /// Length of one measured run, instead of the scenario's own. Example: --duration 2s
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    pub duration: Option<f64>,
    /// Time before a measured run that does not count. Example: --warm-up 500ms
    #[arg(long, value_name = "TIME", value_parser = parse_seconds, default_value = "3s")]
    pub warm_up: f64,
    /// Events a second, instead of the scenario's own. Example: --rate 50000
    #[arg(long, value_name = "RATE")]
    pub rate: Option<f64>,
    /// Bytes of a payload. Example: --payload 128
    #[arg(long, value_name = "BYTES", default_value_t = 128)]
    pub payload: usize,
    /// Measured runs of which the median counts, instead of the scenario's own. Example: --repeat 5
    #[arg(long, value_name = "COUNT")]
    pub repeat: Option<u32>,
    /// Seed of everything random. Example: --seed 7
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Write the result as one flat JSON object; - is standard output. Example: --json -
    #[arg(long, value_name = "PATH")]
    pub json: Option<PathBuf>,
    /// Write the result as a self-contained HTML page. Example: --html echo.html
    #[arg(long, value_name = "PATH")]
    pub html: Option<PathBuf>,
    /// Write every latency distribution as an HdrHistogram log. Example: --hlog logs
    #[arg(long, value_name = "DIR")]
    pub hlog: Option<PathBuf>,
    /// The edge to test, instead of the one beside this binary.
    #[arg(long, value_name = "PATH")]
    pub edge_binary: Option<PathBuf>,
    /// Where the edge keeps its data, on a real disk; removed afterwards.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// First of four ports that the servers use. Example: --port 7400
    #[arg(long, default_value_t = 7400)]
    pub port: u16,
    /// Core of the server. Example: --edge-core 0
    #[arg(long, default_value_t = 0)]
    pub edge_core: usize,
    /// Core of the generator. Example: --generator-core 1
    #[arg(long, default_value_t = 1)]
    pub generator_core: usize,
    /// Shard threads of the edge. Example: --shards 1
    #[arg(long, default_value_t = 1)]
    pub shards: u32,
    /// Say nothing while running.
    #[arg(long)]
    pub quiet: bool,
}

impl Scenario {
    /// The options that every scenario has.
    pub fn options(&self) -> &RunOptions {
        match self {
            Self::Idle { options, .. }
            | Self::Api { options, .. }
            | Self::Echo { options, .. }
            | Self::Fanout { options, .. }
            | Self::Durable { options, .. }
            | Self::Chat { options, .. }
            | Self::Isolation { options, .. }
            | Self::Mixed { options, .. }
            | Self::Crash { options, .. }
            | Self::Drain { options, .. }
            | Self::Slow { options, .. }
            | Self::Storm { options, .. }
            | Self::Rotation { options, .. } => options,
        }
    }

    /// Name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Idle { .. } => "idle",
            Self::Api { .. } => "api",
            Self::Echo { .. } => "echo",
            Self::Fanout { .. } => "fanout",
            Self::Durable { .. } => "durable",
            Self::Chat { .. } => "chat",
            Self::Isolation { .. } => "isolation",
            Self::Mixed { .. } => "mixed",
            Self::Crash { .. } => "crash",
            Self::Drain { .. } => "drain",
            Self::Slow { .. } => "slow",
            Self::Storm { .. } => "storm",
            Self::Rotation { .. } => "rotation",
        }
    }
}

/// Seconds, with the units ms, s and m; a plain number is seconds.
fn parse_seconds(text: &str) -> Result<f64, String> {
    let (digits, factor) = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("", 1.0)]
        .into_iter()
        .find_map(|(unit, factor)| text.strip_suffix(unit).map(|digits| (digits, factor)))
        .unwrap_or((text, 1.0));
    match digits.parse::<f64>() {
        Ok(number) if number >= 0.0 && number.is_finite() => Ok(number * factor),
        _ => Err(format!("{text} is no time; examples: 10s, 500ms, 2m")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_have_units() {
        assert_eq!(parse_seconds("250ms"), Ok(0.25));
        assert_eq!(parse_seconds("2m"), Ok(120.0));
        assert_eq!(parse_seconds("1.5"), Ok(1.5));
        assert!(parse_seconds("-1s").is_err() && parse_seconds("fast").is_err());
    }

    #[test]
    fn options_of_the_contract_are_taken() {
        let words =
            "interlink-bench run echo --connections 50 --duration 1s --rate 10 --payload 64 \
                     --repeat 2 --seed 9 --json - --edge-binary /x";
        let cli = Cli::parse_from(words.split_whitespace());
        let Command::Run { scenario } = cli.command else {
            panic!("not a run")
        };
        assert_eq!(scenario.name(), "echo");
        assert_eq!(scenario.options().repeat, Some(2));
        assert_eq!(scenario.options().duration, Some(1.0));
    }

    #[test]
    fn every_option_has_help() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{} {argument}",
                    command.get_name()
                );
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
