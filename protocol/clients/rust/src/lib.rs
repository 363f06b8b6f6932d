//! The Interlink client for Rust.

#![forbid(unsafe_code)]

mod error;
mod event;
pub mod limits;
pub mod session;

pub use error::{ClosedBy, Code, Error, Loss};
pub use event::{
    AckLevel, Delivery, Event, Gap, GapReason, HistoryPage, PresenceChange, PresenceMember,
    PublishReceipt, Recovery, ServerInfo, State,
};
