//! TLS for clients: rustls behind a wrapper without I/O, and what configures it.
//!
//! Purpose: [`TlsSession`] turns received records into plaintext and plaintext into
//! records, with every buffer handed in by the shard. [`TlsKeeper`] holds what new
//! connections are served with, certificates by name and keys of session tickets, and
//! replaces it as a whole when files change or a ticket key rotates.
//!
//! Invariants: TLS 1.3 and 1.2 with the suites of aws-lc-rs, no early data, no session
//! storage; an established session is never affected by a change of files.
//! Limits: see `limits.rs`.
//!
//! Runs on: sessions on their shard, the keeper on the control thread.

mod error;
mod keeper;
pub mod limits;
mod material;
mod session;
#[cfg(test)]
mod tests;
mod tickets;

use std::sync::Arc;

use rustls::ServerConfig;

use crate::auth::Published;

pub use error::TlsError;
pub use keeper::{TlsCounts, TlsKeeper, TlsPlan};
pub use material::{server_config, Certificates};
pub use session::{Opened, TlsSession};
pub use tickets::{TicketKeys, TicketSecret};

/// What new connections are served with, read by shards when they accept.
pub type Serving = Published<Arc<ServerConfig>>;
