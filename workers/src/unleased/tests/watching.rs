//! When a pass is due.

use std::collections::BTreeSet;

use interlink_relay::backplane::{Lease, NodeId, NodeName};
use interlink_relay::limits::LEASE_MS;

use crate::unleased::limits::{BACK_MAX_MS, BACK_MS};
use crate::unleased::watch::{Plan, Scope, Watch};

/// Time between two looks.
const STEP_MS: u64 = 2_000;

/// A cluster that is watched.
struct Cluster {
    watch: Watch,
    now_ms: u64,
    /// Nodes that renew their leases.
    living: Vec<NodeId>,
    leases: Vec<Lease>,
}

fn node(name: &str, life: u64) -> NodeId {
    NodeId::of(name, life)
}

fn scope(partitions: &[u16]) -> Scope {
    Some(partitions.iter().copied().collect())
}

impl Cluster {
    /// Two nodes that have lived for long, and a watch whose first pass was made.
    fn new() -> Self {
        let mut cluster = Self {
            watch: Watch::new(1_000_000, 1_000, LEASE_MS),
            now_ms: 1_000_000,
            living: vec![node("a", 1), node("b", 1)],
            leases: Vec::new(),
        };
        cluster.watch.on_connected(true, cluster.now_ms);
        let first = cluster
            .next_plan(LEASE_MS + STEP_MS)
            .expect("the first pass");
        assert!(first.back_ms >= 1_000 + LEASE_MS, "{first:?}");
        cluster
    }

    /// Lets time go by; who lives renews its lease at each look.
    fn step(&mut self) {
        self.now_ms += STEP_MS;
        for lease in &mut self.leases {
            lease.left_ms = lease.left_ms.saturating_sub(STEP_MS);
        }
        self.leases.retain(|lease| lease.left_ms > 0);
        for node in &self.living {
            self.leases.retain(|lease| lease.node != *node);
            self.leases.push(Lease {
                node: *node,
                left_ms: LEASE_MS,
            });
        }
        self.watch.on_leases(&self.leases, self.now_ms, self.now_ms);
    }

    /// The next plan within a time.
    fn next_plan(&mut self, within_ms: u64) -> Option<Plan> {
        let until_ms = self.now_ms + within_ms;
        while self.now_ms < until_ms {
            self.step();
            let plan = self.watch.next_plan(self.now_ms);
            if plan.is_some() {
                return plan;
            }
        }
        None
    }

    fn kill(&mut self, name: &str) {
        self.living
            .retain(|living| living.name() != NodeName::of(name));
    }
}

#[test]
fn a_node_that_is_killed_is_a_reason() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.next_plan(600_000), None, "all is well");
    cluster.kill("a");
    let died_ms = cluster.now_ms;
    let plan = cluster.next_plan(LEASE_MS + STEP_MS).expect("a pass");
    let since_ms = cluster.now_ms - plan.back_ms;
    assert!(
        since_ms + BACK_MS <= died_ms,
        "from a minute before its death"
    );
    assert!(
        since_ms + BACK_MS + LEASE_MS >= died_ms,
        "and not much more"
    );
    assert_eq!(plan.scope, None);
    assert_eq!(cluster.watch.leased(), BTreeSet::from([NodeName::of("b")]));
    assert_eq!(cluster.next_plan(600_000), None, "once");
}

#[test]
fn a_node_that_ends_in_order_is_none() {
    let mut cluster = Cluster::new();
    cluster.kill("a");
    cluster.leases.retain(|lease| lease.node != node("a", 1));
    assert_eq!(cluster.next_plan(600_000), None);
}

#[test]
fn a_node_that_is_killed_and_back_before_its_lease_ends_is_none() {
    let mut cluster = Cluster::new();
    cluster.kill("a");
    cluster.step();
    cluster.living.push(node("a", 2));
    assert_eq!(cluster.next_plan(600_000), None);
}

#[test]
fn nobody_is_dead_while_servers_are_away_and_for_one_lease_afterwards() {
    let mut cluster = Cluster::new();
    cluster.step();
    let away_ms = cluster.now_ms;
    cluster.watch.on_connected(false, away_ms);
    cluster.now_ms += 100_000;
    assert_eq!(cluster.watch.next_plan(cluster.now_ms), None);
    // Both have lost their leases; one of them lives.
    cluster.leases.clear();
    cluster.living.clear();
    cluster.watch.on_connected(true, cluster.now_ms);
    cluster.step();
    assert_eq!(cluster.watch.next_plan(cluster.now_ms), None);
    cluster.living.push(node("b", 1));
    let plan = cluster.next_plan(LEASE_MS + STEP_MS).expect("a pass");
    assert!(cluster.now_ms >= away_ms + 100_000 + LEASE_MS);
    let since_ms = cluster.now_ms - plan.back_ms;
    assert!(since_ms + BACK_MS <= away_ms, "what waited for servers too");
}

