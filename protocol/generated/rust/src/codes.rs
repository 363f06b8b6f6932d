//! Error codes and close codes.
//!
//! Written by protocol/schema/generate from codes.toml; do not edit.

/// Why a request was refused or failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u16)]
pub enum ErrorCode {
    /// The bytes are not a valid Interlink frame.
    MalformedFrame = 1,
    /// The kind of frame is not allowed now.
    UnexpectedFrame = 2,
    /// The server does not speak the version that Hello names.
    UnsupportedVersion = 3,
    /// The frame is longer than the connection allows.
    FrameTooLarge = 4,
    /// A list in the request is longer than allowed.
    TooManyItems = 5,
    /// A field of the request has a value that is not allowed.
    InvalidRequest = 6,
    /// This server does not offer the request.
    NotSupported = 7,
    /// The token could not be accepted.
    TokenInvalid = 100,
    /// The token is past its expiry.
    TokenExpired = 101,
    /// The token becomes valid only later.
    TokenNotYetValid = 102,
    /// The token was issued for or by somebody else.
    TokenWrongAudience = 103,
    /// The token or its user was revoked.
    TokenRevoked = 104,
    /// The new token belongs to another user.
    UserChanged = 105,
    /// The token cannot be checked at the moment.
    AuthenticationUnavailable = 106,
    /// The channel name is not well formed.
    ChannelInvalid = 200,
    /// No namespace of this name is configured.
    NamespaceUnknown = 201,
    /// The user may not do this on this channel.
    NotPermitted = 202,
    /// The channel is granted by a subscription token only, and none was given.
    SubscriptionTokenRequired = 203,
    /// The subscription token does not grant this channel to this user.
    SubscriptionTokenInvalid = 204,
    /// The session is subscribed to this channel already.
    AlreadySubscribed = 205,
    /// The session is not subscribed to this channel.
    NotSubscribed = 206,
    /// The session has as many subscriptions as it may have.
    TooManySubscriptions = 207,
    /// The channel has no presence.
    PresenceUnavailable = 208,
    /// The application ended the subscription.
    Unsubscribed = 209,
    /// The registry has no event type of this number.
    EventTypeUnknown = 300,
    /// The registry has no such version of this event type.
    EventVersionUnknown = 301,
    /// This event type is not allowed on channels of this namespace.
    EventNotAllowed = 302,
    /// The payload does not have the form of its event type.
    PayloadInvalid = 303,
    /// The payload is longer than the namespace allows.
    PayloadTooLarge = 304,
    /// The namespace accepts registered event types only.
    OpaqueRefused = 305,
    /// Too many publishes of this connection wait for their acknowledgement.
    Overloaded = 306,
    /// The connection, user or institution exceeds its rate.
    RateLimited = 307,
    /// The disk queue has no room for this priority.
    QuotaExceeded = 308,
    /// The id was accepted before with another payload.
    IdempotencyConflict = 309,
    /// The publish is too old to decide whether it was accepted before.
    OutcomeUnknown = 310,
    /// Whether the publish was accepted before cannot be looked up at the moment.
    LookupUnavailable = 311,
    /// The publish is older than its own time to live.
    PublishExpired = 312,
    /// The wanted acknowledgement level cannot be given at the moment.
    AckLevelUnavailable = 313,
    /// The client message id is not allowed.
    MessageIdInvalid = 314,
    /// The conflation key is not allowed.
    ConflationKeyInvalid = 315,
    /// The channel keeps no history.
    HistoryUnavailable = 400,
    /// The position was never issued for this channel or is no longer retained.
    PositionUnknown = 401,
    /// The archive does not yet hold the wanted range.
    HistoryLagging = 402,
    /// The page token is not valid.
    PageInvalid = 403,
    /// The server failed in a way that it should not.
    Internal = 500,
    /// A part of the system that the request needs is away.
    Unavailable = 501,
    /// The node is shutting down and takes no new work.
    Draining = 502,
}

