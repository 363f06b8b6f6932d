//! Attacks before a session exists: on the upgrade request, the `Hello` and the token.

use std::time::Duration;

use interlink_protocol::frame::{FrameEncoder, HelloFields};
use interlink_protocol::ids::InstanceId;
use interlink_protocol::{CloseCode, ErrorCode};

use super::pour;
use super::siege::Siege;
use super::support::raw::{binary, upgrade_request, Incoming, Raw};
use super::support::wait_for;

/// Connections of one attack.
const ATTACKERS: usize = 100;
/// Pause of a slow client between two bytes.
const TRICKLE: Duration = Duration::from_millis(2);

/// Sends `bytes` on all connections, one byte after the other, without ever ending.
fn trickle(attackers: &mut [Raw], bytes: &[u8], time: Duration) {
    let until = std::time::Instant::now() + time;
    for byte in bytes.iter().take(bytes.len() - 1) {
        if std::time::Instant::now() > until {
            return;
        }
        for raw in attackers.iter_mut() {
            // Whoever was closed already is looked at later.
            let _ = raw.try_send(&[*byte]);
        }
        std::thread::sleep(TRICKLE);
    }
}

#[test]
fn slow_request_heads_are_answered_with_408() {
    let mut siege = Siege::lay("slow request heads", "handshake_timeout = \"300ms\"");
    siege.attack(|node| {
        let mut attackers: Vec<Raw> = (0..ATTACKERS)
            .map(|_| Raw::connect(node.clients()))
            .collect();
        let request = upgrade_request("slow");
        trickle(&mut attackers, &request, Duration::from_millis(500));
        for mut raw in attackers {
            let (status, head) = raw.read_answer();
            assert_eq!(status, 408, "{head}");
        }
    });
    let open = wait_for("the end of the handshakes", || {
        siege
            .node
            .metric("interlink_edge_handshakes_open")
            .filter(|open| *open == 0.0)
    });
    assert_eq!(open, 0.0);
    siege.lift();
}

#[test]
fn silent_connections_are_answered_with_408() {
    let mut siege = Siege::lay("silent connections", "handshake_timeout = \"300ms\"");
    siege.attack(|node| {
        let attackers: Vec<Raw> = (0..ATTACKERS)
            .map(|_| Raw::connect(node.clients()))
            .collect();
        for mut raw in attackers {
            assert_eq!(raw.read_answer().0, 408);
        }
    });
    siege.lift();
}

fn hello(token: &str) -> Vec<u8> {
    let fields = HelloFields {
        token,
        instance: InstanceId(1),
        device: None,
        client_name: None,
        client_version: None,
        resume: None,
    };
    binary(FrameEncoder::new().hello(&fields))
}

#[test]
fn slow_hellos_are_closed_with_hello_timeout() {
    let mut siege = Siege::lay("slow Hellos", "hello_timeout = \"300ms\"");
    let bytes = hello(&siege.node.token("mallory"));
    siege.attack(|node| {
        let mut attackers: Vec<Raw> = (0..ATTACKERS)
            .map(|_| Raw::upgraded(node.clients()))
            .collect();
        trickle(&mut attackers, &bytes, Duration::from_millis(500));
        for mut raw in attackers {
            assert_eq!(raw.close_code(), CloseCode::HelloTimeout.number());
        }
    });
    siege.lift();
}

/// A request that never ends its head.
fn endless_head(bytes: usize) -> Vec<u8> {
    let mut request = upgrade_request("large");
    request.truncate(request.len() - 2);
    let line = format!("X-Filler: {}\r\n", "a".repeat(1_000));
    while request.len() < bytes {
        request.extend_from_slice(line.as_bytes());
    }
    request
}

#[test]
fn eight_mebibytes_of_headers_are_answered_with_431() {
    let mut siege = Siege::lay("8 MiB of headers", "");
    let request = endless_head(8 << 20);
    siege.attack(|node| {
        let mut raw = Raw::connect(node.clients());
        // The server may close before it has taken everything.
        pour(&mut raw, &request);
        assert_eq!(raw.read_answer().0, 431);
    });
    siege.lift();
}

#[test]
fn too_many_headers_are_answered_with_431() {
    let mut siege = Siege::lay("too many headers", "");
    let mut request = upgrade_request("many");
    request.truncate(request.len() - 2);
    request.extend_from_slice("A: b\r\n".repeat(100).as_bytes());
    request.extend_from_slice(b"\r\n");
    siege.attack(|node| {
        let mut raw = Raw::connect(node.clients());
        raw.send(&request);
        assert_eq!(raw.read_answer().0, 431);
    });
    siege.lift();
}

#[test]
fn unmasked_hellos_are_closed_with_protocol_error() {
    let mut siege = Siege::lay("unmasked Hellos", "");
    siege.attack(|node| {
        let mut raw = Raw::upgraded(node.clients());
        raw.send(&[0x82, 5, 1, 2, 3, 4, 5]);
        assert_eq!(raw.close_code(), CloseCode::ProtocolError.number());
    });
    siege.lift();
}

#[test]
fn garbage_instead_of_tokens_is_refused() {
    let mut siege = Siege::lay("token garbage", "");
    let token = siege.node.token("mallory");
    let (head, _) = token.rsplit_once('.').expect("a signed token");
    let garbage = [
        "garbage".to_owned(),
        "a.b.c".to_owned(),
        format!("{head}."),
        format!("{head}.{}", "A".repeat(43)),
        format!(".{token}"),
        "\u{1f426}.\u{1f426}.\u{1f426}".to_owned(),
        format!("{head}.{}", "x".repeat(7_000)),
    ];
    siege.attack(|node| {
        for token in &garbage {
            let mut raw = Raw::upgraded(node.clients());
            raw.send(&hello(token));
            let code = ErrorCode::TokenInvalid.number();
            assert_eq!(super::error_of(&mut raw), (code, 0), "{token}");
            assert_eq!(raw.close_code(), CloseCode::TokenInvalid.number());
            assert_eq!(raw.next(), Incoming::Ended);
        }
    });
    siege.lift();
}

#[test]
fn connections_beyond_the_bound_wait_and_make_room() {
    const BOUND: usize = 128;
    const FLOOD: usize = 400;
    let mut siege = Siege::lay("connect flood", &format!("unfinished_handshakes = {BOUND}"));
    let mut flood: Vec<Raw> = Vec::new();
    for _ in 0..FLOOD {
        flood.push(Raw::connect(siege.node.clients()));
    }
    let node = &siege.node;
    let open = || node.metric("interlink_edge_handshakes_open").unwrap_or(0.0) as usize;
    assert!(open() <= BOUND, "{} handshakes are open", open());
    // An honest client comes in although everybody before it stays silent.
    drop(super::welcomed(node, "honest"));
    for mut raw in flood {
        assert!(open() <= BOUND, "{} handshakes are open", open());
        assert_eq!(raw.read_answer().0, 408);
    }
    siege.attack(|_| ());
    siege.lift();
}
