//! What the shards and the process have done since their start, taken at one time.
//!
//! Runs on: the control thread.

use std::sync::Arc;

use interlink_protocol::priority::Priority;
use interlink_protocol::ErrorCode;

use crate::telemetry::exposition::merged;
use crate::telemetry::latency::{Snapshot, Stage};
use crate::telemetry::process::ProcessStatus;
use crate::telemetry::{names, ShardCounters};

/// Numbers of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ClassTotals {
    pub(super) publishes: u64,
    pub(super) acknowledged: u64,
    pub(super) refused: u64,
    pub(super) delivered: u64,
    pub(super) skipped: u64,
    pub(super) journal_refused: u64,
    pub(super) lane_depth: u64,
}

/// Numbers of the node.
#[derive(Clone, Debug)]
pub(super) struct Totals {
    /// Milliseconds since the Unix epoch.
    pub(super) at_ms: u64,
    pub(super) classes: [ClassTotals; Priority::COUNT],
    /// By the place of the code in the table of all.
    pub(super) refusals: Vec<u64>,
    pub(super) connections: u64,
    pub(super) sessions: u64,
    pub(super) subscriptions: u64,
    pub(super) accepted: u64,
    pub(super) closed: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) journal_bytes: u64,
    pub(super) journal_syncs: u64,
    pub(super) journal_failures: u64,
    pub(super) journal_waiting_bytes: u64,
    pub(super) journal_used_bytes: u64,
    pub(super) journal_quota_bytes: u64,
    /// Busy time of each shard in microseconds.
    pub(super) busy_us: Vec<u64>,
    pub(super) acks: Vec<Snapshot>,
    pub(super) deliveries: Vec<Snapshot>,
    pub(super) syncs: Snapshot,
    pub(super) process: ProcessStatus,
}

impl Totals {
    /// Reads everything as it is now.
    pub(super) fn read(shards: &[Arc<ShardCounters>], process: ProcessStatus, at_ms: u64) -> Self {
        let sum = |name: &str| shards.iter().map(|shard| shard.value(name)).sum::<u64>();
        let at = |name: &str, offset: usize| {
            let value = |shard: &Arc<ShardCounters>| shard.value_at(name, offset);
            shards.iter().map(value).sum::<u64>()
        };
        let class = |class: Priority| {
            let of = |name| at(name, class.index());
            ClassTotals {
                publishes: of(names::PUBLISHES),
                acknowledged: of(names::PUBLISHES_ACKED),
                refused: of(names::PUBLISHES_REFUSED),
                delivered: of(names::EVENTS_OUT),
                skipped: of(names::EVENTS_SKIPPED),
                journal_refused: of(names::JOURNAL_REFUSALS),
                lane_depth: of(names::LANE_DEPTH),
            }
        };
        let stage = |stage: fn(Priority) -> Stage| {
            let found = Priority::ALL.map(|class| merged(shards, stage(class).index()));
            found.to_vec()
        };
        let busy = |shard: &Arc<ShardCounters>| {
            merged(std::slice::from_ref(shard), Stage::Turn.index()).sum_us()
        };
        Self {
            at_ms,
            classes: Priority::ALL.map(class),
            refusals: (0..ErrorCode::ALL.len())
                .map(|code| at(names::REFUSALS, code))
                .collect(),
            connections: sum(names::CONNECTIONS_OPEN),
            sessions: sum(names::SESSIONS_OPEN),
            subscriptions: sum(names::SUBSCRIPTIONS),
            accepted: sum(names::CONNECTIONS_ACCEPTED),
            closed: sum(names::CONNECTIONS_CLOSED),
            bytes_in: sum(names::BYTES_IN),
            bytes_out: sum(names::BYTES_OUT),
            journal_bytes: sum(names::JOURNAL_BYTES),
            journal_syncs: sum(names::JOURNAL_SYNCS),
            journal_failures: sum(names::JOURNAL_FAILURES),
            journal_waiting_bytes: sum(names::JOURNAL_WAITING_BYTES),
            journal_used_bytes: sum(names::JOURNAL_USED_BYTES),
            journal_quota_bytes: sum(names::JOURNAL_QUOTA_BYTES),
            busy_us: shards.iter().map(busy).collect(),
            acks: stage(Stage::Ack),
            deliveries: stage(Stage::Delivery),
            syncs: merged(shards, Stage::JournalSync.index()),
            process,
        }
    }

    /// Share of the time since `before` in which each shard was busy, in thousandths.
    pub(super) fn busy_permille(&self, before: &Self) -> Vec<u16> {
        let interval_us = self.at_ms.saturating_sub(before.at_ms).max(1) * 1_000;
        let shards = self.busy_us.iter().zip(&before.busy_us);
        shards
            .map(|(now, before)| {
                let busy_us = now.saturating_sub(*before);
                (busy_us * 1_000 / interval_us).min(1_000) as u16
            })
            .collect()
    }
}
