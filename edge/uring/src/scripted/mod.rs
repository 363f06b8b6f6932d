//! A kernel in memory for tests and simulation.
//!
//! **Purpose.** [`ScriptedKernel`] implements [`Kernel`] without sockets, files or time of its
//! own. The test plays the other side: it connects, injects bytes, ends and resets streams, reads
//! what was sent, fills sockets up, delays and fails file operations, and moves the clock.
//!
//! **Invariants.** The same calls in the same order give the same events in the same order. What
//! an operation may answer is what the real kernel may answer; a model test compares the two.
//! Completions appear in [`Kernel::enter`], at most 20 receives and 32 closes a turn, as there.
//!
//! **Limits.** As [`ScriptedConfig`] says; memory grows with what is injected and not taken.
//!
//! **Thread.** One. Connections that are accepted and not yet installed hold two real
//! descriptors each, because the trait hands out and takes back [`OwnedFd`]s.

mod accepts;
mod files;
mod sockets;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

pub use self::files::{File, WriteFault};
pub use self::sockets::Peer;

use self::accepts::Listener;
use self::files::Files;
use self::sockets::Sockets;
use crate::counters::RingCounters;
use crate::event::{Event, HandshakeId, Received};
use crate::kernel::{Kernel, RingGroup, Send, SendOutcome, SendTarget};
use crate::limits;
use crate::socket_id::SocketId;

/// Sizes of a [`ScriptedKernel`].
#[derive(Clone, Copy, Debug)]
pub struct ScriptedConfig {
    /// Connections a ring.
    pub slots_per_ring: u32,
    /// Rings, all of them open from the start.
    pub rings_max: usize,
    /// Most bytes of one receive event.
    pub receive_bytes: usize,
}

impl Default for ScriptedConfig {
    fn default() -> Self {
        Self {
            slots_per_ring: limits::SLOTS_PER_RING,
            rings_max: limits::RINGS_MAX,
            receive_bytes: limits::RECEIVE_BYTES as usize,
        }
    }
}

/// A completion that waits to be read.
enum Ready {
    Event(Event),
    Bytes(SocketId, Vec<u8>),
    HandshakeBytes(HandshakeId, Vec<u8>),
}

/// The kernel in memory.
pub struct ScriptedKernel {
    sockets: Sockets,
    listeners: Vec<Listener>,
    files: Files,
    ready: VecDeque<Ready>,
    /// Bytes of the receives that were read in this turn.
    arena: Vec<u8>,
    turn: u32,
    closes: VecDeque<SocketId>,
    closes_this_turn: usize,
    deadline_ns: Option<u64>,
    now_ns: u64,
    wake: OwnedFd,
    counters: RingCounters,
}

impl Default for ScriptedKernel {
    fn default() -> Self {
        Self::new(ScriptedConfig::default())
    }
}

impl ScriptedKernel {
    /// A kernel with nothing in it, at time 0.
    ///
    /// # Panics
    /// When the process may open no further descriptor.
    #[must_use]
    pub fn new(config: ScriptedConfig) -> Self {
        // SAFETY: the call touches no memory.
        let wake = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        assert!(wake >= 0, "eventfd: {}", io::Error::last_os_error());
        Self {
            sockets: Sockets::new(config),
            listeners: Vec::new(),
            files: Files::default(),
            ready: VecDeque::new(),
            arena: Vec::new(),
            turn: 0,
            closes: VecDeque::new(),
            closes_this_turn: 0,
            deadline_ns: None,
            now_ns: 0,
            // SAFETY: the descriptor was just created and nobody else owns it.
            wake: unsafe { OwnedFd::from_raw_fd(wake) },
            counters: RingCounters::default(),
        }
    }

    /// The virtual time in nanoseconds.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Moves the virtual time. What falls due is completed by the next [`Kernel::enter`].
    ///
    /// # Panics
    /// When time would go backwards.
    pub fn set_now_ns(&mut self, now_ns: u64) {
        assert!(now_ns >= self.now_ns, "time goes forward");
        self.now_ns = now_ns;
    }

    /// When the timer or a delayed file operation falls due: where a simulator moves the clock
    /// when [`Kernel::start_sleep`] agreed to sleep.
    #[must_use]
    pub fn next_due_ns(&self) -> Option<u64> {
        [self.deadline_ns, self.files.next_due_ns()]
            .into_iter()
            .flatten()
            .min()
    }

    fn submit_closes(&mut self) {
        while self.closes_this_turn < limits::CLOSES_PER_TURN {
            let Some(socket) = self.closes.pop_front() else {
                return;
            };
            self.closes_this_turn += 1;
            self.sockets.free(socket);
            self.counters.closed += 1;
            self.ready.push_back(Ready::Event(Event::Closed { socket }));
        }
    }

    /// An event is dropped when its connection was closed after it happened.
    fn wanted(&self, ready: &Ready) -> bool {
        match ready {
            Ready::Bytes(socket, _)
            | Ready::Event(Event::ReceiveEnded { socket, .. } | Event::Writable { socket }) => {
                self.sockets.is_open(*socket)
            }
            _ => true,
        }
    }

    fn lend(&mut self, bytes: &[u8]) -> Received {
        let offset = self.arena.len() as u32;
        self.arena.extend_from_slice(bytes);
        self.counters.receives += 1;
        self.counters.received_bytes += bytes.len() as u64;
        Received {
            offset,
            len: bytes.len() as u32,
            turn: self.turn,
            ring: 0,
        }
    }
}

