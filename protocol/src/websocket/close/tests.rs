//! The closing handshake: the whole table, the codes on the wire, the payload.

use proptest::prelude::*;

use super::*;
use crate::session::machine::Machine;

#[test]
fn the_table_is_exactly_this() {
    use CloseState::{CloseReceived, CloseSent, Closed, Open};
    // One row for each state, one column for each event in the order of their declaration.
    let expected = [
        (
            Open,
            [
                Some(CloseSent),
                Some(CloseReceived),
                Some(Closed),
                Some(Closed),
            ],
        ),
        (CloseSent, [None, Some(Closed), Some(Closed), Some(Closed)]),
        (
            CloseReceived,
            [Some(Closed), None, Some(Closed), Some(Closed)],
        ),
        (Closed, [None, None, None, Some(Closed)]),
    ];
    assert_eq!(&expected.map(|(state, _)| state), CloseState::STATES);
    for (state, row) in expected {
        for (event, next) in CloseState::EVENTS.iter().zip(row) {
            assert_eq!(state.after(*event), next, "{event:?} in {state:?}");
        }
    }
}

#[test]
fn only_an_open_connection_may_send() {
    for state in CloseState::ALL {
        assert_eq!(state.may_send(), *state == CloseState::Open);
    }
}

#[test]
fn exactly_the_sendable_codes_are_accepted() {
    for code in 0..=u16::MAX {
        let payload = code.to_be_bytes();
        let by_specification = match code {
            // Section 7.4.1 forbids these on the wire, and section 7.4.2 leaves the rest of
            // 1000-2999 to registrations, of which 1012-1014 exist.
            1004..=1006 => false,
            1000..=1014 => true,
            3000..=4999 => true,
            _ => false,
        };
        let expected = match by_specification {
            true => Ok(CloseFrame {
                code: Some(code),
                reason: "",
            }),
            false => Err(Violation::CloseCodeInvalid(code)),
        };
        assert_eq!(parse(&payload), expected);
    }
}

#[test]
fn payloads_are_checked() {
    assert_eq!(
        parse(b""),
        Ok(CloseFrame {
            code: None,
            reason: ""
        })
    );
    assert_eq!(parse(b"\x03"), Err(Violation::CloseTooShort));
    assert_eq!(
        parse(b"\x03\xe8bye"),
        Ok(CloseFrame {
            code: Some(1000),
            reason: "bye"
        })
    );
    assert_eq!(parse(b"\x03\xe8\xff"), Err(Violation::CloseReasonNotUtf8));
    assert_eq!(
        parse(b"\x03\xe8\xe2\x82"),
        Err(Violation::CloseReasonNotUtf8)
    );
}

#[test]
fn the_answer_repeats_a_valid_code_and_names_a_violation() {
    assert_eq!(answer(b""), None);
    assert_eq!(answer(b"\x03\xe8bye"), Some(code::NORMAL));
    assert_eq!(answer(b"\x0f\xa0"), Some(4000));
    assert_eq!(answer(b"\x03"), Some(code::PROTOCOL_ERROR));
    assert_eq!(answer(b"\x03\xed"), Some(code::PROTOCOL_ERROR));
    assert_eq!(answer(b"\x03\xe8\xff"), Some(code::NOT_CONSISTENT));
}

#[test]
fn a_close_frame_without_a_code_is_empty() {
    let mut out = Vec::new();
    append_server_close(None, "is dropped", &mut out);
    assert_eq!(out, b"\x88\x00");
}

proptest! {
    #[test]
    fn written_payloads_fit_and_are_read_back(code in 3000u16..5000, reason in ".{0,80}") {
        let mut out = [0; CONTROL_PAYLOAD_BYTES_MAX];
        let length = write_payload(Some(code), &reason, &mut out);
        let frame = parse(&out[..length]).expect("a valid payload");
        prop_assert_eq!(frame.code, Some(code));
        prop_assert!(reason.starts_with(frame.reason));
        let is_cut = frame.reason.len() < reason.len();
        prop_assert_eq!(is_cut, reason.len() > CLOSE_REASON_BYTES_MAX);
        // The cut takes no more than it must: at most 3 bytes of a character are given up.
        prop_assert!(!is_cut || frame.reason.len() + 3 >= CLOSE_REASON_BYTES_MAX);
    }
}
