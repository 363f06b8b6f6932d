//! What requests and answers hold.
//!
//! Runs on: the control thread.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use interlink_protocol::session::publish::Refusal;
use interlink_protocol::ErrorCode;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::describe::body;
use super::failure::Refused;
use super::limits::BODY_BYTES_MAX;

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
        /// Milliseconds since the first attempt with this key. Attempts older than four minutes are
        /// looked up in the archive of a cluster; without one they cannot be judged and are refused
        /// with `outcome_unknown`.
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
    /// A user whose connections are closed.
    pub struct Disconnect: Deserialize {
        /// The user: `sub` of the token.
        user: String,
        /// Close code. 3507 (`disconnected`), which is also meant when it is left out, is final:
        /// SDKs do not come back by themselves, and nothing is kept of the sessions. 4000 to 4999
        /// belong to the application: SDKs come back, with a fresh token if theirs has ended, and
        /// continue their sessions.
        code: Option<u16>,
        /// Close reason, at most 123 bytes of UTF-8; `disconnected` when left out.
        reason: Option<String>,
    }
}

body! {
    /// What was closed.
    pub struct Disconnected: Serialize {
        /// Connections of the user on this node that were closed.
        connections: u32,
    }
}

body! {
    /// A user and a channel.
    pub struct Membership: Deserialize {
        /// The user: `sub` of the token.
        user: String,
        /// Channel: namespace, a dot, and an id.
        channel: String,
    }
}

body! {
    /// Sessions that are subscribed now.
    pub struct Subscribed: Serialize {
        /// Sessions that were subscribed by this request.
        sessions: u32,
        /// Sessions that were subscribed already.
        already: u32,
        /// Sessions that could not be subscribed, since they have as many subscriptions as they
        /// may have or the node has no room.
        refused: u32,
    }
}

body! {
    /// Sessions whose subscription was ended.
    pub struct Unsubscribed: Serialize {
        /// How many.
        sessions: u32,
    }
}

body! {
    /// Tokens to refuse from now on, at most 1,000 users and token ids together. A service of an
    /// institution refuses tokens of that institution only.
    pub struct Revoke: Deserialize {
        /// Users whose tokens are refused.
        users: Option<Vec<String>>,
        /// Tokens that are refused, by their `jti`.
        token_ids: Option<Vec<String>>,
        /// Of the users those tokens that were issued (`iat`) before this second since 1970. The
        /// end of the present second when left out.
        issued_before_s: Option<u32>,
    }
}

body! {
    /// What is refused now, also after a restart.
    pub struct RevokedTokens: Serialize {
        /// Users and token ids that were not refused before, or not as far.
        entries: u32,
    }
}

body! {
    /// Which channels to list.
    pub struct ChannelsQuery: Deserialize {
        /// What their names begin with; every channel when left out.
        prefix: Option<String>,
        /// `next` of the page before.
        after: Option<String>,
        /// Most channels of the page, at most 256; 100 when left out.
        limit: Option<u32>,
    }
}

body! {
    /// A channel with subscribers.
    pub struct ActiveChannel: Serialize {
        /// Full name.
        channel: String,
        /// Class: `p0` to `p3`.
        class: String,
        /// Sessions that subscribe, those included that are away and may be resumed.
        subscribers: u32,
        /// Number of the newest event since the channel became active; 0 is none.
        offset: u64,
    }
}

body! {
    /// Channels with subscribers that the service may look at, in no order. Channels that come or
    /// go between two pages may be missing.
    pub struct ActiveChannels: Serialize {
        /// The channels; a page may have fewer than asked for and yet be followed by others.
        channels: Vec<ActiveChannel>,
        /// `after` of the next page; none at the end.
        next: Option<String>,
    }
}

body! {
    /// Which past events to read.
    pub struct HistoryQuery: Deserialize {
        /// Channel: namespace, a dot, and an id.
        channel: String,
        /// Position of an event: those behind it are read. The oldest that are kept when left out.
        after: Option<String>,
        /// Most events of the page, at most 100, which is also meant when it is left out.
        limit: Option<u32>,
    }
}

body! {
    /// An event of the past.
    pub struct PastEvent: Serialize {
        /// Its position, for `after`.
        position: String,
        /// Its number on the channel.
        offset: u64,
        /// Identity of the record: 32 hexadecimal digits.
        record: String,
        /// Who published: a user, `service:` and a service, or `~system`.
        publisher: String,
        /// Number of the event type; 0 is opaque.
        event_type: u16,
        /// Version of the payload's schema.
        schema_version: u16,
        /// When it was accepted, in microseconds since 1970.
        server_time_us: u64,
        /// The payload in base64.
        payload: String,
        /// The payload of an opaque event that is JSON.
        json: Option<Value>,
    }
}

body! {
    /// Past events of a channel in order, without holes.
    pub struct PastEvents: Serialize {
        /// The events.
        events: Vec<PastEvent>,
        /// `after` of the next page, also of one that is asked for when more was published.
        next: Option<String>,
        /// Whether more events are kept behind these.
        more: bool,
        /// Newest position of the channel, if it had events since the start of the node.
        top: Option<String>,
        /// Whether the node could not ask the store of its cluster, so that the events are those
        /// that it keeps itself: older and newer ones may exist.
        stale: bool,
    }
}

body! {
    /// Of which channel to read who is present.
    pub struct PresenceQuery: Deserialize {
        /// Channel: namespace, a dot, and an id.
        channel: String,
        /// `next` of the page before.
        after: Option<String>,
    }
}

body! {
    /// A user who is present.
    pub struct PresentUser: Serialize {
        /// The user: `sub` of the token.
        user: String,
        /// Connections with a subscription to the channel; 0 while the last was lost a moment ago.
        devices: u32,
    }
}

body! {
    /// Who is present in a channel, at most 250 users of it.
    pub struct PresentUsers: Serialize {
        /// Users present in all.
        count: u32,
        /// Users of this page, in the order of their names.
        users: Vec<PresentUser>,
        /// `after` of the next page; none at the end.
        next: Option<String>,
        /// Whether the node could not ask all others of its cluster, so that their users are those
        /// that it knew last.
        stale: bool,
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

/// A body as it came, or why it could not be taken.
pub type Taken = Result<Bytes, BytesRejection>;

/// Reads a body.
///
/// # Errors
/// `frame_too_large`, or `invalid_request` with what is wrong.
pub fn read<T: DeserializeOwned>(body: Taken) -> Result<T, Refused> {
    match body {
        Ok(body) => serde_json::from_slice(&body).map_err(Refused::invalid),
        Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = format!("more than {BODY_BYTES_MAX} bytes of body");
            Err(Refused::because(ErrorCode::FrameTooLarge, detail))
        }
        Err(error) => Err(Refused::invalid(error.body_text())),
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
