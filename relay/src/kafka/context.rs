//! What the client library tells of itself: log lines, errors, changes of a group.
//!
//! Runs on: threads of the client library and those that poll it; nothing here waits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use tracing::{debug, info, warn};

use super::consumer::Lane;

/// Whether brokers can be reached, as far as clients have noticed.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    is_away: AtomicBool,
}

impl Reach {
    /// A broker has answered.
    pub fn note_answer(&self) {
        if self.is_away.swap(false, Ordering::Relaxed) {
            info!("Kafka answers again");
        }
    }

    /// No broker can be reached.
    pub fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Relaxed)
    }

    /// A client complains.
    pub fn note_error(&self, error: &KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        let all = code == Some(RDKafkaErrorCode::AllBrokersDown);
        if all && !self.is_away.swap(true, Ordering::Relaxed) {
            warn!(reason, "no broker of Kafka can be reached");
        } else {
            debug!(%error, reason, "Kafka client");
        }
    }
}

/// A line of the client library's log.
pub(crate) fn log_line(level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => warn!(facility, "Kafka client: {line}"),
        _ => debug!(facility, "Kafka client: {line}"),
    }
}

/// Declares the log lines and errors of a context that has a field `reach`.
macro_rules! client_context {
    ($context:ty) => {
        impl ClientContext for $context {
            fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
                $crate::kafka::context::log_line(level, facility, line);
            }

            fn error(&self, error: KafkaError, reason: &str) {
                self.reach.note_error(&error, reason);
            }
        }
    };
}
pub(crate) use client_context;

/// What happened to a member of a group.
#[derive(Debug)]
pub(crate) enum Change {
    /// Partitions came; they have to be assigned by the member.
    Assigned(Vec<Lane>),
    /// Partitions went; they are unassigned already.
    Revoked { lanes: Vec<Lane>, lost: bool },
}

/// The context of a member of a group.
#[derive(Debug, Default)]
pub(crate) struct MemberContext {
    pub reach: Arc<Reach>,
    changes: Mutex<VecDeque<Change>>,
}

client_context!(MemberContext);

impl MemberContext {
    /// A context that tells `reach` what it notices.
    pub fn new(reach: Arc<Reach>) -> Self {
        Self {
            reach,
            changes: Mutex::default(),
        }
    }

    /// The oldest change that nobody has taken.
    pub fn take(&self) -> Option<Change> {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.pop_front()
    }

    fn push(&self, change: Change) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.push_back(change);
    }
}

impl ConsumerContext for MemberContext {
    /// Runs on the thread that polls the consumer. What came is assigned later, with the
    /// offsets that the member finds; until then the group waits for it.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        code: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let lanes = lanes(list);
        match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                self.push(Change::Assigned(lanes));
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                let lost = consumer.assignment_lost();
                if let Err(error) = consumer.incremental_unassign(list) {
                    warn!(%error, "partitions could not be given back");
                }
                self.push(Change::Revoked { lanes, lost });
            }
            _ => {
                let error = RDKafkaErrorCode::from(code);
                warn!(%error, "a group could not be joined; all partitions are given back");
                if let Err(error) = consumer.unassign() {
                    warn!(%error, "partitions could not be given back");
                }
                self.push(Change::Revoked { lanes, lost: true });
            }
        }
    }
}

fn lane_of(topic: &str, partition: i32) -> Lane {
    Lane {
        topic: topic.into(),
        partition,
    }
}

fn lanes(list: &TopicPartitionList) -> Vec<Lane> {
    let elements = list.elements();
    let lanes = elements
        .iter()
        .map(|element| lane_of(element.topic(), element.partition()));
    lanes.collect()
}
