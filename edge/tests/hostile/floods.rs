//! Floods of valid requests: pings, subscriptions, history, sessions.

use std::collections::HashSet;

use interlink_protocol::frame::{FrameEncoder, PublishFields, ServerFrame, SubscribeFields};
use interlink_protocol::limits::{ITEMS_PER_FRAME, SUBSCRIPTIONS_PER_SESSION};
use interlink_protocol::websocket::{ControlKind, Opcode};
use interlink_protocol::{CloseCode, ErrorCode};

use super::siege::Siege;
use super::support::raw::{binary, data_frame, decode, Incoming, Raw};
use super::{pour, welcomed};

#[test]
fn floods_of_pings_are_closed_with_rate_exceeded() {
    let mut siege = Siege::lay("ping flood", "");
    let ping = data_frame(Opcode::Control(ControlKind::Ping), true, &[7; 100]);
    let flood = ping.repeat(2_000);
    siege.attack(|node| {
        let mut raw = welcomed(node, "mallory");
        pour(&mut raw, &flood);
        assert_eq!(raw.close_code(), CloseCode::RateExceeded.number());
    });
    siege.lift();
}

/// Publishes as fast as the socket takes them, without a look at the answers that tell to wait.
#[test]
fn floods_of_publishes_are_refused_and_slowed() {
    let mut siege = Siege::lay("publish flood", "connection_burst = 1000");
    let mut encoder = FrameEncoder::new();
    let mut next = 0;
    siege.attack(|node| {
        let mut raw = welcomed(node, "mallory");
        let ids = next + 1..=next + 20_000;
        next += 20_000;
        let flood = ids.map(|id| {
            let fields = PublishFields::new(id, "activity.mallory", 0, b"x");
            binary(encoder.publish(&fields))
        });
        let flood: Vec<u8> = flood.flatten().collect();
        pour(&mut raw, &flood);
        let mut refused = 0;
        while refused < 10 {
            match raw.next() {
                Incoming::Frame(frame) => {
                    if let ServerFrame::PublishAck(ack) = decode(&frame) {
                        refused += u32::from(ack.code() == ErrorCode::RateLimited.number());
                    }
                }
                // More was refused than a client may have unsettled.
                Incoming::Close(code) => {
                    assert_eq!(code, CloseCode::Overloaded.number());
                    return;
                }
                other => panic!("no answer: {other:?}"),
            }
        }
    });
    let paused = siege.node.metric("interlink_edge_reads_paused_total");
    assert!(paused > Some(0.0), "{paused:?}");
    siege.lift();
}

/// Names of the channels that an attacker may subscribe to.
fn channels(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("chat.mallory~{number}"))
        .collect()
}

/// Subscribes to `names` in one frame; the code of each channel, 0 for those that are live.
fn subscribe(raw: &mut Raw, request_id: u32, names: &[String]) -> Vec<u16> {
    let fields: Vec<_> = names
        .iter()
        .map(|name| SubscribeFields::new(name))
        .collect();
    raw.send_encoded(|encoder| encoder.subscribe(request_id, &fields));
    let answer = raw.next_frame();
    let ServerFrame::Subscribed(subscribed) = decode(&answer) else {
        panic!("Subscribed was expected: {:?}", decode(&answer).kind());
    };
    assert_eq!(subscribed.request_id(), request_id);
    subscribed
        .channels()
        .iter()
        .map(|entry| entry.code())
        .collect()
}

#[test]
fn subscriptions_beyond_the_bound_are_refused() {
    let mut siege = Siege::lay("subscription flood", super::UNHURRIED);
    let names = channels(10 * ITEMS_PER_FRAME);
    siege.attack(|node| {
        let mut raw = welcomed(node, "mallory");
        let mut held = 0;
        for (request_id, names) in (1..).zip(names.chunks(ITEMS_PER_FRAME)) {
            for code in subscribe(&mut raw, request_id, names) {
                if held < SUBSCRIPTIONS_PER_SESSION {
                    assert_eq!(code, 0);
                    held += 1;
                } else {
                    assert_eq!(code, ErrorCode::TooManySubscriptions.number());
                }
            }
        }
        assert_eq!(held, SUBSCRIPTIONS_PER_SESSION);
    });
    siege.lift();
}

