//! Anomalies reach people: as events on `sys.security`, and as metrics.

use interlink_client::{Event, Subscription};
use interlink_edge::auth::UserGrant;
use interlink_protocol::frame::{PublishFields, SubscribeFields};
use interlink_wire::{event_types, events};

use super::support::chat::next_event;
use super::support::raw::Raw;
use super::support::{run, wait_for, Node, Setup};

/// A node that finds anomalies after few failures.
fn node(shards: u16) -> Node {
    let config = "[anomalies]\nfailed_authentications = 10\nrefused_channels = 10\n\
        spike_publishes = 50\n";
    Setup::shards(shards).config(config).start()
}

/// An operator with a subscription to the channel of alerts.
async fn watch(node: &Node) -> (interlink_client::Client, Subscription) {
    let operator = |grant: &mut UserGrant| grant.roles.push("operator".into());
    let client = node.client_with(node.token_of("olga", operator)).connect();
    let client = client.await.expect("the node takes the client");
    let alerts = client.subscribe("sys.security").await.expect("permitted");
    (client, alerts)
}

/// Rule and subject of an alert.
fn told(event: &Event) -> (String, String) {
    assert_eq!(event.event_type, event_types::SECURITY_ALERT);
    let alert = flatbuffers::root::<events::SecurityAlert>(&event.payload).expect("an alert");
    assert!(!alert.summary().is_empty());
    let subject = alert.subject().expect("an alert is about somebody");
    (alert.rule().to_owned(), subject.to_owned())
}

/// How many anomalies of a kind were found; one is waited for, since a shard shows its counters
/// after it has sent the event.
fn found(node: &Node, kind: &str) -> f64 {
    let of = |shard: u16| {
        let label = format!("{{shard=\"{shard}\",kind=\"{kind}\"}}");
        let name = format!("interlink_edge_anomalies_total{label}");
        node.metric(&name).unwrap_or(0.0)
    };
    wait_for("an anomaly is counted", || {
        let found = of(0) + of(1);
        (found > 0.0).then_some(found)
    })
}

#[test]
fn bursts_of_refused_tokens_are_told_once() {
    for shards in [1, 2] {
        let node = node(shards);
        run(async {
            let (_operator, mut alerts) = watch(&node).await;
            let mut wrong = node.token("ada");
            wrong.replace_range(wrong.len() - 8.., "AAAAAAAA");
            for _ in 0..40 {
                let mut raw = Raw::upgraded(node.clients());
                raw.hello(&wrong, 1, None);
                raw.close_code();
            }
            let event = next_event(&mut alerts).await;
            let (rule, subject) = told(&event);
            assert_eq!(rule, "failed_authentications");
            assert!(subject.starts_with("address 127."), "{subject}");
        });
        assert_eq!(found(&node, "failed_authentications"), 1.0);
    }
}

#[test]
fn a_user_that_tries_many_channels_is_told() {
    for shards in [1, 2] {
        let node = node(shards);
        run(async {
            let (_operator, mut alerts) = watch(&node).await;
            let mut raw = Raw::welcomed(node.clients(), &node.token("mallory"), 1);
            for number in 0..20 {
                let name = format!("user.victim{number}");
                raw.send_encoded(|encoder| encoder.subscribe(1, &[SubscribeFields::new(&name)]));
                raw.next_frame();
            }
            let event = next_event(&mut alerts).await;
            let expected = ("enumeration".to_owned(), "user mallory".to_owned());
            assert_eq!(told(&event), expected);
        });
        assert_eq!(found(&node, "enumeration"), 1.0);
    }
}

#[test]
fn a_publish_spike_is_told() {
    let node = node(2);
    run(async {
        let (_operator, mut alerts) = watch(&node).await;
        let mut raw = Raw::welcomed(node.clients(), &node.token("mallory"), 1);
        for id in 1..=200 {
            let fields = PublishFields::new(id, "activity.mallory", 0, b"x");
            raw.send_encoded(|encoder| encoder.publish(&fields));
        }
        let event = next_event(&mut alerts).await;
        let expected = ("publish_spike".to_owned(), "user mallory".to_owned());
        assert_eq!(told(&event), expected);
    });
    assert_eq!(found(&node, "publish_spike"), 1.0);
}
