//! Bounds of tokens and keys, each with its reason.
//!
//! Runs on: any thread; these are constants.

use std::time::Duration;

use interlink_protocol::limits as protocol;

/// Longest user token in bytes.
pub const TOKEN_BYTES_MAX: usize = protocol::TOKEN_BYTES;

/// Longest `kid` in bytes; thumbprints have 43, and longer ones are no names of keys.
pub const KID_BYTES_MAX: usize = 128;

/// Longest `jti` in bytes: a UUID with a prefix fits several times.
pub const TOKEN_ID_BYTES_MAX: usize = 128;

/// Most key files: one in use and a few that are being rotated out.
pub const KEY_FILES_MAX: usize = 8;

/// Most keys of one file or one key set. Beside two in rotation, large issuers publish up to
/// a dozen; a token without `kid` costs at most one check for each of its algorithm.
pub const KEYS_PER_SET_MAX: usize = 16;

/// Most issuers with a key set by URL.
pub const ISSUERS_MAX: usize = 8;

/// Shortest secret in bytes: the output of SHA-256 (RFC 7518 section 3.2).
pub const SECRET_BYTES_MIN: usize = 32;

/// Shortest RSA modulus in bytes: 2,048 bits (RFC 7518 section 3.3).
pub const RSA_MODULUS_BYTES_MIN: usize = 256;

/// Longest RSA modulus in bytes: 4,096 bits; a longer one costs more than it protects.
pub const RSA_MODULUS_BYTES_MAX: usize = 512;

/// Longest key file in bytes: a set of [`KEYS_PER_SET_MAX`] RSA keys with certificates.
pub const KEY_FILE_BYTES_MAX: u64 = 64 << 10;

/// Longest answer with a key set in bytes, for the same reason.
pub const KEY_SET_BYTES_MAX: usize = 64 << 10;

/// Time for one fetch of a key set, from the look-up of the name to the last byte.
pub const KEY_SET_TIMEOUT: Duration = Duration::from_secs(5);

/// Unknown `kid` values that are remembered until the next fetch, and as many that the last
/// fetch did not have. More can only be made up.
pub const UNKNOWN_KIDS_MAX: usize = 64;

/// How often files are looked at, and asked-for keys collected. Shards wake twice a second,
/// so that a revocation reaches an open connection within a second.
pub const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Most entries of the revocation list; an entry takes about 20 to 100 bytes. A list of more
/// says that the signing key should be replaced instead.
pub const REVOCATIONS_MAX: usize = 100_000;

/// Longest revocation file in bytes: so many entries of the longest form.
pub const REVOCATION_FILE_BYTES_MAX: u64 = 32 << 20;

/// Requests to revoke that may wait while one is written; each has up to 1,000 entries.
pub const REVOKES_WAITING_MAX: usize = 16;

/// Seconds by which the clock of the issuer may be ahead, for `nbf`. `exp` has none, since
/// an open connection ends at that second.
pub const LEEWAY_S: u64 = 30;

const _: () = assert!(
    RSA_MODULUS_BYTES_MAX * 2 * KEYS_PER_SET_MAX < KEY_SET_BYTES_MAX,
    "a full key set fits"
);
