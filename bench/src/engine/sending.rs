//! The sending half of the fleet: what was written leaves, at most one send for each client and
//! one batch a turn.
//!
//! Invariants: what was written to one client leaves in order, also over a full socket; with TLS
//! it is sealed just before it leaves, and not before the handshake is over.
//!
//! Limits: [`SENDS_PER_SUBMIT`].
//! Runs on: the generator's thread.

use super::fleet::Fleet;
use super::link::{Link, NONE};
use super::tls::SecureTable;
use super::workload::{EndCause, Workload};
use crate::limits::SENDS_PER_SUBMIT;
use crate::sys;
use interlink_uring::{Kernel, Send, SendOutcome, SendTarget};

impl<K: Kernel> Fleet<K> {
    /// Sends what clients have to send, one send for each client, one batch a turn.
    pub(super) fn flush<W: Workload>(&mut self, workload: &mut W) {
        let mut clients = [0_u32; SENDS_PER_SUBMIT];
        let mut count = 0;
        let now_ns = sys::monotonic_ns();
        while count < SENDS_PER_SUBMIT {
            let Some(client) = self.link.ready.pop_front() else {
                break;
            };
            let state = &mut self.link.clients[client as usize];
            state.is_queued = false;
            let due_ns = std::mem::take(&mut state.due_ns);
            if state.is_blocked || !state.phase.is_connected() {
                continue;
            }
            self.seal(workload, client);
            if self.has_output(client) {
                clients[count] = client;
                count += 1;
                if due_ns != 0 {
                    self.link.lag.record_from(due_ns, now_ns);
                }
            }
        }
        if count > 0 {
            self.send(workload, &clients[..count]);
        }
    }

    fn send<W: Workload>(&mut self, workload: &mut W, clients: &[u32]) {
        let nothing = Send {
            target: SendTarget::Descriptor(-1),
            bytes: &[],
        };
        let mut batch = [nothing; SENDS_PER_SUBMIT];
        let mut lengths = [0; SENDS_PER_SUBMIT];
        for (place, &client) in clients.iter().enumerate() {
            let entry = &mut batch[place];
            let socket = self.link.clients[client as usize].socket;
            entry.target = SendTarget::Socket(socket);
            entry.bytes = output(&self.link, self.secure.as_ref(), client);
            lengths[place] = entry.bytes.len();
        }
        self.kernel
            .send(&batch[..clients.len()], &mut self.outcomes);
        for (place, &client) in clients.iter().enumerate() {
            let length = lengths[place];
            let taken = match self.outcomes[place] {
                SendOutcome::Sent => length,
                SendOutcome::Short(bytes) => bytes as usize,
                SendOutcome::Blocked => 0,
                SendOutcome::Failed(errno) => {
                    self.end(workload, client, EndCause::Socket(errno));
                    continue;
                }
            };
            self.link.totals.sent_bytes += taken as u64;
            self.use_up(client, taken);
            if taken < length {
                let state = &mut self.link.clients[client as usize];
                state.is_blocked = true;
                self.kernel.poll_writable(state.socket);
            }
        }
    }

    /// The socket took so many bytes of the output of a client.
    fn use_up(&mut self, client: u32, taken: usize) {
        let session = self.secure.as_mut();
        if let Some(session) = session.and_then(|secure| secure.get_mut(client)) {
            return session.advance(taken);
        }
        let state = &mut self.link.clients[client as usize];
        let buffer = state.outgoing;
        if buffer == NONE {
            return;
        }
        if taken == self.link.outgoing.get(buffer).len() {
            self.link.outgoing.give(buffer);
            state.outgoing = NONE;
        } else {
            self.link.outgoing.get_mut(buffer).drain(..taken);
        }
    }

    /// Whether a client has bytes that may leave.
    pub(super) fn has_output(&self, client: u32) -> bool {
        let is_written = self.link.clients[client as usize].outgoing != NONE;
        match self.secure.as_ref().and_then(|secure| secure.get(client)) {
            None => is_written,
            Some(tls) => !tls.waiting().is_empty() || (is_written && !tls.is_handshaking()),
        }
    }

    /// Seals what was written to a client with TLS.
    fn seal<W: Workload>(&mut self, workload: &mut W, client: u32) {
        let Some(secure) = &mut self.secure else {
            return;
        };
        let state = &mut self.link.clients[client as usize];
        if state.outgoing == NONE {
            return;
        }
        match secure.seal(client, self.link.outgoing.get(state.outgoing)) {
            Ok(true) => {
                self.link.outgoing.give(state.outgoing);
                state.outgoing = NONE;
            }
            Ok(false) => {}
            Err(cause) => self.end(workload, client, cause),
        }
    }
}

/// The bytes that a client sends next: records, or with no TLS what was written.
fn output<'a>(link: &'a Link, secure: Option<&'a SecureTable>, client: u32) -> &'a [u8] {
    match secure {
        Some(secure) => secure.get(client).map_or(&[], |session| session.waiting()),
        None => match link.clients[client as usize].outgoing {
            NONE => &[],
            buffer => link.outgoing.get(buffer),
        },
    }
}
