//! What every scenario needs: options, addresses, servers, fleets, and the result.
//!
//! Runs on: the bench's main thread.

use crate::cli::{RunOptions, Scenario};
use crate::engine::{Fleet, FleetConfig, Greeting};
use crate::limits::{
    BUFFERS_PER_RING, CLIENTS_PER_ADDRESS, PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MIN, RINGS_MAX,
    SLOTS_PER_RING,
};
use crate::measure::host::{self, Host};
use crate::measure::Latency;
use crate::progress::Progress;
use crate::report::Report;
use crate::servers::edge::find_binary;
use crate::servers::{EdgeConfig, EdgeServer, KeysOf, TlsFiles};
use crate::sys;
use anyhow::{ensure, Context, Result};
use interlink_uring::{EdgeRing, RingConfig};
use rustls::ClientConfig;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// How the folders of runs are named.
pub const FOLDER_PREFIX: &str = "interlink-bench-";

/// Who comes first on the generator's core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precedence {
    /// The generator, where the system permits it: nothing else there has work of its own.
    Generator,
    /// Nobody: the outside systems work there too.
    Nobody,
}

/// A run of one scenario.
pub struct Bench {
    /// Options of every scenario.
    pub options: RunOptions,
    /// Progress for the person at the terminal.
    pub progress: Progress,
    /// The result in the making.
    pub report: Report,
    name: &'static str,
    folder: TempDir,
    edges_started: u32,
    sources_from: u32,
}

impl Bench {
    /// Prepares a scenario on one edge.
    pub fn prepare(scenario: &Scenario) -> Result<Self> {
        let own = own_parameters(scenario);
        Self::prepare_as(
            scenario.name(),
            scenario.options(),
            &own,
            Precedence::Generator,
        )
    }

    /// Pins this process, prepares the machine and notes what is measured on what; `own` are the
    /// options of the scenario alone.
    pub fn prepare_as(
        name: &'static str,
        options: &RunOptions,
        own: &str,
        precedence: Precedence,
    ) -> Result<Self> {
        let options = options.clone();
        ensure!(
            (PAYLOAD_BYTES_MIN..=PAYLOAD_BYTES_MAX).contains(&options.payload),
            "--payload must be {PAYLOAD_BYTES_MIN} to {PAYLOAD_BYTES_MAX}"
        );
        let mut progress = Progress::new(options.quiet);
        sys::pin_to_core(options.generator_core).with_context(|| {
            format!(
                "pinning the generator to core {}: choose an existing one with --generator-core",
                options.generator_core
            )
        })?;
        sys::sharpen_timers();
        let first = precedence == Precedence::Generator && sys::run_first();
        sys::raise_open_files();
        progress.say(host::prepare_ports());
        let folder = folder(&options)?;
        let host = Host::read();
        let mut report = Report::default();
        report.text("scenario", name);
        report.text("commit", &host.commit);
        report.text("kernel", &host.kernel);
        report.text("processor", &host.processor);
        report.text(
            "generator_priority",
            if first { "real time" } else { "ordinary" },
        );
        let parameters = parameters(own, &options);
        report.text("parameters", &parameters);
        report.text("data_file_system", host::file_system(folder.path()));
        progress.say(format!("{name}: {parameters}"));
        Ok(Self {
            options,
            progress,
            report,
            name,
            folder,
            edges_started: 0,
            // Another run of the bench may have used the first addresses just now.
            sources_from: std::process::id(),
        })
    }

    /// Seconds of a measured run.
    pub fn seconds(&self, default: f64) -> f64 {
        self.options.duration.unwrap_or(default)
    }

    /// Number of measured runs.
    pub fn repeats(&self, default: u32) -> u32 {
        self.options.repeat.unwrap_or(default).max(1)
    }

    /// Address of a bare server, or of the server API, which are not asked in one run.
    pub fn bare_address(&self) -> SocketAddr {
        self.address(2)
    }

    /// Address of a server of keys.
    pub fn keys_address(&self) -> SocketAddr {
        self.address(3)
    }

