//! The archive of a single node: its retained journal, and the file of cursors.
//!
//! Calls block for the disk and are answered at once; on a running node they are made by
//! the journal-files thread.

use interlink_protocol::ids::{Position, RecordId};

use crate::archive::{Archive, ArchiveAnswer, ArchiveError, ArchiveRequest};
use crate::cursors::{CursorLog, CursorStart};
use crate::files::{FilesError, JournalFiles};
use crate::limits::{HISTORY_EVENTS_MAX, PORT_CALLS_MAX};
use crate::ports::{Answers, Busy, Ticket};
use crate::record::Placement;

/// The archive of a single node.
#[derive(Debug)]
pub struct OneNodeArchive {
    /// The journal's files, for whoever else needs them.
    pub files: JournalFiles,
    cursors: CursorLog,
    answers: Answers<Result<ArchiveAnswer, ArchiveError>>,
}

impl OneNodeArchive {
    /// An archive over an open journal.
    pub fn new(files: JournalFiles) -> Result<Self, FilesError> {
        let cursors = CursorLog::open(&files.cursors_path())?;
        Ok(Self {
            files,
            cursors,
            answers: Answers::new(PORT_CALLS_MAX),
        })
    }

    fn answer(&mut self, request: ArchiveRequest<'_>) -> Result<ArchiveAnswer, ArchiveError> {
        Ok(match request {
            ArchiveRequest::History {
                channel,
                after,
                limit,
                floor,
            } => {
                let page = self.files.history_above(channel, after, limit, floor)?;
                ArchiveAnswer::History(page)
            }
            ArchiveRequest::Top { channel } => ArchiveAnswer::Top(self.files.top(channel)?),
            ArchiveRequest::Tops { channels } => {
                let tops = channels.iter().map(|channel| self.files.top(channel));
                ArchiveAnswer::Tops(tops.collect::<Result<_, _>>()?)
            }
            ArchiveRequest::Locate { channel, record } => {
                let place = self.locate(channel, record)?;
                ArchiveAnswer::Located(place.map(|place| place.position))
            }
            ArchiveRequest::Places { records } => {
                let places = records
                    .iter()
                    .map(|(channel, record)| self.locate(channel, *record));
                ArchiveAnswer::Places(places.collect::<Result<_, _>>()?)
            }
            ArchiveRequest::Accepted {
                record: _,
                instance,
                class,
                client_message_id,
                payload_hash,
                since_us,
            } => ArchiveAnswer::Accepted(self.files.was_accepted(
                instance,
                class,
                client_message_id,
                payload_hash,
                since_us,
            )?),
            ArchiveRequest::AdvanceCursors(updates) => {
                self.cursors.append(updates)?;
                ArchiveAnswer::CursorsAdvanced
            }
            ArchiveRequest::Cursor {
                user,
                device,
                channel,
            } => {
                let known = self.cursors.deliveries();
                let own = known.own(user, device, channel).is_some();
                let start = known.start(user, device, channel);
                ArchiveAnswer::Cursor(start.map(|cursor| CursorStart { cursor, own }))
            }
            ArchiveRequest::CommitOffset { group, through } => {
                self.cursors.commit(group, through)?;
                ArchiveAnswer::OffsetCommitted
            }
            ArchiveRequest::Offset { group, shard, kind } => {
                ArchiveAnswer::Offset(self.cursors.committed(group, shard, kind))
            }
        })
    }

    /// Looks through everything of a channel: records have no index of their own, and a node
    /// without other regions is hardly ever asked.
    fn locate(&mut self, channel: &str, record: RecordId) -> Result<Option<Placement>, FilesError> {
        let mut after = Position::ZERO;
        loop {
            let page = self.files.history(channel, after, HISTORY_EVENTS_MAX)?;
            let found = page.events.iter().rfind(|event| event.record == record);
            if let Some(event) = found {
                return Ok(Some(event.placement));
            }
            if !page.more || page.events.is_empty() {
                return Ok(None);
            }
            after = page.last;
        }
    }
}

impl Archive for OneNodeArchive {
    fn submit(&mut self, request: ArchiveRequest<'_>, _now_us: u64) -> Result<Ticket, Busy> {
        self.answers.check_room()?;
        let answer = self.answer(request);
        Ok(self.answers.push(answer))
    }

    fn complete(&mut self) -> Option<(Ticket, Result<ArchiveAnswer, ArchiveError>)> {
        self.answers.pop()
    }
}
