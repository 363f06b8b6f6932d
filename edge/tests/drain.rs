//! Nodes that empty themselves: what is refused, who is told what, and how fast.

mod support;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use interlink_protocol::frame::{PublishFields, ServerFrame};
use interlink_protocol::{CloseCode, ErrorCode};
use interlink_wire as wire;
use support::chat::{chat_message, CHAT_MESSAGE};
use support::raw::{decode, Incoming, Raw};
use support::{http_get, http_request, wait_for, Node, Setup};

/// Welcomed clients, in the order in which they are sent away.
fn clients(node: &Node, count: u32) -> Vec<Raw> {
    let welcomed = |number| {
        let token = node.token(&format!("user{number}"));
        Raw::welcomed(node.clients(), &token, u128::from(number) + 1)
    };
    (0..count).map(welcomed).collect()
}

fn ask_to_drain(node: &Node) -> (u16, String) {
    http_request(node.control(), "POST", "/v1/drain", "").expect("control answers")
}

/// Publishes and returns the answer.
fn publish(raw: &mut Raw, id: u64) -> (wire::PublishStatus, u16, u32) {
    let payload = chat_message("late");
    let fields = PublishFields::new(id, "chat.user7~bob", CHAT_MESSAGE, &payload);
    raw.send_encoded(|encoder| encoder.publish(&fields));
    let frame = raw.next_frame();
    match decode(&frame) {
        ServerFrame::PublishAck(ack) => (ack.status(), ack.code(), ack.retry_after_ms()),
        other => panic!("an answer was expected: {}", other.kind()),
    }
}

#[test]
fn clients_are_sent_away_no_faster_than_configured() {
    const CLIENTS: u32 = 11;
    let mut node = Setup::shards(1)
        .config("[drain]\nreconnects_per_second = 20")
        .start();
    let mut clients = clients(&node, CLIENTS);
    let started = Instant::now();
    assert_eq!(ask_to_drain(&node), (202, "draining\n".to_owned()));
    for raw in &mut clients {
        let (frames, code) = raw.read_to_close();
        let ServerFrame::Reconnect(order) = decode(frames.last().expect("a frame before")) else {
            panic!("a Reconnect was expected");
        };
        assert!(order.may_resume());
        assert_eq!(code, CloseCode::Draining.number());
    }
    let least = Duration::from_secs(1) * (CLIENTS - 1) / 20;
    assert!(started.elapsed() >= least, "{:?}", started.elapsed());
    assert!(node.wait_for_end().success(), "{}", node.log());
}

#[test]
fn who_is_not_sent_away_yet_is_served_without_new_work() {
    let mut node = Setup::shards(1)
        .config(
            "[heartbeat]\ninterval = \"5s\"\ntimeout = \"4s\"\n[drain]\nreconnects_per_second = 1",
        )
        .start();
    let mut clients = clients(&node, 8);
    let last = clients.last_mut().expect("eight");
    assert_eq!(publish(last, 1).0, wire::PublishStatus::Accepted);
    ask_to_drain(&node);
    let answer = wait_for("draining", || {
        let answer = http_get(node.control(), "/readyz").expect("control answers");
        (answer.0 == 503).then_some(answer)
    });
    assert_eq!(answer, (503, "draining\n".to_owned()));
    assert_eq!(ask_to_drain(&node), (200, "draining\n".to_owned()));
    wait_for("the first Reconnect", || {
        let sent = node.metric("interlink_edge_reconnects_sent_total")?;
        (sent >= 1.0).then_some(())
    });
    let address = node.clients();
    wait_for("a closed port", || TcpStream::connect(address).err());
    let (status, code, retry_after_ms) = publish(last, 2);
    assert_eq!(status, wire::PublishStatus::Refused);
    assert_eq!(code, ErrorCode::Draining.number());
    assert!(retry_after_ms > 0, "the same publish may be sent again");
    assert_eq!(publish(last, 1).0, wire::PublishStatus::Duplicate);
    // Heartbeats go on until the order comes.
    loop {
        match last.next() {
            Incoming::Frame(frame) if matches!(decode(&frame), ServerFrame::Heartbeat(_)) => break,
            Incoming::Frame(_) => {}
            other => panic!("a heartbeat was expected: {other:?}"),
        }
    }
    drop(clients);
    assert!(node.wait_for_end().success(), "{}", node.log());
}

#[test]
fn only_a_post_from_outside_of_browsers_drains() {
    let mut node = Setup::shards(1).start();
    let from_a_page = "Origin: https://school.example\r\n";
    let answer = http_request(node.control(), "POST", "/v1/drain", from_a_page);
    assert_eq!(answer.expect("control answers").0, 403);
    assert_eq!(
        http_get(node.control(), "/v1/drain").expect("answers").0,
        405
    );
    assert_eq!(http_get(node.control(), "/readyz").expect("answers").0, 200);
    assert_eq!(ask_to_drain(&node).0, 202);
    assert!(node.wait_for_end().success(), "{}", node.log());
}
