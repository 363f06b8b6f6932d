//! Records that can never be published, kept in a topic of their own.
//!
//! A dead letter has key and value of its record, and headers that say where it stood and why it
//! is dead.

use std::time::Duration;

use interlink_relay::kafka::consumer::{Consumed, Lane};
use interlink_relay::kafka::{route, Config, ConfigError};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tracing::warn;

use super::limits::PAUSE_MAX;
use super::record::RecordError;

/// Why a record is dead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reason {
    /// A code of the error catalogue, or `invalid_record`.
    pub code: String,
    /// What is wrong and what to do.
    pub cause: String,
}

impl From<RecordError> for Reason {
    fn from(error: RecordError) -> Self {
        Self {
            code: "invalid_record".into(),
            cause: error.to_string(),
        }
    }
}

/// The topic of dead letters.
pub struct DeadLetters {
    producer: FutureProducer,
    topic: String,
}

impl DeadLetters {
    /// A producer of dead letters.
    pub fn new(cluster: &Config) -> Result<Self, ConfigError> {
        let mut client = cluster.client("interlink-workers-dead-letters")?;
        client.set("enable.idempotence", "true");
        client.set("acks", "all");
        client.set("compression.type", "lz4");
        Ok(Self {
            producer: client.create()?,
            topic: format!("{}{}", cluster.topic_prefix, route::DEAD_LETTER),
        })
    }

    /// Keeps a record; returns when all replicas have it.
    pub async fn keep(&self, record: &Consumed, lane: &Lane, reason: &Reason) {
        let Lane { topic, partition } = lane;
        let offset = record.offset;
        warn!(
            topic = &**topic,
            partition,
            offset,
            code = reason.code,
            cause = reason.cause,
            "a record is a dead letter"
        );
        let place = [partition.to_string(), offset.to_string()];
        loop {
            let headers = [
                ("interlink-dead-topic", &**topic),
                ("interlink-dead-partition", &place[0]),
                ("interlink-dead-offset", &place[1]),
                ("interlink-dead-code", &reason.code),
                ("interlink-dead-cause", &reason.cause),
            ];
            let empty = OwnedHeaders::new_with_capacity(headers.len());
            let headers = headers.iter().fold(empty, |headers, (key, value)| {
                headers.insert(Header {
                    key,
                    value: Some(*value),
                })
            });
            let letter = FutureRecord::to(&self.topic)
                .key(&*record.key)
                .payload(&*record.value)
                .headers(headers);
            let failure = match self.producer.send_result(letter) {
                Err((error, _)) => error.to_string(),
                Ok(delivery) => match delivery.await {
                    Ok(Ok(_)) => return,
                    Ok(Err((error, _))) => error.to_string(),
                    Err(_) => "the producer has ended".to_owned(),
                },
            };
            warn!(failure, topic = self.topic, "a dead letter is not kept yet");
            tokio::time::sleep(PAUSE_MAX.max(Duration::from_millis(1))).await;
        }
    }
}
