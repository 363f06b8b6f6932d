//! What nodes tell about themselves on `sys.status` and `sys.metrics`, and `top`, which shows it.

mod support;

use std::process::Stdio;

use interlink_client::{Delivery, Event, Subscription};
use interlink_edge::auth::UserGrant;
use interlink_edge::shard::service::SYSTEM_PUBLISHER;
use interlink_wire::event_types;
use interlink_wire::events::{NodeHealth, NodePhase, NodeStatus, NodeSummary};
use support::chat::{next_text, say};
use support::{run, Node, Setup, PATIENCE};

/// An operator, who may read what the system says.
fn operator(grant: &mut UserGrant) {
    grant.roles.push("operator".into());
}

async fn next_event(subscription: &mut Subscription) -> Event {
    loop {
        let next = tokio::time::timeout(PATIENCE, subscription.next()).await;
        match next.expect("an event comes each second") {
            Some(Delivery::Event(event)) => return event,
            Some(Delivery::Gap(_) | Delivery::Recovered(_) | Delivery::Presence(_)) => {}
            ended => panic!("the subscription ended: {ended:?}"),
        }
    }
}

/// Publishes and deliveries of P1, and the longest sync, over summaries until `until` is met.
async fn gather(metrics: &mut Subscription, until: impl Fn(u64, u64) -> bool) -> (u64, u64, u32) {
    let (mut published, mut delivered, mut sync_us) = (0, 0, 0);
    while !until(published, delivered) {
        let event = next_event(metrics).await;
        assert_eq!(event.event_type, event_types::NODE_SUMMARY);
        assert_eq!(&*event.publisher, SYSTEM_PUBLISHER);
        let summary = flatbuffers::root::<NodeSummary>(&event.payload).expect("a summary");
        let classes = summary.classes().expect("classes");
        assert_eq!(classes.len(), 4);
        assert!(summary.interval_ms() > 0 && summary.resident_bytes() > 0);
        assert_eq!(summary.phase(), NodePhase::Ready);
        published += classes.get(1).publishes();
        delivered += classes.get(1).delivered();
        sync_us = sync_us.max(summary.sync_p99_us());
    }
    (published, delivered, sync_us)
}

#[test]
fn summaries_tell_what_clients_did() {
    const EVENTS: u64 = 50;
    for shards in [1, 2] {
        let node = Setup::shards(shards).start();
        run(async {
            let token = node.token_of("olga", operator);
            let olga = node.client_with(token).connect().await.unwrap();
            let mut metrics = olga.subscribe("sys.metrics").await.unwrap();
            next_event(&mut metrics).await;
            let (ada, bob) = (node.client("ada").await, node.client("bob").await);
            let mut chat = bob.subscribe("chat.ada~bob").await.unwrap();
            for number in 0..EVENTS {
                let text = number.to_string();
                say(&ada, "chat.ada~bob", &text).await.unwrap();
                assert_eq!(next_text(&mut chat).await, text);
            }
            let all = |published, delivered| published >= EVENTS && delivered >= EVENTS;
            let (published, delivered, sync_us) = gather(&mut metrics, all).await;
            assert_eq!((published, delivered), (EVENTS, EVENTS), "{shards} shards");
            assert!(sync_us > 0, "syncs take time");
        });
    }
}

async fn told_of_drain(states: &mut Subscription) {
    loop {
        let event = next_event(states).await;
        let status = flatbuffers::root::<NodeStatus>(&event.payload).expect("a status");
        if status.phase() == NodePhase::Draining {
            return;
        }
    }
}

#[test]
fn the_state_and_its_change_by_a_drain_are_told() {
    // Slow, so that somebody is left to be told.
    let drain = "[drain]\nreconnects_per_second = 1";
    let node = Setup::shards(2).config(drain).start();
    run(async {
        let mut others = Vec::new();
        for name in ["oda", "otto", "ove"] {
            let token = node.token_of(name, operator);
            let client = node.client_with(token).connect().await.unwrap();
            let states = client.subscribe("sys.status").await.unwrap();
            others.push((client, states));
        }
        let token = node.token_of("olga", operator);
        let olga = node.client_with(token).connect().await.unwrap();
        let mut states = olga.subscribe("sys.status").await.unwrap();
        let event = next_event(&mut states).await;
        assert_eq!(event.event_type, event_types::NODE_STATUS);
        let status = flatbuffers::root::<NodeStatus>(&event.payload).expect("a status");
        assert_eq!(status.node(), "interlink");
        assert_eq!(status.phase(), NodePhase::Ready);
        assert_eq!(status.health(), NodeHealth::Healthy);
        assert_eq!(status.version(), Some(env!("CARGO_PKG_VERSION")));
        node.ask_to_stop();
        let told = others
            .iter_mut()
            .map(|(_, states)| Box::pin(told_of_drain(states)));
        futures_util::future::select_all(told).await;
    });
}

#[test]
fn summaries_are_for_operators_and_states_for_staff() {
    let node = Setup::shards(1).start();
    run(async {
        let ada = node.client("ada").await;
        for channel in ["sys.metrics", "sys.status"] {
            assert!(ada.subscribe(channel).await.is_err(), "{channel}");
        }
        let staff = node.token_of("sam", |grant| grant.roles.push("staff".into()));
        let sam = node.client_with(staff).connect().await.unwrap();
        assert!(sam.subscribe("sys.status").await.is_ok());
        assert!(sam.subscribe("sys.metrics").await.is_err());
    });
}

/// What `top` prints and how it ends.
fn top(node: &Node, arguments: &[&str]) -> std::process::Output {
    let mut command = node.command("top");
    command.args(["--url", &format!("ws://{}/v1/connect", node.clients())]);
    command.args(arguments).stdin(Stdio::null());
    command.output().expect("the binary starts")
}

#[test]
fn top_prints_one_snapshot_for_scripts() {
    let node = Setup::shards(2).start();
    let output = top(&node, &["--once"]);
    let text = String::from_utf8(output.stdout).expect("text");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(
        text.starts_with("interlink top  interlink  ready, healthy"),
        "{text}"
    );
    for part in [
        "connections  1 ",
        "class publish/s",
        "\np3 ",
        "journal  ",
        "shards busy  0 ",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert!(!text.contains('\x1b'), "{text:?}");
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn top_without_a_terminal_names_the_cure() {
    let node = Setup::shards(1).start();
    let output = top(&node, &[]);
    assert!(!output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("--once"), "{errors}");
    assert!(output.stdout.is_empty());
}
