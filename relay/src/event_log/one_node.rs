//! The event log of a single node: its journal, and cursors beside it.
//!
//! Calls block for the disk and are answered at once. On a running node the shards append
//! and the files thread reads; this puts both together for one process that does neither
//! through a ring.

use std::collections::HashMap;

use crate::cursors::CursorLog;
use crate::event_log::{EventLog, LogAnswer, LogError, LogPosition, LogRequest};
use crate::files::{DirectJournal, FilesError, JournalFiles, LaneReader};
use crate::journal::AppendError;
use crate::limits::PORT_CALLS_MAX;
use crate::ports::{Answers, Busy, Ticket};
use crate::record::{Kind, RecordRef};

type LaneKey = (Box<str>, u16, Kind);

/// The event log of a single node.
#[derive(Debug)]
pub struct OneNodeLog {
    files: JournalFiles,
    journal: DirectJournal,
    cursors: CursorLog,
    readers: HashMap<LaneKey, LaneReader>,
    answers: Answers<Result<LogAnswer, LogError>>,
}

impl OneNodeLog {
    /// A log over an open journal.
    pub fn new(files: JournalFiles, journal: DirectJournal) -> Result<Self, FilesError> {
        let cursors = CursorLog::open(&files.cursors_path())?;
        Ok(Self {
            files,
            journal,
            cursors,
            readers: HashMap::new(),
            answers: Answers::new(PORT_CALLS_MAX),
        })
    }

    fn append(&mut self, records: &[RecordRef<'_>], now_us: u64) -> Result<LogAnswer, LogError> {
        self.journal.drive(&mut self.files, now_us)?;
        for record in records {
            self.journal.append(record, now_us)?;
        }
        if self.journal.commit(&mut self.files, now_us)? {
            Ok(LogAnswer::Appended)
        } else {
            let pending = records.len();
            Err(LogError::Append(AppendError::Stalled { pending }))
        }
    }

    fn read(
        &mut self,
        group: &str,
        shard: u16,
        kind: Kind,
        limit: usize,
    ) -> Result<LogAnswer, LogError> {
        let committed = self.cursors.committed(group, shard, kind);
        let reader = self.readers.entry((group.into(), shard, kind));
        let reader = reader.or_insert_with(|| LaneReader::new(shard, kind, committed));
        Ok(LogAnswer::Records(self.files.read_lane(reader, limit)?))
    }

    fn commit(&mut self, group: &str, through: LogPosition) -> Result<LogAnswer, LogError> {
        self.cursors.commit(group, through)?;
        // The slowest group decides what has to stay.
        let slowest = self.cursors.slowest(through.shard, through.kind);
        if let Some(first) = slowest.and_then(|position| self.files.segment_after(position)) {
            self.files.set_needed_from(first);
        }
        Ok(LogAnswer::Committed)
    }
}

impl EventLog for OneNodeLog {
    fn submit(&mut self, request: LogRequest<'_>, now_us: u64) -> Result<Ticket, Busy> {
        self.answers.check_room()?;
        let answer = match request {
            LogRequest::Append(records) => self.append(records, now_us),
            LogRequest::Read {
                group,
                shard,
                kind,
                limit,
            } => self.read(group, shard, kind, limit),
            LogRequest::Commit { group, through } => self.commit(group, through),
            LogRequest::Rewind { group } => {
                self.readers.retain(|(name, _, _), _| &**name != group);
                Ok(LogAnswer::Rewound)
            }
        };
        Ok(self.answers.push(answer))
    }

    fn complete(&mut self) -> Option<(Ticket, Result<LogAnswer, LogError>)> {
        self.answers.pop()
    }
}
