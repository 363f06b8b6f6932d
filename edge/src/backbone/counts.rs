//! What the relay thread tells about itself.
//!
//! Runs on: written by the relay thread, read by the control thread.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::telemetry::counters::Kind::{Counter, Gauge};
use crate::telemetry::exposition::Exposition;
use crate::telemetry::metric::Metric;
use crate::telemetry::names;

/// The metrics, in the order of [`BackboneCounts::values`].
pub(crate) const METRICS: [Metric; 27] = [
    Metric::number(
        names::BACKPLANE_AWAY,
        "0 while Redis answers, 1 while its connections are sought, 2 when that lasts.",
        Gauge,
        "2: events of durable channels wait",
    ),
    Metric::number(
        names::LOG_AWAY,
        "1 while Kafka does not answer.",
        Gauge,
        "1: clients keep what is not settled, and P0 is degraded or withheld",
    ),
    Metric::number(
        names::LOG_UNREPLICATED,
        "Classes of which Kafka keeps one copy when it acknowledges, as far as is known.",
        Gauge,
        "above 0: P0 is acknowledged as local and degraded; see the node's log",
    ),
    Metric::number(
        names::UNPLACED,
        "Records in memory that wait for their position.",
        Gauge,
        "it stays high while Redis answers",
    ),
    Metric::number(
        names::UNPLACED_BEHIND,
        "1 while records that wait for their position are read from the journal.",
        Gauge,
        "1 for minutes: Redis or this node is too slow",
    ),
    Metric::number(
        names::UNFED,
        "Records in memory that wait for Kafka.",
        Gauge,
        "it stays high while Kafka answers",
    ),
    Metric::number(
        names::UNFED_BEHIND,
        "1 while records that wait for Kafka are read from the journal.",
        Gauge,
        "1 for minutes: Kafka or this node is too slow",
    ),
    Metric::number(
        names::WATCHED_CHANNELS,
        "Channels whose events this node asks Redis for.",
        Gauge,
        "",
    ),
    Metric::number(
        names::PLACED,
        "Records that got their position.",
        Counter,
        "",
    ),
    Metric::number(
        names::PLACED_AGAIN,
        "Records that were submitted again since a server may have lost them.",
        Counter,
        "it grows: Redis changes its master",
    ),
    Metric::number(
        names::CALLS_FAILED,
        "Calls to Redis that failed and were made again.",
        Counter,
        "a steady rate",
    ),
    Metric::number(
        names::FED,
        "Records that Kafka has acknowledged.",
        Counter,
        "",
    ),
    Metric::number(
        names::BACKPLANE_EVENTS,
        "Events that Redis brought to this node.",
        Counter,
        "",
    ),
    Metric::number(
        names::SKIPS,
        "Times that a channel went on elsewhere: its numbering changed or a gap was not kept.",
        Counter,
        "it grows without a change of master",
    ),
    Metric::number(
        names::NODES,
        "Other nodes of the cluster that have a lease.",
        Gauge,
        "it is less than the cluster has: nodes that are missing cannot reach Redis",
    ),
    Metric::number(
        names::LEASES_FAILED,
        "Times that the node's lease was not renewed when it was asked for.",
        Counter,
        "it grows: other nodes will take this one for dead",
    ),
    Metric::number(
        names::FRAMES_UNSENT,
        "Frames about presence that could not be sent to another node.",
        Counter,
        "it grows while Redis answers",
    ),
    Metric::number(
        names::FRAMES_UNTAKEN,
        "Frames about presence of other nodes for which a shard had no room.",
        Counter,
        "a steady rate: shards are too slow, and ask again what they miss",
    ),
    Metric::number(
        names::ARCHIVE_ANSWERS,
        "Questions that the archive answered: history, old ids, cursors.",
        Counter,
        "",
    ),
    Metric::number(
        names::ARCHIVE_UNANSWERED,
        "Questions that the archive could not answer, since it lags or is away.",
        Counter,
        "it grows: clients are told to ask again",
    ),
    Metric::number(
        names::CURSORS_ARCHIVED,
        "Cursors of devices that were written to the archive.",
        Counter,
        "",
    ),
    Metric::number(
        names::CURSORS_WAITING,
        "Cursors of devices that wait for the archive.",
        Gauge,
        "it stays high: the archive is away or too slow",
    ),
    Metric::number(
        names::CURSORS_LEFT_OUT,
        "Moves of cursors that found no room while the archive was away, or that it refuses.",
        Counter,
        "it grows: devices that change nodes get events again",
    ),
    Metric::number(
        names::HISTORIES_KEPT,
        "Pages of history for which Redis could not be asked, so that the node's own memory \
         answers, or nobody.",
        Counter,
        "it grows: clients are given stale pages; see the breaker redis_reads",
    ),
    Metric {
        name: names::BREAKER_STATE,
        text: "State of the breaker of a system: 0 closed, 1 restarting, 2 half-open, 3 open, \
               4 reconnecting.",
        kind: Gauge,
        labels: &["system"],
        worry: "3: calls fail, are slow or wait; see the node's log",
    },
    Metric {
        name: names::BREAKER_OPENED,
        text: "Times that the breaker of a system opened.",
        kind: Counter,
        labels: &["system"],
        worry: "it grows",
    },
    Metric {
        name: names::BREAKER_LOST,
        text: "Times that the connection to a system was lost or not there yet.",
        kind: Counter,
        labels: &["system"],
        worry: "it grows",
    },
];

/// Systems with a breaker, as they are labelled.
pub(crate) const SYSTEMS: [&str; 4] = ["redis", "kafka", "postgres", "redis_reads"];

