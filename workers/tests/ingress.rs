//! Publishing for back ends, from a real Kafka through the server API of a real node.

mod parts;

use interlink_relay::kafka::Config;
use interlink_workers::ingress;
use interlink_workers::roles::Stop;
use parts::{cluster, letters, numbers, Node, CHANNEL, PATIENCE};
use rdkafka::message::ToBytes;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::json;

async fn send(cluster: &Config, key: &str, value: impl ToBytes) {
    let client = cluster.client("back-end").expect("settings");
    let producer: FutureProducer = client.create().expect("a producer");
    let topic = format!("{}ingress", cluster.topic_prefix);
    let record = FutureRecord::to(&topic).key(key).payload(&value);
    let sent = producer.send(record, PATIENCE).await;
    sent.expect("sent");
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
