//! The client as pure logic: one [`Session`] that outlives its connections.
//!
//! Purpose: every decision of the client. The driver moves bytes and tells the time; the
//! session says when to dial, what to send and what happened.
//!
//! Calling order of a driver:
//! 1. [`Session::start_dial`]; when it is true, open a connection, then [`Session::on_open`]
//!    with a token, or [`Session::on_lost`] with the failure.
//! 2. For each message [`Session::on_message`]; for each read [`Session::on_heard`]; when the
//!    connection ends [`Session::on_lost`].
//! 3. [`Session::next_frame`] while the socket takes bytes.
//! 4. [`Session::next_event`] after each of these until it is empty.
//! 5. After [`SessionEvent::TokenWanted`], [`Session::on_token`].
//! 6. [`Session::on_timer`] at [`Session::deadline_ms`].
//! 7. Whenever [`Session::holds_connection`] is false, close what is open with
//!    [`Session::close_code`].
//!
//! Invariants: the same inputs give the same outputs, since clock (milliseconds from any
//! start) and seed come in as arguments; nothing is sent before `Welcome` except `Hello`;
//! every publish ends in exactly one report.
//! Limits: [`crate::limits`].
//! Runs on: any thread; it belongs to one task.

use std::collections::VecDeque;
use std::sync::Arc;

use interlink_protocol::channel::ChannelName;
use interlink_protocol::frame::FrameEncoder;
use interlink_protocol::ids::{InstanceId, Position};
use interlink_protocol::priority::Priority;
use interlink_protocol::CloseCode;

use crate::error::{ClosedBy, Error, Loss};
use crate::event::State;
use crate::limits;

pub mod ack;
pub mod classes;
pub mod connect;
pub mod heartbeat;
mod incoming;
pub mod io;
mod outgoing;
pub mod publish;
pub mod query;
mod random;
pub mod reconnect;
pub mod refresh;
pub mod resume;
pub mod subscribe;
pub mod track;
mod welcome;

pub use classes::Classes;
pub use io::SessionEvent;
pub use publish::{Draft, PublishOutcome};
pub use query::{HistoryQuery, PresenceQuery};
pub use reconnect::BackoffPolicy;
pub use subscribe::SubscribeOptions;

use ack::AckBook;
use connect::{Connect, Phase};
use heartbeat::Heartbeat;
use publish::PublishBook;
use query::QueryBook;
use random::SplitMix;
use refresh::Refresh;
use resume::Resume;
use subscribe::SubscriptionBook;

/// What a session is made with.
#[derive(Clone, Debug, Default)]
pub struct SessionConfig {
    /// Delays between attempts.
    pub backoff: BackoffPolicy,
    /// Identity of the device, chosen by the application.
    pub device: Option<Box<str>>,
    /// Name of the client software.
    pub client_name: Option<Box<str>>,
    /// Version of the client software.
    pub client_version: Option<Box<str>>,
    /// Classes of namespaces.
    pub classes: Classes,
    /// True when another attempt may bring another token.
    pub token_renewable: bool,
    /// Addresses that the driver has; 0 counts as one.
    pub addresses: usize,
}

/// Why a publish was not taken.
#[derive(Clone, Debug, PartialEq)]
pub enum NotTaken {
    /// The class is full: try again after something settled.
    Full(Draft),
    /// It can never be taken.
    Never(Error),
}

/// The client.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    instance: InstanceId,
    connect: Connect,
    heartbeat: Heartbeat,
    publishes: PublishBook,
    subscriptions: SubscriptionBook,
    acks: AckBook,
    history: QueryBook<HistoryQuery>,
    presence: QueryBook<PresenceQuery>,
    resume: Resume,
    refresh: Refresh,
    random: SplitMix,
    encoder: FrameEncoder,
    events: VecDeque<SessionEvent>,
    /// Token for the `Hello` that has to leave.
    hello_token: Option<Box<str>>,
    next_request: u32,
    frame_bytes: usize,
    /// The last failure of this connection that belongs to no request.
    connection_error: Option<Error>,
    close_code: u16,
    shown: State,
    scratch: outgoing::Scratch,
}

