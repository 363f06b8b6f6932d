//! Cursors and their file.

use std::fs::OpenOptions;
use std::io::Write;

use super::*;
use crate::event_log::LogPosition;
use crate::limits::CURSORS_MAX;
use crate::record::{Kind, Sequence};

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

#[test]
fn cursors_move_forward_only() {
    let mut table = CursorTable::new(CURSORS_MAX);
    assert!(table.advance("ada", "phone", "user.ada", cursor(1, 5)));
    assert!(!table.advance("ada", "phone", "user.ada", cursor(1, 5)));
    assert!(!table.advance("ada", "phone", "user.ada", cursor(1, 4)));
    assert!(
        table.advance("ada", "phone", "user.ada", cursor(2, 4)),
        "a later epoch"
    );
    assert!(
        !table.advance("ada", "phone", "user.ada", cursor(1, 9)),
        "an earlier one"
    );
    assert_eq!(table.start("ada", "phone", "user.ada"), Some(cursor(2, 4)));
}

#[test]
fn a_new_device_starts_at_the_furthest_of_its_user() {
    let mut table = CursorTable::new(CURSORS_MAX);
    table.advance("ada", "phone", "user.ada", cursor(1, 5));
    table.advance("ada", "tablet", "user.ada", cursor(1, 9));
    assert_eq!(table.start("ada", "phone", "user.ada"), Some(cursor(1, 5)));
    assert_eq!(table.start("ada", "laptop", "user.ada"), Some(cursor(1, 9)));
    assert_eq!(table.start("bob", "phone", "user.bob"), None);
    assert_eq!(table.start("ada", "phone", "alert.ada"), None);
}

#[test]
fn a_device_that_began_keeps_its_place_when_others_go_on() {
    let mut table = CursorTable::new(CURSORS_MAX);
    assert_eq!(table.begin("ada", "phone", "user.ada"), None);
    assert!(table.is_empty(), "nothing is known that could be kept");
    table.advance("ada", "phone", "user.ada", cursor(1, 5));
    assert_eq!(table.begin("ada", "tablet", "user.ada"), Some(cursor(1, 5)));
    table.advance("ada", "phone", "user.ada", cursor(1, 9));
    assert_eq!(table.begin("ada", "tablet", "user.ada"), Some(cursor(1, 5)));
    assert_eq!(table.own("ada", "laptop", "user.ada"), None);
    assert_eq!(table.take_changed(10).len(), 2, "both are to be written");
}

#[test]
fn a_full_table_forgets_users_that_are_quiet() {
    let mut table = CursorTable::new(100);
    for round in 1..=50u64 {
        for number in 0..10 {
            let user = format!("new-{round}-{number}");
            table.advance(&user, "phone", "user", cursor(1, 1));
            table.advance("ada", "phone", "user.ada", cursor(1, 10 * round + number));
            assert!(table.len() <= 100);
        }
    }
    assert_eq!(table.len(), 100);
    assert_eq!(table.iter().count(), 100, "the count is right");
    let kept = table.own("ada", "phone", "user.ada");
    assert_eq!(kept, Some(cursor(1, 509)), "who acknowledges is kept");
    assert_eq!(table.start("new-1-0", "phone", "user"), None);
    let newest = table.start("new-50-9", "phone", "user");
    assert_eq!(newest, Some(cursor(1, 1)));
    let taken = table.take_changed(usize::MAX);
    assert_eq!(taken.len(), 100, "what is forgotten is not written");
}

#[test]
fn moved_cursors_are_taken_once_with_their_latest_place() {
    let mut table = CursorTable::new(CURSORS_MAX);
    for offset in 1..=5 {
        table.advance("ada", "phone", "user.ada", cursor(1, offset));
        table.advance("ada", "tablet", "user.ada", cursor(1, offset));
    }
    let mut taken = table.take_changed(1);
    taken.extend(table.take_changed(10));
    taken.sort_by(|one, other| one.device.cmp(&other.device));
    let places: Vec<_> = taken.iter().map(|one| (&*one.device, one.cursor)).collect();
    assert_eq!(places, [("phone", cursor(1, 5)), ("tablet", cursor(1, 5))]);
    assert!(table.take_changed(10).is_empty());
}

#[test]
fn the_quietest_of_too_many_devices_goes() {
    let mut table = CursorTable::new(CURSORS_MAX);
    for device in 0..CURSOR_DEVICES_MAX {
        table.advance("ada", &device.to_string(), "user.ada", cursor(1, 5));
    }
    table.advance("ada", "0", "user.ada", cursor(1, 6));
    table.advance("ada", "new", "user.ada", cursor(1, 3));
    assert_eq!(table.len(), CURSOR_DEVICES_MAX);
    assert_eq!(table.start("ada", "0", "user.ada"), Some(cursor(1, 6)));
    let known = table.iter().any(|one| &*one.device == "1");
    assert!(!known, "device 1 was quiet longest");
}

