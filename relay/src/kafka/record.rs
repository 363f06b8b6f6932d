//! What stands in a Kafka record. All numbers are little-endian.
//!
//! ```text
//! key      text: the user or channel that orders records, see `route`
//! value    event:      the encoded event frame, with its position when that was known
//!          positioned: epoch u64 | offset u64 | chain u64 | previous chain u64 | channel
//! headers  interlink-record   record id u128
//!          interlink-kind     "event" or "positioned"
//!          interlink-origin   the region in which the record was accepted
//!          interlink-source   boot u32 | shard u16 | class u8 | sequence u64 | node
//!          interlink-publish  instance u128 | client message id u64 | payload hash u64
//!                             | accepted at us u64
//! ```
//! A *source* is one log of one boot of one node and class; its sequences rise. Consumers keep
//! the highest one of each source for each partition: a lower or equal one of an event is a
//! repeat. A `positioned` record has the sequence of its event, is not judged by it, and may be
//! applied any number of times.
//!
//! Invariants: what is decoded was checked for length and form, never for meaning; later
//! versions may append to a header or add headers, which are ignored here.
//! Runs on: any thread; no I/O.

use interlink_protocol::frame::event::{names_of, patch_position, read_position};
use interlink_protocol::ids::{InstanceId, Position, RecordId};
use interlink_protocol::priority::Priority;

use super::consumer::Consumed;
use super::limits::NAME_BYTES_MAX;
use super::route::key_of;
use crate::bytes::{Fields, PutFields};
use crate::event_log::{Append, AppendKind, LogPosition, LogRecord};
use crate::limits::CHANNEL_BYTES_MAX;
use crate::record::{Kind, Placement, RecordRef, Sequence};

const RECORD: &str = "interlink-record";
const KIND: &str = "interlink-kind";
const ORIGIN: &str = "interlink-origin";
const SOURCE: &str = "interlink-source";
const PUBLISH: &str = "interlink-publish";

const EVENT: &[u8] = b"event";
const POSITIONED: &[u8] = b"positioned";

/// Names of the headers, in the order in which they are written.
pub const HEADERS: [&str; 5] = [RECORD, KIND, ORIGIN, SOURCE, PUBLISH];

/// A record as it is produced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Encoded {
    /// Key, value, source, publish and record id, one after the other.
    bytes: Box<[u8]>,
    /// Where key, value, source and publish end.
    ends: [u32; 4],
    kind: AppendKind,
    /// The region of origin, when it is not the node's own.
    origin: Option<Box<str>>,
}

impl Encoded {
    /// Encodes what a node feeds.
    pub fn of(append: &Append<'_>, node: &str) -> Self {
        let record = &append.record;
        let publisher = names_of(record.frame).map_or("", |names| names.publisher);
        let mut bytes = Vec::with_capacity(record.frame.len() + 192);
        bytes.extend_from_slice(key_of(record.channel, publisher).as_bytes());
        let key = bytes.len() as u32;
        match append.kind {
            AppendKind::Event => {
                bytes.extend_from_slice(record.frame);
                if let Some(placement) = record.placement {
                    let frame = &mut bytes[key as usize..];
                    // Bytes that are no event are carried as they are.
                    let _ = patch_position(frame, placement.position, placement.previous_chain);
                }
            }
            AppendKind::Positioned => {
                put_placement(&mut bytes, record.placement.unwrap_or_default());
                bytes.extend_from_slice(record.channel.as_bytes());
            }
        }
        let value = bytes.len() as u32;
        let from = append.from;
        bytes.put_u32(from.boot);
        bytes.put_u16(from.shard);
        bytes.put_u8(record.class as u8);
        bytes.put_u64(from.sequence.0);
        bytes.extend_from_slice(node.as_bytes());
        let source = bytes.len() as u32;
        bytes.put_u128(record.instance.0);
        bytes.put_u64(record.client_message_id);
        bytes.put_u64(record.payload_hash);
        bytes.put_u64(record.accepted_at_us);
        let publish = bytes.len() as u32;
        bytes.put_u128(record.record.0);
        Self {
            bytes: bytes.into(),
            ends: [key, value, source, publish],
            kind: append.kind,
            origin: None,
        }
    }

