//! Where the head of a request or answer ends, found while it arrives.
//!
//! Invariant: each byte is looked at once over all calls, so a head that arrives one byte at a
//! time costs no more than one that arrives whole. Limits: the head's length. Runs on: any thread.

use super::{HandshakeError, HandshakeLimits};

/// How far the search for the end of a head has come: 4 bytes per unfinished handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadScan {
    scanned: u16,
    matched: Terminator,
}

/// How much of the terminator CR LF CR LF the scanned bytes end with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
enum Terminator {
    #[default]
    Nothing,
    Cr,
    CrLf,
    CrLfCr,
}

impl HeadScan {
    /// A scan that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        HeadScan {
            scanned: 0,
            matched: Terminator::Nothing,
        }
    }

    /// Continues over `received`, which starts at the first byte of the head and only grows from
    /// call to call. Gives the head's length, terminator included, or `None` while it is cut.
    ///
    /// # Errors
    /// A line end that is not CR LF, or a head above the limit; known before more bytes than the
    /// limit are kept.
    pub fn advance(
        &mut self,
        received: &[u8],
        limits: &HandshakeLimits,
    ) -> Result<Option<usize>, HandshakeError> {
        let limit = limits.header_bytes.min(usize::from(u16::MAX));
        let visible = &received[..received.len().min(limit)];
        let start = usize::from(self.scanned).min(visible.len());
        for (index, byte) in visible[start..].iter().enumerate() {
            self.matched = match (self.matched, *byte) {
                (Terminator::Nothing, b'\r') => Terminator::Cr,
                (Terminator::CrLf, b'\r') => Terminator::CrLfCr,
                (Terminator::Cr, b'\n') => Terminator::CrLf,
                (Terminator::CrLfCr, b'\n') => return Ok(Some(start + index + 1)),
                (Terminator::Cr | Terminator::CrLfCr, _) | (_, b'\n') => {
                    return Err(HandshakeError::LineEnd);
                }
                _ => Terminator::Nothing,
            };
        }
        self.scanned = visible.len() as u16;
        if visible.len() == limit {
            return Err(HandshakeError::HeadTooLong { limit });
        }
        Ok(None)
    }
}

const _: () = assert!(size_of::<HeadScan>() == 4);
