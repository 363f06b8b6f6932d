//! The archive on PostgreSQL: history, record ids, tops, cursors, P0 deadlines, offsets and
//! sequences of consumers, dead letters.
//!
//! - Pure: `page` (from rows to a page of history), `plan` (from a batch of a topic to rows),
//!   `values` (numbers as PostgreSQL has them).
//! - [`Store`]: calls for workers, on tokio. A batch of a topic, its effect and its offset are
//!   one transaction.
//! - [`PostgresArchive`]: the port [`crate::archive::Archive`] for nodes, over the same calls.
//!
//! The schema is in `relay/src/postgres/migrations/`, with a comment for each table; a process
//! that writes brings it up to date at its start ([`Store::prepare`]). History and record ids lie
//! in one partition a day, so that their retention is the drop of a table.
//!
//! Invariants:
//! - history is checked by its chain: what does not follow is not given out, a hole ends a page;
//! - an offset moves only from where its consumer believes it to be, in the transaction of the
//!   effect: two consumers cannot both have one;
//! - an error of the connection is never taken for one of a record.
//!
//! Limits: `limits.rs` here. Runs on: any tokio runtime; [`PostgresArchive`] is driven by whoever
//! holds it and never blocks.

mod config;
mod connect;
mod cursors;
mod dead_letters;
mod deadlines;
mod error;
mod history;
mod keep;
mod limits;
mod lookups;
mod offsets;
mod page;
mod plan;
mod port;
mod schema;
mod store;
#[cfg(test)]
mod tests;
mod tls;
mod values;

pub use config::{Config, ConfigError};
pub use connect::{pool, Connections};
pub use dead_letters::DeadLetter;
pub use deadlines::{Deadline, Escalation};
pub use error::{judge, StoreError};
pub use limits::{CONNECTIONS_DEFAULT, HISTORY_DAYS_DEFAULT, ID_DAYS};
pub use port::PostgresArchive;
pub use store::Store;
