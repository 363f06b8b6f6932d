//! Why an opening handshake is refused, and the HTTP status that says so.
//!
//! Runs on: any thread.

/// A refused opening handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The head is not HTTP/1.1 syntax, or leaves room for two readings.
    #[error("the request head is malformed; send HTTP/1.1 lines that end in CR LF")]
    Malformed,
    /// A line ends without CR LF, or holds a carriage return.
    #[error("a line of the head does not end in CR LF; use CR LF for every line")]
    LineEnd,
    /// The head is longer than the limit.
    #[error("the request head is longer than {limit} bytes; send fewer or shorter headers")]
    HeadTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The head has more header lines than the limit.
    #[error("the request has more than {limit} headers; send fewer")]
    HeadersTooMany {
        /// The limit in lines.
        limit: usize,
    },
    /// The method is not GET.
    #[error("a WebSocket handshake uses the method GET")]
    Method,
    /// The version is not HTTP/1.1.
    #[error("a WebSocket handshake uses HTTP/1.1")]
    HttpVersion,
    /// The request target is not a path with an optional query.
    #[error("the request target must be a path that starts with a slash, without a fragment")]
    Target,
    /// `Host` is absent, empty, repeated or not a host.
    #[error("send exactly one Host header with the name of the server")]
    Host,
    /// `Origin` is repeated or is not printable.
    #[error("send at most one Origin header")]
    Origin,
    /// `Upgrade: websocket` or `Connection: Upgrade` is absent.
    #[error("this port speaks WebSocket; send Upgrade: websocket and Connection: Upgrade")]
    NoUpgrade,
    /// `Sec-WebSocket-Version` is absent or not 13.
    #[error("only WebSocket version 13 is spoken here; send Sec-WebSocket-Version: 13")]
    WebSocketVersion,
    /// `Sec-WebSocket-Key` is absent, repeated or not 16 bytes of base64.
    #[error("send exactly one Sec-WebSocket-Key with 16 random bytes in base64")]
    Key,
    /// `Sec-WebSocket-Protocol` holds something that is no token, or too many.
    #[error("Sec-WebSocket-Protocol must list at most 16 tokens, separated by commas")]
    Subprotocols,
    /// The request announces a body.
    #[error("a WebSocket handshake has no body; drop Content-Length and Transfer-Encoding")]
    Body,
    /// A server answered a client's request with another status than 101.
    #[error("the server refused the upgrade with HTTP status {status}")]
    Refused {
        /// The status of the answer.
        status: u16,
    },
    /// A server's answer does not accept this request's key.
    #[error("the answer's Sec-WebSocket-Accept is wrong; the peer is no WebSocket server")]
    Accept,
    /// A server chose a subprotocol that was not offered, or an extension.
    #[error("the server chose a subprotocol or extension that was not offered")]
    NotOffered,
}

impl HandshakeError {
    /// The HTTP status of a server's refusal.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            HandshakeError::HeadTooLong { .. } | HandshakeError::HeadersTooMany { .. } => 431,
            HandshakeError::Method => 405,
            HandshakeError::HttpVersion => 505,
            HandshakeError::NoUpgrade | HandshakeError::WebSocketVersion => 426,
            HandshakeError::Refused { .. }
            | HandshakeError::Accept
            | HandshakeError::NotOffered => 502,
            _ => 400,
        }
    }
}
