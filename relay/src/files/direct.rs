//! A journal that carries out its own actions, blocking; for tools and tests, and for
//! whoever has no ring.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::files::{FilesError, JournalFiles};
use crate::journal::{Action, AppendError, Journal};
use crate::record::{Kind, Mark, RecordRef, SegmentId, Sequence};

/// What a write or sync reports for a failure of this kind.
const EIO: i32 = -5;

/// Failed rounds after which a commit gives up for now.
const ROUNDS_MAX: usize = 8;

/// A journal with its open files.
#[derive(Debug)]
pub struct DirectJournal {
    journal: Journal,
    shard: u16,
    open: HashMap<SegmentId, File>,
    syncs: bool,
}

impl DirectJournal {
    /// Drives `journal` of a shard of the present boot.
    pub fn new(journal: Journal, shard: u16) -> Self {
        Self {
            journal,
            shard,
            open: HashMap::new(),
            syncs: true,
        }
    }

    /// Leaves out syncs: for tests that look at the page cache only.
    #[cfg(test)]
    pub(crate) fn without_syncs(mut self) -> Self {
        self.syncs = false;
        self
    }

    /// Appends a record.
    pub fn append(&mut self, record: &RecordRef<'_>, now_us: u64) -> Result<Sequence, AppendError> {
        self.journal.append(record, now_us)
    }

    /// Appends a mark.
    pub fn append_mark(&mut self, mark: &Mark, now_us: u64) -> Result<Sequence, AppendError> {
        self.journal.append_mark(mark, now_us)
    }

    /// Carries out what the journal wants now.
    pub fn drive(&mut self, files: &mut JournalFiles, now_us: u64) -> Result<(), FilesError> {
        while let Some(action) = self.journal.next_action(now_us) {
            match action {
                Action::Write {
                    segment,
                    offset,
                    buffer,
                    token,
                } => {
                    let file = self.open.get(&segment);
                    let written =
                        file.is_some_and(|file| file.write_all_at(&buffer, offset).is_ok());
                    let result = if written { buffer.len() as i32 } else { EIO };
                    self.journal.on_written(token, result, buffer);
                }
                Action::Sync { segment, token } => {
                    let file = self.open.get(&segment);
                    let synced = !self.syncs || file.is_some_and(|file| file.sync_data().is_ok());
                    self.journal.on_synced(token, if synced { 0 } else { EIO });
                }
                Action::Prepare(segment) => match files.prepare(self.shard, segment) {
                    Ok(file) => {
                        self.open.insert(segment, file);
                        self.journal.on_prepared(segment);
                    }
                    Err(error) => {
                        self.journal.on_prepare_failed(segment, now_us);
                        return Err(error);
                    }
                },
                Action::Retire(sealed) => {
                    self.open.remove(&sealed.segment);
                    files.retire(self.shard, sealed)?;
                }
            }
        }
        for kind in Kind::ALL {
            files.note_durable(self.shard, kind, self.journal.durable_through(kind));
        }
        Ok(())
    }

    /// Makes everything durable; says whether it is. Waits are passed by counting them as
    /// over, not by sleeping.
    pub fn commit(&mut self, files: &mut JournalFiles, now_us: u64) -> Result<bool, FilesError> {
        let mut now_us = now_us;
        for _ in 0..ROUNDS_MAX {
            self.drive(files, now_us)?;
            if self.journal.is_idle() {
                return Ok(true);
            }
            let deadline = self.journal.next_deadline_us().unwrap_or(now_us);
            now_us = now_us.max(deadline) + 1;
        }
        Ok(false)
    }

    /// The journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }
}
