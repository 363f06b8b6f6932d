//! The task of one client.
//!
//! Purpose: one loop over the socket, the application's requests, subscriptions' signals and
//! the clock, in a fixed order: what is due, what can leave, what has to be reported, wait.
//! Invariants: it never waits for an application; a class that is full holds up no other.
//! Limits: one read and at most `limits::WRITE_BUFFER_BYTES` of frames a turn.
//! Runs on: a tokio task of its own.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use interlink_protocol::priority::Priority;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep_until, timeout, Instant};

use super::address::Address;
use super::connection::Arrival;
use super::link::{Link, LinkNews};
use super::outlets::{Delivered, Outlets};
use super::queries::Queries;
use super::trust::Trust;
use crate::error::{ClosedBy, Error, Loss};
use crate::event::{PublishReceipt, State};
use crate::handle::{PublishCommand, Request, Shared, SubscribeCommand};
use crate::limits;
use crate::session::{NotTaken, PublishOutcome, Session, SessionEvent};
use crate::token::{TokenRequest, TokenSource};

/// The task's ends of what it shares with the handles.
pub(crate) struct Inlets {
    pub(crate) publishes: [mpsc::Receiver<PublishCommand>; Priority::COUNT],
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) state: watch::Sender<State>,
    pub(crate) settled: watch::Sender<[u64; Priority::COUNT]>,
}

/// A graceful close under way.
struct Closing {
    deadline_ms: u64,
    answers: Vec<oneshot::Sender<()>>,
}

/// What ended a wait.
enum Wake {
    Link(LinkNews),
    Publish(usize, PublishCommand),
    Request(Option<Request>),
    Signals,
    Token(Option<Box<str>>),
    Timer,
}

/// The task.
pub(crate) struct Task {
    session: Session,
    addresses: Vec<Address>,
    trust: Trust,
    tokens: TokenSource,
    inlets: Inlets,
    link: Link,
    clock: Instant,
    outlets: Outlets,
    receipts: HashMap<u64, oneshot::Sender<Result<PublishReceipt, Error>>>,
    queries: Queries,
    /// Of each class, the publish that did not fit.
    stalled: [Option<PublishCommand>; Priority::COUNT],
    closing: Option<Closing>,
    /// The provider's answer to a wish for another token.
    refresh: Option<Replacement>,
}

/// A token that is on its way.
type Replacement = Pin<Box<dyn Future<Output = Option<Box<str>>> + Send>>;

impl Task {
    pub(crate) fn new(
        session: Session,
        (addresses, trust): (Vec<Address>, Trust),
        tokens: TokenSource,
        inlets: Inlets,
    ) -> Self {
        Self {
            session,
            addresses,
            trust,
            tokens,
            inlets,
            link: Link::Down,
            clock: Instant::now(),
            outlets: Outlets::default(),
            receipts: HashMap::new(),
            queries: Queries::default(),
            stalled: Default::default(),
            closing: None,
            refresh: None,
        }
    }

    /// Runs until the client is closed.
    pub(crate) async fn run(mut self) {
        loop {
            self.steer();
            self.transmit();
            // What a close waited for may just have left.
            self.finish_closing(self.now_ms());
            self.report();
            if self.session.state() == State::Closed {
                break;
            }
            match self.wait().await {
                Wake::Link(news) => self.on_link(news),
                Wake::Publish(class, command) => self.on_publish(class, command),
                Wake::Request(request) => self.on_request(request),
                Wake::Signals => self.on_signals(),
                Wake::Token(token) => self.on_token(token),
                Wake::Timer => {}
            }
        }
        if let Link::Up(connection) = std::mem::replace(&mut self.link, Link::Down) {
            let farewell = connection.finish(self.session.close_code());
            // Whether the server answered in time changes nothing for the application.
            let _ = timeout(Duration::from_millis(limits::CLOSE_ANSWER_MS), farewell).await;
        }
        for answer in self.closing.into_iter().flat_map(|closing| closing.answers) {
            // Who closed the client may have stopped waiting.
            let _ = answer.send(());
        }
    }

    fn now_ms(&self) -> u64 {
        self.clock.elapsed().as_millis() as u64
    }

