//! What the node tells about itself: counters, their exposition, logs, panics.
//!
//! A shard counts in plain numbers of its own ([`Counters`]) and copies them before it
//! sleeps, and every 10 ms while it does not, into its [`ShardCounters`]; latencies it
//! counts where they are read. The scraper reads both without a lock. Channel, user and
//! connection are never labels. `METRICS.md` is the reference, generated from the
//! declarations.
//!
//! Runs on: counters on shards, exposition on control, logs and panics on any thread.

pub mod allocator;
pub mod counters;
pub mod exposition;
pub mod fields;
pub mod latency;
pub mod log;
pub mod metric;
pub mod names;
pub mod panic;
pub mod process;
pub mod reference;
#[cfg(test)]
mod tests;

pub use counters::{Counters, ShardCounters};
