//! The real kernel: up to 64 rings behind the [`Kernel`] trait.
//!
//! **Purpose.** Connections live in direct-descriptor slots of rings that are opened on demand.
//! All rings signal one eventfd, and only rings with work are entered.
//!
//! **Invariants.** An event never names a closed connection. What the caller lends to a call is
//! not used after it. Accepts, handshakes and the timer live on ring 0, syncs on a ring of their
//! own, which is entered and read before the others.
//!
//! **Thread.** The one that created it; the type is not `Send`.

mod accept;
mod complete;
mod connection;
mod files;
mod handshake;
mod install;
mod quiesce;
mod send;
mod sleep;
mod timer;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use self::accept::Accepts;
use self::files::Files;
use self::handshake::Handshakes;
use self::install::InstallArguments;
use self::timer::Timer;
use crate::config::{RingConfig, SetupError};
use crate::counters::RingCounters;
use crate::event::{Event, HandshakeId, Received};
use crate::features::{probe, Features};
use crate::kernel::{Kernel, RingGroup, Send, SendOutcome};
use crate::limits::{DEFERRED_PER_ENTER, LISTENERS_MAX};
use crate::ring::Ring;
use crate::socket_id::SocketId;

/// The kernel on io_uring. See [`Kernel`] for its operations.
pub struct EdgeRing {
    // Dropped first, before the memory that operations on them point at.
    rings: Vec<Ring>,
    /// Without connections: on a ring with some, the end of a sync would wait behind the bytes of
    /// all of them.
    sync_ring: Ring,
    accepts: Accepts,
    files: Files,
    handshakes: Handshakes,
    timer: Timer,
    install: InstallArguments,
    wake: OwnedFd,
    config: RingConfig,
    features: Features,
    /// Bit `i`: ring `i` may have unread completions.
    ready: u64,
    /// The ring of syncs may have unread completions.
    sync_ready: bool,
    /// Bit `i`: ring `i` has buffers to give back or starved receives.
    unsettled: u64,
    /// Bit `i`: ring `i` is for urgent connections.
    urgent: u64,
    /// Whether this turn has visited one of them.
    urgent_visited: bool,
    /// The ring that `next_event` reads, how many events it may still give in a row, and the
    /// bytes that it gave.
    visited: usize,
    visit_left: u32,
    visit_bytes: u32,
    /// Events that did not come from a completion of their own.
    pending: VecDeque<Event>,
    /// Connections whose close waits for its turn.
    closes: VecDeque<SocketId>,
    closes_this_turn: usize,
    /// Number of the turn, in every token of received bytes.
    turn: u32,
    /// Number of the last send batch or install call.
    sequence: u32,
    counters: RingCounters,
}

impl EdgeRing {
    /// Probes the kernel and opens the first rings, on the thread that will use them.
    ///
    /// # Errors
    /// [`SetupError`] names what is missing and its cure. Without memory for a ring the call
    /// tries for a second before it fails.
    pub fn new(config: RingConfig) -> Result<Self, SetupError> {
        config.check()?;
        let mut features = probe()?;
        features.bundled_receive &= config.bundled_receive;
        let wake = eventfd()?;
        let mut edge = Self {
            rings: Vec::with_capacity(config.rings_max),
            sync_ring: files::open_ring(&config, features, wake.as_raw_fd())?,
            accepts: Accepts::default(),
            files: Files::default(),
            handshakes: Handshakes::default(),
            timer: Timer::default(),
            install: InstallArguments::default(),
            wake,
            features,
            ready: 0,
            sync_ready: false,
            unsettled: 0,
            urgent: 0,
            urgent_visited: false,
            visited: 0,
            visit_left: 0,
            visit_bytes: 0,
            pending: VecDeque::new(),
            closes: VecDeque::new(),
            closes_this_turn: 0,
            turn: 0,
            sequence: 0,
            counters: RingCounters::default(),
            config,
        };
        for _ in 0..edge.config.rings_at_start {
            edge.open_ring(true)?;
        }
        Ok(edge)
    }

    /// Takes a listening socket; answers its number for [`Kernel::accept`]. Nothing is accepted
    /// before that call.
    ///
    /// # Panics
    /// With more than [`LISTENERS_MAX`] listeners.
    pub fn add_listener(&mut self, listener: OwnedFd) -> u8 {
        assert!(
            self.accepts.listeners() < LISTENERS_MAX,
            "at most {LISTENERS_MAX} listeners"
        );
        self.accepts.add(listener)
    }

    /// What the kernel was found to offer.
    #[must_use]
    pub fn features(&self) -> Features {
        self.features
    }

