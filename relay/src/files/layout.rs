//! Names and places of the journal's files.
//!
//! ```text
//! lock                                    held by the process with flock
//! node                                    identity of the node
//! boots/00000003-89abcdef01234567/boot    identity of one boot
//! boots/.../shard-0/urgent-00000001.seg   a segment
//! boots/.../shard-0/urgent-00000001.idx   its index, once it is complete
//! boots/.../damage                        damage that was reported
//! quarantine/...seg                       damaged segments, kept for inspection
//! pool/free-00000001.seg                  pre-written segments for later use
//! cursors                                 delivery and consumer cursors
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::files::FilesError;
use crate::record::{Kind, SegmentId};

/// A segment among all boots of a node, in the order of boots and logs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SegmentKey {
    /// Number of the boot.
    pub boot: u32,
    /// The shard.
    pub shard: u16,
    /// The segment.
    pub id: SegmentId,
}

/// The paths below a journal's directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub fn node(&self) -> PathBuf {
        self.root.join("node")
    }

    pub fn cursors(&self) -> PathBuf {
        self.root.join("cursors")
    }

    pub fn boots(&self) -> PathBuf {
        self.root.join("boots")
    }

    pub fn pool(&self) -> PathBuf {
        self.root.join("pool")
    }

    pub fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    pub fn boot(&self, number: u32, id: u64) -> PathBuf {
        self.boots().join(format!("{number:08}-{id:016x}"))
    }
}

/// Directory of a shard in a boot's directory.
pub(crate) fn shard_directory(boot: &Path, shard: u16) -> PathBuf {
    boot.join(format!("shard-{shard}"))
}

/// Path of a segment in a shard's directory.
pub(crate) fn segment_path(shard: &Path, id: SegmentId) -> PathBuf {
    shard.join(format!("{}-{:08}.seg", id.kind.name(), id.number))
}

/// Path of the index beside a segment.
pub(crate) fn sidecar_path(segment: &Path) -> PathBuf {
    segment.with_extension("idx")
}

/// The boot that a directory's name speaks of.
pub(crate) fn parse_boot(name: &str) -> Option<(u32, u64)> {
    let (number, id) = name.split_once('-')?;
    Some((number.parse().ok()?, u64::from_str_radix(id, 16).ok()?))
}

/// The shard that a directory's name speaks of.
pub(crate) fn parse_shard(name: &str) -> Option<u16> {
    name.strip_prefix("shard-")?.parse().ok()
}

/// The segment that a file's name speaks of.
pub(crate) fn parse_segment(name: &str) -> Option<SegmentId> {
    let (kind, number) = name.strip_suffix(".seg")?.split_once('-')?;
    let kind = Kind::ALL.into_iter().find(|known| known.name() == kind)?;
    Some(SegmentId {
        kind,
        number: number.parse().ok()?,
    })
}

/// Names in a directory, sorted; none when it does not exist.
pub(crate) fn names_in(directory: &Path) -> Result<Vec<String>, FilesError> {
    let mut names = Vec::new();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
        Err(error) => return Err(FilesError::access("list", directory)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(FilesError::access("list", directory))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// Makes a directory and what is above it.
pub(crate) fn create_directory(path: &Path) -> Result<(), FilesError> {
    fs::create_dir_all(path).map_err(FilesError::access("create", path))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), FilesError> {
    let directory = File::open(path).map_err(FilesError::access("open", path))?;
    directory
        .sync_all()
        .map_err(FilesError::access("sync", path))
}

/// Writes a small file so that after a crash it is there whole or not at all.
pub(crate) fn write_whole(path: &Path, content: &[u8], durable: bool) -> Result<(), FilesError> {
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .open(&temporary)?;
        file.write_all(content)?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&temporary, path)
    };
    write().map_err(FilesError::access("write", path))?;
    match path.parent().filter(|_| durable) {
        Some(parent) => sync_directory(parent),
        None => Ok(()),
    }
}
