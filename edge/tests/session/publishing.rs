//! Publishing: order, levels, refusals, repeats and credit.

use interlink_client::AckLevel;
use interlink_edge::auth::UserGrant;
use interlink_protocol::frame::{PublishFields, ServerFrame};
use interlink_protocol::ErrorCode;
use interlink_wire as wire;

use super::on_one_and_two_shards;
use super::support::chat::{
    chat_message, next_event, next_text, say, saying, text_of, CHAT_MESSAGE,
};
use super::support::raw::{binary, decode, Raw};
use super::support::{placed_name, run, wait_for, Setup};

on_one_and_two_shards!(
    events_come_in_order_without_gaps,
    users_and_channels_on_every_shard_reach_each_other,
    crossing_publishes_are_all_acknowledged,
    the_ack_names_the_level_that_was_reached,
    what_may_not_be_published_is_refused_with_its_code,
    a_repeated_publish_is_answered_and_delivered_once,
    an_id_with_another_payload_is_a_conflict,
    more_publishes_than_the_credit_are_refused_and_succeed_later,
    large_events_arrive_whole,
    events_without_history_take_no_memory_once_sent,
);

/// A role that may publish to everybody's inbox.
fn service(grant: &mut UserGrant) {
    grant.roles.push("service".into());
}

fn events_come_in_order_without_gaps(shards: u16) {
    const EVENTS: u64 = 500;
    let node = Setup::shards(shards).start();
    run(async {
        let (ada, bob) = (node.client("ada").await, node.client("bob").await);
        let mut chat = bob.subscribe("chat.ada~bob").await.unwrap();
        let mut receipts = Vec::new();
        for number in 0..EVENTS {
            let publish = saying(&ada, "chat.ada~bob", &number.to_string());
            receipts.push(publish.enqueue().await.unwrap());
        }
        let mut epoch = None;
        for number in 0..EVENTS {
            let event = next_event(&mut chat).await;
            assert_eq!(text_of(&event.payload), number.to_string());
            assert_eq!(event.position.offset, number + 1);
            assert_eq!(
                *epoch.get_or_insert(event.position.epoch),
                event.position.epoch
            );
            assert_eq!(&*event.publisher, "ada");
        }
        for receipt in receipts {
            assert!(!receipt.await.unwrap().duplicate);
        }
    });
}

/// Users at home on `first` and `second` whose chat is owned by `owner`.
fn pair_on(first: u64, second: u64, owner: u64, shards: u64) -> (String, String) {
    let ada = placed_name("ada", first, shards, 0);
    let bobs = (0..).map(|which| placed_name("bob", second, shards, which));
    let owned = |bob: &String| {
        let channel = format!("chat.{ada}~{bob}");
        interlink_protocol::ids::placement_hash(channel.as_bytes()) % shards == owner
    };
    let mut bobs = bobs.filter(owned);
    let bob = bobs.next().expect("a hash reaches every shard");
    (ada, bob)
}

fn users_and_channels_on_every_shard_reach_each_other(shards: u16) {
    let node = Setup::shards(shards).start();
    let count = u64::from(shards);
    run(async {
        for combination in 0..count.pow(3) {
            let part = |power: u32| combination / count.pow(power) % count;
            let (ada, bob) = pair_on(part(0), part(1), part(2), count);
            let channel = format!("chat.{ada}~{bob}");
            let (first, second) = (node.client(&ada).await, node.client(&bob).await);
            let mut of_first = first.subscribe(&channel).await.unwrap();
            let mut of_second = second.subscribe(&channel).await.unwrap();
            for number in 0..5 {
                let (question, answer) = (format!("question {number}"), format!("answer {number}"));
                say(&first, &channel, &question).await.unwrap();
                assert_eq!(next_text(&mut of_second).await, question, "{channel}");
                say(&second, &channel, &answer).await.unwrap();
                assert_eq!(next_text(&mut of_second).await, answer, "{channel}");
                assert_eq!(next_text(&mut of_first).await, question, "{channel}");
                assert_eq!(next_text(&mut of_first).await, answer, "{channel}");
            }
        }
    });
}

/// Publishers of every shard write to channels of every shard at the same time, so that each
/// shard waits for the others while they wait for it.
fn crossing_publishes_are_all_acknowledged(shards: u16) {
    const EACH: usize = 200;
    let node = Setup::shards(shards).start();
    let count = u64::from(shards);
    run(async {
        let mut clients = Vec::new();
        let mut receipts = Vec::new();
        for combination in 0..count * count {
            let pair = pair_on(combination / count, 0, combination % count, count);
            let channel = format!("chat.{}~{}", pair.0, pair.1);
            clients.push((node.client(&pair.0).await, channel));
        }
        for number in 0..EACH {
            for (client, channel) in &clients {
                let publish = saying(client, channel, &number.to_string());
                receipts.push(publish.enqueue().await.unwrap());
            }
        }
        let all = async {
            for receipt in receipts {
                receipt.await.unwrap();
            }
        };
        let patience = super::support::PATIENCE;
        tokio::time::timeout(patience, all)
            .await
            .expect("every publish is acknowledged");
    });
}

