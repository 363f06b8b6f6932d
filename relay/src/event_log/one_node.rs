//! The event log of a single node: its journal, and cursors beside it.
//!
//! Calls block for the disk and are answered at once. On a running node the shards append
//! and the files thread reads; this puts both together for one process that does neither
//! through a ring.

use std::collections::HashMap;

use crate::cursors::CursorLog;
use crate::event_log::{
    Append, AppendKind, EventLog, LogAnswer, LogError, LogPlace, LogRequest, Logged,
};
use crate::files::{DirectJournal, FilesError, JournalFiles, LaneReader};
use crate::journal::AppendError;
use crate::limits::{PORT_BATCH_MAX, PORT_CALLS_MAX};
use crate::ports::{Answers, Busy, Ticket};
use crate::record::Kind;

type LaneKey = (Box<str>, u16, Kind);

/// The event log of a single node.
#[derive(Debug)]
pub struct OneNodeLog {
    files: JournalFiles,
    journal: DirectJournal,
    cursors: CursorLog,
    readers: HashMap<LaneKey, LaneReader>,
    /// Reads so far; lanes take turns by it.
    reads: usize,
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
            reads: 0,
            answers: Answers::new(PORT_CALLS_MAX),
        })
    }

    fn append(&mut self, appends: &[Append<'_>], now_us: u64) -> Result<LogAnswer, LogError> {
        if appends.len() > PORT_BATCH_MAX {
            return Err(LogError::TooMany {
                records: appends.len(),
                limit: PORT_BATCH_MAX,
            });
        }
        self.journal.drive(&mut self.files, now_us)?;
        // Where an event stands is a mark of its channel's owner in this journal already.
        let events = appends.iter().filter(|it| it.kind == AppendKind::Event);
        for event in events {
            self.journal.append(&event.record, now_us)?;
        }
        if self.journal.commit(&mut self.files, now_us)? {
            Ok(LogAnswer::Appended)
        } else {
            let pending = appends.len();
            Err(LogError::Append(AppendError::Stalled { pending }))
        }
    }

    fn read(&mut self, group: &str, limit: usize) -> Result<LogAnswer, LogError> {
        let lanes: Vec<_> = self.files.lanes().into_iter().collect();
        self.reads += 1;
        for turn in 0..lanes.len() {
            let (shard, kind) = lanes[(self.reads + turn) % lanes.len()];
            let committed = self.cursors.committed(group, shard, kind);
            let reader = self.readers.entry((group.into(), shard, kind));
            let reader = reader.or_insert_with(|| LaneReader::new(shard, kind, committed));
            let records = self.files.read_lane(reader, limit)?;
            if !records.is_empty() {
                let logged = records.into_iter().map(|record| Logged {
                    place: LogPlace::Journal(record.at),
                    record,
                });
                return Ok(LogAnswer::Records(logged.collect()));
            }
        }
        Ok(LogAnswer::Records(Vec::new()))
    }

    fn commit(&mut self, group: &str, through: &LogPlace) -> Result<LogAnswer, LogError> {
        let LogPlace::Journal(through) = *through else {
            return Err(LogError::ForeignPlace);
        };
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
            LogRequest::Append(appends) => self.append(appends, now_us),
            LogRequest::Read { group, limit } => self.read(group, limit),
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
