//! The server API over real sockets: publishes of back ends reach clients, in order and once.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use interlink_client::{Client, Delivery, Subscription};
use serde_json::{json, Value};

use support::certificates::TestCertificates;
use support::{run, Node, Setup, PATIENCE};

/// A channel of class P1, of which a slow reader misses nothing.
const INBOX: &str = "user.watcher";
/// A channel that takes opaque payloads without being configured for them.
const REPORT: &str = "report.north.day";

fn start(shards: u16) -> Node {
    let setup = Setup::shards(shards);
    setup
        .config("[namespaces.user]\nopaque_allowed = true")
        .start()
}

fn service(node: &Node) -> String {
    node.token_of("reports", |grant| grant.roles.push("service".into()))
}

/// One request on a connection of its own: status, head and JSON body.
fn exchange(stream: &mut (impl Read + Write), head: &str, body: &[u8]) -> (u16, String, Value) {
    write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n", body.len()).expect("sent");
    stream.write_all(body).expect("sent");
    let mut answer = Vec::new();
    // A server that ends TLS without a word has answered all the same.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let body = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
    (status.expect("a status"), head.to_owned(), body)
}

fn head(node: &Node, path: &str, token: &str) -> String {
    let host = node.api();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         Authorization: Bearer {token}"
    )
}

