//! One frame of every kind, with every field set.

use interlink_protocol::frame::{
    ErrorFields, EventFields, FrameEncoder, HelloFields, HistoryPageFields, LimitsFields,
    MemberFields, PublishAckFields, PublishFields, RecoveryFields, RestoredFields, ResumeFields,
    SubscribeFields, SubscribedFields, TraceFields, WelcomeFields,
};
use interlink_protocol::ids::{InstanceId, Position, RecordId, SessionKey};
use interlink_protocol::priority::Priority;
use interlink_protocol::ErrorCode;
use interlink_wire::{AckLevel, PositionReason, PublishStatus, SubscriptionState};

const INSTANCE: InstanceId = InstanceId(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
const SESSION: SessionKey = SessionKey(0xfedc_ba98_7654_3210_0123_4567_89ab_cdef);
const RECORD: RecordId = RecordId(0x5d42_9448_8fae_8192_8e03_db76_a56f_30eb);
const POSITION: Position = Position {
    epoch: 18,
    offset: 1234,
    chain: 0x1551_107d_55ea_95a6,
};
const LATER: Position = Position {
    epoch: 18,
    offset: 1300,
    chain: u64::MAX,
};
const TRACE: TraceFields<'_> = TraceFields {
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    tracestate: Some("vendor=value"),
};

/// Names and bytes of all samples.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    let mut samples = client();
    samples.extend(server());
    samples
}

fn client() -> Vec<(&'static str, Vec<u8>)> {
    let mut encoder = FrameEncoder::new();
    let positions = [("chat.ada~bob", POSITION), ("class.algebra-1", LATER)];
    let hello = HelloFields {
        token: "header.claims.signature",
        instance: INSTANCE,
        device: Some("tablet-7"),
        client_name: Some("interlink-example"),
        client_version: Some("1.2.3"),
        resume: Some(ResumeFields {
            session: SESSION,
            positions: &positions,
        }),
    };
    let publish = PublishFields {
        client_message_id: 77,
        channel: "chat.ada~bob",
        event_type: 3,
        schema_version: 1,
        payload: b"payload bytes \x00\xff",
        age_ms: 1500,
        time_to_live_ms: 60_000,
        conflation_key: Some("key"),
        ack_level: AckLevel::Replicated,
        trace: Some(TRACE),
    };
    let subscribe = [
        SubscribeFields {
            channel: "collab.document-9",
            recover: Some(POSITION),
            presence: true,
            token: Some("subscription.token"),
        },
        SubscribeFields::new("inst.north"),
    ];
    vec![
        ("hello", encoder.hello(&hello).to_vec()),
        ("publish", encoder.publish(&publish).to_vec()),
        ("subscribe", encoder.subscribe(5, &subscribe).to_vec()),
        (
            "unsubscribe",
            encoder.unsubscribe(6, &["inst.north", "user.ada"]).to_vec(),
        ),
        ("ack", encoder.ack(&positions).to_vec()),
        (
            "history",
            encoder
                .history(7, "class.algebra-1", Some(POSITION), 50)
                .to_vec(),
        ),
        (
            "presence",
            encoder
                .presence(8, "class.algebra-1", Some("page-2"))
                .to_vec(),
        ),
        ("refresh", encoder.refresh(9, "new.user.token").to_vec()),
        (
            "pong",
            encoder.pong(1_900_000_000_000_001, &positions).to_vec(),
        ),
    ]
}

const MEMBERS: [MemberFields<'static>; 2] = [
    MemberFields {
        user: "ada",
        devices: 2,
    },
    MemberFields {
        user: "bob",
        devices: 1,
    },
];

