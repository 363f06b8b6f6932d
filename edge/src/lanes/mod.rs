//! Lanes: all that stands between the threads of a node.
//!
//! Purpose: shards, relay and control threads share no state. What one has for another goes
//! through a lane: for each ordered pair of threads four bounded lock-free rings, one for each
//! priority, and a doorbell that wakes a sleeping taker.
//!
//! - `ring`: the four rings of one ordered pair.
//! - `sender`: pushing, room for replies, ringing doorbells once a turn.
//! - `receiver`: taking by weight, parking before sleep.
//! - `doorbell`: the flag and the eventfd.
//! - `overflow`: what may not be lost and found a lane full.
//! - `mesh`: builds the lanes of all threads at start.
//!
//! Invariants: the ring of P0 carries nothing else; the order of one pair and priority is
//! kept; no thread waits on a full lane, since full is a value; a reply always has room,
//! because the asker reserved it; a push is either seen by the taker before it sleeps or
//! wakes it.
//!
//! A thread has no lane to itself: what it has for itself it does in place.
//!
//! Limits: `limits.rs` sizes the rings by the number of threads and bounds their memory.
//!
//! Runs on: each `Sender` and `Receiver` on its own thread.

mod doorbell;
pub mod limits;
mod mesh;
mod overflow;
mod receiver;
mod ring;
mod sender;

#[cfg(test)]
mod tests;

pub use doorbell::Doorbell;
pub use mesh::{mesh, LaneError, Port};
pub use overflow::Overflow;
pub use receiver::{Receiver, Taken};
pub use sender::{Reservation, Sender, SenderCounters};
