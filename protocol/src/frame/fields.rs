//! The values of frames, as the encoder takes them: borrowed, without ownership.

use interlink_wire as wire;

use crate::ids::{InstanceId, Position, SessionKey};
use crate::priority::Priority;

/// For each priority, the highest client message id up to which everything is settled.
pub type Settled = [u64; Priority::COUNT];

/// W3C trace context.
#[derive(Clone, Copy, Debug)]
pub struct TraceFields<'a> {
    /// The `traceparent` header value.
    pub traceparent: &'a str,
    /// The `tracestate` header value.
    pub tracestate: Option<&'a str>,
}

impl<'a> TraceFields<'a> {
    /// The trace of a frame; `None` when it has none or one without parent.
    pub fn of(trace: Option<wire::TraceContext<'a>>) -> Option<Self> {
        let trace = trace?;
        Some(Self {
            traceparent: trace.traceparent()?,
            tracestate: trace.tracestate(),
        })
    }
}

/// What a client wants to continue.
#[derive(Clone, Copy, Debug)]
pub struct ResumeFields<'a> {
    /// Session of the earlier connection.
    pub session: SessionKey,
    /// The last processed position of each channel.
    pub positions: &'a [(&'a str, Position)],
}

/// Values of `Hello`.
#[derive(Clone, Copy, Debug)]
pub struct HelloFields<'a> {
    /// User token.
    pub token: &'a str,
    /// Identity of the SDK object.
    pub instance: InstanceId,
    /// Identity of the device.
    pub device: Option<&'a str>,
    /// Name of the client software.
    pub client_name: Option<&'a str>,
    /// Version of the client software.
    pub client_version: Option<&'a str>,
    /// The earlier session.
    pub resume: Option<ResumeFields<'a>>,
}

/// Values of `Publish`.
#[derive(Clone, Copy, Debug)]
pub struct PublishFields<'a> {
    /// Counter of the publisher instance, from 1.
    pub client_message_id: u64,
    /// Full channel name.
    pub channel: &'a str,
    /// Number of the event type; 0 is opaque.
    pub event_type: u16,
    /// Version of the payload schema.
    pub schema_version: u16,
    /// The payload.
    pub payload: &'a [u8],
    /// Milliseconds since the first attempt.
    pub age_ms: u32,
    /// Milliseconds after which the event is worthless; 0 is never.
    pub time_to_live_ms: u32,
    /// Events of one key supersede each other for slow clients.
    pub conflation_key: Option<&'a str>,
    /// Wanted acknowledgement level.
    pub ack_level: wire::AckLevel,
    /// Trace context to carry along.
    pub trace: Option<TraceFields<'a>>,
}

impl<'a> PublishFields<'a> {
    /// A first attempt with the defaults of the channel's namespace.
    pub fn new(
        client_message_id: u64,
        channel: &'a str,
        event_type: u16,
        payload: &'a [u8],
    ) -> Self {
        Self {
            client_message_id,
            channel,
            event_type,
            schema_version: 1,
            payload,
            age_ms: 0,
            time_to_live_ms: 0,
            conflation_key: None,
            ack_level: wire::AckLevel::Default,
            trace: None,
        }
    }

    /// The values of a frame.
    pub fn of(frame: &wire::Publish<'a>) -> Self {
        Self {
            client_message_id: frame.client_message_id(),
            channel: frame.channel(),
            event_type: frame.event_type(),
            schema_version: frame.schema_version(),
            payload: frame.payload().bytes(),
            age_ms: frame.age_ms(),
            time_to_live_ms: frame.time_to_live_ms(),
            conflation_key: frame.conflation_key(),
            ack_level: frame.ack_level(),
            trace: TraceFields::of(frame.trace()),
        }
    }
}

/// One channel of a `Subscribe`.
#[derive(Clone, Copy, Debug)]
pub struct SubscribeFields<'a> {
    /// Full channel name.
    pub channel: &'a str,
    /// Continue after this position.
    pub recover: Option<Position>,
    /// Also send presence changes.
    pub presence: bool,
    /// Token that grants the channel.
    pub token: Option<&'a str>,
}

impl<'a> SubscribeFields<'a> {
    /// A live subscription.
    pub fn new(channel: &'a str) -> Self {
        Self {
            channel,
            recover: None,
            presence: false,
            token: None,
        }
    }
}

/// Bounds that `Welcome` tells.
#[derive(Clone, Copy, Debug)]
pub struct LimitsFields {
    /// Largest frame of the client in bytes.
    pub frame_bytes: u32,
    /// Most subscriptions of the session.
    pub subscriptions: u32,
    /// Unacknowledged publishes of P1, P2 and P3 together.
    pub publish_credit: u32,
    /// Unacknowledged publishes of P0.
    pub publish_credit_critical: u32,
    /// Longest channel name in bytes.
    pub channel_bytes: u32,
}

