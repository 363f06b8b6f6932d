//! Nodes that end under load and start again: killed as `kill -9` does, or stopped in order.
//! Nothing that was acknowledged is lost, nothing comes twice, and everybody continues.

mod support;

use interlink_client::AckLevel;
use interlink_protocol::frame::{PublishFields, ServerFrame, SubscribeFields};
use interlink_protocol::ids::Position;
use interlink_protocol::CloseCode;
use interlink_wire as wire;
use support::chat::{chat_message, say, saying, text_of, CHAT_MESSAGE};
use support::load::{history, load_survives, numbers};
use support::raw::{decode, Incoming, Raw};
use support::{run, Node, Setup};

/// How often the node ends under load.
const ENDS: u64 = 4;

fn kill(node: &mut Node) {
    node.kill();
    node.start();
}

fn stop(node: &mut Node) {
    node.ask_to_stop();
    assert!(node.wait_for_end().success(), "{}", node.log());
    node.start();
}

#[test]
fn a_killed_node_of_one_shard_loses_and_repeats_nothing() {
    load_survives(1, ENDS, kill);
}

#[test]
fn a_killed_node_of_two_shards_loses_and_repeats_nothing() {
    load_survives(2, ENDS, kill);
}

#[test]
fn a_stopped_node_of_one_shard_loses_and_repeats_nothing() {
    load_survives(1, ENDS, stop);
}

#[test]
fn a_stopped_node_of_two_shards_loses_and_repeats_nothing() {
    load_survives(2, ENDS, stop);
}

#[test]
fn positions_go_on_after_a_kill() {
    let mut node = Setup::shards(2).start();
    run(async {
        let ada = node.client("ada").await;
        for number in 0..10 {
            say(&ada, "chat.ada~bob", &number.to_string())
                .await
                .unwrap();
        }
        let before = history(&ada, "chat.ada~bob").await;
        kill(&mut node);
        let bob = node.client("bob").await;
        say(&bob, "chat.ada~bob", "10").await.unwrap();
        let after = history(&bob, "chat.ada~bob").await;
        assert_eq!(after[..10], before[..], "what was there is unchanged");
        assert_eq!(after.len(), 11);
        assert_eq!(after[10].position.offset, 11);
        // The computer did not restart, so nothing can be lost and the epoch goes on.
        assert_eq!(after[10].position.epoch, before[9].position.epoch);
    });
}

#[test]
fn the_beginning_of_a_channel_outlives_kills() {
    let mut node = Setup::shards(1).start();
    let (written, empty) = ("chat.ada~bob", "chat.ada~carl");
    let subscribe = |node: &Node, channel: &str, wanted: Option<Position>| {
        let mut raw = Raw::welcomed(node.clients(), &node.token("ada"), 1);
        raw.send_encoded(|encoder| {
            let wish = SubscribeFields {
                recover: wanted,
                ..SubscribeFields::new(channel)
            };
            encoder.subscribe(1, &[wish])
        });
        let frame = raw.next_frame();
        let ServerFrame::Subscribed(subscribed) = decode(&frame) else {
            panic!("a Subscribed was expected");
        };
        let entry = subscribed.channels().iter().next().expect("one channel");
        assert_eq!(entry.recovered(), wanted.is_some());
        let position = entry.position().expect("a place in the channel");
        Position::from(position)
    };
    let old = [written, empty].map(|channel| subscribe(&node, channel, None));
    assert_eq!(old.map(|old| old.offset), [0, 0]);
    kill(&mut node);
    // Where nothing was published, and where something was before the subscriber came back.
    let token = node.token("ada");
    run(async {
        let client = node.client_with(token).connect().await.expect("a client");
        let publish = saying(&client, written, "first").enqueue().await;
        let receipt = publish.expect("the client takes it").await;
        receipt.expect("it is acknowledged");
    });
    let published = subscribe(&node, written, None);
    assert_eq!(published.offset, 1);
    assert_ne!(published.epoch, old[0].epoch);
    for (channel, old) in [written, empty].into_iter().zip(old) {
        let present = subscribe(&node, channel, Some(old));
        assert_eq!((present.offset, present.epoch), (0, published.epoch));
    }
}

