//! The journal-files thread: everything about the journal that blocks.
//!
//! Purpose: segments are made and pre-written before a shard needs them, retired and
//! recycled afterwards, and history is read from them, without a shard ever waiting.
//! At start the same module recovers what earlier boots left.
//!
//! Runs on: recovery on the main thread, then a thread of its own named
//! `journal-files`, which ends when every shard has dropped its link.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};

use interlink_relay::journal::{Journal, JournalConfig};
use interlink_relay::record::SegmentId;

use crate::exit::{CommandError, Exit};
use crate::server::ShardPlan;
use crate::shard::files::{FilesLink, FilesReply, FilesRequest, HistoryAnswer};

/// What one shard takes over from earlier boots.
#[derive(Debug, Default)]
pub struct Recovered {}

/// What the node takes over.
#[derive(Debug)]
pub struct RecoveredNode {
    /// Epoch of channels that are new in this boot.
    pub epoch: u64,
    /// By shard.
    pub shards: Vec<Recovered>,
}

/// The thread before it starts.
#[derive(Debug)]
pub struct FilesThread {
    directory: PathBuf,
    boot: u64,
    shards: u16,
    segment_bytes: u32,
    requests: Receiver<FilesRequest>,
    sender: Option<Sender<FilesRequest>>,
    replies: Vec<Sender<FilesReply>>,
}

impl FilesThread {
    pub fn open(plan: &ShardPlan, shards: u16) -> Result<(Self, RecoveredNode), CommandError> {
        let boot: u64 = rand::random();
        let directory = plan.data.journal().join(format!("{boot:016x}"));
        std::fs::create_dir_all(&directory).map_err(|e| CommandError::new(Exit::Data, e))?;
        let (sender, requests) = mpsc::channel();
        let node = RecoveredNode {
            epoch: interlink_relay::backplane::next_epoch(
                crate::server::unix_seconds() * 1000,
                0,
                0,
            ),
            shards: (0..shards).map(|_| Recovered::default()).collect(),
        };
        Ok((
            Self {
                directory,
                boot,
                shards,
                segment_bytes: plan.config.journal.segment_bytes.0 as u32,
                requests,
                sender: Some(sender),
                replies: Vec::new(),
            },
            node,
        ))
    }

    pub fn link(&mut self, _shard: u16) -> FilesLink {
        let (sender, replies) = mpsc::channel();
        self.replies.push(sender);
        FilesLink::new(self.sender.clone().expect("not started"), replies)
    }

    pub fn journal(&self, shard: u16) -> Result<Journal, CommandError> {
        let mut config = JournalConfig::new(self.boot, shard, self.shards);
        config.segment_bytes = self.segment_bytes;
        Journal::new(&config).map_err(|error| CommandError::new(Exit::Config, error))
    }

    pub fn start(mut self) -> Result<Box<dyn FnOnce()>, CommandError> {
        self.sender = None;
        let thread = std::thread::Builder::new()
            .name("journal-files".into())
            .spawn(move || self.serve())
            .map_err(|error| CommandError::new(Exit::Host, error))?;
        Ok(Box::new(move || drop(thread.join())))
    }

    fn serve(self) {
        while let Ok(request) = self.requests.recv() {
            match request {
                FilesRequest::Prepare { shard, segment } => {
                    let reply = match self.prepare(shard, segment) {
                        Ok(file) => FilesReply::Prepared { segment, file },
                        Err(_) => FilesReply::NotPrepared { segment },
                    };
                    let _ = self.replies[usize::from(shard)].send(reply);
                }
                FilesRequest::Sealed { .. } => {}
                FilesRequest::History(wish) => {
                    let shard = wish.shard;
                    let last = wish.after;
                    let answer = HistoryAnswer { wish, frames: vec![], last, complete: false, more: false };
                    let _ = self.replies[usize::from(shard)].send(FilesReply::Page(answer));
                }
            }
        }
    }

    fn prepare(&self, shard: u16, segment: SegmentId) -> std::io::Result<File> {
        let name = format!("{shard}-{}-{}.seg", segment.kind.name(), segment.number);
        let path: &Path = &self.directory.join(name);
        let mut file = OpenOptions::new().read(true).write(true).create(true).open(path)?;
        let zeros = vec![0u8; 1 << 20];
        let mut left = self.segment_bytes as usize;
        while left > 0 {
            let n = left.min(zeros.len());
            file.write_all(&zeros[..n])?;
            left -= n;
        }
        file.sync_all()?;
        Ok(file)
    }
}
