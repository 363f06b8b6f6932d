//! The four rings of one ordered pair of threads.
//!
//! Invariants: one thread pushes and one takes, which makes the length read by the pusher an
//! upper bound; entries of one priority keep their order.
//!
//! Runs on: the pushing and the taking thread, which share it by `Arc`.

use super::limits::{reply_places, ring_places, LANE_ENTRY_BYTES_MAX};
use crossbeam_queue::ArrayQueue;
use interlink_protocol::priority::Priority;
use std::mem::size_of;

/// Four bounded rings from one thread to another.
pub(super) struct Rings<T> {
    by_priority: [ArrayQueue<T>; Priority::COUNT],
    for_replies: [usize; Priority::COUNT],
}

impl<T> Rings<T> {
    /// Rings sized for a node with `threads` connected threads.
    pub(super) fn new(threads: usize) -> Self {
        const {
            assert!(
                size_of::<T>() <= LANE_ENTRY_BYTES_MAX,
                "a lane entry is too large"
            );
        }
        Self {
            by_priority: Priority::ALL.map(|class| ArrayQueue::new(ring_places(threads, class))),
            for_replies: Priority::ALL.map(|class| reply_places(threads, class)),
        }
    }

    /// Pushes unless that would use the room of replies; gives the entry back then.
    pub(super) fn push(&self, priority: Priority, entry: T) -> Result<(), T> {
        let ring = &self.by_priority[priority.index()];
        if ring.len() + self.for_replies[priority.index()] >= ring.capacity() {
            return Err(entry);
        }
        ring.push(entry)
    }

    /// Pushes a reply for which the other side reserved room.
    pub(super) fn push_reply(&self, priority: Priority, entry: T) -> Result<(), T> {
        self.by_priority[priority.index()].push(entry)
    }

    pub(super) fn pop(&self, priority: Priority) -> Option<T> {
        let ring = &self.by_priority[priority.index()];
        // Looking first costs two loads; popping an empty ring costs a fence.
        if ring.is_empty() {
            return None;
        }
        ring.pop()
    }

    pub(super) fn is_empty(&self, priority: Priority) -> bool {
        self.by_priority[priority.index()].is_empty()
    }

    /// How many entries wait.
    pub(super) fn len(&self, priority: Priority) -> usize {
        self.by_priority[priority.index()].len()
    }

    /// How many replies may be outstanding at once.
    pub(super) fn reply_room(&self, priority: Priority) -> usize {
        self.for_replies[priority.index()]
    }
}
