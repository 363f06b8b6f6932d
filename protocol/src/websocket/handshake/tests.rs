//! The opening handshake: the example of the specification, every refusal of the server, every
//! refusal of the client, and the cost of heads that arrive in pieces.

use proptest::prelude::*;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{create_response, Request};

use super::client::{parse_response, write_request, ClientRequest};
use super::*;
use crate::websocket::limits::HANDSHAKE_BYTES;

const LIMITS: HandshakeLimits = HandshakeLimits::DEFAULT;

/// The request of RFC 6455 section 1.2.
const EXAMPLE: &str = "GET /chat?room=1 HTTP/1.1\r\n\
    Host: server.example.com\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Origin: http://example.com\r\n\
    Sec-WebSocket-Protocol: chat, superchat\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

fn example() -> UpgradeRequest<'static> {
    let (_, request) = parse_request(EXAMPLE.as_bytes(), &LIMITS)
        .expect("a valid request")
        .expect("a complete request");
    request
}

/// The verdict on the example with one text replaced.
fn with(from: &str, to: &str) -> Result<(), HandshakeError> {
    assert!(EXAMPLE.contains(from), "{from:?} is not in the example");
    verdict(EXAMPLE.replacen(from, to, 1).as_bytes())
}

fn verdict(request: &[u8]) -> Result<(), HandshakeError> {
    match parse_request(request, &LIMITS) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => panic!("the head is complete"),
        Err(error) => Err(error),
    }
}

#[test]
fn the_example_of_section_1_2_is_read_and_accepted() {
    let with_frame = [EXAMPLE.as_bytes(), b"\x82\x80abcd"].concat();
    let (length, request) = parse_request(&with_frame, &LIMITS)
        .expect("valid")
        .expect("complete");
    assert_eq!(length, EXAMPLE.len());
    assert_eq!((request.path, request.query), ("/chat", Some("room=1")));
    assert_eq!(request.host, "server.example.com");
    assert_eq!(request.origin, Some("http://example.com"));
    assert_eq!(request.subprotocols, ["chat", "superchat"]);
    assert!(request.offers("chat") && !request.offers("Chat"));
    let mut out = Vec::new();
    write_accept(&request, Some("chat"), &mut out);
    let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
        Sec-WebSocket-Protocol: chat\r\n\r\n";
    assert_eq!(String::from_utf8(out), Ok(expected.to_owned()));
}

#[test]
#[should_panic(expected = "was not offered")]
fn a_subprotocol_that_was_not_offered_cannot_be_chosen() {
    write_accept(&example(), Some("other"), &mut Vec::new());
}

#[test]
fn what_clients_may_vary_is_accepted() {
    let variations = [
        // RFC 9112 section 2.2: one empty line in front of the request is ignored.
        ("GET", "\r\nGET"),
        ("Connection: Upgrade", "connection:keep-alive , uPGRADE"),
        (
            "Connection: Upgrade",
            "Connection: keep-alive\r\nConnection: Upgrade",
        ),
        ("Upgrade: websocket", "Upgrade: WebSocket"),
        ("Upgrade: websocket", "Upgrade: h2c, websocket"),
        ("Origin: http://example.com\r\n", ""),
        ("Host: server.example.com", "Host: [::1]:8080"),
        (
            "chat, superchat",
            "chat\r\nSec-WebSocket-Protocol: superchat",
        ),
        (
            "Sec-WebSocket-Version",
            "Sec-WebSocket-Extensions: permessage-deflate\r\nsec-websocket-version",
        ),
        ("Origin", "Content-Length: 0\r\nOrigin"),
    ];
    for (from, to) in variations {
        assert_eq!(with(from, to), Ok(()), "{to:?}");
    }
}

/// The example with a part replaced, the error that it earns, and its HTTP status.
type Refusal = (&'static str, &'static str, HandshakeError, u16);

fn are_refused(refusals: &[Refusal]) {
    for &(from, to, error, status) in refusals {
        assert_eq!(with(from, to), Err(error), "{to:?}");
        assert_eq!(error.status(), status, "{to:?}");
    }
}

