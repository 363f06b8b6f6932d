//! Publishing for back ends, from a real Kafka through the server API of a real node.

mod parts;

use std::time::{SystemTime, UNIX_EPOCH};

use interlink_relay::kafka::Config;
use interlink_workers::ingress;
use interlink_workers::roles::Stop;
use parts::{cluster, letters, numbers, Node, CHANNEL, PATIENCE};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::ToBytes;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::json;

async fn send(cluster: &Config, key: &str, value: impl ToBytes) {
    let client = cluster.client("back-end").expect("settings");
    let producer: FutureProducer = client.create().expect("a producer");
    let topic = format!("{}ingress", cluster.topic_prefix);
    let record = FutureRecord::to(&topic).key(key).payload(&value);
    let sent = producer.send(record, PATIENCE).await;
    sent.expect("sent");
}

/// Sends an event that was wanted ten minutes ago; its partition and offset.
async fn send_old(cluster: &Config, number: u32) -> (i32, i64) {
    let client = cluster.client("back-end").expect("settings");
    let producer: FutureProducer = client.create().expect("a producer");
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = now.expect("a clock after 1970").as_millis() as i64;
    let topic = format!("{}ingress", cluster.topic_prefix);
    let value = event(CHANNEL, number);
    let record = FutureRecord::to(&topic).key("north").payload(&value);
    let sent = producer.send(record.timestamp(now_ms - 600_000), PATIENCE);
    let sent = sent.await.expect("sent");
    (sent.partition, sent.offset)
}

/// Leaves what a worker leaves that was killed while it attempted the records before `next`.
fn leave_attempts(cluster: &Config, partition: i32, next: i64) {
    let mut client = cluster.client("killed").expect("settings");
    client.set("group.id", "realtime-ingress-attempts");
    let consumer: BaseConsumer = client.create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    let topic = format!("{}ingress", cluster.topic_prefix);
    let added = list.add_partition_offset(&topic, partition, Offset::Offset(next));
    added.expect("a place");
    consumer.commit(&list, CommitMode::Sync).expect("committed");
}

fn event(channel: &str, number: u32) -> String {
    json!({"channel": channel, "json": {"number": number}}).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_back_ends_send_is_published_in_order_and_once() {
    let (cluster, node) = (cluster(), Node::new());
    for number in 0..20 {
        send(&cluster, "north", event(CHANNEL, number)).await;
    }
    let (sender, stop) = Stop::pair();
    let (config, api) = (cluster.clone(), node.api());
    let running = tokio::spawn(async move { ingress::run(&config, &api, stop).await });
    let events = node.wait_for(CHANNEL, 20).await;
    assert_eq!(numbers(&events), (0..20).collect::<Vec<_>>());
    sender.stop();
    running.await.expect("joined").expect("stopped in order");

    // The next process begins behind it.
    let (sender, stop) = Stop::pair();
    let (config, api) = (cluster.clone(), node.api());
    let running = tokio::spawn(async move { ingress::run(&config, &api, stop).await });
    send(&cluster, "north", event(CHANNEL, 20)).await;
    let events = node.wait_for(CHANNEL, 21).await;
    assert_eq!(numbers(&events), (0..21).collect::<Vec<_>>());
    sender.stop();
    running.await.expect("joined").expect("stopped in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_holds_events_up_and_loses_and_repeats_none() {
    let (cluster, mut node) = (cluster(), Node::new());
    let (sender, stop) = Stop::pair();
    let (config, api) = (cluster.clone(), node.api());
    let running = tokio::spawn(async move { ingress::run(&config, &api, stop).await });
    for number in 0..5 {
        send(&cluster, "north", event(CHANNEL, number)).await;
    }
    node.wait_for(CHANNEL, 5).await;
    node.kill();
    for number in 5..10 {
        send(&cluster, "north", event(CHANNEL, number)).await;
    }
    node.start();
    let events = node.wait_for(CHANNEL, 10).await;
    assert_eq!(numbers(&events), (0..10).collect::<Vec<_>>());
    sender.stop();
    running.await.expect("joined").expect("stopped in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_never_be_published_is_a_dead_letter_and_holds_nobody_up() {
    let (cluster, node) = (cluster(), Node::new());
    for value in [
        "no JSON".to_owned(),
        event("sys.status", 1),
        event(CHANNEL, 2),
    ] {
        send(&cluster, "north", value).await;
    }
    let (sender, stop) = Stop::pair();
    let (config, api) = (cluster.clone(), node.api());
    let running = tokio::spawn(async move { ingress::run(&config, &api, stop).await });
    let events = node.wait_for(CHANNEL, 1).await;
    assert_eq!(numbers(&events), [2]);
    let letters = letters(&cluster, 2).await;
    let read = |(value, code): &(String, String)| (value.contains("JSON"), code.clone());
    assert_eq!(
        letters.iter().map(read).collect::<Vec<_>>(),
        [
            (true, "invalid_record".to_owned()),
            (false, "not_permitted".to_owned())
        ]
    );
    sender.stop();
    running.await.expect("joined").expect("stopped in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_an_earlier_worker_may_have_published_is_too_old_to_publish() {
    let (cluster, node) = (cluster(), Node::new());
    let (partition, offset) = send_old(&cluster, 0).await;
    send_old(&cluster, 1).await;
    leave_attempts(&cluster, partition, offset + 1);
    let (sender, stop) = Stop::pair();
    let (config, api) = (cluster.clone(), node.api());
    let running = tokio::spawn(async move { ingress::run(&config, &api, stop).await });
    // The node has forgotten such old ids; nobody can have published the second one.
    let events = node.wait_for(CHANNEL, 1).await;
    assert_eq!(numbers(&events), [1]);
    let letters = letters(&cluster, 1).await;
    assert_eq!(letters[0].1, "outcome_unknown");
    sender.stop();
    running.await.expect("joined").expect("stopped in order");
}
