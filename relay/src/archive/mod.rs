//! What is known for longer than a channel's recent events: history, accepted ids, newest
//! positions, delivery cursors and consumer offsets.
//!
//! Answers say what they do not know: a position that cannot be continued is a
//! [`crate::files::Gap`], an id from before what is retained is
//! [`crate::dedupe::Verdict::TooOld`], and where consumers have not come far enough to tell,
//! the answer is [`ArchiveError::Behind`].
//!
//! Nodes read through this port and move cursors. What is archived comes another way: from the
//! journal itself on a single node, from consumers of topics in a cluster, as [`TopicRecord`]s.

mod entry;
mod error;
mod one_node;
#[cfg(test)]
mod tests;

pub use entry::{Applied, ArchivedEvent, Consumed, Source, Stored, TopicEntry, TopicRecord};
pub use error::ArchiveError;
pub use one_node::OneNodeArchive;

use interlink_protocol::ids::{InstanceId, Position, RecordId};
use interlink_protocol::priority::Priority;

use crate::cursors::{CursorStart, CursorUpdate};
use crate::dedupe::Verdict;
use crate::event_log::LogPosition;
use crate::files::{HistoryFloor, HistoryPage};
use crate::ports::{Busy, Ticket};
use crate::record::{Kind, Placement};

/// A request.
#[derive(Clone, Copy, Debug)]
pub enum ArchiveRequest<'a> {
    /// Past events after a position; [`Position::ZERO`] asks from the oldest.
    History {
        /// Full channel name.
        channel: &'a str,
        /// Where the events start.
        after: Position,
        /// Most events.
        limit: usize,
        /// What counts as not retained although the archive has it.
        floor: HistoryFloor,
    },
    /// Position of the newest event that is retained.
    Top {
        /// Full channel name.
        channel: &'a str,
    },
    /// The same of many channels, at most [`crate::limits::PORT_BATCH_MAX`]: where they go on when
    /// a backplane has lost them.
    Tops {
        /// Full channel names.
        channels: &'a [Box<str>],
    },
    /// Where an event stands here whose position is of another region, or was lost.
    Locate {
        /// Full channel name.
        channel: &'a str,
        /// The event's record.
        record: RecordId,
    },
    /// Where records stand that may have been numbered long ago. A record that is not known is
    /// new when the archive is complete enough to tell.
    Places {
        /// Full channel names and records, at most [`crate::limits::PORT_BATCH_MAX`].
        records: &'a [(&'a str, RecordId)],
    },
    /// Whether a publish whose first attempt is old was accepted. Clusters know it by its
    /// record, single nodes by instance, class and id.
    Accepted {
        /// Identity of the record.
        record: RecordId,
        /// Publisher instance.
        instance: InstanceId,
        /// Class of the channel.
        class: Priority,
        /// Its id there.
        client_message_id: u64,
        /// Hash of the payload.
        payload_hash: u64,
        /// Time of the first attempt, microseconds since the Unix epoch.
        since_us: u64,
    },
    /// Move delivery cursors; answered when durable.
    AdvanceCursors(&'a [CursorUpdate]),
    /// Where a device continues.
    Cursor {
        /// The user.
        user: &'a str,
        /// The user's device.
        device: &'a str,
        /// Full channel name.
        channel: &'a str,
    },
    /// Move a consumer group's offset; answered when durable.
    CommitOffset {
        /// The group.
        group: &'a str,
        /// The last processed record.
        through: LogPosition,
    },
    /// A consumer group's offset.
    Offset {
        /// The group.
        group: &'a str,
        /// The lane's shard.
        shard: u16,
        /// The lane's kind.
        kind: Kind,
    },
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ArchiveAnswer {
    /// The events.
    History(HistoryPage),
    /// The position, when the channel has retained events.
    Top(Option<Position>),
    /// One entry for each channel, in their order, as [`Self::Top`].
    Tops(Vec<Option<Position>>),
    /// The position, when the event is retained.
    Located(Option<Position>),
    /// The newest place of each record, in their order, where one is known.
    Places(Vec<Option<Placement>>),
    /// What is known of the id.
    Accepted(Verdict),
    /// The cursors are durable.
    CursorsAdvanced,
    /// The cursor, when there is one.
    Cursor(Option<CursorStart>),
    /// The offset is durable.
    OffsetCommitted,
    /// The offset, when there is one.
    Offset(Option<LogPosition>),
}

/// The port.
pub trait Archive {
    /// Takes a request. `now_us` is microseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`Busy`] when too much is under way; nothing was taken.
    fn submit(&mut self, request: ArchiveRequest<'_>, now_us: u64) -> Result<Ticket, Busy>;

    /// The next answer. After an error that is temporary the request can be submitted again.
    fn complete(&mut self) -> Option<(Ticket, Result<ArchiveAnswer, ArchiveError>)>;
}