impl ErrorCode {
    /// Every code, in order of its number.
    pub const ALL: [Self; 47] = [
        Self::MalformedFrame,
        Self::UnexpectedFrame,
        Self::UnsupportedVersion,
        Self::FrameTooLarge,
        Self::TooManyItems,
        Self::InvalidRequest,
        Self::NotSupported,
        Self::TokenInvalid,
        Self::TokenExpired,
        Self::TokenNotYetValid,
        Self::TokenWrongAudience,
        Self::TokenRevoked,
        Self::UserChanged,
        Self::AuthenticationUnavailable,
        Self::ChannelInvalid,
        Self::NamespaceUnknown,
        Self::NotPermitted,
        Self::SubscriptionTokenRequired,
        Self::SubscriptionTokenInvalid,
        Self::AlreadySubscribed,
        Self::NotSubscribed,
        Self::TooManySubscriptions,
        Self::PresenceUnavailable,
        Self::Unsubscribed,
        Self::EventTypeUnknown,
        Self::EventVersionUnknown,
        Self::EventNotAllowed,
        Self::PayloadInvalid,
        Self::PayloadTooLarge,
        Self::OpaqueRefused,
        Self::Overloaded,
        Self::RateLimited,
        Self::QuotaExceeded,
        Self::IdempotencyConflict,
        Self::OutcomeUnknown,
        Self::LookupUnavailable,
        Self::PublishExpired,
        Self::AckLevelUnavailable,
        Self::MessageIdInvalid,
        Self::ConflationKeyInvalid,
        Self::HistoryUnavailable,
        Self::PositionUnknown,
        Self::HistoryLagging,
        Self::PageInvalid,
        Self::Internal,
        Self::Unavailable,
        Self::Draining,
    ];

    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The code of a number; `None` when the table has none.
    pub const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::MalformedFrame,
            2 => Self::UnexpectedFrame,
            3 => Self::UnsupportedVersion,
            4 => Self::FrameTooLarge,
            5 => Self::TooManyItems,
            6 => Self::InvalidRequest,
            7 => Self::NotSupported,
            100 => Self::TokenInvalid,
            101 => Self::TokenExpired,
            102 => Self::TokenNotYetValid,
            103 => Self::TokenWrongAudience,
            104 => Self::TokenRevoked,
            105 => Self::UserChanged,
            106 => Self::AuthenticationUnavailable,
            200 => Self::ChannelInvalid,
            201 => Self::NamespaceUnknown,
            202 => Self::NotPermitted,
            203 => Self::SubscriptionTokenRequired,
            204 => Self::SubscriptionTokenInvalid,
            205 => Self::AlreadySubscribed,
            206 => Self::NotSubscribed,
            207 => Self::TooManySubscriptions,
            208 => Self::PresenceUnavailable,
            209 => Self::Unsubscribed,
            300 => Self::EventTypeUnknown,
            301 => Self::EventVersionUnknown,
            302 => Self::EventNotAllowed,
            303 => Self::PayloadInvalid,
            304 => Self::PayloadTooLarge,
            305 => Self::OpaqueRefused,
            306 => Self::Overloaded,
            307 => Self::RateLimited,
            308 => Self::QuotaExceeded,
            309 => Self::IdempotencyConflict,
            310 => Self::OutcomeUnknown,
            311 => Self::LookupUnavailable,
            312 => Self::PublishExpired,
            313 => Self::AckLevelUnavailable,
            314 => Self::MessageIdInvalid,
            315 => Self::ConflationKeyInvalid,
            400 => Self::HistoryUnavailable,
            401 => Self::PositionUnknown,
            402 => Self::HistoryLagging,
            403 => Self::PageInvalid,
            500 => Self::Internal,
            501 => Self::Unavailable,
            502 => Self::Draining,
            _ => return None,
        })
    }

    /// The stable name, for logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MalformedFrame => "malformed_frame",
            Self::UnexpectedFrame => "unexpected_frame",
            Self::UnsupportedVersion => "unsupported_version",
            Self::FrameTooLarge => "frame_too_large",
            Self::TooManyItems => "too_many_items",
            Self::InvalidRequest => "invalid_request",
            Self::NotSupported => "not_supported",
            Self::TokenInvalid => "token_invalid",
            Self::TokenExpired => "token_expired",
            Self::TokenNotYetValid => "token_not_yet_valid",
            Self::TokenWrongAudience => "token_wrong_audience",
            Self::TokenRevoked => "token_revoked",
            Self::UserChanged => "user_changed",
            Self::AuthenticationUnavailable => "authentication_unavailable",
            Self::ChannelInvalid => "channel_invalid",
            Self::NamespaceUnknown => "namespace_unknown",
            Self::NotPermitted => "not_permitted",
            Self::SubscriptionTokenRequired => "subscription_token_required",
            Self::SubscriptionTokenInvalid => "subscription_token_invalid",
            Self::AlreadySubscribed => "already_subscribed",
            Self::NotSubscribed => "not_subscribed",
            Self::TooManySubscriptions => "too_many_subscriptions",
            Self::PresenceUnavailable => "presence_unavailable",
            Self::Unsubscribed => "unsubscribed",
            Self::EventTypeUnknown => "event_type_unknown",
            Self::EventVersionUnknown => "event_version_unknown",
            Self::EventNotAllowed => "event_not_allowed",
            Self::PayloadInvalid => "payload_invalid",
            Self::PayloadTooLarge => "payload_too_large",
            Self::OpaqueRefused => "opaque_refused",
            Self::Overloaded => "overloaded",
            Self::RateLimited => "rate_limited",
            Self::QuotaExceeded => "quota_exceeded",
            Self::IdempotencyConflict => "idempotency_conflict",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::LookupUnavailable => "lookup_unavailable",
            Self::PublishExpired => "publish_expired",
            Self::AckLevelUnavailable => "ack_level_unavailable",
            Self::MessageIdInvalid => "message_id_invalid",
            Self::ConflationKeyInvalid => "conflation_key_invalid",
            Self::HistoryUnavailable => "history_unavailable",
            Self::PositionUnknown => "position_unknown",
            Self::HistoryLagging => "history_lagging",
            Self::PageInvalid => "page_invalid",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::Draining => "draining",
        }
    }

    /// What the code says.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::MalformedFrame => "The bytes are not a valid Interlink frame.",
            Self::UnexpectedFrame => "The kind of frame is not allowed now.",
            Self::UnsupportedVersion => "The server does not speak the version that Hello names.",
            Self::FrameTooLarge => "The frame is longer than the connection allows.",
            Self::TooManyItems => "A list in the request is longer than allowed.",
            Self::InvalidRequest => "A field of the request has a value that is not allowed.",
            Self::NotSupported => "This server does not offer the request.",
            Self::TokenInvalid => "The token could not be accepted.",
            Self::TokenExpired => "The token is past its expiry.",
            Self::TokenNotYetValid => "The token becomes valid only later.",
            Self::TokenWrongAudience => "The token was issued for or by somebody else.",
            Self::TokenRevoked => "The token or its user was revoked.",
            Self::UserChanged => "The new token belongs to another user.",
            Self::AuthenticationUnavailable => "The token cannot be checked at the moment.",
            Self::ChannelInvalid => "The channel name is not well formed.",
            Self::NamespaceUnknown => "No namespace of this name is configured.",
            Self::NotPermitted => "The user may not do this on this channel.",
            Self::SubscriptionTokenRequired => "The channel is granted by a subscription token only, and none was given.",
            Self::SubscriptionTokenInvalid => "The subscription token does not grant this channel to this user.",
            Self::AlreadySubscribed => "The session is subscribed to this channel already.",
            Self::NotSubscribed => "The session is not subscribed to this channel.",
            Self::TooManySubscriptions => "The session has as many subscriptions as it may have.",
            Self::PresenceUnavailable => "The channel has no presence.",
            Self::Unsubscribed => "The application ended the subscription.",
            Self::EventTypeUnknown => "The registry has no event type of this number.",
            Self::EventVersionUnknown => "The registry has no such version of this event type.",
            Self::EventNotAllowed => "This event type is not allowed on channels of this namespace.",
            Self::PayloadInvalid => "The payload does not have the form of its event type.",
            Self::PayloadTooLarge => "The payload is longer than the namespace allows.",
            Self::OpaqueRefused => "The namespace accepts registered event types only.",
            Self::Overloaded => "Too many publishes of this connection wait for their acknowledgement.",
            Self::RateLimited => "The connection, user or institution exceeds its rate.",
            Self::QuotaExceeded => "The disk queue has no room for this priority.",
            Self::IdempotencyConflict => "The id was accepted before with another payload.",
            Self::OutcomeUnknown => "The publish is too old to decide whether it was accepted before.",
            Self::LookupUnavailable => "Whether the publish was accepted before cannot be looked up at the moment.",
            Self::PublishExpired => "The publish is older than its own time to live.",
            Self::AckLevelUnavailable => "The wanted acknowledgement level cannot be given at the moment.",
            Self::MessageIdInvalid => "The client message id is not allowed.",
            Self::ConflationKeyInvalid => "The conflation key is not allowed.",
            Self::HistoryUnavailable => "The channel keeps no history.",
            Self::PositionUnknown => "The position was never issued for this channel or is no longer retained.",
            Self::HistoryLagging => "The archive does not yet hold the wanted range.",
            Self::PageInvalid => "The page token is not valid.",
            Self::Internal => "The server failed in a way that it should not.",
            Self::Unavailable => "A part of the system that the request needs is away.",
            Self::Draining => "The node is shutting down and takes no new work.",
        }
    }

    /// What usually leads to it.
    pub const fn cause(self) -> &'static str {
        match self {
            Self::MalformedFrame => "Another protocol or version, a truncated message, or an encoder defect.",
            Self::UnexpectedFrame => "A frame other than Hello came first, Hello came twice, or a client sent a frame that only servers send.",
            Self::UnsupportedVersion => "The client is newer or much older than the server.",
            Self::FrameTooLarge => "A payload or a list that does not fit Limits.frame_bytes.",
            Self::TooManyItems => "More channels or positions in one frame than the protocol permits.",
            Self::InvalidRequest => "A zero or repeated request id, an empty or overlong string, or a number out of its bounds.",
            Self::NotSupported => "The client is newer than the server, or the feature is not part of this release.",
            Self::TokenInvalid => "Its signature, algorithm or form is wrong, or a required claim is missing.",
            Self::TokenExpired => "The client kept the token longer than its lifetime, or clocks differ.",
            Self::TokenNotYetValid => "The issuer's clock is ahead of the server's.",
            Self::TokenWrongAudience => "The claim aud or iss does not match the server's configuration.",
            Self::TokenRevoked => "An administrator or the issuer withdrew it.",
            Self::UserChanged => "Refresh was sent with the token of a different sub.",
            Self::AuthenticationUnavailable => "The key set of the issuer could not be fetched.",
            Self::ChannelInvalid => "It lacks the namespace, is too long, or holds characters that are not allowed.",
            Self::NamespaceUnknown => "A misspelt name, or a namespace of another deployment.",
            Self::NotPermitted => "The claims of the token do not cover the channel, or the role may not publish.",
            Self::SubscriptionTokenRequired => "The namespace asks for a token for each channel.",
            Self::SubscriptionTokenInvalid => "It is expired, for another channel or user, or its signature is wrong.",
            Self::AlreadySubscribed => "Subscribe was sent twice.",
            Self::NotSubscribed => "Unsubscribe or Ack for a channel that was never subscribed or has ended.",
            Self::TooManySubscriptions => "More channels at once than Limits.subscriptions.",
            Self::PresenceUnavailable => "The namespace does not offer presence.",
            Self::Unsubscribed => "The server API was asked to end it for this user.",
            Self::EventTypeUnknown => "The client is newer than the server, or uses a number of its own.",
            Self::EventVersionUnknown => "The client is newer than the server.",
            Self::EventNotAllowed => "The type is registered for other namespaces.",
            Self::PayloadInvalid => "An encoder defect, or a payload of another type.",
            Self::PayloadTooLarge => "Content that belongs elsewhere.",
            Self::OpaqueRefused => "event_type is 0 on a namespace without opaque payloads.",
            Self::Overloaded => "The client publishes faster than the server settles.",
            Self::RateLimited => "More requests in a short time than the limits allow.",
            Self::QuotaExceeded => "A backlog towards the backbone fills the share of this class.",
            Self::IdempotencyConflict => "Two instances share one instance id, or an id was used twice.",
            Self::OutcomeUnknown => "Its first attempt is longer ago than ids are remembered.",
            Self::LookupUnavailable => "The archive of ids is away.",
            Self::PublishExpired => "The client was offline for longer than the event is worth.",
            Self::AckLevelUnavailable => "The replicated log is away and the namespace withholds lower levels.",
            Self::MessageIdInvalid => "It is 0, or far outside the window of this instance.",
            Self::ConflationKeyInvalid => "It is too long, or the namespace does not conflate.",
            Self::HistoryUnavailable => "Its namespace is ephemeral.",
            Self::PositionUnknown => "A position of another channel or cluster, or a long absence.",
            Self::HistoryLagging => "The archive is behind the live stream.",
            Self::PageInvalid => "It was altered or comes from another request.",
            Self::Internal => "A defect; the log of the node has the details.",
            Self::Unavailable => "A failover, an outage or a restart of a backing service.",
            Self::Draining => "A deployment or a rebalance.",
        }
    }

    /// What to do about it.
    pub const fn cure(self) -> &'static str {
        match self {
            Self::MalformedFrame => "Send exactly one FlatBuffers frame with identifier ILNK in each binary WebSocket message, encoded by a current SDK.",
            Self::UnexpectedFrame => "Send Hello once, first, and wait for Welcome.",
            Self::UnsupportedVersion => "Use an SDK of a version that the server supports.",
            Self::FrameTooLarge => "Split the request, or store large content elsewhere and send a reference.",
            Self::TooManyItems => "Send several frames of at most 32 entries.",
            Self::InvalidRequest => "Correct the field that the message names.",
            Self::NotSupported => "Do without the feature on this server, or update the server.",
            Self::TokenInvalid => "Obtain a new token from the issuer that the server is configured for.",
            Self::TokenExpired => "Obtain a fresh token and send Hello or Refresh with it.",
            Self::TokenNotYetValid => "Synchronise the clocks, or wait and try again.",
            Self::TokenWrongAudience => "Request the token for the audience of this server.",
            Self::TokenRevoked => "Sign in again; if that fails, ask the administrator.",
            Self::UserChanged => "Open a new connection for the other user.",
            Self::AuthenticationUnavailable => "Try again after the given time.",
            Self::ChannelInvalid => "Use namespace, a dot and an id of letters, digits and the characters . _ - : @ ~ only.",
            Self::NamespaceUnknown => "Use a configured namespace, or configure it.",
            Self::NotPermitted => "Obtain a token with the needed class, department or role.",
            Self::SubscriptionTokenRequired => "Obtain a subscription token from the application and send it with Subscribe.",
            Self::SubscriptionTokenInvalid => "Obtain a new subscription token for exactly this channel and user.",
            Self::AlreadySubscribed => "Use the existing subscription, or end it first.",
            Self::NotSubscribed => "Subscribe first.",
            Self::TooManySubscriptions => "End subscriptions that are not needed.",
            Self::PresenceUnavailable => "Ask without presence, or use a channel of another namespace.",
            Self::Unsubscribed => "Ask the application.",
            Self::EventTypeUnknown => "Register the type, or upgrade the server.",
            Self::EventVersionUnknown => "Publish an older version, or upgrade the server.",
            Self::EventNotAllowed => "Publish on a channel of a namespace that the type lists.",
            Self::PayloadInvalid => "Encode the payload with the schema of the type and version.",
            Self::PayloadTooLarge => "Store it elsewhere and publish a reference, or raise the limit of the namespace.",
            Self::OpaqueRefused => "Use a registered type, or allow opaque payloads for the namespace.",
            Self::Overloaded => "Wait for acknowledgements or the given time, then send again with the same id.",
            Self::RateLimited => "Send again with the same id after the given time.",
            Self::QuotaExceeded => "Send again with the same id after the given time; operators look at the lag of the backbone.",
            Self::IdempotencyConflict => "Give every SDK object its own random instance and every publish its own id.",
            Self::OutcomeUnknown => "Check the history of the channel; publish again under a new id if it is missing.",
            Self::LookupUnavailable => "Send again with the same id after the given time.",
            Self::PublishExpired => "Drop it, or publish a current one.",
            Self::AckLevelUnavailable => "Send again with the same id after the given time.",
            Self::MessageIdInvalid => "Count publishes of an instance 1, 2, 3 and so on; a retry keeps its id.",
            Self::ConflationKeyInvalid => "Leave it out, or use a shorter key.",
            Self::HistoryUnavailable => "Do not ask for history of this namespace.",
            Self::PositionUnknown => "Fetch from the oldest retained position, and reload what the channel describes.",
            Self::HistoryLagging => "Ask again after the given time.",
            Self::PageInvalid => "Start at the first page.",
            Self::Internal => "Try again after the given time; report it if it persists.",
            Self::Unavailable => "Try again after the given time.",
            Self::Draining => "Reconnect as the Reconnect frame says.",
        }
    }

    /// True when the same request may succeed later.
    pub const fn is_temporary(self) -> bool {
        matches!(
            self,
            Self::TokenNotYetValid
                | Self::AuthenticationUnavailable
                | Self::Overloaded
                | Self::RateLimited
                | Self::QuotaExceeded
                | Self::LookupUnavailable
                | Self::AckLevelUnavailable
                | Self::HistoryLagging
                | Self::Internal
                | Self::Unavailable
                | Self::Draining
        )
    }
}

