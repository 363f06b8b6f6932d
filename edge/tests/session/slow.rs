//! Clients that stop reading, by class: what they get when they read again.
//!
//! A stalled client subscribes and reads nothing, so that its socket fills up; then more is
//! published than sockets and the channel's log hold. What it is sent afterwards has to account
//! for every offset, by an event or by the count of a `Position`.

use interlink_client::Publish;
use interlink_edge::auth::UserGrant;
use interlink_protocol::frame::{ServerFrame, SubscribeFields};
use interlink_protocol::ids::{placement_hash, Position};
use interlink_protocol::CloseCode;
use interlink_wire as wire;

use super::on_one_and_two_shards;
use super::support::chat::{chat_message, CHAT_MESSAGE};
use super::support::raw::{decode, Raw};
use super::support::{placed_name, run, wait_for, Node, Setup};

on_one_and_two_shards!(
    critical_and_high_events_reach_a_stalled_reader_without_a_gap,
    what_a_stalled_reader_misses_of_p2_and_p3_is_counted,
    events_without_memory_are_read_from_history_or_counted,
    a_slow_client_that_reads_again_is_told_why_it_was_closed,
);

/// Events of one channel that a log keeps.
pub const LOG_EVENTS: u64 = 256;

/// What a client was sent of a channel, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent {
    /// An event at this offset, with its conflation key.
    Event(u64, Option<String>),
    /// So many are skipped, for this reason.
    Skipped(u64, wire::PositionReason),
}

/// Everything of a channel after `after` up to offset `last`. Each offset is an event, or is
/// counted by a `Position`, once and in order.
pub fn read_through(raw: &mut Raw, channel: &str, after: u64, last: u64) -> Vec<Sent> {
    let (mut sent, mut at) = (Vec::new(), after);
    while at < last {
        let frame = raw.next_frame();
        match decode(&frame) {
            ServerFrame::Event(event) if event.channel() == channel => {
                assert_eq!(event.position().offset(), at + 1, "{sent:?}");
                at += 1;
                sent.push(Sent::Event(at, event.conflation_key().map(str::to_owned)));
            }
            ServerFrame::Position(told) if told.channel() == channel => {
                at += told.skipped();
                assert_eq!(told.position().offset(), at, "{sent:?}");
                sent.push(Sent::Skipped(told.skipped(), told.reason()));
            }
            ServerFrame::Event(_) | ServerFrame::Position(_) => {}
            other => panic!("neither event nor position: {:?}", other.kind()),
        }
    }
    assert_eq!(at, last);
    sent
}

/// Subscribes; the position at which the subscription is pinned.
pub fn subscribe(raw: &mut Raw, channel: &str, token: Option<&str>) -> Position {
    let fields = SubscribeFields {
        token,
        ..SubscribeFields::new(channel)
    };
    raw.send_encoded(|encoder| encoder.subscribe(1, &[fields]));
    let answer = raw.next_frame();
    let ServerFrame::Subscribed(subscribed) = decode(&answer) else {
        panic!("Subscribed was expected");
    };
    let entry = subscribed.channels().get(0);
    assert_eq!(entry.state(), wire::SubscriptionState::Live);
    entry.position().expect("a position").into()
}

fn service(grant: &mut UserGrant) {
    grant.roles.push("service".into());
}

/// Publishes one after the other and waits until all are acknowledged.
pub async fn publish_all(publishes: impl IntoIterator<Item = Publish>) {
    let mut receipts = Vec::new();
    for publish in publishes {
        receipts.push(publish.enqueue().await.expect("the client takes publishes"));
    }
    for receipt in receipts {
        receipt.await.expect("every publish is acknowledged");
    }
}

fn alert(text: &str) -> Vec<u8> {
    let mut builder = flatbuffers::FlatBufferBuilder::new();
    let rule = Some(builder.create_string("login"));
    let summary = Some(builder.create_string(text));
    let fields = wire::events::SecurityAlertArgs {
        rule,
        summary,
        ..Default::default()
    };
    let root = wire::events::SecurityAlert::create(&mut builder, &fields);
    builder.finish_minimal(root);
    builder.finished_data().to_vec()
}

/// Overruns of a class with this outcome.
pub fn overruns(node: &Node, class: &str, outcome: &str) -> f64 {
    (0..2)
        .filter_map(|shard| {
            let labels = format!("shard=\"{shard}\",class=\"{class}\",outcome=\"{outcome}\"");
            node.metric(&format!("interlink_edge_overruns_total{{{labels}}}"))
        })
        .sum()
}