#[test]
fn the_file_keeps_cursors_and_cuts_a_torn_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("cursors");
    let update = |offset| CursorUpdate {
        user: "ada".into(),
        device: "phone".into(),
        channel: "user.ada".into(),
        cursor: cursor(1, offset),
    };
    let position = |sequence| LogPosition {
        boot: 2,
        shard: 1,
        kind: Kind::Background,
        sequence: Sequence(sequence),
    };
    let mut log = CursorLog::open(&path).expect("opened");
    log.append(&[update(1), update(2)]).expect("written");
    log.commit("analytics", position(9)).expect("written");
    log.commit("analytics", position(4)).expect("ignored");
    drop(log);
    let mut file = OpenOptions::new().append(true).open(&path).expect("opened");
    file.write_all(&[40, 0, 0, 0, 1, 2, 3, 4, 5, 6])
        .expect("written");
    drop(file);
    let mut log = CursorLog::open(&path).expect("opened");
    assert_eq!(log.cut_bytes(), 10);
    assert_eq!(
        log.deliveries().start("ada", "phone", "user.ada"),
        Some(cursor(1, 2))
    );
    assert_eq!(
        log.committed("analytics", 1, Kind::Background),
        Some(position(9))
    );
    assert_eq!(log.committed("analytics", 0, Kind::Background), None);
    log.append(&[update(3)]).expect("written");
    drop(log);
    let log = CursorLog::open(&path).expect("opened");
    assert_eq!(log.cut_bytes(), 0);
    assert_eq!(
        log.deliveries().start("ada", "phone", "user.ada"),
        Some(cursor(1, 3))
    );
}

#[test]
fn a_write_that_failed_is_made_good_by_the_next() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("cursors");
    let update = |device: &str, offset| CursorUpdate {
        user: "ada".into(),
        device: device.into(),
        channel: "user.ada".into(),
        cursor: cursor(1, offset),
    };
    let mut log = CursorLog::open(&path).expect("opened");
    log.append(&[update("phone", 1)]).expect("written");
    log.break_file();
    assert!(log.append(&[update("phone", 2)]).is_err());
    // What half a write leaves behind.
    let mut file = OpenOptions::new().append(true).open(&path).expect("opened");
    file.write_all(&[40, 0, 0, 0, 1]).expect("written");
    log.append(&[update("tablet", 3)]).expect("written");
    log.append(&[update("tablet", 4)]).expect("written");
    drop(log);
    let log = CursorLog::open(&path).expect("opened");
    assert_eq!(log.cut_bytes(), 0);
    let own = |device| log.deliveries().own("ada", device, "user.ada");
    assert_eq!(own("phone"), Some(cursor(1, 2)));
    assert_eq!(own("tablet"), Some(cursor(1, 4)));
}

#[test]
fn the_file_is_rewritten_when_most_of_it_is_old() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("cursors");
    let mut log = CursorLog::open(&path).expect("opened");
    let mut largest = 0;
    for round in 1..=60u64 {
        let updates: Vec<_> = (0..1_000u64)
            .map(|user| CursorUpdate {
                user: format!("user-{user}").into(),
                device: "phone".into(),
                channel: format!("user.user-{user}").into(),
                cursor: cursor(1, round),
            })
            .collect();
        log.append(&updates).expect("written");
        largest = largest.max(std::fs::metadata(&path).expect("there").len());
    }
    let last = std::fs::metadata(&path).expect("there").len();
    assert!(last < largest, "{last} of {largest} bytes");
    drop(log);
    let log = CursorLog::open(&path).expect("opened");
    assert_eq!(log.deliveries().len(), 1_000);
    assert!(log
        .deliveries()
        .iter()
        .all(|update| update.cursor == cursor(1, 60)));
}

#[test]
fn a_group_that_keeps_a_trail_finds_it_after_a_start_and_a_rewrite() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("cursors");
    let at = |sequence| LogPosition {
        boot: 2,
        shard: 1,
        kind: Kind::Urgent,
        sequence: Sequence(sequence),
    };
    let points = |log: &CursorLog| -> Vec<_> {
        let trail = log.trail("backbone", 1, Kind::Urgent).expect("a trail");
        trail.points().map(|it| it.through.sequence.0).collect()
    };
    let mut log = CursorLog::open(&path).expect("opened");
    log.commit("backbone", at(1)).expect("of a version without");
    for second in 1..=5 {
        let settled = log.settle("backbone", at(10 * second), second * 1_000_000);
        settled.expect("written");
    }
    // Half of it may be lost with a server.
    log.settle("backbone", at(25), 6_000_000).expect("written");
    log.remember("backbone", b"server 1").expect("written");
    log.remember("backbone", b"server 2").expect("written");
    assert_eq!(points(&log), [10, 20, 25]);
    for rewritten in [false, true] {
        if rewritten {
            log.break_file();
            assert!(log.settle("backbone", at(30), 7_000_000).is_err());
            log.settle("backbone", at(31), 8_000_000)
                .expect("rewritten");
        }
        drop(log);
        log = CursorLog::open(&path).expect("opened");
        let last = match rewritten {
            true => vec![10, 20, 25, 30, 31],
            false => vec![10, 20, 25],
        };
        assert_eq!(points(&log), last);
        assert_eq!(log.memory("backbone"), b"server 2");
        let committed = log.committed("backbone", 1, Kind::Urgent);
        assert_eq!(committed.map(|it| it.sequence.0), last.last().copied());
    }
    assert_eq!(log.trail("analytics", 1, Kind::Urgent), None);
    assert_eq!(log.memory("analytics"), b"");
}
