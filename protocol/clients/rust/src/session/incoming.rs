//! Frames of the server into decisions.
//!
//! Purpose: takes each verified frame apart into plain values and gives them to the mechanism
//! that they concern.
//! Invariant: before `Welcome` only `Welcome`, `Error` and `Reconnect` are taken.
//! Runs on: any thread; it belongs to one task.

use interlink_protocol::frame::{decode_server, FrameLimits, ServerFrame};
use interlink_protocol::ids::Position;
use interlink_protocol::CloseCode;
use interlink_wire as wire;

use super::connect::Phase;
use super::publish::{Answer, AnswerKind};
use super::subscribe::{ChannelAnswer, Outcome};
use super::track::Verdict;
use super::{Session, SessionEvent};
use crate::error::{Code, Error};
use crate::event::{
    AckLevel, Delivery, Event, Gap, GapReason, HistoryPage, PresenceChange, PresenceMember,
    PresencePage, Recovery,
};
use crate::limits;

/// Why a message of the server ends the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Close code that tells the server.
    pub close_code: u16,
    /// What was wrong.
    pub text: Box<str>,
}

impl Session {
    /// Takes one binary message. After a fault the driver closes the connection and calls
    /// [`Session::on_lost`] with [`crate::Loss::Protocol`].
    pub fn on_message(&mut self, bytes: &[u8], now_ms: u64) -> Result<(), Fault> {
        let frame = decode_server(bytes, &FrameLimits::SERVER).map_err(|error| Fault {
            close_code: error.close_code().number(),
            text: error.to_string().into(),
        })?;
        match (self.connect.phase(), &frame) {
            (Phase::Online, ServerFrame::Welcome(_)) => return Err(unexpected(&frame)),
            (Phase::Online, _) => {}
            (
                Phase::Greeting,
                ServerFrame::Welcome(_) | ServerFrame::Error(_) | ServerFrame::Reconnect(_),
            ) => {}
            (Phase::Greeting, _) => return Err(unexpected(&frame)),
            // What a given-up connection still says changes nothing.
            _ => return Ok(()),
        }
        self.on_frame(frame, now_ms);
        Ok(())
    }

    fn on_frame(&mut self, frame: ServerFrame<'_>, now_ms: u64) {
        match frame {
            ServerFrame::Event(event) => self.on_event(&event),
            ServerFrame::PublishAck(ack) => self.on_publish_ack(&ack, now_ms),
            ServerFrame::Heartbeat(heartbeat) => {
                self.heartbeat.on_heartbeat(heartbeat.server_time_us());
                if let Some(settled) = heartbeat.settled_through() {
                    self.publishes.on_settled(marks(settled));
                }
            }
            ServerFrame::Position(position) => self.on_position(&position),
            ServerFrame::Subscribed(answer) => self.on_subscribed(&answer, now_ms),
            ServerFrame::HistoryPage(page) => self.on_history_page(&page),
            ServerFrame::PresenceChange(change) => self.on_presence_change(&change),
            ServerFrame::PresencePage(page) => self.on_presence_page(&page),
            ServerFrame::Reconnect(order) => self.on_reconnect(&order, now_ms),
            ServerFrame::Error(error) => self.on_error(&error, now_ms),
            ServerFrame::Welcome(welcome) => self.on_welcome(&welcome, now_ms),
        }
    }

    fn on_event(&mut self, event: &wire::Event<'_>) {
        let at = Position::from(event.position());
        let record = event.record().into();
        let judged =
            self.subscriptions
                .on_event(event.channel(), at, event.previous_chain(), record);
        let Some((channel, verdict)) = judged else {
            return;
        };
        match verdict {
            Verdict::Repeat => return,
            Verdict::Deliver => {}
            Verdict::DeliverAfterGap { skipped, reason } => {
                let before = Position {
                    offset: at.offset.saturating_sub(1),
                    chain: event.previous_chain(),
                    ..at
                };
                let gap = Gap {
                    skipped,
                    reason,
                    position: before,
                };
                self.deliver(channel.clone(), Delivery::Gap(gap));
            }
        }
        let event = event_from_wire(event, channel.clone());
        self.deliver(channel, Delivery::Event(event));
    }

