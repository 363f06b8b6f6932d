//! The session as a whole: frames in, frames and events out.

mod reference;
mod simulation;

use interlink_protocol::frame::{
    decode_client, ClientFrame, ErrorFields, FrameEncoder, FrameLimits, HistoryPageFields,
    LimitsFields, WelcomeFields,
};
use interlink_protocol::ids::SessionKey;
use interlink_protocol::ErrorCode;
use interlink_wire as wire;

use super::*;
use crate::event::{PresenceMember, PresencePage};

fn session() -> Session {
    Session::new(SessionConfig::default(), InstanceId(1), 7)
}

fn welcome(resumed: bool) -> Vec<u8> {
    let fields = WelcomeFields {
        session: SessionKey(5),
        session_epoch: 1,
        user: "ada",
        node: "node-1",
        region: "eu",
        server_time_us: 1,
        heartbeat_ms: 30_000,
        heartbeat_timeout_ms: 5_000,
        limits: LimitsFields::default(),
        resume_window_ms: 60_000,
        resumed,
        restored: &[],
        highest_accepted: 0,
        settled_through: None,
    };
    FrameEncoder::new().welcome(&fields).to_vec()
}

fn error(code: ErrorCode, request_id: u32) -> Vec<u8> {
    let fields = ErrorFields {
        code,
        message: "",
        retry_after_ms: 0,
        request_id,
    };
    FrameEncoder::new().error(&fields).to_vec()
}

fn open(session: &mut Session, now_ms: u64) {
    assert!(session.start_dial(now_ms));
    session.on_open("token".into(), now_ms);
}

fn online(now_ms: u64) -> Session {
    let mut session = session();
    open(&mut session, now_ms);
    session.next_frame(now_ms).expect("Hello");
    session.on_message(&welcome(false), now_ms).unwrap();
    events(&mut session);
    session
}

fn events(session: &mut Session) -> Vec<SessionEvent> {
    std::iter::from_fn(|| session.next_event()).collect()
}

/// Name of the next frame's kind.
fn next_kind(session: &mut Session, now_ms: u64) -> Option<&'static str> {
    let frame = session.next_frame(now_ms)?;
    Some(decode_client(frame, &FrameLimits::CLIENT).unwrap().kind())
}

fn draft(channel: &str) -> Draft {
    Draft {
        channel: channel.into(),
        event_type: 0,
        schema_version: 1,
        payload: vec![1; 10],
        time_to_live_ms: 0,
        conflation_key: None,
        ack_level: None,
        traceparent: None,
    }
}

fn closed(code: u16) -> Loss {
    let reason = "".into();
    Loss::Closed { code, reason }
}

#[test]
fn only_hello_leaves_before_the_welcome() {
    let mut session = session();
    session
        .subscribe(&"chat.a~b".into(), SubscribeOptions::default())
        .unwrap();
    session.publish(draft("chat.a~b"), 0).unwrap();
    open(&mut session, 0);
    assert_eq!(next_kind(&mut session, 0), Some("Hello"));
    assert_eq!(next_kind(&mut session, 0), None);
    session.on_message(&welcome(false), 0).unwrap();
    assert_eq!(next_kind(&mut session, 0), Some("Subscribe"));
    assert_eq!(next_kind(&mut session, 0), Some("Publish"));
    assert_eq!(next_kind(&mut session, 0), None);
}

#[test]
fn hello_offers_the_session_that_was_lost() {
    let mut session = online(0);
    session.on_lost(closed(1_006), 100);
    let now_ms = session.deadline_ms(100, false).unwrap();
    open(&mut session, now_ms);
    let frame = session.next_frame(now_ms).unwrap();
    let ClientFrame::Hello(hello) = decode_client(frame, &FrameLimits::CLIENT).unwrap() else {
        panic!("Hello comes first");
    };
    let resume = hello.resume().expect("within the window");
    assert_eq!(SessionKey::from(resume.session()), SessionKey(5));
    assert_eq!(InstanceId::from(hello.instance()), InstanceId(1));
}

#[test]
fn frames_that_are_not_expected_are_faults() {
    let mut session = session();
    open(&mut session, 0);
    let heartbeat = FrameEncoder::new().heartbeat(1, None).to_vec();
    assert!(session.on_message(&heartbeat, 0).is_err());
    session.on_message(&welcome(false), 0).unwrap();
    assert!(session.on_message(&welcome(false), 0).is_err());
    let fault = session.on_message(b"no frame", 0).unwrap_err();
    assert_eq!(fault.close_code, CloseCode::MalformedFrame.number());
}

#[test]
fn heartbeats_are_answered_with_the_acknowledgements_at_hand() {
    let mut session = online(0);
    let heartbeat = FrameEncoder::new().heartbeat(77, None).to_vec();
    session.on_message(&heartbeat, 10).unwrap();
    let frame = session.next_frame(10).unwrap();
    let ClientFrame::Pong(pong) = decode_client(frame, &FrameLimits::CLIENT).unwrap() else {
        panic!("Pong answers at once");
    };
    assert_eq!(pong.echo_us(), 77);
}

