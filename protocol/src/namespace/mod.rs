//! Namespaces: what the channels of one kind promise, and who may use them.
//!
//! Purpose: every channel gets its class, durability, acknowledgement level, history and
//! permissions from its namespace. [`Namespaces::defaults`] is the shipped table; a deployment
//! may change entries, and [`Namespaces::new`] refuses combinations that break a promise.
//!
//! Invariants: a channel matches exactly one policy; P0 is durable; only channels without
//! history are conflated; a namespace feeds exactly one topic of the log.
//! Limits: [`NAMESPACES`] policies; payloads up to [`crate::limits::PAYLOAD_BYTES`].
//! Runs on: any thread; built at start, read only afterwards.

mod defaults;
mod permission;

pub use permission::{permit_inspect, permit_publish, permit_subscribe};

use interlink_wire::AckLevel;

use crate::channel::ChannelName;
use crate::limits;
use crate::priority::Priority;

/// Most policies; an index fits a byte and a lookup stays short.
pub const NAMESPACES: usize = 64;

/// Whose membership a channel id names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The id is an institution.
    Institution,
    /// The id is an institution, a dot and one of its departments.
    Department,
    /// The id is a class.
    Class,
    /// The id is an institution, alone or followed by a dot and anything.
    WithinInstitution,
    /// The id is `inst.`, `dept.` or `class.` and the id of that kind.
    Nested,
}

/// Whom a rule allows by identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// Nobody; only roles or tokens that the rule names.
    Nobody,
    /// Every authenticated user.
    Everyone,
    /// The user whose name is the id.
    Owner,
    /// One of the two users of an id `<u1>~<u2>`.
    Pair,
    /// Members of what the id names.
    Members(Scope),
}

/// Who may do something on a channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Whom the rule allows by identity.
    pub who: Who,
    /// When not empty, `who` counts only together with one of these roles.
    pub with_roles: Vec<String>,
    /// Roles that are enough alone.
    pub roles: Vec<String>,
    /// True when a subscription token for the channel is enough.
    pub token: bool,
}

/// The topic of the replicated log that a namespace feeds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Topic {
    /// Everything of P0.
    Critical,
    /// Institution-wide events.
    Institution,
    /// Course and assignment updates.
    Academic,
    /// Usage and performance.
    Analytics,
    /// P1 of no domain.
    High,
    /// P2 of no domain.
    Standard,
    /// P3 of no domain.
    Batch,
}

/// What the channels of one namespace promise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamespacePolicy {
    /// The namespace, or a whole channel name where channels of one namespace differ.
    pub name: String,
    /// Class of all its channels.
    pub priority: Priority,
    /// True when records are journaled and kept.
    pub durable: bool,
    /// What a publish with the level `Default` asks for.
    pub ack_level: AckLevel,
    /// Most events kept for a channel; 0 on channels that are not durable.
    pub history_events: u32,
    /// Longest time an event is kept in seconds; 0 on channels that are not durable.
    pub history_age_s: u32,
    /// True when payloads without a registered type are accepted.
    pub opaque_allowed: bool,
    /// True when events with one conflation key supersede each other.
    pub conflated: bool,
    /// Largest payload in bytes.
    pub payload_bytes: u32,
    /// Who may subscribe.
    pub subscribe: Rule,
    /// Who may publish.
    pub publish: Rule,
    /// True when the server keeps a cursor for each device of a user.
    pub cursor: bool,
    /// True when unacknowledged events are escalated outside the connection.
    pub escalation: bool,
    /// True when presence can be asked for.
    pub presence: bool,
    /// Publishes a second of one connection; `None` leaves it to the limits per user.
    pub rate_per_s: Option<u32>,
    /// The topic that records are fed to.
    pub topic: Topic,
}

impl NamespacePolicy {
    /// The level that a publish is acknowledged at when it asks for `wanted`.
    pub fn resolve_level(&self, wanted: AckLevel) -> AckLevel {
        if wanted == AckLevel::Default {
            self.ack_level
        } else if self.durable {
            wanted
        } else {
            // There is nothing on disk to wait for.
            AckLevel::Accepted
        }
    }
}

