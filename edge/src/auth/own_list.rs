//! The node's own revocation list: what the server API was asked to revoke.
//!
//! Purpose: a revocation lasts over a restart and reaches a process that takes over. The file
//! `revocations` in the data directory has the form of `auth.revocation_file`, beside which it
//! counts. Lines are only appended; an operator may delete those of tokens that have expired.
//!
//! Invariants: what was answered is on the disk; a line that a crash cut off counts for nothing
//! and is not continued.
//! Limits: `limits::REVOCATIONS_MAX` entries of both lists together, and
//! `limits::REVOCATION_FILE_BYTES_MAX` of the file.
//! Runs on: the control thread; writes on a thread for what blocks.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::error::KeyError;
use super::limits::{REVOCATIONS_MAX, REVOCATION_FILE_BYTES_MAX};
use super::revocations::{Revocation, Revocations};
use crate::watched::Watched;

/// Why something was not revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// There is no room for it.
    #[error(
        "the revocation lists hold {REVOCATIONS_MAX} entries, the most; remove those of tokens \
         that have expired from {0}"
    )]
    Full(String),
    /// It could not be made to last.
    #[error(transparent)]
    File(KeyError),
    /// Too much waits to be revoked.
    #[error("too many revocations wait to be written; try again")]
    Busy,
    /// The node stops.
    #[error("the node stops; ask it again when it runs")]
    Stopped,
}

/// The list and its file.
#[derive(Debug)]
pub struct OwnList {
    file: Watched,
    list: Revocations,
}

impl OwnList {
    /// Reads the file, which need not exist.
    ///
    /// # Errors
    /// [`KeyError`] when it cannot be used.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let mut file = Watched::new(path);
        // The stamp is taken before the content, so that a change between is seen later.
        file.changed();
        let list = read(path)?;
        Ok(Self { file, list })
    }

    /// What it holds.
    pub fn list(&self) -> &Revocations {
        &self.list
    }

    /// Reads the file again if it has changed; whether the list is another one now.
    ///
    /// # Errors
    /// [`KeyError`] when it cannot be used; the list stays as it was.
    pub fn look(&mut self, anyway: bool) -> Result<bool, KeyError> {
        if !self.file.changed() && !anyway {
            return Ok(false);
        }
        let list = read(self.file.path())?;
        let is_other = list != self.list;
        self.list = list;
        Ok(is_other)
    }

    /// Makes entries last and adds them, beside `others` in another list. Returns how many
    /// refuse something that was not refused before.
    ///
    /// # Errors
    /// [`RevokeError`]; nothing was added then.
    pub async fn add(
        &mut self,
        entries: &[Revocation],
        others: usize,
    ) -> Result<usize, RevokeError> {
        let mut list = self.list.clone();
        let new: Vec<&Revocation> = entries.iter().filter(|entry| list.add(entry)).collect();
        let path = self.file.path().to_owned();
        if list.len() + others > REVOCATIONS_MAX {
            return Err(RevokeError::Full(path.display().to_string()));
        }
        let count = new.len();
        if count == 0 {
            return Ok(0);
        }
        let text: String = new.into_iter().map(|entry| format!("{entry}\n")).collect();
        let name = path.display().to_string();
        let written = tokio::task::spawn_blocking(move || append(&path, &text)).await;
        match written.unwrap_or_else(|_| Err(ErrorKind::Interrupted.into())) {
            Ok(()) => {
                self.list = list;
                Ok(count)
            }
            Err(error) if error.kind() == ErrorKind::FileTooLarge => Err(RevokeError::Full(name)),
            Err(source) => Err(RevokeError::File(KeyError::File {
                action: "write",
                path: name,
                source,
            })),
        }
    }
}

/// The list in a file; without the file it is empty.
fn read(path: &Path) -> Result<Revocations, KeyError> {
    let mut text = String::new();
    let opened = File::open(path).and_then(|file| {
        let bounded = file.take(REVOCATION_FILE_BYTES_MAX + 1);
        { bounded }.read_to_string(&mut text)
    });
    match opened {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Revocations::default()),
        Err(source) => {
            return Err(KeyError::File {
                action: "read",
                path: path.display().to_string(),
                source,
            })
        }
    }
    Revocations::of_text(&text[..whole_lines(text.as_bytes())]).map_err(|line| {
        KeyError::Revocation {
            path: path.display().to_string(),
            line,
        }
    })
}

