//! What an acknowledgement claims of Kafka: two copies, or less.

use interlink_client::{AckLevel, PublishReceipt};
use interlink_wire as wire;

use super::support::{Setup, PATIENCE};
use super::{stand, unique};

fn alert() -> Vec<u8> {
    let mut builder = flatbuffers::FlatBufferBuilder::new();
    let fields = wire::events::SecurityAlertArgs {
        rule: Some(builder.create_string("login")),
        summary: Some(builder.create_string("from elsewhere")),
        ..Default::default()
    };
    let root = wire::events::SecurityAlert::create(&mut builder, &fields);
    builder.finish_minimal(root);
    builder.finished_data().to_vec()
}

/// Publishes until an acknowledgement claims what Kafka keeps: two copies where the stand has
/// three brokers, else the disk of the node, and that more was wanted.
async fn check_claim(publish: impl AsyncFn() -> PublishReceipt) {
    if stand::brokers() == 1 {
        let receipt = tokio::time::timeout(PATIENCE, publish()).await;
        let receipt = receipt.expect("acknowledged in time");
        assert_eq!((receipt.level, receipt.degraded), (AckLevel::Local, true));
        return;
    }
    // The node has to ask Kafka first, and claims nothing before.
    let claimed = async {
        loop {
            let receipt = publish().await;
            assert_eq!(receipt.degraded, receipt.level != AckLevel::Replicated);
            if !receipt.degraded {
                return;
            }
        }
    };
    let claimed = tokio::time::timeout(PATIENCE, claimed).await;
    claimed.expect("topics of the profile `standard` have two copies");
}

#[tokio::test]
async fn replicated_is_claimed_only_where_kafka_keeps_two_copies() {
    let sections = stand::sections();
    let config = format!("[node]\nname = \"{}\"\n{sections}", unique("claiming"));
    let node = Setup::shards(2).config(&config).start();
    let robot = node.token_of("robot", |grant| grant.roles.push("service".into()));
    let robot = node.client_with(robot).connect().await.expect("the robot");
    let channel = format!("alert.{}", unique("ada"));
    check_claim(async || {
        let publish = robot.publish(&channel, alert());
        let publish = publish.event_type(wire::event_types::SECURITY_ALERT);
        publish.await.expect("acknowledged")
    })
    .await;
    if stand::brokers() == 1 {
        let classes = node.metric("interlink_edge_log_unreplicated");
        assert_eq!(classes, Some(4.0));
    }
}

#[tokio::test]
async fn a_namespace_may_wait_for_kafka_and_others_of_its_class_do_not() {
    let sections = stand::sections();
    let config = format!(
        "[node]\nname = \"{}\"\n{sections}[namespaces.chat]\nack_level = \"replicated\"\n\
         opaque_allowed = true\n[namespaces.user]\nopaque_allowed = true\n",
        unique("waiting")
    );
    let node = Setup::shards(2).config(&config).start();
    let (ada, bob) = (unique("ada"), unique("bob"));
    let channel = format!("chat.{ada}~{bob}");
    let client = node.client(&ada).await;
    check_claim(async || {
        let publish = client.publish(&channel, "hello");
        publish.await.expect("acknowledged")
    })
    .await;
    let own = format!("user.{ada}");
    let robot = node.token_of("robot", |grant| grant.roles.push("service".into()));
    let robot = node.client_with(robot).connect().await.expect("the robot");
    let receipt = robot.publish(&own, "news").await.expect("acknowledged");
    assert_eq!((receipt.level, receipt.degraded), (AckLevel::Local, false));
}
