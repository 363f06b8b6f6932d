//! The generator: one thread that holds a fleet of clients on its own rings.
//!
//! Purpose: open-loop load. A [`schedule`] says when something is due, a workload says what, the
//! [`fleet`] moves the bytes, the [`tracker`] says what arrived.
//!
//! Invariants: nothing waits for an answer before the next scheduled send, unless a window of the
//! protocol is full; then the event waits in the generator and its latency still counts from the
//! schedule. No allocation per message after start. Received frames are read without a verifier,
//! with checked reads only ([`peek`]): the server is trusted to be correct here, not safe.
//!
//! Runs on: the generator's thread, pinned to its core.

pub mod client;
pub mod connect;
pub mod fleet;
pub mod link;
pub mod payload;
pub mod peek;
pub mod publisher;
pub mod schedule;
mod sending;
pub mod signing_key;
pub mod stamp;
mod stream;
pub mod template;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod token;
pub mod tracker;
pub mod workload;

pub use fleet::{Fleet, FleetConfig, Greeting};
pub use link::Link;
pub use workload::{EndCause, Workload};
