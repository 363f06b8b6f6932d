//! State of the whole node, and what its parts tell the main thread.
//!
//! Runs on: the main thread writes the state, any thread reads it.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

use crate::hand_over::door::Heard;

/// Where the node is in its life; it moves forward, and back only to serve on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Opens files and starts threads.
    Starting = 0,
    /// Reads its journal.
    Recovering = 1,
    /// Serves clients.
    Ready = 2,
    /// Sends clients away and flushes.
    Draining = 3,
    /// Serves nobody any more.
    Stopped = 4,
}

impl Phase {
    const ALL: [Self; 5] = [
        Self::Starting,
        Self::Recovering,
        Self::Ready,
        Self::Draining,
        Self::Stopped,
    ];

    /// The word for health answers and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Recovering => "recovering",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

/// The phase, shared by all threads.
#[derive(Debug, Default)]
pub struct NodeState {
    phase: AtomicU8,
    changed: Notify,
}

impl NodeState {
    /// The present phase.
    pub fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.phase.load(Ordering::Acquire))]
    }

    /// A hand-over has come to nothing: the node serves on.
    pub fn serve_on(&self) {
        let (from, to) = (Phase::Draining as u8, Phase::Ready as u8);
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        // Nothing else moves on from draining while the main thread is here.
        let _ = self.phase.compare_exchange(from, to, success, failure);
        self.changed.notify_one();
    }

    /// Moves forward; an earlier phase than the present one changes nothing.
    pub fn advance(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
        self.changed.notify_one();
    }

    /// Waits for the next change, or returns at once for one since the last wait. For one
    /// waiter, the control thread.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// What a part of the node tells the main thread.
#[derive(Debug)]
pub enum NodeEvent {
    /// A signal asks the process to stop.
    Signal(&'static str),
    /// The control endpoint asks the node to drain.
    DrainAsked,
    /// A shard's thread has ended.
    ShardEnded {
        /// Number of the shard.
        shard: usize,
        /// Why, when it was not asked to.
        error: Option<String>,
    },
    /// The control thread has ended by itself.
    ControlEnded(String),
    /// The relay thread of a cluster has ended by itself.
    RelayEnded(String),
    /// A process that wants to take over says something.
    Successor {
        /// Which one, in the order of their calls.
        number: usize,
        /// What it says.
        heard: Heard,
    },
}

impl fmt::Display for NodeEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(name) => write!(f, "signal {name}"),
            Self::DrainAsked => write!(f, "POST /v1/drain"),
            Self::ShardEnded { shard, error } => {
                let reason = error.as_deref().unwrap_or("without an error");
                write!(f, "shard {shard} has ended: {reason}")
            }
            Self::ControlEnded(reason) => write!(f, "control has ended: {reason}"),
            Self::RelayEnded(reason) => write!(f, "the relay thread has ended: {reason}"),
            Self::Successor { number, heard } => write!(f, "successor {number}: {heard:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_only_move_forward() {
        let node = NodeState::default();
        assert_eq!(node.phase(), Phase::Starting);
        for phase in Phase::ALL {
            node.advance(phase);
            assert_eq!(node.phase(), phase);
        }
        node.advance(Phase::Ready);
        assert_eq!(node.phase(), Phase::Stopped);
        node.serve_on();
        assert_eq!(node.phase(), Phase::Stopped);
    }

    #[test]
    fn a_draining_node_may_serve_on() {
        let node = NodeState::default();
        node.advance(Phase::Draining);
        node.serve_on();
        assert_eq!(node.phase(), Phase::Ready);
    }
}
