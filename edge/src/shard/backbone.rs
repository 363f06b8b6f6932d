//! A shard as part of a cluster: what leaves it for the relay thread, and what comes back.
//!
//! Purpose: in a cluster the relay thread stands in for the owner of every durable channel. A
//! record goes there once it is on this node's disk, which is what `local` acknowledges; it is
//! *fed* once Kafka has it, which is what `replicated` acknowledges where Kafka has two copies of
//! it then, and *settled* once it is fed and has its position. Events come back numbered, those of
//! this node's publishers too.
//!
//! Order: records leave in journal order ([`super::leaving`]), and progress comes as one sequence
//! for each class.
//!
//! Limits: [`WITHHELD_MAX`] acknowledgements that wait for Kafka; of what waits to be settled
//! [`SETTLING_MAX`] entries of a class, then only the newest of each publisher is kept, so that
//! clients are told of settled ids later and never wrongly.
//!
//! Thread: the shard.

use std::collections::{HashMap, VecDeque};

use interlink_protocol::channel::ChannelName;
use interlink_protocol::priority::Priority;
use interlink_protocol::ErrorCode;
use interlink_relay::event_log::{LogPosition, LogRecord};
use interlink_relay::record::{Kind, RecordRef, Sequence};
use interlink_wire as wire;

use super::channel::WATCHED;
use super::connection::NONE;
use super::journal::PendingAck;
use super::leaving::Leaving;
use super::mesh::Message;
use super::publish::Checked;
use super::Shard;
use crate::config::{Config, CriticalWithoutKafka};

/// Acknowledgements of a class that wait for Kafka: with `withhold`, what clients of a shard may
/// have under way while it is away.
pub const WITHHELD_MAX: usize = 4_096;

/// Ids of a class that wait to be settled, of 24 bytes each.
pub const SETTLING_MAX: usize = 256 * 1024;

/// Settled ids after which a publisher is told without having asked; a client keeps up to 1,000.
pub(super) const SETTLED_UNTOLD_MAX: u64 = 64;

/// An id that waits to be settled.
#[derive(Debug, Clone, Copy)]
struct Settling {
    sequence: Sequence,
    publisher: u32,
    /// Ids of the publisher that end here; more than one after compaction.
    count: u32,
    id: u64,
}

/// How far the relay thread is with the records of one class of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The class.
    pub class: Priority,
    /// Everything up to here is in Kafka.
    pub fed: Sequence,
    /// Everything up to here is in Kafka and has its position.
    pub settled: Sequence,
}

/// What a shard of a cluster is given.
#[derive(Debug, Clone, Copy)]
pub struct BackbonePort {
    /// The relay thread, as a thread of the lanes.
    pub relay: u16,
    /// Number of this boot of the journal.
    pub boot: u32,
    /// What becomes of P0 while Kafka is away.
    pub critical: CriticalWithoutKafka,
    /// Whether there is an archive.
    pub archive: bool,
}

impl BackbonePort {
    /// The port of a node's shards; `None` for a node alone.
    pub fn of(config: &Config, shards: u16, boot: u32) -> Option<Self> {
        config.is_clustered().then_some(Self {
            relay: shards,
            boot,
            critical: config.kafka.critical_without_kafka,
            archive: config.has_archive(),
        })
    }
}

/// The shard's side of the backbone.
#[derive(Debug)]
pub struct Backbone {
    port: BackbonePort,
    /// Records that wait for the disk, or for the relay thread.
    leaving: Leaving,
    /// Acknowledgements that wait for Kafka, for each class.
    withheld: [VecDeque<(Sequence, PendingAck)>; Priority::COUNT],
    settling: [VecDeque<Settling>; Priority::COUNT],
    log_away: bool,
    /// Classes of which Kafka has two copies when it has acknowledged.
    replicated: [bool; Priority::COUNT],
}

impl Backbone {
    /// A shard that has sent nothing yet.
    pub fn new(port: BackbonePort) -> Self {
        Self {
            port,
            leaving: Leaving::default(),
            withheld: Default::default(),
            settling: Default::default(),
            log_away: false,
            replicated: Default::default(),
        }
    }

    /// Whether nothing waits for the relay thread.
    pub fn is_idle(&self) -> bool {
        self.leaving.is_empty()
            && self.withheld.iter().all(VecDeque::is_empty)
            && self.settling.iter().all(VecDeque::is_empty)
    }

    /// Whether records wait for room in the lane.
    pub fn is_blocked(&self) -> bool {
        self.leaving.is_blocked()
    }

    /// Records that the relay thread has to read from the journal since it was behind.
    pub fn left_out(&self) -> u64 {
        self.leaving.left_out()
    }

    /// Whether one more publish of the class may wait for Kafka.
    fn has_room(&self, class: Priority) -> bool {
        let waits = self.log_away && self.port.critical == CriticalWithoutKafka::Withhold;
        !waits || self.withheld[class.index()].len() < WITHHELD_MAX
    }

