// Written by protocol/schema/generate from codes.toml; do not edit.

export enum ErrorCode {
  /** The bytes are not a valid Interlink frame. */
  MalformedFrame = 1,
  /** The kind of frame is not allowed now. */
  UnexpectedFrame = 2,
  /** The server does not speak the version that Hello names. */
  UnsupportedVersion = 3,
  /** The frame is longer than the connection allows. */
  FrameTooLarge = 4,
  /** A list in the request is longer than allowed. */
  TooManyItems = 5,
  /** A field of the request has a value that is not allowed. */
  InvalidRequest = 6,
  /** This server does not offer the request. */
  NotSupported = 7,
  /** The token could not be accepted. */
  TokenInvalid = 100,
  /** The token is past its expiry. */
  TokenExpired = 101,
  /** The token becomes valid only later. */
  TokenNotYetValid = 102,
  /** The token was issued for or by somebody else. */
  TokenWrongAudience = 103,
  /** The token or its user was revoked. */
  TokenRevoked = 104,
  /** The new token belongs to another user. */
  UserChanged = 105,
  /** The token cannot be checked at the moment. */
  AuthenticationUnavailable = 106,
  /** The channel name is not well formed. */
  ChannelInvalid = 200,
  /** No namespace of this name is configured. */
  NamespaceUnknown = 201,
  /** The user may not do this on this channel. */
  NotPermitted = 202,
  /** The channel is granted by a subscription token only, and none was given. */
  SubscriptionTokenRequired = 203,
  /** The subscription token does not grant this channel to this user. */
  SubscriptionTokenInvalid = 204,
  /** The session is subscribed to this channel already. */
  AlreadySubscribed = 205,
  /** The session is not subscribed to this channel. */
  NotSubscribed = 206,
  /** The session has as many subscriptions as it may have. */
  TooManySubscriptions = 207,
  /** The channel has no presence. */
  PresenceUnavailable = 208,
  /** The application ended the subscription. */
  Unsubscribed = 209,
  /** The registry has no event type of this number. */
  EventTypeUnknown = 300,
  /** The registry has no such version of this event type. */
  EventVersionUnknown = 301,
  /** This event type is not allowed on channels of this namespace. */
  EventNotAllowed = 302,
  /** The payload does not have the form of its event type. */
  PayloadInvalid = 303,
  /** The payload is longer than the namespace allows. */
  PayloadTooLarge = 304,
  /** The namespace accepts registered event types only. */
  OpaqueRefused = 305,
  /** Too many publishes of this connection wait for their acknowledgement. */
  Overloaded = 306,
  /** The connection, user or institution exceeds its rate. */
  RateLimited = 307,
  /** The disk queue has no room for this priority. */
  QuotaExceeded = 308,
  /** The id was accepted before with another payload. */
  IdempotencyConflict = 309,
  /** The publish is too old to decide whether it was accepted before. */
  OutcomeUnknown = 310,
  /** Whether the publish was accepted before cannot be looked up at the moment. */
  LookupUnavailable = 311,
  /** The publish is older than its own time to live. */
  PublishExpired = 312,
  /** The wanted acknowledgement level cannot be given at the moment. */
  AckLevelUnavailable = 313,
  /** The client message id is not allowed. */
  MessageIdInvalid = 314,
  /** The conflation key is not allowed. */
  ConflationKeyInvalid = 315,
  /** The channel keeps no history. */
  HistoryUnavailable = 400,
  /** The position was never issued for this channel or is no longer retained. */
  PositionUnknown = 401,
  /** The archive does not yet hold the wanted range. */
  HistoryLagging = 402,
  /** The page token is not valid. */
  PageInvalid = 403,
  /** The server failed in a way that it should not. */
  Internal = 500,
  /** A part of the system that the request needs is away. */
  Unavailable = 501,
  /** The node is shutting down and takes no new work. */
  Draining = 502,
}

export interface ErrorCodeRow {
  readonly code: ErrorCode;
  readonly name: string;
  readonly meaning: string;
  readonly cause: string;
  readonly cure: string;
  readonly temporary: boolean;
}

