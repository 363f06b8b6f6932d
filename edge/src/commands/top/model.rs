//! What `top` knows: the newest summary of each node, its history, and changes of state.
//!
//! Pure: events in, state out; time is an argument.
//! Limits: [`NODES_MAX`] nodes, [`HISTORY`] summaries and [`CHANGES_MAX`] changes.

use std::collections::{BTreeMap, VecDeque};

use interlink_wire::event_types;
use interlink_wire::events::{NodeHealth, NodePhase, NodeStatus, NodeSummary};

/// Seconds of history.
pub(super) const HISTORY: usize = 60;
/// Changes of state that are kept.
const CHANGES_MAX: usize = 32;
/// Nodes that are shown: more than one cluster has.
const NODES_MAX: usize = 256;
/// A node that said nothing for so long counts as silent.
const SILENT_MS: u64 = 5_000;

/// One class in one interval; rates are for a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Class {
    pub(super) publishes: f64,
    pub(super) acknowledged: f64,
    pub(super) refused: f64,
    pub(super) delivered: f64,
    pub(super) skipped: f64,
    pub(super) ack_us: (u32, u32),
    pub(super) delivery_us: (u32, u32),
    pub(super) lane_depth: u32,
}

/// A summary; counts are rates for a second.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Summary {
    pub(super) started_at_ms: u64,
    pub(super) measured_at_ms: u64,
    pub(super) phase: NodePhase,
    pub(super) health: NodeHealth,
    pub(super) connections: u32,
    pub(super) sessions: u32,
    pub(super) subscriptions: u32,
    pub(super) accepted: f64,
    pub(super) closed: f64,
    pub(super) classes: [Class; 4],
    pub(super) refusals: Vec<(String, f64)>,
    pub(super) bytes_in: f64,
    pub(super) bytes_out: f64,
    pub(super) journal_bytes: f64,
    pub(super) journal_syncs: f64,
    pub(super) sync_p99_us: u32,
    pub(super) journal_waiting: u64,
    pub(super) journal_used: u64,
    pub(super) journal_quota: u64,
    /// Percent of one core.
    pub(super) cpu: (f64, f64),
    pub(super) resident: u64,
    pub(super) plan: u64,
    /// Percent of each shard's time.
    pub(super) busy: Vec<f64>,
}

impl Summary {
    fn of(wire: &NodeSummary<'_>) -> Self {
        let seconds = f64::from(wire.interval_ms().max(1)) / 1e3;
        let rate = |count: u64| count as f64 / seconds;
        let mut classes = [Class::default(); 4];
        for (class, told) in classes.iter_mut().zip(wire.classes().into_iter().flatten()) {
            *class = Class {
                publishes: rate(told.publishes()),
                acknowledged: rate(told.acknowledged()),
                refused: rate(told.refused()),
                delivered: rate(told.delivered()),
                skipped: rate(told.skipped()),
                ack_us: (told.ack_p50_us(), told.ack_p99_us()),
                delivery_us: (told.delivery_p50_us(), told.delivery_p99_us()),
                lane_depth: told.lane_depth(),
            };
        }
        let refusals = wire.refusals().into_iter().flatten();
        let percent = |us: u32| f64::from(us) / seconds / 1e4;
        let busy = wire.shard_busy_permille().into_iter().flatten();
        Self {
            started_at_ms: wire.started_at_ms(),
            measured_at_ms: wire.measured_at_ms(),
            phase: wire.phase(),
            health: wire.health(),
            connections: wire.connections(),
            sessions: wire.sessions(),
            subscriptions: wire.subscriptions(),
            accepted: rate(u64::from(wire.accepted())),
            closed: rate(u64::from(wire.closed())),
            classes,
            refusals: refusals
                .map(|entry| (plain(entry.code()), rate(entry.count())))
                .collect(),
            bytes_in: rate(wire.bytes_in()),
            bytes_out: rate(wire.bytes_out()),
            journal_bytes: rate(wire.journal_bytes()),
            journal_syncs: rate(u64::from(wire.journal_syncs())),
            sync_p99_us: wire.sync_p99_us(),
            journal_waiting: wire.journal_waiting_bytes(),
            journal_used: wire.journal_used_bytes(),
            journal_quota: wire.journal_quota_bytes(),
            cpu: (percent(wire.cpu_user_us()), percent(wire.cpu_system_us())),
            resident: wire.resident_bytes(),
            plan: wire.plan_bytes(),
            busy: busy.map(|permille| f64::from(permille) / 10.0).collect(),
        }
    }

    /// The sum of a number over the classes.
    pub(super) fn total(&self, of: fn(&Class) -> f64) -> f64 {
        self.classes.iter().map(of).sum()
    }
}

