//! The Rust SDK on the real node within TLS: events of any size in order, sessions that are
//! resumed after a cut, servers that are not trusted, and the commands of the binary.

mod support;

use std::process::Stdio;

use interlink_client::{AckLevel, BackoffPolicy, ClientBuilder, Error, Loss, State};
use support::certificates::TestCertificates;
use support::chat::{next_event, next_text, say};
use support::proxy::Proxy;
use support::{client_of, run, wait_for, Node, Setup};

const FULL: &str = "interlink_edge_tls_full_handshakes_total";
const RESUMED: &str = "interlink_edge_tls_resumed_handshakes_total";
const RELOADS: &str = "interlink_edge_tls_reloads_total";

/// A node with a certificate for its address.
fn start(shards: u16) -> (Node, TestCertificates) {
    let mut certificates = TestCertificates::of(&["edge.example"]);
    let node = Setup::shards(shards)
        .config(&certificates.config(1))
        .start();
    // The address is known only now.
    certificates.replace(0, &node.clients().ip().to_string());
    wait_for("the certificate", || {
        (node.metric(RELOADS)? >= 1.0).then_some(())
    });
    (node, certificates)
}

fn authorities(certificates: &TestCertificates) -> Vec<u8> {
    std::fs::read(certificates.path(0, "pem")).expect("a file")
}

fn client(node: &Node, certificates: &TestCertificates, user: &str) -> ClientBuilder {
    client_of(&format!("wss://{}", node.clients()), node.token(user))
        .authorities(authorities(certificates))
}

#[test]
fn events_of_any_size_arrive_whole_and_in_order() {
    const CHANNEL: &str = "collab.paper";
    let (node, certificates) = start(2);
    run(async {
        let ada = client(&node, &certificates, "ada").connect().await;
        let ada = ada.expect("the node takes the client");
        let bob = client(&node, &certificates, "bob").connect().await;
        let bob = bob.expect("the node takes the client");
        let mut papers = Vec::new();
        for (client, user) in [(&ada, "ada"), (&bob, "bob")] {
            let token = node.subscription_token(user, CHANNEL);
            let paper = client.subscribe(CHANNEL).token(token.as_str()).await;
            papers.push(paper.expect("the token allows it"));
        }
        let sizes = [0, 1, 4_000, 16_384, 60_000, 20_000, 1, 60_000];
        let payloads: Vec<Vec<u8>> = (0..)
            .zip(sizes)
            .map(|(first, size)| (0..size).map(|at| (first + at % 251) as u8).collect())
            .collect();
        for payload in &payloads {
            let published = ada.publish(CHANNEL, payload.clone()).await;
            assert!(published.is_ok(), "{published:?}");
        }
        for paper in &mut papers {
            for payload in &payloads {
                assert_eq!(next_event(paper).await.payload.to_vec(), *payload);
            }
        }
        ada.close().await;
        bob.close().await;
    });
    assert_eq!(node.metric("interlink_edge_tls_failures_total"), Some(0.0));
}

#[test]
fn a_cut_connection_resumes_its_tls_session_and_loses_nothing() {
    const CUTS: u64 = 5;
    let (node, certificates) = start(1);
    let proxy = Proxy::start(node.clients());
    run(async {
        let address = format!("wss://{}", proxy.address());
        let bob = client_of(&address, node.token("bob")).authorities(authorities(&certificates));
        let bob = bob.connect().await.expect("the node takes the client");
        let ada = client(&node, &certificates, "ada").connect().await;
        let ada = ada.expect("the node takes the client");
        let mut chat = bob.subscribe("chat.ada~bob").await.expect("his chat");
        for cut in 0..=CUTS {
            let receipt = say(&ada, "chat.ada~bob", &cut.to_string()).await;
            assert_eq!(receipt.expect("accepted").level, AckLevel::Local);
            let text = loop {
                match support::chat::next(&mut chat).await {
                    interlink_client::Delivery::Event(event) => {
                        break support::chat::text_of(&event.payload)
                    }
                    interlink_client::Delivery::Gap(gap) => panic!("a gap: {gap:?}"),
                    _ => {}
                }
            };
            assert_eq!(text, cut.to_string());
            proxy.cut();
        }
        let mut state = bob.state();
        let connected = state.wait_for(|state| *state == State::Connected).await;
        connected.expect("the client lives");
    });
    wait_for("the resumed handshakes", || {
        (node.metric(RESUMED)? >= CUTS as f64).then_some(())
    });
    assert_eq!(node.metric(FULL), Some(2.0), "one for each client");
}

#[test]
fn a_server_that_is_not_trusted_gets_no_token() {
    let (node, mut certificates) = start(1);
    let others = TestCertificates::of(&["other.example"]);
    let once = BackoffPolicy {
        attempts: 1,
        first_ms: 1,
        max_ms: 1,
        ..BackoffPolicy::default()
    };
    let refused = |builder: ClientBuilder| {
        let failed = run(builder.backoff(once).connect()).map(drop);
        let Err(Error::Unreachable { last, .. }) = failed else {
            panic!("the client was refused otherwise: {failed:?}");
        };
        last
    };
    // By an authority that did not sign.
    let loss = refused(client(&node, &others, "ada"));
    assert!(matches!(loss, Loss::Tls(_)), "{loss:?}");
    // By the authorities of the system, which did not either.
    let address = format!("wss://{}", node.clients());
    let loss = refused(client_of(&address, node.token("ada")));
    assert!(matches!(loss, Loss::Tls(_)), "{loss:?}");
    // By a certificate for another name.
    certificates.replace(0, "other.example");
    wait_for("the certificate", || {
        (node.metric(RELOADS)? >= 2.0).then_some(())
    });
    let loss = refused(client(&node, &certificates, "ada"));
    assert!(loss.to_string().contains("not valid for name"), "{loss}");
    // Without TLS, to a server that speaks nothing else.
    let loss = refused(node.client_with(node.token("ada")));
    assert!(matches!(loss, Loss::Upgrade(_)), "{loss:?}");
    assert_eq!(
        node.metric("interlink_edge_sessions_created_total"),
        Some(0.0)
    );
}

#[test]
fn commands_reach_a_node_that_speaks_tls() {
    let (node, certificates) = start(1);
    let payload = node.data().join("payload");
    std::fs::write(&payload, "hello").expect("a file");
    run(async {
        let bob = client(&node, &certificates, "bob").connect().await;
        let bob = bob.expect("the node takes the client");
        let mut chat = bob.subscribe("chat.ada~bob").await.expect("his chat");
        let mut command = node.command("publish");
        command
            .args(["chat.ada~bob", "--user", "ada", "--url"])
            .arg(format!("wss://{}", node.clients()))
            .arg("--ca")
            .arg(certificates.path(0, "pem"))
            .arg(&payload);
        command.stdin(Stdio::null());
        let ended = tokio::task::spawn_blocking(move || command.output());
        let ended = ended.await.expect("no panic").expect("the binary starts");
        assert!(ended.status.success(), "{ended:?}");
        assert_eq!(next_text(&mut chat).await, "hello");
    });
}
