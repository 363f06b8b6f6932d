//! Tokens of open connections: what they are checked with, and how they end.
//!
//! Purpose: a connection lasts as long as its token. The end of a user token is part of the
//! connection's entry in the wheel, so it costs no memory and no look at a message; a
//! subscription by token is listed by its end; revocations walk over the sessions when their
//! list changes, some in each turn.
//!
//! Invariants: a session whose token is revoked or over has no connection a second later, on a
//! shard that turns twice a second at least; a refresh never changes the user.
//! Limits: [`SWEPT_PER_TURN`] sessions and [`ENDED_PER_TURN`] grants a turn.
//!
//! Thread: the shard.

use std::collections::{BTreeSet, HashMap};

use interlink_protocol::channel::ChannelName;
use interlink_protocol::claims::{ClaimsView, PackedClaims};
use interlink_protocol::namespace::permit_subscribe;
use interlink_protocol::session::auth::{check_claims, check_refresh, check_token_length};
use interlink_protocol::{CloseCode, ErrorCode};
use interlink_wire as wire;

use super::channel::Grant;
use super::connection::NONE;
use super::subscribe::Outcome;
use super::{Shard, Shared};
use crate::auth::{Reader, Revocations, UserToken, Verifier};

/// Sessions that a turn compares with a new revocation list: 100,000 take a hundred turns, a
/// few milliseconds.
const SWEPT_PER_TURN: u32 = 1_024;
/// Subscriptions by token that a turn ends.
const ENDED_PER_TURN: u32 = 32;

/// What a shard knows about tokens beside its sessions.
#[derive(Debug)]
pub struct Tokens {
    /// Checks tokens.
    pub verifier: Reader<Verifier>,
    /// Tokens and users that are refused.
    pub revocations: Reader<Revocations>,
    /// Ends of subscriptions by token.
    pub grants: Grants,
    /// Session at which the comparison with a new list goes on.
    sweep: Option<u32>,
}

impl Tokens {
    /// What the node knows now.
    pub fn new(shared: &Shared) -> Self {
        Self {
            verifier: shared.verifier.reader(),
            revocations: shared.revocations.reader(),
            grants: Grants::default(),
            sweep: None,
        }
    }

    /// Whether another turn has something to do at once.
    pub fn have_work(&self) -> bool {
        self.sweep.is_some()
    }
}

/// When subscriptions by token end; only those that were granted by one have an entry.
#[derive(Debug, Default)]
pub struct Grants {
    by_end: BTreeSet<(u32, u32)>,
    ends: HashMap<u32, u32>,
}

impl Grants {
    /// The grant of a subscription ends at a Unix second.
    pub fn add(&mut self, subscription: u32, end_s: u32) {
        self.remove(subscription);
        self.ends.insert(subscription, end_s);
        self.by_end.insert((end_s, subscription));
    }

    /// The subscription is gone.
    pub fn remove(&mut self, subscription: u32) {
        if let Some(end_s) = self.ends.remove(&subscription) {
            self.by_end.remove(&(end_s, subscription));
        }
    }

    /// When the next grant ends, in Unix seconds.
    pub fn next_end_s(&self) -> Option<u32> {
        self.by_end.first().map(|entry| entry.0)
    }

    /// Takes a subscription whose grant has ended.
    fn take_ended(&mut self, now_s: u64) -> Option<u32> {
        let &(end_s, subscription) = self.by_end.first()?;
        if u64::from(end_s) > now_s {
            return None;
        }
        self.remove(subscription);
        Some(subscription)
    }
}

/// Why a token was refused.
#[derive(Debug, PartialEq, Eq)]
pub struct RefusedToken {
    /// The answer.
    pub code: ErrorCode,
    /// Of whose institution it is, if its signature says so.
    pub institution: String,
}

impl From<ErrorCode> for RefusedToken {
    fn from(code: ErrorCode) -> Self {
        Self {
            code,
            institution: String::new(),
        }
    }
}

impl Shard {
    /// Takes over new keys and revocations, and goes on with what the latter ask for.
    pub(super) fn take_key_changes(&mut self) {
        self.tokens.verifier.update();
        if self.tokens.revocations.update() {
            self.tokens.sweep = Some(0);
        }
        let Some(mut next) = self.tokens.sweep else {
            return;
        };
        for _ in 0..SWEPT_PER_TURN {
            let Some(session) = self.sessions.next_live(next) else {
                self.tokens.sweep = None;
                return;
            };
            next = session + 1;
            let entry = &self.sessions[session];
            let user = &self.users[entry.user];
            let (name, institution) = (&user.name, user.claims.institution());
            let connection = entry.connection;
            let revocations = &self.tokens.revocations;
            if connection != NONE && revocations.cover(name, institution, entry.mark()) {
                // Nothing is kept for a resume.
                self.end_session_of(connection);
                self.close_with(connection, CloseCode::TokenRevoked);
            }
        }
        self.tokens.sweep = Some(next);
    }

