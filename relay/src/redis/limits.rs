//! Bounds of the backplane over Redis, each with its reason.

use std::time::Duration;

use crate::limits::{HISTORY_BYTES_MAX, HISTORY_EVENTS_MAX, RECENT_EVENTS_MAX};

/// Entries that a channel's stream keeps, give or take one node of the stream (100): what the
/// owner of a channel keeps in memory, four times, so that a node that was away for a while
/// does not go to the archive.
pub const STREAM_ENTRIES: usize = 4 * RECENT_EVENTS_MAX;

/// A stream goes so long after its channel's last event, or a quarter earlier. Older events are
/// the archive's.
pub const STREAM_LIFE: Duration = Duration::from_secs(3_600);

/// An answer later than this counts as lost: fifty times what a full call takes, and short
/// enough that a stalled server is noticed within the five seconds of a repair.
pub const CALL_TIMEOUT: Duration = Duration::from_millis(1_000);

/// A connection, its log-in and its first questions are given up after this.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(2_000);

/// How often what is lost is sought, and the least time between two looks at anything.
pub const TICK: Duration = Duration::from_millis(250);

/// Recently changed tops are read this often: the last event before a silence is missed for two
/// such intervals at most.
pub const POLL: Duration = Duration::from_millis(1_000);

/// A probe is sent this often: two calls a second are nothing beside those of a node's records,
/// and a wedged subscriber is found half a second earlier than with every poll.
pub const PROBE: Duration = Duration::from_millis(500);

/// Servers are looked up again this often while all is well, so that a failover is followed
/// even when the old master still answers.
pub const LOOK_UP: Duration = Duration::from_millis(2_000);

/// A subscriber that hears none of the probes that were sent for so long is wedged: four probes,
/// and longer than the messages of [`PUSH_BYTES_MAX`] take that may stand before one.
pub const PROBE_SILENCE: Duration = Duration::from_millis(2_000);

/// Reconnecting for longer than this is being away.
pub const AWAY_AFTER: Duration = Duration::from_millis(5_000);

/// Messages that wait between a connection and the backplane.
pub const PUSHES_MAX: usize = 16 * 1024;

/// Bytes of those messages; beyond it they are dropped and the channels are read again.
pub const PUSH_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Events that wait for the caller before messages are left where they are; a repair may add
/// one page of history.
pub const EVENTS_MAX: usize = 8 * 1024;

/// Events of one reading of a stream.
pub const RANGE_EVENTS: usize = 512;

/// Bytes of frames of one reading of a stream.
pub const RANGE_BYTES: usize = HISTORY_BYTES_MAX;

/// Record ids of delivered events that a channel keeps, for suppressing repeats and finding
/// where two histories part: 48 bytes each.
pub const DELIVERED_MAX: usize = 256;

/// Later events that a channel holds while a gap is read; what is dropped is read again.
pub const PENDING_MAX: usize = 256;

/// Channels in one question about recent tops: more come with the next.
pub const RECENT_CHANNELS: usize = 1_024;

/// Channels in one subscription call.
pub const SUBSCRIBE_CHANNELS: usize = 512;

/// Told events in one call.
pub const TELLS_MAX: usize = 256;

const _: () = assert!(RANGE_EVENTS <= HISTORY_EVENTS_MAX);
/// The longest time until a wedged subscriber is found: until the next probe, its silence, and
/// the looks at both.
const FOUND_MS: u128 = PROBE.as_millis() + PROBE_SILENCE.as_millis() + 2 * TICK.as_millis();

const _: () = assert!(
    FOUND_MS + CALL_TIMEOUT.as_millis() <= 4_000,
    "of the five seconds in which a wedged subscriber is healed, one is left for connecting, \
     subscribing and reading, also when the probe itself was not answered"
);
const _: () = assert!(
    STREAM_ENTRIES >= DELIVERED_MAX,
    "a rewind finds what was delivered"
);
