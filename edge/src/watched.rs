//! A file whose changes are noticed by looking at it.
//!
//! Purpose: keys, certificates and lists are replaced by writing them in place, by a
//! rename, or by a link that is turned elsewhere; a look sees all three.
//!
//! Runs on: the control thread.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Identity, size and times of a file: any way of replacing it changes one of them.
type Stamp = (u64, u64, i64, i64, i64, i64);

/// A file and what it looked like at the last look.
#[derive(Debug)]
pub struct Watched {
    path: PathBuf,
    seen: Option<Stamp>,
}

impl Watched {
    /// A file that was not looked at.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            seen: None,
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is another one than at the last look.
    pub fn changed(&mut self) -> bool {
        let stamp = std::fs::metadata(&self.path).ok().map(|file| {
            (
                file.ino(),
                file.size(),
                file.mtime(),
                file.mtime_nsec(),
                file.ctime(),
                file.ctime_nsec(),
            )
        });
        let changed = stamp != self.seen;
        self.seen = stamp;
        changed
    }
}
