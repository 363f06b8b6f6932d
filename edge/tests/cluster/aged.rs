//! Ids that Redis has forgotten: old attempts of clients and services, old records of a journal.

use std::io::{Read, Write};
use std::net::TcpStream;

use interlink_client::{ErrorCode, Position};
use interlink_edge::server::unix_seconds;
use interlink_protocol::frame::{EventFields, FrameEncoder, PublishFields, ServerFrame};
use interlink_protocol::ids::{placement_hash, InstanceId, RecordId};
use interlink_protocol::priority::Priority;
use interlink_relay::files::{DirectJournal, FilesConfig, JournalFiles};
use interlink_relay::journal::{Journal, JournalConfig};
use interlink_relay::record::RecordRef;
use interlink_wire::{AckLevel, PublishStatus};
use serde_json::{json, Value};

use super::stored::{archived, pair, read_all, sections, store, until, LONG};
use super::support::chat::{chat_message, say, CHAT_MESSAGE};
use super::support::raw::{decode, Raw};
use super::support::{Node, Setup};
use super::{client, stand, unique};

/// Partitions of the cluster, by default.
pub const PARTITIONS: u64 = 128;

/// Five minutes.
pub const OLD_MS: u32 = 300_000;

/// An answer to a publish.
#[derive(Debug, PartialEq)]
pub struct Answer {
    pub status: PublishStatus,
    pub code: u16,
    pub position: Option<Position>,
}

/// Publishes a chat message with an id and an age, and waits for the answer.
pub fn attempt(raw: &mut Raw, channel: &str, (id, age_ms): (u64, u32), text: &str) -> Answer {
    let payload = chat_message(text);
    raw.send_encoded(|encoder| {
        encoder.publish(&PublishFields {
            age_ms,
            schema_version: 1,
            ack_level: AckLevel::Default,
            ..PublishFields::new(id, channel, CHAT_MESSAGE, &payload)
        })
    });
    loop {
        let frame = raw.next_frame();
        if let ServerFrame::PublishAck(ack) = decode(&frame) {
            assert_eq!(ack.client_message_id(), id);
            return Answer {
                status: ack.status(),
                code: ack.code(),
                position: ack.position().map(Position::from),
            };
        }
    }
}

/// Redis forgets the ids of a channel's partition, as it does after some minutes.
fn forget_ids(channel: &str) {
    let partition = placement_hash(channel.as_bytes()) % PARTITIONS;
    let key = |name: &str| format!("interlink:{{p{partition}}}:{name}");
    let answer = stand::tell_redis(&format!("DEL {} {}", key("ids"), key("ids.old")));
    assert!(
        answer.starts_with(":1") || answer.starts_with(":2"),
        "{answer}"
    );
}

#[tokio::test]
async fn an_old_attempt_is_answered_once_with_its_position_and_not_placed_again() {
    let (first, second) = pair(LONG);
    let (ada, bob) = (unique("ada"), unique("bob"));
    let channel = format!("chat.{ada}~{bob}");
    let token = first.token(&ada);
    let instance = u128::from(rand::random::<u64>());
    let mut here = Raw::welcomed(first.clients(), &token, instance);
    let accepted = attempt(&mut here, &channel, (1, 0), "once");
    assert_eq!(accepted.status, PublishStatus::Accepted);
    let store = store();
    archived(&store, &channel, 1).await;
    let top = store.top(&channel).await.expect("asked").expect("archived");

    // The client goes to another node, which does not know it; Redis has forgotten the id.
    forget_ids(&channel);
    let mut there = Raw::welcomed(second.clients(), &token, instance);
    let again = attempt(&mut there, &channel, (1, OLD_MS), "once");
    assert_eq!(again.status, PublishStatus::Duplicate);
    assert_eq!(again.position, Some(top));
    let conflict = attempt(&mut there, &channel, (1, OLD_MS), "other");
    assert_eq!(conflict.code, ErrorCode::IdempotencyConflict.number());

    // What nobody has seen is taken, in its order, and once.
    let new = until("a verdict", async || {
        let new = attempt(&mut there, &channel, (2, OLD_MS), "new");
        (new.code != ErrorCode::Unavailable.number()).then_some(new)
    })
    .await;
    assert_eq!(new.status, PublishStatus::Accepted);
    let next = attempt(&mut there, &channel, (3, 0), "next");
    assert_eq!(next.status, PublishStatus::Accepted);
    let reader = client(&second, &first, &bob).await;
    let texts = until("three events", async || {
        let events = read_all(&reader, &channel).await;
        let texts: Vec<_> = events.into_iter().map(|(_, text)| text).collect();
        (texts.len() >= 3).then_some(texts)
    })
    .await;
    assert_eq!(texts, ["once", "new", "next"]);
}

