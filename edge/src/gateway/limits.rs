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
