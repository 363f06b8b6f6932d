//! An incoming publish: may it be accepted, and how?
//!
//! [`check_publish`] looks at the frame alone: form, namespace, permission, type and age. It
//! takes no credit and changes nothing, so that a refused publish costs nothing. [`Credit`]
//! bounds what a connection has in flight. [`check_service`] is the same for what comes from no
//! session.
//! Runs on: the home thread of the user; no allocation.

use interlink_wire::{self as wire, AckLevel};

use crate::channel::ChannelName;
use crate::claims::ClaimsView;
use crate::frame::PublishFields;
use crate::limits;
use crate::namespace::{permit_publish, NamespaceId, NamespacePolicy, Namespaces};
use crate::priority::Priority;
use crate::registry::Registry;
use crate::ErrorCode;

/// Why a publish is refused. Nothing of it was kept; it may be sent again with the same id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The reason.
    pub code: ErrorCode,
    /// Earliest useful retry in milliseconds; 0 when a retry does not help.
    pub retry_after_ms: u32,
}

impl Refusal {
    /// A refusal with the retry time that is usual for its code.
    pub const fn of(code: ErrorCode) -> Self {
        let retry_after_ms = match code {
            ErrorCode::Overloaded => limits::OVERLOADED_RETRY_MS,
            code if code.is_temporary() => limits::UNAVAILABLE_RETRY_MS,
            _ => 0,
        };
        Self {
            code,
            retry_after_ms,
        }
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self::of(code)
    }
}

/// What has to happen before a publish is accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attempt {
    /// Recent ids tell whether it is a repeat.
    Recent,
    /// Its first attempt is older than recent ids are remembered; the archive of ids is asked
    /// first. Without one, the answer is `outcome_unknown`.
    LookUp,
}

/// How a publish is accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublishDecision {
    /// Namespace of the channel.
    pub namespace: NamespaceId,
    /// Class of the channel.
    pub priority: Priority,
    /// True when the record is journaled.
    pub durable: bool,
    /// Level at which it is acknowledged; never `Default`.
    pub level: AckLevel,
    /// Whether it has to be looked up.
    pub attempt: Attempt,
}

/// Decides a publish.
///
/// `granted` tells whether the session holds a subscription to the channel that a token granted;
/// it is asked only when the namespace accepts such grants and nothing else permits the publish.
pub fn check_publish(
    publish: &wire::Publish<'_>,
    namespaces: &Namespaces,
    registry: &Registry,
    claims: &dyn ClaimsView,
    granted: impl FnOnce() -> bool,
) -> Result<PublishDecision, Refusal> {
    if publish.client_message_id() == 0 {
        return Err(ErrorCode::MessageIdInvalid.into());
    }
    let fields = PublishFields::of(publish);
    let (channel, namespace) = find_namespace(&fields, namespaces)?;
    let policy = namespaces.get(namespace);
    if let Err(refusal) = permit_publish(policy, &channel, claims, false) {
        if !(policy.publish.token && granted()) {
            return Err(refusal.into());
        }
    }
    decide(&fields, namespace, policy, registry)
}

/// Decides a publish of a service, or of the system itself, which has no claims and may publish
/// everywhere. Its identity is its idempotency key, and the client message id is not looked at.
pub fn check_service(
    fields: &PublishFields<'_>,
    namespaces: &Namespaces,
    registry: &Registry,
    claims: Option<&dyn ClaimsView>,
) -> Result<PublishDecision, Refusal> {
    let (channel, namespace) = find_namespace(fields, namespaces)?;
    let policy = namespaces.get(namespace);
    if let Some(claims) = claims {
        permit_publish(policy, &channel, claims, false)?;
    }
    decide(fields, namespace, policy, registry)
}

fn find_namespace<'a>(
    fields: &PublishFields<'a>,
    namespaces: &Namespaces,
) -> Result<(ChannelName<'a>, NamespaceId), ErrorCode> {
    let channel = ChannelName::parse(fields.channel).map_err(|_| ErrorCode::ChannelInvalid)?;
    let namespace = namespaces
        .find(&channel)
        .ok_or(ErrorCode::NamespaceUnknown)?;
    Ok((channel, namespace))
}