    fn on_publish_ack(&mut self, ack: &wire::PublishAck<'_>, now_ms: u64) {
        let kind = match ack.status() {
            wire::PublishStatus::Accepted | wire::PublishStatus::Duplicate => {
                AnswerKind::Accepted {
                    duplicate: ack.status() == wire::PublishStatus::Duplicate,
                    level: AckLevel::from_wire(ack.level()),
                    degraded: ack.degraded(),
                    position: ack.position().map(Position::from),
                }
            }
            _ => AnswerKind::Refused {
                code: ack.code(),
                // An unknown code with a retry time is a temporary one of a later version.
                temporary: match Code(ack.code()).known() {
                    Some(code) => code.is_temporary(),
                    None => ack.retry_after_ms() > 0,
                },
                retry_after_ms: ack.retry_after_ms(),
            },
        };
        let answer = Answer {
            first: ack.client_message_id(),
            count: ack.count(),
            kind,
            settled: ack.settled_through().map(marks),
        };
        let events = &mut self.events;
        self.publishes.on_answer(&answer, now_ms, |id, outcome| {
            events.push_back(SessionEvent::Published { id, outcome });
        });
    }

    fn on_position(&mut self, position: &wire::Position<'_>) {
        let at = Position::from(position.position());
        let Some(channel) = self.subscriptions.on_position(position.channel(), at) else {
            return;
        };
        let reason = GapReason::from_wire(position.reason());
        if position.skipped() > 0 || reason == GapReason::Lineage {
            let gap = Gap {
                skipped: position.skipped(),
                reason,
                position: at,
            };
            self.deliver(channel, Delivery::Gap(gap));
        }
    }

    fn on_subscribed(&mut self, answer: &wire::Subscribed<'_>, now_ms: u64) {
        for entry in answer.channels() {
            let said = match entry.state() {
                wire::SubscriptionState::Live => ChannelAnswer::Live {
                    position: entry.position().map(Position::from),
                    recovery: Recovery {
                        recovered: entry.recovered(),
                        reason: GapReason::from_wire(entry.reason()),
                        following: entry.following(),
                        history_from: entry.history_from().map(Position::from),
                        retry_after: milliseconds(entry.retry_after_ms()),
                    },
                },
                wire::SubscriptionState::Ended => ChannelAnswer::Ended { code: entry.code() },
                _ => ChannelAnswer::Refused {
                    code: entry.code(),
                    retry_after_ms: entry.retry_after_ms(),
                },
            };
            let position = entry.position().map(Position::from);
            self.take_answer(answer.request_id(), entry.channel(), said, position, now_ms);
        }
        self.subscriptions.close_request(answer.request_id());
        self.refresh.on_accepted(answer.request_id(), now_ms);
    }

    fn take_answer(
        &mut self,
        request: u32,
        channel: &str,
        answer: ChannelAnswer,
        position: Option<Position>,
        now_ms: u64,
    ) {
        let random = self.random.next();
        let outcome = self
            .subscriptions
            .on_answer(request, channel, answer, now_ms, random);
        self.report_outcome(channel, outcome, position, now_ms);
    }

    /// Tells the application what an answer means.
    pub(super) fn report_outcome(
        &mut self,
        channel: &str,
        outcome: Outcome,
        position: Option<Position>,
        now_ms: u64,
    ) {
        match outcome {
            Outcome::Nothing => {}
            Outcome::Live { first, recovery } => {
                let Some(channel) = self.subscriptions.live_name(channel) else {
                    return;
                };
                self.acks.on_live(&channel, now_ms);
                if first {
                    let channel = channel.clone();
                    self.events
                        .push_back(SessionEvent::Subscribed { channel, position });
                }
                if let Some(recovery) = recovery {
                    self.deliver(channel, Delivery::Recovered(recovery));
                }
            }
            Outcome::Over { first, error } => {
                self.acks.forget(channel);
                self.end_subscription(channel.into(), first, error);
            }
        }
    }

    /// Ends a subscription towards the application, which waits for it or already has it.
    pub(super) fn end_subscription(
        &mut self,
        channel: std::sync::Arc<str>,
        first: bool,
        error: Error,
    ) {
        if first {
            self.events
                .push_back(SessionEvent::SubscribeRefused { channel, error });
        } else {
            self.deliver(channel, Delivery::Ended(error));
        }
    }

    fn on_history_page(&mut self, page: &wire::HistoryPage<'_>) {
        let Some(ticket) = self.history.on_answer(page.request_id()) else {
            return;
        };
        let channel: std::sync::Arc<str> = page.channel().into();
        let events = page.events().into_iter().flatten();
        let page = HistoryPage {
            events: events
                .map(|event| event_from_wire(&event, channel.clone()))
                .collect(),
            top: page.top().map(Position::from),
            recovered: page.recovered(),
            reason: GapReason::from_wire(page.reason()),
            more: page.more(),
            stale: page.stale(),
        };
        self.events.push_back(SessionEvent::History {
            ticket,
            result: Ok(page),
        });
    }

