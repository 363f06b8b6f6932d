//! What consumers of topics write into an archive.

use interlink_protocol::ids::{Position, RecordId};
use interlink_protocol::priority::Priority;

use crate::record::Placement;

/// Where a record entered the log: one class of one shard in one boot of a node. Within a
/// source and a partition sequences grow.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Source {
    /// Name of the node.
    pub node: Box<str>,
    /// Identity of its boot.
    pub boot: u32,
    /// The shard.
    pub shard: u16,
    /// The class.
    pub class: Priority,
}

/// An accepted event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArchivedEvent<'a> {
    /// Identity of the record.
    pub record: RecordId,
    /// Class of the channel.
    pub class: Priority,
    /// Full channel name.
    pub channel: &'a str,
    /// Hash of the payload.
    pub payload_hash: u64,
    /// When it was accepted, microseconds since the Unix epoch.
    pub accepted_at_us: u64,
    /// Where it stands, when that was known.
    pub placement: Option<Placement>,
    /// The encoded event.
    pub frame: &'a [u8],
}

/// What a record of a topic says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopicEntry<'a> {
    /// An event.
    Event(ArchivedEvent<'a>),
    /// Where an event stands that came without a position, or stands now.
    Positioned {
        /// The event's record.
        record: RecordId,
        /// Full channel name.
        channel: &'a str,
        /// Its place.
        placement: Placement,
    },
}

impl TopicEntry<'_> {
    /// The record that it is about.
    pub fn record(&self) -> RecordId {
        match self {
            Self::Event(event) => event.record,
            Self::Positioned { record, .. } => *record,
        }
    }

    /// Full channel name.
    pub fn channel(&self) -> &str {
        match self {
            Self::Event(event) => event.channel,
            Self::Positioned { channel, .. } => channel,
        }
    }

    /// The position in it.
    pub fn position(&self) -> Option<Position> {
        let placement = match self {
            Self::Event(event) => event.placement,
            Self::Positioned { placement, .. } => Some(*placement),
        };
        placement.map(|placement| placement.position)
    }
}

/// A record of a topic.
#[derive(Clone, Debug)]
pub struct TopicRecord<'a> {
    /// Where it entered the log.
    pub source: &'a Source,
    /// Its number there.
    pub sequence: u64,
    /// What it says.
    pub entry: TopicEntry<'a>,
}

/// A consumer's place in a partition of a topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Consumed<'a> {
    /// The group.
    pub group: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// The offset that the archive is believed to hold: the first that was not consumed.
    pub start: i64,
    /// The offset after the last consumed record.
    pub end: i64,
    /// Everything in the partition up to this time has been consumed with it, microseconds
    /// since the Unix epoch.
    pub through_us: u64,
}

/// What became of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// Effect and offset are stored.
    Stored(Stored),
    /// Another consumer has moved the offset: nothing was stored, go on from there.
    Elsewhere {
        /// The offset that the archive holds.
        next: i64,
    },
}

/// Counts of a stored batch.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Events that were new.
    pub events: u64,
    /// Events that had come before, by sequence or by id.
    pub repeats: u64,
    /// Positions of events that are not known (any more); they were left out.
    pub orphans: u64,
}
