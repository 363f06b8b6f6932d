//! TLS on the real node: sessions of both versions on one shard and on two, slow readers, bytes
//! in any portions, hostile peers, certificates that change, and tickets that outlive a node.

mod support;

use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::sync::Arc;

use interlink_protocol::frame::{FrameEncoder, PublishFields, ServerFrame, SubscribeFields};
use interlink_protocol::{CloseCode, ErrorCode};
use rustls::pki_types::CertificateDer;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, SupportedProtocolVersion};
use support::certificates::TestCertificates;
use support::chat::{chat_message, text_of, CHAT_MESSAGE};
use support::raw::{binary, decode, upgrade_request, Incoming, Raw};
use support::{placed_name, wait_for, Node, Setup};

const NAME: &str = "edge.example";
const BOTH: [&[&SupportedProtocolVersion]; 2] = [&[&TLS13], &[&TLS12]];
const FAILURES: &str = "interlink_edge_tls_failures_total";
const RESUMED: &str = "interlink_edge_tls_resumed_handshakes_total";
const FULL: &str = "interlink_edge_tls_full_handshakes_total";
const UNFINISHED: &str = "interlink_edge_handshakes_open";

fn start(shards: u16, certificates: &TestCertificates, count: usize) -> Node {
    let config = certificates.config(count);
    Setup::shards(shards).config(&config).start()
}

fn connection(config: &Arc<ClientConfig>, name: &'static str) -> ClientConnection {
    let name = name.try_into().expect("a name");
    ClientConnection::new(Arc::clone(config), name).expect("a client")
}

/// A client of `user` inside of TLS, welcomed.
fn welcomed(node: &Node, config: &Arc<ClientConfig>, user: &str) -> Raw {
    let raw = Raw::secure(node.clients(), connection(config, NAME)).upgrade(node.clients());
    raw.greet(&node.token(user), 1, None).0
}

fn subscribe(raw: &mut Raw, channel: &str) {
    raw.send_encoded(|encoder| encoder.subscribe(1, &[SubscribeFields::new(channel)]));
    let frame = raw.next_frame();
    assert!(matches!(decode(&frame), ServerFrame::Subscribed(_)));
}

fn publish(raw: &mut Raw, id: u64, channel: &str, text: &str) {
    let payload = chat_message(text);
    let fields = PublishFields::new(id, channel, CHAT_MESSAGE, &payload);
    raw.send_encoded(|encoder| encoder.publish(&fields));
}

fn acknowledged(raw: &mut Raw) {
    let frame = raw.next_frame();
    assert!(matches!(decode(&frame), ServerFrame::PublishAck(_)));
}

fn next_text(raw: &mut Raw) -> String {
    let frame = raw.next_frame();
    let ServerFrame::Event(event) = decode(&frame) else {
        panic!("an event was expected: {:?}", decode(&frame).kind());
    };
    text_of(event.payload().bytes())
}

/// Waits until a metric has a value; shards publish theirs once a turn.
fn reaches(node: &Node, name: &str, value: f64) {
    wait_for(name, || (node.metric(name)? == value).then_some(()));
}

/// Asserts that the node has forgotten all handshakes, and lives.
fn assert_idle(node: &mut Node) {
    reaches(node, UNFINISHED, 0.0);
    assert_eq!(node.exited(), None);
}

#[test]
fn sessions_of_both_versions_exchange_events_on_one_shard_and_on_two() {
    let certificates = TestCertificates::of(&[NAME]);
    for shards in [1, 2] {
        let node = start(shards, &certificates, 1);
        for (round, versions) in (0..).zip(BOTH) {
            let config = certificates.client(versions);
            // One of them is moved to another shard, whoever accepts.
            for which in 0..u64::from(shards) {
                let ada = placed_name("ada", which, u64::from(shards), 0);
                let channel = format!("chat.{ada}~bob");
                let mut bob = welcomed(&node, &config, "bob");
                let mut ada = welcomed(&node, &config, &ada);
                subscribe(&mut bob, &channel);
                for id in round * 100 + 1..=round * 100 + 20 {
                    publish(&mut ada, id, &channel, &id.to_string());
                    acknowledged(&mut ada);
                    assert_eq!(next_text(&mut bob), id.to_string());
                }
            }
        }
        assert_eq!(node.metric(FAILURES), Some(0.0));
        assert!(node.metric(FULL) >= Some(2.0));
    }
}

