//! The demo's own node as a child process.
//!
//! Runs on: the demo's main thread.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use super::{failed, PATIENCE};
use crate::exit::CommandError;

/// How many lines of the node's log are shown when the demo fails.
const LOG_LINES: usize = 12;

/// A running node; killed when dropped.
pub(super) struct Node {
    child: Child,
    directory: PathBuf,
    address: SocketAddr,
}

impl Node {
    /// Starts a node and waits until it is ready.
    pub(super) fn start(directory: &Path, address: SocketAddr) -> Result<Self, CommandError> {
        // A fixed port, since users have to find the restarted node again.
        let address = match address.port() {
            0 => TcpListener::bind(address)
                .and_then(|listener| listener.local_addr())
                .map_err(|error| failed(format!("cannot bind {address}: {error}")))?,
            _ => address,
        };
        let child = spawn(directory, address)?;
        let mut node = Self {
            child,
            directory: directory.to_path_buf(),
            address,
        };
        node.wait_until_ready()?;
        Ok(node)
    }

    /// Where users connect.
    pub(super) fn url(&self) -> String {
        format!("ws://{}/v1/connect", self.address)
    }

    /// Data directory of the node.
    pub(super) fn data(&self) -> PathBuf {
        data_of(&self.directory)
    }

    /// Kills the node as a power cut would.
    pub(super) fn kill(&mut self) -> Result<(), CommandError> {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        ended.map_err(|error| failed(format!("cannot kill the node: {error}")))?;
        Ok(())
    }

    /// Starts the killed node again on its data.
    pub(super) fn restart(&mut self) -> Result<(), CommandError> {
        self.child = spawn(&self.directory, self.address)?;
        self.wait_until_ready()
    }

    /// The first line on standard output says that the node is ready.
    fn wait_until_ready(&mut self) -> Result<(), CommandError> {
        let Some(output) = self.child.stdout.take() else {
            return Err(failed("the node has no standard output".to_owned()));
        };
        let (lines, inbox) = mpsc::channel();
        // The thread reads to the end, so that the node never waits for a full pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
        match inbox.recv_timeout(PATIENCE) {
            Ok(line) if line.ends_with("is ready") => Ok(()),
            _ => Err(failed("the node did not become ready".to_owned())),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A child that has ended already is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn data_of(directory: &Path) -> PathBuf {
    directory.join("data")
}

fn log_of(directory: &Path) -> PathBuf {
    directory.join("node.log")
}

/// The last lines that the node wrote to its log.
pub(super) fn log_end(directory: &Path) -> String {
    let text = std::fs::read_to_string(log_of(directory)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

fn spawn(directory: &Path, address: SocketAddr) -> Result<Child, CommandError> {
    let cannot = |error: std::io::Error| failed(format!("cannot start the node: {error}"));
    let log = File::options()
        .create(true)
        .append(true)
        .open(log_of(directory))
        .map_err(cannot)?;
    let mut command = own_program()?;
    command
        .args(["--listen", &address.to_string()])
        .args(["--control", "127.0.0.1:0", "--api", "127.0.0.1:0"])
        .args(["--shards", "1", "--data"])
        .arg(data_of(directory))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    command.spawn().map_err(cannot)
}

/// This program again, without settings of the environment that are meant for others.
pub(super) fn own_program() -> Result<Command, CommandError> {
    let path = std::env::current_exe()
        .map_err(|error| failed(format!("cannot find the own program: {error}")))?;
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("INTERLINK_") {
            command.env_remove(name);
        }
    }
    Ok(command)
}