#[test]
fn silence_is_a_loss() {
    let mut session = online(0);
    session.on_heard(1_000);
    assert_eq!(session.deadline_ms(1_000, true), Some(36_000));
    session.on_timer(35_999);
    assert!(session.holds_connection());
    session.on_timer(36_000);
    assert!(!session.holds_connection());
    assert_eq!(events(&mut session)[0], SessionEvent::Lost(Loss::Silence));
}

#[test]
fn final_close_codes_end_the_client_and_fail_what_waits() {
    for (code, is_final) in [
        (1_006, false),
        (CloseCode::Draining.number(), false),
        (3_499, false),
        (3_999, true),
        (CloseCode::TakenOver.number(), true),
        (CloseCode::ProtocolError.number(), true),
    ] {
        let mut session = online(0);
        let id = session.publish(draft("chat.a~b"), 0).unwrap();
        session.on_lost(closed(code), 0);
        assert_eq!(session.state() == State::Closed, is_final, "code {code}");
        let by = ClosedBy::Server(closed(code));
        let failed = SessionEvent::Published {
            id,
            outcome: PublishOutcome::Failed(Error::Closed(by.clone())),
        };
        let events = events(&mut session);
        assert_eq!(events.contains(&failed), is_final, "code {code}");
        assert_eq!(
            events.contains(&SessionEvent::Closed(by)),
            is_final,
            "code {code}"
        );
    }
}

#[test]
fn a_spent_token_ends_the_client_unless_it_can_be_renewed() {
    for token_renewable in [false, true] {
        let config = SessionConfig {
            token_renewable,
            ..SessionConfig::default()
        };
        let mut session = Session::new(config, InstanceId(1), 7);
        open(&mut session, 0);
        session
            .on_message(&error(ErrorCode::TokenExpired, 0), 0)
            .unwrap();
        session.on_lost(closed(CloseCode::TokenExpired.number()), 0);
        assert_eq!(session.state() == State::Closed, !token_renewable);
        let closed_by = events(&mut session)
            .into_iter()
            .find_map(|event| match event {
                SessionEvent::Closed(by) => Some(by),
                _ => None,
            });
        let code = match closed_by {
            Some(ClosedBy::Refused(error)) => error.code(),
            _ => None,
        };
        assert_eq!(
            code == Some(ErrorCode::TokenExpired.into()),
            !token_renewable
        );
    }
}

#[test]
fn a_planned_move_keeps_the_connection_until_its_time() {
    let mut session = online(0);
    let order = FrameEncoder::new()
        .reconnect(500, Some("ws://other:1"), true)
        .to_vec();
    session.on_message(&order, 0).unwrap();
    session.on_timer(499);
    assert!(session.holds_connection());
    session.on_timer(500);
    assert!(!session.holds_connection());
    assert_eq!(session.attempts(), 0);
    assert!(session.start_dial(500));
    assert_eq!(session.target(), Some("ws://other:1"));
}

#[test]
fn a_publish_that_fits_no_frame_is_refused_at_once() {
    let mut session = online(0);
    let mut large = draft("chat.a~b");
    large.payload = vec![0; limits::FRAME_BYTES_MAX];
    let refused = session.publish(large, 0);
    assert!(matches!(
        refused,
        Err(NotTaken::Never(Error::TooLarge { .. }))
    ));
    assert_eq!(session.settled_counts(), [0, 1, 0, 0], "it is over");
    let unnamed = session.publish(draft("nothing"), 0);
    assert!(matches!(unnamed, Err(NotTaken::Never(Error::Channel(_)))));
}

