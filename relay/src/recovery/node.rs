//! What a start hands to the shards.

use interlink_protocol::ids::{InstanceId, Position, RecordId};
use interlink_protocol::priority::Priority;

use crate::backplane::Sequencer;
use crate::dedupe::{PublisherWindow, RecoveredKey};
use crate::record::{Placement, RecordRef};
use crate::recovery::{Damage, TornTail};

/// Everything that earlier boots left for the new one.
#[derive(Debug, Default)]
pub struct RecoveredNode {
    /// Earlier boots that still have files.
    pub boots: usize,
    /// The operating system has been started since the last boot of the node: what was
    /// written and not synced may be lost.
    pub system_restarted: bool,
    /// Damage was found that no start before has reported.
    pub degraded: bool,
    /// Epoch for channels that are new in this boot, and for those that do not continue.
    pub epoch: u64,
    /// Durable channels with retained events, by name.
    pub channels: Vec<RecoveredChannel>,
    /// Accepted ids of the last minutes.
    pub publishers: Vec<RecoveredPublisher>,
    /// Idempotency keys of services that were accepted lately, in no order.
    pub keys: Vec<RecoveredKey>,
    /// Accepted records without a position, in journal order. Their channels' owners place
    /// them and append them, placed, to their own journals; then
    /// [`crate::files::JournalFiles::release_recovered`] is called.
    pub unmarked: Vec<UnmarkedRecord>,
    /// Everything durable that is missing, old damage included.
    pub damage: Vec<Damage>,
    /// Ends that were cut.
    pub torn: Vec<TornTail>,
    /// Every record sealed before this time has a position.
    pub(crate) resolved_us: u64,
    /// Bytes read, and segments that had to be read because they had no index.
    pub read_bytes: u64,
    /// See `read_bytes`.
    pub read_segments: usize,
}

/// A channel as its owner takes it over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoveredChannel {
    /// Full name.
    pub name: Box<str>,
    /// Position of the newest event that survived.
    pub top: Position,
    /// Nothing after `top` can have been seen by anyone: the epoch goes on.
    pub continues: bool,
    /// The newest events, at most 256, in order and without holes up to `top`. May be
    /// empty; history has the rest.
    pub events: Vec<RecoveredEvent>,
}

impl RecoveredChannel {
    /// The numbering from here on; `epoch` is the node's new one.
    pub fn sequencer(&self, epoch: u64) -> Sequencer {
        if self.continues {
            Sequencer::resume(self.top)
        } else {
            Sequencer::resume_in(epoch, self.top)
        }
    }
}

/// An event out of the journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoveredEvent {
    /// Where it stands.
    pub placement: Placement,
    /// Its identity.
    pub record: RecordId,
    /// Class of the channel.
    pub class: Priority,
    /// When it was accepted, microseconds since the Unix epoch.
    pub accepted_at_us: u64,
    /// The encoded event, position included.
    pub frame: Box<[u8]>,
}

/// The accepted ids of one publisher instance.
#[derive(Debug)]
pub struct RecoveredPublisher {
    /// Shard that journaled them. Users live on other shards when the number of shards has
    /// changed; then every shard takes every window.
    pub shard: u16,
    /// The instance.
    pub instance: InstanceId,
    /// Its ids.
    pub window: PublisherWindow,
}

/// A record that no owner had placed when the node ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnmarkedRecord {
    /// Class of the channel.
    pub class: Priority,
    /// Its identity.
    pub record: RecordId,
    /// Publisher instance.
    pub instance: InstanceId,
    /// Its id there.
    pub client_message_id: u64,
    /// Hash of its payload.
    pub payload_hash: u64,
    /// When it was accepted, microseconds since the Unix epoch.
    pub accepted_at_us: u64,
    /// Full channel name.
    pub channel: Box<str>,
    /// The encoded event, without a position.
    pub frame: Box<[u8]>,
}

impl UnmarkedRecord {
    pub(crate) fn of(record: &RecordRef<'_>) -> Self {
        Self {
            class: record.class,
            record: record.record,
            instance: record.instance,
            client_message_id: record.client_message_id,
            payload_hash: record.payload_hash,
            accepted_at_us: record.accepted_at_us,
            channel: record.channel.into(),
            frame: record.frame.into(),
        }
    }

    /// The record for the owner's journal; `frame` has the position patched in.
    pub fn placed<'a>(&'a self, placement: Placement, frame: &'a [u8]) -> RecordRef<'a> {
        RecordRef {
            class: self.class,
            record: self.record,
            instance: self.instance,
            client_message_id: self.client_message_id,
            payload_hash: self.payload_hash,
            accepted_at_us: self.accepted_at_us,
            channel: &self.channel,
            placement: Some(placement),
            frame,
        }
    }
}
