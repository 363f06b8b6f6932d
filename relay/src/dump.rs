//! Every entry of a journal, for people and checks.
//!
//! Reads without changing or locking anything, so that it works on the files of a dead
//! node, of a stopped one, and of a running one up to what has been written. Entries come
//! by boot, shard and log, in order, repeats left out; what is believed is decided as at a
//! start.
//!
//! Limits: one segment in memory, and about 60 bytes for each block of a log. Blocks.

use std::ops::ControlFlow;
use std::path::Path;

use crate::files::catalog::read_segment;
use crate::files::layout::{
    names_in, parse_segment, parse_shard, segment_path, shard_directory, Layout,
};
use crate::files::{Boot, FilesError, SegmentKey};
use crate::journal::{EntryBody, SegmentReader};
use crate::record::{Kind, SegmentId, Sequence, StreamId};
use crate::recovery::{Damage, StreamScan, TornTail};

/// An entry and where it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DumpEntry<'a> {
    /// Its boot, shard and segment.
    pub segment: SegmentKey,
    /// Its number in the log.
    pub sequence: Sequence,
    /// When its block was sealed, microseconds since the Unix epoch.
    pub sealed_at_us: u64,
    /// What it says.
    pub body: EntryBody<'a>,
}

/// What a dump came across.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DumpReport {
    /// Entries shown.
    pub entries: u64,
    /// Durable entries that are missing.
    pub damage: Vec<Damage>,
    /// Ends that are not clean.
    pub torn: Vec<TornTail>,
}

/// Shows every entry of the journal in `directory` to `each`, until it breaks off.
pub fn visit(
    directory: &Path,
    mut each: impl FnMut(&DumpEntry<'_>) -> ControlFlow<()>,
) -> Result<DumpReport, FilesError> {
    let mut report = DumpReport::default();
    for boot in Boot::list(&Layout::new(directory))? {
        for name in names_in(&boot.path)? {
            let Some(shard) = parse_shard(&name) else {
                continue;
            };
            for kind in Kind::ALL {
                if visit_log(&boot, shard, kind, &mut report, &mut each)?.is_break() {
                    return Ok(report);
                }
            }
        }
    }
    Ok(report)
}

fn visit_log(
    boot: &Boot,
    shard: u16,
    kind: Kind,
    report: &mut DumpReport,
    each: &mut impl FnMut(&DumpEntry<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, FilesError> {
    let directory = shard_directory(&boot.path, shard);
    let names = names_in(&directory)?;
    let segments = names.iter().filter_map(|name| parse_segment(name));
    let mut segments: Vec<SegmentId> = segments.filter(|id| id.kind == kind).collect();
    segments.sort_unstable();
    let stream = StreamId {
        boot: boot.id,
        shard,
        kind,
    };
    let read = |id: SegmentId| {
        let path = segment_path(&directory, id);
        read_segment(&path).map_err(FilesError::access("read", &path))
    };
    let mut scan = StreamScan::new(stream);
    for id in &segments {
        scan.add_segment(id.number, &read(*id)?);
    }
    let state = scan.resolve();
    for blocks in state
        .believed
        .chunk_by(|one, other| one.segment == other.segment)
    {
        let id = SegmentId {
            kind,
            number: blocks[0].segment,
        };
        let bytes = read(id)?;
        let reader = SegmentReader::new(stream, id.number, &bytes);
        for believed in blocks {
            let Some(block) = reader.block(believed.offset) else {
                continue;
            };
            for entry in block
                .entries()
                .filter(|entry| entry.sequence >= believed.from)
            {
                report.entries += 1;
                let entry = DumpEntry {
                    segment: SegmentKey {
                        boot: boot.number,
                        shard,
                        id,
                    },
                    sequence: entry.sequence,
                    sealed_at_us: block.header.sealed_at_us,
                    body: entry.body,
                };
                if each(&entry).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
    }
    report.damage.extend(state.damage);
    report.torn.extend(state.torn);
    Ok(ControlFlow::Continue(()))
}
