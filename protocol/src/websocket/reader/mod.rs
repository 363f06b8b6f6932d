//! The codec of one connection: received bytes in, messages and control frames out, in place.
//!
//! The caller owns the bytes. It calls [`Reader::next`] with what it has from the first unread
//! byte on, uses the step, skips `consumed` bytes and calls again until
//! [`Step::NeedMore`]; then it keeps the unread rest (a cut frame) and calls again once `wanted`
//! bytes are there. With [`Delivery::Pieces`] the rest is never longer than
//! [`super::limits::CARRIED_BYTES_MAX`].
//!
//! Hot path: a data frame that lies whole in the input is found by a few compares, unmasked where
//! it lies and handed out; nothing is copied or allocated.
//!
//! Invariants:
//! - the state changes exactly with the step that reports `consumed` bytes, so a call that ends
//!   in `NeedMore` or `Failed` can be repeated with the same answer;
//! - `consumed` is never zero in a step that has it, so a loop over steps ends;
//! - payload is unmasked exactly once.
//!
//! Limits: [`super::Limits`], given with each call because a listener's connections share them.
//! Runs on: any thread.

use super::assembler::Progress;
use super::frame::{self, ControlKind, DataKind, Header, Opcode, Parsed, Role};
use super::limits::{Delivery, Limits};
use super::mask::{self, Key};
use super::Violation;

/// Codec state of one connection: 16 bytes, no buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    progress: Progress,
    /// Payload bytes of the frame that was handed out in part and has not ended.
    remaining: u32,
    /// The key as that frame's next byte meets it.
    key: Key,
}

/// What the next bytes are.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The input ends inside a frame. Nothing was consumed; call again with at least `wanted`
    /// bytes, counted from the same first byte.
    NeedMore {
        /// How many bytes the next step takes, at least.
        wanted: usize,
    },
    /// A message in one frame, unmasked in place.
    Message {
        /// Text (not validated) or binary.
        kind: DataKind,
        /// The whole payload.
        payload: &'a mut [u8],
        /// Bytes of input to skip.
        consumed: usize,
    },
    /// The next bytes of a message that does not come in one frame or, with
    /// [`Delivery::Pieces`], not in one input. Control frames may come in between.
    Fragment {
        /// What the whole message is.
        kind: DataKind,
        /// The next bytes, possibly none.
        payload: &'a mut [u8],
        /// Bytes of input to skip.
        consumed: usize,
        /// Whether the message is complete with these bytes.
        ends_message: bool,
    },
    /// A control frame, unmasked in place.
    Control {
        /// Close, ping or pong.
        kind: ControlKind,
        /// At most 125 bytes.
        payload: &'a mut [u8],
        /// Bytes of input to skip.
        consumed: usize,
    },
    /// The peer broke the protocol or a limit: close with the violation's code and read no more.
    Failed(Violation),
}

impl Reader {
    /// A reader at the start of a connection, after the opening handshake.
    #[must_use]
    pub const fn new(role: Role) -> Self {
        Reader {
            progress: Progress::new(role),
            remaining: 0,
            key: [0; 4],
        }
    }

    /// The reader of a server's connection.
    #[must_use]
    pub const fn server() -> Self {
        Self::new(Role::Server)
    }

    /// The reader of a client's connection.
    #[must_use]
    pub const fn client() -> Self {
        Self::new(Role::Client)
    }

