//! Every kind of damaged file that we know, and what a start makes of it.

use std::fs::{self, OpenOptions};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use interlink_protocol::ids::Position;
use interlink_protocol::priority::Priority;

use crate::dump;
use crate::files::{FilesError, Gap, JournalFiles};
use crate::journal::{EntryBody, SegmentReader};
use crate::record::{Kind, StreamId};
use crate::testing::{config, Node, SEGMENT_BYTES};

const NOW_US: u64 = 1_700_000_000_000_000;
const CLASS: &str = "class.algebra";

/// A journal with one boot of `events` events, each in its own block.
struct Fixture {
    directory: tempfile::TempDir,
    stream: StreamId,
    boot: PathBuf,
}

impl Fixture {
    fn new(events: usize) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut node = Node::start(config(directory.path(), 1, "s"), NOW_US);
        for _ in 0..events {
            node.publish(0, Priority::P1, CLASS);
        }
        let boot = node.files.boot();
        let stream = StreamId {
            boot: boot.id,
            shard: 0,
            kind: Kind::Urgent,
        };
        let boot = boot.path.clone();
        Self {
            directory,
            stream,
            boot,
        }
    }

    fn start(&self, now_us: u64) -> Node {
        Node::start(config(self.directory.path(), 1, "s"), now_us)
    }

    fn segment(&self, number: u32) -> PathBuf {
        self.boot.join(format!("shard-0/urgent-{number:08}.seg"))
    }

    fn sidecar(&self, number: u32) -> PathBuf {
        self.segment(number).with_extension("idx")
    }

    /// Offset and length of each block of a segment.
    fn blocks(&self, number: u32) -> Vec<(u64, u64)> {
        let bytes = fs::read(self.segment(number)).expect("readable");
        let reader = SegmentReader::new(self.stream, number, &bytes);
        let blocks = reader.blocks(0);
        blocks
            .map(|block| (u64::from(block.offset), u64::from(block.header.length)))
            .collect()
    }

    fn write(&self, path: &Path, offset: u64, bytes: &[u8]) {
        let file = OpenOptions::new().write(true).open(path).expect("opened");
        file.write_all_at(bytes, offset).expect("written");
    }

    /// Sequences of what a dump shows.
    fn dumped(&self) -> Vec<u64> {
        let mut sequences = Vec::new();
        dump::visit(self.directory.path(), |entry| {
            if matches!(entry.body, EntryBody::Record(_)) {
                sequences.push(entry.sequence.0);
            }
            ControlFlow::Continue(())
        })
        .expect("readable");
        sequences
    }
}

#[test]
fn a_torn_last_block_is_cut_and_reported() {
    let fixture = Fixture::new(10);
    let (offset, _) = fixture.blocks(1)[9];
    fixture.write(&fixture.segment(1), offset + 200, &[0xee; 50]);
    let node = fixture.start(NOW_US + 1);
    assert!(!node.recovered.degraded && node.recovered.damage.is_empty());
    assert_eq!(node.recovered.torn.len(), 1);
    assert_eq!(node.recovered.torn[0].kept_through.0, 9);
    assert_eq!(u64::from(node.recovered.torn[0].offset), offset);
    assert_eq!(node.recovered.channels[0].top.offset, 9);
    assert!(
        node.recovered.channels[0].continues,
        "nobody has seen what was cut"
    );
    drop(node);
    let again = fixture.start(NOW_US + 2);
    assert_eq!(again.recovered.channels[0].top.offset, 9);
    assert!(again.recovered.torn.is_empty(), "reported once");
}

#[test]
fn a_block_whose_header_never_arrived_ends_the_log_cleanly() {
    let fixture = Fixture::new(10);
    let (offset, length) = fixture.blocks(1)[9];
    fixture.write(&fixture.segment(1), offset, &vec![0; length as usize]);
    let node = fixture.start(NOW_US + 1);
    assert_eq!(node.recovered.channels[0].top.offset, 9);
    assert!(node.recovered.damage.is_empty() && node.recovered.torn.is_empty());
}

