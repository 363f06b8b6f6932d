//! The workload against a server that exists only as frames.

use super::*;
use crate::engine::payload::Payload;
use crate::engine::template::{FrameWriter, Template};
use crate::engine::token::{Grants, Signer};
use crate::engine::{Fleet, FleetConfig, Greeting, Link, Workload};
use crate::scenarios::users::{UserMaker, Users};
use interlink_protocol::frame::{EventFields, FrameEncoder, PublishAckFields, Settled};
use interlink_protocol::ids::{Position, RecordId};
use interlink_protocol::priority::Priority;
use interlink_uring::{EdgeRing, RingConfig};
use interlink_wire as wire;

/// A refusal that no later attempt changes.
const NOT_PERMITTED: u16 = wire::ErrorCode::NotPermitted.number();

struct Stage {
    traffic: Traffic,
    fleet: Fleet<EdgeRing>,
    encoder: FrameEncoder,
}

fn users(count: u32) -> Users {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    let signer = Signer::from_file(&key).unwrap();
    let mut maker = UserMaker::new(&signer, 1);
    let mut users = Users::default();
    for client in 0..count {
        users.push(
            maker
                .user(&format!("u{client}"), &Grants::member(&[]))
                .unwrap(),
        );
    }
    users
}

fn stage() -> Stage {
    let mut traffic = Traffic::new(users(3), 1);
    let mut writer = FrameWriter::new(1);
    let payload = Payload::new("chat", 128).unwrap();
    let template = Template::publish(&mut writer.encoder, "chat.g", &payload).unwrap();
    traffic.add_source([Route::new(0, template, 1, 1..3)]);
    let config = FleetConfig {
        targets: vec!["127.0.0.1:9".parse().unwrap()],
        greeting: Greeting::Session,
        clients: 3,
        unfinished_max: 3,
        sources_from: 0,
        seed: 1,
        tls: None,
    };
    let kernel = EdgeRing::new(RingConfig::default()).unwrap();
    Stage {
        traffic,
        fleet: Fleet::new(kernel, config),
        encoder: FrameEncoder::new(),
    }
}

impl Stage {
    fn link(&mut self) -> &mut Link {
        self.fleet.link()
    }

    fn answer(&mut self, first: u64, count: u32, status: wire::PublishStatus) {
        self.answer_settled(first, count, status, None);
    }

    fn answer_settled(
        &mut self,
        first: u64,
        count: u32,
        status: wire::PublishStatus,
        settled_through: Option<Settled>,
    ) {
        let fields = PublishAckFields {
            client_message_id: first,
            count,
            status,
            level: wire::AckLevel::Local,
            degraded: false,
            position: None,
            settled_through,
            code: u16::from(status == wire::PublishStatus::Refused) * NOT_PERMITTED,
            retry_after_ms: 0,
        };
        let frame = self.encoder.publish_ack(&fields);
        self.traffic
            .on_frame(self.fleet.link(), 0, wire::Body::PublishAck, frame);
    }

    fn deliver(&mut self, client: u32, sequence: u64) {
        let mut payload = Payload::new("chat", 128).unwrap();
        let stamp = crate::engine::stamp::Stamp {
            sender: 0,
            sequence,
            scheduled_ns: 1,
        };
        stamp.write(&mut payload.bytes[payload.stamp_at..]);
        let fields = EventFields {
            channel: "chat.g",
            position: Position {
                epoch: 1,
                offset: sequence,
                chain: 0,
            },
            previous_chain: 0,
            record: RecordId(7),
            publisher: "u0",
            priority: Priority::P1,
            event_type: 3,
            schema_version: 1,
            server_time_us: 5,
            payload: &payload.bytes,
            conflation_key: None,
            trace: None,
        };
        let frame = self.encoder.event(&fields);
        self.traffic
            .on_frame(self.fleet.link(), client, wire::Body::Event, frame);
    }
}

