//! Header reading and writing: the examples of the specification, every refusal, and both
//! readers against each other and against tungstenite.

use proptest::prelude::*;
use tungstenite::protocol::frame::coding::OpCode;

use super::*;
use crate::websocket::limits::SESSION_FRAME_BYTES;

const TEXT: Opcode = Opcode::Data(DataKind::Text);
const BINARY: Opcode = Opcode::Data(DataKind::Binary);
const CLOSE: Opcode = Opcode::Control(ControlKind::Close);
const PING: Opcode = Opcode::Control(ControlKind::Ping);
const PONG: Opcode = Opcode::Control(ControlKind::Pong);

fn header_of(input: &[u8], role: Role) -> Header {
    match parse(input, role) {
        Ok(Parsed::Header(header)) => header,
        other => panic!("{input:02x?} is a header, not {other:?}"),
    }
}

fn refused(input: &[u8], role: Role) -> Violation {
    parse(input, role).expect_err("a refusal")
}

/// A server's view of a client frame header: mask bit set, a key of zeros behind the length.
fn masked(first: u8, length: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    bytes.extend_from_slice(length);
    bytes[1] |= MASK_BIT;
    bytes.extend_from_slice(&[0; 4]);
    bytes
}

#[test]
fn the_examples_of_section_5_7_are_read() {
    let unmasked = [
        (vec![0x81, 0x05], TEXT, true, 5),
        (vec![0x01, 0x03], TEXT, false, 3),
        (vec![0x80, 0x02], Opcode::Continuation, true, 2),
        (vec![0x89, 0x05], PING, true, 5),
        (vec![0x82, 0x7e, 0x01, 0x00], BINARY, true, 256),
        (
            vec![0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0],
            BINARY,
            true,
            65_536,
        ),
    ];
    for (bytes, opcode, is_final, payload_bytes) in unmasked {
        let header_bytes = bytes.len();
        let expected = Header {
            opcode,
            is_final,
            key: [0; 4],
            header_bytes,
            payload_bytes,
        };
        assert_eq!(header_of(&bytes, Role::Client), expected);
    }
    let key = [0x37, 0xfa, 0x21, 0x3d];
    for (first, opcode) in [(0x81, TEXT), (0x8a, PONG)] {
        let bytes = [
            first, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ];
        let expected = Header {
            opcode,
            is_final: true,
            key,
            header_bytes: 6,
            payload_bytes: 5,
        };
        assert_eq!(header_of(&bytes, Role::Server), expected);
    }
}

#[test]
fn a_frame_with_the_wrong_mask_bit_is_refused_by_its_second_byte() {
    assert_eq!(
        refused(&[0x82, 0x05], Role::Server),
        Violation::ClientFrameUnmasked
    );
    assert_eq!(
        refused(&[0x82, 0x85], Role::Client),
        Violation::ServerFrameMasked
    );
}

#[test]
fn every_reserved_bit_is_refused() {
    for bit in [0x10, 0x20, 0x40] {
        assert_eq!(
            refused(&[0x82 | bit, 0x80], Role::Server),
            Violation::ReservedBits
        );
    }
}

#[test]
fn every_reserved_opcode_is_refused() {
    for bits in (3..=7).chain(11..=15) {
        let violation = refused(&[FIN | bits, 0x80], Role::Server);
        assert_eq!(violation, Violation::ReservedOpcode(bits));
    }
}

#[test]
fn control_frames_are_whole_and_at_most_125_bytes() {
    for opcode in [CLOSE, PING, PONG] {
        let bits = opcode.bits();
        assert_eq!(
            refused(&[bits, 0x80], Role::Server),
            Violation::ControlFragmented
        );
        for length in [LENGTH_16, LENGTH_64] {
            let start = [FIN | bits, MASK_BIT | length];
            assert_eq!(refused(&start, Role::Server), Violation::ControlTooLong);
        }
        assert_eq!(
            header_of(&masked(FIN | bits, &[125]), Role::Server).payload_bytes,
            125
        );
    }
}

