//! From asynchronous callers into the shards, and back: submit and complete, by value.
//!
//! Purpose: a publisher that is no WebSocket session, the server API above all, publishes with
//! the guarantees of a session: the record enters the home shard of its key, is journaled,
//! numbered by the owner of its channel and answered at its level. `questions` is what services
//! ask beside: orders for the sessions of users, channels, history. [`Gateway`] is what callers
//! hold; [`GatewayTask`] owns the control thread's lanes and matches answers by number.
//!
//! Order: publishes of one call on one channel keep their order, and so do those of calls of
//! which the later begins after the earlier was answered. When a publish is refused for now, the
//! later ones of its call on its channel are refused as well.
//!
//! Full: nothing waits for room. Beyond the bounds of `limits`, or when a lane is full, the
//! answer is `overloaded`.
//!
//! Runs on: the control thread; a [`Gateway`] may be used from any.

pub mod limits;
mod questions;
mod task;

use std::sync::Arc;

use interlink_protocol::channel::ChannelName;
use interlink_protocol::claims::{ClaimsView, PackedClaims};
use interlink_protocol::ids::{key_instance, placement_hash, record_id, InstanceId, RecordId};
use interlink_protocol::namespace::Namespaces;
use interlink_protocol::priority::Priority;
use interlink_protocol::session::publish::Refusal;
use interlink_protocol::ErrorCode;
use interlink_relay::dedupe::KEY_MESSAGE_ID;
use interlink_wire::AckLevel;
use tokio::sync::{mpsc, oneshot, Semaphore};

use crate::server::{NodeState, Phase};
use crate::shard::service::{Outcome, ServicePublish, SYSTEM_PUBLISHER};
use limits::{CALLS_WAITING_MAX, PUBLISHES_PER_CALL_MAX, QUESTIONS_MAX, UNITS_MAX, UNIT_BYTES};
use questions::Asking;
pub use questions::{ChannelCount, ChannelCursor};
pub use task::GatewayTask;

/// One publish of a caller.
#[derive(Clone, Debug)]
pub struct PublishRequest {
    /// Full channel name.
    pub channel: String,
    /// Number of the event type; 0 is opaque.
    pub event_type: u16,
    /// Version of the payload schema.
    pub schema_version: u16,
    /// The payload.
    pub payload: Vec<u8>,
    /// What makes a repeat of this publish known, for this caller and channel; without one every
    /// publish is new.
    pub idempotency_key: Option<String>,
    /// Milliseconds since the first attempt.
    pub age_ms: u32,
    /// Milliseconds after which the event is worthless; 0 is never.
    pub time_to_live_ms: u32,
    /// Events of one key supersede each other for slow clients.
    pub conflation_key: Option<String>,
    /// Wanted acknowledgement level.
    pub level: AckLevel,
    /// W3C trace context: parent and state.
    pub trace: Option<(String, Option<String>)>,
}

impl PublishRequest {
    /// A first attempt without a key, at the level of the channel's namespace.
    pub fn new(channel: &str, event_type: u16, payload: &[u8]) -> Self {
        Self {
            channel: channel.to_owned(),
            event_type,
            schema_version: 1,
            payload: payload.to_vec(),
            idempotency_key: None,
            age_ms: 0,
            time_to_live_ms: 0,
            conflation_key: None,
            level: AckLevel::Default,
            trace: None,
        }
    }

    fn units(&self) -> u32 {
        1 + (self.payload.len() / UNIT_BYTES) as u32
    }

    /// The publish as shards take it.
    fn into_publish(self, caller: Option<&PackedClaims>) -> ServicePublish {
        let institution = caller.map_or("", ClaimsView::institution);
        let user = caller.map_or(SYSTEM_PUBLISHER, ClaimsView::user);
        let instance = match &self.idempotency_key {
            Some(key) => key_instance(institution, user, &self.channel, key),
            None => InstanceId(rand::random()),
        };
        ServicePublish {
            record: record_id(institution, user, instance, KEY_MESSAGE_ID),
            instance,
            channel: self.channel.into(),
            event_type: self.event_type,
            schema_version: self.schema_version,
            payload: self.payload.into(),
            age_ms: self.age_ms,
            time_to_live_ms: self.time_to_live_ms,
            conflation_key: self.conflation_key.map(Into::into),
            level: self.level,
            trace: self
                .trace
                .map(|(parent, state)| (parent.into(), state.map(Into::into))),
        }
    }
}

/// What became of one publish.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PublishAnswer {
    /// It was accepted.
    Accepted {
        /// Identity of the record.
        record: RecordId,
        /// The level that was reached.
        level: AckLevel,
        /// Whether its key had been accepted before.
        repeat: bool,
    },
    /// Nothing of it was kept.
    Refused(Refusal),
}

/// What events show as their publisher.
fn publisher_of(caller: Option<&PackedClaims>) -> Arc<str> {
    match caller {
        Some(claims) => format!("service:{}", claims.user()).into(),
        None => SYSTEM_PUBLISHER.into(),
    }
}

/// Publishes of one call for one shard and class, with their places in the call.
#[derive(Debug)]
struct Part {
    shard: u16,
    class: Priority,
    places: Vec<u32>,
    publishes: Vec<ServicePublish>,
}

impl Part {
    fn new(shard: u16, class: Priority) -> Self {
        Self {
            shard,
            class,
            places: Vec::new(),
            publishes: Vec::new(),
        }
    }
}