#[test]
fn the_number_of_shards_may_change_between_starts() {
    let mut node = Setup::shards(2).start();
    run(async {
        let ada = node.client("ada").await;
        let channels: Vec<String> = (0..6).map(|other| format!("chat.ada~b{other}")).collect();
        for (shards, number) in [(1, "0"), (3, "1"), (2, "2")] {
            for channel in &channels {
                say(&ada, channel, number).await.unwrap();
            }
            node.kill();
            node.set_shards(shards);
            node.start();
        }
        for channel in &channels {
            let events = history(&ada, channel).await;
            let texts: Vec<String> = events.iter().map(|event| text_of(&event.payload)).collect();
            let offsets: Vec<u64> = events.iter().map(|event| event.position.offset).collect();
            assert_eq!(texts, numbers(3), "{channel}");
            assert_eq!(offsets, [1, 2, 3], "{channel}");
        }
    });
}

#[test]
fn publishes_that_only_memory_held_are_sent_again() {
    const QUICK: u64 = 50;
    let mut node = Setup::shards(1).start();
    run(async {
        let ada = node.client("ada").await;
        for round in 0..5 {
            for number in 0..QUICK {
                let text = (round * QUICK + number).to_string();
                let publish = saying(&ada, "chat.ada~bob", &text).ack_level(AckLevel::Accepted);
                publish
                    .await
                    .expect("it is acknowledged before the disk has it");
            }
            kill(&mut node);
        }
        say(&ada, "chat.ada~bob", &(5 * QUICK).to_string())
            .await
            .unwrap();
        let events = history(&ada, "chat.ada~bob").await;
        let texts: Vec<String> = events.iter().map(|event| text_of(&event.payload)).collect();
        assert_eq!(texts, numbers(5 * QUICK + 1));
    });
}

/// Publishes id 1 and returns the status of the answer.
fn publish_first(raw: &mut Raw) -> wire::PublishStatus {
    let payload = chat_message("once");
    let fields = PublishFields::new(1, "chat.ada~bob", CHAT_MESSAGE, &payload);
    raw.send_encoded(|encoder| encoder.publish(&fields));
    let frame = raw.next_frame();
    match decode(&frame) {
        ServerFrame::PublishAck(ack) => ack.status(),
        other => panic!("an answer was expected: {}", other.kind()),
    }
}

#[test]
fn ids_from_before_a_kill_are_known_after_it() {
    let mut node = Setup::shards(2).start();
    let token = node.token("ada");
    let mut raw = Raw::welcomed(node.clients(), &token, 7);
    assert_eq!(publish_first(&mut raw), wire::PublishStatus::Accepted);
    for _ in 0..2 {
        kill(&mut node);
        let mut raw = Raw::upgraded(node.clients());
        raw.hello(&token, 7, None);
        let frame = raw.next_frame();
        let ServerFrame::Welcome(welcome) = decode(&frame) else {
            panic!("a Welcome was expected");
        };
        assert_eq!(welcome.highest_accepted(), 1);
        assert_eq!(publish_first(&mut raw), wire::PublishStatus::Duplicate);
    }
    run(async {
        let bob = node.client("bob").await;
        assert_eq!(history(&bob, "chat.ada~bob").await.len(), 1);
    });
}

#[test]
fn an_ordered_stop_asks_clients_to_reconnect() {
    let mut node = Setup::shards(2).start();
    let mut clients: Vec<Raw> = (0..8)
        .map(|number| {
            let token = node.token(&format!("user{number}"));
            Raw::welcomed(node.clients(), &token, number + 1)
        })
        .collect();
    node.ask_to_stop();
    for raw in &mut clients {
        let (frames, code) = raw.read_to_close();
        let asked = frames.iter().any(|frame| match decode(frame) {
            ServerFrame::Reconnect(reconnect) => {
                assert!(reconnect.may_resume());
                true
            }
            _ => false,
        });
        assert!(asked, "a Reconnect comes before the close");
        assert_eq!(code, CloseCode::Draining.number());
        assert_eq!(raw.next(), Incoming::Ended);
    }
    assert!(node.wait_for_end().success(), "{}", node.log());
}
