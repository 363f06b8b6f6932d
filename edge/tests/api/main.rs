//! The server API over real sockets: publishes, acts on users, reads, bounds.

#[path = "../support/mod.rs"]
mod support;

mod encryption;
mod examples;
mod orders;
mod presence;
mod publishing;
mod reads;
mod revoking;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use serde_json::{json, Value};

use support::{Node, Setup, PATIENCE};

/// A channel that takes opaque payloads without being configured for them.
const REPORT: &str = "report.north.day";

fn start(shards: u16) -> Node {
    let setup = Setup::shards(shards);
    setup
        .config("[namespaces.user]\nopaque_allowed = true")
        .start()
}

fn service(node: &Node) -> String {
    node.token_of("reports", |grant| grant.roles.push("service".into()))
}

/// One request on a connection of its own: status, head and JSON body.
fn exchange(stream: &mut (impl Read + Write), head: &str, body: &[u8]) -> (u16, String, Value) {
    write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n", body.len()).expect("sent");
    stream.write_all(body).expect("sent");
    let mut answer = Vec::new();
    // A server that ends TLS without a word has answered all the same.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let body = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
    (status.expect("a status"), head.to_owned(), body)
}

fn head(node: &Node, path: &str, token: &str) -> String {
    let host = node.api();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         Authorization: Bearer {token}"
    )
}

fn connect(node: &Node) -> TcpStream {
    let stream = TcpStream::connect(node.api()).expect("the API listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream
}

fn post(node: &Node, path: &str, token: &str, body: &Value) -> (u16, Value) {
    let head = head(node, path, token);
    let (status, _, answer) = exchange(&mut connect(node), &head, body.to_string().as_bytes());
    (status, answer)
}

fn get(node: &Node, path: &str, token: &str) -> (u16, Value) {
    let head = head(node, path, token).replacen("POST", "GET", 1);
    let (status, _, answer) = exchange(&mut connect(node), &head, b"");
    (status, answer)
}

/// A service of an institution.
fn service_of(node: &Node, institution: &str) -> String {
    node.token_of("reports", |grant| {
        grant.roles.push("service".into());
        grant.institution = Some(institution.into());
    })
}

/// A user of an institution.
fn member_of(node: &Node, user: &str, institution: &str) -> String {
    node.token_of(user, |grant| grant.institution = Some(institution.into()))
}

/// Asserts that a request was refused with a status and a code, and that the answer says all
/// that a refusal says.
fn assert_refused((status, answer): (u16, Value), expected: (u16, &str)) {
    let found = (status, answer["code"].as_str().unwrap_or_default());
    assert_eq!(found, expected, "{answer}");
    for field in ["message", "cure", "temporary", "retry_after_ms", "number"] {
        assert!(!answer[field].is_null(), "{field} is missing: {answer}");
    }
}

/// Runs an example with these words; whether it ended well, and what it printed.
fn example(node: &Node, program: &str, file: &str, token: &str, words: &[&str]) -> (bool, String) {
    let path = format!("{}/api/examples/{file}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(program)
        .arg(path)
        .arg(format!("http://{}", node.api()))
        .args(words)
        .env("INTERLINK_TOKEN", token)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; .ci/setup --tests installs it"));
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}
