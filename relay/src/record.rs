//! What crosses the crate's boundary: records, marks and where they stand in a journal.
//!
//! All of it is borrowed or `Copy`. Bytes that are in a journal were verified before they
//! came in and are protected by the block's CRC, so that nothing here is parsed again.

use interlink_protocol::ids::{InstanceId, Position, RecordId};
use interlink_protocol::priority::Priority;

/// Which of a shard's two logs an entry belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Kind {
    /// P0, P1 and P2, and marks: committed as fast as the disk allows.
    Urgent = 0,
    /// P3: committed every 100 ms.
    Background = 1,
}

impl Kind {
    /// Both kinds, the urgent one first.
    pub const ALL: [Kind; 2] = [Kind::Urgent, Kind::Background];

    /// The log that records of `class` go to.
    pub fn of(class: Priority) -> Self {
        if class == Priority::P3 {
            Self::Background
        } else {
            Self::Urgent
        }
    }

    /// Position in arrays by kind.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The kind with this number in a block header.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Urgent),
            1 => Some(Self::Background),
            _ => None,
        }
    }

    /// The word in file names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Background => "background",
        }
    }
}

/// Number of an entry in one log of one shard and boot: 1, 2, 3 and so on, without holes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Sequence(pub u64);

impl Sequence {
    /// Before the first entry.
    pub const NONE: Self = Self(0);

    /// The sequence after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// One segment file of one shard and boot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SegmentId {
    /// The log it belongs to.
    pub kind: Kind,
    /// 1, 2, 3 and so on within the log; a number is never used twice in a boot.
    pub number: u32,
}

/// One log of one shard in one boot of a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct StreamId {
    /// Random identity of the boot. Never shown to clients: it keeps them from writing
    /// payloads that look like blocks.
    pub boot: u64,
    /// The shard.
    pub shard: u16,
    /// The log.
    pub kind: Kind,
}

/// Where an event stands in its channel.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Placement {
    /// Its own position.
    pub position: Position,
    /// Chain value of the event before it.
    pub previous_chain: u64,
}

/// One accepted event as it is journaled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordRef<'a> {
    /// Class of the channel.
    pub class: Priority,
    /// Identity of the record, the same on every node and retry.
    pub record: RecordId,
    /// Publisher instance.
    pub instance: InstanceId,
    /// Counter of the instance.
    pub client_message_id: u64,
    /// Hash of the payload; another one under the same id is a conflict.
    pub payload_hash: u64,
    /// When the node accepted it, microseconds since the Unix epoch.
    pub accepted_at_us: u64,
    /// Full channel name.
    pub channel: &'a str,
    /// Present when the shard that journals it also owns the channel; else the owner
    /// journals a [`Mark`].
    pub placement: Option<Placement>,
    /// The encoded event frame. When `placement` is present the same values are in it.
    pub frame: &'a [u8],
}

/// The owner's note of where it placed a record that another shard has journaled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The record.
    pub record: RecordId,
    /// Placement hash of the channel's name.
    pub channel_hash: u64,
    /// The position it got.
    pub position: Position,
    /// Chain value of the event before it.
    pub previous_chain: u64,
}
