//! TLS of the generator's clients: rustls without I/O, and what its clients offer and accept.
//!
//! Purpose: the seam between fleet and rustls, on the other side the same as on the edge.
//! [`TlsClient`] turns received records into plaintext and plaintext into records, [`SecureTable`]
//! holds one for each client of a fleet, [`client_config`] says what they offer.
//!
//! Invariants: TLS 1.3 with AES-128-GCM and X25519 only, which costs the generator least and which
//! the edge then takes too; no early data. All clients have one key for the key exchange, the
//! certificate is compared, and its signature is checked once: none of it changes what a handshake
//! costs the server, and a client that does it all would cost more than the server.
//! Limits: see `limits`.
//!
//! Runs on: the generator's thread.

mod client;
mod config;
mod key_share;
mod table;
#[cfg(test)]
pub(super) mod tests;

pub use config::{client_config, Tickets, DESCRIPTION, SERVER_NAME};
pub(super) use table::SecureTable;
pub use table::Secured;
