//! Ends of handshakes that take too long.
//!
//! Purpose: each stage of a handshake has its time; when there is no room for new clients, those
//! that took longer than [`EVICTABLE_AFTER_MS`] make some.
//!
//! Invariant: every handshake waits in the queue of its stage, so the fronts are all that has to
//! be looked at.
//!
//! Thread: the shard that accepted.

use interlink_protocol::websocket::close;
use interlink_protocol::websocket::handshake::write_refusal;
use interlink_protocol::CloseCode;
use interlink_uring::{HandshakeId, Kernel};

use super::handshake::{Stage, TIMED_STAGES};
use super::Shard;

/// Handshakes older than this make room when the bound is reached.
const EVICTABLE_AFTER_MS: u32 = 1_000;

impl Shard {
    /// Time for a stage, or [`EVICTABLE_AFTER_MS`] when there is no room.
    fn stage_time_ms(&self, queue: usize, crowded: bool) -> u32 {
        let times = [
            self.limits.handshake_timeout_ms,
            self.limits.hello_timeout_ms,
            EVICTABLE_AFTER_MS,
        ];
        match crowded {
            true => times[queue].min(EVICTABLE_AFTER_MS),
            false => times[queue],
        }
    }

    /// When the next stage is out of time, in shard milliseconds.
    pub(super) fn next_handshake_deadline_ms(&self) -> Option<u32> {
        let crowded = self.accepts_are_full();
        let queues = self.handshakes.order.iter().enumerate();
        let deadlines = queues.filter_map(|(queue, order)| {
            let (_, since_ms) = order.front()?;
            Some(since_ms + self.stage_time_ms(queue, crowded))
        });
        deadlines.min()
    }

    /// Ends handshakes past their deadline, or past [`EVICTABLE_AFTER_MS`] when there is no room.
    pub(super) fn expire_handshakes<K: Kernel>(&mut self, kernel: &mut K) {
        let crowded = self.accepts_are_full();
        for queue in 0..TIMED_STAGES {
            let time_ms = self.stage_time_ms(queue, crowded);
            while let Some(&(id, since_ms)) = self.handshakes.order[queue].front() {
                let live = self.handshakes.is_in(queue, id, since_ms);
                if live && self.clock.now_ms.wrapping_sub(since_ms) < time_ms {
                    break;
                }
                self.handshakes.order[queue].pop_front();
                if live {
                    self.expire_handshake(kernel, id);
                }
            }
        }
    }

    fn expire_handshake<K: Kernel>(&mut self, kernel: &mut K, id: HandshakeId) {
        let stage = self.handshake_mut(id.slot).stage;
        let mut answer = Vec::new();
        match stage {
            Stage::Request(_) => {
                self.counters.handshakes_evicted += 1;
                write_refusal(408, "send the whole upgrade request in time", &mut answer);
            }
            Stage::Hello => {
                self.counters.handshakes_evicted += 1;
                let code = CloseCode::HelloTimeout;
                self.counters.closes.add(code);
                close::append_server_close(Some(code.number()), code.meaning(), &mut answer);
            }
            // A proxy reads no answer.
            Stage::Proxy => self.counters.handshakes_evicted += 1,
            Stage::Discard | Stage::Over => {}
        }
        // Within TLS nothing can be said before its own handshake is over.
        if !answer.is_empty() && self.is_readable(id.slot) {
            self.answer(kernel, id.slot, &answer, true);
        }
        // The slot is freed when the receive reports its end, or bytes that came before it.
        self.handshakes
            .enter(id.slot, Stage::Over, self.clock.now_ms);
        kernel.cancel_once(id);
    }
}
