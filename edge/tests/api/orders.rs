//! What services do to users: disconnect, subscribe, unsubscribe.

use interlink_client::Delivery;
use interlink_protocol::frame::{PublishFields, ServerFrame, SubscribeFields};
use interlink_protocol::{CloseCode, ErrorCode};
use interlink_wire as wire;

use super::support::chat::{chat_message, next, next_text, say, text_of, CHAT_MESSAGE};
use super::support::raw::{decode, Raw};
use super::support::{placed_name, run};
use super::*;

/// State and code of the one channel of a `Subscribed`, with its request.
fn subscribed(raw: &mut Raw) -> (u32, wire::SubscriptionState, u16, String) {
    let frame = raw.next_frame();
    let ServerFrame::Subscribed(answer) = decode(&frame) else {
        panic!("a Subscribed was expected: {:?}", decode(&frame).kind());
    };
    let channels = answer.channels();
    assert_eq!(channels.len(), 1);
    let entry = channels.get(0);
    let channel = entry.channel().to_owned();
    (answer.request_id(), entry.state(), entry.code(), channel)
}

/// Shows that the connection serves requests.
fn assert_open(raw: &mut Raw) {
    raw.send_encoded(|encoder| encoder.unsubscribe(9, &["chat.nobody"]));
    let refused = ErrorCode::NotSubscribed.number();
    let expected = (9, wire::SubscriptionState::Refused, refused, "chat.nobody");
    let (request, state, code, channel) = subscribed(raw);
    assert_eq!((request, state, code, channel.as_str()), expected);
}

fn ask(node: &Node, act: &str, user: &str, channel: &str) -> (u16, Value) {
    let body = json!({"user": user, "channel": channel});
    post(node, &format!("/v1/{act}"), &service(node), &body)
}

#[test]
fn a_disconnect_ends_every_connection_of_the_user_for_good() {
    for shards in [1, 2] {
        let node = start(shards);
        let token = service(&node);
        let ada = node.token("ada");
        let (mut first, session, _) = Raw::resumed(node.clients(), &ada, 1, None);
        let mut second = Raw::welcomed(node.clients(), &ada, 2);
        let mut other = Raw::welcomed(node.clients(), &node.token("bob"), 3);
        let body = json!({"user": "ada", "reason": "the account was closed"});
        let (status, answer) = post(&node, "/v1/disconnect", &token, &body);
        assert_eq!(
            (status, &answer["connections"]),
            (200, &json!(2)),
            "{answer}"
        );
        for raw in [&mut first, &mut second] {
            assert_eq!(raw.close_code(), CloseCode::Disconnected.number());
            assert_eq!(raw.close_reason(), "the account was closed");
        }
        assert_open(&mut other);
        let (_, _, resumed) = Raw::resumed(node.clients(), &ada, 1, Some(session));
        assert!(!resumed, "nothing was kept of the session");
        let (status, answer) = post(&node, "/v1/disconnect", &token, &json!({"user": "eve"}));
        assert_eq!((status, &answer["connections"]), (200, &json!(0)));
    }
}

#[test]
fn a_disconnect_with_a_code_of_the_application_leaves_the_sessions() {
    let node = start(2);
    let ada = node.token("ada");
    let (mut raw, session, _) = Raw::resumed(node.clients(), &ada, 1, None);
    let body = json!({"user": "ada", "code": 4_321});
    let (status, answer) = post(&node, "/v1/disconnect", &service(&node), &body);
    assert_eq!((status, &answer["connections"]), (200, &json!(1)));
    assert_eq!(raw.close_code(), 4_321);
    assert_eq!(raw.close_reason(), "disconnected");
    let (_, same, resumed) = Raw::resumed(node.clients(), &ada, 1, Some(session));
    assert!(resumed && same == session);
}

#[test]
fn an_order_reaches_more_sessions_than_one_turn_takes() {
    const SESSIONS: u32 = 300;
    let node = start(2);
    let ada = node.token("ada");
    let mut all: Vec<Raw> = (1..=SESSIONS)
        .map(|instance| Raw::welcomed(node.clients(), &ada, instance.into()))
        .collect();
    let (status, answer) = ask(&node, "subscribe", "ada", "chat.team");
    assert_eq!((status, &answer["sessions"]), (200, &json!(SESSIONS)));
    let (status, answer) = ask(&node, "unsubscribe", "ada", "chat.team");
    assert_eq!((status, &answer["sessions"]), (200, &json!(SESSIONS)));
    let body = json!({"user": "ada"});
    let (status, answer) = post(&node, "/v1/disconnect", &service(&node), &body);
    assert_eq!((status, &answer["connections"]), (200, &json!(SESSIONS)));
    for raw in &mut all {
        assert_eq!(subscribed(raw).1, wire::SubscriptionState::Live);
        assert_eq!(subscribed(raw).1, wire::SubscriptionState::Ended);
        assert_eq!(raw.close_code(), CloseCode::Disconnected.number());
    }
}