    /// The folder of the run, which is removed at its end.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Address number `offset` of the run.
    pub fn address(&self, offset: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.options.port + offset)
    }

    fn edge_config(&mut self, sessions: u32, rings_at_start: Option<u32>) -> EdgeConfig {
        self.edges_started += 1;
        EdgeConfig {
            listen: self.address(0),
            control: self.address(1),
            api: None,
            data: self
                .folder
                .path()
                .join(format!("edge-{}", self.edges_started)),
            shards: self.options.shards,
            sessions,
            rings_at_start,
            reconnects_per_second: None,
            tls: None,
            keys: KeysOf::Itself,
            cluster: None,
        }
    }

    /// Starts an edge with fresh data and what `change` sets.
    pub fn start_edge_with(
        &mut self,
        sessions: u32,
        change: impl FnOnce(&mut EdgeConfig),
    ) -> Result<EdgeServer> {
        let binary = find_binary(self.options.edge_binary.as_deref())?;
        let mut config = self.edge_config(sessions, None);
        change(&mut config);
        let edge = EdgeServer::start(&binary, self.options.edge_core, config)?;
        self.report.text("edge_config", &edge.config_text);
        Ok(edge)
    }

    /// Starts an edge with fresh data.
    pub fn start_edge(&mut self, sessions: u32, rings: Option<u32>) -> Result<EdgeServer> {
        let binary = find_binary(self.options.edge_binary.as_deref())?;
        let config = self.edge_config(sessions, rings);
        let edge = EdgeServer::start(&binary, self.options.edge_core, config)?;
        self.report.text("edge_config", &edge.config_text);
        Ok(edge)
    }

    /// Starts the codec path without sessions.
    pub fn start_conformance(&mut self, tls: Option<TlsFiles>) -> Result<EdgeServer> {
        let binary = find_binary(self.options.edge_binary.as_deref())?;
        let config = EdgeConfig {
            tls,
            ..self.edge_config(0, None)
        };
        EdgeServer::start_conformance(&binary, self.options.edge_core, config)
    }

    /// A fleet without connections.
    pub fn fleet(
        &mut self,
        target: SocketAddr,
        greeting: Greeting,
        clients: u32,
        unfinished_max: u32,
    ) -> Result<Fleet<EdgeRing>> {
        self.fleet_over(None, &[target], greeting, clients, unfinished_max)
    }

    /// A fleet without connections, spread over several targets, which will speak TLS where that
    /// is given.
    pub fn fleet_over(
        &mut self,
        tls: Option<Arc<ClientConfig>>,
        targets: &[SocketAddr],
        greeting: Greeting,
        clients: u32,
        unfinished_max: u32,
    ) -> Result<Fleet<EdgeRing>> {
        let slots_per_ring = SLOTS_PER_RING.min(sys::raise_open_files() as u32);
        let rings = clients.div_ceil(slots_per_ring).clamp(1, RINGS_MAX);
        let kernel = EdgeRing::new(RingConfig {
            rings_at_start: rings as usize,
            rings_max: RINGS_MAX as usize,
            slots_per_ring,
            buffers: BUFFERS_PER_RING,
            first_ring_buffers: BUFFERS_PER_RING,
            ..RingConfig::default()
        })
        .context("opening the generator's rings")?;
        let seed = self.options.seed;
        let sources_from = self.sources_from;
        self.sources_from += clients.div_ceil(CLIENTS_PER_ADDRESS);
        let config = FleetConfig {
            targets: targets.to_vec(),
            greeting,
            clients,
            unfinished_max,
            sources_from,
            seed,
            tls,
        };
        Ok(Fleet::new(kernel, config))
    }

    /// Adds a latency to the result, and to the log folder when one is wanted.
    pub fn latency(&mut self, name: &str, latency: &Latency, seconds: f64) -> Result<()> {
        self.report.latency(name, latency);
        let Some(folder) = &self.options.hlog else {
            return Ok(());
        };
        std::fs::create_dir_all(folder)
            .with_context(|| format!("creating {}", folder.display()))?;
        let path = folder.join(format!("{}-{name}.hlog", self.name));
        latency.write_log(&path, name, Duration::from_secs_f64(seconds))
    }

    /// The finished result.
    pub fn finish(self) -> Report {
        self.report
    }
}

/// The folder for data of servers; in memory nothing is ever synced, so that is refused.
fn folder(options: &RunOptions) -> Result<TempDir> {
    let parent = match &options.data {
        Some(path) => {
            std::fs::create_dir_all(path)
                .with_context(|| format!("creating {}", path.display()))?;
            path.clone()
        }
        None => {
            let usual = std::env::temp_dir();
            if host::file_system(&usual).starts_with("tmpfs") {
                PathBuf::from(".")
            } else {
                usual
            }
        }
    };
    ensure!(
        !host::file_system(&parent).starts_with("tmpfs"),
        "{} is in memory, where a sync proves nothing: name a folder on a disk with --data",
        parent.display()
    );
    tempfile::Builder::new()
        .prefix(FOLDER_PREFIX)
        .tempdir_in(&parent)
        .with_context(|| format!("creating a folder in {}", parent.display()))
}

/// The options of the scenario alone as words.
fn own_parameters(scenario: &Scenario) -> String {
    match scenario {
        Scenario::Api { plan, .. } => plan.to_string(),
        Scenario::Idle { sessions, tls, .. } => format!("sessions={sessions} tls={tls}"),
        Scenario::Echo {
            connections, tls, ..
        } => format!("connections={connections} tls={tls}"),
        Scenario::Fanout { subscribers, .. } => format!("subscribers={subscribers}"),
        Scenario::Durable {
            connections,
            window,
            ..
        } => {
            format!("connections={connections} window={window}")
        }
        Scenario::Chat { groups, .. } => {
            format!("users={} members={}", groups.users, groups.members)
        }
        Scenario::Isolation {
            groups,
            alerts,
            background,
            ..
        } => format!(
            "users={} members={} alerts={alerts} background={background}",
            groups.users, groups.members
        ),
        Scenario::Mixed { users, .. } => format!("users={users}"),
        Scenario::Crash {
            kills,
            users,
            settle,
            ..
        } => {
            format!("kills={kills} users={users} settle={settle}")
        }
        Scenario::Drain {
            sessions,
            reconnects,
            ..
        } => format!("sessions={sessions} reconnects={reconnects}"),
        Scenario::Slow {
            groups, stalled, ..
        } => format!(
            "users={} members={} stalled={stalled}",
            groups.users, groups.members
        ),
        Scenario::Storm {
            sessions,
            unfinished,
            tls,
            tokens,
            ..
        } => format!("sessions={sessions} unfinished={unfinished} tls={tls} tokens={tokens}"),
        Scenario::Rotation {
            sessions, expiring, ..
        } => format!("sessions={sessions} expiring={expiring}"),
    }
}

/// All options of the run as words.
fn parameters(own: &str, options: &RunOptions) -> String {
    let mut words = own.to_owned();
    let optional = [
        ("duration", options.duration),
        ("rate", options.rate),
        ("repeat", options.repeat.map(f64::from)),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            words += &format!(" {name}={value}");
        }
    }
    words
        + &format!(
            " payload={} warm_up={} seed={} shards={} edge_core={} generator_core={}",
            options.payload,
            options.warm_up,
            options.seed,
            options.shards,
            options.edge_core,
            options.generator_core
        )
}
