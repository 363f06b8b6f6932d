//! How connections end, and what stays of their sessions.
//!
//! Purpose: every way out. A close by the server sends its code, waits until the
//! frame has left and the peer has answered or [`LINGER_MS`] are over, and only
//! then frees the socket, so that the code is not lost to a reset. A socket that takes
//! nothing has the same time to take the frame, and no more. A connection that the peer
//! lost is freed at once. The session stays for the resume window.
//!
//! Thread: the shard.

use interlink_protocol::codes::CloseCode;
use interlink_protocol::websocket::frame::server_header;
use interlink_protocol::websocket::{ControlKind, Opcode};
use interlink_uring::{Kernel, SocketId};

use super::channel::SubscriptionState;
use super::connection::{BLOCKED, CLOSE_WHEN_SENT, CLOSING, LINGERING, NONE, SEALED, SECURE};
use super::Shard;

/// How long a closed connection may take to read its close frame.
pub const LINGER_MS: u32 = 1_000;
/// Closes that one turn hands to the kernel.
const CLOSES_PER_TURN: usize = 32;

impl Shard {
    /// Starts the close handshake with `code` after what is queued.
    pub(super) fn close_with(&mut self, connection: u32, code: CloseCode) {
        self.close_saying(connection, code, code.number(), code.name());
    }

    /// As [`Self::close_with`], with a number and a reason of an application; it is counted as
    /// `code`.
    pub(super) fn close_saying(
        &mut self,
        connection: u32,
        code: CloseCode,
        number: u16,
        reason: &str,
    ) {
        let entry = &mut self.connections[connection];
        if entry.flags & (CLOSE_WHEN_SENT | CLOSING) != 0 {
            return;
        }
        entry.close_code = number;
        self.counters.closed_by_server += 1;
        self.counters.closes.add(code);
        let reason = reason.as_bytes();
        let mut body = [0u8; 125];
        body[..2].copy_from_slice(&number.to_be_bytes());
        let len = 2 + reason.len().min(123);
        body[2..len].copy_from_slice(&reason[..len - 2]);
        self.queue_close(connection, &body[..len]);
    }

    /// Queues a close frame with `body` and stops everything else.
    pub(super) fn queue_close(&mut self, connection: u32, body: &[u8]) {
        let mut header = [0u8; 10];
        let len = server_header(
            Opcode::Control(ControlKind::Close),
            true,
            body.len(),
            &mut header,
        );
        self.detach_session(connection);
        let entry = &mut self.connections[connection];
        entry.set(CLOSE_WHEN_SENT);
        if self
            .queues
            .push(&mut entry.queue, &[&header[..len], body])
            .is_err()
        {
            return self.close_lost(connection);
        }
        if entry.flags & BLOCKED != 0 {
            return self.linger(connection);
        }
        self.mark_ready(connection);
    }

    /// The close frame has left: waits for the peer, at most [`LINGER_MS`].
    pub(super) fn linger(&mut self, connection: u32) {
        let entry = &mut self.connections[connection];
        if entry.flags & (LINGERING | CLOSING) == 0 {
            entry.set(LINGERING);
            let until = self.clock.now_ms + LINGER_MS;
            self.lingering.push_back((entry.socket, until));
        }
    }

    /// Ends a connection that has no room left for its close frame.
    pub(super) fn cut_off(&mut self, connection: u32, code: CloseCode) {
        let entry = &mut self.connections[connection];
        if entry.flags & (CLOSE_WHEN_SENT | CLOSING) != 0 {
            return;
        }
        entry.close_code = code.number();
        self.counters.closed_by_server += 1;
        self.counters.closes.add(code);
        self.counters.closes_untold += 1;
        self.close_lost(connection);
    }

