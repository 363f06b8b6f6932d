//! The file beside a complete segment that holds its index.
//!
//! ```text
//! header   = magic u32 | crc32c u32 | version u32 | kind u32 | boot u64 | shard u64
//!          | number u64 | first u64 | end u64 | length u64 | first us u64 | last us u64
//!          | unresolved since us u64 | poisoned u64 | 6 x (offset u64, bytes u64, crc u64)
//! places   = (hash u64, offset u64, block u32, at u32)*       sorted
//! unplaced = (record u128, sealed us u64, block u32, at u32)* sorted
//! marks    = (record u128, hash u64, epoch, offset, chain, previous chain u64)*
//! tops     = (epoch u64, offset u64, chain u64, name length u16, name)*
//! accepted = (instance u128, class u8, count u32, base id u64, second u32,
//!             (id - base u32, fingerprint u32)*)*
//! names    = (hash u64, name length u16, name)*
//! ```
//! The header's checksum covers the header, each section has its own. A sidecar is written
//! to a temporary name and renamed, and not synced: after a crash a bad one is recognised
//! and built again.
//!
//! Invariant: a sidecar exists only for a segment whose entries are durable.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use interlink_protocol::ids::{placement_hash, InstanceId, Position, RecordId};
use interlink_protocol::priority::Priority;

use crate::bytes::{Fields, PutFields};
use crate::index::{AcceptedId, ChannelFilter, Place, SegmentIndex, Unplaced};
use crate::record::{Kind, Mark, Sequence, StreamId};

const MAGIC: u32 = u32::from_le_bytes(*b"ILJX");
const VERSION: u32 = 1;
const SECTIONS: usize = 6;
const HEADER_BYTES: usize = 16 + 10 * 8 + SECTIONS * 24;

/// Bytes of an entry of the section of places.
pub(crate) const PLACE_BYTES: usize = 24;
/// Bytes of an entry of the section of unplaced records.
pub(crate) const UNPLACED_BYTES: usize = 32;
const MARK_BYTES: usize = 56;

/// The sections, in file order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Section {
    Places = 0,
    Unplaced = 1,
    Marks = 2,
    Tops = 3,
    Accepted = 4,
    Names = 5,
}

/// The header of a sidecar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SidecarHeader {
    pub stream: StreamId,
    pub number: u32,
    pub first: Sequence,
    pub end: Sequence,
    pub length: u32,
    pub first_us: u64,
    pub last_us: u64,
    /// Every record sealed before this time has its mark in a segment known by then.
    pub unresolved_since_us: u64,
    /// The segment must not be recycled.
    pub poisoned: bool,
    sections: [(u64, u64, u64); SECTIONS],
}

/// Encodes a sorted index.
pub(crate) fn encode(index: &SegmentIndex, unresolved_since_us: u64, poisoned: bool) -> Vec<u8> {
    let mut sections: [Vec<u8>; SECTIONS] = Default::default();
    for place in &index.places {
        let out = &mut sections[Section::Places as usize];
        out.put_u64(place.hash);
        out.put_u64(place.offset);
        out.put_u32(place.block);
        out.put_u32(place.at);
    }
    for unplaced in &index.unplaced {
        let out = &mut sections[Section::Unplaced as usize];
        out.put_u128(unplaced.record.0);
        out.put_u64(unplaced.sealed_at_us);
        out.put_u32(unplaced.block);
        out.put_u32(unplaced.at);
    }
    for mark in &index.marks {
        let out = &mut sections[Section::Marks as usize];
        out.put_u128(mark.record.0);
        out.put_u64(mark.channel_hash);
        put_position(out, mark.position);
        out.put_u64(mark.previous_chain);
    }
    for (name, position) in &index.tops {
        let out = &mut sections[Section::Tops as usize];
        put_position(out, *position);
        out.put_text(name);
    }
    put_accepted(&mut sections[Section::Accepted as usize], &index.accepted);
    for (name, hash) in &index.names {
        let out = &mut sections[Section::Names as usize];
        out.put_u64(*hash);
        out.put_text(name);
    }
    join(index, unresolved_since_us, poisoned, &sections)
}

fn join(
    index: &SegmentIndex,
    unresolved_since_us: u64,
    poisoned: bool,
    sections: &[Vec<u8>; SECTIONS],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + sections.iter().map(Vec::len).sum::<usize>());
    out.put_u32(MAGIC);
    out.put_u32(0);
    out.put_u32(VERSION);
    out.put_u32(index.stream.kind as u32);
    out.put_u64(index.stream.boot);
    out.put_u64(u64::from(index.stream.shard));
    out.put_u64(u64::from(index.number));
    out.put_u64(index.first.0);
    out.put_u64(index.end.0);
    out.put_u64(u64::from(index.length));
    out.put_u64(index.first_us);
    out.put_u64(index.last_us);
    out.put_u64(unresolved_since_us);
    out.put_u64(u64::from(poisoned));
    let mut offset = HEADER_BYTES as u64;
    for section in sections {
        out.put_u64(offset);
        out.put_u64(section.len() as u64);
        out.put_u64(u64::from(crc32c::crc32c(section)));
        offset += section.len() as u64;
    }
    debug_assert_eq!(out.len(), HEADER_BYTES);
    let crc = crc32c::crc32c(&out[8..]);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    for section in sections {
        out.extend_from_slice(section);
    }
    out
}

