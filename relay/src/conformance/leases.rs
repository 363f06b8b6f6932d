//! The rules of leases, of [`Backplane`].

use std::time::Instant;

use super::backplane::{drive, Driver, PATIENCE, SECOND_US};
use crate::backplane::{Backplane, BackplaneAnswer, BackplaneRequest, NodeId};
use crate::limits::NODES_MAX;

/// Runs the rules that need one node.
pub fn of_a_node<B: Backplane>(make: &mut impl FnMut() -> B) {
    a_lease_is_listed_until_it_ends(&mut make());
    whoever_has_none_sees_how_long_those_of_others_last(&mut make());
    nodes_beyond_the_most_get_none(&mut make());
}

impl<B: Backplane> Driver<'_, B> {
    fn lease(&mut self, node: u64, life_ms: u64, now_us: u64) -> (bool, Vec<u64>) {
        let node = NodeId(node);
        match self.call(BackplaneRequest::Lease { node, life_ms }, now_us) {
            BackplaneAnswer::Leased(leases) => {
                let nodes = leases.nodes.iter().map(|node| node.0).collect();
                (leases.was_held, nodes)
            }
            other => panic!("not an answer to a lease: {other:?}"),
        }
    }

    /// Nodes and how long their leases last, for somebody who has none.
    fn leases(&mut self, now_us: u64) -> Vec<(u64, u64)> {
        match self.call(BackplaneRequest::Leases, now_us) {
            BackplaneAnswer::Leases(leases) => {
                let leases = leases.iter().map(|lease| (lease.node.0, lease.left_ms));
                leases.collect()
            }
            other => panic!("not an answer about leases: {other:?}"),
        }
    }
}

fn a_lease_is_listed_until_it_ends<B: Backplane>(backplane: &mut B) {
    let mut driver = drive(backplane);
    let long_ms = 60_000;
    assert_eq!(driver.lease(7, long_ms, SECOND_US), (false, vec![7]));
    assert_eq!(driver.lease(7, long_ms, SECOND_US), (true, vec![7]));
    let both = driver.lease(u64::MAX, 500, SECOND_US);
    assert_eq!(both, (false, vec![7, u64::MAX]), "in the order of numbers");
    // One end is told, the other comes by itself.
    assert_eq!(driver.lease(7, 0, SECOND_US), (true, vec![u64::MAX]));
    let (start, mut now_us) = (Instant::now(), SECOND_US);
    loop {
        now_us += 10_000;
        let (was_held, nodes) = driver.lease(7, long_ms, now_us);
        assert_eq!(was_held, now_us > SECOND_US + 10_000);
        if nodes == [7] {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "the lease does not end");
    }
}

fn whoever_has_none_sees_how_long_those_of_others_last<B: Backplane>(backplane: &mut B) {
    let mut driver = drive(backplane);
    assert_eq!(driver.leases(SECOND_US), [], "and gets none");
    driver.lease(9, 60_000, SECOND_US);
    driver.lease(7, 500, SECOND_US);
    let [(7, short_ms), (9, long_ms)] = driver.leases(SECOND_US)[..] else {
        panic!("not in the order of numbers");
    };
    assert!((1..=500).contains(&short_ms), "{short_ms}");
    assert!((40_000..=60_000).contains(&long_ms), "{long_ms}");
    let (start, mut now_us) = (Instant::now(), SECOND_US);
    while driver.leases(now_us).len() > 1 {
        now_us += 10_000;
        assert!(start.elapsed() < PATIENCE, "the lease does not end");
    }
    assert_eq!(driver.leases(now_us)[0].0, 9);
}

fn nodes_beyond_the_most_get_none<B: Backplane>(backplane: &mut B) {
    let mut driver = drive(backplane);
    let most = NODES_MAX as u64;
    for node in 0..most {
        driver.lease(node, 60_000, SECOND_US);
    }
    let all: Vec<u64> = (0..most).collect();
    for _ in 0..2 {
        assert_eq!(driver.lease(most, 60_000, SECOND_US), (false, all.clone()));
    }
    assert_eq!(driver.lease(3, 60_000, SECOND_US), (true, all));
}

/// Every node sees the leases of all.
pub fn every_node_sees_those_of_all<B: Backplane>(here: &mut B, there: &mut B) {
    let (mut here, mut there) = (drive(here), drive(there));
    assert_eq!(here.lease(1, 60_000, SECOND_US), (false, vec![1]));
    assert_eq!(there.lease(2, 60_000, SECOND_US), (false, vec![1, 2]));
    assert_eq!(here.lease(1, 60_000, SECOND_US), (true, vec![1, 2]));
    there.lease(2, 0, SECOND_US);
    assert_eq!(here.lease(1, 60_000, SECOND_US), (true, vec![1]));
}