    /// Encodes an event of another region again, with its place in this one. Key, identity,
    /// origin and source stay as they are.
    ///
    /// # Errors
    /// When the record is no event.
    pub fn forwarded(
        record: &Consumed,
        kind: AppendKind,
        placement: Placement,
    ) -> Result<(Self, Priority), RecordFault> {
        let Item::Event(event) = record.decode()? else {
            return Err(RecordFault::Form(KIND));
        };
        let mut bytes = record.key.to_vec();
        let key = bytes.len() as u32;
        match kind {
            AppendKind::Event => {
                bytes.extend_from_slice(&record.value);
                let frame = &mut bytes[key as usize..];
                patch_position(frame, placement.position, placement.previous_chain)
                    .map_err(|_| RecordFault::Form("value"))?;
            }
            AppendKind::Positioned => {
                put_placement(&mut bytes, placement);
                bytes.extend_from_slice(event.record.channel.as_bytes());
            }
        }
        let value = bytes.len() as u32;
        bytes.extend_from_slice(find(&record.headers, SOURCE)?);
        let source = bytes.len() as u32;
        bytes.extend_from_slice(find(&record.headers, PUBLISH)?);
        let publish = bytes.len() as u32;
        bytes.put_u128(event.record.record.0);
        let encoded = Self {
            bytes: bytes.into(),
            ends: [key, value, source, publish],
            kind,
            origin: Some(event.origin),
        };
        Ok((encoded, event.record.class))
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.bytes[..self.ends[0] as usize]
    }

    /// The value.
    pub fn value(&self) -> &[u8] {
        self.part(0)
    }

    /// The headers, with the region of the node.
    pub fn headers<'a>(&'a self, origin: &'a str) -> [(&'static str, &'a [u8]); 5] {
        let kind = match self.kind {
            AppendKind::Event => EVENT,
            AppendKind::Positioned => POSITIONED,
        };
        [
            (RECORD, &self.bytes[self.ends[3] as usize..]),
            (KIND, kind),
            (ORIGIN, self.origin.as_deref().unwrap_or(origin).as_bytes()),
            (SOURCE, self.part(1)),
            (PUBLISH, self.part(2)),
        ]
    }

    /// Bytes that it takes in memory.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn part(&self, index: usize) -> &[u8] {
        &self.bytes[self.ends[index] as usize..self.ends[index + 1] as usize]
    }
}

fn put_placement(bytes: &mut Vec<u8>, placement: Placement) {
    bytes.put_u64(placement.position.epoch);
    bytes.put_u64(placement.position.offset);
    bytes.put_u64(placement.position.chain);
    bytes.put_u64(placement.previous_chain);
}

/// Name and value of a header.
pub type Header = (Box<str>, Box<[u8]>);

/// What a consumer reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// An accepted event.
    Event(FedEvent),
    /// Where an event that was fed before stands in its channel.
    Positioned(FedPosition),
}

/// An event as a node fed it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FedEvent {
    /// The journal that it comes from.
    pub node: Box<str>,
    /// The region in which it was accepted.
    pub origin: Box<str>,
    /// The event; its place is that in the node's journal.
    pub record: LogRecord,
}

/// A position as a node fed it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FedPosition {
    /// The journal that its event comes from.
    pub node: Box<str>,
    /// The region in which its event was accepted.
    pub origin: Box<str>,
    /// Where its event stands in the node's journal.
    pub at: LogPosition,
    /// Class of the channel.
    pub class: Priority,
    /// Identity of the record.
    pub record: RecordId,
    /// Full channel name.
    pub channel: Box<str>,
    /// Where the event stands.
    pub placement: Placement,
}

