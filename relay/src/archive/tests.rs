//! The one-node archive: the suite, and what has left it.

use interlink_protocol::ids::InstanceId;
use interlink_protocol::priority::Priority;

use super::*;
use crate::conformance;
use crate::dedupe::Verdict;
use crate::files::{DirectJournal, JournalFiles};
use crate::journal::{Journal, JournalConfig};
use crate::limits::MARK_SLACK_US;
use crate::testing::{config, Node, SEGMENT_BYTES};

const NOW_US: u64 = 1_700_000_000_000_000;

#[test]
fn the_one_node_archive_conforms() {
    // The directories live as long as the archives that are made in them.
    let mut directories = Vec::new();
    conformance::archive(|records| {
        let directory = tempfile::tempdir().expect("a directory");
        let opened = JournalFiles::open(config(directory.path(), 1, "s"), NOW_US);
        let (mut files, _) = opened.expect("a journal");
        directories.push(directory);
        let mut settings = JournalConfig::new(files.boot().id, 0, 1);
        settings.segment_bytes = SEGMENT_BYTES;
        settings.frame_bytes_max = 8 * 1024;
        settings
            .policies
            .iter_mut()
            .for_each(|policy| policy.bytes = 4 * 1024);
        let journal = Journal::new(&settings).expect("a valid configuration");
        let mut journal = DirectJournal::new(journal, 0);
        journal.drive(&mut files, NOW_US).expect("driven");
        for record in records {
            journal.append(record, NOW_US).expect("room");
        }
        assert!(journal.commit(&mut files, NOW_US).expect("driven"));
        OneNodeArchive::new(files).expect("an archive")
    });
}

#[test]
fn an_id_is_found_in_sealed_segments_and_not_guessed_beyond_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut settings = config(directory.path(), 1, "s");
    settings.retention_bytes = 6 * u64::from(SEGMENT_BYTES);
    let mut node = Node::start(settings, NOW_US);
    let judge = |node: &mut Node, id: u64, since_us| {
        let (instance, class) = (InstanceId(9), Priority::P1);
        node.files
            .was_accepted(instance, class, id, id * 7, since_us)
            .expect("readable")
    };
    for _ in 0..300 {
        node.publish(0, Priority::P1, "class.algebra");
        node.now_us += 1_000;
    }
    let early = node.next_id - 299;
    assert_eq!(judge(&mut node, early, NOW_US), Verdict::Repeat);
    assert_eq!(
        judge(&mut node, early + 900_000, 5),
        Verdict::New,
        "nothing was removed yet"
    );
    for _ in 0..1_500 {
        node.publish(0, Priority::P1, "class.algebra");
        node.now_us += 1_000;
    }
    while node
        .files
        .tick(node.now_us + 2 * MARK_SLACK_US)
        .expect("a tick")
    {}
    assert_eq!(judge(&mut node, early, NOW_US), Verdict::TooOld);
    let recent = node.next_id - 10;
    let since_us = node.now_us - 40_000;
    assert_eq!(judge(&mut node, recent, since_us), Verdict::Repeat);
    assert_eq!(judge(&mut node, recent + 1_000, since_us), Verdict::New);
}
