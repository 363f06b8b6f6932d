//! Positions, publishing and recent events of channels, over all nodes that share them.
//!
//! Purpose: one trait, whose cluster implementation asks a broker and whose one-node
//! implementation is a few maps. A shard that owns a channel on a single node embeds a
//! [`Sequencer`] in its channel table instead: the trait is the seam for the cluster, and
//! its conformance suite fixes what both mean.
//!
//! Rules of `Publish`: records of one call are placed in their order; a record id that was
//! placed within the last minutes gets the same placement again and is not delivered again.

mod one_node;
mod sequencer;
#[cfg(test)]
mod tests;

pub use one_node::OneNodeBackplane;
pub use sequencer::{holds, next_epoch, Sequencer};

use interlink_protocol::ids::{Position, RecordId};
use interlink_protocol::priority::Priority;

use crate::files::HistoryPage;
use crate::ports::{Busy, Ticket};
use crate::record::Placement;

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
    /// The encoded event; its position is written by the backplane.
    pub frame: &'a [u8],
}

/// A request.
#[derive(Clone, Copy, Debug)]
pub enum BackplaneRequest<'a> {
    /// Place and deliver records, at most [`crate::limits::PORT_BATCH_MAX`].
    Publish(&'a [Publish<'a>]),
    /// Recent events after a position; [`Position::ZERO`] asks from the oldest.
    History {
        /// Full channel name.
        channel: &'a str,
        /// Where the events start.
        after: Position,
        /// Most events.
        limit: usize,
    },
    /// Position of the newest event.
    Top {
        /// Full channel name.
        channel: &'a str,
    },
    /// From the answer on, every event of the channel comes as a message.
    Subscribe {
        /// Full channel name.
        channel: &'a str,
    },
    /// Ends a subscription.
    Unsubscribe {
        /// Full channel name.
        channel: &'a str,
    },
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
    /// The events.
    History(HistoryPage),
    /// The position; [`Position::ZERO`] offsets mean that nothing was published.
    Top(Position),
    /// The subscription is live after this position.
    Subscribed(Position),
    /// The subscription has ended.
    Unsubscribed,
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
}

/// The port.
pub trait Backplane {
    /// Takes a request. `now_us` is microseconds since the Unix epoch, never going back.
    ///
    /// # Errors
    /// [`Busy`] when too much is under way; nothing was taken.
    fn submit(&mut self, request: BackplaneRequest<'_>, now_us: u64) -> Result<Ticket, Busy>;

    /// The next answer or message.
    fn complete(&mut self) -> Option<BackplaneEvent>;
}
