//! What reaches the relay thread: entries of the lanes, requests of shards, reads of the journal.

use std::sync::mpsc::TryRecvError;
use std::sync::Arc;

use interlink_protocol::channel::ChannelName;
use interlink_protocol::ids::Position;
use interlink_relay::lines::{LaneId, Read};

use super::limits::{READ_RECORDS, TAKE, TAKES_PER_ROUND, TELLS_MAX};
use super::task::{unix_us, Relay};
use super::watches::Granted;
use crate::shard::files::{FilesReply, FilesRequest, LaneWish};
use crate::shard::presence::messages::PresenceMessage;
use crate::shard::Message;

/// What a stretch of the journal is read for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reading {
    /// Records to be numbered.
    Lines(LaneId),
    /// Records to be fed.
    Feeder(LaneId),
    /// Records to be numbered once more.
    Rewind(LaneId),
}

impl Relay {
    /// Takes what shards sent; says whether more waits.
    pub(super) fn take_lanes(&mut self, now_us: u64) -> bool {
        let mut taken = std::mem::take(&mut self.taken);
        let mut takes = 0;
        while takes < TAKES_PER_ROUND && self.port.receiver.take(TAKE, &mut taken) > 0 {
            for entry in taken.drain(..) {
                self.on_message(entry.entry, now_us);
            }
            takes += 1;
        }
        self.taken = taken;
        takes == TAKES_PER_ROUND
    }

    fn on_message(&mut self, message: Message, now_us: u64) {
        match message {
            Message::Record(record) => {
                let record = Arc::from(record);
                self.lines.offer(&record);
                self.feeder.offer(&record, now_us);
            }
            Message::Interest(shard, name) => self.on_interest(shard, &name),
            Message::NoInterest(shard, name) => self.watches.leave(shard, &name),
            Message::Tell(frame) if self.tells.len() < TELLS_MAX => self.tells.push_back(frame),
            Message::Presence(message) => self.on_presence(*message),
            // Shards send nothing else to this thread.
            _ => {}
        }
    }

    fn on_presence(&mut self, message: PresenceMessage) {
        if let PresenceMessage::Send(frame) = message {
            self.nodes.send(frame);
        }
    }

    fn on_interest(&mut self, shard: u16, name: &str) {
        let Ok(parsed) = ChannelName::parse(name) else {
            return;
        };
        let policy = self.namespaces.lookup(&parsed);
        let durable = policy.is_some_and(|policy| policy.durable);
        if let Some(granted) = self.watches.want(shard, name, durable) {
            if durable {
                self.grant(&granted);
            }
        }
    }

    /// Grants shards a channel from a position on.
    pub(super) fn grant(&mut self, granted: &Granted) {
        for shard in 0..self.peers.len() as u16 {
            if granted.shards & (1 << shard) != 0 {
                let grant: (Box<str>, Position) = (granted.channel.clone(), granted.position);
                self.send(shard, &granted.channel, Message::Granted(Box::new(grant)));
            }
        }
    }

    /// Takes requests of shards and answers of the journal-files thread; says whether there was
    /// anything.
    pub(super) fn take_answers(&mut self) -> bool {
        let mut any = false;
        loop {
            match self.requests.try_recv() {
                Ok(request) => {
                    any = true;
                    if let Some(other) = self.questions.take(request) {
                        self.on_archive_request(other);
                    }
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.shards_ended = true;
                    break;
                }
            }
        }
        while let Some(reply) = self.files.take() {
            any = true;
            if let FilesReply::Lane(lane) = reply {
                self.on_read(lane);
            }
        }
        any
    }

    fn on_read(&mut self, lane: super::LaneRecords) {
        match self.reading.take() {
            Some(Reading::Lines(id)) => self.lines.read(id, lane),
            Some(Reading::Feeder(id)) => self.feeder.read(id, lane, unix_us()),
            Some(Reading::Rewind(id)) => self.lines.rewound(id, lane),
            None => {}
        }
    }

    /// Asks for the next stretch of the journal that something waits for.
    pub(super) fn read_journal(&mut self) {
        if self.reading.is_some() {
            return;
        }
        let next = self
            .lines
            .next_rewind()
            .map(|(id, read)| (Reading::Rewind(id), read))
            .or_else(|| {
                let next = self.lines.next_read();
                next.map(|(id, read)| (Reading::Lines(id), read))
            })
            .or_else(|| {
                let next = self.feeder.next_read();
                next.map(|(id, read)| (Reading::Feeder(id), read))
            });
        if let Some((reading, Read { reader, durable })) = next {
            self.reading = Some(reading);
            self.files
                .request(FilesRequest::ReadLane(Box::new(LaneWish {
                    thread: self.port.sender.own() as u16,
                    reader,
                    limit: READ_RECORDS,
                    durable: durable.filter(|at| at.boot == self.boot),
                })));
        }
    }
}
