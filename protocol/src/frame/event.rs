//! The `Event` frame, which is encoded once and positioned afterwards.
//!
//! The home shard of a publisher encodes the event before its channel's owner numbers it. The
//! owner then writes position and previous chain over the zeros, in place, and the same bytes
//! go to every subscriber, the journal and the history. Therefore the encoder always stores
//! both fields, even when they are zero, and [`EventPlaces`] finds them again with a handful of
//! checked reads.

use interlink_wire as wire;

use super::fields::TraceFields;
use super::layout::{claimed_kind, Table};
use crate::ids::{Position, RecordId};
use crate::priority::Priority;

/// Values of `Event`.
#[derive(Clone, Copy, Debug)]
pub struct EventFields<'a> {
    /// Full channel name.
    pub channel: &'a str,
    /// Position; zero until the channel's owner gave one.
    pub position: Position,
    /// Chain value of the event before.
    pub previous_chain: u64,
    /// Identity of the record.
    pub record: RecordId,
    /// The publishing user, or `service:<name>`.
    pub publisher: &'a str,
    /// Priority of the channel.
    pub priority: Priority,
    /// Number of the event type; 0 is opaque.
    pub event_type: u16,
    /// Version of the payload schema.
    pub schema_version: u16,
    /// When the server accepted the publish, microseconds since the Unix epoch.
    pub server_time_us: u64,
    /// The payload.
    pub payload: &'a [u8],
    /// Conflation key of the publish.
    pub conflation_key: Option<&'a str>,
    /// Trace context of the publish.
    pub trace: Option<TraceFields<'a>>,
}

impl<'a> From<wire::Event<'a>> for EventFields<'a> {
    fn from(event: wire::Event<'a>) -> Self {
        Self {
            channel: event.channel(),
            position: event.position().into(),
            previous_chain: event.previous_chain(),
            record: event.record().into(),
            publisher: event.publisher(),
            priority: event.priority().into(),
            event_type: event.event_type(),
            schema_version: event.schema_version(),
            server_time_us: event.server_time_us(),
            payload: event.payload().bytes(),
            conflation_key: event.conflation_key(),
            trace: TraceFields::of(event.trace()),
        }
    }
}

/// The bytes are not an event of our encoder.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the bytes are not an Event frame with room for a position; encode it with FrameEncoder")]
pub struct NotAnEvent;

/// Where position and previous chain stand in an encoded event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventPlaces {
    position: u32,
    previous_chain: u32,
}

/// Bytes of epoch, offset and chain.
const POSITION_LEN: usize = 24;
/// Bytes of the previous chain.
const CHAIN_LEN: usize = 8;

impl EventPlaces {
    /// Finds the places.
    pub fn find(frame: &[u8]) -> Result<Self, NotAnEvent> {
        Self::look(frame).ok_or(NotAnEvent)
    }

    fn look(frame: &[u8]) -> Option<Self> {
        if claimed_kind(frame)? != wire::Body::Event {
            return None;
        }
        let event = Table::root(frame)?.table(wire::Frame::VT_BODY)?;
        let position = event.field(wire::Event::VT_POSITION)?;
        let previous_chain = event.field(wire::Event::VT_PREVIOUS_CHAIN)?;
        frame.get(position..position.checked_add(POSITION_LEN)?)?;
        frame.get(previous_chain..previous_chain.checked_add(CHAIN_LEN)?)?;
        Some(Self {
            position: position as u32,
            previous_chain: previous_chain as u32,
        })
    }

    /// Writes position and previous chain into the frame that the places were found in.
    ///
    /// # Panics
    /// When `frame` is shorter than that frame.
    pub fn patch(self, frame: &mut [u8], position: Position, previous_chain: u64) {
        let place = &mut frame[self.position as usize..][..POSITION_LEN];
        place[..8].copy_from_slice(&position.epoch.to_le_bytes());
        place[8..16].copy_from_slice(&position.offset.to_le_bytes());
        place[16..].copy_from_slice(&position.chain.to_le_bytes());
        frame[self.previous_chain as usize..][..CHAIN_LEN]
            .copy_from_slice(&previous_chain.to_le_bytes());
    }

    /// Reads position and previous chain of the frame that the places were found in.
    ///
    /// # Panics
    /// When `frame` is shorter than that frame.
    pub fn read(self, frame: &[u8]) -> (Position, u64) {
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&frame[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let at = self.position as usize;
        let position = Position {
            epoch: number(at),
            offset: number(at + 8),
            chain: number(at + 16),
        };
        (position, number(self.previous_chain as usize))
    }
}

/// Writes position and previous chain into an encoded event, in place.
pub fn patch_position(
    frame: &mut [u8],
    position: Position,
    previous_chain: u64,
) -> Result<(), NotAnEvent> {
    EventPlaces::find(frame)?.patch(frame, position, previous_chain);
    Ok(())
}

/// Position and previous chain of an encoded event.
pub fn read_position(frame: &[u8]) -> Result<(Position, u64), NotAnEvent> {
    Ok(EventPlaces::find(frame)?.read(frame))
}

/// The conflation key of an encoded event.
pub fn conflation_key_of(frame: &[u8]) -> Option<&str> {
    if claimed_kind(frame)? != wire::Body::Event {
        return None;
    }
    let event = Table::root(frame)?.table(wire::Frame::VT_BODY)?;
    event.text(wire::Event::VT_CONFLATION_KEY)
}

/// Whom and what an encoded event names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventNames<'a> {
    /// Full channel name.
    pub channel: &'a str,
    /// The publishing user, `service:` and a service, or the system.
    pub publisher: &'a str,
}

/// Channel and publisher of an encoded event.
///
/// # Errors
/// When the bytes are no event.
pub fn names_of(frame: &[u8]) -> Result<EventNames<'_>, NotAnEvent> {
    let look = || {
        if claimed_kind(frame)? != wire::Body::Event {
            return None;
        }
        let event = Table::root(frame)?.table(wire::Frame::VT_BODY)?;
        Some(EventNames {
            channel: event.text(wire::Event::VT_CHANNEL)?,
            publisher: event.text(wire::Event::VT_PUBLISHER)?,
        })
    };
    look().ok_or(NotAnEvent)
}
