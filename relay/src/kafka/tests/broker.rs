//! The suite of the event log against a real broker.

use std::sync::atomic::{AtomicU32, Ordering};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use super::super::route::fed_topics;
use super::stand;
use super::*;
use crate::conformance;

/// A cluster with fresh topics of its own.
fn fresh() -> Config {
    fresh_with(1, "1")
}

/// The same, with so many replicas of each topic, and so many that a write needs.
pub fn fresh_with(replicas: i32, min_insync: &str) -> Config {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("a clock after 1970").as_micros();
    let cluster = Config {
        brokers: stand::brokers(),
        topic_prefix: format!("test-{}-{now}-{number}.", std::process::id()),
        ..Config::default()
    };
    let names = fed_topics(&cluster.topic_prefix);
    let client = cluster.client("test-topics").expect("settings");
    let admin: AdminClient<DefaultClientContext> = client.create().expect("an admin client");
    let topics = names
        .iter()
        .map(|name| NewTopic::new(name, 2, TopicReplication::Fixed(replicas)))
        .map(|topic| topic.set("min.insync.replicas", min_insync));
    let topics: Vec<_> = topics.collect();
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    let created = runtime().block_on(admin.create_topics(&topics, &options));
    for topic in created.expect("topics") {
        topic.expect("a topic");
    }
    cluster
}

#[test]
fn the_log_on_kafka_conforms() {
    conformance::event_log(|| Driven::new(fresh()).log);
}

#[test]
fn two_partitions_of_a_topic_hold_a_publisher_in_one() {
    let cluster = fresh();
    let mut driven = Driven::new(cluster.clone());
    for publisher in ["ada", "bob", "cyd", "dan"] {
        let frames: Vec<_> = (1..=50)
            .map(|id| frame("chat.room", publisher, id, Placement::default()))
            .collect();
        let appends: Vec<_> = (1..=50)
            .zip(&frames)
            .map(|(id, frame)| append(Priority::P1, "chat.room", id, frame))
            .collect();
        let taken = driven.log.submit(LogRequest::Append(&appends), 0);
        assert!(taken.is_ok());
    }
    driven.wait(4);
    let topic = format!("{}high", cluster.topic_prefix);
    let partitions = [0, 1].map(|partition| read_partition(&cluster, &topic, partition));
    for key in ["ada", "bob", "cyd", "dan"] {
        let of_key = partitions.iter().map(|records| {
            let records = records
                .iter()
                .filter(|record| *record.key == *key.as_bytes());
            records.cloned().collect::<Vec<_>>()
        });
        let mut of_key: Vec<_> = of_key.filter(|records| !records.is_empty()).collect();
        assert_eq!(of_key.len(), 1, "{key} is in one partition");
        assert_eq!(ids(&of_key.remove(0)), (1..=50).collect::<Vec<_>>());
    }
}

#[test]
fn feeding_is_encrypted_and_authenticated() {
    let plaintext = fresh();
    let topic = format!("{}high", plaintext.topic_prefix);
    let cluster = Config {
        topic_prefix: plaintext.topic_prefix.clone(),
        ..stand::encrypted()
    };
    let mut driven = Driven::new(cluster.clone());
    driven.submit("chat.room", 0..10).expect("room");
    driven.wait(1);

    let directory = tempfile::tempdir().expect("a directory");
    let wrong = directory.path().join("password");
    std::fs::write(&wrong, "wrong").expect("written");
    let refused = [
        Config {
            password_file: Some(wrong),
            ..cluster.clone()
        },
        // Authorities of the host do not vouch for the stand.
        Config {
            authorities: None,
            ..cluster
        },
    ];
    for cluster in refused {
        let mut driven = Driven::new(cluster);
        driven.submit("chat.room", 10..20).expect("room");
        assert!(!driven.log.close(Duration::from_secs(3)));
        assert!(driven.take().is_empty());
    }
    let arrived = [0, 1].map(|partition| read_partition(&plaintext, &topic, partition).len());
    assert_eq!(arrived.iter().sum::<usize>(), 10);
}
