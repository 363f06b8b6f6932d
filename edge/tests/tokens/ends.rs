//! How tokens of open connections end, and how they are replaced.

use interlink_edge::auth::{mint_subscription, Key, SubscriptionGrant};
use interlink_edge::data_dir::development_key_of;
use interlink_protocol::frame::SubscribeFields;
use interlink_wire::SubscriptionState;

use super::support::raw::Incoming;
use super::support::Setup;
use super::*;

/// Heartbeats tell the time while a test waits.
const FAST_HEARTBEAT: &str = "[heartbeat]\ninterval = \"1s\"\ntimeout = \"500ms\"";

/// Answers heartbeats until the node's clock has passed a second, or until the connection ends,
/// whose code is returned then; no other frame may come.
fn live_until(raw: &mut Raw, second: u64) -> Option<u16> {
    loop {
        let frame = match raw.next() {
            Incoming::Frame(frame) => frame,
            Incoming::Close(code) => return Some(code),
            other => panic!("neither a frame nor a close: {other:?}"),
        };
        let ServerFrame::Heartbeat(heartbeat) = decode(&frame) else {
            panic!("a heartbeat was expected: {:?}", decode(&frame).kind());
        };
        let time_us = heartbeat.server_time_us();
        raw.send_encoded(|encoder| encoder.pong(time_us, &[]));
        if time_us > second * 1_000_000 {
            return None;
        }
    }
}

#[test]
fn a_connection_ends_within_a_second_of_its_token() {
    let node = Setup::shards(2).start();
    let end_s = unix_seconds() + 2;
    let clients: Vec<Raw> = (0..20)
        .map(|number| {
            let user = format!("user-{number}");
            let token = node.token_of(&user, |grant| grant.expires_at_s = end_s);
            Raw::welcomed(node.clients(), &token, 1)
        })
        .collect();
    for mut raw in clients {
        assert_eq!(raw.close_code(), CloseCode::TokenExpired.number());
        let at = wall_clock();
        let end = Duration::from_secs(end_s);
        assert!(at >= end && at < end + PROMISE, "{at:?} for {end:?}");
    }
}

#[test]
fn a_session_is_resumed_with_a_fresh_token_after_its_end() {
    let node = Setup::shards(2).start();
    let token = node.token_of("ada", |grant| grant.expires_at_s = unix_seconds() + 1);
    let (mut raw, session, _) = Raw::resumed(node.clients(), &token, 1, None);
    assert_eq!(raw.close_code(), CloseCode::TokenExpired.number());
    let fresh = node.token("ada");
    let (_, same, resumed) = Raw::resumed(node.clients(), &fresh, 1, Some(session));
    assert!(resumed && same == session);
}

#[test]
fn a_refresh_moves_the_end_of_a_connection() {
    let node = Setup::shards(2).config(FAST_HEARTBEAT).start();
    let end_s = unix_seconds() + 2;
    let first = node.token_of("ada", |grant| grant.expires_at_s = end_s);
    let mut raw = Raw::welcomed(node.clients(), &first, 1);
    let later_s = end_s + 3;
    let second = node.token_of("ada", |grant| grant.expires_at_s = later_s);
    raw.send_encoded(|encoder| encoder.refresh(9, &second));
    let frame = raw.next_frame();
    let ServerFrame::Subscribed(answer) = decode(&frame) else {
        panic!("a Subscribed was expected: {:?}", decode(&frame).kind());
    };
    assert_eq!((answer.request_id(), answer.channels().len()), (9, 0));
    assert_eq!(live_until(&mut raw, end_s), None);
    assert_open(&mut raw);
    let code = live_until(&mut raw, u64::MAX / 1_000_000);
    assert_eq!(code, Some(CloseCode::TokenExpired.number()));
    let at = wall_clock();
    let end = Duration::from_secs(later_s);
    assert!(at >= end && at < end + PROMISE, "{at:?} for {end:?}");
    assert_eq!(
        node.metric("interlink_edge_tokens_refreshed_total"),
        Some(1.0)
    );
}

#[test]
fn a_refresh_can_shorten_a_connection() {
    let node = Setup::shards(2).start();
    let mut raw = Raw::welcomed(node.clients(), &node.token("ada"), 1);
    let end_s = unix_seconds() + 1;
    let short = node.token_of("ada", |grant| grant.expires_at_s = end_s);
    raw.send_encoded(|encoder| encoder.refresh(1, &short));
    assert_eq!(raw.close_code(), CloseCode::TokenExpired.number());
    assert!(wall_clock() < Duration::from_secs(end_s) + PROMISE);
}

