//! Summaries and health from counters, without shards.

use std::sync::Arc;

use interlink_protocol::namespace::Namespaces;
use interlink_protocol::priority::Priority;
use interlink_protocol::registry::Registry;
use interlink_protocol::ErrorCode;
use interlink_wire::events::{NodeHealth, NodeSummary};

use super::*;
use crate::server::NodeState;
use crate::telemetry::latency::Stage;
use crate::telemetry::{Counters, ShardCounters};

const START_MS: u64 = 1_900_000_000_000;

fn totals(shard: &Arc<ShardCounters>, at_ms: u64) -> Totals {
    let shards = std::slice::from_ref(shard);
    Totals::read(shards, ProcessStatus::default(), at_ms)
}

/// A shard that has counted this.
fn shard(counters: &Counters) -> Arc<ShardCounters> {
    let shared = ShardCounters::default();
    shared.publish(counters);
    Arc::new(shared)
}

/// Feeds the health seconds in each of which the counters are the same.
fn observe(health: &mut Health, seconds: u32, before: &Counters, now: &Counters) -> bool {
    let (before, now) = (
        totals(&shard(before), START_MS),
        totals(&shard(now), START_MS + 1_000),
    );
    let seen = Seen {
        before: &before,
        now: &now,
        still: &[],
        plan_bytes: u64::MAX,
        breakers: Default::default(),
    };
    (0..seconds).fold(false, |changed, _| changed | health.observe(&seen))
}

fn names(health: &Health) -> Vec<&'static str> {
    health.findings().map(|finding| finding.name).collect()
}

#[test]
fn a_summary_tells_what_came_since_the_last_one() {
    let mut counters = Counters {
        connections_open: 7,
        bytes_out: 1_000,
        ..Counters::default()
    };
    counters.publishes.add(Priority::P1, 100);
    counters.refusals.add(ErrorCode::Overloaded);
    let shard = shard(&counters);
    shard
        .latencies()
        .stage(Stage::Ack(Priority::P1).index())
        .record(9_000_000, 100);
    let before = totals(&shard, START_MS);
    counters.publishes.add(Priority::P1, 40);
    counters.events_out.add(Priority::P1, 400);
    for _ in 0..3 {
        counters.refusals.add(ErrorCode::NotPermitted);
    }
    counters.bytes_out += 500;
    shard.publish(&counters);
    let latencies = shard.latencies();
    latencies
        .stage(Stage::Ack(Priority::P1).index())
        .record(2_000, 40);
    latencies.stage(Stage::Turn.index()).record(250_000, 1);
    let now = totals(&shard, START_MS + 1_000);
    let facts = Facts {
        node: "north-1".to_owned(),
        started_at_ms: 5,
        plan_bytes: 4_096,
    };
    let standing = (Phase::Ready, NodeHealth::Degraded);
    let payload = summary::encode(&facts, standing, (&before, &now));
    let summary = flatbuffers::root::<NodeSummary>(&payload).expect("a summary");
    assert_eq!(summary.node(), "north-1");
    assert_eq!((summary.interval_ms(), summary.connections()), (1_000, 7));
    assert_eq!(summary.bytes_out(), 500);
    let classes = summary.classes().expect("classes");
    let p1 = classes.get(1);
    assert_eq!((p1.publishes(), p1.delivered()), (40, 400));
    let p50 = p1.ack_p50_us();
    assert!((2_000..2_020).contains(&p50), "{p50}");
    assert_eq!(p1.delivery_p99_us(), 0);
    let refusals = summary.refusals().expect("refusals");
    assert_eq!(refusals.len(), 1);
    let first = refusals.get(0);
    assert_eq!((first.code(), first.count()), ("not_permitted", 3));
    let busy = summary.shard_busy_permille().expect("shards");
    assert_eq!(busy.iter().collect::<Vec<_>>(), [250]);
}

#[test]
fn the_channels_take_what_is_published_there() {
    let (registry, namespaces) = (Registry::core(), Namespaces::defaults());
    let mut state = ControlState::new(vec![shard(&Counters::default())], Arc::default(), 1);
    state.node.advance(Phase::Ready);
    state.facts.node = "n".repeat(64);
    let mut look = Look {
        totals: read_totals(&state),
        health: Health::default(),
        phase: Phase::Starting,
        changed_at_ms: 0,
        told: None,
    };
    let refusals = (0..200).fold(Counters::default(), |mut counters, number| {
        counters
            .refusals
            .add(ErrorCode::ALL[number % ErrorCode::ALL.len()]);
        counters
    });
    state.counters[0].publish(&refusals);
    let events = look.events(&state, Instant::now());
    assert_eq!(events.len(), 2);
    for event in events {
        let channel = interlink_protocol::channel::ChannelName::parse(&event.channel);
        let policy = namespaces.lookup(&channel.expect("a name"));
        let policy = policy.expect("a policy");
        let checked = registry.check(event.event_type, 1, &event.payload, policy);
        assert_eq!(checked, Ok(()), "{}", event.channel);
    }
}

