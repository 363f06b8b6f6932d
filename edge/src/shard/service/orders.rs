//! Orders of services for the sessions of a user: disconnect, subscribe, unsubscribe.
//!
//! Purpose: what an application decides about its users reaches their connections. A subscription
//! that a service makes is like one by subscription token: it may be to every channel that the
//! user could subscribe to with one, and the client is told by a `Subscribed` with request 0. The
//! service's word lasts as long as the session, or until it is taken back by an unsubscribe: the
//! client may claim the subscription by its own `Subscribe`, end it, and make it again, without a
//! token.
//!
//! Invariant: a service of an institution acts on users of that institution only.
//! Limits: a session has words for as many channels as it may subscribe to.
//!
//! Thread: the home shard of the user.

use std::collections::HashMap;

use interlink_protocol::channel::ChannelName;
use interlink_protocol::claims::{ClaimsView, PackedClaims};
use interlink_protocol::ids::SessionKey;
use interlink_protocol::namespace::permit_subscribe;
use interlink_protocol::{CloseCode, ErrorCode};

use super::questions::{Act, Carried, Order, SESSIONS_PER_QUESTION};
use crate::shard::channel::GRANTED;
use crate::shard::connection::NONE;
use crate::shard::Shard;

/// Channels that services have opened to sessions.
#[derive(Debug, Default)]
pub struct Words {
    by_session: HashMap<SessionKey, Vec<Box<str>>>,
}

impl Words {
    /// Whether a service has opened the channel to the session.
    pub fn cover(&self, session: SessionKey, channel: &str) -> bool {
        let opened = self.by_session.get(&session);
        opened.is_some_and(|channels| channels.iter().any(|opened| **opened == *channel))
    }

    /// Opens a channel to a session that has fewer than `most`.
    fn give(&mut self, session: SessionKey, channel: &str, most: u32) -> Result<(), ErrorCode> {
        if self.cover(session, channel) {
            return Ok(());
        }
        let channels = self.by_session.entry(session).or_default();
        if channels.len() >= most as usize {
            return Err(ErrorCode::TooManySubscriptions);
        }
        channels.push(channel.into());
        Ok(())
    }

    /// Takes a word back.
    fn take_back(&mut self, session: SessionKey, channel: &str) {
        if let Some(channels) = self.by_session.get_mut(&session) {
            channels.retain(|opened| **opened != *channel);
            if channels.is_empty() {
                self.by_session.remove(&session);
            }
        }
    }

    /// The session is gone.
    pub fn forget(&mut self, session: SessionKey) {
        if !self.by_session.is_empty() {
            self.by_session.remove(&session);
        }
    }
}

/// What became of an order at one session.
enum Effect {
    /// It was done.
    Done,
    /// Nothing had to be done.
    Already,
    /// The order is not meant for a session without a connection.
    NotMeant,
}

impl Shard {
    /// Carries an order out for some sessions; `None` when the position of its channel has to
    /// be awaited.
    pub(super) fn carry_out_order(
        &mut self,
        service: &PackedClaims,
        order: &Order,
    ) -> Result<Option<Carried>, ErrorCode> {
        if let Act::Subscribe(name) | Act::Unsubscribe(name) = &order.act {
            let name = ChannelName::parse(name).map_err(|_| ErrorCode::ChannelInvalid)?;
            let known = self.shared.namespaces.lookup(&name);
            known.ok_or(ErrorCode::NamespaceUnknown)?;
        }
        let Some(user) = self.find_user(&order.user) else {
            return Ok(Some(Carried::default()));
        };
        let own = service.institution();
        if !own.is_empty() && own != self.users[user].claims.institution() {
            return Err(ErrorCode::NotPermitted);
        }
        let joined = match &order.act {
            Act::Subscribe(name) => match self.prepare_joining(user, name)? {
                Some(channel) => Some(channel),
                None => return Ok(None),
            },
            _ => None,
        };
        let carried = self.walk_sessions(user, order, joined);
        if let Some(channel) = joined {
            self.forget_channel_if_idle(channel);
        }
        Ok(Some(carried))
    }

    fn walk_sessions(&mut self, user: u32, order: &Order, joined: Option<u32>) -> Carried {
        let mut next = self.users[user].sessions;
        if let Some((session, key)) = order.from {
            let entry = self.sessions.get(session);
            // When it has ended meanwhile, the walk begins again; what was done stays done.
            if entry.is_some_and(|entry| entry.key == key && entry.user == user) {
                next = session;
            }
        }
        let mut carried = Carried::default();
        for _ in 0..SESSIONS_PER_QUESTION {
            if next == NONE {
                return carried;
            }
            let session = next;
            next = self.sessions[session].next_of_user;
            match self.act_on(session, order, joined) {
                Ok(Effect::Done) => carried.done += 1,
                Ok(Effect::Already) => carried.already += 1,
                Ok(Effect::NotMeant) => {}
                Err(code) => {
                    self.counters.refusals.add(code);
                    carried.refused += 1;
                    carried.code.get_or_insert(code);
                }
            }
        }
        carried.next = (next != NONE).then(|| (next, self.sessions[next].key));
        carried
    }

