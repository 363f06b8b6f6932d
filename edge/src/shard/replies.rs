//! Frames to one connection, outside of channels.
//!
//! Thread: the shard.

use interlink_protocol::frame::{ErrorFields, FrameEncoder};
use interlink_protocol::session::publish::Refusal;
use interlink_protocol::websocket::{frame::server_header, DataKind, Opcode};
use interlink_protocol::{CloseCode, ErrorCode};

use super::connection::{CLOSE_WHEN_SENT, CLOSING};
use super::Shard;

/// The `Error` frame for a refusal.
pub fn error_fields(refusal: Refusal, request_id: u32) -> ErrorFields<'static> {
    ErrorFields {
        code: refusal.code,
        message: "",
        retry_after_ms: refusal.retry_after_ms,
        request_id,
    }
}

/// The close code that goes with a refused `Hello`.
pub fn close_for(code: ErrorCode) -> CloseCode {
    match code {
        ErrorCode::TokenExpired => CloseCode::TokenExpired,
        ErrorCode::TokenRevoked => CloseCode::TokenRevoked,
        ErrorCode::UnsupportedVersion => CloseCode::UnsupportedVersion,
        ErrorCode::MalformedFrame | ErrorCode::TooManyItems => CloseCode::MalformedFrame,
        ErrorCode::UnexpectedFrame => CloseCode::UnexpectedFrame,
        ErrorCode::FrameTooLarge => CloseCode::MessageTooBig,
        ErrorCode::AuthenticationUnavailable => CloseCode::Unavailable,
        _ => CloseCode::TokenInvalid,
    }
}

impl Shard {
    /// The encoder, which frames of one call borrow; put it back afterwards.
    pub(super) fn take_encoder(&mut self) -> Box<FrameEncoder> {
        self.encoder.take().unwrap_or_default()
    }

    /// Queues an encoded frame for `connection`.
    pub(super) fn queue_frame(&mut self, connection: u32, frame: &[u8]) {
        self.queue_bytes(connection, Opcode::Data(DataKind::Binary), frame);
    }

    /// Queues one WebSocket frame for `connection`.
    pub(super) fn queue_bytes(&mut self, connection: u32, opcode: Opcode, payload: &[u8]) {
        let entry = &mut self.connections[connection];
        if entry.flags & (CLOSE_WHEN_SENT | CLOSING) != 0 {
            return;
        }
        let mut header = [0; 10];
        let len = server_header(opcode, true, payload.len(), &mut header);
        match self
            .queues
            .push(&mut entry.queue, &[&header[..len], payload])
        {
            Ok(()) => {
                self.counters.frames_out += 1;
                self.mark_ready(connection);
            }
            Err(_) => self.cut_off(connection, CloseCode::SlowClient),
        }
    }

    /// Queues an `Error` frame.
    pub(super) fn reply_error(&mut self, connection: u32, code: ErrorCode, request_id: u32) {
        self.reply_refusal(connection, code.into(), request_id);
    }

    /// Queues an `Error` frame with a time to wait of its own.
    pub(super) fn reply_refusal(&mut self, connection: u32, refusal: Refusal, request_id: u32) {
        self.counters.refusals.add(refusal.code);
        let mut encoder = self.take_encoder();
        let frame = encoder.error(&error_fields(refusal, request_id));
        self.queue_frame(connection, frame);
        self.encoder = Some(encoder);
    }
}
