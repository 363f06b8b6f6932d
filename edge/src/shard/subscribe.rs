//! Subscriptions: made, restored, ended, and recovered.
//!
//! Purpose: pin a position before anything is answered, so that no event between
//! the pinned position and the first delivered one is missing. Whether a wanted
//! position can be continued is decided in `recover`.
//!
//! Thread: the home shard of the session.

use flatbuffers::{ForwardsUOffset, Vector};
use interlink_protocol::channel::ChannelName;
use interlink_protocol::claims::ClaimsView;
use interlink_protocol::frame::{RecoveryFields, RestoredFields, SubscribedFields};
use interlink_protocol::ids::Position;
use interlink_protocol::namespace::permit_subscribe;
use interlink_protocol::session::resume::recovery_rank;
use interlink_protocol::ErrorCode;
use interlink_wire as wire;

use super::channel::{Grant, Subscription, SubscriptionState};
use super::connection::{LAGGING, NONE};
use super::recover::Start;
use super::Shard;

/// What became of one channel of a `Subscribe`.
#[derive(Debug)]
pub(super) struct Outcome {
    channel: Box<str>,
    state: wire::SubscriptionState,
    position: Option<Position>,
    recovery: RecoveryFields,
    code: u16,
    subscription: u32,
}

/// A subscription that a resumed session goes on with.
#[derive(Debug)]
pub(super) struct Restored {
    subscription: u32,
    start: Start,
}

impl Shard {
    /// A client subscribes.
    pub(super) fn on_subscribe(&mut self, connection: u32, frame: &wire::Subscribe<'_>) {
        let session = self.connections[connection].session;
        if session == NONE {
            return;
        }
        let outcomes: Vec<Outcome> = frame
            .channels()
            .iter()
            .map(|entry| self.subscribe_one(session, &entry))
            .collect();
        self.look_ups.forget(self.connections[connection].socket);
        self.answer_subscribed(connection, frame.request_id(), &outcomes);
        let made = outcomes.iter().map(|outcome| outcome.subscription);
        self.begin_recoveries(connection, made.filter(|made| *made != NONE).collect());
    }

    fn subscribe_one(&mut self, session: u32, entry: &wire::SubscribeChannel<'_>) -> Outcome {
        match self.try_subscribe(session, entry) {
            Ok((subscription, start)) => Outcome {
                channel: entry.channel().into(),
                state: wire::SubscriptionState::Live,
                position: Some(start.position),
                recovery: start.recovery,
                code: 0,
                subscription,
            },
            Err(code) => {
                self.counters.refusals.add(code);
                self.note_refused_channel(session, code);
                if let Some(channel) = self.find_channel(entry.channel()) {
                    self.forget_channel_if_idle(channel);
                }
                Outcome {
                    channel: entry.channel().into(),
                    state: wire::SubscriptionState::Refused,
                    position: None,
                    recovery: RecoveryFields::default(),
                    code: code.number(),
                    subscription: NONE,
                }
            }
        }
    }

    fn try_subscribe(
        &mut self,
        session: u32,
        entry: &wire::SubscribeChannel<'_>,
    ) -> Result<(u32, Start), ErrorCode> {
        let name = ChannelName::parse(entry.channel()).map_err(|_| ErrorCode::ChannelInvalid)?;
        let named = entry.recover().map(Position::from);
        if let Some(subscription) = self.unclaimed(session, entry.channel()) {
            if entry.presence() {
                self.check_watching(&name)?;
                self.start_watching(subscription);
            }
            self.subscriptions[subscription].grant = Grant::Given;
            return Ok((subscription, self.start(subscription, named)));
        }
        let grant_end_s = self.check_permission(session, &name, entry.token())?;
        if entry.presence() {
            self.check_watching(&name)?;
        }
        let record = &self.sessions[session];
        if u32::from(record.subscription_count) >= self.limits.subscriptions_per_session {
            return Err(ErrorCode::TooManySubscriptions);
        }
        let channel = self.channel_named(&name)?;
        if self.find_subscription(session, channel).is_some() {
            return Err(ErrorCode::AlreadySubscribed);
        }
        let has_word = self.has_word(session, name.as_str());
        let grant = Grant::of(entry.token().is_some() || has_word);
        let subscription = self.join(session, channel, grant)?;
        if let Some(end_s) = grant_end_s {
            self.tokens.grants.add(subscription, end_s);
        }
        if entry.presence() {
            self.start_watching(subscription);
        }
        Ok((subscription, self.start(subscription, named)))
    }

