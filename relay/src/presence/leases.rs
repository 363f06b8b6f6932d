//! Which nodes of a cluster live, by their leases.
//!
//! Purpose: a node renews its lease every [`LEASE_RENEW_MS`] and hears who else has one. From the
//! answers, and from what is known of the backplane, come [`ClusterView`]s, by which tables of
//! presence decide who may be told to have left.
//!
//! Invariants: while the backplane is away nobody is taken for dead. For one lease after it has
//! come back, or may have forgotten what it knew, a node that is missing in an answer stays: it
//! has that long to renew its lease.
//!
//! Limits: [`NODES_MAX`](crate::limits::NODES_MAX) nodes. No clock and no I/O: times are arguments,
//! in milliseconds that never go back.
//! Runs on: the relay thread.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::backplane::{Leases, NodeId};
use crate::limits::{LEASE_AGAIN_MS, LEASE_MS, LEASE_RENEW_MS};

/// What a node knows of the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterView {
    /// The node itself.
    pub own: NodeId,
    /// The other nodes, ascending.
    pub nodes: Arc<[NodeId]>,
    /// Whether the backplane answers.
    pub is_connected: bool,
    /// How often the backplane has come back or may have forgotten something.
    pub returns: u64,
}

impl ClusterView {
    /// A node that knows nobody yet.
    pub fn new(own: NodeId) -> Self {
        Self {
            own,
            nodes: Arc::default(),
            is_connected: false,
            returns: 0,
        }
    }
}

/// The leases of a cluster, as one node knows them.
#[derive(Debug)]
pub struct LeaseTable {
    view: ClusterView,
    /// Whether the backplane can be reached; it is connected once it has answered then.
    is_reachable: bool,
    /// When the lease is renewed next; none while an answer is awaited.
    renew_ms: Option<u64>,
    /// When the lease was asked for that was given last.
    leased_ms: Option<u64>,
    asked_ms: u64,
    /// Until then nobody is taken for dead.
    held_until_ms: u64,
}

impl LeaseTable {
    /// The leases that a node knows at its start.
    pub fn new(own: NodeId) -> Self {
        Self {
            view: ClusterView::new(own),
            is_reachable: false,
            renew_ms: Some(0),
            leased_ms: None,
            asked_ms: 0,
            held_until_ms: 0,
        }
    }

    /// What is known now.
    pub fn view(&self) -> &ClusterView {
        &self.view
    }

