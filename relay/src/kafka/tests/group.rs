//! Members of a group, by the mock cluster of the client library.

use std::collections::BTreeSet;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};

use super::super::consumer::{GroupConfig, GroupConsumer, GroupEvent, Lane, StartAt};
use super::*;

const TOPIC: &str = "interlink.high";

struct Member {
    consumer: GroupConsumer,
    lanes: BTreeSet<Lane>,
}

impl Member {
    fn join(cluster: &Config, group: &str) -> Self {
        let topics = [TOPIC.to_owned()];
        let config = GroupConfig {
            cluster,
            group,
            topics: &topics,
            client: "test",
        };
        Self {
            consumer: GroupConsumer::open(config, || {}).expect("a member"),
            lanes: BTreeSet::new(),
        }
    }

    /// The next event that is not about partitions; those that come are started.
    fn event(&mut self, runtime: &Handle) -> GroupEvent {
        loop {
            let next = self.consumer.next();
            let next = runtime.block_on(async { tokio::time::timeout(PATIENCE, next).await });
            match next.expect("an event in time").expect("a living member") {
                GroupEvent::Assigned(lanes) => {
                    self.lanes.extend(lanes.iter().cloned());
                    let starts = lanes.into_iter().map(|lane| (lane, StartAt::Committed));
                    self.consumer.start(starts.collect());
                }
                GroupEvent::Revoked { lanes, .. } => {
                    self.lanes.retain(|lane| !lanes.contains(lane));
                }
                other => return other,
            }
        }
    }

    fn batch(&mut self, runtime: &Handle) -> super::super::consumer::Batch {
        match self.event(runtime) {
            GroupEvent::Batch(batch) => batch,
            other => panic!("no batch: {other:?}"),
        }
    }

    fn commit(&mut self, runtime: &Handle, lane: &Lane, next: i64) {
        self.consumer.commit(lane, next);
        loop {
            if let GroupEvent::Committed { outcome, .. } = self.event(runtime) {
                return outcome.expect("committed");
            }
        }
    }
}

fn produce(cluster: &Config, partition: i32, values: std::ops::Range<u32>) {
    let client = cluster.client("producer").expect("settings");
    let producer: ThreadedProducer<_> = client.create().expect("a producer");
    for value in values {
        let value = value.to_string();
        let record: BaseRecord<'_, (), str> = BaseRecord::to(TOPIC).partition(partition);
        let sent = producer.send(record.payload(&value));
        assert!(sent.is_ok());
    }
    producer.flush(PATIENCE).expect("produced");
}

fn values(batch: &super::super::consumer::Batch) -> Vec<u32> {
    let texts = batch.records.iter().map(|record| &record.value);
    let texts = texts.map(|value| std::str::from_utf8(value).expect("a text"));
    texts.map(|text| text.parse().expect("a number")).collect()
}

fn mock(
    partitions: i32,
) -> (
    MockCluster<'static, rdkafka::producer::DefaultProducerContext>,
    Config,
) {
    let mock = MockCluster::new(1).expect("a mock cluster");
    mock.create_topic(TOPIC, partitions, 1).expect("a topic");
    let cluster = Config::plaintext(&[&mock.bootstrap_servers()]);
    (mock, cluster)
}

#[test]
fn a_batch_is_under_way_once_and_what_was_not_committed_comes_again() {
    let (_mock, cluster) = mock(1);
    let runtime = runtime();
    produce(&cluster, 0, 0..10);
    let mut member = Member::join(&cluster, "workers");
    let first = member.batch(&runtime);
    assert_eq!(values(&first), (0..10).collect::<Vec<_>>());
    produce(&cluster, 0, 10..20);
    member.commit(&runtime, &first.lane, 5);
    // Without `done` the next batch does not come; after it, it does.
    assert!(member.consumer.try_next().expect("alive").is_none());
    member.consumer.done(&first.lane);
    assert_eq!(
        values(&member.batch(&runtime)),
        (10..20).collect::<Vec<_>>()
    );
    runtime.block_on(member.consumer.close());

    let mut next = Member::join(&cluster, "workers");
    let again = next.batch(&runtime);
    assert_eq!(again.start(), 5);
    next.commit(&runtime, &again.lane, 3);
    next.consumer.seek(&again.lane, StartAt::Committed);
    loop {
        if let GroupEvent::Sought(_) = next.event(&runtime) {
            break;
        }
    }
    assert_eq!(next.batch(&runtime).start(), 5, "a cursor never goes back");
}

