//! Batches on their way and going back, without servers.

use interlink_protocol::ids::Position;
use interlink_relay::backplane::Published;
use interlink_relay::event_log::AppendKind;
use interlink_relay::kafka::consumer::{Batch, Consumed};
use interlink_relay::record::Placement;

use super::is_of;
use super::marks::Marks;
use super::onward::onward;
use crate::testing::{lane, Fed};
use crate::transit::{Gate, Transit};

const PARTITIONS: u16 = 4;

/// A record as a node of a region feeds it.
fn record(origin: &str, channel: &str, offset: i64) -> Consumed {
    let id = offset as u64;
    let fed = Fed {
        origin,
        node: "node-1",
        channel,
        id,
        accepted_at_us: id,
        place: None,
    };
    fed.event(offset)
}

fn batch(records: Vec<Consumed>) -> Batch {
    let lane = lane(0);
    Batch { lane, records }
}

fn transit(records: Vec<Consumed>) -> Transit {
    Transit::new(batch(records), PARTITIONS, |item| is_of(item, "eu"))
}

fn published(offset: u64, repeated: bool) -> Published {
    let position = Position {
        epoch: 1,
        offset,
        chain: 0,
    };
    Published {
        placement: Placement {
            position,
            previous_chain: 0,
        },
        repeated,
    }
}

/// Answers every call, oldest first; gives the offsets in the order in which they were placed.
fn place_all(transit: &mut Transit, repeated: bool) -> Vec<i64> {
    let mut order = Vec::new();
    while let Some((partition, events)) = transit.next_call(|_, _| Gate::Go) {
        let events = events.to_vec();
        let placed: Vec<_> = events
            .iter()
            .map(|event| published(*event as u64 + 1, repeated))
            .collect();
        let index = |event: &usize| transit.events[*event].index;
        let offsets = events.iter().map(index);
        order.extend(offsets.map(|index| transit.batch.records[index].offset));
        transit.on_placed(partition, &placed);
    }
    order
}

#[test]
fn only_events_of_the_own_region_go_on() {
    let mut damaged = record("eu", "chat.a", 4);
    damaged.headers = Box::default();
    let records = vec![
        record("eu", "chat.a", 1),
        record("us", "chat.a", 2),
        record("asia", "chat.a", 3),
        damaged,
        record("eu", "chat.b", 5),
    ];
    let mut transit = transit(records);
    assert_eq!((transit.others, transit.unreadable), (2, 1));
    assert!(!transit.is_over());
    let mut placed = place_all(&mut transit, false);
    placed.sort_unstable();
    assert_eq!(placed, [1, 5]);
    let onward = onward(&transit, 0);
    let indexes: Vec<_> = onward.iter().map(|onward| onward.index).collect();
    assert_eq!(indexes, [0, 4], "in the order of the batch");
    assert!(onward.iter().all(|onward| onward.kind == AppendKind::Event));
}

#[test]
fn a_failed_call_is_made_again_before_later_ones_of_its_partition() {
    let records: Vec<_> = (0..600)
        .map(|offset| record("eu", "chat.a", offset))
        .collect();
    let mut transit = transit(records);
    let (partition, first) = transit.next_call(|_, _| Gate::Go).expect("a call");
    let first = first.to_vec();
    assert_eq!(first.len(), 256);
    assert!(
        transit.next_call(|_, _| Gate::Go).is_none(),
        "one call of a partition"
    );
    transit.on_failed(partition);
    let (_, again) = transit.next_call(|_, _| Gate::Go).expect("a call");
    assert_eq!(again, first);
    let placed: Vec<_> = first.iter().map(|_| published(1, false)).collect();
    transit.on_placed(partition, &placed);
    let rest = place_all(&mut transit, false);
    assert_eq!(rest, (256..600).collect::<Vec<_>>());
    assert!(transit.is_over());
}

#[test]
fn what_was_appended_before_tells_new_places_only() {
    let records = vec![record("eu", "chat.a", 1), record("eu", "chat.a", 2)];
    for (repeated, kinds) in [
        (true, vec![AppendKind::Event]),
        (false, vec![AppendKind::Positioned, AppendKind::Event]),
    ] {
        let mut transit = transit(records.clone());
        place_all(&mut transit, repeated);
        let onward = onward(&transit, 2);
        let found: Vec<_> = onward.iter().map(|onward| onward.kind).collect();
        assert_eq!(found, kinds);
    }
}

#[test]
fn going_back_covers_a_minute_and_waits_for_its_confirmation() {
    let mut marks = Marks::default();
    assert_eq!(marks.go_back(0), None);
    for second in 0..300 {
        marks.note(second * 10, second as u64 * 1_000);
        marks.note_appended(second * 10 + 10);
    }
    assert!(marks.accepts());
    assert_eq!(
        marks.go_back(299_500),
        Some(2_390),
        "the batch of second 239"
    );
    assert!(!marks.accepts());
    marks.on_sought();
    assert!(marks.accepts());
    assert_eq!(marks.appended(), 3_000, "it stays in the target's log");
}

#[test]
fn a_young_partition_goes_back_to_its_begin() {
    let mut marks = Marks::default();
    marks.note(70, 5_000);
    marks.note(80, 9_000);
    assert_eq!(marks.go_back(10_000), Some(70));
}
