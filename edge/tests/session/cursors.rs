//! Cursors of devices: who comes back without a position continues where it acknowledged.

use interlink_client::{Client, Delivery, GapReason, Position, Recovery, Subscription};
use interlink_protocol::frame::{ServerFrame, SubscribeFields};
use interlink_protocol::ids::placement_hash;

use super::on_one_and_two_shards;
use super::support::chat::{next, next_event};
use super::support::raw::{decode, Raw};
use super::support::{run, wait_for, Node, Setup};

on_one_and_two_shards!(
    a_device_continues_where_it_acknowledged,
    cursors_outlive_a_kill,
    cursors_outlive_an_ordered_stop_at_once,
    each_device_has_its_own_place,
    a_new_device_starts_at_the_furthest_and_keeps_its_place,
    what_nobody_acknowledged_is_delivered_from_the_beginning,
    what_is_no_longer_kept_is_said_to_be_missing,
    events_that_only_the_disk_has_are_counted_and_delivered,
    what_was_not_sent_cannot_be_acknowledged,
    a_pong_acknowledges_too,
);

/// Cursors that acknowledgements have moved.
const MOVED: &str = "interlink_edge_cursors_moved_total";
/// Cursors that were written.
const KEPT: &str = "interlink_edge_cursors_kept_total";

/// A node on which tests may put plain numbers into inboxes.
fn node(shards: u16, more: &str) -> Node {
    let setup = Setup::shards(shards);
    let setup = setup.config("[namespaces.user]\nopaque_allowed = true");
    setup.config(more).start()
}

/// A user whose inbox another shard numbers, if there are several.
fn user(shards: u16) -> String {
    let shards = u64::from(shards);
    let place = |name: &str| placement_hash(name.as_bytes()) % shards;
    let mut names = (0..).map(|number| format!("ada{number}"));
    let apart = |name: &String| shards == 1 || place(name) != place(&format!("user.{name}"));
    names.find(apart).expect("a hash reaches every shard")
}

fn inbox(user: &str) -> String {
    format!("user.{user}")
}

/// A back end that writes into inboxes.
async fn service(node: &Node) -> Client {
    let token = node.token_of("robot", |grant| grant.roles.push("service".into()));
    let client = node.client_with(token).connect();
    client.await.expect("the node takes the client")
}

async fn device(node: &Node, user: &str, device: &str) -> Client {
    let client = node.client_with(node.token(user)).device(device).connect();
    client.await.expect("the node takes the client")
}

async fn write(service: &Client, user: &str, numbers: std::ops::RangeInclusive<u64>) {
    let mut receipts = Vec::new();
    for number in numbers {
        let publish = service.publish(&inbox(user), number.to_string().into_bytes());
        receipts.push(publish.enqueue().await.expect("the client takes publishes"));
    }
    for receipt in receipts {
        receipt.await.expect("every publish is acknowledged");
    }
}

/// A subscription to the user's inbox that acknowledges by hand.
async fn open(client: &Client, user: &str) -> Subscription {
    let subscribe = client.subscribe(&inbox(user)).manual_ack();
    subscribe.await.expect("the own inbox is open")
}

/// Reads these numbers and acknowledges up to `acked`, which may be none of them.
async fn read(inbox: &mut Subscription, numbers: std::ops::RangeInclusive<u64>, acked: u64) {
    for number in numbers {
        let event = next_event(inbox).await;
        assert_eq!(event.payload, number.to_string().into_bytes());
        assert_eq!(event.position.offset, number);
        if number == acked {
            inbox.ack(&event);
        }
    }
}

/// No numbers.
fn nothing() -> std::ops::RangeInclusive<u64> {
    let mut range = 0..=0;
    range.next();
    range
}

async fn recovered(inbox: &mut Subscription) -> Recovery {
    match next(inbox).await {
        Delivery::Recovered(recovery) => recovery,
        other => panic!("the outcome comes first: {other:?}"),
    }
}

/// Comes as a device, has to get exactly these numbers at first, acknowledges and goes.
async fn visit(
    node: &Node,
    user: &str,
    name: &str,
    numbers: std::ops::RangeInclusive<u64>,
    acked: u64,
) {
    let client = device(node, user, name).await;
    let mut inbox = open(&client, user).await;
    let recovery = recovered(&mut inbox).await;
    let count = numbers.clone().count() as u64;
    assert!(recovery.recovered, "{name}: {recovery:?}");
    assert_eq!(u64::from(recovery.following), count, "{name}");
    read(&mut inbox, numbers, acked).await;
    client.close().await;
}

/// Waits until a counter has reached a number; clients that it depends on are closed.
fn reaches(node: &Node, metric: &str, number: f64) {
    wait_for(metric, || (node.metric(metric)? >= number).then_some(()));
}

