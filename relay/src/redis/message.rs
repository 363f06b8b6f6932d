//! What goes over pub/sub and what stream entries hold: the formats of `functions.lua`.
//!
//! Bytes come from the servers; whatever does not have the form is no message, never a panic.
//! Runs on: any thread; plain values.

use interlink_protocol::frame::event::patch_position;
use interlink_protocol::ids::{Position, RecordId};
use interlink_protocol::priority::Priority;

use crate::backplane::{Floor, Publish};
use crate::record::Placement;
use crate::recovery::RecoveredEvent;

/// Bytes of an item: place, record id, class and time.
const ITEM_BYTES: usize = 57;

/// Bytes of a record's head in a call.
pub const HEAD_BYTES: usize = 27;

/// Kinds of messages by their first byte.
const EVENTS: u8 = 1;
const TOLD: u8 = 2;
const PROBE: u8 = 3;

/// A message of a channel.
#[derive(PartialEq, Eq, Debug)]
pub enum Message {
    /// Placed events, in order.
    Events(Vec<RecoveredEvent>),
    /// An event that a node told.
    Told {
        /// The node.
        origin: u64,
        /// The encoded event.
        frame: Box<[u8]>,
    },
    /// A sign of life.
    Probe,
}

impl Message {
    /// Reads a message.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (kind, mut rest) = bytes.split_first()?;
        match *kind {
            EVENTS => {
                let mut events = Vec::new();
                while !rest.is_empty() {
                    let (length, after) = rest.split_first_chunk::<4>()?;
                    let (item, after) = after.split_at_checked(ITEM_BYTES)?;
                    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
                    let (frame, after) = after.split_at_checked(length)?;
                    events.push(event(item, frame)?);
                    rest = after;
                }
                Some(Self::Events(events))
            }
            TOLD => {
                let (origin, frame) = rest.split_first_chunk()?;
                Some(Self::Told {
                    origin: u64::from_be_bytes(*origin),
                    frame: frame.into(),
                })
            }
            PROBE => Some(Self::Probe),
            _ => None,
        }
    }
}

/// The message with which `origin` tells an event.
pub fn told(origin: u64, frame: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(9 + frame.len());
    bytes.push(TOLD);
    bytes.extend_from_slice(&origin.to_be_bytes());
    bytes.extend_from_slice(frame);
    bytes
}

/// The message of a probe.
pub fn probe() -> [u8; 1] {
    [PROBE]
}

/// The event of an item and its frame, position written.
pub fn event(item: &[u8], frame: &[u8]) -> Option<RecoveredEvent> {
    let (place, rest) = item.split_at_checked(32)?;
    let (record, rest) = rest.split_first_chunk()?;
    let (class, rest) = rest.split_first()?;
    let placement = placement(place)?;
    let mut frame: Box<[u8]> = frame.into();
    // A publisher's bytes that are no event are carried as they are.
    let _ = patch_position(&mut frame, placement.position, placement.previous_chain);
    Some(RecoveredEvent {
        placement,
        record: RecordId(u128::from_be_bytes(*record)),
        class: Priority::from_index(usize::from(*class))?,
        accepted_at_us: number(rest)?,
        frame,
    })
}

/// A place of 32 bytes.
pub fn placement(bytes: &[u8]) -> Option<Placement> {
    if bytes.len() != 32 {
        return None;
    }
    Some(Placement {
        position: Position {
            epoch: number(&bytes[..8])?,
            offset: number(&bytes[8..16])?,
            chain: number(&bytes[16..24])?,
        },
        previous_chain: number(&bytes[24..])?,
    })
}

/// A top of 16 bytes in an epoch.
pub fn top(epoch: u64, bytes: &[u8]) -> Option<Position> {
    if bytes.len() != 16 {
        return None;
    }
    Some(Position {
        epoch,
        offset: number(&bytes[..8])?,
        chain: number(&bytes[8..])?,
    })
}

/// A floor of 16 bytes; nothing when the caller can ask for one.
pub fn floor(floor: Floor) -> Option<[u8; 16]> {
    match floor {
        Floor::At(top) => Some(position(top)),
        Floor::Unasked => None,
    }
}

/// A position as a top of 16 bytes.
pub fn position(top: Position) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&top.offset.to_be_bytes());
    bytes[8..].copy_from_slice(&top.chain.to_be_bytes());
    bytes
}

/// The head of a record in a call whose channels are numbered.
pub fn head(channel: u16, publish: &Publish<'_>) -> [u8; HEAD_BYTES] {
    let mut bytes = [0; HEAD_BYTES];
    bytes[..2].copy_from_slice(&channel.to_be_bytes());
    bytes[2..18].copy_from_slice(&publish.record.0.to_be_bytes());
    bytes[18] = publish.class.index() as u8;
    bytes[19..].copy_from_slice(&publish.accepted_at_us.to_be_bytes());
    bytes
}

/// A number of 64 bits, most significant byte first.
pub fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}
