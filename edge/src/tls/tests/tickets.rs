//! Tickets: where they open, for how long, and that nothing else does.

use rustls::server::ProducesTickets;
use rustls::version::{TLS12, TLS13};

use super::*;

fn keys(secret: &TicketSecret, periods_later: i64) -> TicketKeys {
    let later_s = periods_later * ROTATION.as_secs() as i64;
    TicketKeys::at(secret, NOON_S.saturating_add_signed(later_s), ROTATION)
}

#[test]
fn a_ticket_opens_in_its_period_and_the_next_and_where_clocks_are_behind() {
    let secret = TicketSecret::random().expect("randomness");
    let ticket = keys(&secret, 0).encrypt(b"a session").expect("a ticket");
    for (later, opens) in [(-2, false), (-1, true), (0, true), (1, true), (2, false)] {
        let opened = keys(&secret, later).decrypt(&ticket);
        assert_eq!(opened.is_some(), opens, "{later} periods later");
        assert!(opened.is_none_or(|plain| plain == b"a session"));
    }
}

#[test]
fn a_ticket_says_nothing_to_others_and_when_it_was_changed() {
    let secret = TicketSecret::random().expect("randomness");
    let ours = keys(&secret, 0);
    let ticket = ours.encrypt(b"a session").expect("a ticket");
    let other = TicketSecret::random().expect("randomness");
    assert_eq!(keys(&other, 0).decrypt(&ticket), None);
    for at in 0..ticket.len() {
        let mut changed = ticket.clone();
        changed[at] ^= 1;
        assert_eq!(ours.decrypt(&changed), None, "byte {at}");
        assert_eq!(ours.decrypt(&ticket[..at]), None, "cut at {at}");
    }
    assert_ne!(ours.encrypt(b"a session"), Some(ticket), "salts differ");
}

#[test]
fn a_session_is_resumed_by_another_node_with_the_same_secret() {
    let files = Files::of(&[NAME]);
    let secret = TicketSecret::random().expect("randomness");
    let other = TicketSecret::random().expect("randomness");
    for versions in [&[&TLS13], &[&TLS12]] {
        let client = Arc::new(files.client(versions));
        let mut resumed = Vec::new();
        let later_s = NOON_S + ROTATION.as_secs();
        for (secret, now_s) in [(&secret, NOON_S), (&secret, later_s), (&other, NOON_S)] {
            let server = files.server(secret, now_s);
            let mut pair = Pair::new(Arc::clone(&client), &server, NAME);
            pair.say(b"hello");
            pair.talk().expect("they agree");
            assert_eq!(pair.plain, b"hello");
            resumed.push(pair.server.is_resumed());
        }
        assert_eq!(resumed, [false, true, false]);
    }
}

#[test]
fn secrets_that_are_too_short_are_refused_with_the_cure() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let path = directory.path().join("secret");
    std::fs::write(&path, "short\n").expect("a file can be written");
    let error = TicketSecret::read(&path).expect_err("it is too short");
    assert!(error.to_string().contains("openssl rand"), "{error}");
    std::fs::write(&path, [b'k'; 33]).expect("a file can be written");
    assert!(TicketSecret::read(&path).is_ok());
}
