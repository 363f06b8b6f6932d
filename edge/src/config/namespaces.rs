//! Overrides of namespace policies: `[namespaces.<name>]`.
//!
//! A namespace's priority is part of the protocol and cannot be set; everything that
//! is unset keeps the default of the namespace table in `interlink-protocol`.
//!
//! Runs on: the main thread.

use std::time::Duration;

use interlink_protocol::namespace::{NamespaceError, NamespacePolicy, Namespaces};
use interlink_wire as wire;

use super::limits;
use super::nearest::{nearest, Suggestion};
use super::property::section;
use super::setting::{words, ByteSize};
use super::Config;

words! {
    /// How far a publish has to be safe before it is acknowledged.
    pub enum AckLevel {
        /// In the memory of the node.
        Accepted = "accepted",
        /// Synced to the disk of the node.
        Local = "local",
        /// Acknowledged by Kafka from two disks at least; on a node alone as `local`.
        Replicated = "replicated",
    }
}

section! {
    /// Overrides of one namespace. The table is named after it, for example
    /// `[namespaces.chat]` or `[namespaces."sys.security"]`. Its priority is fixed.
    pub struct NamespaceSettings = "namespaces.<name>" {
        /// When a publish is acknowledged. On a durable namespace "accepted" gives up the
        /// promise that an acknowledged event survives a crash.
        ack_level: Option<AckLevel> = None,
        unit "", example "\"local\"";

        /// Events of each channel that are kept for resume and history.
        history_events: Option<u32> = None,
        unit "events", bounds 1..=limits::HISTORY_EVENTS_MAX, example "1000";

        /// Age up to which events are kept for resume and history.
        history_age: Option<Duration> = None,
        unit "time",
        bounds Duration::from_secs(1)..=Duration::from_secs(365 * 86_400),
        example "\"24h\"";

        /// Largest payload of an event.
        payload_bytes: Option<ByteSize> = None,
        unit "bytes",
        bounds ByteSize(1)..=ByteSize(limits::PAYLOAD_BYTES_MAX),
        example "\"16KiB\"";

        /// Payloads without an event type of the registry are allowed.
        opaque_allowed: Option<bool> = None,
        unit "", example "true";

        /// Events of one conflation key supersede each other for slow clients. Only for
        /// namespaces that are not durable.
        conflated: Option<bool> = None,
        unit "", example "false";

        /// Who is present in a channel can be asked for by everybody who may subscribe to it.
        presence: Option<bool> = None,
        unit "", example "false";
    }
}

impl NamespaceSettings {
    /// Replaces what is set here in a policy.
    fn apply(&self, policy: &mut NamespacePolicy) {
        if let Some(level) = self.ack_level {
            policy.ack_level = match level {
                AckLevel::Accepted => wire::AckLevel::Accepted,
                AckLevel::Local => wire::AckLevel::Local,
                AckLevel::Replicated => wire::AckLevel::Replicated,
            };
        }
        if let Some(age) = self.history_age {
            policy.history_age_s = age.as_secs().try_into().unwrap_or(u32::MAX);
        }
        if let Some(size) = self.payload_bytes {
            policy.payload_bytes = size.0.try_into().unwrap_or(u32::MAX);
        }
        policy.history_events = self.history_events.unwrap_or(policy.history_events);
        policy.opaque_allowed = self.opaque_allowed.unwrap_or(policy.opaque_allowed);
        policy.conflated = self.conflated.unwrap_or(policy.conflated);
        policy.presence = self.presence.unwrap_or(policy.presence);
    }
}

impl Config {
    /// The policies of all namespaces: the shipped table with the overrides.
    ///
    /// # Errors
    /// When an override contradicts a promise of its namespace.
    pub fn namespace_policies(&self) -> Result<Namespaces, NamespaceError> {
        let mut policies: Vec<NamespacePolicy> = Namespaces::defaults().iter().cloned().collect();
        for policy in &mut policies {
            if let Some(settings) = self.namespaces.get(&policy.name) {
                settings.apply(policy);
            }
        }
        Namespaces::new(policies)
    }
}

/// The shipped namespace that a table of overrides is named after.
pub(super) fn find(matches: impl Fn(&str) -> bool) -> Option<String> {
    let shipped = Namespaces::defaults();
    let mut names = shipped.iter().map(|policy| policy.name.clone());
    names.find(|name| matches(name))
}

/// The namespace that somebody who wrote `name` probably meant.
pub(super) fn nearest_namespace(name: &str) -> Suggestion {
    let shipped = Namespaces::defaults();
    nearest(name, shipped.iter().map(|policy| policy.name.as_str()))
}