    /// The subscription that a service has made for the session, which its client now asks for.
    fn unclaimed(&self, session: u32, channel: &str) -> Option<u32> {
        let channel = self.find_channel(channel)?;
        let subscription = self.find_subscription(session, channel)?;
        let is_unclaimed = self.subscriptions[subscription].grant == Grant::Unclaimed;
        is_unclaimed.then_some(subscription)
    }

    /// Makes a subscription that begins with what comes next.
    fn join(&mut self, session: u32, channel: u32, grant: Grant) -> Result<u32, ErrorCode> {
        let sub = Subscription {
            cursor: self.logs.visible_end(&self.channels[channel]),
            channel,
            session,
            connection: self.sessions[session].connection,
            next: NONE,
            place: 0,
            priority: self.channels[channel].priority,
            state: SubscriptionState::Live,
            grant,
        };
        let subscription = self
            .subscriptions
            .insert(sub)
            .ok_or(ErrorCode::Overloaded)?;
        self.link_subscription(subscription);
        self.show_interest(channel);
        Ok(subscription)
    }

    /// Subscribes a connected session that did not ask, to a channel that it is not subscribed
    /// to, and tells its client.
    pub(super) fn subscribe_unasked(
        &mut self,
        session: u32,
        channel: u32,
    ) -> Result<(), ErrorCode> {
        let record = &self.sessions[session];
        let connection = record.connection;
        if u32::from(record.subscription_count) >= self.limits.subscriptions_per_session {
            return Err(ErrorCode::TooManySubscriptions);
        }
        let subscription = self.join(session, channel, Grant::Unclaimed)?;
        let start = self.start(subscription, None);
        let outcome = Outcome {
            channel: self.channels[channel].name.clone(),
            state: wire::SubscriptionState::Live,
            position: Some(start.position),
            recovery: start.recovery,
            code: 0,
            subscription,
        };
        self.answer_subscribed(connection, 0, &[outcome]);
        self.begin_recoveries(connection, vec![subscription]);
        Ok(())
    }

    /// Whether the session may subscribe; when its token's grant ends, in Unix seconds, if
    /// there is one.
    pub(super) fn check_permission(
        &self,
        session: u32,
        name: &ChannelName<'_>,
        token: Option<&str>,
    ) -> Result<Option<u32>, ErrorCode> {
        let policy = self
            .shared
            .namespaces
            .lookup(name)
            .ok_or(ErrorCode::NamespaceUnknown)?;
        let claims = &self.users[self.sessions[session].user].claims;
        let grant_end_s = match token {
            None => None,
            Some(token) => {
                let now_s = self.clock.unix_s();
                let end_s = self
                    .tokens
                    .verifier
                    .subscription(token, claims.user(), name.as_str(), now_s)
                    .map_err(|error| error.subscription_code())?;
                Some(end_s.min(u64::from(u32::MAX)) as u32)
            }
        };
        let granted = grant_end_s.is_some() || self.has_word(session, name.as_str());
        permit_subscribe(policy, name, claims, granted)?;
        Ok(grant_end_s)
    }

    /// Whether a service has opened the channel to the session.
    fn has_word(&self, session: u32, channel: &str) -> bool {
        let key = self.sessions[session].key;
        self.service.words.cover(key, channel)
    }

    pub(super) fn find_subscription(&self, session: u32, channel: u32) -> Option<u32> {
        let mut next = self.sessions[session].subscriptions;
        while next != NONE {
            let sub = &self.subscriptions[next];
            if sub.channel == channel {
                return Some(next);
            }
            next = sub.next;
        }
        None
    }

    /// Whether the session subscribes to the channel by a token or a service's word.
    pub(super) fn holds_grant(&self, session: u32, channel: &str) -> bool {
        self.find_channel(channel)
            .and_then(|channel| self.find_subscription(session, channel))
            .is_some_and(|subscription| self.subscriptions[subscription].grant.is_there())
    }

