//! The lists of the wheel: circular, doubly linked, in two reserved arrays.
//!
//! A node is a list head (one for each slot and one for the due list) or an index. Links name
//! nodes by number plus one, so that zeroed memory means "not linked" and "empty". A link has
//! 24 bits for the node; the upper eight of `next` hold the revolutions that are left.
//!
//! Invariants: a linked node has both links, an unlinked index has none; the head of an empty
//! list has none or names itself.
//!
//! Runs on: the shard thread that owns the wheel.

use super::limits::{WHEEL_INDICES_MAX, WHEEL_REVOLUTIONS_MAX, WHEEL_SLOTS};
use crate::memory::{MemoryError, Reserved};

/// The list of entries whose slot the hand has reached; the slots are the lists before it.
pub(super) const DUE: u32 = WHEEL_SLOTS as u32;

const HEADS: u32 = DUE + 1;
const NODE_BITS: u32 = 24;
const NODE_MASK: u32 = (1 << NODE_BITS) - 1;

const _: () = assert!(WHEEL_INDICES_MAX + HEADS as usize <= NODE_MASK as usize);
const _: () = assert!(WHEEL_REVOLUTIONS_MAX < 1 << (32 - NODE_BITS));

#[derive(Debug)]
pub(super) struct Links {
    next: Reserved<u32>,
    previous: Reserved<u32>,
    capacity: u32,
}

impl Links {
    pub(super) fn new(capacity: usize) -> Result<Self, MemoryError> {
        if capacity > WHEEL_INDICES_MAX {
            return Err(MemoryError::TooLarge {
                capacity,
                limit: WHEEL_INDICES_MAX,
            });
        }
        let nodes = capacity + HEADS as usize;
        let (next, previous) = (Reserved::new(nodes)?, Reserved::new(nodes)?);
        Ok(Self {
            next,
            previous,
            capacity: capacity as u32,
        })
    }

    pub(super) fn is_linked(&self, index: u32) -> bool {
        self.next[self.node(index) as usize] != 0
    }

    /// Adds an index that is not linked at the end of a list.
    pub(super) fn push(&mut self, list: u32, index: u32, revolutions: u32) {
        let node = self.node(index);
        let last = self.last(list);
        self.next[node as usize] = link(list) | revolutions << NODE_BITS;
        self.previous[node as usize] = link(last);
        self.set_next(last, node);
        self.previous[list as usize] = link(node);
    }

    /// Takes the first index of a list and its revolutions.
    pub(super) fn pop(&mut self, list: u32) -> Option<(u32, u32)> {
        let index = self.first(list)?;
        let revolutions = self.next[self.node(index) as usize] >> NODE_BITS;
        self.remove(index);
        Some((index, revolutions))
    }

    /// The first index of a list.
    pub(super) fn first(&self, list: u32) -> Option<u32> {
        let node = (self.next[list as usize] & NODE_MASK).checked_sub(1)?;
        node.checked_sub(HEADS)
    }

    /// Unlinks an index; returns the list that this emptied.
    pub(super) fn remove(&mut self, index: u32) -> Option<u32> {
        let node = self.node(index) as usize;
        let next = (self.next[node] & NODE_MASK) - 1;
        let previous = self.previous[node] - 1;
        self.set_next(previous, next);
        self.previous[next as usize] = link(previous);
        (self.next[node], self.previous[node]) = (0, 0);
        (next == previous).then_some(next)
    }

    /// Moves all entries of one list, in order, to another one that is empty.
    pub(super) fn move_all(&mut self, from: u32, to: u32) {
        debug_assert!(self.first(to).is_none());
        let Some(first) = self.first(from) else {
            return;
        };
        let (first, last) = (self.node(first), self.last(from));
        self.next[to as usize] = link(first);
        self.previous[to as usize] = link(last);
        self.previous[first as usize] = link(to);
        self.set_next(last, to);
        (self.next[from as usize], self.previous[from as usize]) = (0, 0);
    }

    /// The last node of a list, which is its head when the list is empty.
    fn last(&self, list: u32) -> u32 {
        self.previous[list as usize].checked_sub(1).unwrap_or(list)
    }

    /// Points `node` at `next` and leaves its revolutions.
    fn set_next(&mut self, node: u32, next: u32) {
        let revolutions = self.next[node as usize] & !NODE_MASK;
        self.next[node as usize] = link(next) | revolutions;
    }

    fn node(&self, index: u32) -> u32 {
        assert!(
            index < self.capacity,
            "index {index} is not below {}",
            self.capacity
        );
        index + HEADS
    }
}

fn link(node: u32) -> u32 {
    node + 1
}