impl Session {
    /// A client that has not connected. `seed` feeds the jitter; `instance` must be random
    /// and new for each client, since publishes are told apart by it.
    pub fn new(config: SessionConfig, instance: InstanceId, seed: u64) -> Self {
        let connect = Connect::new(config.backoff, config.addresses);
        Self {
            shown: connect.state(),
            connect,
            config,
            instance,
            heartbeat: Heartbeat::new(0),
            publishes: PublishBook::default(),
            subscriptions: SubscriptionBook::default(),
            acks: AckBook::default(),
            history: QueryBook::default(),
            presence: QueryBook::default(),
            resume: Resume::default(),
            refresh: Refresh::default(),
            random: SplitMix::new(seed),
            encoder: FrameEncoder::new(),
            events: VecDeque::new(),
            hello_token: None,
            next_request: 0,
            frame_bytes: limits::FRAME_BYTES_MAX,
            connection_error: None,
            close_code: CloseCode::Normal.number(),
            scratch: outgoing::Scratch::default(),
        }
    }

    /// Publishes. The id comes back in [`SessionEvent::Published`].
    pub fn publish(&mut self, draft: Draft, now_ms: u64) -> Result<u64, NotTaken> {
        if self.connect.phase() == Phase::Closed {
            return Err(NotTaken::Never(Error::Closed(ClosedBy::Application)));
        }
        let class = self.class_of(&draft.channel).map_err(NotTaken::Never)?;
        let bytes = draft.charged_bytes() + limits::PUBLISH_FRAME_OVERHEAD_BYTES;
        if bytes > self.frame_bytes {
            self.publishes.skip(class);
            let most = self.frame_bytes;
            return Err(NotTaken::Never(Error::TooLarge { bytes, most }));
        }
        self.publishes
            .push(class, draft, now_ms)
            .map_err(NotTaken::Full)
    }

    /// True when a class takes a further publish, whatever its size.
    pub fn has_room(&self, class: Priority) -> bool {
        self.publishes.has_room(class, 0)
    }

    /// The class of a channel; fails when the name is not well formed.
    pub fn class_of(&self, channel: &str) -> Result<Priority, Error> {
        let name = ChannelName::parse(channel)?;
        Ok(self.config.classes.class_of(&name))
    }

    /// Subscribes. The answer comes as [`SessionEvent::Subscribed`] or
    /// [`SessionEvent::SubscribeRefused`].
    pub fn subscribe(
        &mut self,
        channel: &Arc<str>,
        options: SubscribeOptions,
    ) -> Result<(), Error> {
        if self.connect.phase() == Phase::Closed {
            return Err(Error::Closed(ClosedBy::Application));
        }
        let class = self.class_of(channel)?;
        self.subscriptions.want(channel, class, options)
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, channel: &str) {
        if self.subscriptions.unwant(channel) {
            self.acks.forget(channel);
        }
    }

    /// Takes no more events of a channel until [`Session::proceed`].
    pub fn pause(&mut self, channel: &str) {
        self.subscriptions.pause(channel);
    }

    /// Continues a paused channel from where it stopped.
    pub fn proceed(&mut self, channel: &str) {
        self.subscriptions.proceed(channel);
    }

    /// Lets waiting acknowledgements leave at once, since nothing follows.
    pub fn hasten_acks(&mut self) {
        self.acks.hasten();
    }

    /// The application processed everything up to `position`.
    pub fn acknowledge(&mut self, channel: &Arc<str>, position: Position, now_ms: u64) {
        let live = self.subscriptions.live_name(channel).is_some();
        self.acks.acknowledge(channel, position, live, now_ms);
    }

    /// Asks for past events. The ticket comes back in [`SessionEvent::History`].
    pub fn history(&mut self, query: HistoryQuery, now_ms: u64) -> Result<u64, Error> {
        if self.connect.phase() == Phase::Closed {
            return Err(Error::Closed(ClosedBy::Application));
        }
        ChannelName::parse(&query.channel)?;
        self.history.push(query, now_ms)
    }

    /// Asks who is present. The ticket comes back in [`SessionEvent::Presence`].
    pub fn presence(&mut self, query: PresenceQuery, now_ms: u64) -> Result<u64, Error> {
        if self.connect.phase() == Phase::Closed {
            return Err(Error::Closed(ClosedBy::Application));
        }
        ChannelName::parse(&query.channel)?;
        self.presence.push(query, now_ms)
    }

