//! Traffic of the drain scenario: that of the crash scenario, by clients that obey `Reconnect`,
//! and the times of their moves.
//!
//! Invariants: a client counts as interrupted from the time of its move that the server sets until
//! its `Subscribed`; a connection that ends before the server has said so is counted.
//!
//! Runs on: the generator's thread.

use super::crash_load::CrashLoad;
use super::settle::{Counted, Ends};
use crate::engine::peek;
use crate::engine::template::FrameWriter;
use crate::engine::{EndCause, Link, Workload};
use crate::measure::Latency;
use interlink_protocol::frame::{decode_server, FrameLimits, ServerFrame};
use interlink_wire as wire;

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// With the first process.
    Old,
    /// On its way, since its move was due.
    Moving(u64),
    /// With the second process.
    New,
}

/// The traffic.
pub struct DrainLoad {
    /// Events and their checks.
    pub traffic: CrashLoad,
    places: Vec<Place>,
    /// When each `Reconnect` came, in order.
    pub reconnects_ns: Vec<u64>,
    /// From the time of the move that the server set to the last subscription.
    pub interruption: Latency,
    /// Clients that have moved.
    pub moved: u32,
    /// Connections that ended without a `Reconnect`.
    pub ended_unasked: u64,
    last_old_ack_ns: u64,
    first_new_ack_ns: Option<u64>,
}

impl DrainLoad {
    /// The traffic of clients that are all with the first process.
    pub fn new(traffic: CrashLoad) -> Self {
        Self {
            places: vec![Place::Old; traffic.users.len()],
            traffic,
            reconnects_ns: Vec::new(),
            interruption: Latency::new(),
            moved: 0,
            ended_unasked: 0,
            last_old_ack_ns: 0,
            first_new_ack_ns: None,
        }
    }

    /// From the last acknowledgement of the first process to the first of the second, in
    /// milliseconds.
    pub fn publish_pause_ms(&self) -> f64 {
        self.first_new_ack_ns.map_or(f64::NAN, |first| {
            first.saturating_sub(self.last_old_ack_ns) as f64 / 1e6
        })
    }

    /// Most `Reconnect` frames within any second.
    pub fn most_reconnects_in_a_second(&self) -> u64 {
        most_in_a_second(&self.reconnects_ns)
    }

    fn on_reconnect(&mut self, link: &Link, client: u32, delay_ms: u32) {
        self.reconnects_ns.push(link.now_ns);
        let due_ns = link.now_ns + u64::from(delay_ms) * 1_000_000;
        self.places[client as usize] = Place::Moving(due_ns);
    }

    fn note_ack(&mut self, link: &Link, client: u32) {
        match self.places[client as usize] {
            Place::Old => self.last_old_ack_ns = link.now_ns,
            Place::New => self.first_new_ack_ns = self.first_new_ack_ns.or(Some(link.now_ns)),
            Place::Moving(_) => {}
        }
    }
}

/// Most of `times`, which ascend, within any second.
fn most_in_a_second(times: &[u64]) -> u64 {
    let mut first = 0;
    let mut most = 0;
    for (index, time) in times.iter().enumerate() {
        while time - times[first] >= 1_000_000_000 {
            first += 1;
        }
        most = most.max(index + 1 - first);
    }
    most as u64
}

impl Workload for DrainLoad {
    fn on_turn(&mut self, link: &mut Link) -> u64 {
        self.traffic.on_turn(link)
    }

    fn hello(&mut self, client: u32, writer: &mut FrameWriter, out: &mut Vec<u8>) {
        self.traffic.hello(client, writer, out);
    }

    fn subscribe(&mut self, client: u32, writer: &mut FrameWriter, out: &mut Vec<u8>) {
        self.traffic.subscribe(client, writer, out);
    }

    fn on_live(&mut self, link: &mut Link, client: u32) {
        let place = &mut self.places[client as usize];
        if let Place::Moving(due_ns) = *place {
            *place = Place::New;
            self.moved += 1;
            self.interruption.record(link.now_ns.saturating_sub(due_ns));
        }
        self.traffic.on_live(link, client);
    }

    fn on_frame(&mut self, link: &mut Link, client: u32, kind: wire::Body, frame: &[u8]) {
        match kind {
            wire::Body::Reconnect => {
                let order = decode_server(frame, &FrameLimits::SERVER);
                if let Ok(ServerFrame::Reconnect(order)) = order {
                    self.on_reconnect(link, client, order.delay_ms());
                    return;
                }
            }
            wire::Body::PublishAck => {
                let ack = peek::body(frame).map(|(_, body)| peek::Ack::read(&body));
                if ack.is_some_and(|ack| ack.status == wire::PublishStatus::Accepted) {
                    self.note_ack(link, client);
                }
            }
            _ => {}
        }
        self.traffic.on_frame(link, client, kind, frame);
    }

    fn on_end(&mut self, link: &mut Link, client: u32, cause: EndCause) {
        // The close frame comes with the `Reconnect`; the client comes back at once.
        let is_asked = matches!(self.places[client as usize], Place::Moving(_));
        self.ended_unasked += u64::from(self.traffic.reconnects && !is_asked);
        self.traffic.on_end(link, client, cause);
    }
}

impl Counted for DrainLoad {
    fn ends(&self) -> &Ends {
        self.traffic.ends()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fullest_second_is_found_wherever_it_begins() {
        assert_eq!(most_in_a_second(&[]), 0);
        let second = 1_000_000_000;
        assert_eq!(most_in_a_second(&[5, 5 + second]), 1);
        assert_eq!(most_in_a_second(&[0, second - 1, second, second + 1]), 3);
        let even: Vec<u64> = (0..5_000).map(|number| number * 10_000_000).collect();
        assert_eq!(most_in_a_second(&even), 100);
    }
}
