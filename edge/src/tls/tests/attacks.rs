//! Attacks on the TLS layer that need no socket.

use rustls::version::{TLS12, TLS13};

use super::*;

/// Alerts where the handshake is not over, as warnings and as fatal: the session ends once, in
/// whatever step it is, and says so without looping.
#[test]
fn an_alert_in_the_handshake_ends_the_session_once() {
    let files = Files::of(&[NAME]);
    let server = files.any_server();
    let client = Arc::new(files.client(&[&TLS13, &TLS12]));
    let name = "edge.example".try_into().expect("a name");
    let mut connection = ClientConnection::new(client, name).expect("a client");
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).expect("a vector takes");
    for (level, description) in [(1, 0), (2, 0), (1, 90), (2, 40), (9, 255)] {
        let alert = [21, 3, 3, 0, 2, level, description];
        for before in [&[][..], &hello] {
            let mut session = TlsSession::new(&server).expect("a server");
            let mut bytes = before.to_vec();
            bytes.extend(alert.repeat(100));
            let mut ends = 0;
            // What is not used is offered again, as the shard does; each call uses or ends.
            for _ in 0..300 {
                let (used, opened) = session.open(&mut bytes, &mut Vec::new());
                bytes.drain(..used);
                ends += u32::from(!matches!(opened, Ok(Opened::Open)));
                if ends > 0 || (used == 0 && session.waiting().is_empty()) {
                    break;
                }
                session.advance(session.waiting().len());
            }
            assert_eq!(
                ends,
                1,
                "level {level}, {description}, {} bytes before",
                before.len()
            );
        }
    }
}

#[test]
fn a_resumed_session_takes_no_early_data() {
    let files = Files::of(&[NAME]);
    let mut config = files.client(&[&TLS13]);
    config.enable_early_data = true;
    let (client, server) = (Arc::new(config), files.any_server());
    for is_resumed in [false, true] {
        let mut pair = Pair::new(Arc::clone(&client), &server, NAME);
        assert!(
            pair.client.early_data().is_none(),
            "a ticket allows early data"
        );
        pair.say(b"hello");
        pair.talk().expect("they agree");
        assert_eq!(pair.server.is_resumed(), is_resumed);
        assert_eq!(pair.plain, b"hello");
    }
}