/// Decides a permitted publish.
fn decide(
    fields: &PublishFields<'_>,
    namespace: NamespaceId,
    policy: &NamespacePolicy,
    registry: &Registry,
) -> Result<PublishDecision, Refusal> {
    let (number, version) = (fields.event_type, fields.schema_version);
    registry.check(number, version, fields.payload, policy)?;
    check_extras(fields, policy)?;
    if fields.ack_level.0 > AckLevel::ENUM_MAX {
        return Err(ErrorCode::InvalidRequest.into());
    }
    Ok(PublishDecision {
        namespace,
        priority: policy.priority,
        durable: policy.durable,
        level: policy.resolve_level(fields.ack_level),
        attempt: check_age(fields, policy)?,
    })
}

/// Checks conflation key and trace context.
fn check_extras(fields: &PublishFields<'_>, policy: &NamespacePolicy) -> Result<(), ErrorCode> {
    if let Some(key) = fields.conflation_key {
        if !policy.conflated || key.len() > limits::CONFLATION_KEY_BYTES {
            return Err(ErrorCode::ConflationKeyInvalid);
        }
    }
    if let Some(trace) = fields.trace {
        let state = trace.tracestate.map_or(0, str::len);
        if trace.traceparent.len() > limits::TRACEPARENT_BYTES || state > limits::TRACESTATE_BYTES {
            return Err(ErrorCode::InvalidRequest);
        }
    }
    Ok(())
}

/// Decides what the age of a publish means.
fn check_age(fields: &PublishFields<'_>, policy: &NamespacePolicy) -> Result<Attempt, ErrorCode> {
    let age_ms = fields.age_ms;
    if fields.time_to_live_ms != 0 && age_ms > fields.time_to_live_ms {
        return Err(ErrorCode::PublishExpired);
    }
    if age_ms <= limits::ATTEMPT_LOOK_UP_AGE_MS {
        return Ok(Attempt::Recent);
    }
    // Nothing keeps the ids of channels without history, so nobody could answer a look-up.
    if !policy.durable || age_ms > limits::ATTEMPT_DECIDABLE_AGE_MS {
        return Err(ErrorCode::OutcomeUnknown);
    }
    Ok(Attempt::LookUp)
}

/// Publishes of a connection that wait for their acknowledgement.
///
/// P0 has its own count, so that a full connection can still raise an alarm.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Credit {
    ordinary: u8,
    critical: u8,
}

const _: () = assert!(size_of::<Credit>() == 2);

/// The credit of a class is used up; the publish is refused as `overloaded`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("all publishes of this class are in flight; send again after an acknowledgement")]
pub struct Exhausted;

impl Credit {
    /// Takes one, for a publish that is being accepted.
    pub fn take(&mut self, priority: Priority) -> Result<(), Exhausted> {
        let (used, most) = self.class(priority);
        if *used >= most {
            return Err(Exhausted);
        }
        *used += 1;
        Ok(())
    }

    /// Gives one back, after its acknowledgement.
    ///
    /// # Panics
    /// When none of the class is taken: the caller has lost count.
    pub fn give_back(&mut self, priority: Priority) {
        let (used, _) = self.class(priority);
        assert!(
            *used > 0,
            "more credit of {} came back than was taken",
            priority.name()
        );
        *used -= 1;
    }

    /// Publishes of the class that can still be taken.
    pub fn left(mut self, priority: Priority) -> u8 {
        let (used, most) = self.class(priority);
        most - *used
    }

    /// True when nothing is in flight.
    pub fn is_idle(self) -> bool {
        self == Self::default()
    }

    fn class(&mut self, priority: Priority) -> (&mut u8, u8) {
        match priority {
            Priority::P0 => (&mut self.critical, limits::PUBLISH_CREDIT_CRITICAL),
            Priority::P1 | Priority::P2 | Priority::P3 => {
                (&mut self.ordinary, limits::PUBLISH_CREDIT)
            }
        }
    }
}

#[cfg(test)]
mod tests;
