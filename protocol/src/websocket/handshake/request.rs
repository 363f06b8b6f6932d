//! A client's opening request, read by the server (RFC 6455 section 4.2.1).
//!
//! Invariant: a parsed request is a valid upgrade; only policy (path, origin, subprotocol) is
//! left to the caller. Limits: [`HandshakeLimits`]. Runs on: any thread.

use super::fields::{list_members, token, Fields};
use super::{key, HandshakeError, HandshakeLimits, HeadScan};
use crate::websocket::limits::{HANDSHAKE_HEADERS, HANDSHAKE_SUBPROTOCOLS};

/// A valid request to open a WebSocket connection; borrows the received head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeRequest<'a> {
    /// The path of the request target; starts with a slash, printable ASCII, not decoded.
    pub path: &'a str,
    /// What follows the first question mark of the target.
    pub query: Option<&'a str>,
    /// The `Host` header: name and optional port.
    pub host: &'a str,
    /// The `Origin` header; browsers always send it, other clients need not.
    pub origin: Option<&'a str>,
    /// The `User-Agent` header, for logs.
    pub user_agent: Option<&'a str>,
    /// The offered subprotocols in the client's order of preference.
    pub subprotocols: Vec<&'a str>,
    /// The `Sec-WebSocket-Key` as sent: 24 characters.
    pub key: &'a str,
}

impl UpgradeRequest<'_> {
    /// Whether the client offers `subprotocol`; the comparison is exact.
    #[must_use]
    pub fn offers(&self, subprotocol: &str) -> bool {
        self.subprotocols.contains(&subprotocol)
    }
}

/// Reads a request from its first byte; `None` while the head is cut. Gives the head's length
/// and the request. A caller that gets the head in many parts keeps a [`HeadScan`] instead.
///
/// # Errors
/// See [`HandshakeError`]; its status answers the client.
pub fn parse_request<'a>(
    received: &'a [u8],
    limits: &HandshakeLimits,
) -> Result<Option<(usize, UpgradeRequest<'a>)>, HandshakeError> {
    let Some(length) = HeadScan::new().advance(received, limits)? else {
        return Ok(None);
    };
    Ok(Some((length, parse_head(&received[..length], limits)?)))
}

/// Reads a complete head, as found by a [`HeadScan`].
///
/// # Errors
/// See [`HandshakeError`]; its status answers the client.
pub fn parse_head<'a>(
    head: &'a [u8],
    limits: &HandshakeLimits,
) -> Result<UpgradeRequest<'a>, HandshakeError> {
    let mut lines = [httparse::EMPTY_HEADER; HANDSHAKE_HEADERS];
    let limit = limits.headers.min(HANDSHAKE_HEADERS);
    let mut request = httparse::Request::new(&mut lines[..limit]);
    match request.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(HandshakeError::Malformed),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(HandshakeError::HeadersTooMany { limit });
        }
        Err(httparse::Error::Version) => return Err(HandshakeError::HttpVersion),
        Err(_) => return Err(HandshakeError::Malformed),
    }
    if request.method != Some("GET") {
        return Err(HandshakeError::Method);
    }
    if request.version != Some(1) {
        return Err(HandshakeError::HttpVersion);
    }
    let (path, query) = split_target(request.path.unwrap_or_default())?;
    read_fields(path, query, Fields::new(request.headers))
}

/// Checks the header lines in the order of RFC 6455 section 4.2.1.
fn read_fields<'a>(
    path: &'a str,
    query: Option<&'a str>,
    fields: Fields<'_, 'a>,
) -> Result<UpgradeRequest<'a>, HandshakeError> {
    check_no_body(fields)?;
    let host = fields
        .at_most_one("host", HandshakeError::Host)?
        .ok_or(HandshakeError::Host)?;
    if !is_host(host) {
        return Err(HandshakeError::Host);
    }
    if !fields.list_has("upgrade", "websocket") || !fields.list_has("connection", "upgrade") {
        return Err(HandshakeError::NoUpgrade);
    }
    let version = fields.at_most_one("sec-websocket-version", HandshakeError::WebSocketVersion)?;
    if version != Some("13") {
        return Err(HandshakeError::WebSocketVersion);
    }
    let key = fields.at_most_one("sec-websocket-key", HandshakeError::Key)?;
    let key = key
        .filter(|key| key::is_valid(key))
        .ok_or(HandshakeError::Key)?;
    Ok(UpgradeRequest {
        path,
        query,
        host,
        origin: fields.at_most_one("origin", HandshakeError::Origin)?,
        // A name for logs decides nothing, so an odd one is left out instead of refused.
        user_agent: fields
            .at_most_one("user-agent", HandshakeError::Malformed)
            .unwrap_or(None),
        subprotocols: read_subprotocols(fields)?,
        key,
    })
}

/// Refuses every announcement of a body: bytes after the head are frames, and a proxy in front
/// that thought otherwise would read them as another request.
fn check_no_body(fields: Fields<'_, '_>) -> Result<(), HandshakeError> {
    let has_length = fields.all("content-length").any(|length| length != b"0");
    if has_length || fields.all("transfer-encoding").next().is_some() {
        return Err(HandshakeError::Body);
    }
    Ok(())
}

/// Splits a target in origin form. The absolute form is for proxies and could contradict `Host`;
/// fragments must not be sent (RFC 6455 section 3).
fn split_target(target: &str) -> Result<(&str, Option<&str>), HandshakeError> {
    // What no browser sends unescaped: the query set of the URL standard, and the backtick of
    // its path set.
    let is_sent = |byte: u8| byte.is_ascii_graphic() && !b"\"#<>".contains(&byte);
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    if !path.starts_with('/') || path.contains('`') || !target.bytes().all(is_sent) {
        return Err(HandshakeError::Target);
    }
    Ok((path, query))
}

/// Whether `host` can be a name or address with an optional port: no user part, path, query or
/// list, which is where parsers differ.
fn is_host(host: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    !host.is_empty() && host.bytes().all(is_part)
}

fn read_subprotocols<'a>(fields: Fields<'_, 'a>) -> Result<Vec<&'a str>, HandshakeError> {
    let mut offered = Vec::new();
    for member in fields.all("sec-websocket-protocol").flat_map(list_members) {
        let name = token(member).ok_or(HandshakeError::Subprotocols)?;
        if offered.len() == HANDSHAKE_SUBPROTOCOLS {
            return Err(HandshakeError::Subprotocols);
        }
        offered.push(name);
    }
    Ok(offered)
}