    /// The application wants a connection now; a suspended client tries at once.
    pub fn connect(&mut self, now_ms: u64) {
        self.connect.want_now(now_ms);
        self.show_state();
    }

    /// Ends the client.
    pub fn close(&mut self) {
        self.shut(ClosedBy::Application);
    }

    /// True once when the driver has to open a connection, to [`Session::target`].
    pub fn start_dial(&mut self, now_ms: u64) -> bool {
        let started = self.connect.start_when_due(now_ms);
        self.show_state();
        started
    }

    /// Number of the configured address for the attempt, when the server named none.
    pub fn address(&self) -> usize {
        self.connect.address()
    }

    /// The address that the server named; `None` is the configured one.
    pub fn target(&self) -> Option<&str> {
        self.connect.target()
    }

    /// The connection is open and upgraded.
    pub fn on_open(&mut self, token: Box<str>, now_ms: u64) {
        if !self.connect.on_open(now_ms) {
            return;
        }
        self.heartbeat = Heartbeat::new(now_ms);
        self.connection_error = None;
        self.close_code = CloseCode::Normal.number();
        self.refresh.on_hello(&token);
        self.hello_token = Some(token);
        self.next_request = 0;
    }

    /// Answers [`SessionEvent::TokenWanted`]; `None` when there is no token now.
    pub fn on_token(&mut self, token: Option<Box<str>>, now_ms: u64) {
        self.refresh.on_token(token, now_ms);
    }

    /// Bytes came, whatever they are.
    pub fn on_heard(&mut self, now_ms: u64) {
        self.heartbeat.on_heard(now_ms);
    }

    /// The connection ended, or the attempt failed.
    pub fn on_lost(&mut self, loss: Loss, now_ms: u64) {
        if self.connect.phase() == Phase::Closed {
            return;
        }
        if self.is_final(&loss) {
            let refusal = self.connection_error.take();
            self.shut(match refusal {
                Some(error) => ClosedBy::Refused(Box::new(error)),
                None => ClosedBy::Server(loss),
            });
            return;
        }
        let random = self.random.next();
        if !self.connect.on_lost(now_ms, random) {
            return;
        }
        self.hello_token = None;
        self.publishes.on_lost();
        self.subscriptions.on_lost();
        self.acks.on_lost();
        self.history.on_lost();
        self.presence.on_lost();
        self.resume.on_lost(now_ms);
        self.refresh.on_lost();
        self.events.push_back(SessionEvent::Lost(loss));
        self.show_state();
    }

    /// Does what is due.
    pub fn on_timer(&mut self, now_ms: u64) {
        if self.connect.is_overdue(now_ms) {
            self.on_lost(Loss::Timeout, now_ms);
        } else if self.holds_connection() && self.heartbeat.deadline_ms() <= now_ms {
            self.close_code = CloseCode::GoingAway.number();
            self.connect.leave_node();
            self.on_lost(Loss::Silence, now_ms);
        } else if self.connect.move_is_due(now_ms) {
            self.on_lost(Loss::Moved, now_ms);
        }
        if self.refresh.start_when_due(now_ms) {
            self.events.push_back(SessionEvent::TokenWanted);
        }
        let events = &mut self.events;
        self.publishes.expire(now_ms, |id, outcome| {
            events.push_back(SessionEvent::Published { id, outcome });
        });
        let limit = std::time::Duration::from_millis(limits::QUERY_TIMEOUT_MS);
        while let Some(ticket) = self.history.take_overdue(now_ms) {
            let result = Err(Error::TimedOut(limit));
            events.push_back(SessionEvent::History { ticket, result });
        }
        while let Some(ticket) = self.presence.take_overdue(now_ms) {
            let result = Err(Error::TimedOut(limit));
            events.push_back(SessionEvent::Presence { ticket, result });
        }
    }