/// Bytes up to the end of the last whole line.
fn whole_lines(text: &[u8]) -> usize {
    let last = text.iter().rposition(|&byte| byte == b'\n');
    last.map_or(0, |end| end + 1)
}

/// Appends lines and syncs them.
fn append(path: &PathBuf, text: &str) -> std::io::Result<()> {
    let is_new = !path.exists();
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    let length = file.metadata()?.len();
    if length + text.len() as u64 > REVOCATION_FILE_BYTES_MAX {
        return Err(ErrorKind::FileTooLarge.into());
    }
    let mut before = Vec::new();
    file.read_to_end(&mut before)?;
    let whole = whole_lines(&before);
    if whole < before.len() {
        file.set_len(whole as u64)?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    if is_new {
        let directory = path.parent().ok_or(Error::from(ErrorKind::NotFound))?;
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::revocations::Revoked;
    use super::super::verifier::TokenMark;
    use super::*;

    fn user(name: &str, not_before_s: u32) -> Revocation {
        Revocation {
            what: Revoked::User(name.to_owned(), not_before_s),
            institution: String::new(),
        }
    }

    fn run<T>(future: impl std::future::Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(future)
    }

    fn covers(list: &OwnList, name: &str) -> bool {
        list.list().cover(name, "", TokenMark::default())
    }

    #[test]
    fn entries_last_and_repeats_take_no_room() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("revocations");
        let mut list = OwnList::open(&path).expect("no file is an empty list");
        let added = run(list.add(&[user("ada", 5), user("bob", 6)], 0));
        assert_eq!(added.expect("written"), 2);
        let length = std::fs::metadata(&path).expect("a file").len();
        assert_eq!(run(list.add(&[user("ada", 4)], 0)).expect("known"), 0);
        assert_eq!(std::fs::metadata(&path).expect("a file").len(), length);
        let again = OwnList::open(&path).expect("read");
        assert!(covers(&again, "ada") && covers(&again, "bob") && !covers(&again, "eve"));
        assert_eq!(again.list(), list.list());
    }

    #[test]
    fn a_line_that_was_cut_off_counts_for_nothing_and_is_not_continued() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("revocations");
        std::fs::write(&path, "user ada 5\nuser bo").expect("written");
        let mut list = OwnList::open(&path).expect("read");
        assert!(covers(&list, "ada") && list.list().len() == 1);
        run(list.add(&[user("eve", 7)], 0)).expect("written");
        let text = std::fs::read_to_string(&path).expect("text");
        assert_eq!(text, "user ada 5\nuser eve 7\n");
    }

    #[test]
    fn a_full_list_takes_nothing_more_and_names_its_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("revocations");
        let mut list = OwnList::open(&path).expect("empty");
        let error = run(list.add(&[user("ada", 5)], REVOCATIONS_MAX)).expect_err("full");
        assert!(error.to_string().contains("revocations"), "{error}");
        assert!(list.list().is_empty() && !path.exists());
    }

    #[test]
    fn a_file_that_cannot_be_written_revokes_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("missing/revocations");
        let mut list = OwnList::open(&path).expect("empty");
        let error = run(list.add(&[user("ada", 5)], 0)).expect_err("no directory");
        assert!(matches!(error, RevokeError::File(_)), "{error}");
        assert!(list.list().is_empty());
    }

    #[test]
    fn a_change_by_an_operator_is_seen() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("revocations");
        let mut list = OwnList::open(&path).expect("empty");
        run(list.add(&[user("ada", 5)], 0)).expect("written");
        assert!(!list.look(false).expect("read"), "the own change is known");
        std::fs::write(&path, "").expect("written");
        assert!(list.look(false).expect("read"));
        assert!(list.list().is_empty());
        std::fs::write(&path, "nonsense\n").expect("written");
        assert!(list.look(false).is_err());
    }
}
