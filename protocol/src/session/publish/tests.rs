//! What the module promises, one test a promise.

use interlink_wire::events;

use super::*;
use crate::claims::Claims;
use crate::frame::{
    decode_client, ClientFrame, FrameEncoder, FrameLimits, PublishFields, TraceFields,
};
use crate::registry::{numbers, OPAQUE};

fn chat(text: &str) -> Vec<u8> {
    let mut builder = flatbuffers::FlatBufferBuilder::new();
    let text = Some(builder.create_string(text));
    let args = events::ChatMessageArgs {
        text,
        ..Default::default()
    };
    let root = events::ChatMessage::create(&mut builder, &args);
    builder.finish_minimal(root);
    builder.finished_data().to_vec()
}

fn check_with(
    fields: &PublishFields<'_>,
    granted: impl FnOnce() -> bool,
) -> Result<PublishDecision, Refusal> {
    let claims = Claims {
        user: "ada".into(),
        institution: "north".into(),
        ..Claims::default()
    };
    let mut encoder = FrameEncoder::new();
    match decode_client(encoder.publish(fields), &FrameLimits::CLIENT).unwrap() {
        ClientFrame::Publish(publish) => {
            let (namespaces, registry) = (Namespaces::defaults(), Registry::core());
            check_publish(&publish, &namespaces, &registry, &claims, granted)
        }
        other => panic!("not a publish: {}", other.kind()),
    }
}

fn check(fields: &PublishFields<'_>) -> Result<PublishDecision, ErrorCode> {
    check_with(fields, || false).map_err(|refusal| refusal.code)
}

#[test]
fn a_chat_message_is_accepted_at_the_level_of_its_namespace() {
    let payload = chat("hello");
    let fields = PublishFields::new(1, "chat.ada~bob", numbers::CHAT_MESSAGE, &payload);
    let decision = check(&fields).unwrap();
    assert_eq!((decision.priority, decision.durable), (Priority::P1, true));
    assert_eq!(
        (decision.level, decision.attempt),
        (AckLevel::Local, Attempt::Recent)
    );
    let wanted = PublishFields {
        ack_level: AckLevel::Replicated,
        ..fields
    };
    assert_eq!(check(&wanted).unwrap().level, AckLevel::Replicated);
    let beyond = PublishFields {
        ack_level: AckLevel(9),
        ..fields
    };
    assert_eq!(check(&beyond), Err(ErrorCode::InvalidRequest));
}

