//! First pass of a start: which segments there are, what each log is worth, and an index
//! for every segment that has none.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::files::catalog::{read_segment, SegmentFile};
use crate::files::layout::{
    names_in, parse_segment, parse_shard, segment_path, shard_directory, sidecar_path, Layout,
    SegmentKey,
};
use crate::files::{Boot, FilesError};
use crate::index::sidecar::{Sidecar, SidecarHeader};
use crate::index::SegmentIndex;
use crate::journal::SegmentReader;
use crate::record::{Kind, SegmentId, Sequence, StreamId};
use crate::recovery::notes;
use crate::recovery::{Believed, Damage, StreamScan, StreamState, TornTail};

/// A segment that had to be read.
#[derive(Debug)]
pub(crate) struct Scanned {
    pub index: SegmentIndex,
    pub believed: Vec<Believed>,
    pub damaged: bool,
}

/// A segment with its index, from its sidecar or just built.
#[derive(Debug)]
pub(crate) enum Known {
    Indexed(Box<Sidecar>),
    Scanned(Box<Scanned>),
}

/// What the first pass found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Where damaged segments are kept.
    quarantine: PathBuf,
    pub files: BTreeMap<SegmentKey, SegmentFile>,
    pub known: BTreeMap<SegmentKey, Known>,
    /// Segments that were prepared and never written.
    pub empty: Vec<(SegmentKey, SegmentFile)>,
    /// Damage with the number of its boot, earlier notes included.
    pub damage: Vec<(u32, Damage)>,
    /// Damage of the boot that is being scanned.
    found: Vec<Damage>,
    pub torn: Vec<TornTail>,
    /// Damage that no earlier start has noted.
    pub newly_damaged: bool,
    pub read_bytes: u64,
}

impl Known {
    pub fn header(&self) -> Option<&SidecarHeader> {
        match self {
            Known::Indexed(sidecar) => Some(&sidecar.header),
            Known::Scanned(_) => None,
        }
    }
}

impl Scan {
    /// Nothing scanned yet.
    pub fn new(layout: &Layout) -> Self {
        Self {
            quarantine: layout.quarantine(),
            ..Self::default()
        }
    }

    /// Scans every log of one boot.
    pub fn add_boot(&mut self, boot: &Boot) -> Result<(), FilesError> {
        for name in names_in(&boot.path)? {
            let Some(shard) = parse_shard(&name) else {
                continue;
            };
            let directory = shard_directory(&boot.path, shard);
            let names = names_in(&directory)?;
            let segments: Vec<SegmentId> = names
                .iter()
                .filter_map(|name| parse_segment(name))
                .collect();
            for kind in Kind::ALL {
                let stream = StreamId {
                    boot: boot.id,
                    shard,
                    kind,
                };
                let of_kind = segments.iter().filter(|id| id.kind == kind).copied();
                self.add_stream(boot, stream, &directory, of_kind.collect())?;
            }
        }
        self.note_damage(boot)
    }

    fn add_stream(
        &mut self,
        boot: &Boot,
        stream: StreamId,
        directory: &Path,
        mut segments: Vec<SegmentId>,
    ) -> Result<(), FilesError> {
        segments.sort_unstable();
        let mut scan = StreamScan::new(stream);
        let mut unread = Vec::new();
        for id in segments {
            let path = segment_path(directory, id);
            match usable_sidecar(stream, id, &path) {
                Some(sidecar) => {
                    let header = sidecar.header;
                    if header.first != Sequence::NONE {
                        scan.add_summary(id.number, header.first, header.end, header.length);
                    }
                    self.add_indexed(boot, stream, id, &path, sidecar)?;
                }
                None => {
                    let bytes = read_segment(&path).map_err(FilesError::access("read", &path))?;
                    self.read_bytes += bytes.len() as u64;
                    let blocks = scan.add_segment(id.number, &bytes);
                    unread.push((id, path, blocks > 0));
                }
            }
        }
        let state = scan.resolve();
        for (id, path, holds_blocks) in unread {
            self.add_scanned(boot, stream, id, &path, holds_blocks, &state)?;
        }
        self.report(state);
        Ok(())
    }

