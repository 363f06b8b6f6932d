//! The fleet as a workload sees it: clients, their state, and room to write to them.
//!
//! Invariant: what a workload writes in one turn for one client leaves in one send, in order.
//! Limits: the pool of output buffers grows to the number of clients written to at once and is
//! used again; large buffers are given back.
//!
//! Runs on: the generator's thread.

use super::client::{Client, Phase};
use super::template::FrameWriter;
use crate::limits::POOLED_BUFFER_BYTES_MAX;
use crate::measure::Latency;
use std::collections::VecDeque;

/// No buffer.
pub(super) const NONE: u32 = u32::MAX;

/// Buffers by number, used again.
#[derive(Default)]
pub(super) struct Pool {
    buffers: Vec<Vec<u8>>,
    free: Vec<u32>,
}

impl Pool {
    /// An empty buffer.
    pub fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.buffers.push(Vec::new());
            self.buffers.len() as u32 - 1
        })
    }

    /// Gives a buffer back.
    pub fn give(&mut self, buffer: u32) {
        let bytes = &mut self.buffers[buffer as usize];
        bytes.clear();
        if bytes.capacity() > POOLED_BUFFER_BYTES_MAX {
            *bytes = Vec::new();
        }
        self.free.push(buffer);
    }

    /// The bytes of a buffer.
    pub fn get(&self, buffer: u32) -> &[u8] {
        &self.buffers[buffer as usize]
    }

    /// The buffer itself.
    pub fn get_mut(&mut self, buffer: u32) -> &mut Vec<u8> {
        &mut self.buffers[buffer as usize]
    }
}

/// Totals of a fleet since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct FleetTotals {
    /// Bytes handed to sockets.
    pub sent_bytes: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Data messages received.
    pub messages: u64,
    /// Receive completions with bytes.
    pub receives: u64,
    /// Heartbeats answered.
    pub heartbeats: u64,
    /// Connects begun.
    pub connects: u64,
}

/// Clients and their output.
pub struct Link {
    /// Time of the current event, monotonic nanoseconds.
    pub now_ns: u64,
    /// Writes frames.
    pub writer: FrameWriter,
    /// Totals since the start.
    pub totals: FleetTotals,
    /// How late the generator handed scheduled output to the kernel.
    pub lag: Latency,
    pub(super) clients: Vec<Client>,
    pub(super) outgoing: Pool,
    /// Clients with output that no send was asked for yet.
    pub(super) ready: VecDeque<u32>,
    /// Clients that the workload wants connected.
    pub(super) wanted: VecDeque<u32>,
    /// Clients that the workload wants closed.
    pub(super) unwanted: Vec<u32>,
    pub(super) live: u32,
    pub(super) unfinished: u32,
}

impl Link {
    pub(super) fn new(clients: u32, seed: u64) -> Self {
        Self {
            now_ns: crate::sys::monotonic_ns(),
            writer: FrameWriter::new(seed),
            totals: FleetTotals::default(),
            lag: Latency::new(),
            clients: vec![Client::default(); clients as usize],
            outgoing: Pool::default(),
            ready: VecDeque::new(),
            wanted: VecDeque::new(),
            unwanted: Vec::new(),
            live: 0,
            unfinished: 0,
        }
    }

    /// Number of clients, connected or not.
    pub fn clients(&self) -> u32 {
        self.clients.len() as u32
    }

    /// Clients that are live.
    pub fn live(&self) -> u32 {
        self.live
    }

    /// Connections that exist, closing ones included.
    pub fn open(&self) -> usize {
        self.clients
            .iter()
            .filter(|client| client.phase != Phase::Idle)
            .count()
    }

    /// How many clients are in each phase, as words.
    pub fn phases(&self) -> String {
        let phases = [
            (Phase::Idle, "without connection"),
            (Phase::Upgrading, "upgrading"),
            (Phase::Greeting, "greeting"),
            (Phase::Subscribing, "subscribing"),
            (Phase::Live, "live"),
            (Phase::Closing, "closing"),
        ];
        let words: Vec<String> = phases
            .iter()
            .map(|(phase, words)| {
                (
                    self.clients.iter().filter(|c| c.phase == *phase).count(),
                    words,
                )
            })
            .filter(|(count, _)| *count > 0)
            .map(|(count, words)| format!("{count} {words}"))
            .collect();
        words.join(", ")
    }

    /// True when a client is live.
    pub fn is_live(&self, client: u32) -> bool {
        self.clients[client as usize].phase == Phase::Live
    }

    /// Asks for a client to be connected; at once or as soon as the limit of unfinished ones
    /// allows.
    pub fn connect(&mut self, client: u32) {
        self.wanted.push_back(client);
    }

    /// Closes a client's connection at the end of the turn. Its end is not reported.
    pub fn disconnect(&mut self, client: u32) {
        self.unwanted.push(client);
    }

    /// Says for when the output of a client was due; the oldest counts for the lag.
    pub fn note_due(&mut self, client: u32, due_ns: u64) {
        let state = &mut self.clients[client as usize];
        if state.due_ns == 0 {
            state.due_ns = due_ns;
        }
    }

    /// Lets `write` append to what goes to a client next. A client without connection gets
    /// nothing.
    pub fn write(&mut self, client: u32, write: impl FnOnce(&mut FrameWriter, &mut Vec<u8>)) {
        let state = &mut self.clients[client as usize];
        if !state.phase.is_connected() {
            return;
        }
        if state.outgoing == NONE {
            state.outgoing = self.outgoing.take();
        }
        write(&mut self.writer, self.outgoing.get_mut(state.outgoing));
        self.mark_ready(client);
    }

    /// Queues a client that has something to send, unless its socket is full.
    pub(super) fn mark_ready(&mut self, client: u32) {
        let state = &mut self.clients[client as usize];
        if !state.is_queued && !state.is_blocked {
            state.is_queued = true;
            self.ready.push_back(client);
        }
    }
}
