//! What the shard tells about itself: counters for the scraper, lengths of turns.
//!
//! Limits: counters are copied before each sleep and otherwise every [`PUBLISH_EVERY_MS`],
//! so that a busy shard does not copy them with each turn.
//!
//! Thread: the shard.

use std::sync::Arc;

use interlink_protocol::priority::Priority;
use interlink_uring::Kernel;

use super::Shard;
use crate::telemetry::latency::ShardLatencies;
use crate::telemetry::ShardCounters;

/// How often a shard that does not sleep copies its counters.
const PUBLISH_EVERY_MS: u32 = 10;
/// A turn that lasts longer is counted.
const TURN_BUDGET_NS: u64 = 250_000;

/// What the scraper reads of the shard.
#[derive(Debug)]
pub struct Shown {
    counters: Arc<ShardCounters>,
    /// Shard millisecond at which the counters were copied last.
    at_ms: u32,
}

impl Shown {
    /// Nothing was copied yet.
    pub fn new(counters: Arc<ShardCounters>) -> Self {
        Self { counters, at_ms: 0 }
    }

    /// The latencies, which are counted in place.
    pub fn latencies(&self) -> &ShardLatencies {
        self.counters.latencies()
    }
}

impl Shard {
    /// A turn begins, and the one before is over unless a sleep came between.
    pub(super) fn begin_measured_turn(&mut self, now_ns: u64) {
        self.end_measured_turn(now_ns);
        self.clock.advance(now_ns);
        self.samples.begin_turn(self.clock.now_ns);
    }

    /// The turn is over.
    pub(super) fn end_measured_turn(&mut self, now_ns: u64) {
        let latencies = self.shown.latencies();
        if let Some(turn_ns) = self.samples.end_turn(now_ns, latencies) {
            self.counters.turns_over_budget += u64::from(turn_ns > TURN_BUDGET_NS);
        }
    }

    /// Copies the counters to where the scraper reads them, when the shard is about to sleep
    /// or has not done it for a while.
    pub(super) fn publish_counters<K: Kernel>(&mut self, kernel: &K, sleeps: bool) {
        self.counters.turns += 1;
        let age_ms = self.clock.now_ms.wrapping_sub(self.shown.at_ms);
        if !sleeps && age_ms < PUBLISH_EVERY_MS {
            return;
        }
        self.shown.at_ms = self.clock.now_ms;
        self.counters.connections_open = u64::from(self.open_connections);
        self.counters.handshakes_open = self.handshakes.unfinished() as u64;
        self.counters.sessions_open = self.sessions.len() as u64;
        self.counters.subscriptions = self.subscriptions.len() as u64;
        self.counters.channels_active = self.channels.len() as u64;
        self.counters.cursors = self.cursors.len() as u64;
        self.counters.log_bytes = self.logs.held_bytes() as u64;
        self.counters.last_values_bytes = self.logs.values.held_bytes() as u64;
        self.counters.last_values_evicted = self.logs.values.evicted();
        self.counters.connections_blocked = self.blocked.len() as u64;
        self.counters.subscriptions_lagging = self.lagging.len() as u64;
        self.counters.subscriptions_behind = self.behind.len() as u64;
        self.counters.partial_bytes = self.partials.bytes() as u64;
        self.counters.keys_forgotten_early = self.service.keys_forgotten_early();
        self.gather_presence();
        self.gather_journal();
        self.gather_lanes(sleeps);
        self.counters.take_ring(kernel.counters());
        self.shown.counters.publish(&self.counters);
    }

    fn gather_presence(&mut self) {
        let (scopes, members) = self.presence.owned();
        self.counters.presence_scopes = scopes as u64;
        self.counters.presence_members = members as u64;
        self.counters.presence_bytes = self.presence.bytes() as u64;
        let between = self.presence.between_nodes();
        self.counters.presence_sent = between.sent;
        self.counters.presence_heard = between.heard;
        self.counters.presence_invalid = between.invalid;
        self.counters.presence_gaps = between.gaps;
        self.counters.presence_silences = between.silences;
        self.counters.presence_postponed = between.postponed;
    }

    fn gather_journal(&mut self) {
        let journal = &self.journal.journal;
        let counts = journal.counters();
        self.counters.journal_bytes = counts.written_bytes;
        self.counters.journal_blocks = counts.blocks;
        self.counters.journal_syncs = counts.syncs;
        self.counters.journal_failures = counts.write_failures + counts.sync_failures;
        self.counters.journal_waiting_bytes = journal.pending_bytes() as u64;
        self.counters.journal_used_bytes = journal.used_bytes();
        self.counters.journal_quota_bytes = journal.quota_bytes();
        for class in Priority::ALL {
            let refused = counts.refused[class.index()];
            self.counters.journal_refusals.set(class, refused);
        }
    }

    /// A shard that sleeps has looked at its lanes and found them empty.
    fn gather_lanes(&mut self, sleeps: bool) {
        if let Some(backbone) = &self.backbone {
            self.counters.records_left_out = backbone.left_out();
        } else if self.shards == 1 {
            return;
        }
        let lanes = self.mesh.standing();
        self.counters.doorbells = lanes.counters.rings;
        self.counters.lane_kept = lanes.kept as u64;
        let depths = if sleeps {
            [0; Priority::COUNT]
        } else {
            self.mesh.depths()
        };
        for class in Priority::ALL {
            let index = class.index();
            self.counters
                .lane_entries
                .set(class, lanes.counters.pushed[index]);
            self.counters
                .lane_full
                .set(class, lanes.counters.full[index]);
            self.counters.lane_depth.set(class, depths[index] as u64);
        }
    }
}
