//! Which reads of Redis may be made now, and what becomes of the others.
//!
//! Purpose: subscriptions and questions about history wait in ten parts by their channels, so that
//! a breaker can let a share of them through: every second another tenth, and all in turn. A part
//! keeps its order.
//!
//! Pure. Thread: relay.

use std::collections::VecDeque;

use interlink_protocol::ids::placement_hash;
use interlink_relay::breaker::Traffic;

/// Parts of the channels: the share of a trial is one of them.
pub const PARTS: usize = 10;

/// The part of a channel.
pub fn part_of(channel: &str) -> usize {
    (placement_hash(channel.as_bytes()) % PARTS as u64) as usize
}

/// Which parts may be asked now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Admission {
    traffic: Traffic,
    turn: u64,
}

impl Admission {
    /// No part.
    pub const NONE: Self = Self::of(Traffic::None, 0);
    /// All of them.
    #[cfg(test)]
    pub const ALL: Self = Self::of(Traffic::All, 0);

    /// What a breaker lets through; a share are other parts with each turn.
    pub const fn of(traffic: Traffic, turn: u64) -> Self {
        Self { traffic, turn }
    }

    /// Whether nothing may be asked.
    pub fn is_none(self) -> bool {
        self.traffic == Traffic::None
    }

    /// Whether a part may be asked.
    pub fn admits(self, part: usize) -> bool {
        const PERCENT: u64 = 100 / PARTS as u64;
        let place = part as u64 + self.turn % PARTS as u64;
        self.traffic.admits(place * PERCENT)
    }
}

/// What waits, by the parts of its channels.
#[derive(Debug)]
pub struct Parts<T> {
    parts: [VecDeque<T>; PARTS],
    /// The part that is looked at first, so that each has its turn.
    first: usize,
}

impl<T> Default for Parts<T> {
    fn default() -> Self {
        Self {
            parts: Default::default(),
            first: 0,
        }
    }
}

impl<T> Parts<T> {
    /// Something waits.
    pub fn push(&mut self, part: usize, entry: T) {
        self.parts[part].push_back(entry);
    }

    /// Something was taken and waits again, before all others of its part.
    pub fn put_back(&mut self, part: usize, entry: T) {
        self.parts[part].push_front(entry);
    }

    /// The next entry that may be asked.
    pub fn next(&mut self, admission: Admission) -> Option<T> {
        self.next_of(|part| admission.admits(part))
    }

    /// The next entry that may not be asked.
    pub fn next_held(&mut self, admission: Admission) -> Option<T> {
        self.next_of(|part| !admission.admits(part))
    }

    fn next_of(&mut self, takes: impl Fn(usize) -> bool) -> Option<T> {
        let parts = (self.first..self.first + PARTS).map(|place| place % PARTS);
        for part in parts.filter(|part| takes(*part)) {
            if let Some(entry) = self.parts[part].pop_front() {
                self.first = part + 1;
                return Some(entry);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(traffic: Traffic, turn: u64) -> Vec<usize> {
        let admission = Admission::of(traffic, turn);
        (0..PARTS).filter(|part| admission.admits(*part)).collect()
    }

    #[test]
    fn a_share_is_whole_parts_and_each_has_its_turn() {
        let all: Vec<_> = (0..PARTS).collect();
        assert_eq!(admitted(Traffic::All, 3), all);
        assert!(admitted(Traffic::None, 3).is_empty());
        assert_eq!(admitted(Traffic::Share(10), 0), [0]);
        assert_eq!(admitted(Traffic::Share(25), 0), [0, 1, 2]);
        assert_eq!(admitted(Traffic::Share(50), 10), [0, 1, 2, 3, 4]);
        assert_eq!(admitted(Traffic::Share(100), 7), all);
        let mut tried: Vec<_> = (0..10)
            .flat_map(|turn| admitted(Traffic::Share(10), turn))
            .collect();
        tried.sort_unstable();
        assert_eq!(tried, all);
    }

    #[test]
    fn an_entry_is_either_asked_or_held_and_a_channel_keeps_its_order() {
        let names: Vec<_> = (0..100).map(|it| format!("class.{it}")).collect();
        let entries = || (0..2).flat_map(|round| names.iter().map(move |name| (name, round)));
        let filled = || {
            let mut parts = Parts::default();
            entries().for_each(|entry| parts.push(part_of(entry.0), entry));
            parts
        };
        let share = Admission::of(Traffic::Share(50), 0);
        let mut parts = filled();
        let first = parts.next(share).expect("half of them may be asked");
        parts.put_back(part_of(first.0), first);
        let asked: Vec<_> = std::iter::from_fn(|| parts.next(share)).collect();
        assert!(asked.iter().all(|(name, _)| share.admits(part_of(name))));
        let mut parts = filled();
        let held: Vec<_> = std::iter::from_fn(|| parts.next_held(share)).collect();
        assert!(held.iter().all(|(name, _)| !share.admits(part_of(name))));
        assert_eq!(asked.len() + held.len(), 2 * names.len());
        for name in &names {
            let all = asked.iter().chain(&held).filter(|it| it.0 == name);
            let rounds: Vec<_> = all.map(|it| it.1).collect();
            assert_eq!(rounds, [0, 1], "{name}");
        }
    }

    #[test]
    fn no_part_starves_another() {
        let mut parts = Parts::default();
        parts.push(2, "busy");
        parts.push(2, "busy");
        parts.push(4, "quiet");
        let two = [parts.next(Admission::ALL), parts.next(Admission::ALL)];
        assert!(two.contains(&Some("quiet")), "{two:?}");
    }
}
