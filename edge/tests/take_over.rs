//! One process takes over from another on the same host: under load, with either side killed at
//! every step, and while clients come.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use interlink_client::{BackoffPolicy, Delivery, Subscription};
use interlink_edge::hand_over::link::{hear, say, Message};
use interlink_edge::hand_over::VERSION;
use interlink_protocol::frame::{PublishFields, ServerFrame};
use interlink_protocol::{CloseCode, ErrorCode};
use interlink_wire as wire;
use support::chat::{chat_message, next, say as say_in_chat, text_of, CHAT_MESSAGE};
use support::load::load_survives;
use support::raw::{decode, upgrade_request, Raw};
use support::{http_get, run, wait_for, Node, Setup, PATIENCE};

/// Both ends of a hand-over, between which the test stands.
struct Between {
    successor: UnixStream,
    predecessor: UnixStream,
    held: Message,
}

impl Between {
    /// Starts a successor and passes on what both sides say until `held` is next.
    fn hold(node: &mut Node, held: Message) -> Self {
        let door = node.data().join("hand-over");
        let real = node.data().join("hand-over.real");
        std::fs::rename(&door, &real).expect("the node has a door");
        let listener = UnixListener::bind(&door).expect("its place is free");
        node.start_successor();
        let (successor, _) = listener.accept().expect("the successor calls");
        let predecessor = UnixStream::connect(&real).expect("the door is open");
        let mut between = Self {
            successor,
            predecessor,
            held,
        };
        while between.pass_one() {}
        between
    }

    /// Passes on the next message of whose turn it is, unless it is to be held.
    fn pass_one(&mut self) -> bool {
        // Whose turn it is follows from what the successor has said; it is alone in speaking
        // while the other side prepares.
        for (from, to) in [
            (&self.successor, &self.predecessor),
            (&self.predecessor, &self.successor),
        ] {
            from.set_nonblocking(true).expect("a socket takes options");
            let heard = hear(from);
            from.set_nonblocking(false).expect("a socket takes options");
            match heard {
                Ok(Some((message, _))) if message == self.held => return false,
                Ok(Some((message, socket))) => {
                    say(to, message, socket.as_ref().map(AsFd::as_fd)).expect("it listens");
                }
                Ok(None) => panic!("a side has closed the hand-over before {:?}", self.held),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}"),
            }
        }
        std::thread::yield_now();
        true
    }

    /// Passes on what was held, and the rest.
    fn release(mut self) {
        let to = match self.held {
            Message::Released | Message::Offered => &self.successor,
            _ => &self.predecessor,
        };
        say(to, self.held, None).expect("it listens");
        self.held = Message::Ready;
        while self.pass_one() {}
        say(&self.predecessor, Message::Ready, None).expect("it listens");
    }
}

/// The messages before which a side is killed.
const STEPS: [Message; 5] = [
    Message::TakeOver(VERSION),
    Message::Offered,
    Message::Prepared,
    Message::Released,
    Message::Ready,
];

fn take_over(node: &mut Node) {
    node.start_successor();
    node.wait_for_successor();
    let status = node.wait_for_predecessor();
    assert!(status.success(), "{}", node.log());
}

#[test]
fn load_survives_hand_overs_of_one_shard() {
    load_survives(1, 3, take_over);
}

#[test]
fn load_survives_hand_overs_of_two_shards() {
    load_survives(2, 3, take_over);
}

#[test]
fn load_survives_hand_overs_between_numbers_of_shards() {
    let shards = std::cell::Cell::new(2);
    load_survives(2, 3, |node| {
        shards.set(shards.get() % 3 + 1);
        node.set_shards(shards.get());
        take_over(node);
    });
}

#[test]
fn a_successor_that_is_killed_before_the_journal_is_given_changes_nothing() {
    for step in &STEPS[..3] {
        load_survives(2, 1, |node| {
            let between = Between::hold(node, *step);
            node.kill_successor();
            drop(between);
            wait_for("service", || {
                (http_get(node.control(), "/readyz").ok()?.0 == 200).then_some(())
            });
        });
    }
}

