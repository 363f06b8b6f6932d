//! Every bound of the WebSocket codec, each with its reason.
//!
//! Invariant: limits are checked before the bytes they bound are kept. Runs on: any thread.

/// Longest header a server writes: 2 bytes and a 64-bit length (RFC 6455 section 5.2).
pub const SERVER_HEADER_BYTES_MAX: usize = 10;

/// Longest header a client writes: a server's header and the 4-byte masking key.
pub const CLIENT_HEADER_BYTES_MAX: usize = SERVER_HEADER_BYTES_MAX + 4;

/// Longest payload of a control frame (RFC 6455 section 5.5).
pub const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;

/// Longest reason text of a close frame: a control payload without the 2-byte code.
pub const CLOSE_REASON_BYTES_MAX: usize = CONTROL_PAYLOAD_BYTES_MAX - 2;

/// Largest control frame on the wire. A caller that reads in pieces never has to carry more
/// unread bytes than this from one read to the next.
pub const CARRIED_BYTES_MAX: usize = CLIENT_HEADER_BYTES_MAX + CONTROL_PAYLOAD_BYTES_MAX;

/// Largest message limit that a reader can be given: its counters have 32 bits, and half of that
/// range keeps every sum of two of them exact.
pub const MESSAGE_BYTES_CEILING: u32 = 1 << 31;

/// Largest fragment limit that a reader can be given: its fragment counter has 24 bits.
pub const FRAGMENTS_CEILING: u32 = (1 << 24) - 1;

/// What one WebSocket frame of a session may carry, in bytes of payload: one frame of the
/// protocol above, since a session sends each in one message.
pub const SESSION_FRAME_BYTES: u32 = crate::limits::FRAME_BYTES as u32;

/// How many frames one message of a session may be cut into. Browsers and proxies cut large
/// messages into a handful; an endless run of empty fragments would cost work for no payload.
pub const SESSION_FRAGMENTS: u32 = 256;

/// What one message may carry on the conformance server: the largest of the public test suite.
pub const CONFORMANCE_MESSAGE_BYTES: u32 = 16 * 1024 * 1024;

/// How many frames one message may have on the conformance server: the public test suite sends
/// 4 MiB in frames of 64 bytes, which is 65,536.
pub const CONFORMANCE_FRAGMENTS: u32 = 1 << 17;

/// Longest opening handshake, request line and headers with their terminator, in bytes.
/// Browsers send below 2 KiB; tokens travel in the first message and never in headers.
pub const HANDSHAKE_BYTES: usize = 8 * 1024;

/// Most header lines of an opening handshake. Browsers send about 20.
pub const HANDSHAKE_HEADERS: usize = 64;

/// Most subprotocols that one client may offer; a list is walked once for each connection.
pub const HANDSHAKE_SUBPROTOCOLS: usize = 16;

/// Bounds of one reader. Shared by all connections of a listener, so that a connection does not
/// carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest payload of one data frame, in bytes.
    pub frame_bytes: u32,
    /// Largest payload of one message over all its frames, in bytes.
    pub message_bytes: u32,
    /// Most frames of one message, empty ones counted.
    pub fragments: u32,
    /// What happens to a data frame that is not complete in the input yet.
    pub delivery: Delivery,
}

/// What a reader does with a data frame that the input cuts off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It waits until the caller has the whole frame in one piece: the rule for sessions, where
    /// frames are small and nearly always arrive whole.
    Whole,
    /// It hands out what has arrived: the rule for large messages and for text that must be
    /// refused at its first wrong byte.
    Pieces,
}

impl Limits {
    /// Sessions: binary messages of at most one frame cap, handed out whole.
    pub const SESSION: Limits = Limits {
        frame_bytes: SESSION_FRAME_BYTES,
        message_bytes: SESSION_FRAME_BYTES,
        fragments: SESSION_FRAGMENTS,
        delivery: Delivery::Whole,
    };

    /// The conformance server: anything that the public test suite sends, as it arrives.
    pub const CONFORMANCE: Limits = Limits {
        frame_bytes: CONFORMANCE_MESSAGE_BYTES,
        message_bytes: CONFORMANCE_MESSAGE_BYTES,
        fragments: CONFORMANCE_FRAGMENTS,
        delivery: Delivery::Pieces,
    };

    /// True when a reader's counters can hold these limits and each limit allows something.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        self.frame_bytes >= 1
            && self.frame_bytes <= self.message_bytes
            && self.message_bytes <= MESSAGE_BYTES_CEILING
            && self.fragments >= 1
            && self.fragments <= FRAGMENTS_CEILING
    }
}

/// Bounds of one opening handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeLimits {
    /// Longest head, in bytes, terminator included. At most [`HANDSHAKE_BYTES`] is useful: the
    /// scan of a head counts in 16 bits.
    pub header_bytes: usize,
    /// Most header lines, at most [`HANDSHAKE_HEADERS`].
    pub headers: usize,
}

impl HandshakeLimits {
    /// The limits of a public listener.
    pub const DEFAULT: HandshakeLimits = HandshakeLimits {
        header_bytes: HANDSHAKE_BYTES,
        headers: HANDSHAKE_HEADERS,
    };
}

impl Default for HandshakeLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

const _: () = assert!(Limits::SESSION.is_valid());
// A client of the SDK reads the server's frames under the same limits.
const _: () = assert!(crate::limits::SERVER_FRAME_BYTES <= SESSION_FRAME_BYTES as usize);
const _: () = assert!(Limits::CONFORMANCE.is_valid());
const _: () = assert!(HANDSHAKE_BYTES < u16::MAX as usize);
// A fragment limit must let the largest conformance message through in frames of 128 bytes.
const _: () = assert!(CONFORMANCE_FRAGMENTS as u64 * 128 >= CONFORMANCE_MESSAGE_BYTES as u64);
