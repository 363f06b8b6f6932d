//! The workload: offers, publishes, answers, deliveries.
//!
//! Runs on: the generator's thread.

use super::counts::{ClassCounts, CLASSES};
use super::route::{Pace, Route, Source};
use crate::engine::peek::{self, Ack, Table};
use crate::engine::publisher::{Pending, Publisher};
use crate::engine::schedule::Schedule;
use crate::engine::stamp::Stamp;
use crate::engine::template::FrameWriter;
use crate::engine::tracker::{Totals, Tracker};
use crate::engine::{EndCause, Link, Workload};
use crate::limits::{BACKLOG_MAX, CRITICAL_WINDOW_MAX, WINDOW_MAX};
use crate::scenarios::settle::{Counted, Ends};
use crate::scenarios::users::Users;
use interlink_wire as wire;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, VecDeque};

/// Shortest rest after a refusal that names no time, in milliseconds.
const RETRY_LEAST_MS: u32 = 10;

/// Traffic of many users on many routes.
pub struct Traffic {
    users: Users,
    routes: Vec<Route>,
    /// By route: its source.
    source_of: Vec<u32>,
    sources: Vec<Source>,
    publishers: Vec<Publisher>,
    /// By client: publishes of P1 that are settled, as its last answers said.
    settled_p1: Vec<u64>,
    /// By client: the route on which a settled publish causes the next one.
    route_of: Vec<u32>,
    tracker: Tracker,
    streams: usize,
    choose: SmallRng,
    stamp_hint: usize,
    /// Clients whose refused publishes wait: until when.
    resting: VecDeque<(u64, u32)>,
    closed: Vec<Pending>,
    ends: Ends,
    /// Counts by class.
    pub classes: [ClassCounts; CLASSES],
    /// Refusals by error code.
    pub refusals: BTreeMap<u16, u64>,
    /// Events at clients that are no receivers of their route.
    pub wrong: u64,
    /// `Position` frames that announced skipped events, and how many.
    pub skipped: u64,
}

impl Traffic {
    /// Traffic of these users.
    pub fn new(users: Users, seed: u64) -> Self {
        let publishers = vec![Publisher::default(); users.count() as usize];
        let settled_p1 = vec![0; users.count() as usize];
        let route_of = vec![0; users.count() as usize];
        Self {
            users,
            routes: Vec::new(),
            source_of: Vec::new(),
            sources: Vec::new(),
            publishers,
            settled_p1,
            route_of,
            tracker: Tracker::new(0),
            streams: 0,
            choose: SmallRng::seed_from_u64(seed),
            stamp_hint: 0,
            resting: VecDeque::new(),
            closed: Vec::new(),
            ends: Ends::default(),
            classes: std::array::from_fn(|_| ClassCounts::default()),
            refusals: BTreeMap::new(),
            wrong: 0,
            skipped: 0,
        }
    }

    /// Adds a source with its routes; its number.
    pub fn add_source(&mut self, routes: impl IntoIterator<Item = Route>) -> usize {
        let from = self.routes.len() as u32;
        let source = self.sources.len();
        for mut route in routes {
            route.streams_from = self.streams;
            self.streams += route.receivers.len();
            self.routes.push(route);
            self.source_of.push(source as u32);
        }
        self.tracker = Tracker::new(self.streams);
        self.sources
            .push(Source::new(from..self.routes.len() as u32));
        source
    }

    /// Offers events of a source on a schedule of so many a second.
    pub fn open(&mut self, source: usize, rate: f64, now_ns: u64) {
        self.sources[source].pace = Pace::Open(Schedule::new(now_ns, rate));
    }

    /// Keeps a window of unanswered publishes on each route of a source.
    pub fn keep_window(&mut self, source: usize, window: u32, link: &mut Link) {
        self.sources[source].pace = Pace::Window;
        for route in self.sources[source].routes.clone() {
            (0..window).for_each(|_| self.offer(link, route, link.now_ns));
        }
    }

    /// Keeps a window of publishes that are not settled on each route of a source. Only for
    /// clients that publish P1 on one route and nothing else. A node tells settled ids unasked
    /// only by the 64: a smaller window would wait for the heartbeat.
    pub fn keep_unsettled(&mut self, source: usize, window: u32, link: &mut Link) {
        self.sources[source].pace = Pace::Settled;
        for route in self.sources[source].routes.clone() {
            let publisher = self.routes[route as usize].publisher as usize;
            self.route_of[publisher] = route;
            (0..window).for_each(|_| self.offer(link, route, link.now_ns));
        }
    }

    /// Offers one event of a source now, on its first route.
    pub fn offer_one(&mut self, link: &mut Link, source: usize) {
        let route = self.sources[source].routes.start;
        self.offer(link, route, link.now_ns);
    }

    /// Ends all offers. What waits for credit is given up.
    pub fn pause(&mut self) {
        self.sources
            .iter_mut()
            .for_each(|source| source.pace = Pace::Paused);
        self.publishers
            .iter_mut()
            .for_each(|publisher| publisher.backlog.clear());
    }

