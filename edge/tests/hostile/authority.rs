//! Attacks by who is allowed what: enumeration, wildcards, replays, long names.

use interlink_protocol::frame::{PublishFields, ServerFrame, SubscribeFields};
use interlink_protocol::ids::Position;
use interlink_protocol::{CloseCode, ErrorCode};
use interlink_wire as wire;

use super::siege::Siege;
use super::support::chat::{chat_message, CHAT_MESSAGE};
use super::support::raw::{binary, decode, Raw};
use super::support::Node;
use super::{error_of, pour, welcomed};

/// Subscribes to one channel; the code, 0 when it is live.
fn subscribe(raw: &mut Raw, name: &str, recover: Option<Position>) -> u16 {
    let mut fields = SubscribeFields::new(name);
    fields.recover = recover;
    raw.send_encoded(|encoder| encoder.subscribe(1, &[fields]));
    loop {
        let answer = raw.next_frame();
        match decode(&answer) {
            ServerFrame::Subscribed(subscribed) => return subscribed.channels().get(0).code(),
            // Of channels that were subscribed to before.
            ServerFrame::Event(_) | ServerFrame::Position(_) => {}
            other => panic!("Subscribed was expected: {:?}", other.kind()),
        }
    }
}

/// Publishes a chat message; status, code.
fn publish(raw: &mut Raw, id: u64, channel: &str) -> (wire::PublishStatus, u16) {
    let payload = chat_message("x");
    let fields = PublishFields::new(id, channel, CHAT_MESSAGE, &payload);
    raw.send_encoded(|encoder| encoder.publish(&fields));
    loop {
        let answer = raw.next_frame();
        if let ServerFrame::PublishAck(ack) = decode(&answer) {
            return (ack.status(), ack.code());
        }
    }
}

/// Asks for history; the code of the refusal.
fn history(raw: &mut Raw, channel: &str) -> u16 {
    raw.send_encoded(|encoder| encoder.history(9, channel, None, 1));
    let (code, request_id) = error_of(raw);
    assert_eq!(request_id, 9);
    code
}

