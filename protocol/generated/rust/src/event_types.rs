//! The core event types.
//!
//! Written by protocol/schema/generate from events.toml; do not edit.

use crate::interlink::events;
use flatbuffers::{InvalidFlatbuffer, VerifierOptions};

/// One version of one event type.
#[derive(Clone, Copy, Debug)]
pub struct EventTypeRow {
    /// `event_type` on the wire.
    pub number: u16,
    /// `schema_version` on the wire.
    pub version: u16,
    /// Stable name.
    pub name: &'static str,
    /// Namespaces on whose channels the type may be published.
    pub namespaces: &'static [&'static str],
    /// Verifies that a payload has the form of the type.
    pub verify: fn(&VerifierOptions, &[u8]) -> Result<(), InvalidFlatbuffer>,
}

/// Every row of events.toml, in its order.
pub const EVENT_TYPES: [EventTypeRow; 14] = [
    EventTypeRow {
        number: 1,
        version: 1,
        name: "authentication",
        namespaces: &["alert", "sys"],
        verify: |options, payload| {
            flatbuffers::root_with_opts::<events::Authentication>(options, payload).map(drop)
        },
    },
    EventTypeRow {
        number: 2,
        version: 1,
        name: "security_alert",
        namespaces: &["alert", "sys"],
        verify: |options, payload| {
            flatbuffers::root_with_opts::<events::SecurityAlert>(options, payload).map(drop)
        },
    },
    EventTypeRow {
        number: 3,
        version: 1,
        name: "chat_message",
        namespaces: &["chat", "class", "dept", "inst"],
        verify: |options, payload| {
            flatbuffers::root_with_opts::<events::ChatMessage>(options, payload).map(drop)
        },
    },
    EventTypeRow {
        number: 4,
        version: 1,
        name: "announcement",
        namespaces: &["inst", "dept", "class", "sys"],
        verify: |options, payload| {
            flatbuffers::root_with_opts::<events::Announcement>(options, payload).map(drop)
        },
    },
    EventTypeRow {
        number: 5,
        version: 1,
        name: "course_update",
        namespaces: &["inst", "dept", "class", "user"],
        verify: |options, payload| {
            flatbuffers::root_with_opts::<events::CourseUpdate>(options, payload).map(drop)
        },
    },
    EventTypeRow {
        number: 6,
        version: 1,
        name: "assignment",
        namespaces: &["dept", "class", "user"],
        verify: |options, payload| {
            flatbuffers::root_with_opts::<events::Assignment>(options, payload).map(drop)
        },
    },
    EventTypeRow {
        number: 7,
        version: 1,
        name: "notification",
        namespaces: &["user", "sys"],
        verify: |options, payload| {
            flatbuffers::root_with_opts::<events::Notification>(options, payload).map(drop)
        },
    },
    EventTypeRow {
        number: 8,
        version: 1,
        name: "presence_status",
        namespaces: &["presence", "collab-awareness", "activity"],
        verify: |options, payload| {
            flatbuffers::root_with_opts::<events::PresenceStatus>(options, payload).map(drop)
        },
    },
    EventTypeRow {
        number: 9,
        version: 1,
        name: "usage_sample",
        namespaces: &["usage", "sys"],
        verify: |options, payload| {
            flatbuffers::root_with_opts::<events::UsageSample>(options, payload).map(drop)
        },
    },
    EventTypeRow {
        number: 10,
        version: 1,
        name: "data_record_changed",
        namespaces: &["inst", "dept", "class", "user", "collab", "report"],
        verify: |options, payload| {
            flatbuffers::root_with_opts::<events::DataRecordChanged>(options, payload).map(drop)
        },
    },
    EventTypeRow {
        number: 11,
        version: 1,
        name: "collaboration_operation",
        namespaces: &["collab", "collab-awareness"],
        verify: |options, payload| {
            flatbuffers::root_with_opts::<events::CollaborationOperation>(options, payload).map(drop)
        },
    },
    EventTypeRow {
        number: 12,
        version: 1,
        name: "user_action",
        namespaces: &["activity"],
        verify: |options, payload| {
            flatbuffers::root_with_opts::<events::UserAction>(options, payload).map(drop)
        },
    },
    EventTypeRow {
        number: 13,
        version: 1,
        name: "node_status",
        namespaces: &["sys"],
        verify: |options, payload| {
            flatbuffers::root_with_opts::<events::NodeStatus>(options, payload).map(drop)
        },
    },
    EventTypeRow {
        number: 14,
        version: 1,
        name: "node_summary",
        namespaces: &["sys"],
        verify: |options, payload| {
            flatbuffers::root_with_opts::<events::NodeSummary>(options, payload).map(drop)
        },
    },
];

/// Number of the event type `authentication`.
pub const AUTHENTICATION: u16 = 1;
/// Number of the event type `security_alert`.
pub const SECURITY_ALERT: u16 = 2;
/// Number of the event type `chat_message`.
pub const CHAT_MESSAGE: u16 = 3;
/// Number of the event type `announcement`.
pub const ANNOUNCEMENT: u16 = 4;
/// Number of the event type `course_update`.
pub const COURSE_UPDATE: u16 = 5;
/// Number of the event type `assignment`.
pub const ASSIGNMENT: u16 = 6;
/// Number of the event type `notification`.
pub const NOTIFICATION: u16 = 7;
/// Number of the event type `presence_status`.
pub const PRESENCE_STATUS: u16 = 8;
/// Number of the event type `usage_sample`.
pub const USAGE_SAMPLE: u16 = 9;
/// Number of the event type `data_record_changed`.
pub const DATA_RECORD_CHANGED: u16 = 10;
/// Number of the event type `collaboration_operation`.
pub const COLLABORATION_OPERATION: u16 = 11;
/// Number of the event type `user_action`.
pub const USER_ACTION: u16 = 12;
/// Number of the event type `node_status`.
pub const NODE_STATUS: u16 = 13;
/// Number of the event type `node_summary`.
pub const NODE_SUMMARY: u16 = 14;
