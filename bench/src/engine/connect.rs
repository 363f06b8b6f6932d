//! Opening connections: source addresses, options, the non-blocking connect.
//!
//! One address has 55,536 ports towards one listener; clients are spread over the whole of
//! 127.0.0.0/8, one ring's worth for each address, and each fleet takes other addresses than the
//! one before, whose ports rest for a minute after their end. Towards another network the kernel
//! chooses.
//!
//! Runs on: the generator's thread.

use crate::limits::CLIENTS_PER_ADDRESS;
use crate::sys;
use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

/// Numbers of source addresses, 127.1.0.1 upwards; the first addresses belong to the servers.
const SOURCES: u32 = 250 * 250;

/// Source address of a client of a fleet that uses `sources_from` and the ones after it; `None`
/// leaves the choice to the kernel.
pub fn source_address(sources_from: u32, client: u32, target: SocketAddr) -> Option<Ipv4Addr> {
    let IpAddr::V4(address) = target.ip() else {
        return None;
    };
    if !address.is_loopback() {
        return None;
    }
    let number = (sources_from + client / CLIENTS_PER_ADDRESS) % SOURCES;
    Some(Ipv4Addr::new(
        127,
        1 + (number / 250) as u8,
        (number % 250) as u8,
        1,
    ))
}

/// Starts a connect to `target`. The handshake goes on in the kernel; a send before its end finds
/// the socket blocked.
pub fn begin(sources_from: u32, client: u32, target: SocketAddr) -> Result<OwnedFd> {
    let domain = Domain::for_address(target);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))
        .context("opening a socket: is the limit of open files reached (ulimit -n)?")?;
    socket
        .set_nonblocking(true)
        .context("making a socket non-blocking")?;
    socket
        .set_tcp_nodelay(true)
        .context("setting TCP_NODELAY")?;
    if let Some(address) = source_address(sources_from, client, target) {
        sys::bind_without_port(socket.as_raw_fd()).context("setting IP_BIND_ADDRESS_NO_PORT")?;
        let address = SocketAddr::new(IpAddr::V4(address), 0);
        socket
            .bind(&address.into())
            .with_context(|| format!("binding to {address}: are its ports used up?"))?;
    }
    if let Err(error) = socket.connect(&target.into()) {
        // EINPROGRESS is the usual answer of a non-blocking connect.
        if error.raw_os_error() != Some(libc::EINPROGRESS) {
            return Err(error).with_context(|| format!("connecting to {target}: is it listening?"));
        }
    }
    // The rings decide about waiting operation by operation.
    socket
        .set_nonblocking(false)
        .context("making a socket blocking")?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn a_million_clients_fit_their_addresses() {
        let target: SocketAddr = "127.0.0.1:7400".parse().unwrap();
        let mut counts: HashMap<Ipv4Addr, u32> = HashMap::new();
        for client in 0..1_000_000 {
            *counts
                .entry(source_address(0, client, target).unwrap())
                .or_default() += 1;
        }
        assert!(counts.values().all(|&count| count <= CLIENTS_PER_ADDRESS));
        assert!(counts.keys().all(|address| address.is_loopback()));
    }

    #[test]
    fn other_networks_are_left_to_the_kernel() {
        assert_eq!(source_address(0, 3, "10.0.0.7:80".parse().unwrap()), None);
        assert_eq!(source_address(0, 3, "[::1]:80".parse().unwrap()), None);
    }

    #[test]
    fn a_connect_reaches_a_listener() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = begin(0, 0, listener.local_addr().unwrap()).unwrap();
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip(), IpAddr::V4(Ipv4Addr::new(127, 1, 0, 1)));
        drop(socket);
    }
}