fn the_ack_names_the_level_that_was_reached(shards: u16) {
    let node = Setup::shards(shards).start();
    run(async {
        let ada = node.client("ada").await;
        assert_eq!(
            say(&ada, "chat.ada~bob", "1").await.unwrap().level,
            AckLevel::Local
        );
        let quick = saying(&ada, "chat.ada~bob", "2").ack_level(AckLevel::Accepted);
        assert_eq!(quick.await.unwrap().level, AckLevel::Accepted);
        let activity = ada.publish("activity.ada", b"typing".to_vec());
        assert_eq!(activity.await.unwrap().level, AckLevel::Accepted);
        ada.settled().await.unwrap();
    });
}

fn what_may_not_be_published_is_refused_with_its_code(shards: u16) {
    let node = Setup::shards(shards).start();
    run(async {
        let ada = node.client("ada").await;
        let hello = || chat_message("hello");
        let long = chat_message(&"x".repeat(17 * 1024));
        let chat = "chat.ada~bob";
        let cases = [
            (
                ada.publish("chat.eve~bob", hello()),
                ErrorCode::SubscriptionTokenRequired,
            ),
            (ada.publish("user.bob", hello()), ErrorCode::NotPermitted),
            (ada.publish("sys.status", hello()), ErrorCode::NotPermitted),
            (
                ada.publish("nowhere.ada", hello()),
                ErrorCode::NamespaceUnknown,
            ),
            (
                ada.publish(chat, hello()).event_type(999),
                ErrorCode::EventTypeUnknown,
            ),
            (
                ada.publish(chat, b"opaque".to_vec()),
                ErrorCode::OpaqueRefused,
            ),
            (
                ada.publish(chat, hello())
                    .event_type(CHAT_MESSAGE)
                    .schema_version(9),
                ErrorCode::EventVersionUnknown,
            ),
            (
                ada.publish(chat, b"no".to_vec()).event_type(CHAT_MESSAGE),
                ErrorCode::PayloadInvalid,
            ),
            (
                ada.publish(chat, long).event_type(CHAT_MESSAGE),
                ErrorCode::PayloadTooLarge,
            ),
            (
                ada.publish(chat, hello())
                    .event_type(CHAT_MESSAGE)
                    .conflation_key("key"),
                ErrorCode::ConflationKeyInvalid,
            ),
        ];
        for (publish, code) in cases {
            let error = publish.await.expect_err(code.name());
            assert_eq!(
                error.code().map(|code| code.0),
                Some(code.number()),
                "{error}"
            );
        }
        // A refusal holds up nothing that follows.
        say(&ada, chat, "hello").await.unwrap();
    });
}

/// Acknowledgements by id: status, code and retry-after, until every id of `1..=ids` has one.
fn answers_of(raw: &mut Raw, ids: u64) -> Vec<(wire::PublishStatus, u16, u32)> {
    let mut answers = vec![None; ids as usize + 1];
    while answers[1..].iter().any(Option::is_none) {
        let frame = raw.next_frame();
        let ServerFrame::PublishAck(ack) = decode(&frame) else {
            continue;
        };
        let first = ack.client_message_id();
        for id in first..first + u64::from(ack.count()) {
            let answer = (ack.status(), ack.code(), ack.retry_after_ms());
            assert!(
                answers[id as usize].replace(answer).is_none(),
                "{id} is answered twice"
            );
        }
    }
    answers.into_iter().flatten().collect()
}

fn publish_raw(raw: &mut Raw, id: u64, channel: &str, text: &str) {
    let payload = chat_message(text);
    let fields = PublishFields::new(id, channel, CHAT_MESSAGE, &payload);
    raw.send_encoded(|encoder| encoder.publish(&fields));
}

fn a_repeated_publish_is_answered_and_delivered_once(shards: u16) {
    let node = Setup::shards(shards).start();
    run(async {
        let bob = node.client("bob").await;
        let mut chat = bob.subscribe("chat.ada~bob").await.unwrap();
        let mut ada = Raw::welcomed(node.clients(), &node.token("ada"), 7);
        publish_raw(&mut ada, 1, "chat.ada~bob", "once");
        assert_eq!(
            answers_of(&mut ada, 1),
            [(wire::PublishStatus::Accepted, 0, 0)]
        );
        publish_raw(&mut ada, 1, "chat.ada~bob", "once");
        assert_eq!(
            answers_of(&mut ada, 1),
            [(wire::PublishStatus::Duplicate, 0, 0)]
        );
        // Another connection of the same publisher instance.
        let mut again = Raw::welcomed(node.clients(), &node.token("ada"), 7);
        publish_raw(&mut again, 1, "chat.ada~bob", "once");
        assert_eq!(
            answers_of(&mut again, 1),
            [(wire::PublishStatus::Duplicate, 0, 0)]
        );
        // Another instance counts for itself.
        let mut other = Raw::welcomed(node.clients(), &node.token("ada"), 8);
        publish_raw(&mut other, 1, "chat.ada~bob", "twice");
        assert_eq!(
            answers_of(&mut other, 1),
            [(wire::PublishStatus::Accepted, 0, 0)]
        );
        assert_eq!(next_text(&mut chat).await, "once");
        assert_eq!(next_text(&mut chat).await, "twice");
    });
}