/// What the task gets from a call.
#[derive(Debug)]
struct Call {
    claims: Option<Arc<PackedClaims>>,
    publisher: Arc<str>,
    parts: Vec<Part>,
    /// The outcome of each publish; those that no part has are known already.
    outcomes: Vec<Outcome>,
    answer: oneshot::Sender<Vec<Outcome>>,
}

/// Calls and questions that wait for the task.
type Waiting = (mpsc::Receiver<Call>, mpsc::Receiver<Asking>);

/// The way into the shards.
#[derive(Clone, Debug)]
pub struct Gateway {
    calls: mpsc::Sender<Call>,
    room: Arc<Semaphore>,
    questions: mpsc::Sender<Asking>,
    question_room: Arc<Semaphore>,
    node: Arc<NodeState>,
    namespaces: Arc<Namespaces>,
    shards: u16,
}

impl Gateway {
    /// A gateway to `shards` shards, and the ends of its queues for the task.
    fn new(shards: u16, namespaces: Arc<Namespaces>, node: Arc<NodeState>) -> (Self, Waiting) {
        let (calls, waiting_calls) = mpsc::channel(CALLS_WAITING_MAX);
        let (questions, waiting_questions) = mpsc::channel(QUESTIONS_MAX);
        let gateway = Self {
            calls,
            room: Arc::new(Semaphore::new(UNITS_MAX as usize)),
            questions,
            question_room: Arc::new(Semaphore::new(QUESTIONS_MAX)),
            node,
            namespaces,
            shards,
        };
        (gateway, (waiting_calls, waiting_questions))
    }

    /// Publishes one event as the service with these claims, or as the system without any. The
    /// system needs no permission.
    pub async fn publish(
        &self,
        caller: Option<Arc<PackedClaims>>,
        request: PublishRequest,
    ) -> PublishAnswer {
        let answers = self.publish_all(caller, vec![request]).await;
        answers
            .into_iter()
            .next()
            .unwrap_or(PublishAnswer::Refused(Refusal::of(ErrorCode::Internal)))
    }

    /// Publishes several events in their order; answers each on its own, in the same order.
    pub async fn publish_all(
        &self,
        caller: Option<Arc<PackedClaims>>,
        requests: Vec<PublishRequest>,
    ) -> Vec<PublishAnswer> {
        let refused = |code, count| vec![PublishAnswer::Refused(Refusal::of(code)); count];
        let count = requests.len();
        if count > PUBLISHES_PER_CALL_MAX {
            return refused(ErrorCode::TooManyItems, count);
        }
        match self.node.phase() {
            Phase::Ready => {}
            // What the system has to say of its end leaves as long as somebody listens.
            Phase::Draining if caller.is_none() => {}
            Phase::Draining | Phase::Stopped => return refused(ErrorCode::Draining, count),
            Phase::Starting | Phase::Recovering => return refused(ErrorCode::Unavailable, count),
        }
        let units = requests.iter().map(PublishRequest::units).sum();
        let Ok(_room) = self.room.try_acquire_many(units) else {
            return refused(ErrorCode::Overloaded, count);
        };
        let publishes: Vec<ServicePublish> = requests
            .into_iter()
            .map(|request| request.into_publish(caller.as_deref()))
            .collect();
        let records: Vec<RecordId> = publishes.iter().map(|publish| publish.record).collect();
        let (parts, outcomes) = self.divide(publishes);
        let (answer, answered) = oneshot::channel();
        let call = Call {
            publisher: publisher_of(caller.as_deref()),
            claims: caller,
            parts,
            outcomes,
            answer,
        };
        if self.calls.try_send(call).is_err() {
            return refused(ErrorCode::Overloaded, count);
        }
        // Without an answer the node stops, and what was accepted is not known.
        let Ok(outcomes) = answered.await else {
            return refused(ErrorCode::Draining, count);
        };
        let answers = outcomes.into_iter().zip(records);
        answers
            .map(|(outcome, record)| match outcome {
                Outcome::Accepted { level, repeat } => PublishAnswer::Accepted {
                    record,
                    level,
                    repeat,
                },
                Outcome::Refused(refusal) => PublishAnswer::Refused(refusal),
            })
            .collect()
    }

    /// Sorts publishes by home shard and class; those that have none are refused at once.
    fn divide(&self, publishes: Vec<ServicePublish>) -> (Vec<Part>, Vec<Outcome>) {
        let mut parts: Vec<Part> = Vec::new();
        let mut outcomes = Vec::with_capacity(publishes.len());
        for (place, publish) in publishes.into_iter().enumerate() {
            let (shard, class) = match self.home_of(&publish.channel) {
                Ok(home) => home,
                Err(code) => {
                    outcomes.push(Outcome::Refused(Refusal::of(code)));
                    continue;
                }
            };
            outcomes.push(Outcome::Refused(Refusal::of(ErrorCode::Internal)));
            let same = |part: &Part| part.shard == shard && part.class == class;
            let at = parts.iter().position(same).unwrap_or_else(|| {
                parts.push(Part::new(shard, class));
                parts.len() - 1
            });
            parts[at].places.push(place as u32);
            parts[at].publishes.push(publish);
        }
        (parts, outcomes)
    }

    /// Home shard and class of what services publish on a channel.
    fn home_of(&self, channel: &str) -> Result<(u16, Priority), ErrorCode> {
        let name = ChannelName::parse(channel).map_err(|_| ErrorCode::ChannelInvalid)?;
        let policy = self
            .namespaces
            .lookup(&name)
            .ok_or(ErrorCode::NamespaceUnknown)?;
        let key = placement_hash(name.service_key().as_bytes());
        Ok(((key % u64::from(self.shards)) as u16, policy.priority))
    }
}
