//! What the module promises, one test a promise.

use interlink_wire as wire;
use proptest::prelude::*;

use super::error::Damage;
use super::event::{patch_position, read_position, NotAnEvent};
use super::*;
use crate::ids::{InstanceId, Position, RecordId, SessionKey};
use crate::limits;
use crate::priority::Priority;

const POSITION: Position = Position {
    epoch: 5,
    offset: 6,
    chain: 7,
};

fn event<'a>(payload: &'a [u8], trace: Option<TraceFields<'a>>) -> EventFields<'a> {
    EventFields {
        channel: "chat.ada~bob",
        position: Position::ZERO,
        previous_chain: 0,
        record: RecordId(99),
        publisher: "ada",
        priority: Priority::P1,
        event_type: 3,
        schema_version: 1,
        server_time_us: 1_000,
        payload,
        conflation_key: None,
        trace,
    }
}

fn decoded_event(bytes: &[u8]) -> EventFields<'_> {
    match decode_server(bytes, &FrameLimits::SERVER).unwrap() {
        ServerFrame::Event(event) => event.into(),
        other => panic!("not an event: {}", other.kind()),
    }
}

#[test]
fn an_encoded_event_is_positioned_in_place() {
    let mut encoder = FrameEncoder::new();
    let mut frame = encoder.event(&event(b"hello", None)).to_vec();
    assert_eq!(read_position(&frame), Ok((Position::ZERO, 0)));
    let before = frame.clone();
    patch_position(&mut frame, POSITION, 42).unwrap();
    assert_eq!(read_position(&frame), Ok((POSITION, 42)));
    let read = decoded_event(&frame);
    assert_eq!((read.position, read.previous_chain), (POSITION, 42));
    assert_eq!(
        (read.payload, read.publisher, read.record),
        (&b"hello"[..], "ada", RecordId(99))
    );
    let changed = frame.iter().zip(&before).filter(|(a, b)| a != b).count();
    assert!(
        changed <= 32,
        "{changed} bytes changed outside position and chain"
    );
}

#[test]
fn a_frame_that_is_no_event_is_not_positioned() {
    let mut encoder = FrameEncoder::new();
    let mut frame = encoder.heartbeat(1, None).to_vec();
    let before = frame.clone();
    assert_eq!(patch_position(&mut frame, POSITION, 1), Err(NotAnEvent));
    assert_eq!(patch_position(&mut [], POSITION, 1), Err(NotAnEvent));
    assert_eq!(frame, before);
}

#[test]
fn a_frame_of_the_other_side_is_refused() {
    let mut encoder = FrameEncoder::new();
    let frame = encoder.heartbeat(1, None).to_vec();
    let error = decode_client(&frame, &FrameLimits::CLIENT).unwrap_err();
    assert_eq!(error, FrameError::WrongDirection("Heartbeat"));
    let frame = encoder.ack(&[("chat.x", POSITION)]).to_vec();
    let error = decode_server(&frame, &FrameLimits::SERVER).unwrap_err();
    assert_eq!(error, FrameError::WrongDirection("Ack"));
}

#[test]
fn bytes_without_the_identifier_or_too_many_are_refused() {
    let mut encoder = FrameEncoder::new();
    let mut frame = encoder.refresh(1, "token").to_vec();
    let small = FrameLimits {
        frame_bytes: frame.len() - 1,
    };
    let error = decode_client(&frame, &small).unwrap_err();
    assert_eq!(
        error,
        FrameError::TooLarge {
            bytes: frame.len(),
            most: frame.len() - 1
        }
    );
    let exact = FrameLimits {
        frame_bytes: frame.len(),
    };
    assert!(decode_client(&frame, &exact).is_ok());
    frame[4] = b'X';
    assert_eq!(
        decode_client(&frame, &exact).unwrap_err(),
        FrameError::Identifier
    );
    assert_eq!(
        decode_client(b"", &exact).unwrap_err(),
        FrameError::Identifier
    );
}