    fn add_indexed(
        &mut self,
        boot: &Boot,
        stream: StreamId,
        id: SegmentId,
        path: &Path,
        sidecar: Sidecar,
    ) -> Result<(), FilesError> {
        let header = sidecar.header;
        let file = SegmentFile {
            stream,
            path: path.to_path_buf(),
            bytes: size(path)?,
            last_us: header.last_us,
            sealed: true,
            poisoned: header.poisoned,
            damaged: false,
            channels: sidecar.filter().map_err(FilesError::access("read", path))?,
            checked: false,
        };
        let key = SegmentKey {
            boot: boot.number,
            shard: stream.shard,
            id,
        };
        self.files.insert(key, file);
        self.known.insert(key, Known::Indexed(Box::new(sidecar)));
        Ok(())
    }

    fn add_scanned(
        &mut self,
        boot: &Boot,
        stream: StreamId,
        id: SegmentId,
        path: &Path,
        holds_blocks: bool,
        state: &StreamState,
    ) -> Result<(), FilesError> {
        let damaged = state
            .damage
            .iter()
            .any(|damage| damage.segment == id.number);
        let believed: Vec<Believed> = state
            .believed
            .iter()
            .filter(|block| block.segment == id.number)
            .copied()
            .collect();
        let mut index = SegmentIndex::new(stream, id.number);
        if !believed.is_empty() {
            let bytes = read_segment(path).map_err(FilesError::access("read", path))?;
            let reader = SegmentReader::new(stream, id.number, &bytes);
            for block in &believed {
                if let Some(found) = reader.block(block.offset) {
                    index.add_block(&found, block.from);
                }
            }
            // What is believed from here on, and told to clients, must not vanish with the
            // next failure of the machine.
            let file = File::open(path).map_err(FilesError::access("open", path))?;
            file.sync_data().map_err(FilesError::access("sync", path))?;
        }
        let file = SegmentFile {
            stream,
            path: path.to_path_buf(),
            bytes: size(path)?,
            last_us: index.last_us,
            sealed: true,
            poisoned: damaged,
            damaged,
            channels: index.filter(),
            checked: false,
        };
        let key = SegmentKey {
            boot: boot.number,
            shard: stream.shard,
            id,
        };
        if !holds_blocks && !damaged {
            self.empty.push((key, file));
            return Ok(());
        }
        self.files.insert(key, file);
        let scanned = Scanned {
            index,
            believed,
            damaged,
        };
        self.known.insert(key, Known::Scanned(Box::new(scanned)));
        Ok(())
    }

    fn report(&mut self, state: StreamState) {
        self.torn.extend(state.torn);
        self.found.extend(state.damage);
    }

    /// Joins what was found with what earlier starts noted, and notes the rest, so that
    /// only the first start that sees it is degraded.
    fn note_damage(&mut self, boot: &Boot) -> Result<(), FilesError> {
        let mut all = notes::read(&boot.path, boot.id)?;
        let mut new = std::mem::take(&mut self.found);
        new.retain(|damage| !all.iter().any(|known| notes::is_same(known, damage)));
        if !new.is_empty() {
            self.newly_damaged = true;
            for damage in &new {
                self.set_aside(boot, damage)?;
            }
            notes::append(&boot.path, &new)?;
        }
        all.extend(new);
        for damage in all {
            for (key, file) in &mut self.files {
                let segment = key.boot == boot.number && key.id.number == damage.segment;
                file.damaged |= segment && file.stream == damage.stream;
            }
            self.damage.push((boot.number, damage));
        }
        Ok(())
    }
}

impl Scan {
    /// Keeps a damaged segment for inspection, by a second name for the same file.
    fn set_aside(&self, boot: &Boot, damage: &Damage) -> Result<(), FilesError> {
        let (shard, kind) = (damage.stream.shard, damage.stream.kind);
        let id = SegmentId {
            kind,
            number: damage.segment,
        };
        let segment = segment_path(&shard_directory(&boot.path, shard), id);
        let name = format!(
            "{:08}-shard-{shard}-{}-{:08}.seg",
            boot.number,
            kind.name(),
            id.number
        );
        let aside = self.quarantine.join(name);
        match fs::hard_link(&segment, &aside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            // A segment that is missing altogether cannot be kept.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(FilesError::access("link", &aside)),
        }
    }
}

fn usable_sidecar(stream: StreamId, id: SegmentId, segment: &Path) -> Option<Sidecar> {
    let sidecar = Sidecar::open(&sidecar_path(segment))?;
    let fits = sidecar.header.stream == stream && sidecar.header.number == id.number;
    (fits && sidecar.is_intact()).then_some(sidecar)
}

fn size(path: &Path) -> Result<u64, FilesError> {
    let data = fs::metadata(path).map_err(FilesError::access("read", path))?;
    Ok(data.len())
}
