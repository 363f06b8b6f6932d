//! Hostile clients against the real node, with a well-behaved session beside each.
//!
//! Every attack is a test: it asserts that the attacker is answered with the right HTTP status,
//! error or close code, that the node lives, that the canary beside it loses nothing and is not
//! held up, and that the node's memory stays within the plan that `config print` shows.

#[path = "../support/mod.rs"]
mod support;

mod authority;
mod canary;
mod floods;
mod frames;
mod handshakes;
mod index;
mod mutants;
mod mutation;
mod readers;
mod requests;
mod siege;

use interlink_protocol::frame::ServerFrame;

use support::raw::{decode, Raw};
use support::Node;

/// Limits for attacks that have to get past the rates to reach the bound that they are about.
const UNHURRIED: &str = "connection_rate = 0\nuser_rate = 0";
/// Bytes of one write of a flood.
const WRITE_BYTES: usize = 4 * 1024;

/// A welcomed connection of a user of that name.
fn welcomed(node: &Node, user: &str) -> Raw {
    Raw::welcomed(node.clients(), &node.token(user), 1)
}

/// Sends as much as the server takes, in small writes: one write of megabytes would keep a core
/// in the kernel for longer than a round trip of the canary lasts. Whether all was taken.
fn pour(raw: &mut Raw, bytes: &[u8]) -> bool {
    bytes
        .chunks(WRITE_BYTES)
        .all(|chunk| raw.try_send(chunk).is_ok())
}

/// Code and request of the next frame, which has to be an `Error`.
fn error_of(raw: &mut Raw) -> (u16, u32) {
    let frame = raw.next_frame();
    let ServerFrame::Error(error) = decode(&frame) else {
        panic!("an Error was expected: {:?}", decode(&frame).kind());
    };
    (error.code(), error.request_id())
}