#[test]
fn each_fault_has_its_code() {
    let payload = chat("hello");
    let good = PublishFields::new(1, "chat.ada~bob", numbers::CHAT_MESSAGE, &payload);
    type Spoil = fn(&mut PublishFields<'_>);
    let faults: [(Spoil, ErrorCode); 11] = [
        (|bad| bad.client_message_id = 0, ErrorCode::MessageIdInvalid),
        (|bad| bad.channel = "chat", ErrorCode::ChannelInvalid),
        (|bad| bad.channel = "x.y", ErrorCode::NamespaceUnknown),
        (|bad| bad.channel = "user.ada", ErrorCode::NotPermitted),
        (
            |bad| bad.channel = "chat.b~c",
            ErrorCode::SubscriptionTokenRequired,
        ),
        (|bad| bad.event_type = 9_999, ErrorCode::EventTypeUnknown),
        (|bad| bad.schema_version = 2, ErrorCode::EventVersionUnknown),
        (|bad| bad.payload = b"no", ErrorCode::PayloadInvalid),
        (|bad| bad.event_type = OPAQUE, ErrorCode::OpaqueRefused),
        (
            |bad| bad.conflation_key = Some("k"),
            ErrorCode::ConflationKeyInvalid,
        ),
        (
            |bad| (bad.age_ms, bad.time_to_live_ms) = (2, 1),
            ErrorCode::PublishExpired,
        ),
    ];
    for (spoil, code) in faults {
        let mut fields = good;
        spoil(&mut fields);
        assert_eq!(check(&fields), Err(code), "{fields:?}");
    }
    let state = "s".repeat(limits::TRACESTATE_BYTES + 1);
    let trace = Some(TraceFields {
        traceparent: "00",
        tracestate: Some(&state),
    });
    let traced = PublishFields { trace, ..good };
    assert_eq!(check(&traced), Err(ErrorCode::InvalidRequest));
}

#[test]
fn a_conflation_key_is_short_and_where_it_is_allowed() {
    let awareness = PublishFields::new(1, "collab-awareness.d", OPAQUE, b"x");
    let refused = Err(ErrorCode::SubscriptionTokenRequired);
    assert_eq!(check(&awareness), refused);
    let long = "k".repeat(limits::CONFLATION_KEY_BYTES + 1);
    let key = PublishFields {
        conflation_key: Some(&long),
        ..awareness
    };
    let refusal = check_with(&key, || true).unwrap_err();
    assert_eq!(refusal.code, ErrorCode::ConflationKeyInvalid);
    let key = PublishFields {
        conflation_key: Some("cursor"),
        ..awareness
    };
    assert_eq!(check_with(&key, || true).unwrap().level, AckLevel::Accepted);
}

#[test]
fn old_attempts_are_looked_up_and_very_old_ones_refused() {
    let payload = chat("hello");
    let fields = PublishFields::new(1, "chat.ada~bob", numbers::CHAT_MESSAGE, &payload);
    let aged = |age_ms| check(&PublishFields { age_ms, ..fields }).map(|d| d.attempt);
    assert_eq!(aged(limits::ATTEMPT_LOOK_UP_AGE_MS), Ok(Attempt::Recent));
    assert_eq!(
        aged(limits::ATTEMPT_LOOK_UP_AGE_MS + 1),
        Ok(Attempt::LookUp)
    );
    assert_eq!(aged(limits::ATTEMPT_DECIDABLE_AGE_MS), Ok(Attempt::LookUp));
    assert_eq!(
        aged(limits::ATTEMPT_DECIDABLE_AGE_MS + 1),
        Err(ErrorCode::OutcomeUnknown)
    );
    let activity = PublishFields::new(1, "activity.ada", OPAQUE, b"x");
    let aged = |age_ms| check(&PublishFields { age_ms, ..activity }).map(|d| d.attempt);
    assert_eq!(aged(limits::ATTEMPT_LOOK_UP_AGE_MS), Ok(Attempt::Recent));
    assert_eq!(
        aged(limits::ATTEMPT_LOOK_UP_AGE_MS + 1),
        Err(ErrorCode::OutcomeUnknown)
    );
}

#[test]
fn a_grant_is_asked_for_only_where_it_can_help() {
    let payload = chat("hello");
    let fields = PublishFields::new(1, "chat.ada~bob", numbers::CHAT_MESSAGE, &payload);
    let never = || panic!("nobody should ask");
    assert!(check_with(&fields, never).is_ok());
    let inbox = PublishFields {
        channel: "user.ada",
        ..fields
    };
    assert!(check_with(&inbox, never).is_err());
    let group = PublishFields {
        channel: "chat.club",
        ..fields
    };
    assert!(check_with(&group, || true).is_ok());
}

#[test]
fn only_refusals_that_may_pass_name_a_time() {
    for code in ErrorCode::ALL {
        assert_eq!(
            Refusal::of(code).retry_after_ms > 0,
            code.is_temporary(),
            "{code:?}"
        );
    }
}

#[test]
fn a_full_connection_can_still_raise_an_alarm() {
    let mut credit = Credit::default();
    for _ in 0..limits::PUBLISH_CREDIT {
        credit.take(Priority::P1).unwrap();
    }
    assert_eq!(credit.take(Priority::P3), Err(Exhausted));
    for _ in 0..limits::PUBLISH_CREDIT_CRITICAL {
        credit.take(Priority::P0).unwrap();
    }
    assert_eq!(credit.take(Priority::P0), Err(Exhausted));
    credit.give_back(Priority::P2);
    assert_eq!(
        (credit.left(Priority::P1), credit.left(Priority::P0)),
        (1, 0)
    );
    assert!(!credit.is_idle());
}

#[test]
#[should_panic(expected = "more credit of p0 came back")]
fn credit_that_was_never_taken_does_not_come_back() {
    Credit::default().give_back(Priority::P0);
}