    fn act_on(
        &mut self,
        session: u32,
        order: &Order,
        joined: Option<u32>,
    ) -> Result<Effect, ErrorCode> {
        match (&order.act, joined) {
            (
                Act::Disconnect {
                    code,
                    reason,
                    may_resume,
                },
                _,
            ) => Ok(self.disconnect(session, (*code, reason), *may_resume)),
            (Act::Unsubscribe(name), _) => Ok(self.end_for_service(session, name)),
            (Act::Subscribe(_), Some(channel)) => self.join_for_service(session, channel),
            (Act::Subscribe(_), None) => Err(ErrorCode::Internal),
        }
    }

    /// Closes a session's connection; unless it may be resumed, nothing is kept of the session.
    fn disconnect(&mut self, session: u32, saying: (u16, &str), may_resume: bool) -> Effect {
        let connection = self.sessions[session].connection;
        if connection == NONE {
            if !may_resume {
                self.remove_session(session);
            }
            return Effect::NotMeant;
        }
        if !may_resume {
            self.end_session_of(connection);
        }
        let (code, reason) = saying;
        self.close_saying(connection, CloseCode::Disconnected, code, reason);
        Effect::Done
    }

    /// The channel that a user may be subscribed to; `None` while its owner has not told its
    /// position.
    fn prepare_joining(&mut self, user: u32, name: &str) -> Result<Option<u32>, ErrorCode> {
        let name = ChannelName::parse(name).map_err(|_| ErrorCode::ChannelInvalid)?;
        let policy = self.shared.namespaces.lookup(&name);
        let policy = policy.ok_or(ErrorCode::NamespaceUnknown)?;
        let claims = &self.users[user].claims;
        // The service's word counts as a subscription token does.
        permit_subscribe(policy, &name, claims, true)?;
        let channel = self.channel_named(&name)?;
        self.show_interest(channel);
        let is_known = self.knows_positions() || self.channels[channel].flags & GRANTED != 0;
        Ok(is_known.then_some(channel))
    }

    fn join_for_service(&mut self, session: u32, channel: u32) -> Result<Effect, ErrorCode> {
        if !self.sessions[session].is_attached() {
            return Ok(Effect::NotMeant);
        }
        if self.find_subscription(session, channel).is_some() {
            return Ok(Effect::Already);
        }
        let key = self.sessions[session].key;
        let most = self.limits.subscriptions_per_session;
        let words = &mut self.service.words;
        words.give(key, &self.channels[channel].name, most)?;
        if let Err(code) = self.subscribe_unasked(session, channel) {
            let name = &self.channels[channel].name;
            self.service.words.take_back(key, name);
            return Err(code);
        }
        Ok(Effect::Done)
    }

    /// Ends a session's subscription to a channel and tells the client.
    fn end_for_service(&mut self, session: u32, name: &str) -> Effect {
        let key = self.sessions[session].key;
        self.service.words.take_back(key, name);
        let found = self
            .find_channel(name)
            .and_then(|channel| self.find_subscription(session, channel));
        let Some(subscription) = found else {
            return Effect::Already;
        };
        let connection = self.sessions[session].connection;
        let outcome = self.end_subscription(subscription, ErrorCode::Unsubscribed);
        if connection != NONE {
            self.answer_subscribed(connection, 0, &[outcome]);
        }
        Effect::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_for_one_session_and_channel_until_it_is_taken_back() {
        let (first, second) = (SessionKey(1), SessionKey(2));
        let mut words = Words::default();
        assert!(words.give(first, "chat.a", 2).is_ok());
        assert!(words.give(first, "chat.b", 2).is_ok());
        assert_eq!(
            words.give(first, "chat.c", 2),
            Err(ErrorCode::TooManySubscriptions)
        );
        assert!(words.give(first, "chat.a", 2).is_ok(), "it has that one");
        assert!(words.give(second, "chat.a", 2).is_ok());
        words.take_back(first, "chat.a");
        assert!(!words.cover(first, "chat.a") && words.cover(first, "chat.b"));
        assert!(words.cover(second, "chat.a") && !words.cover(second, "chat.b"));
        words.take_back(first, "chat.b");
        words.forget(second);
        words.forget(second);
        assert!(words.by_session.is_empty());
    }
}
