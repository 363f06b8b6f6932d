//! The echo connection: handshake to close, and no memory by declared length.

use super::*;
use crate::websocket::frame::{append_client_frame, DataKind};
use crate::websocket::handshake::client::{parse_response, write_request, ClientRequest};

const KEY: [u8; 4] = [9, 8, 7, 6];
const TEXT: Opcode = Opcode::Data(DataKind::Text);
const CLOSE: Opcode = Opcode::Control(ControlKind::Close);
const PING: Opcode = Opcode::Control(ControlKind::Ping);

const REQUEST: ClientRequest<'_> = ClientRequest {
    target: "/",
    host: "localhost:7201",
    origin: None,
    subprotocol: None,
    nonce: [7; 16],
};

fn frames(frames: &[(Opcode, bool, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (opcode, is_final, payload) in frames {
        append_client_frame(*opcode, *is_final, payload, KEY, &mut out);
    }
    out
}

fn answer(input: &[u8]) -> (Next, Vec<u8>) {
    let mut out = Vec::new();
    let next = EchoConnection::opened(Limits::CONFORMANCE).receive(&mut input.to_vec(), &mut out);
    (next, out)
}

#[test]
fn a_connection_lives_from_handshake_to_close_at_any_pace() {
    let mut sent = Vec::new();
    write_request(&REQUEST, &mut sent);
    sent.extend(frames(&[
        (TEXT, false, b"He"),
        (PING, true, b"?"),
        (Opcode::Continuation, true, b"llo"),
        (CLOSE, true, b"\x03\xe8done"),
    ]));
    for pace in [1, 7, sent.len()] {
        let mut connection = EchoConnection::default();
        let mut out = Vec::new();
        let mut last = Next::Read;
        for piece in sent.clone().chunks_mut(pace) {
            assert_eq!(last, Next::Read);
            last = connection.receive(piece, &mut out);
        }
        assert!(last == Next::Close && connection.is_ended());
        let head = parse_response(&out, &REQUEST, &HandshakeLimits::DEFAULT);
        let head = head.expect("accepted").expect("complete");
        assert_eq!(&out[head..], b"\x8a\x01?\x81\x05Hello\x88\x02\x03\xe8");
    }
}

#[test]
fn a_bad_request_gets_one_refusal() {
    let mut out = Vec::new();
    let mut connection = EchoConnection::default();
    let next = connection.receive(&mut b"GET / HTTP/1.0\r\n\r\n".to_owned(), &mut out);
    assert_eq!(next, Next::Close);
    assert!(out.starts_with(b"HTTP/1.1 505 "));
    out.clear();
    assert_eq!(
        connection.receive(&mut b"more".to_owned(), &mut out),
        Next::Close
    );
    assert!(out.is_empty());
}

#[test]
fn a_head_without_an_end_is_refused_at_the_limit() {
    let mut connection = EchoConnection::default();
    let mut out = Vec::new();
    let mut received = 0;
    while connection.receive(&mut [b'a'; 100], &mut out) == Next::Read {
        received += 100;
        assert!(received < HandshakeLimits::DEFAULT.header_bytes);
    }
    assert!(out.starts_with(b"HTTP/1.1 431 "));
}

#[test]
fn a_violation_gets_its_close_code_and_nothing_after_it() {
    let bad_text = frames(&[
        (TEXT, true, b"ok"),
        (TEXT, true, b"\xff"),
        (PING, true, b""),
    ]);
    let (next, out) = answer(&bad_text);
    assert_eq!(next, Next::Close);
    assert_eq!(&out[..4], b"\x81\x02ok");
    assert_eq!((out[4], &out[6..8]), (0x88, &1007u16.to_be_bytes()[..]));
    assert_eq!(out.len(), 6 + usize::from(out[5]));
    let (_, out) = answer(&frames(&[(CLOSE, true, b"\x03\xed")]));
    assert_eq!(out, b"\x88\x02\x03\xea");
}

#[test]
fn text_is_refused_inside_its_frame() {
    let frame = frames(&[(TEXT, true, b"abc\xff and more that never arrives")]);
    let (next, out) = answer(&frame[..10]);
    assert_eq!((next, out[0]), (Next::Close, 0x88));
}

#[test]
fn a_declared_length_reserves_nothing() {
    let mut connection = EchoConnection::opened(Limits::CONFORMANCE);
    let mut out = Vec::new();
    let mut start = [
        &[0x82, 0xff][..],
        &(16u64 << 20).to_be_bytes(),
        &KEY,
        b"one",
    ]
    .concat();
    assert_eq!(connection.receive(&mut start, &mut out), Next::Read);
    let Phase::Frames(echo) = &connection.phase else {
        panic!("the connection is open")
    };
    assert!(echo.assembler.buffer_bytes() < 1_024);
    assert!(connection.carried.capacity() < 1_024);
}
