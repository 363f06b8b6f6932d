//! Messages between shards, and channels that another shard owns.
//!
//! Purpose: the node is one system although its shards share nothing. A publish on
//! a foreign channel is journaled at home, then numbered by the owner, which notes
//! the position in its own journal; events reach every shard that has shown
//! interest in the channel, in the owner's order.
//!
//! Order of what makes a publish safe: the record is written at home before the
//! owner learns of it; the owner's mark is written before the event is sent, and
//! synced before home is told; home acknowledges when its own record is synced too.
//!
//! Full lanes: nothing waits. What may not be lost is kept in `overflow` here and
//! sent before anything later to the same shard; it is bounded by the publishes in
//! flight, since each of them leaves at most one message of each kind. Records for the
//! relay thread of a cluster have a queue and a bound of their own (`leaving`), and so has
//! interest in channels (`wishes`).
//!
//! Thread: the shard.

use std::sync::Arc;

use interlink_protocol::channel::ChannelName;
use interlink_protocol::frame::event::{patch_position, read_position};
use interlink_protocol::ids::{placement_hash, Position, RecordId};
use interlink_protocol::priority::Priority;
use interlink_protocol::ErrorCode;
use interlink_relay::backplane::Sequencer;
use interlink_relay::event_log::LogRecord;
use interlink_relay::record::{Kind, Mark, Placement, Sequence};

use super::arrival::Arrival;
use super::backbone::Progress;
use super::files::{event_of, HistoryAnswer};
use super::journal::PendingMark;
use super::kept::KeptWish;
use super::presence::messages::PresenceMessage;
use super::publish::Checked;
use super::service::questions::{Question, Reply};
use super::service::{Outcomes, Submission};
use super::skips::Skip;
use super::values::ToldValues;
use super::wishes::Wishes;
use super::Shard;
use crate::lanes::{Overflow, Port, SenderCounters, Taken};

/// Entries that one turn takes from the lanes.
const TAKE: usize = 64;

/// A record on its way to the owner of its channel.
#[derive(Debug)]
pub struct Foreign {
    /// Home shard of the publisher; the relay thread for an event of another node.
    pub home: u16,
    /// Log of the record there.
    pub kind: Kind,
    /// Sequence of the record there; none for an event that is not stored.
    pub sequence: Sequence,
    /// Identity of the record.
    pub record: RecordId,
    /// Whether the channel is durable.
    pub durable: bool,
    /// When the publish came, in `Clock::now_us` of its shard, which all shards share.
    pub since_us: u32,
    /// The encoded event, without a position.
    pub frame: Vec<u8>,
}

/// What one thread tells another; at most 32 bytes.
#[derive(Debug)]
pub enum Message {
    /// A verified connection for its home shard.
    Arrive(Box<Arrival>),
    /// A record for the owner of its channel.
    Place(Box<Foreign>),
    /// A durable record for the relay thread of a cluster.
    Record(Box<LogRecord>),
    /// An event that nobody stores, for other nodes.
    Tell(Box<[u8]>),
    /// How far the relay thread is with the records of a shard.
    Progress(Progress),
    /// Kafka has gone away, or come back.
    LogAway(bool),
    /// Which classes Kafka keeps on two brokers.
    Replicated([bool; Priority::COUNT]),
    /// A channel of the cluster goes on elsewhere.
    Skip(Box<Skip>),
    /// The owner has numbered a record and its mark is on the disk.
    Placed(Kind, Sequence),
    /// A shard has its first member of a channel.
    Interest(u16, Box<str>),
    /// The owner's answer: the position after which events follow.
    Granted(Box<(Box<str>, Position)>),
    /// A shard has no member of a channel any more.
    NoInterest(u16, Box<str>),
    /// A numbered event for the members of a shard.
    Event(Arc<[u8]>),
    /// The last values of a conflated channel, before it is granted.
    Values(Box<ToldValues>),
    /// Publishes that come from no session, for the home shard of their key.
    Submit(Box<Submission>),
    /// What became of them, for the thread that asked.
    Outcomes(Box<Outcomes>),
    /// Who is present where.
    Presence(Box<PresenceMessage>),
    /// What a service asks beside publishing.
    Ask(Box<Question>),
    /// The reply, for the thread that asked.
    Reply(Box<Reply>),
    /// Past events that only the shards of this node can be asked for now.
    ReadLog(Box<KeptWish>),
    /// Those events, for the shard that asked.
    Page(Box<HistoryAnswer>),
}

const _: () = assert!(std::mem::size_of::<Message>() <= 32);

/// What a shard has sent to others so far.
#[derive(Debug, Clone, Copy)]
pub struct LaneStanding {
    /// Pushes and doorbells.
    pub counters: SenderCounters,
    /// Messages that wait here until a lane has room.
    pub kept: usize,
}

