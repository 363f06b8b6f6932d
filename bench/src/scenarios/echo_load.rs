//! Traffic of the echo scenario: each connection has one message under way.
//!
//! The same loop drives three paths: bytes (the bare ring), WebSocket messages (the codec path)
//! and publishes whose event comes back (the full path). How messages are driven is [`Drive`].
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

/// When messages leave.
#[derive(Clone, Debug)]
pub enum Drive {
    /// When the last one of the client is back.
    Closed,
    /// The same, but no more in all than the schedule lets through, in portions of
    /// [`PORTION_NS`]. What it would have let through while every client had a message under
    /// way is forgotten.
    Paced(Schedule),
    /// On a schedule, from which latency counts; a message waits for a free client.
    Open(Schedule),
}

/// Time between two portions of a paced drive: at 80,000 messages a second 40 messages, as many
/// as a turn of the generator takes. Looking more often costs it more than the messages do, and
/// both servers meet the same portions.
pub const PORTION_NS: u64 = 500_000;

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
    drive: Drive,
    /// When the next portion of a paced drive leaves.
    portion_ns: u64,
    /// Clients without a message under way.
    free: VecDeque<u32>,
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
            drive: Drive::Closed,
            portion_ns: 0,
            free: (0..clients).collect(),
            late: VecDeque::new(),
            stamp_hint: 0,
            ends: Ends::default(),
            done: 0,
            wrong: 0,
            refused: 0,
            latency: Latency::new(),
        }
    }

    /// Starts the traffic.
    pub fn begin(&mut self, link: &mut Link, drive: Drive) {
        self.drive = drive;
        self.send_free(link);
    }

    /// Sends what may leave now; when that changes by itself.
    fn send_free(&mut self, link: &mut Link) -> u64 {
        let mut drive = std::mem::replace(&mut self.drive, Drive::Closed);
        let wake_ns = match &mut drive {
            Drive::Closed => {
                while let Some(client) = self.free.pop_front() {
                    self.send(link, client, link.now_ns);
                }
                u64::MAX
            }
            Drive::Paced(_) if link.now_ns < self.portion_ns => self.portion_ns,
            Drive::Paced(schedule) => {
                while schedule.take(link.now_ns).is_some() {
                    if let Some(client) = self.free.pop_front() {
                        self.send(link, client, link.now_ns);
                    }
                }
                self.portion_ns = link.now_ns + PORTION_NS;
                self.portion_ns
            }
            Drive::Open(schedule) => {
                while let Some(due_ns) = schedule.take(link.now_ns) {
                    match self.free.pop_front() {
                        Some(client) => {
                            self.send(link, client, due_ns);
                            link.note_due(client, due_ns);
                        }
                        None => self.late.push_back(due_ns),
                    }
                }
                schedule.next_ns()
            }
        };
        self.drive = drive;
        wake_ns
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
        match (&self.drive, self.late.pop_front()) {
            (Drive::Closed, _) => self.send(link, client, link.now_ns),
            (_, Some(due_ns)) => self.send(link, client, due_ns),
            (_, None) => self.free.push_back(client),
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
}

impl Workload for EchoLoad {
    fn on_turn(&mut self, link: &mut Link) -> u64 {
        match self.drive {
            // Each answer sends the next message by itself.
            Drive::Closed => u64::MAX,
            _ => self.send_free(link),
        }
    }

    fn sleeps_through(&self) -> bool {
        matches!(self.drive, Drive::Paced(_))
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
