//! Limits of the gateway, each with its reason.

/// What publishes under way may hold together, in units of [`UNIT_BYTES`]: as many publishes, or
/// 64 MiB. A shard journals as much while its disk is behind, so more would only wait longer.
pub const UNITS_MAX: u32 = 65_536;

/// A publish counts as one unit and one for each of these bytes of payload.
pub const UNIT_BYTES: usize = 1_024;

/// Calls that wait for the gateway's next turn, which takes all of them.
pub const CALLS_WAITING_MAX: usize = 1_024;

/// Publishes of one call. The call is answered as a whole, so that it should not wait for much.
pub const PUBLISHES_PER_CALL_MAX: usize = 1_000;

/// Questions of services that shards may have at a time. Each costs a turn some tens of
/// microseconds, and a page of history up to 192 KiB until it is answered.
pub const QUESTIONS_MAX: usize = 64;

/// Channels of one page: each is looked up once on every shard that has subscribers of it.
pub const CHANNELS_PER_PAGE_MAX: usize = 256;

/// Questions to shards about one page of channels. A page ends after so many though it is not
/// full, so that one request does not walk a whole table of a million channels.
pub const QUESTIONS_PER_PAGE_MAX: usize = 256;
