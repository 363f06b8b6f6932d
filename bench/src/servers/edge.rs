//! The edge as a process of its own: started, watched, stopped, killed.
//!
//! Runs on: the bench's main thread.

use super::edge_config::EdgeConfig;
use super::{http, wait_for_end, LOOK_INTERVAL};
use crate::engine::token::Signer;
use crate::limits::{READY_TIMEOUT_S, STOP_TIMEOUT_S};
use crate::sys;
use anyhow::{bail, Context, Result};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The key that an edge without configured keys makes in its data directory.
const DEVELOPMENT_KEY: &str = "keys/development.key";
/// Name of the edge's binary beside ours.
const SIBLING: &str = "interlink-edge";
/// How long an address may stay in use after its server was told to end.
const FREE_PATIENCE: Duration = Duration::from_secs(2);
/// Lines of the edge's log that are shown when it fails.
const LOG_LINES: usize = 15;

/// A running edge; killed when dropped.
pub struct EdgeServer {
    child: Child,
    binary: PathBuf,
    core: usize,
    /// Its configuration.
    pub config: EdgeConfig,
    /// The configuration file as it was written.
    pub config_text: String,
    log: PathBuf,
}

/// Another server on the address would answer in the place of the one that is started. The
/// listener of a process that was killed lives on for a moment.
fn ensure_free(address: SocketAddr) -> Result<()> {
    let start = Instant::now();
    while std::net::TcpStream::connect(address).is_ok() {
        anyhow::ensure!(
            start.elapsed() < FREE_PATIENCE,
            "{address} is in use: stop the server there, or choose other ports with --port"
        );
        std::thread::sleep(LOOK_INTERVAL);
    }
    Ok(())
}

/// The binary to test: the one named, else the sibling of the bench.
pub fn find_binary(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = named {
        anyhow::ensure!(
            path.is_file(),
            "{} is no file: give --edge-binary PATH",
            path.display()
        );
        return Ok(path.to_owned());
    }
    let own = std::env::current_exe().context("finding the bench's own binary")?;
    let sibling = own.with_file_name(SIBLING);
    anyhow::ensure!(
        sibling.is_file(),
        "{} does not exist: build it (cargo build --release -p interlink-edge) or give \
         --edge-binary PATH",
        sibling.display()
    );
    Ok(sibling)
}

