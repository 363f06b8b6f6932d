//! Traffic of the bare fan-out reference: the next trigger when every byte of the last is here.
//!
//! Runs on: the generator's thread.

use super::settle::{Counted, Ends};
use crate::engine::{EndCause, Link, Workload};

/// Triggers and what they caused.
pub struct PushLoad {
    trigger_bytes: usize,
    /// Bytes of one round over all sockets.
    round_bytes: u64,
    received: u64,
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
            ends: Ends::default(),
            rounds: 0,
        }
    }

    /// Sends the first trigger, on the first client, whose connection came first.
    pub fn begin(&mut self, link: &mut Link) {
        let bytes = self.trigger_bytes;
        link.write(0, |_, out| out.resize(out.len() + bytes, b'.'));
    }
}

impl Workload for PushLoad {
    fn on_turn(&mut self, _: &mut Link) -> u64 {
        u64::MAX
    }

    fn on_bytes(&mut self, link: &mut Link, _: u32, bytes: &[u8]) {
        self.received += bytes.len() as u64;
        if self.received >= self.round_bytes {
            self.received -= self.round_bytes;
            self.rounds += 1;
            self.begin(link);
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