#[test]
fn damage_in_what_was_durable_is_reported_once_and_kept_aside() {
    let fixture = Fixture::new(10);
    let (offset, _) = fixture.blocks(1)[4];
    fixture.write(&fixture.segment(1), offset + 100, &[0xee; 4]);
    let mut node = fixture.start(NOW_US + 1);
    assert!(node.recovered.degraded);
    let damage = node.recovered.damage[0].clone();
    assert_eq!((damage.segment, u64::from(damage.offset)), (1, offset));
    assert_eq!(damage.missing, 5..=5);
    let class = &node.recovered.channels[0];
    assert_eq!(class.top.offset, 10, "what lies behind is durable and kept");
    assert!(!class.continues);
    assert_eq!(class.events.len(), 5, "no hole among recent events");
    assert_eq!(fixture.dumped(), [1, 2, 3, 4, 6, 7, 8, 9, 10]);
    assert_eq!(
        node.page(CLASS, Position::ZERO, 100),
        [1, 2, 3, 4],
        "holes are refused"
    );
    let fourth = node
        .files
        .history(CLASS, Position::ZERO, 100)
        .expect("readable")
        .last;
    let page = node.files.history(CLASS, fourth, 100).expect("readable");
    assert_eq!(page.gap, Some(Gap::Retention));
    drop(node);
    let mut again = fixture.start(NOW_US + 2);
    assert!(!again.recovered.degraded, "the first start has told");
    assert_eq!(again.recovered.damage, [damage]);
    assert!(!again.recovered.channels[0].continues);
    let name = "quarantine/00000001-shard-0-urgent-00000001.seg";
    let aside = fixture.directory.path().join(name);
    let evidence = fs::read(&aside).expect("readable");
    while again.files.tick(u64::MAX).expect("a tick") {}
    assert!(!fixture.segment(1).exists(), "its time is over");
    assert_eq!(
        fs::read(&aside).expect("readable"),
        evidence,
        "kept for inspection"
    );
    assert!(!fixture.boot.exists());
}

#[test]
fn a_missing_segment_in_the_middle_is_damage() {
    let fixture = Fixture::new(500);
    let first_of = |number| {
        let bytes = fs::read(fixture.segment(number)).expect("readable");
        let reader = SegmentReader::new(fixture.stream, number, &bytes);
        let first = reader.blocks(0).next().expect("a block").header.first.0;
        first
    };
    let (second, third) = (first_of(2), first_of(3));
    fs::remove_file(fixture.segment(2)).expect("removed");
    fs::remove_file(fixture.sidecar(2)).expect("removed");
    let node = fixture.start(NOW_US + 1);
    assert!(node.recovered.degraded);
    assert_eq!(node.recovered.damage[0].missing, second..=third - 1);
    assert_eq!(node.recovered.channels[0].top.offset, 500);
}

#[test]
fn a_shortened_segment_loses_only_its_end() {
    let fixture = Fixture::new(10);
    let (offset, _) = fixture.blocks(1)[7];
    let file = OpenOptions::new()
        .write(true)
        .open(fixture.segment(1))
        .expect("opened");
    file.set_len(offset + 10).expect("cut");
    let node = fixture.start(NOW_US + 1);
    assert_eq!(node.recovered.channels[0].top.offset, 7);
}

#[test]
fn blocks_of_an_earlier_life_are_not_believed() {
    let fixture = Fixture::new(10);
    let (offset, length) = *fixture.blocks(1).last().expect("a block");
    let bytes = fs::read(fixture.segment(1)).expect("readable");
    // The first block again behind the last, as a recycled segment would hold it.
    let copy = &bytes[..length as usize];
    fixture.write(&fixture.segment(1), offset + length, copy);
    // And a whole segment of another number.
    fs::copy(fixture.segment(1), fixture.segment(2)).expect("copied");
    let node = fixture.start(NOW_US + 1);
    assert_eq!(node.recovered.channels[0].top.offset, 10);
    assert!(node.recovered.damage.is_empty());
}

#[test]
fn a_foreign_file_among_the_segments_is_left_alone() {
    let fixture = Fixture::new(3);
    let note = fixture.boot.join("shard-0/note.txt");
    fs::write(&note, "hands off").expect("written");
    fs::write(fixture.boot.parent().expect("boots").join("lost+found"), "").expect("written");
    let node = fixture.start(NOW_US + 1);
    assert_eq!(node.recovered.channels[0].top.offset, 3);
    assert!(note.exists());
}

#[test]
fn an_unreadable_identity_stops_the_start_and_names_the_cure() {
    let fixture = Fixture::new(1);
    fs::write(fixture.directory.path().join("node"), "not hexadecimal").expect("written");
    let error = JournalFiles::open(config(fixture.directory.path(), 1, "s"), NOW_US + 1);
    let error = error.expect_err("refused");
    assert!(matches!(error, FilesError::Identity { .. }));
    assert!(error.to_string().contains("restore it"), "{error}");
}

#[test]
fn a_boot_that_died_before_its_identity_is_left_out() {
    let fixture = Fixture::new(3);
    let boots = fixture.boot.parent().expect("boots");
    fs::create_dir_all(boots.join("00000002-00000000000000aa/shard-0")).expect("created");
    let node = fixture.start(NOW_US + 1);
    assert_eq!(node.recovered.channels[0].top.offset, 3);
    assert_eq!(node.recovered.boots, 1);
}

#[test]
fn a_damaged_free_segment_is_replaced() {
    let fixture = Fixture::new(1);
    let pool = fixture.directory.path().join("pool");
    fs::write(pool.join("free-00000099.seg"), [1; 100]).expect("written");
    let mut node = fixture.start(NOW_US + 1);
    assert!(!pool.join("free-00000099.seg").exists());
    while node.files.tick(node.now_us).expect("a tick") {}
    for entry in fs::read_dir(&pool).expect("readable").flatten() {
        let length = entry.metadata().expect("readable").len();
        assert_eq!(length, u64::from(SEGMENT_BYTES));
    }
}
