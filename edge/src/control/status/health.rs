//! Decides whether a node is healthy, and when that has changed.
//!
//! Pure: what was seen in a second goes in, changes come out. A finding has to be true for as
//! many seconds in a row as its row says before it counts, and counts until it was not true for
//! [`HOLD_S`] seconds, so that a node at a limit does not change its state every second.
//!
//! Limits: one finding of each kind, so at most [`Kind::COUNT`].
//! Runs on: the control thread.

use interlink_protocol::priority::Priority;
use interlink_relay::limits::QUOTA_PERCENT;
use interlink_wire::events::NodeHealth;

use super::totals::Totals;
use crate::backbone::{breaker_word, SYSTEMS};

/// Seconds without a finding after which it is over.
const HOLD_S: u32 = 5;
/// Seconds in a row in which a rate or a load has to be high.
const SUSTAINED_S: u32 = 10;
/// Waiting entries of lanes that are worth a look, and too many.
const DEPTH_WARNING: u64 = 5_000;
const DEPTH_CRITICAL: u64 = 10_000;
/// Share of a second that a shard may be busy.
const BUSY_PERMILLE_MAX: u16 = 950;
/// Refused publishes in a hundred that are too many, if there are at least as many publishes.
const REFUSED_PERCENT_MAX: u64 = 1;
const PUBLISHES_MIN: u64 = 100;

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A shard does not turn.
    ShardStuck,
    /// Writes or syncs of the journal failed.
    JournalFailed,
    /// The journal refuses records.
    JournalRefuses,
    /// The quota of the journal is used up for some class.
    JournalQuota,
    /// Too much waits between shards.
    LaneDepth,
    /// A shard has no time left.
    ShardBusy,
    /// Many publishes are refused.
    Refusals,
    /// More memory than planned.
    Memory,
    /// The breaker of Redis is not closed.
    Redis,
    /// The breaker of Kafka is not closed.
    Kafka,
    /// The breaker of the archive is not closed.
    Postgres,
    /// The breaker of what is read from Redis is not closed.
    RedisReads,
}

impl Kind {
    const COUNT: usize = 12;
    const ALL: [Self; Self::COUNT] = [
        Self::ShardStuck,
        Self::JournalFailed,
        Self::JournalRefuses,
        Self::JournalQuota,
        Self::LaneDepth,
        Self::ShardBusy,
        Self::Refusals,
        Self::Memory,
        Self::Redis,
        Self::Kafka,
        Self::Postgres,
        Self::RedisReads,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::ShardStuck => "shard_stuck",
            Self::JournalFailed => "journal_failed",
            Self::JournalRefuses => "journal_refuses",
            Self::JournalQuota => "journal_quota",
            Self::LaneDepth => "lane_depth",
            Self::ShardBusy => "shard_busy",
            Self::Refusals => "refusals",
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Kafka => "kafka",
            Self::Postgres => "postgres",
            Self::RedisReads => "redis_reads",
        }
    }

    /// Seconds in a row before it counts.
    fn needed_s(self) -> u32 {
        match self {
            Self::ShardStuck
            | Self::JournalFailed
            | Self::JournalRefuses
            | Self::JournalQuota
            | Self::Redis
            | Self::Kafka
            | Self::Postgres
            | Self::RedisReads => 1,
            Self::LaneDepth | Self::Memory => 3,
            Self::ShardBusy | Self::Refusals => SUSTAINED_S,
        }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) name: &'static str,
    pub(super) health: NodeHealth,
    pub(super) detail: String,
}

/// What was seen in one second.
pub(super) struct Seen<'a> {
    pub(super) before: &'a Totals,
    pub(super) now: &'a Totals,
    /// Shards that stand still.
    pub(super) still: &'a [usize],
    pub(super) plan_bytes: u64,
    /// State and last trip of each breaker.
    pub(super) breakers: [(u64, u64); SYSTEMS.len()],
}

#[derive(Clone, Debug, Default)]
struct Standing {
    true_s: u32,
    false_s: u32,
    finding: Option<Finding>,
}

/// The present findings.
#[derive(Debug, Default)]
pub(super) struct Health {
    kinds: [Standing; Kind::COUNT],
}

impl Health {
    /// Takes what was seen; returns whether the findings are others than before. Details that
    /// move are no change.
    pub(super) fn observe(&mut self, seen: &Seen<'_>) -> bool {
        let mut changed = false;
        for (kind, standing) in Kind::ALL.into_iter().zip(&mut self.kinds) {
            let level = standing.finding.as_ref().map(|finding| finding.health);
            match look(kind, seen) {
                Some((health, detail)) => {
                    (standing.true_s, standing.false_s) = (standing.true_s + 1, 0);
                    if level.is_some() || standing.true_s >= kind.needed_s() {
                        let name = kind.name();
                        standing.finding = Some(Finding {
                            name,
                            health,
                            detail,
                        });
                    }
                }
                None => {
                    (standing.true_s, standing.false_s) = (0, standing.false_s + 1);
                    if standing.false_s >= HOLD_S {
                        standing.finding = None;
                    }
                }
            }
            changed |= level != standing.finding.as_ref().map(|finding| finding.health);
        }
        changed
    }

