//! Bounds of tokens and keys, each with its reason.
//!
//! Runs on: any thread; these are constants.

use interlink_protocol::limits as protocol;

/// Longest user token in bytes.
pub const TOKEN_BYTES_MAX: usize = protocol::TOKEN_BYTES;

/// Most keys: one in use and a few that are being rotated out. A token with a wrong
/// signature costs one check for each.
pub const KEYS_MAX: usize = 8;

/// Shortest key in bytes: the output of SHA-256 (RFC 7518 section 3.2).
pub const KEY_BYTES_MIN: usize = 32;

/// Longest key file in bytes; longer ones are something else.
pub const KEY_FILE_BYTES_MAX: u64 = 4_096;

/// Seconds by which clocks of issuer and node may differ.
pub const LEEWAY_S: u64 = 30;
