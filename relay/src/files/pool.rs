//! Pre-written segments that wait for use.
//!
//! A segment whose blocks exist on the disk is synced in half the time, since a sync of it
//! changes no metadata. New ones are filled with zeros, old ones are taken over as they
//! are: what they still hold is not valid in their new place.
//!
//! New ones are filled in portions, each brought to the disk before the next, with a pause between
//! them: what a shard syncs meanwhile waits behind one portion only. A segment that is needed
//! before one is ready gets its room on the disk and no zeros: a shard in such a hurry has more
//! use for the disk's bandwidth than for short syncs.
//!
//! Invariant: a segment that is handed out is durable with its length, and its new name is.
//! Limits: the configured number is written ahead, and those that a start takes at once are kept
//! beside it when they come free; more are not kept. Runs on: the journal-files thread.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FallocateFlags;

use crate::files::layout::{names_in, sync_directory, Layout};
use crate::files::FilesError;

/// A portion, which a disk of 250 MB/s takes in 2 ms.
static ZEROS: [u8; 512 * 1024] = [0; 512 * 1024];
/// Pause between two portions: at most 64 MB/s, a third of what a busy shard writes.
const PAUSE: Duration = Duration::from_millis(8);

/// A segment that is being made.
#[derive(Debug)]
struct Filling {
    path: PathBuf,
    file: File,
    left: usize,
}

#[derive(Debug)]
pub(crate) struct Pool {
    directory: PathBuf,
    free: VecDeque<PathBuf>,
    filling: Option<Filling>,
    /// The last portion failed: the next one waits for [`Self::refill`].
    failed: bool,
    next: u64,
    segment_bytes: u32,
    keep: usize,
    /// Segments that a start takes at once, beside those that are kept.
    taken_at_start: usize,
}

impl Pool {
    /// Takes over what is there; segments of another size are removed. As many as the start takes
    /// at once stay beside those that are kept, so that none has to be written while clients
    /// come back.
    pub fn open(
        layout: &Layout,
        segment_bytes: u32,
        keep: usize,
        taken_at_start: usize,
    ) -> Result<Self, FilesError> {
        let directory = layout.pool();
        let mut pool = Self {
            directory,
            free: VecDeque::new(),
            filling: None,
            failed: false,
            next: 1,
            segment_bytes,
            keep,
            taken_at_start,
        };
        for name in names_in(&pool.directory)? {
            let path = pool.directory.join(&name);
            let number = name
                .strip_prefix("free-")
                .and_then(|name| name.strip_suffix(".seg"));
            let number: Option<u64> = number.and_then(|number| number.parse().ok());
            let fits = fs::metadata(&path).is_ok_and(|data| data.len() == u64::from(segment_bytes));
            match number.filter(|_| fits && pool.has_room()) {
                Some(number) => {
                    pool.next = pool.next.max(number + 1);
                    pool.free.push_back(path);
                }
                None => remove(&path)?,
            }
        }
        Ok(pool)
    }

    /// Fills one portion of a further free segment if there should be one; says whether it did.
    pub fn refill(&mut self) -> Result<bool, FilesError> {
        if self.free.len() >= self.keep {
            return Ok(false);
        }
        self.fill_portion()?;
        Ok(true)
    }

    /// How long to wait before the next portion; nothing when enough segments are free, or when
    /// the disk has refused one.
    pub fn pause(&self) -> Option<Duration> {
        (self.free.len() < self.keep && !self.failed).then_some(PAUSE)
    }

    fn fill_portion(&mut self) -> Result<(), FilesError> {
        // Until it is known that the disk takes it.
        self.failed = true;
        let mut filling = match self.filling.take() {
            Some(filling) => filling,
            None => self.begin()?,
        };
        if let Err(error) = filling.write_portion() {
            // A half-written one would take the room that is lacking.
            remove(&filling.path)?;
            return Err(FilesError::access("fill", &filling.path)(error));
        }
        self.failed = false;
        match filling.left {
            0 => self.free.push_back(filling.path),
            _ => self.filling = Some(filling),
        }
        Ok(())
    }

