//! What the backplane's tasks report to it.

use redis::{RedisError, Value};

use super::connect::{ConnectError, Connections};
use super::directory::Directory;
use super::functions::Recent;
use super::range::Range;
use crate::backplane::BackplaneAnswer;
use crate::ports::Ticket;
use interlink_protocol::ids::Position;

/// A report; `link` is the link that it is about, which may be gone meanwhile.
#[derive(Debug)]
pub enum Outcome {
    /// Servers were looked up; `None` when nobody could tell.
    Located(Option<Directory>),
    /// A server was tried.
    Connected {
        /// The link.
        link: u64,
        /// Its connections.
        result: Result<Box<Connections>, ConnectError>,
    },
    /// Records were published.
    Published {
        /// The link.
        link: u64,
        /// The request.
        ticket: Ticket,
        /// Their partition, and how many changes it had had when they were sent.
        partition: (u16, u64),
        /// Number of records.
        records: usize,
        /// The reply.
        result: Result<Value, RedisError>,
    },
    /// What an archive knows was given.
    Seeded {
        /// The link.
        link: u64,
        /// The request.
        ticket: Ticket,
        /// The partition, and how many changes it had had when they were sent.
        partition: (u16, u64),
        /// The reply.
        result: Result<Value, RedisError>,
    },
    /// Events were told.
    Told {
        /// The link.
        link: u64,
        /// The requests.
        tickets: Vec<Ticket>,
        /// Whether they left.
        result: Result<(), RedisError>,
    },
    /// A question of the caller was answered.
    Answered {
        /// The link.
        link: u64,
        /// The request.
        ticket: Ticket,
        /// The answer; `None` when the reply has no known form.
        result: Result<Option<BackplaneAnswer>, RedisError>,
    },
    /// Channels are heard, and these are their tops.
    Tops {
        /// The link.
        link: u64,
        /// Channels and tops.
        tops: Vec<(Box<str>, Position)>,
    },
    /// The link's subscriber has ended.
    SubscriberFailed {
        /// The link.
        link: u64,
        /// Why.
        error: RedisError,
    },
    /// A channel's stream was read.
    Ranged {
        /// The link.
        link: u64,
        /// The channel.
        channel: Box<str>,
        /// What was there; `None` when the reply has no known form.
        result: Result<Option<Range>, RedisError>,
    },
    /// Recently changed tops were read.
    Recent {
        /// The link.
        link: u64,
        /// By partition, with the epoch that was known of it when it was asked.
        result: Result<Vec<(u16, u64, Recent)>, RedisError>,
    },
    /// A probe was sent.
    Probed {
        /// The link.
        link: u64,
        /// Whether a master that takes writes took it.
        result: Result<(), RedisError>,
    },
}
