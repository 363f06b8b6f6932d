//! The one-node event log: the suite, and what only files show.

use interlink_protocol::priority::Priority;

use super::*;
use crate::conformance;
use crate::files::{DirectJournal, JournalFiles, LaneReader};
use crate::journal::{Journal, JournalConfig};
use crate::testing::{config, Node, SEGMENT_BYTES};

const NOW_US: u64 = 1_700_000_000_000_000;

#[test]
fn the_one_node_log_conforms() {
    // The directories live as long as the logs that are made in them.
    let mut directories = Vec::new();
    conformance::event_log(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let opened = JournalFiles::open(config(directory.path(), 1, "s"), NOW_US);
        let (files, _) = opened.expect("a journal");
        directories.push(directory);
        let mut settings = JournalConfig::new(files.boot().id, 0, 1);
        settings.segment_bytes = SEGMENT_BYTES;
        settings.frame_bytes_max = 8 * 1024;
        settings
            .policies
            .iter_mut()
            .for_each(|policy| policy.bytes = 4 * 1024);
        let journal = Journal::new(&settings).expect("a valid configuration");
        OneNodeLog::new(files, DirectJournal::new(journal, 0)).expect("a log")
    });
}

#[test]
fn a_lane_is_read_across_segments_and_boots_each_record_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut published = Vec::new();
    let mut reader = LaneReader::new(0, Kind::Urgent, None);
    let mut read = Vec::new();
    for boot in 0..3 {
        let mut node = Node::start(config(directory.path(), 1, "s"), NOW_US + boot);
        for _ in 0..300 {
            node.publish(0, Priority::P1, "class.algebra");
            published.push(node.next_id);
            if published.len().is_multiple_of(7) {
                let records = node.files.read_lane(&mut reader, 5).expect("readable");
                read.extend(records);
            }
        }
        node.settle();
        if boot == 2 {
            while let Some(last) = read.last().map(|record: &LogRecord| record.at) {
                // A reader that starts over after its last record misses and repeats none.
                let mut next = LaneReader::new(0, Kind::Urgent, Some(last));
                let records = node.files.read_lane(&mut next, 100).expect("readable");
                if records.is_empty() {
                    break;
                }
                read.extend(records);
            }
        }
    }
    let ids: Vec<_> = read.iter().map(|record| record.client_message_id).collect();
    assert_eq!(ids, published);
}

#[test]
fn what_is_not_durable_is_not_handed_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = JournalFiles::open(config(directory.path(), 1, "s"), NOW_US);
    let (mut files, _) = opened.expect("a journal");
    let mut settings = JournalConfig::new(files.boot().id, 0, 1);
    settings.segment_bytes = SEGMENT_BYTES;
    settings.frame_bytes_max = 8 * 1024;
    settings
        .policies
        .iter_mut()
        .for_each(|policy| policy.bytes = 4 * 1024);
    let mut journal = Journal::new(&settings).expect("a valid configuration");
    let mut open = std::collections::HashMap::new();
    let mut pending = Vec::new();
    let mut step = |files: &mut JournalFiles, journal: &mut Journal| {
        use crate::journal::Action;
        while let Some(action) = journal.next_action(NOW_US) {
            match action {
                Action::Prepare(segment) => {
                    open.insert(segment, files.prepare(0, segment).expect("prepared"));
                    journal.on_prepared(segment);
                }
                Action::Write {
                    segment,
                    offset,
                    buffer,
                    token,
                } => {
                    std::os::unix::fs::FileExt::write_all_at(&open[&segment], &buffer, offset)
                        .expect("written");
                    journal.on_written(token, buffer.len() as i32, buffer);
                }
                Action::Sync { token, .. } => pending.push(token),
                Action::Retire(_) => {}
            }
        }
    };
    step(&mut files, &mut journal);
    let frame = [1u8; 10];
    let record = crate::testing::record(Priority::P1, "class.a", 1, None, &frame);
    journal.append(&record, NOW_US).expect("room");
    step(&mut files, &mut journal);
    assert_eq!(journal.written_through(Kind::Urgent), Sequence(1));
    let mut reader = LaneReader::new(0, Kind::Urgent, None);
    assert!(files
        .read_lane(&mut reader, 10)
        .expect("readable")
        .is_empty());
    files.note_durable(0, Kind::Urgent, Sequence(1));
    assert_eq!(files.read_lane(&mut reader, 10).expect("readable").len(), 1);
}

#[test]
fn a_reader_that_reaches_a_new_boot_repeats_nothing_of_the_last_one_as_its_own() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut node = Node::start(config(directory.path(), 1, "s"), NOW_US);
    for _ in 0..30 {
        node.publish(0, Priority::P1, "class.algebra");
    }
    node.settle();
    drop(node);
    let mut node = Node::start(config(directory.path(), 1, "s"), NOW_US + 1);
    // Its first segment is there, and nothing is in it.
    node.settle();
    let mut reader = LaneReader::new(0, Kind::Urgent, None);
    let mut at = Vec::new();
    let mut read_all = |node: &Node| loop {
        let records = node.files.read_lane(&mut reader, 7).expect("readable");
        if records.is_empty() {
            break;
        }
        at.extend(records.iter().map(|record| record.at));
    };
    read_all(&node);
    node.publish(0, Priority::P1, "class.algebra");
    node.settle();
    node.files.note_durable(0, Kind::Urgent, Sequence(u64::MAX));
    read_all(&node);
    let expected = (1..=30).map(|sequence| (1, sequence)).chain([(2, 1)]);
    let at: Vec<_> = at.iter().map(|at| (at.boot, at.sequence.0)).collect();
    assert_eq!(at, expected.collect::<Vec<_>>());
}
