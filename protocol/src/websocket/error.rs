//! What a peer can do wrong after the opening handshake, and the close code that answers it.
//!
//! Invariant: a violation is `Copy` and allocates nothing; it always ends the connection.
//! Runs on: any thread.

use super::close::code;

/// A breach of RFC 6455 or of our limits by the peer. The connection must be closed with
/// [`Violation::close_code`] (RFC 6455 section 7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A reserved bit is set although no extension was negotiated (section 5.2).
    #[error("a reserved bit is set; no extension was negotiated, so clear RSV1 to RSV3")]
    ReservedBits,
    /// The opcode is one of 3-7 or 11-15 (section 5.2).
    #[error("opcode {0} is reserved; send text, binary, continuation, close, ping or pong")]
    ReservedOpcode(u8),
    /// A client sent a frame without a mask (section 5.1).
    #[error("a frame of the client is not masked; clients must mask every frame")]
    ClientFrameUnmasked,
    /// A server sent a frame with a mask (section 5.1).
    #[error("a frame of the server is masked; servers must not mask")]
    ServerFrameMasked,
    /// A control frame has FIN clear (section 5.5).
    #[error("a control frame is fragmented; send it in one frame")]
    ControlFragmented,
    /// A control frame declares more than 125 bytes (section 5.5).
    #[error("a control frame is longer than 125 bytes; shorten its payload")]
    ControlTooLong,
    /// The length uses more bytes than it needs (section 5.2).
    #[error("a frame length is not in its shortest form; encode it minimally")]
    LengthNotMinimal,
    /// The 64-bit length has its highest bit set (section 5.2).
    #[error("a 64-bit frame length has its highest bit set; lengths have 63 bits")]
    LengthOutOfRange,
    /// A continuation came while no message was open (section 5.4).
    #[error("a continuation frame continues nothing; start with a text or binary frame")]
    ContinuationUnexpected,
    /// A new message began before the open one ended (section 5.4).
    #[error("a message began inside another; finish the fragmented message first")]
    MessageUnfinished,
    /// One frame is above the limit; known before any byte of its payload is kept.
    #[error("a frame is longer than {limit} bytes; split the content into smaller messages")]
    FrameTooLong {
        /// The limit in bytes.
        limit: u32,
    },
    /// The frames of one message together are above the limit.
    #[error("a message is longer than {limit} bytes; split the content into smaller messages")]
    MessageTooLong {
        /// The limit in bytes.
        limit: u32,
    },
    /// A message has too many frames, empty ones counted.
    #[error("a message has more than {limit} frames; use larger fragments")]
    FragmentsTooMany {
        /// The limit in frames.
        limit: u32,
    },
    /// Text is not UTF-8 (section 8.1).
    #[error("a text is not valid UTF-8; send bytes as a binary message")]
    TextNotUtf8,
    /// A close frame carries one byte, half a code (section 5.5.1).
    #[error("a close frame has one byte of payload; send none, or a two-byte code")]
    CloseTooShort,
    /// A close code that must not appear on the wire (section 7.4).
    #[error("close code {0} must not be sent; use 1000, another sendable code, or 3000-4999")]
    CloseCodeInvalid(u16),
    /// The reason of a close frame is not UTF-8 (section 5.5.1).
    #[error("the reason of a close frame is not valid UTF-8; send text or no reason")]
    CloseReasonNotUtf8,
}

impl Violation {
    /// The close code that tells the peer about this violation (RFC 6455 section 7.4.1).
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Violation::FrameTooLong { .. } | Violation::MessageTooLong { .. } => code::TOO_BIG,
            Violation::FragmentsTooMany { .. } => code::POLICY,
            Violation::TextNotUtf8 | Violation::CloseReasonNotUtf8 => code::NOT_CONSISTENT,
            _ => code::PROTOCOL_ERROR,
        }
    }
}

const _: () = assert!(size_of::<Violation>() <= 8);
