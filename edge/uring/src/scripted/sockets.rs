//! Connections of the kernel in memory, seen from both ends.
//!
//! **Invariants.** Work is done in the order in which it was caused. An error of the peer (a
//! reset) is reported once, by the operation that meets it first; after that the stream has ended
//! for receives and fails with EPIPE for sends, as in TCP.

use std::collections::{HashMap, VecDeque};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use super::{Ready, ScriptedConfig, ScriptedKernel};
use crate::event::{EndReason, Event, HandshakeId};
use crate::kernel::SendOutcome;
use crate::limits::{BUFFER_BYTES, DEFERRED_PER_ENTER};
use crate::socket_id::{SocketId, FIELD_MASK};

/// The other end of a connection: what the test plays.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Peer(usize);

/// Where the server's end is.
enum Place {
    Backlog,
    /// Handed out as a descriptor; its partner stands for it here.
    Held(RawFd, UnixStream),
    Installed(SocketId),
    Closed,
}

struct Socket {
    place: Place,
    inbound: VecDeque<u8>,
    finished: bool,
    /// An error that no operation has met yet.
    failure: Option<i32>,
    reset: bool,
    outbound: Vec<u8>,
    capacity: usize,
    scripted: VecDeque<SendOutcome>,
    armed: bool,
    stopping: bool,
    rearm: bool,
    polling: bool,
    handshake: Option<HandshakeId>,
    /// Stands in the queue of sockets with work.
    queued: bool,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    generation: u32,
    socket: Option<usize>,
    closing: bool,
}

pub(super) struct Sockets {
    config: ScriptedConfig,
    sockets: Vec<Socket>,
    held: HashMap<RawFd, usize>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    handshakes: HashMap<HandshakeId, usize>,
    cancelled: VecDeque<HandshakeId>,
    work: VecDeque<usize>,
}

impl Sockets {
    pub(super) fn new(config: ScriptedConfig) -> Self {
        Self {
            config,
            sockets: Vec::new(),
            held: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            handshakes: HashMap::new(),
            cancelled: VecDeque::new(),
            work: VecDeque::new(),
        }
    }

    pub(super) fn add(&mut self) -> Peer {
        self.sockets.push(Socket {
            place: Place::Backlog,
            inbound: VecDeque::new(),
            finished: false,
            failure: None,
            reset: false,
            outbound: Vec::new(),
            capacity: usize::MAX,
            scripted: VecDeque::new(),
            armed: false,
            stopping: false,
            rearm: false,
            polling: false,
            handshake: None,
            queued: false,
        });
        Peer(self.sockets.len() - 1)
    }

    /// Makes the descriptor that stands for the server's end.
    pub(super) fn hand_out(&mut self, peer: Peer) -> OwnedFd {
        let (ours, theirs) = UnixStream::pair().expect("the test may open descriptors");
        let number = theirs.as_raw_fd();
        // The number was that of a descriptor which the server has closed meanwhile.
        if let Some(old) = self.held.insert(number, peer.0) {
            self.sockets[old].place = Place::Closed;
        }
        self.sockets[peer.0].place = Place::Held(number, ours);
        theirs.into()
    }

    fn find(&self, socket: SocketId) -> Option<usize> {
        let slot = self.slots.get(self.index(socket)?)?;
        let open = slot.generation == socket.generation() && !slot.closing;
        slot.socket.filter(|_| open)
    }

    fn index(&self, socket: SocketId) -> Option<usize> {
        let per_ring = self.config.slots_per_ring as usize;
        let inside = (socket.slot() as usize) < per_ring;
        inside.then(|| usize::from(socket.ring()) * per_ring + socket.slot() as usize)
    }

    pub(super) fn is_open(&self, socket: SocketId) -> bool {
        self.find(socket).is_some()
    }