#[test]
fn a_request_for_something_else_is_refused() {
    use HandshakeError::*;
    are_refused(&[
        ("GET", "POST", Method, 405),
        ("GET", "get", Method, 405),
        ("HTTP/1.1", "HTTP/1.0", HttpVersion, 505),
        ("HTTP/1.1", "HTTP/2.0", HttpVersion, 505),
        ("/chat", "http://server.example.com/chat", Target, 400),
        ("/chat", "*", Target, 400),
        ("/chat", "/chat#part", Target, 400),
        ("/chat", "/ch\u{e4}t", Target, 400),
        ("/chat", "/ch`t", Target, 400),
        ("room=1", "room=<1>", Target, 400),
        ("Host: server.example.com\r\n", "", Host, 400),
        ("Host: server.example.com", "Host: a\r\nHost: a", Host, 400),
        ("Host: server.example.com", "Host:", Host, 400),
        ("Host: server.example.com", "Host: a@b", Host, 400),
        ("Host: server.example.com", "Host: a, b", Host, 400),
        (
            "Origin: http://example.com",
            "Origin: http://a\r\nOrigin: http://b",
            Origin,
            400,
        ),
        (
            "Origin: http://example.com",
            "Origin: http://\u{e4}",
            Origin,
            400,
        ),
        ("Upgrade: websocket\r\n", "", NoUpgrade, 426),
        ("Upgrade: websocket", "Upgrade: websockets", NoUpgrade, 426),
        ("Connection: Upgrade\r\n", "", NoUpgrade, 426),
        (
            "Connection: Upgrade",
            "Connection: keep-alive",
            NoUpgrade,
            426,
        ),
        (
            "Connection: Upgrade",
            "Connection: no-Upgrade",
            NoUpgrade,
            426,
        ),
        ("Sec-WebSocket-Version: 13\r\n", "", WebSocketVersion, 426),
        ("Version: 13", "Version: 8", WebSocketVersion, 426),
        ("Version: 13", "Version: 013", WebSocketVersion, 426),
        ("Version: 13", "Version: 13, 8", WebSocketVersion, 426),
        (
            "Version: 13",
            "Version: 13\r\nSec-WebSocket-Version: 13",
            WebSocketVersion,
            426,
        ),
    ]);
}

#[test]
fn a_key_is_sixteen_bytes_and_comes_once() {
    use HandshakeError::Key;
    const GOOD: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    let another = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin";
    are_refused(&[
        ("Sec-WebSocket-Key", "X-Key", Key, 400),
        (GOOD, "", Key, 400),
        (GOOD, "dGhlIHNhbXBsZSBub25j", Key, 400),
        (GOOD, "dGhlIHNhbXBsZSBub25jZWE=", Key, 400),
        (GOOD, "dGhlIHNhbXBsZSBub25jZR==", Key, 400),
        (GOOD, "dGhlIHNhbXBsZSBub2.jZQ==", Key, 400),
        ("Origin", another, Key, 400),
    ]);
}

#[test]
fn other_header_lines_are_refused_when_malformed() {
    use HandshakeError::*;
    let many = "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q";
    are_refused(&[
        ("chat, superchat", "chat, super chat", Subprotocols, 400),
        ("chat, superchat", "chat, \"x\"", Subprotocols, 400),
        ("chat, superchat", many, Subprotocols, 400),
        ("Origin", "Content-Length: 5\r\nOrigin", Body, 400),
        ("Origin", "Transfer-Encoding: chunked\r\nOrigin", Body, 400),
        ("Origin", " folded\r\nOrigin", Malformed, 400),
        ("Origin", "Bad Name: x\r\nOrigin", Malformed, 400),
        ("Origin:", "Origin :", Malformed, 400),
        ("Origin", "X: a\u{0}b\r\nOrigin", Malformed, 400),
    ]);
}

