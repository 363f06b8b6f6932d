//! Traffic of the crash scenario, and its checks.
//!
//! Invariants: an event is offered on its schedule whether the server lives or not; unanswered
//! publishes are sent again with their ids, in order and before new ones; nothing that was
//! acknowledged is ever sent again.
//!
//! Runs on: the generator's thread.

use super::crash_user::{CrashUser, Ledger, PositionFault};
use super::settle::{Counted, Ends};
use crate::engine::payload::Payload;
use crate::engine::peek::{self, Ack};
use crate::engine::publisher::Pending;
use crate::engine::schedule::Schedule;
use crate::engine::stamp::Stamp;
use crate::engine::template::FrameWriter;
use crate::engine::{EndCause, Link, Workload};
use crate::limits::{CRITICAL_WINDOW_MAX, WINDOW_MAX};
use crate::measure::Latency;
use crate::sys;
use interlink_protocol::frame::{
    decode_server, FrameLimits, HelloFields, PublishFields, ResumeFields, ServerFrame,
    SubscribeFields,
};
use interlink_wire as wire;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, VecDeque};

/// Shortest rest after a refusal that names no time, in milliseconds.
const RETRY_LEAST_MS: u32 = 10;

/// One publisher on one channel.
pub struct CrashRoute {
    /// The publishing client.
    pub publisher: u32,
    /// Full channel name.
    pub channel: String,
    /// Class of the channel.
    pub class: usize,
    /// What became of each event.
    pub ledger: Ledger,
}

/// What the checks found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Findings {
    /// Events that came after a later one of their publisher and channel.
    pub order_violations: u64,
    /// Events that a session got again.
    pub duplicates_in_session: u64,
    /// Missing positions that nobody announced.
    pub unreported_gaps: u64,
    /// Continuations that the server could not give.
    pub recovered_false: u64,
    /// Positions announced by the server.
    pub announced: u64,
    /// Publishes sent again.
    pub sent_again: u64,
    /// Sessions that were continued.
    pub resumed: u64,
    /// Frames that could not be read or belong to nobody.
    pub wrong: u64,
}

/// The traffic.
pub struct CrashLoad {
    /// Clients.
    pub users: Vec<CrashUser>,
    /// Routes; events are offered on one at random, by class.
    pub routes: Vec<CrashRoute>,
    /// Routes of each class that is offered, with its schedule.
    offers: Vec<(Vec<u32>, Schedule)>,
    payloads: Vec<Payload>,
    choose: SmallRng,
    ends: Ends,
    /// Clients whose refused publishes wait: until when.
    resting: VecDeque<(u64, u32)>,
    /// What the checks found.
    pub findings: Findings,
    /// Continuations that the server could not give, by its reason.
    pub not_recovered: BTreeMap<&'static str, u64>,
    /// Refusals by error code.
    pub refusals: BTreeMap<u16, u64>,
    /// From the schedule to the answer.
    pub ack: Latency,
    /// Publishes acknowledged.
    pub acked: u64,
    /// A connection that ends is opened again.
    pub reconnects: bool,
}

impl CrashLoad {
    /// Traffic of these users and routes; `payloads` by class.
    pub fn new(
        users: Vec<CrashUser>,
        routes: Vec<CrashRoute>,
        payloads: Vec<Payload>,
        seed: u64,
    ) -> Self {
        Self {
            users,
            routes,
            offers: Vec::new(),
            payloads,
            choose: SmallRng::seed_from_u64(seed),
            ends: Ends::default(),
            resting: VecDeque::new(),
            findings: Findings::default(),
            not_recovered: BTreeMap::new(),
            refusals: BTreeMap::new(),
            ack: Latency::new(),
            acked: 0,
            reconnects: true,
        }
    }

    /// Offers events of a class on a schedule.
    pub fn open(&mut self, class: usize, rate: f64, now_ns: u64) {
        let routes = (0..self.routes.len() as u32)
            .filter(|&route| self.routes[route as usize].class == class)
            .collect();
        self.offers.push((routes, Schedule::new(now_ns, rate)));
    }

    /// Offers nothing more.
    pub fn pause(&mut self) {
        self.offers.clear();
    }

    /// Publishes without an answer, and offers without a publish.
    pub fn waiting(&self) -> usize {
        let waiting =
            |user: &CrashUser| user.publisher.open() as usize + user.publisher.backlog.len();
        self.users.iter().map(waiting).sum()
    }

    fn offer(&mut self, link: &mut Link, route: u32, due_ns: u64) {
        let client = self.routes[route as usize].publisher;
        self.users[client as usize]
            .publisher
            .backlog
            .push_back((due_ns, route));
        self.publish_waiting(link, client);
    }

