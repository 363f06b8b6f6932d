//! The one-node backplane: the suite, restoring, and what only it does.

use super::*;
use crate::conformance;
use crate::files::Gap;
use crate::limits::RECENT_EVENTS_MAX;
use crate::testing::{config, Node};

const NOW_US: u64 = 1_700_000_000_000_000;

#[test]
fn the_one_node_backplane_conforms() {
    conformance::backplane(|| OneNodeBackplane::new(7), 1);
}

fn publish(backplane: &mut OneNodeBackplane, id: u64, now_us: u64) -> Published {
    let publish = Publish {
        channel: "class.algebra",
        class: Priority::P1,
        record: RecordId(u128::from(id)),
        accepted_at_us: now_us,
        floor: Floor::NONE,
        frame: &[],
    };
    backplane
        .submit(BackplaneRequest::Publish(&[publish]), now_us)
        .expect("room");
    match answer(backplane) {
        BackplaneAnswer::Published(published) => published[0],
        other => panic!("not an answer to a publish: {other:?}"),
    }
}

fn answer(backplane: &mut OneNodeBackplane) -> BackplaneAnswer {
    loop {
        match backplane.complete() {
            Some(BackplaneEvent::Answer(_, answer)) => return answer.expect("it is never away"),
            Some(_) => {}
            None => panic!("no answer"),
        }
    }
}

#[test]
fn record_ids_are_forgotten_after_ten_minutes() {
    let mut backplane = OneNodeBackplane::new(7);
    publish(&mut backplane, 1, NOW_US);
    assert!(publish(&mut backplane, 1, NOW_US + 300_000_000).repeated);
    assert!(!publish(&mut backplane, 1, NOW_US + 900_000_000).repeated);
}

#[test]
fn positions_beyond_the_recent_events_are_a_matter_of_retention() {
    let mut backplane = OneNodeBackplane::new(7);
    let first = publish(&mut backplane, 1, NOW_US).placement.position;
    for id in 2..=RECENT_EVENTS_MAX as u64 + 3 {
        publish(&mut backplane, id, NOW_US);
    }
    let request = BackplaneRequest::History {
        channel: "class.algebra",
        after: first,
        limit: 10,
    };
    backplane.submit(request, NOW_US).expect("room");
    let BackplaneAnswer::History(page) = answer(&mut backplane) else {
        panic!("not an answer about history");
    };
    assert_eq!(page.gap, Some(Gap::Retention));
}

#[test]
fn a_restored_backplane_goes_on_and_knows_repeats() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut node = Node::start(config(directory.path(), 1, "s"), NOW_US);
    let last = (0..5)
        .map(|_| node.publish(0, Priority::P1, "class.algebra"))
        .last();
    let last = last.expect("an event");
    let id = node.next_id;
    drop(node);
    let node = Node::start(config(directory.path(), 1, "s"), NOW_US + 1);
    let mut backplane = OneNodeBackplane::restore(&node.recovered, NOW_US + 1);
    let again = publish(&mut backplane, id, NOW_US + 2);
    assert_eq!((again.placement, again.repeated), (last, true));
    let next = publish(&mut backplane, id + 1, NOW_US + 2).placement;
    assert_eq!(
        next.position,
        last.position.after(RecordId(u128::from(id + 1)))
    );
}

#[test]
fn the_partition_of_a_channel_never_changes() {
    // Servers hold what was placed under it.
    assert_eq!(partition_of("class.algebra-1", 128), 100);
    assert_eq!(partition_of("class.algebra-1", 1), 0);
}
