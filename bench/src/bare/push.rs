//! The fan-out reference: a loop of plain `send` over many sockets.
//!
//! Connections are accepted until the wanted number is there. Then each trigger of so many bytes
//! on the first connection causes one `send` of so many bytes to every connection, as a publish
//! causes one event for each subscriber.
//!
//! Limits: one process holds as many sockets as it may have open files, since a plain `send`
//! knows no direct descriptors.
//!
//! Runs on: the only thread of its process.

use super::listener;
use crate::sys;
use anyhow::{bail, Context, Result};
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

/// What to push.
#[derive(Clone, Copy, Debug)]
pub struct PushConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Connections to wait for; the first one triggers.
    pub sockets: usize,
    /// Bytes of a trigger.
    pub bytes_in: usize,
    /// Bytes of one send.
    pub bytes_out: usize,
}

/// Serves until the triggering connection ends.
pub fn run(config: PushConfig) -> Result<()> {
    let limit = sys::raise_open_files();
    if config.sockets as u64 + 16 > limit {
        bail!(
            "{} sockets need more open files than the limit of {limit}: raise it (ulimit -n) or \
             use fewer subscribers",
            config.sockets
        );
    }
    let listener = listener::open(config.listen)?;
    listener::announce(config.listen);
    let mut sockets: Vec<TcpStream> = Vec::with_capacity(config.sockets);
    while sockets.len() < config.sockets {
        let (socket, _) = listener.accept().context("accepting")?;
        sockets.push(socket.into());
    }
    let bytes = vec![b'.'; config.bytes_out];
    let mut trigger = sockets[0].try_clone().context("cloning the trigger")?;
    let mut received = vec![0_u8; config.bytes_in.max(4096)];
    let mut open = 0;
    loop {
        match trigger.read(&mut received) {
            Ok(0) => return Ok(()),
            Ok(count) => open += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("reading the trigger"),
        }
        while open >= config.bytes_in {
            open -= config.bytes_in;
            for socket in &sockets {
                push(socket, &bytes)?;
            }
        }
    }
}

/// One send; a socket that is full waits, since nothing may be lost here either.
fn push(socket: &TcpStream, bytes: &[u8]) -> Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match sys::send_now(socket.as_raw_fd(), rest) {
            Ok(sent) => rest = &rest[sent..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => return Err(error).context("sending"),
        }
    }
    Ok(())
}
