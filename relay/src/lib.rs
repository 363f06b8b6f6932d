//! Journal, positions and history of an Interlink node, and the ports to brokers.
//!
//! Purpose: keep what was accepted. A record enters the [`journal`] before it is
//! acknowledged, gets its position from the backplane, and is found again after a
//! crash.
//!
//! Invariant: the parts that run on a shard do no I/O and read no clock; bytes, times and
//! results go in, actions come out. What blocks lives in its own modules and says so.

#![forbid(unsafe_code)]

pub mod archive;
pub mod backplane;
mod bytes;
pub mod conformance;
pub mod cursors;
pub mod dedupe;
pub mod dump;
pub mod event_log;
pub mod files;
mod index;
pub mod journal;
pub mod limits;
pub mod ports;
pub mod record;
pub mod recovery;
#[cfg(test)]
mod testing;
