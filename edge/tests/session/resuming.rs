//! Sessions that outlive their connections: takeover, resume, and lost networks under load.

use interlink_client::{Client, Delivery, Subscription};
use interlink_protocol::ids::SessionKey;
use interlink_protocol::CloseCode;
use tokio::sync::watch;

use super::on_one_and_two_shards;
use super::support::chat::{next, saying, text_of};
use super::support::proxy::Proxy;
use super::support::raw::Raw;
use super::support::{client_at, run, Node, Setup};

on_one_and_two_shards!(
    a_second_connection_takes_the_session_over,
    a_session_is_not_resumed_by_another_user_or_after_a_goodbye,
    a_lost_subscriber_continues_without_loss_or_repeats,
    a_lost_publisher_loses_and_repeats_nothing,
);

fn a_second_connection_takes_the_session_over(shards: u16) {
    let node = Setup::shards(shards).start();
    let token = node.token("ada");
    let (mut first, key, resumed) = Raw::resumed(node.clients(), &token, 1, None);
    assert!(!resumed);
    let (mut second, same, resumed) = Raw::resumed(node.clients(), &token, 1, Some(key));
    assert!(resumed, "the session was continued");
    assert_eq!(same, key);
    assert_eq!(first.close_code(), CloseCode::TakenOver.number());
    let (_third, same, resumed) = Raw::resumed(node.clients(), &token, 1, Some(key));
    assert!(resumed && same == key);
    assert_eq!(second.close_code(), CloseCode::TakenOver.number());
}

fn a_session_is_not_resumed_by_another_user_or_after_a_goodbye(shards: u16) {
    use interlink_protocol::websocket::{ControlKind, Opcode};
    let node = Setup::shards(shards).start();
    let token = node.token("ada");
    let (mut raw, key, _) = Raw::resumed(node.clients(), &token, 1, None);
    let (_other, theirs, resumed) = Raw::resumed(node.clients(), &node.token("bob"), 2, Some(key));
    assert!(!resumed && theirs != key, "the key alone is not enough");
    let close = Opcode::Control(ControlKind::Close);
    raw.send(&super::support::raw::data_frame(
        close,
        true,
        &1000u16.to_be_bytes(),
    ));
    assert_eq!(raw.close_code(), 1000);
    let (_again, fresh, resumed) = Raw::resumed(node.clients(), &token, 1, Some(key));
    assert!(
        !resumed && fresh != key,
        "a client that said goodbye has no session"
    );
    let (_unknown, _, resumed) = Raw::resumed(node.clients(), &token, 1, Some(SessionKey(12_345)));
    assert!(!resumed);
}

/// Cuts the relay's connections this many times, each after some more events.
const CUTS: u64 = 5;
/// Events between two cuts.
const BETWEEN: u64 = 150;
/// Events in all; fewer than the history of a channel holds.
const EVENTS: u64 = (CUTS + 1) * BETWEEN;

/// Events that the publisher is ahead of the reader.
const AHEAD: u64 = 100;

/// Publishes numbered messages, at most [`AHEAD`] before the reader, and checks their receipts.
async fn publish_numbers(client: Client, channel: String, mut read: watch::Receiver<u64>) {
    let mut receipts = Vec::new();
    for number in 0..EVENTS {
        let near = read.wait_for(|read| number < read + AHEAD).await;
        drop(near.expect("the reader is there"));
        let publish = saying(&client, &channel, &number.to_string());
        receipts.push(publish.enqueue().await.expect("the client takes publishes"));
    }
    for receipt in receipts {
        receipt
            .await
            .expect("every publish is acknowledged in the end");
    }
}

/// Reads numbered messages to the last and cuts the relay on the way.
async fn read_numbers(chat: &mut Subscription, proxy: &Proxy, read: watch::Sender<u64>) {
    let mut number = 0;
    while number < EVENTS {
        let event = match next(chat).await {
            Delivery::Event(event) => event,
            Delivery::Recovered(recovery) => {
                assert!(recovery.recovered, "at {number}: {recovery:?}");
                continue;
            }
            other => panic!("at {number}: {other:?}"),
        };
        assert_eq!(text_of(&event.payload), number.to_string());
        assert_eq!(event.position.offset, number + 1);
        number += 1;
        if number % BETWEEN == 0 && number < EVENTS {
            proxy.cut();
        }
        read.send_replace(number);
    }
    assert!(
        proxy.connections() as u64 > CUTS,
        "each cut made the client come back"
    );
}

async fn behind(proxy: &Proxy, node: &Node, user: &str) -> Client {
    let client = client_at(proxy.address(), node.token(user)).connect();
    client.await.expect("the relay reaches the node")
}

fn a_lost_subscriber_continues_without_loss_or_repeats(shards: u16) {
    let node = Setup::shards(shards).start();
    let proxy = Proxy::start(node.clients());
    run(async {
        let bob = behind(&proxy, &node, "bob").await;
        let mut chat = bob.subscribe("chat.ada~bob").await.unwrap();
        let ada = node.client("ada").await;
        let (read, progress) = watch::channel(0);
        let publishing = tokio::spawn(publish_numbers(ada, "chat.ada~bob".into(), progress));
        read_numbers(&mut chat, &proxy, read).await;
        publishing.await.unwrap();
        let resumed = node
            .metric("interlink_edge_sessions_resumed_total")
            .unwrap();
        assert!(
            resumed >= CUTS as f64,
            "sessions were resumed, not made anew: {resumed}"
        );
    });
}

fn a_lost_publisher_loses_and_repeats_nothing(shards: u16) {
    let node = Setup::shards(shards).start();
    let proxy = Proxy::start(node.clients());
    run(async {
        let bob = node.client("bob").await;
        let mut chat = bob.subscribe("chat.ada~bob").await.unwrap();
        let ada = behind(&proxy, &node, "ada").await;
        let (read, progress) = watch::channel(0);
        let publishing = tokio::spawn(publish_numbers(ada, "chat.ada~bob".into(), progress));
        read_numbers(&mut chat, &proxy, read).await;
        publishing.await.unwrap();
    });
}