impl Default for LimitsFields {
    fn default() -> Self {
        use crate::limits;
        Self {
            frame_bytes: limits::FRAME_BYTES as u32,
            subscriptions: limits::SUBSCRIPTIONS_PER_SESSION as u32,
            publish_credit: limits::PUBLISH_CREDIT.into(),
            publish_credit_critical: limits::PUBLISH_CREDIT_CRITICAL.into(),
            channel_bytes: limits::CHANNEL_BYTES as u32,
        }
    }
}

/// What became of a wanted recovery.
#[derive(Clone, Copy, Debug)]
pub struct RecoveryFields {
    /// True when every event after the wanted position follows.
    pub recovered: bool,
    /// Why not.
    pub reason: wire::PositionReason,
    /// How many past events follow.
    pub following: u32,
    /// Where history continues when nothing follows.
    pub history_from: Option<Position>,
    /// Earliest useful retry in milliseconds; 0 is none.
    pub retry_after_ms: u32,
}

impl Default for RecoveryFields {
    /// Nothing was wanted and nothing follows.
    fn default() -> Self {
        Self {
            recovered: false,
            reason: wire::PositionReason::None,
            following: 0,
            history_from: None,
            retry_after_ms: 0,
        }
    }
}

/// A subscription that a resumed session still has.
#[derive(Clone, Copy, Debug)]
pub struct RestoredFields<'a> {
    /// Full channel name.
    pub channel: &'a str,
    /// Where the server continues.
    pub position: Position,
    /// What became of the client's position.
    pub recovery: RecoveryFields,
}

/// Values of `Welcome`.
#[derive(Clone, Copy, Debug)]
pub struct WelcomeFields<'a> {
    /// The session.
    pub session: SessionKey,
    /// Counts the connections of the session, from 1.
    pub session_epoch: u32,
    /// The authenticated user.
    pub user: &'a str,
    /// Name of the node.
    pub node: &'a str,
    /// Region of the node.
    pub region: &'a str,
    /// Microseconds since the Unix epoch.
    pub server_time_us: u64,
    /// Interval of heartbeats in milliseconds.
    pub heartbeat_ms: u32,
    /// Time for their answers in milliseconds.
    pub heartbeat_timeout_ms: u32,
    /// Enforced bounds.
    pub limits: LimitsFields,
    /// How long the session can be resumed, in milliseconds.
    pub resume_window_ms: u32,
    /// True when an earlier session was continued.
    pub resumed: bool,
    /// Its subscriptions.
    pub restored: &'a [RestoredFields<'a>],
    /// Highest accepted client message id of the instance; 0 is none.
    pub highest_accepted: u64,
    /// What is settled of the instance.
    pub settled_through: Option<Settled>,
}

/// Values of `PublishAck`.
#[derive(Clone, Copy, Debug)]
pub struct PublishAckFields {
    /// First client message id that is answered.
    pub client_message_id: u64,
    /// How many consecutive ids share the answer.
    pub count: u32,
    /// The outcome.
    pub status: wire::PublishStatus,
    /// Level that was reached.
    pub level: wire::AckLevel,
    /// True when a higher level was wanted and is out of reach.
    pub degraded: bool,
    /// Position of the last event of the run.
    pub position: Option<Position>,
    /// What is settled, when it changed.
    pub settled_through: Option<Settled>,
    /// Error code; 0 when accepted.
    pub code: u16,
    /// Earliest useful retry in milliseconds.
    pub retry_after_ms: u32,
}

/// Outcome for one channel of a `Subscribe` or `Unsubscribe`.
#[derive(Clone, Copy, Debug)]
pub struct SubscribedFields<'a> {
    /// Full channel name.
    pub channel: &'a str,
    /// The outcome.
    pub state: wire::SubscriptionState,
    /// Where the subscription was pinned.
    pub position: Option<Position>,
    /// What became of a wanted recovery.
    pub recovery: RecoveryFields,
    /// Error code; 0 when not refused.
    pub code: u16,
}

/// One user of a presence list.
#[derive(Clone, Copy, Debug)]
pub struct MemberFields<'a> {
    /// The user.
    pub user: &'a str,
    /// Devices of the user that are present.
    pub devices: u32,
}

/// Values of `HistoryPage` beside its events.
#[derive(Clone, Copy, Debug)]
pub struct HistoryPageFields<'a> {
    /// The request.
    pub request_id: u32,
    /// Full channel name.
    pub channel: &'a str,
    /// Position of the newest event.
    pub top: Option<Position>,
    /// True when the page starts right after the wanted position.
    pub recovered: bool,
    /// Why not.
    pub reason: wire::PositionReason,
    /// True when more events follow this page.
    pub more: bool,
    /// The node could not ask the store of its cluster and answers from what it keeps itself.
    pub stale: bool,
}

/// Values of `Error`.
#[derive(Clone, Copy, Debug)]
pub struct ErrorFields<'a> {
    /// What failed.
    pub code: crate::ErrorCode,
    /// Text for people; empty takes the meaning of the code.
    pub message: &'a str,
    /// Earliest useful retry in milliseconds; 0 is none.
    pub retry_after_ms: u32,
    /// The request that failed; 0 is the connection.
    pub request_id: u32,
}