/// Two channels that others have, one of which is in use.
fn used_and_unused(node: &Node) -> (Raw, [&'static str; 2]) {
    let mut bob = welcomed(node, "bob");
    assert_eq!(subscribe(&mut bob, "chat.bob~carol", None), 0);
    let (status, _) = publish(&mut bob, 1, "chat.bob~carol");
    assert_eq!(status, wire::PublishStatus::Accepted);
    (bob, ["chat.bob~carol", "chat.bob~dave"])
}

/// Subscribe, publish and history say the same about channels that exist and that do not.
#[test]
fn refusals_do_not_tell_whether_a_channel_exists() {
    let mut siege = Siege::lay("enumeration", super::UNHURRIED);
    let (_bob, names) = used_and_unused(&siege.node);
    let mut id = 0;
    siege.attack(|node| {
        let mut raw = welcomed(node, "mallory");
        let mut answers = |name: &str| {
            id += 1;
            (
                subscribe(&mut raw, name, None),
                history(&mut raw, name),
                publish(&mut raw, id, name),
            )
        };
        let (used, unused) = (answers(names[0]), answers(names[1]));
        assert_eq!(used, unused);
        assert!(
            used.0 != 0 && used.2 .0 == wire::PublishStatus::Refused,
            "{used:?}"
        );
        let private = answers("user.bob");
        assert_eq!(private, answers("user.nobody"));
        assert_eq!(private.0, ErrorCode::NotPermitted.number());
    });
    siege.lift();
}

#[test]
fn names_with_wildcards_are_no_patterns() {
    let mut siege = Siege::lay("wildcards", super::UNHURRIED);
    let (_bob, _) = used_and_unused(&siege.node);
    siege.attack(|node| {
        let mut raw = welcomed(node, "mallory");
        for name in [
            "*",
            "chat.*",
            "chat.>",
            "chat.bob~*",
            "chat.%",
            "chat.bob~carol/",
            "chat..",
            "",
        ] {
            assert_ne!(subscribe(&mut raw, name, None), 0, "{name}");
        }
        // A name of many separators is a name of its own, and not that of others.
        for name in [
            "chat.bob~carol~mallory",
            "chat.mallory~bob~carol",
            "user.bob.mallory",
        ] {
            let code = subscribe(&mut raw, name, None);
            let private = code == ErrorCode::NotPermitted.number()
                || code == ErrorCode::ChannelInvalid.number()
                || code == ErrorCode::SubscriptionTokenRequired.number();
            assert!(private, "{name}: {code}");
        }
    });
    siege.lift();
}

#[test]
fn overlong_channel_names_are_refused() {
    let mut siege = Siege::lay("overlong names", super::UNHURRIED);
    let long = format!("chat.mallory~{}", "x".repeat(150));
    let huge = format!("chat.mallory~{}", "x".repeat(1 << 20));
    siege.attack(|node| {
        let mut raw = welcomed(node, "mallory");
        assert_eq!(
            subscribe(&mut raw, &long, None),
            ErrorCode::ChannelInvalid.number()
        );
        let mut encoder = interlink_protocol::frame::FrameEncoder::new();
        let frame = binary(encoder.subscribe(1, &[SubscribeFields::new(&huge)]));
        pour(&mut raw, &frame);
        assert_eq!(raw.close_code(), CloseCode::MessageTooBig.number());
    });
    siege.lift();
}

/// Positions that nobody has issued: beyond the top, at the ends of the numbers.
#[test]
fn impossible_positions_are_answered_and_harm_nothing() {
    let mut siege = Siege::lay("impossible positions", super::UNHURRIED);
    let mut id = 0;
    let numbers = [
        0,
        1,
        1 << 32,
        i64::MAX as u64,
        i64::MAX as u64 + 1,
        u64::MAX,
    ];
    siege.attack(|node| {
        let mut raw = welcomed(node, "mallory");
        let mut count = 0;
        for epoch in numbers {
            for offset in numbers {
                count += 1;
                let name = format!("chat.mallory~p{count}");
                let position = Position {
                    epoch,
                    offset,
                    chain: offset,
                };
                assert_eq!(subscribe(&mut raw, &name, Some(position)), 0);
                raw.send_encoded(|encoder| encoder.ack(&[(&name, position)]));
            }
        }
        // The session goes on.
        id += 1;
        let (status, _) = publish(&mut raw, id, "chat.mallory~p1");
        assert_eq!(status, wire::PublishStatus::Accepted);
    });
    siege.lift();
}

/// A publish that somebody has recorded does nothing under another user, and for the same
/// instance of the same user it is a repeat, also on a second connection at the same time.
#[test]
fn a_replayed_publish_is_a_repeat_or_the_replayers_own() {
    let mut siege = Siege::lay("replays", "");
    let (token, channel) = (siege.node.token("ada"), "chat.ada~eve");
    let mut first = Raw::welcomed(siege.node.clients(), &token, 77);
    let mut second = Raw::welcomed(siege.node.clients(), &token, 77);
    assert_eq!(subscribe(&mut first, channel, None), 0);
    let accepted = (wire::PublishStatus::Accepted, 0);
    assert_eq!(publish(&mut second, 5, channel), accepted);
    let event = first.next_frame();
    assert!(matches!(decode(&event), ServerFrame::Event(_)));
    let (status, code) = publish(&mut first, 5, channel);
    assert_eq!((status, code), (wire::PublishStatus::Duplicate, 0));
    // Another user with the same instance and id publishes an event of its own.
    let mut eve = Raw::welcomed(siege.node.clients(), &siege.node.token("eve"), 77);
    assert_eq!(publish(&mut eve, 5, channel), accepted);
    let frame = first.next_frame();
    let ServerFrame::Event(event) = decode(&frame) else {
        panic!("an event was expected: {:?}", decode(&frame).kind());
    };
    assert_eq!(event.publisher(), "eve");
    assert_eq!(event.position().offset(), 2);
    siege.attack(|_| ());
    siege.lift();
}

/// Subscribes and ends the subscription as fast as it can.
#[test]
fn churn_of_subscriptions_is_slowed_and_leaves_nothing() {
    let mut siege = Siege::lay("subscription churn", "connection_burst = 1000");
    let mut encoder = interlink_protocol::frame::FrameEncoder::new();
    let mut flood = Vec::new();
    for number in 0..1_500 {
        let name = format!("chat.mallory~{number}");
        flood.extend(binary(encoder.subscribe(1, &[SubscribeFields::new(&name)])));
        flood.extend(binary(encoder.unsubscribe(2, &[&name])));
    }
    siege.attack(|node| {
        let mut raw = welcomed(node, "mallory");
        pour(&mut raw, &flood);
        let limited = ErrorCode::RateLimited.number();
        loop {
            let frame = raw.next_frame();
            if matches!(decode(&frame), ServerFrame::Error(error) if error.code() == limited) {
                return;
            }
        }
    });
    let channels = siege.node.metric("interlink_edge_channels_active");
    assert!(channels < Some(100.0), "{channels:?}");
    siege.lift();
}
