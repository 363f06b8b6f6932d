//! UTF-8 validation of a text that arrives in pieces.
//!
//! The standard library's validator does the work, vector speed on ASCII included: it tells a
//! sequence that is wrong from one that is only cut off. The 0-3 bytes of a cut sequence are kept
//! here until the next piece.
//!
//! Invariants: a wrong byte is reported by the push that brought it, also in the middle of a
//! sequence (RFC 6455 section 8.1 allows and the public test suite rewards failing early); the
//! kept bytes are always the start of some valid sequence; nothing is allocated.
//! Runs on: any thread.

use super::Violation;

/// Longest encoding of one character (RFC 3629 section 3).
const SEQUENCE_BYTES_MAX: usize = 4;

/// The state between two pieces of one text, 4 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utf8 {
    cut: [u8; SEQUENCE_BYTES_MAX - 1],
    cut_bytes: u8,
}

impl Utf8 {
    /// The state before the first byte of a text.
    #[must_use]
    pub const fn new() -> Self {
        Utf8 {
            cut: [0; SEQUENCE_BYTES_MAX - 1],
            cut_bytes: 0,
        }
    }

    /// Validates the next piece of the text.
    ///
    /// # Errors
    /// [`Violation::TextNotUtf8`] when no continuation can make the text valid.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), Violation> {
        let rest = self.complete_sequence(piece)?;
        let Err(error) = std::str::from_utf8(rest) else {
            return Ok(());
        };
        if error.error_len().is_some() {
            return Err(Violation::TextNotUtf8);
        }
        let cut = &rest[error.valid_up_to()..];
        self.cut[..cut.len()].copy_from_slice(cut);
        self.cut_bytes = cut.len() as u8;
        Ok(())
    }

    /// Ends the text and returns to the state before a text.
    ///
    /// # Errors
    /// [`Violation::TextNotUtf8`] when the text ends inside a sequence.
    pub fn finish(&mut self) -> Result<(), Violation> {
        let is_cut = self.cut_bytes > 0;
        *self = Utf8::new();
        if is_cut {
            return Err(Violation::TextNotUtf8);
        }
        Ok(())
    }

    /// Adds bytes of `piece` to the cut sequence until it is complete; returns what is left.
    fn complete_sequence<'a>(&mut self, piece: &'a [u8]) -> Result<&'a [u8], Violation> {
        let held = usize::from(self.cut_bytes);
        if held == 0 {
            return Ok(piece);
        }
        let mut sequence = [0; SEQUENCE_BYTES_MAX];
        sequence[..held].copy_from_slice(&self.cut[..held]);
        for (taken, byte) in piece.iter().enumerate() {
            let length = held + taken + 1;
            sequence[length - 1] = *byte;
            match std::str::from_utf8(&sequence[..length]) {
                Ok(_) => {
                    self.cut_bytes = 0;
                    return Ok(&piece[taken + 1..]);
                }
                Err(error) if error.error_len().is_some() => return Err(Violation::TextNotUtf8),
                // A sequence of four bytes is complete or wrong, so a cut one fits the state.
                Err(_) => {
                    self.cut[length - 1] = *byte;
                    self.cut_bytes = length as u8;
                }
            }
        }
        Ok(&[])
    }
}

const _: () = assert!(size_of::<Utf8>() == 4);

#[cfg(test)]
mod tests;
