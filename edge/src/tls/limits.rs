//! Bounds of TLS, each with its reason.
//!
//! Runs on: any thread; these are constants.

use std::time::Duration;

/// Largest plaintext of one record (RFC 8446, section 5.1).
pub const RECORD_PLAIN_BYTES: usize = 16 * 1024;

/// What a record adds at most: header 5, explicit nonce 8 (TLS 1.2), type 1 (TLS 1.3),
/// tag 16, rounded up.
pub const RECORD_OVERHEAD: usize = 32;

/// Bytes of an incomplete record, or of a handshake message in several records, that are
/// kept for one connection: a largest record and a second one of a cut message. A client
/// hello with post-quantum keys has below 2 KiB.
pub const HELD_BYTES_MAX: usize = 2 * (RECORD_PLAIN_BYTES + RECORD_OVERHEAD);

/// Most plaintext that one send encrypts: one record, so that a short send leaves at most
/// one record of ciphertext to keep.
pub const SEAL_BYTES_MAX: usize = RECORD_PLAIN_BYTES;

/// Tickets that follow a TLS 1.3 handshake: one, since a client opens one connection, and
/// each costs a send and a decryption at its use.
pub const TICKETS_PER_HANDSHAKE: usize = 1;

/// Certificates of one node: with more, terminate TLS upstream. Each full handshake looks
/// at all of them when none of the names before matched.
pub const CERTIFICATES_MAX: usize = 64;

/// Largest PEM file: a chain of ten certificates has below a tenth of it.
pub const PEM_BYTES_MAX: u64 = 1 << 20;

/// Smallest secret for ticket keys: 32 bytes, the strength of the keys that come of it.
pub const TICKET_SECRET_BYTES_MIN: usize = 32;

/// Largest secret for ticket keys.
pub const TICKET_SECRET_BYTES_MAX: usize = 1_024;

/// Shortest life of a ticket key: clocks of the nodes may differ by as much.
pub const TICKET_ROTATION_MIN: Duration = Duration::from_secs(60);

/// Longest life of a ticket key. A ticket lives for at most twice as long, and RFC 8446
/// (section 4.6.1) forbids more than seven days.
pub const TICKET_ROTATION_MAX: Duration = Duration::from_secs(3 * 86_400);

/// How often the control thread looks whether files of certificates, keys and secrets have
/// changed.
pub const FILES_LOOK_EVERY: Duration = Duration::from_secs(1);

/// User memory of an established session: what `interlink-edge config print` plans for.
pub const SESSION_BYTES: u64 = 6 * 1024;

const _: () = assert!(HELD_BYTES_MAX > RECORD_PLAIN_BYTES + RECORD_OVERHEAD);
const _: () = assert!(2 * TICKET_ROTATION_MAX.as_secs() <= 7 * 86_400);