    /// Publishes what waits, as far as credit and connection allow.
    fn publish_waiting(&mut self, link: &mut Link, client: u32) {
        while link.is_live(client) {
            let publisher = &mut self.users[client as usize].publisher;
            let Some(&(due_ns, route)) = publisher.backlog.front() else {
                return;
            };
            let is_critical = self.routes[route as usize].class == 0;
            let limit = if is_critical {
                CRITICAL_WINDOW_MAX
            } else {
                WINDOW_MAX
            };
            if publisher.is_deferred() || publisher.unanswered(is_critical) >= limit {
                return;
            }
            publisher.backlog.pop_front();
            let ledger = &mut self.routes[route as usize].ledger;
            let id = publisher.begin(due_ns, route, ledger.count() + 1, is_critical);
            ledger.publish(id);
            self.send(link, client, route, id, due_ns, 0);
        }
    }

    fn send(&mut self, link: &mut Link, client: u32, route: u32, id: u64, due: u64, age_ms: u32) {
        let state = &self.routes[route as usize];
        let Some(sequence) = state.ledger.sequence_of(id) else {
            return;
        };
        let payload = &mut self.payloads[state.class];
        let stamp = Stamp {
            sender: route,
            sequence,
            scheduled_ns: due,
        };
        stamp.write(&mut payload.bytes[payload.stamp_at..]);
        let fields = PublishFields {
            age_ms,
            ..PublishFields::new(id, &state.channel, payload.event_type, &payload.bytes)
        };
        link.write(client, |writer, out| {
            writer.append(out, |encoder| encoder.publish(&fields))
        });
    }

    /// Sends these publishes again.
    fn send_again(&mut self, link: &mut Link, client: u32, publishes: &[Pending]) {
        for publish in publishes {
            self.findings.sent_again += 1;
            let due_ns = publish.scheduled_ns;
            let age_ms = link.now_ns.saturating_sub(due_ns) / 1_000_000;
            let age_ms = u32::try_from(age_ms).unwrap_or(u32::MAX);
            self.send(link, client, publish.tag, publish.id, due_ns, age_ms);
        }
    }

    fn on_ack(&mut self, link: &mut Link, client: u32, ack: Ack) {
        let publisher = &mut self.users[client as usize].publisher;
        if ack.is_temporary_refusal() {
            let was_deferred = publisher.is_deferred();
            let count = publisher.defer(ack.first, ack.count);
            *self.refusals.entry(ack.code).or_default() += u64::from(count);
            if !was_deferred && count > 0 {
                let rest_ns = u64::from(ack.retry_after_ms.max(RETRY_LEAST_MS)) * 1_000_000;
                self.resting.push_back((link.now_ns + rest_ns, client));
            }
            return;
        }
        let mut closed = Vec::new();
        publisher.answer(ack.first, ack.count, |pending| closed.push(pending));
        for pending in closed {
            let route = &mut self.routes[pending.tag as usize];
            route.ledger.answer(pending.id, ack.is_accepted());
            if ack.is_accepted() {
                self.acked += 1;
                self.ack.record_from(pending.scheduled_ns, link.now_ns);
            } else {
                *self.refusals.entry(ack.code).or_default() += 1;
            }
        }
        self.publish_waiting(link, client);
    }

    /// Sends refused publishes again whose time has come; when the next ones are due.
    fn wake_resting(&mut self, link: &mut Link) -> u64 {
        while let Some(&(until_ns, client)) = self.resting.front() {
            if until_ns > link.now_ns {
                return until_ns;
            }
            self.resting.pop_front();
            if link.is_live(client) {
                let mut again = Vec::new();
                let publisher = &mut self.users[client as usize].publisher;
                publisher.take_deferred(|pending| again.push(pending));
                self.send_again(link, client, &again);
                self.publish_waiting(link, client);
            }
        }
        u64::MAX
    }

    fn on_event(&mut self, client: u32, event: &wire::Event<'_>) {
        let Some(subscription) = self.users[client as usize].subscription(event.channel()) else {
            self.findings.wrong += 1;
            return;
        };
        match subscription.advance(event.position().into(), event.previous_chain()) {
            Some(PositionFault::Repeated) => {
                self.findings.duplicates_in_session += 1;
                return;
            }
            Some(PositionFault::Gap) => self.findings.unreported_gaps += 1,
            None => {}
        }
        let stamp = Stamp::find(event.payload().bytes(), &mut 0);
        let route = stamp.and_then(|stamp| self.routes.get_mut(stamp.sender as usize));
        let (Some(stamp), Some(route)) = (stamp, route) else {
            self.findings.wrong += 1;
            return;
        };
        if !route.ledger.see(stamp.sequence) {
            self.findings.order_violations += 1;
        }
    }

