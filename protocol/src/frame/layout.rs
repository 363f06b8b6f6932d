//! The layout of a FlatBuffer, read with checked indices.
//!
//! Purpose: to learn the kind of a frame before it is verified, and to find the places of an
//! event that are rewritten. Every read is checked, so that damaged bytes give `None` and never
//! a panic; nothing is believed of a frame that only passed through here.
//! Source: <https://flatbuffers.dev/internals/>.

use interlink_wire as wire;

/// The identifier stands after the offset of the root table.
pub(super) const IDENTIFIER_AT: usize = 4;
/// Identifier of the schema.
pub(super) const IDENTIFIER: &[u8; 4] = b"ILNK";

/// A table at a byte of a frame.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the table of its field offsets begins, and how long that is.
    fields_at: usize,
    fields_len: usize,
}

impl<'a> Table<'a> {
    /// The root table of a frame.
    pub(super) fn root(bytes: &'a [u8]) -> Option<Self> {
        Self::referred(bytes, 0)
    }

    /// The table that the offset at `at` refers to.
    fn referred(bytes: &'a [u8], at: usize) -> Option<Self> {
        let table = at.checked_add(u32_at(bytes, at)? as usize)?;
        // The reference to the field offsets is signed and counts backwards.
        let back = u32_at(bytes, table)? as i32;
        let fields_at = usize::try_from(table as i64 - i64::from(back)).ok()?;
        let fields_len = usize::from(u16_at(bytes, fields_at)?);
        Some(Self {
            bytes,
            at: table,
            fields_at,
            fields_len,
        })
    }

    /// Where the value of a field stands; `None` when it is absent.
    pub(super) fn field(&self, field: u16) -> Option<usize> {
        let field = usize::from(field);
        if field + 2 > self.fields_len {
            return None;
        }
        match u16_at(self.bytes, self.fields_at.checked_add(field)?)? {
            0 => None,
            offset => Some(self.at + usize::from(offset)),
        }
    }

    /// The table that a field refers to.
    pub(super) fn table(&self, field: u16) -> Option<Self> {
        Self::referred(self.bytes, self.field(field)?)
    }

    /// The text that a field refers to.
    pub(super) fn text(&self, field: u16) -> Option<&'a str> {
        let reference = self.field(field)?;
        let at = reference.checked_add(u32_at(self.bytes, reference)? as usize)?;
        let start = at.checked_add(4)?;
        let end = start.checked_add(u32_at(self.bytes, at)? as usize)?;
        std::str::from_utf8(self.bytes.get(start..end)?).ok()
    }

    /// The value of a field of one byte.
    pub(super) fn byte(&self, field: u16) -> Option<u8> {
        self.bytes.get(self.field(field)?).copied()
    }
}

/// The kind that a frame claims to be.
pub(super) fn claimed_kind(frame: &[u8]) -> Option<wire::Body> {
    Some(wire::Body(
        Table::root(frame)?.byte(wire::Frame::VT_BODY_TYPE)?,
    ))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let end = at.checked_add(2)?;
    Some(u16::from_le_bytes(bytes.get(at..end)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let end = at.checked_add(4)?;
    Some(u32::from_le_bytes(bytes.get(at..end)?.try_into().ok()?))
}