fn a_device_continues_where_it_acknowledged(shards: u16) {
    let node = node(shards, "");
    let ada = user(shards);
    run(async {
        let robot = service(&node).await;
        let phone = device(&node, &ada, "phone").await;
        let mut live = open(&phone, &ada).await;
        write(&robot, &ada, 1..=5).await;
        read(&mut live, 1..=5, 3).await;
        phone.close().await;
        write(&robot, &ada, 6..=6).await;

        let phone = device(&node, &ada, "phone").await;
        let mut again = open(&phone, &ada).await;
        let recovery = recovered(&mut again).await;
        assert!(
            recovery.recovered && recovery.following == 3,
            "{recovery:?}"
        );
        read(&mut again, 4..=6, 6).await;
        write(&robot, &ada, 7..=7).await;
        read(&mut again, 7..=7, 7).await;
        phone.close().await;
        visit(&node, &ada, "phone", nothing(), 0).await;
    });
}

fn cursors_outlive_a_kill(shards: u16) {
    let mut node = node(shards, "");
    let ada = user(shards);
    run(async {
        let robot = service(&node).await;
        write(&robot, &ada, 1..=5).await;
        visit(&node, &ada, "phone", 1..=5, 2).await;
        reaches(&node, KEPT, 1.0);
        write(&robot, &ada, 6..=6).await;
        for _ in 0..2 {
            node.kill();
            node.start();
            visit(&node, &ada, "phone", 3..=6, 0).await;
        }
        // Users move to other shards with the number of those, and their cursors with them.
        node.kill();
        node.set_shards(shards + 1);
        node.start();
        visit(&node, &ada, "phone", 3..=6, 4).await;
        visit(&node, &ada, "phone", 5..=6, 0).await;
    });
}

fn cursors_outlive_an_ordered_stop_at_once(shards: u16) {
    let mut node = node(shards, "");
    let ada = user(shards);
    run(async {
        let robot = service(&node).await;
        write(&robot, &ada, 1..=3).await;
        for acked in 1..=3 {
            visit(&node, &ada, "phone", acked..=3, acked).await;
            reaches(&node, MOVED, 1.0);
            node.ask_to_stop();
            assert!(node.wait_for_end().success(), "{}", node.log());
            node.start();
        }
        visit(&node, &ada, "phone", nothing(), 0).await;
    });
}

fn each_device_has_its_own_place(shards: u16) {
    let node = node(shards, "");
    let ada = user(shards);
    run(async {
        let robot = service(&node).await;
        write(&robot, &ada, 1..=5).await;
        let phone = device(&node, &ada, "phone").await;
        let tablet = device(&node, &ada, "tablet").await;
        let mut of_phone = open(&phone, &ada).await;
        let mut of_tablet = open(&tablet, &ada).await;
        for (inbox, acked) in [(&mut of_phone, 5), (&mut of_tablet, 2)] {
            assert_eq!(recovered(inbox).await.following, 5);
            read(inbox, 1..=5, acked).await;
        }
        phone.close().await;
        tablet.close().await;
        visit(&node, &ada, "phone", nothing(), 0).await;
        visit(&node, &ada, "tablet", 3..=5, 0).await;
    });
}

fn a_new_device_starts_at_the_furthest_and_keeps_its_place(shards: u16) {
    let node = node(shards, "");
    let ada = user(shards);
    run(async {
        let robot = service(&node).await;
        write(&robot, &ada, 1..=5).await;
        visit(&node, &ada, "phone", 1..=5, 2).await;
        visit(&node, &ada, "tablet", 3..=5, 4).await;
        visit(&node, &ada, "laptop", 5..=5, 0).await;
        visit(&node, &ada, "phone", 3..=5, 5).await;
        // The phone has gone on; the laptop has acknowledged nothing since it began.
        visit(&node, &ada, "laptop", 5..=5, 0).await;
        visit(&node, &ada, "watch", nothing(), 0).await;
    });
}

fn what_nobody_acknowledged_is_delivered_from_the_beginning(shards: u16) {
    let node = node(shards, "");
    let ada = user(shards);
    run(async {
        let robot = service(&node).await;
        write(&robot, &ada, 1..=3).await;
        visit(&node, &ada, "phone", 1..=3, 0).await;
        visit(&node, &ada, "tablet", 1..=3, 0).await;
        // A position that the client names counts more.
        let phone = device(&node, &ada, "phone").await;
        let mut all = open(&phone, &ada).await;
        recovered(&mut all).await;
        let second = [next_event(&mut all).await, next_event(&mut all).await];
        drop(all);
        let from = phone
            .subscribe(&inbox(&ada))
            .recover_from(second[1].position);
        let mut rest = from.await.expect("the own inbox is open");
        assert_eq!(recovered(&mut rest).await.following, 1);
        read(&mut rest, 3..=3, 0).await;
    });
}

