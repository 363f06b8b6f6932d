//! The shard's side of its journal.
//!
//! Purpose: carry out what the journal asks for, and turn its progress into effects:
//! what has been written becomes visible to subscribers, what is durable is
//! acknowledged.
//!
//! Invariants: an event is not sent before its block was written, and not
//! acknowledged before it is on the disk; both queues here are in journal order.
//!
//! Thread: the shard; files are made and retired by the journal-files thread.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::os::fd::AsRawFd;

use interlink_protocol::priority::Priority;
use interlink_protocol::ErrorCode;
use interlink_relay::journal::{Action, AppendError, Journal};
use interlink_relay::record::{Kind, RecordRef, SegmentId, Sequence};
use interlink_uring::Kernel;

use super::behind::Unwritten;
use super::files::{FilesReply, FilesRequest};
use super::mesh::{Foreign, Message};
use super::pace::BackgroundPace;
use super::Shard;
use crate::telemetry::latency::Stage;

/// Publishes of a shard that may wait for the disk, beside P0.
pub const PENDING_MAX: usize = 256 * 1024;
/// Further ones for P0.
pub const PENDING_CRITICAL: usize = 16 * 1024;

/// Operations of the journal that are timed.
const WRITE: usize = 0;
const SYNC: usize = 1;

/// What happens once an entry has been written.
#[derive(Debug)]
enum Effect {
    /// Events of the channel up to this byte position may be sent.
    Visible {
        channel: u32,
        end: u64,
        /// When the publish came.
        since_us: u32,
    },
    /// The owner shard may number the record.
    Forward {
        owner: u16,
        class: Priority,
        foreign: Box<Foreign>,
    },
}

/// A publish that waits for the disk.
#[derive(Debug, Clone, Copy)]
pub struct PendingAck {
    /// Publisher to be told, or [`NONE`](super::connection::NONE) when the publish came from no
    /// session; then `id` is the ticket of `service`.
    pub publisher: u32,
    /// Attachment of its session when the publish came, which holds the credit.
    pub attachment: u32,
    /// Its id.
    pub id: u64,
    /// When the publish came, in `Clock::now_us`.
    pub since_us: u32,
    /// Class of the channel.
    pub class: Priority,
    /// Level to report.
    pub level: u8,
    /// Whether the acknowledgement was given already, so that only settling waits.
    pub acked: bool,
    /// Whether the owner has placed it; always true on the owner itself.
    pub placed: bool,
}

/// A mark of this shard that another shard's publish waits for.
#[derive(Debug, Clone, Copy)]
pub struct PendingMark {
    /// Shard of the publisher.
    pub home: u16,
    /// Log of the record there.
    pub kind: Kind,
    /// Sequence of the record there.
    pub sequence: Sequence,
}

/// The queues of one log.
#[derive(Debug, Default)]
struct Waiting {
    written: VecDeque<(Sequence, Effect)>,
    durable: VecDeque<(Sequence, PendingAck)>,
    /// Apart from the acknowledgements: those wait for marks of other shards, and if marks
    /// waited behind them, two shards could wait for each other for ever.
    marks: VecDeque<(Sequence, PendingMark)>,
}

/// Journal, its open files, and what waits for it.
#[derive(Debug)]
pub struct ShardJournal {
    pub(super) journal: Journal,
    segments: HashMap<SegmentId, File>,
    waiting: [Waiting; 2],
    /// Publishers with acknowledgements to send at the end of this batch.
    pub(super) touched: Vec<u32>,
    pace: BackgroundPace,
    /// Subscriptions that wait for a write.
    pub(super) unwritten: Unwritten,
    /// When the write and the sync of each log that are under way began, in `Clock::now_us`.
    began_us: [[u32; 2]; 2],
}

impl ShardJournal {
    /// A journal without open files.
    pub fn new(journal: Journal) -> Self {
        Self {
            journal,
            segments: HashMap::new(),
            waiting: Default::default(),
            touched: Vec::new(),
            pace: BackgroundPace::default(),
            unwritten: Unwritten::default(),
            began_us: [[0; 2]; 2],
        }
    }

    /// Publishes that wait for the disk.
    pub fn pending(&self) -> usize {
        let lengths = |waiting: &Waiting| waiting.durable.len() + waiting.marks.len();
        self.waiting.iter().map(lengths).sum()
    }

    /// Whether nothing is on its way to the disk.
    pub fn is_idle(&self) -> bool {
        self.journal.is_idle() && self.pending() == 0
    }

    /// Notes that the channel's events up to `end` may be sent once `sequence` is written.
    pub fn await_visible(
        &mut self,
        class: Priority,
        sequence: Sequence,
        channel: u32,
        (end, since_us): (u64, u32),
    ) {
        let waiting = &mut self.waiting[Kind::of(class).index()];
        let effect = Effect::Visible {
            channel,
            end,
            since_us,
        };
        waiting.written.push_back((sequence, effect));
    }

