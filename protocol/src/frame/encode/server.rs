//! Frames of the server.

use flatbuffers::{ForwardsUOffset, Vector, WIPOffset};
use interlink_wire as wire;

use super::{settled, text, trace, Builder, FrameEncoder};
use crate::frame::event::EventFields;
use crate::frame::fields::{
    ErrorFields, HistoryPageFields, LimitsFields, MemberFields, PublishAckFields, RestoredFields,
    Settled, SubscribedFields, WelcomeFields,
};
use crate::ids::Position;

type Members = WIPOffset<Vector<'static, ForwardsUOffset<wire::PresenceMember<'static>>>>;

impl FrameEncoder {
    /// Accepts a connection.
    pub fn welcome(&mut self, fields: &WelcomeFields<'_>) -> &[u8] {
        self.start();
        for restored in fields.restored {
            let entry = restored_subscription(&mut self.builder, restored);
            self.offsets.push(entry.value());
        }
        let restored = Some(self.list());
        let builder = &mut self.builder;
        let session = wire::Id128::from(fields.session);
        let args = wire::WelcomeArgs {
            session: Some(&session),
            session_epoch: fields.session_epoch,
            user: Some(builder.create_string(fields.user)),
            node: Some(builder.create_string(fields.node)),
            region: Some(builder.create_string(fields.region)),
            server_time_us: fields.server_time_us,
            heartbeat_ms: fields.heartbeat_ms,
            heartbeat_timeout_ms: fields.heartbeat_timeout_ms,
            limits: Some(limits(builder, &fields.limits)),
            resume_window_ms: fields.resume_window_ms,
            resumed: fields.resumed,
            restored,
            highest_accepted: fields.highest_accepted,
            settled_through: settled(builder, fields.settled_through),
        };
        let body = wire::Welcome::create(builder, &args).as_union_value();
        self.finish(wire::Body::Welcome, body)
    }

    /// Answers publishes.
    pub fn publish_ack(&mut self, fields: &PublishAckFields) -> &[u8] {
        let builder = self.start();
        let position = fields.position.map(wire::StreamPosition::from);
        let args = wire::PublishAckArgs {
            client_message_id: fields.client_message_id,
            count: fields.count,
            status: fields.status,
            level: fields.level,
            degraded: fields.degraded,
            position: position.as_ref(),
            settled_through: settled(builder, fields.settled_through),
            code: fields.code,
            retry_after_ms: fields.retry_after_ms,
        };
        let body = wire::PublishAck::create(builder, &args).as_union_value();
        self.finish(wire::Body::PublishAck, body)
    }

