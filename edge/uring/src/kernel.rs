//! The trait through which the shard logic reaches the kernel.
//!
//! **Invariants.** All calls are made on the kernel's own thread. A turn is: [`Kernel::enter`],
//! then any number of [`Kernel::next_event`] and operations, then [`Kernel::end_turn`]. No call
//! blocks. Operations on a connection whose name is no longer valid do nothing (sends fail with
//! EBADF).
//!
//! **Limits.** [`SEND_BATCH`](crate::limits::SEND_BATCH),
//! [`INSTALL_BATCH`](crate::limits::INSTALL_BATCH).

use std::io;
use std::os::fd::{OwnedFd, RawFd};

use crate::counters::RingCounters;
use crate::event::{Event, HandshakeId, Received};
use crate::socket_id::SocketId;

/// The rings that a connection is installed into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RingGroup {
    /// Those of most connections.
    Common,
    /// Rings for urgent connections, some of whose completions come first in each turn: under
    /// overload a socket of the common rings waits for a round of all the others.
    Urgent,
}

impl RingGroup {
    /// The group that takes connections for which this one has no slot and no further ring.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Common => Self::Urgent,
            Self::Urgent => Self::Common,
        }
    }
}

/// Where a send goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendTarget {
    /// An installed connection.
    Socket(SocketId),
    /// A descriptor that no ring owns (during the handshake).
    Descriptor(RawFd),
}

/// One send of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Send<'a> {
    /// Where to.
    pub target: SendTarget,
    /// What; the bytes are free again when the call returned.
    pub bytes: &'a [u8],
}

/// What became of a send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendOutcome {
    /// All bytes are in the socket's buffer.
    Sent,
    /// Only the first bytes (this many, at least 1) fitted.
    Short(u32),
    /// Nothing fitted; [`Kernel::poll_writable`] tells when to try again.
    Blocked,
    /// The socket failed with this errno; nothing more will be sent.
    Failed(i32),
}

/// The kernel as the shard logic sees it.
pub trait Kernel {
    /// Moves the first [`INSTALL_BATCH`](crate::limits::INSTALL_BATCH) descriptors into slots of
    /// the group's rings and closes the originals. `out` is cleared and then answers them in
    /// order: the connection's name, or an errno with the descriptor closed (ENFILE: no slot is
    /// free and no further ring may be opened; ENOMEM: the kernel refused a further ring).
    /// Descriptors beyond the batch stay in `descriptors`.
    fn install(
        &mut self,
        group: RingGroup,
        descriptors: &mut Vec<OwnedFd>,
        out: &mut Vec<Result<SocketId, i32>>,
    );

    /// Reports bytes of the connection as they arrive until the receive ends. Armed already:
    /// nothing happens; being stopped: it is armed again after its end was reported.
    fn arm_receive(&mut self, socket: SocketId);

    /// Ends the armed receive; [`Event::ReceiveEnded`] follows, after bytes that were already on
    /// their way. Nothing armed: nothing happens.
    fn stop_receive(&mut self, socket: SocketId);

    /// Reports the next bytes of an ordinary descriptor once, at most
    /// [`BUFFER_BYTES`](crate::limits::BUFFER_BYTES). The descriptor must stay open until
    /// the event; one receive at a time for each slot of `handshake`.
    fn receive_once(&mut self, handshake: HandshakeId, descriptor: RawFd);

    /// Ends a single receive: [`Event::HandshakeEnded`] with `Stopped` follows, or the event that
    /// was faster. Not under way: nothing happens.
    fn cancel_once(&mut self, handshake: HandshakeId);

    /// Lets `armed` accepts wait on the listener (at most
    /// [`ACCEPTS_ARMED_MAX`](crate::limits::ACCEPTS_ARMED_MAX)); 0 ends accepting. Each reports
    /// one client and is over: only the caller knows whether there is room for another one, and
    /// calls again. Clients that were accepted before an end of accepting are still reported.
    fn accept(&mut self, listener: u8, armed: usize);

    /// Lets go of the listener for good, which ends accepting. The port is free, and clients that
    /// wait in the backlog are reset, when no other descriptor of the socket is left.
    fn close_listener(&mut self, listener: u8);

    /// Reports once, with [`Event::Writable`], when the connection takes bytes. Asked already:
    /// nothing happens.
    fn poll_writable(&mut self, socket: SocketId);

    /// Closes the connection: [`Event::Closed`] is the only event with this name from now on.
    /// Submitted in turns of at most [`CLOSES_PER_TURN`](crate::limits::CLOSES_PER_TURN).
    fn close(&mut self, socket: SocketId);

    /// Sends at once: at most [`SEND_BATCH`](crate::limits::SEND_BATCH) entries, at most one for
    /// each target. `outcomes` is cleared and then answers them in order. Whatever else completes
    /// meanwhile is kept for [`Self::next_event`].
    ///
    /// # Panics
    /// When the batch is longer than the limit.
    fn send(&mut self, batch: &[Send<'_>], outcomes: &mut Vec<SendOutcome>);

    /// Writes the buffer at `offset`; [`Event::Written`] gives it back. The descriptor must
    /// stay open until then. A driver may write at once, so the caller writes what the page cache
    /// takes: a few hundred KiB to a file that has its blocks.
    fn write(&mut self, descriptor: RawFd, offset: u64, buffer: Vec<u8>, token: u64);

    /// Makes what was written durable (data and the size, as fdatasync); [`Event::Synced`]
    /// follows. The descriptor must stay open until then.
    fn sync_data(&mut self, descriptor: RawFd, token: u64);

    /// Asks for one [`Event::Timer`] at or after `deadline_ns` (CLOCK_MONOTONIC, nanoseconds);
    /// replaces the deadline before, `None` takes it back.
    fn wake_at(&mut self, deadline_ns: Option<u64>);

    /// Submits what is queued and runs deferred completions once.
    ///
    /// # Errors
    /// When a ring no longer takes entries. The kernel is unusable then, and the process should
    /// end: its journal brings back what was acknowledged.
    fn enter(&mut self) -> io::Result<()>;

    /// The next completion: ends of syncs first, then those of urgent connections up to the bytes
    /// of one full receive, then fair over the rings. `None`: nothing is left without a further
    /// [`Self::enter`].
    fn next_event(&mut self) -> Option<Event>;

    /// The bytes of a receive of this turn.
    ///
    /// # Panics
    /// When the turn of `received` has ended.
    fn bytes_mut(&mut self, received: &Received) -> &mut [u8];

    /// Ends the turn: received bytes go back to the kernel and receives that ran out of buffers
    /// are armed again.
    fn end_turn(&mut self);

    /// Prepares for sleep. `true`: nothing is pending and the caller may wait for
    /// [`Self::wake_descriptor`] to become readable; `false`: there is work, go on with a turn.
    fn start_sleep(&mut self) -> bool;

    /// Ends a sleep (allowed also without one).
    fn end_sleep(&mut self);

    /// A blocking eventfd: read 8 bytes to sleep, write the number 1 (8 bytes) from any thread to
    /// wake. It stays open as long as the kernel.
    fn wake_descriptor(&self) -> RawFd;

    /// Totals since the start.
    fn counters(&self) -> &RingCounters;
}