#[test]
fn a_subscribed_user_gets_events_may_publish_and_keeps_it_over_a_resume() {
    for shards in [1, 2] {
        let node = start(shards);
        // A user at home on each shard: one of them is not on the channel's.
        let users: Vec<String> = (0..u64::from(shards))
            .map(|shard| placed_name("user-", shard, shards.into(), 0))
            .collect();
        let mut raws: Vec<Raw> = users
            .iter()
            .map(|user| Raw::welcomed(node.clients(), &node.token(user), 1))
            .collect();
        for (user, raw) in users.iter().zip(&mut raws) {
            let (status, answer) = ask(&node, "subscribe", user, "chat.team");
            assert_eq!(status, 200, "{answer}");
            let counts = json!({"sessions": 1, "already": 0, "refused": 0});
            assert_eq!(answer, counts);
            let live = (0, wire::SubscriptionState::Live, 0, "chat.team".to_owned());
            assert_eq!(subscribed(raw), live);
            let (_, again) = ask(&node, "subscribe", user, "chat.team");
            assert_eq!(again, json!({"sessions": 0, "already": 1, "refused": 0}));
        }
        let payload = chat_message("good morning");
        let fields = PublishFields::new(1, "chat.team", CHAT_MESSAGE, &payload);
        raws[0].send_encoded(|encoder| encoder.publish(&fields));
        for raw in &mut raws {
            loop {
                let frame = raw.next_frame();
                match decode(&frame) {
                    ServerFrame::Event(event) => {
                        assert_eq!(text_of(event.payload().bytes()), "good morning");
                        break;
                    }
                    ServerFrame::PublishAck(ack) => {
                        assert_eq!(ack.status(), wire::PublishStatus::Accepted);
                    }
                    other => panic!("neither event nor answer: {:?}", other.kind()),
                }
            }
        }
        let token = node.token("eve");
        let (raw, session, _) = Raw::resumed(node.clients(), &token, 7, None);
        assert_eq!(
            ask(&node, "subscribe", "eve", "chat.team").1["sessions"],
            json!(1)
        );
        drop(raw);
        let mut raw = Raw::upgraded(node.clients());
        let resume = interlink_protocol::frame::ResumeFields {
            session,
            positions: &[],
        };
        raw.hello(&token, 7, Some(resume));
        let frame = raw.next_frame();
        let ServerFrame::Welcome(welcome) = decode(&frame) else {
            panic!("no Welcome: {:?}", decode(&frame).kind());
        };
        let restored = welcome.restored().expect("a subscription");
        assert_eq!(restored.get(0).channel(), "chat.team");
    }
}

#[test]
fn a_client_claims_its_subscription_without_a_token_and_others_cannot() {
    for shards in [1, 2] {
        let node = start(shards);
        run(async {
            let ada = node.client("ada").await;
            let bob = node.client("bob").await;
            for user in ["ada", "bob"] {
                assert_eq!(
                    ask(&node, "subscribe", user, "chat.team").1["sessions"],
                    json!(1)
                );
            }
            let mut heard = ada.subscribe("chat.team").await.expect("claimed");
            let _own = bob.subscribe("chat.team").await.expect("claimed");
            say(&bob, "chat.team", "good morning")
                .await
                .expect("acknowledged");
            assert_eq!(next_text(&mut heard).await, "good morning");
            let eve = node.client("eve").await;
            let refused = eve
                .subscribe("chat.team")
                .await
                .expect_err("nobody gave it");
            let code = refused.code().expect("a code of the server");
            assert_eq!(code, ErrorCode::SubscriptionTokenRequired);
            // Once it is claimed, it is a subscription as any other.
            drop(heard);
            assert_eq!(
                ask(&node, "unsubscribe", "bob", "chat.team").1["sessions"],
                json!(1)
            );
            let refused = bob.subscribe("chat.team").await;
            assert!(refused.is_err(), "the service's word is taken back");
        });
    }
}

