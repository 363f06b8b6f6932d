//! The log of everything accepted, for workers: append, read as a group, commit.
//!
//! A log has lanes, one for each shard and kind of journal; within a lane records come in
//! order, and a group has one cursor in each. What was read and not committed comes again
//! to the next reader of the group: at least once.

mod one_node;
#[cfg(test)]
mod tests;

pub use one_node::OneNodeLog;

use interlink_protocol::ids::{InstanceId, RecordId};
use interlink_protocol::priority::Priority;

use crate::files::FilesError;
use crate::journal::AppendError;
use crate::ports::{Busy, Ticket};
use crate::record::{Kind, Placement, RecordRef, Sequence};

/// A place in the log.
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

/// A record as a consumer gets it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogRecord {
    /// Where it stands in the log; what is committed after it was processed.
    pub at: LogPosition,
    /// Class of the channel.
    pub class: Priority,
    /// Identity of the record.
    pub record: RecordId,
    /// Publisher instance.
    pub instance: InstanceId,
    /// Its id there.
    pub client_message_id: u64,
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
    pub(crate) fn of(record: &RecordRef<'_>, at: LogPosition) -> Self {
        Self {
            at,
            class: record.class,
            record: record.record,
            instance: record.instance,
            client_message_id: record.client_message_id,
            accepted_at_us: record.accepted_at_us,
            channel: record.channel.into(),
            placement: record.placement,
            frame: record.frame.into(),
        }
    }
}

/// A request.
#[derive(Clone, Copy, Debug)]
pub enum LogRequest<'a> {
    /// Add records, at most [`crate::limits::PORT_BATCH_MAX`]; answered when durable.
    Append(&'a [RecordRef<'a>]),
    /// The next records of one lane for a group, after its cursor and after what this
    /// reader got before.
    Read {
        /// The group.
        group: &'a str,
        /// The lane's shard.
        shard: u16,
        /// The lane's kind.
        kind: Kind,
        /// Most records.
        limit: usize,
    },
    /// Everything of a lane up to a position has been processed by the group.
    Commit {
        /// The group.
        group: &'a str,
        /// The last processed record.
        through: LogPosition,
    },
    /// Forget what this reader got: the next read starts at the group's cursor again.
    Rewind {
        /// The group.
        group: &'a str,
    },
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogAnswer {
    /// All records are durable.
    Appended,
    /// In order; empty when there is nothing new.
    Records(Vec<LogRecord>),
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
