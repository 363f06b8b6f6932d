//! Traffic of the storm: sessions are set up, never more than so many at once.
//!
//! What comes is taken in portions: with thousands of set-ups under way the server always has the
//! next one, and being woken for each answer costs the generator more than the answer.
//!
//! Runs on: the generator's thread.

use super::echo_load::PORTION_NS;
use super::settle::{Counted, Ends};
use super::users::Users;
use crate::engine::link::FleetTotals;
use crate::engine::template::FrameWriter;
use crate::engine::tls::Secured;
use crate::engine::{EndCause, Link, Workload};
use crate::measure::Latency;
use crate::sys;
use interlink_wire as wire;

/// Round trips of a set-up: upgrade, `Hello`, `Subscribe`.
const ROUND_TRIPS: usize = 3;

/// Bytes of each round trip.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bytes {
    out: [u32; ROUND_TRIPS],
    back: [u32; ROUND_TRIPS],
}

impl Bytes {
    /// Bytes of one set-up in both directions.
    pub fn total(&self) -> u32 {
        self.out.iter().sum::<u32>() + self.back.iter().sum::<u32>()
    }

    /// Bytes out and back of each round trip.
    pub fn pairs(&self) -> [(u32, u32); ROUND_TRIPS] {
        std::array::from_fn(|trip| (self.out[trip], self.back[trip]))
    }
}

/// State of a client on the bare path.
#[derive(Clone, Copy, Default)]
struct Trip {
    number: usize,
    received: u32,
}

/// Set-ups of one round.
pub struct StormLoad {
    users: Option<Users>,
    bytes: Bytes,
    trips: Vec<Trip>,
    started_ns: Vec<u64>,
    next: u32,
    ends: Ends,
    /// Clients that are set up.
    pub done: u32,
    /// TLS handshakes that continued an earlier session.
    pub resumed: u32,
    /// From the start of a client's connect to its last answer.
    pub setup: Latency,
}

impl StormLoad {
    /// Sessions of these users.
    pub fn sessions(users: Users) -> Self {
        let count = users.count();
        Self {
            users: Some(users),
            ..Self::bare(Bytes::default(), count)
        }
    }

    /// Round trips of these bytes without any protocol.
    pub fn bare(bytes: Bytes, count: u32) -> Self {
        Self {
            users: None,
            bytes,
            trips: vec![Trip::default(); count as usize],
            started_ns: vec![0; count as usize],
            next: 0,
            ends: Ends::default(),
            done: 0,
            resumed: 0,
            setup: Latency::new(),
        }
    }

    /// True without sessions.
    pub fn is_bare(&self) -> bool {
        self.users.is_none()
    }

    /// Number of clients.
    pub fn count(&self) -> u32 {
        self.trips.len() as u32
    }

    /// Begins the first connects; each that is done begins the next.
    pub fn begin(&mut self, link: &mut Link, unfinished: u32) {
        (0..unfinished).for_each(|_| self.connect_next(link));
    }

    fn connect_next(&mut self, link: &mut Link) {
        if self.next < self.count() {
            self.started_ns[self.next as usize] = sys::monotonic_ns();
            link.connect(self.next);
            self.next += 1;
        }
    }

    /// What one set-up moved. Client names differ in length by a few bytes, so that the first two
    /// round trips are means over all clients.
    pub fn bytes(&self, totals: &FleetTotals, sessions: u32) -> Bytes {
        if self.is_bare() {
            return self.bytes;
        }
        let mut bytes = self.bytes;
        for trip in 1..ROUND_TRIPS {
            bytes.out[trip] /= sessions.max(1);
            bytes.back[trip] /= sessions.max(1);
        }
        let mean = |total: u64| (total / u64::from(sessions.max(1))) as u32;
        bytes.out[0] = mean(totals.sent_bytes)
            .saturating_sub(bytes.out[1] + bytes.out[2])
            .max(1);
        bytes.back[0] = mean(totals.received_bytes).saturating_sub(bytes.back[1] + bytes.back[2]);
        bytes
    }

    fn on_done(&mut self, link: &mut Link, client: u32) {
        self.done += 1;
        self.setup
            .record_from(self.started_ns[client as usize], link.now_ns);
        self.connect_next(link);
    }

    fn send_trip(&mut self, link: &mut Link, client: u32) {
        let bytes = self.bytes.out[self.trips[client as usize].number] as usize;
        link.write(client, |_, out| out.resize(out.len() + bytes, b'.'));
    }
}

impl Workload for StormLoad {
    fn on_turn(&mut self, link: &mut Link) -> u64 {
        link.now_ns + PORTION_NS
    }

    fn sleeps_through(&self) -> bool {
        true
    }

    fn on_secured(&mut self, _: &mut Link, _: u32, secured: Secured<'_>) {
        self.resumed += u32::from(secured.is_resumed);
    }

    fn hello(&mut self, client: u32, writer: &mut FrameWriter, out: &mut Vec<u8>) {
        let before = out.len();
        if let Some(users) = &self.users {
            users.get(client).hello(writer, out);
        }
        self.bytes.out[1] += (out.len() - before) as u32;
    }

    fn subscribe(&mut self, client: u32, writer: &mut FrameWriter, out: &mut Vec<u8>) {
        let before = out.len();
        if let Some(users) = &self.users {
            users.get(client).subscribe_frames(writer, out);
        }
        self.bytes.out[2] += (out.len() - before) as u32;
    }

    fn on_frame(&mut self, _: &mut Link, _: u32, kind: wire::Body, frame: &[u8]) {
        // A server's header has two bytes, or four above 125 bytes.
        let bytes = frame.len() as u32 + if frame.len() > 125 { 4 } else { 2 };
        match kind {
            wire::Body::Welcome => self.bytes.back[1] += bytes,
            wire::Body::Subscribed => self.bytes.back[2] += bytes,
            _ => {}
        }
    }

    fn on_live(&mut self, link: &mut Link, client: u32) {
        if self.is_bare() {
            self.send_trip(link, client);
        } else {
            self.on_done(link, client);
        }
    }

    fn on_bytes(&mut self, link: &mut Link, client: u32, bytes: &[u8]) {
        let trip = &mut self.trips[client as usize];
        trip.received += bytes.len() as u32;
        if trip.number >= ROUND_TRIPS || trip.received < self.bytes.back[trip.number] {
            return;
        }
        trip.received = 0;
        trip.number += 1;
        if trip.number == ROUND_TRIPS {
            self.on_done(link, client);
        } else {
            self.send_trip(link, client);
        }
    }

    fn on_end(&mut self, _: &mut Link, _: u32, cause: EndCause) {
        self.ends.note(cause);
    }
}

impl Counted for StormLoad {
    fn ends(&self) -> &Ends {
        &self.ends
    }
}
