//! Encoding of one journal entry. All numbers are little-endian.
//!
//! ```text
//! entry  = length u32 (whole entry) | tag u8 | class u8 | flags u8 | 0 u8 | body
//! record = record u128 | instance u128 | client message id u64 | payload hash u64
//!        | accepted at us u64 | [epoch u64 | offset u64 | chain u64 | previous chain u64]
//!        | name length u16 | name | frame
//! mark   = record u128 | channel hash u64 | epoch u64 | offset u64 | chain u64
//!        | previous chain u64
//! ```
//! The bracketed part is there when flag `PLACED` is set. The channel's name stands beside
//! the frame, so that recovery and the index never parse a frame.
//!
//! Invariant: an entry carries no checksum of its own; its block does.

use interlink_protocol::ids::{InstanceId, Position, RecordId};
use interlink_protocol::priority::Priority;

use crate::bytes::Fields;
use crate::record::{Mark, Placement, RecordRef, Sequence};

/// Bytes before the body of every entry.
pub(crate) const ENTRY_HEADER_BYTES: usize = 8;
/// Fixed bytes of a record's body, without placement, name and frame.
const RECORD_FIXED_BYTES: usize = 16 + 16 + 8 + 8 + 8 + 2;
/// Bytes of a placement.
const PLACEMENT_BYTES: usize = 32;
/// Bytes of a mark's body.
const MARK_BODY_BYTES: usize = 16 + 8 + PLACEMENT_BYTES;
/// Most bytes that an entry adds to channel name and frame.
pub(crate) const ENTRY_OVERHEAD_MAX: usize =
    ENTRY_HEADER_BYTES + RECORD_FIXED_BYTES + PLACEMENT_BYTES;

const TAG_RECORD: u8 = 1;
const TAG_MARK: u8 = 2;
const FLAG_PLACED: u8 = 1;

/// An entry as it lies in a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// Its number in the stream.
    pub sequence: Sequence,
    /// What it says.
    pub body: EntryBody<'a>,
}

/// The kinds of entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryBody<'a> {
    /// An accepted event.
    Record(RecordRef<'a>),
    /// The position of a record that another shard journaled.
    Mark(Mark),
    /// Written by a newer version; carried, not understood.
    Unknown {
        /// The tag it has.
        tag: u8,
    },
}

/// Length of a record's entry in bytes.
pub(crate) fn record_bytes(record: &RecordRef<'_>) -> usize {
    let placement = if record.placement.is_some() {
        PLACEMENT_BYTES
    } else {
        0
    };
    ENTRY_HEADER_BYTES + RECORD_FIXED_BYTES + placement + record.channel.len() + record.frame.len()
}

/// Length of a mark's entry in bytes.
pub(crate) const fn mark_bytes() -> usize {
    ENTRY_HEADER_BYTES + MARK_BODY_BYTES
}

/// Appends a record's entry to `out`, which has room for it.
pub(crate) fn put_record(out: &mut Vec<u8>, record: &RecordRef<'_>) {
    let mut fixed = [0u8; ENTRY_OVERHEAD_MAX];
    let mut at = Cursor {
        bytes: &mut fixed,
        at: 0,
    };
    let flags = if record.placement.is_some() {
        FLAG_PLACED
    } else {
        0
    };
    at.put(&(record_bytes(record) as u32).to_le_bytes());
    at.put(&[TAG_RECORD, record.class as u8, flags, 0]);
    at.put(&record.record.0.to_le_bytes());
    at.put(&record.instance.0.to_le_bytes());
    at.put(&record.client_message_id.to_le_bytes());
    at.put(&record.payload_hash.to_le_bytes());
    at.put(&record.accepted_at_us.to_le_bytes());
    if let Some(placement) = &record.placement {
        at.put_placement(placement);
    }
    at.put(&(record.channel.len() as u16).to_le_bytes());
    let used = at.at;
    out.extend_from_slice(&fixed[..used]);
    out.extend_from_slice(record.channel.as_bytes());
    out.extend_from_slice(record.frame);
}

/// Appends a mark's entry to `out`.
pub(crate) fn put_mark(out: &mut Vec<u8>, mark: &Mark) {
    let mut bytes = [0u8; mark_bytes()];
    let mut at = Cursor {
        bytes: &mut bytes,
        at: 0,
    };
    at.put(&(mark_bytes() as u32).to_le_bytes());
    at.put(&[TAG_MARK, 0, 0, 0]);
    at.put(&mark.record.0.to_le_bytes());
    at.put(&mark.channel_hash.to_le_bytes());
    at.put_placement(&Placement {
        position: mark.position,
        previous_chain: mark.previous_chain,
    });
    out.extend_from_slice(&bytes);
}

/// Reads the entry at the start of `bytes`; `None` when it is cut or makes no sense, which
/// inside a block with a right checksum means a defect of the writer.
pub(crate) fn read_entry(bytes: &[u8]) -> Option<(usize, EntryBody<'_>)> {
    let header = bytes.get(..ENTRY_HEADER_BYTES)?;
    let length = u32::from_le_bytes(header[..4].try_into().ok()?) as usize;
    let entry = bytes.get(..length)?;
    let mut body = Fields::new(entry.get(ENTRY_HEADER_BYTES..)?);
    let body = match header[4] {
        TAG_RECORD => EntryBody::Record(read_record(header[5], header[6], &mut body)?),
        TAG_MARK => EntryBody::Mark(read_mark(&mut body)?),
        tag => EntryBody::Unknown { tag },
    };
    Some((length, body))
}

fn read_record<'a>(class: u8, flags: u8, body: &mut Fields<'a>) -> Option<RecordRef<'a>> {
    let record = RecordId(body.u128()?);
    let instance = InstanceId(body.u128()?);
    let client_message_id = body.u64()?;
    let payload_hash = body.u64()?;
    let accepted_at_us = body.u64()?;
    let placement = if flags & FLAG_PLACED != 0 {
        Some(read_placement(body)?)
    } else {
        None
    };
    let channel = body.text()?;
    Some(RecordRef {
        class: Priority::from_index(usize::from(class))?,
        record,
        instance,
        client_message_id,
        payload_hash,
        accepted_at_us,
        channel,
        placement,
        frame: body.rest(),
    })
}

fn read_mark(body: &mut Fields<'_>) -> Option<Mark> {
    let record = RecordId(body.u128()?);
    let channel_hash = body.u64()?;
    let placement = read_placement(body)?;
    Some(Mark {
        record,
        channel_hash,
        position: placement.position,
        previous_chain: placement.previous_chain,
    })
}

fn read_placement(body: &mut Fields<'_>) -> Option<Placement> {
    let position = Position {
        epoch: body.u64()?,
        offset: body.u64()?,
        chain: body.u64()?,
    };
    Some(Placement {
        position,
        previous_chain: body.u64()?,
    })
}

/// Writes fixed-size fields one after the other.
struct Cursor<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Cursor<'_> {
    fn put(&mut self, field: &[u8]) {
        self.bytes[self.at..self.at + field.len()].copy_from_slice(field);
        self.at += field.len();
    }

    fn put_placement(&mut self, placement: &Placement) {
        self.put(&placement.position.epoch.to_le_bytes());
        self.put(&placement.position.offset.to_le_bytes());
        self.put(&placement.position.chain.to_le_bytes());
        self.put(&placement.previous_chain.to_le_bytes());
    }
}
