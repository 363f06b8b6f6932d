//! Positions, publishing and recent events of channels, over all nodes that share them.
//!
//! Purpose: one trait, whose cluster implementation asks a broker and whose one-node
//! implementation is a few maps. A shard that owns a channel on a single node embeds a
//! [`Sequencer`] in its channel table instead: the trait is the seam for the cluster, and
//! its conformance suite fixes what both mean.
//!
//! Rules of `Publish`: records of one call belong to one partition and are placed in their
//! order; a record id that was placed within the last minutes gets the same placement again
//! and is not delivered again. A channel that the backplane may have lost goes on after what the
//! caller knows of it ([`Floor`]); a caller that can ask an archive is told for which channels it
//! has to, and nothing of its call is placed before it has.
//!
//! Rules of what comes by itself: events of a channel come in order, each record once for a
//! subscription. Where that cannot be kept, [`BackplaneEvent::Skipped`] says from where the
//! channel goes on: after it the next [`BackplaneEvent::Message`] follows that position.
//! The first thing that an implementation says is its [`Standing`].

mod floor;
mod one_node;
mod sequencer;
#[cfg(test)]
mod tests;

pub use floor::Floor;
pub use one_node::OneNodeBackplane;
pub use sequencer::{holds, next_epoch, Sequencer};

use interlink_protocol::ids::{placement_hash, Position, RecordId};
use interlink_protocol::priority::Priority;

use crate::files::HistoryPage;
use crate::ports::{Busy, Ticket};
use crate::record::Placement;

/// The partition of a channel: what one call of the backplane may cover, and what changes
/// servers as a whole. `partitions` is fixed for the life of a cluster.
///
/// # Panics
/// When `partitions` is 0.
pub fn partition_of(channel: &str, partitions: u16) -> u16 {
    (placement_hash(channel.as_bytes()) % u64::from(partitions)) as u16
}

/// A record to be placed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Publish<'a> {
    /// Full channel name.
    pub channel: &'a str,
    /// Class of the channel.
    pub class: Priority,
    /// Identity of the record.
    pub record: RecordId,
    /// When it was accepted, microseconds since the Unix epoch.
    pub accepted_at_us: u64,
    /// What the caller knows of the channel's positions: a backplane that has lost everything
    /// about the channel goes on there, so that offsets do not start again.
    pub floor: Floor,
    /// The encoded event; its position is written by the backplane.
    pub frame: &'a [u8],
}

/// A node of the cluster, for one life of its process: a hash of its name, and a random number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u64);

/// Low bits of a [`NodeId`] that tell the lives of a node apart; the others are of its name. Two
/// lives that follow each other have the same number once in 16 million, two names of a cluster of
/// 64 nodes once in 500 million.
const LIFE_BITS: u32 = 24;

impl NodeId {
    /// A life of the node with a name; of `random` the low bits count.
    pub fn of(name: &str, random: u64) -> Self {
        let life = random & ((1 << LIFE_BITS) - 1);
        Self(NodeName::of(name).0 << LIFE_BITS | life)
    }

    /// Which node this is a life of.
    pub fn name(self) -> NodeName {
        NodeName(self.0 >> LIFE_BITS)
    }
}

/// A hash of a node's name: the name that its records carry in the log, so that whoever reads them
/// can tell whether their node has a lease.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeName(u64);

impl NodeName {
    /// That of a name.
    pub fn of(name: &str) -> Self {
        Self(placement_hash(name.as_bytes()) >> LIFE_BITS)
    }
}

/// Who has a lease.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leases {
    /// Whether the lease that was asked for had not ended, as far as the backplane knows: when it
    /// should not have, the backplane may have forgotten others too.
    pub was_held: bool,
    /// Nodes whose lease has not ended, ascending, at most [`crate::limits::NODES_MAX`].
    pub nodes: Vec<NodeId>,
}

/// A lease that has not ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// The node.
    pub node: NodeId,
    /// How long it lasts by the clock of the backplane, in milliseconds.
    pub left_ms: u64,
}

/// A request.
#[derive(Clone, Copy, Debug)]
pub enum BackplaneRequest<'a> {
    /// Place and deliver records of one partition, at most [`crate::limits::PORT_BATCH_MAX`].
    Publish(&'a [Publish<'a>]),
    /// Take what an archive knows of channels of one partition, at most
    /// [`crate::limits::PORT_BATCH_MAX`]: those of which the backplane has no event go on after it,
    /// or after a higher floor of their first publish.
    Seed {
        /// Their partition.
        partition: u16,
        /// Channels and their newest positions.
        tops: &'a [(Box<str>, Position)],
        /// Whether the archive knows no other channels of the partition than those that it was
        /// given since it was seeded first.
        is_all: bool,
    },
    /// Tell other nodes an event of a channel that keeps nothing. It is not placed, not stored
    /// and not repaired; nodes that are subscribed get it at most once.
    Tell {
        /// Full channel name.
        channel: &'a str,
        /// The encoded event.
        frame: &'a [u8],
    },
    /// Recent events after a position; [`Position::ZERO`] asks from the oldest.
    History {
        /// Full channel name.
        channel: &'a str,
        /// Where the events start.
        after: Position,
        /// Most events.
        limit: usize,
    },
    /// Where records stand that were placed within the last minutes; nothing is placed. At most
    /// [`crate::limits::PORT_BATCH_MAX`].
    Known {
        /// Their partition.
        partition: u16,
        /// Their ids.
        records: &'a [RecordId],
    },
    /// Position of the newest event.
    Top {
        /// Full channel name.
        channel: &'a str,
    },
    /// From the answer on, every event of the channel comes as a message, and what other nodes
    /// tell.
    Subscribe {
        /// Full channel name.
        channel: &'a str,
    },
    /// Ends a subscription. Nothing of the channel comes after the answer.
    Unsubscribe {
        /// Full channel name.
        channel: &'a str,
    },
    /// Keeps the lease of a node for a time from now, by the clock of the backplane, and asks who
    /// else has one. A node beyond [`crate::limits::NODES_MAX`] gets none.
    Lease {
        /// The node.
        node: NodeId,
        /// How long it lasts, in milliseconds; 0 ends it.
        life_ms: u64,
    },
    /// Asks who has a lease, for somebody who has none.
    Leases,
}

