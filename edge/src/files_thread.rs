//! The journal-files thread: everything about the journal that blocks.
//!
//! Purpose: segments are made before a shard needs them, retired and recycled
//! afterwards, and history is read from them, without a shard ever waiting; cursors of
//! devices are written. At start the same module recovers what earlier boots left and
//! deals it out to the shards.
//!
//! Runs on: recovery on the main thread, then a thread of its own named
//! `journal-files`, which ends when every shard has dropped its link.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use interlink_protocol::ids::{placement_hash, Position};
use interlink_relay::cursors::{CursorLog, CursorUpdate};
use interlink_relay::dedupe::RecoveredKey;
use interlink_relay::files::{FilesConfig, FilesError, JournalFiles};
use interlink_relay::journal::{Journal, JournalConfig};
use interlink_relay::recovery::{
    RecoveredChannel, RecoveredNode, RecoveredPublisher, UnmarkedRecord,
};
use tracing::{info, warn};

use crate::backbone::questions::{before_first, gap_after};
use crate::backbone::{kept, BackboneLogs};
use crate::config::Config;
use crate::data_dir::DataDirectory;
use crate::exit::{CommandError, Exit};
use crate::lanes::Doorbell;
use crate::shard::files::{
    FilesLink, FilesReply, FilesRequest, Finding, HistoryAnswer, HistoryWish, LaneWish,
    LookUpAnswer, LookUpWish,
};

/// How long a node of a cluster keeps what the backbone has: twice the time by which it goes back
/// when Redis may have lost the newest events.
const CLUSTER_RETENTION_S: u64 = 120;

/// Pause between two rounds of regular work when nobody asks for anything.
const TICK: Duration = Duration::from_millis(50);

/// What one shard takes over from earlier boots.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Channels that it owns.
    pub channels: Vec<RecoveredChannel>,
    /// Accepted ids of its publishers.
    pub publishers: Vec<RecoveredPublisher>,
    /// Idempotency keys of services that were accepted.
    pub keys: Vec<RecoveredKey>,
    /// Records of its channels that nobody has numbered, in journal order.
    pub unmarked: Vec<UnmarkedRecord>,
    /// Cursors of the devices of its users.
    pub cursors: Vec<CursorUpdate>,
}

/// What the node takes over.
#[derive(Debug)]
pub struct RecoveredShards {
    /// Epoch of channels that are new in this boot.
    pub epoch: u64,
    /// By shard.
    pub shards: Vec<Recovered>,
}

/// The thread before it starts.
#[derive(Debug)]
pub struct FilesThread {
    files: JournalFiles,
    cursors: CursorLog,
    config: JournalConfig,
    requests: Receiver<FilesRequest>,
    sender: Option<Sender<FilesRequest>>,
    peers: Vec<Peer>,
    shards: u16,
    /// Shards that have not yet made what they took over durable.
    unsettled: u16,
}

/// Where one thread gets its answers.
#[derive(Debug, Clone)]
pub struct Peer {
    replies: Sender<FilesReply>,
    bell: Arc<Doorbell>,
}

impl Peer {
    /// Answers. A thread that has ended needs no answer.
    pub fn reply(&self, reply: FilesReply) {
        if self.replies.send(reply).is_ok() {
            self.bell.ring();
        }
    }
}

impl FilesThread {
    /// Opens the journal and recovers earlier boots.
    ///
    /// # Errors
    /// When a file cannot be read or made; the same start can be tried again.
    pub fn open(
        config: &Config,
        data: &DataDirectory,
        shards: u16,
    ) -> Result<(Self, RecoveredShards), CommandError> {
        let (journal, clustered) = (&config.journal, config.is_clustered());
        let mut config = FilesConfig::new(&data.journal(), shards);
        config.segment_bytes = journal.segment_bytes.0 as u32;
        config.retention_bytes = journal.retention_bytes.0;
        config.retention_s = match clustered {
            true => CLUSTER_RETENTION_S,
            false => journal.retention_age.as_secs(),
        };
        let (files, node) = JournalFiles::open(config, unix_us()).map_err(data_error)?;
        let cursors = CursorLog::open(&files.cursors_path()).map_err(data_error)?;
        report(&node, &cursors);
        let mut config = JournalConfig::new(files.boot().id, 0, shards);
        config.segment_bytes = journal.segment_bytes.0 as u32;
        config.quota_bytes = journal.quota.0 / u64::from(shards);
        let (sender, requests) = mpsc::channel();
        let thread = Self {
            files,
            cursors,
            config,
            requests,
            sender: Some(sender),
            peers: Vec::new(),
            shards,
            unsettled: shards,
        };
        let dealt = deal(node, &thread.cursors, shards);
        Ok((thread, dealt))
    }

