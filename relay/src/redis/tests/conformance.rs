//! The suites, over every way to run Redis. They need the test stand.

use super::servers::{single, stand, text};
use super::{backplane, fresh_prefix, Config, Node};
use crate::backplane::{partition_of, BackplaneEvent, Standing};
use crate::conformance;
use crate::redis::Mode;

fn conforms(config: &Config) {
    let partitions = config.partitions;
    let fresh = || Config {
        prefix: fresh_prefix(),
        ..config.clone()
    };
    conformance::backplane(|| backplane(&fresh()), partitions);
    conformance::backplane_between_nodes(|| {
        let config = fresh();
        (backplane(&config), backplane(&config))
    });
}

fn addresses(nodes: &serde_json::Value) -> Vec<String> {
    let nodes = nodes.as_array().expect("servers of the stand");
    nodes.iter().map(|node| text(&node["address"])).collect()
}

#[test]
fn conformance_of_a_single_server() {
    conforms(&single(text(&stand()["single"]["address"])));
}

#[test]
fn conformance_over_tls_with_credentials() {
    let tls = stand()["single"]["tls"].clone();
    conforms(&Config {
        tls: true,
        authorities: Some(text(&tls["authorities"]).into()),
        username: Some(text(&tls["username"])),
        password_file: Some(text(&tls["password_file"]).into()),
        ..single(text(&tls["address"]))
    });
}

#[test]
fn conformance_of_sentinel() {
    let sentinel = stand()["sentinel"].clone();
    conforms(&Config {
        mode: Mode::Sentinel,
        addresses: addresses(&sentinel["sentinels"]),
        master: text(&sentinel["master"]),
        ..single(String::new())
    });
}

#[test]
fn conformance_of_a_cluster() {
    let config = Config {
        mode: Mode::Cluster,
        addresses: addresses(&stand()["cluster"]["nodes"]),
        ..single(String::new())
    };
    conforms(&config);
    // Not a test of its own: the suite expects that nothing changes meanwhile.
    slots_that_move_to_replicas_are_followed(&config);
}

fn slots_that_move_to_replicas_are_followed(config: &Config) {
    const A: &str = "class.algebra";
    let mut here = Node::connected(config);
    let pinned = here.subscribe(A);
    here.publish(A, &[1, 2]);
    here.await_delivered(&[1, 2]);
    for address in &config.addresses {
        let client = redis::Client::open(format!("redis://{address}")).expect("an address");
        let mut connection = client.get_connection().expect("a node of the cluster");
        // Replicas take over in order, without a loss; masters refuse to.
        let _ = redis::cmd("CLUSTER").arg("FAILOVER").exec(&mut connection);
    }
    here.until("no change of lineage", |node| {
        let events = node.events.iter();
        let mut changed = events.filter_map(|event| match event {
            BackplaneEvent::LineageChanged { partitions } => Some(partitions),
            _ => None,
        });
        let partition = partition_of(A, config.partitions);
        changed.any(|partitions| partitions.contains(&partition))
    });
    let published = here.publish(A, &[2, 3]);
    assert!(published[0].repeated && !published[1].repeated);
    here.await_delivered(&[1, 2, 3]);
    here.assert_continuous(pinned);
    here.await_standing(Standing::Connected);
}
