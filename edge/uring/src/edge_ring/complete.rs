//! Completions become events.
//!
//! **Invariants.** Each completion is looked at exactly once here. Buffers that it consumed are
//! marked whatever it belongs to, so that a stale one leaks nothing.

use super::EdgeRing;
use crate::event::{EndReason, Event, Received};
use crate::limits::{EVENTS_PER_RING_VISIT, RECEIVE_BYTES};
use crate::operation::Operation;
use crate::ring::slots::{CLOSING, POLLING, REARM, RECEIVING, STARVED, STOPPING};
use crate::ring::Completion;
use crate::socket_id::SocketId;

impl EdgeRing {
    /// The next unread completion with its ring: those of syncs first, then a visit's worth of
    /// urgent connections once a turn, then some from each ring in turn.
    pub(super) fn next_completion(&mut self) -> Option<(usize, Completion)> {
        if self.sync_ready {
            if let Some(completion) = self.sync_ring.next_completion() {
                // No sync asks for its ring.
                return Some((0, completion));
            }
            self.sync_ready = false;
        }
        while self.ready != 0 {
            let urgent = self.ready & self.urgent;
            if urgent != 0 && !self.urgent_visited {
                self.urgent_visited = true;
                self.visit(urgent.trailing_zeros() as usize);
            }
            if self.visit_left == 0 || self.ready & (1 << self.visited) == 0 {
                // The next ready ring after the visited one, wrapping around.
                let after = (u64::MAX << self.visited) << 1;
                let ahead = self.ready & after;
                let from = if ahead != 0 { ahead } else { self.ready };
                self.visit(from.trailing_zeros() as usize);
            }
            if let Some(completion) = self.rings[self.visited].next_completion() {
                self.note_visited(&completion);
                return Some((self.visited, completion));
            }
            self.ready &= !(1 << self.visited);
        }
        None
    }

    fn visit(&mut self, ring: usize) {
        self.visited = ring;
        self.visit_left = EVENTS_PER_RING_VISIT;
        self.visit_bytes = 0;
    }

    /// A visit ends with its events. One to urgent connections ends also with the bytes of one
    /// full receive, so that those who send much leave the turn to others.
    fn note_visited(&mut self, completion: &Completion) {
        self.visit_left -= 1;
        if self.urgent & (1 << self.visited) != 0 {
            self.visit_bytes += u32::try_from(completion.result).unwrap_or(0);
            if self.visit_bytes >= RECEIVE_BYTES {
                self.visit_left = 0;
            }
        }
    }

    /// Handles one completion; `None` when it concerns nobody outside.
    pub(super) fn complete(&mut self, ring: usize, completion: &Completion) -> Option<Event> {
        let id = completion.tag.id();
        match completion.tag.operation() {
            Some(Operation::Receive) => self.received(ring, completion),
            Some(Operation::ReceiveOnce) => self.handshake_received(ring, completion),
            Some(Operation::Poll) => self.polled(ring, id),
            Some(Operation::Close) => self.closed(ring, id),
            Some(Operation::CancelReceive) => {
                self.cancel_failed(ring, id, RECEIVING);
                None
            }
            Some(Operation::CancelPoll) => {
                self.cancel_failed(ring, id, POLLING);
                None
            }
            Some(Operation::CancelOnce) => {
                self.cancel_handshake_failed(completion.tag.handshake_id());
                None
            }
            Some(Operation::Accept) => self.accepted(id.slot(), completion.result),
            Some(Operation::CancelAccept) => {
                self.cancel_accept_failed(id.slot());
                None
            }
            Some(Operation::Sync) => self.files.complete(id.slot(), completion.result),
            Some(Operation::Timer) => self.timer_fired(),
            // Sends and installs were read by the call that made them; a deadline that came too
            // late to be replaced has fired.
            Some(Operation::Send | Operation::Install | Operation::TimerUpdate) => None,
            None => {
                self.counters.stale_completions += 1;
                None
            }
        }
    }

