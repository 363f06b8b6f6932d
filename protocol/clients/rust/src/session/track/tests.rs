//! Behaviour of the per-channel order.

use super::*;

fn at(epoch: u64, offset: u64) -> Position {
    Position {
        epoch,
        offset,
        chain: epoch * 1_000 + offset,
    }
}

/// The chain value that stands before `at(epoch, offset)`.
fn before(epoch: u64, offset: u64) -> u64 {
    at(epoch, offset - 1).chain
}

fn record(number: u128) -> RecordId {
    RecordId(number)
}

fn pinned(epoch: u64, offset: u64) -> Track {
    let mut track = Track::default();
    track.pin(Some(at(epoch, offset)));
    track
}

#[test]
fn consecutive_events_are_delivered_and_repeats_suppressed() {
    let mut track = pinned(7, 3);
    let first = track.on_event(at(7, 4), before(7, 4), record(4));
    assert_eq!(first, Verdict::Deliver);
    let repeated = track.on_event(at(7, 4), before(7, 4), record(4));
    assert_eq!(repeated, Verdict::Repeat);
    let older = track.on_event(at(7, 2), before(7, 2), record(2));
    assert_eq!(older, Verdict::Repeat);
    assert_eq!(track.position(), Some(at(7, 4)));
}

#[test]
fn a_jump_in_offsets_is_a_gap_with_its_size() {
    let mut track = pinned(7, 3);
    let verdict = track.on_event(at(7, 9), before(7, 9), record(9));
    let expected = Verdict::DeliverAfterGap {
        skipped: 5,
        reason: GapReason::Unannounced,
    };
    assert_eq!(verdict, expected);
}

#[test]
fn a_broken_chain_at_the_next_offset_is_a_gap_of_unknown_size() {
    let mut track = pinned(7, 3);
    let verdict = track.on_event(at(7, 4), 1, record(4));
    let expected = Verdict::DeliverAfterGap {
        skipped: 0,
        reason: GapReason::Lineage,
    };
    assert_eq!(verdict, expected);
}

#[test]
fn an_announced_skip_is_no_gap_afterwards() {
    let mut track = pinned(7, 3);
    assert!(track.on_position(at(7, 8)));
    assert!(!track.on_position(at(7, 8)));
    let verdict = track.on_event(at(7, 9), before(7, 9), record(9));
    assert_eq!(verdict, Verdict::Deliver);
}

#[test]
fn a_new_epoch_that_continues_the_chain_is_told_and_misses_nothing() {
    let mut track = pinned(7, 3);
    let verdict = track.on_event(at(8, 4), before(7, 4), record(40));
    assert_eq!(verdict, RENUMBERED);
    assert_eq!(track.position(), Some(at(8, 4)));
    let mut empty = Track::default();
    empty.pin(Some(Position::ZERO));
    let first = empty.on_event(at(8, 1), 0, record(1));
    assert_eq!(first, Verdict::Deliver, "the beginning has no epoch");
}

#[test]
fn records_delivered_in_the_old_epoch_are_suppressed_in_the_new_one() {
    let mut track = pinned(7, 0);
    for offset in 1..=5 {
        track.on_event(at(7, offset), before(7, offset), record(offset.into()));
    }
    // The order was re-established after event 3: 4 and 5 come again under a new epoch.
    assert!(track.on_position(at(8, 3)));
    for offset in 4..=5u64 {
        let chain = if offset == 4 {
            at(8, 3).chain
        } else {
            before(8, offset)
        };
        let verdict = track.on_event(at(8, offset), chain, record(offset.into()));
        assert_eq!(verdict, Verdict::Repeat);
    }
    let fresh = track.on_event(at(8, 6), before(8, 6), record(6));
    assert_eq!(fresh, RENUMBERED, "offsets 4 and 5 were not handed out");
    let next = track.on_event(at(8, 7), before(8, 7), record(7));
    assert_eq!(next, Verdict::Deliver);
}

#[test]
fn what_repeats_have_moved_is_told_after_a_reconnection_too() {
    let mut track = pinned(7, 0);
    track.on_event(at(7, 1), before(7, 1), record(1));
    assert!(track.on_position(at(8, 1)));
    let repeat = track.on_event(at(8, 2), before(8, 2), record(1));
    assert_eq!(repeat, Verdict::Repeat);
    track.pin(track.position());
    let next = track.on_event(at(8, 3), before(8, 3), record(2));
    assert_eq!(next, RENUMBERED, "offset 2 was not handed out");
}

#[test]
fn an_unannounced_epoch_is_reported_as_lineage() {
    let mut track = pinned(7, 3);
    let verdict = track.on_event(at(9, 2), 5, record(77));
    let expected = Verdict::DeliverAfterGap {
        skipped: 0,
        reason: GapReason::Lineage,
    };
    assert_eq!(verdict, expected);
}

#[test]
fn a_pin_without_a_position_still_suppresses_what_was_delivered() {
    let mut track = pinned(7, 3);
    track.on_event(at(7, 4), before(7, 4), record(4));
    track.pin(None);
    assert_eq!(
        track.on_event(at(9, 1), 0, record(4)),
        Verdict::Repeat,
        "record 4 was delivered before"
    );
    let fresh = track.on_event(at(9, 2), before(9, 2), record(5));
    assert_eq!(fresh, Verdict::Deliver);
}

#[test]
fn the_window_forgets_the_oldest_record() {
    let mut window = RecordWindow::default();
    for number in 0..=limits::RECORDS_REMEMBERED as u128 {
        window.insert(record(number));
    }
    assert!(!window.contains(record(0)));
    assert!(window.contains(record(1)));
    assert_eq!(window.order.len(), limits::RECORDS_REMEMBERED);
    assert_eq!(window.members.len(), limits::RECORDS_REMEMBERED);
}
