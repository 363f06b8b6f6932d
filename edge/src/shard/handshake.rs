//! From an accepted socket to a verified `Hello`.
//!
//! Purpose: the part of a connection's life that any shard may carry: HTTP upgrade
//! and `Hello`, with single receives on ordinary descriptors. What comes out is an
//! [`Arrival`] for the home shard of the user, with no operation in flight.
//!
//! Limits: 8 KiB and 64 headers for the request, one `Hello` of at most
//! [`HELLO_BYTES`], a deadline for each; the number of unfinished handshakes is
//! bounded for the whole process, and at the bound nobody new is accepted.
//!
//! `unsafe` stands here for one `shutdown`, which takes plain numbers.
//!
//! Thread: the shard that accepted.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;

use interlink_protocol::frame::{decode_client, ClientFrame, FrameLimits};
use interlink_protocol::limits::{HELLO_BYTES, SUBPROTOCOL};
use interlink_protocol::websocket::handshake::{parse_head, write_accept, write_refusal, HeadScan};
use interlink_protocol::websocket::{
    close, frame::append_server_frame, DataKind, Limits, Opcode, Reader, Step,
};
use interlink_protocol::ErrorCode;
use interlink_uring::{HandshakeId, Kernel, Send, SendOutcome, SendTarget};

use super::arrival::Arrival;
use super::secure::Secured;
use super::Shard;

/// Most bytes that a handshake keeps: a request head, or a `Hello` with its header.
const KEPT_BYTES: usize = HELLO_BYTES + 16;
/// Generations of handshake slots wrap below the kernel's 24 bits.
const GENERATION_MASK: u32 = (1 << 24) - 1;

/// What the handshake waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The header of a proxy, before anything of its client.
    Proxy,
    Request(HeadScan),
    Hello,
    /// Refused: what still comes is thrown away, so that the answer is not lost to a reset.
    Discard,
    /// Out of time: its receive is being cancelled, and bytes that come first end it as well.
    Over,
}

/// Stages with a time of their own; each is a queue by its start, so that a long time of one
/// does not hold up the end of another.
pub(super) const TIMED_STAGES: usize = 3;

impl Stage {
    /// The queue of the stage; what is over waits for nothing but its receive.
    fn queue(self) -> Option<usize> {
        match self {
            Stage::Proxy | Stage::Request(_) => Some(0),
            Stage::Hello => Some(1),
            Stage::Discard => Some(2),
            Stage::Over => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) descriptor: OwnedFd,
    /// The client, as far as it is known.
    pub(super) peer: SocketAddr,
    /// TLS, if the node serves it.
    pub(super) secure: Option<Secured>,
    pub(super) stage: Stage,
    stage_since_ms: u32,
    /// Bytes that did not end the stage yet, or answers on their way out.
    pub(super) kept: Vec<u8>,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    handshake: Option<Handshake>,
}

/// What a step of a handshake asks of the driver.
#[derive(Debug)]
pub(super) enum Next {
    /// Send the bytes, then receive again.
    AnswerAndReceive(u32, Vec<u8>),
    /// Receive again.
    Receive(u32),
    /// Send the bytes and close.
    AnswerAndDrop(u32, Vec<u8>),
    /// Close.
    Drop(u32),
    /// The connection goes to its home shard.
    Arrived(Box<Arrival>),
}

/// Unfinished handshakes of a shard.
#[derive(Debug, Default)]
pub struct Handshakes {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// For each timed stage, who entered it and when, oldest first; stale entries are skipped.
    pub(super) order: [VecDeque<(HandshakeId, u32)>; TIMED_STAGES],
    next: Vec<Next>,
    unfinished: usize,
}

impl Handshakes {
    /// Handshakes under way.
    pub fn unfinished(&self) -> usize {
        self.unfinished
    }

    fn start(&mut self, handshake: Handshake) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let entry = &mut self.slots[slot as usize];
        entry.generation = (entry.generation + 1) & GENERATION_MASK;
        let (stage, now_ms) = (handshake.stage, handshake.stage_since_ms);
        entry.handshake = Some(handshake);
        self.unfinished += 1;
        self.enter(slot, stage, now_ms);
        slot
    }

