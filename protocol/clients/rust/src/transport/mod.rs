//! The driver of a session on tokio.
//!
//! Purpose: moves bytes between a socket and the session, and values between the session and
//! the application. It decides nothing about the protocol.
//! Runs on: one task for each client.

mod address;
mod connection;
mod link;
mod outlets;
mod queries;
#[cfg(feature = "tls")]
mod secure;
mod stream;
mod task;
mod trust;

pub(crate) use address::Address;
pub(crate) use task::{Inlets, Task};
pub(crate) use trust::Trust;