fn server() -> Vec<(&'static str, Vec<u8>)> {
    let mut encoder = FrameEncoder::new();
    let page = HistoryPageFields {
        request_id: 7,
        channel: "chat.ada~bob",
        top: Some(LATER),
        recovered: true,
        reason: PositionReason::None,
        more: true,
        stale: false,
    };
    let skipped = ("activity.ada", LATER, 17, PositionReason::Conflated);
    let error = ErrorFields {
        code: ErrorCode::RateLimited,
        message: "slow down",
        retry_after_ms: 250,
        request_id: 12,
    };
    vec![
        ("welcome", encoder.welcome(&welcome()).to_vec()),
        ("publish_ack", encoder.publish_ack(&publish_ack()).to_vec()),
        ("subscribed", encoder.subscribed(5, &subscribed()).to_vec()),
        ("event", encoder.event(&event()).to_vec()),
        (
            "position",
            encoder
                .position(skipped.0, skipped.1, skipped.2, skipped.3)
                .to_vec(),
        ),
        (
            "presence_change",
            encoder
                .presence_change("class.algebra-1", &MEMBERS[..1], &MEMBERS[1..], 31)
                .to_vec(),
        ),
        (
            "presence_page",
            encoder
                .presence_page(8, "class.algebra-1", 31, &MEMBERS, (Some("page-3"), false))
                .to_vec(),
        ),
        (
            "history_page",
            encoder
                .history_page(&page, [event(), event()].into_iter())
                .to_vec(),
        ),
        (
            "heartbeat",
            encoder
                .heartbeat(1_900_000_000_000_001, Some([1, 2, 3, 4]))
                .to_vec(),
        ),
        (
            "reconnect",
            encoder
                .reconnect(1750, Some("wss://eu.example/v1"), true)
                .to_vec(),
        ),
        ("error", encoder.error(&error).to_vec()),
    ]
}

fn welcome() -> WelcomeFields<'static> {
    const RESTORED: &[RestoredFields<'_>] = &[RestoredFields {
        channel: "chat.ada~bob",
        position: LATER,
        recovery: RecoveryFields {
            recovered: false,
            reason: PositionReason::Lagging,
            following: 3,
            history_from: Some(POSITION),
            retry_after_ms: 400,
        },
    }];
    WelcomeFields {
        session: SESSION,
        session_epoch: 3,
        user: "ada",
        node: "node-1",
        region: "eu",
        server_time_us: 1_900_000_000_000_000,
        heartbeat_ms: 30_000,
        heartbeat_timeout_ms: 5_000,
        limits: LimitsFields {
            frame_bytes: 65_536,
            subscriptions: 100,
            publish_credit: 64,
            publish_credit_critical: 8,
            channel_bytes: 160,
        },
        resume_window_ms: 120_000,
        resumed: true,
        restored: RESTORED,
        highest_accepted: 76,
        settled_through: Some([5, 70, 60, 50]),
    }
}

fn publish_ack() -> PublishAckFields {
    PublishAckFields {
        client_message_id: 70,
        count: 8,
        status: PublishStatus::Refused,
        level: AckLevel::Local,
        degraded: true,
        position: Some(POSITION),
        settled_through: Some([1, 2, 3, 4]),
        code: ErrorCode::Overloaded.number(),
        retry_after_ms: 50,
    }
}

fn subscribed() -> [SubscribedFields<'static>; 2] {
    let recovery = RecoveryFields {
        recovered: true,
        following: 66,
        ..RecoveryFields::default()
    };
    [
        SubscribedFields {
            channel: "collab.document-9",
            state: SubscriptionState::Live,
            position: Some(LATER),
            recovery,
            code: 0,
        },
        SubscribedFields {
            channel: "inst.south",
            state: SubscriptionState::Refused,
            position: None,
            recovery: RecoveryFields {
                retry_after_ms: 9,
                ..RecoveryFields::default()
            },
            code: ErrorCode::NotPermitted.number(),
        },
    ]
}

fn event() -> EventFields<'static> {
    EventFields {
        channel: "chat.ada~bob",
        position: POSITION,
        previous_chain: 42,
        record: RECORD,
        publisher: "ada",
        priority: Priority::P1,
        event_type: 3,
        schema_version: 2,
        server_time_us: 1_900_000_000_000_000,
        payload: b"payload bytes \x00\xff",
        conflation_key: Some("key"),
        trace: Some(TRACE),
    }
}
