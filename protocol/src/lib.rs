//! The Interlink protocol as pure logic.
//!
//! Time, bytes and randomness come in as arguments and values go out: nothing in this crate
//! opens a socket, reads a clock, starts a thread or knows a runtime. The server, the client
//! SDK, the simulator and the fuzz targets drive the same code.
//!
//! - [`frame`]: bytes into verified frames, and frames into bytes;
//! - [`session`]: the decisions of a connection, one file for each mechanism;
//! - [`websocket`]: the RFC 6455 codec below the frames;
//! - [`proxy`]: whom a proxy in front speaks for;
//! - [`channel`], [`namespace`], [`claims`], [`registry`]: what may be published where, and by
//!   whom;
//! - [`ids`], [`priority`], [`limits`]: the values that all of it shares.
//!
//! Invariants: no allocation on the way of a publish, an event or an acknowledgement after the
//! first messages have passed; every list, text and number from a peer has a bound in
//! [`limits`].

#![forbid(unsafe_code)]

pub mod channel;
pub mod claims;
/// Error codes and close codes, from the code table of the schema.
pub mod codes {
    pub use interlink_wire::{CloseCode, ErrorCode};
}
pub mod frame;
pub mod ids;
pub mod limits;
pub mod namespace;
pub mod priority;
pub mod proxy;
pub mod registry;
pub mod session;
pub mod websocket;

pub use codes::{CloseCode, ErrorCode};
