//! Bytes into verified frames.

use flatbuffers::VerifierOptions;
use interlink_wire as wire;

use super::layout::{self, IDENTIFIER, IDENTIFIER_AT};
use super::FrameError;
use crate::limits;

/// Bounds of the frames that a side accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameLimits {
    /// Largest frame in bytes.
    pub frame_bytes: usize,
}

impl FrameLimits {
    /// For the first frame of a connection.
    pub const HELLO: Self = Self {
        frame_bytes: limits::HELLO_BYTES,
    };
    /// For frames of an authenticated client.
    pub const CLIENT: Self = Self {
        frame_bytes: limits::FRAME_BYTES,
    };
    /// For frames of the server.
    pub const SERVER: Self = Self {
        frame_bytes: limits::SERVER_FRAME_BYTES,
    };
}

macro_rules! frames {
    ($(#[$text:meta])* $name:ident: $($kind:ident $read:ident)*; not $($other:ident)*) => {
        $(#[$text])*
        #[derive(Clone, Copy, Debug)]
        pub enum $name<'a> {
            $(#[doc = concat!("A `", stringify!($kind), "` frame.")] $kind(wire::$kind<'a>),)*
        }

        impl<'a> $name<'a> {
            /// Name of the kind, for logs and metrics.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$kind(_) => stringify!($kind),)* }
            }

            fn of(frame: wire::Frame<'a>) -> Result<Self, FrameError> {
                // A table of a known kind was verified as that kind; the `None` arm serves the
                // generated signature.
                let view = match frame.body_type() {
                    $(wire::Body::$kind => frame.$read().map(Self::$kind),)*
                    $(wire::Body::$other => {
                        return Err(FrameError::WrongDirection(stringify!($other)))
                    })*
                    unknown => return Err(FrameError::UnknownKind(unknown.0)),
                };
                view.ok_or(FrameError::UnknownKind(frame.body_type().0))
            }
        }
    };
}

frames! {
    /// A verified frame of a client.
    ClientFrame:
        Hello body_as_hello
        Publish body_as_publish
        Subscribe body_as_subscribe
        Unsubscribe body_as_unsubscribe
        Ack body_as_ack
        History body_as_history
        Presence body_as_presence
        Refresh body_as_refresh
        Pong body_as_pong;
    not Welcome PublishAck Subscribed Event Position PresenceChange PresencePage HistoryPage
        Heartbeat Reconnect Error
}

frames! {
    /// A verified frame of the server.
    ServerFrame:
        Welcome body_as_welcome
        PublishAck body_as_publish_ack
        Subscribed body_as_subscribed
        Event body_as_event
        Position body_as_position
        PresenceChange body_as_presence_change
        PresencePage body_as_presence_page
        HistoryPage body_as_history_page
        Heartbeat body_as_heartbeat
        Reconnect body_as_reconnect
        Error body_as_error;
    not Hello Publish Subscribe Unsubscribe Ack History Presence Refresh Pong
}

/// Verifies a frame of a client.
pub fn decode_client<'a>(
    bytes: &'a [u8],
    limits: &FrameLimits,
) -> Result<ClientFrame<'a>, FrameError> {
    // A Hello may list a position for each subscription; the others list few items. The claim
    // only chooses the bound; the kind itself is read from the verified frame.
    let tables = match layout::claimed_kind(bytes) {
        Some(wire::Body::Hello) => limits::HELLO_TABLES,
        _ => limits::CLIENT_TABLES,
    };
    let frame = ClientFrame::of(verify(bytes, limits, tables)?)?;
    check_items(&frame)?;
    Ok(frame)
}

/// Verifies a frame of the server.
pub fn decode_server<'a>(
    bytes: &'a [u8],
    limits: &FrameLimits,
) -> Result<ServerFrame<'a>, FrameError> {
    ServerFrame::of(verify(bytes, limits, limits::SERVER_TABLES)?)
}

/// Verifies one frame with a verifier of its own: a used one would go on counting.
fn verify<'a>(
    bytes: &'a [u8],
    limits: &FrameLimits,
    tables: usize,
) -> Result<wire::Frame<'a>, FrameError> {
    if bytes.len() > limits.frame_bytes {
        return Err(FrameError::TooLarge {
            bytes: bytes.len(),
            most: limits.frame_bytes,
        });
    }
    if bytes.get(IDENTIFIER_AT..IDENTIFIER_AT + IDENTIFIER.len()) != Some(IDENTIFIER) {
        return Err(FrameError::Identifier);
    }
    let options = VerifierOptions {
        max_depth: limits::VERIFIER_DEPTH,
        max_tables: tables,
        max_apparent_size: limits.frame_bytes * limits::APPARENT_SIZE_FACTOR,
        ignore_missing_null_terminator: false,
    };
    Ok(flatbuffers::root_with_opts::<wire::Frame<'a>>(
        &options, bytes,
    )?)
}

/// Checks that the lists of a frame are within their bounds.
fn check_items(frame: &ClientFrame<'_>) -> Result<(), FrameError> {
    let (items, most) = match frame {
        ClientFrame::Hello(hello) => {
            let positions = hello.resume().and_then(|resume| resume.positions());
            (
                positions.map_or(0, |list| list.len()),
                limits::SUBSCRIPTIONS_PER_SESSION,
            )
        }
        ClientFrame::Subscribe(frame) => (frame.channels().len(), limits::ITEMS_PER_FRAME),
        ClientFrame::Unsubscribe(frame) => (frame.channels().len(), limits::ITEMS_PER_FRAME),
        ClientFrame::Ack(frame) => (frame.positions().len(), limits::ITEMS_PER_FRAME),
        ClientFrame::Pong(frame) => (
            frame.positions().map_or(0, |list| list.len()),
            limits::ITEMS_PER_FRAME,
        ),
        ClientFrame::Publish(_)
        | ClientFrame::History(_)
        | ClientFrame::Presence(_)
        | ClientFrame::Refresh(_) => (0, 0),
    };
    if items > most {
        return Err(FrameError::TooManyItems { items, most });
    }
    Ok(())
}
