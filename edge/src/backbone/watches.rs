//! Which channels this node wants from the backbone, and which of its shards want them.
//!
//! Purpose: a shard asks for a channel when it has the first member; the node subscribes once for
//! all of its shards and grants them the position after which events follow. A subscription that
//! failed is asked again when the backplane is back.
//!
//! Invariants: a shard is granted a channel once for each time that it asks, and gets every event
//! behind the granted position; a channel that nobody wants is unsubscribed.
//!
//! Limits: an entry for each channel that a shard has subscribers of, which the shards bound, and
//! one for each that is subscribed and nobody wants any more: clients that come and go while
//! nothing may be asked cost nothing.
//!
//! Thread: relay.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use interlink_protocol::ids::Position;
use interlink_relay::ports::Ticket;

use super::reads::{part_of, Admission, PARTS};

/// What the node has of a channel.
#[derive(Debug)]
struct Watch {
    /// Shards that want it, a bit each.
    shards: u64,
    /// Shards that wait for the position.
    waiting: u64,
    /// Position of the newest event, once the subscription is live.
    top: Option<Position>,
    /// The subscription that counts; an earlier one has been ended.
    ticket: Option<Ticket>,
    /// Whether the channel is stored; nobody waits for positions of the others.
    durable: bool,
}

/// What is to be asked of the backplane.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    /// Subscribe to a channel.
    Subscribe(Box<str>),
    /// End the subscription.
    Unsubscribe(Box<str>),
}

/// What is to be asked about a channel, in this order.
#[derive(Clone, Copy, Default, Debug)]
struct Wishes {
    unsubscribe: bool,
    subscribe: bool,
}

/// Shards to be granted a channel.
#[derive(Debug, PartialEq, Eq)]
pub struct Granted {
    /// The channel.
    pub channel: Box<str>,
    /// The position after which events follow.
    pub position: Position,
    /// The shards, a bit each.
    pub shards: u64,
}

/// All watches of a node.
#[derive(Debug, Default)]
pub struct Watches {
    channels: HashMap<Box<str>, Watch>,
    asked: HashMap<Ticket, Box<str>>,
    /// What is to be asked, by the parts of the channels; never nothing.
    wishes: [BTreeMap<Box<str>, Wishes>; PARTS],
    /// The part that is looked at first, so that each has its turn.
    first: usize,
    failed: BTreeSet<Box<str>>,
}

impl Watches {
    /// A shard wants a channel.
    pub fn want(&mut self, shard: u16, channel: &str, durable: bool) -> Option<Granted> {
        let bit = 1 << shard;
        if let Some(watch) = self.channels.get_mut(channel) {
            watch.shards |= bit;
            return match watch.top {
                Some(position) => Some(Granted {
                    channel: channel.into(),
                    position,
                    shards: bit,
                }),
                None => {
                    watch.waiting |= bit;
                    None
                }
            };
        }
        let watch = Watch {
            shards: bit,
            waiting: bit,
            top: None,
            ticket: None,
            durable,
        };
        self.channels.insert(channel.into(), watch);
        self.wish(channel.into()).subscribe = true;
        None
    }

    fn wish(&mut self, channel: Box<str>) -> &mut Wishes {
        self.wishes[part_of(&channel)].entry(channel).or_default()
    }

    /// A shard wants a channel no more.
    pub fn leave(&mut self, shard: u16, channel: &str) {
        let Some(watch) = self.channels.get_mut(channel) else {
            return;
        };
        watch.shards &= !(1 << shard);
        watch.waiting &= watch.shards;
        if watch.shards == 0 {
            self.channels.remove(channel);
            self.failed.remove(channel);
            let wishes = self.wish(channel.into());
            // What was not asked for need not be ended.
            wishes.unsubscribe |= !std::mem::take(&mut wishes.subscribe);
            if !wishes.unsubscribe {
                self.wishes[part_of(channel)].remove(channel);
            }
        }
    }

    /// The next request for the backplane, of those that may be made.
    pub fn next_wish(&mut self, admission: Admission) -> Option<Wish> {
        let parts = (self.first..self.first + PARTS).map(|place| place % PARTS);
        for part in parts.filter(|part| admission.admits(*part)) {
            let Some(mut entry) = self.wishes[part].first_entry() else {
                continue;
            };
            self.first = part + 1;
            let channel = entry.key().clone();
            let wishes = entry.get_mut();
            if !std::mem::take(&mut wishes.unsubscribe) {
                entry.remove();
                return Some(Wish::Subscribe(channel));
            }
            if !wishes.subscribe {
                entry.remove();
            }
            return Some(Wish::Unsubscribe(channel));
        }
        None
    }

