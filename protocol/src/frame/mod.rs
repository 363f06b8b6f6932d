//! Frames: bytes into verified views, and values into bytes.
//!
//! Purpose: the only door between bytes of a peer and the generated readers. A frame is one
//! FlatBuffer with the file identifier `ILNK` in one binary WebSocket message.
//!
//! Invariants:
//! - a view exists only after the whole frame was verified, with a fresh verifier for each
//!   frame and bounds on depth, tables and apparent size ([`crate::limits`]);
//! - a decoded frame has a kind that its sender may send, and its lists are within their
//!   bounds; lengths of texts are checked by whoever gives them a meaning;
//! - an encoded `Event` always has room for its position, see [`event`];
//! - [`FrameEncoder`] does not allocate once it has seen frames of the usual size.
//!
//! Runs on: any thread; an encoder belongs to one.

mod decode;
mod encode;
mod error;
pub mod event;
mod fields;
mod layout;

pub use decode::{decode_client, decode_server, ClientFrame, FrameLimits, ServerFrame};
pub use encode::FrameEncoder;
pub use error::FrameError;
pub use event::EventFields;
pub use fields::*;
#[cfg(test)]
mod tests;