fn an_id_with_another_payload_is_a_conflict(shards: u16) {
    let node = Setup::shards(shards).start();
    let mut ada = Raw::welcomed(node.clients(), &node.token("ada"), 7);
    publish_raw(&mut ada, 1, "chat.ada~bob", "this");
    assert_eq!(
        answers_of(&mut ada, 1),
        [(wire::PublishStatus::Accepted, 0, 0)]
    );
    publish_raw(&mut ada, 1, "chat.ada~bob", "that");
    let conflict = ErrorCode::IdempotencyConflict.number();
    assert_eq!(
        answers_of(&mut ada, 1),
        [(wire::PublishStatus::Refused, conflict, 0)]
    );
}

fn more_publishes_than_the_credit_are_refused_and_succeed_later(shards: u16) {
    const IDS: u64 = 16;
    let node = Setup::shards(shards).start();
    let mut raw = Raw::welcomed(node.clients(), &node.token_of("robot", service), 7);
    let payload = alert_payload();
    let mut encoder = interlink_protocol::frame::FrameEncoder::new();
    // One write, so that all of them are there before the disk has answered for the first.
    let mut bytes = Vec::new();
    for id in 1..=IDS {
        let fields = PublishFields::new(id, "alert.ada", SECURITY_ALERT, &payload);
        bytes.extend(binary(encoder.publish(&fields)));
    }
    raw.send(&bytes);
    let answers = answers_of(&mut raw, IDS);
    let overloaded = ErrorCode::Overloaded.number();
    let refused = answers
        .iter()
        .position(|answer| answer.0 == wire::PublishStatus::Refused);
    let refused = refused.expect("more than the credit of 8 came at once");
    assert!(refused >= 8, "the credit is 8: {answers:?}");
    // What follows a refused id is refused too, or a retry would fall behind it.
    for answer in &answers[refused..] {
        assert_eq!(
            (answer.0, answer.1),
            (wire::PublishStatus::Refused, overloaded)
        );
        assert!(answer.2 > 0, "a temporary refusal names a retry time");
    }
    for id in refused as u64 + 1..=IDS {
        let fields = PublishFields::new(id, "alert.ada", SECURITY_ALERT, &payload);
        raw.send_encoded(|encoder| encoder.publish(&fields));
        let frame = raw.next_frame();
        let ServerFrame::PublishAck(ack) = decode(&frame) else {
            panic!("an answer was expected");
        };
        assert_eq!(
            (ack.client_message_id(), ack.status()),
            (id, wire::PublishStatus::Accepted)
        );
    }
}

const SECURITY_ALERT: u16 = wire::event_types::SECURITY_ALERT;

fn alert_payload() -> Vec<u8> {
    let mut builder = flatbuffers::FlatBufferBuilder::new();
    let rule = Some(builder.create_string("login"));
    let summary = Some(builder.create_string("a new device"));
    let fields = wire::events::SecurityAlertArgs {
        rule,
        summary,
        ..Default::default()
    };
    let root = wire::events::SecurityAlert::create(&mut builder, &fields);
    builder.finish_minimal(root);
    builder.finished_data().to_vec()
}

fn large_events_arrive_whole(shards: u16) {
    let node = Setup::shards(shards).start();
    run(async {
        let ada = node.client("ada").await;
        let token = node.subscription_token("ada", "collab.paper");
        let mut paper = ada.subscribe("collab.paper").token(token).await.unwrap();
        for size in [0, 1, 4_000, 5_000, 20_000, 60_000] {
            let payload: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            ada.publish("collab.paper", payload.clone()).await.unwrap();
            assert_eq!(next_event(&mut paper).await.payload, payload);
        }
    });
}

fn events_without_history_take_no_memory_once_sent(shards: u16) {
    const EVENTS: usize = 100;
    let node = Setup::shards(shards).start();
    run(async {
        let ada = node.client("ada").await;
        let mut activity = ada.subscribe("activity.ada").await.unwrap();
        for number in 0..EVENTS {
            let payload = number.to_string().into_bytes();
            ada.publish("activity.ada", payload).await.unwrap();
        }
        for number in 0..EVENTS {
            let event = next_event(&mut activity).await;
            assert_eq!(event.payload, number.to_string().as_bytes());
        }
    });
    wait_for("the memory of the events", || {
        (node.metric("interlink_edge_log_bytes") == Some(0.0)).then_some(())
    });
}
