//! The event log on Kafka.
//!
//! - Pure: [`record`] (what stands in a Kafka record), [`route`] (topic and key), `line` (what is
//!   sent, acknowledged and sent again, in order), `batch` (batches for consumers).
//! - Drivers: `producer` (one for each class), [`consumer`] (one member of a group), [`KafkaLog`]
//!   (both behind [`crate::event_log::EventLog`]), [`stretch`] (what topics have got since a time),
//!   `replicas` (asks how topics are kept).
//!
//! Invariants:
//! - a record has one topic and one key, so that records of one publisher keep their order;
//! - an append is answered only when the brokers have acknowledged every record of it and all
//!   earlier ones of its class;
//! - nothing waits without a bound: a full line answers busy, a full consumer pauses;
//! - bytes from Kafka never panic the process.
//!
//! Limits: `limits.rs` here. Threads: the client library has its own; deliveries are reported
//! from a thread of each producer, a consumer has a thread of its own, and everything else runs
//! where the log is driven, which never blocks except in [`KafkaLog::close`].

mod batch;
mod config;
pub mod consumer;
mod context;
mod limits;
mod line;
mod log;
mod producer;
mod reading;
pub mod record;
mod replicas;
pub mod route;
pub mod stretch;
#[cfg(test)]
mod tests;

pub use config::{Config, ConfigError, Mechanism, DEFAULT_PREFIX};
pub use log::{Forward, KafkaLog, LogConfig, LogStanding};