/// The number of a class.
pub fn by_class(node: &Node, name: &str, class: &str) -> f64 {
    (0..2)
        .filter_map(|shard| {
            let labels = format!("shard=\"{shard}\",class=\"{class}\"");
            node.metric(&format!("{name}{{{labels}}}"))
        })
        .sum()
}

fn critical_and_high_events_reach_a_stalled_reader_without_a_gap(shards: u16) {
    const EVENTS: u64 = 2 * LOG_EVENTS;
    let node = Setup::shards(shards).start();
    let mut alerts = Raw::welcomed(node.clients(), &node.token("bob"), 1);
    assert_eq!(subscribe(&mut alerts, "alert.bob", None).offset, 0);
    let mut chat = Raw::welcomed(node.clients(), &node.token("bob"), 2);
    assert_eq!(subscribe(&mut chat, "chat.ada~bob", None).offset, 0);
    let long = "x".repeat(8_000);
    run(async {
        let robot = node.client_with(node.token_of("robot", service));
        let robot = robot.connect().await.expect("the node takes the client");
        let payload = alert(&long);
        let publish = |_| {
            let publish = robot.publish("alert.bob", payload.clone());
            publish.event_type(wire::event_types::SECURITY_ALERT)
        };
        publish_all((0..EVENTS).map(publish)).await;
        let ada = node.client("ada").await;
        let payload = chat_message(&long);
        let publish = |_| {
            let publish = ada.publish("chat.ada~bob", payload.clone());
            publish.event_type(CHAT_MESSAGE)
        };
        publish_all((0..EVENTS).map(publish)).await;
    });
    for (raw, channel, class) in [
        (&mut alerts, "alert.bob", "p0"),
        (&mut chat, "chat.ada~bob", "p1"),
    ] {
        let sent = read_through(raw, channel, 0, EVENTS);
        let is_event = |sent: &Sent| matches!(sent, Sent::Event(..));
        assert!(sent.iter().all(is_event), "{channel}: nothing is skipped");
        wait_for("the count of the overrun", || {
            (overruns(&node, class, "history") > 0.0).then_some(())
        });
        assert_eq!(overruns(&node, class, "skipped"), 0.0);
        assert_eq!(
            by_class(&node, "interlink_edge_skipped_events_total", class),
            0.0
        );
    }
}

fn what_a_stalled_reader_misses_of_p2_and_p3_is_counted(shards: u16) {
    const EVENTS: u64 = 3 * LOG_EVENTS;
    let node = Setup::shards(shards).start();
    let within = |grant: &mut UserGrant| {
        grant.institution = Some("school".into());
        grant.roles.push("staff".into());
    };
    let token = node.token_of("bob", within);
    let mut activity = Raw::welcomed(node.clients(), &token, 1);
    assert_eq!(subscribe(&mut activity, "activity.bob", None).offset, 0);
    let mut report = Raw::welcomed(node.clients(), &token, 2);
    assert_eq!(subscribe(&mut report, "report.school.term", None).offset, 0);
    run(async {
        let bob = node.client_with(token.clone()).connect().await;
        let bob = bob.expect("the node takes the client");
        let publish = |_| bob.publish("activity.bob", vec![1; 8_000]);
        publish_all((0..EVENTS).map(publish)).await;
        let robot = node.client_with(node.token_of("robot", service));
        let robot = robot.connect().await.expect("the node takes the client");
        let publish = |_| robot.publish("report.school.term", vec![2; 8_000]);
        publish_all((0..EVENTS).map(publish)).await;
    });
    let cases = [
        (&mut activity, "activity.bob", "p2"),
        (&mut report, "report.school.term", "p3"),
    ];
    for (raw, channel, class) in cases {
        let sent = read_through(raw, channel, 0, EVENTS);
        let skipped: u64 = sent
            .iter()
            .map(|sent| match sent {
                Sent::Event(..) => 0,
                Sent::Skipped(count, reason) => {
                    assert_eq!(*reason, wire::PositionReason::Slow, "{channel}");
                    *count
                }
            })
            .sum();
        assert!(skipped > LOG_EVENTS, "{channel}: {skipped} of {EVENTS}");
        wait_for("the counts", || {
            let counted = by_class(&node, "interlink_edge_skipped_events_total", class);
            (counted == skipped as f64).then_some(())
        });
        assert!(overruns(&node, class, "skipped") > 0.0);
    }
}

/// Users of whose alerts the owner of `channel` is the owner, too.
fn users_beside(channel: &str, shards: u16) -> impl Iterator<Item = String> {
    let owner = move |name: &str| placement_hash(name.as_bytes()) % u64::from(shards);
    let wanted = owner(channel);
    let users = (0..).map(|number| format!("filler{number}"));
    users.filter(move |user| owner(&format!("alert.{user}")) == wanted)
}

