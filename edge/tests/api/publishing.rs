//! Publishes of back ends reach clients, in order and once.

use interlink_client::{Client, Delivery, Subscription};

use super::support::run;
use super::*;

/// A channel of class P1, of which a slow reader misses nothing.
const INBOX: &str = "user.watcher";

async fn reader(node: &Node) -> (Client, Subscription) {
    let client = node.client("watcher").await;
    let subscription = client.subscribe(INBOX).await.expect("permitted");
    (client, subscription)
}

async fn next_json(subscription: &mut Subscription) -> Value {
    loop {
        match super::support::chat::next(subscription).await {
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
            json!({"channel": "user.ada", "event_type": 7, "json": {"title": "x"}}),
            400,
            "invalid_request",
        ),
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
