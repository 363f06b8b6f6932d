//! Subscriptions: made, restored, ended, and recovered.
//!
//! Purpose: pin a position before anything is answered, so that no event between
//! the pinned position and the first delivered one is missing; continue from a
//! wanted position if the log or the archive can prove that it misses nothing, and
//! say so honestly if they cannot.
//!
//! Thread: the home shard of the session.

use flatbuffers::{ForwardsUOffset, Vector};
use interlink_protocol::channel::ChannelName;
use interlink_protocol::claims::ClaimsView;
use interlink_protocol::frame::{RecoveryFields, RestoredFields, SubscribedFields};
use interlink_protocol::ids::Position;
use interlink_protocol::namespace::permit_subscribe;
use interlink_protocol::ErrorCode;
use interlink_wire as wire;

use super::behind::Behind;
use super::channel::{Subscription, SubscriptionState};
use super::connection::{LAGGING, NONE};
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
    position: Position,
    recovery: RecoveryFields,
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
        self.answer_subscribed(connection, frame.request_id(), &outcomes);
        self.connections[connection].set(LAGGING);
        self.mark_ready(connection);
        for outcome in outcomes
            .iter()
            .filter(|outcome| outcome.subscription != NONE)
        {
            self.fetch_if_behind(outcome.subscription);
        }
    }

    fn subscribe_one(&mut self, session: u32, entry: &wire::SubscribeChannel<'_>) -> Outcome {
        let wanted = entry.recover().map(Position::from);
        match self.try_subscribe(session, entry, wanted) {
            Ok((subscription, position, recovery)) => Outcome {
                channel: entry.channel().into(),
                state: wire::SubscriptionState::Live,
                position: Some(position),
                recovery,
                code: 0,
                subscription,
            },
            Err(code) => {
                self.counters.refusals.add(code);
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
        wanted: Option<Position>,
    ) -> Result<(u32, Position, RecoveryFields), ErrorCode> {
        let name = ChannelName::parse(entry.channel()).map_err(|_| ErrorCode::ChannelInvalid)?;
        let grant_end_s = self.check_permission(session, &name, entry.token())?;
        let record = &self.sessions[session];
        if u32::from(record.subscription_count) >= self.limits.subscriptions_per_session {
            return Err(ErrorCode::TooManySubscriptions);
        }
        let channel = self.channel_named(&name)?;
        if self.find_subscription(session, channel).is_some() {
            return Err(ErrorCode::AlreadySubscribed);
        }
        let connection = self.sessions[session].connection;
        let sub = Subscription {
            cursor: self.logs.visible_end(&self.channels[channel]),
            channel,
            session,
            connection,
            next: NONE,
            place: 0,
            priority: self.channels[channel].priority,
            state: SubscriptionState::Live,
            granted: entry.token().is_some(),
        };
        let subscription = self
            .subscriptions
            .insert(sub)
            .ok_or(ErrorCode::Overloaded)?;
        self.link_subscription(subscription);
        if let Some(end_s) = grant_end_s {
            self.tokens.grants.add(subscription, end_s);
        }
        self.show_interest(channel);
        let (position, recovery) = self.recover(subscription, wanted);
        Ok((subscription, position, recovery))
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
        permit_subscribe(policy, name, claims, grant_end_s.is_some())?;
        Ok(grant_end_s)
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

    /// Whether the session subscribes to the channel by a token.
    pub(super) fn holds_grant(&self, session: u32, channel: &str) -> bool {
        self.find_channel(channel)
            .and_then(|channel| self.find_subscription(session, channel))
            .is_some_and(|subscription| self.subscriptions[subscription].granted)
    }

    /// Points a subscription at the wanted position, or at the newest event. Returns the
    /// position at which it is pinned and what became of the wish.
    fn recover(
        &mut self,
        subscription: u32,
        wanted: Option<Position>,
    ) -> (Position, RecoveryFields) {
        // Where an earlier connection stood is of no use to this one.
        self.lagging.remove(&subscription);
        self.behind.remove(&subscription);
        let channel = self.subscriptions[subscription].channel;
        let entry = &self.channels[channel];
        let end = self.logs.visible_end(entry);
        let top = self.logs.visible_position(entry);
        self.subscriptions[subscription].state = SubscriptionState::Live;
        self.subscriptions[subscription].cursor = end;
        let Some(wanted) = wanted else {
            return (top, RecoveryFields::default());
        };
        let durable = self.policy(entry.policy).durable;
        if !durable {
            return (top, not_recovered(wire::PositionReason::Ephemeral));
        }
        let following = top
            .offset
            .saturating_sub(wanted.offset)
            .min(u64::from(u32::MAX)) as u32;
        if let Some(cursor) = self.logs.find(entry, wanted) {
            // A position beyond what is visible is of an event whose write has not ended; it
            // can only come from before a restart, and its chain has just been checked.
            self.subscriptions[subscription].cursor = cursor.min(end);
            self.note_progress(subscription);
            return (wanted, recovered(following));
        }
        if wanted.offset == 0 && top.offset == 0 {
            // Nothing was ever published, whatever the epoch of the start that said so.
            return (top, recovered(0));
        }
        if wanted.offset >= top.offset {
            let reason = wire::PositionReason::Unknown;
            return (top, not_recovered(reason));
        }
        match self.archive_can_continue(channel, wanted) {
            true => {
                self.subscriptions[subscription].state = SubscriptionState::Behind;
                self.behind.insert(subscription, Behind::recovering(wanted));
                (wanted, recovered(following))
            }
            false => (top, not_recovered(wire::PositionReason::Retention)),
        }
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
            let (position, recovery) = self.recover(subscription, wanted);
            restored.push(Restored {
                subscription,
                position,
                recovery,
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
                    position: entry.position,
                    recovery: entry.recovery,
                }
            })
            .collect()
    }

    /// Starts sending what restored subscriptions missed.
    pub(super) fn begin_recoveries(&mut self, session: u32, restored: &[Restored]) {
        if restored.is_empty() {
            return;
        }
        let connection = self.sessions[session].connection;
        self.connections[connection].set(LAGGING);
        self.mark_ready(connection);
        for entry in restored {
            self.fetch_if_behind(entry.subscription);
        }
    }
}

fn recovered(following: u32) -> RecoveryFields {
    RecoveryFields {
        recovered: true,
        following,
        ..RecoveryFields::default()
    }
}

fn not_recovered(reason: wire::PositionReason) -> RecoveryFields {
    RecoveryFields {
        reason,
        ..RecoveryFields::default()
    }
}
