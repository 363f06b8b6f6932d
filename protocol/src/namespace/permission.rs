//! Decides whether a user may subscribe to a channel or publish on it.

use super::{NamespacePolicy, Rule, Scope, Who};
use crate::channel::ChannelName;
use crate::claims::ClaimsView;
use crate::ErrorCode;

/// Decides a subscription. `token_grant` is true when a verified subscription token names this
/// channel and this user.
pub fn permit_subscribe(
    policy: &NamespacePolicy,
    channel: &ChannelName<'_>,
    claims: &dyn ClaimsView,
    token_grant: bool,
) -> Result<(), ErrorCode> {
    permit(&policy.subscribe, channel, claims, token_grant)
}

/// Decides a publish. `token_grant` is true when the session holds a subscription to this
/// channel that a token granted.
pub fn permit_publish(
    policy: &NamespacePolicy,
    channel: &ChannelName<'_>,
    claims: &dyn ClaimsView,
    token_grant: bool,
) -> Result<(), ErrorCode> {
    permit(&policy.publish, channel, claims, token_grant)
}

/// Decides whether a service may look at a channel: at its events and at how many subscribe.
///
/// A service of no institution runs the whole deployment and may look at everything. One of an
/// institution may look at what names that institution, at nothing that names another, and else
/// at what it may subscribe to.
pub fn permit_inspect(
    policy: &NamespacePolicy,
    channel: &ChannelName<'_>,
    claims: &dyn ClaimsView,
) -> Result<(), ErrorCode> {
    let own = claims.institution();
    if own.is_empty() {
        return Ok(());
    }
    match institution_of(policy, channel) {
        Some(named) if named == own => Ok(()),
        Some(_) => Err(ErrorCode::NotPermitted),
        // No token can be shown for somebody else's channel.
        None => {
            permit_subscribe(policy, channel, claims, false).map_err(|_| ErrorCode::NotPermitted)
        }
    }
}

/// The institution that a channel's id names, where the namespace has ids that name one.
fn institution_of<'a>(policy: &NamespacePolicy, channel: &ChannelName<'a>) -> Option<&'a str> {
    let first = |id: &'a str| id.split('.').next();
    match policy.subscribe.who {
        Who::Members(Scope::Institution | Scope::Department | Scope::WithinInstitution) => {
            first(channel.id())
        }
        Who::Members(Scope::Nested) => match channel.id().split_once('.') {
            Some(("inst" | "dept", rest)) => first(rest),
            _ => None,
        },
        _ => None,
    }
}

fn permit(
    rule: &Rule,
    channel: &ChannelName<'_>,
    claims: &dyn ClaimsView,
    token_grant: bool,
) -> Result<(), ErrorCode> {
    if rule.token && token_grant {
        return Ok(());
    }
    if has_any(&rule.roles, claims) {
        return Ok(());
    }
    let by_identity = is_meant(rule.who, channel, claims);
    if by_identity && (rule.with_roles.is_empty() || has_any(&rule.with_roles, claims)) {
        return Ok(());
    }
    // A pair names its users; a token for it would let a third one in, which an application
    // may want, so both answers say how to get further.
    Err(if rule.token {
        ErrorCode::SubscriptionTokenRequired
    } else {
        ErrorCode::NotPermitted
    })
}

fn has_any(roles: &[String], claims: &dyn ClaimsView) -> bool {
    roles.iter().any(|role| claims.has_role(role))
}

/// True when the rule means this user by identity.
fn is_meant(who: Who, channel: &ChannelName<'_>, claims: &dyn ClaimsView) -> bool {
    match who {
        Who::Nobody => false,
        Who::Everyone => true,
        Who::Owner => claims.user() == channel.id(),
        Who::Pair => channel
            .pair()
            .is_some_and(|(first, second)| [first, second].contains(&claims.user())),
        Who::Members(scope) => is_member(scope, channel.id(), claims),
    }
}

/// True when the user belongs to what the id names.
fn is_member(scope: Scope, id: &str, claims: &dyn ClaimsView) -> bool {
    let institution = claims.institution();
    // Institutions have no dot in their name, so the first one ends it.
    let (first, rest) = id
        .split_once('.')
        .map_or((id, None), |(first, rest)| (first, Some(rest)));
    let own = !institution.is_empty() && first == institution;
    match (scope, rest) {
        (Scope::Institution, None) => own,
        (Scope::Institution, Some(_)) => false,
        (Scope::Department, rest) => own && rest.is_some_and(|name| claims.is_in_department(name)),
        (Scope::Class, _) => claims.is_in_class(id),
        (Scope::WithinInstitution, _) => own,
        (Scope::Nested, Some(rest)) => match first {
            "inst" => is_member(Scope::Institution, rest, claims),
            "dept" => is_member(Scope::Department, rest, claims),
            "class" => is_member(Scope::Class, rest, claims),
            _ => false,
        },
        (Scope::Nested, None) => false,
    }
}
