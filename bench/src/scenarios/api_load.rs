//! Users of the API scenario: they read their inboxes and check what comes.
//!
//! Runs on: the generator's thread.

use super::settle::{Counted, Ends};
use super::users::Users;
use crate::engine::peek;
use crate::engine::stamp::Stamp;
use crate::engine::template::FrameWriter;
use crate::engine::tracker::{Totals, Tracker};
use crate::engine::{EndCause, Link, Workload};
use crate::measure::Latency;
use interlink_wire as wire;

/// The users and what arrived.
pub struct ApiLoad {
    users: Users,
    tracker: Tracker,
    /// From the request with an event to its arrival.
    pub delivery: Latency,
    /// Events of another user, or without a stamp.
    pub misdelivered: u64,
    ends: Ends,
    hint: usize,
}

impl ApiLoad {
    /// Users who wait.
    pub fn new(users: Users) -> Self {
        Self {
            tracker: Tracker::new(users.count() as usize),
            users,
            delivery: Latency::new(),
            misdelivered: 0,
            ends: Ends::default(),
            hint: 0,
        }
    }

    /// Distinct events that came.
    pub fn delivered(&self) -> u64 {
        self.tracker.totals().delivered
    }

    /// Everything that came.
    pub fn totals(&self) -> Totals {
        self.tracker.totals()
    }
}

impl Workload for ApiLoad {
    fn on_turn(&mut self, _: &mut Link) -> u64 {
        u64::MAX
    }

    fn hello(&mut self, client: u32, writer: &mut FrameWriter, out: &mut Vec<u8>) {
        self.users.get(client).hello(writer, out);
    }

    fn subscribe(&mut self, client: u32, writer: &mut FrameWriter, out: &mut Vec<u8>) {
        self.users.get(client).subscribe_frames(writer, out);
    }

    fn on_frame(&mut self, link: &mut Link, client: u32, kind: wire::Body, frame: &[u8]) {
        if kind != wire::Body::Event {
            return;
        }
        let stamp = peek::body(frame)
            .and_then(|(_, body)| body.bytes(wire::Event::VT_PAYLOAD))
            .and_then(|payload| Stamp::find(payload, &mut self.hint));
        match stamp {
            Some(stamp) if stamp.sender == client => {
                if self.tracker.note(client as usize, stamp.sequence) {
                    self.delivery.record_from(stamp.scheduled_ns, link.now_ns);
                }
            }
            _ => self.misdelivered += 1,
        }
    }

    fn on_end(&mut self, _: &mut Link, _: u32, cause: EndCause) {
        self.ends.note(cause);
    }
}

impl Counted for ApiLoad {
    fn ends(&self) -> &Ends {
        &self.ends
    }
}