/// What the breaker of a system shows.
#[derive(Debug, Default)]
pub struct BreakerCounts {
    /// Its state, as [`breaker_word`] reads it.
    pub state: AtomicU64,
    /// Why it opened last: 0 never, 1 errors, 2 latency, 3 saturation, 4 the trial failed.
    pub trip: AtomicU64,
    /// Times that it opened.
    pub opened: AtomicU64,
    /// Times that the connection was lost.
    pub lost: AtomicU64,
}

/// The word of a state; nothing when the breaker is closed.
pub(crate) fn breaker_word(state: u64, trip: u64) -> Option<String> {
    let cause = match trip {
        1 => "too many errors",
        2 => "too slow",
        3 => "too many calls wait",
        _ => "the trial failed",
    };
    match state {
        1 => Some("restarting".to_owned()),
        2 => Some("half-open".to_owned()),
        3 => Some(format!("open: {cause}")),
        4 => Some("reconnecting".to_owned()),
        _ => None,
    }
}

/// Numbers of the relay thread.
#[derive(Debug, Default)]
pub struct BackboneCounts {
    /// 0 connected, 1 reconnecting, 2 away.
    pub backplane_away: AtomicU64,
    /// 1 while Kafka is away.
    pub log_away: AtomicU64,
    /// Classes that are not replicated.
    pub log_unreplicated: AtomicU64,
    /// Records that wait for their position.
    pub unplaced: AtomicU64,
    /// Whether they are read from the journal.
    pub unplaced_behind: AtomicU64,
    /// Records that wait for Kafka.
    pub unfed: AtomicU64,
    /// Whether they are read from the journal.
    pub unfed_behind: AtomicU64,
    /// Channels that are watched.
    pub watched: AtomicU64,
    /// Records that got their position.
    pub placed: AtomicU64,
    /// Records that were submitted again.
    pub placed_again: AtomicU64,
    /// Calls that failed.
    pub calls_failed: AtomicU64,
    /// Records in Kafka.
    pub fed: AtomicU64,
    /// Events that came.
    pub events: AtomicU64,
    /// Channels that went on elsewhere.
    pub skips: AtomicU64,
    /// Other nodes with a lease.
    pub nodes: AtomicU64,
    /// Leases that were not renewed.
    pub leases_failed: AtomicU64,
    /// Frames that were not sent to another node.
    pub frames_unsent: AtomicU64,
    /// Frames of other nodes that found no room.
    pub frames_untaken: AtomicU64,
    /// Questions that the archive answered.
    pub archive_answers: AtomicU64,
    /// Questions that it could not answer.
    pub archive_unanswered: AtomicU64,
    /// Cursors that it has.
    pub cursors_archived: AtomicU64,
    /// Cursors that wait for it.
    pub cursors_waiting: AtomicU64,
    /// Moves of cursors that were left out.
    pub cursors_left_out: AtomicU64,
    /// Pages of history for which the backplane was not asked.
    pub histories_kept: AtomicU64,
    /// Breakers of [`SYSTEMS`].
    pub breakers: [BreakerCounts; SYSTEMS.len()],
}

impl BackboneCounts {
    fn values(&self) -> [&AtomicU64; METRICS.len() - 3] {
        [
            &self.backplane_away,
            &self.log_away,
            &self.log_unreplicated,
            &self.unplaced,
            &self.unplaced_behind,
            &self.unfed,
            &self.unfed_behind,
            &self.watched,
            &self.placed,
            &self.placed_again,
            &self.calls_failed,
            &self.fed,
            &self.events,
            &self.skips,
            &self.nodes,
            &self.leases_failed,
            &self.frames_unsent,
            &self.frames_untaken,
            &self.archive_answers,
            &self.archive_unanswered,
            &self.cursors_archived,
            &self.cursors_waiting,
            &self.cursors_left_out,
            &self.histories_kept,
        ]
    }

    /// How far a feed is, for people.
    pub(crate) fn feed_line(&self) -> String {
        let of = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let state = |away: u64| if away == 0 { "" } else { " (away)" };
        format!(
            "Redis{} placed {}; Kafka{} took {}",
            state(of(&self.backplane_away)),
            of(&self.placed),
            state(of(&self.log_away)),
            of(&self.fed),
        )
    }

    /// Writes them all; those of a node alone are 0.
    pub(crate) fn expose(&self, exposition: &mut Exposition) {
        for (metric, value) in METRICS.iter().zip(self.values()) {
            exposition.number(metric, value.load(Ordering::Relaxed) as f64);
        }
        let of = |read: fn(&BreakerCounts) -> &AtomicU64| {
            let breakers = SYSTEMS.iter().zip(&self.breakers);
            let samples = breakers.map(move |(system, counts)| {
                let value = read(counts).load(Ordering::Relaxed);
                (format!("system=\"{system}\""), value)
            });
            samples.collect::<Vec<_>>().into_iter()
        };
        let [.., state, opened, lost] = &METRICS;
        exposition.labelled(state, of(|counts| &counts.state));
        exposition.labelled(opened, of(|counts| &counts.opened));
        exposition.labelled(lost, of(|counts| &counts.lost));
    }

    /// State and last trip of each breaker.
    pub(crate) fn breaker_states(&self) -> [(u64, u64); SYSTEMS.len()] {
        let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let states = self.breakers.each_ref();
        states.map(|counts| (read(&counts.state), read(&counts.trip)))
    }
}

/// Adds to a counter that one thread writes.
pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// Sets a level.
pub(super) fn set(level: &AtomicU64, value: u64) {
    level.store(value, Ordering::Relaxed);
}