#[test]
fn a_successor_that_is_killed_with_the_journal_leaves_it_to_the_next_start() {
    for step in &STEPS[3..] {
        load_survives(2, 1, |node| {
            let between = Between::hold(node, *step);
            node.kill_successor();
            drop(between);
            let status = node.wait_for_end();
            assert_eq!(status.code(), Some(9), "{}", node.log());
            node.start();
        });
    }
}

#[test]
fn a_predecessor_that_is_killed_at_any_step_is_followed() {
    for step in STEPS {
        load_survives(2, 1, |node| {
            let between = Between::hold(node, step);
            node.kill_predecessor();
            drop(between);
            node.wait_for_successor();
        });
    }
}

/// Publishes id 1 and returns status and code of the answer.
fn publish(raw: &mut Raw) -> (wire::PublishStatus, u16) {
    let payload = chat_message("once");
    let fields = PublishFields::new(1, "chat.ada~bob", CHAT_MESSAGE, &payload);
    raw.send_encoded(|encoder| encoder.publish(&fields));
    let frame = raw.next_frame();
    match decode(&frame) {
        ServerFrame::PublishAck(ack) => (ack.status(), ack.code()),
        other => panic!("an answer was expected: {}", other.kind()),
    }
}

#[test]
fn who_comes_during_a_hand_over_is_welcomed_by_the_successor() {
    let mut node = Setup::shards(2).start();
    let mut old = Raw::welcomed(node.clients(), &node.token("ada"), 1);
    let between = Between::hold(&mut node, Message::Released);
    // The predecessor takes nothing new any more, and still answers.
    let refused = (wire::PublishStatus::Refused, ErrorCode::Draining.number());
    assert_eq!(publish(&mut old), refused);
    // Nobody accepts, so these wait in the backlog.
    let mut waiting: Vec<Raw> = (0..8).map(|_| Raw::connect(node.clients())).collect();
    for raw in &mut waiting {
        raw.send(&upgrade_request(&node.clients().to_string()));
    }
    between.release();
    node.wait_for_successor();
    for (number, mut raw) in waiting.into_iter().enumerate() {
        let (status, head) = raw.read_answer();
        assert_eq!(status, 101, "{head}");
        let token = node.token(&format!("user{number}"));
        raw.greet(&token, number as u128 + 10, None);
    }
    let (frames, code) = old.read_to_close();
    let ServerFrame::Reconnect(order) = decode(frames.last().expect("a frame")) else {
        panic!("a Reconnect was expected");
    };
    assert!(order.may_resume());
    assert_eq!(code, CloseCode::Draining.number());
    let mut new = Raw::welcomed(node.clients(), &node.token("ada"), 1);
    assert_eq!(publish(&mut new).0, wire::PublishStatus::Accepted);
    assert!(node.wait_for_predecessor().success(), "{}", node.log());
    wait_for("nine handshakes of the successor", || {
        let done = node.metric("interlink_edge_handshakes_done_total");
        (done == Some(9.0)).then_some(())
    });
}

/// A connection of a back end, and the head of a publish of `body` on it.
fn back_end(node: &Node, body: &str) -> (TcpStream, String) {
    let address = node.api();
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the API listens");
    let patience = Some(PATIENCE);
    stream.set_read_timeout(patience).expect("a socket");
    let token = node.token_of("reports", |grant| grant.roles.push("service".into()));
    let length = body.len();
    let head = format!(
        "POST /v1/publish HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {length}\r\n"
    );
    (stream, head)
}

/// Reads what the API says until the connection ends.
fn rest_of(mut stream: TcpStream) -> String {
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("it ends in order");
    said
}