    pub(super) fn install(&mut self, descriptor: OwnedFd) -> Result<SocketId, i32> {
        let number = descriptor.as_raw_fd();
        let index = self.held.remove(&number).ok_or(libc::EBADF)?;
        let per_ring = self.config.slots_per_ring as usize;
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < per_ring * self.config.rings_max => {
                self.slots.push(Slot {
                    generation: 1,
                    ..Slot::default()
                });
                self.slots.len() - 1
            }
            None => {
                self.sockets[index].place = Place::Closed;
                return Err(libc::ENFILE);
            }
        };
        self.slots[slot].socket = Some(index);
        self.slots[slot].closing = false;
        let generation = self.slots[slot].generation;
        let ring = (slot / per_ring) as u8;
        let socket = SocketId::new(ring, generation, (slot % per_ring) as u32);
        self.sockets[index].place = Place::Installed(socket);
        Ok(socket)
    }

    pub(super) fn close(&mut self, socket: SocketId) -> bool {
        let open = self.is_open(socket);
        if let (true, Some(slot)) = (open, self.index(socket)) {
            self.slots[slot].closing = true;
        }
        open
    }

    /// The close is submitted: the slot is free.
    pub(super) fn free(&mut self, socket: SocketId) {
        let Some(slot) = self.index(socket) else {
            return;
        };
        if let Some(index) = self.slots[slot].socket.take() {
            self.sockets[index].place = Place::Closed;
        }
        let next = (self.slots[slot].generation + 1) & FIELD_MASK;
        self.slots[slot].generation = next.max(1);
        self.free.push(slot);
    }

    fn stir(&mut self, index: usize) {
        if !self.sockets[index].queued {
            self.sockets[index].queued = true;
            self.work.push_back(index);
        }
    }

    pub(super) fn arm(&mut self, socket: SocketId) {
        let Some(index) = self.find(socket) else {
            return;
        };
        let state = &mut self.sockets[index];
        if state.armed {
            state.rearm = state.stopping;
            return;
        }
        state.armed = true;
        self.stir(index);
    }

    pub(super) fn stop(&mut self, socket: SocketId) {
        let Some(index) = self.find(socket) else {
            return;
        };
        let state = &mut self.sockets[index];
        if state.armed {
            state.stopping = true;
            state.rearm = false;
            self.stir(index);
        }
    }

    pub(super) fn poll(&mut self, socket: SocketId) {
        if let Some(index) = self.find(socket) {
            self.sockets[index].polling = true;
            self.stir(index);
        }
    }

    pub(super) fn receive_once(
        &mut self,
        handshake: HandshakeId,
        descriptor: RawFd,
    ) -> Option<Ready> {
        let Some(&index) = self.held.get(&descriptor) else {
            let reason = EndReason::Failed(libc::EBADF);
            return Some(Ready::Event(Event::HandshakeEnded { handshake, reason }));
        };
        self.sockets[index].handshake = Some(handshake);
        let before = self.handshakes.insert(handshake, index);
        assert!(before.is_none(), "one receive at a time a handshake");
        self.stir(index);
        None
    }

    pub(super) fn cancel_once(&mut self, handshake: HandshakeId) {
        let known = self.handshakes.contains_key(&handshake);
        if known && !self.cancelled.contains(&handshake) {
            self.cancelled.push_back(handshake);
        }
    }

    pub(super) fn send(&mut self, socket: SocketId, bytes: &[u8]) -> SendOutcome {
        match self.find(socket) {
            Some(index) => self.sockets[index].send(bytes),
            None if bytes.is_empty() => SendOutcome::Sent,
            None => SendOutcome::Failed(libc::EBADF),
        }
    }

    pub(super) fn send_plain(&mut self, descriptor: RawFd, bytes: &[u8]) -> SendOutcome {
        match self.held.get(&descriptor) {
            Some(&index) => self.sockets[index].send(bytes),
            None => SendOutcome::Failed(libc::EBADF),
        }
    }

    pub(super) fn has_work(&self) -> bool {
        !self.work.is_empty() || !self.cancelled.is_empty()
    }

    /// Completes what can be completed, at most as much as one enter of the real kernel.
    pub(super) fn progress(&mut self, ready: &mut VecDeque<Ready>) {
        let most = self.config.receive_bytes;
        let mut receives = DEFERRED_PER_ENTER;
        for _ in 0..self.work.len() {
            // Who does not come into this turn stays ahead of those that did.
            if receives == 0 {
                break;
            }
            let Some(index) = self.work.pop_front() else {
                break;
            };
            let state = &mut self.sockets[index];
            state.queued = false;
            if let Some(handshake) = state.handshake {
                if let Some(done) = state.once(handshake, most.min(BUFFER_BYTES as usize)) {
                    self.handshakes.remove(&handshake);
                    self.cancelled.retain(|cancelled| *cancelled != handshake);
                    ready.push_back(done);
                }
            }
            let Place::Installed(socket) = state.place else {
                continue;
            };
            if state.polling && state.takes_bytes() {
                state.polling = false;
                ready.push_back(Ready::Event(Event::Writable { socket }));
            }
            if let Some(done) = state.multishot(socket, most) {
                receives -= 1;
                ready.push_back(done);
                self.stir(index);
            }
        }
        for handshake in self.cancelled.drain(..) {
            if let Some(index) = self.handshakes.remove(&handshake) {
                self.sockets[index].handshake = None;
                let reason = EndReason::Stopped;
                ready.push_back(Ready::Event(Event::HandshakeEnded { handshake, reason }));
            }
        }
    }
}

impl Socket {
    fn send(&mut self, bytes: &[u8]) -> SendOutcome {
        if bytes.is_empty() {
            return SendOutcome::Sent;
        }
        if let Some(errno) = self.failure.take() {
            return SendOutcome::Failed(errno);
        }
        if self.reset {
            return SendOutcome::Failed(libc::EPIPE);
        }
        let room = match self.scripted.pop_front() {
            Some(SendOutcome::Failed(errno)) => {
                self.reset = true;
                return SendOutcome::Failed(errno);
            }
            Some(SendOutcome::Blocked) => 0,
            Some(SendOutcome::Short(sent)) => sent as usize,
            Some(SendOutcome::Sent) | None => self.capacity.saturating_sub(self.outbound.len()),
        };
        let sent = room.min(bytes.len());
        self.outbound.extend_from_slice(&bytes[..sent]);
        match sent {
            0 => SendOutcome::Blocked,
            all if all == bytes.len() => SendOutcome::Sent,
            part => SendOutcome::Short(part as u32),
        }
    }

