//! A small server that keeps the protocol's promises, as the oracle of the simulation.
//!
//! It accepts, numbers, deduplicates, acknowledges, settles, recovers and loses what was not
//! settled, without any regard for speed. Frames come and go as bytes of the protocol crate.

mod frames;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use interlink_protocol::frame::{
    decode_client, ClientFrame, EventFields, FrameEncoder, FrameLimits, PublishAckFields,
};
use interlink_protocol::ids::{record_id, InstanceId, Position, RecordId, SessionKey};
use interlink_protocol::priority::Priority;
use interlink_wire as wire;

pub(super) const USER: &str = "ada";

/// Channels of the simulation with their classes.
pub(super) const CHANNELS: [(&str, Priority); 4] = [
    ("alert.ada", Priority::P0),
    ("chat.ada~bob", Priority::P1),
    ("chat.group-1", Priority::P1),
    ("report.daily", Priority::P3),
];

/// The channel where only a subscription by token permits publishing.
pub(super) const GRANTED: &str = "chat.group-1";

/// One event of a channel's log.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) position: Position,
    pub(super) previous_chain: u64,
    pub(super) record: RecordId,
    /// Client message id, when the client under test published it.
    pub(super) id: Option<u64>,
    /// Announce instead of sending it.
    skipped: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    pub(super) entries: Vec<Entry>,
    settled: usize,
}

impl Log {
    fn top(&self) -> Position {
        self.entries
            .last()
            .map(|entry| entry.position)
            .unwrap_or_default()
    }
}

#[derive(Debug)]
struct Connection {
    session: SessionKey,
    live: BTreeSet<&'static str>,
    /// Accepted ids without an answer.
    unanswered: VecDeque<(u64, bool)>,
    refused: BTreeSet<u64>,
    last_id: [u64; 4],
}

/// The server.
pub(super) struct Server {
    epoch: u64,
    instance: InstanceId,
    pub(super) logs: BTreeMap<&'static str, Log>,
    /// Accepted ids of the client under test, with channel and payload.
    pub(super) accepted: BTreeMap<u64, (&'static str, Vec<u8>)>,
    pub(super) settled: [u64; 4],
    /// Of each class the id that was refused first: later ones wait for it.
    held: [Option<u64>; 4],
    refuse_next: [bool; 4],
    refuse_grant: bool,
    sessions: BTreeMap<SessionKey, BTreeSet<&'static str>>,
    next_session: u128,
    next_foreign: u64,
    connection: Option<Connection>,
    encoder: FrameEncoder,
    /// Frames for the client.
    pub(super) outbox: VecDeque<Vec<u8>>,
    /// True when the last `Welcome` continued a session.
    pub(super) resumed: bool,
    /// Records that were announced instead of sent.
    pub(super) skipped: BTreeSet<RecordId>,
}

impl Server {
    pub(super) fn new(instance: InstanceId) -> Self {
        Self {
            epoch: 1,
            instance,
            logs: CHANNELS
                .iter()
                .map(|(name, _)| (*name, Log::default()))
                .collect(),
            accepted: BTreeMap::new(),
            settled: [0; 4],
            held: [None; 4],
            refuse_next: [false; 4],
            refuse_grant: false,
            sessions: BTreeMap::new(),
            next_session: 1,
            next_foreign: 1,
            connection: None,
            encoder: FrameEncoder::new(),
            outbox: VecDeque::new(),
            resumed: false,
            skipped: BTreeSet::new(),
        }
    }

    /// The connection is lost with everything that was on its way.
    pub(super) fn cut(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.sessions.insert(connection.session, connection.live);
        }
        self.outbox.clear();
    }

    /// The process restarts: sessions are gone, what was accepted is not.
    pub(super) fn restart(&mut self) {
        self.cut();
        self.sessions.clear();
        self.held = [None; 4];
    }

    /// Another node takes over and knows only what was settled. Other publishers send their
    /// unsettled events to it again.
    pub(super) fn fail_over(&mut self) {
        self.restart();
        self.epoch += 1;
        let settled = self.settled;
        self.accepted
            .retain(|id, (channel, _)| *id <= settled[class_of(channel).index()]);
        for (channel, _) in CHANNELS {
            let log = self.logs.get_mut(channel).unwrap();
            let lost = log.entries.split_off(log.settled);
            let foreign = lost.into_iter().filter(|entry| entry.id.is_none());
            for entry in foreign.collect::<Vec<_>>() {
                self.append(channel, entry.record, None);
            }
        }
    }

    /// Another user publishes.
    pub(super) fn publish_foreign(&mut self, channel: &'static str) {
        let record = record_id("north", "bob", InstanceId(77), self.next_foreign);
        self.next_foreign += 1;
        self.append(channel, record, None);
        self.push_last(channel);
    }

    /// As `publish_foreign`, but the event is only announced as skipped.
    pub(super) fn skip_foreign(&mut self, channel: &'static str) {
        let record = record_id("north", "bob", InstanceId(77), self.next_foreign);
        self.next_foreign += 1;
        self.append(channel, record, None);
        self.logs
            .get_mut(channel)
            .unwrap()
            .entries
            .last_mut()
            .unwrap()
            .skipped = true;
        self.skipped.insert(record);
        self.push_last(channel);
    }