/// Control characters of a peer must not reach the terminal.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// One node.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) newest: Summary,
    /// When the newest summary came, in milliseconds of the caller.
    pub(super) heard_ms: u64,
    pub(super) published: VecDeque<f64>,
    pub(super) delivered: VecDeque<f64>,
    /// Slowest 99th percentile of all classes but P3, in microseconds.
    pub(super) delivery_p99: VecDeque<f64>,
    pub(super) version: String,
    pub(super) findings: Vec<String>,
}

impl Node {
    /// Whether it has said nothing for a while.
    pub(super) fn is_silent(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.heard_ms) >= SILENT_MS
    }
}

/// A change of a node's state.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) at_ms: u64,
    pub(super) health: NodeHealth,
    pub(super) text: String,
}

/// Everything that `top` shows.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) selected: usize,
    pub(super) changes: VecDeque<Change>,
}

impl Model {
    /// Takes an event; others than summaries and states are ignored.
    pub(super) fn take(&mut self, event_type: u16, payload: &[u8], now_ms: u64) {
        match event_type {
            event_types::NODE_SUMMARY => {
                if let Ok(summary) = flatbuffers::root::<NodeSummary>(payload) {
                    self.take_summary(&summary, now_ms);
                }
            }
            event_types::NODE_STATUS => {
                if let Ok(status) = flatbuffers::root::<NodeStatus>(payload) {
                    self.take_status(&status);
                }
            }
            _ => {}
        }
    }

    /// Shows the next node, or the first after the last.
    pub(super) fn select_next(&mut self) {
        self.selected = (self.selected + 1) % self.nodes.len().max(1);
    }

    /// The node that is shown.
    pub(super) fn shown(&self) -> Option<(&String, &Node)> {
        self.nodes.iter().nth(self.selected)
    }

    fn node(&mut self, name: &str) -> Option<&mut Node> {
        let name = plain(name);
        if self.nodes.len() >= NODES_MAX && !self.nodes.contains_key(&name) {
            return None;
        }
        Some(self.nodes.entry(name).or_default())
    }

    fn take_summary(&mut self, wire: &NodeSummary<'_>, now_ms: u64) {
        let Some(node) = self.node(wire.node()) else {
            return;
        };
        let summary = Summary::of(wire);
        let keep = |history: &mut VecDeque<f64>, value| {
            if history.len() == HISTORY {
                history.pop_front();
            }
            history.push_back(value);
        };
        keep(&mut node.published, summary.total(|class| class.publishes));
        keep(&mut node.delivered, summary.total(|class| class.delivered));
        let urgent = summary.classes[..3].iter();
        let slowest = urgent.map(|class| class.delivery_us.1).max();
        keep(&mut node.delivery_p99, f64::from(slowest.unwrap_or(0)));
        node.newest = summary;
        node.heard_ms = now_ms;
    }

    fn take_status(&mut self, wire: &NodeStatus<'_>) {
        let name = plain(wire.node());
        let findings: Vec<String> = wire
            .findings()
            .into_iter()
            .flatten()
            .map(|finding| {
                let detail = finding.detail().unwrap_or_default();
                plain(&format!("{}: {detail}", finding.name()))
            })
            .collect();
        let change = Change {
            at_ms: wire.changed_at_ms(),
            health: wire.health(),
            text: status_text(&name, wire.phase(), wire.health(), &findings),
        };
        let Some(node) = self.node(&name) else {
            return;
        };
        node.version = plain(wire.version().unwrap_or_default());
        node.findings = findings;
        // States are told again for who comes late; that is no change.
        let is_known =
            |known: &Change| known.at_ms == change.at_ms && known.text.starts_with(&name);
        if self.changes.iter().any(is_known) {
            return;
        }
        if self.changes.len() == CHANGES_MAX {
            self.changes.pop_back();
        }
        self.changes.push_front(change);
    }
}

fn status_text(name: &str, phase: NodePhase, health: NodeHealth, findings: &[String]) -> String {
    let mut text = format!("{name} {}, {}", phase_word(phase), health_word(health));
    if !findings.is_empty() {
        text.push_str(": ");
        text.push_str(&findings.join("; "));
    }
    text
}

/// The word for a phase; one of a later version is unknown.
pub(super) fn phase_word(phase: NodePhase) -> &'static str {
    match phase {
        NodePhase::Starting => "starting",
        NodePhase::Recovering => "recovering",
        NodePhase::Ready => "ready",
        NodePhase::Draining => "draining",
        NodePhase::Stopped => "stopped",
        _ => "unknown",
    }
}

/// The word for a health; one of a later version is unknown.
pub(super) fn health_word(health: NodeHealth) -> &'static str {
    match health {
        NodeHealth::Healthy => "healthy",
        NodeHealth::Degraded => "degraded",
        NodeHealth::Failing => "failing",
        _ => "unknown",
    }
}
