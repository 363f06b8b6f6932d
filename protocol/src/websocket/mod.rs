//! RFC 6455 as pure logic: bytes in, values and bytes out, no socket, clock or thread.
//!
//! Purpose: one codec for the edge, the client SDK, the load generator and the conformance
//! server. Parts: [`handshake`] opens a connection, [`Reader`] turns received bytes into messages
//! in place, [`assembler`] bounds and joins fragments, [`utf8`] checks text, [`close`] is the
//! closing handshake, [`frame`] writes headers, [`mask`] is the masking transform, and [`echo`]
//! puts all of it together for conformance runs.
//!
//! Invariants:
//! - nothing is allocated for a message that arrives whole; no declared length ever reserves
//!   memory;
//! - a [`Reader`] is 16 bytes, so an idle connection costs no buffer;
//! - cutting the byte stream anywhere changes neither the messages nor the verdict.
//!
//! Extensions (RFC 6455 section 9) are not negotiated: a compression window per connection would
//! cost more memory than the whole session, so every reserved bit is a protocol error.
//!
//! Limits: [`limits`]. Runs on: any thread; every type is plain data owned by its caller.

pub mod assembler;
pub mod close;
pub mod echo;
mod error;
pub mod frame;
pub mod handshake;
pub mod limits;
pub mod mask;
mod reader;
pub mod utf8;

pub use assembler::{Assembled, Assembler};
pub use echo::EchoConnection;
pub use error::Violation;
pub use frame::{ControlKind, DataKind, Opcode, Role};
pub use limits::Limits;
pub use reader::{Reader, Step};