#[test]
fn a_fresh_token_takes_no_subscription_of_a_service_away() {
    let node = start(1);
    let mut raw = Raw::welcomed(node.clients(), &node.token("ada"), 1);
    for channel in ["chat.team", "collab.paper"] {
        assert_eq!(ask(&node, "subscribe", "ada", channel).0, 200);
        assert_eq!(subscribed(&mut raw).1, wire::SubscriptionState::Live);
    }
    // One of them is claimed, which changes nothing here.
    raw.send_encoded(|encoder| encoder.subscribe(1, &[SubscribeFields::new("chat.team")]));
    let claimed = (1, wire::SubscriptionState::Live, 0, "chat.team".to_owned());
    assert_eq!(subscribed(&mut raw), claimed);
    raw.send_encoded(|encoder| encoder.subscribe(2, &[SubscribeFields::new("chat.team")]));
    let again = ErrorCode::AlreadySubscribed.number();
    assert_eq!(subscribed(&mut raw).2, again);
    let fresh = node.token("ada");
    raw.send_encoded(|encoder| encoder.refresh(3, &fresh));
    let frame = raw.next_frame();
    let ServerFrame::Subscribed(answer) = decode(&frame) else {
        panic!("a Subscribed was expected: {:?}", decode(&frame).kind());
    };
    assert_eq!((answer.request_id(), answer.channels().len()), (3, 0));
    for channel in ["chat.team", "collab.paper"] {
        assert_eq!(
            ask(&node, "unsubscribe", "ada", channel).1["sessions"],
            json!(1)
        );
    }
}

#[test]
fn an_unsubscribed_client_is_told_why() {
    let node = start(2);
    let asked = |act| ask(&node, act, "watcher", "user.watcher");
    run(async {
        let client = node.client("watcher").await;
        let mut events = client.subscribe("user.watcher").await.expect("permitted");
        assert_eq!(asked("unsubscribe"), (200, json!({"sessions": 1})));
        let Delivery::Ended(error) = next(&mut events).await else {
            panic!("the subscription goes on");
        };
        let code = error.code().expect("a code of the server");
        assert_eq!(code, ErrorCode::Unsubscribed);
        assert_eq!(asked("unsubscribe"), (200, json!({"sessions": 0})));
        // It is no ban: the token still permits the channel.
        client.subscribe("user.watcher").await.expect("permitted");
    });
}

#[test]
fn a_session_that_is_away_loses_its_subscription_and_gets_none() {
    let node = start(1);
    let ada = node.token("ada");
    let (mut raw, session, _) = Raw::resumed(node.clients(), &ada, 1, None);
    raw.send_encoded(|encoder| encoder.subscribe(1, &[SubscribeFields::new("user.ada")]));
    assert_eq!(subscribed(&mut raw).1, wire::SubscriptionState::Live);
    let body = json!({"user": "ada", "code": 4_000});
    assert_eq!(post(&node, "/v1/disconnect", &service(&node), &body).0, 200);
    assert_eq!(raw.close_code(), 4_000);
    assert_eq!(
        ask(&node, "subscribe", "ada", "chat.team").1["sessions"],
        json!(0)
    );
    assert_eq!(
        ask(&node, "unsubscribe", "ada", "user.ada").1["sessions"],
        json!(1)
    );
    let (mut raw, _, resumed) = Raw::resumed(node.clients(), &ada, 1, Some(session));
    assert!(resumed);
    raw.send_encoded(|encoder| encoder.unsubscribe(5, &["user.ada"]));
    assert_eq!(subscribed(&mut raw).1, wire::SubscriptionState::Refused);
}

#[test]
fn a_service_acts_on_users_of_its_institution_only() {
    let node = start(2);
    let mut raw = Raw::welcomed(node.clients(), &member_of(&node, "ada", "north"), 1);
    let membership = json!({"user": "ada", "channel": "chat.team"});
    let south = service_of(&node, "south");
    for (path, body) in [
        ("/v1/disconnect", &json!({"user": "ada"})),
        ("/v1/subscribe", &membership),
        ("/v1/unsubscribe", &membership),
    ] {
        let answer = post(&node, path, &south, body);
        assert!(answer.1["detail"].to_string().contains("institution"));
        assert_refused(answer, (403, "not_permitted"));
        let answer = post(&node, path, &node.token("ada"), body);
        assert_refused(answer, (403, "not_permitted"));
        assert_refused(post(&node, path, "", body), (401, "token_invalid"));
    }
    assert_open(&mut raw);
    let north = service_of(&node, "north");
    let (status, answer) = post(&node, "/v1/subscribe", &north, &membership);
    assert_eq!((status, &answer["sessions"]), (200, &json!(1)));
    let (status, answer) = post(&node, "/v1/disconnect", &north, &json!({"user": "ada"}));
    assert_eq!((status, &answer["connections"]), (200, &json!(1)));
}

