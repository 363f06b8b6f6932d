//! What requests and answers hold.
//!
//! Runs on: the control thread.

use super::describe::body;
use interlink_protocol::session::publish::Refusal;
use serde_json::Value;

body! {
    /// One event to publish.
    pub struct Publish: Deserialize {
        /// Channel: namespace, a dot, and an id.
        channel: String,
        /// Number of the event type. 0, which is also meant when it is left out, is an opaque
        /// payload, for namespaces that allow it.
        event_type: Option<u16>,
        /// Version of the payload's schema; 1 when left out.
        schema_version: Option<u16>,
        /// The payload in base64. Give either this or `json`.
        payload: Option<String>,
        /// A value whose JSON text becomes the payload of an opaque event.
        json: Option<Value>,
        /// Up to 255 bytes that name this publish for this service and channel. The same key is
        /// accepted once; repeats with the same payload are answered like the first.
        idempotency_key: Option<String>,
        /// Milliseconds since the first attempt with this key. Attempts older than four minutes
        /// cannot be judged and are refused with `outcome_unknown`.
        age_ms: Option<u32>,
        /// Milliseconds after which the event is worthless; never when left out.
        time_to_live_ms: Option<u32>,
        /// Events with the same key supersede each other for slow clients, where the namespace
        /// allows it.
        conflation_key: Option<String>,
        /// When the answer is given: `accepted`, `local` (on the disk of the node), or the
        /// namespace's own level when left out.
        ack_level: Option<String>,
    }
}

body! {
    /// Events to publish in this order, at most 1,000.
    pub struct Batch: Deserialize {
        /// The events.
        publishes: Vec<Publish>,
    }
}

body! {
    /// One event for several channels, at most 1,000.
    pub struct Broadcast: Deserialize {
        /// The channels.
        channels: Vec<String>,
        /// The event; its `channel` is empty.
        event: Publish,
    }
}

body! {
    /// An event that was accepted.
    pub struct Accepted: Serialize {
        /// Identity of the record: 32 hexadecimal digits, the same at every repeat.
        record: String,
        /// What is certain: `accepted` (in the memory of the node) or `local` (on its disk).
        level: String,
        /// Whether the key had been accepted before, so that nothing new was published.
        repeat: bool,
    }
}

body! {
    /// Why something was refused; nothing of it was kept.
    pub struct Failure: Serialize {
        /// Name of the code in the error catalogue.
        code: String,
        /// Number of the code.
        number: u16,
        /// What it means.
        message: String,
        /// What is wrong with this request, where more can be said.
        detail: Option<String>,
        /// What to do about it.
        cure: String,
        /// Whether the same request may succeed later.
        temporary: bool,
        /// Earliest useful retry in milliseconds; 0 when a retry does not help.
        retry_after_ms: u32,
    }
}

body! {
    /// What became of one event of several: one of both.
    pub struct Outcome: Serialize {
        /// It was accepted.
        accepted: Option<Accepted>,
        /// It was refused.
        error: Option<Failure>,
    }
}

body! {
    /// One outcome for each event, in the order of the request.
    pub struct Outcomes: Serialize {
        /// The outcomes.
        outcomes: Vec<Outcome>,
    }
}

impl Failure {
    /// The body of a refusal.
    pub fn of(refusal: Refusal, detail: Option<String>) -> Self {
        let code = refusal.code;
        Self {
            code: code.name().to_owned(),
            number: code.number(),
            message: code.meaning().to_owned(),
            detail,
            cure: code.cure().to_owned(),
            temporary: code.is_temporary(),
            retry_after_ms: refusal.retry_after_ms,
        }
    }
}
