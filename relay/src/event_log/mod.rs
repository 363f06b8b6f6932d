//! The log of everything accepted, for workers: append, read as a group, commit.
//!
//! A log has lanes; within a lane records come in order, and a group has one cursor in each.
//! What was read and not committed comes again to the next reader of the group: at least once.
//! On a single node a lane is a shard and kind of its journal, in Kafka a partition of a topic.
//!
//! Every record keeps its *source*: the place in the journal of the node that accepted it. In a
//! single node's log that is also its place in the log.

mod one_node;
#[cfg(test)]
mod tests;

pub use one_node::OneNodeLog;

use interlink_protocol::ids::{InstanceId, RecordId};
use interlink_protocol::priority::Priority;

use crate::files::FilesError;
use crate::journal::AppendError;
use crate::kafka::consumer::Lane;
use crate::ports::{Busy, Ticket};
use crate::record::{Kind, Placement, RecordRef, Sequence};

/// A place in the journal of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LogPosition {
    /// Number of the boot.
    pub boot: u32,
    /// The shard.
    pub shard: u16,
    /// The kind of journal.
    pub kind: Kind,
    /// The entry.
    pub sequence: Sequence,
}

/// What a group commits to: a place in a lane.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum LogPlace {
    /// In the journal of a single node.
    Journal(LogPosition),
    /// In Kafka.
    Partition {
        /// Topic and partition.
        lane: Lane,
        /// Offset in the partition.
        offset: i64,
    },
}

/// A record of a log and where it stands there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Logged {
    /// What is committed once the record and all before it were processed.
    pub place: LogPlace,
    /// The record.
    pub record: LogRecord,
}

/// What a node adds to the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendKind {
    /// An accepted event.
    Event,
    /// Where an event that was appended without a placement stands; its record has one now.
    Positioned,
}

/// One addition to the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Append<'a> {
    /// Where the event stands in the journal of the node that accepted it. Sequences of one
    /// shard, class and boot rise, so that consumers can tell repeats.
    pub from: LogPosition,
    /// What is added.
    pub kind: AppendKind,
    /// The event.
    pub record: RecordRef<'a>,
}

/// A record as a consumer gets it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogRecord {
    /// Where it stands in the journal of the node that accepted it.
    pub at: LogPosition,
    /// Class of the channel.
    pub class: Priority,
    /// Identity of the record.
    pub record: RecordId,
    /// Publisher instance.
    pub instance: InstanceId,
    /// Its id there.
    pub client_message_id: u64,
    /// Hash of the payload.
    pub payload_hash: u64,
    /// When it was accepted, microseconds since the Unix epoch.
    pub accepted_at_us: u64,
    /// Full channel name.
    pub channel: Box<str>,
    /// Where it stands in its channel, when the journaling shard knew.
    pub placement: Option<Placement>,
    /// The encoded event.
    pub frame: Box<[u8]>,
}

impl LogRecord {
    /// The record as it is in the log at a place.
    pub fn of(record: &RecordRef<'_>, at: LogPosition) -> Self {
        Self {
            at,
            class: record.class,
            record: record.record,
            instance: record.instance,
            client_message_id: record.client_message_id,
            payload_hash: record.payload_hash,
            accepted_at_us: record.accepted_at_us,
            channel: record.channel.into(),
            placement: record.placement,
            frame: record.frame.into(),
        }
    }

    /// The same, to be appended.
    pub fn borrowed(&self) -> RecordRef<'_> {
        RecordRef {
            class: self.class,
            record: self.record,
            instance: self.instance,
            client_message_id: self.client_message_id,
            payload_hash: self.payload_hash,
            accepted_at_us: self.accepted_at_us,
            channel: &self.channel,
            placement: self.placement,
            frame: &self.frame,
        }
    }
}

/// A request.
#[derive(Clone, Copy, Debug)]
pub enum LogRequest<'a> {
    /// Add to the log, at most [`crate::limits::PORT_BATCH_MAX`] at once; answered when all of
    /// them and all earlier ones of their classes are durable. Calls of one class keep their
    /// order.
    Append(&'a [Append<'a>]),
    /// The next records for a group, all of one lane, after the group's cursor there and after
    /// what this reader got before. Lanes take turns.
    Read {
        /// The group.
        group: &'a str,
        /// Most records.
        limit: usize,
    },
    /// Everything of a lane up to a place has been processed by the group. A cursor never goes
    /// back.
    Commit {
        /// The group.
        group: &'a str,
        /// The last processed record.
        through: &'a LogPlace,
    },
    /// Forget what this reader got: the next read starts at the group's cursors again.
    Rewind {
        /// The group.
        group: &'a str,
    },
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogAnswer {
    /// Everything is durable.
    Appended,
    /// Events in order, those of one lane; empty when there is nothing new.
    Records(Vec<Logged>),
    /// The cursor is durable.
    Committed,
    /// The reader starts over.
    Rewound,
}

/// Why a request failed. It can be submitted again.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A record was refused; those before it are in the log.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The files could not be read or written.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The place is none of this log.
    #[error("the place is in another log; commit what this log has handed out")]
    ForeignPlace,
    /// More than one call may hold.
    #[error("{records} records in one call are too many: split them into calls of {limit}")]
    TooMany {
        /// What was submitted.
        records: usize,
        /// The most.
        limit: usize,
    },
    /// Kafka could not be asked, or refused.
    #[error(transparent)]
    Group(#[from] crate::kafka::consumer::GroupFault),
}

/// The port.
pub trait EventLog {
    /// Takes a request. `now_us` is microseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`Busy`] when too much is under way; nothing was taken.
    fn submit(&mut self, request: LogRequest<'_>, now_us: u64) -> Result<Ticket, Busy>;

    /// The next answer.
    fn complete(&mut self) -> Option<(Ticket, Result<LogAnswer, LogError>)>;
}