#[test]
fn lengths_are_minimal_and_have_63_bits() {
    let length_16 = |value: u16| [&[LENGTH_16][..], &value.to_be_bytes()].concat();
    let length_64 = |value: u64| [&[LENGTH_64][..], &value.to_be_bytes()].concat();
    let verdict = |length: &[u8]| match parse(&masked(0x82, length), Role::Server) {
        Ok(Parsed::Header(header)) => Ok(header.payload_bytes),
        Ok(Parsed::Wanted(_)) => panic!("the header is complete"),
        Err(violation) => Err(violation),
    };
    assert_eq!(verdict(&length_16(125)), Err(Violation::LengthNotMinimal));
    assert_eq!(verdict(&length_16(126)), Ok(126));
    assert_eq!(
        verdict(&length_64(65_535)),
        Err(Violation::LengthNotMinimal)
    );
    assert_eq!(verdict(&length_64(65_536)), Ok(65_536));
    assert_eq!(verdict(&length_64(u64::MAX >> 1)), Ok(u64::MAX >> 1));
    assert_eq!(
        verdict(&length_64(1 << 63)),
        Err(Violation::LengthOutOfRange)
    );
    assert_eq!(
        verdict(&length_64(u64::MAX)),
        Err(Violation::LengthOutOfRange)
    );
}

#[test]
fn a_cut_header_tells_how_many_bytes_it_needs() {
    let headers = [
        (masked(0x82, &[5]), 6),
        (masked(0x82, &[LENGTH_16, 1, 0]), 8),
        (masked(0x82, &[LENGTH_64, 0, 0, 0, 0, 0, 1, 0, 0]), 14),
    ];
    for (bytes, length) in headers {
        assert_eq!(bytes.len(), length);
        for cut in 0..length {
            let wanted = if cut < 2 { 2 } else { length };
            assert_eq!(
                parse(&bytes[..cut], Role::Server),
                Ok(Parsed::Wanted(wanted))
            );
            assert_eq!(find_whole(&bytes[..cut], Role::Server, u32::MAX), None);
        }
        assert_eq!(header_of(&bytes, Role::Server).header_bytes, length);
    }
}

#[test]
fn a_length_is_refused_before_the_key_has_come() {
    assert_eq!(
        refused(&[0x82, 0xfe, 0, 125], Role::Server),
        Violation::LengthNotMinimal
    );
}

/// What the complete parser would hand the hot path, if the frame is the hot case.
fn hot_case_by_parse(input: &[u8], role: Role, limit: u32) -> Option<WholeFrame> {
    let Ok(Parsed::Header(header)) = parse(input, role) else {
        return None;
    };
    let Opcode::Data(kind) = header.opcode else {
        return None;
    };
    let payload_start = header.header_bytes;
    let payload_end = payload_start + usize::try_from(header.payload_bytes).ok()?;
    let is_hot = header.is_final
        && header.payload_bytes <= u64::from(limit.min(u32::from(u16::MAX)))
        && payload_end <= input.len()
        && input.len() >= 4;
    is_hot.then_some(WholeFrame {
        kind,
        key: header.key,
        payload_start,
        payload_end,
    })
}

#[test]
fn the_hot_reader_and_the_complete_one_agree_on_all_first_two_bytes() {
    // Third and fourth byte: a length of 200, which fits the input, a length of 125, which is
    // not minimal, and one beyond the input.
    for length in [200u16, 125, 126, 4_000] {
        let mut input = vec![0u8; 2_000];
        input[2..4].copy_from_slice(&length.to_be_bytes());
        for start in 0..=u16::MAX {
            input[..2].copy_from_slice(&start.to_be_bytes());
            for (role, limit) in [
                (Role::Server, 65_536),
                (Role::Client, 65_536),
                (Role::Server, 150),
            ] {
                let expected = hot_case_by_parse(&input, role, limit);
                assert_eq!(
                    find_whole(&input, role, limit),
                    expected,
                    "{start:04x} {role:?}"
                );
            }
        }
    }
}