#[test]
fn orders_that_cannot_be_taken_are_answered_with_code_and_cure() {
    let setup = Setup::shards(2).config("[limits]\nsubscriptions_per_session = 1");
    let node = setup.start();
    let token = service(&node);
    let _raw = Raw::welcomed(node.clients(), &node.token("ada"), 1);
    let user = |channel: &str| json!({"user": "ada", "channel": channel});
    assert_eq!(ask(&node, "subscribe", "ada", "chat.first").0, 200);
    let reason = "r".repeat(124);
    let name = "n".repeat(65);
    for (path, body, expected) in [
        ("subscribe", user("nowhere"), (400, "channel_invalid")),
        ("subscribe", user("nothing.x"), (400, "namespace_unknown")),
        ("subscribe", user("sys.security"), (403, "not_permitted")),
        ("subscribe", user("inst.north"), (403, "not_permitted")),
        (
            "subscribe",
            user("chat.second"),
            (400, "too_many_subscriptions"),
        ),
        (
            "subscribe",
            json!({"user": "ada"}),
            (400, "invalid_request"),
        ),
        ("unsubscribe", user("nowhere"), (400, "channel_invalid")),
        (
            "unsubscribe",
            json!({"user": "a b", "channel": "chat.x"}),
            (400, "invalid_request"),
        ),
        ("disconnect", json!({"user": ""}), (400, "invalid_request")),
        (
            "disconnect",
            json!({"user": name}),
            (400, "invalid_request"),
        ),
        (
            "disconnect",
            json!({"user": "ada", "code": 1_000}),
            (400, "invalid_request"),
        ),
        (
            "disconnect",
            json!({"user": "ada", "reason": reason}),
            (400, "invalid_request"),
        ),
        (
            "disconnect",
            json!({"users": ["ada"]}),
            (400, "invalid_request"),
        ),
    ] {
        let answer = post(&node, &format!("/v1/{path}"), &token, &body);
        assert_refused(answer, expected);
    }
}

#[test]
fn the_log_names_who_did_what_to_whom() {
    let node = start(1);
    let _raw = Raw::welcomed(node.clients(), &node.token("ada"), 1);
    assert_eq!(ask(&node, "subscribe", "ada", "chat.team").0, 200);
    assert_eq!(ask(&node, "subscribe", "ada", "sys.security").0, 403);
    let body = json!({"user": "ada"});
    assert_eq!(post(&node, "/v1/disconnect", &service(&node), &body).0, 200);
    let log = node.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("audit:")).collect();
    let said = [
        ["operation=\"subscribe\"", "channel=\"chat.team\"", "done=1"],
        [
            "operation=\"subscribe\"",
            "channel=\"sys.security\"",
            "refused=\"not_permitted\"",
        ],
        ["operation=\"disconnect\"", "close_code=3507", "done=1"],
    ];
    assert_eq!(lines.len(), said.len(), "{log}");
    for (line, words) in lines.iter().zip(said) {
        for word in ["service=\"reports\"", "user=\"ada\""].iter().chain(&words) {
            assert!(line.contains(word), "{word} in {line}");
        }
    }
}

#[test]
fn what_the_api_does_is_counted() {
    let node = start(1);
    let token = service(&node);
    let event = json!({"channel": REPORT, "json": 1, "idempotency_key": "k"});
    let unknown = json!({"channel": "nothing.here", "json": 1});
    assert_eq!(post(&node, "/v1/publish", &token, &event).0, 200);
    let batch = json!({"publishes": [event, unknown]});
    assert_eq!(post(&node, "/v1/batch", &token, &batch).0, 200);
    assert_eq!(post(&node, "/v1/publish", &token, &unknown).0, 400);
    assert_eq!(post(&node, "/v1/nothing", &token, &event).0, 404);
    let (_, text) = super::support::http_get(node.control(), "/metrics").expect("answered");
    for line in [
        "interlink_edge_api_requests_total{operation=\"publish\",status=\"200\"} 1",
        "interlink_edge_api_requests_total{operation=\"publish\",status=\"400\"} 1",
        "interlink_edge_api_requests_total{operation=\"publishBatch\",status=\"200\"} 1",
        "interlink_edge_api_requests_total{operation=\"other\",status=\"404\"} 1",
        "interlink_edge_api_latency_seconds_count{operation=\"publish\"} 2",
        "interlink_edge_api_events_accepted_total 1",
        "interlink_edge_api_events_repeated_total 1",
        "interlink_edge_api_refusals_total{code=\"namespace_unknown\"} 2",
        "interlink_edge_api_refusals_total{code=\"not_supported\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}");
    }
}
