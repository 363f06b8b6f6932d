//! The rules of [`Floor`]: where a channel goes on of which a backplane knows nothing.

use interlink_protocol::ids::{Position, RecordId};
use interlink_protocol::priority::Priority;

use super::backplane::{drive, Driver, A, B, SECOND_US};
use crate::backplane::{
    partition_of, Backplane, BackplaneAnswer, BackplaneRequest, Floor, Publish,
};

const FLOOR: Position = Position {
    epoch: 1,
    offset: 41,
    chain: 0x5eed,
};

/// Runs these rules.
pub(super) fn floors<P: Backplane>(make: &mut impl FnMut() -> P, partitions: u16) {
    a_new_channel_goes_on_after_its_floor(&mut make());
    who_can_ask_is_asked_or_gets_the_place(&mut make(), partitions);
    what_was_asked_once_is_not_asked_again(&mut make());
    what_an_archive_knows_is_taken_until_there_is_an_event(&mut make(), partitions);
    a_node_that_knows_more_than_the_archive_counts(&mut make(), partitions);
}

fn record(channel: &str, id: u64, floor: Floor) -> Publish<'_> {
    Publish {
        channel,
        class: Priority::P1,
        record: RecordId(u128::from(id)),
        accepted_at_us: SECOND_US,
        floor,
        frame: &[],
    }
}

fn publish<P: Backplane>(driver: &mut Driver<'_, P>, records: &[Publish<'_>]) -> BackplaneAnswer {
    driver.call(BackplaneRequest::Publish(records), SECOND_US)
}

fn is_published(answer: &BackplaneAnswer) -> bool {
    matches!(answer, BackplaneAnswer::Published(_))
}

fn a_new_channel_goes_on_after_its_floor<P: Backplane>(backplane: &mut P) {
    let mut driver = drive(backplane);
    let floor = Floor::At(FLOOR);
    publish(&mut driver, &[record(A, 1, floor), record(A, 2, floor)]);
    let top = driver.top(A);
    let expected = FLOOR.after(RecordId(1)).after(RecordId(2));
    assert_eq!((top.offset, top.chain), (expected.offset, expected.chain));
    let higher = Floor::At(Position {
        offset: 99,
        ..FLOOR
    });
    publish(&mut driver, &[record(A, 3, higher)]);
    assert_eq!(driver.top(A).offset, 44, "what is known needs no floor");
}

fn who_can_ask_is_asked_or_gets_the_place<P: Backplane>(backplane: &mut P, partitions: u16) {
    let mut driver = drive(backplane);
    let asked = publish(&mut driver, &[record(A, 1, Floor::Unasked)]);
    let begin = match asked {
        BackplaneAnswer::TopsWanted(channels) => {
            assert_eq!(channels, [Box::from(A)]);
            assert_eq!(driver.top(A).offset, 0, "nothing was placed");
            let known = driver.known(partition_of(A, partitions), &[1]);
            assert_eq!(known, [None], "nor remembered");
            let again = publish(&mut driver, &[record(A, 1, Floor::At(FLOOR))]);
            assert!(is_published(&again), "{again:?}");
            FLOOR
        }
        // It knows that it has lost nothing.
        answer => {
            assert!(is_published(&answer), "{answer:?}");
            Position::ZERO
        }
    };
    let (top, expected) = (driver.top(A), begin.after(RecordId(1)));
    assert_eq!((top.offset, top.chain), (expected.offset, expected.chain));
}

fn what_was_asked_once_is_not_asked_again<P: Backplane>(backplane: &mut P) {
    let mut driver = drive(backplane);
    let first = publish(&mut driver, &[record(A, 1, Floor::NONE)]);
    assert!(
        is_published(&first),
        "who cannot ask is not asked: {first:?}"
    );
    assert_eq!(driver.top(A).offset, 1, "nobody knows more");
    let next = publish(&mut driver, &[record(A, 2, Floor::Unasked)]);
    assert!(is_published(&next), "{next:?}");
    // One answer counts for all records of a channel in a call.
    let records = [record(B, 3, Floor::Unasked), record(B, 4, Floor::NONE)];
    let both = publish(&mut driver, &records);
    assert!(is_published(&both), "{both:?}");
    assert_eq!((driver.top(A).offset, driver.top(B).offset), (2, 2));
}

/// Gives a top of [`A`]; says whether its partition lacks other channels.
fn seed<P: Backplane>(
    driver: &mut Driver<'_, P>,
    partitions: u16,
    offset: u64,
    is_all: bool,
) -> bool {
    let tops = [(Box::from(A), Position { offset, ..FLOOR })];
    let request = BackplaneRequest::Seed {
        partition: partition_of(A, partitions),
        tops: &tops,
        is_all,
    };
    match driver.call(request, SECOND_US) {
        BackplaneAnswer::Seeded { lacks } => lacks,
        other => panic!("not an answer to seeds: {other:?}"),
    }
}

fn what_an_archive_knows_is_taken_until_there_is_an_event<P: Backplane>(
    backplane: &mut P,
    partitions: u16,
) {
    let mut driver = drive(backplane);
    seed(&mut driver, partitions, 12, false);
    assert_eq!(driver.top(A).offset, 12);
    seed(&mut driver, partitions, FLOOR.offset, false);
    let lacks = seed(&mut driver, partitions, 7, true);
    assert!(!lacks, "everything was given");
    let placed = publish(&mut driver, &[record(A, 1, Floor::Unasked)]);
    assert!(is_published(&placed), "{placed:?}");
    let (top, expected) = (driver.top(A), FLOOR.after(RecordId(1)));
    assert_eq!((top.offset, top.chain), (expected.offset, expected.chain));
    seed(&mut driver, partitions, 99, false);
    assert_eq!(driver.top(A).offset, 42, "it has events");
}

fn a_node_that_knows_more_than_the_archive_counts<P: Backplane>(
    backplane: &mut P,
    partitions: u16,
) {
    let mut driver = drive(backplane);
    seed(&mut driver, partitions, 12, false);
    let floor = Floor::At(FLOOR);
    publish(&mut driver, &[record(A, 1, floor), record(A, 2, floor)]);
    let (top, expected) = (driver.top(A), FLOOR.after(RecordId(1)).after(RecordId(2)));
    assert_eq!((top.offset, top.chain), (expected.offset, expected.chain));
}
