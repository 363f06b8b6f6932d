//! Subscribed channels: what they hear, what they want read, and what the caller is told.

use interlink_protocol::ids::Position;

use super::Core;
use crate::backplane::{partition_of, BackplaneAnswer, BackplaneError, BackplaneEvent};
use crate::ports::Ticket;
use crate::redis::connect::Subscription;
use crate::redis::functions::{read_range, Recent};
use crate::redis::limits::{RANGE_BYTES, RANGE_EVENTS, RECENT_CHANNELS};
use crate::redis::message::Message;
use crate::redis::outcome::Outcome;
use crate::redis::range::Range;
use crate::redis::watch::{Act, Watch};

/// A subscribed channel.
#[derive(Debug)]
pub struct Channel {
    partition: u16,
    watch: Watch,
    /// Who waits for the subscription.
    waiting: Vec<Ticket>,
}

impl Channel {
    /// The newest delivered position.
    pub fn top(&self) -> Option<Position> {
        self.watch.top()
    }
}

impl Core {
    pub(super) fn subscribe(&mut self, ticket: Ticket, name: Box<str>) {
        let partition = partition_of(&name, self.config.partitions);
        if let Some(channel) = self.channels.get_mut(&name) {
            match channel.watch.top() {
                Some(top) => self.answer(ticket, Ok(BackplaneAnswer::Subscribed(top))),
                None => channel.waiting.push(ticket),
            }
            return;
        }
        let Some(up) = self.owner(partition).and_then(|link| link.up.as_ref()) else {
            return self.answer(ticket, Err(BackplaneError::Away));
        };
        // A closed way means that the link is replaced, and the channel fails with it.
        let _ = up
            .subscriptions
            .send(Subscription::Watch(vec![(partition, name.clone())]));
        let channel = Channel {
            partition,
            watch: Watch::default(),
            waiting: vec![ticket],
        };
        self.channels.insert(name, channel);
        self.heard[usize::from(partition)] += 1;
    }

    /// Takes a channel out; nobody waits for it any more.
    fn remove(&mut self, name: &str) -> Option<Channel> {
        let channel = self.channels.remove(name)?;
        self.heard[usize::from(channel.partition)] -= 1;
        for waiting in &channel.waiting {
            self.answer(*waiting, Err(BackplaneError::Away));
        }
        Some(channel)
    }

    pub(super) fn unsubscribe(&mut self, ticket: Ticket, name: Box<str>) {
        if let Some(channel) = self.remove(&name) {
            let partition = channel.partition;
            if let Some(up) = self.owner(partition).and_then(|link| link.up.as_ref()) {
                let _ = up.subscriptions.send(Subscription::Forget(partition, name));
            }
        }
        self.answer(ticket, Ok(BackplaneAnswer::Unsubscribed));
    }

    /// Names of the channels of some partitions.
    fn channels_of(&self, partitions: &[u16]) -> Vec<(u16, Box<str>)> {
        let channels = self.channels.iter();
        channels
            .filter(|(_, channel)| partitions.binary_search(&channel.partition).is_ok())
            .map(|(name, channel)| (channel.partition, name.clone()))
            .collect()
    }

    /// Their server is gone: what waits for it fails, the rest is checked when it is back.
    pub(super) fn leave_partitions(&mut self, partitions: &[u16]) {
        for (partition, name) in self.channels_of(partitions) {
            let Some(channel) = self.channels.get_mut(&name) else {
                continue;
            };
            if channel.watch.top().is_some() {
                channel.watch.on_read_failed();
            } else {
                self.remove(&name);
            }
            if let Some(up) = self.owner(partition).and_then(|link| link.up.as_ref()) {
                let _ = up.subscriptions.send(Subscription::Forget(partition, name));
            }
        }
    }

    /// Hears channels at the present server of their partitions, and compares their tops.
    pub(super) fn hear_partitions(&mut self, partitions: &[u16]) {
        self.send_by_link(partitions, Subscription::Watch);
    }

    /// Compares the tops of channels after messages were dropped.
    pub(super) fn check_partitions(&mut self, partitions: &[u16]) {
        self.send_by_link(partitions, Subscription::Check);
    }

    fn send_by_link(&mut self, partitions: &[u16], what: fn(Vec<(u16, Box<str>)>) -> Subscription) {
        let mut channels = self.channels_of(partitions);
        channels.sort_unstable();
        let owner = |partition: u16| self.owners[usize::from(partition)];
        for group in channels.chunk_by(|one, other| owner(one.0) == owner(other.0)) {
            if let Some(up) = self.owner(group[0].0).and_then(|link| link.up.as_ref()) {
                let _ = up.subscriptions.send(what(group.to_vec()));
            }
        }
    }

