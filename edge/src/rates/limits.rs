//! Bounds of the tables of rates, each with its reason.
//!
//! Runs on: any thread; these are constants.

/// Addresses that are remembered. A school is one; when more come, those that are nearest to
/// having their whole burst again are forgotten first.
pub const ADDRESSES: usize = 16_384;

/// Institutions that are remembered; they come from verified tokens, so an attacker cannot add
/// any.
pub const INSTITUTIONS: usize = 4_096;

/// Places where a key may stand: eight of 16 bytes are two or three cache lines.
pub const WAYS: usize = 8;

/// Times that a place is tried to be taken while other threads take it too; afterwards the key
/// shares it, which is too strict for a moment and never too lax.
pub const CLAIMS: usize = 4;

/// Most requests of an institution that a shard takes in advance; so many a second are the
/// smallest part of any rate that one shard may hold and not use.
pub const BATCH_MAX: u32 = 64;

/// A batch is at most this part of a second of the rate.
pub const BATCHES_PER_SECOND: u32 = 256;

/// Institutions whose batch a shard holds.
pub const BATCHES_HELD: usize = 256;

const _: () = assert!(ADDRESSES.is_power_of_two() && INSTITUTIONS.is_power_of_two());
const _: () = assert!(BATCHES_HELD.is_power_of_two());
const _: () = assert!(WAYS <= INSTITUTIONS);