    /// Notes that the owner gets the record once it is written.
    pub fn await_forward(
        &mut self,
        class: Priority,
        sequence: Sequence,
        owner: u16,
        foreign: Box<Foreign>,
    ) {
        let waiting = &mut self.waiting[Kind::of(class).index()];
        waiting.written.push_back((
            sequence,
            Effect::Forward {
                owner,
                class,
                foreign,
            },
        ));
    }

    /// Notes that an event of another shard's publisher may be sent once its mark is written.
    pub fn await_placed(&mut self, sequence: Sequence, channel: u32, (end, since_us): (u64, u32)) {
        let waiting = &mut self.waiting[Kind::Urgent.index()];
        let effect = Effect::Visible {
            channel,
            end,
            since_us,
        };
        waiting.written.push_back((sequence, effect));
    }

    /// Notes a publish that is acknowledged once `sequence` is durable.
    pub fn await_durable(&mut self, sequence: Sequence, pending: PendingAck) {
        let waiting = &mut self.waiting[Kind::of(pending.class).index()];
        waiting.durable.push_back((sequence, pending));
    }

    /// Notes a mark that another shard waits for.
    pub fn await_mark(&mut self, sequence: Sequence, mark: PendingMark) {
        let waiting = &mut self.waiting[Kind::Urgent.index()];
        waiting.marks.push_back((sequence, mark));
    }

    fn next_written(&mut self, kind: Kind) -> Option<Effect> {
        let written = self.journal.written_through(kind);
        let queue = &mut self.waiting[kind.index()].written;
        queue
            .pop_front_if(|entry| entry.0 <= written)
            .map(|entry| entry.1)
    }

    fn next_durable(&mut self, kind: Kind) -> Option<(Sequence, PendingAck)> {
        let durable = self.journal.durable_through(kind);
        let queue = &mut self.waiting[kind.index()].durable;
        queue.pop_front_if(|(sequence, ack)| ack.placed && *sequence <= durable)
    }

    /// Whether publishes of `kind` could be acknowledged now.
    fn has_durable(&self, kind: Kind) -> bool {
        let durable = self.journal.durable_through(kind);
        let next = self.waiting[kind.index()].durable.front();
        next.is_some_and(|(sequence, ack)| ack.placed && *sequence <= durable)
    }

    /// Whether acknowledgements of P3 wait for their turn.
    pub fn holds_acks(&self) -> bool {
        self.has_durable(Kind::Background)
    }

    fn next_mark(&mut self) -> Option<PendingMark> {
        let durable = self.journal.durable_through(Kind::Urgent);
        let queue = &mut self.waiting[Kind::Urgent.index()].marks;
        let next = queue.pop_front_if(|(sequence, _)| *sequence <= durable);
        next.map(|entry| entry.1)
    }

    /// The owner has placed the record with this sequence.
    pub fn placed(&mut self, kind: Kind, sequence: Sequence) {
        let queue = &mut self.waiting[kind.index()].durable;
        if let Ok(place) = queue.binary_search_by_key(&sequence, |entry| entry.0) {
            queue[place].1.placed = true;
        }
    }
}

impl Shard {
    /// Appends a record; a refusal is answered with the code.
    pub(super) fn journal_append(&mut self, record: &RecordRef<'_>) -> Result<Sequence, ErrorCode> {
        let room = match record.class {
            Priority::P0 => PENDING_MAX + PENDING_CRITICAL,
            _ => PENDING_MAX,
        };
        if self.journal.pending() >= room {
            return Err(ErrorCode::Overloaded);
        }
        self.journal
            .journal
            .append(record, self.clock.unix_us)
            .inspect(|_| self.counters.journal_records.add(record.class, 1))
            .map_err(|error| match error {
                AppendError::Full { .. } | AppendError::NoSegment { .. } => {
                    ErrorCode::QuotaExceeded
                }
                AppendError::Stalled { .. } => ErrorCode::Overloaded,
                AppendError::TooLarge { .. } => ErrorCode::PayloadTooLarge,
            })
    }

    /// Carries out the journal's wishes; returns whether the kernel got anything to do. `busy`
    /// tells whether the turn has had other work.
    pub(super) fn run_journal<K: Kernel>(&mut self, kernel: &mut K, busy: bool) -> bool {
        let mut wrote = false;
        while let Some(action) = self.journal.journal.next_action(self.clock.unix_us) {
            wrote |= self.carry_out(kernel, action);
        }
        self.take_effects(busy);
        wrote
    }

