//! Traffic of the echo scenario: each connection has one message under way.
//!
//! The same loop drives three paths: bytes (the bare ring), WebSocket messages (the codec path)
//! and publishes whose event comes back (the full path). Without a rate the next message leaves
//! when the last is back; with one, messages are due on a schedule and wait for their window.
//!
//! Runs on: the generator's thread.

use super::settle::{Counted, Ends};
use super::users::Users;
use crate::engine::peek::{self, Table};
use crate::engine::schedule::Schedule;
use crate::engine::stamp::Stamp;
use crate::engine::template::FrameWriter;
use crate::engine::template::Template;
use crate::engine::{EndCause, Link, Workload};
use crate::measure::Latency;
use interlink_wire as wire;
use std::collections::VecDeque;

/// What a message is on the wire.
pub enum Path {
    /// So many bytes out, so many bytes back.
    Bare {
        /// Bytes of a message.
        bytes_out: usize,
        /// Bytes of its answer.
        bytes_back: u32,
    },
    /// A WebSocket message and the same back.
    Codec(Template),
    /// A publish to the own channel and its event back.
    Full {
        /// By client: the publish.
        templates: Vec<Template>,
        /// By client: the user.
        users: Users,
    },
}

#[derive(Clone, Copy, Default)]
struct Lane {
    scheduled_ns: u64,
    sequence: u64,
    /// Bytes of the answer so far, on the bare path.
    received: u32,
    is_under_way: bool,
}

/// The traffic and what was counted of it.
pub struct EchoLoad {
    path: Path,
    lanes: Vec<Lane>,
    schedule: Option<Schedule>,
    /// Clients in the order in which they are due, on a schedule.
    next: u32,
    /// Due times that wait for a free client.
    late: VecDeque<u64>,
    stamp_hint: usize,
    ends: Ends,
    /// Messages that came back.
    pub done: u64,
    /// Answers that were not the expected ones.
    pub wrong: u64,
    /// Publishes that were refused.
    pub refused: u64,
    /// Time from the schedule to the answer.
    pub latency: Latency,
}

impl EchoLoad {
    /// Traffic of this many clients on one path.
    pub fn new(path: Path, clients: u32) -> Self {
        Self {
            path,
            lanes: vec![Lane::default(); clients as usize],
            schedule: None,
            next: 0,
            late: VecDeque::new(),
            stamp_hint: 0,
            ends: Ends::default(),
            done: 0,
            wrong: 0,
            refused: 0,
            latency: Latency::new(),
        }
    }

    /// Sends on a schedule instead of in a closed loop.
    pub fn set_rate(&mut self, rate: Option<f64>, now_ns: u64) {
        self.schedule = rate.map(|rate| Schedule::new(now_ns, rate));
    }

    /// Sends the first message of every client, unless a schedule does.
    pub fn begin(&mut self, link: &mut Link) {
        if self.schedule.is_none() {
            (0..link.clients()).for_each(|client| self.send(link, client, link.now_ns));
        }
    }

    /// Forgets what was counted.
    pub fn reset(&mut self) {
        self.done = 0;
        self.latency.clear();
    }

    fn send(&mut self, link: &mut Link, client: u32, scheduled_ns: u64) {
        let lane = &mut self.lanes[client as usize];
        lane.is_under_way = true;
        lane.scheduled_ns = scheduled_ns;
        lane.sequence += 1;
        let stamp = Stamp {
            sender: client,
            sequence: lane.sequence,
            scheduled_ns,
        };
        match &self.path {
            Path::Bare { bytes_out, .. } => {
                link.write(client, |_, out| out.resize(out.len() + bytes_out, b'.'));
            }
            Path::Codec(template) => link.write(client, |writer, out| {
                writer.append_publish(out, template, 0, stamp);
            }),
            Path::Full { templates, .. } => link.write(client, |writer, out| {
                writer.append_publish(out, &templates[client as usize], stamp.sequence, stamp);
            }),
        }
    }

    fn on_back(&mut self, link: &mut Link, client: u32) {
        let lane = &mut self.lanes[client as usize];
        lane.is_under_way = false;
        self.done += 1;
        self.latency.record_from(lane.scheduled_ns, link.now_ns);
        if self.schedule.is_none() {
            self.send(link, client, link.now_ns);
        } else if let Some(due_ns) = self.late.pop_front() {
            self.send(link, client, due_ns);
        }
    }

    fn on_stamp(&mut self, link: &mut Link, client: u32, payload: &[u8]) {
        let stamp = Stamp::find(payload, &mut self.stamp_hint);
        let sequence = self.lanes[client as usize].sequence;
        let is_expected =
            stamp.is_some_and(|stamp| stamp.sender == client && stamp.sequence == sequence);
        if is_expected && self.lanes[client as usize].is_under_way {
            self.on_back(link, client);
        } else {
            self.wrong += 1;
        }
    }

    /// The next client without a message under way, if there is one.
    fn free_client(&mut self) -> Option<u32> {
        let count = self.lanes.len() as u32;
        for _ in 0..count.min(64) {
            self.next = (self.next + 1) % count;
            if !self.lanes[self.next as usize].is_under_way {
                return Some(self.next);
            }
        }
        None
    }
}

impl Workload for EchoLoad {
    fn on_turn(&mut self, link: &mut Link) -> u64 {
        let Some(mut schedule) = self.schedule.take() else {
            return u64::MAX;
        };
        while let Some(due_ns) = schedule.take(link.now_ns) {
            match self.free_client() {
                Some(client) => {
                    self.send(link, client, due_ns);
                    link.note_due(client, due_ns);
                }
                None => self.late.push_back(due_ns),
            }
        }
        let next_ns = schedule.next_ns();
        self.schedule = Some(schedule);
        next_ns
    }

    fn hello(&mut self, client: u32, writer: &mut FrameWriter, out: &mut Vec<u8>) {
        if let Path::Full { users, .. } = &self.path {
            users.get(client).hello(writer, out);
        }
    }

    fn subscribe(&mut self, client: u32, writer: &mut FrameWriter, out: &mut Vec<u8>) {
        if let Path::Full { users, .. } = &self.path {
            users.get(client).subscribe_frames(writer, out);
        }
    }

    fn on_frame(&mut self, link: &mut Link, client: u32, kind: wire::Body, frame: &[u8]) {
        let Some((_, body)) = peek::body(frame) else {
            return;
        };
        match kind {
            wire::Body::Event => {
                let payload = Table::bytes(&body, wire::Event::VT_PAYLOAD).unwrap_or(&[]);
                self.on_stamp(link, client, payload);
            }
            wire::Body::PublishAck if !peek::Ack::read(&body).is_accepted() => {
                // Its event will not come: the next message takes its place.
                self.refused += 1;
                self.send(link, client, link.now_ns);
            }
            _ => {}
        }
    }

    fn on_message(&mut self, link: &mut Link, client: u32, message: &[u8]) {
        self.on_stamp(link, client, message);
    }

    fn on_bytes(&mut self, link: &mut Link, client: u32, bytes: &[u8]) {
        let Path::Bare { bytes_back, .. } = self.path else {
            return;
        };
        let lane = &mut self.lanes[client as usize];
        lane.received += bytes.len() as u32;
        if lane.received >= bytes_back {
            lane.received -= bytes_back;
            self.on_back(link, client);
        }
    }

    fn on_end(&mut self, _: &mut Link, _: u32, cause: EndCause) {
        self.ends.note(cause);
    }
}

impl Counted for EchoLoad {
    fn ends(&self) -> &Ends {
        &self.ends
    }
}