#[test]
fn a_reader_that_pauses_gets_every_record_in_order() {
    const EVENTS: u64 = 400;
    let certificates = TestCertificates::of(&[NAME]);
    for versions in BOTH {
        let node = start(1, &certificates, 1);
        let config = certificates.client(versions);
        let mut bob = welcomed(&node, &config, "bob");
        let mut ada = welcomed(&node, &config, "ada");
        subscribe(&mut bob, "chat.ada~bob");
        let text = |id: u64| format!("{id} {}", "x".repeat(3_000 + id as usize));
        for id in 1..=EVENTS {
            publish(&mut ada, id, "chat.ada~bob", &text(id));
            acknowledged(&mut ada);
        }
        let blocked = node.metric("interlink_edge_sends_blocked_total");
        assert!(blocked > Some(0.0), "the reader was never behind");
        for id in 1..=EVENTS {
            assert_eq!(next_text(&mut bob), text(id));
        }
        // Both go on after it.
        publish(&mut ada, EVENTS + 1, "chat.ada~bob", "after");
        assert_eq!(next_text(&mut bob), "after");
    }
}

#[test]
fn large_events_are_cut_into_records_and_arrive_whole() {
    const CHANNEL: &str = "collab.paper";
    let certificates = TestCertificates::of(&[NAME]);
    let node = start(1, &certificates, 1);
    for (round, versions) in (0..).zip(BOTH) {
        let mut ada = welcomed(&node, &certificates.client(versions), "ada");
        let token = node.subscription_token("ada", CHANNEL);
        let channels = [SubscribeFields {
            token: Some(&token),
            ..SubscribeFields::new(CHANNEL)
        }];
        ada.send_encoded(|encoder| encoder.subscribe(1, &channels));
        let frame = ada.next_frame();
        assert!(matches!(decode(&frame), ServerFrame::Subscribed(_)));
        let sizes = [0, 1, 4_000, 16_384, 20_000, 60_000];
        for (id, size) in (round * 100 + 1..).zip(sizes) {
            let payload: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let fields = PublishFields::new(id, CHANNEL, 0, &payload);
            ada.send_encoded(|encoder| encoder.publish(&fields));
            let mut came = None;
            let mut acked = false;
            while came.is_none() || !acked {
                let frame = ada.next_frame();
                match decode(&frame) {
                    ServerFrame::Event(event) => came = Some(event.payload().bytes().to_vec()),
                    ServerFrame::PublishAck(_) => acked = true,
                    other => panic!("no such thing: {:?}", other.kind()),
                }
            }
            assert_eq!(came, Some(payload));
        }
    }
}

/// All that a client sends from its request to its first subscription, in one piece.
fn whole_beginning(node: &Node, user: &str) -> Vec<u8> {
    let mut encoder = FrameEncoder::new();
    let hello = interlink_protocol::frame::HelloFields {
        token: &node.token(user),
        instance: interlink_protocol::ids::InstanceId(1),
        device: None,
        client_name: None,
        client_version: None,
        resume: None,
    };
    let mut bytes = upgrade_request("edge.example");
    bytes.extend(binary(encoder.hello(&hello)));
    let channels = [SubscribeFields::new("chat.ada~bob")];
    bytes.extend(binary(encoder.subscribe(1, &channels)));
    bytes
}

