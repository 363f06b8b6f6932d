//! Every segment of a node, with what is known of it, and the indexes that are in memory.
//!
//! Runs on: the journal-files thread.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::files::layout::{sidecar_path, SegmentKey};
use crate::index::sidecar::{Section, Sidecar};
use crate::index::{ChannelFilter, Place, SegmentIndex, Unplaced};
use crate::journal::{SegmentBlock, SegmentReader};
use crate::limits::{BLOCK_ALIGN, BLOCK_BYTES_MAX, INDEX_READ_BYTES, INDEX_STEP_BYTES};
use crate::record::{Sequence, StreamId};
use interlink_protocol::ids::RecordId;

/// What is known of a segment.
#[derive(Clone, Debug)]
pub(crate) struct SegmentFile {
    pub stream: StreamId,
    pub path: PathBuf,
    /// Size of the file.
    pub bytes: u64,
    /// When its last block was sealed.
    pub last_us: u64,
    /// It takes no more entries.
    pub sealed: bool,
    /// It must not be recycled.
    pub poisoned: bool,
    /// It has a second name in the quarantine, so that its file must not be written again.
    pub damaged: bool,
    /// The channels in it, once it has a sidecar.
    pub channels: ChannelFilter,
    /// The places in its sidecar were compared with their checksum.
    pub checked: bool,
}

/// All segments.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pub files: BTreeMap<SegmentKey, SegmentFile>,
    /// Indexes of segments without a sidecar: growing ones, and poisoned ones.
    pub growing: HashMap<SegmentKey, Growing>,
    /// What growing segments are read into.
    pub scratch: Vec<u8>,
}

/// A segment whose index is in memory.
#[derive(Debug)]
pub(crate) struct Growing {
    /// Absent for a segment that grows no more.
    file: Option<File>,
    pub index: SegmentIndex,
}

impl Growing {
    pub fn new(file: File, index: SegmentIndex) -> Self {
        Self {
            file: Some(file),
            index,
        }
    }

    /// Whether more may still be written to the segment.
    pub fn grows(&self) -> bool {
        self.file.is_some()
    }

    /// The segment grows no more.
    pub fn finish(&mut self) {
        self.file = None;
    }

    /// Indexes blocks that were written since the last time, `each` sees them; stops at the
    /// first that is not whole. `scratch` is what they are read into.
    pub fn advance(
        &mut self,
        scratch: &mut Vec<u8>,
        mut each: impl FnMut(&SegmentBlock<'_>),
    ) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let (stream, number) = (self.index.stream, self.index.number);
        let mut wanted = INDEX_STEP_BYTES;
        loop {
            let start = self.index.length;
            // Mostly nothing was written, which the place of the next header shows.
            let mut header = [0; BLOCK_ALIGN];
            let read = read_up_to(file, &mut header, u64::from(start))?;
            if !SegmentReader::at(stream, number, start, &header[..read]).is_begun(start) {
                return Ok(());
            }
            if scratch.len() < wanted {
                scratch.resize(wanted, 0);
            }
            let read = read_up_to(file, &mut scratch[..wanted], u64::from(start))?;
            let reader = SegmentReader::at(stream, number, start, &scratch[..read]);
            for block in reader.blocks(start) {
                self.index.add_block(&block, Sequence::NONE);
                each(&block);
            }
            let is_whole = self.index.length > start;
            if !is_whole && (read < wanted || wanted == INDEX_READ_BYTES) {
                return Ok(());
            }
            wanted = match is_whole {
                true => INDEX_STEP_BYTES,
                false => INDEX_READ_BYTES,
            };
        }
    }
}

const _: () = assert!(
    INDEX_READ_BYTES >= BLOCK_BYTES_MAX,
    "a block must fit in one read"
);

