//! What a kernel reports: the completions of operations, as values.
//!
//! **Invariants.** An event names a connection only while the connection is open: after
//! [`Kernel::close`](crate::Kernel::close) the single event with its name is [`Event::Closed`].
//! Received bytes are borrowed from the kernel until the end of the turn and are not copied.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use crate::socket_id::SocketId;

/// A single receive on a descriptor that no ring owns yet. The caller names it; `slot` should be
/// dense (the kernel keeps a table by it) and both fields are below 2^24.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct HandshakeId {
    /// The caller's slot, below 2^24.
    pub slot: u32,
    /// The use of the slot, below 2^24.
    pub generation: u32,
}

/// Bytes that arrived. A token, not the bytes: they are read with
/// [`Kernel::bytes_mut`](crate::Kernel::bytes_mut) and are gone after
/// [`Kernel::end_turn`](crate::Kernel::end_turn), after which using the token panics.
#[derive(Debug, PartialEq, Eq)]
pub struct Received {
    pub(crate) offset: u32,
    pub(crate) len: u32,
    pub(crate) turn: u32,
    pub(crate) ring: u8,
}

impl Received {
    /// Number of bytes, at least 1.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a completion with no bytes is an end"
    )]
    pub fn len(&self) -> usize {
        self.len as usize
    }
}

/// Why a receive ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndReason {
    /// The peer sent FIN; what it sent before has been reported.
    Closed,
    /// The caller asked for it.
    Stopped,
    /// The socket failed with this errno (ECONNRESET, ETIMEDOUT, ...).
    Failed(i32),
}

/// A completion.
#[derive(Debug)]
pub enum Event {
    /// A client connected. The descriptor is an ordinary one (close-on-exec, blocking).
    Accepted {
        /// The listener's number, from `add_listener`.
        listener: u8,
        /// The new connection.
        descriptor: OwnedFd,
        /// The client's address.
        peer: SocketAddr,
    },
    /// Accepting failed. After EMFILE, ENFILE, ENOBUFS and ENOMEM the listener rests until the
    /// caller calls [`Kernel::accept`](crate::Kernel::accept) again; after any other error the
    /// kernel goes on by itself.
    AcceptFailed {
        /// The listener's number.
        listener: u8,
        /// The error.
        errno: i32,
    },
    /// Bytes arrived on an installed connection.
    Received {
        /// The connection.
        socket: SocketId,
        /// The bytes, until the end of the turn.
        bytes: Received,
    },
    /// Bytes arrived for a single receive, which is over now.
    HandshakeReceived {
        /// The receive.
        handshake: HandshakeId,
        /// The bytes, until the end of the turn.
        bytes: Received,
    },
    /// The armed receive of a connection is over. Running out of buffers is never reported: the
    /// kernel arms again by itself when buffers came back.
    ReceiveEnded {
        /// The connection, still open.
        socket: SocketId,
        /// Why.
        reason: EndReason,
    },
    /// A single receive ended without bytes.
    HandshakeEnded {
        /// The receive.
        handshake: HandshakeId,
        /// Why.
        reason: EndReason,
    },
    /// The connection takes bytes again, or failed: the next send tells which.
    Writable {
        /// The connection.
        socket: SocketId,
    },
    /// The connection is closed, all its operations have ended and its slot is free.
    Closed {
        /// The name that is no longer valid.
        socket: SocketId,
    },
    /// A write ended.
    Written {
        /// The caller's token.
        token: u64,
        /// Bytes written (may be fewer than asked), or -errno.
        result: i32,
        /// The buffer, unchanged.
        buffer: Vec<u8>,
    },
    /// A data sync ended.
    Synced {
        /// The caller's token.
        token: u64,
        /// 0, or -errno.
        result: i32,
    },
    /// The deadline of [`Kernel::wake_at`](crate::Kernel::wake_at) has passed. Rarely it comes for
    /// a deadline that was replaced meanwhile.
    Timer,
}
