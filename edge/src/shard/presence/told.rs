//! The part of a home shard: counting the devices of its users for owners that ask.
//!
//! Purpose: from the moment at which an owner asks, walks over the members of the channel, some in
//! each turn, and counts who comes and goes meanwhile. What changed in a turn leaves as one
//! message with the latest numbers; while a lane is full it waits here, a number for each user.
//!
//! Invariants: of a channel that is counted, exactly the members below `next_place` that have a
//! connection are counted; the channel stays in its table as long as it is counted.
//!
//! Limits: a user in a channel is charged [`COUNTED_BYTES`]; without room the owner is told so.
//!
//! Thread: the shard.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use interlink_protocol::channel::ChannelName;
use interlink_relay::presence::Round;

use super::limits::{
    CHANNEL_BYTES, COUNTED_BYTES, COUNTED_PER_TURN, MESSAGES_PER_TURN, USERS_PER_MESSAGE,
};
use super::messages::PresenceMessage;
use crate::shard::channel::COUNTED;
use crate::shard::connection::NONE;
use crate::shard::Shard;

/// All members are counted.
const ALL: u32 = u32::MAX;

/// A channel whose presence its owner wants to know.
#[derive(Debug)]
struct Counted {
    round: Round,
    /// Place among the members at which the walk goes on, or [`ALL`].
    next_place: u32,
    /// Devices by user.
    devices: HashMap<u32, u32>,
    /// What the owner has not been told.
    news: BTreeMap<Arc<str>, u32>,
    /// Whether it has been told everything once.
    is_told: bool,
    /// Whether the channel waits in the list.
    is_listed: bool,
}

/// The channels that are counted.
#[derive(Debug, Default)]
pub(super) struct Told {
    channels: HashMap<u32, Counted>,
    /// Channels of which a walk goes on.
    walks: VecDeque<u32>,
    /// Channels with something to tell.
    listed: VecDeque<u32>,
    bytes: usize,
}

impl Told {
    pub(super) fn has_work(&self) -> bool {
        !self.walks.is_empty() || !self.listed.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a member at this place is counted.
    fn covers(&self, channel: u32, place: u32) -> bool {
        let counted = self.channels.get(&channel);
        counted.is_some_and(|counted| place < counted.next_place)
    }

    /// Devices by user in a channel.
    #[cfg(test)]
    pub(super) fn devices(&self, channel: u32) -> Option<&HashMap<u32, u32>> {
        let counted = self.channels.get(&channel);
        counted.map(|counted| &counted.devices)
    }

    fn list(&mut self, channel: u32) {
        if let Some(counted) = self.channels.get_mut(&channel) {
            if !counted.is_listed {
                counted.is_listed = true;
                self.listed.push_back(channel);
            }
        }
    }

    /// Changes the devices of a user by one; what they are now.
    fn change(&mut self, channel: u32, user: u32, comes: bool) -> Option<u32> {
        let counted = self.channels.get_mut(&channel)?;
        let devices = counted.devices.entry(user).or_insert_with(|| {
            self.bytes += COUNTED_BYTES;
            0
        });
        *devices = match comes {
            true => *devices + 1,
            false => devices.saturating_sub(1),
        };
        let devices = *devices;
        if devices == 0 {
            counted.devices.remove(&user);
            self.bytes -= COUNTED_BYTES;
        }
        Some(devices)
    }

    fn remove(&mut self, channel: u32) {
        if let Some(counted) = self.channels.remove(&channel) {
            self.bytes -= CHANNEL_BYTES + counted.devices.len() * COUNTED_BYTES;
            self.walks.retain(|walked| *walked != channel);
            self.listed.retain(|listed| *listed != channel);
        }
    }
}

impl Shard {
    /// The owner of a scope asks who of this shard's users is there.
    pub(super) fn on_tell(&mut self, round: Round, scope: &str) {
        let Ok(name) = ChannelName::parse(scope) else {
            return;
        };
        if !self.presence.has_room(CHANNEL_BYTES) {
            return self.refuse_round(round, scope);
        }
        let Ok(channel) = self.channel_named(&name) else {
            return self.refuse_round(round, scope);
        };
        let told = &mut self.presence.told;
        told.remove(channel);
        told.bytes += CHANNEL_BYTES;
        let counted = Counted {
            round,
            next_place: 0,
            devices: HashMap::new(),
            news: BTreeMap::new(),
            is_told: false,
            is_listed: false,
        };
        told.channels.insert(channel, counted);
        told.walks.push_back(channel);
        self.channels[channel].flags |= COUNTED;
    }

