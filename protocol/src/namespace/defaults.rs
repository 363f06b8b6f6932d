//! The shipped table of namespaces.
//!
//! - `inst.<i>`, `dept.<i>.<d>`, `class.<c>`: P1, durable. Members subscribe; members who are
//!   staff or teachers publish, and services.
//! - `chat.<u1>~<u2>`, `chat.<id>`: P1, durable. The two named, or by token; the same publish.
//! - `collab.<doc>`: P1, durable. By token; the same publish.
//! - `collab-awareness.<doc>`: P2, conflated. By token; the same publish.
//! - `user.<u>`: P1, durable, with cursor. The user subscribes; services publish.
//! - `alert.<u>`: P0, durable, with cursor and escalation. The user subscribes; services publish.
//! - `activity.<u>`: P2. The user subscribes, or by token; the user publishes.
//! - `presence.<scope>`: P2, conflated. Members of the scope subscribe and publish; a scope is
//!   the name of an `inst`, `dept` or `class` channel.
//! - `sys.notifications` (P1, durable), `sys.status` (P2): staff, teachers, operators and services
//!   subscribe; the system publishes.
//! - `sys.metrics` (P2), `sys.security` (P0, durable): operators and services subscribe; the
//!   system publishes.
//! - `report.<i>.<x>`: P3, durable. Staff of the institution and services subscribe; services
//!   publish.
//! - `usage.<i>.<x>`: P3, durable. Staff and teachers of the institution and services subscribe;
//!   members of the institution and services publish.
//!
//! What the system publishes does not pass a permission check; nobody else may publish there.

use interlink_wire::AckLevel;

use super::{NamespacePolicy, Rule, Scope, Topic, Who};
use crate::claims::{ROLE_OPERATOR, ROLE_SERVICE, ROLE_STAFF, ROLE_TEACHER};
use crate::limits;
use crate::priority::Priority;

/// Events kept for a channel by default.
const HISTORY_EVENTS: u32 = 1_000;
/// Time they are kept by default, in seconds.
const HISTORY_AGE_S: u32 = 24 * 60 * 60;
/// Payload limit of cursors, typing marks and online states, in bytes.
const SMALL_PAYLOAD_BYTES: u32 = 1024;

/// Every policy of the shipped table.
pub(super) fn policies() -> Vec<NamespacePolicy> {
    let mut all = Vec::new();
    all.extend(classroom());
    all.extend(conversations());
    all.extend(users());
    all.extend(system());
    all.extend(background());
    all
}

fn classroom() -> [NamespacePolicy; 3] {
    [
        ("inst", Scope::Institution, Topic::Institution),
        ("dept", Scope::Department, Topic::Institution),
        ("class", Scope::Class, Topic::Academic),
    ]
    .map(|(name, scope, topic)| NamespacePolicy {
        topic,
        presence: true,
        subscribe: rule(Who::Members(scope), &[]),
        publish: Rule {
            with_roles: names(&[ROLE_STAFF, ROLE_TEACHER]),
            ..rule(Who::Members(scope), &[ROLE_SERVICE])
        },
        ..durable(name, Priority::P1)
    })
}

fn conversations() -> [NamespacePolicy; 3] {
    let by_token = |who| Rule {
        token: true,
        ..rule(who, &[])
    };
    [
        NamespacePolicy {
            presence: true,
            subscribe: by_token(Who::Pair),
            publish: by_token(Who::Pair),
            ..durable("chat", Priority::P1)
        },
        NamespacePolicy {
            presence: true,
            opaque_allowed: true,
            payload_bytes: limits::PAYLOAD_BYTES as u32,
            subscribe: by_token(Who::Nobody),
            publish: by_token(Who::Nobody),
            ..durable("collab", Priority::P1)
        },
        NamespacePolicy {
            conflated: true,
            opaque_allowed: true,
            payload_bytes: SMALL_PAYLOAD_BYTES,
            subscribe: by_token(Who::Nobody),
            publish: by_token(Who::Nobody),
            ..ephemeral("collab-awareness")
        },
    ]
}

