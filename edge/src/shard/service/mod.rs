//! Publishes that come from no session: those of services and those of the system itself; and
//! what services ask beside (`questions`).
//!
//! Purpose: the server API and the node's own events take the way that the publishes of clients
//! take. The control thread submits a [`Submission`] through its lane to the shard that is home
//! of the key (the user for whom a channel is, else the channel); a shard submits its own events
//! likewise. Home checks, journals and hands over to the owner of the channel, and answers by
//! number once everything of the submission has its outcome.
//!
//! Order: submissions of one asker and class are taken in their order, and their publishes in
//! theirs. When one is refused for now, those after it in the submission on the same channel are
//! refused too, so that a retry cannot fall behind what followed it.
//!
//! Full: askers bound what they have under way (`gateway::limits`, [`SYSTEM_WAITING_MAX`]); a
//! publish for which the journal has no room is refused as those of clients are.
//!
//! Thread: the shard.

mod accept;
mod inspect;
mod orders;
pub mod questions;
mod system;
#[cfg(test)]
pub(in crate::shard) mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use interlink_protocol::claims::PackedClaims;
use interlink_protocol::frame::{PublishFields, TraceFields};
use interlink_protocol::ids::{InstanceId, RecordId};
use interlink_protocol::priority::Priority;
use interlink_protocol::session::publish::Refusal;
use interlink_protocol::ErrorCode;
use interlink_relay::dedupe::{KeyMemory, RecoveredKey};
use interlink_wire as wire;

use super::journal::PendingAck;
use super::judged::Judged;
use super::mesh::Message;
use super::Shard;
use crate::telemetry::latency::Stage;

pub use system::SYSTEM_WAITING_MAX;

/// Publishes of each class that one turn takes. P0 comes first; with the others in proportion,
/// a turn of them costs less than the 250 us that it may last.
const TAKEN_PER_TURN: [usize; Priority::COUNT] = [16, 24, 8, 8];

/// The publisher that events of the system show. No user can have this name.
pub const SYSTEM_PUBLISHER: &str = "~system";

/// One publish without a session.
#[derive(Clone, Debug)]
pub struct ServicePublish {
    /// Full channel name.
    pub channel: Box<str>,
    /// Number of the event type; 0 is opaque.
    pub event_type: u16,
    /// Version of the payload schema.
    pub schema_version: u16,
    /// The payload.
    pub payload: Box<[u8]>,
    /// Milliseconds since the first attempt.
    pub age_ms: u32,
    /// Milliseconds after which the event is worthless; 0 is never.
    pub time_to_live_ms: u32,
    /// Events of one key supersede each other for slow clients.
    pub conflation_key: Option<Box<str>>,
    /// Wanted acknowledgement level.
    pub level: wire::AckLevel,
    /// W3C trace context: parent and state.
    pub trace: Option<(Box<str>, Option<Box<str>>)>,
    /// What the idempotency key is known by.
    pub instance: InstanceId,
    /// Identity of the record.
    pub record: RecordId,
}

impl ServicePublish {
    /// The values that are checked as those of a frame.
    fn fields(&self) -> PublishFields<'_> {
        PublishFields {
            schema_version: self.schema_version,
            age_ms: self.age_ms,
            time_to_live_ms: self.time_to_live_ms,
            conflation_key: self.conflation_key.as_deref(),
            ack_level: self.level,
            trace: self.trace_fields(),
            ..PublishFields::new(0, &self.channel, self.event_type, &self.payload)
        }
    }

    fn trace_fields(&self) -> Option<TraceFields<'_>> {
        let (traceparent, tracestate) = self.trace.as_ref()?;
        Some(TraceFields {
            traceparent,
            tracestate: tracestate.as_deref(),
        })
    }
}

/// Publishes of one caller and class for one home shard.
#[derive(Debug)]
pub struct Submission {
    /// Thread that asks.
    pub from: u16,
    /// Number of the question there.
    pub number: u32,
    /// Class of every channel.
    pub class: Priority,
    /// Claims of the service; none is the system.
    pub claims: Option<Arc<PackedClaims>>,
    /// The publisher that the events show.
    pub publisher: Arc<str>,
    /// The publishes, in their order.
    pub publishes: Vec<ServicePublish>,
}