impl Kernel for ScriptedKernel {
    fn install(
        &mut self,
        // In memory nobody waits for a round of others.
        _group: RingGroup,
        descriptors: &mut Vec<OwnedFd>,
        out: &mut Vec<Result<SocketId, i32>>,
    ) {
        out.clear();
        let batch = descriptors.len().min(limits::INSTALL_BATCH);
        for descriptor in descriptors.drain(..batch) {
            let answer = self.sockets.install(descriptor);
            match answer {
                Ok(_) => self.counters.installed += 1,
                Err(_) => self.counters.install_refused += 1,
            }
            out.push(answer);
        }
    }

    fn arm_receive(&mut self, socket: SocketId) {
        self.sockets.arm(socket);
    }

    fn stop_receive(&mut self, socket: SocketId) {
        self.sockets.stop(socket);
    }

    fn receive_once(&mut self, handshake: HandshakeId, descriptor: RawFd) {
        if let Some(failed) = self.sockets.receive_once(handshake, descriptor) {
            self.ready.push_back(failed);
        }
    }

    fn cancel_once(&mut self, handshake: HandshakeId) {
        self.sockets.cancel_once(handshake);
    }

    fn accept(&mut self, listener: u8, armed: usize) {
        self.listeners[usize::from(listener)].arm(armed.min(limits::ACCEPTS_ARMED_MAX));
    }

    fn close_listener(&mut self, listener: u8) {
        self.listeners[usize::from(listener)].close();
    }

    fn poll_writable(&mut self, socket: SocketId) {
        self.sockets.poll(socket);
    }

    fn close(&mut self, socket: SocketId) {
        if self.sockets.close(socket) {
            self.closes.push_back(socket);
        }
    }

    fn send(&mut self, batch: &[Send<'_>], outcomes: &mut Vec<SendOutcome>) {
        assert!(
            batch.len() <= limits::SEND_BATCH,
            "a batch holds at most 32 sends"
        );
        outcomes.clear();
        for send in batch {
            let outcome = match send.target {
                SendTarget::Socket(socket) => self.sockets.send(socket, send.bytes),
                SendTarget::Descriptor(descriptor) => {
                    self.sockets.send_plain(descriptor, send.bytes)
                }
            };
            self.counters.sends += 1;
            match outcome {
                SendOutcome::Sent => self.counters.sent_bytes += send.bytes.len() as u64,
                SendOutcome::Short(sent) => {
                    self.counters.sends_short += 1;
                    self.counters.sent_bytes += u64::from(sent);
                }
                SendOutcome::Blocked => self.counters.sends_blocked += 1,
                SendOutcome::Failed(_) => self.counters.sends_failed += 1,
            }
            outcomes.push(outcome);
        }
    }

    fn write(&mut self, descriptor: RawFd, offset: u64, buffer: Vec<u8>, token: u64) {
        self.counters.writes += 1;
        self.files
            .write(descriptor, offset, buffer, token, self.now_ns);
    }

    fn sync_data(&mut self, descriptor: RawFd, token: u64) {
        self.counters.syncs += 1;
        self.files.sync(descriptor, token, self.now_ns);
    }

    fn wake_at(&mut self, deadline_ns: Option<u64>) {
        self.deadline_ns = deadline_ns;
    }

    fn enter(&mut self) -> io::Result<()> {
        self.counters.enters += 1;
        self.submit_closes();
        self.accept_clients();
        self.sockets.progress(&mut self.ready);
        self.files.progress(self.now_ns, &mut self.ready);
        if self
            .deadline_ns
            .is_some_and(|deadline| deadline <= self.now_ns)
        {
            self.deadline_ns = None;
            self.ready.push_back(Ready::Event(Event::Timer));
        }
        Ok(())
    }

    fn next_event(&mut self) -> Option<Event> {
        loop {
            let ready = self.ready.pop_front()?;
            self.counters.completions += 1;
            if !self.wanted(&ready) {
                continue;
            }
            return Some(match ready {
                Ready::Event(event) => event,
                Ready::Bytes(socket, bytes) => Event::Received {
                    socket,
                    bytes: self.lend(&bytes),
                },
                Ready::HandshakeBytes(handshake, bytes) => Event::HandshakeReceived {
                    handshake,
                    bytes: self.lend(&bytes),
                },
            });
        }
    }

    fn bytes_mut(&mut self, received: &Received) -> &mut [u8] {
        assert_eq!(
            received.turn, self.turn,
            "received bytes end with their turn"
        );
        let start = received.offset as usize;
        &mut self.arena[start..start + received.len as usize]
    }

    fn end_turn(&mut self) {
        self.turn = self.turn.wrapping_add(1);
        self.closes_this_turn = 0;
        self.arena.clear();
    }

    fn start_sleep(&mut self) -> bool {
        let due = self.next_due_ns().is_some_and(|due| due <= self.now_ns);
        let idle = self.ready.is_empty()
            && self.closes.is_empty()
            && !due
            && !self.sockets.has_work()
            && !self.clients_wait();
        self.counters.sleeps += u64::from(idle);
        idle
    }

    fn end_sleep(&mut self) {}

    fn wake_descriptor(&self) -> RawFd {
        self.wake.as_raw_fd()
    }

    fn counters(&self) -> &RingCounters {
        &self.counters
    }
}

#[cfg(test)]
mod tests;
