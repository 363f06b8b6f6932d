//! The part of a home shard: handing changes to the subscriptions that want them.
//!
//! Purpose: one interest for each channel goes to its owner, whatever number of subscriptions
//! wants changes; what comes back is handed to their connections, some in each turn. The first
//! thing that a subscription hears, also after it was away, is the count.
//!
//! Invariants: a change is never told behind a gap: who could not be told one is owed the count,
//! which says that pages have to be read.
//! Limits: [`QUEUED_MAX`] changes of a channel wait for their turn, then the last of them becomes
//! the count; a subscription is charged [`WATCHER_BYTES`].
//!
//! Thread: the shard.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use interlink_protocol::channel::ChannelName;
use interlink_protocol::ErrorCode;

use super::limits::{
    CHANGES_PER_TURN, CHANGE_BYTES_PER_TURN, CHANGE_WAITING_BYTES_MAX, CHANNEL_BYTES,
    OWED_RETRY_MS, WATCHER_BYTES, WATCH_RETRY_MS,
};
use super::messages::PresenceMessage;
use crate::shard::connection::NONE;
use crate::shard::Shard;

/// Changes of a channel that wait: one leaves, one has come, and some for a busy shard.
const QUEUED_MAX: usize = 4;

/// A channel with subscriptions that want changes.
#[derive(Debug, Default)]
struct Watchers {
    subscriptions: BTreeSet<u32>,
    /// Users, as the owner told last; none before it did and while it has no room.
    count: Option<u32>,
    queued: usize,
}

/// A change on its way to the subscriptions of a channel.
#[derive(Debug)]
struct Passing {
    channel: u32,
    scope: Arc<str>,
    /// The encoded change; none is the count as it is then.
    frame: Option<Arc<[u8]>>,
    /// Subscription with which it goes on.
    next: u32,
}

/// The channels whose changes are wanted here.
#[derive(Debug, Default)]
pub(super) struct Watched {
    channels: HashMap<u32, Watchers>,
    subscriptions: usize,
    passing: VecDeque<Passing>,
    /// Subscriptions that are told the count in this turn or the next ones.
    owed: BTreeSet<u32>,
    /// Those whose connections did not read; tried again at `retry_owed_ms`.
    unpaid: BTreeSet<u32>,
    retry_owed_ms: Option<u32>,
    /// When scopes without room are watched again.
    retry_watch_ms: Option<u32>,
}

impl Watched {
    pub(super) fn has_work(&self) -> bool {
        !self.passing.is_empty() || !self.owed.is_empty()
    }

    pub(super) fn next_due_ms(&self) -> Option<u32> {
        let due = [self.retry_owed_ms, self.retry_watch_ms];
        due.into_iter().flatten().min()
    }

    pub(super) fn bytes(&self) -> usize {
        self.channels.len() * CHANNEL_BYTES + self.subscriptions * WATCHER_BYTES
    }
}

impl Shard {
    /// Whether a subscription to this channel may want changes.
    pub(in crate::shard) fn check_watching(&self, name: &ChannelName<'_>) -> Result<(), ErrorCode> {
        let policy = self.shared.namespaces.lookup(name);
        if !policy.ok_or(ErrorCode::NamespaceUnknown)?.presence {
            return Err(ErrorCode::PresenceUnavailable);
        }
        match self.presence.has_room(CHANNEL_BYTES + WATCHER_BYTES) {
            true => Ok(()),
            false => Err(ErrorCode::Overloaded),
        }
    }

    /// A subscription wants changes.
    pub(in crate::shard) fn start_watching(&mut self, subscription: u32) {
        let channel = self.subscriptions[subscription].channel;
        let watched = &mut self.presence.watched;
        let watchers = watched.channels.entry(channel).or_default();
        watched.subscriptions += usize::from(watchers.subscriptions.insert(subscription));
        if watchers.subscriptions.len() == 1 {
            self.watch_at_owner(channel);
        } else {
            watched.owed.insert(subscription);
        }
    }

    /// A subscription is about to end, which may have wanted changes.
    pub(in crate::shard) fn stop_watching(&mut self, subscription: u32) {
        let channel = self.subscriptions[subscription].channel;
        let watched = &mut self.presence.watched;
        let Some(watchers) = watched.channels.get_mut(&channel) else {
            return;
        };
        if !watchers.subscriptions.remove(&subscription) {
            return;
        }
        watched.subscriptions -= 1;
        watched.owed.remove(&subscription);
        watched.unpaid.remove(&subscription);
        if watchers.subscriptions.is_empty() {
            watched.channels.remove(&channel);
            let scope = self.channels[channel].name.clone();
            let (owner, shard) = (self.owner_of(&scope), self.id);
            self.send_presence(owner, PresenceMessage::Unwatch { shard, scope });
        }
    }

    /// A subscription that may want changes has not heard of any for a while.
    pub(in crate::shard) fn owe_count(&mut self, subscription: u32) {
        let channel = self.subscriptions[subscription].channel;
        let watched = &mut self.presence.watched;
        let watchers = watched.channels.get(&channel);
        if watchers.is_some_and(|watchers| watchers.subscriptions.contains(&subscription)) {
            watched.owed.insert(subscription);
        }
    }

    fn watch_at_owner(&mut self, channel: u32) {
        let scope = self.channels[channel].name.clone();
        let (owner, shard) = (self.owner_of(&scope), self.id);
        self.send_presence(owner, PresenceMessage::Watch { shard, scope });
    }