    fn on_presence_change(&mut self, change: &wire::PresenceChange<'_>) {
        let Some(channel) = self.subscriptions.live_name(change.channel()) else {
            return;
        };
        let change = PresenceChange {
            joined: members(change.joined().into_iter().flatten()),
            left: members(change.left().into_iter().flatten()),
            count: change.count(),
        };
        self.deliver(channel, Delivery::Presence(change));
    }

    fn on_presence_page(&mut self, page: &wire::PresencePage<'_>) {
        let Some(ticket) = self.presence.on_answer(page.request_id()) else {
            return;
        };
        let page = PresencePage {
            count: page.count(),
            members: members(page.members().into_iter().flatten()),
            next: page.next_page().map(Box::from),
            stale: page.stale(),
        };
        let result = Ok(page);
        self.events
            .push_back(SessionEvent::Presence { ticket, result });
    }

    fn on_reconnect(&mut self, order: &wire::Reconnect<'_>, now_ms: u64) {
        if !order.may_resume() {
            self.resume.forget();
        }
        let delay_ms = u64::from(order.delay_ms()).min(limits::MOVE_DELAY_MAX_MS);
        self.connect
            .on_reconnect(delay_ms, order.target().map(Box::from), now_ms);
    }

    fn on_error(&mut self, error: &wire::Error<'_>, now_ms: u64) {
        let request = error.request_id();
        let refusal = Error::Refused {
            code: Code(error.code()),
            message: error.message().unwrap_or_default().into(),
            temporary: error.temporary(),
            retry_after: milliseconds(error.retry_after_ms()),
        };
        if request == 0 {
            self.connection_error = Some(refusal.clone());
            self.events.push_back(SessionEvent::ServerError(refusal));
            return;
        }
        if self.refresh.on_refused(request, error.temporary(), now_ms) {
            self.events.push_back(SessionEvent::ServerError(refusal));
            return;
        }
        if let Some(ticket) = self.history.on_answer(request) {
            self.events.push_back(SessionEvent::History {
                ticket,
                result: Err(refusal),
            });
            return;
        }
        if let Some(ticket) = self.presence.on_answer(request) {
            let result = Err(refusal);
            self.events
                .push_back(SessionEvent::Presence { ticket, result });
            return;
        }
        let channels = self.subscriptions.channels_of(request);
        self.subscriptions.close_request(request);
        if channels.is_empty() {
            self.events.push_back(SessionEvent::ServerError(refusal));
            return;
        }
        let retry_after_ms = error.retry_after_ms();
        for channel in channels {
            let code = error.code();
            let said = ChannelAnswer::Refused {
                code,
                retry_after_ms,
            };
            self.take_answer(request, &channel, said, None, now_ms);
        }
    }

    fn deliver(&mut self, channel: std::sync::Arc<str>, delivery: Delivery) {
        self.events
            .push_back(SessionEvent::Delivery { channel, delivery });
    }
}

/// The settled marks of a frame, by class.
pub(super) fn marks(settled: wire::SettledThrough<'_>) -> [u64; 4] {
    [settled.p0(), settled.p1(), settled.p2(), settled.p3()]
}

/// A duration of the wire; 0 is none.
pub(super) fn milliseconds(value: u32) -> Option<std::time::Duration> {
    (value > 0).then(|| std::time::Duration::from_millis(u64::from(value)))
}

fn event_from_wire(event: &wire::Event<'_>, channel: std::sync::Arc<str>) -> Event {
    let trace = event.trace();
    Event {
        channel,
        position: event.position().into(),
        record: event.record().into(),
        publisher: event.publisher().into(),
        priority: event.priority().into(),
        event_type: event.event_type(),
        schema_version: event.schema_version(),
        server_time_us: event.server_time_us(),
        payload: event.payload().bytes().to_vec(),
        conflation_key: event.conflation_key().map(Box::from),
        traceparent: trace.and_then(|trace| trace.traceparent()).map(Box::from),
    }
}

fn members<'a>(list: impl Iterator<Item = wire::PresenceMember<'a>>) -> Vec<PresenceMember> {
    list.map(|member| PresenceMember {
        user: member.user().into(),
        devices: member.devices(),
    })
    .collect()
}

fn unexpected(frame: &ServerFrame<'_>) -> Fault {
    Fault {
        close_code: CloseCode::ProtocolError.number(),
        text: format!("a {} frame is not expected now", frame.kind()).into(),
    }
}
