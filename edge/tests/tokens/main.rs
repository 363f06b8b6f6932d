//! Tokens on the real node: how they end, how they are replaced and revoked, and how keys come
//! and go while clients are connected.

#[path = "../support/mod.rs"]
mod support;

mod clients;
mod ends;
mod files;
mod issuers;

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use base64::Engine;
use interlink_edge::auth::{mint_user, Key, UserGrant};
use interlink_edge::server::unix_seconds;
use interlink_protocol::frame::ServerFrame;
use interlink_protocol::{CloseCode, ErrorCode};
use serde_json::{json, Value};

use support::raw::{decode, Raw};
use support::Node;

/// How late an end may come: what the node promises.
const PROMISE: Duration = Duration::from_secs(1);

/// A fresh Ed25519 key: its PEM text and its public JWK with this name.
fn key_pair(kid: &str) -> (String, Value) {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).expect("a key");
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key");
    let body = STANDARD.encode(pkcs8.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "alg": "EdDSA" });
    (pem, jwk)
}

/// A private key that signs with a `kid`, in a file of `directory`.
fn named_key(directory: &Path, kid: &str) -> (Key, Value) {
    let (pem, mut jwk) = key_pair(kid);
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let pkcs8 = STANDARD.decode(body).expect("base64");
    // The seed is the last octet string of the PKCS#8 form (RFC 8410 section 7).
    let public = jwk.clone();
    jwk["d"] = json!(URL_SAFE_NO_PAD.encode(&pkcs8[16..48]));
    let path = directory.join(format!("{kid}.json"));
    replace(&path, &jwk.to_string());
    (Key::read(&path).expect("a key"), public)
}

/// Replaces a file as a whole, as tools that rotate keys do.
fn replace(path: &Path, content: &str) {
    let fresh = path.with_extension("fresh");
    std::fs::write(&fresh, content).expect("written");
    std::fs::rename(&fresh, path).expect("renamed");
}

/// A token of `issuer` for `user` that is signed by `key`.
fn token_by(key: &Key, issuer: &str, user: &str) -> String {
    let now_s = unix_seconds();
    let grant = UserGrant {
        user: user.to_owned(),
        issuer: issuer.to_owned(),
        audience: "interlink".to_owned(),
        issued_at_s: now_s,
        not_before_s: now_s,
        expires_at_s: now_s + 600,
        ..UserGrant::default()
    };
    mint_user(key, &grant).expect("signed")
}

/// What a `Hello` with this token is answered with: nothing, or the error and close codes.
fn hello(node: &Node, token: &str) -> Result<Raw, (u16, u16)> {
    let mut raw = Raw::upgraded(node.clients());
    raw.hello(token, 1, None);
    let frame = raw.next_frame();
    match decode(&frame) {
        ServerFrame::Welcome(_) => Ok(raw),
        ServerFrame::Error(error) => Err((error.code(), raw.close_code())),
        other => panic!("neither Welcome nor Error: {:?}", other.kind()),
    }
}

/// A refusal as [`hello`] tells it.
fn refused(code: ErrorCode, close: CloseCode) -> Option<(u16, u16)> {
    Some((code.number(), close.number()))
}

/// Code and request of the next frame, which has to be an `Error`.
fn error_of(raw: &mut Raw) -> (u16, u32) {
    let frame = raw.next_frame();
    let ServerFrame::Error(error) = decode(&frame) else {
        panic!("an Error was expected: {:?}", decode(&frame).kind());
    };
    (error.code(), error.request_id())
}

/// Shows that the connection serves requests.
fn assert_open(raw: &mut Raw) {
    raw.send_encoded(|encoder| encoder.presence(77, "user.ada", None));
    assert_eq!(error_of(raw), (ErrorCode::PresenceUnavailable.number(), 77));
}

/// The time since 1970.
fn wall_clock() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is set")
}
