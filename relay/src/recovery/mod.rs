//! From the files of earlier boots to the state that a new boot starts with.
//!
//! Two passes: `scan` judges every log and indexes what has no index, `build` puts
//! positions, recent events, accepted ids and records without a position together.
//!
//! Invariants:
//! - A recovery changes nothing that a later one reads differently: it syncs what it
//!   believes, adds indexes and notes damage. After a crash in the middle of it the next
//!   one finds the same.
//! - Records are believed by the rules of [`StreamScan`].
//!
//! Limits: a start reads the index of every retained segment, the segments without one and
//! the newest 64 MiB. Runs on: the main thread, before shards start.

pub(crate) mod build;
mod channels;
#[cfg(test)]
mod crash_images;
#[cfg(test)]
mod known_errors;
mod node;
mod notes;
#[cfg(test)]
mod restarts;
pub(crate) mod scan;
mod stream;

pub use node::{
    RecoveredChannel, RecoveredEvent, RecoveredNode, RecoveredPublisher, UnmarkedRecord,
};
pub use stream::{Believed, Damage, StreamScan, StreamState, TornTail};
