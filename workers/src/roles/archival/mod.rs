//! The role `archival`: history, record ids and tops in the database.
//!
//! It reads every topic that nodes feed, as the group `archival` ([`crate::stored`]).

use interlink_relay::kafka::route;
use interlink_relay::postgres::Store;

use super::Stop;
use crate::config::Config;
use crate::exit::CommandError;
use crate::stored::{consume, Effect, Group};

/// The consumer group.
pub const GROUP: &str = "archival";

/// Runs until it is stopped.
///
/// # Errors
/// When the configuration says too little or something has ended by itself.
pub async fn run(config: &Config, store: Store, stop: Stop) -> Result<(), CommandError> {
    let cluster = config.kafka.client()?;
    let group = Group {
        cluster: &cluster,
        name: GROUP,
        topics: route::fed_topics(&cluster.topic_prefix),
        effect: Effect::Archive,
    };
    consume(group, store, stop).await
}
