//! The seed corpus of the WebSocket fuzz targets, written down as code.
//!
//! Each seed shows the fuzzer one feature or one refusal. The test compares the committed files
//! with this list; `WRITE_SEEDS=1 cargo test -p interlink-protocol --test websocket_seeds` writes
//! them. Files that are not in the list are left alone: the fuzzer and regressions add some.

use std::fs;
use std::path::Path;

use interlink_protocol::websocket::frame::{append_client_frame, append_server_frame};
use interlink_protocol::websocket::handshake::client::{write_request, ClientRequest};
use interlink_protocol::websocket::handshake::{parse_request, write_accept, HandshakeLimits};
use interlink_protocol::websocket::{ControlKind, DataKind, Opcode};

const TEXT: Opcode = Opcode::Data(DataKind::Text);
const BINARY: Opcode = Opcode::Data(DataKind::Binary);
const NEXT: Opcode = Opcode::Continuation;
const CLOSE: Opcode = Opcode::Control(ControlKind::Close);
const PING: Opcode = Opcode::Control(ControlKind::Ping);
const PONG: Opcode = Opcode::Control(ControlKind::Pong);

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

type Seed = (&'static str, Vec<u8>);

/// Frames of a client behind a leading byte that the targets use as a choice.
fn client(choice: u8, frames: &[(Opcode, bool, &[u8])]) -> Vec<u8> {
    let mut out = vec![choice];
    for (opcode, is_final, payload) in frames {
        append_client_frame(*opcode, *is_final, payload, KEY, &mut out);
    }
    out
}

/// Streams of both targets that read frames: messages, fragments, control frames, closes.
fn streams() -> Vec<Seed> {
    [messages(), fragments(), controls(), broken_headers()].concat()
}

fn messages() -> Vec<Seed> {
    let long = [b'x'; 150];
    vec![
        ("text", client(0, &[(TEXT, true, b"Hello")])),
        ("binary", client(2, &[(BINARY, true, b"\x00\xff\x80")])),
        (
            "empty",
            client(4, &[(TEXT, true, b""), (BINARY, true, b"")]),
        ),
        ("length_16", client(6, &[(BINARY, true, &long)])),
        ("frame_too_long", client(2, &[(BINARY, true, &[0; 201])])),
        ("bad_text", client(0, &[(TEXT, true, b"a\xed\xa0\x80")])),
        ("cut_text", client(0, &[(TEXT, true, b"a\xe2\x82")])),
    ]
}

fn fragments() -> Vec<Seed> {
    let long = [b'x'; 150];
    let nothing: &[u8] = b"";
    vec![
        (
            "fragments",
            client(
                8,
                &[
                    (TEXT, false, b"H\xc3"),
                    (PING, true, b"?"),
                    (NEXT, true, b"\xa9"),
                ],
            ),
        ),
        (
            "joined",
            client(2, &[(BINARY, false, &long), (NEXT, true, &long)]),
        ),
        (
            "empty_fragments",
            client(
                2,
                &[(BINARY, false, b""), (NEXT, false, b""), (NEXT, true, b"")],
            ),
        ),
        (
            "too_many_fragments",
            client(
                2,
                &[
                    &[(BINARY, false, nothing)][..],
                    &[(NEXT, false, nothing); 8],
                ]
                .concat(),
            ),
        ),
        (
            "message_too_long",
            client(
                2,
                &[
                    (BINARY, false, &long),
                    (NEXT, false, &long),
                    (NEXT, true, b"x"),
                ],
            ),
        ),
        ("continuation_alone", client(0, &[(NEXT, true, b"x")])),
        (
            "unfinished",
            client(0, &[(TEXT, false, b"x"), (TEXT, true, b"y")]),
        ),
    ]
}

fn controls() -> Vec<Seed> {
    vec![
        (
            "ping_pong",
            client(0, &[(PING, true, &[7; 125]), (PONG, true, b"unasked")]),
        ),
        (
            "close_empty",
            client(0, &[(CLOSE, true, b""), (TEXT, true, b"after")]),
        ),
        ("close_code", client(0, &[(CLOSE, true, b"\x03\xe8bye")])),
        ("close_short", client(0, &[(CLOSE, true, b"\x03")])),
        ("close_bad_code", client(0, &[(CLOSE, true, b"\x03\xed")])),
        (
            "close_bad_reason",
            client(0, &[(CLOSE, true, b"\x03\xe8\xff")]),
        ),
        ("control_fragmented", client(0, &[(PING, false, b"x")])),
        ("control_long", client(0, &[(PING, true, &[0; 126])])),
    ]
}

fn broken_headers() -> Vec<Seed> {
    vec![
        ("unmasked", b"\x00\x82\x01x".to_vec()),
        ("reserved_bit", b"\x00\xc2\x81\x00\x00\x00\x00x".to_vec()),
        ("reserved_opcode", b"\x00\x83\x81\x00\x00\x00\x00x".to_vec()),
        (
            "not_minimal_16",
            b"\x00\x82\xfe\x00\x7d\x00\x00\x00\x00".to_vec(),
        ),
        (
            "not_minimal_64",
            b"\x00\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x00\x00".to_vec(),
        ),
        (
            "length_out_of_range",
            b"\x00\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        ),
    ]
}

/// Frames of a server, read in the role of a client.
fn server_streams() -> Vec<Seed> {
    let mut out = vec![1];
    append_server_frame(TEXT, true, b"Hello", &mut out);
    append_server_frame(PING, true, b"", &mut out);
    append_server_frame(BINARY, false, b"ab", &mut out);
    append_server_frame(NEXT, true, &[1; 200], &mut out);
    vec![
        ("server", out),
        ("server_masked", b"\x01\x82\x81\x00\x00\x00\x00x".to_vec()),
    ]
}

fn handshakes() -> Vec<Seed> {
    let request = ClientRequest {
        target: "/chat?room=1",
        host: "server.example.com",
        origin: Some("http://example.com"),
        subprotocol: Some("interlink.v1"),
        nonce: [0; 16],
    };
    let mut sent = Vec::new();
    write_request(&request, &mut sent);
    let text = String::from_utf8(sent.clone()).expect("a request is text");
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "{from:?} is not in the request");
        text.replacen(from, to, 1).into_bytes()
    };
    let (_, parsed) = parse_request(&sent, &HandshakeLimits::DEFAULT)
        .expect("a valid request")
        .expect("a complete request");
    let mut answer = Vec::new();
    write_accept(&parsed, Some("interlink.v1"), &mut answer);
    vec![
        ("request", sent.clone()),
        ("request_cut", sent[..sent.len() - 1].to_vec()),
        ("request_and_frame", [&sent[..], b"\x82\x80abcd"].concat()),
        ("answer", answer),
        (
            "answer_refused",
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n".to_vec(),
        ),
        ("method", with("GET", "POST")),
        ("http_1_0", with("HTTP/1.1", "HTTP/1.0")),
        (
            "absolute_target",
            with("/chat", "http://server.example.com/chat"),
        ),
        ("two_hosts", with("Host:", "Host: a\r\nHost:")),
        (
            "lists",
            with(
                "Connection: Upgrade",
                "Connection: keep-alive\r\nConnection: x, upgrade",
            ),
        ),
        ("many_subprotocols", with("interlink.v1", "a, b,c ,d,,e")),
        ("bad_subprotocol", with("interlink.v1", "a b")),
        ("version_8", with("Version: 13", "Version: 8")),
        ("short_key", with("AAAA", "")),
        ("body", with("Origin:", "Content-Length: 5\r\nOrigin:")),
        (
            "chunked",
            with("Origin:", "Transfer-Encoding: chunked\r\nOrigin:"),
        ),
        ("folded", with("Origin:", " folded\r\nOrigin:")),
        ("bare_line_feed", text.replace("\r\n", "\n").into_bytes()),
        (
            "headers",
            with("Origin:", &format!("{}Origin:", "a:b\r\n".repeat(64))),
        ),
    ]
}

/// Compares the seeds with the files of `target`, or writes the files.
fn check(target: &str, seeds: &[Seed]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let is_writing = std::env::var_os("WRITE_SEEDS").is_some();
    if is_writing {
        fs::create_dir_all(&folder).expect("a writable folder");
    }
    for (name, bytes) in seeds {
        let file = folder.join(name);
        if is_writing {
            fs::write(&file, bytes).expect("a writable file");
        }
        let committed = fs::read(&file).unwrap_or_default();
        assert!(
            committed == *bytes,
            "{} differs; run with WRITE_SEEDS=1",
            file.display()
        );
    }
}

#[test]
fn the_committed_seeds_are_these() {
    check("echo", &streams());
    check("frame", &[streams(), server_streams()].concat());
    check("handshake", &handshakes());
}
