//! Opening requests and answers. Input: the bytes that a client or a server sent.
//!
//! Properties: the verdict does not depend on how the head was cut; an accepted request makes an
//! answer of exactly its own lines; no answer of a server makes the client panic.

use interlink_protocol::websocket::handshake::client::{parse_response, ClientRequest};
use interlink_protocol::websocket::handshake::{
    parse_head, parse_request, write_accept, write_refusal, HandshakeLimits, HeadScan,
};

const LIMITS: HandshakeLimits = HandshakeLimits::DEFAULT;

/// Runs the properties over one input.
pub fn run(data: &[u8]) {
    check_cuts(data);
    let mut answer = Vec::new();
    match parse_request(data, &LIMITS) {
        Ok(Some((length, request))) => {
            assert_eq!(parse_head(&data[..length], &LIMITS).as_ref(), Ok(&request));
            let chosen = request.subprotocols.first().copied();
            write_accept(&request, chosen, &mut answer);
            let lines = if chosen.is_some() { 6 } else { 5 };
            assert_eq!(
                answer.windows(2).filter(|pair| pair == b"\r\n").count(),
                lines
            );
            assert!(answer.ends_with(b"\r\n\r\n"));
        }
        Ok(None) => assert!(data.len() < LIMITS.header_bytes),
        Err(error) => {
            assert!((400..600).contains(&error.status()));
            write_refusal(error.status(), &error.to_string(), &mut answer);
        }
    }
    let request = ClientRequest {
        target: "/",
        host: "localhost",
        origin: None,
        subprotocol: Some("interlink.v1"),
        nonce: [0; 16],
    };
    if let Ok(Some(length)) = parse_response(data, &request, &LIMITS) {
        assert!(data[..length].ends_with(b"\r\n\r\n"));
    }
}

fn check_cuts(data: &[u8]) {
    let whole = HeadScan::new().advance(data, &LIMITS);
    for piece in [1, 5] {
        let mut scan = HeadScan::new();
        let mut verdict = Ok(None);
        let mut end = 0;
        while end < data.len() && verdict == Ok(None) {
            end = data.len().min(end + piece);
            verdict = scan.advance(&data[..end], &LIMITS);
        }
        assert_eq!(verdict, whole, "pieces of {piece} bytes");
    }
}
