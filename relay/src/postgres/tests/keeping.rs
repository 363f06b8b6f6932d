//! What batches leave in the archive.

use super::*;
use crate::backplane::Sequencer;
use crate::dedupe::Verdict;
use crate::files::HistoryFloor;
use crate::postgres::StoreError;

fn claimed() -> Place {
    let place = Place::new();
    let claim = place.store.claim("archival", "interlink.high", 3, 0);
    assert_eq!(place.run(claim).expect("claimed"), 0);
    place
}

#[test]
fn a_batch_counts_once_however_often_it_is_stored() {
    let place = claimed();
    let (a, mut sequencer) = (source("a"), Sequencer::new(1));
    let places: Vec<_> = (1..=3).map(|id| sequencer.place(RecordId(id))).collect();
    let frames: Vec<_> = (1..=3).map(|id| frame(id, Placement::default())).collect();
    let batch: Vec<_> = (0..3)
        .map(|n| {
            fed(
                &a,
                n as u64 + 1,
                event(n as u128 + 1, Some(places[n]), &frames[n]),
            )
        })
        .collect();
    assert_eq!(place.keep(0, &batch), stored(3, 0, 0));
    assert_eq!(place.keep(0, &batch), Applied::Elsewhere { next: 3 });
    // The log holds them once more, as after the restart of a feeder.
    assert_eq!(place.keep(3, &batch), stored(0, 3, 0));
    // And once more by another node, to which their publisher has sent them again.
    let b = source("b");
    let again: Vec<_> = (0..3)
        .map(|n| fed(&b, n as u64 + 9, event(n as u128 + 1, None, &frames[n])))
        .collect();
    assert_eq!(place.keep(6, &again), stored(0, 3, 0));
    assert_eq!(place.ask("SELECT count(*) FROM record_id"), 3);
    assert_eq!(place.ask("SELECT count(*) FROM history"), 3);
    assert_eq!(place.ask("SELECT count(*) FROM unplaced"), 0);
    assert_eq!(offsets(&place, Position::ZERO), [1, 2, 3]);
}

#[test]
fn two_consumers_of_a_partition_cannot_both_have_an_effect() {
    let place = claimed();
    let (a, frame) = (source("a"), frame(1, Placement::default()));
    let batch = [fed(&a, 1, event(1, None, &frame))];
    let other = Store::new(&place.config).expect("a second process");
    let consumed = at(0, 1);
    let (one, other) = place.run(async {
        tokio::join!(
            place.store.keep(&consumed, &batch, NOW_US),
            other.keep(&consumed, &batch, NOW_US)
        )
    });
    let outcomes = [one.expect("answered"), other.expect("answered")];
    assert!(outcomes.contains(&stored(1, 0, 0)), "{outcomes:?}");
    assert!(
        outcomes.contains(&Applied::Elsewhere { next: 1 }),
        "{outcomes:?}"
    );
}

#[test]
fn an_event_without_a_place_enters_history_when_its_place_comes() {
    let place = claimed();
    let (a, mut sequencer) = (source("a"), Sequencer::new(1));
    let (one, two) = (
        frame(1, Placement::default()),
        frame(2, Placement::default()),
    );
    let first = sequencer.place(RecordId(1));
    let second = sequencer.place(RecordId(2));
    let batch = [
        fed(&a, 1, event(1, None, &one)),
        fed(&a, 2, event(2, Some(second), &two)),
    ];
    assert_eq!(place.keep(0, &batch), stored(2, 0, 0));
    let floor = HistoryFloor::default();
    let zero = Position::ZERO;
    let page = place.run(
        place
            .store
            .history(CHANNEL, first.position, 9, floor, NOW_US),
    );
    assert_eq!(
        page.expect("history").events.len(),
        1,
        "the second follows the first"
    );
    assert_eq!(
        place
            .run(place.store.locate(CHANNEL, RecordId(1)))
            .expect("known"),
        None
    );
    assert_eq!(place.keep(2, &[positioned(&a, 1, first)]), stored(0, 0, 0));
    assert_eq!(offsets(&place, zero), [1, 2]);
    let located = place.run(place.store.locate(CHANNEL, RecordId(1)));
    assert_eq!(located.expect("known"), Some(first.position));
    assert_eq!(place.ask("SELECT count(*) FROM unplaced"), 0);
    // A place may come any number of times, and for what nobody knows.
    let batch = [positioned(&a, 1, first), positioned(&a, 77, first)];
    assert_eq!(place.keep(3, &batch), stored(0, 0, 1));
    assert_eq!(place.ask("SELECT count(*) FROM history"), 2);
}

#[test]
fn a_hole_is_lag_while_it_is_young_and_a_gap_when_it_is_old() {
    let place = claimed();
    let (a, mut sequencer) = (source("a"), Sequencer::new(1));
    let places: Vec<_> = (1..=4).map(|id| sequencer.place(RecordId(id))).collect();
    let frames: Vec<_> = (1..=4).map(|id| frame(id, Placement::default())).collect();
    let batch: Vec<_> = [0, 1, 3]
        .map(|n: usize| {
            fed(
                &a,
                n as u64 + 1,
                event(n as u128 + 1, Some(places[n]), &frames[n]),
            )
        })
        .into();
    assert_eq!(place.keep(0, &batch), stored(3, 0, 0));
    assert_eq!(
        offsets(&place, Position::ZERO),
        [1, 2],
        "nothing behind the hole"
    );
    let (floor, hole) = (HistoryFloor::default(), places[1].position);
    let page = place.run(place.store.history(CHANNEL, hole, 9, floor, NOW_US));
    assert!(matches!(page, Err(StoreError::Behind)), "{page:?}");
    let later = NOW_US + 3_600_000_000;
    let page = place.run(place.store.history(CHANNEL, hole, 9, floor, later));
    let gap = page.expect("an answer").gap;
    assert_eq!(gap, Some(crate::files::Gap::Retention));
    let b = source("b");
    let rest = [fed(&b, 1, event(3, Some(places[2]), &frames[2]))];
    assert_eq!(place.keep(3, &rest), stored(1, 0, 0));
    assert_eq!(offsets(&place, hole), [3, 4]);
}

