//! The wire of Interlink as Rust code: the frames of `interlink.fbs` at the root, the
//! payloads of the core event types in [`events`], the tables of codes and event types.
//!
//! Everything but this file is written by `protocol/schema/generate`; change the schema and
//! run it. Readers of bytes that came from elsewhere go through `interlink_protocol::frame`,
//! which verifies them with tight limits first.

#[rustfmt::skip]
mod codes;
#[rustfmt::skip]
pub mod event_types;

// The generated code is formatted by its generator, documents fields but not every accessor
// that follows from them, and states its safety arguments in its own form of comment.
#[allow(
    missing_docs,
    unused_imports,
    mismatched_lifetime_syntaxes,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    reason = "written by flatc, which does not follow these lints"
)]
#[path = "events.rs"]
#[rustfmt::skip]
mod events_schema;
#[allow(
    missing_docs,
    unused_imports,
    mismatched_lifetime_syntaxes,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    reason = "written by flatc, which does not follow these lints"
)]
#[path = "interlink.rs"]
#[rustfmt::skip]
mod wire_schema;

/// The namespaces of the schema files, as they name them.
pub mod interlink {
    pub use crate::events_schema::interlink::events;
    pub use crate::wire_schema::interlink::wire;
}

pub use codes::{CloseCode, ErrorCode};
pub use event_types::{EventTypeRow, EVENT_TYPES};
pub use interlink::events;
pub use interlink::wire::*;