/// What became of one publish.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was accepted.
    Accepted {
        /// The level that was reached.
        level: wire::AckLevel,
        /// Whether its key had been accepted before.
        repeat: bool,
    },
    /// Nothing of it was kept.
    Refused(Refusal),
}

/// The answer to a [`Submission`].
#[derive(Debug)]
pub struct Outcomes {
    /// Number of the question.
    pub number: u32,
    /// One for each publish, in their order.
    pub outcomes: Vec<Outcome>,
}

impl Submission {
    /// The hash of a payload, as it is remembered.
    pub(in crate::shard) fn payload_hash(publish: &ServicePublish) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&publish.payload)
    }
}

/// A submission that is being taken.
#[derive(Debug)]
pub(in crate::shard) struct Taking {
    pub(in crate::shard) submission: Submission,
    pub(in crate::shard) local: u32,
    next: usize,
    held: Held,
    /// What the archive has said of old ones, by their places.
    pub(in crate::shard) judged: Vec<(u32, Judged)>,
}

/// Channels of which a publish was refused for now, with the first reason.
#[derive(Debug, Default)]
struct Held(Vec<(Box<str>, Refusal)>);

impl Held {
    fn note(&mut self, channel: &str, refusal: Refusal) {
        if refusal.code.is_temporary() && self.of(channel).is_none() {
            self.0.push((channel.into(), refusal));
        }
    }

    fn of(&self, channel: &str) -> Option<Refusal> {
        let found = self.0.iter().find(|(held, _)| **held == *channel);
        found.map(|(_, refusal)| *refusal)
    }
}

/// A submission that waits for outcomes.
#[derive(Debug)]
struct Asked {
    from: u16,
    number: u32,
    class: Priority,
    left: usize,
    outcomes: Vec<Outcome>,
}

/// A publish that waits for the disk.
#[derive(Debug)]
struct Ticket {
    instance: InstanceId,
    class: Priority,
    /// Submissions and places that wait for it: its own, and repeats of its key.
    waiting: Vec<(u32, u32)>,
}

/// Everything about publishes without a session.
#[derive(Debug, Default)]
pub struct Service {
    queues: [VecDeque<Taking>; Priority::COUNT],
    asked: HashMap<u32, Asked>,
    tickets: HashMap<u32, Ticket>,
    last_local: u32,
    last_ticket: u32,
    /// Questions that wait until the owner of a channel has told its position.
    questions: Vec<questions::Question>,
    /// Channels that services have opened to sessions.
    pub words: orders::Words,
    keys: KeyMemory,
    system: system::System,
}

impl Service {
    /// Whether submissions wait to be taken.
    pub fn has_work(&self) -> bool {
        self.queues.iter().any(|queue| !queue.is_empty())
    }

    /// Takes over the keys that earlier boots accepted.
    pub fn restore(&mut self, keys: &[RecoveredKey], now_s: u32) {
        keys.iter().for_each(|key| self.keys.restore(key, now_s));
    }

    /// Keys that were forgotten before their time.
    pub fn keys_forgotten_early(&self) -> u64 {
        self.keys.forgotten_early()
    }

    /// The next number that is not 0 and not in use.
    fn next_number(last: &mut u32, in_use: impl Fn(u32) -> bool) -> u32 {
        loop {
            *last = last.wrapping_add(1);
            if *last != 0 && !in_use(*last) {
                return *last;
            }
        }
    }

    fn note_outcome(&mut self, local: u32, place: u32, outcome: Outcome) -> Option<Asked> {
        let asked = self.asked.get_mut(&local)?;
        asked.outcomes[place as usize] = outcome;
        asked.left -= 1;
        if asked.left > 0 {
            return None;
        }
        self.asked.remove(&local)
    }
}

