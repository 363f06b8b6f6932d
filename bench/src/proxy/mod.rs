//! The fault proxy: a TCP path between a node and an outside system that can be made to fail.
//!
//! Purpose: delay, loss, reset, half-open connections and a peer that stops reading, without
//! rights over the kernel's network. It runs as a process of its own ([`control`]), so that it can
//! also be stopped as a whole by SIGSTOP.
//! Invariants: without a fault bytes pass in order and unchanged; a connection whose bytes were
//! thrown away never carries bytes again.
//! Limits: `limits::PROXY_CHUNK_BYTES` a read, `limits::PROXY_QUEUE_BYTES` wait in each direction
//! of a connection; a full queue is not read into.
//!
//! Runs on: one tokio runtime; a task for each connection.

pub mod control;
pub mod fault;
mod path;

pub use fault::{Fault, Kind, Scope};

use path::{Path, Verdict};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Rest after a failed `accept`, which fails for want of descriptors only.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// A fault, and how many connections had been taken when it began.
#[derive(Clone, Copy, Debug)]
struct Ruling {
    fault: Fault,
    connections: u64,
}

/// A listening proxy.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    rulings: watch::Sender<Ruling>,
    taken: watch::Receiver<u64>,
}

impl Proxy {
    /// Listens on `listen` and hands connections on to `target`.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn start(listen: SocketAddr, target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let first = Ruling {
            fault: Fault::NONE,
            connections: 0,
        };
        let (rulings, ruling) = watch::channel(first);
        let (count, taken) = watch::channel(0);
        tokio::spawn(accept(listener, target, ruling, count));
        Ok(Self {
            address,
            rulings,
            taken,
        })
    }

    /// Puts a fault in the place of the one before.
    pub fn set(&self, fault: Fault) {
        let connections = *self.taken.borrow();
        self.rulings.send_replace(Ruling { fault, connections });
    }

    /// Connections taken so far.
    #[cfg(test)]
    pub fn taken(&self) -> u64 {
        *self.taken.borrow()
    }
}

/// Takes connections until the proxy is dropped.
async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    mut ruling: watch::Receiver<Ruling>,
    count: watch::Sender<u64>,
) {
    let mut number = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            changed = ruling.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        match accepted {
            Ok((client, _)) => {
                let path = Path::new(number, ruling.clone());
                number += 1;
                count.send_replace(number);
                tokio::spawn(serve(client, target, path));
            }
            Err(_) => tokio::time::sleep(ACCEPT_REST).await,
        }
    }
}

/// One connection, until it ends.
async fn serve(client: TcpStream, target: SocketAddr, mut path: Path) {
    // A stalled path takes no new connection further than the backlog.
    path.wait_while(|kind| kind == Kind::Stall).await;
    match path.kind() {
        Kind::Reset => return reset(&client),
        Kind::Drop | Kind::HalfOpen => {
            path.swallow(&client).await;
            return reset(&client);
        }
        _ => {}
    }
    // Where the target refuses, so does the proxy.
    let Ok(server) = TcpStream::connect(target).await else {
        return reset(&client);
    };
    let verdict = path.carry(&client, &server).await;
    match verdict {
        Verdict::Ended => {}
        Verdict::Reset => {
            reset(&client);
            reset(&server);
        }
        Verdict::HalfOpen => {
            drop(server);
            path.swallow(&client).await;
            reset(&client);
        }
    }
}

/// Lets the end of a connection be a reset instead of an orderly end.
fn reset(stream: &TcpStream) {
    // A socket that is gone already needs no reset.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

#[cfg(test)]
mod tests;
