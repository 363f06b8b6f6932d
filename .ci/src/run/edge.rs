//! A server under test, or what stands before it: a child that ends with this value.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context};

use super::command::{built, root};
use crate::limits::SERVER_START_MAX;

/// Ports to choose from: below the range that the system gives to outgoing connections.
const PORTS: std::ops::Range<u16> = 9_001..9_100;

/// Time between two tries to connect.
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// A running server.
pub struct Edge {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Edge {
    /// Starts `interlink-edge conformance` on a free port and waits until it accepts; with the
    /// files of a certificate and its key it speaks TLS.
    ///
    /// # Errors
    /// When it does not start, ends, or does not listen in time.
    pub fn conformance(tls: Option<(&Path, &Path)>) -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(built("interlink-edge"));
        command.args(["conformance", "--listen", &address.to_string()]);
        if let Some((certificate, key)) = tls {
            command.arg("--tls-cert").arg(certificate);
            command.arg("--tls-key").arg(key);
        }
        Self::start(command, address)
    }

    /// Starts stunnel, which speaks plaintext on a free port and TLS to `server`, whose
    /// certificate it checks. Its configuration is written to the folder of the certificate.
    ///
    /// # Errors
    /// As [`Self::conformance`].
    pub fn tunnel(server: SocketAddr, certificate: &Path) -> anyhow::Result<Self> {
        let address = free_address()?;
        let file = certificate.with_extension("conf");
        let text = format!(
            "foreground = yes\nsyslog = no\ndebug = 3\npid =\n[edge]\nclient = yes\n\
             accept = {address}\nconnect = {server}\nCAfile = {}\nverifyChain = yes\n\
             checkIP = {}\n",
            certificate.display(),
            server.ip()
        );
        std::fs::write(&file, text)?;
        let mut command = Command::new("stunnel");
        command.arg(file);
        Self::start(command, address)
    }

    fn start(mut command: Command, address: SocketAddr) -> anyhow::Result<Self> {
        let child = command
            .current_dir(root())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("{command:?} did not start; .ci/setup installs it"))?;
        let mut edge = Self { child, address };
        let end = Instant::now() + SERVER_START_MAX;
        while TcpStream::connect(address).is_err() {
            ensure!(Instant::now() < end, "nobody listens on {address}");
            edge.expect_alive()?;
            std::thread::sleep(TRY_AGAIN);
        }
        Ok(edge)
    }

    /// Fails when the server has ended.
    ///
    /// # Errors
    /// When the server has ended.
    pub fn expect_alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the server ended with {status}"),
            None => Ok(()),
        }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first address that nobody listens on.
fn free_address() -> anyhow::Result<SocketAddr> {
    PORTS
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .find(|address| TcpListener::bind(address).is_ok())
        .with_context(|| format!("every port of {PORTS:?} is taken; end what listens there"))
}
