//! Batches on their way and going back, without servers.

use interlink_protocol::frame::{EventFields, FrameEncoder};
use interlink_protocol::ids::{InstanceId, Position, RecordId};
use interlink_protocol::priority::Priority;
use interlink_relay::backplane::Published;
use interlink_relay::event_log::AppendKind;
use interlink_relay::kafka::consumer::{Batch, Consumed, Lane};
use interlink_relay::record::Placement;

use super::marks::Marks;
use super::transit::Transit;

const PARTITIONS: u16 = 4;

fn frame(channel: &str, id: u64) -> Vec<u8> {
    let fields = EventFields {
        channel,
        position: Position::ZERO,
        previous_chain: 0,
        record: RecordId(u128::from(id)),
        publisher: "ada",
        priority: Priority::P1,
        event_type: 1,
        schema_version: 1,
        server_time_us: id,
        payload: b"x",
        conflation_key: None,
        trace: None,
    };
    FrameEncoder::new().event(&fields).to_vec()
}

/// A record as a node of a region feeds it; the form is that of `interlink_relay::kafka::record`.
fn record(origin: &str, channel: &str, offset: i64) -> Consumed {
    let id = offset as u64;
    let mut source = Vec::new();
    source.extend_from_slice(&1u32.to_le_bytes());
    source.extend_from_slice(&0u16.to_le_bytes());
    source.push(Priority::P1 as u8);
    source.extend_from_slice(&id.to_le_bytes());
    source.extend_from_slice(b"node-1");
    let mut publish = Vec::new();
    publish.extend_from_slice(&InstanceId(5).0.to_le_bytes());
    for value in [id, id, id] {
        publish.extend_from_slice(&value.to_le_bytes());
    }
    let headers = [
        ("interlink-record", u128::from(id).to_le_bytes().to_vec()),
        ("interlink-kind", b"event".to_vec()),
        ("interlink-origin", origin.as_bytes().to_vec()),
        ("interlink-source", source),
        ("interlink-publish", publish),
    ];
    let headers = headers.map(|(name, value)| (name.into(), value.into()));
    Consumed {
        offset,
        timestamp_ms: 0,
        key: b"ada"[..].into(),
        value: frame(channel, id).into(),
        headers: headers.into(),
    }
}

fn batch(records: Vec<Consumed>) -> Batch {
    Batch {
        lane: Lane {
            topic: "interlink.high".into(),
            partition: 0,
        },
        records,
    }
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
    while let Some((partition, events)) = transit.next_call() {
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
    let mut transit = Transit::new(batch(records), "eu", PARTITIONS, 0);
    assert_eq!((transit.left.foreign, transit.left.unreadable), (2, 1));
    assert!(!transit.is_placed());
    let mut placed = place_all(&mut transit, false);
    placed.sort_unstable();
    assert_eq!(placed, [1, 5]);
    let onward = transit.onward();
    let indexes: Vec<_> = onward.iter().map(|onward| onward.index).collect();
    assert_eq!(indexes, [0, 4], "in the order of the batch");
    assert!(onward.iter().all(|onward| onward.kind == AppendKind::Event));
}

#[test]
fn a_failed_call_is_made_again_before_later_ones_of_its_partition() {
    let records: Vec<_> = (0..600)
        .map(|offset| record("eu", "chat.a", offset))
        .collect();
    let mut transit = Transit::new(batch(records), "eu", PARTITIONS, 0);
    let (partition, first) = transit.next_call().expect("a call");
    let first = first.to_vec();
    assert_eq!(first.len(), 256);
    assert!(transit.next_call().is_none(), "one call of a partition");
    transit.on_failed(partition);
    let (_, again) = transit.next_call().expect("a call");
    assert_eq!(again, first);
    let placed: Vec<_> = first.iter().map(|_| published(1, false)).collect();
    transit.on_placed(partition, &placed);
    let rest = place_all(&mut transit, false);
    assert_eq!(rest, (256..600).collect::<Vec<_>>());
    assert!(transit.is_placed());
}

#[test]
fn what_was_appended_before_tells_new_places_only() {
    let records = vec![record("eu", "chat.a", 1), record("eu", "chat.a", 2)];
    for (repeated, kinds) in [
        (true, vec![AppendKind::Event]),
        (false, vec![AppendKind::Positioned, AppendKind::Event]),
    ] {
        let mut transit = Transit::new(batch(records.clone()), "eu", PARTITIONS, 2);
        place_all(&mut transit, repeated);
        let onward = transit.onward();
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