fn put_position(out: &mut Vec<u8>, position: Position) {
    out.put_u64(position.epoch);
    out.put_u64(position.offset);
    out.put_u64(position.chain);
}

/// Writes ids in groups of one publisher and class, relative to the group's first.
fn put_accepted(out: &mut Vec<u8>, accepted: &[AcceptedId]) {
    let mut rest = accepted;
    while let Some(first) = rest.first() {
        let same = |id: &&AcceptedId| {
            id.instance == first.instance
                && id.class == first.class
                && id.id - first.id <= u64::from(u32::MAX)
        };
        let count = rest.iter().take_while(same).count();
        let (group, others) = rest.split_at(count);
        out.put_u128(first.instance.0);
        out.put_u8(first.class as u8);
        out.put_u32(count as u32);
        out.put_u64(first.id);
        out.put_u32(
            group
                .iter()
                .map(|id| id.second)
                .max()
                .unwrap_or(first.second),
        );
        for id in group {
            out.put_u32((id.id - first.id) as u32);
            out.put_u32(id.fingerprint);
        }
        rest = others;
    }
}

/// An open sidecar.
#[derive(Debug)]
pub(crate) struct Sidecar {
    file: File,
    pub header: SidecarHeader,
}

impl Sidecar {
    /// Opens a sidecar and checks its header; `None` when there is none worth having.
    pub fn open(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let mut bytes = [0u8; HEADER_BYTES];
        file.read_exact_at(&mut bytes, 0).ok()?;
        let header = read_header(&bytes)?;
        let end = header
            .sections
            .iter()
            .map(|(offset, bytes, _)| offset + bytes)
            .max()?;
        (file.metadata().ok()?.len() >= end).then_some(Self { file, header })
    }

    /// The bytes of a section, checked.
    pub fn section(&self, section: Section) -> io::Result<Vec<u8>> {
        let (offset, length, crc) = self.header.sections[section as usize];
        let mut bytes = vec![0; length as usize];
        self.file.read_exact_at(&mut bytes, offset)?;
        if u64::from(crc32c::crc32c(&bytes)) != crc {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "section is damaged",
            ));
        }
        Ok(bytes)
    }

    /// Whether the sections that a start reads are whole. The places are not read then;
    /// what a wrong one leads to is compared with what was looked for.
    pub fn is_intact(&self) -> bool {
        use Section::{Accepted, Marks, Names, Tops};
        [Section::Unplaced, Marks, Tops, Accepted, Names]
            .into_iter()
            .all(|section| self.section(section).is_ok())
    }

    /// The channels of the segment.
    pub fn filter(&self) -> io::Result<ChannelFilter> {
        let tops = self.section(Section::Tops)?;
        let marks = self.section(Section::Marks)?;
        let placed = tops_of(&tops).map(|(name, _)| placement_hash(name.as_bytes()));
        let mut hashes: Vec<u64> = placed
            .chain(marks_of(&marks).map(|mark| mark.channel_hash))
            .collect();
        hashes.sort_unstable();
        hashes.dedup();
        Ok(ChannelFilter::of(&hashes))
    }

    /// Places of a channel with an offset above `after`, the lowest `limit` of them.
    pub fn places(&self, hash: u64, after: u64, limit: usize) -> io::Result<Vec<Place>> {
        let (offset, length, _) = self.header.sections[Section::Places as usize];
        let count = length as usize / PLACE_BYTES;
        let read = |index: usize| -> io::Result<Place> {
            let mut bytes = [0u8; PLACE_BYTES];
            self.file
                .read_exact_at(&mut bytes, offset + (index * PLACE_BYTES) as u64)?;
            read_place(&mut Fields::new(&bytes)).ok_or(io::ErrorKind::InvalidData.into())
        };
        let mut at = partition(count, |index| {
            let place = read(index)?;
            Ok((place.hash, place.offset) <= (hash, after))
        })?;
        let mut places = Vec::new();
        while at < count && places.len() < limit {
            let place = read(at)?;
            if place.hash != hash {
                break;
            }
            places.push(place);
            at += 1;
        }
        Ok(places)
    }

    /// Where an unplaced record lies.
    pub fn unplaced(&self, record: RecordId) -> io::Result<Option<Unplaced>> {
        let (offset, length, _) = self.header.sections[Section::Unplaced as usize];
        let count = length as usize / UNPLACED_BYTES;
        let read = |index: usize| -> io::Result<Unplaced> {
            let mut bytes = [0u8; UNPLACED_BYTES];
            self.file
                .read_exact_at(&mut bytes, offset + (index * UNPLACED_BYTES) as u64)?;
            read_unplaced(&mut Fields::new(&bytes)).ok_or(io::ErrorKind::InvalidData.into())
        };
        let at = partition(count, |index| Ok(read(index)?.record < record))?;
        if at == count {
            return Ok(None);
        }
        Ok(Some(read(at)?).filter(|found| found.record == record))
    }
}