#[test]
fn bytes_may_come_in_any_portions() {
    let certificates = TestCertificates::of(&[NAME]);
    for shards in [1, 2] {
        let node = start(shards, &certificates, 1);
        for (record, portion) in [(None, 16_384), (None, 1_000), (Some(64), 700), (None, 41)] {
            let mut config = (*certificates.client(&[&TLS13])).clone();
            config.max_fragment_size = record;
            let mut tls = connection(&Arc::new(config), NAME);
            let mut raw = Raw::connect(node.clients());
            // The handshake by hand, so that its bytes can be cut too.
            while tls.is_handshaking() {
                flush(&mut raw, &mut tls, portion);
                if tls.is_handshaking() {
                    tls.read_tls(raw.stream()).expect("the node answers");
                    tls.process_new_packets().expect("the node speaks TLS");
                }
            }
            let beginning = whole_beginning(&node, "ada");
            std::io::Write::write_all(&mut tls.writer(), &beginning).expect("room");
            flush(&mut raw, &mut tls, portion);
            let mut raw = Raw::over(raw, tls);
            assert_eq!(raw.read_answer().0, 101);
            let frame = raw.next_frame();
            assert!(matches!(decode(&frame), ServerFrame::Welcome(_)));
            let frame = raw.next_frame();
            assert!(matches!(decode(&frame), ServerFrame::Subscribed(_)));
        }
    }
}

/// Sends what TLS wants to send, at most `portion` bytes a time.
fn flush(raw: &mut Raw, tls: &mut ClientConnection, portion: usize) {
    let mut bytes = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut bytes).expect("a vector takes");
    }
    for part in bytes.chunks(portion) {
        raw.send(part);
    }
}

#[test]
fn a_client_that_leaves_at_any_byte_leaves_nothing() {
    let certificates = TestCertificates::of(&[NAME]);
    let mut node = start(1, &certificates, 1);
    let config = certificates.client(&[&TLS13]);
    let mut hello = Vec::new();
    let mut tls = connection(&config, NAME);
    tls.write_tls(&mut hello).expect("a vector takes");
    for end in (0..hello.len())
        .step_by(97)
        .chain([1, 4, 5, 6, hello.len()])
    {
        let mut raw = Raw::connect(node.clients());
        raw.send(&hello[..end]);
        // The node may have answered and be done already.
        let _ = raw.stream().shutdown(Shutdown::Both);
    }
    assert_idle(&mut node);
    drop(welcomed(&node, &config, "ada"));
}

#[test]
fn a_client_that_says_nothing_is_ended_in_time() {
    let certificates = TestCertificates::of(&[NAME]);
    let mut config = certificates.config(1);
    config.push_str("[limits]\nhandshake_timeout = \"200ms\"\n");
    let mut node = Setup::shards(1).config(&config).start();
    let mut silent = Raw::connect(node.clients());
    let mut half = Raw::connect(node.clients());
    half.send(&[0x16, 3, 1, 2, 0]);
    for raw in [&mut silent, &mut half] {
        let mut rest = Vec::new();
        let ended = raw.stream().read_to_end(&mut rest);
        let reset = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionReset;
        assert!(ended.as_ref().map_or_else(reset, |_| true), "{ended:?}");
        assert!(rest.is_empty(), "nothing is said in plaintext");
    }
    assert_idle(&mut node);
}

#[test]
fn plaintext_and_old_versions_get_an_alert() {
    let certificates = TestCertificates::of(&[NAME]);
    let mut node = start(1, &certificates, 1);
    let mut raw = Raw::connect(node.clients());
    raw.send(&upgrade_request("edge.example"));
    let mut answer = Vec::new();
    raw.stream().read_to_end(&mut answer).expect("an end");
    // Content type alert, version, length 2, level fatal.
    assert_eq!((answer[0], answer.len(), answer[5]), (21, 7, 2));
    reaches(&node, FAILURES, 1.0);
    assert_idle(&mut node);
}

