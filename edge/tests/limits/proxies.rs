//! Clients behind a proxy that names them.

use std::net::SocketAddr;

use interlink_protocol::frame::ServerFrame;
use interlink_protocol::proxy::SIGNATURE;
use interlink_protocol::websocket::{ControlKind, Opcode};
use interlink_protocol::CloseCode;
use rustls::ClientConnection;

use super::support::certificates::TestCertificates;
use super::support::raw::{data_frame, decode, upgrade_request, Incoming, Raw};
use super::support::{Node, Setup};
use super::{is_dropped, reaches};

const REFUSED: &str = "interlink_edge_proxy_headers_refused_total";
const OVER_RATE: &str = "interlink_edge_connections_over_rate_total";
/// Every client of these tests is a proxy.
const TRUSTED: &str = "[listen]\nproxy_from = [\"127.0.0.0/8\"]\n";

/// A header with the command and what follows the fixed part.
fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([command, family]);
    bytes.extend((rest.len() as u16).to_be_bytes());
    bytes.extend(rest);
    bytes
}

/// The header for a client with this address.
fn naming(address: [u8; 4]) -> Vec<u8> {
    let [a, b, c, d] = address;
    header(
        0x21,
        0x11,
        &[a, b, c, d, 198, 51, 100, 1, 0x13, 0x88, 0x01, 0xbb],
    )
}

/// Connects and sends `bytes` first.
fn connect_with(address: SocketAddr, bytes: &[u8]) -> Raw {
    let mut raw = Raw::connect(address);
    raw.send(bytes);
    raw
}

fn welcomed(node: &Node, raw: Raw) -> Raw {
    raw.upgrade(node.clients())
        .greet(&node.token("ada"), 1, None)
        .0
}

fn assert_open(raw: &mut Raw) {
    raw.send(&data_frame(
        Opcode::Control(ControlKind::Ping),
        true,
        b"open",
    ));
    assert_eq!(raw.next(), Incoming::Pong(b"open".to_vec()));
}

#[test]
fn clients_are_served_behind_a_header_whatever_portions_it_comes_in() {
    let node = Setup::shards(2).config(TRUSTED).start();
    let named = naming([192, 0, 2, 7]);
    let own = header(0x20, 0, &[]);
    for header in [&named, &own] {
        let mut raw = welcomed(&node, connect_with(node.clients(), header));
        assert_open(&mut raw);
    }
    // Byte by byte, and together with the request.
    let mut raw = Raw::connect(node.clients());
    for byte in &named {
        raw.send(&[*byte]);
    }
    assert_open(&mut welcomed(&node, raw));
    let request = upgrade_request(&node.clients().to_string());
    let mut raw = connect_with(node.clients(), &[&named[..], &request].concat());
    let (status, head) = raw.read_answer();
    assert_eq!(status, 101, "{head}");
    raw.hello(&node.token("ada"), 1, None);
    assert!(matches!(decode(&raw.next_frame()), ServerFrame::Welcome(_)));
}

#[test]
fn a_trusted_proxy_that_names_nobody_is_dropped() {
    let node = Setup::shards(1).config(TRUSTED).start();
    let request = upgrade_request(&node.clients().to_string());
    let mut version_one = b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n".to_vec();
    version_one.extend(&request);
    let mut checksum = naming([192, 0, 2, 7]);
    checksum[15] += 7;
    checksum.extend([0x03, 0, 4, 1, 2, 3, 4]);
    let cases = [
        request,
        version_one,
        checksum,
        header(0x21, 0x12, &[0; 12]),
        header(0x21, 0x11, &[0; 11]),
        header(0x2f, 0x11, &[0; 12]),
        header(0x21, 0x11, &[0; 3_000]),
    ];
    for (number, bytes) in cases.iter().enumerate() {
        let mut raw = connect_with(node.clients(), bytes);
        assert!(is_dropped(&mut raw), "case {number}");
    }
    reaches(&node, REFUSED, cases.len() as f64);
}

#[test]
fn a_header_that_does_not_end_is_dropped_in_time() {
    let config = format!("{TRUSTED}[limits]\nhandshake_timeout = \"200ms\"\n");
    let node = Setup::shards(1).config(&config).start();
    let whole = naming([192, 0, 2, 7]);
    for len in [0, 1, 12, 13, 16, whole.len() - 1] {
        let mut raw = connect_with(node.clients(), &whole[..len]);
        assert!(is_dropped(&mut raw), "{len} bytes");
    }
    reaches(&node, "interlink_edge_handshakes_evicted_total", 6.0);
}

/// Anybody could name any address, so nobody but a proxy may name one.
#[test]
fn a_header_from_elsewhere_is_an_invalid_request() {
    let config = "[listen]\nproxy_from = [\"192.0.2.0/24\"]\n";
    let node = Setup::shards(1).config(config).start();
    let mut raw = connect_with(node.clients(), &naming([192, 0, 2, 7]));
    let (status, head) = raw.read_answer();
    assert_eq!(status, 400, "{head}");
    assert_open(&mut welcomed(&node, Raw::connect(node.clients())));
}

#[test]
fn the_named_address_counts_and_not_the_proxys() {
    const TRIES: u8 = 40;
    let config = format!("{TRUSTED}[limits]\naddress_rate = 1\naddress_burst = 5\n");
    let node = Setup::shards(2).config(&config).start();
    // Each of many addresses may connect, and a health check as often as it likes.
    let own = header(0x20, 0, &[]);
    let mut held: Vec<Raw> = (0..TRIES)
        .map(|number| connect_with(node.clients(), &naming([192, 0, 2, number])))
        .collect();
    held.extend((0..TRIES).map(|_| connect_with(node.clients(), &own)));
    reaches(
        &node,
        "interlink_edge_handshakes_open",
        f64::from(2 * TRIES),
    );
    assert_eq!(node.metric(OVER_RATE), Some(0.0));
    // One address may not.
    let loud = naming([198, 51, 100, 9]);
    let loud: Vec<Raw> = (0..TRIES)
        .map(|_| connect_with(node.clients(), &loud))
        .collect();
    reaches(&node, OVER_RATE, f64::from(TRIES - 20));
    drop(loud);
    let raw = connect_with(node.clients(), &naming([203, 0, 113, 1]));
    assert_open(&mut welcomed(&node, raw));
}

#[test]
fn the_header_comes_before_tls() {
    let certificates = TestCertificates::of(&["edge.example"]);
    let config = certificates.config(1).replace("[listen]\n", TRUSTED);
    let node = Setup::shards(1).config(&config).start();
    let tls = || {
        let name = "edge.example".try_into().expect("a name");
        ClientConnection::new(certificates.client(&[&rustls::version::TLS13]), name)
            .expect("a client")
    };
    let raw = connect_with(node.clients(), &naming([192, 0, 2, 7]));
    let mut raw = welcomed(&node, Raw::over(raw, tls()));
    assert_open(&mut raw);
    raw.send(&data_frame(
        Opcode::Control(ControlKind::Close),
        true,
        &[3, 232],
    ));
    assert_eq!(raw.close_code(), CloseCode::Normal.number());
    // Inside of TLS it is the client's, and no request.
    let raw = connect_with(node.clients(), &naming([192, 0, 2, 7]));
    let mut raw = Raw::over(raw, tls());
    raw.send(&naming([192, 0, 2, 7]));
    assert_eq!(raw.read_answer().0, 400);
}
