//! Handshakes, data, key updates, ends, and what a hostile peer sends.

use proptest::prelude::*;
use rustls::version::{TLS12, TLS13};
use rustls::HandshakeKind;

use super::*;

const BOTH: [&[&rustls::SupportedProtocolVersion]; 2] = [&[&TLS13], &[&TLS12]];

fn pair(files: &Files, versions: &[&'static rustls::SupportedProtocolVersion]) -> Pair {
    Pair::new(Arc::new(files.client(versions)), &files.any_server(), NAME)
}

#[test]
fn both_versions_carry_data_in_both_directions() {
    let files = Files::of(&[NAME]);
    for versions in BOTH {
        let mut pair = pair(&files, versions);
        assert!(pair.server.is_handshaking());
        pair.say(b"a question");
        assert_eq!(pair.talk().expect("they agree"), Opened::Open);
        assert!(!pair.server.is_handshaking());
        assert_eq!(pair.plain, b"a question");
        assert_eq!(pair.answer(b"an answer"), b"an answer");
        assert_eq!(pair.client.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert!(pair.server.waiting().is_empty());
    }
}

#[test]
fn records_that_come_byte_by_byte_are_put_together() {
    let files = Files::of(&[NAME]);
    for versions in BOTH {
        let mut config = files.client(versions);
        // A hello in many records, and every record in many parts.
        config.max_fragment_size = Some(64);
        let mut pair = Pair::new(Arc::new(config), &files.any_server(), NAME);
        pair.step = 1;
        pair.say(&[7; 300]);
        pair.talk().expect("they agree");
        assert_eq!(pair.plain, [7; 300]);
        assert!(pair.held.is_empty());
    }
}

#[test]
fn a_server_speaks_while_half_a_record_waits() {
    let files = Files::of(&[NAME]);
    for versions in BOTH {
        let mut pair = pair(&files, versions);
        pair.talk().expect("they agree");
        pair.say(b"two halves");
        let mut record = Vec::new();
        pair.client.write_tls(&mut record).expect("a vector takes");
        let (first, second) = record.split_at(record.len() / 2);
        pair.feed_server(first).expect("half a record is no error");
        assert!(pair.plain.is_empty() && pair.held.len() == first.len());
        assert_eq!(pair.answer(b"meanwhile"), b"meanwhile");
        pair.feed_server(second).expect("the other half");
        assert_eq!(pair.plain, b"two halves");
    }
}

#[test]
fn keys_are_updated_when_the_client_asks() {
    let files = Files::of(&[NAME]);
    let mut pair = pair(&files, &[&TLS13]);
    pair.talk().expect("they agree");
    for round in 0..40_u8 {
        pair.client.refresh_traffic_keys().expect("it may ask");
        pair.say(&[round]);
        pair.talk().expect("an update is no error");
        assert_eq!(pair.plain.pop(), Some(round));
        assert_eq!(pair.answer(&[round]), [round]);
    }
}

#[test]
fn a_flood_of_key_updates_ends_the_session() {
    let files = Files::of(&[NAME]);
    let mut pair = pair(&files, &[&TLS13]);
    pair.talk().expect("they agree");
    let mut outcome = Ok(Opened::Open);
    for _ in 0..100 {
        pair.client.refresh_traffic_keys().expect("it may ask");
        outcome = pair.talk();
        if outcome.is_err() {
            break;
        }
    }
    assert!(matches!(outcome, Err(TlsError::Peer(_))), "{outcome:?}");
}

#[test]
fn more_than_one_record_is_sealed_at_once() {
    let files = Files::of(&[NAME]);
    for versions in BOTH {
        let mut pair = pair(&files, versions);
        pair.talk().expect("they agree");
        let text: Vec<u8> = (0..40_000_u32).map(|byte| byte as u8).collect();
        let mut out = b"before".to_vec();
        let sealed = pair.server.seal(&mut [], &text, &mut out);
        sealed.expect("the session takes data");
        assert!(out.starts_with(b"before"));
        pair.client.set_buffer_limit(None);
        let mut read = Vec::new();
        for part in out[6..].chunks(1_000) {
            pair.feed_client(part);
            // Nothing yet is no error here.
            let _ = pair.client.reader().read_to_end(&mut read);
        }
        assert_eq!(read, text);
    }
}

#[test]
fn both_sides_say_when_they_end() {
    let files = Files::of(&[NAME]);
    for versions in BOTH {
        let mut pair = pair(&files, versions);
        pair.talk().expect("they agree");
        pair.say(b"last words");
        pair.client.send_close_notify();
        assert_eq!(pair.talk().expect("an end"), Opened::PeerClosed);
        assert_eq!(pair.plain, b"last words");
        let mut out = Vec::new();
        let ended = pair.server.seal_end(&mut [], &mut out);
        ended.expect("the session may say its end");
        pair.feed_client(&out);
        let mut rest = Vec::new();
        let read = pair.client.reader().read_to_end(&mut rest);
        assert_eq!(read.expect("a clean end"), 0);
    }
}

#[test]
fn a_client_that_offers_only_old_versions_is_told_by_an_alert() {
    let files = Files::of(&[NAME]);
    let mut server = TlsSession::new(&files.any_server()).expect("a server");
    // A TLS 1.0 hello: record 3.1, message 1, version 3.1, random, no session, one suite.
    let mut body = vec![3, 1];
    body.extend_from_slice(&[9; 32]);
    body.extend_from_slice(&[0, 0, 2, 0, 0x2f, 1, 0]);
    let mut hello = vec![
        0x16,
        3,
        1,
        0,
        body.len() as u8 + 4,
        1,
        0,
        0,
        body.len() as u8,
    ];
    hello.extend_from_slice(&body);
    let (_, opened) = server.open(&mut hello, &mut Vec::new());
    assert!(matches!(opened, Err(TlsError::Peer(_))));
    // Content type alert, level fatal.
    assert_eq!((server.waiting()[0], server.waiting()[5]), (21, 2));
}

#[test]
fn plaintext_is_refused_at_once() {
    let files = Files::of(&[NAME]);
    let mut server = TlsSession::new(&files.any_server()).expect("a server");
    let mut request = b"GET /v1/connect HTTP/1.1\r\n\r\n".to_vec();
    let (_, opened) = server.open(&mut request, &mut Vec::new());
    assert!(matches!(opened, Err(TlsError::Peer(_))));
}

#[test]
fn what_was_not_taken_is_kept_in_order() {
    let files = Files::of(&[NAME]);
    let mut pair = pair(&files, &[&TLS13]);
    pair.talk().expect("they agree");
    let mut out = Vec::new();
    let sealed = pair.server.seal(&mut [], b"slowly", &mut out);
    sealed.expect("the session takes data");
    pair.server.keep(&out[3..]);
    pair.feed_client(&out[..3]);
    while let Some(&byte) = pair.server.waiting().first() {
        pair.feed_client(&[byte]);
        pair.server.advance(1);
    }
    let mut read = [0; 6];
    pair.client.reader().read_exact(&mut read).expect("data");
    assert_eq!(&read, b"slowly");
}

#[test]
fn each_name_gets_its_certificate_and_others_the_first() {
    let files = Files::of(&[NAME, "other.example", "*.wild.example"]);
    let certificates = files.certificates();
    let first = certificates.for_name(None).cert.clone();
    let of = |name| certificates.for_name(Some(name)).cert.clone();
    assert_eq!(of(NAME), first);
    assert_eq!(of("nobody.example"), first);
    assert_eq!(of("not a name"), first);
    assert_ne!(of("other.example"), first);
    assert_eq!(of("a.wild.example"), of("b.wild.example"));
    assert_ne!(of("a.wild.example"), of("other.example"));
    for name in ["other.example", "a.wild.example"] {
        let client = Arc::new(files.client(&[&TLS13]));
        let mut pair = Pair::new(client, &files.any_server(), name);
        pair.talk().expect("the client trusts the certificate");
        assert!(!pair.client.is_handshaking());
    }
}

#[test]
fn a_ticket_does_not_resume_under_another_name() {
    let files = Files::of(&[NAME, "other.example"]);
    let client = Arc::new(files.client(&[&TLS13]));
    let server = files.any_server();
    for name in [NAME, "other.example"] {
        let mut pair = Pair::new(Arc::clone(&client), &server, name);
        pair.talk().expect("they agree");
        assert_eq!(pair.client.handshake_kind(), Some(HandshakeKind::Full));
    }
}

proptest! {
    #[test]
    fn bytes_of_any_kind_neither_panic_nor_loop(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        after in any::<bool>(),
        cut in 1_usize..50,
    ) {
        let files = Files::of(&[NAME]);
        let mut pair = pair(&files, &[&TLS13]);
        if after {
            pair.talk().expect("they agree");
        }
        for part in bytes.chunks(cut) {
            if pair.feed_server(part).is_err() {
                break;
            }
            if after {
                let sealed = pair.server.seal(&mut pair.held, b"x", &mut Vec::new());
                prop_assert!(sealed.is_ok());
            }
        }
    }

    #[test]
    fn a_changed_byte_of_a_conversation_never_passes(
        at in 0_usize..600,
        change in 1_u8..,
    ) {
        let files = Files::of(&[NAME]);
        let mut pair = pair(&files, &[&TLS13]);
        pair.talk().expect("they agree");
        pair.say(&[5; 560]);
        let mut record = Vec::new();
        pair.client.write_tls(&mut record).expect("a vector takes");
        let at = at % record.len();
        // The version field of a record is ignored (RFC 8446, section 5.1), and the library takes
        // its outer type for the one that a sealed record has (section 5.2) whatever it says; the
        // type that counts is inside.
        prop_assume!(at >= 3);
        record[at] ^= change;
        let opened = pair.feed_server(&record);
        prop_assert!(pair.plain.is_empty());
        prop_assert!(opened.is_err() || !pair.held.is_empty());
    }
}