/// The shard's end of the lanes.
pub struct Mesh {
    port: Port<Message>,
    taken: Vec<Taken<Message>>,
    overflow: Overflow<Message>,
    wishes: Wishes,
}

impl Mesh {
    /// The mesh of one shard.
    pub fn new(port: Port<Message>) -> Self {
        let threads = port.sender.threads();
        Self {
            port,
            taken: Vec::with_capacity(TAKE),
            overflow: Overflow::new(threads),
            wishes: Wishes::default(),
        }
    }

    /// Before a sleep: whether nothing waits, so that the doorbell will wake the shard.
    pub fn park(&self) -> bool {
        self.port.receiver.park()
    }

    /// After a sleep.
    pub fn unpark(&self) {
        self.port.receiver.unpark();
    }

    /// Lets other threads wake this one through the descriptor.
    ///
    /// # Errors
    /// When the descriptor cannot be duplicated.
    pub fn attach(&self, wake: std::os::fd::RawFd) -> std::io::Result<()> {
        self.port.receiver.attach(wake)
    }

    /// Whether messages wait, in either direction.
    pub fn has_work(&self) -> bool {
        !self.port.receiver.is_empty() || self.is_congested()
    }

    /// Whether messages wait for room: what may gather elsewhere should.
    pub fn is_congested(&self) -> bool {
        !self.overflow.is_empty() || !self.wishes.is_empty()
    }

    /// What was sent, and what waits for room.
    pub fn standing(&self) -> LaneStanding {
        LaneStanding {
            counters: *self.port.sender.counters(),
            kept: self.overflow.len() + self.wishes.len(),
        }
    }

    /// Entries that wait for this shard, by priority.
    pub fn depths(&self) -> [usize; Priority::COUNT] {
        self.port.receiver.depths()
    }

    /// Sends in order; what finds the lane full follows as soon as there is room.
    pub fn send(&mut self, to: u16, priority: Priority, message: Message) {
        self.overflow
            .send(&mut self.port.sender, to, priority, message);
    }

    /// Tells a thread whether this shard wants the events of a channel. A thread that stalls is
    /// told later, and only of what is wanted by then.
    pub fn tell_interest(&mut self, to: u16, priority: Priority, name: Box<str>, wanted: bool) {
        let own = self.port.sender.own() as u16;
        let channel = (priority, name);
        self.wishes
            .tell(&mut self.port.sender, (own, to), channel, wanted);
    }

    /// Sends at once and past what waits, or not at all.
    ///
    /// # Errors
    /// The message comes back when the lane is full.
    pub fn try_send(
        &mut self,
        to: u16,
        priority: Priority,
        message: Message,
    ) -> Result<(), Message> {
        self.port.sender.push(usize::from(to), priority, message)
    }
}

impl Shard {
    /// Takes what other threads sent; returns whether there was anything.
    pub(super) fn take_lane_entries(&mut self) -> bool {
        let mut taken = std::mem::take(&mut self.mesh.taken);
        let count = self.mesh.port.receiver.take(TAKE, &mut taken);
        for entry in taken.drain(..) {
            self.on_message_of(entry.entry);
        }
        self.mesh.taken = taken;
        self.place_waiting();
        count > 0
    }

    /// Wakes threads that sleep and have something to take.
    pub(super) fn ring_doorbells(&mut self) {
        self.mesh.overflow.flush(&mut self.mesh.port.sender);
        self.mesh.wishes.flush(&mut self.mesh.port.sender, self.id);
        self.mesh.port.sender.flush();
    }

    fn on_message_of(&mut self, message: Message) {
        match message {
            Message::Arrive(arrival) => self.arrive(*arrival),
            Message::Place(foreign) => self.unplaced.push_back(*foreign),
            Message::Placed(kind, sequence) => self.journal.placed(kind, sequence),
            Message::Interest(shard, name) => self.on_interest(shard, &name),
            Message::Granted(grant) => self.on_granted(&grant.0, grant.1),
            Message::NoInterest(shard, name) => self.on_no_interest(shard, &name),
            Message::Event(frame) => self.on_event_of(&frame),
            Message::Values(told) => self.on_values_of(&told),
            Message::Submit(submission) => self.on_submission(*submission),
            Message::Outcomes(outcomes) => self.on_outcomes(&outcomes),
            Message::Presence(message) => self.on_presence(*message),
            Message::Ask(question) => self.on_question(*question),
            Message::Progress(progress) => self.on_progress(&progress),
            Message::LogAway(away) => self.on_log_away(away),
            Message::Replicated(classes) => self.on_replicated(classes),
            Message::Skip(skip) => self.on_skip(&skip),
            Message::ReadLog(kept) => self.on_kept_wish(*kept),
            Message::Page(answer) => self.on_history_page(*answer),
            // Shards ask nothing, and the rest is for the relay thread.
            Message::Reply(_) | Message::Record(_) | Message::Tell(_) => {}
        }
    }