/// Alerts fill the memory of logs, of which P0 gives nothing back; what is published then finds
/// no room. P1 comes from history all the same, P2 is counted as for a slow client.
fn events_without_memory_are_read_from_history_or_counted(shards: u16) {
    /// One alert each, in a block of 16 KiB: more than 8 MiB.
    const FILLERS: usize = 520;
    const EVENTS: u64 = 20;
    let at = |prefix, shard| placed_name(prefix, shard % u64::from(shards), shards.into(), 0);
    let (ada, bob) = (at("ada", 0), at("bob", 1));
    let (chat, activity) = (format!("chat.{ada}~{bob}"), format!("activity.{ada}"));
    let limits = "[limits]\nchannel_log_bytes_per_shard = \"8MiB\"";
    let node = Setup::shards(shards).config(limits).start();
    let mut instances = 1..;
    let mut watch = |user: &str, channel: &str| {
        let instance = instances.next().expect("numbers do not end");
        let mut raw = Raw::welcomed(node.clients(), &node.token(user), instance);
        let token = node.subscription_token(user, channel);
        assert_eq!(subscribe(&mut raw, channel, Some(&token)).offset, 0);
        raw
    };
    let readers = [&ada, &bob].map(|user| watch(user, &chat));
    let watchers = [&ada, &bob].map(|user| watch(user, &activity));
    run(async {
        let robot = node.client_with(node.token_of("robot", service));
        let robot = robot.connect().await.expect("the node takes the client");
        let payload = alert(&"x".repeat(15_000));
        for channel in [&chat, &activity] {
            let fill = |user: String| {
                let publish = robot.publish(&format!("alert.{user}"), payload.clone());
                publish.event_type(wire::event_types::SECURITY_ALERT)
            };
            publish_all(users_beside(channel, shards).take(FILLERS).map(fill)).await;
        }
        let publisher = node.client(&ada).await;
        let publish = |_| {
            let publish = publisher.publish(&chat, chat_message(&"y".repeat(5_000)));
            publish.event_type(CHAT_MESSAGE)
        };
        publish_all((0..EVENTS).map(publish)).await;
        let publish = |_| publisher.publish(&activity, vec![3; 5_000]);
        publish_all((0..EVENTS).map(publish)).await;
    });
    for mut reader in readers {
        let sent = read_through(&mut reader, &chat, 0, EVENTS);
        assert_eq!(sent.len() as u64, EVENTS, "P1 is complete: {sent:?}");
    }
    for mut watcher in watchers {
        let sent = read_through(&mut watcher, &activity, 0, EVENTS);
        let slow = |sent: &Sent| match sent {
            Sent::Event(..) => false,
            Sent::Skipped(_, reason) => *reason == wire::PositionReason::Slow,
        };
        assert!(sent.iter().all(slow), "{sent:?}");
    }
    assert!(node.metric("interlink_edge_pool_empty_total") > Some(0.0));
}

fn a_slow_client_that_reads_again_is_told_why_it_was_closed(shards: u16) {
    const EVENTS: u64 = 100;
    let limits = "[limits]\nwrite_timeout = \"1s\"";
    let node = Setup::shards(shards).config(limits).start();
    let mut stalled = Raw::welcomed(node.clients(), &node.token("bob"), 1);
    subscribe(&mut stalled, "activity.bob", None);
    let mut silent = Raw::welcomed(node.clients(), &node.token("bob"), 2);
    subscribe(&mut silent, "activity.bob", None);
    run(async {
        let bob = node.client("bob").await;
        let publish = |_| bob.publish("activity.bob", vec![1; 8_000]);
        publish_all((0..EVENTS).map(publish)).await;
    });
    let closed = || {
        let name = "interlink_edge_close_frames_total";
        let labels = (0..2).map(|shard| format!("shard=\"{shard}\",code=\"slow_client\""));
        let counts = labels.filter_map(|labels| node.metric(&format!("{name}{{{labels}}}")));
        counts.sum::<f64>()
    };
    wait_for("the close of slow clients", || {
        (closed() == 2.0).then_some(())
    });
    assert_eq!(stalled.close_code(), CloseCode::SlowClient.number());
    // Who does not read has a second for the frame and is freed then.
    let unsent = "interlink_edge_close_frames_unsent_total";
    wait_for("the end of the silent client", || {
        (node.metric(unsent) == Some(1.0)).then_some(())
    });
    drop(silent);
}
