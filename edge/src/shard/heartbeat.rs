//! Everything that happens because time passed.
//!
//! Purpose: heartbeats on the wheel, and the deadlines that run in order of their
//! start (handshakes, unfinished messages, full sockets, closes, absent sessions).
//!
//! Limits: at most 32 heartbeats a turn, the rest are carried to the next.
//!
//! Thread: the shard.

use interlink_protocol::session::outbox::write_timed_out;
use interlink_protocol::CloseCode;
use interlink_uring::{Kernel, SocketId};
use interlink_wire as wire;

use super::connection::{AWAITING_PONG, BLOCKED, CLOSE_WHEN_SENT, CLOSING, NONE, PAUSED, WATCHED};
use super::Shard;

/// Wheel entries that one turn handles.
const WHEEL_PER_TURN: usize = 32;
/// How often a socket is looked at within the write timeout: it ends at most an eighth late.
const WRITE_LOOKS: u32 = 8;
/// A socket that was writable and then took nothing is tried again after this.
const RETRY_MS: u32 = 10;
/// How far wall clock and monotonic clock may part between two looks at a connection.
const CLOCK_DRIFT_MS: u32 = 100;

impl Shard {
    /// Schedules the first heartbeat, spread over the interval by the socket's slot so that
    /// sessions that came together do not beat together.
    pub(super) fn schedule_heartbeat(&mut self, connection: u32) {
        let spread = (u64::from(connection).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as u32;
        let interval = self.limits.heartbeat_ms;
        let first = interval / 2 + spread % (interval / 2).max(1);
        self.schedule(connection, first);
    }

    /// Schedules the next look at a connection: after `delay_ms`, or when its token ends.
    fn schedule(&mut self, connection: u32, delay_ms: u32) {
        let delay_ms = delay_ms.min(self.token_left_ms(connection));
        let at_ms = u64::from(self.clock.now_ms) + u64::from(delay_ms);
        self.wheel.schedule(connection, at_ms);
    }

    /// The end of the token has moved: a look that was due at the old one must not be taken
    /// for a missing answer. The client has just been heard, so its time begins anew.
    pub(super) fn schedule_after_refresh(&mut self, connection: u32) {
        let delay_ms = match self.connections[connection].is(AWAITING_PONG) {
            true => self.limits.heartbeat_timeout_ms,
            false => self.limits.heartbeat_ms,
        };
        self.schedule(connection, delay_ms);
    }

    /// Handles what is due.
    pub(super) fn take_due(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        due.clear();
        self.wheel
            .advance(u64::from(self.clock.now_ms), WHEEL_PER_TURN, &mut due);
        for &connection in &due {
            self.on_wheel(connection);
        }
        self.due = due;
        self.end_grants();
        self.end_lingering();
        self.forget_absent();
        self.expire_messages();
        self.expire_writes();
        self.look_again_for_writes();
        self.retry_sends();
        while let Some(channel) = self.logs.next_aged(self.clock.now_ms) {
            if self.channels.contains(channel) {
                // Old events go whether or not every member was sent them.
                self.note_members(channel);
                self.logs
                    .age(channel, &mut self.channels[channel], self.clock.now_ms);
                self.forget_channel_if_idle(channel);
            }
        }
        self.sweep_identities();
    }

    fn on_wheel(&mut self, connection: u32) {
        let entry = &self.connections[connection];
        if entry.socket == SocketId::NONE || entry.flags & (CLOSING | CLOSE_WHEN_SENT) != 0 {
            return;
        }
        match self.token_left_ms(connection) {
            0 => return self.close_with(connection, CloseCode::TokenExpired),
            // The wall clock runs behind the one of the wheel.
            1..=CLOCK_DRIFT_MS => return self.schedule(connection, CLOCK_DRIFT_MS),
            _ => {}
        }
        let entry = &self.connections[connection];
        if entry.is(AWAITING_PONG) && entry.flags & (PAUSED | BLOCKED) != 0 {
            // Its answer may lie unread in the socket, or the heartbeat behind what the socket
            // does not take; that has a timeout of its own.
            return self.allow_pong_again(connection);
        }
        if entry.is(AWAITING_PONG) {
            self.counters.heartbeats_missed += 1;
            return self.close_with(connection, CloseCode::HeartbeatTimeout);
        }
        self.schedule(connection, self.limits.heartbeat_timeout_ms);
        self.connections[connection].set(AWAITING_PONG);
        self.send_heartbeat(connection);
    }

    /// A client that owes an answer could not be read or told: its time begins anew.
    pub(super) fn allow_pong_again(&mut self, connection: u32) {
        self.schedule(connection, self.limits.heartbeat_timeout_ms);
    }

    fn send_heartbeat(&mut self, connection: u32) {
        let session = self.connections[connection].session;
        let settled = match session {
            NONE => None,
            session => match self.sessions[session].publisher {
                NONE => None,
                publisher => Some(self.publishers[publisher].settled),
            },
        };
        self.counters.heartbeats_sent += 1;
        let mut encoder = self.take_encoder();
        let frame = encoder.heartbeat(self.clock.unix_us, settled);
        self.queue_frame(connection, frame);
        self.encoder = Some(encoder);
    }

    /// A client answered a heartbeat.
    pub(super) fn on_pong(&mut self, connection: u32, frame: &wire::Pong<'_>) {
        let entry = &mut self.connections[connection];
        if entry.is(AWAITING_PONG) {
            entry.clear(AWAITING_PONG);
            let rest = self
                .limits
                .heartbeat_ms
                .saturating_sub(self.limits.heartbeat_timeout_ms);
            self.schedule(connection, rest.max(1));
        }
        if let Some(positions) = frame.positions() {
            self.on_ack(connection, positions);
        }
    }

    /// Notes that the socket has to take bytes within the write timeout.
    pub(super) fn arm_write_timeout(&mut self, connection: u32) {
        let entry = &mut self.connections[connection];
        if !entry.is(WATCHED) {
            entry.set(WATCHED);
            let look_ms = self.clock.now_ms + self.limits.write_timeout_ms / WRITE_LOOKS;
            self.blocked.push_back((entry.socket, look_ms));
        }
    }

    /// Looks at sockets that took less than they were offered, a few times within the timeout.
    fn expire_writes(&mut self) {
        let (now_ms, timeout_ms) = (self.clock.now_ms, self.limits.write_timeout_ms);
        while let Some(&(socket, look_ms)) = self.blocked.front() {
            if look_ms > now_ms {
                return;
            }
            self.blocked.pop_front();
            let Some(connection) = self.connection_of(socket) else {
                continue;
            };
            let entry = &mut self.connections[connection];
            entry.clear(WATCHED);
            let since_ms = entry.blocked_since_ms;
            if since_ms == 0 || entry.flags & (CLOSE_WHEN_SENT | CLOSING) != 0 {
                continue;
            }
            if entry.is(BLOCKED) && write_timed_out(since_ms, now_ms, timeout_ms) {
                self.close_with(connection, CloseCode::SlowClient);
            } else {
                self.arm_write_timeout(connection);
            }
        }
    }

    /// Tries a socket again later that says writable and takes nothing.
    pub(super) fn retry_later(&mut self, connection: u32) {
        let socket = self.connections[connection].socket;
        self.retries
            .push_back((socket, self.clock.now_ms + RETRY_MS));
        self.arm_write_timeout(connection);
    }

    fn retry_sends(&mut self) {
        while let Some(&(socket, at_ms)) = self.retries.front() {
            if at_ms > self.clock.now_ms {
                return;
            }
            self.retries.pop_front();
            if let Some(connection) = self.connection_of(socket) {
                let entry = &mut self.connections[connection];
                entry.clear(BLOCKED | super::connection::FUTILE_WRITABLE);
                self.mark_ready(connection);
            }
        }
    }

    /// The next time at which something is due, in nanoseconds of the monotonic clock.
    pub(super) fn next_deadline_ns(&self) -> Option<u64> {
        let wheel = self
            .wheel
            .next_deadline_ms()
            .map(|at| self.clock.ns_of_ms(at as u32));
        let journal = self
            .journal
            .journal
            .next_deadline_us()
            .map(|at| self.clock.ns_of_us(at));
        let listed = [
            self.lingering.front().map(|entry| entry.1),
            self.retries.front().map(|entry| entry.1),
            self.next_handshake_deadline_ms(),
            self.pauses.next_end_ms(),
            self.cursors.next_batch_at(),
            self.journal.unwritten.next_at_ms(),
            self.presence.next_due_ms(),
        ];
        let grants = self.tokens.grants.next_end_s();
        let grants = grants.map(|end_s| self.clock.ns_of_us(u64::from(end_s) * 1_000_000));
        let listed = listed
            .into_iter()
            .flatten()
            .map(|at| self.clock.ns_of_ms(at))
            .min();
        let drain = self.next_portion_ns();
        let all = [wheel, journal, listed, grants, drain];
        all.into_iter().flatten().min()
    }

    /// Expires handshakes; apart from [`Self::take_due`] because it talks to the kernel.
    pub(super) fn keep_accepting<K: Kernel>(&mut self, kernel: &mut K) {
        self.expire_handshakes(kernel);
        self.rearm_accepts(kernel);
    }
}
