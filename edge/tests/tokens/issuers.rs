//! Key sets by URL: rotation, floods, and answers that try to lead the node elsewhere.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::support::{wait_for, Setup};
use super::*;

const ISSUER: &str = "https://login.example";
const FAST: &str = "jwks_refresh = \"1s\"\njwks_cooldown = \"1s\"";

/// An HTTP server with one answer, which can be changed.
struct KeyServer {
    address: SocketAddr,
    answer: Arc<Mutex<String>>,
    requests: Arc<AtomicUsize>,
}

impl KeyServer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let server = Self {
            address: listener.local_addr().expect("an address"),
            answer: Arc::default(),
            requests: Arc::default(),
        };
        let (answer, requests) = (Arc::clone(&server.answer), Arc::clone(&server.requests));
        // The thread ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                requests.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 4_096];
                let _ended_early = stream.read(&mut request);
                let answer = answer.lock().expect("no panic").clone();
                let _ended_early = stream.write_all(answer.as_bytes());
            }
        });
        server
    }

    fn answer(&self, status: &str, header: &str, body: &str) {
        let len = body.len();
        *self.answer.lock().expect("no panic") = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {len}\r\n{header}Connection: close\r\n\r\n{body}"
        );
    }

    fn serve(&self, keys: &[&Value]) {
        self.answer("200 OK", "", &json!({ "keys": keys }).to_string());
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// A node that takes this server's keys for [`ISSUER`].
    fn node(&self, times: &str) -> Node {
        let address = self.address;
        let source = format!("{ISSUER} http://{address}/keys");
        let lines = format!("[auth]\njwks = [\"{source}\"]\n{times}\n");
        Setup::shards(2).config(&lines).start()
    }
}

fn fetched(node: &Node, least: f64) {
    wait_for("a fetch", || {
        let fetches = node.metric("interlink_edge_key_set_fetches_total")?;
        (fetches >= least).then_some(())
    });
}

fn failed(node: &Node) {
    wait_for("a failed fetch", || {
        let failures = node.metric("interlink_edge_key_set_failures_total")?;
        (failures >= 1.0).then_some(())
    });
}

#[test]
fn a_new_key_of_an_issuer_is_fetched_when_a_token_names_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let (old, old_jwk) = named_key(directory.path(), "old");
    let (new, new_jwk) = named_key(directory.path(), "new");
    let server = KeyServer::start();
    server.serve(&[&old_jwk]);
    let node = server.node("jwks_cooldown = \"1s\"");
    fetched(&node, 1.0);
    let mut raw = hello(&node, &token_by(&old, ISSUER, "ada")).expect("welcomed");
    server.serve(&[&old_jwk, &new_jwk]);
    let unavailable = refused(ErrorCode::AuthenticationUnavailable, CloseCode::Unavailable);
    let fresh = token_by(&new, ISSUER, "bob");
    assert_eq!(hello(&node, &fresh).err(), unavailable);
    wait_for("the new key", || hello(&node, &fresh).ok());
    assert_eq!(
        node.metric("interlink_edge_key_set_early_fetches_total"),
        Some(1.0)
    );
    assert!(hello(&node, &token_by(&old, ISSUER, "ada")).is_ok());
    // The issuer takes the old key back.
    server.serve(&[&new_jwk]);
    let (unknown, _) = named_key(directory.path(), "made-up");
    wait_for("the end of the old key", || {
        hello(&node, &token_by(&unknown, ISSUER, "eve")).err()?;
        hello(&node, &token_by(&old, ISSUER, "ada")).err()
    });
    assert_open(&mut raw);
}

#[test]
fn a_flood_of_unknown_keys_costs_the_issuer_one_request_a_cooldown() {
    let directory = tempfile::tempdir().expect("a directory");
    let (key, jwk) = named_key(directory.path(), "known");
    let server = KeyServer::start();
    server.serve(&[&jwk]);
    let node = server.node("jwks_cooldown = \"30s\"");
    fetched(&node, 1.0);
    for number in 0..200 {
        let (unknown, _) = named_key(directory.path(), &format!("made-up-{}", number % 5));
        assert!(hello(&node, &token_by(&unknown, ISSUER, "eve")).is_err());
    }
    assert!(hello(&node, &token_by(&key, ISSUER, "ada")).is_ok());
    assert_eq!(server.requests(), 1);
}

#[test]
fn keys_stay_while_their_source_is_away() {
    let directory = tempfile::tempdir().expect("a directory");
    let (key, jwk) = named_key(directory.path(), "known");
    let server = KeyServer::start();
    server.serve(&[&jwk]);
    let node = server.node(FAST);
    fetched(&node, 1.0);
    for (status, body) in [
        ("503 Unavailable", ""),
        ("200 OK", "{\"keys\":[]}"),
        ("200 OK", "<p>"),
    ] {
        let before = node.metric("interlink_edge_key_set_failures_total");
        server.answer(status, "", body);
        wait_for("a failed fetch", || {
            (node.metric("interlink_edge_key_set_failures_total") > before).then_some(())
        });
        assert!(
            hello(&node, &token_by(&key, ISSUER, "ada")).is_ok(),
            "{status}"
        );
    }
}

