//! Sends that are over when the call returns.
//!
//! **Invariants.** A send never waits in the kernel: MSG_DONTWAIT makes it end inside the enter
//! that submits it, so the caller's bytes are free afterwards. Success posts no completion; a
//! short, refused or failed send posts one, which is read before the call returns. One send for
//! each socket and batch, because a second one could leave after a short first one and tear the
//! stream. Sends are never linked, drained or forced to a worker thread: each of these would let
//! them outlast the call.

use io_uring::{opcode, squeue, types};

use super::EdgeRing;
use crate::kernel::{Send, SendOutcome, SendTarget};
use crate::limits::SEND_BATCH;
use crate::operation::{Operation, Tag};

const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;

impl EdgeRing {
    pub(super) fn send_batch(&mut self, batch: &[Send<'_>], outcomes: &mut Vec<SendOutcome>) {
        assert!(
            batch.len() <= SEND_BATCH,
            "a batch holds at most {SEND_BATCH} sends"
        );
        debug_assert!(targets_differ(batch), "one send for each target and batch");
        outcomes.clear();
        outcomes.resize(batch.len(), SendOutcome::Sent);
        let sequence = self.next_sequence();
        let mut rings = 0_u64;
        for (index, send) in batch.iter().enumerate() {
            self.counters.sends += 1;
            self.counters.sent_bytes += send.bytes.len() as u64;
            if send.bytes.is_empty() {
                continue;
            }
            let tag = Tag::numbered(Operation::Send, sequence, index as u32);
            if !self.queue_send(send, tag, &mut rings) {
                outcomes[index] = SendOutcome::Failed(libc::EBADF);
            }
        }
        while rings != 0 {
            let ring = rings.trailing_zeros() as usize;
            rings &= rings - 1;
            self.run_sends(ring, sequence, batch, outcomes);
        }
        self.count_outcomes(batch, outcomes);
    }

    /// Queues one send and marks its ring; `false` for a connection that is not open.
    fn queue_send(&mut self, send: &Send<'_>, tag: Tag, rings: &mut u64) -> bool {
        let len = u32::try_from(send.bytes.len()).unwrap_or(u32::MAX);
        let start = send.bytes.as_ptr();
        let (number, entry) = match send.target {
            SendTarget::Socket(socket) => {
                if self.open_slot(socket).is_none() {
                    return false;
                }
                let slot = types::Fixed(socket.slot());
                (
                    usize::from(socket.ring()),
                    opcode::Send::new(slot, start, len),
                )
            }
            SendTarget::Descriptor(descriptor) => {
                (0, opcode::Send::new(types::Fd(descriptor), start, len))
            }
        };
        let entry = entry
            .flags(FLAGS)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(tag.bits());
        if *rings & (1 << number) == 0 {
            // The whole batch leaves in one submit, so that its completions come after those
            // that are unread by then.
            self.rings[number].reserve(SEND_BATCH, &mut self.counters);
            *rings |= 1 << number;
        }
        // SAFETY: the bytes are lent for the duration of `send_batch`, which submits the entry
        // before it returns; the send ends inside that submit (see the module's invariants), and
        // a ring that refuses the submit is never entered again.
        unsafe { self.rings[number].push(&entry, &mut self.counters) };
        true
    }

    fn run_sends(
        &mut self,
        number: usize,
        sequence: u32,
        batch: &[Send<'_>],
        outcomes: &mut [SendOutcome],
    ) {
        let ring = &mut self.rings[number];
        let unread = ring.unread();
        // Deferred work runs along when nothing is unread, which saves the turn's next enter;
        // otherwise every batch of a long fan-out would fill further receive buffers.
        let run = unread == 0 && ring.deferred();
        let mut refused = ring.submit(run, &mut self.counters).is_err();
        let mut read = |ring: &mut crate::ring::Ring, skip: usize| {
            ring.look(skip, |completion| {
                let numbers = completion.tag.id();
                let ours = completion.tag.operation() == Some(Operation::Send)
                    && numbers.generation() == sequence;
                if ours {
                    let index = numbers.slot() as usize;
                    outcomes[index] = outcome(completion.result, batch[index].bytes.len());
                }
            });
        };
        read(ring, unread);
        if ring.overflown() {
            // What the kernel holds back may be ours: everything is read again afterwards.
            refused |= ring.flush_overflow(&mut self.counters).is_err();
            read(ring, 0);
        }
        if ring.unread() > 0 {
            self.ready |= 1 << number;
        }
        if refused {
            // The ring takes nothing any more; the next enter tells the caller.
            for (send, outcome) in batch.iter().zip(outcomes) {
                if ring_of(send.target) == number {
                    *outcome = SendOutcome::Failed(libc::EIO);
                }
            }
        }
    }

    fn count_outcomes(&mut self, batch: &[Send<'_>], outcomes: &[SendOutcome]) {
        for (send, outcome) in batch.iter().zip(outcomes) {
            let left = match *outcome {
                SendOutcome::Sent => continue,
                SendOutcome::Short(sent) => {
                    self.counters.sends_short += 1;
                    send.bytes.len() as u64 - u64::from(sent)
                }
                SendOutcome::Blocked => {
                    self.counters.sends_blocked += 1;
                    send.bytes.len() as u64
                }
                SendOutcome::Failed(_) => {
                    self.counters.sends_failed += 1;
                    send.bytes.len() as u64
                }
            };
            self.counters.sent_bytes -= left;
        }
    }
}

/// What the completion of a send of `len` bytes means.
fn outcome(result: i32, len: usize) -> SendOutcome {
    match result {
        0 => SendOutcome::Blocked,
        sent if sent > 0 && sent as usize >= len => SendOutcome::Sent,
        sent if sent > 0 => SendOutcome::Short(sent as u32),
        refused if -refused == libc::EAGAIN => SendOutcome::Blocked,
        failed => SendOutcome::Failed(-failed),
    }
}

fn ring_of(target: SendTarget) -> usize {
    match target {
        SendTarget::Socket(socket) => usize::from(socket.ring()),
        SendTarget::Descriptor(_) => 0,
    }
}

fn targets_differ(batch: &[Send<'_>]) -> bool {
    batch
        .iter()
        .enumerate()
        .all(|(i, a)| batch[..i].iter().all(|b| a.target != b.target))
}
