//! Welcome, requests with an answer of their own, and frames out of place.

use interlink_protocol::frame::{FrameEncoder, ServerFrame};
use interlink_protocol::{limits, CloseCode, ErrorCode};

use super::on_one_and_two_shards;
use super::support::chat::{say, text_of};
use super::support::raw::{decode, Incoming, Raw};
use super::support::{run, Setup};

on_one_and_two_shards!(
    the_welcome_tells_user_node_limits_and_times,
    history_is_read_page_by_page,
    pages_of_large_events_are_cut_to_the_frame,
    refused_tokens_name_their_cause,
    a_second_hello_ends_the_connection,
    an_idle_client_is_asked_and_closed_without_an_answer,
    a_closing_client_is_answered,
);

fn the_welcome_tells_user_node_limits_and_times(shards: u16) {
    let lines = "[node]\nname = \"n1\"\nregion = \"eu\"\n[limits]\nresume_window = \"90s\"";
    let node = Setup::shards(shards).config(lines).start();
    let mut raw = Raw::upgraded(node.clients());
    raw.hello(&node.token("ada"), 5, None);
    let frame = raw.next_frame();
    let ServerFrame::Welcome(welcome) = decode(&frame) else {
        panic!("a Welcome was expected");
    };
    assert_eq!(welcome.user(), "ada");
    assert_eq!(welcome.node(), Some("n1"));
    assert_eq!(welcome.region(), Some("eu"));
    assert_eq!(welcome.session_epoch(), 1);
    assert!(!welcome.resumed());
    assert_eq!(welcome.highest_accepted(), 0);
    assert_eq!(welcome.heartbeat_ms(), limits::HEARTBEAT_MS);
    assert_eq!(welcome.heartbeat_timeout_ms(), limits::HEARTBEAT_TIMEOUT_MS);
    assert_eq!(welcome.resume_window_ms(), 90_000);
    let now_us = interlink_edge::server::unix_seconds() * 1_000_000;
    assert!(welcome.server_time_us().abs_diff(now_us) < 5_000_000);
    let bounds = welcome.limits().expect("a Welcome tells the limits");
    assert_eq!(bounds.frame_bytes() as usize, limits::FRAME_BYTES);
    assert_eq!(
        bounds.subscriptions() as usize,
        limits::SUBSCRIPTIONS_PER_SESSION
    );
    assert_eq!(bounds.publish_credit(), u32::from(limits::PUBLISH_CREDIT));
    assert_eq!(
        bounds.publish_credit_critical(),
        u32::from(limits::PUBLISH_CREDIT_CRITICAL)
    );
}

/// Code and request of the next frame, which has to be an `Error`.
fn error_of(raw: &mut Raw) -> (u16, u32) {
    let frame = raw.next_frame();
    let ServerFrame::Error(error) = decode(&frame) else {
        panic!("an Error was expected: {:?}", decode(&frame).kind());
    };
    (error.code(), error.request_id())
}

fn history_is_read_page_by_page(shards: u16) {
    const EVENTS: usize = 250;
    let node = Setup::shards(shards).start();
    run(async {
        let ada = node.client("ada").await;
        for number in 0..EVENTS {
            say(&ada, "chat.ada~bob", &number.to_string())
                .await
                .unwrap();
        }
        let bob = node.client("bob").await;
        let mut texts = Vec::new();
        let mut after = None;
        loop {
            let mut wish = bob.history("chat.ada~bob").limit(60);
            if let Some(after) = after {
                wish = wish.after(after);
            }
            let page = wish.await.unwrap();
            assert!(page.recovered, "{:?}", page.reason);
            assert!(page.events.len() <= 60);
            texts.extend(page.events.iter().map(|event| text_of(&event.payload)));
            after = page.events.last().map(|event| event.position);
            if !page.more {
                break;
            }
        }
        let expected: Vec<String> = (0..EVENTS).map(|number| number.to_string()).collect();
        assert_eq!(texts, expected);
        let end = bob
            .history("chat.ada~bob")
            .after(after.unwrap())
            .await
            .unwrap();
        assert!(
            end.events.is_empty() && !end.more && end.recovered,
            "{end:?}"
        );
        let refused = bob.history("user.ada").await.unwrap_err();
        assert_eq!(
            refused.code().map(|code| code.0),
            Some(ErrorCode::NotPermitted.number())
        );
    });
}