#[test]
fn lines_end_in_cr_lf_only() {
    let bare = EXAMPLE.replace("\r\n", "\n");
    assert_eq!(verdict(bare.as_bytes()), Err(HandshakeError::LineEnd));
    assert_eq!(
        with("Upgrade: websocket\r\n", "Upgrade: websocket\n"),
        Err(HandshakeError::LineEnd)
    );
    assert_eq!(
        with("Upgrade: websocket\r\n", "Upgrade: websocket\r"),
        Err(HandshakeError::LineEnd)
    );
    assert_eq!(
        with("websocket\r\n", "websocket\r\r\n"),
        Err(HandshakeError::LineEnd)
    );
}

#[test]
fn the_head_is_bounded_in_bytes() {
    let padded = |bytes: usize| {
        let filler = "a".repeat(bytes - EXAMPLE.len() - "X: \r\n".len());
        EXAMPLE.replacen("Origin", &format!("X: {filler}\r\nOrigin"), 1)
    };
    let longest = padded(HANDSHAKE_BYTES - 1);
    assert_eq!(longest.len(), HANDSHAKE_BYTES - 1);
    assert_eq!(verdict(longest.as_bytes()), Ok(()));
    assert_eq!(verdict(padded(HANDSHAKE_BYTES).as_bytes()), Ok(()));
    let too_long = Err(HandshakeError::HeadTooLong {
        limit: HANDSHAKE_BYTES,
    });
    assert_eq!(verdict(padded(HANDSHAKE_BYTES + 1).as_bytes()), too_long);
    // A head without an end is refused at the limit, not kept.
    assert_eq!(verdict(&vec![b'a'; HANDSHAKE_BYTES]), too_long);
}

#[test]
fn the_head_is_bounded_in_lines() {
    let with_lines = |lines: usize| {
        let present = EXAMPLE.matches("\r\n").count() - 2;
        EXAMPLE.replacen(
            "Origin",
            &format!("{}Origin", "a:b\r\n".repeat(lines - present)),
            1,
        )
    };
    assert_eq!(verdict(with_lines(64).as_bytes()), Ok(()));
    let too_many = Err(HandshakeError::HeadersTooMany { limit: 64 });
    assert_eq!(verdict(with_lines(65).as_bytes()), too_many);
}

#[test]
fn a_head_that_comes_byte_by_byte_is_scanned_once() {
    let mut scan = HeadScan::new();
    let bytes = EXAMPLE.as_bytes();
    for length in 0..bytes.len() {
        assert_eq!(scan.advance(&bytes[..length], &LIMITS), Ok(None));
        // What was scanned is not looked at again: the scan goes on over a copy without it.
        let mut forgotten = bytes[..length].to_vec();
        forgotten.fill(b'\n');
        assert_eq!(scan.advance(&forgotten, &LIMITS), Ok(None));
    }
    assert_eq!(scan.advance(bytes, &LIMITS), Ok(Some(bytes.len())));
}

#[test]
fn refusals_are_complete_answers() {
    let answer = |error: HandshakeError| {
        let mut out = Vec::new();
        write_refusal(error.status(), &error.to_string(), &mut out);
        String::from_utf8(out).expect("text")
    };
    let version = answer(HandshakeError::WebSocketVersion);
    assert!(
        version.starts_with("HTTP/1.1 426 Upgrade Required\r\n"),
        "{version}"
    );
    assert!(
        version.contains("\r\nSec-WebSocket-Version: 13\r\n"),
        "{version}"
    );
    assert!(answer(HandshakeError::Method).contains("\r\nAllow: GET\r\n"));
    let (head, body) = version.split_once("\r\n\r\n").expect("a body");
    assert!(
        head.contains(&format!("Content-Length: {}", body.len())),
        "{head}"
    );
}

const CLIENT: ClientRequest<'_> = ClientRequest {
    target: "/chat?room=1",
    host: "server.example.com",
    origin: Some("http://example.com"),
    subprotocol: Some("interlink.v1"),
    nonce: *b"the sample nonce",
};

/// What our server answers to our client.
fn accepted() -> String {
    let mut sent = Vec::new();
    write_request(&CLIENT, &mut sent);
    let (length, request) = parse_request(&sent, &LIMITS)
        .expect("valid")
        .expect("complete");
    assert_eq!(length, sent.len());
    assert_eq!(
        (request.key, request.origin),
        ("dGhlIHNhbXBsZSBub25jZQ==", CLIENT.origin)
    );
    let mut out = Vec::new();
    write_accept(&request, CLIENT.subprotocol, &mut out);
    String::from_utf8(out).expect("text")
}

