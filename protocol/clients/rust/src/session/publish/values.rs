//! What goes into and comes out of the publish book, as plain values.
//!
//! Runs on: any thread; values only.

use std::sync::Arc;

use interlink_protocol::ids::Position;

use crate::error::Error;
use crate::event::{AckLevel, PublishReceipt};
use crate::limits;

/// One publish as the application wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Full channel name.
    pub channel: Arc<str>,
    /// Number of the event type; 0 is an opaque payload.
    pub event_type: u16,
    /// Version of the payload schema.
    pub schema_version: u16,
    /// The payload.
    pub payload: Vec<u8>,
    /// Milliseconds after which the event is worthless; 0 means never.
    pub time_to_live_ms: u32,
    /// Events of one key supersede each other for slow clients.
    pub conflation_key: Option<Box<str>>,
    /// Wanted acknowledgement level; `None` is the default of the namespace.
    pub ack_level: Option<AckLevel>,
    /// W3C `traceparent` to carry along.
    pub traceparent: Option<Box<str>>,
}

impl Draft {
    /// Bytes that the publish is charged with while it is kept.
    pub fn charged_bytes(&self) -> usize {
        let key = self.conflation_key.as_ref().map_or(0, |key| key.len());
        let trace = self.traceparent.as_ref().map_or(0, |trace| trace.len());
        let names = self.channel.len() + key + trace;
        limits::PUBLISH_OVERHEAD_BYTES + names + self.payload.len()
    }
}

/// How one publish ended, for the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// Acknowledged.
    Receipt(PublishReceipt),
    /// Refused for good, expired before it was sent, or given up with the client.
    Failed(Error),
}

/// An answer of the server, in plain values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// First id that is answered.
    pub first: u64,
    /// How many consecutive ids share the answer.
    pub count: u32,
    /// What the server says.
    pub kind: AnswerKind,
    /// What is settled, by class, when the answer says so.
    pub settled: Option<[u64; 4]>,
}

/// The two kinds of answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerKind {
    /// Accepted now or before.
    Accepted {
        /// True when it had been accepted before.
        duplicate: bool,
        /// Level that was reached.
        level: AckLevel,
        /// True when a higher level was wanted.
        degraded: bool,
        /// Position of the last event of the run.
        position: Option<Position>,
    },
    /// Not accepted.
    Refused {
        /// Code of the refusal.
        code: u16,
        /// True when the same publish may succeed later.
        temporary: bool,
        /// Earliest useful retry in milliseconds; 0 when not named.
        retry_after_ms: u32,
    },
}

/// A publish that leaves now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure<'a> {
    /// Its id.
    pub id: u64,
    /// Milliseconds since it was sent for the first time.
    pub age_ms: u32,
    /// What it says.
    pub draft: &'a Draft,
}

impl Answer {
    /// The receipt of `id`; `end` is one past the last id of the run.
    pub(super) fn receipt(&self, id: u64, end: u64) -> PublishReceipt {
        let AnswerKind::Accepted {
            duplicate,
            level,
            degraded,
            position,
        } = self.kind
        else {
            unreachable!("receipts are made from acceptances only");
        };
        PublishReceipt {
            client_message_id: id,
            duplicate,
            level,
            degraded,
            position: position.filter(|_| id + 1 == end),
        }
    }
}