    /// When a lease has to be asked for; none while that cannot be done.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.renew_ms.filter(|_| self.is_reachable)
    }

    /// The lease is being asked for.
    pub fn asked(&mut self, now_ms: u64) {
        self.renew_ms = None;
        self.asked_ms = now_ms;
    }

    /// A node was heard of that is not known: the leases are asked for soon.
    pub fn hurry(&mut self) {
        let soon_ms = self.asked_ms + LEASE_AGAIN_MS;
        self.renew_ms = self.renew_ms.map(|at_ms| at_ms.min(soon_ms));
    }

    /// The backplane can be reached, or not.
    pub fn on_reachable(&mut self, is_reachable: bool, now_ms: u64) {
        self.is_reachable = is_reachable;
        if is_reachable {
            self.renew_ms = self.renew_ms.map(|_| now_ms);
        } else {
            self.view.is_connected = false;
        }
    }

    /// The backplane may have forgotten what it knew.
    pub fn on_forgotten(&mut self, now_ms: u64) {
        self.view.returns += 1;
        self.held_until_ms = now_ms + LEASE_MS;
    }

    /// The lease was not given.
    pub fn on_failed(&mut self, now_ms: u64) {
        self.renew_ms = Some(now_ms + LEASE_AGAIN_MS);
        let is_over = self
            .leased_ms
            .is_none_or(|at_ms| now_ms >= at_ms + LEASE_MS);
        if is_over {
            self.view.is_connected = false;
        }
    }

    /// The lease was given.
    pub fn on_leased(&mut self, leases: &Leases, now_ms: u64) {
        self.renew_ms = Some(self.asked_ms + LEASE_RENEW_MS);
        let was_leased = self.leased_ms.replace(self.asked_ms).is_some();
        if !self.is_reachable {
            // It has gone since; what it says is of before.
            return;
        }
        let is_back = !std::mem::replace(&mut self.view.is_connected, true);
        if is_back || (was_leased && !leases.was_held) {
            self.on_forgotten(now_ms);
        }
        let mut nodes: BTreeSet<NodeId> = leases.nodes.iter().copied().collect();
        if now_ms < self.held_until_ms {
            nodes.extend(self.view.nodes.iter().copied());
        }
        nodes.remove(&self.view.own);
        if !nodes.iter().eq(self.view.nodes.iter()) {
            self.view.nodes = nodes.into_iter().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: NodeId = NodeId(5);

    fn leases(was_held: bool, nodes: &[u64]) -> Leases {
        Leases {
            was_held,
            nodes: nodes.iter().copied().map(NodeId).collect(),
        }
    }

    fn renew(table: &mut LeaseTable, was_held: bool, nodes: &[u64], now_ms: u64) {
        table.asked(now_ms);
        assert_eq!(table.next_due_ms(), None);
        table.on_leased(&leases(was_held, nodes), now_ms + 1);
    }

    fn nodes(table: &LeaseTable) -> Vec<u64> {
        table.view().nodes.iter().map(|node| node.0).collect()
    }

    /// A table that has been connected for longer than a lease.
    fn connected() -> (LeaseTable, u64) {
        let mut table = LeaseTable::new(OWN);
        assert_eq!(table.next_due_ms(), None, "nobody can be asked");
        table.on_reachable(true, 100);
        assert_eq!(table.next_due_ms(), Some(100));
        renew(&mut table, false, &[3, 5, 9], 100);
        for at_ms in [5_100, 10_100, 15_100] {
            assert_eq!(table.next_due_ms(), Some(at_ms));
            renew(&mut table, true, &[3, 5, 9], at_ms);
        }
        assert_eq!(nodes(&table), [3, 9]);
        assert_eq!((table.view().is_connected, table.view().returns), (true, 1));
        (table, 20_100)
    }

    #[test]
    fn a_node_whose_lease_has_ended_is_gone_with_the_next_answer() {
        let (mut table, now_ms) = connected();
        renew(&mut table, true, &[5, 9], now_ms);
        assert_eq!(nodes(&table), [9]);
        renew(&mut table, true, &[2, 5, 9], now_ms + 5_000);
        assert_eq!(nodes(&table), [2, 9]);
    }

    #[test]
    fn nobody_is_gone_while_the_backplane_is_away_and_for_one_lease_afterwards() {
        let (mut table, now_ms) = connected();
        table.on_reachable(false, now_ms);
        assert_eq!(
            (table.view().is_connected, table.next_due_ms()),
            (false, None)
        );
        let back_ms = now_ms + 3_600_000;
        table.on_reachable(true, back_ms);
        assert_eq!(table.next_due_ms(), Some(back_ms));
        renew(&mut table, false, &[5], back_ms);
        assert_eq!((table.view().is_connected, table.view().returns), (true, 2));
        assert_eq!(nodes(&table), [3, 9]);
        renew(&mut table, true, &[5, 9], back_ms + LEASE_MS - 1);
        assert_eq!(nodes(&table), [3, 9]);
        renew(&mut table, true, &[5, 9], back_ms + LEASE_MS + 1);
        assert_eq!(nodes(&table), [9]);
    }

    #[test]
    fn a_backplane_that_has_forgotten_the_own_lease_has_forgotten_others() {
        let (mut table, now_ms) = connected();
        renew(&mut table, false, &[5], now_ms);
        assert_eq!((nodes(&table), table.view().returns), (vec![3, 9], 2));
        table.on_forgotten(now_ms + 10_000);
        assert_eq!(table.view().returns, 3);
        renew(&mut table, true, &[5], now_ms + 10_000 + LEASE_MS - 2);
        assert_eq!(nodes(&table), [3, 9]);
        renew(&mut table, true, &[5], now_ms + 10_000 + LEASE_MS);
        assert_eq!(nodes(&table), [] as [u64; 0]);
    }

    #[test]
    fn a_lease_that_is_refused_for_its_whole_life_counts_as_a_backplane_that_is_away() {
        let (mut table, now_ms) = connected();
        let leased_ms = now_ms - LEASE_RENEW_MS;
        table.asked(now_ms);
        table.on_failed(now_ms);
        assert!(table.view().is_connected);
        assert_eq!(table.next_due_ms(), Some(now_ms + LEASE_AGAIN_MS));
        table.asked(leased_ms + LEASE_MS);
        table.on_failed(leased_ms + LEASE_MS);
        assert!(!table.view().is_connected);
        renew(&mut table, false, &[5], leased_ms + 2 * LEASE_MS);
        assert_eq!((nodes(&table), table.view().returns), (vec![3, 9], 2));
    }

    #[test]
    fn an_unknown_node_that_speaks_is_asked_for_soon_and_not_more_often_than_allowed() {
        let (mut table, now_ms) = connected();
        renew(&mut table, true, &[3, 5, 9], now_ms);
        table.hurry();
        assert_eq!(table.next_due_ms(), Some(now_ms + LEASE_AGAIN_MS));
        table.asked(now_ms + LEASE_AGAIN_MS);
        table.hurry();
        assert_eq!(table.next_due_ms(), None, "it is being asked for");
    }
}