#[test]
fn both_ends_agree() {
    let answer = accepted();
    let with_frame = format!("{answer}\u{2}");
    let parsed = parse_response(with_frame.as_bytes(), &CLIENT, &LIMITS);
    assert_eq!(parsed, Ok(Some(answer.len())));
    for cut in 0..answer.len() {
        let parsed = parse_response(&answer.as_bytes()[..cut], &CLIENT, &LIMITS);
        assert_eq!(parsed, Ok(None), "{cut}");
    }
}

#[test]
fn a_client_refuses_what_is_not_its_upgrade() {
    let answer = accepted();
    let verdict = |from: &str, to: &str| {
        assert!(answer.contains(from), "{from:?} is not in the answer");
        parse_response(answer.replacen(from, to, 1).as_bytes(), &CLIENT, &LIMITS)
    };
    let refused = Err(HandshakeError::Refused { status: 503 });
    assert_eq!(
        verdict("101 Switching Protocols", "503 Service Unavailable"),
        refused
    );
    assert_eq!(
        verdict("HTTP/1.1", "HTTP/1.0"),
        Err(HandshakeError::HttpVersion)
    );
    assert_eq!(
        verdict("Upgrade: websocket", "Upgrade: h2c"),
        Err(HandshakeError::NoUpgrade)
    );
    assert_eq!(
        verdict("Connection: Upgrade", "Connection: close"),
        Err(HandshakeError::NoUpgrade)
    );
    assert_eq!(verdict("s3pPLM", "t3pPLM"), Err(HandshakeError::Accept));
    assert_eq!(
        verdict("interlink.v1", "interlink.v2"),
        Err(HandshakeError::NotOffered)
    );
    let line = "Sec-WebSocket-Protocol: interlink.v1\r\n";
    assert_eq!(verdict(line, ""), Err(HandshakeError::NotOffered));
    let extension = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let with_extension = format!("{line}{extension}");
    assert_eq!(
        verdict(line, &with_extension),
        Err(HandshakeError::NotOffered)
    );
}

proptest! {
    #[test]
    fn cuts_do_not_change_the_verdict(
        change in any::<prop::sample::Index>(),
        byte: u8,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let mut bytes = EXAMPLE.as_bytes().to_vec();
        let at = change.index(bytes.len());
        bytes[at] = byte;
        let whole = HeadScan::new().advance(&bytes, &LIMITS);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        let mut scan = HeadScan::new();
        let mut verdict = Ok(None);
        for end in ends {
            verdict = scan.advance(&bytes[..end], &LIMITS);
            if verdict != Ok(None) {
                break;
            }
        }
        prop_assert_eq!(verdict, whole);
    }

    #[test]
    fn what_we_accept_tungstenite_accepts_with_the_same_answer(
        change in any::<prop::sample::Index>(),
        byte: u8,
    ) {
        // It reads the Upgrade header as one name, where the specification has a list.
        if byte == b',' {
            return Ok(());
        }
        let mut bytes = EXAMPLE.as_bytes().to_vec();
        let at = change.index(bytes.len());
        bytes[at] = byte;
        if let Ok(Some((length, request))) = parse_request(&bytes, &LIMITS) {
            let (peer_length, peer) = Request::try_parse(&bytes).expect("valid").expect("complete");
            prop_assert_eq!(length, peer_length);
            prop_assert_eq!(peer.uri().path(), request.path);
            let response = create_response(&peer).expect("accepted");
            let mut out = Vec::new();
            write_accept(&request, None, &mut out);
            let accept = response.headers()["sec-websocket-accept"].as_bytes();
            prop_assert!(out.windows(accept.len()).any(|window| window == accept));
        }
    }

    #[test]
    fn keys_are_encoded_as_valid_keys(nonce: [u8; 16]) {
        let mut sent = Vec::new();
        write_request(&ClientRequest { nonce, ..CLIENT }, &mut sent);
        prop_assert_eq!(verdict(&sent), Ok(()));
    }
}
