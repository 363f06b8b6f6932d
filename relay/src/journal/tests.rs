//! The journal against a disk in memory whose completions the test hands out itself.

use interlink_protocol::ids::{InstanceId, Position, RecordId};
use interlink_protocol::priority::Priority;
use proptest::prelude::*;

use super::*;
use crate::record::{Placement, StreamId};

const EIO: i32 = -5;

/// Segments in memory.
#[derive(Default)]
struct Disk {
    segments: std::collections::BTreeMap<SegmentId, Vec<u8>>,
    retired: Vec<SealedSegment>,
    synced: Vec<SegmentId>,
}

fn config() -> JournalConfig {
    let mut config = JournalConfig::new(7, 3, 1);
    config.segment_bytes = 64 * 1024;
    config.frame_bytes_max = 8 * 1024;
    for policy in &mut config.policies {
        policy.bytes = 4 * 1024;
    }
    config
}

fn record(class: Priority, id: u64, frame: &[u8]) -> RecordRef<'_> {
    RecordRef {
        class,
        record: RecordId(u128::from(id)),
        instance: InstanceId(9),
        client_message_id: id,
        payload_hash: id ^ 0xff,
        accepted_at_us: 1_000 + id,
        channel: "class.algebra",
        placement: Some(Placement {
            position: Position {
                epoch: 1,
                offset: id,
                chain: id * 3,
            },
            previous_chain: id * 3 - 3,
        }),
        frame,
    }
}

/// Carries out every action with success, except that `fail` decides about writes and
/// syncs, until the journal wants nothing more.
fn drive(
    journal: &mut Journal,
    disk: &mut Disk,
    now_us: u64,
    mut fail: impl FnMut(&Action) -> bool,
) {
    while let Some(action) = journal.next_action(now_us) {
        let failing = fail(&action);
        match action {
            Action::Write {
                segment,
                offset,
                buffer,
                token,
            } => {
                let file = disk.segments.get_mut(&segment).expect("a prepared segment");
                let offset = offset as usize;
                let length = buffer.len() as i32;
                if !failing {
                    file[offset..offset + buffer.len()].copy_from_slice(&buffer);
                }
                journal.on_written(token, if failing { EIO } else { length }, buffer);
            }
            Action::Sync { segment, token } => {
                disk.synced.push(segment);
                journal.on_synced(token, if failing { EIO } else { 0 });
            }
            Action::Prepare(segment) => {
                disk.segments.insert(segment, vec![0; 64 * 1024]);
                journal.on_prepared(segment);
            }
            Action::Retire(sealed) => disk.retired.push(sealed),
        }
    }
}

/// The next write or sync; preparations are answered on the way.
fn next_io(journal: &mut Journal, now_us: u64) -> Option<Action> {
    loop {
        match journal.next_action(now_us)? {
            Action::Prepare(segment) => journal.on_prepared(segment),
            action => return Some(action),
        }
    }
}

fn ready() -> (Journal, Disk) {
    let mut journal = Journal::new(&config()).expect("a valid configuration");
    let mut disk = Disk::default();
    drive(&mut journal, &mut disk, 0, |_| false);
    assert!(journal.is_ready());
    (journal, disk)
}

/// Client message ids of the records of `kind` in file order, repeats dropped by sequence.
fn ids(disk: &Disk, kind: Kind) -> Vec<u64> {
    let mut next = Sequence(1);
    let mut ids = Vec::new();
    for (segment, bytes) in disk
        .segments
        .iter()
        .filter(|(segment, _)| segment.kind == kind)
    {
        let stream = StreamId {
            boot: 7,
            shard: 3,
            kind,
        };
        for block in SegmentReader::new(stream, segment.number, bytes).blocks(0) {
            for entry in block
                .entries()
                .filter(|entry| entry.sequence >= next)
                .collect::<Vec<_>>()
            {
                assert_eq!(entry.sequence, next, "no hole");
                next = next.next();
                if let EntryBody::Record(record) = entry.body {
                    ids.push(record.client_message_id);
                }
            }
        }
    }
    ids
}

#[test]
fn a_record_is_read_back_as_it_was_appended() {
    let (mut journal, mut disk) = ready();
    let frame = [5u8; 200];
    let placed = record(Priority::P1, 1, &frame);
    let bare = RecordRef {
        placement: None,
        channel: "chat.a~b",
        ..record(Priority::P0, 2, b"x")
    };
    let mark = Mark {
        record: RecordId(2),
        channel_hash: 44,
        position: Position {
            epoch: 2,
            offset: 3,
            chain: 4,
        },
        previous_chain: 5,
    };
    assert_eq!(journal.append(&placed, 10), Ok(Sequence(1)));
    assert_eq!(journal.append(&bare, 10), Ok(Sequence(2)));
    assert_eq!(journal.append_mark(&mark, 10), Ok(Sequence(3)));
    drive(&mut journal, &mut disk, 10, |_| false);
    assert_eq!(journal.durable_through(Kind::Urgent), Sequence(3));

    let segment = SegmentId {
        kind: Kind::Urgent,
        number: 1,
    };
    let stream = StreamId {
        boot: 7,
        shard: 3,
        kind: Kind::Urgent,
    };
    let bytes = &disk.segments[&segment];
    let reader = SegmentReader::new(stream, 1, bytes);
    let entries: Vec<_> = reader.blocks(0).flat_map(|block| block.entries()).collect();
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[0].body, EntryBody::Record(placed));
    assert_eq!(entries[1].body, EntryBody::Record(bare));
    assert_eq!(entries[2].body, EntryBody::Mark(mark));
    let other = StreamId { shard: 4, ..stream };
    assert_eq!(
        SegmentReader::new(other, 1, bytes).blocks(0).count(),
        0,
        "foreign blocks"
    );
    assert_eq!(
        SegmentReader::new(stream, 2, bytes).blocks(0).count(),
        0,
        "earlier life"
    );
}

