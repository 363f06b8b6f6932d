//! Every bound of the client, each with its reason.
//!
//! Bounds that the wire fixes for both sides stand in `interlink_protocol::limits`; the ones
//! here name them where both must agree.
//! Runs on: any thread; constants only.

use interlink_protocol::limits as wire;

/// Unsettled publishes that one class keeps. It equals what a server remembers of one
/// instance and class for deduplication, rounded down, so that sending all of them again
/// after a loss can never outrun the server's memory.
pub const UNSETTLED_PER_CLASS_MAX: usize = wire::UNSETTLED_COUNT;

/// Bytes of unsettled publishes that one class keeps: bounds the client's memory at 4 MiB
/// for its four classes.
pub const UNSETTLED_BYTES_PER_CLASS_MAX: usize = wire::UNSETTLED_BYTES;

/// Bytes charged for a publish beside its payload and names: bookkeeping of one entry.
pub const PUBLISH_OVERHEAD_BYTES: usize = 128;

/// Unacknowledged publishes of P1 to P3 together, until a `Welcome` says otherwise.
pub const PUBLISH_CREDIT: u32 = wire::PUBLISH_CREDIT as u32;

/// Unacknowledged publishes of P0, until a `Welcome` says otherwise.
pub const PUBLISH_CREDIT_CRITICAL: u32 = wire::PUBLISH_CREDIT_CRITICAL as u32;

/// Publishes of P1, P2 and P3 that leave in one round when all three wait.
pub const CLASS_WEIGHTS: [u32; 3] = [8, 3, 1];

/// Pause of a class after a temporary refusal that names none; doubles with each refusal
/// in a row.
pub const RETRY_AFTER_DEFAULT_MS: u64 = 200;

/// Longest pause of a class after a temporary refusal: a wrong value of a server must not
/// silence a client for hours.
pub const RETRY_AFTER_MAX_MS: u64 = 30_000;

/// Delay before the first reconnection attempt, before jitter.
pub const RECONNECT_FIRST_MS: u64 = wire::RECONNECT_FIRST_MS as u64;

/// Longest delay between reconnection attempts.
pub const RECONNECT_DELAY_MAX_MS: u64 = wire::RECONNECT_LONGEST_MS as u64;

/// Failed attempts after which the client is suspended.
pub const RECONNECT_ATTEMPTS: u32 = wire::RECONNECT_ATTEMPTS;

/// Addresses of one client. With more a round of failed attempts would outlast the patience of a
/// user; a larger service names some of its nodes, or a load balancer.
pub const ADDRESSES_MAX: usize = 64;

/// Mean pause between the slow attempts of a suspended client.
pub const SUSPENDED_RETRY_MS: u64 = 60_000;

/// Silence that counts as loss until a `Welcome` names its heartbeat: one interval of 30 s
/// and the 5 s that the other side has to answer.
pub const SILENCE_MS: u64 = wire::SILENCE_MS as u64;

/// Time for the TCP connection, the upgrade and the token together.
pub const DIAL_TIMEOUT_MS: u64 = 10_000;

/// Time from the upgrade to the `Welcome`.
pub const GREETING_TIMEOUT_MS: u64 = 10_000;

/// Record ids that each channel remembers to suppress repeats across epochs.
pub const RECORDS_REMEMBERED: usize = 1_024;

/// Longest time that an acknowledgement waits for others.
pub const ACK_DELAY_MS: u64 = 200;

/// Acknowledged events after which the acknowledgement leaves without waiting.
pub const ACK_COUNT: u32 = 64;

/// Positions of one `Ack` or `Pong`.
pub const ACK_POSITIONS_MAX: usize = wire::ITEMS_PER_FRAME;

/// Positions of one `Hello`; a client with more starts a new session and recovers each
/// channel by its own request.
pub const RESUME_POSITIONS_MAX: usize = wire::SUBSCRIPTIONS_PER_SESSION;

/// Channels of one `Subscribe` or `Unsubscribe`.
pub const CHANNELS_PER_REQUEST_MAX: usize = wire::ITEMS_PER_FRAME;

/// `Subscribe` requests without an answer. It keeps a burst of subscriptions from filling
/// the receive buffer of the server.
pub const SUBSCRIBES_IN_FLIGHT_MAX: usize = 8;

/// First pause before a temporarily refused subscription is asked again.
pub const SUBSCRIBE_RETRY_FIRST_MS: u64 = 1_000;

/// Longest pause before a temporarily refused subscription is asked again.
pub const SUBSCRIBE_RETRY_MAX_MS: u64 = 30_000;

/// Subscriptions of one client, until a `Welcome` names another number.
pub const SUBSCRIPTIONS_MAX: usize = wire::SUBSCRIPTIONS_PER_SESSION;

/// Requests for pages that wait for an answer, of history and of presence.
pub const QUERIES_MAX: usize = 64;

/// Time for the answer to a request for a page, reconnections included.
pub const QUERY_TIMEOUT_MS: u64 = 10_000;

/// Users of a channel that one question for all of them collects: bounds the application's
/// memory at some 10 MiB. Who has more to list reads pages.
pub const PRESENT_USERS_MAX: usize = 100_000;

/// Largest frame that the client sends, until a `Welcome` names another.
pub const FRAME_BYTES_MAX: usize = wire::FRAME_BYTES;

/// Bytes of a publish frame beside payload and names: tables, offsets and padding.
pub const PUBLISH_FRAME_OVERHEAD_BYTES: usize = 256;

/// Deliveries that wait for the application in each subscription.
pub const DELIVERY_QUEUE: usize = 1_024;

/// Publishes of one class on their way to the connection's task.
pub const PUBLISH_QUEUE: usize = 64;

/// Other requests on their way to the connection's task.
pub const REQUEST_QUEUE: usize = 64;

/// Longest time that a server may spread its clients over when it asks them to reconnect.
pub const MOVE_DELAY_MAX_MS: u64 = 10 * 60 * 1_000;

/// Bytes that wait for the socket; beyond this no further frame is built.
pub const WRITE_BUFFER_BYTES: usize = 64 * 1024;

/// Bytes by which the receive buffer grows.
pub const READ_BUFFER_BYTES: usize = 16 * 1024;

/// Headers of the server's answer to the upgrade.
pub const UPGRADE_RESPONSE_BYTES_MAX: usize = 8 * 1024;

/// Time that a graceful close gives unanswered publishes.
pub const CLOSE_DRAIN_MS: u64 = 5_000;

/// Time that a graceful close gives the server to answer the close frame.
pub const CLOSE_ANSWER_MS: u64 = 2_000;

/// Longest time before its end at which a token is replaced: a provider that is away for most
/// of a minute costs no connection.
pub const REFRESH_LEAD_MAX_MS: u64 = 60_000;

/// Shortest pause between two requests for a token while a connection lasts.
pub const REFRESH_PAUSE_MS: u64 = 1_000;

const _: () = assert!(SILENCE_MS > GREETING_TIMEOUT_MS);
const _: () = assert!(PUBLISH_CREDIT as usize <= UNSETTLED_PER_CLASS_MAX);
const _: () = assert!(RETRY_AFTER_DEFAULT_MS <= RETRY_AFTER_MAX_MS);
const _: () = assert!(RECONNECT_FIRST_MS <= RECONNECT_DELAY_MAX_MS);
const _: () = assert!(WRITE_BUFFER_BYTES >= FRAME_BYTES_MAX);