#[test]
fn history_is_answered_by_its_page_or_its_error() {
    let mut session = online(0);
    let query = HistoryQuery {
        channel: "chat.a~b".into(),
        after: None,
        limit: 5,
    };
    let first = session.history(query.clone(), 0).unwrap();
    let second = session.history(query.clone(), 0).unwrap();
    let third = session.history(query, 0).unwrap();
    for _ in 0..3 {
        assert_eq!(next_kind(&mut session, 0), Some("History"));
    }
    let page = |request_id, stale| {
        let fields = HistoryPageFields {
            request_id,
            channel: "chat.a~b",
            top: None,
            recovered: true,
            reason: wire::PositionReason::None,
            more: false,
            stale,
        };
        let mut encoder = FrameEncoder::new();
        encoder.history_page(&fields, std::iter::empty()).to_vec()
    };
    session.on_message(&page(1, false), 0).unwrap();
    session
        .on_message(&error(ErrorCode::HistoryUnavailable, 2), 0)
        .unwrap();
    session.on_message(&page(3, true), 0).unwrap();
    let answers: Vec<(u64, Option<bool>)> = events(&mut session)
        .into_iter()
        .map(|event| match event {
            SessionEvent::History { ticket, result } => (ticket, result.ok().map(|it| it.stale)),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [(first, Some(false)), (second, None), (third, Some(true))];
    assert_eq!(answers, expected);
}

#[test]
fn presence_is_asked_again_after_a_loss_and_answered_by_its_page_or_its_error() {
    let mut session = online(0);
    let query = |page: Option<&str>| PresenceQuery {
        channel: "class.m1".into(),
        page: page.map(Box::from),
    };
    let first = session.presence(query(None), 0).unwrap();
    assert_eq!(next_kind(&mut session, 0), Some("Presence"));
    session.on_lost(Loss::Timeout, 10);
    let due_ms = session.deadline_ms(10, true).unwrap();
    open(&mut session, due_ms);
    session.next_frame(due_ms).expect("Hello");
    session.on_message(&welcome(false), due_ms).unwrap();
    let second = session.presence(query(Some("ada")), due_ms).unwrap();
    for expected in [None, Some("ada")] {
        let frame = session.next_frame(due_ms).expect("Presence").to_vec();
        let Ok(ClientFrame::Presence(asked)) = decode_client(&frame, &FrameLimits::CLIENT) else {
            panic!("a Presence was expected");
        };
        assert_eq!((asked.channel(), asked.page()), ("class.m1", expected));
    }
    let member = interlink_protocol::frame::MemberFields {
        user: "ada",
        devices: 2,
    };
    let page = FrameEncoder::new()
        .presence_page(1, "class.m1", 7, &[member], (Some("ada"), true))
        .to_vec();
    session.on_message(&page, due_ms).unwrap();
    session
        .on_message(&error(ErrorCode::NotPermitted, 2), due_ms)
        .unwrap();
    // Nobody has asked for that one.
    session.on_message(&page, due_ms).unwrap();
    let answers = events(&mut session)
        .into_iter()
        .filter_map(|event| match event {
            SessionEvent::Presence { ticket, result } => Some((ticket, result.ok())),
            _ => None,
        });
    let expected = PresencePage {
        count: 7,
        members: vec![PresenceMember {
            user: "ada".into(),
            devices: 2,
        }],
        next: Some("ada".into()),
        stale: true,
    };
    let answers: Vec<_> = answers.collect();
    assert_eq!(answers, [(first, Some(expected)), (second, None)]);
}

#[test]
fn a_question_for_presence_ends_with_its_time_and_with_the_client() {
    let mut session = online(0);
    let query = PresenceQuery {
        channel: "class.m1".into(),
        page: None,
    };
    let late = session.presence(query.clone(), 0).unwrap();
    let open = session.presence(query.clone(), 5).unwrap();
    session.on_timer(limits::QUERY_TIMEOUT_MS);
    session.close();
    assert!(session.presence(query, 6).is_err());
    let ended: Vec<_> = events(&mut session)
        .into_iter()
        .filter_map(|event| match event {
            SessionEvent::Presence { ticket, result } => Some((ticket, result.unwrap_err())),
            _ => None,
        })
        .collect();
    assert_eq!(ended.len(), 2);
    assert!(matches!(ended[0], (ticket, Error::TimedOut(_)) if ticket == late));
    assert!(matches!(ended[1], (ticket, Error::Closed(_)) if ticket == open));
}

#[test]
fn acknowledgements_leave_before_the_unsubscribe_of_their_channel() {
    let mut session = online(0);
    let channel: Arc<str> = "user.ada".into();
    session
        .subscribe(&channel, SubscribeOptions::default())
        .unwrap();
    assert_eq!(next_kind(&mut session, 0), Some("Subscribe"));
    let fields = interlink_protocol::frame::SubscribedFields {
        channel: "user.ada",
        state: wire::SubscriptionState::Live,
        position: Some(Position::ZERO),
        recovery: Default::default(),
        code: 0,
    };
    let answer = FrameEncoder::new().subscribed(1, &[fields]).to_vec();
    session.on_message(&answer, 0).unwrap();
    let position = Position {
        epoch: 1,
        offset: 3,
        chain: 4,
    };
    session.acknowledge(&channel, position, 0);
    assert_eq!(
        next_kind(&mut session, 0),
        None,
        "acknowledgements are batched"
    );
    session.unsubscribe(&channel);
    assert_eq!(next_kind(&mut session, 0), Some("Ack"));
    assert_eq!(next_kind(&mut session, 0), Some("Unsubscribe"));
    assert_eq!(next_kind(&mut session, 0), None);
}

#[test]
fn a_request_that_fails_as_a_whole_fails_its_channels() {
    let mut session = online(0);
    session
        .subscribe(&"chat.a~b".into(), SubscribeOptions::default())
        .unwrap();
    session.next_frame(0).unwrap();
    session
        .on_message(&error(ErrorCode::TooManyItems, 1), 0)
        .unwrap();
    let events = events(&mut session);
    assert!(matches!(
        events[..],
        [SessionEvent::SubscribeRefused { .. }]
    ));
}

#[test]
fn equal_inputs_give_equal_outputs() {
    let run = |seed| {
        let mut session = Session::new(SessionConfig::default(), InstanceId(1), seed);
        let mut deadlines = Vec::new();
        for _ in 0..5 {
            let now_ms = session.deadline_ms(0, true).unwrap();
            session.start_dial(now_ms);
            session.on_lost(Loss::Timeout, now_ms);
            deadlines.push(session.deadline_ms(now_ms, true));
        }
        deadlines
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4), "the jitter comes from the seed");
}
