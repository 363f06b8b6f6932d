//! Limits on the real node: how often clients may ask, who may connect how often, and whom a
//! proxy in front of the node speaks for.

#[path = "../support/mod.rs"]
mod support;

mod addresses;
mod anomalies;
mod proxies;
mod rates;

use support::raw::{Incoming, Raw};
use support::{wait_for, Node};

/// Whether the node ends a connection without a word.
fn is_dropped(raw: &mut Raw) -> bool {
    raw.next() == Incoming::Ended
}

/// Waits until a metric is at least `least`.
fn reaches(node: &Node, name: &str, least: f64) {
    wait_for(name, || (node.metric(name)? >= least).then_some(()));
}
