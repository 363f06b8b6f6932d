//! Tells subscribers of `sys.status` and `sys.metrics` how the node does.
//!
//! Once a second the totals of the shards are read; what came since the last look is published
//! as a summary on `sys.metrics`. A change of phase or findings is published on `sys.status` at
//! once, and the present state every [`REPEAT_S`] seconds, since the channel keeps no history
//! and who comes later has to learn it. Both are published whether or not somebody
//! subscribes: that costs one event a second, and nobody has to count subscribers of all shards.
//!
//! Invariant: a shard that does not answer delays its own events only; a look is never skipped
//! for it.
//! Runs on: the control thread.

mod health;
mod summary;
#[cfg(test)]
mod tests;
mod totals;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use flatbuffers::FlatBufferBuilder;
use interlink_wire::event_types;
use interlink_wire::events::{NodeFinding, NodeFindingArgs, NodePhase, NodeStatus, NodeStatusArgs};

use super::ControlState;
use crate::gateway::PublishRequest;
use crate::server::Phase;
use crate::telemetry::process::ProcessStatus;
use health::{Health, Seen};
use totals::Totals;

/// Where summaries are published.
pub const METRICS_CHANNEL: &str = "sys.metrics";
/// Where changes of the node's state are published.
pub const STATUS_CHANNEL: &str = "sys.status";

/// Time between two summaries.
const SUMMARY_EVERY: Duration = Duration::from_secs(1);
/// Longest that a look waits for the shards' answers.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// Seconds after which the state is published again although it did not change.
const REPEAT_S: u64 = 10;

/// What never changes while the node runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Name of the node.
    pub(super) node: String,
    /// Start of the process in milliseconds since the Unix epoch.
    pub(super) started_at_ms: u64,
    /// Most memory that the plan allows.
    pub(super) plan_bytes: u64,
}

impl Facts {
    /// Facts of a process that starts now.
    pub(super) fn new(plan_bytes: u64) -> Self {
        Self {
            node: String::new(),
            started_at_ms: unix_ms(),
            plan_bytes,
        }
    }
}

/// What the last look saw and said.
struct Look {
    totals: Totals,
    health: Health,
    phase: Phase,
    changed_at_ms: u64,
    /// When the state was published last.
    told: Option<Instant>,
}

/// Publishes for ever.
pub(super) async fn publish(state: &ControlState) {
    let Some(gateway) = state.gateway() else {
        return std::future::pending().await;
    };
    let mut ticks = tokio::time::interval(SUMMARY_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut look = Look {
        totals: read_totals(state),
        health: Health::default(),
        phase: state.node.phase(),
        changed_at_ms: unix_ms(),
        told: None,
    };
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = state.node.changed() => {}
        }
        let events = look.events(state, Instant::now());
        if !events.is_empty() {
            // Without an answer in time the shards are busy or stuck, which the next look tells.
            let sent = gateway.publish_all(None, events);
            let _answers = tokio::time::timeout(ANSWER_WITHIN, sent).await;
        }
    }
}

fn read_totals(state: &ControlState) -> Totals {
    Totals::read(&state.counters, ProcessStatus::read(), unix_ms())
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_millis() as u64
}

impl Look {
    /// What there is to publish now: nothing before the node serves clients.
    fn events(&mut self, state: &ControlState, now: Instant) -> Vec<PublishRequest> {
        let totals = read_totals(state);
        let before = std::mem::replace(&mut self.totals, totals);
        let phase = state.node.phase();
        // Before the shards run and after they were stopped nothing can be stuck.
        let still = match phase {
            Phase::Ready => state.observe(now),
            _ => Vec::new(),
        };
        let seen = Seen {
            before: &before,
            now: &self.totals,
            still: &still,
            plan_bytes: state.facts.plan_bytes,
            breakers: state.backbone.breaker_states(),
        };
        let changed = self.health.observe(&seen) | (phase != self.phase);
        self.phase = phase;
        if changed {
            self.changed_at_ms = self.totals.at_ms;
        }
        let mut events = Vec::new();
        if !matches!(phase, Phase::Ready | Phase::Draining) {
            return events;
        }
        let repeats = |told: Instant| now.duration_since(told).as_secs() >= REPEAT_S;
        if changed || self.told.is_none_or(repeats) {
            self.told = Some(now);
            let status = self.status(&state.facts);
            events.push(PublishRequest::new(
                STATUS_CHANNEL,
                event_types::NODE_STATUS,
                &status,
            ));
        }
        let standing = (phase, self.health.worst());
        let summary = summary::encode(&state.facts, standing, (&before, &self.totals));
        events.push(PublishRequest::new(
            METRICS_CHANNEL,
            event_types::NODE_SUMMARY,
            &summary,
        ));
        events
    }

    /// The state as the payload of `node_status`.
    fn status(&self, facts: &Facts) -> Vec<u8> {
        let mut builder = FlatBufferBuilder::new();
        let mut findings = Vec::new();
        for finding in self.health.findings() {
            let name = Some(builder.create_string(finding.name));
            let detail = Some(builder.create_string(&finding.detail));
            let args = NodeFindingArgs {
                name,
                health: finding.health,
                detail,
            };
            findings.push(NodeFinding::create(&mut builder, &args));
        }
        let findings = Some(builder.create_vector(&findings));
        let node = Some(builder.create_string(&facts.node));
        let version = Some(builder.create_string(env!("CARGO_PKG_VERSION")));
        let args = NodeStatusArgs {
            node,
            started_at_ms: facts.started_at_ms,
            changed_at_ms: self.changed_at_ms,
            phase: wire_phase(self.phase),
            health: self.health.worst(),
            findings,
            version,
        };
        let root = NodeStatus::create(&mut builder, &args);
        builder.finish_minimal(root);
        builder.finished_data().to_vec()
    }
}

/// The phase as it is on the wire.
fn wire_phase(phase: Phase) -> NodePhase {
    match phase {
        Phase::Starting => NodePhase::Starting,
        Phase::Recovering => NodePhase::Recovering,
        Phase::Ready => NodePhase::Ready,
        Phase::Draining => NodePhase::Draining,
        Phase::Stopped => NodePhase::Stopped,
    }
}
