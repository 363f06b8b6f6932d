//! One socket of a shard, and the table of them.
//!
//! Purpose: what a shard knows of a socket between two of its completions. A
//! connection is 56 bytes and holds no buffer: bytes that wait in either
//! direction live in pools and are named by index.
//!
//! Invariants: the index of a connection follows from its socket slot, so no map
//! stands between a completion and its connection; an entry whose `socket` is not
//! the one of the completion belongs to an earlier life of the slot.
//!
//! Thread: the shard.

use interlink_protocol::session::rate::Arrival;
use interlink_protocol::websocket::Reader;
use interlink_uring::SocketId;

/// No index: the end of a list or an absent neighbour.
pub const NONE: u32 = u32::MAX;

/// The kernel took less than was offered; nothing is sent until `Writable`.
pub const BLOCKED: u16 = 1;
/// The connection waits in the ready queue.
pub const READY: u16 = 1 << 1;
/// Subscriptions may lag behind their channels; visit all of them.
pub const LAGGING: u16 = 1 << 2;
/// Close once everything queued has been sent.
pub const CLOSE_WHEN_SENT: u16 = 1 << 3;
/// Closing: cancelled and closed in the kernel, waiting for `Closed`.
pub const CLOSING: u16 = 1 << 4;
/// The receive is armed in the kernel.
pub const RECEIVING: u16 = 1 << 5;
/// A heartbeat was sent and its answer is due.
pub const AWAITING_PONG: u16 = 1 << 6;
/// The socket is part of the send batch that is being built.
pub const IN_BATCH: u16 = 1 << 7;
/// The last `Writable` was followed by a send that took nothing.
pub const FUTILE_WRITABLE: u16 = 1 << 8;
/// The close frame has left; the peer may still read it.
pub const LINGERING: u16 = 1 << 9;
/// A page of history is being read for a subscription of this connection.
pub const FETCHING: u16 = 1 << 10;
/// Sealed records wait for the socket; nothing else is sent before them.
pub const SEALED: u16 = 1 << 11;
/// The connection has a TLS session.
pub const SECURE: u16 = 1 << 12;
/// The last request was refused because of its rate.
pub const WARNED: u16 = 1 << 13;
/// The connection is not read for a while.
pub const PAUSED: u16 = 1 << 14;
/// The time in which the socket has to take bytes is being watched.
pub const WATCHED: u16 = 1 << 15;

/// Control frames that a connection may send in a second. Clients ping every few seconds, if at
/// all; each ping costs an answer and carries nothing.
pub const CONTROL_FRAMES_PER_SECOND: u8 = 100;

/// A socket with its session.
#[derive(Debug)]
pub struct Connection {
    /// The kernel's name of the socket; [`SocketId::NONE`] when the entry is free.
    pub socket: SocketId,
    /// Place in the rate of a connection.
    pub arrival: Arrival,
    /// Index of the session, or [`NONE`].
    pub session: u32,
    /// Index of the queue of replies, or [`NONE`].
    pub queue: u32,
    /// Index of the buffer with the bytes of a cut frame, or [`NONE`].
    pub partial: u32,
    /// Milliseconds of the shard's clock at which a send was first refused; 0 is never.
    pub blocked_since_ms: u32,
    /// Flags of this module.
    pub flags: u16,
    /// Code with which the connection is being closed, 0 if the peer left.
    pub close_code: u16,
    /// WebSocket decoding state.
    pub reader: Reader,
    /// The second, of the shard's clock, in which control frames were counted last.
    pub control_second: u16,
    /// Control frames of that second.
    pub control_frames: u8,
    /// History requests that are not answered yet.
    pub histories: u8,
}

const _: () = assert!(std::mem::size_of::<Connection>() <= 56);

impl Connection {
    /// A connection that was just installed.
    pub fn new(socket: SocketId, reader: Reader) -> Self {
        Self {
            socket,
            arrival: Arrival::default(),
            session: NONE,
            queue: NONE,
            partial: NONE,
            blocked_since_ms: 0,
            flags: 0,
            close_code: 0,
            reader,
            control_second: 0,
            control_frames: 0,
            histories: 0,
        }
    }

    /// Counts a control frame; whether the connection may have sent it.
    pub fn admit_control_frame(&mut self, now_ms: u32) -> bool {
        let second = (now_ms / 1_000) as u16;
        if self.control_second != second {
            self.control_second = second;
            self.control_frames = 0;
        }
        self.control_frames = self.control_frames.saturating_add(1);
        self.control_frames <= CONTROL_FRAMES_PER_SECOND
    }

    /// Whether every flag of `flags` is set.
    pub fn is(&self, flags: u16) -> bool {
        self.flags & flags == flags
    }

    /// Sets `flags`.
    pub fn set(&mut self, flags: u16) {
        self.flags |= flags;
    }

    /// Clears `flags`.
    pub fn clear(&mut self, flags: u16) {
        self.flags &= !flags;
    }
}