    fn settle_later(&mut self, class: Priority, entry: Settling) {
        let queue = &mut self.settling[class.index()];
        if queue.len() >= SETTLING_MAX {
            compact(queue);
        }
        queue.push_back(entry);
    }
}

/// Leaves the newest entry of each publisher, which stands for the others.
fn compact(queue: &mut VecDeque<Settling>) {
    let mut newest: HashMap<u32, u32> = HashMap::new();
    let mut kept = VecDeque::with_capacity(SETTLING_MAX);
    for entry in queue.drain(..).rev() {
        let earlier = newest.entry(entry.publisher).or_default();
        if *earlier == 0 {
            kept.push_front(entry);
        }
        *earlier += entry.count;
    }
    for entry in &mut kept {
        entry.count = newest.get(&entry.publisher).copied().unwrap_or(entry.count);
    }
    *queue = kept;
}

impl Shard {
    /// Whether the node is one of a cluster.
    pub(super) fn is_clustered(&self) -> bool {
        self.backbone.is_some()
    }

    /// The relay thread of a cluster.
    pub(super) fn relay(&self) -> Option<u16> {
        self.backbone.as_ref().map(|backbone| backbone.port.relay)
    }

    /// Whether there is an archive to be asked.
    pub(super) fn has_archive(&self) -> bool {
        let backbone = self.backbone.as_ref();
        backbone.is_some_and(|backbone| backbone.port.archive)
    }

    /// The thread that numbers a channel: in a cluster the relay thread for durable ones.
    pub(super) fn numberer_of(&self, channel: &str, durable: bool) -> u16 {
        match &self.backbone {
            Some(backbone) if durable => backbone.port.relay,
            _ => self.owner_of(channel),
        }
    }

    /// As [`Self::numberer_of`], for a name whose namespace has to be looked up.
    pub(super) fn numberer_named(&self, name: &ChannelName<'_>) -> u16 {
        let policy = self.shared.namespaces.lookup(name);
        self.numberer_of(name.as_str(), policy.is_some_and(|policy| policy.durable))
    }

    /// Whether this thread alone knows the positions of all channels.
    pub(super) fn knows_positions(&self) -> bool {
        self.shards == 1 && self.backbone.is_none()
    }

    /// Journals a publish of a client on a durable channel of the cluster.
    pub(super) fn accept_clustered(&mut self, checked: &Checked<'_>) -> Result<(), ErrorCode> {
        self.check_room(checked.decision.priority, checked.decision.level)?;
        let mut encoder = self.take_encoder();
        let frame = encoder.event(&self.event_fields(checked, &Default::default()));
        let record = self.record_ref(checked, None, frame);
        let appended = self.journal_clustered(&record);
        if let Ok(sequence) = appended {
            self.await_ack(checked, sequence, true);
        }
        self.encoder = Some(encoder);
        appended.map(drop)
    }

    /// Whether a publish that may have to wait for Kafka has room to.
    pub(super) fn check_room(
        &self,
        class: Priority,
        level: wire::AckLevel,
    ) -> Result<(), ErrorCode> {
        let backbone = self.backbone.as_ref();
        let waits = level == wire::AckLevel::Replicated;
        match backbone.is_none_or(|backbone| !waits || backbone.has_room(class)) {
            true => Ok(()),
            false => Err(ErrorCode::Overloaded),
        }
    }

    /// Journals a record that leaves for the relay thread once it is on the disk.
    pub(super) fn journal_clustered(
        &mut self,
        record: &RecordRef<'_>,
    ) -> Result<Sequence, ErrorCode> {
        let sequence = self.journal_append(record)?;
        let kind = Kind::of(record.class);
        if let Some(backbone) = &mut self.backbone {
            let at = LogPosition {
                boot: backbone.port.boot,
                shard: self.id,
                kind,
                sequence,
            };
            backbone.leaving.push(Box::new(LogRecord::of(record, at)));
        }
        Ok(sequence)
    }

    /// Sends the relay thread what has become durable, as far as the lane has room.
    pub(super) fn send_durable(&mut self) {
        let Some(backbone) = &mut self.backbone else {
            return;
        };
        let (relay, mesh) = (backbone.port.relay, &mut self.mesh);
        for kind in Kind::ALL {
            let durable = self.journal.journal.durable_through(kind);
            backbone.leaving.send(kind, durable, |ring, record| {
                match mesh.try_send(relay, ring, Message::Record(record)) {
                    Err(Message::Record(record)) => Err(record),
                    _ => Ok(()),
                }
            });
        }
    }

    /// The level that a publish can reach on this node.
    pub(super) fn reachable(&self, level: wire::AckLevel) -> wire::AckLevel {
        match level {
            wire::AckLevel::Accepted => level,
            wire::AckLevel::Replicated if self.is_clustered() => level,
            _ => wire::AckLevel::Local,
        }
    }

