//! The Interlink client for Rust.
//!
//! A [`Client`] keeps one connection to an Interlink server: it reconnects by itself, continues
//! every subscription from where it was, keeps each publish until nothing can lose it any more
//! and sends it again under the same id until then.
//!
//! ```no_run
//! use interlink_client::{Client, Delivery};
//!
//! # async fn example() -> Result<(), interlink_client::Error> {
//! let client = Client::builder("ws://127.0.0.1:8080")
//!     .token("eyJ...")
//!     .device("laptop-1")
//!     .connect()
//!     .await?;
//! let mut lessons = client.subscribe("class.algebra-1").await?;
//! client.publish("class.algebra-1", "welcome").await?;
//! while let Some(delivery) = lessons.next().await {
//!     if let Delivery::Event(event) = delivery {
//!         println!("{} wrote {} bytes", event.publisher, event.payload.len());
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Map: [`session`] decides everything, without clock, socket or runtime; the transport drives
//! it on tokio; [`Client`], [`Subscription`] and [`Publish`] are the application's ends.
//!
//! Invariants: everything has a bound, in [`limits`]; a full queue makes its writer wait or
//! stops one channel, and never another; repeats are suppressed and gaps are reported.
//! Runs on: any tokio runtime; one task for each client.

#![forbid(unsafe_code)]

mod builder;
mod client;
mod error;
mod event;
mod handle;
pub mod limits;
mod publisher;
mod query;
pub mod session;
mod signals;
mod subscription;
mod token;
mod transport;

pub use builder::ClientBuilder;
pub use client::Client;
pub use error::{ClosedBy, Code, Error, Loss};
pub use event::{
    AckLevel, Delivery, Event, Gap, GapReason, HistoryPage, PresenceChange, PresenceMember,
    PresencePage, PublishReceipt, Recovery, ServerInfo, State,
};
pub use interlink_protocol::ids::{InstanceId, Position, RecordId};
pub use interlink_protocol::priority::Priority;
pub use interlink_protocol::{CloseCode, ErrorCode};
pub use publisher::{PendingPublish, Publish, Publisher};
pub use query::{History, Presence};
pub use session::BackoffPolicy;
pub use subscription::{Subscribe, Subscription};
pub use token::{TokenError, TokenRequest};

/// The example of the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