#[test]
fn a_wrong_refresh_is_refused_and_changes_nothing() {
    let node = Setup::shards(2).start();
    let mut raw = Raw::welcomed(node.clients(), &node.token("ada"), 1);
    let now_s = unix_seconds();
    let cases = [
        (node.token("eve"), ErrorCode::UserChanged),
        (
            node.token_of("ada", |grant| grant.institution = Some("south".into())),
            ErrorCode::UserChanged,
        ),
        (
            node.token_of("ada", |grant| grant.expires_at_s = now_s - 1),
            ErrorCode::TokenExpired,
        ),
        (
            node.token_of("ada", |grant| grant.audience = "another".into()),
            ErrorCode::TokenWrongAudience,
        ),
        ("garbage".to_owned(), ErrorCode::TokenInvalid),
        ("x".repeat(9_000), ErrorCode::TokenInvalid),
        (String::new(), ErrorCode::TokenInvalid),
    ];
    for (request, (token, code)) in (1..).zip(cases) {
        raw.send_encoded(|encoder| encoder.refresh(request, &token));
        assert_eq!(
            error_of(&mut raw),
            (code.number(), request),
            "{}",
            code.name()
        );
    }
    assert_open(&mut raw);
}

/// Channel, state and code of each entry of the next frame, and its request.
fn subscribed(raw: &mut Raw) -> (u32, Vec<(String, SubscriptionState, u16)>) {
    let frame = raw.next_frame();
    let ServerFrame::Subscribed(answer) = decode(&frame) else {
        panic!("a Subscribed was expected: {:?}", decode(&frame).kind());
    };
    let entries = answer.channels().iter();
    let entries = entries.map(|entry| (entry.channel().to_owned(), entry.state(), entry.code()));
    (answer.request_id(), entries.collect())
}

#[test]
fn a_refresh_ends_what_the_new_claims_do_not_permit() {
    let node = Setup::shards(2).start();
    let of_classes = |classes: &[&str]| {
        let classes = classes.iter().map(|class| (*class).to_owned()).collect();
        node.token_of("ada", |grant| grant.classes = classes)
    };
    let mut raw = Raw::welcomed(node.clients(), &of_classes(&["m1", "m2"]), 1);
    let channels = ["class.m1", "class.m2", "user.ada"].map(SubscribeFields::new);
    raw.send_encoded(|encoder| encoder.subscribe(1, &channels));
    let (_, entries) = subscribed(&mut raw);
    assert!(entries
        .iter()
        .all(|entry| entry.1 == SubscriptionState::Live));
    raw.send_encoded(|encoder| encoder.refresh(2, &of_classes(&["m2", "m3"])));
    let code = ErrorCode::NotPermitted.number();
    let ended = ("class.m1".to_owned(), SubscriptionState::Ended, code);
    assert_eq!(subscribed(&mut raw), (2, vec![ended]));
    let channels = ["class.m1", "class.m3"].map(SubscribeFields::new);
    raw.send_encoded(|encoder| encoder.subscribe(3, &channels));
    let states: Vec<SubscriptionState> = subscribed(&mut raw).1.iter().map(|e| e.1).collect();
    assert_eq!(
        states,
        [SubscriptionState::Refused, SubscriptionState::Live]
    );
}

#[test]
fn a_subscription_ends_with_its_token_and_the_connection_goes_on() {
    let node = Setup::shards(2).start();
    let key = Key::read(&development_key_of(&node.data())).expect("a key");
    let end_s = unix_seconds() + 2;
    let mut raw = Raw::welcomed(node.clients(), &node.token("ada"), 1);
    for channel in ["collab.short", "user.ada"] {
        let grant = SubscriptionGrant {
            user: "ada".to_owned(),
            channel: channel.to_owned(),
            expires_at_s: end_s,
        };
        let token = mint_subscription(&key, &grant).expect("signed");
        let fields = SubscribeFields {
            token: Some(&token),
            ..SubscribeFields::new(channel)
        };
        raw.send_encoded(|encoder| encoder.subscribe(1, &[fields]));
        assert_eq!(subscribed(&mut raw).1[0].1, SubscriptionState::Live);
    }
    // The inbox is permitted without a token, so only the document ends.
    let code = ErrorCode::SubscriptionTokenInvalid.number();
    let ended = ("collab.short".to_owned(), SubscriptionState::Ended, code);
    assert_eq!(subscribed(&mut raw), (0, vec![ended]));
    assert!(wall_clock() < Duration::from_secs(end_s) + PROMISE);
    assert_open(&mut raw);
    assert_eq!(node.metric("interlink_edge_grants_ended_total"), Some(1.0));
    assert_eq!(node.metric("interlink_edge_subscriptions"), Some(1.0));
}
