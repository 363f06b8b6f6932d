//! Starts, stops, crashes and histories over real files.

use std::fs;
use std::os::unix::fs::FileExt;

use interlink_protocol::ids::{InstanceId, Position, RecordId};
use interlink_protocol::priority::Priority;

use super::*;
use crate::backplane::Sequencer;
use crate::dedupe::Verdict;
use crate::journal::{Journal, JournalConfig};
use crate::limits::{INDEX_STEP_BYTES, SEGMENT_BYTES_MIN};
use crate::testing::{config, frame_with, record, Node, SEGMENT_BYTES};

/// A time that ids and seconds can be made of.
const NOW_US: u64 = 1_700_000_000_000_000;
const CLASS: &str = "class.algebra";

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn segments(node: &Node) -> usize {
    node.files.catalog.files.len()
}

#[test]
fn a_second_process_is_refused_while_the_first_lives() {
    let directory = temporary();
    let node = Node::start(config(directory.path(), 1, "s"), NOW_US);
    let second = JournalFiles::open(config(directory.path(), 1, "s"), NOW_US);
    assert!(matches!(second, Err(FilesError::Locked { .. })));
    let identity = node.files.node();
    drop(node);
    let again = Node::start(config(directory.path(), 1, "s"), NOW_US);
    assert_eq!(again.files.node(), identity);
    assert_eq!(again.files.boot().number, 2);
}

#[test]
fn a_killed_process_leaves_tops_events_and_ids() {
    let directory = temporary();
    let mut node = Node::start(config(directory.path(), 1, "s"), NOW_US);
    let placements: Vec<_> = (0..300)
        .map(|_| node.publish(0, Priority::P1, CLASS))
        .collect();
    let other = node.publish(0, Priority::P3, "report.x");
    node.settle();
    let last_id = node.next_id - 1;
    drop(node);

    let node = Node::start(config(directory.path(), 1, "s"), NOW_US + 1);
    let recovered = &node.recovered;
    assert!(!recovered.system_restarted && !recovered.degraded);
    assert_eq!(recovered.channels.len(), 2);
    let class = &recovered.channels[0];
    assert_eq!(&*class.name, CLASS);
    assert_eq!(class.top, placements[299].position);
    assert!(class.continues);
    let events: Vec<_> = class.events.iter().map(|event| event.placement).collect();
    assert_eq!(events, placements[300 - 256..]);
    assert_eq!(recovered.channels[1].top, other.position);
    let window = &recovered.publishers[0].window;
    assert_eq!(recovered.publishers[0].instance, InstanceId(9));
    assert_eq!(
        window.look_up(Priority::P1, last_id, last_id * 7),
        Verdict::Repeat
    );
    assert_eq!(window.look_up(Priority::P1, last_id, 1), Verdict::Conflict);
    assert_eq!(window.look_up(Priority::P1, last_id + 2, 1), Verdict::New);
    assert!(recovered.unmarked.is_empty() && recovered.damage.is_empty());
}

#[test]
fn a_journal_that_was_left_is_recovered_from_its_indexes() {
    let directory = temporary();
    let mut node = Node::start(config(directory.path(), 2, "s"), NOW_US);
    let placements: Vec<_> = (0..5)
        .map(|_| node.publish(0, Priority::P1, CLASS))
        .collect();
    let foreign = node.publish_unplaced(1, CLASS);
    let marked = node.mark(0, CLASS, foreign);
    node.settle();
    let last_id = node.next_id - 1;
    assert!(segments(&node) > 2);
    node.files.leave().expect("left");

    let node = Node::start(config(directory.path(), 2, "s"), NOW_US + 1);
    let recovered = &node.recovered;
    assert_eq!(
        recovered.read_segments, 0,
        "nothing had to be read for want of an index"
    );
    assert_eq!(recovered.channels[0].top, marked.position);
    assert!(recovered.channels[0].continues);
    let events = recovered.channels[0].events.iter();
    let events: Vec<_> = events.map(|event| event.placement).collect();
    assert_eq!(events[..5], placements);
    assert!(recovered.unmarked.is_empty());
    assert!(recovered.torn.is_empty() && recovered.damage.is_empty());
    let known = |shard, id: u64| {
        let of_shard = |publisher: &&crate::recovery::RecoveredPublisher| publisher.shard == shard;
        let publisher = recovered.publishers.iter().find(of_shard);
        let window = &publisher.expect("a window").window;
        window.look_up(Priority::P1, id, id * 7)
    };
    assert_eq!(known(0, last_id), Verdict::Repeat);
    assert_eq!(known(1, foreign), Verdict::Repeat);
    // What the earlier boot had prepared and not used is not kept.
    let keys = node.files.catalog.files.keys();
    assert_eq!(keys.filter(|key| key.boot == 1).count(), 2);
}

