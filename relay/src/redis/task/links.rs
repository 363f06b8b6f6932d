//! Links: one for each server that has partitions, made again whenever anything is wrong.
//!
//! A link that fails is replaced as a whole, under a new number, so that late reports of the old
//! one are recognised. Calls that it has under way come to their end by themselves.

use std::collections::BTreeSet;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Core;
use crate::backplane::{BackplaneEvent, Standing};
use crate::redis::config::Address;
use crate::redis::connect::{connect, ConnectError, Connections, Subscriber, Subscription};
use crate::redis::directory::{locate, Directory};
use crate::redis::fault::Fault;
use crate::redis::functions::read_recent;
use crate::redis::gate::Gate;
use crate::redis::limits::{
    AWAY_AFTER, LOOK_UP, POLL, PROBE, PROBE_SILENCE, RECENT_CHANNELS, TICK,
};
use crate::redis::lineage::Lineage;
use crate::redis::message::probe;
use crate::redis::outcome::Outcome;
use crate::redis::Mode;

/// One server.
#[derive(Debug)]
pub struct Link {
    address: Address,
    gate: Arc<Gate>,
    /// When a connection is tried next; `None` while one is.
    retry_at: Option<Instant>,
    pub up: Option<Up>,
}

/// A server that is connected.
#[derive(Debug)]
pub struct Up {
    pub bulk: MultiplexedConnection,
    pub urgent: MultiplexedConnection,
    pub lineage: Lineage,
    pub subscriptions: mpsc::UnboundedSender<Subscription>,
    /// Whether it takes writes, as far as is known.
    pub takes_writes: bool,
    probed_at: Instant,
    polled_at: Instant,
    /// Whether a poll does not wait for its time.
    is_due: bool,
    is_polling: bool,
    is_probing: bool,
    /// Probes heard at the last look, and since when one was sent that was not.
    heard: u64,
    silent_since: Option<Instant>,
}

impl Core {
    /// Looks at everything that has a time.
    pub(super) fn on_tick(&mut self) {
        let now = Instant::now();
        // A process that stood still has not listened: what was said meanwhile is heard first.
        if now - self.ticked_at > 4 * TICK {
            let ups = self.links.values_mut().filter_map(|link| link.up.as_mut());
            for up in ups {
                up.silent_since = None;
            }
        }
        self.ticked_at = now;
        let is_whole = self.links.values().all(|link| link.up.is_some());
        let is_due = match self.located_at {
            None => true,
            Some(at) => now - at >= if is_whole { LOOK_UP } else { TICK },
        };
        if is_due && !self.is_locating {
            self.look_up(now);
        }
        let ids: Vec<u64> = self.links.keys().copied().collect();
        for id in ids {
            self.look_at(id, now);
        }
        self.update_standing();
    }

    fn look_up(&mut self, now: Instant) {
        let is_known = self.config.mode == Mode::Single && self.located_at.is_some();
        if is_known {
            return;
        }
        self.is_locating = true;
        self.located_at = Some(now);
        let mut asked: BTreeSet<Address> = self.addresses.iter().cloned().collect();
        if self.config.mode == Mode::Cluster {
            asked.extend(self.links.values().map(|link| link.address.clone()));
        }
        let config = Arc::clone(&self.config);
        self.spawn(
            async move { Outcome::Located(locate(config, asked.into_iter().collect()).await) },
        );
    }

