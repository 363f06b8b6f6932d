//! The session against the reference server, with losses at any point.
//!
//! Each case is a list of steps: the application publishes, others publish, frames move in
//! either direction, time passes, the connection is cut, the server restarts, another node
//! takes over and has lost what was not settled. At the end everything heals, and then:
//! every publish was reported once and stands in its channel once, in the order of its ids;
//! every event was delivered once and in order, or its absence was reported. The server permits
//! publishes to one of the channels only while the session is subscribed to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use interlink_protocol::frame::{decode_client, ClientFrame, FrameLimits};
use interlink_protocol::ids::{InstanceId, Position, RecordId};
use interlink_protocol::priority::Priority;
use proptest::prelude::*;

use super::reference::{class_of, Server, CHANNELS, GRANTED};
use crate::error::Loss;
use crate::event::{Delivery, State};
use crate::session::publish::{Draft, PublishOutcome};
use crate::session::{Session, SessionConfig, SessionEvent, SubscribeOptions};

const INSTANCE: InstanceId = InstanceId(42);

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    Publish(usize),
    PublishForeign(usize),
    SkipForeign(usize),
    ClientSends(usize),
    ServerTakes(usize),
    ClientTakes(usize),
    Answer(usize),
    Settle(usize),
    RefuseNext(usize),
    RefuseGrant,
    Heartbeat,
    Pass(u64),
    Acknowledge(usize),
    Pause(usize),
    Proceed(usize),
    DialsFail(u32),
    Cut,
    Restart,
    FailOver,
}

fn step() -> impl Strategy<Value = Step> {
    let channel = 0..CHANNELS.len();
    let class = 0..Priority::COUNT;
    prop_oneof![
        6 => channel.clone().prop_map(Step::Publish),
        3 => channel.clone().prop_map(Step::PublishForeign),
        1 => channel.clone().prop_map(Step::SkipForeign),
        6 => (1..6usize).prop_map(Step::ClientSends),
        6 => (1..6usize).prop_map(Step::ServerTakes),
        6 => (1..8usize).prop_map(Step::ClientTakes),
        4 => (1..4usize).prop_map(Step::Answer),
        2 => class.clone().prop_map(Step::Settle),
        1 => class.prop_map(Step::RefuseNext),
        1 => Just(Step::RefuseGrant),
        1 => Just(Step::Heartbeat),
        4 => (1..3_000u64).prop_map(Step::Pass),
        1 => channel.clone().prop_map(Step::Acknowledge),
        1 => channel.clone().prop_map(Step::Pause),
        1 => channel.prop_map(Step::Proceed),
        1 => (1..8u32).prop_map(Step::DialsFail),
        2 => Just(Step::Cut),
        1 => Just(Step::Restart),
        1 => Just(Step::FailOver),
    ]
}

/// What the application saw of one channel.
#[derive(Default)]
struct Seen {
    records: BTreeSet<RecordId>,
    last: Option<Position>,
    /// Events that were reported as missing.
    reported: u64,
    paused: bool,
}

