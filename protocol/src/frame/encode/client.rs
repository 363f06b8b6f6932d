//! Frames of a client.

use interlink_wire as wire;

use super::{text, trace, FrameEncoder};
use crate::frame::fields::{HelloFields, PublishFields, SubscribeFields};
use crate::ids::Position;
use crate::limits;

impl FrameEncoder {
    /// First frame of a connection.
    pub fn hello(&mut self, fields: &HelloFields<'_>) -> &[u8] {
        self.start();
        let resume = fields.resume.map(|resume| {
            let positions = Some(self.positions(resume.positions));
            let session = wire::Id128::from(resume.session);
            let args = wire::ResumeArgs {
                session: Some(&session),
                positions,
            };
            wire::Resume::create(&mut self.builder, &args)
        });
        let builder = &mut self.builder;
        let instance = wire::Id128::from(fields.instance);
        let args = wire::HelloArgs {
            version: limits::PROTOCOL_VERSION,
            token: Some(builder.create_string(fields.token)),
            instance: Some(&instance),
            device: text(builder, fields.device),
            client_name: text(builder, fields.client_name),
            client_version: text(builder, fields.client_version),
            resume,
        };
        let body = wire::Hello::create(builder, &args).as_union_value();
        self.finish(wire::Body::Hello, body)
    }

    /// Publishes one event.
    pub fn publish(&mut self, fields: &PublishFields<'_>) -> &[u8] {
        let builder = self.start();
        let args = wire::PublishArgs {
            client_message_id: fields.client_message_id,
            channel: Some(builder.create_string(fields.channel)),
            event_type: fields.event_type,
            schema_version: fields.schema_version,
            payload: Some(builder.create_vector(fields.payload)),
            age_ms: fields.age_ms,
            time_to_live_ms: fields.time_to_live_ms,
            conflation_key: text(builder, fields.conflation_key),
            ack_level: fields.ack_level,
            trace: trace(builder, fields.trace),
        };
        let body = wire::Publish::create(builder, &args).as_union_value();
        self.finish(wire::Body::Publish, body)
    }

    /// Subscribes to channels, at most [`limits::ITEMS_PER_FRAME`].
    pub fn subscribe(&mut self, request_id: u32, channels: &[SubscribeFields<'_>]) -> &[u8] {
        self.start();
        for fields in channels {
            let builder = &mut self.builder;
            let recover = fields.recover.map(wire::StreamPosition::from);
            let args = wire::SubscribeChannelArgs {
                channel: Some(builder.create_string(fields.channel)),
                recover: recover.as_ref(),
                presence: fields.presence,
                token: text(builder, fields.token),
            };
            let entry = wire::SubscribeChannel::create(builder, &args);
            self.offsets.push(entry.value());
        }
        let channels = Some(self.list());
        let args = wire::SubscribeArgs {
            request_id,
            channels,
        };
        let body = wire::Subscribe::create(&mut self.builder, &args).as_union_value();
        self.finish(wire::Body::Subscribe, body)
    }

    /// Ends subscriptions, at most [`limits::ITEMS_PER_FRAME`].
    pub fn unsubscribe(&mut self, request_id: u32, channels: &[&str]) -> &[u8] {
        self.start();
        for channel in channels {
            let entry = self.builder.create_string(channel);
            self.offsets.push(entry.value());
        }
        let channels = Some(self.list());
        let args = wire::UnsubscribeArgs {
            request_id,
            channels,
        };
        let body = wire::Unsubscribe::create(&mut self.builder, &args).as_union_value();
        self.finish(wire::Body::Unsubscribe, body)
    }

    /// Acknowledges events, at most [`limits::ITEMS_PER_FRAME`] channels.
    pub fn ack(&mut self, positions: &[(&str, Position)]) -> &[u8] {
        self.start();
        let positions = Some(self.positions(positions));
        let body = wire::Ack::create(&mut self.builder, &wire::AckArgs { positions });
        self.finish(wire::Body::Ack, body.as_union_value())
    }

    /// Asks for past events; `limit` 0 takes the server's default.
    pub fn history(
        &mut self,
        request_id: u32,
        channel: &str,
        after: Option<Position>,
        limit: u32,
    ) -> &[u8] {
        let builder = self.start();
        let after = after.map(wire::StreamPosition::from);
        let channel = Some(builder.create_string(channel));
        let args = wire::HistoryArgs {
            request_id,
            channel,
            after: after.as_ref(),
            limit,
        };
        let body = wire::History::create(builder, &args).as_union_value();
        self.finish(wire::Body::History, body)
    }

    /// Asks who is present.
    pub fn presence(&mut self, request_id: u32, channel: &str, page: Option<&str>) -> &[u8] {
        let builder = self.start();
        let channel = Some(builder.create_string(channel));
        let page = text(builder, page);
        let args = wire::PresenceArgs {
            request_id,
            channel,
            page,
        };
        let body = wire::Presence::create(builder, &args).as_union_value();
        self.finish(wire::Body::Presence, body)
    }

    /// Replaces the user token.
    pub fn refresh(&mut self, request_id: u32, token: &str) -> &[u8] {
        let builder = self.start();
        let token = Some(builder.create_string(token));
        let body = wire::Refresh::create(builder, &wire::RefreshArgs { request_id, token });
        self.finish(wire::Body::Refresh, body.as_union_value())
    }

    /// Answers a heartbeat, with acknowledgements of at most [`limits::ITEMS_PER_FRAME`]
    /// channels.
    pub fn pong(&mut self, echo_us: u64, positions: &[(&str, Position)]) -> &[u8] {
        self.start();
        let positions = (!positions.is_empty()).then(|| self.positions(positions));
        let body = wire::Pong::create(&mut self.builder, &wire::PongArgs { echo_us, positions });
        self.finish(wire::Body::Pong, body.as_union_value())
    }
}