#[test]
fn what_was_ordered_to_be_committed_before_the_close_is_committed() {
    let (mock, cluster) = mock(1);
    let runtime = runtime();
    produce(&cluster, 0, 0..10);
    let mut member = Member::join(&cluster, "workers");
    let lane = member.batch(&runtime).lane;
    let slow = mock.broker_round_trip_time(1, Duration::from_millis(200));
    slow.expect("a slow broker");
    // The later ones come while the first is under way.
    let started = Instant::now();
    member.consumer.commit(&lane, 1);
    while started.elapsed() < Duration::from_millis(50) {
        std::thread::yield_now();
    }
    member.consumer.commit(&lane, 7);
    runtime.block_on(member.consumer.close());
    let fast = mock.broker_round_trip_time(1, Duration::ZERO);
    fast.expect("a fast broker");
    let mut next = Member::join(&cluster, "workers");
    assert_eq!(next.batch(&runtime).start(), 7);
}

#[test]
fn a_worker_may_begin_where_its_store_says() {
    let (_mock, cluster) = mock(1);
    let runtime = runtime();
    produce(&cluster, 0, 0..10);
    let mut member = Member::join(&cluster, "workers");
    let next = member.consumer.next();
    let assigned = runtime.block_on(async { tokio::time::timeout(PATIENCE, next).await });
    let Ok(Some(GroupEvent::Assigned(lanes))) = assigned else {
        panic!("nothing was assigned: {assigned:?}");
    };
    let start = vec![(lanes[0].clone(), StartAt::Next(7))];
    member.consumer.start(start);
    assert_eq!(values(&member.batch(&runtime)), [7, 8, 9]);
    member.consumer.seek(&lanes[0], StartAt::Next(2));
    loop {
        if let GroupEvent::Sought(_) = member.event(&runtime) {
            break;
        }
    }
    assert_eq!(values(&member.batch(&runtime)), (2..10).collect::<Vec<_>>());
}

#[test]
fn members_share_partitions_and_one_that_leaves_gives_its_own_to_others() {
    let (_mock, cluster) = mock(4);
    let runtime = runtime();
    let mut one = Member::join(&cluster, "workers");
    let mut other = Member::join(&cluster, "workers");
    for partition in 0..4 {
        produce(&cluster, partition, 0..5);
    }
    let mut seen = BTreeSet::new();
    let started = Instant::now();
    let spread = |one: &Member, other: &Member| one.lanes.len() == 2 && other.lanes.len() == 2;
    while seen.len() < 4 || !spread(&one, &other) {
        assert!(
            started.elapsed() < PATIENCE,
            "{:?} {:?}",
            one.lanes,
            other.lanes
        );
        for member in [&mut one, &mut other] {
            step(member, &mut seen);
        }
        std::thread::yield_now();
    }
    runtime.block_on(other.consumer.close());
    while one.lanes.len() < 4 {
        assert!(started.elapsed() < 2 * PATIENCE, "{:?}", one.lanes);
        step(&mut one, &mut seen);
        std::thread::yield_now();
    }
}

/// Takes one event, commits and works off what came.
fn step(member: &mut Member, seen: &mut BTreeSet<Lane>) {
    match member.consumer.try_next().expect("a living member") {
        Some(GroupEvent::Assigned(lanes)) => {
            member.lanes.extend(lanes.iter().cloned());
            let starts = lanes.into_iter().map(|lane| (lane, StartAt::Committed));
            member.consumer.start(starts.collect());
        }
        Some(GroupEvent::Revoked { lanes, .. }) => {
            member.lanes.retain(|lane| !lanes.contains(lane));
        }
        Some(GroupEvent::Batch(batch)) => {
            member.consumer.commit(&batch.lane, batch.next());
            member.consumer.done(&batch.lane);
            seen.insert(batch.lane);
        }
        _ => {}
    }
}