    /// Which end of the connection this reader stands at.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.progress.role()
    }

    /// Whether no message is open: the connection could be moved or hibernated here.
    #[inline]
    #[must_use]
    pub const fn is_between_messages(&self) -> bool {
        !self.progress.is_open()
    }

    /// Takes the next step over `input`, which starts at the first unread byte.
    #[inline]
    pub fn next<'a>(&mut self, input: &'a mut [u8], limits: &Limits) -> Step<'a> {
        if self.is_between_messages() {
            if let Some(whole) = frame::find_whole(input, self.role(), limits.frame_bytes) {
                let payload = &mut input[whole.payload_start..whole.payload_end];
                if self.role() == Role::Server {
                    mask::apply(payload, whole.key);
                }
                return Step::Message {
                    kind: whole.kind,
                    payload,
                    consumed: whole.payload_end,
                };
            }
        }
        self.next_in_full(input, limits)
    }

    /// Every case: headers through the complete parser, fragments, pieces, control frames.
    fn next_in_full<'a>(&mut self, input: &'a mut [u8], limits: &Limits) -> Step<'a> {
        if self.remaining > 0 {
            return self.next_piece(input);
        }
        let header = match frame::parse(input, self.role()) {
            Ok(Parsed::Header(header)) => header,
            Ok(Parsed::Wanted(wanted)) => return Step::NeedMore { wanted },
            Err(violation) => return Step::Failed(violation),
        };
        let progress = match self.progress.admit(&header, limits) {
            Ok(progress) => progress,
            Err(violation) => return Step::Failed(violation),
        };
        // Both limits of `admit` and the 125 bytes of control frames are below 32 bits.
        let frame_end = header.header_bytes + header.payload_bytes as usize;
        if frame_end <= input.len() {
            self.take_whole(&header, progress, &mut input[..frame_end])
        } else if limits.delivery == Delivery::Whole || matches!(header.opcode, Opcode::Control(_))
        {
            Step::NeedMore { wanted: frame_end }
        } else {
            self.take_start(&header, progress, input)
        }
    }

    /// A frame that is all there; `frame` is exactly it.
    fn take_whole<'a>(
        &mut self,
        header: &Header,
        progress: Progress,
        frame: &'a mut [u8],
    ) -> Step<'a> {
        let consumed = frame.len();
        let payload = &mut frame[header.header_bytes..];
        mask::apply(payload, header.key);
        if let Opcode::Control(kind) = header.opcode {
            return Step::Control {
                kind,
                payload,
                consumed,
            };
        }
        let kind = progress.kind();
        let ends_message = header.is_final;
        self.progress = if ends_message {
            progress.ended()
        } else {
            progress
        };
        if ends_message && header.opcode != Opcode::Continuation {
            Step::Message {
                kind,
                payload,
                consumed,
            }
        } else {
            Step::Fragment {
                kind,
                payload,
                consumed,
                ends_message,
            }
        }
    }

    /// The first bytes of a data frame that goes on beyond `input`.
    fn take_start<'a>(
        &mut self,
        header: &Header,
        progress: Progress,
        input: &'a mut [u8],
    ) -> Step<'a> {
        let consumed = input.len();
        let payload = &mut input[header.header_bytes..];
        mask::apply(payload, header.key);
        self.progress = progress;
        self.remaining = header.payload_bytes as u32 - payload.len() as u32;
        self.key = mask::advance(header.key, payload.len());
        Step::Fragment {
            kind: progress.kind(),
            payload,
            consumed,
            ends_message: false,
        }
    }

    /// The next bytes of a data frame that was begun.
    fn next_piece<'a>(&mut self, input: &'a mut [u8]) -> Step<'a> {
        let consumed = input.len().min(self.remaining as usize);
        if consumed == 0 {
            return Step::NeedMore { wanted: 1 };
        }
        let payload = &mut input[..consumed];
        mask::apply(payload, self.key);
        let kind = self.progress.kind();
        self.remaining -= consumed as u32;
        let ends_frame = self.remaining == 0;
        // Between frames the state is the same however they were cut.
        self.key = if ends_frame {
            [0; 4]
        } else {
            mask::advance(self.key, consumed)
        };
        let ends_message = ends_frame && self.progress.is_final();
        if ends_message {
            self.progress = self.progress.ended();
        }
        Step::Fragment {
            kind,
            payload,
            consumed,
            ends_message,
        }
    }
}

const _: () = assert!(size_of::<Reader>() == 16);

#[cfg(test)]
mod tests;