#[test]
fn the_server_api_answers_on_its_address_after_a_take_over() {
    let body = r#"{"channel": "user.ada", "json": 1, "idempotency_key": "once"}"#;
    let config = "[namespaces.user]\nopaque_allowed = true";
    let mut node = Setup::shards(1).config(config).start();
    let (idle, _) = back_end(&node, body);
    let (mut asking, head) = back_end(&node, body);
    write!(asking, "{head}Expect: 100-continue\r\n\r\n").expect("sent");
    let mut go_on = [0; 25];
    asking.read_exact(&mut go_on).expect("the head is read");
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    let between = Between::hold(&mut node, Message::Released);
    // The predecessor keeps nobody who asks for nothing, and takes nothing new.
    assert_eq!(rest_of(idle), "");
    write!(asking, "{body}").expect("sent");
    let refusal = rest_of(asking);
    assert!(refusal.starts_with("HTTP/1.1 503"), "{refusal}");
    assert!(refusal.contains(r#""code":"draining""#), "{refusal}");
    assert!(refusal.contains(r#""temporary":true"#), "{refusal}");
    // Nobody accepts, so this one waits in the backlog.
    let (mut waiting, head) = back_end(&node, body);
    between.release();
    node.wait_for_successor();
    write!(waiting, "{head}Connection: close\r\n\r\n{body}").expect("sent");
    let answer = rest_of(waiting);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(r#""repeat":false"#), "{answer}");
    assert!(node.wait_for_predecessor().success(), "{}", node.log());
    let (mut later, head) = back_end(&node, body);
    write!(later, "{head}Connection: close\r\n\r\n{body}").expect("sent");
    let answer = rest_of(later);
    assert!(answer.contains(r#""repeat":true"#), "{answer}");
}

#[test]
fn the_sdk_moves_at_once_and_without_counting_an_attempt() {
    let mut node = Setup::shards(1).start();
    run(async {
        // Any attempt that counts would be followed by a rest of minutes.
        let patient = BackoffPolicy {
            first_ms: 600_000,
            max_ms: 600_000,
            attempts: 0,
            suspended_ms: 600_000,
        };
        let ada = node.client_with(node.token("ada")).backoff(patient);
        let ada = ada.connect().await.expect("the node takes the client");
        let mut chat = ada.subscribe("chat.ada~bob").await.expect("it is open");
        for number in 0..3 {
            let text = number.to_string();
            say_in_chat(&ada, "chat.ada~bob", &text).await.unwrap();
            assert_eq!(text_of_next(&mut chat).await, text);
            node.start_successor();
            until(|| node.successor_is_ready()).await;
            until(|| node.predecessor_status().is_some()).await;
        }
        say_in_chat(&ada, "chat.ada~bob", "3").await.unwrap();
        assert_eq!(text_of_next(&mut chat).await, "3");
    });
}

/// Looks until the condition holds, while the clients of the test run on.
async fn until(mut condition: impl FnMut() -> bool) {
    let looks = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, looks).await;
    waited.expect("the condition holds in time");
}

/// The text of the next event; that the subscription was continued whole is no event.
async fn text_of_next(chat: &mut Subscription) -> String {
    loop {
        match next(chat).await {
            Delivery::Event(event) => return text_of(&event.payload),
            Delivery::Recovered(recovery) => assert!(recovery.recovered, "{recovery:?}"),
            other => panic!("an event was expected: {other:?}"),
        }
    }
}

#[test]
fn a_take_over_without_a_node_is_an_ordinary_start() {
    let mut node = Setup::shards(1).start();
    node.kill();
    node.start_successor();
    node.wait_for_successor();
    run(async {
        let ada = node.client("ada").await;
        say_in_chat(&ada, "chat.ada~bob", "hello").await.unwrap();
    });
}

#[test]
fn a_take_over_to_another_address_is_refused_and_the_node_serves_on() {
    let node = Setup::shards(1).start();
    let output = node
        .command("run")
        .args(["--take-over", "--listen", "127.0.0.1:7799"])
        .output()
        .expect("the binary starts");
    assert_eq!(output.status.code(), Some(5));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&node.clients().to_string()), "{said}");
    assert!(said.contains("listen.client_address"), "{said}");
    assert_eq!(http_get(node.control(), "/readyz").expect("answers").0, 200);
    run(async {
        let ada = node.client("ada").await;
        say_in_chat(&ada, "chat.ada~bob", "hello").await.unwrap();
    });
}

#[test]
fn a_hand_over_can_be_asked_for_again_after_one_that_failed() {
    let mut node = Setup::shards(1).start();
    node.start_successor();
    node.kill_successor();
    wait_for("another hand-over", || {
        take_over(&mut node);
        Some(())
    });
}