    /// Checks a user token: signature, claims, times and revocations.
    pub(super) fn check_user_token(&self, token: &str) -> Result<UserToken, RefusedToken> {
        let now_s = self.clock.unix_s();
        let token = self
            .tokens
            .verifier
            .user(token, now_s)
            .map_err(|error| error.user_code())?;
        check_claims(&token.claims, now_s)?;
        let claims = &token.claims;
        if self
            .tokens
            .revocations
            .cover(&claims.user, &claims.institution, token.mark)
        {
            return Err(RefusedToken {
                code: ErrorCode::TokenRevoked,
                institution: token.claims.institution,
            });
        }
        Ok(token)
    }

    /// A client replaces its token.
    pub(super) fn on_refresh(&mut self, connection: u32, frame: &wire::Refresh<'_>) {
        match self.refresh(connection, frame.token()) {
            Ok(ended) => {
                self.counters.tokens_refreshed += 1;
                self.answer_subscribed(connection, frame.request_id(), &ended);
            }
            Err(code) => {
                self.counters.tokens_refused += 1;
                self.note_failed_refresh(connection, code);
                self.reply_error(connection, code, frame.request_id());
            }
        }
    }

    /// Puts a fresh token in the place of the session's; the subscriptions that it does not
    /// permit any more end and are returned.
    fn refresh(&mut self, connection: u32, token: &str) -> Result<Vec<Outcome>, ErrorCode> {
        let session = self.connections[connection].session;
        if session == NONE {
            return Err(ErrorCode::UnexpectedFrame);
        }
        check_token_length(token)?;
        let fresh = self
            .check_user_token(token)
            .map_err(|refused| refused.code)?;
        let user = self.sessions[session].user;
        let now_s = self.clock.unix_s();
        check_refresh(&self.users[user].claims, &fresh.claims, now_s)?;
        let packed = PackedClaims::pack(&fresh.claims).map_err(|_| ErrorCode::TokenInvalid)?;
        self.users[user].take_claims(packed, &self.shared.rates);
        self.sessions[session].take_token(&fresh);
        self.schedule_after_refresh(connection);
        Ok(self.end_unpermitted(session))
    }

    /// Ends the subscriptions that the present claims do not permit.
    fn end_unpermitted(&mut self, session: u32) -> Vec<Outcome> {
        let mut ended = Vec::new();
        let mut next = self.sessions[session].subscriptions;
        while next != NONE {
            let subscription = next;
            let entry = &self.subscriptions[subscription];
            next = entry.next;
            let granted = entry.grant.is_there();
            if let Err(code) = self.permission_of(subscription, granted) {
                ended.push(self.end_subscription(subscription, code));
            }
        }
        ended
    }

    /// Whether the claims of its user permit a subscription.
    fn permission_of(&self, subscription: u32, granted: bool) -> Result<(), ErrorCode> {
        let entry = &self.subscriptions[subscription];
        let channel = &self.channels[entry.channel];
        let name = ChannelName::parse(&channel.name).map_err(|_| ErrorCode::ChannelInvalid)?;
        let claims = &self.users[self.sessions[entry.session].user].claims;
        permit_subscribe(self.policy(channel.policy), &name, claims, granted)
    }

    /// Ends subscriptions whose tokens are over, and tells their clients.
    pub(super) fn end_grants(&mut self) {
        let now_s = self.clock.unix_s();
        for _ in 0..ENDED_PER_TURN {
            let Some(subscription) = self.tokens.grants.take_ended(now_s) else {
                return;
            };
            self.subscriptions[subscription].grant = Grant::None;
            if self.permission_of(subscription, false).is_ok() {
                continue;
            }
            let connection = self.subscriptions[subscription].connection;
            let code = ErrorCode::SubscriptionTokenInvalid;
            let outcome = self.end_subscription(subscription, code);
            self.counters.grants_ended += 1;
            if connection != NONE {
                // Nobody has asked, which request 0 says.
                self.answer_subscribed(connection, 0, &[outcome]);
            }
        }
    }

    /// Milliseconds until the token of a connection ends; 0 when it is over.
    pub(super) fn token_left_ms(&self, connection: u32) -> u32 {
        let session = self.connections[connection].session;
        if session == NONE {
            return u32::MAX;
        }
        let end_us = u64::from(self.sessions[session].until) * 1_000_000;
        let left_ms = end_us.saturating_sub(self.clock.unix_us).div_ceil(1_000);
        left_ms.min(u64::from(u32::MAX)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_end_in_their_order_and_once() {
        let mut grants = Grants::default();
        grants.add(1, 30);
        grants.add(2, 10);
        grants.add(3, 20);
        grants.add(2, 25);
        grants.remove(3);
        grants.remove(3);
        assert_eq!(grants.next_end_s(), Some(25));
        assert_eq!(grants.take_ended(24), None);
        assert_eq!(grants.take_ended(30), Some(2));
        assert_eq!(grants.take_ended(30), Some(1));
        assert_eq!(grants.take_ended(u64::MAX), None);
        assert!(grants.ends.is_empty());
    }
}
