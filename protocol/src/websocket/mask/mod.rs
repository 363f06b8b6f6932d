//! The masking transform of RFC 6455 section 5.3, in place.
//!
//! Masking is an exclusive-or with a repeated 4-byte key, so the same call masks and unmasks.
//! Four 8-byte words go through in each step; the compiler turns a step into vector
//! instructions. Hand-written vector code would not be seen beside the system call that brought
//! the bytes, and this form needs no `unsafe`.
//!
//! Limits: any length, any offset into the key. Runs on: any thread.

/// Bytes of one unrolled step.
const STEP: usize = 32;
/// Bytes of one word.
const WORD: usize = 8;

/// A masking key as it stands in the header.
pub type Key = [u8; 4];

/// Masks or unmasks `payload`; its first byte meets the first byte of `key`.
#[inline]
pub fn apply(payload: &mut [u8], key: Key) {
    let half = u32::from_ne_bytes(key) as u64;
    let word = half << 32 | half;
    let (steps, rest) = payload.as_chunks_mut::<STEP>();
    for step in steps {
        let (words, _) = step.as_chunks_mut::<WORD>();
        for bytes in words {
            *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
        }
    }
    apply_short(rest, word);
}

/// Masks or unmasks `payload`, whose first byte is byte `offset` of its frame's payload.
#[inline]
pub fn apply_at(payload: &mut [u8], key: Key, offset: usize) {
    apply(payload, advance(key, offset));
}

/// The key as the byte `offset` places further on in the payload meets it.
#[inline]
#[must_use]
pub fn advance(key: Key, offset: usize) -> Key {
    let mut advanced = key;
    advanced.rotate_left(offset % key.len());
    advanced
}

/// The end of a payload: fewer than [`STEP`] bytes, whole words first.
#[inline]
fn apply_short(rest: &mut [u8], word: u64) {
    let (words, tail) = rest.as_chunks_mut::<WORD>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    let key = word.to_ne_bytes();
    for (byte, mask) in tail.iter_mut().zip(key) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests;