/// Why a connection was closed (RFC 6455 section 7.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u16)]
pub enum CloseCode {
    /// The connection has done its work.
    Normal = 1000,
    /// The endpoint is going away.
    GoingAway = 1001,
    /// A WebSocket frame broke RFC 6455.
    ProtocolError = 1002,
    /// A text message was sent.
    UnsupportedData = 1003,
    /// The connection closed without a status.
    NoStatus = 1005,
    /// The connection was lost without a close frame.
    Abnormal = 1006,
    /// A text or close reason was not UTF-8.
    InvalidData = 1007,
    /// A rule of the deployment was broken.
    PolicyViolation = 1008,
    /// A message is longer than the connection allows.
    MessageTooBig = 1009,
    /// The server failed in a way that it should not.
    InternalError = 1011,
    /// The server restarts.
    ServiceRestart = 1012,
    /// The server has no room.
    TryAgainLater = 1013,
    /// The node empties itself before it stops.
    Draining = 3000,
    /// The client took nothing for the whole write timeout.
    SlowClient = 3001,
    /// A heartbeat was not answered in time.
    HeartbeatTimeout = 3002,
    /// The token of the connection expired.
    TokenExpired = 3003,
    /// The node sheds connections.
    Overloaded = 3004,
    /// No Hello came in time.
    HelloTimeout = 3005,
    /// A message was begun and not finished in time.
    MessageTimeout = 3006,
    /// A part that the connection needs is away.
    Unavailable = 3007,
    /// Another connection continued the session.
    TakenOver = 3500,
    /// The token could not be accepted.
    TokenInvalid = 3501,
    /// The token or its user was revoked.
    TokenRevoked = 3502,
    /// The server does not speak the version of the client.
    UnsupportedVersion = 3503,
    /// A message was not a valid Interlink frame.
    MalformedFrame = 3504,
    /// A frame came that is not allowed in this state.
    UnexpectedFrame = 3505,
    /// The client kept exceeding its limits.
    RateExceeded = 3506,
    /// The application ended the connection.
    Disconnected = 3507,
}