    /// A handshake enters a stage; a timed one begins now.
    pub(super) fn enter(&mut self, slot: u32, stage: Stage, now_ms: u32) {
        let id = self.id(slot);
        let Some(handshake) = &mut self.slots[slot as usize].handshake else {
            return;
        };
        handshake.stage = stage;
        handshake.stage_since_ms = now_ms;
        if let Some(queue) = stage.queue() {
            self.order[queue].push_back((id, now_ms));
        }
    }

    /// Whether the handshake is still in the stage that it entered then.
    pub(super) fn is_in(&self, queue: usize, id: HandshakeId, since_ms: u32) -> bool {
        let handshake = self.slots[id.slot as usize].handshake.as_ref();
        self.current(id)
            && handshake.is_some_and(|handshake| {
                handshake.stage.queue() == Some(queue) && handshake.stage_since_ms == since_ms
            })
    }

    fn end(&mut self, slot: u32) -> Option<Handshake> {
        let handshake = self.slots[slot as usize].handshake.take()?;
        self.free.push(slot);
        self.unfinished -= 1;
        Some(handshake)
    }

    fn id(&self, slot: u32) -> HandshakeId {
        let generation = self.slots[slot as usize].generation;
        HandshakeId { slot, generation }
    }

    fn current(&self, id: HandshakeId) -> bool {
        self.slots
            .get(id.slot as usize)
            .is_some_and(|slot| slot.generation == id.generation)
    }
}

impl Shard {
    /// A client connected.
    pub(super) fn on_accepted<K: Kernel>(
        &mut self,
        kernel: &mut K,
        descriptor: OwnedFd,
        peer: SocketAddr,
    ) {
        self.counters.connections_accepted += 1;
        let Some(stage) = self.first_stage(peer) else {
            return;
        };
        let Ok(secure) = self.new_secured() else {
            self.counters.tls_failures += 1;
            return;
        };
        self.shared
            .unfinished_handshakes
            .fetch_add(1, Ordering::Relaxed);
        let raw = descriptor.as_raw_fd();
        let slot = self.handshakes.start(Handshake {
            descriptor,
            peer,
            secure,
            stage,
            stage_since_ms: self.clock.now_ms,
            kept: Vec::new(),
        });
        kernel.receive_once(self.handshakes.id(slot), raw);
    }

    /// Bytes of a handshake arrived; what follows is noted for [`Self::advance_handshakes`].
    pub(super) fn on_handshake_bytes(&mut self, id: HandshakeId, bytes: &mut [u8]) {
        if !self.handshakes.current(id) {
            return;
        }
        let Some(handshake) = self.handshakes.slots[id.slot as usize].handshake.as_mut() else {
            return;
        };
        if handshake.stage == Stage::Over {
            // The bytes won the race against the cancel; nothing is in flight any more.
            return self.drop_slot(id.slot);
        }
        let next = match handshake.stage {
            Stage::Proxy => self.on_proxy_bytes(id.slot, bytes),
            _ => self.on_client_bytes(id.slot, bytes),
        };
        self.handshakes.next.push(next);
    }

    /// Takes what the client itself has sent.
    pub(super) fn on_client_bytes(&mut self, slot: u32, bytes: &mut [u8]) -> Next {
        match self.handshake_mut(slot).secure.take() {
            Some(secured) => self.on_secure_handshake(slot, secured, bytes),
            None => self.step_handshake(slot, bytes),
        }
    }

    /// Takes plaintext of a handshake.
    pub(super) fn step_handshake(&mut self, slot: u32, bytes: &mut [u8]) -> Next {
        match self.handshake_mut(slot).stage {
            Stage::Request(scan) => {
                let next = self.on_request_bytes(slot, scan, bytes);
                let refused = matches!(next, Next::AnswerAndDrop(..));
                self.counters.handshakes_refused += u64::from(refused);
                next
            }
            Stage::Hello => self.on_hello_bytes(slot, bytes),
            Stage::Proxy | Stage::Discard | Stage::Over => Next::Receive(slot),
        }
    }

    pub(super) fn handshake_mut(&mut self, slot: u32) -> &mut Handshake {
        self.handshakes.slots[slot as usize]
            .handshake
            .as_mut()
            .expect("the slot of a handshake step holds a handshake")
    }

