//! What leaves next.
//!
//! Purpose: one frame at a time, built when the socket takes it, so that nothing waits in
//! encoded form. A publish to a channel whose subscription token is not granted yet waits, and its
//! class with it. The order is: `Hello`; the answer to a heartbeat; a new token; ended
//! subscriptions; new subscriptions; publishes, P0 first; acknowledgements that are due;
//! requests for history and for presence.
//! Runs on: any thread; it belongs to one task.

use std::sync::Arc;

use interlink_protocol::frame::{
    HelloFields, PublishFields, ResumeFields, SubscribeFields, TraceFields,
};
use interlink_protocol::ids::Position;

use super::connect::Phase;
use super::subscribe::Ask;
use super::Session;
use crate::event::AckLevel;

/// Lists that are filled for a frame and kept for the next one.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    channels: Vec<Arc<str>>,
    asks: Vec<Ask>,
    positions: Vec<(Arc<str>, Position)>,
}

impl Session {
    /// The next frame as one binary message; `None` when nothing has to leave now.
    pub fn next_frame(&mut self, now_ms: u64) -> Option<&[u8]> {
        match self.connect.phase() {
            Phase::Greeting => {
                let token = self.hello_token.take()?;
                Some(self.hello(&token, now_ms))
            }
            Phase::Online => self.next_online(now_ms),
            _ => None,
        }
    }

    /// True when [`Session::next_frame`] has something.
    pub fn has_frame(&self, now_ms: u64) -> bool {
        match self.connect.phase() {
            Phase::Greeting => self.hello_token.is_some(),
            Phase::Online => {
                self.heartbeat.has_answer()
                    || self.refresh.is_ready()
                    || self.subscriptions.has_requests(now_ms)
                    || self.can_publish(now_ms)
                    || self.acks.is_due(now_ms)
                    || self.history.has_unsent()
                    || self.presence.has_unsent()
            }
            _ => false,
        }
    }

    fn next_online(&mut self, now_ms: u64) -> Option<&[u8]> {
        if let Some(echo_us) = self.heartbeat.take_answer() {
            self.acks.take(&mut self.scratch.positions);
            let positions = borrowed(&self.scratch.positions);
            return Some(self.encoder.pong(echo_us, &positions));
        }
        if self.refresh.is_ready() {
            let request = next_request(&mut self.next_request);
            let token = self.refresh.take_ready(request)?;
            return Some(self.encoder.refresh(request, &token));
        }
        if self.subscriptions.has_leaving() && self.acks.has_unsent() {
            // After `Unsubscribe` the server would not take them any more.
            return Some(self.ack());
        }
        if self.subscriptions.has_requests(now_ms) {
            return Some(self.subscription_request(now_ms));
        }
        if self.can_publish(now_ms) {
            let held = |channel: &str| self.subscriptions.awaits_grant(channel);
            let departure = self.publishes.depart(now_ms, held)?;
            let draft = departure.draft;
            let trace = draft.traceparent.as_deref();
            let fields = PublishFields {
                client_message_id: departure.id,
                channel: &draft.channel,
                event_type: draft.event_type,
                schema_version: draft.schema_version,
                payload: &draft.payload,
                age_ms: departure.age_ms,
                time_to_live_ms: draft.time_to_live_ms,
                conflation_key: draft.conflation_key.as_deref(),
                ack_level: AckLevel::to_wire(draft.ack_level),
                trace: trace.map(|traceparent| TraceFields {
                    traceparent,
                    tracestate: None,
                }),
            };
            return Some(self.encoder.publish(&fields));
        }
        if self.acks.is_due(now_ms) {
            return Some(self.ack());
        }
        if self.history.has_unsent() {
            let request = next_request(&mut self.next_request);
            let query = self.history.take_unsent(request)?;
            return Some(
                self.encoder
                    .history(request, &query.channel, query.after, query.limit),
            );
        }
        if self.presence.has_unsent() {
            let request = next_request(&mut self.next_request);
            let query = self.presence.take_unsent(request)?;
            let page = query.page.as_deref();
            return Some(self.encoder.presence(request, &query.channel, page));
        }
        None
    }

    fn can_publish(&self, now_ms: u64) -> bool {
        let held = |channel: &str| self.subscriptions.awaits_grant(channel);
        self.publishes.can_depart(now_ms, held)
    }

    fn ack(&mut self) -> &[u8] {
        self.acks.take(&mut self.scratch.positions);
        let positions = borrowed(&self.scratch.positions);
        self.encoder.ack(&positions)
    }

    /// An `Unsubscribe` while one waits, else a `Subscribe`.
    fn subscription_request(&mut self, now_ms: u64) -> &[u8] {
        let request = next_request(&mut self.next_request);
        self.subscriptions.take_leaving(&mut self.scratch.channels);
        if !self.scratch.channels.is_empty() {
            let names = self.scratch.channels.iter().map(|channel| &**channel);
            let names: Vec<&str> = names.collect();
            return self.encoder.unsubscribe(request, &names);
        }
        self.subscriptions
            .take_wanted(request, now_ms, &mut self.scratch.asks);
        let fields = self.scratch.asks.iter().map(|ask| SubscribeFields {
            channel: &ask.channel,
            recover: ask.recover,
            presence: ask.presence,
            token: ask.token.as_deref(),
        });
        let fields: Vec<SubscribeFields<'_>> = fields.collect();
        self.encoder.subscribe(request, &fields)
    }

    fn hello(&mut self, token: &str, now_ms: u64) -> &[u8] {
        let session = self.resume.offer(now_ms);
        // With more positions than fit, each channel recovers by its own request instead.
        let wanted = session.and_then(|_| self.subscriptions.resume_positions());
        self.scratch.positions = wanted.clone().unwrap_or_default();
        let positions = borrowed(&self.scratch.positions);
        let session = session.filter(|_| wanted.is_some());
        let resume = session.map(|session| ResumeFields {
            session,
            positions: &positions,
        });
        let fields = HelloFields {
            token,
            instance: self.instance,
            device: self.config.device.as_deref(),
            client_name: self.config.client_name.as_deref(),
            client_version: self.config.client_version.as_deref(),
            resume,
        };
        self.encoder.hello(&fields)
    }
}

fn borrowed(positions: &[(Arc<str>, Position)]) -> Vec<(&str, Position)> {
    positions
        .iter()
        .map(|(channel, position)| (&**channel, *position))
        .collect()
}

/// Request ids of a connection are 1, 2, 3 and so on; 0 means none.
fn next_request(last: &mut u32) -> u32 {
    *last = last.wrapping_add(1).max(1);
    *last
}
