//! The memory plan: how much a node may use, derived from its configuration.
//!
//! `config print` shows it, the start logs it, and the tests against hostile clients
//! hold the node to it. Each line is a sum whose terms have a reason.
//!
//! Runs on: the main thread; values are read only afterwards.

use interlink_relay::limits::{CURSORS_MAX, CURSOR_BYTES, KEYS_BYTES, KEYS_PER_SET};
use interlink_relay::record::Kind;

use super::sections::Tls;
use super::setting::ByteSize;
use super::Config;
use crate::shard::leaving::LEAVING_BYTES_MAX;
use crate::telemetry::latency::{Stage, SLOTS};
use crate::tls::limits as tls_limits;

/// Bytes of an idle plaintext session with three subscriptions: connection 64,
/// session 96, subscriptions 114, user 72, hash slots 16, own channel 72, interned
/// claims 64.
pub const SESSION_BYTES: u64 = 64 + 96 + 114 + 72 + 16 + 72 + 64;

/// Bytes of one more subscription of a session.
pub const SUBSCRIPTION_BYTES: u64 = 38;

/// Subscriptions that [`SESSION_BYTES`] contains.
pub const SUBSCRIPTIONS_IN_SESSION: u64 = 3;

/// Bytes of the state of a connection before its `Hello`, without its request.
pub const HANDSHAKE_STATE_BYTES: u64 = 256;

/// Entries of one direction between two shards, in all four priorities together.
pub const LANE_ENTRIES: u64 = 4_096;

/// Bytes of a lane entry, with the queue's own stamp beside it.
pub const LANE_ENTRY_BYTES: u64 = 32 + 8;

/// Kernel-shared memory of a ring: 256 submission entries of 64 bytes and 4,096
/// completion entries of 16 bytes.
pub const RING_QUEUE_BYTES: u64 = 256 * 64 + 4_096 * 16;

/// Memory of the ring for syncs: queues of 8 and 16 entries in two pages, and a page of buffers.
pub const SYNC_RING_BYTES: u64 = 3 * 4_096;

/// Bytes of one receive buffer.
pub const RECEIVE_BUFFER_BYTES: u64 = 2_048;

/// Bytes that one submit of sends may gather: 32 sockets of 16 KiB each.
pub const SEND_ARENA_BYTES: u64 = 32 * (16 << 10);

/// Bytes that replies to clients that do not read may hold on a shard: as much as unfinished
/// messages in the other direction.
pub const REPLY_BYTES: u64 = 64 << 20;

/// Bytes of history that a shard has asked for: 256 requests of a page that begins its last
/// event of up to 64 KiB below 128 KiB.
pub const HISTORY_BYTES: u64 = 256 * ((128 + 64) << 10);

/// Bytes of journal blocks of a shard: for both kinds one open block, one being
/// written and two to recycle, of 128 KiB each.
pub const JOURNAL_BLOCK_BYTES: u64 = 2 * 4 * (128 << 10);

/// Subscriptions that a shard has room for, for each session.
pub const SUBSCRIPTIONS_PLANNED: u64 = 16;

/// Bytes for a subscription that has not been sent everything: its place, and what it waits for
/// if it reads history or last values.
pub const SLOW_SUBSCRIPTION_BYTES: u64 = 24 + 96;

/// Bytes for a connection whose socket is full: it is in line for its timeout and for a retry.
pub const SLOW_CONNECTION_BYTES: u64 = 2 * 16;

/// Bytes of the histograms of a shard's latencies.
pub const LATENCY_BYTES: u64 = (Stage::COUNT * SLOTS * 8) as u64;

/// Program, thread stacks and the allocator's own state.
pub const PROCESS_BYTES: u64 = 64 << 20;

/// One line of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanLine {
    /// What the memory is for.
    pub name: &'static str,
    /// Most bytes that one shard uses for it.
    pub bytes: u64,
    /// Where the number comes from.
    pub reason: String,
}