/// The first index of `0..count` for which `before` is false.
fn partition(count: usize, before: impl Fn(usize) -> io::Result<bool>) -> io::Result<usize> {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle)? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

fn read_header(bytes: &[u8; HEADER_BYTES]) -> Option<SidecarHeader> {
    let mut fields = Fields::new(bytes);
    let (magic, crc, version) = (fields.u32()?, fields.u32()?, fields.u32()?);
    if magic != MAGIC || version != VERSION || crc32c::crc32c(&bytes[8..]) != crc {
        return None;
    }
    let kind = Kind::from_number(fields.u32()? as u8)?;
    let stream = StreamId {
        boot: fields.u64()?,
        shard: fields.u64()? as u16,
        kind,
    };
    let number = fields.u64()? as u32;
    let (first, end) = (Sequence(fields.u64()?), Sequence(fields.u64()?));
    let length = fields.u64()? as u32;
    let (first_us, last_us) = (fields.u64()?, fields.u64()?);
    let unresolved_since_us = fields.u64()?;
    let poisoned = fields.u64()? != 0;
    let mut sections = [(0, 0, 0); SECTIONS];
    for section in &mut sections {
        *section = (fields.u64()?, fields.u64()?, fields.u64()?);
    }
    Some(SidecarHeader {
        stream,
        number,
        first,
        end,
        length,
        first_us,
        last_us,
        unresolved_since_us,
        poisoned,
        sections,
    })
}

fn read_place(fields: &mut Fields<'_>) -> Option<Place> {
    let (hash, offset) = (fields.u64()?, fields.u64()?);
    Some(Place {
        hash,
        offset,
        block: fields.u32()?,
        at: fields.u32()?,
    })
}

fn read_unplaced(fields: &mut Fields<'_>) -> Option<Unplaced> {
    let record = RecordId(fields.u128()?);
    Some(Unplaced {
        record,
        sealed_at_us: fields.u64()?,
        block: fields.u32()?,
        at: fields.u32()?,
    })
}

fn read_position(fields: &mut Fields<'_>) -> Option<Position> {
    Some(Position {
        epoch: fields.u64()?,
        offset: fields.u64()?,
        chain: fields.u64()?,
    })
}

/// Decodes the section of unplaced records.
pub(crate) fn unplaced_of(bytes: &[u8]) -> impl Iterator<Item = Unplaced> + '_ {
    bytes
        .chunks_exact(UNPLACED_BYTES)
        .filter_map(|chunk| read_unplaced(&mut Fields::new(chunk)))
}

/// Decodes the section of marks.
pub(crate) fn marks_of(bytes: &[u8]) -> impl Iterator<Item = Mark> + '_ {
    bytes.chunks_exact(MARK_BYTES).filter_map(|chunk| {
        let mut fields = Fields::new(chunk);
        let record = RecordId(fields.u128()?);
        let channel_hash = fields.u64()?;
        let position = read_position(&mut fields)?;
        Some(Mark {
            record,
            channel_hash,
            position,
            previous_chain: fields.u64()?,
        })
    })
}

/// Decodes the section of tops.
pub(crate) fn tops_of(bytes: &[u8]) -> impl Iterator<Item = (&str, Position)> + '_ {
    let mut fields = Fields::new(bytes);
    std::iter::from_fn(move || {
        let position = read_position(&mut fields)?;
        Some((fields.text()?, position))
    })
}

/// Decodes the section of names.
pub(crate) fn names_of(bytes: &[u8]) -> impl Iterator<Item = (u64, &str)> + '_ {
    let mut fields = Fields::new(bytes);
    std::iter::from_fn(move || {
        let hash = fields.u64()?;
        Some((hash, fields.text()?))
    })
}

/// Decodes the section of accepted ids.
pub(crate) fn accepted_of(bytes: &[u8], mut each: impl FnMut(AcceptedId)) {
    let mut fields = Fields::new(bytes);
    let mut group = || -> Option<()> {
        let instance = InstanceId(fields.u128()?);
        let class = Priority::from_index(usize::from(fields.u8()?))?;
        let count = fields.u32()?;
        let base = fields.u64()?;
        let second = fields.u32()?;
        for _ in 0..count {
            let id = base + u64::from(fields.u32()?);
            each(AcceptedId {
                instance,
                class,
                id,
                fingerprint: fields.u32()?,
                second,
            });
        }
        Some(())
    };
    while group().is_some() {}
}