export const errorCodes: ReadonlyMap<number, ErrorCodeRow> = new Map([
  [1, {
    code: ErrorCode.MalformedFrame,
    name: "malformed_frame",
    meaning: "The bytes are not a valid Interlink frame.",
    cause: "Another protocol or version, a truncated message, or an encoder defect.",
    cure: "Send exactly one FlatBuffers frame with identifier ILNK in each binary WebSocket message, encoded by a current SDK.",
    temporary: false,
  }],
  [2, {
    code: ErrorCode.UnexpectedFrame,
    name: "unexpected_frame",
    meaning: "The kind of frame is not allowed now.",
    cause: "A frame other than Hello came first, Hello came twice, or a client sent a frame that only servers send.",
    cure: "Send Hello once, first, and wait for Welcome.",
    temporary: false,
  }],
  [3, {
    code: ErrorCode.UnsupportedVersion,
    name: "unsupported_version",
    meaning: "The server does not speak the version that Hello names.",
    cause: "The client is newer or much older than the server.",
    cure: "Use an SDK of a version that the server supports.",
    temporary: false,
  }],
  [4, {
    code: ErrorCode.FrameTooLarge,
    name: "frame_too_large",
    meaning: "The frame is longer than the connection allows.",
    cause: "A payload or a list that does not fit Limits.frame_bytes.",
    cure: "Split the request, or store large content elsewhere and send a reference.",
    temporary: false,
  }],
  [5, {
    code: ErrorCode.TooManyItems,
    name: "too_many_items",
    meaning: "A list in the request is longer than allowed.",
    cause: "More channels or positions in one frame than the protocol permits.",
    cure: "Send several frames of at most 32 entries.",
    temporary: false,
  }],
  [6, {
    code: ErrorCode.InvalidRequest,
    name: "invalid_request",
    meaning: "A field of the request has a value that is not allowed.",
    cause: "A zero or repeated request id, an empty or overlong string, or a number out of its bounds.",
    cure: "Correct the field that the message names.",
    temporary: false,
  }],
  [7, {
    code: ErrorCode.NotSupported,
    name: "not_supported",
    meaning: "This server does not offer the request.",
    cause: "The client is newer than the server, or the feature is not part of this release.",
    cure: "Do without the feature on this server, or update the server.",
    temporary: false,
  }],
  [100, {
    code: ErrorCode.TokenInvalid,
    name: "token_invalid",
    meaning: "The token could not be accepted.",
    cause: "Its signature, algorithm or form is wrong, or a required claim is missing.",
    cure: "Obtain a new token from the issuer that the server is configured for.",
    temporary: false,
  }],
  [101, {
    code: ErrorCode.TokenExpired,
    name: "token_expired",
    meaning: "The token is past its expiry.",
    cause: "The client kept the token longer than its lifetime, or clocks differ.",
    cure: "Obtain a fresh token and send Hello or Refresh with it.",
    temporary: false,
  }],
  [102, {
    code: ErrorCode.TokenNotYetValid,
    name: "token_not_yet_valid",
    meaning: "The token becomes valid only later.",
    cause: "The issuer's clock is ahead of the server's.",
    cure: "Synchronise the clocks, or wait and try again.",
    temporary: true,
  }],
  [103, {
    code: ErrorCode.TokenWrongAudience,
    name: "token_wrong_audience",
    meaning: "The token was issued for or by somebody else.",
    cause: "The claim aud or iss does not match the server's configuration.",
    cure: "Request the token for the audience of this server.",
    temporary: false,
  }],
  [104, {
    code: ErrorCode.TokenRevoked,
    name: "token_revoked",
    meaning: "The token or its user was revoked.",
    cause: "An administrator or the issuer withdrew it.",
    cure: "Sign in again; if that fails, ask the administrator.",
    temporary: false,
  }],
  [105, {
    code: ErrorCode.UserChanged,
    name: "user_changed",
    meaning: "The new token belongs to another user.",
    cause: "Refresh was sent with the token of a different sub.",
    cure: "Open a new connection for the other user.",
    temporary: false,
  }],
  [106, {
    code: ErrorCode.AuthenticationUnavailable,
    name: "authentication_unavailable",
    meaning: "The token cannot be checked at the moment.",
    cause: "The key set of the issuer could not be fetched.",
    cure: "Try again after the given time.",
    temporary: true,
  }],
  [200, {
    code: ErrorCode.ChannelInvalid,
    name: "channel_invalid",
    meaning: "The channel name is not well formed.",
    cause: "It lacks the namespace, is too long, or holds characters that are not allowed.",
    cure: "Use namespace, a dot and an id of letters, digits and the characters . _ - : @ ~ only.",
    temporary: false,
  }],
  [201, {
    code: ErrorCode.NamespaceUnknown,
    name: "namespace_unknown",
    meaning: "No namespace of this name is configured.",
    cause: "A misspelt name, or a namespace of another deployment.",
    cure: "Use a configured namespace, or configure it.",
    temporary: false,
  }],
  [202, {
    code: ErrorCode.NotPermitted,
    name: "not_permitted",
    meaning: "The user may not do this on this channel.",
    cause: "The claims of the token do not cover the channel, or the role may not publish.",
    cure: "Obtain a token with the needed class, department or role.",
    temporary: false,
  }],
  [203, {
    code: ErrorCode.SubscriptionTokenRequired,
    name: "subscription_token_required",
    meaning: "The channel is granted by a subscription token only, and none was given.",
    cause: "The namespace asks for a token for each channel.",
    cure: "Obtain a subscription token from the application and send it with Subscribe.",
    temporary: false,
  }],
  [204, {
    code: ErrorCode.SubscriptionTokenInvalid,
    name: "subscription_token_invalid",
    meaning: "The subscription token does not grant this channel to this user.",
    cause: "It is expired, for another channel or user, or its signature is wrong.",
    cure: "Obtain a new subscription token for exactly this channel and user.",
    temporary: false,
  }],
  [205, {
    code: ErrorCode.AlreadySubscribed,
    name: "already_subscribed",
    meaning: "The session is subscribed to this channel already.",
    cause: "Subscribe was sent twice.",
    cure: "Use the existing subscription, or end it first.",
    temporary: false,
  }],
  [206, {
    code: ErrorCode.NotSubscribed,
    name: "not_subscribed",
    meaning: "The session is not subscribed to this channel.",
    cause: "Unsubscribe or Ack for a channel that was never subscribed or has ended.",
    cure: "Subscribe first.",
    temporary: false,
  }],
  [207, {
    code: ErrorCode.TooManySubscriptions,
    name: "too_many_subscriptions",
    meaning: "The session has as many subscriptions as it may have.",
    cause: "More channels at once than Limits.subscriptions.",
    cure: "End subscriptions that are not needed.",
    temporary: false,
  }],
  [208, {
    code: ErrorCode.PresenceUnavailable,
    name: "presence_unavailable",
    meaning: "The channel has no presence.",
    cause: "The namespace does not offer presence.",
    cure: "Ask without presence, or use a channel of another namespace.",
    temporary: false,
  }],
  [209, {
    code: ErrorCode.Unsubscribed,
    name: "unsubscribed",
    meaning: "The application ended the subscription.",
    cause: "The server API was asked to end it for this user.",
    cure: "Ask the application.",
    temporary: false,
  }],
  [300, {
    code: ErrorCode.EventTypeUnknown,
    name: "event_type_unknown",
    meaning: "The registry has no event type of this number.",
    cause: "The client is newer than the server, or uses a number of its own.",
    cure: "Register the type, or upgrade the server.",
    temporary: false,
  }],
  [301, {
    code: ErrorCode.EventVersionUnknown,
    name: "event_version_unknown",
    meaning: "The registry has no such version of this event type.",
    cause: "The client is newer than the server.",
    cure: "Publish an older version, or upgrade the server.",
    temporary: false,
  }],
  [302, {
    code: ErrorCode.EventNotAllowed,
    name: "event_not_allowed",
    meaning: "This event type is not allowed on channels of this namespace.",
    cause: "The type is registered for other namespaces.",
    cure: "Publish on a channel of a namespace that the type lists.",
    temporary: false,
  }],
  [303, {
    code: ErrorCode.PayloadInvalid,
    name: "payload_invalid",
    meaning: "The payload does not have the form of its event type.",
    cause: "An encoder defect, or a payload of another type.",
    cure: "Encode the payload with the schema of the type and version.",
    temporary: false,
  }],
  [304, {
    code: ErrorCode.PayloadTooLarge,
    name: "payload_too_large",
    meaning: "The payload is longer than the namespace allows.",
    cause: "Content that belongs elsewhere.",
    cure: "Store it elsewhere and publish a reference, or raise the limit of the namespace.",
    temporary: false,
  }],
  [305, {
    code: ErrorCode.OpaqueRefused,
    name: "opaque_refused",
    meaning: "The namespace accepts registered event types only.",
    cause: "event_type is 0 on a namespace without opaque payloads.",
    cure: "Use a registered type, or allow opaque payloads for the namespace.",
    temporary: false,
  }],
  [306, {
    code: ErrorCode.Overloaded,
    name: "overloaded",
    meaning: "Too many publishes of this connection wait for their acknowledgement.",
    cause: "The client publishes faster than the server settles.",
    cure: "Wait for acknowledgements or the given time, then send again with the same id.",
    temporary: true,
  }],
  [307, {
    code: ErrorCode.RateLimited,
    name: "rate_limited",
    meaning: "The connection, user or institution exceeds its rate.",
    cause: "More requests in a short time than the limits allow.",
    cure: "Send again with the same id after the given time.",
    temporary: true,
  }],
  [308, {
    code: ErrorCode.QuotaExceeded,
    name: "quota_exceeded",
    meaning: "The disk queue has no room for this priority.",
    cause: "A backlog towards the backbone fills the share of this class.",
    cure: "Send again with the same id after the given time; operators look at the lag of the backbone.",
    temporary: true,
  }],
  [309, {
    code: ErrorCode.IdempotencyConflict,
    name: "idempotency_conflict",
    meaning: "The id was accepted before with another payload.",
    cause: "Two instances share one instance id, or an id was used twice.",
    cure: "Give every SDK object its own random instance and every publish its own id.",
    temporary: false,
  }],
  [310, {
    code: ErrorCode.OutcomeUnknown,
    name: "outcome_unknown",
    meaning: "The publish is too old to decide whether it was accepted before.",
    cause: "Its first attempt is longer ago than ids are remembered.",
    cure: "Check the history of the channel; publish again under a new id if it is missing.",
    temporary: false,
  }],
  [311, {
    code: ErrorCode.LookupUnavailable,
    name: "lookup_unavailable",
    meaning: "Whether the publish was accepted before cannot be looked up at the moment.",
    cause: "The archive of ids is away.",
    cure: "Send again with the same id after the given time.",
    temporary: true,
  }],
  [312, {
    code: ErrorCode.PublishExpired,
    name: "publish_expired",
    meaning: "The publish is older than its own time to live.",
    cause: "The client was offline for longer than the event is worth.",
    cure: "Drop it, or publish a current one.",
    temporary: false,
  }],
  [313, {
    code: ErrorCode.AckLevelUnavailable,
    name: "ack_level_unavailable",
    meaning: "The wanted acknowledgement level cannot be given at the moment.",
    cause: "The replicated log is away and the namespace withholds lower levels.",
    cure: "Send again with the same id after the given time.",
    temporary: true,
  }],
  [314, {
    code: ErrorCode.MessageIdInvalid,
    name: "message_id_invalid",
    meaning: "The client message id is not allowed.",
    cause: "It is 0, or far outside the window of this instance.",
    cure: "Count publishes of an instance 1, 2, 3 and so on; a retry keeps its id.",
    temporary: false,
  }],
  [315, {
    code: ErrorCode.ConflationKeyInvalid,
    name: "conflation_key_invalid",
    meaning: "The conflation key is not allowed.",
    cause: "It is too long, or the namespace does not conflate.",
    cure: "Leave it out, or use a shorter key.",
    temporary: false,
  }],
  [400, {
    code: ErrorCode.HistoryUnavailable,
    name: "history_unavailable",
    meaning: "The channel keeps no history.",
    cause: "Its namespace is ephemeral.",
    cure: "Do not ask for history of this namespace.",
    temporary: false,
  }],
  [401, {
    code: ErrorCode.PositionUnknown,
    name: "position_unknown",
    meaning: "The position was never issued for this channel or is no longer retained.",
    cause: "A position of another channel or cluster, or a long absence.",
    cure: "Fetch from the oldest retained position, and reload what the channel describes.",
    temporary: false,
  }],
  [402, {
    code: ErrorCode.HistoryLagging,
    name: "history_lagging",
    meaning: "The archive does not yet hold the wanted range.",
    cause: "The archive is behind the live stream.",
    cure: "Ask again after the given time.",
    temporary: true,
  }],
  [403, {
    code: ErrorCode.PageInvalid,
    name: "page_invalid",
    meaning: "The page token is not valid.",
    cause: "It was altered or comes from another request.",
    cure: "Start at the first page.",
    temporary: false,
  }],
  [500, {
    code: ErrorCode.Internal,
    name: "internal",
    meaning: "The server failed in a way that it should not.",
    cause: "A defect; the log of the node has the details.",
    cure: "Try again after the given time; report it if it persists.",
    temporary: true,
  }],
  [501, {
    code: ErrorCode.Unavailable,
    name: "unavailable",
    meaning: "A part of the system that the request needs is away.",
    cause: "A failover, an outage or a restart of a backing service.",
    cure: "Try again after the given time.",
    temporary: true,
  }],
  [502, {
    code: ErrorCode.Draining,
    name: "draining",
    meaning: "The node is shutting down and takes no new work.",
    cause: "A deployment or a rebalance.",
    cure: "Reconnect as the Reconnect frame says.",
    temporary: true,
  }],
]);