/// Why a table of namespaces cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The same name twice.
    #[error("namespace `{0}` is defined twice; keep one definition")]
    Repeated(String),
    /// Too many policies.
    #[error("there are {0} namespaces, at most {most} are allowed; merge some", most = NAMESPACES)]
    TooMany(usize),
    /// A policy contradicts itself.
    #[error("namespace `{name}`: {fault}")]
    Policy {
        /// The namespace.
        name: String,
        /// What is wrong and how it is cured.
        fault: &'static str,
    },
}

/// Index of a policy in its table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NamespaceId(u8);

impl NamespaceId {
    /// Index into per-namespace tables, below [`NAMESPACES`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// All policies of a node.
#[derive(Clone, Debug)]
pub struct Namespaces {
    policies: Vec<NamespacePolicy>,
}

impl Namespaces {
    /// The shipped table.
    pub fn defaults() -> Self {
        Self::new(defaults::policies()).expect("the shipped table is checked by a test")
    }

    /// Checks a table.
    pub fn new(policies: Vec<NamespacePolicy>) -> Result<Self, NamespaceError> {
        if policies.len() > NAMESPACES {
            return Err(NamespaceError::TooMany(policies.len()));
        }
        for (index, policy) in policies.iter().enumerate() {
            if policies[..index]
                .iter()
                .any(|other| other.name == policy.name)
            {
                return Err(NamespaceError::Repeated(policy.name.clone()));
            }
            if let Some(fault) = fault(policy) {
                return Err(NamespaceError::Policy {
                    name: policy.name.clone(),
                    fault,
                });
            }
        }
        Ok(Self { policies })
    }

    /// The policy of a channel: one of its whole name, else one of its namespace.
    pub fn lookup(&self, channel: &ChannelName<'_>) -> Option<&NamespacePolicy> {
        self.find(channel).map(|id| self.get(id))
    }

    /// As [`Namespaces::lookup`], as an index.
    pub fn find(&self, channel: &ChannelName<'_>) -> Option<NamespaceId> {
        let (namespace, whole) = (channel.namespace(), channel.as_str());
        let mut found = None;
        for (index, policy) in self.policies.iter().enumerate() {
            if policy.name == whole {
                return Some(NamespaceId(index as u8));
            }
            if policy.name == namespace {
                found = Some(NamespaceId(index as u8));
            }
        }
        found
    }

    /// The policy of an index of this table.
    pub fn get(&self, id: NamespaceId) -> &NamespacePolicy {
        &self.policies[id.index()]
    }

    /// Every policy.
    pub fn iter(&self) -> impl Iterator<Item = &NamespacePolicy> {
        self.policies.iter()
    }
}

/// What is wrong with a policy, and how it is cured.
fn fault(policy: &NamespacePolicy) -> Option<&'static str> {
    let kept = policy.history_events > 0 && policy.history_age_s > 0;
    if policy.payload_bytes as usize > limits::PAYLOAD_BYTES || policy.payload_bytes == 0 {
        return Some("payload_bytes is 0 or more than a frame can hold; lower it");
    }
    if policy.ack_level == AckLevel::Default {
        return Some("ack_level must be a level; name accepted, local or replicated");
    }
    if policy.priority == Priority::P0 && !policy.durable {
        return Some("P0 is never dropped; make it durable or choose another priority");
    }
    if policy.durable != kept {
        return Some("history is kept exactly on durable channels; change durable or history");
    }
    if !policy.durable && policy.ack_level != AckLevel::Accepted {
        return Some("nothing is synced on channels that are not durable; use level accepted");
    }
    if policy.durable && policy.conflated {
        return Some("a durable channel keeps every event; switch conflated or durable off");
    }
    if policy.cursor && !policy.durable {
        return Some("a cursor needs kept events; make the namespace durable");
    }
    None
}

#[cfg(test)]
mod tests;
