//! Fragments into messages, within limits (RFC 6455 section 5.4).
//!
//! Two parts. `Progress` is what a connection must remember while a message is open: 8 bytes
//! of counters inside the [`super::Reader`], checked when a header arrives and before a byte is
//! kept. [`Assembler`] joins the bytes in a growing buffer, for callers that own one: the client
//! SDK, the load generator and the conformance server. An edge session joins them in a block of
//! its pool instead.
//!
//! Invariants: the sum of all payloads and the number of all frames of a message, empty ones
//! counted, stay within the limits; control frames between fragments change nothing here; memory
//! grows with bytes that arrived and never by a declared length.
//! Runs on: any thread.

use super::frame::{DataKind, Header, Opcode, Role};
use super::limits::Limits;
use super::utf8::Utf8;
use super::Violation;

const FRAGMENT_BITS: u32 = 0x00ff_ffff;
const CLIENT_BIT: u32 = 1 << 24;
const OPEN_BIT: u32 = 1 << 25;
const TEXT_BIT: u32 = 1 << 26;
const FINAL_BIT: u32 = 1 << 27;

/// How far the open message has come. Packed, since every connection carries one: 32 bits of
/// payload bytes; 24 bits of frames; four flags, one of which is the reader's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    payload_bytes: u32,
    word: u32,
}

impl Progress {
    pub(super) const fn new(role: Role) -> Self {
        let word = match role {
            Role::Server => 0,
            Role::Client => CLIENT_BIT,
        };
        Progress {
            payload_bytes: 0,
            word,
        }
    }

    #[inline]
    pub(super) const fn role(self) -> Role {
        if self.word & CLIENT_BIT == 0 {
            Role::Server
        } else {
            Role::Client
        }
    }

    /// Whether a message has begun and not ended.
    #[inline]
    pub(super) const fn is_open(self) -> bool {
        self.word & OPEN_BIT != 0
    }

    /// Whether the frame admitted last ends its message.
    pub(super) const fn is_final(self) -> bool {
        self.word & FINAL_BIT != 0
    }

    /// What the open message is.
    pub(super) const fn kind(self) -> DataKind {
        if self.word & TEXT_BIT == 0 {
            DataKind::Binary
        } else {
            DataKind::Text
        }
    }

    /// The progress with the data frame of `header` added to the message.
    pub(super) fn admit(self, header: &Header, limits: &Limits) -> Result<Self, Violation> {
        let mut next = match header.opcode {
            Opcode::Data(_) if self.is_open() => return Err(Violation::MessageUnfinished),
            Opcode::Data(DataKind::Text) => self.opened(TEXT_BIT),
            Opcode::Data(DataKind::Binary) => self.opened(0),
            Opcode::Continuation if self.is_open() => self,
            Opcode::Continuation => return Err(Violation::ContinuationUnexpected),
            // A control frame belongs to no message.
            Opcode::Control(_) => return Ok(self),
        };
        if header.payload_bytes > u64::from(limits.frame_bytes) {
            return Err(Violation::FrameTooLong {
                limit: limits.frame_bytes,
            });
        }
        let total = u64::from(next.payload_bytes) + header.payload_bytes;
        if total > u64::from(limits.message_bytes) {
            return Err(Violation::MessageTooLong {
                limit: limits.message_bytes,
            });
        }
        if (next.word & FRAGMENT_BITS) + 1 > limits.fragments {
            return Err(Violation::FragmentsTooMany {
                limit: limits.fragments,
            });
        }
        next.payload_bytes = total as u32;
        next.word += 1;
        if header.is_final {
            next.word |= FINAL_BIT;
        }
        Ok(next)
    }

    /// The progress after the final frame's last byte: no message is open.
    pub(super) const fn ended(self) -> Self {
        Progress {
            payload_bytes: 0,
            word: self.word & CLIENT_BIT,
        }
    }

    const fn opened(self, kind: u32) -> Self {
        Progress {
            payload_bytes: 0,
            word: self.word & CLIENT_BIT | OPEN_BIT | kind,
        }
    }
}

const _: () = assert!(size_of::<Progress>() == 8);
const _: () = assert!(super::limits::FRAGMENTS_CEILING == FRAGMENT_BITS);

/// A complete message, borrowed from the assembler or from the input.
#[derive(Debug, PartialEq, Eq)]
pub struct Assembled<'a> {
    /// What the message is; text has been validated.
    pub kind: DataKind,
    /// The payload of all its frames.
    pub payload: &'a [u8],
}

/// Joins the fragments that a [`super::Reader`] hands out, and validates text as it comes.
///
/// The reader has bounded the message already; the assembler keeps its buffer from message to
/// message up to `kept_bytes`, so that one large message does not hold memory for ever.
#[derive(Debug)]
pub struct Assembler {
    message: Vec<u8>,
    text: Utf8,
    is_complete: bool,
    kept_bytes: usize,
}

impl Assembler {
    /// An empty assembler that keeps at most `kept_bytes` of buffer between messages.
    #[must_use]
    pub const fn new(kept_bytes: usize) -> Self {
        Assembler {
            message: Vec::new(),
            text: Utf8::new(),
            is_complete: false,
            kept_bytes,
        }
    }

    /// Passes a message that came whole; text is validated, nothing is copied.
    ///
    /// # Errors
    /// [`Violation::TextNotUtf8`].
    pub fn whole<'a>(
        &mut self,
        kind: DataKind,
        payload: &'a [u8],
    ) -> Result<Assembled<'a>, Violation> {
        if kind == DataKind::Text {
            self.text.push(payload)?;
            self.text.finish()?;
        }
        Ok(Assembled { kind, payload })
    }

    /// Adds the next bytes of a message; gives the message when they end it. The message stays
    /// until the next call.
    ///
    /// # Errors
    /// [`Violation::TextNotUtf8`], as soon as a byte can belong to no valid text.
    pub fn fragment(
        &mut self,
        kind: DataKind,
        payload: &[u8],
        ends_message: bool,
    ) -> Result<Option<Assembled<'_>>, Violation> {
        if self.is_complete {
            self.is_complete = false;
            self.message.clear();
            self.message.shrink_to(self.kept_bytes);
        }
        if kind == DataKind::Text {
            self.text.push(payload)?;
            if ends_message {
                self.text.finish()?;
            }
        }
        self.message.extend_from_slice(payload);
        self.is_complete = ends_message;
        Ok(ends_message.then_some(Assembled {
            kind,
            payload: &self.message,
        }))
    }

    /// Bytes of memory that the buffer holds now.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.message.capacity()
    }
}

#[cfg(test)]
mod tests;
