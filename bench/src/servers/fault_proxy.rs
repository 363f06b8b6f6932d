//! The fault proxy as a process of its own.
//!
//! Runs on: the bench's main thread.

use crate::proxy::control::{DONE, READY};
use crate::proxy::Fault;
use crate::sys;
use anyhow::{ensure, Context, Result};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running proxy; killed when dropped.
pub struct FaultProxy {
    child: Child,
    faults: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Where it listens.
    pub address: SocketAddr,
}

impl FaultProxy {
    /// Starts a proxy on `core`, from `listen` to `target`.
    pub fn start(listen: SocketAddr, target: SocketAddr, core: usize) -> Result<Self> {
        let binary = std::env::current_exe().context("finding the bench's own binary")?;
        let mut command = Command::new(binary);
        command
            .arg("fault-proxy")
            .args(["--listen", &listen.to_string()])
            .args(["--target", &target.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = sys::spawn_pinned(&mut command, core).context("starting a fault proxy")?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (faults, answers) = pipes.context("the fault proxy has no pipes")?;
        let mut proxy = Self {
            child,
            faults,
            answers: BufReader::new(answers),
            address: listen,
        };
        proxy.expect(READY)?;
        Ok(proxy)
    }

    /// Sets a fault; it holds when this returns.
    pub fn set(&mut self, fault: Fault) -> Result<()> {
        writeln!(self.faults, "{fault}").context("telling the fault proxy")?;
        self.expect(DONE)
    }

    /// Stops the whole process, or lets it go on.
    pub fn freeze(&self, is_frozen: bool) -> Result<()> {
        let signal = if is_frozen {
            libc::SIGSTOP
        } else {
            libc::SIGCONT
        };
        sys::signal(self.child.id(), signal).context("signalling the fault proxy")
    }

    fn expect(&mut self, wanted: &str) -> Result<()> {
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .context("reading from the fault proxy")?;
        ensure!(
            line.starts_with(wanted),
            "the fault proxy on {} said {line:?} instead of {wanted:?}; is the port free?",
            self.address
        );
        Ok(())
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        // SIGKILL ends a stopped process as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