    fn carry_out<K: Kernel>(&mut self, kernel: &mut K, action: Action) -> bool {
        match action {
            Action::Write {
                segment,
                offset,
                buffer,
                token,
            } => {
                self.journal.began_us[WRITE][segment.kind.index()] = self.clock.now_us();
                match self.journal.segments.get(&segment) {
                    Some(file) => kernel.write(file.as_raw_fd(), offset, buffer, token),
                    None => self.journal.journal.on_written(token, -libc::EBADF, buffer),
                }
                true
            }
            Action::Sync { segment, token } => {
                self.journal.began_us[SYNC][segment.kind.index()] = self.clock.now_us();
                match self.journal.segments.get(&segment) {
                    Some(file) => kernel.sync_data(file.as_raw_fd(), token),
                    None => self.journal.journal.on_synced(token, -libc::EBADF),
                }
                true
            }
            Action::Prepare(segment) => {
                self.files.request(FilesRequest::Prepare {
                    shard: self.id,
                    segment,
                });
                false
            }
            Action::Retire(sealed) => {
                self.journal.segments.remove(&sealed.segment);
                self.files.request(FilesRequest::Sealed {
                    shard: self.id,
                    sealed,
                });
                false
            }
        }
    }

    /// A block was written, or not.
    pub(super) fn on_written(&mut self, token: u64, result: i32, buffer: Vec<u8>) {
        self.note_journal(Stage::JournalWrite, WRITE, token);
        self.journal.journal.on_written(token, result, buffer);
    }

    /// A sync ended.
    pub(super) fn on_synced(&mut self, token: u64, result: i32) {
        self.note_journal(Stage::JournalSync, SYNC, token);
        self.journal.journal.on_synced(token, result);
    }

    /// The operation ended before this turn looked, so the turn itself is not in its time.
    fn note_journal(&self, stage: Stage, operation: usize, token: u64) {
        let kind = Journal::kind_of(token);
        let began_us = self.journal.began_us[operation][kind.index()];
        let taken_us = self.clock.now_us().wrapping_sub(began_us);
        let latencies = self.shown.latencies();
        latencies
            .stage(stage.index())
            .record(u64::from(taken_us), 1);
    }

    /// Takes answers of the journal-files thread.
    pub(super) fn take_file_replies(&mut self) {
        while let Some(reply) = self.files.take() {
            match reply {
                FilesReply::Prepared { segment, file } => {
                    self.journal.segments.insert(segment, file);
                    self.journal.journal.on_prepared(segment);
                }
                FilesReply::NotPrepared { segment } => {
                    let now_us = self.clock.unix_us;
                    self.journal.journal.on_prepare_failed(segment, now_us);
                }
                FilesReply::Used { bytes } => self.journal.journal.set_used_bytes(bytes),
                FilesReply::Page(page) => self.on_history_page(page),
                FilesReply::Found(answer) => self.on_found(&answer),
                FilesReply::Judged(answer) => self.on_judged(&answer),
                FilesReply::Cursor(answer) => self.on_cursor(&answer),
                FilesReply::CursorsKept { count } => self.on_cursors_kept(count),
                // Only the relay thread asks for records.
                FilesReply::Lane(_) => {}
            }
        }
    }

    /// Turns the journal's progress into visibility and acknowledgements.
    fn take_effects(&mut self, busy: bool) {
        for kind in Kind::ALL {
            while let Some(effect) = self.journal.next_written(kind) {
                match effect {
                    Effect::Visible {
                        channel,
                        end,
                        since_us,
                    } => self.make_visible(channel, end, since_us),
                    Effect::Forward {
                        owner,
                        class,
                        foreign,
                    } => {
                        self.mesh.send(owner, class, Message::Place(foreign));
                    }
                }
            }
        }
        self.send_durable();
        while let Some((sequence, pending)) = self.journal.next_durable(Kind::Urgent) {
            self.on_stored(sequence, &pending);
        }
        // After the others were made visible, so that what waits to be sent is known.
        let busy = busy || !self.dirty.is_empty();
        self.take_background(busy);
        while let Some(mark) = self.journal.next_mark() {
            let placed = Message::Placed(mark.kind, mark.sequence);
            self.mesh.send(mark.home, Priority::P0, placed);
        }
        self.send_acks();
    }

    /// Acknowledges P3 at its pace.
    fn take_background(&mut self, busy: bool) {
        let allowed = self.journal.pace.allows(busy, self.counters.frames_in);
        for given in 0..allowed {
            let Some((sequence, pending)) = self.journal.next_durable(Kind::Background) else {
                return self.journal.pace.gave(given);
            };
            self.on_stored(sequence, &pending);
        }
        self.journal.pace.gave(allowed);
    }
}