    /// The backplane was too busy for a wish.
    pub fn put_back(&mut self, wish: Wish) {
        match wish {
            Wish::Subscribe(channel) => self.wish(channel).subscribe = true,
            Wish::Unsubscribe(channel) => self.wish(channel).unsubscribe = true,
        }
    }

    /// A subscription is under way.
    pub fn asked(&mut self, ticket: Ticket, channel: Box<str>) {
        if let Some(watch) = self.channels.get_mut(&channel) {
            watch.ticket = Some(ticket);
        }
        self.asked.insert(ticket, channel);
    }

    /// The answer to a subscription; `None` when it failed. Nothing if the ticket is of no
    /// subscription, or nobody wants the channel any more.
    pub fn answered(&mut self, ticket: Ticket, top: Option<Position>) -> Option<Granted> {
        let channel = self.asked.remove(&ticket)?;
        let watch = self.channels.get_mut(&channel)?;
        if watch.ticket != Some(ticket) {
            return None;
        }
        let Some(position) = top else {
            self.failed.insert(channel);
            return None;
        };
        watch.top = Some(position);
        let shards = std::mem::take(&mut watch.waiting);
        let granted = Granted {
            channel,
            position,
            shards,
        };
        (granted.shards != 0 && watch.durable).then_some(granted)
    }

    /// Whether a ticket is of a subscription.
    pub fn is_asked(&self, ticket: Ticket) -> bool {
        self.asked.contains_key(&ticket)
    }

    /// Subscriptions that failed are tried again.
    pub fn try_again(&mut self) {
        for channel in std::mem::take(&mut self.failed) {
            self.wish(channel).subscribe = true;
        }
    }

    /// Whether subscriptions wait to be tried again.
    pub fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Channels that are watched.
    pub fn len(&self) -> usize {
        self.channels.len()
    }

    /// Shards that get the events of a channel, a bit each.
    pub fn hearing(&self, channel: &str) -> u64 {
        let watch = self.channels.get(channel);
        watch.map_or(0, |watch| watch.shards & !watch.waiting)
    }

    /// The newest position of a channel that this node knows.
    pub fn top(&self, channel: &str) -> Position {
        let watch = self.channels.get(channel);
        watch.and_then(|watch| watch.top).unwrap_or_default()
    }