#[test]
fn a_kind_of_a_later_version_is_refused_by_its_number() {
    let mut encoder = FrameEncoder::new();
    let mut frame = encoder.refresh(1, "token").to_vec();
    let kind = wire::Body::Refresh.0;
    let at = layout::Table::root(&frame)
        .unwrap()
        .field(wire::Frame::VT_BODY_TYPE)
        .unwrap();
    assert_eq!(frame[at], kind);
    frame[at] = 200;
    let error = decode_client(&frame, &FrameLimits::CLIENT).unwrap_err();
    assert_eq!(error, FrameError::UnknownKind(200));
}

#[test]
fn lists_end_at_their_bound() {
    let mut encoder = FrameEncoder::new();
    let channels = vec![SubscribeFields::new("class.a"); limits::ITEMS_PER_FRAME + 1];
    let frame = encoder.subscribe(1, &channels[1..]).to_vec();
    assert!(decode_client(&frame, &FrameLimits::CLIENT).is_ok());
    let frame = encoder.subscribe(1, &channels).to_vec();
    let most = limits::ITEMS_PER_FRAME;
    let error = decode_client(&frame, &FrameLimits::CLIENT).unwrap_err();
    assert_eq!(
        error,
        FrameError::TooManyItems {
            items: most + 1,
            most
        }
    );

    let positions = vec![("class.a", POSITION); limits::CLIENT_TABLES];
    let frame = encoder.ack(&positions).to_vec();
    let error = decode_client(&frame, &FrameLimits::CLIENT).unwrap_err();
    assert_eq!(error, FrameError::Damaged(Damage::Bounds));
}

#[test]
fn a_hello_resumes_every_subscription_of_a_session() {
    let name = format!("class.{}", "x".repeat(limits::CHANNEL_BYTES - 6));
    let token = "t".repeat(limits::TOKEN_BYTES);
    let label = "l".repeat(limits::LABEL_BYTES);
    let positions = vec![(name.as_str(), POSITION); limits::SUBSCRIPTIONS_PER_SESSION];
    let mut encoder = FrameEncoder::new();
    let frame = encoder.hello(&HelloFields {
        token: &token,
        instance: InstanceId(1),
        device: Some(&label),
        client_name: Some(&label),
        client_version: Some(&label),
        resume: Some(ResumeFields {
            session: SessionKey(2),
            positions: &positions,
        }),
    });
    match decode_client(frame, &FrameLimits::HELLO).unwrap() {
        ClientFrame::Hello(hello) => {
            let resume = hello.resume().unwrap();
            assert_eq!(SessionKey::from(resume.session()), SessionKey(2));
            assert_eq!(resume.positions().unwrap().len(), positions.len());
        }
        other => panic!("not a hello: {}", other.kind()),
    }
}

#[test]
fn the_largest_event_fits_its_frame() {
    let channel = format!("class.{}", "x".repeat(limits::CHANNEL_BYTES - 6));
    let publisher = "p".repeat(limits::PUBLISHER_BYTES);
    let key = "k".repeat(limits::CONFLATION_KEY_BYTES);
    let parent = "t".repeat(limits::TRACEPARENT_BYTES);
    let state = "s".repeat(limits::TRACESTATE_BYTES);
    let payload = vec![0; limits::PAYLOAD_BYTES];
    let trace = TraceFields {
        traceparent: &parent,
        tracestate: Some(&state),
    };
    let mut fields = event(&payload, Some(trace));
    fields.channel = &channel;
    fields.publisher = &publisher;
    fields.conflation_key = Some(&key);
    let mut encoder = FrameEncoder::new();
    let frame = encoder.event(&fields).to_vec();
    assert_eq!(decoded_event(&frame).payload.len(), limits::PAYLOAD_BYTES);
    assert!(frame.len() <= limits::SERVER_FRAME_BYTES);
}