impl Catalog {
    /// Compares the places in a segment's sidecar with their checksum, once, and builds
    /// them again from the segment when they are damaged. Says whether they were.
    pub fn check_places(&mut self, key: &SegmentKey, hash: u64) -> io::Result<bool> {
        let Some(file) = self.files.get_mut(key) else {
            return Ok(false);
        };
        if file.checked || !file.channels.may_hold(hash) || self.growing.contains_key(key) {
            return Ok(false);
        }
        file.checked = true;
        let path = sidecar_path(&file.path);
        let Some(sidecar) = Sidecar::open(&path) else {
            return Ok(false);
        };
        if sidecar.section(Section::Places).is_ok() {
            return Ok(false);
        }
        let header = sidecar.header;
        let bytes = read_segment(&file.path)?;
        let mut index = SegmentIndex::new(file.stream, key.id.number);
        let reader = SegmentReader::new(file.stream, key.id.number, &bytes);
        for block in reader
            .blocks(0)
            .take_while(|block| block.offset < header.length)
        {
            index.add_block(&block, header.first);
        }
        self.growing.insert(*key, Growing { file: None, index });
        // The next start builds a new one, with what only a start can know.
        std::fs::remove_file(path)?;
        Ok(true)
    }

    /// Places of a channel in one segment, above an offset, the lowest `limit`.
    pub fn places(
        &self,
        key: &SegmentKey,
        hash: u64,
        after: u64,
        limit: usize,
    ) -> io::Result<Vec<Place>> {
        if let Some(growing) = self.growing.get(key) {
            let places = growing.index.places.iter();
            let mut found: Vec<Place> = places
                .filter(|place| place.hash == hash && place.offset > after)
                .copied()
                .collect();
            found.sort_unstable();
            found.truncate(limit);
            return Ok(found);
        }
        let file = self
            .files
            .get(key)
            .filter(|file| file.channels.may_hold(hash));
        match file.and_then(|_| self.sidecar(key)) {
            Some(sidecar) => sidecar.places(hash, after, limit),
            None => Ok(Vec::new()),
        }
    }

    /// Finds a record that was journaled without a position, newest segments first.
    pub fn find_unplaced(&self, record: RecordId) -> Option<(SegmentKey, Unplaced)> {
        for key in self.files.keys().rev() {
            let found = match self.growing.get(key) {
                Some(growing) => {
                    let mut unplaced = growing.index.unplaced.iter();
                    unplaced.find(|unplaced| unplaced.record == record).copied()
                }
                None => self
                    .sidecar(key)
                    .and_then(|sidecar| sidecar.unplaced(record).ok()?),
            };
            if let Some(unplaced) = found {
                return Some((*key, unplaced));
            }
        }
        None
    }

    /// The block at an offset of a segment, checked.
    pub fn read_block(&self, key: &SegmentKey, offset: u32) -> io::Result<Vec<u8>> {
        let file = self.files.get(key).ok_or(io::ErrorKind::NotFound)?;
        let opened = File::open(&file.path)?;
        let mut bytes = vec![0; INDEX_READ_BYTES.min(64 * 1024)];
        loop {
            let read = read_up_to(&opened, &mut bytes, u64::from(offset))?;
            let reader = SegmentReader::at(file.stream, key.id.number, offset, &bytes[..read]);
            if let Some(block) = reader.block(offset) {
                let length = block.header.length as usize;
                bytes.truncate(length);
                return Ok(bytes);
            }
            if read < bytes.len() || bytes.len() >= BLOCK_BYTES_MAX {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "block is damaged",
                ));
            }
            bytes.resize(BLOCK_BYTES_MAX, 0);
        }
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes).sum()
    }

    fn sidecar(&self, key: &SegmentKey) -> Option<Sidecar> {
        let file = self.files.get(key)?;
        let sidecar = Sidecar::open(&sidecar_path(&file.path))?;
        let same = sidecar.header.stream == file.stream && sidecar.header.number == key.id.number;
        same.then_some(sidecar)
    }
}

/// Reads until the buffer is full or the file ends.
pub(crate) fn read_up_to(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads a whole segment.
pub(crate) fn read_segment(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}