/// Events that do not fit one frame together are told in several pages.
fn pages_of_large_events_are_cut_to_the_frame(shards: u16) {
    const EVENTS: u8 = 20;
    let node = Setup::shards(shards).start();
    run(async {
        let ada = node.client("ada").await;
        let token = node.subscription_token("ada", "collab.paper");
        let _paper = ada.subscribe("collab.paper").token(token).await.unwrap();
        for number in 0..EVENTS {
            ada.publish("collab.paper", vec![number; 30_000])
                .await
                .unwrap();
        }
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let mut wish = ada.history("collab.paper");
            if let Some(after) = after {
                wish = wish.after(after);
            }
            let page = wish.await.unwrap();
            assert!(
                page.recovered && !page.events.is_empty(),
                "{:?}",
                page.reason
            );
            found.extend(page.events.iter().map(|event| event.payload[0]));
            after = page.events.last().map(|event| event.position);
            if !page.more {
                break;
            }
        }
        assert_eq!(found, (0..EVENTS).collect::<Vec<_>>());
    });
}

fn refused_tokens_name_their_cause(shards: u16) {
    let node = Setup::shards(shards).start();
    let now_s = interlink_edge::server::unix_seconds();
    let expired = node.token_of("ada", |grant| grant.expires_at_s = now_s - 3_600);
    let elsewhere = node.token_of("ada", |grant| grant.audience = "another".into());
    let early = node.token_of("ada", |grant| grant.not_before_s = now_s + 3_600);
    let cases = [
        (
            "garbage".to_owned(),
            ErrorCode::TokenInvalid,
            CloseCode::TokenInvalid,
        ),
        (expired, ErrorCode::TokenExpired, CloseCode::TokenExpired),
        (
            elsewhere,
            ErrorCode::TokenWrongAudience,
            CloseCode::TokenInvalid,
        ),
        (early, ErrorCode::TokenNotYetValid, CloseCode::TokenInvalid),
    ];
    for (token, code, close) in cases {
        let mut raw = Raw::upgraded(node.clients());
        raw.hello(&token, 1, None);
        assert_eq!(error_of(&mut raw), (code.number(), 0), "{}", code.name());
        assert_eq!(raw.close_code(), close.number(), "{}", code.name());
    }
}

fn a_second_hello_ends_the_connection(shards: u16) {
    let node = Setup::shards(shards).start();
    let token = node.token("ada");
    let mut raw = Raw::welcomed(node.clients(), &token, 1);
    raw.hello(&token, 1, None);
    assert_eq!(error_of(&mut raw), (ErrorCode::UnexpectedFrame.number(), 0));
    assert_eq!(raw.close_code(), CloseCode::UnexpectedFrame.number());
}

fn an_idle_client_is_asked_and_closed_without_an_answer(shards: u16) {
    let lines = "[heartbeat]\ninterval = \"1s\"\ntimeout = \"200ms\"";
    let node = Setup::shards(shards).config(lines).start();
    let mut raw = Raw::welcomed(node.clients(), &node.token("ada"), 1);
    let mut encoder = FrameEncoder::new();
    for _ in 0..2 {
        let Incoming::Frame(frame) = raw.next() else {
            panic!("a heartbeat was expected");
        };
        let ServerFrame::Heartbeat(heartbeat) = decode(&frame) else {
            panic!("a heartbeat was expected");
        };
        raw.send_frame(encoder.pong(heartbeat.server_time_us(), &[]));
    }
    assert!(
        matches!(raw.next(), Incoming::Frame(_)),
        "a third heartbeat comes"
    );
    assert_eq!(
        raw.next(),
        Incoming::Close(CloseCode::HeartbeatTimeout.number())
    );
}

fn a_closing_client_is_answered(shards: u16) {
    use interlink_protocol::websocket::{ControlKind, Opcode};
    let node = Setup::shards(shards).start();
    let mut raw = Raw::welcomed(node.clients(), &node.token("ada"), 1);
    let ping = Opcode::Control(ControlKind::Ping);
    raw.send(&super::support::raw::data_frame(ping, true, b"there?"));
    assert_eq!(raw.next(), Incoming::Pong(b"there?".to_vec()));
    let close = Opcode::Control(ControlKind::Close);
    raw.send(&super::support::raw::data_frame(
        close,
        true,
        &1000u16.to_be_bytes(),
    ));
    assert_eq!(raw.next(), Incoming::Close(1000));
    assert_eq!(raw.next(), Incoming::Ended);
}
