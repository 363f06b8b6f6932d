//! Section `[bridge]`.

use serde::Deserialize;

use super::{KafkaSection, RedisSection};
use crate::exit::{CommandError, Exit};

/// From which region to which other one a bridge goes. The section `[kafka]` is the cluster of the
/// own region.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeSection {
    /// The own region: the origin of the events that are carried. It is that of its nodes.
    pub region: String,
    /// The other region.
    pub target: String,
    /// How the Kafka cluster of the other region is reached.
    pub kafka: KafkaSection,
    /// How the Redis servers of the other region are reached.
    pub redis: RedisSection,
}

impl BridgeSection {
    /// Checks everything that needs no server.
    ///
    /// # Errors
    /// What is wrong, with its cure.
    pub fn check(&self) -> Result<(), CommandError> {
        let wrong = |cause: &str| CommandError::new(Exit::Config, cause);
        if self.region.is_empty() || self.target.is_empty() {
            return Err(wrong(
                "bridge.region and bridge.target are names of regions",
            ));
        }
        if self.region == self.target {
            return Err(wrong("bridge.target is the own region; name another one"));
        }
        self.kafka.client()?;
        self.redis.client().map(drop)
    }
}
