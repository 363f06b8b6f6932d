//! Bounds of the outbox, each with its reason.

use std::time::Duration;

use crate::edge_api::CALL_TIME_MAX;

/// Lanes of the table, as `outbox.sql` has them: the most claims that can be worked on at once, by
/// all workers together.
pub const LANES: usize = 64;

/// Lanes of one claim: several workers find some each, and a key that is held up shares its claim
/// with few others.
pub const CLAIM_LANES: i64 = 8;

/// Claims of one process at a time: with their lanes, half of the table.
pub const CLAIMS_MAX: usize = 4;

/// Rows of one lane in a claim: what is published in its time at 10 ms a call.
pub const LANE_ROWS: i64 = 256;

/// Bytes of a claim's rows after which no more of them are taken, 1 MiB a row at most; all claims
/// hold four times that.
pub const CLAIM_BYTES: i64 = 8 * 1024 * 1024;

/// Calls under way, over all claims: the server API takes 1,024 connections from all callers.
pub const CALLS_MAX: usize = 64;

/// No attempt begins later than this after its claim; rows that are left come with the next one.
pub const WORK_TIME: Duration = Duration::from_secs(5);

/// How long nobody else has a claim's lanes: its work, the last call and the deletion. It is what
/// the lanes of a killed worker wait.
pub const CLAIM_TIME: Duration = Duration::from_secs(15);

/// How often an empty table is looked at; 64 probes of an index.
pub const LOOK_EVERY: Duration = Duration::from_millis(100);

/// First pause after a failed attempt (mission 1.7, real time), and after a failed call of the
/// database.
pub const PAUSE_FIRST: Duration = Duration::from_millis(25);

/// Longest pause: servers that are back are used within seconds.
pub const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Connections to the database: one looks for work, each claim ends with one.
pub const CONNECTIONS: usize = CLAIMS_MAX + 1;

/// How long what is under way may take when the process is told to stop.
pub const STOP_TIME_MAX: Duration = Duration::from_secs(12);

const _: () = assert!(CLAIMS_MAX * CLAIM_LANES as usize <= LANES);
const _: () = assert!(WORK_TIME.as_secs() + CALL_TIME_MAX.as_secs() < CLAIM_TIME.as_secs());
const _: () = assert!(WORK_TIME.as_secs() + CALL_TIME_MAX.as_secs() < STOP_TIME_MAX.as_secs());
