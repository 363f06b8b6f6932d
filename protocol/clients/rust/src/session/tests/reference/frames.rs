//! How the reference server takes each frame of the client.

use std::collections::{BTreeMap, BTreeSet};

use interlink_protocol::frame::{
    LimitsFields, PublishAckFields, RecoveryFields, RestoredFields, SubscribedFields, WelcomeFields,
};
use interlink_protocol::ids::{record_id, InstanceId, Position, SessionKey};
use interlink_protocol::ErrorCode;
use interlink_wire as wire;

use super::{channel_of, class_of, Connection, Server, GRANTED, USER};

impl Server {
    pub(super) fn on_hello(&mut self, hello: &wire::Hello<'_>) {
        assert!(self.connection.is_none(), "one Hello for each connection");
        assert_eq!(InstanceId::from(hello.instance()), self.instance);
        let resume = hello.resume();
        let known = resume.and_then(|resume| {
            let session = SessionKey::from(resume.session());
            self.sessions.remove(&session).map(|live| (session, live))
        });
        self.resumed = known.is_some();
        let (session, live) = known.unwrap_or_else(|| {
            self.next_session += 1;
            (SessionKey(self.next_session), BTreeSet::new())
        });
        let positions = resume
            .and_then(|resume| resume.positions())
            .into_iter()
            .flatten();
        let positions: BTreeMap<String, Position> = positions
            .map(|at| (at.channel().to_string(), at.position().into()))
            .collect();
        let mut following = Vec::new();
        let restored: Vec<RestoredFields<'_>> = live
            .iter()
            .map(|channel| {
                let from = positions.get(*channel).copied();
                let (position, recovery) = self.recover(channel, from);
                following.push((*channel, position));
                RestoredFields {
                    channel,
                    position,
                    recovery,
                }
            })
            .collect();
        let fields = WelcomeFields {
            session,
            session_epoch: 1,
            user: USER,
            node: "node-1",
            region: "eu",
            server_time_us: 1,
            heartbeat_ms: 30_000,
            heartbeat_timeout_ms: 5_000,
            limits: LimitsFields {
                publish_credit: 6,
                ..LimitsFields::default()
            },
            resume_window_ms: 120_000,
            resumed: self.resumed,
            restored: &restored,
            highest_accepted: self.accepted.keys().copied().max().unwrap_or(0),
            settled_through: Some(self.settled),
        };
        self.outbox
            .push_back(self.encoder.welcome(&fields).to_vec());
        let (unanswered, refused, last_id) = Default::default();
        self.connection = Some(Connection {
            session,
            live,
            unanswered,
            refused,
            last_id,
        });
        for (channel, position) in following {
            self.push_after(channel, position);
        }
    }

    pub(super) fn on_publish(&mut self, publish: &wire::Publish<'_>) {
        let id = publish.client_message_id();
        let channel = channel_of(publish.channel());
        let class = class_of(channel).index();
        let payload = publish.payload().bytes();
        let connection = self.connection.as_mut().expect("Publish comes after Hello");
        assert!(
            channel != GRANTED || connection.live.contains(channel),
            "{id} is not permitted without the subscription"
        );
        let retried = connection.refused.remove(&id);
        assert!(
            retried || id > connection.last_id[class],
            "{id} is out of order"
        );
        connection.last_id[class] = connection.last_id[class].max(id);
        if let Some((before, bytes)) = self.accepted.get(&id) {
            assert_eq!(
                (*before, bytes.as_slice()),
                (channel, payload),
                "id {id} is used twice"
            );
            connection.unanswered.push_back((id, true));
            return;
        }
        let held = self.held[class].is_some_and(|first| id > first);
        if held || std::mem::take(&mut self.refuse_next[class]) {
            self.held[class].get_or_insert(id);
            connection.refused.insert(id);
            self.refuse(id);
            return;
        }
        self.held[class] = None;
        connection.unanswered.push_back((id, false));
        self.accepted.insert(id, (channel, payload.to_vec()));
        let record = record_id("north", USER, self.instance, id);
        self.append(channel, record, Some(id));
        self.push_last(channel);
    }

