//! The values that an application receives.
//!
//! Runs on: any thread; owned values, cheap to move.

use std::sync::Arc;
use std::time::Duration;

use interlink_protocol::ids::{Position, RecordId};
use interlink_protocol::priority::Priority;
use interlink_wire as wire;

/// How far a publish has to be safe before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AckLevel {
    /// In the memory of the node.
    Accepted,
    /// Synced to the disk of the node.
    Local,
    /// Acknowledged by the replicated log.
    Replicated,
}

impl AckLevel {
    pub(crate) fn from_wire(level: wire::AckLevel) -> Self {
        match level {
            wire::AckLevel::Replicated => Self::Replicated,
            wire::AckLevel::Local => Self::Local,
            // A level of a later version promises at least this one.
            _ => Self::Accepted,
        }
    }

    pub(crate) fn to_wire(level: Option<Self>) -> wire::AckLevel {
        match level {
            None => wire::AckLevel::Default,
            Some(Self::Accepted) => wire::AckLevel::Accepted,
            Some(Self::Local) => wire::AckLevel::Local,
            Some(Self::Replicated) => wire::AckLevel::Replicated,
        }
    }
}

/// Proof that a publish was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishReceipt {
    /// Number of the publish within this client: 1, 2, 3 and so on.
    pub client_message_id: u64,
    /// Level that was reached.
    pub level: AckLevel,
    /// True when a higher level was wanted and was out of reach.
    pub degraded: bool,
    /// True when an earlier attempt had been accepted already. Nothing was published twice.
    pub duplicate: bool,
    /// Position of the event, where the server named it.
    pub position: Option<Position>,
}

/// One event of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Full channel name.
    pub channel: Arc<str>,
    /// Position in the channel. Recovery continues after it.
    pub position: Position,
    /// Identity of the record, the same on every node and retry.
    pub record: RecordId,
    /// The publishing user; `service:<name>` for back ends.
    pub publisher: Box<str>,
    /// Class of the channel.
    pub priority: Priority,
    /// Number of the event type; 0 is an opaque payload.
    pub event_type: u16,
    /// Version of the payload schema.
    pub schema_version: u16,
    /// When the server accepted the publish, in microseconds since the Unix epoch.
    pub server_time_us: u64,
    /// The payload, in the schema of the event type.
    pub payload: Vec<u8>,
    /// Conflation key of the publish.
    pub conflation_key: Option<Box<str>>,
    /// W3C `traceparent` of the publish.
    pub traceparent: Option<Box<str>>,
}

/// Why events are missing or a stream could not be continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// Nothing is missing, or no reason was given.
    None,
    /// Superseded by a newer value of the same conflation key.
    Conflated,
    /// This client took its events too slowly.
    Slow,
    /// The order of the channel was re-established after a failure.
    Lineage,
    /// The position is older than what is retained.
    Retention,
    /// The channel keeps no history.
    Ephemeral,
    /// The position belongs to another region.
    Region,
    /// The position was never issued for this channel.
    Unknown,
    /// The archive lags; the same request may succeed later.
    Lagging,
    /// The server skipped offsets without saying so.
    Unannounced,
}

impl GapReason {
    pub(crate) fn from_wire(reason: wire::PositionReason) -> Self {
        match reason {
            wire::PositionReason::None => Self::None,
            wire::PositionReason::Conflated => Self::Conflated,
            wire::PositionReason::Slow => Self::Slow,
            wire::PositionReason::Lineage => Self::Lineage,
            wire::PositionReason::Retention => Self::Retention,
            wire::PositionReason::Ephemeral => Self::Ephemeral,
            wire::PositionReason::Region => Self::Region,
            wire::PositionReason::Lagging => Self::Lagging,
            _ => Self::Unknown,
        }
    }
}

/// Events of a channel that this subscription does not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// How many are missing; 0 when the number is not known.
    pub skipped: u64,
    /// Why.
    pub reason: GapReason,
    /// Where the stream goes on: the next event follows this position.
    pub position: Position,
}

/// What became of continuing a subscription from an earlier position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// True when every event after the wanted position follows.
    pub recovered: bool,
    /// Why not.
    pub reason: GapReason,
    /// How many past events follow before live ones.
    pub following: u32,
    /// When not recovered: history after this position holds the oldest retained event.
    pub history_from: Option<Position>,
    /// When not recovered for a temporary reason: the earliest useful retry.
    pub retry_after: Option<Duration>,
}

/// One user in a channel's presence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceMember {
    /// The user.
    pub user: Box<str>,
    /// Devices of the user that are present; 0 while the last was lost a moment ago and the user
    /// may be back.
    pub devices: u32,
}

/// Somebody came or left.
///
/// A change without names tells the count alone: it is the first after a subscription or a loss of
/// connection, and what channels with very many users or a slow client get in the place of names.
/// Who keeps names asks for the pages again then, with
/// [`Client::presence`](crate::Client::presence).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceChange {
    /// Who came. A user who is known already may be named again.
    pub joined: Vec<PresenceMember>,
    /// Who has left, some time after the last device was lost.
    pub left: Vec<PresenceMember>,
    /// Users present after the change.
    pub count: u32,
}

impl PresenceChange {
    /// Whether it says who came and left, and not the count alone.
    pub fn has_names(&self) -> bool {
        !self.joined.is_empty() || !self.left.is_empty()
    }
}

/// A part of the users who are present in a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresencePage {
    /// Users present in all.
    pub count: u32,
    /// Users of this page, in the order of names.
    pub members: Vec<PresenceMember>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<Box<str>>,
    /// Whether the node could not ask all others of its cluster, so that their users are those that
    /// it knew last.
    pub stale: bool,
}

/// What a subscription hands out, in the order of the channel.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    /// An event.
    Event(Event),
    /// Events are missing here.
    Gap(Gap),
    /// The subscription was continued after a loss of connection, from the wanted position, or
    /// on a channel with a cursor from what the device acknowledged.
    Recovered(Recovery),
    /// Somebody came or left.
    Presence(PresenceChange),
    /// The subscription is over; nothing follows. The error says why and what to do.
    Ended(crate::Error),
}

impl Delivery {
    /// The event, when this is one.
    pub fn into_event(self) -> Option<Event> {
        match self {
            Self::Event(event) => Some(event),
            _ => None,
        }
    }
}

/// A page of past events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// Events in order.
    pub events: Vec<Event>,
    /// Position of the channel's newest event.
    pub top: Option<Position>,
    /// True when the page starts right after the wanted position.
    pub recovered: bool,
    /// Why not.
    pub reason: GapReason,
    /// True when more events follow this page.
    pub more: bool,
    /// Whether the node could not ask the store of its cluster, so that the events are those that
    /// it keeps itself: older and newer ones may exist.
    pub stale: bool,
}

/// Where a client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The first connection is being made.
    Connecting,
    /// Connected and welcomed.
    Connected,
    /// The connection was lost; attempt `attempt` follows or is under way. 0 when the server
    /// or the application asked for it, which counts as no attempt.
    Reconnecting {
        /// Number of the attempt since the last success.
        attempt: u32,
    },
    /// The quick attempts are used up. The client goes on slowly, or at once on `connect`.
    Suspended,
    /// The client is closed for good.
    Closed,
}

/// The other side of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInfo {
    /// The authenticated user.
    pub user: Box<str>,
    /// Name of the node.
    pub node: Box<str>,
    /// Region of the node.
    pub region: Box<str>,
    /// True when the earlier session was continued.
    pub resumed: bool,
}