    /// An event of a channel at a position, or a gap behind which it goes on: the shards to tell.
    /// Those that have not been granted the channel get the position with the grant.
    pub fn advance(&mut self, channel: &str, position: Position) -> u64 {
        let Some(watch) = self.channels.get_mut(channel) else {
            return 0;
        };
        if watch.top.is_some() {
            watch.top = Some(position);
        }
        watch.shards & !watch.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use interlink_relay::breaker::Traffic;

    const CLASS: &str = "class.algebra";

    fn at(offset: u64) -> Position {
        Position {
            epoch: 1,
            offset,
            chain: offset,
        }
    }

    fn granted(offset: u64, shards: u64) -> Option<Granted> {
        Some(Granted {
            channel: CLASS.into(),
            position: at(offset),
            shards,
        })
    }

    #[test]
    fn the_node_subscribes_once_and_grants_every_shard_from_the_newest_event() {
        let mut watches = Watches::default();
        assert_eq!(watches.want(0, CLASS, true), None);
        assert_eq!(watches.want(2, CLASS, true), None);
        assert_eq!(
            watches.next_wish(Admission::ALL),
            Some(Wish::Subscribe(CLASS.into()))
        );
        assert_eq!(watches.next_wish(Admission::ALL), None);
        watches.asked(Ticket(1), CLASS.into());
        assert_eq!(watches.answered(Ticket(1), Some(at(4))), granted(4, 0b101));
        assert_eq!(watches.advance(CLASS, at(5)), 0b101);
        assert_eq!(watches.want(1, CLASS, true), granted(5, 0b010));
        assert_eq!(watches.advance(CLASS, at(6)), 0b111);
    }

    #[test]
    fn a_failed_subscription_is_asked_again_and_one_that_nobody_wants_is_not() {
        let mut watches = Watches::default();
        watches.want(0, CLASS, true);
        watches.next_wish(Admission::ALL);
        watches.asked(Ticket(1), CLASS.into());
        assert_eq!(watches.answered(Ticket(1), None), None);
        assert!(watches.has_failed());
        watches.try_again();
        assert_eq!(
            watches.next_wish(Admission::ALL),
            Some(Wish::Subscribe(CLASS.into()))
        );
        watches.asked(Ticket(2), CLASS.into());
        watches.leave(0, CLASS);
        assert_eq!(
            watches.next_wish(Admission::ALL),
            Some(Wish::Unsubscribe(CLASS.into()))
        );
        assert_eq!(watches.answered(Ticket(2), Some(at(1))), None);
        assert_eq!(watches.advance(CLASS, at(2)), 0);
    }

    #[test]
    fn the_answer_of_an_ended_subscription_grants_nothing() {
        let mut watches = Watches::default();
        watches.want(0, CLASS, true);
        watches.next_wish(Admission::ALL);
        watches.asked(Ticket(1), CLASS.into());
        watches.leave(0, CLASS);
        watches.want(0, CLASS, true);
        assert_eq!(watches.answered(Ticket(1), Some(at(1))), None);
        assert_eq!(
            watches.next_wish(Admission::ALL),
            Some(Wish::Unsubscribe(CLASS.into()))
        );
        assert_eq!(
            watches.next_wish(Admission::ALL),
            Some(Wish::Subscribe(CLASS.into()))
        );
        watches.asked(Ticket(2), CLASS.into());
        assert_eq!(watches.answered(Ticket(2), Some(at(2))), granted(2, 1));
    }

    #[test]
    fn nobody_waits_for_positions_of_what_is_not_stored() {
        let mut watches = Watches::default();
        watches.want(0, "activity.ada", false);
        watches.next_wish(Admission::ALL);
        watches.asked(Ticket(1), "activity.ada".into());
        assert_eq!(watches.answered(Ticket(1), Some(Position::ZERO)), None);
    }

    #[test]
    fn clients_that_come_and_go_while_nothing_may_be_asked_cost_no_memory() {
        let mut watches = Watches::default();
        watches.want(0, CLASS, true);
        watches.next_wish(Admission::ALL);
        watches.asked(Ticket(1), CLASS.into());
        watches.answered(Ticket(1), Some(at(1)));
        for number in 0..10_000 {
            let name = format!("class.{number}");
            watches.want(0, &name, true);
            assert_eq!(watches.next_wish(Admission::NONE), None);
            watches.leave(0, &name);
            watches.leave(0, CLASS);
            watches.want(0, CLASS, true);
        }
        let waiting: usize = watches.wishes.iter().map(BTreeMap::len).sum();
        assert_eq!(waiting, 1);
        let next = |watches: &mut Watches| watches.next_wish(Admission::ALL);
        assert_eq!(next(&mut watches), Some(Wish::Unsubscribe(CLASS.into())));
        assert_eq!(next(&mut watches), Some(Wish::Subscribe(CLASS.into())));
        assert_eq!(next(&mut watches), None);
    }

    #[test]
    fn a_channel_that_was_left_after_its_subscription_failed_is_not_asked_for_again() {
        let mut watches = Watches::default();
        watches.want(0, CLASS, true);
        watches.next_wish(Admission::ALL);
        watches.asked(Ticket(1), CLASS.into());
        watches.answered(Ticket(1), None);
        watches.leave(0, CLASS);
        watches.try_again();
        let unsubscribe = Some(Wish::Unsubscribe(CLASS.into()));
        assert_eq!(watches.next_wish(Admission::ALL), unsubscribe);
        assert_eq!(watches.next_wish(Admission::ALL), None);
    }

    #[test]
    fn a_share_of_the_channels_is_asked_for_and_the_rest_waits_its_turn() {
        let mut watches = Watches::default();
        let names: Vec<_> = (0..100).map(|it| format!("class.{it}")).collect();
        names
            .iter()
            .for_each(|name| drop(watches.want(0, name, true)));
        let mut asked = Vec::new();
        for turn in 0..10 {
            let share = Admission::of(Traffic::Share(10), turn);
            while let Some(wish) = watches.next_wish(share) {
                let Wish::Subscribe(name) = wish else {
                    panic!("not a subscription: {wish:?}");
                };
                assert!(share.admits(part_of(&name)));
                asked.push(name.into_string());
            }
            assert!(turn == 9 || asked.len() < names.len(), "all at once");
        }
        asked.sort();
        let mut names = names;
        names.sort();
        assert_eq!(asked, names);
    }

    #[test]
    fn shards_that_were_granted_a_channel_hear_it() {
        let mut watches = Watches::default();
        watches.want(0, CLASS, true);
        assert_eq!((watches.hearing(CLASS), watches.hearing("class.b")), (0, 0));
        watches.next_wish(Admission::ALL);
        watches.asked(Ticket(1), CLASS.into());
        watches.answered(Ticket(1), Some(at(4)));
        watches.want(2, CLASS, true);
        assert_eq!(watches.hearing(CLASS), 0b101);
    }
}