    fn refuse(&mut self, id: u64) {
        let fields = PublishAckFields {
            client_message_id: id,
            count: 1,
            status: wire::PublishStatus::Refused,
            level: wire::AckLevel::Default,
            degraded: false,
            position: None,
            settled_through: None,
            code: ErrorCode::Overloaded.number(),
            retry_after_ms: 20,
        };
        self.outbox
            .push_back(self.encoder.publish_ack(&fields).to_vec());
    }

    pub(super) fn on_subscribe(&mut self, subscribe: &wire::Subscribe<'_>) {
        let mut fields = Vec::new();
        for wanted in subscribe.channels() {
            let channel = channel_of(wanted.channel());
            assert_eq!(wanted.token().is_some(), channel == GRANTED);
            if channel == GRANTED && std::mem::take(&mut self.refuse_grant) {
                fields.push(SubscribedFields {
                    channel,
                    state: wire::SubscriptionState::Refused,
                    position: None,
                    recovery: RecoveryFields::default(),
                    code: ErrorCode::Overloaded.number(),
                });
                continue;
            }
            let from = wanted.recover().map(Position::from);
            let (position, recovery) = self.recover(channel, from);
            let live = &mut self.connection.as_mut().unwrap().live;
            assert!(live.insert(channel), "{channel} is subscribed twice");
            fields.push(SubscribedFields {
                channel,
                state: wire::SubscriptionState::Live,
                position: Some(position),
                recovery,
                code: 0,
            });
        }
        let frame = self
            .encoder
            .subscribed(subscribe.request_id(), &fields)
            .to_vec();
        self.outbox.push_back(frame);
        for (channel, position) in fields
            .iter()
            .map(|answer| (answer.channel, answer.position))
        {
            if let Some(position) = position {
                self.push_after(channel_of(channel), position);
            }
        }
    }

    pub(super) fn on_unsubscribe(&mut self, unsubscribe: &wire::Unsubscribe<'_>) {
        let live = &mut self.connection.as_mut().unwrap().live;
        let channels: Vec<&str> = unsubscribe.channels().iter().collect();
        let fields: Vec<SubscribedFields<'_>> = channels
            .iter()
            .map(|channel| {
                // The client may leave a channel before it reads that it was refused.
                let there = live.remove(channel_of(channel));
                assert!(there || *channel == GRANTED, "{channel} is not subscribed");
                SubscribedFields {
                    channel,
                    state: wire::SubscriptionState::Ended,
                    position: None,
                    recovery: RecoveryFields::default(),
                    code: 0,
                }
            })
            .collect();
        let frame = self
            .encoder
            .subscribed(unsubscribe.request_id(), &fields)
            .to_vec();
        self.outbox.push_back(frame);
    }

    /// Where a subscription that wants to continue after `from` starts, and what it is told.
    /// A position of a lost lineage continues at the last event that both share.
    fn recover(&self, channel: &str, from: Option<Position>) -> (Position, RecoveryFields) {
        let log = &self.logs[channel];
        let Some(from) = from else {
            return (log.top(), RecoveryFields::default());
        };
        let following = |start: Position| log.entries.len() as u32 - start.offset as u32;
        let entry_at = |offset: u64| match offset {
            0 => Some(Position::ZERO),
            _ => log
                .entries
                .get(offset as usize - 1)
                .map(|entry| entry.position),
        };
        if let Some(here) = entry_at(from.offset).filter(|here| here.chain == from.chain) {
            let following = following(here);
            let recovery = RecoveryFields {
                recovered: true,
                following,
                ..Default::default()
            };
            return (here, recovery);
        }
        let old = log
            .entries
            .iter()
            .filter(|entry| entry.position.epoch <= from.epoch);
        let shared = old.filter(|entry| entry.position.offset < from.offset);
        let start = shared
            .map(|entry| entry.position)
            .next_back()
            .unwrap_or_default();
        let recovery = RecoveryFields {
            recovered: false,
            reason: wire::PositionReason::Lineage,
            following: following(start),
            ..Default::default()
        };
        (start, recovery)
    }
}