    /// Frees a connection whose peer is gone or that cannot be told anything.
    pub(super) fn close_lost(&mut self, connection: u32) {
        if self.connections[connection].flags & CLOSING != 0 {
            return;
        }
        self.detach_session(connection);
        let entry = &mut self.connections[connection];
        let is_waiting = entry.queue != NONE || entry.is(SEALED);
        if entry.is(CLOSE_WHEN_SENT) && is_waiting {
            self.counters.closes_untold += 1;
        }
        entry.set(CLOSING);
        let socket = entry.socket;
        self.queues.drop_queue(&mut entry.queue);
        let mut partial = std::mem::replace(&mut entry.partial, NONE);
        self.partials.give(&mut partial);
        if self.connections[connection].is(SECURE) {
            self.secure.remove(connection);
        }
        self.wheel.cancel(connection);
        self.closing.push_back(socket);
    }

    /// Hands due closes to the kernel.
    pub(super) fn close_some<K: Kernel>(&mut self, kernel: &mut K) {
        for _ in 0..CLOSES_PER_TURN {
            let Some(socket) = self.closing.pop_front() else {
                return;
            };
            kernel.close(socket);
        }
    }

    /// The kernel has freed the slot.
    pub(super) fn on_closed(&mut self, socket: SocketId) {
        let Some(connection) = self.connection_of(socket) else {
            return;
        };
        self.connections[connection].socket = SocketId::NONE;
        self.counters.connections_closed += 1;
        self.open_connections -= 1;
    }

    /// Connections whose peers did not answer the close frame in time.
    pub(super) fn end_lingering(&mut self) {
        while let Some(&(socket, until)) = self.lingering.front() {
            if until > self.clock.now_ms {
                return;
            }
            self.lingering.pop_front();
            if let Some(connection) = self.connection_of(socket) {
                self.close_lost(connection);
            }
        }
    }

    /// The client has ended its session itself: nothing is kept for a resume.
    pub(super) fn end_session_of(&mut self, connection: u32) {
        let session = self.connections[connection].session;
        self.detach_session(connection);
        if session != NONE {
            self.remove_session(session);
        }
    }

    /// Parts a session from its connection; its subscriptions wait for a resume.
    pub(super) fn detach_session(&mut self, connection: u32) {
        let session = std::mem::replace(&mut self.connections[connection].session, NONE);
        if session == NONE {
            return;
        }
        let entry = &mut self.sessions[session];
        entry.connection = NONE;
        entry.credit = Default::default();
        let forget_at_ms = self.clock.now_ms + self.limits.resume_window_ms;
        entry.until = forget_at_ms;
        let key = entry.key;
        let mut next = entry.subscriptions;
        while next != NONE {
            self.note_detached(next);
            let sub = &mut self.subscriptions[next];
            sub.connection = NONE;
            sub.state = SubscriptionState::Detached;
            self.behind.remove(&next);
            self.lagging.remove(next);
            next = sub.next;
        }
        self.absent.push_back((key, session, forget_at_ms));
    }

    /// Forgets sessions whose resume window is over.
    pub(super) fn forget_absent(&mut self) {
        while let Some(&(_, _, forget_at_ms)) = self.absent.front() {
            if forget_at_ms > self.clock.now_ms {
                return;
            }
            self.forget_first_absent();
        }
    }

    /// Makes room for a session at the cost of the one that has been away for longest.
    /// Returns whether there was one.
    pub(super) fn forget_longest_absent(&mut self) -> bool {
        let before = self.sessions.len();
        while self.sessions.len() == before {
            if self.absent.is_empty() {
                return false;
            }
            self.forget_first_absent();
        }
        true
    }

    /// Forgets the first in the line of absent sessions, unless it has come back since.
    fn forget_first_absent(&mut self) {
        let Some((key, session, forget_at_ms)) = self.absent.pop_front() else {
            return;
        };
        let absent = self.sessions.get(session).is_some_and(|entry| {
            entry.key == key && !entry.is_attached() && entry.until == forget_at_ms
        });
        if absent {
            self.remove_session(session);
        }
    }
}
