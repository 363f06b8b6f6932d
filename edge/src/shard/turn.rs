//! One turn of a shard: what arrived in, what is due out, within a budget.
//!
//! Purpose: the loop's body, readable in one sitting. A turn takes at most
//! [`EVENTS_PER_TURN`] completions, one portion of each lane, what the wheel and
//! the queues of deadlines hold, and sends at most one batch a priority round.
//!
//! Invariants: bytes of a completion are used up before the turn ends; nothing
//! waits on another thread; the kernel is entered once for what was queued, and
//! once for each batch of sends.
//!
//! Thread: the shard.

use interlink_uring::driver::{Next, Turn};
use interlink_uring::{EndReason, Event, Kernel, SocketId};

use super::warm::look_ahead;
use super::Shard;

/// Completions that one turn takes before it lets sends go out.
pub const EVENTS_PER_TURN: usize = 64;
/// Frames after which it takes no further completion: about as long as its sends take, so that
/// neither side starves the other. One completion carries at most 4 KiB.
const FRAMES_PER_TURN: u64 = 64;
/// Times that a turn enters the kernel for completions. One enter runs at most 20 deferred
/// items, and what waits behind them may be P0.
const ENTERS_PER_TURN: usize = 2;
/// Completions that one enter brings at most.
const EVENTS_PER_ENTER: usize = 20;
/// Sends that one turn makes.
pub const SENDS_PER_TURN: usize = 32;
/// Longest sleep, so that counters and liveness move on an idle shard.
const SLEEP_MAX_NS: u64 = 500_000_000;

impl Turn for Shard {
    fn turn(&mut self, kernel: &mut impl Kernel, now_ns: u64) -> Next {
        self.begin_measured_turn(now_ns);
        self.mesh.unpark();
        self.take_course();
        self.take_key_changes();
        let mut busy = self.take_events(kernel);
        busy |= self.take_lane_entries();
        busy |= self.take_submissions();
        self.take_file_replies();
        self.take_over_unmarked();
        self.take_due();
        self.keep_cursors();
        busy |= self.install_arrivals(kernel);
        busy |= self.run_journal(kernel, busy);
        self.keep_presence();
        busy |= self.send_some(kernel);
        self.keep_pauses(kernel);
        self.close_some(kernel);
        self.keep_accepting(kernel);
        self.ring_doorbells();
        let next = self.next_step(busy);
        self.publish_counters(kernel, next != Next::Again);
        next
    }

    fn rests(&mut self, now_ns: u64) {
        self.end_measured_turn(now_ns);
    }
}

impl Shard {
    fn take_events<K: Kernel>(&mut self, kernel: &mut K) -> bool {
        let frames_max = self.counters.frames_in + FRAMES_PER_TURN;
        let mut ahead = std::mem::take(&mut self.ahead);
        let (mut taken, mut of_enter, mut enters) = (0, 0, 1);
        while taken < EVENTS_PER_TURN && self.counters.frames_in < frames_max {
            look_ahead(kernel, &mut ahead);
            if ahead.is_empty() {
                if of_enter < EVENTS_PER_ENTER || enters == ENTERS_PER_TURN {
                    break;
                }
                // An error shows again when the loop enters.
                if kernel.enter().is_err() {
                    break;
                }
                (of_enter, enters) = (0, enters + 1);
                continue;
            }
            self.warm(&ahead);
            (taken, of_enter) = (taken + ahead.len(), of_enter + ahead.len());
            for event in ahead.drain(..) {
                self.on_event(kernel, event);
            }
        }
        self.ahead = ahead;
        taken > 0
    }

    fn on_event<K: Kernel>(&mut self, kernel: &mut K, event: Event) {
        match event {
            Event::Received { socket, bytes } => {
                if let Some(connection) = self.connection_of(socket) {
                    self.on_bytes(connection, kernel.bytes_mut(&bytes));
                }
            }
            Event::HandshakeReceived { handshake, bytes } => {
                self.on_handshake_bytes(handshake, kernel.bytes_mut(&bytes));
                self.advance_handshakes(kernel);
            }
            Event::Accepted {
                descriptor, peer, ..
            } => self.on_accepted(kernel, descriptor, peer),
            Event::AcceptFailed { errno, .. } => self.on_accept_failed(errno),
            Event::ReceiveEnded { socket, reason } => self.on_receive_ended(socket, reason),
            Event::HandshakeEnded { handshake, .. } => self.drop_handshake(handshake),
            Event::Writable { socket } => self.on_writable(socket),
            Event::Closed { socket } => self.on_closed(socket),
            Event::Written {
                token,
                result,
                buffer,
            } => self.on_written(token, result, buffer),
            Event::Synced { token, result } => self.on_synced(token, result),
            Event::Timer => {}
        }
    }

    fn on_receive_ended(&mut self, socket: SocketId, reason: EndReason) {
        let Some(connection) = self.connection_of(socket) else {
            return;
        };
        self.connections[connection].clear(super::connection::RECEIVING);
        match reason {
            EndReason::Stopped => {}
            EndReason::Closed | EndReason::Failed(_) => self.close_lost(connection),
        }
    }

    fn next_step(&mut self, busy: bool) -> Next {
        if self.follow_course() {
            return Next::Stop;
        }
        if busy || self.has_work() {
            return Next::Again;
        }
        if !self.mesh.park() || self.course_has_changed() {
            return Next::Again;
        }
        let limit = self.clock.now_ns + SLEEP_MAX_NS;
        Next::SleepUntil(Some(
            self.next_deadline_ns().map_or(limit, |at| at.min(limit)),
        ))
    }
}