fn users() -> [NamespacePolicy; 4] {
    [
        NamespacePolicy {
            cursor: true,
            subscribe: rule(Who::Owner, &[]),
            publish: rule(Who::Nobody, &[ROLE_SERVICE]),
            ..durable("user", Priority::P1)
        },
        NamespacePolicy {
            cursor: true,
            escalation: true,
            subscribe: rule(Who::Owner, &[]),
            publish: rule(Who::Nobody, &[ROLE_SERVICE]),
            ..durable("alert", Priority::P0)
        },
        NamespacePolicy {
            opaque_allowed: true,
            subscribe: Rule {
                token: true,
                ..rule(Who::Owner, &[])
            },
            publish: rule(Who::Owner, &[]),
            ..ephemeral("activity")
        },
        NamespacePolicy {
            conflated: true,
            presence: true,
            payload_bytes: SMALL_PAYLOAD_BYTES,
            subscribe: rule(Who::Members(Scope::Nested), &[]),
            publish: rule(Who::Members(Scope::Nested), &[]),
            ..ephemeral("presence")
        },
    ]
}

fn system() -> [NamespacePolicy; 4] {
    let everybody = [ROLE_STAFF, ROLE_TEACHER, ROLE_OPERATOR, ROLE_SERVICE];
    let operators = [ROLE_OPERATOR, ROLE_SERVICE];
    [
        (durable("sys.notifications", Priority::P1), &everybody[..]),
        (ephemeral("sys.status"), &everybody[..]),
        (ephemeral("sys.metrics"), &operators[..]),
        (durable("sys.security", Priority::P0), &operators[..]),
    ]
    .map(|(policy, readers)| NamespacePolicy {
        opaque_allowed: true,
        subscribe: rule(Who::Nobody, readers),
        publish: rule(Who::Nobody, &[]),
        ..policy
    })
}

fn background() -> [NamespacePolicy; 2] {
    let within = Who::Members(Scope::WithinInstitution);
    let readers = |roles: &[&str]| Rule {
        with_roles: names(roles),
        ..rule(within, &[ROLE_SERVICE])
    };
    [
        NamespacePolicy {
            opaque_allowed: true,
            subscribe: readers(&[ROLE_STAFF]),
            publish: rule(Who::Nobody, &[ROLE_SERVICE]),
            ..durable("report", Priority::P3)
        },
        NamespacePolicy {
            topic: Topic::Analytics,
            subscribe: readers(&[ROLE_STAFF, ROLE_TEACHER]),
            publish: rule(within, &[ROLE_SERVICE]),
            ..durable("usage", Priority::P3)
        },
    ]
}

/// A durable namespace with the default history, which nobody may use yet.
fn durable(name: &str, priority: Priority) -> NamespacePolicy {
    let (ack_level, topic) = match priority {
        Priority::P0 => (AckLevel::Replicated, Topic::Critical),
        Priority::P1 => (AckLevel::Local, Topic::High),
        Priority::P2 => (AckLevel::Accepted, Topic::Standard),
        Priority::P3 => (AckLevel::Local, Topic::Batch),
    };
    NamespacePolicy {
        name: name.into(),
        priority,
        durable: true,
        ack_level,
        history_events: HISTORY_EVENTS,
        history_age_s: HISTORY_AGE_S,
        opaque_allowed: false,
        conflated: false,
        payload_bytes: limits::PAYLOAD_DEFAULT_BYTES as u32,
        subscribe: rule(Who::Nobody, &[]),
        publish: rule(Who::Nobody, &[]),
        cursor: false,
        escalation: false,
        presence: false,
        rate_per_s: None,
        topic,
    }
}

/// A namespace of class P2 without history, which nobody may use yet.
fn ephemeral(name: &str) -> NamespacePolicy {
    NamespacePolicy {
        durable: false,
        ack_level: AckLevel::Accepted,
        history_events: 0,
        history_age_s: 0,
        ..durable(name, Priority::P2)
    }
}

fn rule(who: Who, roles: &[&str]) -> Rule {
    Rule {
        who,
        with_roles: Vec::new(),
        roles: names(roles),
        token: false,
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).into()).collect()
}
