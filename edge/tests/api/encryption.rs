//! The server API inside of TLS.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::support::certificates::TestCertificates;
use super::support::wait_for;
use super::*;

type Secure = StreamOwned<ClientConnection, TcpStream>;

fn secure(node: &Node, config: &Arc<ClientConfig>) -> Secure {
    let name = "edge.example".try_into().expect("a name");
    let connection = ClientConnection::new(Arc::clone(config), name);
    StreamOwned::new(connection.expect("a session"), connect(node))
}

/// A client that trusts the certificates of now, and checks them on every connection.
fn client(certificates: &TestCertificates) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(&certificates.client(&[&rustls::version::TLS13]));
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// One request on a connection that stays open: its status.
fn ask(stream: &mut Secure, node: &Node) -> std::io::Result<String> {
    let host = node.api();
    write!(
        stream,
        "GET /v1/openapi.json HTTP/1.1\r\nHost: {host}\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        answer.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&answer).to_lowercase();
    let length = head.split("content-length: ").nth(1).expect("a length");
    let length = length.split("\r\n").next().expect("a line").parse();
    stream.read_exact(&mut vec![0; length.expect("a number")])?;
    Ok(head.split(' ').nth(1).unwrap_or_default().to_owned())
}

#[test]
fn the_api_speaks_tls_with_the_certificates_of_the_node() {
    let certificates = TestCertificates::of(&["edge.example"]);
    let node = Setup::shards(1).config(&certificates.config(1)).start();
    let token = service(&node);
    let mut stream = secure(&node, &client(&certificates));
    let body = json!({"channel": REPORT, "json": 1}).to_string();
    let head = head(&node, "/v1/publish", &token);
    let (status, _, answer) = exchange(&mut stream, &head, body.as_bytes());
    assert_eq!(status, 200, "{answer}");
}

#[test]
fn new_connections_get_new_certificates_and_open_ones_stay() {
    let mut certificates = TestCertificates::of(&["edge.example"]);
    let node = Setup::shards(1).config(&certificates.config(1)).start();
    let old = client(&certificates);
    let mut open = secure(&node, &old);
    assert_eq!(ask(&mut open, &node).expect("answered"), "200");
    certificates.replace(0, "edge.example");
    let new = client(&certificates);
    wait_for("a connection that the old trust refuses", || {
        ask(&mut secure(&node, &old), &node).err()
    });
    let mut fresh = secure(&node, &new);
    assert_eq!(ask(&mut fresh, &node).expect("answered"), "200");
    assert_eq!(ask(&mut open, &node).expect("still open"), "200");
}

#[test]
fn a_handshake_that_is_no_tls_ends_and_hinders_nobody() {
    let certificates = TestCertificates::of(&["edge.example"]);
    let node = Setup::shards(1).config(&certificates.config(1)).start();
    let mut plain = connect(&node);
    write!(plain, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    // Begun and left alone: it holds a place until its time is over, and nothing else.
    let mut silent = connect(&node);
    silent.write_all(&[22, 3, 1]).expect("sent");
    let mut stream = secure(&node, &client(&certificates));
    assert_eq!(ask(&mut stream, &node).expect("answered"), "200");
}
