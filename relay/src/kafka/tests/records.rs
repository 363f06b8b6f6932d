//! Form of records: what is encoded is decoded, and nothing else is believed.

use proptest::prelude::*;

use super::super::record::{decode, origin_of, Encoded, Item, RecordFault, HEADERS};
use super::*;
use crate::event_log::LogRecord;

type Pairs = Vec<(Box<str>, Box<[u8]>)>;

fn pairs(encoded: &Encoded) -> Pairs {
    let headers = encoded.headers("eu").into_iter();
    headers
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

#[test]
fn an_event_keeps_everything() {
    for given in [None, Some(placement(4))] {
        let frame = frame("class.algebra", "ada", 7, given.unwrap_or_default());
        let mut append = append(Priority::P3, "class.algebra", 7, &frame);
        append.record.placement = given;
        let encoded = Encoded::of(&append, "node-1");
        assert_eq!(encoded.key(), b"ada");
        let headers = pairs(&encoded);
        assert_eq!(origin_of(&headers), Some("eu"));
        let Ok(Item::Event(event)) = decode(&headers, encoded.value()) else {
            panic!("no event");
        };
        assert_eq!((&*event.node, &*event.origin), ("node-1", "eu"));
        assert_eq!(event.record, LogRecord::of(&append.record, append.from));
    }
}

#[test]
fn a_position_that_is_known_is_written_into_the_frame() {
    let frame = frame("class.algebra", "ada", 7, Placement::default());
    let mut append = append(Priority::P1, "class.algebra", 7, &frame);
    append.record.placement = Some(placement(4));
    let encoded = Encoded::of(&append, "node-1");
    let Ok(Item::Event(event)) = decode(&pairs(&encoded), encoded.value()) else {
        panic!("no event");
    };
    assert_eq!(event.record.placement, Some(placement(4)));
}

#[test]
fn a_position_has_the_key_of_its_event() {
    let frame = frame("chat.room", "ada", 7, Placement::default());
    let mut append = append(Priority::P1, "chat.room", 7, &frame);
    let event = Encoded::of(&append, "node-1");
    append.kind = AppendKind::Positioned;
    append.record.placement = Some(placement(4));
    let encoded = Encoded::of(&append, "node-1");
    assert_eq!(encoded.key(), event.key());
    let Ok(Item::Positioned(position)) = decode(&pairs(&encoded), encoded.value()) else {
        panic!("no position");
    };
    assert_eq!(position.placement, placement(4));
    assert_eq!(&*position.channel, "chat.room");
    assert_eq!(position.record, append.record.record);
    assert_eq!(position.at, append.from);
}

#[test]
fn a_forwarded_event_keeps_its_identity_and_gets_a_place() {
    let frame = frame("chat.room", "ada", 7, placement(3));
    let append = append(Priority::P1, "chat.room", 7, &frame);
    let encoded = Encoded::of(&append, "node-1");
    let there = Consumed {
        offset: 5,
        timestamp_ms: 0,
        key: encoded.key().into(),
        value: encoded.value().into(),
        headers: pairs(&encoded).into(),
    };
    let before = there.decode();
    let forwarded = Encoded::forwarded(&there, AppendKind::Event, placement(90));
    let (forwarded, class) = forwarded.expect("an event");
    assert_eq!((class, forwarded.key()), (Priority::P1, encoded.key()));
    let headers: Pairs = forwarded
        .headers("us")
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let (Ok(Item::Event(before)), Ok(Item::Event(after))) =
        (before, decode(&headers, forwarded.value()))
    else {
        panic!("no events");
    };
    assert_eq!((&*after.origin, &*after.node), ("eu", "node-1"));
    assert_eq!(after.record.placement, Some(placement(90)));
    assert_eq!(after.record.at, before.record.at);
    assert_eq!(after.record.record, before.record.record);

    let position = Encoded::forwarded(&there, AppendKind::Positioned, placement(91));
    let (position, _) = position.expect("an event");
    let read = decode(&pairs(&position), position.value());
    let Ok(Item::Positioned(position)) = read else {
        panic!("no position: {read:?}");
    };
    assert_eq!((&*position.origin, &*position.channel), ("eu", "chat.room"));
    assert_eq!(position.placement, placement(91));
}

#[test]
fn a_missing_header_is_named() {
    let frame = frame("chat.room", "ada", 7, Placement::default());
    let append = append(Priority::P1, "chat.room", 7, &frame);
    let encoded = Encoded::of(&append, "node-1");
    for name in HEADERS {
        let mut headers = pairs(&encoded);
        headers.retain(|(header, _)| **header != *name);
        let fault = decode(&headers, encoded.value()).expect_err("missing");
        assert_eq!(fault, RecordFault::Missing(name));
    }
}

#[test]
fn what_a_later_version_appends_is_ignored() {
    let frame = frame("chat.room", "ada", 7, Placement::default());
    let append = append(Priority::P1, "chat.room", 7, &frame);
    let encoded = Encoded::of(&append, "node-1");
    let mut headers = pairs(&encoded);
    for (name, value) in &mut headers {
        if ["interlink-publish", "interlink-record"].contains(&&**name) {
            *value = [&**value, b"more"].concat().into();
        }
    }
    headers.push(("interlink-later".into(), Box::default()));
    assert!(decode(&headers, encoded.value()).is_ok());
}

proptest! {
    /// Damaged headers and values give an error or a record, and never a panic.
    #[test]
    fn damage_never_panics(
        index in 0usize..5,
        cut in 0usize..64,
        flip in any::<u8>(),
        value in prop::collection::vec(any::<u8>(), 0..96),
        damage_value in any::<bool>(),
        positioned in any::<bool>(),
    ) {
        let frame = frame("chat.room", "ada", 7, placement(3));
        let mut append = append(Priority::P1, "chat.room", 7, &frame);
        if positioned {
            append.kind = AppendKind::Positioned;
        }
        let encoded = Encoded::of(&append, "node-1");
        let mut headers = pairs(&encoded);
        let damaged = &mut headers[index].1;
        let keep = cut.min(damaged.len());
        let mut bytes = damaged[..keep].to_vec();
        if let Some(first) = bytes.first_mut() {
            *first ^= flip;
        }
        *damaged = bytes.into();
        let read = if damage_value { &value } else { encoded.value() };
        let _ = decode(&headers, read);
    }

    /// Any frame cut or changed anywhere is refused or read within its bounds.
    #[test]
    fn a_damaged_frame_never_panics(at in 0usize..200, byte in any::<u8>(), cut in 0usize..200) {
        let mut frame = frame("chat.room", "ada", 7, placement(3));
        let index = at % frame.len();
        frame[index] = byte;
        frame.truncate(cut.max(1));
        let append = append(Priority::P1, "chat.room", 7, &frame);
        let encoded = Encoded::of(&append, "node-1");
        let _ = decode(&pairs(&encoded), encoded.value());
    }
}
