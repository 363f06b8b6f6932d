//! Overrides of namespace policies: `[namespaces.<name>]`.
//!
//! A namespace's priority is part of the protocol and cannot be set; everything that
//! is unset keeps the default of the namespace table in `interlink-protocol`.
//!
//! Runs on: the main thread.

use std::time::Duration;

use super::limits;
use super::nearest::{nearest, Suggestion};
use super::property::section;
use super::setting::{words, ByteSize};

words! {
    /// How far a publish has to be safe before it is acknowledged.
    pub enum AckLevel {
        /// In the memory of the node.
        Accepted = "accepted",
        /// Synced to the disk of the node.
        Local = "local",
    }
}

section! {
    /// Overrides of one namespace. The table is named after it, for example
    /// `[namespaces.chat]` or `[namespaces."sys.security"]`. Its priority is fixed.
    pub struct NamespaceSettings = "namespaces.<name>" {
        /// When a publish is acknowledged. On a durable namespace "accepted" gives up the
        /// promise that an acknowledged event survives a crash.
        ack_level: Option<AckLevel> = None,
        unit "", example "\"local\"";

        /// Events of each channel that are kept for resume and history.
        history_events: Option<u32> = None,
        unit "events", bounds 0..=limits::HISTORY_EVENTS_MAX, example "1000";

        /// Age up to which events are kept for resume and history.
        history_age: Option<Duration> = None,
        unit "time",
        bounds Duration::ZERO..=Duration::from_secs(365 * 86_400),
        example "\"24h\"";

        /// Largest payload of an event.
        payload_bytes: Option<ByteSize> = None,
        unit "bytes",
        bounds ByteSize(1)..=ByteSize(limits::FRAME_BYTES_MAX),
        example "\"16KiB\"";

        /// Payloads without an event type of the registry are allowed.
        opaque_allowed: Option<bool> = None,
        unit "", example "true";

        /// Events of one conflation key supersede each other for slow clients.
        conflated: Option<bool> = None,
        unit "", example "true";
    }
}

/// The namespaces that exist.
pub const NAMES: [&str; 16] = [
    "inst",
    "dept",
    "class",
    "chat",
    "collab",
    "collab-awareness",
    "user",
    "alert",
    "activity",
    "presence",
    "sys.notifications",
    "sys.status",
    "sys.metrics",
    "sys.security",
    "report",
    "usage",
];

/// The namespace that somebody who wrote `name` probably meant.
pub(super) fn nearest_namespace(name: &str) -> Suggestion {
    nearest(name, NAMES)
}