    /// Takes tops that a link's subscriber has read.
    pub(super) fn on_tops(&mut self, link: u64, tops: Vec<(Box<str>, Position)>) {
        for (name, top) in tops {
            let partition = partition_of(&name, self.config.partitions);
            if self.owners[usize::from(partition)] != Some(link) {
                continue;
            }
            let Some(channel) = self.channels.get_mut(&name) else {
                continue;
            };
            let mut acts = Vec::new();
            if channel.watch.top().is_some() {
                channel.watch.check(top, &mut acts);
            } else {
                for ticket in std::mem::take(&mut channel.waiting) {
                    let answer = Ok(BackplaneAnswer::Subscribed(top));
                    self.out.push_back(BackplaneEvent::Answer(ticket, answer));
                }
                channel.watch.open(top, &mut acts);
            }
            self.act(&name, acts);
        }
    }

    /// Takes a message of a channel.
    pub(super) fn on_message(&mut self, name: Box<str>, payload: &[u8]) {
        let Some(channel) = self.channels.get_mut(&name) else {
            return;
        };
        let mut acts = Vec::new();
        match Message::read(payload) {
            Some(Message::Events(events)) => {
                for event in events {
                    channel.watch.on_event(event, &mut acts);
                }
            }
            Some(Message::Told { origin, frame }) => {
                if origin != self.node {
                    let channel = name.clone();
                    self.out.push_back(BackplaneEvent::Told { channel, frame });
                }
            }
            Some(Message::Probe) => {}
            None => tracing::warn!(channel = %name, "a message of Redis has no known form"),
        }
        self.act(&name, acts);
    }

    /// Takes what was read of a channel's stream.
    pub(super) fn on_ranged(&mut self, link: u64, name: Box<str>, range: Option<Range>) {
        let partition = partition_of(&name, self.config.partitions);
        if self.owners[usize::from(partition)] != Some(link) {
            return;
        }
        let Some(channel) = self.channels.get_mut(&name) else {
            return;
        };
        let mut acts = Vec::new();
        match range {
            Some(range) => channel.watch.on_range(range, &mut acts),
            None => channel.watch.on_read_failed(),
        }
        self.act(&name, acts);
    }

    /// Takes recently changed tops of partitions.
    ///
    /// A partition that has another epoch than the one in which this node placed last has lost
    /// that: its keys were removed, which no server tells as a lineage of its own.
    pub(super) fn on_recent(&mut self, link: u64, found: Vec<(u16, u64, Recent)>) {
        let mut changed = Vec::new();
        for (partition, known, recent) in found {
            let at = usize::from(partition);
            if self.owners[at] != Some(link) {
                continue;
            }
            self.highest_epoch = self.highest_epoch.max(recent.epoch);
            if known != 0 && self.placed_in[at] == known && recent.epoch != known {
                changed.push(partition);
            }
            // A page that is full of one millisecond would come again for ever.
            let is_stuck =
                recent.tops.len() >= RECENT_CHANNELS && recent.next_from == self.recent_from[at];
            self.recent_from[at] = match recent.next_from.parse::<u64>() {
                Ok(from) if is_stuck => (from + 1).to_string(),
                _ => recent.next_from,
            };
            for (name, top) in recent.tops {
                let Some(channel) = self.channels.get_mut(&name) else {
                    continue;
                };
                if channel.watch.on_top(top) {
                    self.suspects.push(name);
                }
            }
        }
        if !changed.is_empty() {
            tracing::warn!(partitions = changed.len(), "Redis has lost what it had");
        }
        self.tell_changed(changed);
    }

    /// Reads the channels whose server is still ahead.
    pub(super) fn confirm_suspects(&mut self) {
        for name in std::mem::take(&mut self.suspects) {
            let mut acts = Vec::new();
            if let Some(channel) = self.channels.get_mut(&name) {
                channel.watch.confirm(&mut acts);
            }
            self.act(&name, acts);
        }
    }

    /// Does what a channel wants.
    fn act(&mut self, name: &str, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Deliver(event) => self.out.push_back(BackplaneEvent::Message {
                    channel: name.into(),
                    placement: event.placement,
                    frame: event.frame,
                }),
                Act::Skip {
                    position,
                    skipped,
                    reason,
                } => self.out.push_back(BackplaneEvent::Skipped {
                    channel: name.into(),
                    position,
                    skipped,
                    reason,
                }),
                Act::Read { from } => self.read(name, from),
            }
        }
    }

    fn read(&mut self, name: &str, from: u64) {
        let partition = partition_of(name, self.config.partitions);
        let owner = self.owners[usize::from(partition)];
        let link = owner.and_then(|id| Some((id, self.links.get(&id)?.up.as_ref()?)));
        let Some((link, up)) = link else {
            if let Some(channel) = self.channels.get_mut(name) {
                channel.watch.on_read_failed();
            }
            return;
        };
        let command = self
            .functions
            .range(partition, name, from, RANGE_EVENTS, RANGE_BYTES);
        let mut connection = up.bulk.clone();
        let channel: Box<str> = name.into();
        self.spawn(async move {
            let reply = command.query_async(&mut connection).await;
            Outcome::Ranged {
                link,
                channel,
                result: reply.map(|reply| read_range(&reply)),
            }
        });
    }
}
