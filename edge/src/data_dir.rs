//! The data directory: layout, permissions and the lock that keeps a second node out.
//!
//! Layout: `lock`, `keys/` (development key), `journal/` (see the journal's own files),
//! `revocations` (what the server API revoked).
//! Invariant: while a [`DataDirectory`] exists, no other process has the same one.
//! Runs on: the main thread.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Only the owner may enter: keys and everybody's events are inside.
const DIRECTORY_MODE: u32 = 0o700;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// It cannot be created or entered.
    #[error(
        "cannot {action} {path}: {source}; give the directory to the user that runs the node, \
         or choose another one with --data"
    )]
    Access {
        /// What was tried.
        action: &'static str,
        /// Path.
        path: String,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// Another process has it.
    #[error(
        "data directory {path} is in use by process {owner}; stop that process, or start this \
         node with another directory (--data) and other ports (--listen, --control, --api)"
    )]
    Locked {
        /// Path.
        path: String,
        /// Process id as the owner wrote it.
        owner: String,
    },
}

/// An opened and locked data directory.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    /// The lock lives as long as this descriptor; the kernel releases it with the process.
    _lock: File,
}

impl DataDirectory {
    /// Creates what is missing, enters and locks the directory.
    ///
    /// # Errors
    /// [`DataError`].
    pub fn open(path: &Path) -> Result<Self, DataError> {
        for directory in [path.to_path_buf(), keys_of(path), path.join("journal")] {
            create(&directory)?;
        }
        let lock = lock(path)?;
        Ok(Self {
            path: path.to_path_buf(),
            _lock: lock,
        })
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Directory of the journal.
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// File of the development key.
    pub fn development_key(&self) -> PathBuf {
        development_key_of(&self.path)
    }
}

/// File of the development key of a data directory that is not opened.
pub fn development_key_of(path: &Path) -> PathBuf {
    keys_of(path).join("development.key")
}

/// The node's own revocation list in a data directory that is not opened.
pub fn revocations_of(path: &Path) -> PathBuf {
    path.join("revocations")
}

/// Directory of the keys of a data directory that is not opened.
fn keys_of(path: &Path) -> PathBuf {
    path.join("keys")
}

fn create(path: &Path) -> Result<(), DataError> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)
        .map_err(|source| access("create", path, source))
}

fn lock(directory: &Path) -> Result<File, DataError> {
    let path = directory.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|source| access("open", &path, source))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            // The number is for people; without it the message still helps.
            let _ = file.read_to_string(&mut owner);
            return Err(DataError::Locked {
                path: directory.display().to_string(),
                owner: owner.trim().to_owned(),
            });
        }
        Err(TryLockError::Error(source)) => return Err(access("lock", &path, source)),
    }
    write_owner(&mut file).map_err(|source| access("write", &path, source))?;
    Ok(file)
}

fn write_owner(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", std::process::id())
}

fn access(action: &'static str, path: &Path, source: std::io::Error) -> DataError {
    DataError::Access {
        action,
        path: path.display().to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_directory_belongs_to_its_owner_alone() {
        let parent = tempfile::tempdir().expect("temporary directory");
        let path = parent.path().join("a/b");
        let data = DataDirectory::open(&path).expect("opened");
        for directory in [data.path(), &data.journal(), &keys_of(&path)] {
            let mode = std::fs::metadata(directory)
                .expect("exists")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o700, "{}", directory.display());
        }
    }

    #[test]
    fn a_second_node_is_kept_out_until_the_first_has_ended() {
        let parent = tempfile::tempdir().expect("temporary directory");
        let first = DataDirectory::open(parent.path()).expect("opened");
        let error = DataDirectory::open(parent.path())
            .expect_err("locked")
            .to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        assert!(error.contains("--data"), "{error}");
        drop(first);
        assert!(DataDirectory::open(parent.path()).is_ok());
    }

    #[test]
    fn a_path_that_is_a_file_names_the_cure() {
        let file = tempfile::NamedTempFile::new().expect("file");
        let error = DataDirectory::open(file.path())
            .expect_err("no directory")
            .to_string();
        assert!(error.contains("--data"), "{error}");
    }
}
