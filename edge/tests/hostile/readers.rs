//! Clients that do not read.

use std::collections::VecDeque;

use interlink_protocol::frame::{
    FrameEncoder, PublishFields, ResumeFields, ServerFrame, SubscribeFields,
};
use interlink_protocol::ids::Position;
use interlink_wire as wire;

use super::siege::Siege;
use super::support::chat::{chat_message, text_of, CHAT_MESSAGE};
use super::support::raw::{binary, decode, Raw};
use super::support::{wait_for, Node};
use super::{pour, welcomed};

/// The channel that the stalled reader subscribes to: durable, class P1.
const CHANNEL: &str = "chat.stalled~writer";
/// Events that others publish there: below what history keeps.
const EVENTS: u64 = 900;
/// Bytes of each; together they are more than all channel logs and socket buffers.
const EVENT_BYTES: usize = 12_000;
/// Publishes that wait for their acknowledgement.
const WINDOW: usize = 32;

fn slow_clients_closed(node: &Node) -> f64 {
    let name = "interlink_edge_close_frames_total{shard=\"0\",code=\"slow_client\"}";
    node.metric(name).unwrap_or(0.0)
}

fn text(number: u64) -> String {
    format!("{number:0EVENT_BYTES$}")
}

/// Publishes all events, with some on their way at a time.
fn publish_all(writer: &mut Raw) {
    let mut on_the_way = VecDeque::new();
    let mut next = 1;
    while next <= EVENTS || !on_the_way.is_empty() {
        while next <= EVENTS && on_the_way.len() < WINDOW {
            let payload = chat_message(&text(next));
            writer.send_encoded(|encoder| {
                encoder.publish(&PublishFields::new(next, CHANNEL, CHAT_MESSAGE, &payload))
            });
            on_the_way.push_back(next);
            next += 1;
        }
        let frame = writer.next_frame();
        let ServerFrame::PublishAck(ack) = decode(&frame) else {
            panic!("an ack was expected: {:?}", decode(&frame).kind());
        };
        assert_eq!(ack.status(), wire::PublishStatus::Accepted);
        for _ in 0..ack.count() {
            on_the_way.pop_front();
        }
    }
}

/// A subscriber that never reads while others publish P1 is closed as a slow client, and has
/// lost nothing when it comes back.
#[test]
fn stalled_readers_are_closed_and_lose_nothing() {
    let mut siege = Siege::lay("stalled reader", "write_timeout = \"1s\"");
    let token = siege.node.token("stalled");
    let clients = siege.node.clients();
    let (mut stalled, session, _) = Raw::resumed(clients, &token, 1, None);
    stalled.send_encoded(|encoder| encoder.subscribe(1, &[SubscribeFields::new(CHANNEL)]));
    let answer = stalled.next_frame();
    let ServerFrame::Subscribed(subscribed) = decode(&answer) else {
        panic!("Subscribed was expected");
    };
    let position = subscribed.channels().get(0).position().expect("a position");
    let position = Position::from(position);
    let mut writer = welcomed(&siege.node, "writer");
    publish_all(&mut writer);
    wait_for("the close of the stalled reader", || {
        (slow_clients_closed(&siege.node) > 0.0).then_some(())
    });
    let mut resumed = Raw::upgraded(clients);
    let positions = [(CHANNEL, position)];
    let resume = ResumeFields {
        session,
        positions: &positions,
    };
    resumed.hello(&token, 1, Some(resume));
    let welcome = resumed.next_frame();
    assert!(matches!(decode(&welcome), ServerFrame::Welcome(welcome) if welcome.resumed()));
    for number in 1..=EVENTS {
        let frame = resumed.next_frame();
        let ServerFrame::Event(event) = decode(&frame) else {
            panic!("event {number} was expected: {:?}", decode(&frame).kind());
        };
        assert_eq!(event.position().offset(), number);
        assert_eq!(text_of(event.payload().bytes()), text(number));
    }
    siege.attack(|_| ());
    siege.lift();
}

/// A client that asks and asks and reads no answer is cut off when its replies use up their
/// bound; there is no room left to tell it why.
#[test]
fn clients_that_read_no_replies_are_cut_off() {
    const ATTACKERS: usize = 20;
    let mut siege = Siege::lay("unread replies", super::UNHURRIED);
    let mut encoder = FrameEncoder::new();
    let names: Vec<String> = (0..32).map(|number| format!("chat.x~{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let request = binary(encoder.unsubscribe(1, &names));
    let flood = request.repeat(20);
    siege.attack(|node| {
        let mut attackers: Vec<Raw> = (0..ATTACKERS).map(|_| welcomed(node, "mallory")).collect();
        for raw in &mut attackers {
            let mut sent = 0;
            while pour(raw, &flood) {
                sent += flood.len();
                assert!(sent < 64 << 20, "the server takes requests for ever");
            }
        }
    });
    assert!(slow_clients_closed(&siege.node) >= ATTACKERS as f64);
    siege.lift();
}
