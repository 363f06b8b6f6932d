//! Single receives on descriptors that no ring owns yet.
//!
//! **Invariants.** One receive at a time for each slot that the caller names.
//!
//! **Limits.** The table grows to the highest slot that the caller uses: 16 bytes a slot.

use std::collections::VecDeque;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::EdgeRing;
use crate::event::{EndReason, Event, HandshakeId};
use crate::operation::{Operation, Tag};
use crate::ring::{receive_entry, Completion};
use crate::socket_id::FIELD_MASK;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Armed,
    Stopping,
    /// Waits for buffers.
    Starved,
}

#[derive(Clone, Copy)]
struct Entry {
    generation: u32,
    descriptor: RawFd,
    phase: Phase,
}

/// The single receives under way.
#[derive(Default)]
pub(super) struct Handshakes {
    entries: Vec<Entry>,
    starved: VecDeque<HandshakeId>,
}

impl Handshakes {
    /// The entry of a receive that is under way.
    fn current(&mut self, handshake: HandshakeId) -> Option<&mut Entry> {
        self.entries
            .get_mut(handshake.slot as usize)
            .filter(|entry| entry.generation == handshake.generation && entry.phase != Phase::Idle)
    }

    pub(super) fn starving(&self) -> bool {
        !self.starved.is_empty()
    }
}

impl EdgeRing {
    /// # Panics
    /// When the slot's earlier receive is still under way, or a number is not below 2^24.
    pub(super) fn receive_handshake(&mut self, handshake: HandshakeId, descriptor: RawFd) {
        assert!(handshake.slot <= FIELD_MASK && handshake.generation <= FIELD_MASK);
        let entries = &mut self.handshakes.entries;
        let slot = handshake.slot as usize;
        if entries.len() <= slot {
            let idle = Entry {
                generation: 0,
                descriptor: -1,
                phase: Phase::Idle,
            };
            entries.resize(slot + 1, idle);
        }
        assert!(
            entries[slot].phase == Phase::Idle,
            "one receive at a time a handshake"
        );
        let generation = handshake.generation;
        entries[slot] = Entry {
            generation,
            descriptor,
            phase: Phase::Armed,
        };
        self.push_receive_once(handshake, descriptor);
    }

    pub(super) fn cancel_handshake(&mut self, handshake: HandshakeId) {
        let Some(entry) = self.handshakes.current(handshake) else {
            return;
        };
        match entry.phase {
            Phase::Starved => {
                entry.phase = Phase::Idle;
                let reason = EndReason::Stopped;
                self.pending
                    .push_back(Event::HandshakeEnded { handshake, reason });
            }
            Phase::Armed => {
                entry.phase = Phase::Stopping;
                self.push_cancel_once(handshake);
            }
            Phase::Idle | Phase::Stopping => {}
        }
    }

    /// A cancel found nothing: it is repeated as long as the receive has not ended.
    pub(super) fn cancel_handshake_failed(&mut self, handshake: HandshakeId) {
        let entry = self.handshakes.current(handshake);
        if entry.is_some_and(|entry| entry.phase == Phase::Stopping) {
            self.push_cancel_once(handshake);
        }
    }

    pub(super) fn handshake_received(
        &mut self,
        ring: usize,
        completion: &Completion,
    ) -> Option<Event> {
        let handshake = completion.tag.handshake_id();
        let bytes = self.take_bytes(ring, completion);
        let Some(entry) = self.handshakes.current(handshake) else {
            self.counters.stale_completions += 1;
            return None;
        };
        let stopping = entry.phase == Phase::Stopping;
        entry.phase = Phase::Idle;
        if let Some(bytes) = bytes {
            return Some(Event::HandshakeReceived { handshake, bytes });
        }
        let reason = match -completion.result {
            0 => EndReason::Closed,
            libc::ECANCELED | libc::ENOBUFS | libc::EINTR if stopping => EndReason::Stopped,
            libc::ENOBUFS => {
                entry.phase = Phase::Starved;
                self.handshakes.starved.push_back(handshake);
                self.counters.starved += 1;
                self.unsettled |= 1 << ring;
                return None;
            }
            errno => EndReason::Failed(errno),
        };
        Some(Event::HandshakeEnded { handshake, reason })
    }

    pub(super) fn arm_starved_handshakes(&mut self, at_most: usize) {
        for _ in 0..at_most {
            let Some(handshake) = self.handshakes.starved.pop_front() else {
                return;
            };
            let Some(entry) = self.handshakes.current(handshake) else {
                continue;
            };
            if entry.phase == Phase::Starved {
                entry.phase = Phase::Armed;
                let descriptor = entry.descriptor;
                self.push_receive_once(handshake, descriptor);
            }
        }
    }

    fn push_receive_once(&mut self, handshake: HandshakeId, descriptor: RawFd) {
        let target = types::Fd(descriptor);
        // Not bundled: a single bundled receive goes on past its length while more is there.
        let entry = receive_entry(target.into(), false, false)
            .user_data(Tag::handshake(Operation::ReceiveOnce, handshake).bits());
        // SAFETY: the receive takes its memory from the ring's buffers, which outlive the ring.
        unsafe { self.rings[0].push(&entry, &mut self.counters) };
    }

    fn push_cancel_once(&mut self, handshake: HandshakeId) {
        let target = Tag::handshake(Operation::ReceiveOnce, handshake).bits();
        let entry = opcode::AsyncCancel::new(target)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(Tag::handshake(Operation::CancelOnce, handshake).bits());
        // SAFETY: a cancel points at no memory.
        unsafe { self.rings[0].push(&entry, &mut self.counters) };
    }
}
