//! Listening sockets whose options every accepted connection inherits.
//!
//! **Purpose.** Options are set once here and not on each connection: Linux copies them to the
//! accepted socket. They bound what a slow client may hold in the kernel and how long a dead one
//! stays.
//!
//! **Invariants.** A port is first bound without SO_REUSEPORT ([`check_port`]), so that a second
//! instance started by mistake fails instead of taking a share of the clients. After that each
//! shard opens its own listener on it ([`bind_reuse_port`]). IPv6 listeners take IPv6 only.
//!
//! **Thread.** Any; at start. [`check_port`] may sleep for up to two seconds.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::thread;
use std::time::{Duration, Instant};

use crate::limits::BIND_RETRY_MS;

/// Bytes that the kernel buffers for a connection in each direction. Linux doubles the value for
/// its own bookkeeping.
pub const SOCKET_BUFFER_BYTES: i32 = 64 * 1024;
/// Bytes of unsent data above which a connection takes no more.
pub const NOT_SENT_LOW_WATER_BYTES: i32 = 16 * 1024;

/// What differs between listeners.
#[derive(Clone, Copy, Debug)]
pub struct ListenerOptions {
    /// Clients that wait to be accepted; the kernel takes at most `net.core.somaxconn`.
    pub backlog: i32,
    /// A connection whose sent bytes stay unacknowledged for this long is reset
    /// (TCP_USER_TIMEOUT, RFC 5482), at least 1 ms.
    pub write_timeout: Duration,
    /// Silence after which the kernel asks whether the peer lives, at least 1 s.
    pub keepalive_after: Duration,
}