#[test]
fn refusals_are_told_inside_of_tls_and_end_it_cleanly() {
    let certificates = TestCertificates::of(&[NAME]);
    let node = start(1, &certificates, 1);
    for versions in BOTH {
        let config = certificates.client(versions);
        let mut raw = Raw::secure(node.clients(), connection(&config, NAME));
        raw.send(b"GET /elsewhere HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(raw.read_answer().0 >= 400);

        let mut raw = Raw::secure(node.clients(), connection(&config, NAME));
        raw = raw.upgrade(node.clients());
        raw.hello("no token", 1, None);
        let (frames, code) = raw.read_to_close();
        let ServerFrame::Error(error) = decode(&frames[0]) else {
            panic!("an Error was expected");
        };
        assert_eq!(error.code(), ErrorCode::TokenInvalid.number());
        assert_eq!(code, CloseCode::TokenInvalid.number());
        // A stream without the notice of its end would fail here.
        assert_eq!(raw.next(), Incoming::Ended);

        let mut raw = welcomed(&node, &config, "ada");
        raw.send_frame(b"no frame");
        let (_, code) = raw.read_to_close();
        assert_eq!(code, CloseCode::MalformedFrame.number());
        assert_eq!(raw.next(), Incoming::Ended);
    }
}

#[test]
fn a_client_that_ends_tls_is_answered_and_its_session_can_be_resumed() {
    let certificates = TestCertificates::of(&[NAME]);
    let node = start(1, &certificates, 1);
    let config = certificates.client(&[&TLS13]);
    let raw = Raw::secure(node.clients(), connection(&config, NAME)).upgrade(node.clients());
    let (mut raw, session, _) = raw.greet(&node.token("ada"), 1, None);
    raw.tls().send_close_notify();
    raw.try_send(&[]).expect("the node reads");
    assert_eq!(raw.next(), Incoming::Ended);
    let raw = Raw::secure(node.clients(), connection(&config, NAME)).upgrade(node.clients());
    let (_, _, resumed) = raw.greet(&node.token("ada"), 1, Some(session));
    assert!(resumed);
}

#[test]
fn a_broken_record_ends_the_connection_with_an_alert() {
    let certificates = TestCertificates::of(&[NAME]);
    let mut node = start(1, &certificates, 1);
    let mut raw = welcomed(&node, &certificates.client(&[&TLS13]), "ada");
    let mut record = vec![0x17, 3, 3, 0, 40];
    record.extend_from_slice(&[0xab; 40]);
    std::io::Write::write_all(raw.stream(), &record).expect("the node reads");
    // The alert is an error of the stream for the client.
    let mut rest = [0; 1];
    let error = raw.read_tls(&mut rest).expect_err("an alert");
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    reaches(&node, FAILURES, 1.0);
    reaches(&node, "interlink_edge_connections_open", 0.0);
    assert_eq!(node.exited(), None);
}

#[test]
fn key_updates_are_answered_and_a_flood_of_them_is_not() {
    let certificates = TestCertificates::of(&[NAME]);
    let node = start(1, &certificates, 1);
    let config = certificates.client(&[&TLS13]);
    let mut ada = welcomed(&node, &config, "ada");
    for id in 1..=40 {
        ada.tls().refresh_traffic_keys().expect("it may ask");
        publish(&mut ada, id, "chat.ada~bob", "with new keys");
        acknowledged(&mut ada);
    }
    for _ in 0..100 {
        ada.tls().refresh_traffic_keys().expect("it may ask");
        // The node ends it somewhere in between.
        let _ = ada.try_send(&[]);
    }
    reaches(&node, FAILURES, 1.0);
}

/// The certificate that a client is shown.
fn shown(node: &Node, config: &Arc<ClientConfig>, name: &'static str) -> CertificateDer<'static> {
    let raw = Raw::secure(node.clients(), connection(config, name));
    let mut raw = raw.upgrade(node.clients());
    let shown = raw.tls().peer_certificates().expect("a certificate");
    shown[0].clone().into_owned()
}

#[test]
fn certificates_are_chosen_by_name_and_replaced_under_open_sessions() {
    const OTHER: &str = "other.example";
    let mut certificates = TestCertificates::of(&[NAME, OTHER]);
    let node = start(1, &certificates, 2);
    let config = certificates.client(&[&TLS13]);
    let first = shown(&node, &config, NAME);
    assert_ne!(shown(&node, &config, OTHER), first);
    let mut ada = welcomed(&node, &config, "ada");

    certificates.replace(0, NAME);
    wait_for("the new certificate", || {
        (node.metric("interlink_edge_tls_reloads_total")? >= 1.0).then_some(())
    });
    // Without its tickets the client has to be shown a certificate.
    let config = certificates.client(&[&TLS13]);
    assert_ne!(shown(&node, &config, NAME), first);
    publish(&mut ada, 1, "chat.ada~bob", "still here");
    acknowledged(&mut ada);

    // Nonsense changes nothing and is told.
    std::fs::write(certificates.path(1, "pem"), "nonsense").expect("a file can be written");
    wait_for("the failure", || {
        (node.metric("interlink_edge_tls_reload_failures_total")? >= 1.0).then_some(())
    });
    assert!(node.log().contains("holds no certificate"));
    shown(&node, &config, OTHER);
}

#[test]
fn many_open_sessions_survive_every_change_of_the_certificate() {
    const SESSIONS: u64 = 400;
    const CHANGES: u64 = 3;
    let mut certificates = TestCertificates::of(&[NAME]);
    // All of them come from one address.
    let config = format!(
        "{}[limits]\naddress_burst = 10000\n",
        certificates.config(1)
    );
    let node = Setup::shards(2).config(&config).start();
    let config = certificates.client(&[&TLS13]);
    let mut sessions: Vec<(String, Raw)> = (0..SESSIONS)
        .map(|number| format!("ada{number}"))
        .map(|user| (format!("chat.{user}~bob"), welcomed(&node, &config, &user)))
        .collect();
    let mut before = shown(&node, &config, NAME);
    for change in 1..=CHANGES {
        // Half of the publishes are on their way while the files change.
        for (channel, raw) in sessions.iter_mut().step_by(2) {
            publish(raw, change, channel, "meanwhile");
        }
        certificates.replace(0, NAME);
        before = wait_for("the new certificate", || {
            // Without its tickets a client has to be shown a certificate.
            let config = certificates.client(&[&TLS13]);
            Some(shown(&node, &config, NAME)).filter(|now| *now != before)
        });
        for (channel, raw) in sessions.iter_mut().skip(1).step_by(2) {
            publish(raw, change, channel, "after");
        }
        for (_, raw) in &mut sessions {
            acknowledged(raw);
        }
    }
    let open = node.metric("interlink_edge_sessions_open");
    assert_eq!(open, Some(SESSIONS as f64));
    assert_eq!(node.metric(FAILURES), Some(0.0));
    assert_eq!(
        node.metric("interlink_edge_tls_reloads_total"),
        Some(CHANGES as f64)
    );
}

#[test]
fn a_ticket_is_taken_by_a_node_that_started_later() {
    let certificates = TestCertificates::of(&[NAME]);
    let secret = certificates.path(0, "secret");
    std::fs::write(&secret, "a secret of thirty-two bytes at least").expect("a file");
    let config = format!(
        "{}ticket_secret_file = {secret:?}\n",
        certificates.config(1)
    );
    let mut node = Setup::shards(1).config(&config).start();
    for versions in BOTH {
        let config = certificates.client(versions);
        let mut raw = welcomed(&node, &config, "ada");
        assert_eq!(raw.tls().handshake_kind(), Some(HandshakeKind::Full));
        node.kill();
        node.start();
        let mut raw = welcomed(&node, &config, "ada");
        assert_eq!(raw.tls().handshake_kind(), Some(HandshakeKind::Resumed));
        reaches(&node, RESUMED, 1.0);
    }
}
