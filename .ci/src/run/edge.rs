//! A server under test: `interlink-edge` as a child that ends with this value.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
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
    /// Starts `interlink-edge conformance` on a free port and waits until it accepts.
    ///
    /// # Errors
    /// When it does not start, ends, or does not listen in time.
    pub fn conformance() -> anyhow::Result<Self> {
        let address = free_address()?;
        let program = built("interlink-edge");
        let child = Command::new(&program)
            .current_dir(root())
            .args(["conformance", "--listen", &address.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("{} did not start", program.display()))?;
        let mut edge = Self { child, address };
        let end = Instant::now() + SERVER_START_MAX;
        while TcpStream::connect(address).is_err() {
            ensure!(
                Instant::now() < end,
                "the edge does not listen on {address}"
            );
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
            Some(status) => bail!("the edge ended with {status}"),
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