#[test]
fn thousands_of_channels_in_one_frame_are_closed_with_malformed_frame() {
    let mut siege = Siege::lay("channels in one frame", "");
    let names: Vec<String> = (0..2_000).map(|number| format!("a.{number}")).collect();
    let many: Vec<_> = names
        .iter()
        .map(|name| SubscribeFields::new(name))
        .collect();
    let mut encoder = FrameEncoder::new();
    // Many, more than a frame may have but few enough for its bytes, and one too many.
    let crowds = [&many[..], &many[..500], &many[..ITEMS_PER_FRAME + 1]];
    let frames = crowds.map(|crowd| binary(encoder.subscribe(1, crowd)));
    siege.attack(|node| {
        for frame in &frames {
            let mut raw = welcomed(node, "mallory");
            pour(&mut raw, frame);
            let (answers, close) = raw.read_to_close();
            let too_big = frame.len() > interlink_protocol::limits::FRAME_BYTES;
            let expected = match too_big {
                true => CloseCode::MessageTooBig,
                false => CloseCode::MalformedFrame,
            };
            assert_eq!(close, expected.number());
            for answer in answers {
                assert!(matches!(decode(&answer), ServerFrame::Error(_)));
            }
        }
    });
    siege.lift();
}

#[test]
fn floods_of_history_requests_are_answered_and_mostly_refused() {
    const REQUESTS: u32 = 500;
    let mut siege = Siege::lay("history flood", "");
    let mut encoder = FrameEncoder::new();
    let requests = (1..=REQUESTS).map(|id| binary(encoder.history(id, "chat.mallory~x", None, 0)));
    let flood: Vec<u8> = requests.flatten().collect();
    siege.attack(|node| {
        let mut raw = welcomed(node, "mallory");
        raw.send(&flood);
        let (mut answered, mut refused) = (HashSet::new(), 0);
        while answered.len() < REQUESTS as usize {
            let frame = raw.next_frame();
            let request_id = match decode(&frame) {
                ServerFrame::HistoryPage(page) => page.request_id(),
                ServerFrame::Error(error) => {
                    assert_eq!(error.code(), ErrorCode::RateLimited.number());
                    assert!(error.retry_after_ms() > 0, "it says when to come back");
                    refused += 1;
                    error.request_id()
                }
                other => panic!("not an answer: {:?}", other.kind()),
            };
            assert!(
                answered.insert(request_id),
                "{request_id} was answered twice"
            );
        }
        assert!(refused > 0, "nothing was refused");
    });
    siege.lift();
}

/// Who comes again and again as somebody new leaves absent sessions behind; they make room.
#[test]
fn abandoned_sessions_make_room_for_new_ones() {
    let mut siege = Siege::lay("abandoned sessions", "");
    let mut sessions = 0;
    siege.attack(|node| {
        for _ in 0..100 {
            drop(welcomed(node, "mallory"));
            sessions += 1;
        }
    });
    while sessions < 2_500 {
        drop(welcomed(&siege.node, "mallory"));
        sessions += 1;
    }
    let open = siege.node.metric("interlink_edge_sessions_open");
    assert!(open.is_some_and(|open| open <= 2_000.0), "{open:?}");
    siege.lift();
}

/// Pongs that nobody asked for cost no answer, and are too many all the same.
#[test]
fn floods_of_pongs_are_closed_with_rate_exceeded() {
    let mut siege = Siege::lay("pong flood", "");
    let pong = data_frame(Opcode::Control(ControlKind::Pong), true, &[7; 100]);
    let flood = pong.repeat(2_000);
    siege.attack(|node| {
        let mut raw = welcomed(node, "mallory");
        pour(&mut raw, &flood);
        assert_eq!(raw.close_code(), CloseCode::RateExceeded.number());
    });
    siege.lift();
}

#[test]
fn floods_of_closes_are_answered_once() {
    let mut siege = Siege::lay("close flood", "");
    let close = data_frame(Opcode::Control(ControlKind::Close), true, &[3, 232]);
    let flood = close.repeat(2_000);
    siege.attack(|node| {
        let mut raw = welcomed(node, "mallory");
        pour(&mut raw, &flood);
        assert_eq!(raw.close_code(), CloseCode::Normal.number());
        assert_eq!(raw.next(), Incoming::Ended);
    });
    siege.lift();
}

/// Empty messages are cheaper to send than to look at.
#[test]
fn empty_messages_are_closed_with_malformed_frame() {
    let mut siege = Siege::lay("empty messages", "");
    let flood = binary(b"").repeat(10_000);
    siege.attack(|node| {
        let mut raw = welcomed(node, "mallory");
        pour(&mut raw, &flood);
        assert_eq!(raw.close_code(), CloseCode::MalformedFrame.number());
    });
    siege.lift();
}

#[test]
fn connections_that_come_and_go_start_no_threads() {
    let mut siege = Siege::lay("connection churn", "");
    let before = siege.node.metric("process_threads");
    siege.attack(|node| {
        let held: Vec<Raw> = (0..20).map(|_| welcomed(node, "mallory")).collect();
        let strangers: Vec<Raw> = (0..20).map(|_| Raw::connect(node.clients())).collect();
        assert_eq!(node.metric("process_threads"), before);
        drop((held, strangers));
    });
    siege.lift();
}
