//! Limits of presence on a shard, each with its reason.

/// Messages that a turn takes and sends.
pub const MESSAGES_PER_TURN: usize = 16;

/// Users of which a turn is told before it takes no further message: each is a search in a tree of
/// names, about a microsecond.
pub const USERS_PER_TURN: usize = 64;

/// Users that one message tells of, so that a turn can take it.
pub const USERS_PER_MESSAGE: usize = 64;

/// Frames of a shard for other nodes that the relay thread has and that have not been sent: enough
/// for the time until it hears of one, and 256 KiB at most.
pub const FRAMES_UNDER_WAY: usize = 16;

/// Bytes of messages for other nodes that a turn makes: some 300 users, each a search in a tree.
pub const NODE_BYTES_PER_TURN: usize = 6 * 1024;

/// Frames of other nodes that wait for their turn; 1 MiB at most, further ones are asked again.
pub const NODE_FRAMES_MAX: usize = 64;

/// Bytes of messages of other nodes that a turn reads before it takes no further one: some 50
/// users.
pub const NODE_BYTES_READ_PER_TURN: usize = 1_024;

/// Members of a channel that a turn counts when its presence is asked for: each is a look at a
/// subscription, its session and its user.
pub const COUNTED_PER_TURN: u32 = 64;

/// Leaves and changes that a turn does, and users of forgotten channels that it frees. A school
/// that is cut off leaves as a whole a grace later.
pub const DUE_PER_TURN: usize = 64;

/// Things that the table asks for and a turn does: each is a message to some or all shards.
pub const ACTIONS_PER_TURN: usize = 8;

/// Pages that a turn gives: each is a walk over 250 names, about 20 us.
pub const PAGES_PER_TURN: usize = 4;

/// Changes that a turn hands to connections.
pub const CHANGES_PER_TURN: usize = 128;

/// Bytes of changes that a turn copies into the queues of connections.
pub const CHANGE_BYTES_PER_TURN: usize = 128 * 1024;

/// Requests for pages that an owner keeps until its turn comes or its scope is ready.
pub const ASKS_MAX: usize = 1_024;

/// Requests of one connection that are not answered yet: pages follow each other, so more would
/// only be ahead of the reader.
pub const ASKS_PER_CONNECTION: u8 = 4;

/// Bytes that may wait for a connection that is sent a page; four more pages then still fit.
pub const WAITING_BYTES_MAX: usize = 128 * 1024;

/// Bytes that may wait for a connection that is told a change; behind more, the change would be
/// old when it arrives, and the count is told later instead.
pub const CHANGE_WAITING_BYTES_MAX: usize = 16 * 1024;

/// How long until the count is tried again with a connection that did not read, in milliseconds.
pub const OWED_RETRY_MS: u32 = 500;

/// How long until a scope that found no room is watched again, in milliseconds.
pub const WATCH_RETRY_MS: u32 = 5_000;

/// Bytes charged for a user whose devices are counted here: its place in a map 24, and its name
/// in a tree while the owner has not been told 72.
pub const COUNTED_BYTES: usize = 96;

/// Bytes charged for a subscription that is told changes: its place in a tree.
pub const WATCHER_BYTES: usize = 16;

/// Bytes charged for a channel that is counted or watched here.
pub const CHANNEL_BYTES: usize = 160;