impl Shard {
    /// A thread submits publishes for users or channels of this shard.
    pub(super) fn on_submission(&mut self, submission: Submission) {
        let service = &mut self.service;
        let asked = &service.asked;
        let local = Service::next_number(&mut service.last_local, |at| asked.contains_key(&at));
        let count = submission.publishes.len();
        let (from, number, class) = (submission.from, submission.number, submission.class);
        let entry = Asked {
            from,
            number,
            class,
            left: count,
            outcomes: vec![Outcome::Refused(Refusal::of(ErrorCode::Internal)); count],
        };
        if count == 0 {
            return self.answer_submission(entry);
        }
        service.asked.insert(local, entry);
        let taking = Taking {
            submission,
            local,
            next: 0,
            held: Held::default(),
            judged: Vec::new(),
        };
        if let Some(taking) = self.park_submission(taking) {
            self.queue_submission(taking);
        }
    }

    /// A submission waits for nothing but its turn.
    pub(super) fn queue_submission(&mut self, taking: Taking) {
        let class = taking.submission.class;
        self.service.queues[class.index()].push_back(taking);
    }

    /// Takes what was submitted, as much of each class as a turn may.
    pub(super) fn take_submissions(&mut self) -> bool {
        if !self.service.has_work() || !self.is_ready() {
            return false;
        }
        for class in Priority::ALL {
            let mut left = TAKEN_PER_TURN[class.index()];
            while left > 0 {
                let Some(mut taking) = self.service.queues[class.index()].pop_front() else {
                    break;
                };
                self.take_some(&mut taking, &mut left);
                if taking.next < taking.submission.publishes.len() {
                    self.service.queues[class.index()].push_front(taking);
                }
            }
        }
        true
    }

    fn take_some(&mut self, taking: &mut Taking, left: &mut usize) {
        let publishes = &taking.submission.publishes;
        while *left > 0 && taking.next < publishes.len() {
            *left -= 1;
            let publish = &publishes[taking.next];
            let waiter = (taking.local, taking.next as u32);
            taking.next += 1;
            let result = match taking.held.of(&publish.channel) {
                Some(refusal) => Err(refusal),
                None => {
                    let mut judged = taking.judged.iter();
                    let judged = judged.find(|(place, _)| *place == waiter.1);
                    let judged = judged.map(|(_, judged)| *judged);
                    self.accept_service(publish, &taking.submission, (waiter, judged))
                }
            };
            match result {
                // Its ticket answers.
                Ok(None) => {}
                Ok(Some(outcome)) => self.give_outcome(waiter, outcome),
                Err(refusal) => {
                    self.counters.refusals.add(refusal.code);
                    taking.held.note(&publish.channel, refusal);
                    self.give_outcome(waiter, Outcome::Refused(refusal));
                }
            }
        }
    }

    /// A publish of a ticket is on the disk and numbered.
    pub(super) fn on_service_durable(&mut self, pending: &PendingAck, level: wire::AckLevel) {
        let Some(ticket) = self.service.tickets.remove(&(pending.id as u32)) else {
            return;
        };
        self.samples
            .note(Stage::Ack(ticket.class), pending.since_us, 1);
        self.service.keys.settle(ticket.instance);
        self.counters.publishes_acked.add(ticket.class, 1);
        for (nth, waiter) in ticket.waiting.into_iter().enumerate() {
            let outcome = Outcome::Accepted {
                level,
                repeat: nth > 0,
            };
            self.give_outcome(waiter, outcome);
        }
    }

    fn give_outcome(&mut self, (local, place): (u32, u32), outcome: Outcome) {
        if let Some(asked) = self.service.note_outcome(local, place, outcome) {
            self.answer_submission(asked);
        }
    }

    fn answer_submission(&mut self, asked: Asked) {
        let answer = Outcomes {
            number: asked.number,
            outcomes: asked.outcomes,
        };
        if asked.from == self.id {
            return self.on_outcomes(&answer);
        }
        let message = Message::Outcomes(Box::new(answer));
        self.mesh.send(asked.from, asked.class, message);
    }
}
