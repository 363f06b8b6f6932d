//! Rates of connections, users and institutions.

use std::time::{Duration, Instant};

use interlink_client::Publish;
use interlink_edge::auth::UserGrant;
use interlink_protocol::frame::{FrameEncoder, PublishFields, ServerFrame};
use interlink_protocol::websocket::{ControlKind, Opcode};
use interlink_protocol::ErrorCode;
use interlink_wire as wire;

use super::reaches;
use super::support::chat::{next_text, saying};
use super::support::raw::{binary, data_frame, decode, Incoming, Raw};
use super::support::{run, wait_for, Node, Setup};

const PAUSED: &str = "interlink_edge_reads_paused_total";
/// The smallest burst that can be configured.
const BURST: u32 = 32;

/// A node with these lines in its `[limits]`.
fn node(shards: u16, limits: &str) -> Node {
    let config = format!("[limits]\n{limits}\n");
    Setup::shards(shards).config(&config).start()
}

fn welcomed(node: &Node, user: &str, change: impl FnOnce(&mut UserGrant)) -> Raw {
    Raw::welcomed(node.clients(), &node.token_of(user, change), 1)
}

/// Unsubscribes from a channel that nobody subscribed to, once for each id, in one write.
fn ask(raw: &mut Raw, ids: std::ops::RangeInclusive<u32>) {
    let mut encoder = FrameEncoder::new();
    let requests = ids.map(|id| binary(encoder.unsubscribe(id, &["chat.x~y"])));
    let requests: Vec<u8> = requests.flatten().collect();
    raw.send(&requests);
}

/// The answer to request `id`: how long to wait, or `None` when it was served.
fn answer(raw: &mut Raw, id: u32) -> Option<u32> {
    let frame = raw.next_frame();
    match decode(&frame) {
        ServerFrame::Subscribed(answer) => {
            assert_eq!(answer.request_id(), id);
            None
        }
        ServerFrame::Error(error) => {
            assert_eq!(error.code(), ErrorCode::RateLimited.number());
            assert_eq!(error.request_id(), id);
            assert!(error.retry_after_ms() > 0, "it says when to come back");
            Some(error.retry_after_ms())
        }
        other => panic!("not an answer: {:?}", other.kind()),
    }
}

/// A frame of a connection that has to stay.
fn frame_of(incoming: Incoming) -> Vec<u8> {
    match incoming {
        Incoming::Frame(frame) => frame,
        other => panic!("the connection has to stay: {other:?}"),
    }
}

/// How many of `count` requests are served.
fn served(raw: &mut Raw, count: u32) -> u32 {
    ask(raw, 1..=count);
    (1..=count)
        .map(|id| u32::from(answer(raw, id).is_none()))
        .sum()
}

#[test]
fn a_connection_over_its_rate_is_told_when_to_come_back() {
    let node = node(1, "connection_rate = 1\nconnection_burst = 32");
    let mut raw = welcomed(&node, "ada", |_| ());
    ask(&mut raw, 1..=BURST + 1);
    for id in 1..=BURST {
        assert_eq!(
            answer(&mut raw, id),
            None,
            "request {id} is within the burst"
        );
    }
    let wait_ms = answer(&mut raw, BURST + 1).expect("it is beyond the burst");
    assert!(wait_ms <= 1_000, "{wait_ms}");
    let told = Instant::now();
    let wait = Duration::from_millis(wait_ms.into());
    wait_for("the time that was told", || {
        (told.elapsed() >= wait).then_some(())
    });
    ask(&mut raw, 100..=100);
    assert_eq!(answer(&mut raw, 100), None);
    // A Subscribe counts as many messages as it lists channels.
    let mut other = welcomed(&node, "bob", |_| ());
    let names = ["chat.x~y"; BURST as usize];
    other.send_encoded(|encoder| encoder.unsubscribe(1, &names));
    assert_eq!(answer(&mut other, 1), None);
    ask(&mut other, 2..=2);
    assert!(answer(&mut other, 2).is_some(), "the burst is used up");
}

/// A client that goes on is not read for a while. Its answers to heartbeats wait in the socket
/// meanwhile and are not taken for missing.
#[test]
fn a_client_that_goes_on_is_not_read_for_a_while_and_stays_connected() {
    const ROUNDS: u32 = 4;
    let limits = "connection_rate = 1\nconnection_burst = 32\n\
        [heartbeat]\ninterval = \"1s\"\ntimeout = \"100ms\"";
    let node = node(1, limits);
    let mut raw = welcomed(&node, "ada", |_| ());
    let mut encoder = FrameEncoder::new();
    assert_eq!(served(&mut raw, BURST), BURST);
    for round in 1..=ROUNDS {
        let heartbeat = loop {
            let frame = frame_of(raw.next());
            if let ServerFrame::Heartbeat(heartbeat) = decode(&frame) {
                break heartbeat.server_time_us();
            }
        };
        // The second refusal in a row begins a pause, in which the answer lies in the socket
        // for longer than a client may take for it.
        let request = binary(encoder.unsubscribe(round, &["chat.x~y"]));
        raw.send(&request.repeat(3));
        let mut refused = 0;
        while refused < 2 {
            let frame = frame_of(raw.next());
            refused += u32::from(matches!(decode(&frame), ServerFrame::Error(_)));
        }
        raw.send(&binary(encoder.pong(heartbeat, &[])));
    }
    reaches(&node, PAUSED, f64::from(ROUNDS));
    let closed = node.metric("interlink_edge_heartbeats_missed_total");
    assert_eq!(closed, Some(0.0));
}