    /// The link of the next shard, which `bell` wakes.
    pub fn link(&mut self, bell: Arc<Doorbell>) -> Option<FilesLink> {
        let requests = self.sender.clone()?;
        let (replies, answers) = mpsc::channel();
        self.peers.push(Peer { replies, bell });
        Some(FilesLink::new(requests, answers))
    }

    /// Where the threads get their answers, in the order of their links.
    pub fn peers(&self) -> Vec<Peer> {
        self.peers.clone()
    }

    /// Number of this boot.
    pub fn boot(&self) -> u32 {
        self.files.boot().number
    }

    /// Where the relay thread goes on.
    ///
    /// # Errors
    /// When a cursor cannot be written; without it records of this boot could be passed over.
    pub fn backbone_logs(&mut self) -> Result<BackboneLogs, CommandError> {
        let (files, cursors) = (&mut self.files, &mut self.cursors);
        kept::logs(files, cursors, self.shards, unix_us()).map_err(data_error)
    }

    /// Where the main thread asks.
    pub fn requests(&self) -> Option<Sender<FilesRequest>> {
        self.sender.clone()
    }

    /// The empty journal of a shard.
    ///
    /// # Errors
    /// When the configured sizes cannot work together.
    pub fn journal(&self, shard: u16) -> Result<Journal, CommandError> {
        let config = JournalConfig {
            shard,
            ..self.config.clone()
        };
        Journal::new(&config).map_err(|error| CommandError::new(Exit::Config, error))
    }

    /// Starts the thread; the returned function waits for its end.
    ///
    /// # Errors
    /// When the thread does not start.
    pub fn start(mut self) -> Result<Box<dyn FnOnce()>, CommandError> {
        self.sender = None;
        let thread = std::thread::Builder::new()
            .name("journal-files".into())
            .spawn(move || self.serve())
            .map_err(|error| CommandError::new(Exit::Host, error))?;
        Ok(Box::new(move || drop(thread.join())))
    }