    fn on_request_bytes(&mut self, slot: u32, mut scan: HeadScan, bytes: &[u8]) -> Next {
        let limits = self.limits.handshake;
        let handshake = self.handshake_mut(slot);
        let room = limits.header_bytes.saturating_sub(handshake.kept.len());
        handshake
            .kept
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        let head = match scan.advance(&handshake.kept, &limits) {
            Ok(Some(head)) => head,
            Ok(None) => {
                handshake.stage = Stage::Request(scan);
                return Next::Receive(slot);
            }
            Err(error) => return refuse(slot, error.status(), &error.to_string()),
        };
        let kept = std::mem::take(&mut handshake.kept);
        let request = match parse_head(&kept[..head], &limits) {
            Ok(request) => request,
            Err(error) => return refuse(slot, error.status(), &error.to_string()),
        };
        if request.path != self.limits.path {
            return refuse(slot, 404, "connect to the path of the WebSocket endpoint");
        }
        if !request.offers(SUBPROTOCOL) {
            return refuse(slot, 400, "offer the WebSocket subprotocol interlink.v1");
        }
        if !self.limits.origin_allowed(request.origin) {
            return refuse(slot, 403, "this origin is not in listen.allowed_origins");
        }
        let mut answer = Vec::with_capacity(192);
        write_accept(&request, Some(SUBPROTOCOL), &mut answer);
        let now_ms = self.clock.now_ms;
        self.handshakes.enter(slot, Stage::Hello, now_ms);
        // A client may send its Hello without waiting for the answer.
        let mut rest = kept;
        rest.drain(..head);
        self.handshake_mut(slot).kept = rest;
        Next::AnswerAndReceive(slot, answer)
    }

    fn on_hello_bytes(&mut self, slot: u32, bytes: &mut [u8]) -> Next {
        let handshake = self.handshake_mut(slot);
        if handshake.kept.is_empty() {
            return self.read_hello(slot, bytes);
        }
        let mut kept = std::mem::take(&mut handshake.kept);
        kept.extend_from_slice(bytes);
        self.read_hello(slot, &mut kept)
    }

    /// Looks for a complete `Hello` in `bytes`, which start at the first frame.
    fn read_hello(&mut self, slot: u32, bytes: &mut [u8]) -> Next {
        let mut reader = Reader::server();
        let limits = Limits {
            frame_bytes: HELLO_BYTES as u32,
            ..Limits::SESSION
        };
        let (payload_start, payload_end, consumed) = match reader.next(bytes, &limits) {
            Step::NeedMore { .. } => {
                if bytes.len() >= KEPT_BYTES {
                    return close_answer(slot, 1009, "the Hello is too large");
                }
                self.handshake_mut(slot).kept = bytes.to_vec();
                return Next::Receive(slot);
            }
            Step::Message {
                kind: DataKind::Binary,
                payload,
                consumed,
            } => (consumed - payload.len(), consumed, consumed),
            Step::Failed(violation) => {
                return close_answer(
                    slot,
                    violation.close_code(),
                    "the WebSocket frame is invalid",
                )
            }
            _ => return close_answer(slot, 1002, "the first message must be a binary Hello"),
        };
        let rest = bytes[consumed..].to_vec();
        self.admit(slot, &bytes[payload_start..payload_end], rest)
    }

    fn admit(&mut self, slot: u32, payload: &[u8], rest: Vec<u8>) -> Next {
        let hello = match decode_client(payload, &FrameLimits::HELLO) {
            Ok(ClientFrame::Hello(hello)) => hello,
            Ok(_) => return self.refuse_hello(slot, ErrorCode::UnexpectedFrame),
            Err(error) => return self.refuse_hello(slot, error.code()),
        };
        match self.verify_hello(&hello) {
            Ok(identity) => {
                let Some(handshake) = self.handshakes.end(slot) else {
                    return Next::Receive(slot);
                };
                self.shared
                    .unfinished_handshakes
                    .fetch_sub(1, Ordering::Relaxed);
                self.counters.handshakes_done += 1;
                self.shared.rates.authenticated(handshake.peer.ip());
                Next::Arrived(Box::new(Arrival {
                    descriptor: handshake.descriptor,
                    peer: handshake.peer,
                    secure: handshake.secure,
                    identity,
                    rest,
                }))
            }
            Err(refused) => {
                let peer = self.handshake_mut(slot).peer;
                self.note_failed_hello(peer.ip(), &refused);
                self.refuse_hello(slot, refused.code)
            }
        }
    }

