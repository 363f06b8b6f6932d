//! Bounds of placing again what nodes without a lease have fed, each with its reason.

use std::time::Duration;

use interlink_relay::limits::{LEASE_MS, LEASE_RENEW_MS, PORT_CALLS_MAX};
use interlink_relay::lines::{ASK_WITHIN_US, REWIND_US};

/// How often leases are looked at: a node that has died is missed for its lease and this time.
pub const LOOK_EVERY: Duration = Duration::from_millis(2_000);

/// How far a pass goes back behind the last sign of a node, or behind a change of servers, in
/// milliseconds: the minute of the lines, and a lease, within which nobody knows who died.
pub const BACK_MS: u64 = REWIND_US / 1_000 + LEASE_MS;

/// How old a record may be when it is placed without a look into the archive, microseconds: the
/// backplane remembers ids for five minutes, so that clocks of two hosts may differ by one.
pub const AGE_MAX_US: u64 = ASK_WITHIN_US;

/// How far the first pass of a process goes back, in milliseconds: as far as something can be
/// placed; nobody knows what happened before the process was there.
pub const START_BACK_MS: u64 = AGE_MAX_US / 1_000;

/// How far a pass goes back at most, in milliseconds. A node may have died while servers were away
/// for long, and what it fed meanwhile has no places; at 10,000 records/s this is nine million.
pub const BACK_MAX_MS: u64 = 15 * 60 * 1_000;

/// A node that has ended its lease in order and has one again within this time, in milliseconds,
/// never ended it: the servers have forgotten it, and others.
pub const COMEBACK_MS: u64 = 2 * LEASE_MS;

/// Bytes of records that a pass holds before it reads no further.
pub const HELD_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Of them, bytes of records that are known and whose places the log may still tell; beyond it
/// places are told at once, and some of them twice.
pub const OWED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Calls of the backplane under way: enough to keep a server busy, few beside those of a node.
pub const CALLS_MAX: usize = 32;

/// Questions to the archive under way.
pub const LOOKUPS_MAX: usize = 4;

/// Pause before a call is made again that had no effect, and between two looks at everything.
pub const PAUSE: Duration = Duration::from_millis(250);

/// How often a pass says how far it is.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// How long what is under way may take when the process is told to stop.
pub const STOP_TIME_MAX: Duration = Duration::from_secs(5);

const _: () = assert!(CALLS_MAX < PORT_CALLS_MAX, "looks at leases find room");
const _: () = assert!(BACK_MS < START_BACK_MS && START_BACK_MS < BACK_MAX_MS);
const _: () = assert!(LEASE_RENEW_MS < COMEBACK_MS, "who lives is back by then");
