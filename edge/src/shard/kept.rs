//! Past events that the node itself keeps, for questions that the backplane cannot be asked now.
//!
//! Purpose: while Redis is away, or its breaker holds reads back, who asks for the history of a
//! channel is answered at once from the logs of this node's shards, and told that the answer is
//! stale. The relay thread knows which shards hear the channel; they are asked one after the other
//! until one has something, the one that was asked first of all and last.
//!
//! Invariants: a page has no holes; it says that it follows the wanted position only when the log
//! proves it. A subscription that is behind is never answered here: it would skip what the log
//! does not hold.
//!
//! Limits: a page has as many events and bytes as one of the backplane; shards bound the questions
//! that wait (`behind`). A question is passed on at most once more than the node has shards.
//!
//! Thread: the shard.

use interlink_protocol::channel::ChannelName;
use interlink_protocol::ids::Position;
use interlink_protocol::priority::Priority;
use interlink_protocol::ErrorCode;
use interlink_relay::limits::HISTORY_BYTES_MAX;

use super::files::{HistoryAnswer, HistoryWish};
use super::mesh::Message;
use super::Shard;

/// A question that only the shards of this node can be asked now.
#[derive(Debug)]
pub struct KeptWish {
    /// What is wanted.
    pub wish: HistoryWish,
    /// Shards that hear the channel and were not asked yet, a bit each.
    shards: u64,
}

impl KeptWish {
    /// A question that nobody was asked; `shards` hear the channel, a bit each.
    pub fn new(wish: HistoryWish, shards: u64) -> Self {
        Self { wish, shards }
    }

    /// The shard to be asked next: of those that hear the channel the one that the question came
    /// from, then the others. That one again when none is left, since it may have heard the channel
    /// a moment ago.
    pub fn next_shard(&mut self) -> u16 {
        let own = 1u64 << self.wish.shard;
        let left = match self.shards & own {
            0 => self.shards,
            _ => own,
        };
        if left == 0 {
            return self.wish.shard;
        }
        let next = left.trailing_zeros() as u16;
        self.shards &= !(1 << next);
        next
    }
}

/// Events of a log in order, up to a hole.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    frames: Vec<Box<[u8]>>,
    last: Option<Position>,
    more: bool,
}

impl Kept {
    /// At most `limit` events, and bytes up to the one that passes the bound.
    fn of<'a>(events: impl Iterator<Item = (Position, &'a [u8])>, limit: usize) -> Self {
        let mut kept = Self {
            frames: Vec::new(),
            last: None,
            more: false,
        };
        let mut bytes = 0;
        for (position, frame) in events {
            let follows = kept
                .last
                .is_none_or(|last| position.offset == last.offset.saturating_add(1));
            if !follows || kept.frames.len() >= limit || bytes >= HISTORY_BYTES_MAX {
                kept.more = true;
                break;
            }
            bytes += frame.len();
            kept.frames.push(frame.into());
            kept.last = Some(position);
        }
        kept
    }
}

impl Shard {
    /// The relay thread, or another shard, has a question that the backplane cannot be asked.
    pub(super) fn on_kept_wish(&mut self, mut kept: KeptWish) {
        let asker = kept.wish.shard;
        if let Some((page, complete)) = self.kept_page(&kept.wish) {
            let answer = HistoryAnswer {
                frames: page.frames,
                last: page.last.unwrap_or(kept.wish.after),
                complete,
                more: page.more,
                stale: true,
                later: None,
                wish: kept.wish,
            };
            return self.give_page(answer);
        }
        if kept.shards == 0 && asker == self.id {
            let answer = HistoryAnswer::later(kept.wish, ErrorCode::Unavailable);
            return self.give_page(answer);
        }
        let (next, class) = (kept.next_shard(), self.class_of(&kept.wish.channel));
        let message = Message::ReadLog(Box::new(kept));
        self.mesh.send(next, class, message);
    }

    fn give_page(&mut self, answer: HistoryAnswer) {
        let asker = answer.wish.shard;
        if asker == self.id {
            return self.on_history_page(answer);
        }
        let class = self.class_of(&answer.wish.channel);
        let message = Message::Page(Box::new(answer));
        self.mesh.send(asker, class, message);
    }

    fn class_of(&self, channel: &str) -> Priority {
        let name = ChannelName::parse(channel).ok();
        let policy = name.and_then(|name| self.shared.namespaces.lookup(&name));
        policy.map_or(Priority::P1, |policy| policy.priority)
    }

    /// What this shard keeps after a position, and whether it follows it directly; nothing when it
    /// keeps nothing there.
    fn kept_page(&self, wish: &HistoryWish) -> Option<(Kept, bool)> {
        let channel = &self.channels[self.find_channel(&wish.channel)?];
        if !self.policy(channel.policy).durable {
            return None;
        }
        let named = Some(wish.after).filter(|after| *after != Position::ZERO);
        if let Some(from) = named.and_then(|after| self.logs.find(channel, after)) {
            let events = self.logs.visible_placed(channel, from);
            return Some((Kept::of(events, wish.limit), true));
        }
        let (from, before) = self.logs.oldest(channel);
        let events = self.logs.visible_placed(channel, from);
        let later = events.skip_while(|(position, _)| position.offset <= wish.after.offset);
        let kept = Kept::of(later, wish.limit);
        let from_the_first = named.is_none() && before.offset == 0;
        kept.last.map(|_| (kept, from_the_first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::files::HistoryFor;
    use interlink_relay::files::HistoryFloor;

    fn kept(shard: u16, shards: u64) -> KeptWish {
        let wish = HistoryWish {
            shard,
            channel: "class.algebra".into(),
            after: Position::ZERO,
            limit: 100,
            floor: HistoryFloor::default(),
            purpose: HistoryFor::Service { from: 0, number: 0 },
        };
        KeptWish::new(wish, shards)
    }

    #[test]
    fn every_shard_that_hears_the_channel_is_asked_and_the_asker_first_and_last() {
        let asked = |mut kept: KeptWish| [(); 4].map(|()| kept.next_shard());
        assert_eq!(asked(kept(2, 0b1101)), [2, 0, 3, 2]);
        assert_eq!(asked(kept(2, 0b1001)), [0, 3, 2, 2]);
        assert_eq!(asked(kept(2, 0)), [2; 4]);
        assert_eq!(asked(kept(0, 1 << 63)), [63, 0, 0, 0]);
    }

    fn page(offsets: &[u64], size: usize, limit: usize) -> (usize, Option<u64>, bool) {
        let frame = vec![7; size];
        let events = offsets.iter().map(|&offset| {
            let position = Position {
                epoch: 1,
                offset,
                chain: offset,
            };
            (position, &*frame)
        });
        let kept = Kept::of(events, limit);
        let last = kept.last.map(|last| last.offset);
        (kept.frames.len(), last, kept.more)
    }

    #[test]
    fn a_page_of_what_is_kept_ends_before_a_hole_and_at_its_bounds() {
        assert_eq!(page(&[], 1, 9), (0, None, false));
        assert_eq!(page(&[4, 5, 6], 1, 9), (3, Some(6), false));
        assert_eq!(page(&[4, 5, 6], 1, 3), (3, Some(6), false));
        assert_eq!(page(&[4, 5, 6], 1, 2), (2, Some(5), true));
        assert_eq!(page(&[4, 5, 7], 1, 9), (2, Some(5), true));
        let half = HISTORY_BYTES_MAX / 2;
        assert_eq!(page(&[4, 5, 6], half, 9), (2, Some(5), true));
        assert_eq!(page(&[4, 5, 6], half - 1, 9), (3, Some(6), false));
    }
}