#[test]
fn a_lost_numbering_leaves_history_and_its_records_stand_where_they_were_placed_again() {
    let place = claimed();
    let (a, mut before) = (source("a"), Sequencer::new(1));
    let kept = before.place(RecordId(1));
    let lost = before.place(RecordId(2));
    let frames: Vec<_> = (1..=3).map(|id| frame(id, Placement::default())).collect();
    let batch = [
        fed(&a, 1, event(1, Some(kept), &frames[0])),
        fed(&a, 2, event(2, Some(lost), &frames[1])),
    ];
    assert_eq!(place.keep(0, &batch), stored(2, 0, 0));
    let mut after = Sequencer::resume_in(2, kept.position);
    let other = after.place(RecordId(3));
    let again = after.place(RecordId(2));
    let batch = [
        fed(&a, 3, event(3, Some(other), &frames[2])),
        positioned(&a, 2, again),
    ];
    assert_eq!(place.keep(2, &batch), stored(1, 0, 0));
    assert_eq!(offsets(&place, kept.position), [2, 3]);
    let located = place.run(place.store.locate(CHANNEL, RecordId(2)));
    assert_eq!(located.expect("known"), Some(again.position));
    assert_eq!(
        place.run(place.store.top(CHANNEL)).expect("a top"),
        Some(again.position)
    );
}

#[test]
fn the_newest_positions_of_all_channels_come_in_pages_by_their_names() {
    let place = claimed();
    let a = source("a");
    let names = ["class.a", "class.B", "class.é", "class.a~b"];
    let frame = frame(1, Placement::default());
    let numbered = (1u128..).zip(names).map(|(id, channel)| {
        let placement = Sequencer::new(7).place(RecordId(id));
        ArchivedEvent {
            channel,
            ..event(id, Some(placement), &frame)
        }
    });
    let batch: Vec<_> = (1..)
        .zip(numbered)
        .map(|(n, one)| fed(&a, n, one))
        .collect();
    assert_eq!(place.keep(0, &batch), stored(4, 0, 0));
    let mut found = Vec::new();
    let mut after = Box::from("");
    loop {
        let page = place
            .run(place.store.tops_after(&after, 3))
            .expect("a page");
        assert!(page.len() <= 3);
        let Some((last, _)) = page.last() else { break };
        after = last.clone();
        found.extend(page);
    }
    let mut expected: Vec<_> = (1u128..)
        .zip(names)
        .map(|(id, name)| (name.into(), Sequencer::new(7).place(RecordId(id)).position))
        .collect();
    expected.sort_by(|(one, _): &(Box<str>, _), (other, _)| one.cmp(other));
    assert_eq!(found, expected);
}

#[test]
fn an_id_is_called_new_only_when_the_archive_is_complete() {
    let place = Place::new();
    let judge = |now_us, since_us| {
        let accepted = place.store.accepted(RecordId(1), 7, since_us, now_us);
        place.run(accepted)
    };
    let behind = |outcome| matches!(outcome, Err(StoreError::Behind));
    assert!(
        behind(judge(NOW_US, NOW_US)),
        "nobody has archived anything"
    );
    for part in [3, 4] {
        let claim = place.store.claim("archival", "interlink.high", part, 0);
        place.run(claim).expect("claimed");
    }
    assert!(place.run(place.store.pass(&at(0, 0))).expect("passed"));
    assert!(behind(judge(NOW_US, NOW_US)), "one of two partitions");
    let other = Consumed {
        partition: 4,
        ..at(0, 0)
    };
    assert!(place.run(place.store.pass(&other)).expect("passed"));
    assert_eq!(judge(NOW_US, NOW_US).expect("known"), Verdict::New);
    assert!(
        behind(judge(NOW_US + 241_000_000, NOW_US)),
        "five minutes ago"
    );
    let nine_days = 9 * 86_400_000_000;
    let old = judge(NOW_US, NOW_US - nine_days).expect("known");
    assert_eq!(old, Verdict::TooOld);
}

#[test]
fn values_that_the_database_refuses_are_told_from_its_absence() {
    let place = claimed();
    let (a, frame) = (source("a"), frame(1, Placement::default()));
    let broken = ArchivedEvent {
        channel: "class.\0",
        ..event(1, None, &frame)
    };
    let batch = [fed(&a, 1, broken)];
    let refused = place.run(place.store.keep(&at(0, 1), &batch, NOW_US));
    assert!(refused.expect_err("a zero byte").is_of_the_record());
    let next = place.store.next_offset("archival", "interlink.high", 3);
    assert_eq!(
        place.run(next).expect("known"),
        Some(0),
        "nothing was stored"
    );
}
