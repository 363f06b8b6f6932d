//! Stretches of topics, of a real broker.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};

use super::super::consumer::Lane;
use super::super::stretch::{Stretch, StretchConfig, StretchEvent};
use super::broker::fresh_with;
use super::*;

/// A minute ago: brokers take no times that are far from theirs.
fn then_ms() -> i64 {
    static THEN: OnceLock<i64> = OnceLock::new();
    *THEN.get_or_init(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.expect("a clock after 1970").as_millis() as i64 - 60_000
    })
}

/// Writes numbers into a partition of a topic, each at as many milliseconds behind [`then_ms`].
fn write(cluster: &Config, topic: &str, partition: i32, numbers: std::ops::Range<i64>) {
    let client = cluster.client("producer").expect("settings");
    let producer: ThreadedProducer<_> = client.create().expect("a producer");
    for number in numbers {
        let value = number.to_string();
        let record: BaseRecord<'_, (), str> = BaseRecord::to(topic).partition(partition);
        let record = record.payload(&value).timestamp(then_ms() + number);
        assert!(producer.send(record).is_ok());
    }
    producer.flush(PATIENCE).expect("written");
}

fn open(cluster: &Config, topics: &[String], since: i64) -> Stretch {
    let config = StretchConfig {
        cluster,
        topics,
        since_ms: then_ms() + since,
        client: "test",
    };
    Stretch::open(config).expect("a stretch")
}

fn next(stretch: &mut Stretch, runtime: &Handle) -> Option<StretchEvent> {
    let next = stretch.next();
    let next = runtime.block_on(async { tokio::time::timeout(PATIENCE, next).await });
    next.expect("in time")
}

#[test]
fn a_stretch_goes_from_a_time_to_where_topics_ended_when_it_began() {
    let cluster = fresh_with(1, "1");
    let topics = ["high", "critical", "gone"].map(|name| format!("{}{name}", cluster.topic_prefix));
    let lane = |topic: usize, partition| Lane {
        topic: topics[topic].as_str().into(),
        partition,
    };
    write(&cluster, &topics[0], 0, 0..5_000);
    write(&cluster, &topics[0], 1, 0..100);
    write(&cluster, &topics[1], 0, 2_000..2_001);
    let runtime = runtime();
    let mut stretch = open(&cluster, &topics, 1_000);
    let Some(StretchEvent::Found(spans)) = next(&mut stretch, &runtime) else {
        panic!("what is found comes first");
    };
    let found: Vec<_> = spans
        .iter()
        .map(|it| (it.lane.clone(), it.start, it.end))
        .collect();
    assert_eq!(found, [(lane(0, 0), 1_000, 5_000), (lane(1, 0), 0, 1)]);
    // What comes now is not of it.
    write(&cluster, &topics[0], 0, 5_000..5_100);
    write(&cluster, &topics[0], 1, 5_000..5_100);
    let mut read: BTreeMap<Lane, Vec<i64>> = BTreeMap::new();
    let mut ended = Vec::new();
    while let Some(event) = next(&mut stretch, &runtime) {
        match event {
            StretchEvent::Batch(batch) => {
                assert!(!ended.contains(&batch.lane), "the end comes last");
                assert!((1..=1_000).contains(&batch.records.len()));
                let values = batch.records.iter().map(|record| &record.value);
                let numbers = values.map(|value| std::str::from_utf8(value).expect("a text"));
                let numbers = numbers.map(|number| number.parse::<i64>().expect("a number"));
                read.entry(batch.lane).or_default().extend(numbers);
            }
            StretchEvent::Ended(lane) => ended.push(lane),
            StretchEvent::Found(_) => panic!("found twice"),
        }
    }
    assert_eq!(read[&lane(0, 0)], (1_000..5_000).collect::<Vec<_>>());
    assert_eq!(read[&lane(1, 0)], [2_000]);
    ended.sort_unstable();
    let mut all = vec![lane(0, 0), lane(1, 0)];
    all.sort_unstable();
    assert_eq!(ended, all);
}

#[test]
fn a_stretch_without_records_ends_at_once() {
    let cluster = fresh_with(1, "1");
    let topics = [format!("{}high", cluster.topic_prefix)];
    write(&cluster, &topics[0], 0, 0..10);
    let runtime = runtime();
    let mut stretch = open(&cluster, &topics, 10);
    let found = next(&mut stretch, &runtime);
    assert_eq!(found, Some(StretchEvent::Found(Vec::new())));
    assert_eq!(next(&mut stretch, &runtime), None);
}