    /// Takes who has which partition now.
    pub(super) fn on_located(&mut self, directory: Option<Directory>) {
        self.is_locating = false;
        let Some(directory) = directory else { return };
        let mut ids = Vec::new();
        for address in &directory.servers {
            let known = self.links.iter().find(|(_, link)| link.address == *address);
            let id = known.map(|(id, _)| *id);
            ids.push(id.unwrap_or_else(|| self.add_link(address.clone())));
        }
        let owners = directory.owners.iter().map(|owner| owner.map(|at| ids[at]));
        let owners: Vec<Option<u64>> = owners.collect();
        let moved: Vec<u16> = (0..self.config.partitions)
            .filter(|partition| {
                let at = usize::from(*partition);
                self.owners[at] != owners[at]
            })
            .collect();
        if !moved.is_empty() {
            self.leave_partitions(&moved);
            self.owners = owners;
            let gone: Vec<u64> = self.links.keys().copied().collect();
            for id in gone.into_iter().filter(|id| !ids.contains(id)) {
                self.links.remove(&id);
            }
            self.enter_partitions(&moved);
        }
        // A new link that owned nothing yet could not be named for its probes.
        let now = Instant::now();
        for id in ids {
            self.look_at(id, now);
        }
        self.update_standing();
    }

    fn add_link(&mut self, address: Address) -> u64 {
        let id = self.next_link;
        self.next_link += 1;
        let gate = Gate::new(
            id,
            String::new(),
            self.pushes.0.clone(),
            Arc::clone(&self.push_bytes),
        );
        let link = Link {
            address,
            gate: Arc::new(gate),
            retry_at: Some(Instant::now()),
            up: None,
        };
        self.links.insert(id, link);
        id
    }

    /// The first partition of a link: where its probes go.
    fn first_partition(&self, id: u64) -> Option<u16> {
        let first = self.owners.iter().position(|owner| *owner == Some(id))?;
        u16::try_from(first).ok()
    }

    /// Partitions of a link.
    pub(super) fn partitions_of(&self, id: u64) -> Vec<u16> {
        (0..self.config.partitions)
            .filter(|partition| self.owners[usize::from(*partition)] == Some(id))
            .collect()
    }

    fn look_at(&mut self, id: u64, now: Instant) {
        let first = self.first_partition(id);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let Some(up) = &mut link.up else {
            if link.retry_at.is_some_and(|at| at <= now) {
                if let Some(partition) = first {
                    self.start_connecting(id, partition);
                }
            }
            return;
        };
        if link.gate.has_ended() {
            return self.reset(id);
        }
        let heard = link.gate.probes();
        if heard != up.heard {
            up.heard = heard;
            up.silent_since = None;
        }
        if up
            .silent_since
            .is_some_and(|since| now - since >= PROBE_SILENCE)
        {
            tracing::warn!(server = %link.address, "its subscriber hears nothing: replaced");
            return self.reset(id);
        }
        let pause = if up.takes_writes { PROBE } else { TICK };
        let probes = !up.is_probing && now - up.probed_at >= pause;
        let polls = !up.is_polling && (up.is_due || now - up.polled_at >= POLL);
        let checks = link.gate.take_dropped();
        if checks {
            tracing::warn!(server = %link.address, "messages came too fast: channels are read");
            let partitions = self.partitions_of(id);
            self.check_partitions(&partitions);
        }
        if probes {
            self.send_probe(id, now);
        }
        if polls {
            self.confirm_suspects();
            self.read_recent(id, now);
        }
    }

    fn start_connecting(&mut self, id: u64, partition: u16) {
        let probe = self.functions.probe_channel(partition, self.node, id);
        let gate = Arc::new(Gate::new(
            id,
            probe,
            self.pushes.0.clone(),
            Arc::clone(&self.push_bytes),
        ));
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.gate = Arc::clone(&gate);
        link.retry_at = None;
        let (config, functions) = (Arc::clone(&self.config), Arc::clone(&self.functions));
        let address = link.address.clone();
        self.spawn(async move {
            let result = connect(&config, &functions, &address, gate).await;
            Outcome::Connected {
                link: id,
                result: result.map(Box::new),
            }
        });
    }