    /// Does what is due: timers, the end of a close, dialling, dropping a connection that the
    /// session gave up, and publishes that did not fit before.
    fn steer(&mut self) {
        let now_ms = self.now_ms();
        self.session.on_timer(now_ms);
        self.finish_closing(now_ms);
        for class in 0..Priority::COUNT {
            if let Some(command) = self.stalled[class].take() {
                self.on_publish(class, command);
            }
        }
        let closed = self.session.state() == State::Closed;
        match &self.link {
            // The farewell of a closed client comes after the loop.
            Link::Up(_) if !self.session.holds_connection() && !closed => {
                let code = self.session.close_code();
                self.hang_up(Some(code));
            }
            Link::Dialing(_) if !self.session.is_dialing() => self.link = Link::Down,
            _ => {}
        }
        if self.session.start_dial(now_ms) {
            let own = &self.addresses[self.session.address()];
            let address = own.or_named(self.session.target());
            let request = TokenRequest {
                attempt: self.session.attempts(),
            };
            self.link = Link::dial(address, self.trust.clone(), self.tokens.clone(), request);
        }
    }

    /// Fills the socket.
    fn transmit(&mut self) {
        let now_ms = self.now_ms();
        let Some(connection) = self.link.connection() else {
            return;
        };
        loop {
            while connection.has_room() {
                let Some(frame) = self.session.next_frame(now_ms) else {
                    break;
                };
                connection.queue(frame);
            }
            if !connection.has_output() {
                return;
            }
            if let Err(loss) = connection.flush() {
                self.on_write_failed(loss);
                return;
            }
            if connection.has_output() {
                return;
            }
        }
    }

    async fn wait(&mut self) -> Wake {
        let now_ms = self.now_ms();
        let room = Priority::ALL
            .map(|class| self.stalled[class.index()].is_none() && self.session.has_room(class));
        let deadline = self.deadline(now_ms);
        let accepts = self.closing.is_none();
        let [p0, p1, p2, p3] = &mut self.inlets.publishes;
        tokio::select! {
            news = self.link.wait() => Wake::Link(news),
            Some(command) = p0.recv(), if room[0] => Wake::Publish(0, command),
            Some(command) = p1.recv(), if room[1] => Wake::Publish(1, command),
            Some(command) = p2.recv(), if room[2] => Wake::Publish(2, command),
            Some(command) = p3.recv(), if room[3] => Wake::Publish(3, command),
            request = self.inlets.requests.recv(), if accepts => Wake::Request(request),
            () = self.inlets.shared.signals.wait() => Wake::Signals,
            token = arrived(&mut self.refresh) => Wake::Token(token),
            () = sleep_until(deadline.unwrap_or(self.clock)), if deadline.is_some() => Wake::Timer,
        }
    }

    fn on_token(&mut self, token: Option<Box<str>>) {
        self.refresh = None;
        self.session.on_token(token, self.now_ms());
    }

    fn deadline(&self, now_ms: u64) -> Option<Instant> {
        let closing = self.closing.as_ref().map(|closing| closing.deadline_ms);
        let session = self.session.deadline_ms(now_ms, self.link.has_room());
        let next = session.into_iter().chain(closing).min()?;
        Some(self.clock + Duration::from_millis(next))
    }

    fn on_link(&mut self, news: LinkNews) {
        let now_ms = self.now_ms();
        match news {
            LinkNews::Dialed(Ok((connection, token))) => {
                self.link = Link::Up(Box::new(connection));
                self.session.on_open(token, now_ms);
                self.receive();
            }
            LinkNews::Dialed(Err(loss)) => {
                self.link = Link::Down;
                self.session.on_lost(loss, now_ms);
            }
            LinkNews::Ready(Ok(())) => self.receive(),
            LinkNews::Ready(Err(error)) => {
                self.link = Link::Down;
                self.session
                    .on_lost(Loss::Io(error.to_string().into()), now_ms);
            }
        }
    }