    /// Starts a window of counting.
    pub fn reset(&mut self) {
        self.classes.iter_mut().for_each(ClassCounts::reset);
    }

    /// True when every publish is answered and every accepted one has arrived.
    pub fn is_settled(&self) -> bool {
        self.publishers
            .iter()
            .all(|publisher| publisher.open() == 0)
            && self.classes.iter().all(|class| class.missing() == 0)
    }

    /// Publishes of P1 that are settled, as far as answers have said so. Only for clients that
    /// publish nothing else: ids count all classes.
    pub fn settled_p1(&self) -> u64 {
        self.settled_p1.iter().sum()
    }

    /// Refusals by error code, as words.
    pub fn refusal_words(&self) -> String {
        let words: Vec<String> = self
            .refusals
            .iter()
            .map(|(code, count)| format!("{code}:{count}"))
            .collect();
        words.join(" ")
    }

    /// Deliveries, duplicates and reorderings since the start.
    pub fn totals(&self) -> Totals {
        self.tracker.totals()
    }

    /// Mean number of receivers of a source's routes.
    pub fn fan(&self, source: usize) -> f64 {
        let routes = &self.sources[source].routes;
        let receivers: usize = routes
            .clone()
            .map(|route| self.routes[route as usize].receivers.len())
            .sum();
        receivers as f64 / routes.len().max(1) as f64
    }

    /// Bytes on the wire of one publish of a source.
    pub fn publish_bytes(&self, source: usize) -> usize {
        let first = self.sources[source].routes.start as usize;
        self.routes
            .get(first)
            .map_or(0, |route| route.template.wire_bytes())
    }

    /// True when a publish on the route may leave now.
    fn may_publish(&self, route: &Route) -> bool {
        let is_critical = route.class == 0;
        let limit = if is_critical {
            CRITICAL_WINDOW_MAX
        } else {
            WINDOW_MAX
        };
        let publisher = &self.publishers[route.publisher as usize];
        !publisher.is_deferred() && publisher.unanswered(is_critical) < limit
    }

    fn offer(&mut self, link: &mut Link, route: u32, due_ns: u64) {
        let state = &self.routes[route as usize];
        let class = state.class;
        self.classes[class].offered += 1;
        let publisher = state.publisher as usize;
        if self.publishers[publisher].backlog.is_empty() && self.may_publish(state) {
            self.publish(link, route, due_ns);
            link.note_due(publisher as u32, due_ns);
        } else if self.publishers[publisher].backlog.len() < BACKLOG_MAX {
            self.publishers[publisher]
                .backlog
                .push_back((due_ns, route));
        } else {
            self.classes[class].given_up += 1;
        }
    }

    fn publish(&mut self, link: &mut Link, route: u32, due_ns: u64) {
        let state = &mut self.routes[route as usize];
        state.sequence += 1;
        let stamp = Stamp {
            sender: route,
            sequence: state.sequence,
            scheduled_ns: due_ns,
        };
        let publisher = &mut self.publishers[state.publisher as usize];
        let id = publisher.begin(due_ns, route, state.sequence, state.class == 0);
        link.write(state.publisher, |writer, out| {
            writer.append_publish(out, &state.template, id, stamp);
        });
    }

    fn send(&self, link: &mut Link, publish: &Pending) {
        let route = &self.routes[publish.tag as usize];
        let stamp = Stamp {
            sender: publish.tag,
            sequence: publish.sequence,
            scheduled_ns: publish.scheduled_ns,
        };
        link.write(route.publisher, |writer, out| {
            writer.append_publish(out, &route.template, publish.id, stamp);
        });
    }

    pub(super) fn on_ack(&mut self, link: &mut Link, client: u32, ack: Ack) {
        if let Some(settled) = ack.settled_p1 {
            self.on_settled(link, client, settled);
        }
        if ack.is_temporary_refusal() {
            self.on_refused_for_now(link, client, ack);
            return;
        }
        let mut closed = std::mem::take(&mut self.closed);
        let publisher = &mut self.publishers[client as usize];
        publisher.answer(ack.first, ack.count, |pending| closed.push(pending));
        for pending in closed.drain(..) {
            self.on_answered(link, pending, &ack);
        }
        self.closed = closed;
        self.publish_waiting(link, client);
    }

    fn on_settled(&mut self, link: &mut Link, client: u32, settled: u64) {
        let before = &mut self.settled_p1[client as usize];
        let more = settled.saturating_sub(*before);
        *before += more;
        let route = self.route_of[client as usize];
        let source = self.source_of.get(route as usize);
        if source.is_some_and(|&it| matches!(self.sources[it as usize].pace, Pace::Settled)) {
            (0..more).for_each(|_| self.offer(link, route, link.now_ns));
        }
    }

    /// Publishes what waits for credit, as far as there is some.
    fn publish_waiting(&mut self, link: &mut Link, client: u32) {
        while let Some(&(due_ns, route)) = self.publishers[client as usize].backlog.front() {
            if !self.may_publish(&self.routes[route as usize]) {
                break;
            }
            self.publishers[client as usize].backlog.pop_front();
            self.publish(link, route, due_ns);
        }
    }