    /// Answers `Subscribe`, `Unsubscribe` and `Refresh`.
    pub fn subscribed(&mut self, request_id: u32, channels: &[SubscribedFields<'_>]) -> &[u8] {
        self.start();
        for fields in channels {
            let builder = &mut self.builder;
            let position = fields.position.map(wire::StreamPosition::from);
            let history_from = fields.recovery.history_from.map(wire::StreamPosition::from);
            let args = wire::SubscribedChannelArgs {
                channel: Some(builder.create_string(fields.channel)),
                state: fields.state,
                position: position.as_ref(),
                recovered: fields.recovery.recovered,
                reason: fields.recovery.reason,
                following: fields.recovery.following,
                code: fields.code,
                history_from: history_from.as_ref(),
                retry_after_ms: fields.recovery.retry_after_ms,
            };
            let entry = wire::SubscribedChannel::create(builder, &args);
            self.offsets.push(entry.value());
        }
        let channels = Some(self.list());
        let args = wire::SubscribedArgs {
            request_id,
            channels,
        };
        let body = wire::Subscribed::create(&mut self.builder, &args).as_union_value();
        self.finish(wire::Body::Subscribed, body)
    }

    /// One event; its position can be rewritten in place.
    pub fn event(&mut self, fields: &EventFields<'_>) -> &[u8] {
        let builder = self.start();
        let event = event(builder, fields);
        self.finish(wire::Body::Event, event.as_union_value())
    }

    /// Moves the client's position without events.
    pub fn position(
        &mut self,
        channel: &str,
        position: Position,
        skipped: u64,
        reason: wire::PositionReason,
    ) -> &[u8] {
        let builder = self.start();
        let position = wire::StreamPosition::from(position);
        let args = wire::PositionArgs {
            channel: Some(builder.create_string(channel)),
            position: Some(&position),
            skipped,
            reason,
        };
        let body = wire::Position::create(builder, &args).as_union_value();
        self.finish(wire::Body::Position, body)
    }

    /// Tells who came and who left.
    pub fn presence_change(
        &mut self,
        channel: &str,
        joined: &[MemberFields<'_>],
        left: &[MemberFields<'_>],
        count: u32,
    ) -> &[u8] {
        self.start();
        let joined = (!joined.is_empty()).then(|| self.members(joined));
        let left = (!left.is_empty()).then(|| self.members(left));
        let channel = Some(self.builder.create_string(channel));
        let args = wire::PresenceChangeArgs {
            channel,
            joined,
            left,
            count,
        };
        let body = wire::PresenceChange::create(&mut self.builder, &args).as_union_value();
        self.finish(wire::Body::PresenceChange, body)
    }

    /// Answers `Presence`, with where the next page begins and whether other nodes could not be
    /// asked.
    pub fn presence_page(
        &mut self,
        request_id: u32,
        channel: &str,
        count: u32,
        members: &[MemberFields<'_>],
        (next_page, stale): (Option<&str>, bool),
    ) -> &[u8] {
        self.start();
        let members = Some(self.members(members));
        let channel = Some(self.builder.create_string(channel));
        let next_page = text(&mut self.builder, next_page);
        let args = wire::PresencePageArgs {
            request_id,
            channel,
            count,
            members,
            next_page,
            stale,
        };
        let body = wire::PresencePage::create(&mut self.builder, &args).as_union_value();
        self.finish(wire::Body::PresencePage, body)
    }

    /// Answers `History` with the events of `events`, at most
    /// [`crate::limits::HISTORY_PAGE_EVENTS`].
    pub fn history_page<'a>(
        &mut self,
        fields: &HistoryPageFields<'_>,
        events: impl Iterator<Item = EventFields<'a>>,
    ) -> &[u8] {
        self.start();
        for fields in events {
            let entry = event(&mut self.builder, &fields);
            self.offsets.push(entry.value());
        }
        let events = Some(self.list());
        let builder = &mut self.builder;
        let top = fields.top.map(wire::StreamPosition::from);
        let args = wire::HistoryPageArgs {
            request_id: fields.request_id,
            channel: Some(builder.create_string(fields.channel)),
            events,
            top: top.as_ref(),
            recovered: fields.recovered,
            reason: fields.reason,
            more: fields.more,
            stale: fields.stale,
        };
        let body = wire::HistoryPage::create(builder, &args).as_union_value();
        self.finish(wire::Body::HistoryPage, body)
    }

    /// Asks for a `Pong`.
    pub fn heartbeat(&mut self, server_time_us: u64, settled_through: Option<Settled>) -> &[u8] {
        let builder = self.start();
        let settled_through = settled(builder, settled_through);
        let args = wire::HeartbeatArgs {
            server_time_us,
            settled_through,
        };
        let body = wire::Heartbeat::create(builder, &args).as_union_value();
        self.finish(wire::Body::Heartbeat, body)
    }

    /// Announces the end of the connection and where to go.
    pub fn reconnect(&mut self, delay_ms: u32, target: Option<&str>, may_resume: bool) -> &[u8] {
        let builder = self.start();
        let target = text(builder, target);
        let args = wire::ReconnectArgs {
            delay_ms,
            target,
            may_resume,
        };
        let body = wire::Reconnect::create(builder, &args).as_union_value();
        self.finish(wire::Body::Reconnect, body)
    }

    /// Reports a failure.
    pub fn error(&mut self, fields: &ErrorFields<'_>) -> &[u8] {
        let builder = self.start();
        let words = if fields.message.is_empty() {
            fields.code.meaning()
        } else {
            fields.message
        };
        let args = wire::ErrorArgs {
            code: fields.code.number(),
            message: Some(builder.create_string(words)),
            temporary: fields.code.is_temporary(),
            retry_after_ms: fields.retry_after_ms,
            request_id: fields.request_id,
        };
        let body = wire::Error::create(builder, &args).as_union_value();
        self.finish(wire::Body::Error, body)
    }

    /// Writes a list of present users.
    fn members(&mut self, members: &[MemberFields<'_>]) -> Members {
        for member in members {
            let user = Some(self.builder.create_string(member.user));
            let args = wire::PresenceMemberArgs {
                user,
                devices: member.devices,
            };
            let entry = wire::PresenceMember::create(&mut self.builder, &args);
            self.offsets.push(entry.value());
        }
        self.list()
    }
}

/// Writes an event with every scalar stored, so that each has the same shape and the position
/// has a place even while it is zero.
fn event(builder: &mut Builder, fields: &EventFields<'_>) -> WIPOffset<wire::Event<'static>> {
    let position = wire::StreamPosition::from(fields.position);
    let record = wire::Id128::from(fields.record);
    let args = wire::EventArgs {
        channel: Some(builder.create_string(fields.channel)),
        position: Some(&position),
        previous_chain: fields.previous_chain,
        record: Some(&record),
        publisher: Some(builder.create_string(fields.publisher)),
        priority: fields.priority.into(),
        event_type: fields.event_type,
        schema_version: fields.schema_version,
        server_time_us: fields.server_time_us,
        payload: Some(builder.create_vector(fields.payload)),
        conflation_key: text(builder, fields.conflation_key),
        trace: trace(builder, fields.trace),
    };
    builder.force_defaults(true);
    let event = wire::Event::create(builder, &args);
    builder.force_defaults(false);
    event
}

fn restored_subscription(
    builder: &mut Builder,
    fields: &RestoredFields<'_>,
) -> WIPOffset<wire::RestoredSubscription<'static>> {
    let position = wire::StreamPosition::from(fields.position);
    let history_from = fields.recovery.history_from.map(wire::StreamPosition::from);
    let args = wire::RestoredSubscriptionArgs {
        channel: Some(builder.create_string(fields.channel)),
        position: Some(&position),
        recovered: fields.recovery.recovered,
        reason: fields.recovery.reason,
        following: fields.recovery.following,
        history_from: history_from.as_ref(),
        retry_after_ms: fields.recovery.retry_after_ms,
    };
    wire::RestoredSubscription::create(builder, &args)
}

fn limits(builder: &mut Builder, fields: &LimitsFields) -> WIPOffset<wire::Limits<'static>> {
    let args = wire::LimitsArgs {
        frame_bytes: fields.frame_bytes,
        subscriptions: fields.subscriptions,
        publish_credit: fields.publish_credit,
        publish_credit_critical: fields.publish_credit_critical,
        channel_bytes: fields.channel_bytes,
    };
    wire::Limits::create(builder, &args)
}