/// Why a record of a topic is none of ours. Repeating does not help: it belongs to the dead
/// letters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordFault {
    /// A header is missing.
    #[error("the Kafka record has no header `{0}`; something else than a node wrote it")]
    Missing(&'static str),
    /// A header or the value has the wrong form.
    #[error("`{0}` of the Kafka record is damaged or of a later version; update the workers")]
    Form(&'static str),
}

/// The region of origin, when there is one. A bridge looks at nothing else.
pub fn origin_of(headers: &[Header]) -> Option<&str> {
    text(headers, ORIGIN).ok()
}

/// Reads a record.
///
/// # Errors
/// [`RecordFault`] when it was not written by a node.
pub fn decode(headers: &[Header], value: &[u8]) -> Result<Item, RecordFault> {
    let record = RecordId(
        Fields::new(find(headers, RECORD)?)
            .u128()
            .ok_or(RecordFault::Form(RECORD))?,
    );
    let (node, at, class) = read_source(find(headers, SOURCE)?).ok_or(RecordFault::Form(SOURCE))?;
    let (node, origin) = (node.into(), text(headers, ORIGIN)?.into());
    match find(headers, KIND)? {
        EVENT => {
            let publish = find(headers, PUBLISH)?;
            let record = read_event(publish, value, record, class, at)?;
            Ok(Item::Event(FedEvent {
                node,
                origin,
                record,
            }))
        }
        POSITIONED => {
            let read = read_positioned(value).ok_or(RecordFault::Form("value"))?;
            let (placement, channel) = read;
            Ok(Item::Positioned(FedPosition {
                node,
                origin,
                at,
                class,
                record,
                channel: channel.into(),
                placement,
            }))
        }
        _ => Err(RecordFault::Form(KIND)),
    }
}

fn read_event(
    publish: &[u8],
    value: &[u8],
    record: RecordId,
    class: Priority,
    at: LogPosition,
) -> Result<LogRecord, RecordFault> {
    let names = names_of(value).map_err(|_| RecordFault::Form("value"))?;
    let (position, previous_chain) =
        read_position(value).map_err(|_| RecordFault::Form("value"))?;
    if names.channel.len() > CHANNEL_BYTES_MAX {
        return Err(RecordFault::Form("value"));
    }
    let mut fields = Fields::new(publish);
    let mut read = || {
        Some(RecordRef {
            class,
            record,
            instance: InstanceId(fields.u128()?),
            client_message_id: fields.u64()?,
            payload_hash: fields.u64()?,
            accepted_at_us: fields.u64()?,
            channel: names.channel,
            // Offsets begin at 1.
            placement: (position.offset > 0).then_some(Placement {
                position,
                previous_chain,
            }),
            frame: value,
        })
    };
    let read = read().ok_or(RecordFault::Form(PUBLISH))?;
    Ok(LogRecord::of(&read, at))
}

fn read_source(bytes: &[u8]) -> Option<(&str, LogPosition, Priority)> {
    let mut fields = Fields::new(bytes);
    let (boot, shard) = (fields.u32()?, fields.u16()?);
    let class = Priority::from_index(usize::from(fields.u8()?))?;
    let sequence = Sequence(fields.u64()?);
    let node = std::str::from_utf8(fields.rest()).ok()?;
    let at = LogPosition {
        boot,
        shard,
        kind: Kind::of(class),
        sequence,
    };
    (node.len() <= NAME_BYTES_MAX).then_some((node, at, class))
}

fn read_positioned(value: &[u8]) -> Option<(Placement, &str)> {
    let mut fields = Fields::new(value);
    let position = Position {
        epoch: fields.u64()?,
        offset: fields.u64()?,
        chain: fields.u64()?,
    };
    let previous_chain = fields.u64()?;
    let channel = std::str::from_utf8(fields.rest()).ok()?;
    let placement = Placement {
        position,
        previous_chain,
    };
    (channel.len() <= CHANNEL_BYTES_MAX).then_some((placement, channel))
}

fn text<'a>(headers: &'a [Header], name: &'static str) -> Result<&'a str, RecordFault> {
    let text = std::str::from_utf8(find(headers, name)?).map_err(|_| RecordFault::Form(name))?;
    if text.len() > NAME_BYTES_MAX {
        return Err(RecordFault::Form(name));
    }
    Ok(text)
}

fn find<'a>(headers: &'a [Header], name: &'static str) -> Result<&'a [u8], RecordFault> {
    let found = headers.iter().find(|(header, _)| **header == *name);
    found
        .map(|(_, value)| &**value)
        .ok_or(RecordFault::Missing(name))
}
