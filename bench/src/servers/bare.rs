//! A bare baseline as a process of its own.
//!
//! Runs on: the bench's main thread.

use crate::bare::Script;
use crate::sys;
use anyhow::{ensure, Context, Result};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// A running bare server; killed when dropped.
pub struct BareServer {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl BareServer {
    /// Starts the exchange server on `core`.
    pub fn exchange(address: SocketAddr, core: usize, script: &Script) -> Result<Self> {
        let script = script.to_string();
        Self::start(address, core, &["bare-exchange", "--script", &script])
    }

    /// Starts the push server on `core`.
    pub fn push(
        address: SocketAddr,
        core: usize,
        sockets: u32,
        bytes_in: u32,
        bytes_out: u32,
    ) -> Result<Self> {
        let numbers = [
            sockets.to_string(),
            bytes_in.to_string(),
            bytes_out.to_string(),
        ];
        let arguments = [
            "bare-push",
            "--sockets",
            &numbers[0],
            "--in",
            &numbers[1],
            "--out",
            &numbers[2],
        ];
        Self::start(address, core, &arguments)
    }

    fn start(address: SocketAddr, core: usize, arguments: &[&str]) -> Result<Self> {
        let binary = std::env::current_exe().context("finding the bench's own binary")?;
        let mut command = Command::new(binary);
        command
            .args(arguments)
            .args(["--listen", &address.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let child = sys::spawn_pinned(&mut command, core).context("starting a bare server")?;
        let mut server = Self { child, address };
        let output = server
            .child
            .stdout
            .take()
            .context("the bare server has no output")?;
        let mut line = String::new();
        BufReader::new(output)
            .read_line(&mut line)
            .context("reading from the bare server")?;
        ensure!(
            line.starts_with("ready"),
            "the bare server on {address} did not start"
        );
        Ok(server)
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for BareServer {
    fn drop(&mut self) {
        // A process that ended by itself needs no kill; either way it is waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