    /// Reads once and gives the messages to the session.
    fn receive(&mut self) {
        let now_ms = self.now_ms();
        let Some(connection) = self.link.connection() else {
            return;
        };
        let session = &mut self.session;
        let (heard, arrival) = connection.receive(|message| {
            let taken = session.on_message(message, now_ms);
            taken.map_err(|fault| (fault.close_code, fault.text))
        });
        if heard {
            self.session.on_heard(now_ms);
        }
        if let Arrival::Over { loss, close_code } = arrival {
            self.hang_up(close_code);
            self.session.on_lost(loss, now_ms);
        }
    }

    /// The server may have said why before it stopped reading.
    fn on_write_failed(&mut self, loss: Loss) {
        self.receive();
        if matches!(self.link, Link::Up(_)) {
            self.link = Link::Down;
            self.session.on_lost(loss, self.now_ms());
        }
    }

    /// Drops the connection, with a close frame if the socket takes it at once.
    fn hang_up(&mut self, close_code: Option<u16>) {
        if let Some(connection) = self.link.connection() {
            if close_code.is_some() {
                connection.queue_close(close_code, "");
            }
            // The connection is given up either way.
            let _ = connection.flush();
        }
        self.link = Link::Down;
    }

    /// Takes a publish and, while there is room, those behind it.
    fn on_publish(&mut self, class: usize, command: PublishCommand) {
        let mut next = Some(command);
        while let Some(command) = next {
            if !self.take_publish(class, command) {
                return;
            }
            next = self.inlets.publishes[class].try_recv().ok();
        }
    }

    fn take_publish(&mut self, class: usize, command: PublishCommand) -> bool {
        let now_ms = self.now_ms();
        let PublishCommand { draft, answer } = command;
        match self.session.publish(draft, now_ms) {
            Ok(id) => {
                self.receipts.insert(id, answer);
                true
            }
            Err(NotTaken::Full(draft)) => {
                self.stalled[class] = Some(PublishCommand { draft, answer });
                false
            }
            Err(NotTaken::Never(error)) => {
                // Who published may have stopped waiting.
                let _ = answer.send(Err(error));
                true
            }
        }
    }

    fn on_request(&mut self, request: Option<Request>) {
        let now_ms = self.now_ms();
        match request {
            Some(Request::Connect) => self.session.connect(now_ms),
            Some(Request::Subscribe(command)) => self.subscribe(command),
            Some(Request::History { query, answer }) => {
                let session = &mut self.session;
                self.queries.ask_history(session, query, answer, now_ms);
            }
            Some(Request::Presence { query, answer }) => {
                let session = &mut self.session;
                self.queries.ask_presence(session, query, answer, now_ms);
            }
            Some(Request::Close { answer }) => self.start_closing(now_ms, Some(answer)),
            None => self.start_closing(now_ms, None),
        }
    }

    fn subscribe(&mut self, command: SubscribeCommand) {
        // Drops that happened before this request must count first.
        self.on_signals();
        if self.outlets.is_abandoned(&command.channel) {
            self.session.unsubscribe(&command.channel);
            self.outlets.remove(&command.channel);
        }
        match self
            .session
            .subscribe(&command.channel, command.options.clone())
        {
            Ok(()) => self.outlets.insert(command),
            // Who asked may have stopped waiting.
            Err(error) => drop(command.answer.send(Err(error))),
        }
    }

    fn on_signals(&mut self) {
        let now_ms = self.now_ms();
        let shared = self.inlets.shared.clone();
        let pending = shared.signals.take();
        for (key, position) in pending.acknowledged {
            if let Some(channel) = self.outlets.channel(key) {
                self.session.acknowledge(channel, position, now_ms);
            }
        }
        for key in pending.drained {
            match self.outlets.on_drained(key, &shared.signals) {
                Some((channel, Delivered::Taken)) => self.session.proceed(&channel),
                Some((channel, Delivered::Gone)) => self.session.unsubscribe(&channel),
                Some((_, Delivered::Lagging)) | None => {}
            }
        }
        for key in pending.dropped {
            if let Some(channel) = self.outlets.channel(key).cloned() {
                self.session.unsubscribe(&channel);
                self.outlets.remove(&channel);
            }
        }
    }

