//! Bytes in, to frames.
//!
//! Purpose: walk the WebSocket frames in what a socket delivered. A frame that lies
//! whole in the kernel's buffer is unmasked and used where it lies; only the cut end
//! is copied.
//!
//! Invariant: after the call nothing refers to the kernel's buffer.
//!
//! Thread: the shard.

use interlink_protocol::frame::{decode_client, ClientFrame, FrameLimits};
use interlink_protocol::websocket::{close, ControlKind, DataKind, Opcode, Step};
use interlink_protocol::CloseCode;

use super::connection::{CLOSE_WHEN_SENT, CLOSING, LINGERING, NONE, SECURE};
use super::partials::Partial;
use super::Shard;

/// What to do with the rest of the input.
enum Progress {
    /// Go on after this many bytes; whether nothing is left open after them.
    Consumed(usize, bool),
    /// Keep the rest until more came.
    Keep,
    /// The connection is closing; the rest is of no use.
    Stop,
}

impl Shard {
    /// Takes what the kernel received for `connection`.
    pub(super) fn on_bytes(&mut self, connection: u32, bytes: &mut [u8]) {
        self.counters.bytes_in += bytes.len() as u64;
        let entry = &self.connections[connection];
        if entry.flags & (CLOSE_WHEN_SENT | LINGERING | CLOSING) != 0 {
            return;
        }
        if entry.is(SECURE) {
            return self.on_sealed_bytes(connection, bytes);
        }
        self.on_plain_bytes(connection, bytes);
    }

    /// Takes plaintext of `connection`.
    pub(super) fn on_plain_bytes(&mut self, connection: u32, bytes: &mut [u8]) {
        let index = self.connections[connection].partial;
        if index == NONE {
            return self.on_first_bytes(connection, bytes);
        }
        let mut partial = self.partials.take(index);
        let ended;
        if partial.unread.is_empty() {
            let used;
            (used, ended) = self.walk(connection, &mut partial.message, bytes);
            partial.unread.extend_from_slice(&bytes[used..]);
        } else {
            let mut unread = std::mem::take(&mut partial.unread);
            unread.extend_from_slice(bytes);
            let used;
            (used, ended) = self.walk(connection, &mut partial.message, &mut unread);
            unread.drain(..used);
            partial.unread = unread;
        }
        if ended {
            // What is left belongs to a later message, which has its own time.
            partial.since_ms = 0;
        }
        self.keep(connection, partial);
    }

    /// Takes bytes that begin a message. Mostly it ends with them, and nothing is kept.
    fn on_first_bytes(&mut self, connection: u32, bytes: &mut [u8]) {
        let mut message = Vec::new();
        let (used, _) = self.walk(connection, &mut message, bytes);
        if used == bytes.len() && message.is_empty() {
            return;
        }
        let mut partial = self.partials.take(NONE);
        partial.unread.extend_from_slice(&bytes[used..]);
        partial.message = message;
        self.keep(connection, partial);
    }

    /// Keeps what a connection has of an unfinished message.
    pub(super) fn keep(&mut self, connection: u32, partial: Partial) {
        let now_ms = self.clock.now_ms;
        let entry = &mut self.connections[connection];
        if entry.flags & (CLOSE_WHEN_SENT | CLOSING) != 0 {
            self.partials.give(&mut entry.partial);
            return;
        }
        match self.partials.put(&mut entry.partial, partial, now_ms) {
            Ok(false) => {}
            Ok(true) => {
                let socket = entry.socket;
                self.unfinished_messages.push_back((socket, now_ms.max(1)));
            }
            Err(_) => self.close_with(connection, CloseCode::Overloaded),
        }
    }

    /// Uses up frames; returns the number of bytes used, and whether a message or a control
    /// frame between messages ended in them.
    fn walk(&mut self, connection: u32, message: &mut Vec<u8>, bytes: &mut [u8]) -> (usize, bool) {
        let (mut used, mut ended) = (0, false);
        while used < bytes.len() {
            match self.step(connection, message, &mut bytes[used..]) {
                Progress::Consumed(consumed, complete) => {
                    used += consumed;
                    ended |= complete;
                }
                Progress::Keep => break,
                Progress::Stop => return (bytes.len(), true),
            }
        }
        (used, ended)
    }

