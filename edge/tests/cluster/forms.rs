//! Nodes on each form of Redis that a cluster may have: one story, told on all of them.

use interlink_client::{Client, Delivery, Subscription};

use super::stand::{self, Form};
use super::support::chat::{next, next_event, say, text_of};
use super::support::load::history;
use super::support::wait_for;
use super::{client, pair_on, unique};

/// Events of each of the two publishers.
const EVENTS: u64 = 20;

/// Says the numbers of a range, one user after the other, on two nodes.
async fn say_in_turn(pair: [&Client; 2], channel: &str, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let from = pair[usize::from(number % 2 == 1)];
        let said = say(from, channel, &number.to_string()).await;
        said.expect("accepted");
    }
}

/// Both hear the same events in one order, in which each publisher's are as it said them.
async fn hear(pair: [&mut Subscription; 2], numbers: std::ops::Range<u64>) {
    let [one, other] = pair;
    let mut heard = [Vec::new(), Vec::new()];
    for _ in numbers.clone() {
        let (one, other) = (next_event(one).await, next_event(other).await);
        assert_eq!(one.position, other.position);
        assert_eq!(one.payload, other.payload);
        let number: u64 = text_of(&one.payload).parse().expect("a number");
        heard[usize::from(number % 2 == 1)].push(number);
    }
    for (publisher, heard) in heard.into_iter().enumerate() {
        let said = numbers.clone().skip(publisher).step_by(2);
        assert_eq!(heard, said.collect::<Vec<_>>());
    }
}

/// Two users on two nodes talk, look back and see each other; then the first node is taken over by
/// a process of its own, and they go on.
async fn works_on(form: Form) {
    let (mut first, second) = pair_on(&stand::sections_of_form(form));
    for node in [&first, &second] {
        wait_for("the other node", || {
            (node.metric("interlink_edge_cluster_nodes")? >= 1.0).then_some(())
        });
    }
    let (ada, bob) = (unique("ada"), unique("bob"));
    let channel = format!("chat.{ada}~{bob}");
    let here = client(&first, &first, &ada).await;
    let there = client(&second, &first, &bob).await;
    let mut seen = there.subscribe(&channel).presence().await.expect("a user");
    match next(&mut seen).await {
        Delivery::Presence(change) => assert_eq!(change.count, 1, "{change:?}"),
        other => panic!("presence comes first: {other:?}"),
    }
    let mut heard = here.subscribe(&channel).await.expect("a user");
    match next(&mut seen).await {
        Delivery::Presence(change) => {
            assert_eq!((&*change.joined[0].user, change.count), (&*ada, 2));
        }
        other => panic!("somebody came: {other:?}"),
    }

    say_in_turn([&here, &there], &channel, 0..EVENTS).await;
    hear([&mut heard, &mut seen], 0..EVENTS).await;
    assert_eq!(history(&there, &channel).await.len() as u64, EVENTS);

    for node in [&first, &second] {
        wait_for("Kafka", || {
            let fed = node.metric("interlink_edge_fed_records_total")?;
            (fed == EVENTS as f64 / 2.0).then_some(())
        });
    }

    first.start_successor();
    first.wait_for_successor();
    assert!(first.wait_for_predecessor().success(), "{}", first.log());
    say_in_turn([&here, &there], &channel, EVENTS..2 * EVENTS).await;
    match next(&mut heard).await {
        Delivery::Recovered(recovery) => assert!(recovery.recovered, "{recovery:?}"),
        other => panic!("her subscription goes on: {other:?}"),
    }
    hear([&mut heard, &mut seen], EVENTS..2 * EVENTS).await;
    let members = here.presence(&channel).await.expect("a user");
    assert_eq!(members.len(), 2, "{members:?}");
}

#[tokio::test]
async fn a_cluster_works_on_one_redis_through_tls_and_with_passwords() {
    works_on(Form::Tls).await;
}

#[tokio::test]
async fn a_cluster_works_on_redis_with_sentinels() {
    works_on(Form::Sentinel).await;
}

#[tokio::test]
async fn a_cluster_works_on_redis_cluster() {
    works_on(Form::Cluster).await;
}
