//! Limits of the server API, each with its reason.

use std::time::Duration;

/// Bytes of a request's body: a full call of 1,000 publishes of 3 KiB in base64. Larger ones are
/// divided by the caller.
pub const BODY_BYTES_MAX: usize = 4 << 20;

/// Bodies and answers that may be in memory together, in units of [`ROOM_UNIT_BYTES`]: 128 MiB. A
/// request counts by its Content-Length, or as the largest when it names none, and by what its
/// answer may take, until that has been written.
pub const ROOM_UNITS: usize = 2_048;

/// Unit of the room; a request takes at least one.
pub const ROOM_UNIT_BYTES: usize = 64 << 10;

/// Units of an answer with many entries: 1,000 outcomes of which each is a refusal with its texts,
/// or a page of history of up to 192 KiB, once in base64 and once as JSON.
pub const LIST_UNITS: usize = 8;

/// Open connections. Back ends keep a few dozen open each; what comes beyond waits in the
/// kernel's backlog.
pub const CONNECTIONS_MAX: usize = 1_024;

/// Bytes of a request's head, as on the address for clients.
pub const HEAD_BYTES_MAX: usize = 8 << 10;

/// Time for a TLS handshake, and for the head of each request; also the longest idle time of a
/// connection that is kept open.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for a request with its body, and longest time in which a caller takes nothing of its
/// answer. An acknowledgement takes milliseconds; a disk
/// that needs longer is answered `unavailable`, and the same keys may be sent again.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of an idempotency key: several UUIDs beside each other.
pub const KEY_BYTES_MAX: usize = 255;

/// Users and token ids of one request to revoke: a school is revoked by a few requests, and the
/// log of each names all of them.
pub const REVOKED_PER_REQUEST_MAX: usize = 1_000;

/// Bytes of a close reason (RFC 6455 section 5.5): a control frame has 125, the code takes two.
pub const CLOSE_REASON_BYTES_MAX: usize = 123;

/// Channels of a page when the caller names no number.
pub const CHANNELS_PER_PAGE: usize = 100;

const _: () = {
    use interlink_protocol::limits::SERVER_FRAME_BYTES;
    let page = interlink_relay::limits::HISTORY_BYTES_MAX + SERVER_FRAME_BYTES;
    assert!(page * 4 / 3 + page <= LIST_UNITS * ROOM_UNIT_BYTES);
};
const _: () = assert!(BODY_BYTES_MAX / ROOM_UNIT_BYTES < ROOM_UNITS);