#[test]
fn nothing_begins_while_some_servers_are_away() {
    let mut cluster = Cluster::new();
    cluster.watch.on_changed(scope(&[1]), cluster.now_ms);
    cluster.watch.on_connected(false, cluster.now_ms);
    assert_eq!(cluster.next_plan(100_000), None, "those of leases answer");
    cluster.watch.on_connected(true, cluster.now_ms);
    let plan = cluster.next_plan(LEASE_MS + 2 * STEP_MS).expect("a pass");
    assert_eq!(plan.scope, scope(&[1]));
}

#[test]
fn nodes_that_are_back_after_servers_were_away_are_no_reason() {
    let mut cluster = Cluster::new();
    cluster.watch.on_connected(false, cluster.now_ms);
    cluster.now_ms += 100_000;
    cluster.leases.clear();
    let living = std::mem::take(&mut cluster.living);
    cluster.watch.on_connected(true, cluster.now_ms);
    cluster.step();
    cluster.living = living;
    assert_eq!(cluster.next_plan(600_000), None);
}

#[test]
fn changed_servers_are_a_reason_for_their_partitions_one_lease_later() {
    let mut cluster = Cluster::new();
    cluster.watch.on_changed(scope(&[1, 2]), cluster.now_ms);
    cluster.watch.on_changed(scope(&[7]), cluster.now_ms + 1);
    let changed_ms = cluster.now_ms;
    let plan = cluster.next_plan(LEASE_MS + 2 * STEP_MS).expect("a pass");
    assert!(
        cluster.now_ms >= changed_ms + LEASE_MS,
        "who lives renews its lease"
    );
    assert!(cluster.now_ms - plan.back_ms + BACK_MS <= changed_ms);
    assert_eq!(plan.scope, scope(&[1, 2, 7]));
    // A node that has died meanwhile needs all of them.
    cluster.watch.on_changed(scope(&[1]), cluster.now_ms);
    cluster.kill("a");
    let plan = cluster.next_plan(LEASE_MS + 2 * STEP_MS).expect("a pass");
    assert_eq!(plan.scope, None);
}

#[test]
fn servers_that_forget_leases_have_forgotten_records() {
    let mut cluster = Cluster::new();
    cluster.leases.clear();
    let living = std::mem::take(&mut cluster.living);
    cluster.step();
    assert_eq!(cluster.watch.next_plan(cluster.now_ms), None);
    cluster.living = living;
    let plan = cluster.next_plan(LEASE_MS + 2 * STEP_MS).expect("a pass");
    assert_eq!(plan.scope, None);
}

#[test]
fn a_pass_that_was_broken_off_is_made_again_from_where_it_began() {
    let mut cluster = Cluster::new();
    cluster.kill("a");
    let plan = cluster.next_plan(LEASE_MS + STEP_MS).expect("a pass");
    let began_ms = cluster.now_ms;
    cluster.watch.on_changed(scope(&[3]), began_ms + 1);
    cluster.watch.put_back(&plan, began_ms);
    let again = cluster.next_plan(LEASE_MS + 2 * STEP_MS).expect("a pass");
    assert_eq!(cluster.now_ms - again.back_ms, began_ms - plan.back_ms);
    assert_eq!(again.scope, None);
}

#[test]
fn a_pass_goes_back_as_far_as_it_may_and_no_further() {
    let mut cluster = Cluster::new();
    cluster.watch.on_connected(false, cluster.now_ms);
    cluster.now_ms += 2 * BACK_MAX_MS;
    cluster.watch.on_connected(true, cluster.now_ms);
    cluster.kill("a");
    let plan = cluster.next_plan(LEASE_MS + 2 * STEP_MS).expect("a pass");
    assert_eq!(plan.back_ms, BACK_MAX_MS);
}

#[test]
fn a_name_is_known_by_every_life_of_its_node() {
    assert_eq!(node("a", 1).name(), node("a", u64::MAX).name());
    assert_ne!(node("a", 1), node("a", 2));
    assert_ne!(node("a", 1).name(), node("b", 1).name());
}
