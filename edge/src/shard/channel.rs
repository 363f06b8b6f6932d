//! Channels with subscribers or recent events on this shard, and subscriptions.
//!
//! Purpose: the registry that a publish and a pass over subscribers walk. A
//! subscription's `cursor` into the log of its channel is its outbox: what lies
//! between cursor and the visible end has yet to be sent.
//!
//! Invariants: `cursor <= visible <= log.head`; a subscription is in exactly one
//! session list and at exactly one place of its channel's members; members of a
//! channel are distinct sessions, hence distinct sockets.
//!
//! Thread: the shard.

use interlink_protocol::namespace::NamespaceId;
use interlink_protocol::priority::Priority;
use interlink_relay::backplane::Sequencer;

use super::connection::NONE;

/// A session's interest in a channel.
#[derive(Debug, Clone, Copy)]
pub struct Subscription {
    /// Byte position in the channel's log up to which everything was sent.
    pub cursor: u64,
    /// Index of the channel.
    pub channel: u32,
    /// Index of the session.
    pub session: u32,
    /// Index of the session's connection, or [`NONE`] while it is away.
    pub connection: u32,
    /// Next subscription of the session, or [`NONE`].
    pub next: u32,
    /// Place among the channel's members.
    pub place: u32,
    /// Priority of the channel.
    pub priority: Priority,
    /// Whether live events are sent, or past ones are being fetched.
    pub state: SubscriptionState,
    /// What permits it beside the user's claims.
    pub grant: Grant,
}

const _: () = assert!(std::mem::size_of::<Subscription>() <= 32);

/// What permits a subscription beside the user's claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Grant {
    /// Nothing.
    None,
    /// A subscription token, or the word of a service.
    Given,
    /// The word of a service that made the subscription; the client has not asked for it.
    Unclaimed,
}

impl Grant {
    /// The grant of a `Subscribe` with or without a token or word.
    pub fn of(is_there: bool) -> Self {
        match is_there {
            true => Self::Given,
            false => Self::None,
        }
    }

    /// Whether there is one.
    pub fn is_there(self) -> bool {
        self != Self::None
    }
}

/// How a subscription gets its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SubscriptionState {
    /// From the channel's log.
    Live,
    /// From history pages, until they reach the log.
    Behind,
    /// Its session has no connection.
    Detached,
}

/// The channel waits in the ready queue of its priority.
pub const DIRTY: u8 = 1;
/// This shard has asked the owner for the channel's events.
pub const INTERESTED: u8 = 1 << 1;
/// The owner has granted it, so the top is known.
pub const GRANTED: u8 = 1 << 2;
/// Its events are of no further use, and it waits to give up their memory.
pub const SPENT: u8 = 1 << 3;
/// The owner asks who of this shard's users is there; the channel is kept as long.
pub const COUNTED: u8 = 1 << 4;
/// The relay thread was asked for what other nodes say on it.
pub const WATCHED: u8 = 1 << 5;

/// A channel on this shard.
#[derive(Debug)]
pub struct Channel {
    /// Full name.
    pub name: Box<str>,
    /// Numbering: the owner's, or what the owner last told.
    pub sequencer: Sequencer,
    /// Byte position at which the next log starts.
    pub log_start: u64,
    /// Index of the log, or [`NONE`] while nothing is retained.
    pub log: u32,
    /// The one member, or the index of the list of members.
    pub members: u32,
    /// Number of members.
    pub member_count: u32,
    /// Index of the namespace's policy.
    pub policy: NamespaceId,
    /// Priority of the namespace.
    pub priority: Priority,
    /// Flags of this module.
    pub flags: u8,
}

const _: () = assert!(std::mem::size_of::<Channel>() <= 72);

/// What a channel with events in memory has beside its log.
#[derive(Debug, Default, Clone, Copy)]
pub struct Visible {
    /// Byte position up to which events may be sent.
    pub end: u64,
    /// Member at which the pass that is under way goes on.
    pub pass_next: u32,
    /// Visible end when that pass began.
    pub pass_end: u64,
    /// Events that the next pass takes.
    pub coming: Awaited,
    /// Events of the pass that is under way.
    pub passing: Awaited,
}

/// Events that wait for a pass.
#[derive(Debug, Default, Clone, Copy)]
pub struct Awaited {
    /// When the oldest was published, in `Clock::now_us`.
    pub since_us: u32,
    /// How many there are.
    pub events: u32,
}

impl Awaited {
    /// Adds events that are not older than those before them.
    pub fn add(&mut self, since_us: u32, events: u32) {
        if self.events == 0 {
            self.since_us = since_us;
        }
        self.events += events;
    }

    /// Takes the events out.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

impl Channel {
    /// A channel without members or events.
    pub fn new(
        name: Box<str>,
        sequencer: Sequencer,
        policy: NamespaceId,
        priority: Priority,
    ) -> Self {
        Self {
            name,
            sequencer,
            log_start: 0,
            log: NONE,
            members: NONE,
            member_count: 0,
            policy,
            priority,
            flags: 0,
        }
    }
}

/// Lists of subscription indices, for channels with more than one member.
#[derive(Debug, Default)]
pub struct MemberLists {
    lists: Vec<Vec<u32>>,
    free: Vec<u32>,
}

impl MemberLists {
    /// Adds `subscription` to `channel` and returns its place.
    pub fn add(&mut self, channel: &mut Channel, subscription: u32) -> u32 {
        let place = channel.member_count;
        match place {
            0 => channel.members = subscription,
            1 => {
                let list = self.take_list();
                let members = &mut self.lists[list as usize];
                members.push(channel.members);
                members.push(subscription);
                channel.members = list;
            }
            _ => self.lists[channel.members as usize].push(subscription),
        }
        channel.member_count += 1;
        place
    }

    /// Removes the member at `place`; returns the member that took the place.
    pub fn remove(&mut self, channel: &mut Channel, place: u32) -> Option<u32> {
        debug_assert!(place < channel.member_count);
        channel.member_count -= 1;
        if channel.member_count == 0 {
            channel.members = NONE;
            return None;
        }
        let list = channel.members;
        let members = &mut self.lists[list as usize];
        members.swap_remove(place as usize);
        let moved = members.get(place as usize).copied();
        if channel.member_count == 1 {
            channel.members = members[0];
            self.give_list(list);
        }
        moved
    }

    /// The members of `channel`, in no order.
    pub fn members<'a>(&'a self, channel: &'a Channel) -> &'a [u32] {
        match channel.member_count {
            0 => &[],
            1 => std::slice::from_ref(&channel.members),
            _ => &self.lists[channel.members as usize],
        }
    }

    fn take_list(&mut self) -> u32 {
        if let Some(list) = self.free.pop() {
            return list;
        }
        self.lists.push(Vec::new());
        (self.lists.len() - 1) as u32
    }

    fn give_list(&mut self, list: u32) {
        self.lists[list as usize] = Vec::new();
        self.free.push(list);
    }
}