    fn serve(mut self) {
        let mut next_tick = Instant::now();
        loop {
            let until_tick = next_tick.saturating_duration_since(Instant::now());
            let pause = self.files.fill_pause().unwrap_or(TICK).min(until_tick);
            match self.requests.recv_timeout(pause) {
                Ok(FilesRequest::GiveUp(done)) => return self.give_up(&done),
                Ok(request) => self.answer(request),
                Err(RecvTimeoutError::Timeout) => self.fill_ahead(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if Instant::now() >= next_tick {
                self.tick();
                next_tick = Instant::now() + TICK;
            }
        }
    }

    fn fill_ahead(&mut self) {
        if let Err(error) = self.files.fill_ahead() {
            warn!(%error, "journal files");
        }
    }

    /// Leaves the journal and the file of cursors to another process. Requests of clients that
    /// are still here stay unanswered: they ask again where they are sent.
    fn give_up(self, done: &Sender<()>) {
        drop(self.cursors);
        if let Err(error) = self.files.leave() {
            warn!(%error, "the successor has to read segments that have no index");
        }
        // The main thread may have stopped waiting.
        let _ = done.send(());
        while self.requests.recv().is_ok() {}
    }

    fn tick(&mut self) {
        if let Err(error) = self.files.tick(unix_us()) {
            warn!(%error, "journal files");
        }
        for shard in 0..self.shards {
            let bytes = self.files.used_bytes(shard);
            self.reply(shard, FilesReply::Used { bytes });
        }
    }

    fn answer(&mut self, request: FilesRequest) {
        match request {
            FilesRequest::Prepare { shard, segment } => {
                let reply = match self.files.prepare(shard, segment) {
                    Ok(file) => FilesReply::Prepared { segment, file },
                    Err(error) => {
                        warn!(%error, shard, "a journal segment could not be made");
                        FilesReply::NotPrepared { segment }
                    }
                };
                self.reply(shard, reply);
            }
            FilesRequest::Sealed { shard, sealed } => {
                if let Err(error) = self.files.retire(shard, sealed) {
                    warn!(%error, shard, "a journal segment could not be retired");
                }
            }
            FilesRequest::History(wish) => {
                let shard = wish.shard;
                let page = self.read(wish);
                self.reply(shard, FilesReply::Page(page));
            }
            FilesRequest::LookUp(wish) => {
                let finding = self.look_up(&wish);
                let answer = LookUpAnswer { finding, wish };
                self.reply(answer.wish.shard, FilesReply::Found(answer));
            }
            FilesRequest::KeepCursors { shard, updates } => {
                let count = match self.cursors.append(&updates) {
                    Ok(()) => updates.len(),
                    Err(error) => {
                        warn!(%error, "cursors could not be written; the next batch has them too");
                        0
                    }
                };
                self.reply(shard, FilesReply::CursorsKept { count });
            }
            FilesRequest::TookOver => {
                self.unsettled -= 1;
                if self.unsettled == 0 {
                    self.files.release_recovered();
                }
            }
            FilesRequest::ReadLane(wish) => self.read_lane(*wish),
            FilesRequest::Settled(positions) => {
                kept::settle(&mut self.files, &mut self.cursors, &positions, unix_us());
            }
            FilesRequest::Servers(memory) => kept::remember(&mut self.cursors, &memory),
            // The loop that calls this has taken the first; the others go to the relay thread.
            FilesRequest::GiveUp(_)
            | FilesRequest::Judge(_)
            | FilesRequest::Cursor(_)
            | FilesRequest::MoveCursors(_) => {}
        }
    }

    fn read_lane(&mut self, wish: LaneWish) {
        let mut reader = wish.reader;
        if let Some(durable) = wish.durable {
            self.files
                .note_durable(durable.shard, durable.kind, durable.sequence);
        }
        let read = self.files.read_lane(&mut reader, wish.limit);
        let records = read.map_err(|error| warn!(%error, "the journal could not be read"));
        let lane = records.ok().map(|records| (reader, records));
        self.reply(wish.thread, FilesReply::Lane(lane));
    }

    fn read(&mut self, wish: HistoryWish) -> HistoryAnswer {
        let (after, floor) = (wish.after, wish.floor);
        let page = self
            .files
            .history_above(&wish.channel, after, wish.limit, floor);
        match page {
            Ok(page) => HistoryAnswer::of(wish, page),
            Err(error) => {
                warn!(%error, "history could not be read");
                HistoryAnswer::nothing(wish)
            }
        }
    }

    fn look_up(&mut self, wish: &LookUpWish) -> Finding {
        self.try_look_up(wish).unwrap_or_else(|error| {
            warn!(%error, "history could not be read");
            Finding::Unreadable
        })
    }

    fn try_look_up(&mut self, wish: &LookUpWish) -> Result<Finding, FilesError> {
        let (channel, after, floor) = (&wish.channel, wish.after, wish.floor);
        let page = self.files.history_above(channel, after, 1, floor)?;
        let Some(gap) = gap_after(&page, after) else {
            return Ok(Finding::Whole);
        };
        let oldest = self
            .files
            .history_above(channel, Position::ZERO, 1, floor)?;
        Ok(Finding::Broken(gap, before_first(&oldest)))
    }

    fn reply(&self, thread: u16, reply: FilesReply) {
        self.peers[usize::from(thread)].reply(reply);
    }
}

/// Deals out what was recovered: channels and records to their owners, windows of ids to the
/// shards on which their users may live, keys of services to all, cursors to the home shards of
/// their users.
fn deal(node: RecoveredNode, cursors: &CursorLog, shards: u16) -> RecoveredShards {
    let mut dealt: Vec<Recovered> = (0..shards).map(|_| Recovered::default()).collect();
    let owner = |name: &str| (placement_hash(name.as_bytes()) % u64::from(shards)) as usize;
    for channel in node.channels {
        dealt[owner(&channel.name)].channels.push(channel);
    }
    for record in node.unmarked {
        dealt[owner(&record.channel)].unmarked.push(record);
    }
    for update in cursors.deliveries().iter() {
        dealt[owner(&update.user)].cursors.push(update);
    }
    // The home of a key's user or channel is not known from its hash.
    for shard in &mut dealt {
        shard.keys.extend_from_slice(&node.keys);
    }
    for publisher in node.publishers {
        for shard in dealt.iter_mut().take(usize::from(shards) - 1) {
            shard.publishers.push(RecoveredPublisher {
                shard: publisher.shard,
                instance: publisher.instance,
                window: publisher.window.clone(),
            });
        }
        dealt[usize::from(shards) - 1].publishers.push(publisher);
    }
    RecoveredShards {
        epoch: node.epoch,
        shards: dealt,
    }
}

/// Tells the operator what the start found.
fn report(node: &RecoveredNode, cursors: &CursorLog) {
    if cursors.cut_bytes() > 0 {
        info!(
            bytes = cursors.cut_bytes(),
            "cut the torn end of the file of cursors; some events come again"
        );
    }
    if node.boots == 0 {
        return;
    }
    info!(
        boots = node.boots,
        channels = node.channels.len(),
        publishers = node.publishers.len(),
        cursors = cursors.deliveries().len(),
        unmarked = node.unmarked.len(),
        read_bytes = node.read_bytes,
        system_restarted = node.system_restarted,
        "recovered the journal"
    );
    for torn in &node.torn {
        info!(
            ?torn,
            "cut the torn end of a journal segment; nothing of it was acknowledged"
        );
    }
    for damage in &node.damage {
        warn!(
            ?damage,
            "journal damage: acknowledged events are missing; restore from a copy"
        );
    }
}

fn data_error(error: FilesError) -> CommandError {
    CommandError::new(Exit::Data, error)
}

/// Microseconds since the Unix epoch.
fn unix_us() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    since.as_micros() as u64
}