export enum CloseCode {
  /** The connection has done its work. */
  Normal = 1000,
  /** The endpoint is going away. */
  GoingAway = 1001,
  /** A WebSocket frame broke RFC 6455. */
  ProtocolError = 1002,
  /** A text message was sent. */
  UnsupportedData = 1003,
  /** The connection closed without a status. */
  NoStatus = 1005,
  /** The connection was lost without a close frame. */
  Abnormal = 1006,
  /** A text or close reason was not UTF-8. */
  InvalidData = 1007,
  /** A rule of the deployment was broken. */
  PolicyViolation = 1008,
  /** A message is longer than the connection allows. */
  MessageTooBig = 1009,
  /** The server failed in a way that it should not. */
  InternalError = 1011,
  /** The server restarts. */
  ServiceRestart = 1012,
  /** The server has no room. */
  TryAgainLater = 1013,
  /** The node empties itself before it stops. */
  Draining = 3000,
  /** The client took nothing for the whole write timeout. */
  SlowClient = 3001,
  /** A heartbeat was not answered in time. */
  HeartbeatTimeout = 3002,
  /** The token of the connection expired. */
  TokenExpired = 3003,
  /** The node sheds connections. */
  Overloaded = 3004,
  /** No Hello came in time. */
  HelloTimeout = 3005,
  /** A message was begun and not finished in time. */
  MessageTimeout = 3006,
  /** A part that the connection needs is away. */
  Unavailable = 3007,
  /** Another connection continued the session. */
  TakenOver = 3500,
  /** The token could not be accepted. */
  TokenInvalid = 3501,
  /** The token or its user was revoked. */
  TokenRevoked = 3502,
  /** The server does not speak the version of the client. */
  UnsupportedVersion = 3503,
  /** A message was not a valid Interlink frame. */
  MalformedFrame = 3504,
  /** A frame came that is not allowed in this state. */
  UnexpectedFrame = 3505,
  /** The client kept exceeding its limits. */
  RateExceeded = 3506,
  /** The application ended the connection. */
  Disconnected = 3507,
}