#[test]
fn epochs_go_on_after_a_kill_and_are_new_after_a_restart_of_the_system() {
    let directory = temporary();
    let mut node = Node::start(config(directory.path(), 1, "s"), NOW_US);
    let first = node.publish(0, Priority::P1, CLASS).position;
    drop(node);
    let mut node = Node::start(config(directory.path(), 1, "s"), NOW_US + 1);
    let second = node.publish(0, Priority::P1, CLASS);
    assert_eq!(second.position.epoch, first.epoch);
    assert_eq!(second.previous_chain, first.chain);
    drop(node);
    let mut node = Node::start(config(directory.path(), 1, "t"), NOW_US + 2);
    assert!(node.recovered.system_restarted);
    let third = node.publish(0, Priority::P1, CLASS);
    assert!(third.position.epoch > first.epoch);
    assert_eq!(third.position.offset, 3);
    assert_eq!(third.previous_chain, second.position.chain);
    assert_eq!(
        node.page(CLASS, first, 10),
        [2, 3],
        "the chain holds across epochs"
    );
}

#[test]
fn history_is_read_across_segments_and_boots() {
    let directory = temporary();
    let mut tops = Vec::new();
    for boot in 0..3 {
        let mut node = Node::start(config(directory.path(), 1, "s"), NOW_US + boot);
        for _ in 0..400 {
            tops.push(node.publish(0, Priority::P1, CLASS).position);
            node.publish(0, Priority::P1, "class.other");
        }
        node.files.tick(node.now_us).expect("a tick");
        assert_eq!(node.page(CLASS, Position::ZERO, 3), [1, 2, 3]);
        let middle = tops[tops.len() / 2];
        let all = node.page(CLASS, middle, 1_000);
        assert_eq!(
            all,
            (middle.offset + 1..=tops.len() as u64).collect::<Vec<_>>()
        );
        let top = tops[tops.len() - 1];
        assert_eq!(node.page(CLASS, top, 10), [0; 0]);
    }
}

#[test]
fn a_position_that_was_never_issued_gets_no_history() {
    let directory = temporary();
    let mut node = Node::start(config(directory.path(), 1, "s"), NOW_US);
    let first = node.publish(0, Priority::P1, CLASS).position;
    node.publish(0, Priority::P1, CLASS);
    for wrong in [
        Position {
            chain: first.chain ^ 1,
            ..first
        },
        Position { offset: 2, ..first },
        Position { offset: 7, ..first },
    ] {
        let page = node.files.history(CLASS, wrong, 10).expect("readable");
        assert_eq!(page.gap, Some(Gap::Unknown), "{wrong:?}");
        assert!(page.events.is_empty());
    }
    let page = node
        .files
        .history("class.none", first, 10)
        .expect("readable");
    assert_eq!(page.gap, Some(Gap::Unknown));
}

#[test]
fn what_lies_below_a_floor_is_as_if_it_were_gone() {
    let directory = temporary();
    let mut node = Node::start(config(directory.path(), 2, "s"), NOW_US);
    let begin_us = node.next_id >> 16;
    let mut positions = Vec::new();
    for _ in 0..300 {
        // One event a second.
        node.next_id += 1_000_000 << 16;
        positions.push(node.publish(0, Priority::P1, CLASS).position);
        node.publish(1, Priority::P1, "class.other");
    }
    let read = |node: &mut Node, after, events, seconds: u64| {
        let floor = HistoryFloor {
            events,
            accepted_us: begin_us + seconds * 1_000_000,
        };
        let page = node.files.history_above(CLASS, after, 2, floor);
        let page = page.expect("readable");
        let offsets = page
            .events
            .iter()
            .map(|event| event.placement.position.offset);
        (offsets.collect::<Vec<_>>(), page.gap)
    };
    let node = &mut node;
    for (events, seconds, oldest) in [(10, 0, 291), (1_000, 0, 1), (0, 120, 120), (10, 299, 299)] {
        let kept = read(node, Position::ZERO, events, seconds);
        assert_eq!(kept, (vec![oldest, oldest + 1], None), "{events} {seconds}");
        if oldest > 1 {
            let before = positions[oldest as usize - 2];
            let next = read(node, before, events, seconds);
            assert_eq!(next, (vec![oldest, oldest + 1], None));
            let earlier = positions[0];
            let gone = read(node, earlier, events, seconds);
            assert_eq!(gone, (Vec::new(), Some(Gap::Retention)));
        }
    }
    let top = positions[299];
    assert_eq!(
        read(node, top, 1, 900),
        (Vec::new(), None),
        "nothing follows"
    );
    let gone = read(node, positions[298], 0, 900);
    assert_eq!(gone, (Vec::new(), Some(Gap::Retention)));
    assert_eq!(read(node, Position::ZERO, 0, 900), (Vec::new(), None));
}

