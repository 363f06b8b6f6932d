//! Builds the lanes of a node at start.
//!
//! Runs on: the starting thread, which gives each port to its thread.

use super::doorbell::Doorbell;
use super::limits::LANE_THREADS_MAX;
use super::receiver::Receiver;
use super::ring::Rings;
use super::sender::Sender;
use std::sync::Arc;
use thiserror::Error;

/// Why lanes cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LaneError {
    /// More threads than the bound on memory allows.
    #[error("{threads} threads exceed the limit of {LANE_THREADS_MAX}: lower --shards")]
    TooManyThreads {
        /// How many threads were asked for.
        threads: usize,
    },
}

/// Both ends of one thread.
pub struct Port<T> {
    /// Towards the others.
    pub sender: Sender<T>,
    /// From the others.
    pub receiver: Receiver<T>,
}

impl<T> std::fmt::Debug for Port<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Port({})", self.sender.own())
    }
}

/// Connects `threads` threads, each with each other; port `i` belongs to thread `i`. Entries
/// have at most 32 bytes, which the compiler checks.
///
/// # Errors
/// When there are more threads than `LANE_THREADS_MAX`.
pub fn mesh<T: Send>(threads: usize) -> Result<Vec<Port<T>>, LaneError> {
    if threads > LANE_THREADS_MAX {
        return Err(LaneError::TooManyThreads { threads });
    }
    let bells: Vec<_> = (0..threads).map(|_| Arc::new(Doorbell::new())).collect();
    let ring = |from, to| (from != to).then(|| Arc::new(Rings::new(threads)));
    // rings[from][to]
    let rings: Vec<Vec<Option<Arc<Rings<T>>>>> = (0..threads)
        .map(|from| (0..threads).map(|to| ring(from, to)).collect())
        .collect();
    let port = |own: usize| {
        let lane = |to: usize| Some((rings[own][to].clone()?, Arc::clone(&bells[to])));
        let incoming = |from: usize| Some((from, rings[from][own].clone()?));
        Port {
            sender: Sender::new(own, (0..threads).map(lane).collect()),
            receiver: Receiver::new(
                (0..threads).filter_map(incoming).collect(),
                Arc::clone(&bells[own]),
            ),
        }
    };
    Ok((0..threads).map(port).collect())
}
