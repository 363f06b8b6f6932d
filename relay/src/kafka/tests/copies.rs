//! What a real cluster says of the copies that it keeps.

use super::super::replicas::{Asker, Copies};
use super::broker::fresh_with;
use super::stand;
use super::*;

/// What the cluster says of its first topic, once it knows all of them.
fn copies(cluster: &Config) -> Copies {
    let asker = Asker::new(cluster, Arc::default(), Arc::new(|| ())).expect("a client");
    let runtime = runtime();
    let until = Instant::now() + PATIENCE;
    loop {
        let found = runtime.block_on(asker.ask()).expect("an answer");
        if found.iter().all(|copies| copies.min_insync > 0) {
            assert!(found.iter().all(|copies| *copies == found[0]));
            return found[0];
        }
        assert!(Instant::now() < until, "topics are missing: {found:?}");
    }
}

/// Whether a log learns that its topics are replicated, which it has to be woken for.
fn learns(cluster: Config) -> bool {
    let mut driven = Driven::new(cluster);
    driven.log.watch_replicas().expect("asked");
    let until = Instant::now() + PATIENCE;
    while !driven.log.is_replicated(Priority::P3) {
        let left = until.saturating_duration_since(Instant::now());
        if driven.woken.recv_timeout(left).is_err() {
            return false;
        }
    }
    Priority::ALL
        .iter()
        .all(|class| driven.log.is_replicated(*class))
}

/// One broker keeps one copy: that two are enough is seen on a stand with `kafka3`.
#[test]
fn topics_are_replicated_when_a_write_needs_two_of_their_copies() {
    let replicas = stand::brokers().len().min(3) as u32;
    let weak = fresh_with(replicas as i32, "1");
    let found = copies(&weak);
    assert_eq!((found.replicas, found.min_insync), (replicas, 1));
    assert!(!found.are_enough());
    let strong = fresh_with(replicas as i32, "2");
    let found = copies(&strong);
    assert_eq!((found.replicas, found.min_insync), (replicas, 2));
    assert_eq!(found.are_enough(), replicas > 1);
    if replicas > 1 {
        assert!(learns(strong), "nothing is said of the copies");
    }
}