    /// Answers a refused `Hello` with an `Error` frame and the matching close code.
    fn refuse_hello(&mut self, slot: u32, code: ErrorCode) -> Next {
        self.counters.tokens_refused += 1;
        let mut answer = Vec::with_capacity(256);
        let mut encoder = self.take_encoder();
        let frame = encoder.error(&super::replies::error_fields(code.into(), 0));
        append_server_frame(Opcode::Data(DataKind::Binary), true, frame, &mut answer);
        self.encoder = Some(encoder);
        let close = super::replies::close_for(code);
        close::append_server_close(Some(close.number()), code.meaning(), &mut answer);
        Next::AnswerAndDrop(slot, answer)
    }

    /// Carries out what the handshakes of this event asked for.
    pub(super) fn advance_handshakes<K: Kernel>(&mut self, kernel: &mut K) {
        while let Some(next) = self.handshakes.next.pop() {
            match next {
                Next::Receive(slot) => {
                    if self.answer(kernel, slot, &[], false) {
                        self.receive_handshake(kernel, slot);
                    } else {
                        self.drop_slot(slot);
                    }
                }
                Next::AnswerAndReceive(slot, answer) => {
                    if !self.answer(kernel, slot, &answer, false) {
                        self.drop_slot(slot);
                    } else if self.handshake_mut(slot).kept.is_empty() {
                        self.receive_handshake(kernel, slot);
                    } else {
                        let next = self.on_hello_bytes(slot, &mut []);
                        self.handshakes.next.push(next);
                    }
                }
                Next::AnswerAndDrop(slot, answer) => {
                    self.answer(kernel, slot, &answer, true);
                    self.discard_rest(kernel, slot);
                }
                Next::Drop(slot) => self.drop_slot(slot),
                Next::Arrived(arrival) => self.send_home(arrival),
            }
        }
    }

    fn receive_handshake<K: Kernel>(&mut self, kernel: &mut K, slot: u32) {
        let id = self.handshakes.id(slot);
        let descriptor = self.handshake_mut(slot).descriptor.as_raw_fd();
        kernel.receive_once(id, descriptor);
    }

    /// Ends our side of a refused connection and reads on, within the deadline, until the peer
    /// ends its own; closing with unread bytes would reset the connection and lose the answer.
    fn discard_rest<K: Kernel>(&mut self, kernel: &mut K, slot: u32) {
        let now_ms = self.clock.now_ms;
        self.handshakes.enter(slot, Stage::Discard, now_ms);
        let handshake = self.handshake_mut(slot);
        handshake.kept = Vec::new();
        handshake.secure = None;
        // SAFETY: shutdown takes plain numbers; the descriptor is open while the slot holds it.
        unsafe { libc::shutdown(handshake.descriptor.as_raw_fd(), libc::SHUT_WR) };
        self.receive_handshake(kernel, slot);
    }

    /// Sends a short answer on a fresh socket, whose buffer is empty.
    pub(super) fn send_whole<K: Kernel>(
        &mut self,
        kernel: &mut K,
        descriptor: RawFd,
        bytes: &[u8],
    ) -> bool {
        let mut outcomes = std::mem::take(&mut self.handshake_outcomes);
        outcomes.clear();
        let target = SendTarget::Descriptor(descriptor);
        kernel.send(&[Send { target, bytes }], &mut outcomes);
        let sent = outcomes.first() == Some(&SendOutcome::Sent);
        self.handshake_outcomes = outcomes;
        sent
    }

    /// The receive of a handshake ended: the peer left, or the deadline cancelled it.
    pub(super) fn drop_handshake(&mut self, id: HandshakeId) {
        if self.handshakes.current(id) {
            self.drop_slot(id.slot);
        }
    }

    fn drop_slot(&mut self, slot: u32) {
        if self.handshakes.end(slot).is_some() {
            self.shared
                .unfinished_handshakes
                .fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn refuse(slot: u32, status: u16, reason: &str) -> Next {
    let mut answer = Vec::with_capacity(256);
    write_refusal(status, reason, &mut answer);
    Next::AnswerAndDrop(slot, answer)
}

fn close_answer(slot: u32, code: u16, reason: &str) -> Next {
    let mut answer = Vec::with_capacity(64);
    close::append_server_close(Some(code), reason, &mut answer);
    Next::AnswerAndDrop(slot, answer)
}
