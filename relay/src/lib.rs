//! Journal, positions and history of an Interlink node, and the ports to brokers.
//!
//! Purpose: keep what was accepted. A record enters the [`journal`] before it is
//! acknowledged, gets its position from a [`backplane`], and is found again by the
//! [`recovery`] after a crash and by [`files`] for history.
//!
//! - On a shard, without I/O or clock: [`journal`], [`dedupe`], [`backplane::Sequencer`],
//!   [`cursors::CursorTable`], [`presence`]. Bytes, times and results go in, actions come out.
//! - Blocking, on the main thread at start and then on the journal-files thread: [`files`],
//!   [`recovery`], [`dump`], [`cursors::CursorLog`].
//! - Ports, which a single node and a cluster implement: [`backplane`], [`event_log`],
//!   [`archive`]; their rules are the suites of [`conformance`].
//! - On tokio, for the cluster: [`kafka`], [`redis`], [`postgres`].
//!
//! Invariant: no async, no runtime type and no thread of its own but in the folders of brokers and
//! stores; ports have none in their methods.

#![forbid(unsafe_code)]

pub mod archive;
pub mod backplane;
pub mod breaker;
mod bytes;
pub mod conformance;
pub mod cursors;
pub mod dedupe;
pub mod dump;
pub mod event_log;
pub mod files;
mod index;
pub mod journal;
pub mod kafka;
pub mod limits;
pub mod lines;
pub mod ports;
pub mod postgres;
pub mod presence;
pub mod record;
pub mod recovery;
pub mod redis;
pub mod retry;
#[cfg(test)]
mod testing;
