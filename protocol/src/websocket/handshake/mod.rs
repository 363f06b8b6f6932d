//! The opening handshake of RFC 6455 section 4, both ends, from and into byte slices.
//!
//! Server: feed received bytes to a [`HeadScan`] until it has seen the end of the head, then
//! [`parse_head`] once; or call [`parse_request`], which does both. Then [`write_accept`] or
//! [`write_refusal`]. Client: [`client::write_request`], then [`client::parse_response`].
//!
//! Invariants: each byte of a head is scanned once however it is cut, and the head is parsed
//! once, when it is complete; what follows the head is left to the caller as the first frames.
//! Strictness: lines end in CR LF only, no folded lines, no body, `GET` and HTTP/1.1 only,
//! `Host`, `Origin` and the `Sec-WebSocket` headers at most once, the key is 16 bytes in
//! canonical base64. What two parsers could read in two ways is refused.
//!
//! Limits: [`HandshakeLimits`]. Time limits are the caller's. Runs on: any thread.

mod answer;
pub mod client;
mod error;
mod fields;
mod key;
mod request;
mod scan;

pub use answer::{write_accept, write_refusal};
pub use error::HandshakeError;
pub use request::{parse_head, parse_request, UpgradeRequest};
pub use scan::HeadScan;

pub use super::limits::HandshakeLimits;

#[cfg(test)]
mod tests;