    /// When [`Session::on_timer`] or [`Session::start_dial`] is due next. `can_send` is false
    /// while the socket takes no bytes; then nothing that would only send counts.
    pub fn deadline_ms(&self, now_ms: u64, can_send: bool) -> Option<u64> {
        let mut next = [
            self.connect.deadline_ms(),
            self.history.deadline_ms(),
            self.presence.deadline_ms(),
            self.refresh.deadline_ms(),
            None,
            None,
            None,
        ];
        if self.holds_connection() {
            next[4] = Some(self.heartbeat.deadline_ms());
        }
        if self.connect.phase() == Phase::Online && can_send {
            next[5] = self.acks.deadline_ms();
            next[6] = self.subscriptions.deadline_ms(now_ms);
        }
        let publishes = self.publishes.deadline_ms(now_ms);
        next.into_iter().chain([publishes]).flatten().min()
    }

    /// The next thing that happened.
    pub fn next_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    /// True while the driver should hold a connection.
    pub fn holds_connection(&self) -> bool {
        self.connect.phase().holds_connection()
    }

    /// True while an attempt to connect is wanted.
    pub fn is_dialing(&self) -> bool {
        self.connect.phase() == Phase::Dialing
    }

    /// Close code for a connection that the session gave up.
    pub fn close_code(&self) -> u16 {
        self.close_code
    }

    /// The state that applications see.
    pub fn state(&self) -> State {
        self.connect.state()
    }

    /// Attempts to connect since the last success.
    pub fn attempts(&self) -> u32 {
        self.connect.attempts()
    }

    /// For each class, how many publishes are over, counted from the first without holes.
    pub fn settled_counts(&self) -> [u64; Priority::COUNT] {
        self.publishes.settled_counts()
    }

    /// Publishes whose publisher waits for an answer.
    pub fn unanswered_publishes(&self) -> usize {
        self.publishes.unanswered()
    }

    /// Publishes that are kept until they settle.
    pub fn unsettled_publishes(&self) -> usize {
        self.publishes.unsettled()
    }

    /// True when acknowledgements of deliveries have not left.
    pub fn has_unsent_acks(&self) -> bool {
        self.acks.has_unsent()
    }

    /// The last position of a subscribed channel.
    pub fn position(&self, channel: &str) -> Option<Position> {
        self.subscriptions.position(channel)
    }

    /// A loss after which another attempt cannot succeed.
    fn is_final(&self, loss: &Loss) -> bool {
        match loss {
            Loss::TokenDenied(_) => true,
            Loss::Closed { code, .. } => {
                let final_code = match CloseCode::from_number(*code) {
                    Some(known) => !known.reconnects(),
                    None => (3500..4000).contains(code),
                };
                final_code || self.token_is_spent()
            }
            _ => false,
        }
    }

    /// The server refused a token, and another attempt would bring the same one.
    fn token_is_spent(&self) -> bool {
        let refusal = self.connection_error.as_ref().and_then(Error::code);
        let about_token = refusal.is_some_and(|code| (100..106).contains(&code.0));
        about_token && !self.config.token_renewable
    }

    fn shut(&mut self, by: ClosedBy) {
        if !self.connect.close() {
            return;
        }
        let error = Error::Closed(by.clone());
        for id in self.publishes.drain_unreported() {
            let outcome = PublishOutcome::Failed(error.clone());
            self.events
                .push_back(SessionEvent::Published { id, outcome });
        }
        for ticket in self.history.drain() {
            let result = Err(error.clone());
            self.events
                .push_back(SessionEvent::History { ticket, result });
        }
        for ticket in self.presence.drain() {
            let result = Err(error.clone());
            self.events
                .push_back(SessionEvent::Presence { ticket, result });
        }
        for (channel, accepted) in self.subscriptions.drain() {
            self.end_subscription(channel, !accepted, error.clone());
        }
        self.events.push_back(SessionEvent::Closed(by));
        self.show_state();
    }

    /// Reports the state when it is another than the one reported last.
    fn show_state(&mut self) {
        let state = self.connect.state();
        if state != self.shown {
            self.shown = state;
            self.events.push_back(SessionEvent::State(state));
        }
    }

    /// Panics when a part contradicts itself; for tests and simulation.
    #[cfg(test)]
    pub(crate) fn check_invariants(&self) {
        self.publishes.check_invariants();
    }
}

#[cfg(test)]
mod tests;
