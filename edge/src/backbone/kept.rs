//! How far the relay thread has come, on the disk.
//!
//! Purpose: cursors of all logs, the trail that they left lately, and the servers in which
//! records were placed then. A process that starts goes on there, and back along the trail when
//! Redis has lost its end.
//!
//! Invariant: segments stay that a cursor needs, and those that the trail still reaches.
//!
//! Thread: the main thread at start, then journal-files.

use interlink_relay::cursors::{CursorLog, Trail};
use interlink_relay::event_log::LogPosition;
use interlink_relay::files::{FilesError, JournalFiles, SegmentKey};
use interlink_relay::record::{Kind, SegmentId, Sequence};
use tracing::warn;

use super::BackboneLogs;

/// The group of consumers under which cursors are kept.
const GROUP: &str = "backbone";

/// Where the relay thread goes on in every log, and what was settled before and when. A log that
/// the backbone has never read begins with this boot: what a node alone has numbered stays in its
/// own history.
///
/// # Errors
/// When a cursor cannot be written; without it records of this boot could be passed over.
pub fn logs(
    files: &mut JournalFiles,
    cursors: &mut CursorLog,
    shards: u16,
    now_us: u64,
) -> Result<BackboneLogs, FilesError> {
    let boot = files.boot().number;
    let mut lanes = files.lanes();
    lanes.extend((0..shards).flat_map(|shard| Kind::ALL.map(|kind| (shard, kind))));
    let mut logs = BackboneLogs {
        servers: cursors.memory(GROUP).into(),
        ..BackboneLogs::default()
    };
    for (shard, kind) in lanes {
        let begin = LogPosition {
            boot,
            shard,
            kind,
            sequence: Sequence::NONE,
        };
        let known = cursors.committed(GROUP, shard, kind);
        if known.is_none() {
            cursors.settle(GROUP, begin, now_us)?;
        }
        let after = known.unwrap_or(begin);
        need_from(files, cursors, after);
        logs.after.push(after);
        if let Some(trail) = cursors.trail(GROUP, shard, kind) {
            logs.settled.extend(trail.points());
        }
    }
    Ok(logs)
}

/// The backbone needs nothing of these logs up to here any more, also after a restart, unless it
/// goes back.
pub fn settle(
    files: &mut JournalFiles,
    cursors: &mut CursorLog,
    positions: &[LogPosition],
    now_us: u64,
) {
    for position in positions {
        if let Err(error) = cursors.settle(GROUP, *position, now_us) {
            warn!(%error, "the cursor of the backbone could not be written");
            continue;
        }
        need_from(files, cursors, *position);
    }
}

/// Keeps which servers the records were placed in.
pub fn remember(cursors: &mut CursorLog, servers: &[u8]) {
    if let Err(error) = cursors.remember(GROUP, servers) {
        warn!(%error, "the servers of the backbone could not be written");
    }
}

/// Keeps everything of a log behind a position, also segments that are still to come, and that to
/// which the backbone may go back.
fn need_from(files: &mut JournalFiles, cursors: &CursorLog, position: LogPosition) {
    let needed = segment_after(files, position);
    files.set_needed_from(needed);
    let trail = cursors.trail(GROUP, position.shard, position.kind);
    if let Some(begin) = trail.and_then(Trail::begin) {
        let kept = segment_after(files, begin);
        files.set_kept_from(kept);
    }
}

fn segment_after(files: &JournalFiles, position: LogPosition) -> SegmentKey {
    let to_come = SegmentKey {
        boot: position.boot,
        shard: position.shard,
        id: SegmentId {
            kind: position.kind,
            number: 0,
        },
    };
    files.segment_after(position).unwrap_or(to_come)
}