#[test]
fn retention_removes_the_oldest_segments_and_says_so() {
    let directory = temporary();
    let mut settings = config(directory.path(), 1, "s");
    settings.retention_bytes = 6 * u64::from(SEGMENT_BYTES);
    let mut node = Node::start(settings, NOW_US);
    let first = node.publish(0, Priority::P1, CLASS).position;
    for _ in 0..1_500 {
        node.publish(0, Priority::P1, CLASS);
    }
    assert!(segments(&node) > 7);
    while node
        .files
        .tick(node.now_us + 2 * MARK_SLACK_US)
        .expect("a tick")
    {}
    assert!(segments(&node) <= 6);
    let page = node.files.history(CLASS, first, 10).expect("readable");
    assert_eq!(page.gap, Some(Gap::Retention));
    let oldest = node.page(CLASS, Position::ZERO, 5);
    assert!(oldest[0] > 100 && oldest.len() == 5);
    assert!(node.files.counters().retired > 0);
    let top = node.channels[CLASS].top();
    drop(node);
    let node = Node::start(config(directory.path(), 1, "s"), NOW_US + 1);
    assert_eq!(node.recovered.channels[0].top, top, "a log may start late");
    assert!(node.recovered.damage.is_empty());
}

#[test]
fn a_needed_segment_stays_and_counts_as_used_and_what_is_kept_before_it_only_stays() {
    let directory = temporary();
    let mut settings = config(directory.path(), 1, "s");
    settings.retention_bytes = 0;
    let mut node = Node::start(settings, NOW_US);
    let segment = |number| SegmentKey {
        boot: 1,
        shard: 0,
        id: SegmentId {
            kind: crate::record::Kind::Urgent,
            number,
        },
    };
    node.files.set_needed_from(segment(3));
    for _ in 0..1_500 {
        node.publish(0, Priority::P1, CLASS);
    }
    let late_us = node.now_us + 2 * MARK_SLACK_US;
    let (before, mut oldest) = (node.files.used_bytes(0), Vec::new());
    for kept in [2, 5] {
        node.files.set_kept_from(segment(kept));
        while node.files.tick(late_us).expect("a tick") {}
        let first = node.files.catalog.files.keys().next();
        oldest.extend(first.map(|key| key.id.number));
        assert_eq!(node.files.used_bytes(0), before);
    }
    assert_eq!(oldest, [2, 3]);
}

#[test]
fn marks_of_other_shards_give_records_their_positions() {
    let directory = temporary();
    let mut node = Node::start(config(directory.path(), 2, "s"), NOW_US);
    for _ in 0..200 {
        let id = node.publish_unplaced(0, CLASS);
        node.mark(1, CLASS, id);
        node.publish(1, Priority::P1, CLASS);
    }
    let top = node.channels[CLASS].top();
    assert_eq!(node.page(CLASS, Position::ZERO, 1_000).len(), 400);
    drop(node);
    let mut node = Node::start(config(directory.path(), 2, "s"), NOW_US + 1);
    assert!(node.recovered.unmarked.is_empty());
    let class = &node.recovered.channels[0];
    assert_eq!(class.top, top);
    assert_eq!(class.events.len(), 256);
    assert_eq!(node.page(CLASS, Position::ZERO, 1_000).len(), 400);
}

#[test]
fn records_without_a_position_are_handed_over_until_they_have_one() {
    let directory = temporary();
    let mut node = Node::start(config(directory.path(), 2, "s"), NOW_US);
    let first = node.publish_unplaced(0, CLASS);
    node.mark(1, CLASS, first);
    let lost: Vec<_> = (0..300).map(|_| node.publish_unplaced(0, CLASS)).collect();
    drop(node);
    // A start that dies before it could place anything changes nothing.
    let node = Node::start(config(directory.path(), 2, "s"), NOW_US + 1);
    assert_eq!(node.recovered.unmarked.len(), 300);
    drop(node);
    // One that dies in the middle hands over the rest.
    let mut node = Node::start(config(directory.path(), 2, "s"), NOW_US + 2);
    let ids: Vec<_> = node
        .recovered
        .unmarked
        .iter()
        .map(|one| one.client_message_id)
        .collect();
    assert_eq!(ids, lost, "in journal order");
    node.recovered.unmarked.truncate(100);
    node.place_recovered();
    drop(node);
    let mut node = Node::start(config(directory.path(), 2, "s"), NOW_US + 3);
    let ids: Vec<_> = node
        .recovered
        .unmarked
        .iter()
        .map(|one| one.client_message_id)
        .collect();
    assert_eq!(ids, lost[100..]);
    node.place_recovered();
    for _ in 0..300 {
        node.publish(0, Priority::P1, "class.filler");
    }
    node.files.tick(node.now_us).expect("a tick");
    drop(node);
    let mut node = Node::start(config(directory.path(), 2, "s"), NOW_US + 4);
    assert!(node.recovered.unmarked.is_empty());
    assert_eq!(
        node.page(CLASS, Position::ZERO, 1_000),
        (1..=301).collect::<Vec<_>>()
    );
}