    /// Makes a segment of reserved room; its blocks read as zeros, though none was written.
    fn allocate(&mut self) -> Result<PathBuf, FilesError> {
        let Filling { path, file, left } = self.begin()?;
        let reserved = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, left as u64);
        if let Err(error) = reserved
            .map_err(io::Error::from)
            .and_then(|()| file.sync_all())
        {
            remove(&path)?;
            return Err(FilesError::access("fill", &path)(error));
        }
        Ok(path)
    }

    fn begin(&mut self) -> Result<Filling, FilesError> {
        let path = self.free_path();
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(FilesError::access("fill", &path))?;
        let left = self.segment_bytes as usize;
        Ok(Filling { path, file, left })
    }

    /// Puts a free segment at `path` and opens it.
    pub fn take(&mut self, path: &Path) -> Result<File, FilesError> {
        let free = match self.free.pop_front() {
            Some(free) => free,
            None => self.allocate()?,
        };
        fs::rename(&free, path).map_err(FilesError::access("create", path))?;
        if let Some(directory) = path.parent() {
            sync_directory(directory)?;
        }
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .open(path)
            .map_err(FilesError::access("open", path))
    }

    /// Takes a segment that is not needed any more, or removes it.
    pub fn recycle(&mut self, path: &Path, healthy: bool) -> Result<(), FilesError> {
        let fits = fs::metadata(path).is_ok_and(|data| data.len() == u64::from(self.segment_bytes));
        if !healthy || !fits || !self.has_room() {
            return remove(path);
        }
        let free = self.free_path();
        fs::rename(path, &free).map_err(FilesError::access("recycle", path))?;
        self.free.push_back(free);
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.free.len() < self.keep + self.taken_at_start
    }

    /// Bytes of the free segments.
    pub fn bytes(&self) -> u64 {
        self.free.len() as u64 * u64::from(self.segment_bytes)
    }

    fn free_path(&mut self) -> PathBuf {
        let path = self.directory.join(format!("free-{:08}.seg", self.next));
        self.next += 1;
        path
    }
}

impl Filling {
    fn write_portion(&mut self) -> io::Result<()> {
        let part = self.left.min(ZEROS.len());
        self.file.write_all(&ZEROS[..part])?;
        self.left -= part;
        self.file.sync_all()
    }
}

/// Removes a file; that it is gone already is fine.
pub(crate) fn remove(path: &Path) -> Result<(), FilesError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FilesError::access("remove", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two whole portions and one of a block.
    const SEGMENT: u32 = 2 * 512 * 1024 + 4096;

    fn pool_in(root: &Path, keep: usize) -> Pool {
        let layout = Layout::new(root);
        fs::create_dir_all(layout.pool()).expect("a directory");
        Pool::open(&layout, SEGMENT, keep, 0).expect("a pool")
    }

    fn is_zeros(path: &Path) -> bool {
        let bytes = fs::read(path).expect("a segment");
        bytes.len() == SEGMENT as usize && bytes.iter().all(|&byte| byte == 0)
    }

    #[test]
    fn a_segment_is_filled_in_portions_with_a_pause_after_each() {
        let root = tempfile::tempdir().expect("a directory");
        let mut pool = pool_in(root.path(), 1);
        for _ in 0..2 {
            assert_eq!(pool.pause(), Some(PAUSE));
            assert!(pool.refill().expect("a portion"));
            assert_eq!(pool.bytes(), 0, "half a segment is not ready");
        }
        assert!(pool.refill().expect("the last portion"));
        assert_eq!(pool.bytes(), u64::from(SEGMENT));
        assert_eq!(pool.pause(), None);
        assert!(!pool.refill().expect("nothing to do"));
        assert!(is_zeros(&pool.free[0]));
    }

    #[test]
    fn a_segment_that_is_needed_early_is_whole_and_the_half_filled_one_goes_on() {
        let root = tempfile::tempdir().expect("a directory");
        let mut pool = pool_in(root.path(), 1);
        pool.refill().expect("a portion");
        let path = root.path().join("taken.seg");
        pool.take(&path).expect("a segment in a hurry");
        assert!(is_zeros(&path));
        pool.refill().expect("the second portion");
        pool.refill().expect("the third");
        assert_eq!(pool.bytes(), u64::from(SEGMENT), "the first is ready now");
    }

    #[test]
    fn a_start_removes_what_a_kill_left_half_filled() {
        let root = tempfile::tempdir().expect("a directory");
        let mut pool = pool_in(root.path(), 1);
        pool.refill().expect("a portion");
        drop(pool);
        let pool = pool_in(root.path(), 1);
        assert_eq!(pool.bytes(), 0);
        assert_eq!(fs::read_dir(&pool.directory).expect("entries").count(), 0);
    }

    #[test]
    fn a_disk_that_refuses_is_not_asked_again_before_the_next_regular_round() {
        let root = tempfile::tempdir().expect("a directory");
        let mut pool = pool_in(root.path(), 1);
        let (here, away) = (pool.directory.clone(), root.path().join("away"));
        fs::rename(&here, &away).expect("the directory is gone");
        pool.refill().expect_err("there is no place for a segment");
        assert_eq!(pool.pause(), None);
        fs::rename(&away, &here).expect("it is back");
        assert!(pool.refill().expect("a portion"));
        assert_eq!(pool.pause(), Some(PAUSE));
    }
}
