//! Every bound of the protocol, with its reason.
//!
//! Invariant: the assertions at the end hold between them; a change that breaks one does not
//! compile. Bounds of the WebSocket codec stand in `websocket`.
//! Runs on: any thread; constants.

/// The version of this protocol in `Hello`.
pub const PROTOCOL_VERSION: u16 = 1;
/// The WebSocket subprotocol of this version.
pub const SUBPROTOCOL: &str = "interlink.v1";

/// Largest frame from a client after `Hello`, in bytes. Large content belongs in an object
/// store; 64 KiB keeps a node's buffers for slow senders small.
pub const FRAME_BYTES: usize = 64 * 1024;
/// Largest first frame of a connection, in bytes. Half of the others, since thousands of
/// clients that have not proved who they are can send one at once.
pub const HELLO_BYTES: usize = 32 * 1024;
/// Largest frame from the server, in bytes: the largest pool block holds it with its header.
pub const SERVER_FRAME_BYTES: usize = 64 * 1024;
/// Largest payload that any namespace may allow, in bytes: with names and ids around it the
/// event still fits a frame.
pub const PAYLOAD_BYTES: usize = 60 * 1024;
/// Payload limit of a namespace that does not name one, in bytes.
pub const PAYLOAD_DEFAULT_BYTES: usize = 16 * 1024;

/// Longest channel name in bytes: two users and a namespace fit.
pub const CHANNEL_BYTES: usize = 160;
/// Longest user, institution, department, class or role name in bytes.
pub const NAME_BYTES: usize = 64;
/// Longest publisher in an event, in bytes: `service:` and a name.
pub const PUBLISHER_BYTES: usize = NAME_BYTES + 8;
/// Longest user token in bytes: a JWT that lists about a hundred classes.
pub const TOKEN_BYTES: usize = 8 * 1024;
/// Longest subscription token in bytes: a JWT with three claims.
pub const SUBSCRIPTION_TOKEN_BYTES: usize = 1024;
/// Longest device id, client name or client version in bytes.
pub const LABEL_BYTES: usize = 64;
/// Longest conflation key in bytes.
pub const CONFLATION_KEY_BYTES: usize = 64;
/// Length of a `traceparent` of version 00 in bytes (W3C Trace Context section 3.2).
pub const TRACEPARENT_BYTES: usize = 55;
/// Longest `tracestate` in bytes: what W3C Trace Context section 3.3.1.5 asks to carry.
pub const TRACESTATE_BYTES: usize = 512;
/// Longest page token in bytes.
pub const PAGE_TOKEN_BYTES: usize = 128;

/// Most channels or positions in one `Subscribe`, `Unsubscribe`, `Ack` or `Pong`. An SDK with
/// more sends several frames; the work of one frame stays small and fits [`CLIENT_TABLES`].
pub const ITEMS_PER_FRAME: usize = 32;
/// Most subscriptions of a session. A student has one for each class and a few more.
pub const SUBSCRIPTIONS_PER_SESSION: usize = 100;
/// Most events in a `HistoryPage`.
pub const HISTORY_PAGE_EVENTS: usize = 100;
/// Most members in a `PresencePage`, and most changes in a `PresenceChange`.
pub const PRESENCE_PAGE_MEMBERS: usize = 250;

/// Deepest nesting of tables that the verifier follows; frames use 4.
pub const VERIFIER_DEPTH: usize = 8;
/// Most tables in a frame of a client, `Hello` excepted.
pub const CLIENT_TABLES: usize = 64;
/// Most tables in a `Hello`: one position for each subscription of the session it resumes.
pub const HELLO_TABLES: usize = SUBSCRIPTIONS_PER_SESSION + 4;
/// Most tables in a frame of the server.
pub const SERVER_TABLES: usize = 256;
/// How many times its length a frame may count when everything that its tables refer to is
/// added up; a frame that refers to the same bytes again and again costs no more than this.
pub const APPARENT_SIZE_FACTOR: usize = 4;

/// Unacknowledged publishes of a connection for P1, P2 and P3 together.
pub const PUBLISH_CREDIT: u8 = 64;
/// Unacknowledged publishes of a connection for P0, which nothing else can use up.
pub const PUBLISH_CREDIT_CRITICAL: u8 = 8;
/// Retry time told with `overloaded` in milliseconds: about one commit of a busy disk.
pub const OVERLOADED_RETRY_MS: u32 = 50;
/// Retry time told when a backing service is away, in milliseconds.
pub const UNAVAILABLE_RETRY_MS: u32 = 1_000;

/// Unsettled publishes that an SDK keeps for each class; then that class waits.
pub const UNSETTLED_COUNT: usize = 1_000;
/// Bytes of unsettled publishes that an SDK keeps for each class.
pub const UNSETTLED_BYTES: usize = 1024 * 1024;