/// Most memory that a node uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Number of shards.
    pub shards: u64,
    /// Sessions that one shard plans for.
    pub sessions_per_shard: u64,
    /// The lines of one shard.
    pub lines: Vec<PlanLine>,
}

impl MemoryPlan {
    /// The plan that follows from a configuration.
    pub fn of(config: &Config) -> Self {
        let shards = config.shard_count() as u64;
        let sessions = sessions_per_shard(u64::from(config.limits.max_sessions), shards);
        let mut lines = vec![
            session_line(config, sessions),
            subscription_line(config, sessions),
            handshake_line(config, shards),
            PlanLine {
                name: "partial messages",
                bytes: config.limits.partial_bytes_per_shard.0,
                reason: "limits.partial_bytes_per_shard".to_owned(),
            },
            PlanLine {
                name: "channel logs",
                bytes: config.limits.channel_log_bytes_per_shard.0,
                reason: "limits.channel_log_bytes_per_shard".to_owned(),
            },
            PlanLine {
                name: "last values",
                bytes: config.limits.last_values_bytes_per_shard.0,
                reason: "limits.last_values_bytes_per_shard".to_owned(),
            },
            slow_line(sessions),
            PlanLine {
                name: "replies",
                bytes: REPLY_BYTES,
                reason: "all queues of replies; beyond it, clients that do not read are closed"
                    .to_owned(),
            },
            PlanLine {
                name: "history",
                bytes: HISTORY_BYTES,
                reason: "256 requests x (128 + 64) KiB".to_owned(),
            },
            lane_line(shards),
            ring_line(config, sessions),
            cursor_line(shards),
            presence_line(config),
            PlanLine {
                name: "idempotency keys",
                bytes: KEYS_BYTES as u64,
                reason: format!("2 sets x {KEYS_PER_SET}, taken when a service first publishes"),
            },
            PlanLine {
                name: "send arena",
                bytes: SEND_ARENA_BYTES,
                reason: "32 sockets of a submit x 16 KiB".to_owned(),
            },
            PlanLine {
                name: "latencies",
                bytes: LATENCY_BYTES,
                reason: "a histogram for each class and stage".to_owned(),
            },
            PlanLine {
                name: "journal blocks",
                bytes: JOURNAL_BLOCK_BYTES,
                reason: "2 kinds x 4 blocks x 128 KiB".to_owned(),
            },
        ];
        lines.extend(config.is_clustered().then(leaving_line));
        lines.extend(config.has_archive().then(old_publishes_line));
        Self {
            shards,
            sessions_per_shard: sessions,
            lines,
        }
    }

    /// Most bytes of one shard.
    pub fn bytes_per_shard(&self) -> u64 {
        self.lines.iter().map(|line| line.bytes).sum()
    }

    /// Most bytes of the node.
    pub fn bytes(&self) -> u64 {
        self.shards * self.bytes_per_shard() + PROCESS_BYTES
    }
}

/// Sessions of the fullest shard: users are placed by hash, so one shard holds more
/// than its share; an eighth more covers it from a few thousand users on.
fn sessions_per_shard(sessions: u64, shards: u64) -> u64 {
    if shards == 1 {
        return sessions;
    }
    let share = sessions.div_ceil(shards);
    (share + share / 8).min(sessions)
}

fn session_line(config: &Config, sessions: u64) -> PlanLine {
    let each = SESSION_BYTES + secure_bytes(config);
    PlanLine {
        name: "sessions",
        bytes: sessions * each,
        reason: format!(
            "{sessions} of limits.max_sessions = {} x {each} B",
            config.limits.max_sessions
        ),
    }
}

/// Bytes of the TLS session of a connection, if the node serves TLS.
fn secure_bytes(config: &Config) -> u64 {
    match config.listen.tls {
        Tls::On => tls_limits::SESSION_BYTES,
        Tls::Off | Tls::TerminatedUpstream => 0,
    }
}