    /// A publish is on the disk of this node.
    pub(super) fn on_stored(&mut self, sequence: Sequence, pending: &PendingAck) {
        let Some(backbone) = &mut self.backbone else {
            return self.on_durable(pending);
        };
        let waits = pending.level == wire::AckLevel::Replicated.0;
        let degraded = backbone.log_away && backbone.port.critical == CriticalWithoutKafka::Local;
        let class = pending.class;
        if pending.publisher != NONE {
            backbone.settle_later(
                class,
                Settling {
                    sequence,
                    publisher: pending.publisher,
                    count: 1,
                    id: pending.id,
                },
            );
        }
        if waits && !degraded {
            backbone.withheld[class.index()].push_back((sequence, *pending));
        } else {
            self.give_ack(pending, waits);
        }
    }

    /// The relay thread has come further with the records of this shard. What Kafka has in one
    /// copy only is acknowledged as degraded.
    pub(super) fn on_progress(&mut self, progress: &Progress) {
        let class = progress.class.index();
        let replicated = self.backbone.as_ref().map(|it| it.replicated[class]);
        let degraded = replicated != Some(true);
        while let Some(pending) = self.next_fed(class, progress.fed) {
            self.give_ack(&pending, degraded);
        }
        while let Some(entry) = self.next_settled(class, progress.settled) {
            let publisher = &mut self.publishers[entry.publisher];
            publisher.settle_durable(progress.class, (entry.id, entry.count));
            if publisher.untold() >= SETTLED_UNTOLD_MAX {
                self.touch(entry.publisher);
            }
        }
        self.send_acks();
    }

    fn next_fed(&mut self, class: usize, fed: Sequence) -> Option<PendingAck> {
        let queue = &mut self.backbone.as_mut()?.withheld[class];
        let next = queue.pop_front_if(|entry| entry.0 <= fed)?;
        Some(next.1)
    }

    fn next_settled(&mut self, class: usize, settled: Sequence) -> Option<Settling> {
        let queue = &mut self.backbone.as_mut()?.settling[class];
        queue.pop_front_if(|entry| entry.sequence <= settled)
    }

    /// The relay thread has learnt which classes have two copies in Kafka.
    pub(super) fn on_replicated(&mut self, classes: [bool; Priority::COUNT]) {
        if let Some(backbone) = &mut self.backbone {
            backbone.replicated = classes;
        }
    }

    /// Kafka has gone away or come back.
    pub(super) fn on_log_away(&mut self, away: bool) {
        let Some(backbone) = &mut self.backbone else {
            return;
        };
        backbone.log_away = away;
        if !away || backbone.port.critical == CriticalWithoutKafka::Withhold {
            return;
        }
        for class in Priority::ALL {
            while let Some(pending) = self.next_fed(class.index(), Sequence(u64::MAX)) {
                self.give_ack(&pending, true);
            }
        }
        self.send_acks();
    }

    /// Lets the relay thread ask other nodes for the events of a channel that nobody stores.
    pub(super) fn watch_elsewhere(&mut self, channel: u32) {
        let Some(backbone) = &self.backbone else {
            return;
        };
        let entry = &mut self.channels[channel];
        if entry.flags & WATCHED == 0 {
            entry.flags |= WATCHED;
            let (relay, name) = (backbone.port.relay, entry.name.clone());
            self.mesh.tell_interest(relay, entry.priority, name, true);
        }
    }

    /// Nobody of this node wants the events of a channel any more.
    pub(super) fn unwatch_elsewhere(&mut self, channel: u32) {
        let entry = &mut self.channels[channel];
        let Some(backbone) = &self.backbone else {
            return;
        };
        if entry.flags & WATCHED != 0 {
            entry.flags &= !WATCHED;
            let (relay, name) = (backbone.port.relay, entry.name.clone());
            self.mesh.tell_interest(relay, entry.priority, name, false);
        }
    }

    /// Tells other nodes of an event that nobody stores; while the lane is full it is lost.
    pub(super) fn tell_elsewhere(&mut self, class: Priority, frame: &[u8]) {
        if let Some(backbone) = &self.backbone {
            let message = Message::Tell(frame.into());
            drop(self.mesh.try_send(backbone.port.relay, class, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sequence: u64, publisher: u32, id: u64) -> Settling {
        Settling {
            sequence: Sequence(sequence),
            publisher,
            count: 1,
            id,
        }
    }

    #[test]
    fn compaction_keeps_the_newest_id_of_each_publisher_and_counts_the_others() {
        let mut queue: VecDeque<_> = [
            entry(1, 7, 10),
            entry(2, 8, 1),
            entry(3, 7, 11),
            entry(4, 7, 12),
        ]
        .into();
        compact(&mut queue);
        let left: Vec<_> = queue
            .iter()
            .map(|entry| (entry.sequence.0, entry.publisher, entry.count, entry.id))
            .collect();
        assert_eq!(left, [(2, 8, 1, 1), (4, 7, 3, 12)]);
        queue.push_back(entry(5, 8, 2));
        compact(&mut queue);
        let left: Vec<_> = queue.iter().map(|entry| (entry.id, entry.count)).collect();
        assert_eq!(left, [(12, 3), (2, 2)]);
    }
}
