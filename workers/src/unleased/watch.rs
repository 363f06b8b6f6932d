//! When records are to be placed again, and how old ones: who had a lease, and what happened to
//! the servers.
//!
//! Invariants: a node that has ended its lease in order, or whose name has a lease again, is no
//! reason. While the servers are away, and for one lease after they came back, changed or forgot
//! something, nobody is taken for dead: whoever lives has that long to renew its lease.
//!
//! Limits: [`NODES_MAX`](interlink_relay::limits::NODES_MAX) leases, and as many nodes that lost
//! theirs. Pure: times are arguments, in milliseconds that never go back.

use std::collections::{BTreeMap, BTreeSet};

use interlink_relay::backplane::{Lease, NodeId, NodeName};
use interlink_relay::limits::LEASE_MS;

use super::limits::{BACK_MAX_MS, BACK_MS, COMEBACK_MS};

/// Partitions of the backplane; all of them when none are named.
pub type Scope = Option<BTreeSet<u16>>;

/// What a pass does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Records that are as old as this were placed, or are beyond help, in milliseconds.
    pub back_ms: u64,
    /// The partitions whose records are placed.
    pub scope: Scope,
}

/// Why records are to be placed again.
#[derive(Debug)]
struct Wanted {
    since_ms: u64,
    scope: Scope,
}

/// What is known of leases and servers.
#[derive(Debug)]
pub struct Watch {
    /// Leases of the newest look, and when they end at the earliest.
    leases: BTreeMap<NodeId, u64>,
    /// When the newest look was made.
    looked_ms: Option<u64>,
    /// Nodes that lost their lease, and when they had surely renewed it last.
    fallen: BTreeMap<NodeName, u64>,
    /// Nodes that ended their lease before its time, and when that was seen.
    ended: BTreeMap<NodeId, u64>,
    wanted: Option<Wanted>,
    /// Nothing begins before.
    held_until_ms: u64,
    is_connected: bool,
    /// Since when the servers were not there all the time, and when they came back last.
    trouble: Option<(u64, u64)>,
}

impl Watch {
    /// The first pass goes back by `back_ms` from now and begins after `hold_ms`.
    pub fn new(now_ms: u64, back_ms: u64, hold_ms: u64) -> Self {
        Self {
            leases: BTreeMap::new(),
            looked_ms: None,
            fallen: BTreeMap::new(),
            ended: BTreeMap::new(),
            wanted: Some(Wanted {
                since_ms: now_ms.saturating_sub(back_ms),
                scope: None,
            }),
            held_until_ms: now_ms + hold_ms,
            is_connected: false,
            trouble: None,
        }
    }

    /// Nodes that have a lease.
    pub fn leased(&self) -> BTreeSet<NodeName> {
        self.leases.keys().map(|node| node.name()).collect()
    }

    /// The servers can be reached, or not.
    pub fn on_connected(&mut self, is_connected: bool, now_ms: u64) {
        let was_connected = std::mem::replace(&mut self.is_connected, is_connected);
        match (was_connected, is_connected) {
            (true, false) => {
                let since_ms = self.troubled_since(now_ms).unwrap_or(now_ms);
                self.trouble = Some((since_ms, u64::MAX));
            }
            (false, true) => {
                if let Some((since_ms, _)) = self.trouble {
                    self.trouble = Some((since_ms, now_ms));
                    self.hold(now_ms);
                }
            }
            _ => {}
        }
    }

    /// The servers of partitions may have lost what was placed last.
    pub fn on_changed(&mut self, scope: Scope, now_ms: u64) {
        let since_ms = self.troubled_since(now_ms).unwrap_or(now_ms);
        self.want(since_ms.saturating_sub(BACK_MS), scope);
        self.hold(now_ms);
    }

    /// The leases that there are, as they were asked for at `asked_ms`.
    pub fn on_leases(&mut self, leases: &[Lease], asked_ms: u64, now_ms: u64) {
        let mut before = std::mem::take(&mut self.leases);
        self.looked_ms = Some(asked_ms);
        let mut has_forgotten = false;
        for Lease { node, left_ms } in leases {
            before.remove(node);
            has_forgotten |= self.ended.remove(node).is_some();
            self.fallen.remove(&node.name());
            self.leases.insert(*node, asked_ms + left_ms);
        }
        for (node, ends_ms) in before {
            if now_ms < ends_ms {
                self.ended.insert(node, now_ms);
            } else if !self
                .leases
                .keys()
                .any(|leased| leased.name() == node.name())
            {
                let alive_ms = ends_ms.saturating_sub(LEASE_MS);
                self.fallen.entry(node.name()).or_insert(alive_ms);
            }
        }
        self.ended.retain(|_, at_ms| now_ms < *at_ms + COMEBACK_MS);
        if has_forgotten {
            self.on_changed(None, now_ms);
        }
    }

    /// What a pass should do, if one is due. It is taken for done until [`Self::put_back`] says
    /// otherwise.
    pub fn next_plan(&mut self, now_ms: u64) -> Option<Plan> {
        let has_looked = self.looked_ms.is_some_and(|at| at >= self.held_until_ms);
        if !has_looked || !self.is_connected {
            return None;
        }
        for (_, alive_ms) in std::mem::take(&mut self.fallen) {
            let since_ms = self.troubled_since(now_ms).unwrap_or(alive_ms);
            self.want(since_ms.min(alive_ms).saturating_sub(BACK_MS), None);
        }
        let Wanted { since_ms, scope } = self.wanted.take()?;
        Some(Plan {
            back_ms: now_ms.saturating_sub(since_ms).min(BACK_MAX_MS),
            scope,
        })
    }

    /// A pass is not done that began at a time.
    pub fn put_back(&mut self, plan: &Plan, began_ms: u64) {
        self.want(began_ms.saturating_sub(plan.back_ms), plan.scope.clone());
    }

    fn want(&mut self, since_ms: u64, scope: Scope) {
        let wanted = self.wanted.take();
        self.wanted = Some(match wanted {
            None => Wanted { since_ms, scope },
            Some(other) => Wanted {
                since_ms: since_ms.min(other.since_ms),
                scope: other.scope.zip(scope).map(|(one, two)| &one | &two),
            },
        });
    }

    fn hold(&mut self, now_ms: u64) {
        self.held_until_ms = self.held_until_ms.max(now_ms + LEASE_MS);
    }

    /// Since when records may have waited for servers that were away; none when they have been
    /// there for as long as a pass goes back.
    fn troubled_since(&self, now_ms: u64) -> Option<u64> {
        let (since_ms, back_ms) = self.trouble?;
        (now_ms < back_ms.saturating_add(BACK_MS)).then_some(since_ms)
    }
}
