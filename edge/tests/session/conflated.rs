//! Channels on which a newer event of a key stands for the older ones: what slow clients and
//! those that come back get of them.

use std::collections::BTreeMap;

use interlink_client::{Client, Delivery, GapReason, Publish};
use interlink_protocol::frame::{ResumeFields, ServerFrame, SubscribeFields};
use interlink_protocol::ids::{Position, SessionKey};
use interlink_wire as wire;

use super::on_one_and_two_shards;
use super::slow::{by_class, overruns, publish_all, read_through, subscribe, Sent, LOG_EVENTS};
use super::support::chat::next;
use super::support::raw::{decode, Raw};
use super::support::{run, wait_for, Node, Setup};

on_one_and_two_shards!(
    a_stalled_reader_of_a_conflated_channel_gets_the_last_value_of_each_key,
    who_comes_back_to_a_conflated_channel_gets_the_last_values,
    an_application_that_lags_learns_what_was_conflated,
);

/// A client that may publish to a document's awareness channel, and reads what comes of it.
async fn editor(node: &Node, channel: &str) -> Client {
    let ada = node.client("ada").await;
    let token = node.subscription_token("ada", channel);
    let own = ada.subscribe(channel).token(token).await;
    let mut own = own.expect("the token grants the channel");
    tokio::spawn(async move { while own.next().await.is_some() {} });
    ada
}

fn cursor(client: &Client, channel: &str, key: &str) -> Publish {
    client
        .publish(channel, vec![7; 900])
        .conflation_key(key.to_owned())
}

/// Publishes some at a time, so that the publisher's own subscription never falls behind and
/// nothing is conflated for it.
async fn publish_in_turns(publishes: impl IntoIterator<Item = Publish>) {
    let mut publishes = publishes.into_iter().peekable();
    while publishes.peek().is_some() {
        publish_all(publishes.by_ref().take(LOG_EVENTS as usize / 4)).await;
    }
}

fn a_stalled_reader_of_a_conflated_channel_gets_the_last_value_of_each_key(shards: u16) {
    /// More than sockets take.
    const FILL: u64 = 500;
    const RARE: u64 = 5;
    const MORE: u64 = 4 * LOG_EVENTS;
    const LAST: u64 = FILL + RARE + MORE;
    let channel = "collab-awareness.paper";
    let node = Setup::shards(shards).start();
    let mut stalled = Raw::welcomed(node.clients(), &node.token("bob"), 1);
    let token = node.subscription_token("bob", channel);
    assert_eq!(subscribe(&mut stalled, channel, Some(&token)).offset, 0);
    run(async {
        let ada = editor(&node, channel).await;
        let busy = |number: u64| cursor(&ada, channel, &format!("busy {}", number % 3));
        publish_in_turns((0..FILL).map(busy)).await;
        let rare = |number: u64| cursor(&ada, channel, &format!("rare {number}"));
        publish_in_turns((0..RARE).map(rare)).await;
        publish_in_turns((0..MORE).map(busy)).await;
    });
    let sent = read_through(&mut stalled, channel, 0, LAST);
    let mut values = BTreeMap::new();
    let mut conflated = 0;
    for entry in &sent {
        match entry {
            Sent::Event(offset, key) => {
                values.insert(key.clone().expect("each has a key"), *offset);
            }
            Sent::Skipped(count, reason) => {
                assert_eq!(*reason, wire::PositionReason::Conflated);
                conflated += count;
            }
        }
    }
    for number in 0..RARE {
        let key = format!("rare {number}");
        assert_eq!(values.get(&key), Some(&(FILL + number + 1)), "{key}");
    }
    assert!((0..3).all(|key| values[&format!("busy {key}")] > LAST - 3));
    assert!(conflated > LAST / 2, "{conflated} of {LAST} were conflated");
    wait_for("the counts", || {
        let counted = by_class(&node, "interlink_edge_conflated_events_total", "p2");
        (counted == conflated as f64).then_some(())
    });
    assert!(overruns(&node, "p2", "conflated") > 0.0);
    assert_eq!(
        by_class(&node, "interlink_edge_skipped_events_total", "p2"),
        0.0
    );
}

/// Comes back with a session and a position of one channel; what `Welcome` says of the channel.
fn come_back(
    node: &Node,
    session: SessionKey,
    (channel, position): (&str, Position),
) -> (Raw, u64, bool) {
    let positions = [(channel, position)];
    let resume = ResumeFields {
        session,
        positions: &positions,
    };
    let mut raw = Raw::upgraded(node.clients());
    raw.hello(&node.token("bob"), 1, Some(resume));
    let answer = raw.next_frame();
    let ServerFrame::Welcome(welcome) = decode(&answer) else {
        panic!("Welcome was expected");
    };
    assert!(welcome.resumed());
    let restored = welcome.restored().expect("subscriptions are restored");
    let entry = restored.get(0);
    assert_eq!(entry.channel(), channel);
    if !entry.recovered() {
        assert_eq!(entry.reason(), wire::PositionReason::Ephemeral);
    }
    (raw, entry.position().offset(), entry.recovered())
}

