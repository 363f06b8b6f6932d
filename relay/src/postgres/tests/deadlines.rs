//! Deadlines of P0 events.

use super::*;
use crate::cursors::{Cursor, CursorUpdate};
use crate::postgres::Deadline;

const DUE_US: u64 = NOW_US + 30_000_000;

fn noted<'a>(record: &TopicRecord<'a>) -> Option<Deadline<'a>> {
    let TopicEntry::Event(event) = record.entry else {
        return None;
    };
    Some(Deadline {
        record: event.record,
        user: "ada",
        channel: event.channel,
        placement: event.placement,
        accepted_at_us: event.accepted_at_us,
        due_us: DUE_US,
    })
}

fn with_deadlines(batch: &[TopicRecord<'_>]) -> Place {
    let place = Place::new();
    let consumed = Consumed {
        group: "realtime",
        ..at(0, batch.len() as i64)
    };
    let claim = place
        .store
        .claim("realtime", consumed.topic, consumed.partition, 0);
    place.run(claim).expect("claimed");
    let kept = place.store.keep_deadlines(&consumed, batch, noted, NOW_US);
    assert!(matches!(place.run(kept).expect("kept"), Applied::Stored(_)));
    let again = place.store.keep_deadlines(&consumed, batch, noted, NOW_US);
    let again = place.run(again).expect("answered");
    let next = batch.len() as i64;
    assert_eq!(again, Applied::Elsewhere { next });
    place
}

fn acknowledge(place: &Place, position: Position) {
    let update = CursorUpdate {
        user: "ada".into(),
        device: "phone".into(),
        channel: CHANNEL.into(),
        cursor: Cursor {
            position,
            record: RecordId(0),
        },
    };
    let updates = [update];
    let moved = place.store.advance_cursors(&updates, NOW_US);
    place.run(moved).expect("moved");
}

fn escalated(place: &Place) -> Vec<u128> {
    let (_, escalations) = place.run(place.store.take_due(DUE_US)).expect("taken");
    let ids = escalations.iter().map(|escalation| escalation.record.0);
    ids.collect()
}

#[test]
fn an_event_that_no_device_reached_in_time_is_escalated_once() {
    let a = source("a");
    let mut sequencer = crate::backplane::Sequencer::new(1);
    let places: Vec<_> = (1..=2).map(|id| sequencer.place(RecordId(id))).collect();
    let frames: Vec<_> = (1..=2).map(|id| frame(id, Placement::default())).collect();
    let batch = [
        fed(&a, 1, event(1, Some(places[0]), &frames[0])),
        fed(&a, 2, event(2, Some(places[1]), &frames[1])),
    ];
    let place = with_deadlines(&batch);
    assert_eq!(
        place.run(place.store.next_due()).expect("known"),
        Some(DUE_US)
    );
    let early = place.run(place.store.take_due(DUE_US - 1)).expect("taken");
    assert_eq!(early, (0, Vec::new()));
    acknowledge(&place, places[0].position);
    assert_eq!(escalated(&place), [2], "the first was acknowledged");
    assert_eq!(escalated(&place), [] as [u128; 0]);
    assert_eq!(place.ask("SELECT count(*) FROM escalation"), 1);
    assert_eq!(place.run(place.store.next_due()).expect("known"), None);
}

#[test]
fn an_event_is_acknowledged_at_its_newest_place() {
    let a = source("a");
    let mut sequencer = crate::backplane::Sequencer::new(1);
    let lost = sequencer.place(RecordId(1));
    let mut after = crate::backplane::Sequencer::new(2);
    let other = after.place(RecordId(9));
    let again = after.place(RecordId(1));
    let one = frame(1, Placement::default());
    let batch = [
        fed(&a, 1, event(1, Some(lost), &one)),
        positioned(&a, 1, again),
    ];
    let place = with_deadlines(&batch);
    // A cursor of the later epoch, which has not come to the event yet.
    acknowledge(&place, other.position);
    assert_eq!(escalated(&place), [1]);
    let place = with_deadlines(&batch);
    acknowledge(&place, again.position);
    assert_eq!(escalated(&place), [] as [u128; 0]);
}

#[test]
fn an_event_without_a_position_was_delivered_to_nobody() {
    let (a, one) = (source("a"), frame(1, Placement::default()));
    let place = with_deadlines(&[fed(&a, 1, event(1, None, &one))]);
    acknowledge(
        &place,
        Position {
            epoch: 9,
            offset: 9,
            chain: 9,
        },
    );
    assert_eq!(escalated(&place), [1]);
}

#[test]
fn two_processes_share_what_is_due() {
    let a = source("a");
    let frames: Vec<_> = (1..=20).map(|id| frame(id, Placement::default())).collect();
    let batch: Vec<_> = (1..=20)
        .map(|id| fed(&a, id as u64, event(id, None, &frames[id as usize - 1])))
        .collect();
    let place = with_deadlines(&batch);
    let other = Store::new(&place.config).expect("a second process");
    let (one, other) =
        place.run(async { tokio::join!(place.store.take_due(DUE_US), other.take_due(DUE_US)) });
    let (one, other) = (one.expect("taken"), other.expect("taken"));
    assert_eq!(one.0 + other.0, 20);
    assert_eq!(one.1.len() + other.1.len(), 20);
    assert_eq!(place.ask("SELECT count(*) FROM escalation"), 20);
}
