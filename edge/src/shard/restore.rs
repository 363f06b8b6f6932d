//! What a shard takes over from earlier boots of its node.
//!
//! Purpose: channels go on where they stood, with their recent events in memory so
//! that clients that come back continue without reading the disk; ids that were
//! accepted are known; records that nobody had numbered are numbered now, in their
//! order, before anything new; devices continue at their cursors.
//!
//! Invariant: earlier boots are kept on disk until everything taken over is durable
//! in this one, so a second crash in between loses nothing.
//!
//! Thread: the shard, before its first turn, except [`Shard::take_over_unmarked`].

use interlink_protocol::channel::ChannelName;
use interlink_protocol::frame::event::patch_position;
use interlink_protocol::priority::Priority;
use interlink_relay::dedupe::{ClassWindow, PublisherWindow, Verdict};
use interlink_relay::record::Kind;
use interlink_relay::recovery::{RecoveredChannel, UnmarkedRecord};

use super::files::FilesRequest;
use super::Shard;
use crate::files_thread::Recovered;

/// Records of earlier boots that wait to be numbered.
#[derive(Debug, Default)]
pub struct TakeOver {
    /// In journal order; taken from the end.
    unmarked: Vec<UnmarkedRecord>,
    told: bool,
}

impl Shard {
    /// Fills the tables from what was recovered.
    pub(super) fn restored(mut self, recovered: Recovered) -> Self {
        // In a cluster positions come from the backbone, and the relay thread goes on with the
        // records of earlier boots.
        let alone = !self.is_clustered();
        for channel in recovered.channels.iter().filter(|_| alone) {
            self.restore_channel(channel);
        }
        let now_s = self.clock.unix_s() as u32;
        for publisher in recovered.publishers {
            let known = self.recovered_windows.entry(publisher.instance);
            // Records that an earlier start numbered stand in the journal of the channel's
            // owner too, so that an instance has a window from each of the two shards.
            merge(known.or_default(), &publisher.window, now_s);
        }
        self.service.restore(&recovered.keys, now_s);
        for cursor in &recovered.cursors {
            self.cursors.restore(cursor);
        }
        if alone {
            self.take_over.unmarked = recovered.unmarked;
            self.take_over.unmarked.reverse();
        }
        self
    }

    fn restore_channel(&mut self, recovered: &RecoveredChannel) {
        let Ok(name) = ChannelName::parse(&recovered.name) else {
            return;
        };
        // A namespace that is no longer configured keeps its events on disk.
        let Ok(channel) = self.channel_named(&name) else {
            return;
        };
        self.channels[channel].sequencer = recovered.sequencer(self.shared.epoch);
        let mut end = 0;
        for event in &recovered.events {
            end = self.keep_event(channel, &event.placement, &event.frame);
        }
        if !recovered.events.is_empty() {
            self.make_visible(channel, end, self.clock.now_us());
        }
    }

    /// Numbers records of earlier boots, as far as the journal takes them, and tells the files
    /// thread once all of them are durable.
    pub(super) fn take_over_unmarked(&mut self) {
        if self.take_over.told {
            return;
        }
        while let Some(record) = self.take_over.unmarked.pop() {
            if !self.number_unmarked(&record) {
                self.take_over.unmarked.push(record);
                return;
            }
        }
        if self.journal.journal.is_idle() {
            self.take_over.told = true;
            self.files.request(FilesRequest::TookOver);
        }
    }

    /// Whether intake may begin: everything older has its number.
    pub(super) fn has_taken_over(&self) -> bool {
        self.take_over.unmarked.is_empty()
    }

    fn number_unmarked(&mut self, record: &UnmarkedRecord) -> bool {
        let Ok(name) = ChannelName::parse(&record.channel) else {
            return true;
        };
        let Ok(channel) = self.channel_named(&name) else {
            return true;
        };
        let next = self.channels[channel].sequencer.next(record.record);
        let mut frame = record.frame.to_vec();
        if patch_position(&mut frame, next.position, next.previous_chain).is_err() {
            return true;
        }
        let placed = record.placed(next, &frame);
        let Ok(sequence) = self.journal.journal.append(&placed, self.clock.unix_us) else {
            return false;
        };
        debug_assert_eq!(
            Kind::of(record.class),
            Kind::of(self.channels[channel].priority)
        );
        self.channels[channel].sequencer.commit(&next);
        let end = self.keep_event(channel, &next, &frame);
        self.journal
            .await_visible(record.class, sequence, channel, (end, self.clock.now_us()));
        true
    }
}

/// Adds the ids of `other` to `window`.
fn merge(window: &mut PublisherWindow, other: &PublisherWindow, now_s: u32) {
    for class in Priority::ALL {
        let ids = other.class(class).into_iter().flat_map(ClassWindow::iter);
        for (id, fingerprint) in ids {
            // A fingerprint is its own hash.
            let hash = u64::from(fingerprint);
            if window.look_up(class, id, hash) == Verdict::New {
                window.insert(class, id, hash, now_s);
            }
        }
    }
}
