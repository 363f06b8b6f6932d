//! Publishes on routes, and what became of each: the traffic of most scenarios.
//!
//! A **route** is one publisher on one channel with its receivers. A **source** offers events on
//! a set of routes, either on a schedule (open loop) or by keeping a window of unanswered ones
//! (always ready). Each class has its own counts and latencies.
//!
//! Invariants: an event's latency counts from its scheduled time, also when it waited here for
//! credit; lost is what was accepted and did not arrive, so a refusal is never a loss; an event
//! at a client that should not get it counts as wrong.
//!
//! Limits: [`crate::limits::BACKLOG_MAX`] events wait for credit on one connection.
//! Runs on: the generator's thread.

mod counts;
mod load;
mod route;
#[cfg(test)]
mod tests;

pub use counts::{ClassCounts, CLASSES};
pub use load::Traffic;
pub use route::Route;