    /// The owner has something for the subscriptions of a channel.
    pub(super) fn on_changed(&mut self, scope: &Arc<str>, count: u32, frame: Arc<[u8]>) {
        let Some(channel) = self.find_channel(scope) else {
            return;
        };
        let watched = &mut self.presence.watched;
        let Some(watchers) = watched.channels.get_mut(&channel) else {
            return;
        };
        watchers.count = Some(count);
        if watchers.queued >= QUEUED_MAX {
            let mut waiting = watched.passing.iter_mut().rev();
            if let Some(last) = waiting.find(|passing| passing.channel == channel) {
                (last.frame, last.next) = (None, 0);
            }
            return;
        }
        watchers.queued += 1;
        watched.passing.push_back(Passing {
            channel,
            scope: Arc::clone(scope),
            frame: Some(frame),
            next: 0,
        });
    }

    /// The owner has no room for a scope.
    pub(super) fn on_dropped(&mut self, scope: &str) {
        let Some(channel) = self.find_channel(scope) else {
            return;
        };
        let watched = &mut self.presence.watched;
        if let Some(watchers) = watched.channels.get_mut(&channel) {
            watchers.count = None;
            let again_ms = self.clock.now_ms + WATCH_RETRY_MS;
            watched.retry_watch_ms.get_or_insert(again_ms);
        }
    }

    /// Hands changes and counts to connections, as many as a turn may.
    pub(super) fn tell_watchers(&mut self) {
        self.retry_watching();
        let (mut left, mut bytes) = (CHANGES_PER_TURN, 0);
        self.pay_counts(&mut left);
        while left > 0 && bytes < CHANGE_BYTES_PER_TURN {
            let Some((frame, subscriptions)) = self.next_of_pass(left) else {
                return;
            };
            left -= subscriptions.len();
            bytes += subscriptions.len() * frame.len();
            for subscription in subscriptions {
                self.tell_watcher(subscription, &frame);
            }
        }
    }

    fn retry_watching(&mut self) {
        let now_ms = self.clock.now_ms;
        let watched = &mut self.presence.watched;
        if watched.retry_owed_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            watched.retry_owed_ms = None;
            let mut unpaid = std::mem::take(&mut watched.unpaid);
            watched.owed.append(&mut unpaid);
        }
        if watched.retry_watch_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            watched.retry_watch_ms = None;
            let channels = watched.channels.iter();
            let unknown: Vec<u32> = channels
                .filter(|(_, watchers)| watchers.count.is_none())
                .map(|(channel, _)| *channel)
                .collect();
            unknown
                .into_iter()
                .for_each(|channel| self.watch_at_owner(channel));
        }
    }

    /// The next subscriptions of the pass under way, and what they are told.
    fn next_of_pass(&mut self, most: usize) -> Option<(Arc<[u8]>, Vec<u32>)> {
        loop {
            let watched = &mut self.presence.watched;
            let passing = watched.passing.front_mut()?;
            let channel = passing.channel;
            // The index may be another channel's by now.
            let entry = self.channels.get(channel);
            let same = entry.is_some_and(|entry| *entry.name == *passing.scope);
            let watchers = watched.channels.get_mut(&channel).filter(|_| same);
            let Some(watchers) = watchers else {
                watched.passing.pop_front();
                continue;
            };
            let bytes = passing.frame.as_ref().map_or(1, |frame| frame.len());
            let most = most.min(CHANGE_BYTES_PER_TURN.div_ceil(bytes));
            let behind = watchers.subscriptions.range(passing.next..);
            let subscriptions: Vec<u32> = behind.take(most).copied().collect();
            let Some(last) = subscriptions.last() else {
                watchers.queued = watchers.queued.saturating_sub(1);
                watched.passing.pop_front();
                continue;
            };
            passing.next = last + 1;
            let count = watchers.count.unwrap_or_default();
            let (frame, scope) = (passing.frame.clone(), Arc::clone(&passing.scope));
            let frame = frame.unwrap_or_else(|| self.encode_count(&scope, count));
            return Some((frame, subscriptions));
        }
    }

    pub(super) fn encode_count(&mut self, scope: &str, count: u32) -> Arc<[u8]> {
        let mut encoder = self.take_encoder();
        let frame = encoder.presence_change(scope, &[], &[], count).into();
        self.encoder = Some(encoder);
        frame
    }

    /// Tells the count to those who are owed it.
    fn pay_counts(&mut self, left: &mut usize) {
        while *left > 0 {
            let Some(subscription) = self.presence.watched.owed.pop_first() else {
                return;
            };
            *left -= 1;
            let channel = self.subscriptions[subscription].channel;
            let watchers = self.presence.watched.channels.get(&channel);
            // Without a count its time comes with the owner's first word.
            if let Some(count) = watchers.and_then(|watchers| watchers.count) {
                let name = self.channels[channel].name.clone();
                let frame = self.encode_count(&name, count);
                self.tell_watcher(subscription, &frame);
            }
        }
    }

    fn tell_watcher(&mut self, subscription: u32, frame: &[u8]) {
        let connection = self.subscriptions[subscription].connection;
        if connection == NONE {
            // It is told the count when it is back.
            return;
        }
        let queue = self.connections[connection].queue;
        let waiting = self.queues.waiting(queue).len();
        if waiting > CHANGE_WAITING_BYTES_MAX || self.queues.are_filling() {
            let again_ms = self.clock.now_ms + OWED_RETRY_MS;
            let watched = &mut self.presence.watched;
            watched.unpaid.insert(subscription);
            watched.retry_owed_ms.get_or_insert(again_ms);
            self.counters.presence_delayed += 1;
            return;
        }
        self.counters.presence_told += 1;
        self.queue_frame(connection, frame);
    }
}
