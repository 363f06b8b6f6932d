//! The client's end of the opening handshake (RFC 6455 section 4.1), for the client SDK and the
//! load generator.
//!
//! Runs on: any thread.

use super::answer::write_field;
use super::fields::Fields;
use super::{key, HandshakeError, HandshakeLimits, HeadScan};
use crate::websocket::limits::HANDSHAKE_HEADERS;

/// What a client asks for. All parts must be printable ASCII without line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientRequest<'a> {
    /// Path and query; starts with a slash.
    pub target: &'a str,
    /// Name and, unless it is the scheme's own, port of the server.
    pub host: &'a str,
    /// The origin of the page, as browsers send it.
    pub origin: Option<&'a str>,
    /// The one subprotocol offered.
    pub subprotocol: Option<&'a str>,
    /// 16 random bytes, new for each connection.
    pub nonce: [u8; 16],
}

/// Appends the request to `out`.
pub fn write_request(request: &ClientRequest<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"GET ");
    out.extend_from_slice(request.target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_field("Host", request.host, out);
    out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\n");
    out.extend_from_slice(b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ");
    out.extend_from_slice(&key::encode(&request.nonce));
    out.extend_from_slice(b"\r\n");
    if let Some(origin) = request.origin {
        write_field("Origin", origin, out);
    }
    if let Some(subprotocol) = request.subprotocol {
        write_field("Sec-WebSocket-Protocol", subprotocol, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Reads a server's answer to `request` from its first byte; `None` while its head is cut. Gives
/// the head's length; frames follow it.
///
/// # Errors
/// [`HandshakeError::Refused`] with the status of an answer that is not 101, and every reason of
/// section 4.1 to fail the connection: no upgrade, a wrong accept value, an extension, a
/// subprotocol that was not offered, or none although one was.
pub fn parse_response(
    received: &[u8],
    request: &ClientRequest<'_>,
    limits: &HandshakeLimits,
) -> Result<Option<usize>, HandshakeError> {
    let Some(length) = HeadScan::new().advance(received, limits)? else {
        return Ok(None);
    };
    let mut lines = [httparse::EMPTY_HEADER; HANDSHAKE_HEADERS];
    let limit = limits.headers.min(HANDSHAKE_HEADERS);
    let mut response = httparse::Response::new(&mut lines[..limit]);
    match response.parse(&received[..length]) {
        Ok(httparse::Status::Complete(parsed)) if parsed == length => {}
        Err(httparse::Error::TooManyHeaders) => {
            return Err(HandshakeError::HeadersTooMany { limit });
        }
        _ => return Err(HandshakeError::Malformed),
    }
    if response.version != Some(1) {
        return Err(HandshakeError::HttpVersion);
    }
    match response.code {
        Some(101) => {}
        status => {
            return Err(HandshakeError::Refused {
                status: status.unwrap_or_default(),
            })
        }
    }
    check_accepted(Fields::new(response.headers), request)?;
    Ok(Some(length))
}

fn check_accepted(
    fields: Fields<'_, '_>,
    request: &ClientRequest<'_>,
) -> Result<(), HandshakeError> {
    if !fields.list_has("upgrade", "websocket") || !fields.list_has("connection", "upgrade") {
        return Err(HandshakeError::NoUpgrade);
    }
    let accept = fields.at_most_one("sec-websocket-accept", HandshakeError::Accept)?;
    let key = key::encode(&request.nonce);
    let expected = std::str::from_utf8(&key)
        .map(key::accept)
        .unwrap_or_default();
    if accept != Some(expected.as_str()) {
        return Err(HandshakeError::Accept);
    }
    let chosen = fields.at_most_one("sec-websocket-protocol", HandshakeError::NotOffered)?;
    let has_extension = fields.all("sec-websocket-extensions").next().is_some();
    // A server that passes the offer over does not speak the protocol we need.
    if has_extension || chosen != request.subprotocol {
        return Err(HandshakeError::NotOffered);
    }
    Ok(())
}
