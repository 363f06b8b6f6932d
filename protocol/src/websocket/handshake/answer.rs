//! A server's answers to an opening request (RFC 6455 section 4.2.2).
//!
//! Runs on: any thread.

use std::fmt::Write;

use super::{key, UpgradeRequest};

/// Appends the answer that opens the connection.
///
/// # Panics
/// When `subprotocol` was not offered: clients must fail such a connection (section 4.1), so the
/// caller decides with [`UpgradeRequest::offers`] first.
pub fn write_accept(request: &UpgradeRequest<'_>, subprotocol: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    );
    write_field("Sec-WebSocket-Accept", &key::accept(request.key), out);
    if let Some(name) = subprotocol {
        assert!(request.offers(name), "subprotocol {name} was not offered");
        write_field("Sec-WebSocket-Protocol", name, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends an answer that refuses the connection with an HTTP status of 400-599; `reason` is the
/// body, one line of text. The connection must be closed after it.
pub fn write_refusal(status: u16, reason: &str, out: &mut Vec<u8>) {
    let mut head = String::with_capacity(256);
    // Writing to a string cannot fail.
    let _ = write!(head, "HTTP/1.1 {status} {}\r\n", phrase(status));
    head.push_str(match status {
        405 => "Allow: GET\r\n",
        // RFC 6455 section 4.2.2 and RFC 9110 section 15.5.22.
        426 => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        _ => "",
    });
    let connection = if status == 426 {
        "Upgrade, close"
    } else {
        "close"
    };
    let _ = write!(
        head,
        "Connection: {connection}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\n\r\n{reason}\n",
        reason.len() + 1,
    );
    out.extend_from_slice(head.as_bytes());
}

pub(super) fn write_field(name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The standard phrase of a status (RFC 9110 section 15).
fn phrase(status: u16) -> &'static str {
    let status = http::StatusCode::from_u16(status).ok();
    status
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Refused")
}