export interface CloseCodeRow {
  readonly code: CloseCode;
  readonly name: string;
  readonly meaning: string;
  readonly cause: string;
  readonly cure: string;
  readonly reconnect: boolean;
  readonly sent: boolean;
}

export const closeCodes: ReadonlyMap<number, CloseCodeRow> = new Map([
  [1000, {
    code: CloseCode.Normal,
    name: "normal",
    meaning: "The connection has done its work.",
    cause: "Either side closed on purpose.",
    cure: "Nothing to do.",
    reconnect: false,
    sent: true,
  }],
  [1001, {
    code: CloseCode.GoingAway,
    name: "going_away",
    meaning: "The endpoint is going away.",
    cause: "A page was left or a server was stopped.",
    cure: "Reconnect.",
    reconnect: true,
    sent: true,
  }],
  [1002, {
    code: CloseCode.ProtocolError,
    name: "protocol_error",
    meaning: "A WebSocket frame broke RFC 6455.",
    cause: "A defect in a client or a proxy.",
    cure: "Correct the client; do not reconnect unchanged.",
    reconnect: false,
    sent: true,
  }],
  [1003, {
    code: CloseCode.UnsupportedData,
    name: "unsupported_data",
    meaning: "A text message was sent.",
    cause: "A client of another protocol.",
    cure: "Send binary messages only.",
    reconnect: false,
    sent: true,
  }],
  [1005, {
    code: CloseCode.NoStatus,
    name: "no_status",
    meaning: "The connection closed without a status.",
    cause: "The peer sent an empty close frame.",
    cure: "Reconnect.",
    reconnect: true,
    sent: false,
  }],
  [1006, {
    code: CloseCode.Abnormal,
    name: "abnormal",
    meaning: "The connection was lost without a close frame.",
    cause: "A network failure or a crashed peer.",
    cure: "Reconnect.",
    reconnect: true,
    sent: false,
  }],
  [1007, {
    code: CloseCode.InvalidData,
    name: "invalid_data",
    meaning: "A text or close reason was not UTF-8.",
    cause: "A defect in a client or a proxy.",
    cure: "Correct the client; do not reconnect unchanged.",
    reconnect: false,
    sent: true,
  }],
  [1008, {
    code: CloseCode.PolicyViolation,
    name: "policy_violation",
    meaning: "A rule of the deployment was broken.",
    cause: "An origin or address that is not allowed.",
    cure: "Ask the operator.",
    reconnect: false,
    sent: true,
  }],
  [1009, {
    code: CloseCode.MessageTooBig,
    name: "message_too_big",
    meaning: "A message is longer than the connection allows.",
    cause: "A payload or a list that does not fit the limits.",
    cure: "Split the request, or send a reference.",
    reconnect: false,
    sent: true,
  }],
  [1011, {
    code: CloseCode.InternalError,
    name: "internal_error",
    meaning: "The server failed in a way that it should not.",
    cause: "A defect; the log of the node has the details.",
    cure: "Reconnect; report it if it persists.",
    reconnect: true,
    sent: true,
  }],
  [1012, {
    code: CloseCode.ServiceRestart,
    name: "service_restart",
    meaning: "The server restarts.",
    cause: "A deployment.",
    cure: "Reconnect.",
    reconnect: true,
    sent: true,
  }],
  [1013, {
    code: CloseCode.TryAgainLater,
    name: "try_again_later",
    meaning: "The server has no room.",
    cause: "More connections than the node may hold.",
    cure: "Reconnect later.",
    reconnect: true,
    sent: true,
  }],
  [3000, {
    code: CloseCode.Draining,
    name: "draining",
    meaning: "The node empties itself before it stops.",
    cause: "A deployment or a rebalance.",
    cure: "Reconnect as the Reconnect frame said; the session can be resumed.",
    reconnect: true,
    sent: true,
  }],
  [3001, {
    code: CloseCode.SlowClient,
    name: "slow_client",
    meaning: "The client took nothing for the whole write timeout.",
    cause: "A stalled network or a client that stopped reading.",
    cure: "Reconnect and resume; nothing durable is lost.",
    reconnect: true,
    sent: true,
  }],
  [3002, {
    code: CloseCode.HeartbeatTimeout,
    name: "heartbeat_timeout",
    meaning: "A heartbeat was not answered in time.",
    cause: "A stalled client or a dead network path.",
    cure: "Reconnect and resume.",
    reconnect: true,
    sent: true,
  }],
  [3003, {
    code: CloseCode.TokenExpired,
    name: "token_expired",
    meaning: "The token of the connection expired.",
    cause: "The client did not refresh it in time.",
    cure: "Obtain a fresh token, then reconnect and resume.",
    reconnect: true,
    sent: true,
  }],
  [3004, {
    code: CloseCode.Overloaded,
    name: "overloaded",
    meaning: "The node sheds connections.",
    cause: "Memory or queues of the node are at their bounds.",
    cure: "Reconnect with backoff.",
    reconnect: true,
    sent: true,
  }],
  [3005, {
    code: CloseCode.HelloTimeout,
    name: "hello_timeout",
    meaning: "No Hello came in time.",
    cause: "A slow network, or a client that waits for something.",
    cure: "Reconnect and send Hello at once.",
    reconnect: true,
    sent: true,
  }],
  [3006, {
    code: CloseCode.MessageTimeout,
    name: "message_timeout",
    meaning: "A message was begun and not finished in time.",
    cause: "A stalled network or a client that sends very slowly.",
    cure: "Reconnect and resume.",
    reconnect: true,
    sent: true,
  }],
  [3007, {
    code: CloseCode.Unavailable,
    name: "unavailable",
    meaning: "A part that the connection needs is away.",
    cause: "Keys to check tokens cannot be fetched, or a backing service is down.",
    cure: "Reconnect with backoff.",
    reconnect: true,
    sent: true,
  }],
  [3500, {
    code: CloseCode.TakenOver,
    name: "taken_over",
    meaning: "Another connection continued the session.",
    cause: "The same session was resumed elsewhere.",
    cure: "Nothing to do; the other connection is live.",
    reconnect: false,
    sent: true,
  }],
  [3501, {
    code: CloseCode.TokenInvalid,
    name: "token_invalid",
    meaning: "The token could not be accepted.",
    cause: "The signature, audience, issuer or a claim of the token is wrong.",
    cure: "Obtain a new token before connecting again.",
    reconnect: false,
    sent: true,
  }],
  [3502, {
    code: CloseCode.TokenRevoked,
    name: "token_revoked",
    meaning: "The token or its user was revoked.",
    cause: "An administrator or the issuer withdrew it.",
    cure: "Sign in again.",
    reconnect: false,
    sent: true,
  }],
  [3503, {
    code: CloseCode.UnsupportedVersion,
    name: "unsupported_version",
    meaning: "The server does not speak the version of the client.",
    cause: "The client is newer or much older than the server.",
    cure: "Use an SDK of a version that the server supports.",
    reconnect: false,
    sent: true,
  }],
  [3504, {
    code: CloseCode.MalformedFrame,
    name: "malformed_frame",
    meaning: "A message was not a valid Interlink frame.",
    cause: "Another protocol, or an encoder defect.",
    cure: "Correct the client.",
    reconnect: false,
    sent: true,
  }],
  [3505, {
    code: CloseCode.UnexpectedFrame,
    name: "unexpected_frame",
    meaning: "A frame came that is not allowed in this state.",
    cause: "A client defect.",
    cure: "Correct the client.",
    reconnect: false,
    sent: true,
  }],
  [3506, {
    code: CloseCode.RateExceeded,
    name: "rate_exceeded",
    meaning: "The client kept exceeding its limits.",
    cause: "A loop in the client, or an attack.",
    cure: "Correct the client; wait before connecting again.",
    reconnect: false,
    sent: true,
  }],
  [3507, {
    code: CloseCode.Disconnected,
    name: "disconnected",
    meaning: "The application ended the connection.",
    cause: "The server API was asked to disconnect this user.",
    cure: "Ask the application.",
    reconnect: false,
    sent: true,
  }],
]);