/// The fate of one published record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Published {
    /// Where it stands.
    pub placement: Placement,
    /// It was placed by an earlier call.
    pub repeated: bool,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BackplaneAnswer {
    /// One entry for each record, in their order.
    Published(Vec<Published>),
    /// Nothing was placed: these channels may have been lost, and the caller can ask for them
    /// ([`Floor::Unasked`]). The same records are submitted again with what it was told.
    TopsWanted(Vec<Box<str>>),
    /// They were taken.
    Seeded {
        /// Whether other channels of the partition may have been lost.
        lacks: bool,
    },
    /// The events.
    History(HistoryPage),
    /// One entry for each record, in their order; nothing where an id is not known.
    Known(Vec<Option<Placement>>),
    /// The position; [`Position::ZERO`] offsets mean that nothing was published.
    Top(Position),
    /// The subscription is live after this position.
    Subscribed(Position),
    /// The subscription has ended.
    Unsubscribed,
    /// The event is on its way to other nodes; whether it arrives is not known.
    Sent,
    /// Who has a lease now.
    Leased(Leases),
    /// The leases that have not ended, by ascending node, at most [`crate::limits::NODES_MAX`].
    Leases(Vec<Lease>),
}

/// Why a request failed. It can be submitted again; published records keep their ids.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BackplaneError {
    /// Nobody answers.
    #[error("the backplane is away: requests are submitted again when it is back")]
    Away,
    /// The call holds more records than one call may.
    #[error("{records} records in one call are too many: split them into calls of {limit}")]
    TooMany {
        /// What was submitted.
        records: usize,
        /// The most.
        limit: usize,
    },
    /// The records of one call belong to different partitions.
    #[error("the records of one call belong to several partitions: submit a call for each")]
    Partitions,
    /// The servers refuse the call for a reason that does not pass by itself.
    #[error("the backplane refuses the call; its log names the answer of the server")]
    Refused,
}

/// Whether a backplane can be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// All partitions can be reached.
    Connected,
    /// A connection was lost or a server changes: calls to its partitions are answered
    /// [`BackplaneError::Away`]. What is lost is sought several times a second.
    Reconnecting,
    /// The same for longer, or the servers accept no writes.
    Away,
}

/// Why a subscription goes on elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SkipReason {
    /// Positions were given again after a failure: what comes next follows an earlier position,
    /// records that were delivered before stand at new positions, or the epoch is another one.
    Lineage,
    /// What was missed is not kept by the backplane any more; the archive may have it.
    Retention,
}

/// What a backplane has to say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BackplaneEvent {
    /// The answer to a request.
    Answer(Ticket, Result<BackplaneAnswer, BackplaneError>),
    /// An event of a subscribed channel, in the order of its positions.
    Message {
        /// Full channel name.
        channel: Box<str>,
        /// Where it stands.
        placement: Placement,
        /// The encoded event, position included.
        frame: Box<[u8]>,
    },
    /// An event that another node told.
    Told {
        /// Full channel name.
        channel: Box<str>,
        /// The encoded event.
        frame: Box<[u8]>,
    },
    /// A subscribed channel goes on after a position that its last message does not lead to.
    Skipped {
        /// Full channel name.
        channel: Box<str>,
        /// The next message follows it.
        position: Position,
        /// Events between the last message and `position` that are not delivered; 0 when they
        /// were delivered already or `position` lies before the last message.
        skipped: u64,
        /// Why.
        reason: SkipReason,
    },
    /// The server of these partitions may have lost what was placed last: records of the last
    /// 60 seconds are submitted again, in order, behind the newest that stands where it was
    /// placed ([`BackplaneRequest::Known`]). What was submitted before this was taken is not
    /// placed after it: it is answered [`BackplaneError::Away`].
    LineageChanged {
        /// The partitions, ascending.
        partitions: Box<[u16]>,
    },
    /// Whether the backplane can be used, at first and after every change.
    Standing(Standing),
}

/// The port.
pub trait Backplane {
    /// Takes a request. `now_us` is microseconds since the Unix epoch, never going back.
    ///
    /// # Errors
    /// [`Busy`] when too much is under way; nothing was taken.
    fn submit(&mut self, request: BackplaneRequest<'_>, now_us: u64) -> Result<Ticket, Busy>;

    /// The next answer or event, in the order in which they happened.
    fn complete(&mut self) -> Option<BackplaneEvent>;
}
