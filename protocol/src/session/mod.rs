//! The decisions of a connection, one file for each mechanism.
//!
//! Nothing here moves bytes or keeps time: a function gets what it needs and answers with a
//! value that the shard, the client, the simulator or a fuzz target acts on.
//!
//! | file | decides |
//! |---|---|
//! | [`machine`] | what a table of transitions is |
//! | [`state`] | the life of connections and sessions, take-over |
//! | [`barrier`] | what a refused publisher has to send again first |
//! | [`auth`] | `Hello` and `Refresh` around the token |
//! | [`publish`] | whether and how a publish is accepted, and the credit for it |
//! | [`subscribe`] | who gets a subscription, and where it stands |
//! | [`resume`] | whether a stream continues from a position |
//! | [`ack`] | how far a device has processed a channel |
//! | [`heartbeat`] | whether the client is still there |
//! | [`rate`] | whether a request comes too early |
//! | [`outbox`] | what happens when a client is too slow |
//!
//! Invariants: an illegal event is a value and changes nothing; what is kept for each connection
//! and subscription is counted in bytes, and the assertions below hold it.

pub mod ack;
pub mod auth;
pub mod barrier;
pub mod heartbeat;
pub mod machine;
pub mod outbox;
pub mod publish;
pub mod rate;
pub mod resume;
pub mod state;
pub mod subscribe;

/// What the mechanisms keep for each connection.
const PER_CONNECTION: usize = size_of::<state::ConnectionState>()
    + size_of::<heartbeat::HeartbeatState>()
    + size_of::<publish::Credit>();

const _: () = assert!(
    PER_CONNECTION <= 8,
    "a connection pays at most 8 bytes for its states"
);
const _: () = assert!(size_of::<subscribe::SubscriptionState>() == 1);
