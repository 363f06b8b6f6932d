//! `Wheel`: the deadlines of all connections of a shard.
//!
//! Purpose: heartbeats, their answers, write time-outs and pauses by the hundred thousand, each
//! set, moved and cancelled in constant time and without memory of its own.
//!
//! How: 4,096 slots of 10 ms, each a circular list through two reserved arrays of links, eight
//! bytes an index. A deadline beyond one revolution (40.96 s) carries how many more the hand
//! has to make. When the hand reaches a slot, its list becomes the due list, of which a turn
//! takes at most its limit; the hand waits until the due list is empty, so that leftovers keep
//! their order and no slot is passed unread.
//! Source: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987, scheme 6.
//!
//! Invariants: an index has at most one deadline; nothing fires before its time; what is due
//! fires in the order of its slots; a cancelled index never fires.
//!
//! Limits: `limits.rs`. A deadline beyond the horizon of 256 revolutions (2 h 54 min) fires at
//! the horizon: who sets one that far compares the time and schedules again.
//!
//! Runs on: the shard thread that owns it. Time comes in as milliseconds of any clock that
//! never goes back.

pub mod limits;
mod links;

#[cfg(test)]
mod tests;

use crate::memory::MemoryError;
use limits::{WHEEL_REVOLUTIONS_MAX, WHEEL_SLOTS, WHEEL_TICK_MS};
use links::{Links, DUE};

const OCCUPANCY_WORDS: usize = WHEEL_SLOTS / 64;

/// One deadline for each of a fixed number of indices.
#[derive(Debug)]
pub struct Wheel {
    links: Links,
    /// One bit a slot, set while its list has entries.
    occupied: [u64; OCCUPANCY_WORDS],
    /// The last tick whose slot was moved to the due list.
    hand: u64,
    len: usize,
}

impl Wheel {
    /// A wheel for the indices below `capacity`, with the hand at `now_ms`.
    ///
    /// # Errors
    /// When the address space is refused or the capacity exceeds the width of a link.
    pub fn new(capacity: usize, now_ms: u64) -> Result<Self, MemoryError> {
        let links = Links::new(capacity)?;
        let hand = now_ms / WHEEL_TICK_MS;
        Ok(Self {
            links,
            occupied: [0; OCCUPANCY_WORDS],
            hand,
            len: 0,
        })
    }

    /// Sets the deadline of an index, in place of an earlier one.
    ///
    /// # Panics
    /// When the index is not below the capacity.
    pub fn schedule(&mut self, index: u32, at_ms: u64) {
        self.cancel(index);
        self.len += 1;
        // Rounded up: a deadline may fire late by a tick and never early.
        let tick = at_ms.div_ceil(WHEEL_TICK_MS);
        if tick <= self.hand {
            self.links.push(DUE, index, 0);
            return;
        }
        let revolutions = ((tick - self.hand - 1) / WHEEL_SLOTS as u64).min(WHEEL_REVOLUTIONS_MAX);
        let slot = (tick % WHEEL_SLOTS as u64) as u32;
        self.links.push(slot, index, revolutions as u32);
        self.occupied[slot as usize / 64] |= 1 << (slot % 64);
    }

    /// Removes the deadline of an index, if it has one; returns whether it had.
    ///
    /// # Panics
    /// When the index is not below the capacity.
    pub fn cancel(&mut self, index: u32) -> bool {
        if !self.links.is_linked(index) {
            return false;
        }
        if let Some(emptied) = self.links.remove(index).filter(|list| *list != DUE) {
            self.occupied[emptied as usize / 64] &= !(1 << (emptied % 64));
        }
        self.len -= 1;
        true
    }

    /// Moves the hand towards `now_ms` and appends the indices that are due to `out`, which
    /// then have no deadline any more. At most `limit` entries are looked at; the rest is
    /// carried to the next call. Returns whether something due was left behind.
    pub fn advance(&mut self, now_ms: u64, limit: usize, out: &mut Vec<u32>) -> bool {
        let now = now_ms / WHEEL_TICK_MS;
        for _ in 0..limit {
            let Some((index, revolutions)) = self.next_due(now) else {
                return false;
            };
            if revolutions == 0 {
                self.len -= 1;
                out.push(index);
                continue;
            }
            // The hand stands on the slot that the entry came from.
            let slot = (self.hand % WHEEL_SLOTS as u64) as u32;
            self.links.push(slot, index, revolutions - 1);
            self.occupied[slot as usize / 64] |= 1 << (slot % 64);
        }
        self.links.first(DUE).is_some() || self.next_occupied(now).is_some()
    }

    /// When to call `advance` again: the time of the next slot with entries, of which some may
    /// be due in a later revolution only. `None` when nothing is scheduled.
    #[must_use]
    pub fn next_deadline_ms(&self) -> Option<u64> {
        if self.links.first(DUE).is_some() {
            return Some(self.hand * WHEEL_TICK_MS);
        }
        let tick = self.next_occupied(self.hand + WHEEL_SLOTS as u64)?;
        Some(tick * WHEEL_TICK_MS)
    }

    /// Whether an index has a deadline.
    ///
    /// # Panics
    /// When the index is not below the capacity.
    #[must_use]
    pub fn is_scheduled(&self, index: u32) -> bool {
        self.links.is_linked(index)
    }

    /// How many deadlines are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no deadline is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The next entry to look at: from the due list, else from the next slots up to `now`.
    fn next_due(&mut self, now: u64) -> Option<(u32, u32)> {
        if let Some(entry) = self.links.pop(DUE) {
            return Some(entry);
        }
        let Some(tick) = self.next_occupied(now) else {
            // Nothing waits on the way, so the hand may jump any distance.
            self.hand = self.hand.max(now);
            return None;
        };
        self.hand = tick;
        let slot = (tick % WHEEL_SLOTS as u64) as u32;
        self.occupied[slot as usize / 64] &= !(1 << (slot % 64));
        self.links.move_all(slot, DUE);
        self.links.pop(DUE)
    }

    /// The first tick after the hand, and not after `until`, whose slot has entries. A slot
    /// lies at most one revolution ahead.
    fn next_occupied(&self, until: u64) -> Option<u64> {
        let mut tick = self.hand + 1;
        let end = until.min(self.hand + WHEEL_SLOTS as u64);
        while tick <= end {
            let slot = (tick % WHEEL_SLOTS as u64) as usize;
            let word = self.occupied[slot / 64] >> (slot % 64);
            if word != 0 {
                let tick = tick + u64::from(word.trailing_zeros());
                return (tick <= end).then_some(tick);
            }
            tick += 64 - slot as u64 % 64;
        }
        None
    }
}