/// Attempts older than this are looked up before they are accepted, in milliseconds: the
/// shortest memory of recent ids is one minute longer.
pub const ATTEMPT_LOOK_UP_AGE_MS: u32 = 4 * 60 * 1000;
/// Shortest time for which recent ids are remembered, in milliseconds.
pub const RECENT_IDS_MS: u32 = 5 * 60 * 1000;
/// Attempts older than this cannot be decided by anybody, in milliseconds: the archive keeps
/// ids for 8 days.
pub const ATTEMPT_DECIDABLE_AGE_MS: u32 = 8 * 24 * 60 * 60 * 1000;

/// Interval of heartbeats in milliseconds.
pub const HEARTBEAT_MS: u32 = 30_000;
/// Time within which a client answers a heartbeat, in milliseconds.
pub const HEARTBEAT_TIMEOUT_MS: u32 = 5_000;
/// Silence after which a client gives a connection up, in milliseconds.
pub const SILENCE_MS: u32 = HEARTBEAT_MS + HEARTBEAT_TIMEOUT_MS;
/// Time for `Hello` after the WebSocket handshake, in milliseconds.
pub const HELLO_TIMEOUT_MS: u32 = 5_000;
/// A client that takes no byte for this long is closed unless the node is configured otherwise,
/// in milliseconds: as long as a heartbeat takes to find a client that is gone.
pub const WRITE_TIMEOUT_MS: u32 = 30_000;
/// How long a session can be resumed after its connection was lost, in milliseconds.
pub const RESUME_WINDOW_MS: u32 = 120_000;
/// How long the server waits for the peer's close frame, in milliseconds.
pub const CLOSE_TIMEOUT_MS: u32 = 1_000;
/// First delay of a client's reconnects in milliseconds.
pub const RECONNECT_FIRST_MS: u32 = 1_000;
/// Longest delay between a client's reconnects in milliseconds.
pub const RECONNECT_LONGEST_MS: u32 = 30_000;
/// Reconnects in a row before a client is `suspended`.
pub const RECONNECT_ATTEMPTS: u32 = 5;

/// Bytes that FlatBuffers adds to a channel with its position: entry 4, table 32, length and
/// padding of the name 12.
const POSITION_OVERHEAD: usize = 48;
/// Bytes that FlatBuffers and fixed fields add to an event: root, tables, ids, padding.
const EVENT_OVERHEAD: usize = 256;

const _: () = {
    let positions = SUBSCRIPTIONS_PER_SESSION * (CHANNEL_BYTES + POSITION_OVERHEAD);
    let rest = TOKEN_BYTES + 3 * LABEL_BYTES + EVENT_OVERHEAD;
    assert!(
        positions + rest <= HELLO_BYTES,
        "a Hello that resumes everything fits"
    );
    let names = CHANNEL_BYTES + PUBLISHER_BYTES + CONFLATION_KEY_BYTES;
    let trace = TRACEPARENT_BYTES + TRACESTATE_BYTES;
    assert!(PAYLOAD_BYTES + names + trace + EVENT_OVERHEAD <= FRAME_BYTES);
    assert!(PAYLOAD_BYTES + names + trace + EVENT_OVERHEAD <= SERVER_FRAME_BYTES);
    assert!(PAYLOAD_DEFAULT_BYTES <= PAYLOAD_BYTES);
    let item = CHANNEL_BYTES + POSITION_OVERHEAD + SUBSCRIPTION_TOKEN_BYTES;
    assert!(
        ITEMS_PER_FRAME * item + EVENT_OVERHEAD <= FRAME_BYTES,
        "a full Subscribe fits"
    );
    assert!(
        ITEMS_PER_FRAME + 2 <= CLIENT_TABLES,
        "a full Subscribe passes the verifier"
    );
    assert!(
        SUBSCRIPTIONS_PER_SESSION + 4 <= SERVER_TABLES,
        "a full Welcome passes"
    );
    assert!(
        2 * HISTORY_PAGE_EVENTS + 2 <= SERVER_TABLES,
        "a page of traced events passes"
    );
    assert!(
        PRESENCE_PAGE_MEMBERS + 2 <= SERVER_TABLES,
        "a full presence page passes"
    );
    assert!(PRESENCE_PAGE_MEMBERS * (NAME_BYTES + 40) + EVENT_OVERHEAD <= SERVER_FRAME_BYTES);
    assert!(
        ATTEMPT_LOOK_UP_AGE_MS < RECENT_IDS_MS,
        "an id is remembered until it is looked up"
    );
    assert!(
        2 * NAME_BYTES + "chat.~".len() <= CHANNEL_BYTES,
        "a direct chat has a name"
    );
    assert!(
        HEARTBEAT_TIMEOUT_MS < HEARTBEAT_MS,
        "one heartbeat is open at a time"
    );
};