    /// Ends a subscription that nobody asked to end.
    pub(super) fn end_subscription(&mut self, subscription: u32, code: ErrorCode) -> Outcome {
        let channel = self.subscriptions[subscription].channel;
        let name = self.channels[channel].name.clone();
        self.remove_subscription(subscription);
        Outcome {
            channel: name,
            state: wire::SubscriptionState::Ended,
            position: None,
            recovery: RecoveryFields::default(),
            code: code.number(),
            subscription: NONE,
        }
    }

    pub(super) fn answer_subscribed(
        &mut self,
        connection: u32,
        request_id: u32,
        outcomes: &[Outcome],
    ) {
        let fields: Vec<SubscribedFields<'_>> = outcomes
            .iter()
            .map(|outcome| SubscribedFields {
                channel: &outcome.channel,
                state: outcome.state,
                position: outcome.position,
                recovery: outcome.recovery,
                code: outcome.code,
            })
            .collect();
        let mut encoder = self.take_encoder();
        let frame = encoder.subscribed(request_id, &fields);
        self.queue_frame(connection, frame);
        self.encoder = Some(encoder);
    }

    /// A client ends subscriptions.
    pub(super) fn on_unsubscribe(&mut self, connection: u32, frame: &wire::Unsubscribe<'_>) {
        let session = self.connections[connection].session;
        if session == NONE {
            return;
        }
        let names: Vector<'_, ForwardsUOffset<&str>> = frame.channels();
        let outcomes: Vec<Outcome> = names
            .iter()
            .map(|name| {
                let found = self
                    .find_channel(name)
                    .and_then(|channel| self.find_subscription(session, channel));
                let (state, code) = match found {
                    Some(subscription) => {
                        self.remove_subscription(subscription);
                        (wire::SubscriptionState::Ended, 0)
                    }
                    None => {
                        let code = ErrorCode::NotSubscribed.number();
                        (wire::SubscriptionState::Refused, code)
                    }
                };
                Outcome {
                    channel: name.into(),
                    state,
                    position: None,
                    recovery: RecoveryFields::default(),
                    code,
                    subscription: NONE,
                }
            })
            .collect();
        self.answer_subscribed(connection, frame.request_id(), &outcomes);
    }

    /// Attaches the subscriptions of a resumed session to its new connection.
    pub(super) fn restore_subscriptions(
        &mut self,
        session: u32,
        positions: &[(Box<str>, Position)],
    ) -> Vec<Restored> {
        let connection = self.sessions[session].connection;
        let mut restored = Vec::new();
        let mut next = self.sessions[session].subscriptions;
        while next != NONE {
            let subscription = next;
            let sub = &mut self.subscriptions[subscription];
            sub.connection = connection;
            next = sub.next;
            let name = &self.channels[sub.channel].name;
            let wanted = positions.iter().find(|(channel, _)| channel == name);
            let wanted = wanted.map(|(_, position)| *position);
            let start = self.start_again(subscription, wanted);
            self.note_attached(subscription);
            self.owe_count(subscription);
            restored.push(Restored {
                subscription,
                start,
            });
        }
        restored
    }

    /// The entries of `Welcome` for restored subscriptions.
    pub(super) fn restored_fields(&self, restored: &[Restored]) -> Vec<RestoredFields<'_>> {
        restored
            .iter()
            .map(|entry| {
                let channel = self.subscriptions[entry.subscription].channel;
                RestoredFields {
                    channel: &self.channels[channel].name,
                    position: entry.start.position,
                    recovery: entry.start.recovery,
                }
            })
            .collect()
    }

    /// Starts sending what restored subscriptions missed.
    pub(super) fn begin_restored(&mut self, connection: u32, restored: &[Restored]) {
        let restored = restored.iter().map(|entry| entry.subscription);
        self.begin_recoveries(connection, restored.collect());
    }

    /// Starts sending what subscriptions missed, the most urgent channels first.
    fn begin_recoveries(&mut self, connection: u32, mut subscriptions: Vec<u32>) {
        if subscriptions.is_empty() {
            return;
        }
        self.connections[connection].set(LAGGING);
        self.mark_ready(connection);
        subscriptions
            .sort_by_key(|&subscription| recovery_rank(self.subscriptions[subscription].priority));
        for subscription in subscriptions {
            self.fetch_if_behind(subscription);
        }
    }
}
