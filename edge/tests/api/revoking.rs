//! Tokens that services revoke: at once, for good, and within their institution.

use interlink_edge::auth::UserGrant;
use interlink_edge::server::unix_seconds;
use interlink_protocol::frame::ServerFrame;
use interlink_protocol::{CloseCode, ErrorCode};

use super::support::raw::{decode, Raw};
use super::support::wait_for;
use super::*;

/// What a `Hello` with this token is answered with: a connection, or the code of the refusal.
fn hello(node: &Node, token: &str) -> Result<Raw, u16> {
    let mut raw = Raw::upgraded(node.clients());
    raw.hello(token, 1, None);
    let frame = raw.next_frame();
    match decode(&frame) {
        ServerFrame::Welcome(_) => Ok(raw),
        ServerFrame::Error(error) => Err(error.code()),
        other => panic!("neither Welcome nor Error: {:?}", other.kind()),
    }
}

fn is_revoked(node: &Node, token: &str) -> bool {
    match hello(node, token) {
        Ok(_) => false,
        Err(code) => {
            assert_eq!(code, ErrorCode::TokenRevoked.number());
            true
        }
    }
}

/// A token that was issued after everything that a test revokes.
fn later(grant: &mut UserGrant) {
    grant.issued_at_s = unix_seconds() + 10;
}

fn revoke(node: &Node, token: &str, body: &Value) -> u64 {
    let (status, answer) = post(node, "/v1/tokens/revoke", token, body);
    assert_eq!(status, 200, "{answer}");
    answer["entries"].as_u64().expect("a number")
}

#[test]
fn a_revoked_user_is_out_at_once_and_after_a_restart_and_a_take_over() {
    let mut node = start(2);
    let token = service(&node);
    let old = node.token("ada");
    let mut raws = [
        hello(&node, &old).expect("welcomed"),
        hello(&node, &old).expect("welcomed"),
    ];
    let mut other = hello(&node, &node.token("bob")).expect("welcomed");
    assert_eq!(revoke(&node, &token, &json!({"users": ["ada"]})), 1);
    for raw in &mut raws {
        assert_eq!(raw.close_code(), CloseCode::TokenRevoked.number());
    }
    assert!(is_revoked(&node, &old));
    let fresh = node.token_of("ada", later);
    assert!(!is_revoked(&node, &fresh));
    other.send_encoded(|encoder| encoder.unsubscribe(9, &["chat.nobody"]));
    assert!(matches!(
        decode(&other.next_frame()),
        ServerFrame::Subscribed(_)
    ));
    drop((raws, other));
    node.kill();
    node.start();
    assert!(is_revoked(&node, &old) && !is_revoked(&node, &fresh));
    assert_eq!(node.metric("interlink_edge_revocations"), Some(1.0));
    node.start_successor();
    node.wait_for_successor();
    assert!(node.wait_for_predecessor().success(), "{}", node.log());
    assert!(is_revoked(&node, &old) && !is_revoked(&node, &fresh));
}

#[test]
fn a_token_is_revoked_by_its_id_and_a_user_up_to_a_second() {
    let node = start(2);
    let token = service(&node);
    let named = |user: &str, id: &str, issued_at_s: u64| {
        node.token_of(user, |grant| {
            grant.id = Some(id.to_owned());
            grant.issued_at_s = issued_at_s;
        })
    };
    let now_s = unix_seconds();
    let stolen = named("ada", "t-1", now_s);
    let other = named("ada", "t-2", now_s);
    let (old, new) = (named("bob", "t-3", now_s - 60), named("bob", "t-4", now_s));
    let body = json!({
        "token_ids": ["t-1", "t-9"],
        "users": ["bob"],
        "issued_before_s": now_s - 30,
    });
    assert_eq!(revoke(&node, &token, &body), 3);
    assert_eq!(revoke(&node, &token, &body), 0, "nothing more is refused");
    assert!(is_revoked(&node, &stolen) && is_revoked(&node, &old));
    assert!(!is_revoked(&node, &other) && !is_revoked(&node, &new));
    let text = std::fs::read_to_string(node.data().join("revocations")).expect("a list");
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(node.log().contains("operation=\"revoke\""));
    // An operator takes an entry back.
    std::fs::write(node.data().join("revocations"), "").expect("written");
    wait_for("the empty list", || hello(&node, &stolen).ok());
}

#[test]
fn a_service_revokes_within_its_institution_only() {
    let node = start(2);
    let (north, south) = (service_of(&node, "north"), service_of(&node, "south"));
    let ada = member_of(&node, "ada", "north");
    let mut raw = hello(&node, &ada).expect("welcomed");
    assert_eq!(revoke(&node, &south, &json!({"users": ["ada"]})), 1);
    assert!(!is_revoked(&node, &ada));
    assert_eq!(revoke(&node, &north, &json!({"users": ["ada"]})), 1);
    assert_eq!(raw.close_code(), CloseCode::TokenRevoked.number());
    assert!(is_revoked(&node, &ada));
    // A service is a user as well.
    assert_eq!(revoke(&node, &north, &json!({"users": ["reports"]})), 1);
    let body = json!({"users": ["bob"]});
    let answer = post(&node, "/v1/tokens/revoke", &north, &body);
    assert_refused(answer, (401, "token_revoked"));
    assert_eq!(revoke(&node, &south, &body), 1);
}

#[test]
fn revocations_that_cannot_be_taken_are_answered_with_code_and_cure() {
    let node = start(1);
    let token = service(&node);
    let many: Vec<String> = (0..1_001).map(|number| format!("u-{number}")).collect();
    for (body, expected) in [
        (json!({}), (400, "invalid_request")),
        (json!({"users": []}), (400, "invalid_request")),
        (json!({"user": "ada"}), (400, "invalid_request")),
        (json!({"users": ["a b"]}), (400, "invalid_request")),
        (
            json!({"users": ["ada\nuser bob 9"]}),
            (400, "invalid_request"),
        ),
        (json!({"token_ids": ["a#b"]}), (400, "invalid_request")),
        (json!({"token_ids": [""]}), (400, "invalid_request")),
        (json!({"users": many}), (413, "too_many_items")),
    ] {
        let answer = post(&node, "/v1/tokens/revoke", &token, &body);
        assert_refused(answer, expected);
    }
    let answer = post(
        &node,
        "/v1/tokens/revoke",
        &node.token("ada"),
        &json!({"users": ["b"]}),
    );
    assert_refused(answer, (403, "not_permitted"));
    std::fs::create_dir(node.data().join("revocations")).expect("made");
    let answer = post(
        &node,
        "/v1/tokens/revoke",
        &token,
        &json!({"users": ["ada"]}),
    );
    assert_refused(answer, (503, "unavailable"));
    assert!(!is_revoked(&node, &node.token("ada")));
}
