//! One client: from a connect to live, and the cutting of its byte stream into frames.
//!
//! Limits: the state is below 64 bytes, so that a million clients fit in one process; bytes of a
//! cut frame live in the fleet's pool, whole frames are read where they lie.
//!
//! Runs on: the generator's thread.

use super::link::NONE;
use crate::limits::FRAME_BYTES_MAX;
use interlink_protocol::websocket::frame::{self, Opcode, Parsed, Role};
use interlink_uring::SocketId;

/// How far a client is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Without a connection.
    #[default]
    Idle,
    /// The upgrade was asked for.
    Upgrading,
    /// `Hello` was sent.
    Greeting,
    /// `Subscribe` was sent.
    Subscribing,
    /// Ready for the workload.
    Live,
    /// Being closed; nothing is read or written any more.
    Closing,
}

impl Phase {
    /// True when bytes may be written.
    pub fn is_connected(self) -> bool {
        !matches!(self, Self::Idle | Self::Closing)
    }

    /// True between the first byte and live.
    pub fn is_unfinished(self) -> bool {
        matches!(self, Self::Upgrading | Self::Greeting | Self::Subscribing)
    }
}

/// State of one client.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// Its connection.
    pub socket: SocketId,
    /// When its connect began, monotonic nanoseconds.
    pub started_ns: u64,
    /// When the oldest of its output was due, monotonic nanoseconds; 0 without a schedule.
    pub due_ns: u64,
    /// Pool buffer with bytes of a cut frame.
    pub partial: u32,
    /// Pool buffer with bytes to send.
    pub outgoing: u32,
    /// `Subscribed` answers still to come.
    pub answers_due: u16,
    /// How far it is.
    pub phase: Phase,
    /// Waits in the queue of clients with output.
    pub is_queued: bool,
    /// The socket is full.
    pub is_blocked: bool,
}

const _: () = assert!(std::mem::size_of::<Client>() <= 64);

impl Default for Client {
    fn default() -> Self {
        Self {
            socket: SocketId::NONE,
            started_ns: 0,
            due_ns: 0,
            partial: NONE,
            outgoing: NONE,
            answers_due: 0,
            phase: Phase::Idle,
            is_queued: false,
            is_blocked: false,
        }
    }
}

/// The start of a byte stream that comes from a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// A whole frame: where its payload lies.
    Frame {
        /// What it is.
        opcode: Opcode,
        /// Where the payload starts.
        start: usize,
        /// Where the frame ends.
        end: usize,
    },
    /// The frame, or its header, needs this many bytes in all.
    Wanted(usize),
    /// No frame of a server.
    Failed(&'static str),
}

/// Looks at the first frame of `bytes`.
pub(super) fn cut(bytes: &[u8]) -> Cut {
    if let Some(whole) = frame::find_whole(bytes, Role::Client, FRAME_BYTES_MAX as u32) {
        return Cut::Frame {
            opcode: Opcode::Data(whole.kind),
            start: whole.payload_start,
            end: whole.payload_end,
        };
    }
    match frame::parse(bytes, Role::Client) {
        Ok(Parsed::Wanted(wanted)) => Cut::Wanted(wanted),
        Ok(Parsed::Header(header)) => {
            if !header.is_final {
                return Cut::Failed("a fragmented message");
            }
            let end = header.header_bytes as u64 + header.payload_bytes;
            if end > FRAME_BYTES_MAX as u64 {
                return Cut::Failed("a frame above the limit");
            }
            let end = end as usize;
            if end > bytes.len() {
                return Cut::Wanted(end);
            }
            Cut::Frame {
                opcode: header.opcode,
                start: header.header_bytes,
                end,
            }
        }
        Err(_) => Cut::Failed("bytes that are no WebSocket frame"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use interlink_protocol::websocket::frame::{append_server_frame, ControlKind, DataKind};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cut_frame_asks_for_what_it_needs(length in 0_usize..70_000, at in 0_usize..70_000) {
            let mut bytes = Vec::new();
            append_server_frame(Opcode::Data(DataKind::Binary), true, &vec![7; length], &mut bytes);
            let at = at % bytes.len();
            match cut(&bytes[..at]) {
                Cut::Wanted(wanted) => prop_assert!(wanted > at && wanted <= bytes.len()),
                other => prop_assert!(false, "{other:?}"),
            }
            let header = bytes.len() - length;
            let opcode = Opcode::Data(DataKind::Binary);
            prop_assert_eq!(cut(&bytes), Cut::Frame { opcode, start: header, end: bytes.len() });
        }
    }

    #[test]
    fn control_frames_are_cut_too() {
        let mut bytes = Vec::new();
        let opcode = Opcode::Control(ControlKind::Close);
        append_server_frame(opcode, true, &1000_u16.to_be_bytes(), &mut bytes);
        assert_eq!(
            cut(&bytes),
            Cut::Frame {
                opcode,
                start: 2,
                end: 4
            }
        );
    }

    #[test]
    fn masked_frames_of_a_server_fail() {
        assert!(matches!(cut(&[0x82, 0x81, 1, 2, 3, 4, 5]), Cut::Failed(_)));
    }
}