    fn on_welcome(&mut self, client: u32, welcome: &wire::Welcome<'_>) {
        let user = &mut self.users[client as usize];
        user.session = Some(welcome.session().into());
        user.is_resumed = welcome.resumed();
        self.findings.resumed += u64::from(welcome.resumed());
        for restored in welcome.restored().into_iter().flatten() {
            self.findings.recovered_false += u64::from(!restored.recovered());
            if !restored.recovered() {
                let reason = restored.reason();
                *self
                    .not_recovered
                    .entry(reason.variant_name().unwrap_or("new"))
                    .or_default() += 1;
                if let Some(subscription) = user.subscription(restored.channel()) {
                    subscription.announce(restored.position().into());
                }
            }
        }
    }

    fn on_subscribed(&mut self, client: u32, subscribed: &wire::Subscribed<'_>) {
        for channel in subscribed.channels() {
            let Some(entry) = self.users[client as usize].subscription(channel.channel()) else {
                continue;
            };
            let known = entry.position;
            if known.is_some_and(|known| known.offset > 0) && channel.recovered() {
                continue;
            }
            // On a channel without events nothing can be missing: its place is that of the start
            // which answered.
            if known.is_some() && !channel.recovered() {
                self.findings.recovered_false += 1;
                let reason = channel.reason().variant_name().unwrap_or("new");
                *self.not_recovered.entry(reason).or_default() += 1;
            }
            if let Some(position) = channel.position() {
                entry.announce(position.into());
            }
        }
    }
}

impl Workload for CrashLoad {
    fn on_turn(&mut self, link: &mut Link) -> u64 {
        let mut wake_ns = self.wake_resting(link);
        for number in 0..self.offers.len() {
            while let Some(due_ns) = self.offers[number].1.take(link.now_ns) {
                let routes = &self.offers[number].0;
                let route = routes[self.choose.random_range(0..routes.len())];
                self.offer(link, route, due_ns);
            }
            wake_ns = wake_ns.min(self.offers[number].1.next_ns());
        }
        wake_ns
    }

    fn hello(&mut self, client: u32, writer: &mut FrameWriter, out: &mut Vec<u8>) {
        let user = &self.users[client as usize];
        let positions = user.positions();
        let resume = user.session.map(|session| ResumeFields {
            session,
            positions: &positions,
        });
        let fields = HelloFields {
            token: &user.token,
            instance: user.instance,
            device: None,
            client_name: Some("interlink-bench"),
            client_version: Some(env!("CARGO_PKG_VERSION")),
            resume,
        };
        writer.append(out, |encoder| encoder.hello(&fields));
    }

    fn subscribe(&mut self, client: u32, writer: &mut FrameWriter, out: &mut Vec<u8>) {
        let user = &self.users[client as usize];
        if user.is_resumed || user.subscriptions.is_empty() {
            return;
        }
        let fields: Vec<SubscribeFields<'_>> = user
            .subscriptions
            .iter()
            .map(|entry| SubscribeFields {
                recover: entry.position,
                ..SubscribeFields::new(&entry.channel)
            })
            .collect();
        writer.append(out, |encoder| encoder.subscribe(1, &fields));
    }

    fn on_live(&mut self, link: &mut Link, client: u32) {
        let publisher = &mut self.users[client as usize].publisher;
        publisher.take_deferred(|_| {});
        let pending: Vec<Pending> = publisher.unanswered_publishes().copied().collect();
        self.send_again(link, client, &pending);
        self.publish_waiting(link, client);
    }

    fn on_frame(&mut self, link: &mut Link, client: u32, kind: wire::Body, frame: &[u8]) {
        if kind == wire::Body::PublishAck {
            if let Some((_, body)) = peek::body(frame) {
                self.on_ack(link, client, Ack::read(&body));
            }
            return;
        }
        match decode_server(frame, &FrameLimits::SERVER) {
            Ok(ServerFrame::Event(event)) => self.on_event(client, &event),
            Ok(ServerFrame::Welcome(welcome)) => self.on_welcome(client, &welcome),
            Ok(ServerFrame::Subscribed(subscribed)) => self.on_subscribed(client, &subscribed),
            Ok(ServerFrame::Position(position)) => {
                self.findings.announced += 1;
                let user = &mut self.users[client as usize];
                if let Some(entry) = user.subscription(position.channel()) {
                    entry.announce(position.position().into());
                }
            }
            Ok(_) => {}
            Err(_) => self.findings.wrong += 1,
        }
    }

    fn on_end(&mut self, link: &mut Link, client: u32, cause: EndCause) {
        self.ends.note(cause);
        self.users[client as usize].is_resumed = false;
        if self.reconnects {
            link.connect(client);
        }
        link.now_ns = sys::monotonic_ns();
    }
}

impl Counted for CrashLoad {
    fn ends(&self) -> &Ends {
        &self.ends
    }
}
