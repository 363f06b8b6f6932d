//! The closing handshake: its states, its payload and its codes (RFC 6455 sections 5.5.1, 7).
//!
//! The machine is a table of `event(from => to)`; whatever the table does not name is an illegal
//! event, a value that changes nothing. Close frames carry an optional 2-byte code and a
//! UTF-8 reason; [`parse`] accepts exactly the codes that may stand on the wire.
//!
//! Invariants: at most one close frame is sent; after one was received no data frame is sent.
//! Limits: reasons are cut to 123 bytes at a character. Runs on: any thread.

use super::frame::{append_server_frame, ControlKind, Opcode};
use super::limits::{CLOSE_REASON_BYTES_MAX, CONTROL_PAYLOAD_BYTES_MAX};
use super::Violation;
use crate::transitions;

/// Close codes of RFC 6455 section 7.4.1 that this codec sends by itself. Codes of the
/// application are generated from the code table of the schema.
pub mod code {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: u16 = 1000;
    /// The endpoint goes away: a server shuts down, a page is left.
    pub const GOING_AWAY: u16 = 1001;
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: u16 = 1002;
    /// The peer sent a kind of data that is not accepted here.
    pub const UNSUPPORTED: u16 = 1003;
    /// The data does not fit its kind, such as text that is not UTF-8.
    pub const NOT_CONSISTENT: u16 = 1007;
    /// The peer broke a rule of ours that has no code of its own.
    pub const POLICY: u16 = 1008;
    /// A message is too big to process.
    pub const TOO_BIG: u16 = 1009;
    /// The server met an unexpected condition.
    pub const INTERNAL: u16 = 1011;
}

transitions! {
    /// Where the closing handshake stands.
    pub states CloseState {
        /// No close frame in either direction.
        Open,
        /// Ours is sent; the peer's has not come. Data of the peer may still arrive and is
        /// dropped.
        CloseSent,
        /// The peer's has come; ours is not sent. No data may be sent.
        CloseReceived,
        /// Both have passed, or the transport ended. A server closes the socket now.
        Closed,
    }
    /// What can happen to the closing handshake.
    events CloseEvent {
        /// We send a close frame.
        Send,
        /// A close frame of the peer arrives.
        Receive,
        /// We give the connection up after a violation: a close frame is sent, none is awaited
        /// (section 7.1.7).
        Fail,
        /// The transport ends.
        TransportEnd,
    }
    Send(Open => CloseSent);
    Send(CloseReceived => Closed);
    Receive(Open => CloseReceived);
    Receive(CloseSent => Closed);
    Fail(Open | CloseSent | CloseReceived => Closed);
    TransportEnd(Open | CloseSent | CloseReceived | Closed => Closed);
}

impl CloseState {
    /// Whether data and control frames may still be sent.
    #[must_use]
    pub const fn may_send(self) -> bool {
        matches!(self, CloseState::Open)
    }
}

/// What a close frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// The code, or none: 1005 for the application, never on the wire.
    pub code: Option<u16>,
    /// The reason, for logs only.
    pub reason: &'a str,
}

/// Reads the payload of a close frame.
///
/// # Errors
/// One byte of payload, a code that must not be sent, or a reason that is not UTF-8.
pub fn parse(payload: &[u8]) -> Result<CloseFrame<'_>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload {
            [] => Ok(CloseFrame {
                code: None,
                reason: "",
            }),
            _ => Err(Violation::CloseTooShort),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !is_sendable(code) {
        return Err(Violation::CloseCodeInvalid(code));
    }
    let reason = std::str::from_utf8(reason).map_err(|_| Violation::CloseReasonNotUtf8)?;
    Ok(CloseFrame {
        code: Some(code),
        reason,
    })
}

/// Whether a code may stand in a close frame: the registered codes of 1000-1014 except 1004-1006,
/// and the ranges of libraries and applications (RFC 6455 section 7.4.2; 1012-1014 are in the
/// IANA registry).
#[must_use]
pub const fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// The code that answers a peer's close frame: its own code, or none when it sent none
/// (section 5.5.1: an endpoint typically echoes the code it received).
///
/// A payload that breaks the rules is answered with the violation's code.
#[must_use]
pub fn answer(payload: &[u8]) -> Option<u16> {
    match parse(payload) {
        Ok(frame) => frame.code,
        Err(violation) => Some(violation.close_code()),
    }
}

/// Writes the payload of a close frame; returns its length. A reason without a code cannot be
/// sent and is dropped.
pub fn write_payload(
    code: Option<u16>,
    reason: &str,
    out: &mut [u8; CONTROL_PAYLOAD_BYTES_MAX],
) -> usize {
    let Some(code) = code else { return 0 };
    debug_assert!(is_sendable(code), "close code {code} must not be sent");
    let reason = &reason.as_bytes()[..reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX)];
    out[..2].copy_from_slice(&code.to_be_bytes());
    out[2..2 + reason.len()].copy_from_slice(reason);
    2 + reason.len()
}

/// Appends a server's close frame to `out`.
pub fn append_server_close(code: Option<u16>, reason: &str, out: &mut Vec<u8>) {
    let mut payload = [0; CONTROL_PAYLOAD_BYTES_MAX];
    let length = write_payload(code, reason, &mut payload);
    append_server_frame(
        Opcode::Control(ControlKind::Close),
        true,
        &payload[..length],
        out,
    );
}

#[cfg(test)]
mod tests;