fn who_comes_back_to_a_conflated_channel_gets_the_last_values(shards: u16) {
    let channel = "collab-awareness.paper";
    let node = Setup::shards(shards).start();
    let (mut first, session, _) = Raw::resumed(node.clients(), &node.token("bob"), 1, None);
    let token = node.subscription_token("bob", channel);
    let pinned = subscribe(&mut first, channel, Some(&token));
    // Reads on the same shard, so that it tells what has arrived there.
    let mut witness = Raw::welcomed(node.clients(), &node.token("bob"), 2);
    subscribe(&mut witness, channel, Some(&token));
    run(async {
        let ada = editor(&node, channel).await;
        publish_all(["one", "two"].map(|key| cursor(&ada, channel, key))).await;
        read_through(&mut first, channel, pinned.offset, 2);
        drop(first);
        wait_for("the end of the first connection", || {
            (node.metric("interlink_edge_connections_open") == Some(2.0)).then_some(())
        });
        let keys = ["three", "two", "three", "three"];
        publish_all(keys.map(|key| cursor(&ada, channel, key))).await;
        read_through(&mut witness, channel, pinned.offset, 6);
        wait_for("the memory of the events", || {
            (node.metric("interlink_edge_log_bytes") == Some(0.0)).then_some(())
        });
        let position = Position {
            offset: 2,
            ..pinned
        };
        // `one` and the first `two` are known; the last `two` and `three` are at 4 and 6.
        let conflated = |count| Sent::Skipped(count, wire::PositionReason::Conflated);
        let value = |offset, key: &str| Sent::Event(offset, Some(key.to_owned()));
        let expected = [
            conflated(1),
            value(4, "two"),
            conflated(1),
            value(6, "three"),
        ];
        let (mut back, after, recovered) = come_back(&node, session, (channel, position));
        assert!(!recovered, "a channel without history is not recovered");
        assert_eq!(after, 2);
        assert_eq!(read_through(&mut back, channel, after, 6), expected);
        // The same for a new session of another user that names a position.
        let mut other = Raw::welcomed(node.clients(), &node.token("eve"), 3);
        let token = node.subscription_token("eve", channel);
        let fields = SubscribeFields {
            recover: Some(position),
            token: Some(&token),
            ..SubscribeFields::new(channel)
        };
        other.send_encoded(|encoder| encoder.subscribe(1, &[fields]));
        let answer = other.next_frame();
        assert!(matches!(decode(&answer), ServerFrame::Subscribed(_)));
        assert_eq!(read_through(&mut other, channel, 2, 6), expected);
        // Live events follow.
        publish_all([cursor(&ada, channel, "one")]).await;
        let live = [value(7, "one")];
        assert_eq!(read_through(&mut back, channel, 6, 7), live);
        assert_eq!(read_through(&mut other, channel, 6, 7), live);
    });
}

fn an_application_that_lags_learns_what_was_conflated(shards: u16) {
    const EVENTS: u64 = 4_000;
    let channel = "collab-awareness.paper";
    let node = Setup::shards(shards).start();
    run(async {
        let bob = node.client("bob").await;
        let token = node.subscription_token("bob", channel);
        let mut paper = bob.subscribe(channel).token(token).await.unwrap();
        let ada = editor(&node, channel).await;
        let publish = |number: u64| cursor(&ada, channel, &format!("key {}", number % 4));
        publish_all((0..EVENTS).map(publish)).await;
        let (mut at, mut conflated) = (0, 0);
        let mut last = BTreeMap::new();
        while at < EVENTS {
            match next(&mut paper).await {
                Delivery::Event(event) => {
                    at += 1;
                    assert_eq!(event.position.offset, at);
                    last.insert(event.conflation_key.expect("each has a key"), at);
                }
                Delivery::Gap(gap) => {
                    assert_eq!(gap.reason, GapReason::Conflated);
                    at += gap.skipped;
                    assert_eq!(gap.position.offset, at);
                    conflated += gap.skipped;
                }
                Delivery::Recovered(recovery) => {
                    assert_eq!(
                        (recovery.recovered, recovery.reason),
                        (false, GapReason::Ephemeral)
                    );
                }
                other => panic!("at {at}: {other:?}"),
            }
        }
        assert!(conflated > 0, "the application lagged");
        assert_eq!(last.len(), 4);
        assert!(last.values().all(|offset| *offset > EVENTS - 4));
    });
}