    /// As an SDK does: the same ids again after the time that the server names.
    fn on_refused_for_now(&mut self, link: &Link, client: u32, ack: Ack) {
        let publisher = &mut self.publishers[client as usize];
        let was_deferred = publisher.is_deferred();
        let from = publisher
            .unanswered_publishes()
            .find(|pending| pending.id >= ack.first);
        let class = from.map_or(0, |pending| self.routes[pending.tag as usize].class);
        let count = u64::from(publisher.defer(ack.first, ack.count));
        self.classes[class].refused += count;
        self.classes[class].refused_in_all += count;
        *self.refusals.entry(ack.code).or_default() += count;
        if !was_deferred && count > 0 {
            let rest_ns = u64::from(ack.retry_after_ms.max(RETRY_LEAST_MS)) * 1_000_000;
            self.resting.push_back((link.now_ns + rest_ns, client));
        }
    }

    fn on_answered(&mut self, link: &mut Link, pending: Pending, ack: &Ack) {
        let route = pending.tag;
        let state = &mut self.routes[route as usize];
        let class = &mut self.classes[state.class];
        if ack.is_accepted() {
            state.accepted += 1;
            class.accepted += 1;
            class.expected_in_all += state.receivers.len() as u64;
            class.ack.record_from(pending.scheduled_ns, link.now_ns);
        } else {
            class.refused += 1;
            class.refused_in_all += 1;
            *self.refusals.entry(ack.code).or_default() += 1;
        }
        let source = self.source_of[route as usize] as usize;
        let goes_on = match self.sources[source].pace {
            Pace::Window => true,
            // What was refused is never settled.
            Pace::Settled => !ack.is_accepted(),
            Pace::Open(_) | Pace::Paused => false,
        };
        if goes_on {
            self.offer(link, route, link.now_ns);
        }
    }

    fn on_event(&mut self, link: &Link, client: u32, body: &Table<'_>) {
        let payload = body.bytes(wire::Event::VT_PAYLOAD).unwrap_or(&[]);
        let stamp = Stamp::find(payload, &mut self.stamp_hint);
        let route = stamp.and_then(|stamp| self.routes.get(stamp.sender as usize));
        let (Some(stamp), Some(route)) = (stamp, route) else {
            self.wrong += 1;
            return;
        };
        let Some(stream) = route.stream(client) else {
            self.wrong += 1;
            return;
        };
        if self.tracker.note(stream, stamp.sequence) {
            let class = &mut self.classes[route.class];
            class.delivered += 1;
            class.delivered_in_all += 1;
            class.delivery.record_from(stamp.scheduled_ns, link.now_ns);
        }
    }

    /// Serves one source; when it is due again.
    fn serve(&mut self, link: &mut Link, source: usize) -> u64 {
        let routes = self.sources[source].routes.clone();
        loop {
            let Pace::Open(schedule) = &mut self.sources[source].pace else {
                return u64::MAX;
            };
            let Some(due_ns) = schedule.take(link.now_ns) else {
                return schedule.next_ns();
            };
            let route = self.choose.random_range(routes.clone());
            self.offer(link, route, due_ns);
        }
    }

    /// Sends refused publishes again whose time has come; when the next ones are due.
    fn wake_resting(&mut self, link: &mut Link) -> u64 {
        while let Some(&(until_ns, client)) = self.resting.front() {
            if until_ns > link.now_ns {
                return until_ns;
            }
            self.resting.pop_front();
            let mut again = std::mem::take(&mut self.closed);
            self.publishers[client as usize].take_deferred(|pending| again.push(pending));
            for pending in again.drain(..) {
                self.send(link, &pending);
            }
            self.closed = again;
            self.publish_waiting(link, client);
        }
        u64::MAX
    }
}

impl Workload for Traffic {
    fn on_turn(&mut self, link: &mut Link) -> u64 {
        let mut wake_ns = self.wake_resting(link);
        for source in 0..self.sources.len() {
            wake_ns = wake_ns.min(self.serve(link, source));
        }
        wake_ns
    }

    fn hello(&mut self, client: u32, writer: &mut FrameWriter, out: &mut Vec<u8>) {
        self.users.get(client).hello(writer, out);
    }

    fn subscribe(&mut self, client: u32, writer: &mut FrameWriter, out: &mut Vec<u8>) {
        self.users.get(client).subscribe_frames(writer, out);
    }

    fn on_frame(&mut self, link: &mut Link, client: u32, kind: wire::Body, frame: &[u8]) {
        let Some((_, body)) = peek::body(frame) else {
            return;
        };
        match kind {
            wire::Body::Event => self.on_event(link, client, &body),
            wire::Body::PublishAck => self.on_ack(link, client, Ack::read(&body)),
            wire::Body::Position => self.skipped += body.u64(wire::Position::VT_SKIPPED),
            _ => {}
        }
    }

    fn on_end(&mut self, _: &mut Link, _: u32, cause: EndCause) {
        self.ends.note(cause);
    }
}

impl Counted for Traffic {
    fn ends(&self) -> &Ends {
        &self.ends
    }
}
