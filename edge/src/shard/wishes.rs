//! Which channels a shard wants of other threads, as far as they have not been told.
//!
//! Purpose: a thread that stalls, as the relay thread does while its core is busy, is told later
//! what is wanted by then and nothing of the way there. Clients that subscribe and leave again and
//! again would otherwise fill the shard's memory meanwhile.
//!
//! Invariants: of a channel one wish waits at most; a thread that was told of a channel is told
//! again when the shard has left it and wants it once more, since it answers with a position.
//!
//! Limits: what waits is wanted now, or was when the thread was told last: twice the shard's table
//! of channels. Thread: the shard.

use std::collections::BTreeMap;

use interlink_protocol::priority::Priority;

use super::mesh::Message;
use crate::lanes::Sender;

/// What the other thread is to know of a channel.
#[derive(Debug, Clone, Copy)]
struct Wish {
    priority: Priority,
    wanted: bool,
    /// The thread has been told that the channel is wanted.
    was_told: bool,
}

/// Wishes that found a lane full.
#[derive(Debug, Default)]
pub struct Wishes {
    /// By thread and name.
    waiting: BTreeMap<u16, BTreeMap<Box<str>, Wish>>,
}

impl Wishes {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.values().all(BTreeMap::is_empty)
    }

    /// Wishes that wait.
    pub fn len(&self) -> usize {
        self.waiting.values().map(BTreeMap::len).sum()
    }

    /// The shard `own` wants a channel of thread `to`, or wants it no more.
    pub fn tell(
        &mut self,
        sender: &mut Sender<Message>,
        (own, to): (u16, u16),
        (priority, name): (Priority, Box<str>),
        wanted: bool,
    ) {
        let waiting = self.waiting.entry(to).or_default();
        if let Some(wish) = waiting.get_mut(&name) {
            wish.wanted = wanted;
            // Of a channel that it has not heard of the thread need not hear that it is left.
            if !wanted && !wish.was_told {
                waiting.remove(&name);
            }
            return;
        }
        let message = message_of(own, name, wanted);
        let Err(message) = sender.push(usize::from(to), priority, message) else {
            return;
        };
        if let Message::Interest(_, name) | Message::NoInterest(_, name) = message {
            let was_told = !wanted;
            let wish = Wish {
                priority,
                wanted,
                was_told,
            };
            waiting.insert(name, wish);
        }
    }

    /// Tells what has room by now.
    pub fn flush(&mut self, sender: &mut Sender<Message>, own: u16) {
        for (to, waiting) in &mut self.waiting {
            while let Some(first) = waiting.first_entry() {
                let wish = *first.get();
                let message = message_of(own, first.key().clone(), wish.wanted);
                let pushed = sender.push(usize::from(*to), wish.priority, message);
                if pushed.is_err() {
                    break;
                }
                first.remove();
            }
        }
    }
}

fn message_of(own: u16, name: Box<str>, wanted: bool) -> Message {
    match wanted {
        true => Message::Interest(own, name),
        false => Message::NoInterest(own, name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::limits::{ring_places, LANE_TAKE_MAX};
    use crate::lanes::{mesh, Port};

    const RELAY: u16 = 1;

    struct Pair {
        shard: Port<Message>,
        relay: Port<Message>,
        wishes: Wishes,
    }

    impl Pair {
        fn new() -> Self {
            let mut ports = mesh::<Message>(2).expect("lanes");
            let (relay, shard) = (ports.pop().expect("two"), ports.pop().expect("two"));
            let wishes = Wishes::default();
            Self {
                shard,
                relay,
                wishes,
            }
        }

        fn tell(&mut self, name: &str, wanted: bool) {
            let channel = (Priority::P1, name.into());
            let sender = &mut self.shard.sender;
            self.wishes.tell(sender, (0, RELAY), channel, wanted);
        }

        /// Fills the ring, as when the relay thread stalls.
        fn stall(&mut self) {
            while self.wishes.is_empty() {
                self.tell("class.filler", true);
            }
        }

        /// What the relay thread hears once it goes on.
        fn heard(&mut self) -> Vec<(String, bool)> {
            let (mut taken, mut heard) = (Vec::new(), Vec::new());
            while self.relay.receiver.take(LANE_TAKE_MAX, &mut taken) > 0 {
                for entry in taken.drain(..) {
                    match entry.entry {
                        Message::Interest(0, name) => heard.push((name.into(), true)),
                        Message::NoInterest(0, name) => heard.push((name.into(), false)),
                        other => panic!("not a wish: {other:?}"),
                    }
                }
                self.wishes.flush(&mut self.shard.sender, 0);
            }
            heard.retain(|(name, _)| name != "class.filler");
            heard
        }
    }

    #[test]
    fn clients_that_come_and_go_while_a_thread_stalls_cost_no_memory() {
        let mut pair = Pair::new();
        pair.tell("class.held", true);
        pair.stall();
        for number in 0..100_000 {
            let name = format!("class.{number}");
            pair.tell(&name, true);
            pair.tell("class.held", number % 2 > 0);
            pair.tell(&name, false);
            assert!(pair.wishes.len() <= 3);
        }
        pair.tell("class.new", true);
        let held = |wanted| ("class.held".to_owned(), wanted);
        let new = ("class.new".to_owned(), true);
        // It is asked for once more, since its position is wanted.
        assert_eq!(pair.heard(), [held(true), held(true), new]);
        assert!(pair.wishes.is_empty());
    }

    #[test]
    fn a_channel_that_is_left_during_a_stall_is_left_once_and_one_that_is_new_never_heard_of() {
        let mut pair = Pair::new();
        pair.tell("class.held", true);
        pair.stall();
        for wanted in [false, true, false] {
            pair.tell("class.held", wanted);
        }
        for wanted in [true, false, true, false] {
            pair.tell("class.new", wanted);
        }
        let held = |wanted| ("class.held".to_owned(), wanted);
        assert_eq!(pair.heard(), [held(true), held(false)]);
    }

    #[test]
    fn what_waits_follows_as_far_as_there_is_room() {
        let mut pair = Pair::new();
        pair.stall();
        let places = ring_places(2, Priority::P1);
        let names: Vec<_> = (0..2 * places).map(|it| format!("class.{it}")).collect();
        names.iter().for_each(|name| pair.tell(name, true));
        assert!(pair.wishes.len() >= names.len());
        let mut heard: Vec<_> = pair.heard().into_iter().map(|it| it.0).collect();
        let mut all = names;
        heard.sort();
        all.sort();
        assert_eq!(heard, all);
    }
}