#[test]
fn the_conflation_key_of_an_event_is_found() {
    let mut fields = event(b"payload", None);
    let mut encoder = FrameEncoder::new();
    let key_of = super::event::conflation_key_of;
    assert_eq!(key_of(encoder.event(&fields)), None);
    fields.conflation_key = Some("cursor of ada");
    assert_eq!(key_of(encoder.event(&fields)), Some("cursor of ada"));
    assert_eq!(key_of(encoder.heartbeat(1, None)), None);
}

#[test]
fn full_pages_pass_the_verifier() {
    let mut encoder = FrameEncoder::new();
    let trace = TraceFields {
        traceparent: "00-1-2-01",
        tracestate: None,
    };
    let page = HistoryPageFields {
        request_id: 1,
        channel: "class.a",
        top: Some(POSITION),
        recovered: true,
        reason: wire::PositionReason::None,
        more: true,
        stale: true,
    };
    let events = std::iter::repeat_n(event(b"x", Some(trace)), limits::HISTORY_PAGE_EVENTS);
    let frame = encoder.history_page(&page, events);
    assert!(decode_server(frame, &FrameLimits::SERVER).is_ok());
    let user = "u".repeat(limits::NAME_BYTES);
    let members = vec![
        MemberFields {
            user: &user,
            devices: 1
        };
        limits::PRESENCE_PAGE_MEMBERS
    ];
    let frame = encoder.presence_page(1, "presence.a", 9, &members, (Some("page"), true));
    assert!(decode_server(frame, &FrameLimits::SERVER).is_ok());
}

#[test]
fn an_error_without_words_takes_the_meaning_of_its_code() {
    let mut encoder = FrameEncoder::new();
    let code = crate::ErrorCode::Overloaded;
    let fields = ErrorFields {
        code,
        message: "",
        retry_after_ms: 5,
        request_id: 3,
    };
    match decode_server(encoder.error(&fields), &FrameLimits::SERVER).unwrap() {
        ServerFrame::Error(error) => {
            assert_eq!(error.message(), Some(code.meaning()));
            assert_eq!((error.code(), error.temporary()), (306, true));
        }
        other => panic!("not an error: {}", other.kind()),
    }
}

proptest! {
    /// Any damage to any frame is an error or another valid frame, never a panic, and what
    /// passes can be read.
    #[test]
    fn damaged_frames_never_panic(
        which in 0..5,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        shorten in any::<bool>(),
    ) {
        let mut encoder = FrameEncoder::new();
        let mut frame = match which {
            0 => encoder.publish(&PublishFields::new(1, "chat.a~b", 3, b"payload")).to_vec(),
            1 => encoder.subscribe(1, &[SubscribeFields::new("class.a"); 3]).to_vec(),
            2 => encoder.pong(1, &[("class.a", POSITION); 2]).to_vec(),
            3 => encoder.event(&event(b"payload", None)).to_vec(),
            _ => encoder.refresh(1, "token").to_vec(),
        };
        for (at, value) in flips {
            let at = at.index(frame.len());
            frame[at] ^= value;
        }
        if shorten {
            frame.truncate(cut.index(frame.len()));
        }
        if let Ok(ClientFrame::Publish(publish)) = decode_client(&frame, &FrameLimits::CLIENT) {
            prop_assert!(publish.channel().len() + publish.payload().len() <= frame.len() * 2);
        }
        if let Ok(ServerFrame::Event(event)) = decode_server(&frame, &FrameLimits::SERVER) {
            let read = EventFields::from(event);
            prop_assert!(read.payload.len() <= frame.len());
            // What the verifier accepts as an event can be positioned, unless it lacks the
            // optional chain.
            prop_assert_eq!(super::event::conflation_key_of(&frame), read.conflation_key);
            if let Ok(places) = super::event::EventPlaces::find(&frame) {
                let (position, previous) = places.read(&frame);
                prop_assert_eq!((position, previous), (read.position, read.previous_chain));
            }
        }
        let _ = patch_position(&mut frame, POSITION, 1);
    }
}