    /// Journals a publish on a channel of another owner.
    pub(super) fn accept_foreign(
        &mut self,
        checked: &Checked<'_>,
        owner: u16,
    ) -> Result<(), ErrorCode> {
        let mut encoder = self.take_encoder();
        let frame = encoder.event(&self.event_fields(checked, &Placement::default()));
        let record = self.record_ref(checked, None, frame);
        let appended = self.journal_append(&record);
        let result = appended.map(|sequence| {
            let class = checked.decision.priority;
            self.forward_record(class, sequence, checked.record, (owner, frame));
            self.await_ack(checked, sequence, false);
        });
        self.encoder = Some(encoder);
        result
    }

    /// Sends an event that is not stored to the owner of its channel.
    pub(super) fn forward_ephemeral(
        &mut self,
        checked: &Checked<'_>,
        owner: u16,
    ) -> Result<(), ErrorCode> {
        let mut encoder = self.take_encoder();
        let frame = encoder.event(&self.event_fields(checked, &Placement::default()));
        let class = checked.decision.priority;
        self.send_ephemeral(class, checked.record, (owner, frame));
        self.encoder = Some(encoder);
        Ok(())
    }

    /// Numbers a record of another shard's publisher.
    fn place(&mut self, mut foreign: Foreign) {
        let Some(channel) = self.channel_of_frame(&foreign.frame) else {
            // The table of channels is full. A stored record waits for room, as its publisher
            // waits for the acknowledgement.
            if foreign.durable {
                self.unplaced.push_front(foreign);
            }
            return;
        };
        let placement = match foreign.durable {
            true => self.channels[channel].sequencer.next(foreign.record),
            false => self.channels[channel].sequencer.next_ephemeral(),
        };
        let patched = patch_position(
            &mut foreign.frame,
            placement.position,
            placement.previous_chain,
        );
        if patched.is_err() {
            return;
        }
        if foreign.durable {
            let mark = Mark {
                record: foreign.record,
                channel_hash: placement_hash(self.channels[channel].name.as_bytes()),
                position: placement.position,
                previous_chain: placement.previous_chain,
            };
            let now_us = self.clock.unix_us;
            let Ok(sequence) = self.journal.journal.append_mark(&mark, now_us) else {
                self.unplaced.push_front(foreign);
                return;
            };
            self.channels[channel].sequencer.commit(&placement);
            let end = self.keep_event(channel, &placement, &foreign.frame);
            let pending = PendingMark {
                home: foreign.home,
                kind: foreign.kind,
                sequence: foreign.sequence,
            };
            self.journal
                .await_placed(sequence, channel, (end, foreign.since_us));
            self.journal.await_mark(sequence, pending);
        } else {
            self.channels[channel].sequencer.commit(&placement);
            let end = self.keep_event(channel, &placement, &foreign.frame);
            if foreign.home < self.shards {
                let class = self.channels[channel].priority;
                self.tell_elsewhere(class, &foreign.frame);
            }
            self.make_visible(channel, end, foreign.since_us);
        }
    }

    /// Numbers the records that wait here, in their order, as far as the journal takes marks.
    fn place_waiting(&mut self) {
        while let Some(foreign) = self.unplaced.pop_front() {
            let waiting = self.unplaced.len();
            self.place(foreign);
            if self.unplaced.len() > waiting {
                return;
            }
        }
    }

    fn channel_of_frame(&mut self, frame: &[u8]) -> Option<u32> {
        let event = event_of(frame)?;
        let name = ChannelName::parse(event.channel).ok()?;
        self.channel_named(&name).ok()
    }

    /// Sends the events from byte position `from` of the channel's log to the shards that have
    /// members of it, when this shard is the owner.
    pub(super) fn spread(&mut self, channel: u32, from: u64) {
        let Some(&shards) = self.interest.get(&channel) else {
            return;
        };
        let entry = &self.channels[channel];
        for frame in self.logs.visible_events(entry, from) {
            let frame: Arc<[u8]> = frame.into();
            for shard in (0..self.shards).filter(|shard| shards & (1 << shard) != 0) {
                let message = Message::Event(Arc::clone(&frame));
                self.mesh.send(shard, entry.priority, message);
            }
        }
    }

    /// An event of a channel that another shard owns.
    pub(super) fn on_event_of(&mut self, frame: &[u8]) {
        let Some(event) = event_of(frame) else {
            return;
        };
        let Some(channel) = self.find_channel(event.channel) else {
            return;
        };
        let Ok((position, previous_chain)) = read_position(frame) else {
            return;
        };
        let placement = Placement {
            position,
            previous_chain,
        };
        self.channels[channel].sequencer = Sequencer::resume(position);
        let end = self.keep_event(channel, &placement, frame);
        let since_us = self.clock.us_of_unix(event.server_time_us);
        self.make_visible(channel, end, since_us);
    }
}
