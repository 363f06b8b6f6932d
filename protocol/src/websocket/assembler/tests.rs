//! Limits on fragmented messages, each with the last message that passes and the first that
//! does not.

use super::*;
use crate::websocket::limits::Delivery;

const LIMITS: Limits = Limits {
    frame_bytes: 100,
    message_bytes: 250,
    fragments: 4,
    delivery: Delivery::Whole,
};

const BINARY: Opcode = Opcode::Data(DataKind::Binary);

fn header(opcode: Opcode, is_final: bool, payload_bytes: u64) -> Header {
    Header {
        opcode,
        is_final,
        key: [0; 4],
        header_bytes: 6,
        payload_bytes,
    }
}

/// Admits frames of these lengths as one unfinished message.
fn admit_all(lengths: &[u64]) -> Result<Progress, Violation> {
    let mut progress = Progress::new(Role::Server);
    for (index, length) in lengths.iter().enumerate() {
        let opcode = if index == 0 {
            BINARY
        } else {
            Opcode::Continuation
        };
        progress = progress.admit(&header(opcode, false, *length), &LIMITS)?;
    }
    Ok(progress)
}

#[test]
fn a_frame_is_bounded() {
    assert!(admit_all(&[100]).is_ok());
    assert_eq!(
        admit_all(&[101]),
        Err(Violation::FrameTooLong { limit: 100 })
    );
    assert_eq!(
        admit_all(&[u64::MAX >> 1]),
        Err(Violation::FrameTooLong { limit: 100 })
    );
}

#[test]
fn the_sum_of_fragments_is_bounded() {
    assert!(admit_all(&[100, 100, 50]).is_ok());
    assert_eq!(
        admit_all(&[100, 100, 51]),
        Err(Violation::MessageTooLong { limit: 250 })
    );
}

#[test]
fn empty_fragments_count() {
    assert!(admit_all(&[0, 0, 0, 0]).is_ok());
    assert_eq!(
        admit_all(&[0, 0, 0, 0, 0]),
        Err(Violation::FragmentsTooMany { limit: 4 })
    );
}

#[test]
fn fragments_come_in_order() {
    let start = Progress::new(Role::Client);
    let continuation = header(Opcode::Continuation, true, 1);
    assert_eq!(
        start.admit(&continuation, &LIMITS),
        Err(Violation::ContinuationUnexpected)
    );
    let open = start
        .admit(&header(BINARY, false, 1), &LIMITS)
        .expect("a first fragment");
    assert_eq!(
        open.admit(&header(BINARY, true, 1), &LIMITS),
        Err(Violation::MessageUnfinished)
    );
    assert!(open
        .admit(&continuation, &LIMITS)
        .expect("the last fragment")
        .is_final());
}

#[test]
fn a_control_frame_changes_nothing() {
    use crate::websocket::frame::ControlKind;
    let open = admit_all(&[0, 0, 0, 0]).expect("four fragments");
    let ping = header(Opcode::Control(ControlKind::Ping), true, 125);
    assert_eq!(open.admit(&ping, &LIMITS), Ok(open));
}

#[test]
fn the_end_of_a_message_keeps_the_role_only() {
    for role in [Role::Server, Role::Client] {
        let text = header(Opcode::Data(DataKind::Text), true, 9);
        let open = Progress::new(role)
            .admit(&text, &LIMITS)
            .expect("a message");
        assert_eq!((open.kind(), open.role()), (DataKind::Text, role));
        assert!(open.is_open());
        assert_eq!(open.ended(), Progress::new(role));
    }
}

#[test]
fn the_counters_hold_the_highest_limits() {
    let limits = Limits {
        frame_bytes: crate::websocket::limits::MESSAGE_BYTES_CEILING,
        message_bytes: crate::websocket::limits::MESSAGE_BYTES_CEILING,
        fragments: crate::websocket::limits::FRAGMENTS_CEILING,
        delivery: Delivery::Pieces,
    };
    assert!(limits.is_valid());
    let full = u64::from(limits.message_bytes);
    let mut progress = Progress::new(Role::Client);
    progress = progress
        .admit(&header(BINARY, false, full), &limits)
        .expect("the limit");
    for _ in 1..limits.fragments {
        progress = progress
            .admit(&header(Opcode::Continuation, false, 0), &limits)
            .expect("room");
    }
    assert_eq!(
        (progress.role(), progress.kind()),
        (Role::Client, DataKind::Binary)
    );
    assert!(progress.is_open() && !progress.is_final());
    let one_more = progress.admit(&header(Opcode::Continuation, false, 0), &limits);
    assert_eq!(
        one_more,
        Err(Violation::FragmentsTooMany {
            limit: limits.fragments
        })
    );
    let one_byte = progress.admit(&header(Opcode::Continuation, false, 1), &limits);
    assert_eq!(
        one_byte,
        Err(Violation::MessageTooLong {
            limit: limits.message_bytes
        })
    );
}

#[test]
fn fragments_join_and_the_buffer_shrinks_afterwards() {
    let mut assembler = Assembler::new(64);
    let large = [7u8; 1_000];
    assert_eq!(
        assembler.fragment(DataKind::Binary, &large, false),
        Ok(None)
    );
    let message = assembler
        .fragment(DataKind::Binary, b"end", true)
        .expect("bytes");
    assert_eq!(message.map(|message| message.payload.len()), Some(1_003));
    assert!(assembler.buffer_bytes() >= 1_003);
    let message = assembler
        .fragment(DataKind::Text, "né".as_bytes(), true)
        .expect("text");
    let expected = Assembled {
        kind: DataKind::Text,
        payload: "né".as_bytes(),
    };
    assert_eq!(message, Some(expected));
    assert!(assembler.buffer_bytes() < 1_000);
}

#[test]
fn text_is_checked_across_fragments_and_at_its_end() {
    let mut assembler = Assembler::new(0);
    assert_eq!(assembler.fragment(DataKind::Text, b"\xc3", false), Ok(None));
    assert!(assembler.fragment(DataKind::Text, b"\xa9", true).is_ok());
    assert_eq!(assembler.fragment(DataKind::Text, b"\xc3", false), Ok(None));
    let cut = assembler.fragment(DataKind::Text, b"", true);
    assert_eq!(cut, Err(Violation::TextNotUtf8));
    assert_eq!(
        Assembler::new(0).whole(DataKind::Text, b"\xff"),
        Err(Violation::TextNotUtf8)
    );
    assert!(Assembler::new(0).whole(DataKind::Binary, b"\xff").is_ok());
}
