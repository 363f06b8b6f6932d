//! Up to where records of a partition may have been attempted, by this or an earlier worker.
//!
//! Kept as the offsets of a group that has no members, and moved before a batch is worked on. A
//! worker that takes a partition over so knows which records a node may know already, and counts
//! the age of those alone from their timestamps.
//!
//! Invariant: nothing is attempted beyond the mark. Runs on: blocking threads, for the client waits
//! for the brokers.

use std::sync::Arc;
use std::time::Duration;

use interlink_relay::kafka::consumer::Lane;
use interlink_relay::kafka::{Config, ConfigError};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use tracing::warn;

use super::limits::{MARK_WAIT, PAUSE_MAX};

/// The group of the marks.
pub const GROUP: &str = "realtime-ingress-attempts";

/// The marks of all partitions.
pub struct Attempts(Arc<BaseConsumer>);

impl Attempts {
    /// The marks as they are in a cluster; nothing is asked yet.
    pub fn new(cluster: &Config) -> Result<Self, ConfigError> {
        let mut client = cluster.client("interlink-workers-attempts")?;
        client.set("group.id", GROUP);
        client.set("enable.auto.commit", "false");
        Ok(Self(Arc::new(client.create()?)))
    }

    /// The mark of a partition: the offset behind the last record that may have been attempted.
    pub async fn mark(&self, lane: &Lane) -> i64 {
        self.insist(lane, "asking", |consumer, lane| {
            let asked = list(lane, Offset::Invalid)?;
            let found = consumer.committed_offsets(asked, MARK_WAIT)?;
            let found = found.elements().first().map(|element| element.offset());
            Ok(match found {
                Some(Offset::Offset(mark)) => mark,
                _ => 0,
            })
        })
        .await
    }

    /// Moves the mark of a partition.
    pub async fn set_mark(&self, lane: &Lane, mark: i64) {
        self.insist(lane, "moving", move |consumer, lane| {
            consumer.commit(&list(lane, Offset::Offset(mark))?, CommitMode::Sync)
        })
        .await;
    }

    /// Does something until the brokers let it happen.
    async fn insist<T: Send + 'static>(
        &self,
        lane: &Lane,
        doing: &str,
        call: impl Fn(&BaseConsumer, &Lane) -> Result<T, KafkaError> + Clone + Send + 'static,
    ) -> T {
        let mut pause = Duration::from_millis(250);
        loop {
            let (consumer, own, call) = (self.0.clone(), lane.clone(), call.clone());
            let called = tokio::task::spawn_blocking(move || call(&consumer, &own)).await;
            let failure = match called {
                Ok(Ok(outcome)) => return outcome,
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            warn!(failure, ?lane, "{doing} the mark of attempts has to wait");
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(PAUSE_MAX);
        }
    }
}

fn list(lane: &Lane, offset: Offset) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&lane.topic, lane.partition, offset)?;
    Ok(list)
}