fn connect(node: &Node) -> TcpStream {
    let stream = TcpStream::connect(node.api()).expect("the API listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream
}

fn post(node: &Node, path: &str, token: &str, body: &Value) -> (u16, Value) {
    let head = head(node, path, token);
    let (status, _, answer) = exchange(&mut connect(node), &head, body.to_string().as_bytes());
    (status, answer)
}

async fn reader(node: &Node) -> (Client, Subscription) {
    let client = node.client("watcher").await;
    let subscription = client.subscribe(INBOX).await.expect("permitted");
    (client, subscription)
}

async fn next_json(subscription: &mut Subscription) -> Value {
    loop {
        match support::chat::next(subscription).await {
            Delivery::Event(event) => {
                assert_eq!(&*event.publisher, "service:reports");
                return serde_json::from_slice(&event.payload).expect("JSON was published");
            }
            Delivery::Recovered(_) => {}
            other => panic!("an event was expected: {other:?}"),
        }
    }
}

#[test]
fn single_events_batches_and_broadcasts_arrive_in_order_and_once() {
    for shards in [1, 2] {
        let node = start(shards);
        let token = service(&node);
        run(async {
            let (_client, mut events) = reader(&node).await;
            let event = |number: u32| {
                let key = number.to_string();
                json!({"channel": INBOX, "json": number, "idempotency_key": key})
            };
            let (status, first) = post(&node, "/v1/publish", &token, &event(0));
            assert_eq!((status, &first["level"]), (200, &json!("local")), "{first}");
            let (status, again) = post(&node, "/v1/publish", &token, &event(0));
            assert_eq!((status, &again["repeat"]), (200, &json!(true)), "{again}");
            assert_eq!(first["record"], again["record"]);
            let batch = json!({"publishes": (0..300).map(event).collect::<Vec<_>>()});
            let (status, answer) = post(&node, "/v1/batch", &token, &batch);
            let outcomes = answer["outcomes"].as_array().expect("a list");
            assert_eq!((status, outcomes.len()), (200, 300));
            for (place, outcome) in outcomes.iter().enumerate() {
                assert_eq!(
                    outcome["accepted"]["repeat"],
                    json!(place == 0),
                    "{outcome}"
                );
            }
            let broadcast = json!({
                "channels": [INBOX, "user.ada", "nothing.here"],
                "event": {"channel": "", "json": 300, "idempotency_key": "all"},
            });
            let (status, answer) = post(&node, "/v1/broadcast", &token, &broadcast);
            assert_eq!(status, 200);
            assert_eq!(answer["outcomes"][1]["accepted"]["repeat"], json!(false));
            assert_eq!(
                answer["outcomes"][2]["error"]["code"],
                json!("namespace_unknown")
            );
            for number in 0..=300 {
                assert_eq!(next_json(&mut events).await, json!(number));
            }
        });
    }
}

#[test]
fn only_services_are_served() {
    let node = start(1);
    let event = json!({"channel": REPORT, "json": 1});
    for (token, status, code) in [
        (node.token("ada"), 403, "not_permitted"),
        ("nonsense".to_owned(), 401, "token_invalid"),
        (String::new(), 401, "token_invalid"),
    ] {
        let (found, answer) = post(&node, "/v1/publish", &token, &event);
        assert_eq!((found, &answer["code"]), (status, &json!(code)), "{answer}");
        for field in ["message", "cure", "temporary", "retry_after_ms", "number"] {
            assert!(!answer[field].is_null(), "{field} is missing: {answer}");
        }
    }
}

#[test]
fn requests_that_cannot_be_taken_are_answered_with_code_and_cure() {
    let node = start(1);
    let token = service(&node);
    let old = json!({"channel": REPORT, "json": 1, "age_ms": 600_000});
    let many = vec![json!({"channel": REPORT, "json": 1}); 1_001];
    for (path, body, status, code) in [
        (
            "/v1/publish",
            json!({"channel": REPORT}),
            400,
            "invalid_request",
        ),
        (
            "/v1/publish",
            json!({"chanel": REPORT}),
            400,
            "invalid_request",
        ),
        ("/v1/publish", json!([1]), 400, "invalid_request"),
        (
            "/v1/publish",
            json!({"channel": REPORT, "payload": "?"}),
            400,
            "invalid_request",
        ),
        (
            "/v1/publish",
            json!({"channel": "x", "json": 1}),
            400,
            "channel_invalid",
        ),
        (
            "/v1/publish",
            json!({"channel": "sys.status", "json": 1}),
            403,
            "not_permitted",
        ),
        ("/v1/publish", old, 409, "outcome_unknown"),
        (
            "/v1/batch",
            json!({"publishes": many}),
            413,
            "too_many_items",
        ),
        ("/v1/nothing", json!({}), 404, "not_supported"),
    ] {
        let (found, answer) = post(&node, path, &token, &body);
        assert_eq!(
            (found, &answer["code"]),
            (status, &json!(code)),
            "{path} {answer}"
        );
    }
}

#[test]
fn a_key_with_another_payload_and_a_body_that_is_too_large_are_refused() {
    let node = start(1);
    let token = service(&node);
    let once = |payload: u32| json!({"channel": REPORT, "json": payload, "idempotency_key": "k"});
    assert_eq!(post(&node, "/v1/publish", &token, &once(1)).0, 200);
    let (status, answer) = post(&node, "/v1/publish", &token, &once(2));
    assert_eq!(
        (status, &answer["code"]),
        (409, &json!("idempotency_conflict"))
    );
    let head = format!(
        "{}\r\nContent-Length: 99999999",
        head(&node, "/v1/batch", &token)
    );
    let mut stream = connect(&node);
    write!(stream, "{head}\r\n\r\n").expect("sent");
    let mut answer = [0; 12];
    stream
        .read_exact(&mut answer)
        .expect("answered without the body");
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[test]
fn the_api_speaks_tls_with_the_certificates_of_the_node() {
    let certificates = TestCertificates::of(&["edge.example"]);
    let node = Setup::shards(1).config(&certificates.config(1)).start();
    let token = service(&node);
    let connection = rustls::ClientConnection::new(
        certificates.client(&[&rustls::version::TLS13]),
        "edge.example".try_into().expect("a name"),
    );
    let mut stream = rustls::StreamOwned::new(connection.expect("a session"), connect(&node));
    let body = json!({"channel": REPORT, "json": 1}).to_string();
    let head = head(&node, "/v1/publish", &token);
    let (status, _, answer) = exchange(&mut stream, &head, body.as_bytes());
    assert_eq!(status, 200, "{answer}");
}

/// Runs an example with messages and returns what it printed.
fn example(node: &Node, program: &str, file: &str, token: &str, words: &[&str]) -> (bool, String) {
    let path = format!("{}/api/examples/{file}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(program)
        .arg(path)
        .arg(format!("http://{}", node.api()))
        .args(words)
        .env("INTERLINK_TOKEN", token)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; .ci/setup --tests installs it"));
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn the_examples_publish_in_order() {
    for (program, file) in [("python3", "publish.py"), ("node", "publish.mjs")] {
        let node = start(2);
        let token = service(&node);
        run(async {
            let (_client, mut events) = reader(&node).await;
            let words = [INBOX, "one", "two", "three"];
            let (ended_well, said) = example(&node, program, file, &token, &words);
            assert!(ended_well, "{said}");
            assert_eq!(
                said.lines().filter(|line| line.len() == 32).count(),
                3,
                "{said}"
            );
            for word in &words[1..] {
                assert_eq!(next_json(&mut events).await, json!(word));
            }
            let (ended_well, said) = example(&node, program, file, &node.token("ada"), &words);
            assert!(!ended_well && said.contains("may not do this"), "{said}");
        });
    }
}
