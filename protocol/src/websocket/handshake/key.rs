//! `Sec-WebSocket-Key` and its answer (RFC 6455 sections 4.1 and 4.2.2).
//!
//! Runs on: any thread.

/// Characters of 16 bytes in base64: 22 that carry data and two of padding.
pub(super) const KEY_CHARACTERS: usize = 24;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Whether `key` is exactly 16 bytes in canonical base64: 22 characters of the alphabet, of which
/// the last carries only two bits, and two of padding.
pub(super) fn is_valid(key: &str) -> bool {
    let Some(data) = key.strip_suffix("==") else {
        return false;
    };
    key.len() == KEY_CHARACTERS
        && data.bytes().all(|byte| ALPHABET.contains(&byte))
        && matches!(data.as_bytes().last(), Some(b'A' | b'Q' | b'g' | b'w'))
}

/// The base64 form of a client's 16 random bytes.
pub(super) fn encode(nonce: &[u8; 16]) -> [u8; KEY_CHARACTERS] {
    let mut key = [b'='; KEY_CHARACTERS];
    // Two bits of zero complete the last character, 22 x 6 = 128 + 4.
    let bits = u128::from_be_bytes(*nonce);
    for (index, character) in key[..22].iter_mut().enumerate() {
        let sextet = match index {
            21 => (bits << 4) as usize & 0x3f,
            _ => (bits >> (122 - 6 * index)) as usize & 0x3f,
        };
        *character = ALPHABET[sextet];
    }
    key
}

/// What a server answers to `key`.
pub(super) fn accept(key: &str) -> String {
    tungstenite::handshake::derive_accept_key(key.as_bytes())
}
