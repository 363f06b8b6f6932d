//! How often an address may connect before it is authenticated.

use super::support::raw::Raw;
use super::support::{Node, Setup};
use super::{is_dropped, reaches};

const OVER_RATE: &str = "interlink_edge_connections_over_rate_total";

fn node(burst: u32) -> Node {
    let config = format!("[limits]\naddress_rate = 1\naddress_burst = {burst}\n");
    Setup::shards(2).config(&config).start()
}

/// A school behind one address comes in one after the other, far beyond the burst.
#[test]
fn authenticated_connections_of_an_address_are_not_counted() {
    let node = node(5);
    let token = node.token("ada");
    let pupils: Vec<Raw> = (1..=50)
        .map(|number| Raw::welcomed(node.clients(), &token, number))
        .collect();
    assert_eq!(pupils.len(), 50);
    assert_eq!(node.metric(OVER_RATE), Some(0.0));
}

#[test]
fn connections_of_an_address_beyond_its_burst_are_dropped_and_counted() {
    const TRIES: usize = 60;
    let node = node(5);
    let mut strangers: Vec<Raw> = (0..TRIES).map(|_| Raw::connect(node.clients())).collect();
    // One a second is let through, and the test may take seconds.
    reaches(&node, OVER_RATE, 40.0);
    let dropped = strangers.iter_mut().rev().take(10);
    assert!(dropped.map(is_dropped).filter(|dropped| *dropped).count() >= 1);
    let over_rate = node.metric(OVER_RATE).expect("a number") as usize;
    assert!((TRIES - 20..=TRIES - 5).contains(&over_rate), "{over_rate}");
}