    fn step(&mut self, connection: u32, message: &mut Vec<u8>, input: &mut [u8]) -> Progress {
        let mut reader = self.connections[connection].reader;
        let step = reader.next(input, &self.limits.websocket);
        self.connections[connection].reader = reader;
        let consumed = match step {
            Step::NeedMore { .. } => return Progress::Keep,
            Step::Message {
                kind: DataKind::Binary,
                payload,
                consumed,
            } => {
                self.on_message(connection, payload);
                consumed
            }
            Step::Fragment {
                kind: DataKind::Binary,
                payload,
                consumed,
                ends_message,
            } => {
                message.extend_from_slice(payload);
                if ends_message {
                    self.on_message(connection, message);
                    message.clear();
                }
                consumed
            }
            Step::Message { .. } | Step::Fragment { .. } => {
                self.close_with(connection, CloseCode::UnsupportedData);
                return Progress::Stop;
            }
            Step::Control {
                kind,
                payload,
                consumed,
            } => {
                self.on_control(connection, kind, payload);
                consumed
            }
            Step::Failed(violation) => {
                let code = CloseCode::from_number(violation.close_code());
                self.close_with(connection, code.unwrap_or(CloseCode::ProtocolError));
                return Progress::Stop;
            }
        };
        if self.connections[connection].flags & (CLOSE_WHEN_SENT | CLOSING) != 0 {
            return Progress::Stop;
        }
        Progress::Consumed(consumed, reader.is_between_messages())
    }

    fn on_control(&mut self, connection: u32, kind: ControlKind, payload: &[u8]) {
        let now_ms = self.clock.now_ms;
        if !self.connections[connection].admit_control_frame(now_ms) {
            return self.close_with(connection, CloseCode::RateExceeded);
        }
        match kind {
            ControlKind::Ping => {
                let opcode = Opcode::Control(ControlKind::Pong);
                self.queue_bytes(connection, opcode, payload);
            }
            ControlKind::Pong => {}
            ControlKind::Close => {
                let mut body = [0; 125];
                let len = close::write_payload(close::answer(payload), "", &mut body);
                self.end_session_of(connection);
                self.queue_close(connection, &body[..len]);
            }
        }
    }

    pub(super) fn on_message(&mut self, connection: u32, payload: &[u8]) {
        self.counters.frames_in += 1;
        let limits = FrameLimits {
            frame_bytes: self.limits.websocket.frame_bytes as usize,
        };
        let frame = match decode_client(payload, &limits) {
            Ok(frame) => frame,
            Err(error) => {
                self.reply_error(connection, error.code(), 0);
                self.close_with(connection, error.close_code());
                return;
            }
        };
        let excess = self.charge(connection, &frame);
        if excess.is_some() && self.refuse_excess(connection, &frame, excess) {
            return;
        }
        match frame {
            ClientFrame::Publish(frame) => {
                if excess.is_some() || !self.awaits_judgement(connection, &frame, payload) {
                    self.on_publish(connection, &frame, excess);
                }
            }
            ClientFrame::Pong(frame) => self.on_pong(connection, &frame),
            ClientFrame::Ack(frame) => self.on_ack(connection, frame.positions()),
            ClientFrame::Subscribe(frame) => {
                if self.waits_in_line(connection)
                    || self.awaits_grants(connection, &frame)
                    || self.awaits_archive(connection, &frame)
                {
                    self.defer(connection, frame.request_id(), payload);
                } else {
                    self.on_subscribe(connection, &frame);
                }
            }
            ClientFrame::Unsubscribe(frame) => {
                if self.waits_in_line(connection) {
                    self.defer(connection, frame.request_id(), payload);
                } else {
                    self.on_unsubscribe(connection, &frame);
                }
            }
            ClientFrame::History(frame) => self.on_history(connection, &frame),
            ClientFrame::Presence(frame) => self.on_presence_frame(connection, &frame),
            ClientFrame::Refresh(frame) => self.on_refresh(connection, &frame),
            ClientFrame::Hello(_) => {
                let code = interlink_protocol::ErrorCode::UnexpectedFrame;
                self.reply_error(connection, code, 0);
                self.close_with(connection, CloseCode::UnexpectedFrame);
            }
        }
    }

    /// Closes connections that have been in the middle of a message for too long.
    pub(super) fn expire_messages(&mut self) {
        while let Some(&(socket, since_ms)) = self.unfinished_messages.front() {
            if self.clock.now_ms.wrapping_sub(since_ms) < self.limits.message_timeout_ms {
                return;
            }
            self.unfinished_messages.pop_front();
            let Some(connection) = self.connection_of(socket) else {
                continue;
            };
            let partial = self.connections[connection].partial;
            if self.partials.since_ms(partial) == Some(since_ms) {
                self.close_with(connection, CloseCode::MessageTimeout);
            }
        }
    }
}
