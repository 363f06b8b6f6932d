//! The journal of one shard: what is accepted stands here before it is acknowledged.
//!
//! Purpose: a group-committed log without I/O of its own. The shard appends, takes
//! [`Action`]s, carries them out by whatever kernel interface it has, and reports the
//! results back; time comes in as an argument.
//!
//! Calling order: `append*` any number of times, then [`Journal::next_action`] until it
//! gives `None`; completions by `on_written`, `on_synced`, `on_prepared`, in any order;
//! then `next_action` again. [`Journal::next_deadline_us`] says when to ask without a
//! completion. Events may be pushed once [`Journal::written_through`] has reached them and
//! acknowledged once [`Journal::durable_through`] has.
//!
//! Invariants:
//! - Sequences grow by one per entry within a kind and survive failed writes and syncs.
//! - `durable_through <= written_through < next sequence`; neither ever falls.
//! - At most one write and one sync of each kind are in flight.
//!
//! Limits: see [`crate::limits`]; every refusal is an [`AppendError`] and counted.
//! Runs on: the shard's thread.

mod block;
mod config;
mod entry;
pub(crate) mod planted;
mod policy;
mod reader;
mod stream;
#[cfg(test)]
mod tests;

pub use block::{BlockHeader, BLOCK_HEADER_BYTES};
pub use config::{ConfigError, JournalConfig};
pub use entry::{Entry, EntryBody};
pub use policy::CommitPolicy;
pub use reader::{Blocks, Entries, SegmentBlock, SegmentReader};

use interlink_protocol::priority::Priority;

use crate::limits::{CHANNEL_BYTES_MAX, PENDING_SHARED_PERCENT, QUOTA_PERCENT};
use crate::record::{Kind, Mark, RecordRef, SegmentId, Sequence};
use stream::Stream;

/// Something that the journal wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Write all of `buffer` at `offset` of the segment; answer by
    /// [`Journal::on_written`] with the bytes written or a negative errno.
    Write {
        /// The segment's file.
        segment: SegmentId,
        /// Byte offset in it.
        offset: u64,
        /// One block.
        buffer: Vec<u8>,
        /// Names the operation; below 2^48.
        token: u64,
    },
    /// `fdatasync` the segment; answer by [`Journal::on_synced`].
    Sync {
        /// The segment's file.
        segment: SegmentId,
        /// Names the operation; below 2^48.
        token: u64,
    },
    /// Create a pre-written segment, sync its directory and open it; answer by
    /// [`Journal::on_prepared`] or [`Journal::on_prepare_failed`]. Requests of one kind
    /// are answered in their order.
    Prepare(SegmentId),
    /// The segment takes no more entries and owes no sync: its descriptor can be closed
    /// and the files side told.
    Retire(SealedSegment),
}

/// A segment that is complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SealedSegment {
    /// The segment.
    pub segment: SegmentId,
    /// Bytes used.
    pub length: u32,
    /// A write or sync of it failed: part of its entries stand in a later segment, and
    /// the file must not be recycled.
    pub poisoned: bool,
}

/// Why an entry was not taken. Nothing was appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AppendError {
    /// The disk quota of this class is used up: consumers lag or the quota is too small.
    #[error(
        "journal is above {percent} % of its quota, which ends class {class:?}: wait for \
             the consumers or raise journal.quota"
    )]
    Full {
        /// The refused class.
        class: Priority,
        /// Its share of the quota.
        percent: u64,
    },
    /// No prepared segment has room: the files side lags or the disk is full.
    #[error("journal has no prepared segment for class {class:?}: the disk is full or slow")]
    NoSegment {
        /// The refused class.
        class: Priority,
    },
    /// Too much waits in memory for the disk.
    #[error("journal has {pending} bytes waiting for the disk: it is slower than the load")]
    Stalled {
        /// Bytes that wait.
        pending: usize,
    },
    /// The record exceeds a limit; it will never be taken.
    #[error("record of {bytes} bytes exceeds the journal's limit of {limit}")]
    TooLarge {
        /// Size of the frame or name.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

/// Plain counters, read by the scraper.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct JournalCounters {
    /// Entries appended.
    pub entries: u64,
    /// Blocks sealed.
    pub blocks: u64,
    /// Bytes written, padding included.
    pub written_bytes: u64,
    /// Syncs that succeeded.
    pub syncs: u64,
    /// Segments taken into use.
    pub segments: u64,
    /// Writes that failed or were short.
    pub write_failures: u64,
    /// Syncs that failed.
    pub sync_failures: u64,
    /// Entries that were appended again after a failure.
    pub appended_again: u64,
    /// Refused appends by class index.
    pub refused: [u64; 4],
}

/// The journal of one shard.
#[derive(Debug)]
pub struct Journal {
    streams: [Stream; 2],
    frame_bytes_max: usize,
    pending_bytes_max: usize,
    quota_bytes: u64,
    /// Reported by the files side, and what was written since.
    used_bytes: u64,
    used_reported_at: u64,
    counters: JournalCounters,
}