    /// Takes the connections of a link.
    pub(super) fn on_connected(&mut self, id: u64, result: Result<Box<Connections>, ConnectError>) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let connections = match result {
            Ok(connections) => *connections,
            Err(error) => {
                tracing::info!(server = %link.address, %error, "Redis is not used");
                link.retry_at = Some(Instant::now() + TICK);
                return;
            }
        };
        let lineage = connections.lineage;
        tracing::info!(server = %link.address, ?lineage, "Redis is connected");
        let (work, queue) = mpsc::unbounded_channel();
        let subscriber = Subscriber {
            link: id,
            bulk: connections.bulk.clone(),
            events: connections.events,
            functions: Arc::clone(&self.functions),
            outcomes: self.outcomes.0.clone(),
            sharded: self.config.mode == Mode::Cluster,
        };
        tokio::spawn(subscriber.run(link.gate.probe_channel().to_owned(), queue));
        let now = Instant::now();
        link.up = Some(Up {
            bulk: connections.bulk,
            urgent: connections.urgent,
            lineage: connections.lineage,
            subscriptions: work,
            takes_writes: true,
            probed_at: now,
            polled_at: now,
            is_due: false,
            is_polling: false,
            is_probing: false,
            heard: 0,
            silent_since: None,
        });
        let partitions = self.partitions_of(id);
        self.enter_partitions(&partitions);
        self.update_standing();
    }

    /// Hears the channels of partitions whose link is up, and says whose lineage has changed.
    fn enter_partitions(&mut self, partitions: &[u16]) {
        let mut changed = Vec::new();
        for partition in partitions {
            let at = usize::from(*partition);
            let Some(up) = self.owner(*partition).and_then(|link| link.up.as_ref()) else {
                continue;
            };
            let lineage = up.lineage;
            let before = self.lineages[at].replace(lineage);
            self.recent_from[at] = "0".into();
            if before.is_some_and(|before| before != lineage) {
                changed.push(*partition);
            }
        }
        self.tell_changed(changed);
        self.remember();
        self.hear_partitions(partitions);
    }

    /// Says which partitions may have lost what was placed last: all that are known at once, so
    /// that the caller goes back once.
    pub(super) fn tell_changed(&mut self, changed: Vec<u16>) {
        if changed.is_empty() {
            return;
        }
        self.changes += 1;
        for partition in &changed {
            let at = usize::from(*partition);
            self.changed[at] = self.changes;
            self.placed_in[at] = 0;
            // What comes is read from its beginning: times of an emptied server may be gone.
            self.recent_from[at] = "0".into();
        }
        let partitions = changed.into();
        self.remember();
        self.out
            .push_back(BackplaneEvent::LineageChanged { partitions });
    }

    /// Replaces a link.
    pub(super) fn reset(&mut self, id: u64) {
        let Some(link) = self.links.remove(&id) else {
            return;
        };
        let partitions = self.partitions_of(id);
        self.leave_partitions(&partitions);
        let was_up = link.up.is_some();
        let new = self.add_link(link.address);
        if let Some(link) = self.links.get_mut(&new).filter(|_| !was_up) {
            link.retry_at = Some(Instant::now() + TICK);
        }
        for partition in partitions {
            self.owners[usize::from(partition)] = Some(new);
        }
        let now = Instant::now();
        self.look_at(new, now);
        if !self.is_locating {
            self.look_up(now);
        }
        self.update_standing();
    }

    /// The link of a partition.
    pub(super) fn owner(&self, partition: u16) -> Option<&Link> {
        let id = (*self.owners.get(usize::from(partition))?)?;
        self.links.get(&id)
    }

    /// Draws the consequence of an error for its link.
    pub(super) fn on_fault(&mut self, id: u64, error: &redis::RedisError) -> Fault {
        let fault = Fault::of(error);
        let Some(link) = self.links.get_mut(&id) else {
            return fault;
        };
        match fault {
            Fault::Lost => {
                tracing::info!(server = %link.address, %error, "Redis is connected anew");
                self.reset(id);
            }
            Fault::NoWrites => {
                if let Some(up) = link.up.as_mut().filter(|up| up.takes_writes) {
                    tracing::warn!(server = %link.address, %error, "Redis takes no writes");
                    up.takes_writes = false;
                }
                self.update_standing();
            }
            // A look at the epochs of all partitions finds those that have changed with it.
            Fault::EpochChanged => {
                if let Some(up) = &mut link.up {
                    up.is_due = true;
                }
                self.look_at(id, Instant::now());
            }
            Fault::EpochBehind(epoch) => self.highest_epoch = self.highest_epoch.max(epoch),
            Fault::Refused => {
                tracing::error!(server = %link.address, %error, "Redis refuses a call");
            }
        }
        fault
    }

    fn send_probe(&mut self, id: u64, now: Instant) {
        let Some(partition) = self.first_partition(id) else {
            return;
        };
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let Some(up) = &mut link.up else { return };
        up.probed_at = now;
        up.is_probing = true;
        let name = link.gate.probe_channel();
        let command = self.functions.probe(partition, up.lineage, name, &probe());
        let mut connection = up.bulk.clone();
        self.spawn(async move {
            let result = command.exec_async(&mut connection).await;
            Outcome::Probed { link: id, result }
        });
    }

    /// Takes the fate of a probe.
    pub(super) fn on_probed(&mut self, id: u64, result: Result<(), redis::RedisError>) {
        let Some(up) = self.links.get_mut(&id).and_then(|link| link.up.as_mut()) else {
            return;
        };
        up.is_probing = false;
        match result {
            Ok(()) => {
                up.takes_writes = true;
                up.silent_since.get_or_insert_with(Instant::now);
                self.update_standing();
            }
            Err(error) => {
                self.on_fault(id, &error);
            }
        }
    }

    fn read_recent(&mut self, id: u64, now: Instant) {
        let mut partitions = self.partitions_of(id);
        let is_asked = |at: usize| self.heard[at] > 0 || self.placed_in[at] > 0;
        partitions.retain(|partition| is_asked(usize::from(*partition)));
        let mut calls = redis::pipe();
        let mut asked = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let at = usize::from(partition);
            // Nobody hears the tops of some, but their epochs are wanted.
            let channels = usize::from(self.heard[at] > 0) * RECENT_CHANNELS;
            let from = &self.recent_from[at];
            calls.add_command(self.functions.recent(partition, from, channels));
            asked.push((partition, self.placed_in[at]));
        }
        let link = self.links.get_mut(&id);
        let Some(up) = link.and_then(|link| link.up.as_mut()) else {
            return;
        };
        up.polled_at = now;
        up.is_due = false;
        if asked.is_empty() {
            return;
        }
        up.is_polling = true;
        let mut connection = up.bulk.clone();
        self.spawn(async move {
            let replies = calls
                .query_async::<Vec<redis::Value>>(&mut connection)
                .await;
            let result = replies.map(|replies| {
                let read = asked.into_iter().zip(&replies);
                read.filter_map(|((partition, known), reply)| {
                    Some((partition, known, read_recent(reply)?))
                })
                .collect()
            });
            Outcome::Recent { link: id, result }
        });
    }

    /// A poll of a link has ended.
    pub(super) fn on_polled(&mut self, id: u64) {
        if let Some(up) = self.links.get_mut(&id).and_then(|link| link.up.as_mut()) {
            up.is_polling = false;
        }
    }

    /// Says when the standing has changed.
    pub(super) fn update_standing(&mut self) {
        let now = Instant::now();
        let ups = self.owners.iter().map(|owner| {
            let link = owner.and_then(|id| self.links.get(&id));
            link.and_then(|link| link.up.as_ref())
        });
        let (mut is_whole, mut takes_writes) = (true, true);
        for up in ups {
            is_whole &= up.is_some();
            takes_writes &= up.is_none_or(|up| up.takes_writes);
        }
        if is_whole {
            self.lost_at = None;
        }
        let standing = if !takes_writes {
            Standing::Away
        } else if is_whole {
            Standing::Connected
        } else if now - *self.lost_at.get_or_insert(now) >= AWAY_AFTER {
            Standing::Away
        } else {
            Standing::Reconnecting
        };
        if standing != self.standing {
            self.standing = standing;
            self.out.push_back(BackplaneEvent::Standing(standing));
        }
    }
}