    /// Marks the buffers that a completion consumed.
    pub(super) fn take_bytes(&mut self, ring: usize, completion: &Completion) -> Option<Received> {
        let first = completion.buffer()?;
        let len = u32::try_from(completion.result).unwrap_or(0);
        let offset = self.rings[ring].buffers.take(first, len);
        self.unsettled |= 1 << ring;
        if len == 0 {
            return None;
        }
        self.counters.receives += 1;
        self.counters.received_bytes += u64::from(len);
        Some(Received {
            offset,
            len,
            turn: self.turn,
            ring: ring as u8,
        })
    }

    fn received(&mut self, ring: usize, completion: &Completion) -> Option<Event> {
        let socket = completion.tag.id();
        let more = completion.more();
        let bytes = self.take_bytes(ring, completion);
        let Some(state) = self.rings[ring]
            .slots
            .current(socket.slot(), socket.generation())
        else {
            self.counters.stale_completions += 1;
            if !more {
                return self.operation_left(ring, socket, RECEIVING);
            }
            return None;
        };
        let before = *state;
        if !more {
            state.clear(RECEIVING | STOPPING | REARM);
        }
        if before.has(CLOSING) {
            return None;
        }
        if let Some(bytes) = bytes {
            if !more {
                // The kernel may end a multishot receive beside handing out bytes, for reasons
                // of its own.
                if before.has(STOPPING) {
                    let reason = EndReason::Stopped;
                    self.pending
                        .push_back(Event::ReceiveEnded { socket, reason });
                }
                if before.has(REARM) || !before.has(STOPPING) {
                    self.arm(socket);
                }
            }
            return Some(Event::Received { socket, bytes });
        }
        if more {
            return None;
        }
        let reason = match completion.result {
            0 => EndReason::Closed,
            result if before.has(STOPPING) && ended_by_cancel(result) => {
                if before.has(REARM) {
                    self.arm(socket);
                }
                EndReason::Stopped
            }
            result if -result == libc::ENOBUFS => {
                self.counters.starved += 1;
                self.unsettled |= 1 << ring;
                let ring = &mut self.rings[ring];
                ring.slots.slot(socket.slot()).set(STARVED);
                ring.starved.push_back(socket);
                return None;
            }
            result => EndReason::Failed(-result),
        };
        Some(Event::ReceiveEnded { socket, reason })
    }

    fn polled(&mut self, ring: usize, socket: SocketId) -> Option<Event> {
        match self.rings[ring]
            .slots
            .current(socket.slot(), socket.generation())
        {
            Some(state) => {
                state.clear(POLLING);
                let open = !state.has(CLOSING);
                open.then_some(Event::Writable { socket })
            }
            None => {
                self.counters.stale_completions += 1;
                self.operation_left(ring, socket, POLLING)
            }
        }
    }

    fn closed(&mut self, ring: usize, socket: SocketId) -> Option<Event> {
        let leaving = &mut self.rings[ring].leaving;
        let entry = leaving.iter_mut().find(|entry| entry.socket == socket)?;
        entry.closing = false;
        self.left(ring, socket)
    }

    /// An operation of a connection that is being closed has ended.
    fn operation_left(&mut self, ring: usize, socket: SocketId, flag: u8) -> Option<Event> {
        let leaving = &mut self.rings[ring].leaving;
        let entry = leaving.iter_mut().find(|entry| entry.socket == socket)?;
        entry.armed &= !flag;
        self.left(ring, socket)
    }

    /// Reports the connection closed once nothing of it is left in the kernel.
    fn left(&mut self, ring: usize, socket: SocketId) -> Option<Event> {
        let ring = &mut self.rings[ring];
        let place = ring
            .leaving
            .iter()
            .position(|entry| entry.socket == socket)?;
        if ring.leaving[place].closing || ring.leaving[place].armed != 0 {
            return None;
        }
        ring.leaving.swap_remove(place);
        ring.used -= 1;
        self.counters.closed += 1;
        Some(Event::Closed { socket })
    }

    /// An event that waited may concern a connection that was closed meanwhile.
    pub(super) fn still_wanted(&mut self, event: &Event) -> bool {
        match *event {
            Event::ReceiveEnded { socket, .. } => self.open_slot(socket).is_some(),
            _ => true,
        }
    }
}

/// A receive under cancellation that ends so has ended by the cancellation.
fn ended_by_cancel(result: i32) -> bool {
    matches!(-result, libc::ECANCELED | libc::ENOBUFS | libc::EINTR)
}
