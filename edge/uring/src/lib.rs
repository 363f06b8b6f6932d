//! `EdgeRing`: client connections on io_uring, without a runtime.
//!
//! **Purpose.** The one door between the shard logic and the kernel: the [`Kernel`] trait. The
//! real kernel and [`ScriptedKernel`] (in memory, deterministic) stand behind it, so that the
//! same logic runs in production, in tests and in a simulator.
//!
//! **Invariants.** No operation keeps memory of the caller after the call returned. A connection
//! is named by (ring, slot, generation), so that a completion that arrives late never reaches the
//! next connection in the same slot. No allocation per operation after warm-up.
//!
//! **Limits.** All of them stand in [`limits`], each with its reason.
//!
//! **Thread.** A kernel belongs to the thread that created it and never leaves it.

pub mod config;
pub mod counters;
pub mod driver;
pub mod edge_ring;
pub mod event;
pub mod features;
pub mod kernel;
pub mod limits;
pub mod listener;
mod operation;
mod ring;
pub mod scripted;
pub mod socket_id;

pub use config::{RingConfig, SetupError};
pub use counters::RingCounters;
pub use edge_ring::EdgeRing;
pub use event::{EndReason, Event, HandshakeId, Received};
pub use features::Features;
pub use kernel::{Kernel, RingGroup, Send, SendOutcome, SendTarget};
pub use scripted::ScriptedKernel;
pub use socket_id::SocketId;