#[test]
fn entries_are_pushed_after_the_write_and_acknowledged_after_the_sync() {
    let (mut journal, _) = ready();
    journal
        .append(&record(Priority::P1, 1, b"a"), 10)
        .expect("room");
    let Some(Action::Write { buffer, token, .. }) = next_io(&mut journal, 10) else {
        panic!("an urgent record is written at once");
    };
    assert_eq!(
        next_io(&mut journal, 10),
        None,
        "one write in flight, nothing to sync"
    );
    assert_eq!(journal.written_through(Kind::Urgent), Sequence::NONE);
    let length = buffer.len() as i32;
    journal.on_written(token, length, buffer);
    assert_eq!(journal.written_through(Kind::Urgent), Sequence(1));
    assert_eq!(journal.durable_through(Kind::Urgent), Sequence::NONE);
    let Some(Action::Sync { token, .. }) = next_io(&mut journal, 10) else {
        panic!("nothing else is being written, so the sync starts");
    };
    journal.on_synced(token, 0);
    assert_eq!(journal.durable_through(Kind::Urgent), Sequence(1));
    assert!(journal.is_idle());
    assert_eq!(journal.next_deadline_us(), None);
}

#[test]
fn background_records_wait_for_their_interval() {
    let (mut journal, mut disk) = ready();
    journal
        .append(&record(Priority::P3, 1, b"a"), 1_000)
        .expect("room");
    assert_eq!(next_io(&mut journal, 1_000), None);
    let deadline = journal.next_deadline_us().expect("a deadline");
    assert_eq!(deadline, 1_000 + crate::limits::BACKGROUND_COMMIT_US);
    drive(&mut journal, &mut disk, deadline, |_| false);
    assert_eq!(journal.durable_through(Kind::Background), Sequence(1));
    assert_eq!(ids(&disk, Kind::Background), [1]);
}

#[test]
fn a_sync_covers_only_what_was_written_before_it_started() {
    let (mut journal, _) = ready();
    journal
        .append(&record(Priority::P1, 1, b"a"), 10)
        .expect("room");
    let Some(Action::Write { buffer, token, .. }) = next_io(&mut journal, 10) else {
        panic!()
    };
    let length = buffer.len() as i32;
    journal.on_written(token, length, buffer);
    let Some(Action::Sync { token: sync, .. }) = next_io(&mut journal, 10) else {
        panic!()
    };
    journal
        .append(&record(Priority::P1, 2, b"b"), 20)
        .expect("room");
    let Some(Action::Write { buffer, token, .. }) = next_io(&mut journal, 20) else {
        panic!()
    };
    let length = buffer.len() as i32;
    journal.on_written(token, length, buffer);
    journal.on_synced(sync, 0);
    assert_eq!(journal.written_through(Kind::Urgent), Sequence(2));
    assert_eq!(journal.durable_through(Kind::Urgent), Sequence(1));
}

#[test]
fn full_segments_are_left_synced_and_retired_in_order() {
    let (mut journal, mut disk) = ready();
    let frame = [1u8; 3_000];
    for id in 1..=100 {
        journal
            .append(&record(Priority::P1, id, &frame), id)
            .expect("room");
        drive(&mut journal, &mut disk, id, |_| false);
    }
    assert_eq!(ids(&disk, Kind::Urgent), (1..=100).collect::<Vec<_>>());
    let numbers: Vec<_> = disk
        .retired
        .iter()
        .map(|sealed| sealed.segment.number)
        .collect();
    assert!(numbers.len() >= 4, "300 KB fill four segments of 64 KiB");
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    assert!(disk.retired.iter().all(|sealed| !sealed.poisoned));
}

