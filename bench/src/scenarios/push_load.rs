//! Traffic of the bare fan-out reference: the next trigger when every byte of the last is here,
//! after the same rest as on the edge.
//!
//! Runs on: the generator's thread.

use super::rounds::Rounds;
use super::settle::{Counted, Ends};
use crate::engine::{EndCause, Link, Workload};

/// Triggers and what they caused.
pub struct PushLoad {
    trigger_bytes: usize,
    /// Bytes of one round over all sockets.
    round_bytes: u64,
    received: u64,
    /// Every byte of the last trigger is here.
    is_over: bool,
    pace: Rounds,
    ends: Ends,
    /// Rounds that are complete.
    pub rounds: u64,
}

impl PushLoad {
    /// Triggers of so many bytes that cause so many bytes in all.
    pub fn new(trigger_bytes: u32, round_bytes: u64) -> Self {
        Self {
            trigger_bytes: trigger_bytes as usize,
            round_bytes,
            received: 0,
            is_over: false,
            pace: Rounds::default(),
            ends: Ends::default(),
            rounds: 0,
        }
    }

    /// Sends the first trigger, on the first client, whose connection came first.
    pub fn begin(&mut self, link: &mut Link) {
        let bytes = self.trigger_bytes;
        self.is_over = false;
        self.pace.begin(link.now_ns);
        link.write(0, |_, out| out.resize(out.len() + bytes, b'.'));
    }
}

impl Workload for PushLoad {
    fn on_turn(&mut self, link: &mut Link) -> u64 {
        if self.is_over && self.pace.may_begin(link.now_ns) {
            self.begin(link);
        }
        self.pace.next_ns()
    }

    fn on_bytes(&mut self, _: &mut Link, _: u32, bytes: &[u8]) {
        self.received += bytes.len() as u64;
        if self.received >= self.round_bytes {
            self.received -= self.round_bytes;
            self.rounds += 1;
            self.is_over = true;
        }
    }

    fn on_end(&mut self, _: &mut Link, _: u32, cause: EndCause) {
        self.ends.note(cause);
    }
}

impl Counted for PushLoad {
    fn ends(&self) -> &Ends {
        &self.ends
    }
}
