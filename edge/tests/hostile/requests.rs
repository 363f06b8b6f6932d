//! Attacks by what a request says: origins, paths, extensions, padding.

use std::time::{Duration, Instant};

use interlink_protocol::websocket::{DataKind, Opcode};
use interlink_protocol::CloseCode;

use super::siege::Siege;
use super::support::raw::{data_frame, upgrade_request, Raw};
use super::support::Node;
use super::{pour, welcomed};

/// A valid request with these header lines added.
fn request_with(lines: &str) -> Vec<u8> {
    let request = String::from_utf8(upgrade_request("edge.example")).expect("ASCII");
    let head = request.strip_suffix("\r\n").expect("a head ends");
    format!("{head}{lines}\r\n").into_bytes()
}

/// Status and head of the answer to a request.
fn answer_to(node: &Node, request: &[u8]) -> (u16, String) {
    let mut raw = Raw::connect(node.clients());
    // The server need not take all of a request that it refuses.
    pour(&mut raw, request);
    raw.read_answer()
}

/// A page of another site opens a connection with the cookies or tokens of its visitor.
#[test]
fn foreign_origins_are_answered_with_403() {
    let mut siege = Siege::lay_with(
        "foreign origins",
        "",
        "[listen]\nallowed_origins = [\"https://school.example\"]",
    );
    let origin = |origin: &str| {
        let request = request_with(&format!("Origin: {origin}\r\n"));
        answer_to(&siege.node, &request).0
    };
    assert_eq!(origin("https://school.example"), 101);
    for foreign in [
        "null",
        "*",
        "https://evil.example",
        "https://evil-school.example",
        "https://school.example.evil.example",
        "https://school.example@evil.example",
        "https://evil.example/https://school.example",
        "https://evil.example?https://school.example",
        "https://school.example:444",
        "https://school.example.",
        "https://school.example/",
        "http://school.example",
        "https://sub.school.example",
        "https://school.example, https://evil.example",
    ] {
        assert_eq!(origin(foreign), 403, "{foreign}");
    }
    // Two origins are none that could be checked.
    let twice = "Origin: https://school.example\r\nOrigin: https://evil.example\r\n";
    let (status, head) = answer_to(&siege.node, &request_with(twice));
    assert!((400..=403).contains(&status), "{head}");
    // Who is no browser sends none.
    assert_eq!(
        answer_to(&siege.node, &upgrade_request("edge.example")).0,
        101
    );
    siege.attack(|_| ());
    siege.lift();
}

/// An upgrade reaches the endpoint and nothing else, whatever it is called.
#[test]
fn upgrades_to_other_paths_are_answered_with_404() {
    let mut siege = Siege::lay("other paths", "");
    siege.attack(|node| {
        for path in [
            "/",
            "/metrics",
            "/v1/connect/",
            "/v1/connect/../metrics",
            "//v1/connect",
        ] {
            let request = String::from_utf8(upgrade_request("edge.example")).expect("ASCII");
            let request = request.replace("/v1/connect", path);
            let (status, head) = answer_to(node, request.as_bytes());
            assert_eq!(status, 404, "{path}: {head}");
        }
    });
    siege.lift();
}

/// The name in Host chooses nothing, so that a false one reaches nothing else.
#[test]
fn a_false_host_changes_nothing() {
    let mut siege = Siege::lay("false hosts", "");
    siege.attack(|node| {
        for host in ["evil.example", "localhost:1", "[::1]", "127.0.0.1"] {
            assert_eq!(answer_to(node, &upgrade_request(host)).0, 101, "{host}");
        }
    });
    siege.lift();
}

/// What is not negotiated cannot be a bomb, and no parameter is read.
#[test]
fn compression_is_never_negotiated() {
    let mut siege = Siege::lay("compression", "");
    let offers = [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=99",
        "permessage-deflate; server_max_window_bits=0; client_max_window_bits=-1",
        "permessage-deflate; server_no_context_takeover; x=\"\\\"\"",
        "x-webkit-deflate-frame, permessage-bzip2",
    ];
    siege.attack(|node| {
        for offer in offers {
            let line = format!("Sec-WebSocket-Extensions: {offer}\r\n");
            let mut raw = Raw::connect(node.clients());
            raw.send(&request_with(&line));
            let (status, head) = raw.read_answer();
            assert_eq!(status, 101, "{offer}: {head}");
            assert!(!head.contains("Extensions"), "{offer}: {head}");
            // A compressed frame is marked by a bit that nobody agreed on.
            let mut frame = data_frame(Opcode::Data(DataKind::Binary), true, b"bomb");
            frame[0] |= 0x40;
            raw.send(&frame);
            assert_eq!(raw.close_code(), CloseCode::ProtocolError.number());
        }
    });
    siege.lift();
}

/// Long runs of blanks made parsers try every split of them.
#[test]
fn padded_headers_are_read_once() {
    let mut siege = Siege::lay("padded headers", "");
    let padding = " ".repeat(7_000);
    let names = [
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "Origin",
        "X-Any",
    ];
    let mut longest = Duration::ZERO;
    siege.attack(|node| {
        for name in names {
            let started = Instant::now();
            let padded = request_with(&format!("{name}: x{padding}, x\r\n"));
            let (status, _) = answer_to(node, &padded);
            assert!((101..=403).contains(&status), "{name}: {status}");
            let beyond = request_with(&format!("{name}: {}\r\n", " ".repeat(32_000)));
            assert_eq!(answer_to(node, &beyond).0, 431, "{name}");
            longest = longest.max(started.elapsed());
        }
    });
    println!("longest: {longest:?}");
    siege.lift();
}

/// Memory follows what has come, not what was announced.
#[test]
fn announced_lengths_reserve_nothing() {
    const ATTACKERS: usize = 100;
    let mut siege = Siege::lay("announced lengths", "");
    // Masked binary frames with the 64-bit length, of which one byte comes.
    let lengths: [u64; 4] = [16 << 20, 1 << 32, (1 << 63) - 1, u64::MAX];
    siege.attack(|node| {
        for length in lengths {
            let mut frame = vec![0x82, 0xff];
            frame.extend(length.to_be_bytes());
            frame.extend([1, 2, 3, 4, 5]);
            let code = match length {
                u64::MAX => CloseCode::ProtocolError,
                _ => CloseCode::MessageTooBig,
            };
            let mut raw = welcomed(node, "mallory");
            raw.send(&frame);
            assert_eq!(raw.close_code(), code.number(), "{length}");
        }
    });
    // The most that may be announced, by many who then send nothing more.
    let mut frame = vec![0x82, 0xfe];
    frame.extend(60_000_u16.to_be_bytes());
    frame.extend([1, 2, 3, 4, 5]);
    let attackers: Vec<Raw> = (0..ATTACKERS)
        .map(|_| {
            let mut raw = welcomed(&siege.node, "mallory");
            raw.send(&frame);
            raw
        })
        .collect();
    siege.attack(|_| ());
    let held = siege.node.metric("interlink_edge_partial_bytes");
    assert!(held <= Some((ATTACKERS * 4_096) as f64), "{held:?}");
    drop(attackers);
    siege.lift();
}