    /// The settings in use.
    #[must_use]
    pub fn config(&self) -> &RingConfig {
        &self.config
    }

    fn open_ring(&mut self, patient: bool) -> Result<(), SetupError> {
        let wake = self.wake.as_raw_fd();
        let number = self.rings.len();
        self.rings.push(Ring::open(
            number,
            &self.config,
            self.features,
            wake,
            patient,
        )?);
        self.counters.rings_open = self.rings.len() as u64;
        Ok(())
    }

    /// A number for a batch of sends or an install call, never that of a recent one.
    fn next_sequence(&mut self) -> u32 {
        self.sequence = (self.sequence + 1) & crate::socket_id::FIELD_MASK;
        self.sequence
    }
}

impl Kernel for EdgeRing {
    fn install(
        &mut self,
        group: RingGroup,
        descriptors: &mut Vec<OwnedFd>,
        out: &mut Vec<Result<SocketId, i32>>,
    ) {
        self.install_batch(group, descriptors, out);
    }

    fn arm_receive(&mut self, socket: SocketId) {
        self.arm(socket);
    }

    fn stop_receive(&mut self, socket: SocketId) {
        self.stop(socket);
    }

    fn receive_once(&mut self, handshake: HandshakeId, descriptor: RawFd) {
        self.receive_handshake(handshake, descriptor);
    }

    fn cancel_once(&mut self, handshake: HandshakeId) {
        self.cancel_handshake(handshake);
    }

    fn accept(&mut self, listener: u8, armed: usize) {
        self.accept_up_to(listener, armed);
    }

    fn close_listener(&mut self, listener: u8) {
        self.let_go_of(listener);
    }

    fn poll_writable(&mut self, socket: SocketId) {
        self.poll(socket);
    }

    fn close(&mut self, socket: SocketId) {
        self.close_later(socket);
    }

    fn send(&mut self, batch: &[Send<'_>], outcomes: &mut Vec<SendOutcome>) {
        self.send_batch(batch, outcomes);
    }

    fn write(&mut self, descriptor: RawFd, offset: u64, buffer: Vec<u8>, token: u64) {
        self.write_file(descriptor, offset, buffer, token);
    }

    fn sync_data(&mut self, descriptor: RawFd, token: u64) {
        self.sync_file(descriptor, token);
    }

    fn wake_at(&mut self, deadline_ns: Option<u64>) {
        self.set_deadline(deadline_ns);
    }

    fn enter(&mut self) -> io::Result<()> {
        self.submit_closes();
        self.enter_syncs()?;
        for (number, ring) in self.rings.iter_mut().enumerate() {
            let unread = ring.unread();
            if ring.wants_enter() {
                // With a turn's worth of completions unread no further ones are asked for, so
                // that the buffers of two enters suffice; held back ones must come out, though.
                let run = unread < DEFERRED_PER_ENTER as usize || ring.overflown();
                ring.submit(run, &mut self.counters)?;
            }
            if ring.unread() > 0 {
                self.ready |= 1 << number;
            }
        }
        Ok(())
    }

    fn next_event(&mut self) -> Option<Event> {
        loop {
            while let Some(event) = self.pending.pop_front() {
                if self.still_wanted(&event) {
                    return Some(event);
                }
            }
            let (ring, completion) = self.next_completion()?;
            self.counters.completions += 1;
            if let Some(event) = self.complete(ring, &completion) {
                return Some(event);
            }
        }
    }

    fn bytes_mut(&mut self, received: &Received) -> &mut [u8] {
        assert_eq!(
            received.turn, self.turn,
            "received bytes end with their turn"
        );
        let ring = &mut self.rings[usize::from(received.ring)];
        ring.buffers.bytes_mut(received.offset, received.len)
    }

    fn end_turn(&mut self) {
        self.turn = self.turn.wrapping_add(1);
        self.closes_this_turn = 0;
        self.urgent_visited = false;
        self.settle_buffers();
    }

    fn start_sleep(&mut self) -> bool {
        self.prepare_sleep()
    }

    fn end_sleep(&mut self) {
        self.signal_all(false);
    }

    fn wake_descriptor(&self) -> RawFd {
        self.wake.as_raw_fd()
    }

    fn counters(&self) -> &RingCounters {
        &self.counters
    }
}

fn eventfd() -> Result<OwnedFd, SetupError> {
    // SAFETY: the call touches no memory.
    let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(SetupError::System {
            call: "eventfd",
            source: io::Error::last_os_error(),
        });
    }
    // SAFETY: the descriptor was just created and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