    /// The next new publish of a class is refused for now.
    pub(super) fn refuse_next(&mut self, class: Priority) {
        self.refuse_next[class.index()] = true;
    }

    /// The next subscription by token is refused for now.
    pub(super) fn refuse_grant(&mut self) {
        self.refuse_grant = true;
    }

    /// Everything accepted of a class is settled.
    pub(super) fn settle(&mut self, class: Priority) {
        let of_class = self
            .accepted
            .iter()
            .filter(|(_, (name, _))| class_of(name) == class);
        let highest = of_class.map(|(id, _)| *id).max().unwrap_or(0);
        self.settled[class.index()] = self.settled[class.index()].max(highest);
        for (channel, _) in CHANNELS.iter().filter(|(_, of)| *of == class) {
            let log = self.logs.get_mut(channel).unwrap();
            log.settled = log.entries.len();
        }
    }

    /// Sends a heartbeat with the settled marks.
    pub(super) fn heartbeat(&mut self) {
        if self.connection.is_some() {
            let frame = self.encoder.heartbeat(5, Some(self.settled)).to_vec();
            self.outbox.push_back(frame);
        }
    }

    /// Answers up to `most` publishes; consecutive ones share an answer.
    pub(super) fn answer(&mut self, most: usize) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        for _ in 0..most {
            let Some((first, repeat)) = connection.unanswered.pop_front() else {
                return;
            };
            let mut count = 1;
            while connection.unanswered.front() == Some(&(first + count, repeat)) {
                connection.unanswered.pop_front();
                count += 1;
            }
            let fields = PublishAckFields {
                client_message_id: first,
                count: count as u32,
                status: match repeat {
                    true => wire::PublishStatus::Duplicate,
                    false => wire::PublishStatus::Accepted,
                },
                level: wire::AckLevel::Local,
                degraded: false,
                position: None,
                settled_through: Some(self.settled),
                code: 0,
                retry_after_ms: 0,
            };
            self.outbox
                .push_back(self.encoder.publish_ack(&fields).to_vec());
        }
    }

    /// Takes one frame of the client.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let limits = FrameLimits::CLIENT;
        match decode_client(bytes, &limits).expect("the client sends valid frames") {
            ClientFrame::Hello(hello) => self.on_hello(&hello),
            ClientFrame::Publish(publish) => self.on_publish(&publish),
            ClientFrame::Subscribe(subscribe) => self.on_subscribe(&subscribe),
            ClientFrame::Unsubscribe(unsubscribe) => self.on_unsubscribe(&unsubscribe),
            ClientFrame::Ack(ack) => {
                let live = &self.connection.as_ref().unwrap().live;
                assert!(!ack.positions().is_empty());
                for entry in ack.positions() {
                    let channel = entry.channel();
                    assert!(
                        live.contains(channel),
                        "{channel} is acknowledged, not live"
                    );
                    let offset = entry.position().offset();
                    assert!(offset <= self.logs[channel].entries.len() as u64 || self.epoch > 1);
                }
            }
            ClientFrame::Pong(pong) => assert_eq!(pong.echo_us(), 5),
            other => panic!("the simulation sends no {}", other.kind()),
        }
    }

    fn append(&mut self, channel: &'static str, record: RecordId, id: Option<u64>) {
        let log = self.logs.get_mut(channel).unwrap();
        let top = log.top();
        let position = Position {
            epoch: self.epoch,
            ..top.after(record)
        };
        log.entries.push(Entry {
            position,
            previous_chain: top.chain,
            record,
            id,
            skipped: false,
        });
    }

    fn push_last(&mut self, channel: &'static str) {
        let last = self.logs[channel].entries.len() as u64 - 1;
        self.push_after(
            channel,
            Position {
                offset: last,
                ..Position::ZERO
            },
        );
    }

    /// Sends every event after a position, if the channel is live.
    fn push_after(&mut self, channel: &'static str, after: Position) {
        let live = self.connection.as_ref().map(|connection| &connection.live);
        if !live.is_some_and(|live| live.contains(channel)) {
            return;
        }
        for entry in &self.logs[channel].entries[after.offset as usize..] {
            let frame = match entry.skipped {
                true => {
                    let reason = wire::PositionReason::Conflated;
                    self.encoder.position(channel, entry.position, 1, reason)
                }
                false => self.encoder.event(&EventFields {
                    channel,
                    position: entry.position,
                    previous_chain: entry.previous_chain,
                    record: entry.record,
                    publisher: USER,
                    priority: class_of(channel),
                    event_type: 0,
                    schema_version: 1,
                    server_time_us: 1,
                    payload: b"x",
                    conflation_key: None,
                    trace: None,
                }),
            };
            self.outbox.push_back(frame.to_vec());
        }
    }
}

pub(super) fn class_of(channel: &str) -> Priority {
    let row = CHANNELS.iter().find(|(name, _)| *name == channel);
    row.expect("the simulation knows its channels").1
}

fn channel_of(channel: &str) -> &'static str {
    let row = CHANNELS.iter().find(|(name, _)| *name == channel);
    row.expect("the simulation knows its channels").0
}
