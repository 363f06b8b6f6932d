//! What the session core reports to its driver.
//!
//! Runs on: any thread; values only.

use std::sync::Arc;

use interlink_protocol::ids::Position;

use super::publish::PublishOutcome;
use crate::error::{ClosedBy, Error, Loss};
use crate::event::{Delivery, HistoryPage, PresencePage, ServerInfo, State};

/// Something that happened, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionEvent {
    /// The state that applications see has changed.
    State(State),
    /// A connection was welcomed.
    Welcomed(ServerInfo),
    /// The token of the connection ends soon: the driver has to fetch another one.
    TokenWanted,
    /// A subscription was accepted for the first time.
    Subscribed {
        /// Full channel name.
        channel: Arc<str>,
        /// Where it was pinned.
        position: Option<Position>,
    },
    /// A subscription was refused for good before it was ever accepted.
    SubscribeRefused {
        /// Full channel name.
        channel: Arc<str>,
        /// Why.
        error: Error,
    },
    /// Something for the subscriber of a channel.
    Delivery {
        /// Full channel name.
        channel: Arc<str>,
        /// What.
        delivery: Delivery,
    },
    /// A publish came to its end, as far as its publisher waits for it.
    Published {
        /// Client message id.
        id: u64,
        /// How it ended.
        outcome: PublishOutcome,
    },
    /// A history request came to its end.
    History {
        /// Ticket of the request.
        ticket: u64,
        /// The page, or why there is none.
        result: Result<HistoryPage, Error>,
    },
    /// A request for who is present came to its end.
    Presence {
        /// Ticket of the request.
        ticket: u64,
        /// The page, or why there is none.
        result: Result<PresencePage, Error>,
    },
    /// A connection or an attempt failed; the client goes on by itself.
    Lost(Loss),
    /// The server reported a failure that belongs to no request.
    ServerError(Error),
    /// The client is over. Only the state `Closed` follows.
    Closed(ClosedBy),
}