fn subscription_line(config: &Config, sessions: u64) -> PlanLine {
    let subscriptions = u64::from(config.limits.subscriptions_per_session);
    let more = subscriptions.saturating_sub(SUBSCRIPTIONS_IN_SESSION);
    PlanLine {
        name: "further subscriptions",
        bytes: sessions * more * SUBSCRIPTION_BYTES,
        reason: format!("{sessions} sessions x {more} beyond the third x {SUBSCRIPTION_BYTES} B"),
    }
}

fn slow_line(sessions: u64) -> PlanLine {
    let subscriptions = sessions * SUBSCRIPTIONS_PLANNED;
    PlanLine {
        name: "slow clients",
        bytes: subscriptions * SLOW_SUBSCRIPTION_BYTES + sessions * SLOW_CONNECTION_BYTES,
        reason: format!(
            "{subscriptions} subscriptions that lag or read history x {SLOW_SUBSCRIPTION_BYTES} B, \
             {sessions} full sockets x {SLOW_CONNECTION_BYTES} B"
        ),
    }
}

fn handshake_line(config: &Config, shards: u64) -> PlanLine {
    let handshakes = u64::from(config.limits.unfinished_handshakes).div_ceil(shards);
    let request = config
        .limits
        .handshake_bytes
        .0
        .max(config.limits.frame_bytes.0);
    let held = match config.listen.tls {
        Tls::On => tls_limits::HELD_BYTES_MAX as u64,
        Tls::Off | Tls::TerminatedUpstream => 0,
    };
    let state = HANDSHAKE_STATE_BYTES + secure_bytes(config) + held;
    PlanLine {
        name: "handshakes",
        bytes: handshakes * (request + state),
        reason: format!(
            "{handshakes} unfinished x ({} of request or Hello + {state} B)",
            ByteSize(request).text()
        ),
    }
}

fn lane_line(shards: u64) -> PlanLine {
    // A shard owns the lanes that end at it: one from each other shard and one from
    // the control side.
    PlanLine {
        name: "lanes",
        bytes: shards * LANE_ENTRIES * LANE_ENTRY_BYTES,
        reason: format!("{shards} senders x {LANE_ENTRIES} entries x {LANE_ENTRY_BYTES} B"),
    }
}

fn leaving_line() -> PlanLine {
    let logs = Kind::ALL.len();
    PlanLine {
        name: "records that leave",
        bytes: (logs * LEAVING_BYTES_MAX) as u64,
        reason: format!(
            "{logs} logs x {}, while the disk or the relay thread stands still",
            ByteSize(LEAVING_BYTES_MAX as u64).text()
        ),
    }
}

fn old_publishes_line() -> PlanLine {
    PlanLine {
        name: "old publishes",
        bytes: crate::shard::judged::WAITING_BYTES as u64,
        reason: "what waits until the archive has judged it".to_owned(),
    }
}

fn cursor_line(shards: u64) -> PlanLine {
    let cursors = (CURSORS_MAX as u64).div_ceil(shards);
    PlanLine {
        name: "cursors",
        bytes: cursors * 2 * CURSOR_BYTES as u64,
        reason: format!("{cursors} cursors x {CURSOR_BYTES} B, and again beside their file"),
    }
}

fn presence_line(config: &Config) -> PlanLine {
    PlanLine {
        name: "presence",
        bytes: config.presence.bytes_per_shard.0,
        reason: "presence.bytes_per_shard".to_owned(),
    }
}

fn ring_line(config: &Config, sessions: u64) -> PlanLine {
    let rings = &config.rings;
    let needed = sessions.div_ceil(u64::from(rings.slots_per_ring));
    // Back ends have a ring of their own.
    let count = (needed + 1)
        .max(u64::from(rings.rings_at_start))
        .min(u64::from(rings.rings_max));
    let first = u64::from(rings.first_ring_buffers) * RECEIVE_BUFFER_BYTES;
    let other = u64::from(rings.buffers) * RECEIVE_BUFFER_BYTES;
    PlanLine {
        name: "rings",
        bytes: count * RING_QUEUE_BYTES + first + (count - 1) * other + SYNC_RING_BYTES,
        reason: format!("{count} rings with queues and receive buffers, and one for syncs"),
    }
}