fn what_is_no_longer_kept_is_said_to_be_missing(shards: u16) {
    let node = node(shards, "history_events = 300");
    let ada = user(shards);
    run(async {
        let robot = service(&node).await;
        write(&robot, &ada, 1..=3).await;
        visit(&node, &ada, "phone", 1..=3, 1).await;
        visit(&node, &ada, "tablet", 2..=3, 3).await;
        write(&robot, &ada, 4..=302).await;
        let phone = device(&node, &ada, "phone").await;
        let mut late = open(&phone, &ada).await;
        let recovery = recovered(&mut late).await;
        assert!(!recovery.recovered, "{recovery:?}");
        assert_eq!(recovery.reason, GapReason::Retention);
        let from = recovery.history_from.expect("the channel has a history");
        assert_eq!(from.offset, 2);
        let page = phone.history(&inbox(&ada)).after(from).limit(2).await;
        let page = page.expect("history is read");
        let offsets: Vec<u64> = page
            .events
            .iter()
            .map(|event| event.position.offset)
            .collect();
        assert!(page.recovered && page.more, "{page:?}");
        assert_eq!(offsets, [3, 4]);
        let oldest = phone.history(&inbox(&ada)).limit(1).await;
        let oldest = oldest.expect("history is read");
        assert_eq!(
            oldest.events[0].position.offset, 3,
            "the oldest that is kept"
        );
        write(&robot, &ada, 303..=303).await;
        read(&mut late, 303..=303, 0).await;
    });
}

fn events_that_only_the_disk_has_are_counted_and_delivered(shards: u16) {
    let node = node(shards, "");
    let ada = user(shards);
    run(async {
        let robot = service(&node).await;
        write(&robot, &ada, 1..=700).await;
        visit(&node, &ada, "phone", 1..=700, 1).await;
        visit(&node, &ada, "phone", 2..=700, 500).await;
        visit(&node, &ada, "phone", 501..=700, 0).await;
    });
}

/// Subscribes to an inbox and reads what was written to it; the position of each.
fn read_raw(raw: &mut Raw, channel: &str, count: usize) -> Vec<Position> {
    let fields = [SubscribeFields::new(channel)];
    raw.send_encoded(|encoder| encoder.subscribe(1, &fields));
    let answer = raw.next_frame();
    let ServerFrame::Subscribed(answer) = decode(&answer) else {
        panic!("an answer was expected");
    };
    let entry = answer.channels().get(0);
    assert!(entry.recovered());
    assert_eq!(entry.following() as usize, count);
    let mut positions = Vec::new();
    while positions.len() < count {
        let frame = raw.next_frame();
        let ServerFrame::Event(event) = decode(&frame) else {
            panic!("an event was expected");
        };
        positions.push(Position::from(event.position()));
    }
    positions
}

fn what_was_not_sent_cannot_be_acknowledged(shards: u16) {
    let node = node(shards, "");
    let ada = user(shards);
    let channel = inbox(&ada);
    run(async { write(&service(&node).await, &ada, 1..=3).await });
    let mut raw = Raw::welcomed(node.clients(), &node.token(&ada), 1);
    let positions = read_raw(&mut raw, &channel, 3);
    let beyond = Position {
        offset: 4,
        ..positions[2]
    };
    let invented = Position {
        epoch: positions[2].epoch + 1,
        offset: 3,
        chain: 9,
    };
    let acks = [
        (channel.as_str(), beyond),
        (channel.as_str(), invented),
        ("user.somebody", positions[2]),
        (channel.as_str(), positions[1]),
        (channel.as_str(), positions[0]),
    ];
    raw.send_encoded(|encoder| encoder.ack(&acks));
    reaches(&node, MOVED, 1.0);
    let mut raw = Raw::welcomed(node.clients(), &node.token(&ada), 1);
    assert_eq!(read_raw(&mut raw, &channel, 1)[0], positions[2]);
    assert_eq!(node.metric(MOVED), Some(1.0), "no other counted");
}

fn a_pong_acknowledges_too(shards: u16) {
    let node = node(shards, "");
    let ada = user(shards);
    let channel = inbox(&ada);
    run(async { write(&service(&node).await, &ada, 1..=3).await });
    let mut raw = Raw::welcomed(node.clients(), &node.token(&ada), 1);
    let positions = read_raw(&mut raw, &channel, 3);
    raw.send_encoded(|encoder| encoder.pong(0, &[(&channel, positions[2])]));
    reaches(&node, MOVED, 1.0);
    let mut raw = Raw::welcomed(node.clients(), &node.token(&ada), 2);
    assert!(read_raw(&mut raw, &channel, 0).is_empty());
}