impl Default for ListenerOptions {
    fn default() -> Self {
        Self {
            backlog: 65_535,
            write_timeout: Duration::from_secs(15),
            keepalive_after: Duration::from_secs(60),
        }
    }
}

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    /// Someone else listens there.
    #[error(
        "{address} is in use, also after 2 s of trying: another instance is running (find it with \
         `ss -ltnp 'sport = :{port}'` and stop it) or another port must be configured",
        port = address.port()
    )]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The address may not be used.
    #[error(
        "{address} may not be bound ({source}): ports below 1024 need CAP_NET_BIND_SERVICE, and \
         the address must belong to this host"
    )]
    Refused {
        /// The address.
        address: SocketAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A system call that should not fail did.
    #[error("{call} failed for {address}: {source}")]
    System {
        /// The call.
        call: &'static str,
        /// The address.
        address: SocketAddr,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Makes sure that nobody listens on the address: binds it without SO_REUSEPORT and lets it go.
/// An address in use is tried again for 2 s, because the listener of a process that was killed
/// lives on for a moment. Not called for a planned hand-over.
///
/// # Errors
/// [`ListenerError`] names the cure.
pub fn check_port(address: SocketAddr) -> Result<(), ListenerError> {
    let started = Instant::now();
    loop {
        let socket = open(address)?;
        match bind(socket.as_raw_fd(), address) {
            Ok(()) => return Ok(()),
            Err(refused) if refused.raw_os_error() == Some(libc::EADDRINUSE) => {
                if started.elapsed() >= Duration::from_millis(BIND_RETRY_MS) {
                    return Err(ListenerError::InUse { address });
                }
                thread::sleep(Duration::from_millis(20));
            }
            Err(source) => return Err(ListenerError::Refused { address, source }),
        }
    }
}

/// Opens one of several listeners on the same address.
///
/// # Errors
/// [`ListenerError`] names the cure.
pub fn bind_reuse_port(
    address: SocketAddr,
    options: &ListenerOptions,
) -> Result<OwnedFd, ListenerError> {
    let socket = open(address)?;
    let set = |level, name, value, call| {
        set_option(socket.as_raw_fd(), level, name, value).map_err(|source| ListenerError::System {
            call,
            address,
            source,
        })
    };
    let milliseconds = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX).max(1);
    let seconds = |time: Duration| i32::try_from(time.as_secs()).unwrap_or(i32::MAX).max(1);
    let (socket_level, tcp) = (libc::SOL_SOCKET, libc::IPPROTO_TCP);
    let write_timeout = milliseconds(options.write_timeout);
    let after = seconds(options.keepalive_after);
    set(socket_level, libc::SO_REUSEPORT, 1, "SO_REUSEPORT")?;
    set(
        socket_level,
        libc::SO_SNDBUF,
        SOCKET_BUFFER_BYTES,
        "SO_SNDBUF",
    )?;
    set(
        socket_level,
        libc::SO_RCVBUF,
        SOCKET_BUFFER_BYTES,
        "SO_RCVBUF",
    )?;
    set(socket_level, libc::SO_KEEPALIVE, 1, "SO_KEEPALIVE")?;
    set(tcp, libc::TCP_KEEPIDLE, after, "TCP_KEEPIDLE")?;
    set(
        tcp,
        libc::TCP_KEEPINTVL,
        after.div_euclid(4).max(1),
        "TCP_KEEPINTVL",
    )?;
    set(tcp, libc::TCP_KEEPCNT, 3, "TCP_KEEPCNT")?;
    set(tcp, libc::TCP_NODELAY, 1, "TCP_NODELAY")?;
    set(
        tcp,
        libc::TCP_USER_TIMEOUT,
        write_timeout,
        "TCP_USER_TIMEOUT",
    )?;
    set(
        tcp,
        libc::TCP_NOTSENT_LOWAT,
        NOT_SENT_LOW_WATER_BYTES,
        "TCP_NOTSENT_LOWAT",
    )?;
    bind(socket.as_raw_fd(), address).map_err(|source| match source.raw_os_error() {
        Some(libc::EADDRINUSE) => ListenerError::InUse { address },
        _ => ListenerError::Refused { address, source },
    })?;
    // SAFETY: the call touches no memory.
    if unsafe { libc::listen(socket.as_raw_fd(), options.backlog) } != 0 {
        let source = io::Error::last_os_error();
        return Err(ListenerError::System {
            call: "listen",
            address,
            source,
        });
    }
    Ok(socket)
}

/// A stream socket that ignores the rests of earlier connections on its port.
fn open(address: SocketAddr) -> Result<OwnedFd, ListenerError> {
    let failed = |call, source| ListenerError::System {
        call,
        address,
        source,
    };
    let family = if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    // SAFETY: the call touches no memory.
    let socket = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(failed("socket", io::Error::last_os_error()));
    }
    // SAFETY: the descriptor was just created and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)
        .map_err(|source| failed("SO_REUSEADDR", source))?;
    if address.is_ipv6() {
        set_option(socket.as_raw_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)
            .map_err(|source| failed("IPV6_V6ONLY", source))?;
    }
    Ok(socket)
}

fn set_option(socket: RawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the value lives through the call and has the length that is passed.
    let answer = unsafe {
        libc::setsockopt(
            socket,
            level,
            name,
            (&raw const value).cast(),
            std::mem::size_of::<i32>() as libc::socklen_t,
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn bind(socket: RawFd, address: SocketAddr) -> io::Result<()> {
    let answer = match address {
        SocketAddr::V4(address) => {
            let name = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from(*address.ip()).to_be(),
                },
                sin_zero: [0; 8],
            };
            let length = std::mem::size_of::<libc::sockaddr_in>() as libc::socklen_t;
            // SAFETY: the name lives through the call and has the length that is passed.
            unsafe { libc::bind(socket, (&raw const name).cast(), length) }
        }
        SocketAddr::V6(address) => {
            let name = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: address.flowinfo().to_be(),
                sin6_addr: libc::in6_addr {
                    s6_addr: address.ip().octets(),
                },
                sin6_scope_id: address.scope_id(),
            };
            let length = std::mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            // SAFETY: the name lives through the call and has the length that is passed.
            unsafe { libc::bind(socket, (&raw const name).cast(), length) }
        }
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