impl EdgeServer {
    /// Starts an edge on `core` and waits until it is ready.
    pub fn start(binary: &Path, core: usize, config: EdgeConfig) -> Result<Self> {
        ensure_free(config.listen)?;
        ensure_free(config.control)?;
        std::fs::create_dir_all(&config.data)
            .with_context(|| format!("creating {}", config.data.display()))?;
        let config_text = config.to_toml();
        let file = config.data.with_extension("toml");
        std::fs::write(&file, &config_text)
            .with_context(|| format!("writing {}", file.display()))?;
        let log = config.data.with_extension("log");
        let child = spawn(
            binary,
            core,
            &["run", "--config", &file.to_string_lossy()],
            &log,
        )?;
        let mut server = Self {
            child,
            binary: binary.to_owned(),
            core,
            config,
            config_text,
            log,
        };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Starts the conformance server, the codec path without sessions.
    pub fn start_conformance(binary: &Path, core: usize, config: EdgeConfig) -> Result<Self> {
        ensure_free(config.listen)?;
        let listen = config.listen.to_string();
        let log = config.data.with_extension("log");
        let mut arguments = vec!["conformance", "--listen", &listen];
        let files = config.tls.as_ref().map(|tls| {
            let paths = [&tls.certificate, &tls.key];
            paths.map(|path| path.to_string_lossy().into_owned())
        });
        if let Some([certificate, key]) = &files {
            arguments.extend([
                "--tls-cert",
                certificate.as_str(),
                "--tls-key",
                key.as_str(),
            ]);
        }
        let child = spawn(binary, core, &arguments, &log)?;
        let config_text = arguments.join(" ");
        let mut server = Self {
            child,
            binary: binary.to_owned(),
            core,
            config,
            config_text,
            log,
        };
        let address = server.config.listen;
        server.wait_until(|| std::net::TcpStream::connect(address).is_ok())?;
        Ok(server)
    }

    /// Starts the same edge again after a kill, on the same data. Returns when it is ready.
    pub fn restart(&mut self) -> Result<()> {
        let file = self.config.data.with_extension("toml");
        let arguments = ["run", "--config", &file.to_string_lossy()];
        self.child = spawn(&self.binary, self.core, &arguments, &self.log)?;
        self.wait_until_ready()
    }

    /// Starts a second process that takes over from this one, and does not wait for it.
    pub fn start_successor(&self) -> Result<Self> {
        let file = self.config.data.with_extension("toml");
        let arguments = ["run", "--config", &file.to_string_lossy(), "--take-over"];
        Ok(Self {
            child: spawn(&self.binary, self.core, &arguments, &self.log)?,
            binary: self.binary.clone(),
            core: self.core,
            config: self.config.clone(),
            config_text: self.config_text.clone(),
            log: self.log.clone(),
        })
    }

    /// Waits for the end of a process that ends by itself; true when it did so in time and
    /// without an error.
    pub fn wait_for_end(&mut self) -> bool {
        wait_for_end(&mut self.child, Duration::from_secs(STOP_TIMEOUT_S))
            && matches!(self.child.try_wait(), Ok(Some(status)) if status.success())
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let control = self.config.control;
        self.wait_until(|| matches!(http::get(control, "/readyz"), Ok((200, _))))
    }

    fn wait_until(&mut self, mut is_ready: impl FnMut() -> bool) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(READY_TIMEOUT_S) {
            if let Some(status) = self.child.try_wait().context("watching the edge")? {
                bail!(
                    "the edge ended with {status} while it started:\n{}",
                    self.log_end()
                );
            }
            if is_ready() {
                return Ok(());
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        bail!(
            "the edge was not ready within {READY_TIMEOUT_S} s:\n{}",
            self.log_end()
        )
    }

    /// Last lines of the edge's log.
    pub fn log_end(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Signs tokens with the edge's development key.
    pub fn signer(&self) -> Result<Signer> {
        Signer::from_file(&self.config.data.join(DEVELOPMENT_KEY))
    }

    /// Waits until a metric has at least this value.
    pub fn wait_for_metric(&mut self, name: &str, least: f64) -> Result<()> {
        let control = self.config.control;
        self.wait_until(|| {
            let text = http::get(control, "/metrics");
            text.is_ok_and(|(_, text)| http::metric(&text, name) >= Some(least))
        })
        .with_context(|| format!("waiting for {name}"))
    }

    /// The metrics text.
    pub fn metrics(&self) -> Result<String> {
        let (status, text) = http::get(self.config.control, "/metrics")?;
        anyhow::ensure!(status == 200, "/metrics answered with status {status}");
        Ok(text)
    }

    /// Kills the process without warning and waits for its end.
    pub fn kill(&mut self) -> Result<()> {
        sys::signal(self.child.id(), libc::SIGKILL).context("killing the edge")?;
        self.child.wait().context("waiting for the killed edge")?;
        Ok(())
    }

    /// Asks the process to stop; true when it did so in time and without an error.
    pub fn stop(&mut self) -> bool {
        if sys::signal(self.child.id(), libc::SIGTERM).is_err() {
            return false;
        }
        self.wait_for_end()
    }

    /// Runs another command of the edge's binary and gives each line of its standard output to
    /// `each`; true when the command succeeded.
    pub fn command(
        &self,
        arguments: &[&str],
        mut each: impl FnMut(&str) -> Result<()>,
    ) -> Result<bool> {
        let name = || format!("running {} {}", self.binary.display(), arguments.join(" "));
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().with_context(name)?;
        let output = child.stdout.take().with_context(name)?;
        for line in BufReader::new(output).lines() {
            each(&line.with_context(name)?)?;
        }
        Ok(child.wait().with_context(name)?.success())
    }
}

fn spawn(binary: &Path, core: usize, arguments: &[&str], log: &Path) -> Result<Child> {
    let open = || File::options().create(true).append(true).open(log);
    let output = open().with_context(|| format!("opening {}", log.display()))?;
    let errors = open().with_context(|| format!("opening {}", log.display()))?;
    let mut command = Command::new(binary);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors);
    sys::spawn_pinned(&mut command, core).with_context(|| format!("starting {}", binary.display()))
}

impl Drop for EdgeServer {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