    /// What is wrong now.
    pub(super) fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.kinds.iter().filter_map(|kind| kind.finding.as_ref())
    }

    /// The worst of it.
    pub(super) fn worst(&self) -> NodeHealth {
        let levels = self.findings().map(|finding| finding.health);
        levels.max().unwrap_or(NodeHealth::Healthy)
    }
}

/// Whether something of a kind is wrong, how bad it is and what to tell.
fn look(kind: Kind, seen: &Seen<'_>) -> Option<(NodeHealth, String)> {
    let (now, before) = (seen.now, seen.before);
    match kind {
        Kind::ShardStuck => (!seen.still.is_empty()).then(|| {
            (
                NodeHealth::Failing,
                format!("shards {:?} stand still", seen.still),
            )
        }),
        Kind::JournalFailed => {
            let failed = now.journal_failures.saturating_sub(before.journal_failures);
            (failed > 0).then(|| {
                (
                    NodeHealth::Failing,
                    format!("{failed} writes or syncs failed"),
                )
            })
        }
        Kind::JournalRefuses => journal_refuses(seen),
        Kind::JournalQuota => journal_quota(now),
        Kind::Redis => breaker(0, seen),
        Kind::Kafka => breaker(1, seen),
        // What is recent goes on without it.
        Kind::Postgres => breaker(2, seen).map(|found| (NodeHealth::Degraded, found.1)),
        // A lost connection is told of Redis itself.
        Kind::RedisReads => breaker(3, seen).filter(|_| seen.breakers[3].0 != 4),
        Kind::LaneDepth => {
            let depth: u64 = now.classes.iter().map(|class| class.lane_depth).sum();
            let health = if depth > DEPTH_CRITICAL {
                NodeHealth::Failing
            } else {
                NodeHealth::Degraded
            };
            let told = || (health, format!("{depth} entries wait between shards"));
            (depth > DEPTH_WARNING).then(told)
        }
        Kind::ShardBusy => {
            let busy = now.busy_permille(before);
            let (shard, most) = busy.iter().enumerate().max_by_key(|entry| entry.1)?;
            let told = || {
                (
                    NodeHealth::Degraded,
                    format!("shard {shard} is busy for {} %", most / 10),
                )
            };
            (*most >= BUSY_PERMILLE_MAX).then(told)
        }
        Kind::Refusals => {
            let sum = |of: fn(&super::totals::ClassTotals) -> u64, totals: &Totals| {
                totals.classes.iter().map(of).sum::<u64>()
            };
            let since = |of| sum(of, now).saturating_sub(sum(of, before));
            let refused = since(|class| class.refused);
            let all = refused + since(|class| class.publishes);
            let is_high = all >= PUBLISHES_MIN && refused * 100 > all * REFUSED_PERCENT_MAX;
            is_high.then(|| {
                (
                    NodeHealth::Degraded,
                    format!("{refused} of {all} publishes refused"),
                )
            })
        }
        Kind::Memory => memory(seen),
    }
}

fn memory(seen: &Seen<'_>) -> Option<(NodeHealth, String)> {
    let anonymous = seen.now.process.anonymous;
    let (used, plan) = (anonymous >> 20, seen.plan_bytes >> 20);
    let told = || {
        let text = format!("{used} MiB in use, {plan} MiB planned");
        (NodeHealth::Degraded, text)
    };
    (anonymous > seen.plan_bytes).then(told)
}

/// What a breaker that is not closed means: open, what needs the system waits.
fn breaker(index: usize, seen: &Seen<'_>) -> Option<(NodeHealth, String)> {
    let (state, trip) = seen.breakers[index];
    let health = match state {
        3 => NodeHealth::Failing,
        _ => NodeHealth::Degraded,
    };
    breaker_word(state, trip).map(|word| (health, word))
}

fn journal_refuses(seen: &Seen<'_>) -> Option<(NodeHealth, String)> {
    let grown = |class: Priority| {
        let index = class.index();
        let (now, before) = (&seen.now.classes[index], &seen.before.classes[index]);
        now.journal_refused > before.journal_refused
    };
    let classes: Vec<&str> = Priority::ALL
        .into_iter()
        .filter(|class| grown(*class))
        .map(Priority::name)
        .collect();
    let health = match grown(Priority::P0) || grown(Priority::P1) {
        true => NodeHealth::Failing,
        false => NodeHealth::Degraded,
    };
    let told = || (health, format!("records of {} refused", classes.join(", ")));
    (!classes.is_empty()).then(told)
}

fn journal_quota(now: &Totals) -> Option<(NodeHealth, String)> {
    let used = now.journal_used_bytes * 100 / now.journal_quota_bytes.max(1);
    let health = if used >= QUOTA_PERCENT[Priority::P1.index()] {
        NodeHealth::Failing
    } else {
        NodeHealth::Degraded
    };
    let told = || (health, format!("{used} % of the journal's quota used"));
    (used >= QUOTA_PERCENT[Priority::P3.index()]).then(told)
}
