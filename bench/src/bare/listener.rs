//! The listener of a bare server, with the socket options of the server it is compared with.
//!
//! Runs on: the only thread of a bare server.

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};
use std::net::SocketAddr;

/// Connections that wait to be accepted; the server's default.
const BACKLOG: i32 = 4096;
/// Buffer of each direction in bytes, as on the server.
const SOCKET_BUFFER_BYTES: usize = 64 * 1024;

/// Listens on `address`. Accepted sockets inherit the options.
pub fn open(address: SocketAddr) -> Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )
    .context("opening a socket")?;
    socket
        .set_reuse_address(true)
        .context("setting SO_REUSEADDR")?;
    socket
        .set_tcp_nodelay(true)
        .context("setting TCP_NODELAY")?;
    socket
        .set_send_buffer_size(SOCKET_BUFFER_BYTES)
        .context("setting SO_SNDBUF")?;
    socket
        .set_recv_buffer_size(SOCKET_BUFFER_BYTES)
        .context("setting SO_RCVBUF")?;
    socket
        .bind(&address.into())
        .with_context(|| format!("binding {address}: is it in use? Choose another with --port"))?;
    socket.listen(BACKLOG).context("listening")?;
    Ok(socket)
}

/// Tells the parent process that the server accepts connections.
pub fn announce(address: SocketAddr) {
    println!("ready {address}");
}