#[test]
fn accepted_events_are_missing_until_every_receiver_has_them() {
    let mut stage = stage();
    let now = stage.link().now_ns;
    stage.traffic.open(0, 1000.0, now - 4_500_000);
    stage.traffic.on_turn(stage.fleet.link());
    assert_eq!(stage.traffic.classes[1].offered, 5);
    stage.traffic.pause();
    stage.answer(1, 4, wire::PublishStatus::Accepted);
    stage.answer(5, 1, wire::PublishStatus::Refused);
    assert_eq!(stage.traffic.classes[1].missing(), 8);
    assert_eq!(stage.traffic.refusals.get(&NOT_PERMITTED), Some(&1));
    for sequence in 1..=4 {
        stage.deliver(1, sequence);
        stage.deliver(2, sequence);
    }
    assert_eq!(stage.traffic.classes[1].missing(), 0);
    assert!(stage.traffic.is_settled());
}

#[test]
fn an_event_at_a_stranger_is_wrong_and_a_repeat_is_a_duplicate() {
    let mut stage = stage();
    stage.deliver(0, 1);
    assert_eq!(stage.traffic.wrong, 1);
    stage.deliver(1, 1);
    stage.deliver(1, 1);
    assert_eq!(stage.traffic.totals().duplicated, 1);
    assert_eq!(stage.traffic.classes[1].delivered, 1);
}

#[test]
fn without_credit_events_wait_and_keep_their_time() {
    let mut stage = stage();
    let now = stage.link().now_ns;
    stage.traffic.open(0, 1000.0, now - 99_500_000);
    stage.traffic.on_turn(stage.fleet.link());
    assert_eq!(stage.traffic.classes[1].offered, 100);
    stage.answer(1, 64, wire::PublishStatus::Accepted);
    stage.answer(65, 36, wire::PublishStatus::Accepted);
    assert_eq!(stage.traffic.classes[1].accepted, 100);
    // The last ones were due long after the first; all were answered now.
    let (least, most) = (
        stage.traffic.classes[1].ack.percentile_ms(0.0),
        stage.traffic.classes[1].ack.percentile_ms(100.0),
    );
    assert!(least < 2.0 && most > 98.0, "{least} {most}");
}

#[test]
fn a_window_is_refilled_by_its_answers() {
    let mut stage = stage();
    stage.traffic.keep_window(0, 4, stage.fleet.link());
    assert_eq!(stage.traffic.classes[1].offered, 4);
    stage.answer(1, 3, wire::PublishStatus::Accepted);
    assert_eq!(stage.traffic.classes[1].offered, 7);
    stage.traffic.pause();
    stage.answer(4, 4, wire::PublishStatus::Accepted);
    assert_eq!(stage.traffic.classes[1].offered, 7);
}

#[test]
fn a_window_of_unsettled_publishes_is_refilled_by_what_is_settled() {
    let mut stage = stage();
    stage.traffic.keep_unsettled(0, 4, stage.fleet.link());
    stage.answer(1, 4, wire::PublishStatus::Accepted);
    assert_eq!(stage.traffic.classes[1].offered, 4);
    for _ in 0..2 {
        let settled = Some([0, 3, 0, 0]);
        stage.answer_settled(4, 1, wire::PublishStatus::Accepted, settled);
    }
    assert_eq!(
        (stage.traffic.classes[1].offered, stage.traffic.settled_p1()),
        (7, 3)
    );
    stage.answer(5, 1, wire::PublishStatus::Refused);
    assert_eq!(stage.traffic.classes[1].offered, 8);
}

#[test]
fn a_refusal_for_now_is_tried_again_with_the_same_id_before_anything_new() {
    let mut stage = stage();
    stage.traffic.keep_window(0, 2, stage.fleet.link());
    let ack = crate::engine::peek::Ack {
        first: 1,
        count: 2,
        status: wire::PublishStatus::Refused,
        code: wire::ErrorCode::Overloaded.number(),
        retry_after_ms: 20,
        settled_p1: None,
    };
    stage.traffic.on_ack(stage.fleet.link(), 0, ack);
    assert_eq!(
        (
            stage.traffic.classes[1].refused,
            stage.traffic.classes[1].offered
        ),
        (2, 2)
    );
    let wake_ns = stage.traffic.on_turn(stage.fleet.link());
    assert_eq!(wake_ns, stage.link().now_ns + 20_000_000);
    stage.link().now_ns = wake_ns;
    assert_eq!(stage.traffic.on_turn(stage.fleet.link()), u64::MAX);
    stage.answer(1, 2, wire::PublishStatus::Accepted);
    assert_eq!(
        (
            stage.traffic.classes[1].accepted,
            stage.traffic.classes[1].offered
        ),
        (2, 4)
    );
}