    fn refuse_round(&mut self, round: Round, scope: &str) {
        let owner = self.owner_of(scope);
        self.send_presence(owner, PresenceMessage::NoRoom { round });
    }

    /// The owner does not ask any more.
    pub(super) fn on_rest(&mut self, round: Round, scope: &str) {
        let Some(channel) = self.find_channel(scope) else {
            return;
        };
        let counted = self.presence.told.channels.get(&channel);
        if counted.is_some_and(|counted| counted.round == round) {
            self.stop_counting(channel);
            self.forget_channel_if_idle(channel);
        }
    }

    fn stop_counting(&mut self, channel: u32) {
        self.presence.told.remove(channel);
        self.channels[channel].flags &= !COUNTED;
    }

    /// Goes on with the walks over members.
    pub(super) fn count_members(&mut self) {
        for _ in 0..COUNTED_PER_TURN {
            let told = &mut self.presence.told;
            let Some(&channel) = told.walks.front() else {
                return;
            };
            let Some(counted) = told.channels.get_mut(&channel) else {
                told.walks.pop_front();
                continue;
            };
            let place = counted.next_place;
            let entry = &self.channels[channel];
            let Some(&member) = self.members.members(entry).get(place as usize) else {
                counted.next_place = ALL;
                told.walks.pop_front();
                told.list(channel);
                continue;
            };
            counted.next_place += 1;
            if self.subscriptions[member].connection != NONE {
                self.change_devices(member, true);
            }
        }
    }

    /// A subscription has a connection now; it has its place among the members.
    pub(in crate::shard) fn note_attached(&mut self, subscription: u32) {
        self.note_change(subscription, true);
    }

    /// The connection of a subscription is about to be lost, or the subscription.
    pub(in crate::shard) fn note_detached(&mut self, subscription: u32) {
        self.note_change(subscription, false);
    }

    fn note_change(&mut self, subscription: u32, comes: bool) {
        let entry = &self.subscriptions[subscription];
        if self.channels[entry.channel].flags & COUNTED == 0 || entry.connection == NONE {
            return;
        }
        if self.presence.told.covers(entry.channel, entry.place) {
            self.change_devices(subscription, comes);
        }
    }

    /// A member has moved from the last place, `from`, to that of one that was removed: behind
    /// the walk that would have found it.
    pub(in crate::shard) fn note_moved(&mut self, subscription: u32, from: u32) {
        let entry = &self.subscriptions[subscription];
        if self.channels[entry.channel].flags & COUNTED == 0 || entry.connection == NONE {
            return;
        }
        let told = &self.presence.told;
        if told.covers(entry.channel, entry.place) && !told.covers(entry.channel, from) {
            self.change_devices(subscription, true);
        }
    }

    fn change_devices(&mut self, subscription: u32, comes: bool) {
        let entry = &self.subscriptions[subscription];
        let (channel, user) = (entry.channel, self.sessions[entry.session].user);
        if comes && !self.presence.has_room(COUNTED_BYTES) {
            return self.give_counting_up(channel);
        }
        let told = &mut self.presence.told;
        if let Some(devices) = told.change(channel, user, comes) {
            let name = Arc::from(&*self.users[user].name);
            if let Some(counted) = told.channels.get_mut(&channel) {
                counted.news.insert(name, devices);
            }
            told.list(channel);
        }
    }

    fn give_counting_up(&mut self, channel: u32) {
        if let Some(counted) = self.presence.told.channels.get(&channel) {
            let round = counted.round;
            self.stop_counting(channel);
            let name = self.channels[channel].name.clone();
            self.refuse_round(round, &name);
        }
    }

    /// Tells owners what changed.
    pub(super) fn tell_devices(&mut self) {
        if self.mesh.is_congested() {
            return;
        }
        for _ in 0..MESSAGES_PER_TURN {
            let told = &mut self.presence.told;
            let Some(channel) = told.listed.pop_front() else {
                return;
            };
            let Some(counted) = told.channels.get_mut(&channel) else {
                continue;
            };
            counted.is_listed = false;
            let news = std::iter::from_fn(|| counted.news.pop_first());
            let users: Vec<(Arc<str>, u32)> = news.take(USERS_PER_MESSAGE).collect();
            let is_all = counted.next_place == ALL && counted.news.is_empty();
            let is_complete = is_all && !counted.is_told;
            counted.is_told |= is_complete;
            let message = PresenceMessage::Told {
                shard: self.id,
                round: counted.round,
                users,
                is_complete,
            };
            if !counted.news.is_empty() {
                told.list(channel);
            }
            let owner = self.owner_of(&self.channels[channel].name);
            self.send_presence(owner, message);
        }
    }
}