struct World {
    session: Session,
    server: Server,
    now_ms: u64,
    connected: bool,
    failing_dials: u32,
    to_server: VecDeque<Vec<u8>>,
    published: BTreeMap<u64, &'static str>,
    reports: BTreeMap<u64, u32>,
    seen: BTreeMap<&'static str, Seen>,
    /// Ids that ever left the client.
    sent_ever: BTreeSet<u64>,
    /// What has to leave on this connection before anything new.
    owed: BTreeSet<u64>,
    /// Ids whose answer reached the client on the session that goes on.
    answered_in_session: BTreeSet<u64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            session: Session::new(SessionConfig::default(), INSTANCE, seed),
            server: Server::new(INSTANCE),
            now_ms: 0,
            connected: false,
            failing_dials: 0,
            to_server: VecDeque::new(),
            published: BTreeMap::new(),
            reports: BTreeMap::new(),
            seen: BTreeMap::new(),
            sent_ever: BTreeSet::new(),
            owed: BTreeSet::new(),
            answered_in_session: BTreeSet::new(),
        };
        for (channel, _) in CHANNELS {
            // From the very first event, so that nothing may be missing.
            let recover = Some(Position::ZERO);
            let options = SubscribeOptions {
                recover,
                token: (channel == GRANTED).then(|| "token".into()),
                ..SubscribeOptions::default()
            };
            world
                .session
                .subscribe(&Arc::from(channel), options)
                .unwrap();
            world.seen.insert(channel, Seen::default());
        }
        world.pass(0);
        world
    }

    fn take_step(&mut self, step: Step) {
        match step {
            Step::Publish(channel) => self.publish(CHANNELS[channel].0),
            Step::PublishForeign(channel) => self.server.publish_foreign(CHANNELS[channel].0),
            Step::SkipForeign(channel) => self.server.skip_foreign(CHANNELS[channel].0),
            Step::ClientSends(frames) => self.client_sends(frames),
            Step::ServerTakes(frames) => self.server_takes(frames),
            Step::ClientTakes(frames) => self.client_takes(frames),
            Step::Answer(most) => self.server.answer(most),
            Step::Settle(class) => self.server.settle(Priority::ALL[class]),
            Step::RefuseNext(class) => self.server.refuse_next(Priority::ALL[class]),
            Step::RefuseGrant => self.server.refuse_grant(),
            Step::Heartbeat => self.server.heartbeat(),
            Step::Pass(milliseconds) => self.pass(milliseconds),
            Step::Acknowledge(channel) => {
                let channel = CHANNELS[channel].0;
                if let Some(position) = self.seen[channel].last {
                    self.session
                        .acknowledge(&channel.into(), position, self.now_ms);
                }
            }
            Step::Pause(channel) => self.set_paused(CHANNELS[channel].0, true),
            Step::Proceed(channel) => self.set_paused(CHANNELS[channel].0, false),
            Step::DialsFail(count) => self.failing_dials = count,
            Step::Cut => self.cut(Server::cut),
            Step::Restart => self.cut(Server::restart),
            Step::FailOver => self.cut(Server::fail_over),
        }
        self.observe();
    }

    fn publish(&mut self, channel: &'static str) {
        let draft = Draft {
            channel: channel.into(),
            event_type: 0,
            schema_version: 1,
            payload: self.published.len().to_be_bytes().to_vec(),
            time_to_live_ms: 0,
            conflation_key: None,
            ack_level: None,
            traceparent: None,
        };
        let id = self
            .session
            .publish(draft, self.now_ms)
            .expect("the class has room");
        assert_eq!(
            self.published.insert(id, channel),
            None,
            "id {id} is given twice"
        );
    }

    fn set_paused(&mut self, channel: &'static str, paused: bool) {
        self.seen.get_mut(channel).unwrap().paused = paused;
        match paused {
            true => self.session.pause(channel),
            false => self.session.proceed(channel),
        }
    }

    fn client_sends(&mut self, frames: usize) {
        for _ in 0..frames {
            if !self.connected {
                return;
            }
            let expected = self.session.has_frame(self.now_ms);
            let Some(frame) = self.session.next_frame(self.now_ms) else {
                assert!(!expected, "a frame was promised");
                return;
            };
            assert!(expected, "a frame was not promised");
            let frame = frame.to_vec();
            self.check_publish(&frame);
            self.to_server.push_back(frame);
        }
    }

    /// What was sent before and is not settled leaves before anything new, and nothing that
    /// the session acknowledged leaves again.
    fn check_publish(&mut self, frame: &[u8]) {
        let frame = decode_client(frame, &FrameLimits::CLIENT).unwrap();
        let ClientFrame::Publish(publish) = frame else {
            return;
        };
        let id = publish.client_message_id();
        let class = class_of(self.published[&id]);
        assert!(
            !self.answered_in_session.contains(&id),
            "{id} was acknowledged in this session"
        );
        self.owed.remove(&id);
        if self.sent_ever.insert(id) {
            let published = &self.published;
            let owed = self
                .owed
                .iter()
                .find(|owed| class_of(published[owed]) == class);
            assert_eq!(owed, None, "new id {id} left first");
        }
    }

    fn server_takes(&mut self, frames: usize) {
        for _ in 0..frames {
            let Some(frame) = self.to_server.pop_front() else {
                return;
            };
            let is_hello = matches!(
                decode_client(&frame, &FrameLimits::CLIENT).unwrap(),
                ClientFrame::Hello(_)
            );
            self.server.take(&frame);
            if is_hello && !self.server.resumed {
                self.answered_in_session.clear();
                let settled = self.server.settled;
                let published = &self.published;
                let unsettled = |id: &&u64| **id > settled[class_of(published[*id]).index()];
                self.owed = self.sent_ever.iter().filter(unsettled).copied().collect();
            }
        }
    }

    fn client_takes(&mut self, frames: usize) {
        for _ in 0..frames {
            let Some(frame) = self.server.outbox.pop_front() else {
                return;
            };
            self.session.on_heard(self.now_ms);
            self.session
                .on_message(&frame, self.now_ms)
                .expect("the server is right");
            self.observe();
        }
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now_ms += milliseconds;
        self.session.on_timer(self.now_ms);
        self.drop_given_up();
        if self.session.start_dial(self.now_ms) {
            if self.failing_dials > 0 {
                self.failing_dials -= 1;
                self.session.on_lost(Loss::Timeout, self.now_ms);
                return;
            }
            self.connected = true;
            self.owed.clear();
            self.session.on_open("token".into(), self.now_ms);
        }
    }

    fn cut(&mut self, fault: impl FnOnce(&mut Server)) {
        fault(&mut self.server);
        self.to_server.clear();
        if std::mem::take(&mut self.connected) {
            self.session.on_lost(Loss::Io("cut".into()), self.now_ms);
        }
    }

    /// A driver closes what the session gave up.
    fn drop_given_up(&mut self) {
        if self.connected && !self.session.holds_connection() {
            self.connected = false;
            self.server.cut();
            self.to_server.clear();
        }
    }

    /// Takes what the session reports.
    fn observe(&mut self) {
        while let Some(event) = self.session.next_event() {
            match event {
                SessionEvent::Published { id, outcome } => {
                    let receipt = matches!(outcome, PublishOutcome::Receipt(_));
                    assert!(receipt, "{id} ended with {outcome:?}");
                    *self.reports.entry(id).or_default() += 1;
                    self.answered_in_session.insert(id);
                }
                SessionEvent::Delivery { channel, delivery } => {
                    self.on_delivery(&channel, delivery)
                }
                SessionEvent::Closed(by) => panic!("the session closed: {by}"),
                SessionEvent::SubscribeRefused { error, .. } => panic!("refused: {error}"),
                _ => {}
            }
        }
        self.session.check_invariants();
        self.drop_given_up();
    }

    fn on_delivery(&mut self, channel: &str, delivery: Delivery) {
        let seen = self.seen.get_mut(channel).unwrap();
        match delivery {
            Delivery::Event(event) => {
                assert!(!seen.paused, "{channel} is paused");
                assert!(
                    seen.records.insert(event.record),
                    "{:?} came twice",
                    event.record
                );
                if let Some(last) = seen.last.filter(|last| last.epoch == event.position.epoch) {
                    assert!(
                        event.position.offset > last.offset,
                        "{channel} runs backwards"
                    );
                }
                seen.last = Some(event.position);
            }
            Delivery::Gap(gap) => seen.reported += gap.skipped,
            Delivery::Recovered(_) => {}
            other => panic!("{channel}: {other:?}"),
        }
    }

    /// Lets everything come to rest.
    fn heal(&mut self) {
        self.failing_dials = 0;
        for (channel, _) in CHANNELS {
            self.set_paused(channel, false);
        }
        for _ in 0..2_000 {
            if self.session.state() == State::Suspended {
                self.session.connect(self.now_ms);
            }
            self.pass(100);
            self.client_sends(100);
            self.server_takes(100);
            self.server.answer(100);
            for class in Priority::ALL {
                self.server.settle(class);
            }
            self.server.heartbeat();
            self.client_takes(usize::MAX);
            let rest = self.session.unsettled_publishes() == 0 && self.to_server.is_empty();
            if rest && self.session.state() == State::Connected && self.is_caught_up() {
                return;
            }
        }
        panic!("the session did not come to rest");
    }

    /// The chain tells places apart; the epoch of a place that both lineages share may differ.
    fn is_caught_up(&self) -> bool {
        CHANNELS.iter().all(|(channel, _)| {
            let last = self.server.logs[channel].entries.last();
            let top = last.map(|entry| entry.position).unwrap_or_default();
            let here = self.session.position(channel);
            here.is_some_and(|here| (here.offset, here.chain) == (top.offset, top.chain))
        })
    }

    fn check_end(&self) {
        for id in self.published.keys() {
            assert_eq!(self.reports.get(id), Some(&1), "id {id} is reported once");
        }
        for (channel, _) in CHANNELS {
            let log = &self.server.logs[channel];
            let ids: Vec<u64> = log.entries.iter().filter_map(|entry| entry.id).collect();
            let published = self.published.iter().filter(|(_, to)| **to == channel);
            let expected: Vec<u64> = published.map(|(id, _)| *id).collect();
            assert_eq!(
                ids, expected,
                "{channel} has every publish once and in order"
            );
            let seen = &self.seen[channel];
            let missing: Vec<RecordId> = log
                .entries
                .iter()
                .map(|entry| entry.record)
                .filter(|record| !seen.records.contains(record))
                .collect();
            let announced = missing
                .iter()
                .all(|record| self.server.skipped.contains(record));
            assert!(announced, "{channel} lost events silently");
            assert!(
                missing.len() as u64 <= seen.reported,
                "{channel} lost more than it reported"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_repeated_or_reordered(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..250),
    ) {
        let mut world = World::new(seed);
        for step in steps {
            world.take_step(step);
        }
        world.heal();
        world.check_end();
    }
}
