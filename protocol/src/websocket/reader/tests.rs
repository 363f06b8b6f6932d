//! The reader step by step: the hot path, fragments, pieces, control frames, refusals.

use super::*;
use crate::websocket::frame::append_client_frame;

const KEY: Key = [0x37, 0xfa, 0x21, 0x3d];
const BINARY: Opcode = Opcode::Data(DataKind::Binary);
const TEXT: Opcode = Opcode::Data(DataKind::Text);
const PING: Opcode = Opcode::Control(ControlKind::Ping);

const PIECES: Limits = Limits {
    delivery: Delivery::Pieces,
    ..Limits::SESSION
};

fn client_frame(opcode: Opcode, is_final: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    append_client_frame(opcode, is_final, payload, KEY, &mut out);
    out
}

#[test]
fn a_whole_frame_is_handed_out_where_it_lies() {
    let mut input = client_frame(BINARY, true, b"payload");
    let frame_bytes = input.len();
    input.extend_from_slice(b"next");
    let place = input[6..].as_ptr();
    let mut reader = Reader::server();
    match reader.next(&mut input, &Limits::SESSION) {
        Step::Message {
            kind: DataKind::Binary,
            payload,
            consumed,
        } => {
            assert_eq!((&*payload, payload.as_ptr()), (&b"payload"[..], place));
            assert_eq!(consumed, frame_bytes);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(reader, Reader::server());
    assert_eq!(&input[frame_bytes..], b"next");
}

#[test]
fn a_client_reads_unmasked_frames() {
    let mut input = *b"\x81\x05Hello";
    let mut reader = Reader::client();
    let step = reader.next(&mut input, &Limits::SESSION);
    let payload = &mut b"Hello".to_owned();
    assert_eq!(
        step,
        Step::Message {
            kind: DataKind::Text,
            payload,
            consumed: 7
        }
    );
    let mut masked = client_frame(TEXT, true, b"Hello");
    let step = reader.next(&mut masked, &Limits::SESSION);
    assert_eq!(step, Step::Failed(Violation::ServerFrameMasked));
}

#[test]
fn an_empty_frame_is_a_message() {
    for opcode in [TEXT, BINARY] {
        let mut input = client_frame(opcode, true, b"");
        let step = Reader::server().next(&mut input, &Limits::SESSION);
        assert!(
            matches!(
                step,
                Step::Message {
                    payload: [],
                    consumed: 6,
                    ..
                }
            ),
            "{step:?}"
        );
    }
    let mut input = *b"\x82\x00";
    let step = Reader::client().next(&mut input, &Limits::SESSION);
    assert!(
        matches!(
            step,
            Step::Message {
                payload: [],
                consumed: 2,
                ..
            }
        ),
        "{step:?}"
    );
}

#[test]
fn a_cut_frame_waits_and_says_for_how_much() {
    for payload_bytes in [0usize, 5, 125, 126, 60_000, 65_536] {
        let frame = client_frame(BINARY, true, &vec![1; payload_bytes]);
        let mut reader = Reader::server();
        for cut in [0, 1, 2, 5, 9, 13, 14, frame.len() - 1] {
            let mut input = frame[..cut.min(frame.len() - 1)].to_vec();
            let before = input.clone();
            match reader.next(&mut input, &Limits::SESSION) {
                Step::NeedMore { wanted } => assert!(wanted > input.len() && wanted <= frame.len()),
                other => panic!("{other:?}"),
            }
            assert_eq!((reader, input), (Reader::server(), before));
        }
        let mut whole = frame.clone();
        let step = reader.next(&mut whole, &Limits::SESSION);
        let length = match step {
            Step::Message { payload, .. } => payload.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(length, payload_bytes);
    }
}

#[test]
fn a_frame_above_the_limit_is_refused_by_its_header() {
    // 64 KiB + 1 declared, no payload byte sent; the same for the largest length there is.
    for length in [SESSION_LIMIT + 1, u64::MAX >> 1] {
        let mut input = [&[0x82, 0xff][..], &length.to_be_bytes(), &KEY].concat();
        for limits in [Limits::SESSION, PIECES] {
            let step = Reader::server().next(&mut input, &limits);
            let limit = limits.frame_bytes;
            assert_eq!(step, Step::Failed(Violation::FrameTooLong { limit }));
        }
    }
}

const SESSION_LIMIT: u64 = Limits::SESSION.frame_bytes as u64;

#[test]
fn the_hot_path_respects_the_limit() {
    let limits = Limits {
        frame_bytes: 10,
        message_bytes: 10,
        ..Limits::SESSION
    };
    let mut input = client_frame(BINARY, true, &[0; 10]);
    let step = Reader::server().next(&mut input, &limits);
    assert!(matches!(step, Step::Message { .. }), "{step:?}");
    let mut input = client_frame(BINARY, true, &[0; 11]);
    let step = Reader::server().next(&mut input, &limits);
    assert_eq!(step, Step::Failed(Violation::FrameTooLong { limit: 10 }));
}

#[test]
fn fragments_come_with_control_frames_between_them() {
    let mut input = [
        client_frame(TEXT, false, b"Hel"),
        client_frame(PING, true, b"are you there"),
        client_frame(Opcode::Continuation, false, b""),
        client_frame(Opcode::Continuation, true, b"lo"),
    ]
    .concat();
    let mut reader = Reader::server();
    let mut at = 0;
    let mut seen = Vec::new();
    loop {
        let consumed = match reader.next(&mut input[at..], &Limits::SESSION) {
            Step::Fragment {
                kind: DataKind::Text,
                payload,
                consumed,
                ends_message,
            } => {
                seen.push((payload.to_vec(), ends_message));
                consumed
            }
            Step::Control {
                kind: ControlKind::Ping,
                payload,
                consumed,
            } => {
                assert_eq!(payload, b"are you there");
                assert!(!reader.is_between_messages());
                consumed
            }
            Step::NeedMore { wanted: 2 } => break,
            other => panic!("{other:?}"),
        };
        at += consumed;
    }
    assert_eq!(at, input.len());
    let expected = [
        (b"Hel".to_vec(), false),
        (Vec::new(), false),
        (b"lo".to_vec(), true),
    ];
    assert_eq!(seen, expected);
    assert_eq!(reader, Reader::server());
}

#[test]
fn a_new_message_inside_an_open_one_is_refused() {
    let mut reader = Reader::server();
    let mut first = client_frame(BINARY, false, b"a");
    assert!(matches!(
        reader.next(&mut first, &Limits::SESSION),
        Step::Fragment { .. }
    ));
    let mut second = client_frame(BINARY, true, b"b");
    let step = reader.next(&mut second, &Limits::SESSION);
    assert_eq!(step, Step::Failed(Violation::MessageUnfinished));
}

#[test]
fn a_failed_step_can_be_repeated() {
    let mut reader = Reader::server();
    let mut input = client_frame(Opcode::Continuation, true, b"b");
    for _ in 0..2 {
        let step = reader.next(&mut input, &Limits::SESSION);
        assert_eq!(step, Step::Failed(Violation::ContinuationUnexpected));
    }
}

#[test]
fn pieces_come_as_they_arrive_and_are_unmasked_once() {
    let content: Vec<u8> = (0..1_000u32).map(|i| i as u8).collect();
    let frame = client_frame(BINARY, true, &content);
    for piece_bytes in [1, 2, 3, 5, 7, 64, 999] {
        let mut reader = Reader::server();
        let mut carried = Vec::new();
        let mut message = Vec::new();
        let mut ended = false;
        for piece in frame.chunks(piece_bytes) {
            carried.extend_from_slice(piece);
            let consumed = match reader.next(&mut carried, &PIECES) {
                Step::NeedMore { wanted } => {
                    assert!(wanted > carried.len());
                    0
                }
                Step::Fragment {
                    payload,
                    consumed,
                    ends_message,
                    ..
                } => {
                    message.extend_from_slice(payload);
                    ended = ends_message;
                    consumed
                }
                other => panic!("{other:?}"),
            };
            carried.drain(..consumed);
        }
        assert!(ended && carried.is_empty(), "{piece_bytes}");
        assert_eq!(message, content);
        assert_eq!(reader, Reader::server());
    }
}

#[test]
fn an_empty_input_inside_a_frame_asks_for_a_byte() {
    let frame = client_frame(BINARY, true, b"ab");
    let mut reader = Reader::server();
    let mut start = frame[..6].to_vec();
    let step = reader.next(&mut start, &PIECES);
    assert!(matches!(
        step,
        Step::Fragment {
            payload: [],
            consumed: 6,
            ends_message: false,
            ..
        }
    ));
    assert_eq!(reader.next(&mut [], &PIECES), Step::NeedMore { wanted: 1 });
}

#[test]
fn control_frames_always_come_whole() {
    let frame = client_frame(PING, true, &[9; 125]);
    let mut cut = frame[..100].to_vec();
    let step = Reader::server().next(&mut cut, &PIECES);
    assert_eq!(
        step,
        Step::NeedMore {
            wanted: frame.len()
        }
    );
    assert!(frame.len() <= crate::websocket::limits::CARRIED_BYTES_MAX);
}
