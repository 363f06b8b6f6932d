//! Bare baselines: what the kernel alone costs for the same bytes.
//!
//! Purpose: each but the disk runs as a process of its own, pinned like the server, and moves
//! exactly the bytes that the server moved, with the same rings, slots and receive flags where it
//! uses a ring, and with no WebSocket, frame, token, routing or journal.
//!
//! - [`exchange`]: for so many bytes in, so many bytes out. With a repeated step it is the echo
//!   reference; with a list of steps it is the reference of a connect storm.
//! - [`disk`]: writes that are synced, with no server: the reference of durable acks. It runs in
//!   the bench itself.
//! - [`push`]: for one trigger, one plain `send` to each of many sockets: the fan-out reference.
//!
//! They are written directly against the kernel's interface, not against the rings of the
//! server, so that a flaw there cannot hide in the reference.
//!
//! Runs on: the only thread of its own process, except [`disk`].

pub mod disk;
pub mod exchange;
pub mod listener;
pub mod push;
pub mod ring;
pub mod script;

pub use script::Script;