#[test]
fn a_start_reads_indexes_instead_of_sealed_segments() {
    let directory = temporary();
    let mut node = Node::start(config(directory.path(), 1, "s"), NOW_US);
    for _ in 0..1_000 {
        node.publish(0, Priority::P1, CLASS);
    }
    node.settle();
    drop(node);
    let node = Node::start(config(directory.path(), 1, "s"), NOW_US + 1);
    assert_eq!(
        node.recovered.read_segments, 1,
        "only the one that was being written"
    );
    let top = node.recovered.channels[0].top;
    drop(node);
    let node = Node::start(config(directory.path(), 1, "s"), NOW_US + 2);
    assert_eq!(node.recovered.read_segments, 0);
    let boot = node.files.boot().number;
    assert_eq!((node.recovered.channels[0].top, boot), (top, 3));
    drop(node);
    // Indexes are a convenience: without them, or with damaged ones, the same comes out.
    for path in indexes(directory.path()).iter().step_by(2) {
        fs::remove_file(path).expect("removed");
    }
    for path in indexes(directory.path()) {
        let file = fs::OpenOptions::new()
            .write(true)
            .open(path)
            .expect("opened");
        file.write_all_at(&[0xff; 8], 300).expect("written");
    }
    let mut node = Node::start(config(directory.path(), 1, "s"), NOW_US + 3);
    assert!(node.recovered.read_segments > 3);
    assert_eq!(node.recovered.channels[0].top, top);
    assert_eq!(node.page(CLASS, Position::ZERO, 1_000).len(), 1_000);
}

fn indexes(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("readable").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "idx") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A journal with the real sizes of blocks, and its files; nothing was indexed yet.
fn full_sized(directory: &Path) -> (JournalFiles, DirectJournal) {
    let mut settings = config(directory, 1, "s");
    settings.segment_bytes = SEGMENT_BYTES_MIN;
    let (mut files, _) = JournalFiles::open(settings, NOW_US).expect("a journal");
    let mut settings = JournalConfig::new(files.boot().id, 0, 1);
    settings.segment_bytes = SEGMENT_BYTES_MIN;
    let journal = Journal::new(&settings).expect("a valid configuration");
    let mut journal = DirectJournal::new(journal, 0).without_syncs();
    journal.drive(&mut files, NOW_US).expect("driven");
    (files, journal)
}

/// Appends events with payloads of these sizes, each in a commit of its own, and looks for the
/// last of them.
fn last_is_found(payloads: &[usize]) {
    let directory = temporary();
    let (mut files, mut journal) = full_sized(directory.path());
    let mut sequencer = Sequencer::new(1);
    let mut before = Position::ZERO;
    for (id, payload) in (1..).zip(payloads) {
        before = sequencer.top();
        let placement = sequencer.place(RecordId(u128::from(id)));
        let frame = frame_with(CLASS, id, placement, &vec![7; *payload]);
        let record = record(Priority::P1, CLASS, id, Some(placement), &frame);
        journal.append(&record, NOW_US).expect("room");
        assert!(journal.commit(&mut files, NOW_US).expect("written"));
    }
    let count = payloads.len() as u64;
    let page = files.history(CLASS, before, 10).expect("readable");
    let offsets: Vec<_> = page
        .events
        .iter()
        .map(|event| event.placement.position.offset)
        .collect();
    assert_eq!((page.gap, offsets), (None, vec![count]));
}

#[test]
fn blocks_that_were_written_since_the_last_time_are_indexed_to_the_end() {
    // Six steps of small blocks at once.
    last_is_found(&[100; 1_500]);
}

#[test]
fn a_block_that_is_larger_than_one_step_is_indexed() {
    last_is_found(&[100, INDEX_STEP_BYTES + 1, 100]);
}