#[test]
fn written_headers_equal_the_writer_of_tungstenite() {
    let key = [1, 2, 3, 4];
    for payload_bytes in [0, 1, 125, 126, 127, 255, 256, 65_535, 65_536, 1 << 24] {
        for opcode in [TEXT, BINARY, Opcode::Continuation, PONG] {
            for is_final in [true, false] {
                let mut peer = FrameHeader {
                    is_final,
                    opcode: OpCode::from(opcode.bits()),
                    ..FrameHeader::default()
                };
                let mut expected = Vec::new();
                peer.format(payload_bytes as u64, &mut expected)
                    .expect("a vector takes all");
                let mut server = [0; SERVER_HEADER_BYTES_MAX];
                let length = server_header(opcode, is_final, payload_bytes, &mut server);
                assert_eq!(&server[..length], expected);

                peer.mask = Some(key);
                expected.clear();
                peer.format(payload_bytes as u64, &mut expected)
                    .expect("a vector takes all");
                let mut client = [0; CLIENT_HEADER_BYTES_MAX];
                let length = client_header(opcode, is_final, payload_bytes, key, &mut client);
                assert_eq!(&client[..length], expected);
            }
        }
    }
}

#[test]
fn appended_frames_are_the_examples_of_section_5_7() {
    let mut out = Vec::new();
    append_server_frame(TEXT, true, b"Hello", &mut out);
    assert_eq!(out, b"\x81\x05Hello");
    out.clear();
    append_client_frame(TEXT, true, b"Hello", [0x37, 0xfa, 0x21, 0x3d], &mut out);
    assert_eq!(out, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
}

proptest! {
    #[test]
    fn accepted_headers_equal_the_parser_of_tungstenite(
        first: u8,
        second: u8,
        rest in prop::collection::vec(any::<u8>(), 0..16),
    ) {
        let mut input = vec![first, second];
        input.extend_from_slice(&rest);
        for role in [Role::Server, Role::Client] {
            let peer = FrameHeader::parse(&mut Cursor::new(&input[..]));
            match parse(&input, role) {
                Ok(Parsed::Header(header)) => {
                    let (peer, length) = peer.expect("no refusal").expect("complete");
                    prop_assert_eq!(u8::from(peer.opcode), header.opcode.bits());
                    prop_assert_eq!(peer.is_final, header.is_final);
                    prop_assert_eq!(peer.mask.unwrap_or_default(), header.key);
                    prop_assert_eq!(length, header.payload_bytes);
                    prop_assert_eq!(peer.len(length), header.header_bytes);
                }
                Ok(Parsed::Wanted(wanted)) => {
                    prop_assert!(wanted > input.len());
                    prop_assert!(matches!(peer, Ok(None)));
                }
                // We refuse more and earlier.
                Err(_) => {}
            }
        }
    }

    #[test]
    fn both_readers_agree_on_written_frames(
        payload_bytes in 0usize..70_000,
        is_text: bool,
        key: [u8; 4],
    ) {
        let opcode = if is_text { TEXT } else { BINARY };
        let mut frame = Vec::new();
        append_client_frame(opcode, true, &vec![7; payload_bytes], key, &mut frame);
        let header = header_of(&frame, Role::Server);
        prop_assert_eq!(header.opcode, opcode);
        prop_assert_eq!(header.key, key);
        prop_assert_eq!(header.header_bytes + payload_bytes, frame.len());
        let whole = find_whole(&frame, Role::Server, SESSION_FRAME_BYTES);
        prop_assert_eq!(whole, hot_case_by_parse(&frame, Role::Server, SESSION_FRAME_BYTES));
        prop_assert_eq!(whole.is_some(), payload_bytes < 65_536);
    }
}