    fn takes_bytes(&self) -> bool {
        self.reset || self.failure.is_some() || self.outbound.len() < self.capacity
    }

    /// The next bytes, or why there are none for ever.
    fn take(&mut self, most: usize) -> Option<Result<Vec<u8>, EndReason>> {
        if !self.inbound.is_empty() {
            let taken = self.inbound.len().min(most);
            return Some(Ok(self.inbound.drain(..taken).collect()));
        }
        if self.finished {
            return Some(Err(EndReason::Closed));
        }
        if let Some(errno) = self.failure.take() {
            return Some(Err(EndReason::Failed(errno)));
        }
        self.reset.then_some(Err(EndReason::Closed))
    }

    fn once(&mut self, handshake: HandshakeId, most: usize) -> Option<Ready> {
        let done = self.take(most)?;
        self.handshake = None;
        Some(match done {
            Ok(bytes) => Ready::HandshakeBytes(handshake, bytes),
            Err(reason) => Ready::Event(Event::HandshakeEnded { handshake, reason }),
        })
    }

    fn multishot(&mut self, socket: SocketId, most: usize) -> Option<Ready> {
        if !self.armed {
            return None;
        }
        if self.stopping {
            self.stopping = false;
            self.armed = self.rearm;
            self.rearm = false;
            let reason = EndReason::Stopped;
            return Some(Ready::Event(Event::ReceiveEnded { socket, reason }));
        }
        Some(match self.take(most)? {
            Ok(bytes) => Ready::Bytes(socket, bytes),
            Err(reason) => {
                self.armed = false;
                Ready::Event(Event::ReceiveEnded { socket, reason })
            }
        })
    }
}

impl ScriptedKernel {
    /// A connection without a listener: the server's descriptor and the other end.
    pub fn socket(&mut self) -> (OwnedFd, Peer) {
        let peer = self.sockets.add();
        (self.sockets.hand_out(peer), peer)
    }

    /// The peer sends.
    pub fn inject(&mut self, peer: Peer, bytes: &[u8]) {
        self.sockets.sockets[peer.0].inbound.extend(bytes);
        self.sockets.stir(peer.0);
    }

    /// The peer ends its stream (FIN). It still takes bytes.
    pub fn finish(&mut self, peer: Peer) {
        self.sockets.sockets[peer.0].finished = true;
        self.sockets.stir(peer.0);
    }

    /// The peer resets the connection (RST). What it sent before can still be received.
    pub fn reset(&mut self, peer: Peer) {
        let socket = &mut self.sockets.sockets[peer.0];
        // Linux names the error by the state of the connection: a stream that the peer had ended
        // before is a broken pipe.
        socket.failure = Some(if socket.finished {
            libc::EPIPE
        } else {
            libc::ECONNRESET
        });
        socket.reset = true;
        self.sockets.stir(peer.0);
    }

    /// What the server sent and the peer has not taken yet.
    #[must_use]
    pub fn sent(&self, peer: Peer) -> &[u8] {
        &self.sockets.sockets[peer.0].outbound
    }

    /// The peer reads all that was sent, which makes room.
    pub fn take_sent(&mut self, peer: Peer) -> Vec<u8> {
        let all = std::mem::take(&mut self.sockets.sockets[peer.0].outbound);
        self.sockets.stir(peer.0);
        all
    }

    /// The connection holds at most this many bytes that the peer has not taken; without a call
    /// it holds any number.
    pub fn set_capacity(&mut self, peer: Peer, bytes: usize) {
        self.sockets.sockets[peer.0].capacity = bytes;
        self.sockets.stir(peer.0);
    }

    /// The next send on the connection ends so: `Short(n)` takes at most `n` bytes, `Failed`
    /// breaks the connection, `Sent` is as without a script. Calls queue up.
    pub fn script_send(&mut self, peer: Peer, outcome: SendOutcome) {
        self.sockets.sockets[peer.0].scripted.push_back(outcome);
    }

    /// The connection's name, once it is installed and until its close is submitted.
    #[must_use]
    pub fn installed(&self, peer: Peer) -> Option<SocketId> {
        match self.sockets.sockets[peer.0].place {
            Place::Installed(socket) => Some(socket),
            _ => None,
        }
    }

    /// The server has closed its end.
    pub fn is_closed(&mut self, peer: Peer) -> bool {
        let socket = &mut self.sockets.sockets[peer.0];
        if let Place::Held(number, partner) = &mut socket.place {
            // The partner reads an end as soon as the server has dropped the descriptor.
            partner.set_nonblocking(true).expect("an open socket");
            let dropped = matches!(partner.read(&mut [0; 1]), Ok(0));
            if dropped {
                let number = *number;
                socket.place = Place::Closed;
                self.sockets.held.remove(&number);
            }
        }
        matches!(self.sockets.sockets[peer.0].place, Place::Closed)
    }
}