    /// Takes nothing new; what was handed over still gets its answer.
    fn start_closing(&mut self, now_ms: u64, answer: Option<oneshot::Sender<()>>) {
        // What was acknowledged before the close is still told.
        self.on_signals();
        self.session.hasten_acks();
        self.inlets.requests.close();
        for queue in &mut self.inlets.publishes {
            queue.close();
        }
        let mut answers: Vec<_> = answer.into_iter().collect();
        while let Ok(request) = self.inlets.requests.try_recv() {
            // Dropping any other request tells its owner that the client is closed.
            if let Request::Close { answer } = request {
                answers.push(answer);
            }
        }
        let deadline_ms = now_ms + limits::CLOSE_DRAIN_MS;
        self.closing = Some(Closing {
            deadline_ms,
            answers,
        });
    }

    fn finish_closing(&mut self, now_ms: u64) {
        let Some(closing) = &self.closing else {
            return;
        };
        let connected = self.session.state() == State::Connected;
        let queued = self.inlets.publishes.iter().any(|queue| !queue.is_empty());
        let stalled = self.stalled.iter().any(Option::is_some);
        let unsaid = connected && (self.session.has_unsent_acks() || self.link.has_output());
        let open = queued || stalled || unsaid || self.session.unanswered_publishes() > 0;
        if !open || closing.deadline_ms <= now_ms {
            self.session.close();
        }
    }

    /// Tells the application what happened.
    fn report(&mut self) {
        while let Some(event) = self.session.next_event() {
            self.report_one(event);
        }
        let counts = self.session.settled_counts();
        self.inlets.settled.send_if_modified(|shown| {
            let changed = *shown != counts;
            *shown = counts;
            changed
        });
    }

    fn report_one(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::State(state) => {
                tracing::debug!(?state, "client state");
                let attempts = self.session.attempts();
                self.inlets.shared.show(|shown| shown.attempts = attempts);
                self.inlets.state.send_replace(state);
            }
            SessionEvent::Welcomed(server) => {
                self.inlets.shared.show(|shown| shown.server = Some(server));
            }
            SessionEvent::TokenWanted => {
                self.refresh = Some(Box::pin(self.tokens.clone().replacement()));
            }
            SessionEvent::Lost(loss) => {
                tracing::debug!(%loss, "connection lost");
                self.inlets
                    .shared
                    .show(|shown| shown.last_loss = Some(loss));
            }
            SessionEvent::ServerError(error) => tracing::warn!(%error, "error of the server"),
            SessionEvent::Closed(by) => self.on_closed(by),
            SessionEvent::Published { id, outcome } => {
                if let Some(answer) = self.receipts.remove(&id) {
                    let result = match outcome {
                        PublishOutcome::Receipt(receipt) => Ok(receipt),
                        PublishOutcome::Failed(error) => Err(error),
                    };
                    // Who published may have stopped waiting.
                    let _ = answer.send(result);
                }
            }
            SessionEvent::History { ticket, result } => self.queries.on_history(ticket, result),
            SessionEvent::Presence { ticket, result } => self.queries.on_presence(ticket, result),
            SessionEvent::Subscribed { channel, .. } => {
                if !self.outlets.answer(&channel, Ok(())) {
                    self.session.unsubscribe(&channel);
                }
            }
            SessionEvent::SubscribeRefused { channel, error } => {
                self.outlets.answer(&channel, Err(error));
            }
            SessionEvent::Delivery { channel, delivery } => {
                let signals = &self.inlets.shared.signals;
                match self.outlets.deliver(&channel, delivery, signals) {
                    Delivered::Taken => {}
                    Delivered::Lagging => self.session.pause(&channel),
                    Delivered::Gone => self.session.unsubscribe(&channel),
                }
            }
        }
    }

    fn on_closed(&mut self, by: ClosedBy) {
        tracing::debug!(%by, "client closed");
        self.inlets.shared.show(|shown| shown.closed_by = Some(by));
    }
}

/// Waits for a token; for ever when none is on its way.
async fn arrived(refresh: &mut Option<Replacement>) -> Option<Box<str>> {
    match refresh {
        Some(token) => token.await,
        None => std::future::pending().await,
    }
}
