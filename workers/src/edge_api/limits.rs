//! Bounds of calls, each with its reason.

use std::time::Duration;

/// A call without an answer after this time is made again: the edge answers P0 when Kafka has it,
/// which takes longer while brokers change.
pub const CALL_TIME_MAX: Duration = Duration::from_secs(5);

/// Longest answer; those of the API are a few hundred bytes.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Connections that are kept: as many as calls are under way.
pub const IDLE_CONNECTIONS_MAX: usize = 64;

/// How long a token is used before its file is looked at again.
pub const TOKEN_READ_AGAIN: Duration = Duration::from_secs(5);
