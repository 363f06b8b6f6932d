//! Events that a shard itself publishes: on `sys.security`, `sys.status`, `sys.metrics`.
//!
//! Purpose: what a shard notices reaches the subscribers of a system channel, whichever shard
//! owns it. Nobody waits for the outcome; refusals are counted by code like all others.
//!
//! Limits: [`SYSTEM_WAITING_MAX`] events of a shard under way; beyond it they are refused, and
//! who publishes counts what it could not say.
//!
//! Thread: the shard.

use interlink_protocol::channel::ChannelName;
use interlink_protocol::ids::{placement_hash, record_id, InstanceId};
use interlink_protocol::ErrorCode;
use interlink_relay::dedupe::KEY_MESSAGE_ID;
use interlink_wire as wire;

use super::{Outcomes, Service, ServicePublish, Submission, SYSTEM_PUBLISHER};
use crate::shard::mesh::Message;
use crate::shard::Shard;

/// Own events of a shard that may be under way: each is a lane entry and at most one record in a
/// journal, and anomalies that come faster say nothing new.
pub const SYSTEM_WAITING_MAX: u32 = 1_024;

/// The shard's own events under way.
#[derive(Debug, Default)]
pub struct System {
    waiting: u32,
    last_number: u32,
}

#[cfg(test)]
impl System {
    /// Events that have no outcome yet.
    pub fn waiting(&self) -> u32 {
        self.waiting
    }
}

impl Shard {
    /// Publishes an event of the system. It goes the way of every publish: journaled if the
    /// channel is durable, numbered by the channel's owner, delivered in order. `event_type` 0
    /// is an opaque payload, which all `sys` channels accept.
    ///
    /// # Errors
    /// When the channel is not configured, or too many are under way: drop it and count it.
    pub fn publish_as_system(
        &mut self,
        channel: &str,
        event_type: u16,
        payload: &[u8],
    ) -> Result<(), ErrorCode> {
        let name = ChannelName::parse(channel).map_err(|_| ErrorCode::ChannelInvalid)?;
        let namespaces = &self.shared.namespaces;
        let policy = namespaces
            .lookup(&name)
            .ok_or(ErrorCode::NamespaceUnknown)?;
        let class = policy.priority;
        if self.service.system.waiting >= SYSTEM_WAITING_MAX {
            return Err(ErrorCode::Overloaded);
        }
        self.service.system.waiting += 1;
        let number = Service::next_number(&mut self.service.system.last_number, |_| false);
        let instance = InstanceId(self.random.next_u128());
        let submission = Submission {
            from: self.id,
            number,
            class,
            claims: None,
            publisher: SYSTEM_PUBLISHER.into(),
            publishes: vec![ServicePublish {
                channel: channel.into(),
                event_type,
                schema_version: 1,
                payload: payload.into(),
                age_ms: 0,
                time_to_live_ms: 0,
                conflation_key: None,
                level: wire::AckLevel::Default,
                trace: None,
                instance,
                record: record_id("", SYSTEM_PUBLISHER, instance, KEY_MESSAGE_ID),
            }],
        };
        let key = placement_hash(name.service_key().as_bytes());
        let home = (key % u64::from(self.shards)) as u16;
        if home == self.id {
            self.on_submission(submission);
        } else {
            let message = Message::Submit(Box::new(submission));
            self.mesh.send(home, class, message);
        }
        Ok(())
    }

    /// Own events have their outcome.
    pub(in crate::shard) fn on_outcomes(&mut self, answer: &Outcomes) {
        let count = answer.outcomes.len() as u32;
        self.service.system.waiting -= count.min(self.service.system.waiting);
    }
}