#[test]
fn a_failed_sync_poisons_the_segment_and_keeps_sequences() {
    let (mut journal, mut disk) = ready();
    journal
        .append(&record(Priority::P1, 1, b"a"), 10)
        .expect("room");
    drive(&mut journal, &mut disk, 10, |_| false);
    let later = 10 + crate::limits::URGENT_SYNC_INTERVAL_US;
    journal
        .append(&record(Priority::P1, 2, b"b"), later)
        .expect("room");
    let mut failed = false;
    drive(&mut journal, &mut disk, later, |action| {
        let fails = matches!(action, Action::Sync { .. }) && !failed;
        failed |= fails;
        fails
    });
    assert_eq!(
        journal.durable_through(Kind::Urgent),
        Sequence(1),
        "waits for the retry time"
    );
    let retry = journal.next_deadline_us().expect("a retry");
    drive(&mut journal, &mut disk, retry, |_| false);
    assert_eq!(journal.durable_through(Kind::Urgent), Sequence(2));
    assert_eq!(journal.counters().appended_again, 1);
    assert!(disk.retired[0].poisoned);
    assert_eq!(disk.synced.last().map(|segment| segment.number), Some(2));
    assert_eq!(ids(&disk, Kind::Urgent), [1, 2]);
}

#[test]
fn background_is_refused_first_and_critical_records_have_their_own_room() {
    let (mut journal, _) = ready();
    let quota = crate::limits::QUOTA_BYTES_DEFAULT;
    let attempt = |journal: &mut Journal, percent: u64, class| {
        journal.set_used_bytes(quota / 100 * percent);
        journal.append(&record(class, 1, b"a"), 1).is_ok()
    };
    for (percent, accepted) in [(69, 4), (70, 3), (80, 2), (90, 1), (100, 1)] {
        let taken = Priority::ALL
            .into_iter()
            .filter(|class| attempt(&mut journal, percent, *class))
            .collect::<Vec<_>>();
        assert_eq!(taken, &Priority::ALL[..accepted], "at {percent} %");
    }
    assert_eq!(journal.counters().refused, [0, 2, 3, 4]);
}

#[test]
fn the_last_prepared_segment_is_for_critical_records_only() {
    let (mut journal, _) = ready();
    let frame = [1u8; 4_000];
    let mut refused = None;
    for id in 1..=200 {
        if let Err(error) = journal.append(&record(Priority::P1, id, &frame), 1) {
            refused = Some(error);
            break;
        }
    }
    assert_eq!(
        refused,
        Some(AppendError::NoSegment {
            class: Priority::P1
        })
    );
    for id in 201..=210 {
        journal
            .append(&record(Priority::P0, id, &frame), 1)
            .expect("preallocated room");
    }
}

#[test]
fn a_stalled_disk_is_answered_with_refusals() {
    let mut config = config();
    config.pending_bytes_max = 20_000;
    let mut journal = Journal::new(&config).expect("a valid configuration");
    drive(&mut journal, &mut Disk::default(), 0, |_| false);
    let frame = [1u8; 4_000];
    let taken = (1..=10)
        .take_while(|id| {
            journal
                .append(&record(Priority::P1, *id, &frame), 1)
                .is_ok()
        })
        .count();
    assert_eq!(taken, 3, "three quarters of the bound");
    assert!(journal.append(&record(Priority::P0, 11, &frame), 1).is_ok());
}

#[test]
fn oversized_records_and_impossible_settings_are_refused() {
    let (mut journal, _) = ready();
    let frame = [0u8; 9_000];
    let error = journal.append(&record(Priority::P1, 1, &frame), 1);
    assert_eq!(
        error,
        Err(AppendError::TooLarge {
            bytes: 9_000,
            limit: 8 * 1024
        })
    );
    let mut small = config();
    small.segment_bytes = 8 * 1024;
    assert!(matches!(
        small.check(),
        Err(ConfigError::SegmentTooSmall { .. })
    ));
    assert_eq!(JournalConfig::new(1, 0, 1).check(), Ok(()));
}

proptest! {
    /// Whatever fails and whenever, the log holds every entry once, in order.
    #[test]
    fn no_failure_of_the_disk_loses_or_reorders_entries(
        steps in proptest::collection::vec((1usize..20, 0u8..8, any::<bool>()), 1..40),
    ) {
        let (mut journal, mut disk) = ready();
        let frame = [3u8; 700];
        let (mut id, mut now) = (0, 100_000);
        for (count, fault, background) in steps {
            now += 2_000_000;
            let class = if background { Priority::P3 } else { Priority::P1 };
            for _ in 0..count {
                // A run of failures may use up the prepared room; a refusal is an answer.
                if journal.append(&record(class, id + 1, &frame), now).is_ok() {
                    id += 1;
                }
            }
            let mut left = fault;
            drive(&mut journal, &mut disk, now, |action| {
                let io = matches!(action, Action::Write { .. } | Action::Sync { .. });
                left = left.saturating_sub(u8::from(io));
                io && left == 1
            });
        }
        for _ in 0..4 {
            now += 2_000_000;
            drive(&mut journal, &mut disk, now, |_| false);
        }
        prop_assert!(journal.is_idle());
        let mut all = ids(&disk, Kind::Urgent);
        prop_assert!(all.is_sorted());
        let background = ids(&disk, Kind::Background);
        prop_assert!(background.is_sorted());
        all.extend(background);
        all.sort_unstable();
        prop_assert_eq!(all, (1..=id).collect::<Vec<_>>());
    }
}
