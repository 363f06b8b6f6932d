//! What the node tells about itself: counters, their exposition, logs, panics.
//!
//! A shard counts in plain numbers of its own ([`Counters`]) and copies them once a
//! turn into its [`ShardCounters`]; the scraper reads those without a lock. Channel,
//! user and connection are never labels.
//!
//! Runs on: counters on shards, exposition on control, logs and panics on any thread.

pub mod allocator;
pub mod counters;
pub mod exposition;
pub mod fields;
pub mod log;
pub mod names;
pub mod panic;
pub mod process;
#[cfg(test)]
mod tests;

pub use counters::{Counters, ShardCounters};