/// A publish of a service over the API: status and body of the answer.
fn post(node: &Node, token: &str, body: &Value) -> (u16, Value) {
    let mut stream = TcpStream::connect(node.api()).expect("the API listens");
    let (host, body) = (node.api(), body.to_string());
    let length = body.len();
    write!(
        stream,
        "POST /v1/publish HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let body = serde_json::from_str(body).expect("JSON");
    (status.expect("a status"), body)
}

#[tokio::test]
async fn an_old_key_of_a_service_is_known_on_another_node() {
    let (first, second) = pair(LONG);
    let channel = format!("report.north.{}", unique("day"));
    let token = first.token_of("reports", |grant| grant.roles.push("service".into()));
    let publish = |node: &Node, text: &str, age_ms: u32| {
        let body = json!({
            "channel": channel, "json": text, "idempotency_key": "once", "age_ms": age_ms,
        });
        post(node, &token, &body)
    };
    let (status, accepted) = publish(&first, "one", 0);
    assert_eq!(
        (status, &accepted["repeat"]),
        (200, &json!(false)),
        "{accepted}"
    );
    archived(&store(), &channel, 1).await;
    forget_ids(&channel);
    let (status, again) = publish(&second, "one", OLD_MS);
    assert_eq!((status, &again["repeat"]), (200, &json!(true)), "{again}");
    assert_eq!(again["record"], accepted["record"]);
    let (status, other) = publish(&second, "two", OLD_MS);
    assert_eq!(status, 409, "{other}");
    let top = store().top(&channel).await.expect("asked");
    assert_eq!(top.map(|top| top.offset), Some(1));
}

/// Writes records to the journal of a node that does not run, as an earlier boot of it that
/// accepted them ten minutes ago.
fn leave_behind(node: &Node, channel: &str, records: &[(RecordId, &str)]) {
    let now_us = unix_seconds() * 1_000_000;
    let config = FilesConfig {
        segment_bytes: 4 << 20,
        ..FilesConfig::new(&node.data().join("journal"), 1)
    };
    let (mut files, _) = JournalFiles::open(config, now_us).expect("the journal");
    let mut config = JournalConfig::new(files.boot().id, 0, 1);
    config.segment_bytes = 4 << 20;
    let journal = Journal::new(&config).expect("a configuration");
    let mut journal = DirectJournal::new(journal, 0);
    journal.drive(&mut files, now_us).expect("driven");
    for (number, (record, text)) in (1..).zip(records) {
        let payload = chat_message(text);
        let mut encoder = FrameEncoder::new();
        let frame = encoder.event(&EventFields {
            channel,
            position: Position::ZERO,
            previous_chain: 0,
            record: *record,
            publisher: "ada",
            priority: Priority::P1,
            event_type: CHAT_MESSAGE,
            schema_version: 1,
            server_time_us: now_us - 600_000_000,
            payload: &payload,
            conflation_key: None,
            trace: None,
        });
        let record = RecordRef {
            class: Priority::P1,
            record: *record,
            instance: InstanceId(9),
            client_message_id: number,
            payload_hash: number,
            accepted_at_us: now_us - 600_000_000,
            channel,
            placement: None,
            frame,
        };
        journal.append(&record, now_us).expect("room");
    }
    assert!(journal.commit(&mut files, now_us).expect("driven"));
}

#[tokio::test]
async fn old_records_of_a_journal_keep_the_places_that_the_archive_knows() {
    let sections = sections();
    let alive = Setup::shards(1)
        .config(&format!(
            "[node]\nname = \"{}\"\n{sections}",
            unique("alive")
        ))
        .start();
    let (ada, bob) = (unique("ada"), unique("bob"));
    let channel = format!("chat.{ada}~{bob}");
    let here = client(&alive, &alive, &ada).await;
    for text in ["one", "two"] {
        say(&here, &channel, text).await.expect("accepted");
    }
    archived(&store(), &channel, 2).await;
    let page = here.history(&channel).await.expect("history");
    let mut records: Vec<_> = page.events.iter().map(|event| event.record).collect();
    records.push(RecordId(rand::random()));
    forget_ids(&channel);

    // A node that placed the first two, ended before it could note so, and never started again.
    let name = unique("dead");
    let mut dead = Setup::shards(1)
        .config(&format!("[node]\nname = \"{name}\"\n{sections}"))
        .start();
    dead.kill();
    let texts = ["one", "two", "three"];
    let left: Vec<_> = records.into_iter().zip(texts).collect();
    leave_behind(&dead, &channel, &left);
    let mut feed = std::process::Command::new(env!("CARGO_BIN_EXE_interlink-edge"));
    feed.args(["journal", "feed"]).arg(dead.data());
    feed.arg("--config")
        .arg(dead.data().with_file_name("edge.toml"));
    let told = feed.output().expect("the program starts").stderr;
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("nothing is left"), "{told}");

    archived(&store(), &channel, 3).await;
    let reader = client(&alive, &alive, &bob).await;
    let events = read_all(&reader, &channel).await;
    let events: Vec<_> = events.iter().map(|(_, text)| &**text).collect();
    assert_eq!(events, texts, "known ones are not placed again");
}