impl CloseCode {
    /// Every code, in order of its number.
    pub const ALL: [Self; 28] = [
        Self::Normal,
        Self::GoingAway,
        Self::ProtocolError,
        Self::UnsupportedData,
        Self::NoStatus,
        Self::Abnormal,
        Self::InvalidData,
        Self::PolicyViolation,
        Self::MessageTooBig,
        Self::InternalError,
        Self::ServiceRestart,
        Self::TryAgainLater,
        Self::Draining,
        Self::SlowClient,
        Self::HeartbeatTimeout,
        Self::TokenExpired,
        Self::Overloaded,
        Self::HelloTimeout,
        Self::MessageTimeout,
        Self::Unavailable,
        Self::TakenOver,
        Self::TokenInvalid,
        Self::TokenRevoked,
        Self::UnsupportedVersion,
        Self::MalformedFrame,
        Self::UnexpectedFrame,
        Self::RateExceeded,
        Self::Disconnected,
    ];

    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The code of a number; `None` when the table has none.
    pub const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            1000 => Self::Normal,
            1001 => Self::GoingAway,
            1002 => Self::ProtocolError,
            1003 => Self::UnsupportedData,
            1005 => Self::NoStatus,
            1006 => Self::Abnormal,
            1007 => Self::InvalidData,
            1008 => Self::PolicyViolation,
            1009 => Self::MessageTooBig,
            1011 => Self::InternalError,
            1012 => Self::ServiceRestart,
            1013 => Self::TryAgainLater,
            3000 => Self::Draining,
            3001 => Self::SlowClient,
            3002 => Self::HeartbeatTimeout,
            3003 => Self::TokenExpired,
            3004 => Self::Overloaded,
            3005 => Self::HelloTimeout,
            3006 => Self::MessageTimeout,
            3007 => Self::Unavailable,
            3500 => Self::TakenOver,
            3501 => Self::TokenInvalid,
            3502 => Self::TokenRevoked,
            3503 => Self::UnsupportedVersion,
            3504 => Self::MalformedFrame,
            3505 => Self::UnexpectedFrame,
            3506 => Self::RateExceeded,
            3507 => Self::Disconnected,
            _ => return None,
        })
    }

    /// The stable name, for logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::GoingAway => "going_away",
            Self::ProtocolError => "protocol_error",
            Self::UnsupportedData => "unsupported_data",
            Self::NoStatus => "no_status",
            Self::Abnormal => "abnormal",
            Self::InvalidData => "invalid_data",
            Self::PolicyViolation => "policy_violation",
            Self::MessageTooBig => "message_too_big",
            Self::InternalError => "internal_error",
            Self::ServiceRestart => "service_restart",
            Self::TryAgainLater => "try_again_later",
            Self::Draining => "draining",
            Self::SlowClient => "slow_client",
            Self::HeartbeatTimeout => "heartbeat_timeout",
            Self::TokenExpired => "token_expired",
            Self::Overloaded => "overloaded",
            Self::HelloTimeout => "hello_timeout",
            Self::MessageTimeout => "message_timeout",
            Self::Unavailable => "unavailable",
            Self::TakenOver => "taken_over",
            Self::TokenInvalid => "token_invalid",
            Self::TokenRevoked => "token_revoked",
            Self::UnsupportedVersion => "unsupported_version",
            Self::MalformedFrame => "malformed_frame",
            Self::UnexpectedFrame => "unexpected_frame",
            Self::RateExceeded => "rate_exceeded",
            Self::Disconnected => "disconnected",
        }
    }

    /// What the code says.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Normal => "The connection has done its work.",
            Self::GoingAway => "The endpoint is going away.",
            Self::ProtocolError => "A WebSocket frame broke RFC 6455.",
            Self::UnsupportedData => "A text message was sent.",
            Self::NoStatus => "The connection closed without a status.",
            Self::Abnormal => "The connection was lost without a close frame.",
            Self::InvalidData => "A text or close reason was not UTF-8.",
            Self::PolicyViolation => "A rule of the deployment was broken.",
            Self::MessageTooBig => "A message is longer than the connection allows.",
            Self::InternalError => "The server failed in a way that it should not.",
            Self::ServiceRestart => "The server restarts.",
            Self::TryAgainLater => "The server has no room.",
            Self::Draining => "The node empties itself before it stops.",
            Self::SlowClient => "The client took nothing for the whole write timeout.",
            Self::HeartbeatTimeout => "A heartbeat was not answered in time.",
            Self::TokenExpired => "The token of the connection expired.",
            Self::Overloaded => "The node sheds connections.",
            Self::HelloTimeout => "No Hello came in time.",
            Self::MessageTimeout => "A message was begun and not finished in time.",
            Self::Unavailable => "A part that the connection needs is away.",
            Self::TakenOver => "Another connection continued the session.",
            Self::TokenInvalid => "The token could not be accepted.",
            Self::TokenRevoked => "The token or its user was revoked.",
            Self::UnsupportedVersion => "The server does not speak the version of the client.",
            Self::MalformedFrame => "A message was not a valid Interlink frame.",
            Self::UnexpectedFrame => "A frame came that is not allowed in this state.",
            Self::RateExceeded => "The client kept exceeding its limits.",
            Self::Disconnected => "The application ended the connection.",
        }
    }

    /// What usually leads to it.
    pub const fn cause(self) -> &'static str {
        match self {
            Self::Normal => "Either side closed on purpose.",
            Self::GoingAway => "A page was left or a server was stopped.",
            Self::ProtocolError => "A defect in a client or a proxy.",
            Self::UnsupportedData => "A client of another protocol.",
            Self::NoStatus => "The peer sent an empty close frame.",
            Self::Abnormal => "A network failure or a crashed peer.",
            Self::InvalidData => "A defect in a client or a proxy.",
            Self::PolicyViolation => "An origin or address that is not allowed.",
            Self::MessageTooBig => "A payload or a list that does not fit the limits.",
            Self::InternalError => "A defect; the log of the node has the details.",
            Self::ServiceRestart => "A deployment.",
            Self::TryAgainLater => "More connections than the node may hold.",
            Self::Draining => "A deployment or a rebalance.",
            Self::SlowClient => "A stalled network or a client that stopped reading.",
            Self::HeartbeatTimeout => "A stalled client or a dead network path.",
            Self::TokenExpired => "The client did not refresh it in time.",
            Self::Overloaded => "Memory or queues of the node are at their bounds.",
            Self::HelloTimeout => "A slow network, or a client that waits for something.",
            Self::MessageTimeout => "A stalled network or a client that sends very slowly.",
            Self::Unavailable => "Keys to check tokens cannot be fetched, or a backing service is down.",
            Self::TakenOver => "The same session was resumed elsewhere.",
            Self::TokenInvalid => "The signature, audience, issuer or a claim of the token is wrong.",
            Self::TokenRevoked => "An administrator or the issuer withdrew it.",
            Self::UnsupportedVersion => "The client is newer or much older than the server.",
            Self::MalformedFrame => "Another protocol, or an encoder defect.",
            Self::UnexpectedFrame => "A client defect.",
            Self::RateExceeded => "A loop in the client, or an attack.",
            Self::Disconnected => "The server API was asked to disconnect this user.",
        }
    }

    /// What to do about it.
    pub const fn cure(self) -> &'static str {
        match self {
            Self::Normal => "Nothing to do.",
            Self::GoingAway => "Reconnect.",
            Self::ProtocolError => "Correct the client; do not reconnect unchanged.",
            Self::UnsupportedData => "Send binary messages only.",
            Self::NoStatus => "Reconnect.",
            Self::Abnormal => "Reconnect.",
            Self::InvalidData => "Correct the client; do not reconnect unchanged.",
            Self::PolicyViolation => "Ask the operator.",
            Self::MessageTooBig => "Split the request, or send a reference.",
            Self::InternalError => "Reconnect; report it if it persists.",
            Self::ServiceRestart => "Reconnect.",
            Self::TryAgainLater => "Reconnect later.",
            Self::Draining => "Reconnect as the Reconnect frame said; the session can be resumed.",
            Self::SlowClient => "Reconnect and resume; nothing durable is lost.",
            Self::HeartbeatTimeout => "Reconnect and resume.",
            Self::TokenExpired => "Obtain a fresh token, then reconnect and resume.",
            Self::Overloaded => "Reconnect with backoff.",
            Self::HelloTimeout => "Reconnect and send Hello at once.",
            Self::MessageTimeout => "Reconnect and resume.",
            Self::Unavailable => "Reconnect with backoff.",
            Self::TakenOver => "Nothing to do; the other connection is live.",
            Self::TokenInvalid => "Obtain a new token before connecting again.",
            Self::TokenRevoked => "Sign in again.",
            Self::UnsupportedVersion => "Use an SDK of a version that the server supports.",
            Self::MalformedFrame => "Correct the client.",
            Self::UnexpectedFrame => "Correct the client.",
            Self::RateExceeded => "Correct the client; wait before connecting again.",
            Self::Disconnected => "Ask the application.",
        }
    }

    /// True when an SDK connects again by itself.
    pub const fn reconnects(self) -> bool {
        matches!(
            self,
            Self::GoingAway
                | Self::NoStatus
                | Self::Abnormal
                | Self::InternalError
                | Self::ServiceRestart
                | Self::TryAgainLater
                | Self::Draining
                | Self::SlowClient
                | Self::HeartbeatTimeout
                | Self::TokenExpired
                | Self::Overloaded
                | Self::HelloTimeout
                | Self::MessageTimeout
                | Self::Unavailable
        )
    }

    /// False for codes that only a local library reports.
    pub const fn is_sent(self) -> bool {
        matches!(
            self,
            Self::Normal
                | Self::GoingAway
                | Self::ProtocolError
                | Self::UnsupportedData
                | Self::InvalidData
                | Self::PolicyViolation
                | Self::MessageTooBig
                | Self::InternalError
                | Self::ServiceRestart
                | Self::TryAgainLater
                | Self::Draining
                | Self::SlowClient
                | Self::HeartbeatTimeout
                | Self::TokenExpired
                | Self::Overloaded
                | Self::HelloTimeout
                | Self::MessageTimeout
                | Self::Unavailable
                | Self::TakenOver
                | Self::TokenInvalid
                | Self::TokenRevoked
                | Self::UnsupportedVersion
                | Self::MalformedFrame
                | Self::UnexpectedFrame
                | Self::RateExceeded
                | Self::Disconnected
        )
    }
}