#[test]
fn keys_end_when_their_source_is_away_for_too_long() {
    let directory = tempfile::tempdir().expect("a directory");
    let (key, jwk) = named_key(directory.path(), "known");
    let server = KeyServer::start();
    server.serve(&[&jwk]);
    let node = server.node(&format!("{FAST}\njwks_keep = \"2s\""));
    fetched(&node, 1.0);
    server.answer("500 Broken", "", "");
    let error = wait_for("the end of the key", || {
        hello(&node, &token_by(&key, ISSUER, "ada")).err()
    });
    let unavailable = refused(ErrorCode::AuthenticationUnavailable, CloseCode::Unavailable);
    assert_eq!(Some(error), unavailable);
}

#[test]
fn a_redirect_is_not_followed() {
    let directory = tempfile::tempdir().expect("a directory");
    let (key, jwk) = named_key(directory.path(), "known");
    let elsewhere = KeyServer::start();
    elsewhere.serve(&[&jwk]);
    let server = KeyServer::start();
    let location = format!("Location: http://{}/keys\r\n", elsewhere.address);
    server.answer(
        "302 Found",
        &location,
        &json!({ "keys": [jwk] }).to_string(),
    );
    let node = server.node(FAST);
    failed(&node);
    assert!(hello(&node, &token_by(&key, ISSUER, "ada")).is_err());
    assert_eq!(elsewhere.requests(), 0);
}

#[test]
fn a_token_makes_the_node_ask_no_other_address() {
    let directory = tempfile::tempdir().expect("a directory");
    let (key, jwk) = named_key(directory.path(), "theirs");
    let elsewhere = KeyServer::start();
    elsewhere.serve(&[&jwk]);
    let server = KeyServer::start();
    let (_, own) = named_key(directory.path(), "own");
    server.serve(&[&own]);
    let node = server.node(FAST);
    fetched(&node, 1.0);
    let address = format!("http://{}/keys", elsewhere.address);
    let token = token_by(&key, &address, "ada");
    let (_, rest) = token.split_once('.').expect("three parts");
    for member in ["jku", "x5u", "kid"] {
        let mut header = json!({ "alg": "EdDSA", "kid": "theirs" });
        header[member] = json!(address);
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        assert!(hello(&node, &format!("{header}.{rest}")).is_err());
    }
    fetched(&node, 3.0);
    assert_eq!(elsewhere.requests(), 0);
}

#[test]
fn an_answer_that_is_too_large_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let (key, jwk) = named_key(directory.path(), "known");
    let server = KeyServer::start();
    let padding = "x".repeat(80_000);
    server.answer(
        "200 OK",
        "",
        &json!({ "pad": padding, "keys": [jwk] }).to_string(),
    );
    let node = server.node(FAST);
    failed(&node);
    assert!(hello(&node, &token_by(&key, ISSUER, "ada")).is_err());
}

#[test]
fn the_key_of_one_issuer_does_not_speak_for_another() {
    let directory = tempfile::tempdir().expect("a directory");
    let (north, north_jwk) = named_key(directory.path(), "same");
    let (south, south_jwk) = named_key(directory.path(), "same");
    let (at_north, at_south) = (KeyServer::start(), KeyServer::start());
    at_north.serve(&[&north_jwk]);
    at_south.serve(&[&south_jwk]);
    let lines = format!(
        "[auth]\njwks = [\"north http://{}/\", \"south http://{}/\"]",
        at_north.address, at_south.address
    );
    let node = Setup::shards(2).config(&lines).start();
    fetched(&node, 2.0);
    assert!(hello(&node, &token_by(&north, "north", "ada")).is_ok());
    assert!(hello(&node, &token_by(&south, "south", "ada")).is_ok());
    let elsewhere = refused(ErrorCode::TokenWrongAudience, CloseCode::TokenInvalid);
    for (key, issuer) in [(&north, "south"), (&south, "north"), (&north, "interlink")] {
        assert_eq!(hello(&node, &token_by(key, issuer, "ada")).err(), elsewhere);
    }
}

#[test]
fn a_shared_secret_in_a_key_set_signs_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let secret = json!({
        "kty": "oct", "k": URL_SAFE_NO_PAD.encode([7; 32]), "kid": "shared",
    });
    let path = directory.path().join("secret.json");
    replace(&path, &secret.to_string());
    let secret_key = Key::read(&path).expect("a key");
    let (_, jwk) = named_key(directory.path(), "known");
    let server = KeyServer::start();
    server.serve(&[&jwk, &secret]);
    let node = server.node(FAST);
    fetched(&node, 1.0);
    let error = hello(&node, &token_by(&secret_key, ISSUER, "ada")).err();
    assert_eq!(
        error,
        refused(ErrorCode::TokenInvalid, CloseCode::TokenInvalid)
    );
}
