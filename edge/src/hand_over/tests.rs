//! The conversation over real sockets, and the table of the successor.

use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Duration;

use super::door::Heard;
use super::link::{hear, say, Message};
use super::successor::{offer, Taking};
use super::*;
use crate::server::NodeEvent;

/// Time for what happens at once.
const PATIENCE: Duration = Duration::from_secs(10);

fn listener() -> std::net::TcpListener {
    std::net::TcpListener::bind("127.0.0.1:0").expect("a free port")
}

fn endpoints() -> Endpoints {
    Endpoints {
        control: listener(),
        api: listener(),
    }
}

#[test]
fn the_table_of_the_successor_is_as_committed() {
    let table = interlink_protocol::session::machine::render::<Taking>();
    assert_eq!(table, include_str!("taking.txt"), "{table}");
}

#[test]
fn messages_and_sockets_arrive_in_order() {
    let (one, other) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let sockets = [listener(), listener()];
    let addresses = sockets
        .each_ref()
        .map(|it| it.local_addr().expect("an address"));
    let others = endpoints();
    let [control, api] =
        [&others.control, &others.api].map(|it| it.local_addr().expect("an address"));
    let clients = sockets.map(std::os::fd::OwnedFd::from);
    offer(&one, &clients, &others).expect("said");
    say(&one, Message::Released, None).expect("said");
    drop((one, clients, others));
    let [first, second] = addresses;
    for (kind, address) in [
        (Message::Listener, first),
        (Message::Listener, second),
        (Message::Control, control),
        (Message::Api, api),
    ] {
        let heard = hear(&other).expect("heard").expect("a message");
        let (message, Some(socket)) = heard else {
            panic!("a socket was expected: {heard:?}");
        };
        assert_eq!(message, kind);
        let passed = std::net::TcpListener::from(socket);
        assert_eq!(passed.local_addr().expect("an address"), address);
        // The one that was passed on is all that is left of it, and still listens.
        TcpStream::connect(address).expect("it listens");
    }
    let offered = hear(&other).expect("heard");
    assert!(matches!(offered, Some((Message::Offered, None))));
    let released = hear(&other).expect("heard");
    assert!(matches!(released, Some((Message::Released, None))));
    assert!(hear(&other).expect("heard").is_none());
}

#[test]
fn bytes_of_another_program_are_an_error() {
    use std::io::Write;
    for bytes in [&b"GE"[..], b"T", b"L\x01"] {
        let (mut one, other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        one.write_all(bytes).expect("written");
        drop(one);
        assert!(hear(&other).is_err(), "{bytes:?}");
    }
}

#[test]
fn a_successor_without_a_predecessor_starts_alone() {
    let data = tempfile::tempdir().expect("a directory");
    let (successor, inherited) = Successor::call(data.path(), PATIENCE).expect("nobody is there");
    assert!(successor.is_alone());
    assert!(inherited.clients.is_empty());
    assert!(inherited.control.is_none() && inherited.api.is_none());
    let missing = data.path().join("missing");
    assert!(Successor::call(&missing, PATIENCE).is_ok());
}

#[test]
fn a_hand_over_through_the_door_of_a_long_path() {
    let parent = tempfile::tempdir().expect("a directory");
    let data = parent.path().join("d".repeat(200));
    std::fs::create_dir(&data).expect("made");
    let (events, inbox) = mpsc::channel();
    for _ in 0..2 {
        // The second one replaces what the first has left.
        Door::open(&data, events.clone()).expect("opened");
    }
    let (sockets, others) = (vec![listener().into()], endpoints());
    let [control, api] =
        [&others.control, &others.api].map(|it| it.local_addr().expect("an address"));
    let predecessor = std::thread::spawn(move || {
        let next = || match inbox.recv_timeout(PATIENCE).expect("an event") {
            NodeEvent::Successor { heard, .. } => heard,
            other => panic!("{other}"),
        };
        let Heard::Called(stream) = next() else {
            panic!("a call was expected");
        };
        offer(&stream, &sockets, &others).expect("offered");
        assert!(matches!(next(), Heard::Prepared));
        say(&stream, Message::Released, None).expect("said");
        assert!(matches!(next(), Heard::Ready));
        assert!(matches!(next(), Heard::Gone));
    });
    let (mut successor, mut inherited) = Successor::call(&data, PATIENCE).expect("offered");
    assert!(!successor.is_alone());
    assert_eq!(inherited.clients.len(), 1);
    let other = "127.0.0.1:1".parse().expect("an address");
    assert!(inherited.client_address(other).is_err());
    assert!(inherited.take_control(control).is_some());
    assert!(inherited.take_api(api).is_some());
    successor.await_release().expect("released");
    let _data = successor.lock(&data).expect("locked");
    successor.tell_ready();
    predecessor.join().expect("it heard everything");
}
