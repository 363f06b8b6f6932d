//! The port [`Archive`] over the database: requests in, answers out, calls on tokio between.
//!
//! Invariant: a request is answered once, after at most [`Config::call_time`]; answers come in the
//! order in which calls end.
//! Limits: [`PORT_CALLS_MAX`] requests, of which as many run as there are connections.
//! Runs on: `submit` and `complete` where they are called, calls on the runtime.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;
use std::time::Duration;

use interlink_protocol::ids::{Position, RecordId};
use tokio::runtime::Handle;

use super::config::{Config, ConfigError};
use super::error::StoreError;
use super::store::Store;
use crate::archive::{Archive, ArchiveAnswer, ArchiveError, ArchiveRequest};
use crate::cursors::CursorUpdate;
use crate::event_log::LogPosition;
use crate::files::HistoryFloor;
use crate::limits::PORT_CALLS_MAX;
use crate::ports::{Busy, Ticket};
use crate::record::Kind;

type Answer = (Ticket, Result<ArchiveAnswer, ArchiveError>);

/// The archive of a cluster.
pub struct PostgresArchive {
    store: Store,
    runtime: Handle,
    call_time: Duration,
    waker: Arc<dyn Fn() + Send + Sync>,
    under_way: Arc<AtomicUsize>,
    answers: Receiver<Answer>,
    answer: Sender<Answer>,
    last: u64,
}

impl std::fmt::Debug for PostgresArchive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresArchive")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl PostgresArchive {
    /// An archive whose calls run on `runtime`. `waker` is called when `complete` has something.
    /// Nothing is connected before the first request.
    ///
    /// # Errors
    /// Contradictions in the configuration, and files that cannot be read.
    pub fn new(
        config: &Config,
        runtime: Handle,
        waker: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Self, ConfigError> {
        let (answer, answers) = channel();
        Ok(Self {
            store: Store::new(config)?,
            runtime,
            call_time: config.call_time,
            waker,
            under_way: Arc::default(),
            answers,
            answer,
            last: 0,
        })
    }

    /// The calls behind it.
    pub fn store(&self) -> &Store {
        &self.store
    }
}

impl Archive for PostgresArchive {
    fn submit(&mut self, request: ArchiveRequest<'_>, now_us: u64) -> Result<Ticket, Busy> {
        if self.under_way.load(Ordering::Acquire) >= PORT_CALLS_MAX {
            return Err(Busy);
        }
        self.under_way.fetch_add(1, Ordering::AcqRel);
        self.last += 1;
        let ticket = Ticket(self.last);
        let (store, request) = (self.store.clone(), Owned::of(request));
        let (answer, waker) = (self.answer.clone(), self.waker.clone());
        let time = self.call_time;
        self.runtime.spawn(async move {
            let call = tokio::time::timeout(time, request.call(&store, now_us));
            let outcome = call.await.unwrap_or_else(|_| {
                let text = format!("no answer within {} ms", time.as_millis());
                Err(StoreError::Away(text))
            });
            // Nobody listens any more when the port is gone.
            let _ = answer.send((ticket, outcome.map_err(ArchiveError::from)));
            waker();
        });
        Ok(ticket)
    }

    fn complete(&mut self) -> Option<Answer> {
        let answer = self.answers.try_recv().ok()?;
        self.under_way.fetch_sub(1, Ordering::AcqRel);
        Some(answer)
    }
}

/// A request with what it borrowed.
enum Owned {
    History(Box<str>, Position, usize, HistoryFloor),
    Top(Box<str>),
    Tops(Vec<Box<str>>),
    Locate(Box<str>, RecordId),
    Places(Vec<RecordId>),
    Accepted(RecordId, u64, u64),
    AdvanceCursors(Vec<CursorUpdate>),
    Cursor(Box<str>, Box<str>, Box<str>),
    CommitOffset(Box<str>, LogPosition),
    Offset(Box<str>, u16, Kind),
}

impl Owned {
    fn of(request: ArchiveRequest<'_>) -> Self {
        match request {
            ArchiveRequest::History {
                channel,
                after,
                limit,
                floor,
            } => Self::History(channel.into(), after, limit, floor),
            ArchiveRequest::Top { channel } => Self::Top(channel.into()),
            ArchiveRequest::Tops { channels } => Self::Tops(channels.to_vec()),
            ArchiveRequest::Locate { channel, record } => Self::Locate(channel.into(), record),
            ArchiveRequest::Places { records } => {
                Self::Places(records.iter().map(|(_, record)| *record).collect())
            }
            ArchiveRequest::Accepted {
                record,
                payload_hash,
                since_us,
                ..
            } => Self::Accepted(record, payload_hash, since_us),
            ArchiveRequest::AdvanceCursors(updates) => Self::AdvanceCursors(updates.to_vec()),
            ArchiveRequest::Cursor {
                user,
                device,
                channel,
            } => Self::Cursor(user.into(), device.into(), channel.into()),
            ArchiveRequest::CommitOffset { group, through } => {
                Self::CommitOffset(group.into(), through)
            }
            ArchiveRequest::Offset { group, shard, kind } => {
                Self::Offset(group.into(), shard, kind)
            }
        }
    }

    async fn call(self, store: &Store, now_us: u64) -> Result<ArchiveAnswer, StoreError> {
        Ok(match self {
            Self::History(channel, after, limit, floor) => {
                let page = store.history(&channel, after, limit, floor, now_us);
                ArchiveAnswer::History(page.await?)
            }
            Self::Top(channel) => ArchiveAnswer::Top(store.top(&channel).await?),
            Self::Tops(channels) => ArchiveAnswer::Tops(store.tops(&channels).await?),
            Self::Locate(channel, record) => {
                ArchiveAnswer::Located(store.locate(&channel, record).await?)
            }
            Self::Places(records) => ArchiveAnswer::Places(store.places(&records, now_us).await?),
            Self::Accepted(record, payload_hash, since_us) => {
                let verdict = store.accepted(record, payload_hash, since_us, now_us);
                ArchiveAnswer::Accepted(verdict.await?)
            }
            Self::AdvanceCursors(updates) => {
                store.advance_cursors(&updates, now_us).await?;
                ArchiveAnswer::CursorsAdvanced
            }
            Self::Cursor(user, device, channel) => {
                ArchiveAnswer::Cursor(store.cursor(&user, &device, &channel).await?)
            }
            Self::CommitOffset(group, through) => {
                store.commit_lane(&group, through).await?;
                ArchiveAnswer::OffsetCommitted
            }
            Self::Offset(group, shard, kind) => {
                ArchiveAnswer::Offset(store.lane(&group, shard, kind).await?)
            }
        })
    }
}