/// Publishes that exceed the rate come again by themselves and in their order.
#[test]
fn publishes_over_the_rate_are_delivered_later_and_in_order() {
    const EVENTS: u32 = 150;
    for shards in [1, 2] {
        let node = node(shards, "connection_rate = 100\nconnection_burst = 32");
        run(async {
            let (ada, bob) = (node.client("ada").await, node.client("bob").await);
            let mut chat = bob.subscribe("chat.ada~bob").await.unwrap();
            let mut receipts = Vec::new();
            for number in 0..EVENTS {
                let publish: Publish = saying(&ada, "chat.ada~bob", &number.to_string());
                receipts.push(publish.enqueue().await.unwrap());
            }
            for number in 0..EVENTS {
                assert_eq!(next_text(&mut chat).await, number.to_string());
            }
            for receipt in receipts {
                receipt.await.unwrap();
            }
        });
        let code = "interlink_edge_refusals_total{shard=\"0\",code=\"rate_limited\"}";
        let other = code.replace("\"0\"", "\"1\"");
        let refused = node.metric(code).unwrap_or(0.0) + node.metric(&other).unwrap_or(0.0);
        assert!(refused > 0.0, "nothing came too fast");
    }
}

#[test]
fn a_refused_publish_is_answered_with_its_id_and_a_time() {
    let node = node(1, "connection_rate = 1\nconnection_burst = 32");
    let mut raw = welcomed(&node, "ada", |_| ());
    assert_eq!(served(&mut raw, BURST), BURST);
    let fields = PublishFields::new(7, "activity.ada", 0, b"x");
    raw.send_encoded(|encoder| encoder.publish(&fields));
    let frame = raw.next_frame();
    let ServerFrame::PublishAck(ack) = decode(&frame) else {
        panic!("an answer was expected: {:?}", decode(&frame).kind());
    };
    assert_eq!(ack.client_message_id(), 7);
    assert_eq!(ack.status(), wire::PublishStatus::Refused);
    assert_eq!(ack.code(), ErrorCode::RateLimited.number());
    assert!((1..=1_000).contains(&ack.retry_after_ms()));
}

#[test]
fn the_connections_of_a_user_share_its_rate_and_others_do_not() {
    let node = node(1, "user_rate = 1\nuser_burst = 40");
    let mut first = welcomed(&node, "ada", |_| ());
    let mut second = welcomed(&node, "ada", |_| ());
    let mut other = welcomed(&node, "bob", |_| ());
    assert_eq!(served(&mut first, 40), 40);
    // One a second is let through, and the test may take seconds.
    assert!(served(&mut second, 40) < 30);
    assert_eq!(served(&mut other, 40), 40);
}

/// A user that leaves for good and comes back has not got rid of its rate.
#[test]
fn a_new_session_has_no_new_rate() {
    let node = node(1, "user_rate = 1\nuser_burst = 40");
    let mut raw = welcomed(&node, "ada", |_| ());
    assert_eq!(served(&mut raw, 40), 40);
    for _ in 0..5 {
        raw.send(&data_frame(
            Opcode::Control(ControlKind::Close),
            true,
            &[3, 232],
        ));
        assert_eq!(raw.close_code(), 1_000);
        raw = welcomed(&node, "ada", |_| ());
        assert!(served(&mut raw, 20) < 15);
    }
}

#[test]
fn the_users_of_an_institution_share_its_rate_on_all_shards() {
    let node = node(2, "institution_rate = 1\ninstitution_burst = 40");
    let of =
        |school: &'static str| move |grant: &mut UserGrant| grant.institution = Some(school.into());
    let mut sum = 0;
    for number in 0..8 {
        let mut raw = welcomed(&node, &format!("pupil{number}"), of("north"));
        sum += served(&mut raw, 20);
    }
    assert!((40..=60).contains(&sum), "{sum} of 160 were served");
    let mut other = welcomed(&node, "pupil9", of("south"));
    assert_eq!(served(&mut other, 40), 40);
}

#[test]
fn back_ends_have_no_rate_but_that_of_their_institution() {
    let limits = "connection_rate = 1\nconnection_burst = 32\nuser_rate = 1\nuser_burst = 32\n\
        institution_rate = 1\ninstitution_burst = 200";
    let node = node(1, limits);
    let service = |grant: &mut UserGrant| grant.roles.push("service".into());
    let mut free = welcomed(&node, "grader", service);
    assert_eq!(served(&mut free, 300), 300);
    let mut bound = welcomed(&node, "importer", |grant| {
        service(grant);
        grant.institution = Some("north".into());
    });
    assert!((200..=230).contains(&served(&mut bound, 300)));
}
