//! The rules of [`Archive`].

use interlink_protocol::frame::event::read_position;
use interlink_protocol::ids::{InstanceId, Position, RecordId};
use interlink_protocol::priority::Priority;

use super::{forged, placed_event, record, COMPLETIONS_MAX};
use crate::archive::{Archive, ArchiveAnswer, ArchiveError, ArchiveRequest};
use crate::backplane::Sequencer;
use crate::cursors::{Cursor, CursorStart, CursorUpdate};
use crate::dedupe::Verdict;
use crate::event_log::LogPosition;
use crate::files::{Gap, HistoryFloor, HistoryPage};
use crate::record::{Kind, Placement, RecordRef, Sequence};

const CHANNEL: &str = "class.algebra";

/// Runs the suite. `make` gives an archive that holds exactly the records it is given,
/// accepted at the time in them.
pub fn archive<A: Archive>(mut make: impl FnMut(&[RecordRef<'_>]) -> A) {
    history_is_complete_or_says_why_not(&mut make);
    tops_of_many_channels_come_in_their_order(&mut make);
    a_record_is_located(&mut make);
    places_of_many_records_come_in_their_order(&mut make);
    accepted_ids_are_known(&mut make);
    delivery_cursors_move_forward(&mut make(&[]));
    consumer_offsets_move_forward(&mut make(&[]));
}

fn call<A: Archive>(archive: &mut A, request: ArchiveRequest<'_>) -> ArchiveAnswer {
    outcome(archive, request).expect("answered")
}

fn outcome<A: Archive>(
    archive: &mut A,
    request: ArchiveRequest<'_>,
) -> Result<ArchiveAnswer, ArchiveError> {
    let ticket = archive
        .submit(request, 1_000_000)
        .expect("room for a request");
    for _ in 0..COMPLETIONS_MAX {
        match archive.complete() {
            Some((found, answer)) if found == ticket => return answer,
            _ => std::thread::yield_now(),
        }
    }
    panic!("no answer came");
}

fn history<A: Archive>(archive: &mut A, after: Position, limit: usize) -> HistoryPage {
    let channel = CHANNEL;
    let request = ArchiveRequest::History {
        channel,
        after,
        limit,
        floor: HistoryFloor::default(),
    };
    match call(archive, request) {
        ArchiveAnswer::History(page) => page,
        other => panic!("not an answer about history: {other:?}"),
    }
}

fn history_is_complete_or_says_why_not<A: Archive>(make: &mut impl FnMut(&[RecordRef<'_>]) -> A) {
    let mut sequencer = Sequencer::new(7);
    let placements: Vec<_> = (1..=20u128)
        .map(|id| sequencer.place(RecordId(id)))
        .collect();
    let frames: Vec<_> = (1u64..)
        .zip(&placements)
        .map(|(id, placement)| placed_event(CHANNEL, id, *placement))
        .collect();
    let records: Vec<_> = (1u64..)
        .zip(placements.iter().zip(&frames))
        .map(|(id, (placement, frame))| record(Priority::P1, CHANNEL, id, Some(*placement), frame))
        .collect();
    let mut archive = make(&records);
    let page = history(&mut archive, placements[4].position, 3);
    let offsets: Vec<_> = page
        .events
        .iter()
        .map(|one| one.placement.position.offset)
        .collect();
    assert_eq!((offsets, page.gap, page.more), (vec![6, 7, 8], None, true));
    assert_eq!(page.last, placements[7].position);
    let read = read_position(&page.events[0].frame).expect("an event");
    assert_eq!(read.0, placements[5].position);
    let top = placements[19].position;
    assert_eq!(history(&mut archive, top, 3).gap, None);
    assert_eq!(history(&mut archive, Position::ZERO, 100).events.len(), 20);
    for wrong in [forged(placements[4].position), forged(top)] {
        let page = history(&mut archive, wrong, 10);
        assert_eq!(
            (page.events.len(), page.gap),
            (0, Some(Gap::Unknown)),
            "{wrong:?}"
        );
    }
    let request = ArchiveRequest::History {
        channel: CHANNEL,
        after: top.after(RecordId(99)),
        limit: 10,
        floor: HistoryFloor::default(),
    };
    match outcome(&mut archive, request) {
        Ok(ArchiveAnswer::History(page)) => assert_eq!(page.gap, Some(Gap::Unknown)),
        // Where others write what is archived, it may come yet.
        other => assert!(matches!(other, Err(ArchiveError::Behind)), "{other:?}"),
    }
    history_ends_at_a_floor(&mut archive, &placements);
    let answer = call(&mut archive, ArchiveRequest::Top { channel: CHANNEL });
    assert_eq!(answer, ArchiveAnswer::Top(Some(top)));
    let answer = call(
        &mut archive,
        ArchiveRequest::Top {
            channel: "class.none",
        },
    );
    assert_eq!(answer, ArchiveAnswer::Top(None));
}

fn history_ends_at_a_floor<A: Archive>(archive: &mut A, placements: &[Placement]) {
    let mut ask = |after, floor| {
        let (channel, limit) = (CHANNEL, 100);
        let request = ArchiveRequest::History {
            channel,
            after,
            limit,
            floor,
        };
        match call(archive, request) {
            ArchiveAnswer::History(page) => page,
            other => panic!("not an answer about history: {other:?}"),
        }
    };
    let newest = HistoryFloor {
        events: 5,
        accepted_us: 0,
    };
    assert_eq!(ask(Position::ZERO, newest).events.len(), 5);
    let gap = ask(placements[4].position, newest).gap;
    assert_eq!(gap, Some(Gap::Retention), "older than the floor");
    assert_eq!(ask(placements[14].position, newest).events.len(), 5);
    let young = HistoryFloor {
        events: 0,
        accepted_us: 11,
    };
    assert_eq!(ask(Position::ZERO, young).events.len(), 10);
}

fn tops_of_many_channels_come_in_their_order<A: Archive>(
    make: &mut impl FnMut(&[RecordRef<'_>]) -> A,
) {
    const OTHER: &str = "class.biology";
    let (mut one, mut other) = (Sequencer::new(7), Sequencer::new(8));
    let places = [
        (CHANNEL, one.place(RecordId(1))),
        (OTHER, other.place(RecordId(2))),
        (CHANNEL, one.place(RecordId(3))),
    ];
    let frames: Vec<_> = (1u64..)
        .zip(&places)
        .map(|(id, (channel, place))| placed_event(channel, id, *place))
        .collect();
    let records: Vec<_> = (1u64..)
        .zip(places.iter().zip(&frames))
        .map(|(id, ((channel, place), frame))| {
            record(Priority::P1, channel, id, Some(*place), frame)
        })
        .collect();
    let mut archive = make(&records);
    let channels = [OTHER, "class.none", CHANNEL].map(Box::from);
    let channels = &channels;
    let answer = call(&mut archive, ArchiveRequest::Tops { channels });
    let (other, one) = (other.top(), one.top());
    assert_eq!(
        answer,
        ArchiveAnswer::Tops(vec![Some(other), None, Some(one)])
    );
}

fn a_record_is_located<A: Archive>(make: &mut impl FnMut(&[RecordRef<'_>]) -> A) {
    let placement = Sequencer::new(7).place(RecordId(3));
    let frame = placed_event(CHANNEL, 3, placement);
    let mut archive = make(&[record(Priority::P1, CHANNEL, 3, Some(placement), &frame)]);
    let mut locate = |channel, id| {
        let record = RecordId(id);
        call(&mut archive, ArchiveRequest::Locate { channel, record })
    };
    let found = Some(placement.position);
    assert_eq!(locate(CHANNEL, 3), ArchiveAnswer::Located(found));
    assert_eq!(locate(CHANNEL, 4), ArchiveAnswer::Located(None));
    assert_eq!(locate("class.none", 3), ArchiveAnswer::Located(None));
}

fn places_of_many_records_come_in_their_order<A: Archive>(
    make: &mut impl FnMut(&[RecordRef<'_>]) -> A,
) {
    let mut sequencer = Sequencer::new(7);
    let (one, two) = (sequencer.place(RecordId(3)), sequencer.place(RecordId(5)));
    let frames = [placed_event(CHANNEL, 3, one), placed_event(CHANNEL, 5, two)];
    let mut archive = make(&[
        record(Priority::P1, CHANNEL, 3, Some(one), &frames[0]),
        record(Priority::P1, CHANNEL, 5, Some(two), &frames[1]),
    ]);
    let records = [5, 4, 3].map(|id| (CHANNEL, RecordId(id)));
    let records = &records;
    let answer = call(&mut archive, ArchiveRequest::Places { records });
    assert_eq!(
        answer,
        ArchiveAnswer::Places(vec![Some(two), None, Some(one)])
    );
}

fn accepted_ids_are_known<A: Archive>(make: &mut impl FnMut(&[RecordRef<'_>]) -> A) {
    let frame = placed_event(CHANNEL, 9, Default::default());
    let accepted = record(Priority::P1, CHANNEL, 9, None, &frame);
    let mut archive = make(&[accepted]);
    // The record of another instance or id is another one.
    let mut judge = |record, instance, client_message_id, payload_hash| {
        let request = ArchiveRequest::Accepted {
            record: RecordId(record),
            instance,
            class: Priority::P1,
            client_message_id,
            payload_hash,
            since_us: 1,
        };
        call(&mut archive, request)
    };
    let (known, hash) = (accepted.instance, accepted.payload_hash);
    let verdict = ArchiveAnswer::Accepted;
    assert_eq!(judge(9, known, 9, hash), verdict(Verdict::Repeat));
    assert_eq!(judge(9, known, 9, hash + 1), verdict(Verdict::Conflict));
    assert_eq!(judge(8, known, 8, hash), verdict(Verdict::New));
    assert_eq!(judge(7, InstanceId(1), 9, hash), verdict(Verdict::New));
}

fn cursor(epoch: u64, offset: u64) -> Cursor {
    let position = Position {
        epoch,
        offset,
        chain: offset,
    };
    Cursor {
        position,
        record: RecordId(u128::from(offset)),
    }
}

fn delivery_cursors_move_forward<A: Archive>(archive: &mut A) {
    let mut advance = |device: &str, cursor| {
        let update = CursorUpdate {
            user: "ada".into(),
            device: device.into(),
            channel: "user.ada".into(),
            cursor,
        };
        let answer = call(archive, ArchiveRequest::AdvanceCursors(&[update]));
        assert_eq!(answer, ArchiveAnswer::CursorsAdvanced);
        let (user, channel) = ("ada", "user.ada");
        match call(
            archive,
            ArchiveRequest::Cursor {
                user,
                device,
                channel,
            },
        ) {
            ArchiveAnswer::Cursor(start) => {
                assert!(start.is_some_and(|start| start.own));
                start.map(|start| start.cursor)
            }
            other => panic!("not an answer about a cursor: {other:?}"),
        }
    };
    assert_eq!(advance("phone", cursor(1, 5)), Some(cursor(1, 5)));
    assert_eq!(
        advance("phone", cursor(1, 4)),
        Some(cursor(1, 5)),
        "forward only"
    );
    assert_eq!(
        advance("phone", cursor(2, 1)),
        Some(cursor(2, 1)),
        "a later epoch"
    );
    assert_eq!(
        advance("phone", cursor(1, 9)),
        Some(cursor(2, 1)),
        "an earlier epoch"
    );
    assert_eq!(advance("tablet", cursor(2, 7)), Some(cursor(2, 7)));
    let request = ArchiveRequest::Cursor {
        user: "ada",
        device: "new",
        channel: "user.ada",
    };
    let answer = call(archive, request);
    assert_eq!(
        answer,
        ArchiveAnswer::Cursor(Some(CursorStart {
            cursor: cursor(2, 7),
            own: false,
        })),
        "the furthest of the user"
    );
    let request = ArchiveRequest::Cursor {
        user: "bob",
        device: "phone",
        channel: "user.bob",
    };
    assert_eq!(call(archive, request), ArchiveAnswer::Cursor(None));
}

fn consumer_offsets_move_forward<A: Archive>(archive: &mut A) {
    let position = |boot, sequence| LogPosition {
        boot,
        shard: 2,
        kind: Kind::Urgent,
        sequence: Sequence(sequence),
    };
    for (commit, expected) in [
        (position(1, 5), position(1, 5)),
        (position(1, 4), position(1, 5)),
        (position(2, 1), position(2, 1)),
    ] {
        let group = "analytics";
        let answer = call(
            archive,
            ArchiveRequest::CommitOffset {
                group,
                through: commit,
            },
        );
        assert_eq!(answer, ArchiveAnswer::OffsetCommitted);
        let (shard, kind) = (2, Kind::Urgent);
        let answer = call(archive, ArchiveRequest::Offset { group, shard, kind });
        assert_eq!(answer, ArchiveAnswer::Offset(Some(expected)));
    }
    let (group, shard, kind) = ("other", 2, Kind::Urgent);
    let answer = call(archive, ArchiveRequest::Offset { group, shard, kind });
    assert_eq!(answer, ArchiveAnswer::Offset(None));
}
