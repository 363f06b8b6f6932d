//! Configuration: one TOML file, of which every key is known.
//!
//! Each section is a file of this folder. Passwords stand in files of their own, which the
//! configuration names.
//!
//! Invariant: an unknown key is refused; a configuration that was loaded has passed all checks.
//! Runs on: the main thread; afterwards it is read only.

mod bridge;
mod edge;
mod kafka;
mod log;
mod outbox;
mod postgres;
mod redis;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde::Deserialize;

pub use self::bridge::BridgeSection;
pub use self::edge::EdgeSection;
pub use self::kafka::KafkaSection;
pub use self::log::LogSection;
pub use self::outbox::OutboxSection;
pub use self::postgres::PostgresSection;
pub use self::redis::RedisSection;
use crate::exit::{CommandError, Exit};

/// The configuration of a process.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The region of the nodes, as they name it; `local` when absent.
    pub region: Option<String>,
    /// How the Kafka cluster is reached.
    pub kafka: KafkaSection,
    /// How the Redis servers of the own region are reached.
    pub redis: Option<RedisSection>,
    /// How the server API of edges is reached.
    pub edge: EdgeSection,
    /// How the database is reached.
    pub postgres: PostgresSection,
    /// How the database of a back end is reached that has an outbox.
    pub outbox: Option<OutboxSection>,
    /// What is logged.
    pub log: LogSection,
    /// From which region to which other one a bridge goes.
    pub bridge: Option<BridgeSection>,
}

/// The region of nodes that name none.
const REGION: &str = "local";

impl Config {
    /// The region of the nodes.
    pub fn region(&self) -> &str {
        self.region.as_deref().unwrap_or(REGION)
    }

    /// The section of the role `bridge`.
    ///
    /// # Errors
    /// When there is none.
    pub fn bridge(&self) -> Result<&BridgeSection, CommandError> {
        self.bridge.as_ref().ok_or_else(|| {
            let cause = "the role bridge needs the section [bridge]; name region, target, and the \
                         target's kafka and redis";
            CommandError::new(Exit::Config, cause)
        })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong, with the line and the cure.
    pub fn load(file: &Path) -> Result<Self, CommandError> {
        let wrong = |cause: String| {
            let cause = format!("{}: {cause}", file.display());
            CommandError::new(Exit::Config, cause)
        };
        let text = std::fs::read_to_string(file)
            .map_err(|error| wrong(format!("cannot be read: {error}")))?;
        Self::parse(&text).map_err(wrong)
    }

    /// Reads a text.
    fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let checked = config.kafka.client();
        checked.map_err(|error| error.cause)?;
        let checked = config.postgres.client();
        checked.map_err(|error| error.cause)?;
        config.log.filter().map_err(|error| error.cause)?;
        if let Some(outbox) = &config.outbox {
            outbox.client().map_err(|error| error.cause)?;
        }
        if let Some(redis) = &config.redis {
            redis.client().map_err(|error| error.cause)?;
        }
        if let Some(bridge) = &config.bridge {
            bridge.check().map_err(|error| error.cause)?;
        }
        Ok(config)
    }
}
