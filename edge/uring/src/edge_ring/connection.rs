//! Operations of installed connections: receive, poll, close.
//!
//! **Invariants.** A connection has at most one receive and one poll in the kernel. Operations
//! are cancelled by their user data, never by descriptor, which would scan all operations of the
//! ring. A close cancels what is armed and frees the slot in one submit: freeing the slot alone
//! would leave the connection alive through the armed receive.

use io_uring::{opcode, squeue, types};

use super::EdgeRing;
use crate::event::{EndReason, Event};
use crate::limits::CLOSES_PER_TURN;
use crate::operation::{Operation, Tag};
use crate::ring::slots::{SlotState, CLOSING, POLLING, REARM, RECEIVING, STARVED, STOPPING};
use crate::ring::{receive_entry, Leaving};
use crate::socket_id::SocketId;

impl EdgeRing {
    /// The state of a connection that the caller has not closed.
    pub(super) fn open_slot(&mut self, socket: SocketId) -> Option<&mut SlotState> {
        let ring = self.rings.get_mut(usize::from(socket.ring()))?;
        ring.slots.open(socket.slot(), socket.generation())
    }

    pub(super) fn arm(&mut self, socket: SocketId) {
        let Some(state) = self.open_slot(socket) else {
            return;
        };
        if state.has(STOPPING) {
            state.set(REARM);
        }
        if state.has(RECEIVING) || state.has(STARVED) {
            return;
        }
        state.set(RECEIVING);
        let slot = types::Fixed(socket.slot());
        let entry = receive_entry(slot.into(), self.features.bundled_receive, true)
            .user_data(Tag::socket(Operation::Receive, socket).bits());
        self.push(socket, &entry);
    }

    pub(super) fn stop(&mut self, socket: SocketId) {
        let Some(state) = self.open_slot(socket) else {
            return;
        };
        if state.has(STARVED) {
            state.clear(STARVED);
            let reason = EndReason::Stopped;
            self.pending
                .push_back(Event::ReceiveEnded { socket, reason });
            return;
        }
        state.clear(REARM);
        if !state.has(RECEIVING) || state.has(STOPPING) {
            return;
        }
        state.set(STOPPING);
        self.cancel(socket, RECEIVING);
    }

    pub(super) fn poll(&mut self, socket: SocketId) {
        let Some(state) = self.open_slot(socket) else {
            return;
        };
        if state.has(POLLING) {
            return;
        }
        state.set(POLLING);
        let entry = opcode::PollAdd::new(types::Fixed(socket.slot()), libc::POLLOUT as u32)
            .build()
            .user_data(Tag::socket(Operation::Poll, socket).bits());
        self.push(socket, &entry);
    }

    pub(super) fn close_later(&mut self, socket: SocketId) {
        let Some(state) = self.open_slot(socket) else {
            return;
        };
        state.set(CLOSING);
        self.closes.push_back(socket);
    }

    /// Submits the closes of this turn.
    pub(super) fn submit_closes(&mut self) {
        while self.closes_this_turn < CLOSES_PER_TURN {
            let Some(socket) = self.closes.pop_front() else {
                return;
            };
            self.closes_this_turn += 1;
            self.submit_close(socket);
        }
    }

    fn submit_close(&mut self, socket: SocketId) {
        let ring = &mut self.rings[usize::from(socket.ring())];
        // Both cancels and the close leave in one submit.
        ring.reserve(3, &mut self.counters);
        let state = ring.slots.slot(socket.slot());
        let mut armed = 0;
        for flag in [RECEIVING, POLLING] {
            if state.has(flag) {
                armed |= flag;
            }
        }
        // Completions that come from now on no longer match the slot.
        state.retire();
        ring.leaving.push(Leaving {
            socket,
            armed,
            closing: true,
        });
        for flag in [RECEIVING, POLLING] {
            if armed & flag != 0 {
                self.cancel(socket, flag);
            }
        }
        let entry = opcode::Close::new(types::Fixed(socket.slot()))
            .build()
            .user_data(Tag::socket(Operation::Close, socket).bits());
        self.push(socket, &entry);
    }

    fn cancel(&mut self, socket: SocketId, flag: u8) {
        let (target, cancel) = if flag == RECEIVING {
            (Operation::Receive, Operation::CancelReceive)
        } else {
            (Operation::Poll, Operation::CancelPoll)
        };
        let entry = opcode::AsyncCancel::new(Tag::socket(target, socket).bits())
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(Tag::socket(cancel, socket).bits());
        self.push(socket, &entry);
    }

    /// A cancel did not find its operation. Mostly the operation has ended and its completion is
    /// read by now; when it was just being run, it is still there and is cancelled again.
    pub(super) fn cancel_failed(&mut self, ring: usize, socket: SocketId, flag: u8) {
        let ring = &mut self.rings[ring];
        let again = match ring.slots.current(socket.slot(), socket.generation()) {
            Some(state) => flag == RECEIVING && state.has(RECEIVING) && state.has(STOPPING),
            None => {
                let mut leaving = ring.leaving.iter();
                leaving.any(|entry| entry.socket == socket && entry.armed & flag != 0)
            }
        };
        if again {
            self.cancel(socket, flag);
        }
    }

    fn push(&mut self, socket: SocketId, entry: &squeue::Entry) {
        let ring = &mut self.rings[usize::from(socket.ring())];
        // SAFETY: receives take their memory from the ring's buffers, which outlive the ring;
        // polls, cancels and closes point at no memory.
        unsafe { ring.push(entry, &mut self.counters) };
    }

    /// Gives consumed buffers back and arms starved receives, as many as there are buffers.
    pub(super) fn settle_buffers(&mut self) {
        let mut rings = self.unsettled;
        while rings != 0 {
            let number = rings.trailing_zeros() as usize;
            rings &= rings - 1;
            let ring = &mut self.rings[number];
            let given = ring.buffers.give_back();
            let available = ring.buffers.available();
            let whole = available == ring.buffers.count();
            // Without a buffer more than before, a starved receive would starve again at once.
            if given > 0 || whole {
                for _ in 0..available {
                    let Some(socket) = self.rings[number].starved.pop_front() else {
                        break;
                    };
                    self.arm_starved(socket);
                }
                if number == 0 {
                    self.arm_starved_handshakes(usize::from(available));
                }
            }
            let starved = !self.rings[number].starved.is_empty()
                || (number == 0 && self.handshakes.starving());
            if whole && !starved {
                self.unsettled &= !(1 << number);
            }
        }
    }

    fn arm_starved(&mut self, socket: SocketId) {
        if let Some(state) = self.open_slot(socket).filter(|state| state.has(STARVED)) {
            state.clear(STARVED);
            self.arm(socket);
        }
    }
}
