//! Finding users, sessions, publishers and channels by what names them.
//!
//! Purpose: the maps of a shard. Each holds slab indices only and compares keys in
//! the slabs, so that an entry costs about five bytes.
//!
//! Thread: the shard.

use hashbrown::HashTable;
use interlink_protocol::channel::ChannelName;
use interlink_protocol::ids::{placement_hash, InstanceId, SessionKey};
use interlink_protocol::namespace::NamespaceId;
use interlink_protocol::priority::Priority;
use interlink_protocol::session::publish::PublishDecision;
use interlink_protocol::ErrorCode;
use interlink_relay::backplane::Sequencer;

use super::channel::{Channel, SubscriptionState, COUNTED, DIRTY, GRANTED, INTERESTED, SPENT};
use super::connection::{LAGGING, NONE};
use super::Shard;

/// The maps.
#[derive(Debug, Default)]
pub struct Tables {
    users: HashTable<u32>,
    sessions: HashTable<u32>,
    publishers: HashTable<u32>,
    channels: HashTable<u32>,
}

fn session_hash(key: SessionKey) -> u64 {
    // The key is random already.
    key.0 as u64
}

fn publisher_hash(user: u32, instance: InstanceId) -> u64 {
    let folded = (instance.0 >> 64) as u64 ^ instance.0 as u64 ^ u64::from(user) << 32;
    folded.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Shard {
    /// The user of this name.
    pub(super) fn find_user(&self, name: &str) -> Option<u32> {
        let users = &self.users;
        let hash = placement_hash(name.as_bytes());
        self.tables
            .users
            .find(hash, |&user| &*users[user].name == name)
            .copied()
    }

    pub(super) fn index_user(&mut self, user: u32) {
        let users = &self.users;
        let hash = |&user: &u32| placement_hash(users[user].name.as_bytes());
        self.tables.users.insert_unique(hash(&user), user, hash);
    }

    /// The session with this key.
    pub(super) fn find_session(&self, key: SessionKey) -> Option<u32> {
        let sessions = &self.sessions;
        let found = self
            .tables
            .sessions
            .find(session_hash(key), |&at| sessions[at].key == key);
        found.copied()
    }

    pub(super) fn index_session(&mut self, key: SessionKey, session: u32) {
        let sessions = &self.sessions;
        let hash = |&at: &u32| session_hash(sessions[at].key);
        self.tables
            .sessions
            .insert_unique(session_hash(key), session, hash);
    }

    /// The publisher state of a user's instance.
    pub(super) fn find_publisher(&self, user: u32, instance: InstanceId) -> Option<u32> {
        let publishers = &self.publishers;
        let same = |&at: &u32| publishers[at].instance == instance && publishers[at].user == user;
        self.tables
            .publishers
            .find(publisher_hash(user, instance), same)
            .copied()
    }

    pub(super) fn index_publisher(&mut self, publisher: u32) {
        let publishers = &self.publishers;
        let hash = |&at: &u32| publisher_hash(publishers[at].user, publishers[at].instance);
        self.tables
            .publishers
            .insert_unique(hash(&publisher), publisher, hash);
    }

    /// The shard that numbers this channel.
    pub(super) fn owner_of(&self, channel: &str) -> u16 {
        if self.shards == 1 {
            return 0;
        }
        (placement_hash(channel.as_bytes()) % u64::from(self.shards)) as u16
    }

    /// The channel of this name, if it is known here.
    pub(super) fn find_channel(&self, name: &str) -> Option<u32> {
        let channels = &self.channels;
        let hash = placement_hash(name.as_bytes());
        self.tables
            .channels
            .find(hash, |&at| &*channels[at].name == name)
            .copied()
    }

    /// The channel that a publish goes to; mostly that of the publisher's last one.
    pub(super) fn channel_for(
        &mut self,
        publisher: u32,
        name: &str,
        decision: &PublishDecision,
    ) -> Result<u32, ErrorCode> {
        let last = self.publishers[publisher].last_channel;
        if self.channels.get(last).is_some_and(|at| &*at.name == name) {
            return Ok(last);
        }
        let channel = self.channel_to(name, decision)?;
        self.publishers[publisher].last_channel = channel;
        Ok(channel)
    }

    /// The channel that a publish without a publisher's state goes to.
    pub(super) fn channel_to(
        &mut self,
        name: &str,
        decision: &PublishDecision,
    ) -> Result<u32, ErrorCode> {
        self.channel_entry(name, decision.namespace, decision.priority)
    }

    /// The channel of a valid name; it is made if it is new.
    pub(super) fn channel_named(&mut self, name: &ChannelName<'_>) -> Result<u32, ErrorCode> {
        let namespaces = &self.shared.namespaces;
        let id = namespaces.find(name).ok_or(ErrorCode::NamespaceUnknown)?;
        let priority = namespaces.get(id).priority;
        self.channel_entry(name.as_str(), id, priority)
    }

    pub(super) fn channel_entry(
        &mut self,
        name: &str,
        policy: NamespaceId,
        priority: Priority,
    ) -> Result<u32, ErrorCode> {
        if let Some(channel) = self.find_channel(name) {
            return Ok(channel);
        }
        let sequencer = Sequencer::new(self.shared.epoch);
        let record = Channel::new(name.into(), sequencer, policy, priority);
        let channel = self.channels.insert(record).ok_or(ErrorCode::Overloaded)?;
        let channels = &self.channels;
        let hash = |&at: &u32| placement_hash(channels[at].name.as_bytes());
        self.tables
            .channels
            .insert_unique(hash(&channel), channel, hash);
        Ok(channel)
    }

    /// Adds a subscription to its channel and its session.
    pub(super) fn link_subscription(&mut self, subscription: u32) {
        let (channel, session) = {
            let sub = &self.subscriptions[subscription];
            (sub.channel, sub.session)
        };
        let place = self.members.add(&mut self.channels[channel], subscription);
        let entry = &mut self.sessions[session];
        let sub = &mut self.subscriptions[subscription];
        sub.place = place;
        sub.next = entry.subscriptions;
        entry.subscriptions = subscription;
        entry.subscription_count += 1;
        self.note_attached(subscription);
    }

    /// Forgets a channel that nobody subscribes to and that has nothing to remember.
    pub(super) fn forget_channel_if_idle(&mut self, channel: u32) {
        let entry = &self.channels[channel];
        if entry.member_count > 0 {
            return;
        }
        if entry.flags & INTERESTED != 0 {
            let name = entry.name.clone();
            let owner = self.numberer_of(&name, self.policy(entry.policy).durable);
            if owner != self.id {
                let priority = entry.priority;
                self.mesh.tell_interest(owner, priority, name, false);
                // From now on the owner tells nothing new of them.
                self.logs.values.forget(channel);
            }
            self.channels[channel].flags &= !(INTERESTED | GRANTED);
        }
        let entry = &self.channels[channel];
        let durable = self.policy(entry.policy).durable;
        let owned = self.numberer_of(&entry.name, durable) == self.id;
        let numbered = owned && entry.sequencer.top().offset > 0;
        let wanted = self.interest.contains_key(&channel);
        if !wanted {
            self.unwatch_elsewhere(channel);
        }
        let entry = &self.channels[channel];
        let in_use = entry.flags & (DIRTY | SPENT | COUNTED) != 0;
        if numbered || wanted || entry.log != NONE || in_use {
            return;
        }
        let hash = placement_hash(entry.name.as_bytes());
        if let Ok(entry) = self.tables.channels.find_entry(hash, |&at| at == channel) {
            entry.remove();
        }
        self.logs.values.forget(channel);
        self.channels.remove(channel);
    }

    /// Takes a subscription out of its channel and its session, and forgets it.
    pub(super) fn remove_subscription(&mut self, subscription: u32) {
        let sub = self.subscriptions[subscription];
        self.note_detached(subscription);
        self.stop_watching(subscription);
        self.behind.remove(&subscription);
        self.lagging.remove(subscription);
        self.tokens.grants.remove(subscription);
        let moved = self
            .members
            .remove(&mut self.channels[sub.channel], sub.place);
        if let Some(moved) = moved {
            self.subscriptions[moved].place = sub.place;
            self.note_moved(moved, self.channels[sub.channel].member_count);
            self.revisit_moved(moved);
        }
        let entry = &mut self.sessions[sub.session];
        entry.subscription_count -= 1;
        if entry.subscriptions == subscription {
            entry.subscriptions = sub.next;
        } else {
            let mut before = entry.subscriptions;
            while self.subscriptions[before].next != subscription {
                before = self.subscriptions[before].next;
            }
            self.subscriptions[before].next = sub.next;
        }
        self.subscriptions.remove(subscription);
        self.forget_channel_if_idle(sub.channel);
    }

    /// A member that moved to an earlier place could be missed by the pass under way.
    fn revisit_moved(&mut self, subscription: u32) {
        let sub = &self.subscriptions[subscription];
        let (channel, connection) = (sub.channel, sub.connection);
        if self.channels[channel].flags & DIRTY != 0
            && connection != NONE
            && sub.state == SubscriptionState::Live
        {
            self.note_progress(subscription);
            self.connections[connection].set(LAGGING);
            self.mark_ready(connection);
        }
    }

    /// Forgets a session and what belongs to it.
    pub(super) fn remove_session(&mut self, session: u32) {
        while self.sessions[session].subscriptions != NONE {
            let subscription = self.sessions[session].subscriptions;
            self.remove_subscription(subscription);
        }
        let record = self.sessions.remove(session);
        self.cursors.forget_session(session);
        self.service.words.forget(record.key);
        let hash = session_hash(record.key);
        if let Ok(entry) = self.tables.sessions.find_entry(hash, |&at| at == session) {
            entry.remove();
        }
        if record.publisher != NONE && self.publishers[record.publisher].session == session {
            self.publishers[record.publisher].session = NONE;
        }
        self.unlink_from_user(record.user, session, record.next_of_user);
        self.counters.sessions_expired += 1;
    }

    fn unlink_from_user(&mut self, user: u32, session: u32, next: u32) {
        if self.users[user].sessions == session {
            self.users[user].sessions = next;
        } else {
            let mut before = self.users[user].sessions;
            while before != NONE && self.sessions[before].next_of_user != session {
                before = self.sessions[before].next_of_user;
            }
            if before != NONE {
                self.sessions[before].next_of_user = next;
            }
        }
    }

    /// Forgets users without sessions and publishers that have been quiet for long enough
    /// that nobody may send their ids again. Looks at a few at a time, and not in every turn:
    /// what it reads would push the records of messages out of the caches.
    pub(super) fn sweep_identities(&mut self) {
        const LOOKED_AT: usize = 64;
        const EVERY_MS: u32 = 10;
        if self.clock.now_ms < self.sweep.due_ms {
            return;
        }
        self.sweep.due_ms = self.clock.now_ms + EVERY_MS;
        for _ in 0..LOOKED_AT {
            let Some(publisher) = self.publishers.next_live(self.sweep.publisher) else {
                self.sweep.publisher = 0;
                break;
            };
            self.sweep.publisher = publisher + 1;
            let entry = &self.publishers[publisher];
            let quiet_ms = self.clock.now_ms.wrapping_sub(entry.last_used_ms);
            let unused = entry.in_flight == [0; 4] && entry.session == NONE;
            if unused && quiet_ms > super::PUBLISHER_KEPT_MS {
                let hash = publisher_hash(entry.user, entry.instance);
                if let Ok(entry) = self
                    .tables
                    .publishers
                    .find_entry(hash, |&at| at == publisher)
                {
                    entry.remove();
                }
                let user = self.publishers.remove(publisher).user;
                self.users[user].publishers -= 1;
            }
        }
        for _ in 0..LOOKED_AT {
            let Some(user) = self.users.next_live(self.sweep.user) else {
                self.sweep.user = 0;
                break;
            };
            self.sweep.user = user + 1;
            let entry = &self.users[user];
            // Who comes back as the same user has not got rid of the user's rate.
            let at_rest = entry.arrival.0 <= self.clock.now_ns;
            if entry.sessions == NONE && entry.publishers == 0 && at_rest {
                let hash = placement_hash(entry.name.as_bytes());
                if let Ok(entry) = self.tables.users.find_entry(hash, |&at| at == user) {
                    entry.remove();
                }
                self.users.remove(user);
            }
        }
    }
}