impl Journal {
    /// An empty journal of a new boot. It takes entries once its first segments are
    /// prepared, see [`Journal::is_ready`].
    pub fn new(config: &JournalConfig) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            streams: Kind::ALL.map(|kind| Stream::new(config, kind)),
            frame_bytes_max: config.frame_bytes_max,
            pending_bytes_max: config.pending_bytes_max,
            quota_bytes: config.quota_bytes,
            used_bytes: 0,
            used_reported_at: 0,
            counters: JournalCounters::default(),
        })
    }

    /// Appends a record to the log of its class.
    pub fn append(&mut self, record: &RecordRef<'_>, now_us: u64) -> Result<Sequence, AppendError> {
        let bytes = entry::record_bytes(record);
        self.admit(record, bytes).inspect_err(|_| {
            self.counters.refused[record.class as usize] += 1;
        })?;
        self.counters.entries += 1;
        let stream = &mut self.streams[Kind::of(record.class).index()];
        Ok(stream.append(bytes, now_us, |out| entry::put_record(out, record)))
    }

    /// Appends a mark to the urgent log. Its record was accepted already, so only the
    /// limits of P0 apply.
    pub fn append_mark(&mut self, mark: &Mark, now_us: u64) -> Result<Sequence, AppendError> {
        let bytes = entry::mark_bytes();
        self.admit_space(Kind::Urgent, Priority::P0, bytes)
            .inspect_err(|_| {
                self.counters.refused[0] += 1;
            })?;
        self.counters.entries += 1;
        let stream = &mut self.streams[Kind::Urgent.index()];
        Ok(stream.append(bytes, now_us, |out| entry::put_mark(out, mark)))
    }

    /// The next thing to do, the urgent log first.
    pub fn next_action(&mut self, now_us: u64) -> Option<Action> {
        let counters = &mut self.counters;
        self.streams
            .iter_mut()
            .find_map(|stream| stream.next_action(now_us, counters))
    }

    /// A write has ended: bytes written or a negative errno, and its buffer.
    pub fn on_written(&mut self, token: u64, result: i32, buffer: Vec<u8>) {
        let stream = &mut self.streams[(token & 1) as usize];
        stream.on_written(token, result, buffer, &mut self.counters);
    }

    /// A sync has ended: 0 or a negative errno.
    pub fn on_synced(&mut self, token: u64, result: i32) {
        let stream = &mut self.streams[(token & 1) as usize];
        stream.on_synced(token, result, &mut self.counters);
    }

    /// The segment that [`Action::Prepare`] asked for exists and is open.
    pub fn on_prepared(&mut self, segment: SegmentId) {
        self.streams[segment.kind.index()].on_prepared(segment.number);
    }

    /// The segment could not be created; the journal asks again after a second.
    pub fn on_prepare_failed(&mut self, segment: SegmentId, now_us: u64) {
        self.streams[segment.kind.index()].on_prepare_failed(now_us);
    }

    /// The files side counts `bytes` of this shard that a cursor still needs.
    pub fn set_used_bytes(&mut self, bytes: u64) {
        self.used_bytes = bytes;
        self.used_reported_at = self.counters.written_bytes;
    }

    /// Last sequence that is in the page cache: it survives the death of the process.
    pub fn written_through(&self, kind: Kind) -> Sequence {
        self.streams[kind.index()].written_through()
    }

    /// Last sequence that is on the disk.
    pub fn durable_through(&self, kind: Kind) -> Sequence {
        self.streams[kind.index()].durable_through()
    }

    /// The sequence that the next entry gets.
    pub fn next_sequence(&self, kind: Kind) -> Sequence {
        self.streams[kind.index()].next_sequence()
    }

    /// When to call `next_action` without a completion, in the clock of `now_us`.
    pub fn next_deadline_us(&self) -> Option<u64> {
        self.streams
            .iter()
            .filter_map(Stream::next_deadline_us)
            .min()
    }

    /// The log that an operation's token belongs to.
    pub fn kind_of(token: u64) -> Kind {
        Kind::ALL[(token & 1) as usize]
    }

    /// Bytes appended and not yet synced.
    pub fn pending_bytes(&self) -> usize {
        self.streams.iter().map(Stream::pending_bytes).sum()
    }

    /// Bytes of the quota that are used.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes + (self.counters.written_bytes - self.used_reported_at)
    }

    /// The quota.
    pub fn quota_bytes(&self) -> u64 {
        self.quota_bytes
    }

    /// Whether both logs have a segment to write to.
    pub fn is_ready(&self) -> bool {
        self.streams.iter().all(|stream| stream.room(0) > 0)
    }

    /// Whether everything appended is durable and nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.streams.iter().all(Stream::is_idle)
    }

    /// Counters since the start.
    pub fn counters(&self) -> &JournalCounters {
        &self.counters
    }

    fn admit(&self, record: &RecordRef<'_>, bytes: usize) -> Result<(), AppendError> {
        if record.frame.len() > self.frame_bytes_max {
            let limit = self.frame_bytes_max;
            return Err(AppendError::TooLarge {
                bytes: record.frame.len(),
                limit,
            });
        }
        if record.channel.len() > CHANNEL_BYTES_MAX {
            let limit = CHANNEL_BYTES_MAX;
            return Err(AppendError::TooLarge {
                bytes: record.channel.len(),
                limit,
            });
        }
        let class = record.class;
        let percent = QUOTA_PERCENT[class as usize];
        let used = self.used_bytes();
        if class != Priority::P0 && used >= self.quota_bytes / 100 * percent {
            return Err(AppendError::Full { class, percent });
        }
        self.admit_space(Kind::of(class), class, bytes)
    }

    fn admit_space(&self, kind: Kind, class: Priority, bytes: usize) -> Result<(), AppendError> {
        let stream = &self.streams[kind.index()];
        let critical = class == Priority::P0;
        let share = if critical {
            100
        } else {
            PENDING_SHARED_PERCENT
        };
        let pending = stream.pending_bytes();
        if pending + bytes > self.pending_bytes_max / 100 * share {
            return Err(AppendError::Stalled { pending });
        }
        let reserve = usize::from(kind == Kind::Urgent && !critical);
        if stream.room(reserve) < bytes {
            return Err(AppendError::NoSegment { class });
        }
        Ok(())
    }
}