#[test]
fn the_state_is_told_when_it_changes_and_now_and_then() {
    let node = Arc::new(NodeState::default());
    let state = ControlState::new(
        vec![shard(&Counters::default())],
        Arc::clone(&node),
        u64::MAX,
    );
    let mut look = Look {
        totals: read_totals(&state),
        health: Health::default(),
        phase: node.phase(),
        changed_at_ms: 0,
        told: None,
    };
    let mut now = Instant::now();
    assert!(look.events(&state, now).is_empty(), "nobody is served yet");
    node.advance(Phase::Ready);
    let told = |look: &mut Look, now| {
        let events = look.events(&state, now);
        let channels: Vec<String> = events.into_iter().map(|event| event.channel).collect();
        assert!(channels.contains(&METRICS_CHANNEL.to_owned()));
        channels.contains(&STATUS_CHANNEL.to_owned())
    };
    assert!(told(&mut look, now));
    now += Duration::from_secs(1);
    assert!(!told(&mut look, now));
    now += Duration::from_secs(REPEAT_S);
    assert!(told(&mut look, now));
    node.advance(Phase::Draining);
    assert!(told(&mut look, now));
}

#[test]
fn the_journal_s_quota_degrades_and_then_fails_a_node() {
    let mut health = Health::default();
    let used = |percent| Counters {
        journal_used_bytes: percent,
        journal_quota_bytes: 100,
        ..Counters::default()
    };
    assert!(!observe(&mut health, 1, &used(69), &used(69)));
    assert!(observe(&mut health, 1, &used(69), &used(70)));
    assert_eq!(health.worst(), NodeHealth::Degraded);
    assert!(!observe(&mut health, 9, &used(71), &used(80)));
    assert!(observe(&mut health, 1, &used(80), &used(90)));
    assert_eq!(health.worst(), NodeHealth::Failing);
    assert_eq!(names(&health), ["journal_quota"]);
}

#[test]
fn a_finding_counts_until_it_was_over_for_a_while() {
    let mut health = Health::default();
    let quiet = Counters::default();
    let failed = Counters {
        journal_failures: 1,
        ..Counters::default()
    };
    assert!(observe(&mut health, 1, &quiet, &failed));
    assert!(!observe(&mut health, 4, &failed, &failed));
    assert_eq!(names(&health), ["journal_failed"]);
    assert!(observe(&mut health, 1, &failed, &failed));
    assert_eq!(health.worst(), NodeHealth::Healthy);
}

#[test]
fn a_rate_of_refusals_counts_when_it_lasts() {
    let mut health = Health::default();
    let quiet = Counters::default();
    let mut busy = Counters::default();
    busy.publishes.add(Priority::P1, 1_000);
    busy.publishes_refused.add(Priority::P1, 11);
    assert!(!observe(&mut health, 9, &quiet, &busy));
    assert!(!observe(&mut health, 1, &quiet, &quiet));
    assert!(!observe(&mut health, 9, &quiet, &busy));
    assert!(observe(&mut health, 1, &quiet, &busy));
    assert_eq!(names(&health), ["refusals"]);
}

#[test]
fn a_shard_that_stands_still_fails_the_node() {
    let mut health = Health::default();
    let idle = totals(&shard(&Counters::default()), START_MS);
    let seen = Seen {
        before: &idle,
        now: &idle,
        still: &[3],
        plan_bytes: u64::MAX,
        breakers: Default::default(),
    };
    assert!(health.observe(&seen));
    let finding = health.findings().next().expect("a finding");
    assert_eq!(finding.health, NodeHealth::Failing);
    assert!(finding.detail.contains('3'), "{}", finding.detail);
}

#[test]
fn a_breaker_that_is_not_closed_is_told_with_its_state() {
    let mut health = Health::default();
    let idle = totals(&shard(&Counters::default()), START_MS);
    let mut see = |redis, postgres, reads| {
        let seen = Seen {
            before: &idle,
            now: &idle,
            still: &[],
            plan_bytes: u64::MAX,
            breakers: [redis, (0, 0), postgres, reads],
        };
        let changed = health.observe(&seen);
        let finding = health.findings().next();
        (
            changed,
            finding.map(|found| (found.name, found.health, found.detail.clone())),
        )
    };
    let idle = (0, 0);
    assert_eq!(see(idle, idle, idle), (false, None));
    let archive = (
        "postgres",
        NodeHealth::Degraded,
        "open: too many errors".to_owned(),
    );
    assert_eq!(see(idle, (3, 1), idle), (true, Some(archive)));
    (0..5).for_each(|_| drop(see(idle, idle, idle)));
    let reads = ("redis_reads", NodeHealth::Failing, "open: too slow".into());
    assert_eq!(see(idle, idle, (3, 2)), (true, Some(reads)));
    (0..5).for_each(|_| drop(see(idle, idle, idle)));
    let lost = see(idle, idle, (4, 0));
    assert_eq!(lost, (false, None), "that is told of Redis itself");
    let told = |health, text: &str| Some(("redis", health, text.to_owned()));
    let lost = told(NodeHealth::Degraded, "reconnecting");
    assert_eq!(see((4, 0), idle, (4, 0)), (true, lost));
    let open = told(NodeHealth::Failing, "open: too many errors");
    assert_eq!(see((3, 1), idle, idle), (true, open));
}
