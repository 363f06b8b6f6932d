//! Reading received frames without a verifier.
//!
//! Purpose: at a million deliveries a second the generator has a fraction of a microsecond for
//! each. The few fields that it needs are found by walking the FlatBuffer's own offsets.
//! Invariant: every read is checked, so that damaged bytes give `None` and never a panic.
//! Source: <https://flatbuffers.dev/internals/>.
//!
//! Runs on: the generator's thread.

use interlink_wire as wire;

/// A table inside a frame.
#[derive(Clone, Copy)]
pub struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
    fields: &'a [u8],
}

impl<'a> Table<'a> {
    /// The root table of a buffer.
    pub fn root(bytes: &'a [u8]) -> Option<Self> {
        Self::referred(bytes, 0)
    }

    fn referred(bytes: &'a [u8], at: usize) -> Option<Self> {
        let at = at.checked_add(u32_at(bytes, at)? as usize)?;
        let back = u32_at(bytes, at)? as i32;
        let fields_at = usize::try_from(at as i64 - i64::from(back)).ok()?;
        let length = usize::from(u16_at(bytes, fields_at)?);
        let fields = bytes.get(fields_at..fields_at.checked_add(length)?)?;
        Some(Self { bytes, at, fields })
    }

    /// Where the value of a field stands in the buffer; `None` when it is absent.
    pub fn place(&self, field: u16) -> Option<usize> {
        match u16_at(self.fields, usize::from(field))? {
            0 => None,
            offset => Some(self.at + usize::from(offset)),
        }
    }

    /// The table that a field refers to.
    pub fn table(&self, field: u16) -> Option<Self> {
        Self::referred(self.bytes, self.place(field)?)
    }

    /// A field of one byte; 0 when absent.
    pub fn byte(&self, field: u16) -> u8 {
        self.place(field)
            .and_then(|at| self.bytes.get(at))
            .copied()
            .unwrap_or(0)
    }

    /// A field of two bytes; 0 when absent.
    pub fn u16(&self, field: u16) -> u16 {
        self.place(field)
            .and_then(|at| u16_at(self.bytes, at))
            .unwrap_or(0)
    }

    /// A field of four bytes, or what it stands for when absent.
    pub fn u32(&self, field: u16, absent: u32) -> u32 {
        self.place(field)
            .and_then(|at| u32_at(self.bytes, at))
            .unwrap_or(absent)
    }

    /// A field of eight bytes; 0 when absent.
    pub fn u64(&self, field: u16) -> u64 {
        self.place(field)
            .and_then(|at| u64_at(self.bytes, at))
            .unwrap_or(0)
    }

    /// A vector of bytes or a text.
    pub fn bytes(&self, field: u16) -> Option<&'a [u8]> {
        let at = self.place(field)?;
        let at = at.checked_add(u32_at(self.bytes, at)? as usize)?;
        let length = u32_at(self.bytes, at)? as usize;
        self.bytes.get(at + 4..(at + 4).checked_add(length)?)
    }
}

/// Kind and body of a frame.
pub fn body(frame: &[u8]) -> Option<(wire::Body, Table<'_>)> {
    let root = Table::root(frame)?;
    let kind = wire::Body(root.byte(wire::Frame::VT_BODY_TYPE));
    Some((kind, root.table(wire::Frame::VT_BODY)?))
}

/// What a `PublishAck` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// First answered id.
    pub first: u64,
    /// How many ids.
    pub count: u32,
    /// The outcome.
    pub status: wire::PublishStatus,
    /// Error code when refused.
    pub code: u16,
    /// Earliest useful retry in milliseconds.
    pub retry_after_ms: u32,
    /// Highest id of P1 up to which everything is settled; `None` when that is unchanged.
    pub settled_p1: Option<u64>,
}

impl Ack {
    /// Reads the body of a `PublishAck`.
    pub fn read(body: &Table<'_>) -> Self {
        Self {
            first: body.u64(wire::PublishAck::VT_CLIENT_MESSAGE_ID),
            count: body.u32(wire::PublishAck::VT_COUNT, 1),
            status: wire::PublishStatus(body.byte(wire::PublishAck::VT_STATUS)),
            code: body.u16(wire::PublishAck::VT_CODE),
            retry_after_ms: body.u32(wire::PublishAck::VT_RETRY_AFTER_MS, 0),
            settled_p1: body
                .table(wire::PublishAck::VT_SETTLED_THROUGH)
                .map(|marks| marks.u64(wire::SettledThrough::VT_P1)),
        }
    }

    /// True when the same publishes may be accepted later.
    pub fn is_temporary_refusal(&self) -> bool {
        !self.is_accepted()
            && wire::ErrorCode::from_number(self.code).is_some_and(wire::ErrorCode::is_temporary)
    }

    /// True when the publishes are safe, whether now or by an earlier attempt.
    pub fn is_accepted(&self) -> bool {
        self.status != wire::PublishStatus::Refused
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let value = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(value.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let value = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(value.try_into().ok()?))
}

/// Eight bytes, little-endian.
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let value = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(value.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flatbuffers::FlatBufferBuilder;
    use proptest::prelude::*;

    fn ack_frame(id: u64, count: u32) -> Vec<u8> {
        let mut builder = FlatBufferBuilder::new();
        let marks = wire::SettledThroughArgs {
            p1: 2,
            ..Default::default()
        };
        let marks = wire::SettledThrough::create(&mut builder, &marks);
        let ack = wire::PublishAck::create(
            &mut builder,
            &wire::PublishAckArgs {
                client_message_id: id,
                count,
                code: 7,
                settled_through: Some(marks),
                ..Default::default()
            },
        );
        let frame = wire::Frame::create(
            &mut builder,
            &wire::FrameArgs {
                body_type: wire::Body::PublishAck,
                body: Some(ack.as_union_value()),
            },
        );
        wire::finish_frame_buffer(&mut builder, frame);
        builder.finished_data().to_vec()
    }

    #[test]
    fn an_ack_is_read_as_it_was_written() {
        let bytes = ack_frame(77, 5);
        let (kind, table) = body(&bytes).unwrap();
        assert_eq!(kind, wire::Body::PublishAck);
        let ack = Ack::read(&table);
        assert_eq!((ack.first, ack.count, ack.code), (77, 5, 7));
        assert!(ack.is_accepted());
        assert_eq!(ack.settled_p1, Some(2));
    }

    #[test]
    fn a_missing_count_is_one() {
        let bytes = ack_frame(1, 1);
        assert_eq!(Ack::read(&body(&bytes).unwrap().1).count, 1);
    }

    proptest! {
        #[test]
        fn damaged_bytes_never_panic(
            flips in prop::collection::vec((0_usize..64, any::<u8>()), 1..8),
            cut in 0_usize..64,
        ) {
            let mut bytes = ack_frame(u64::MAX, u32::MAX);
            for (at, value) in flips {
                let place = at % bytes.len();
                bytes[place] = value;
            }
            bytes.truncate(bytes.len().saturating_sub(cut));
            if let Some((_, table)) = body(&bytes) {
                let _ = Ack::read(&table);
                let _ = table.bytes(wire::Event::VT_PAYLOAD);
            }
        }
    }
}
