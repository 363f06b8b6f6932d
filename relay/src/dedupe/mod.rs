//! Which client message ids were accepted: exact, per publisher instance and class.
//!
//! A [`PublisherWindow`] holds the last 1,024 accepted ids of one instance in each class,
//! each with a fingerprint of its payload, for 10 minutes. An id above all of them is new;
//! that is the hot path and constant time. An id that is not held although it is not above
//! the highest forgotten one cannot be judged and is answered `TooOld`, never taken again.
//!
//! Invariants:
//! - An id is accepted at most once while its window lives.
//! - Entries lie in the order of their ids; ids at or below `forgotten_through` are gone.
//! - Eight bytes an entry: the id relative to the window's base and 32 bits of the
//!   payload's hash. Another payload under a known id is taken for the same with a
//!   probability of 2^-32, which only deceives the publisher that sent it.
//!
//! Services have keys of their own choice instead of counters; [`KeyMemory`] remembers these.
//!
//! Limits: [`DEDUPE_WINDOW_IDS`], [`DEDUPE_ENTRIES_MAX`], [`DEDUPE_PUBLISHERS_MAX`]. When a
//! table is full, the publisher that was quiet longest among the next few goes, and the
//! counters tell how many went before five minutes were over.
//! Runs on: the shard's thread.

mod keys;
mod publisher;
#[cfg(test)]
mod tests;
mod window;

use std::collections::HashMap;

use interlink_protocol::ids::InstanceId;
use interlink_protocol::priority::Priority;

use crate::limits::{
    DEDUPE_ENTRIES_MAX, DEDUPE_EVICTION_CANDIDATES, DEDUPE_KEEP_PROMISED_S, DEDUPE_KEEP_S,
    DEDUPE_PUBLISHERS_MAX, DEDUPE_WINDOW_IDS,
};
pub use keys::{KeyId, KeyMemory, KeyVerdict, RecoveredKey, KEY_MESSAGE_ID};
pub use publisher::PublisherWindow;
pub(crate) use window::fingerprint;
pub use window::{Accepted, ClassWindow};

const _: () = assert!(DEDUPE_WINDOW_IDS <= u16::MAX as usize);

/// What is known about a client message id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Never accepted.
    New,
    /// Accepted before with the same payload. Answer it once everything that the journal
    /// holds at this moment is durable: its first copy may still be on the way.
    Repeat,
    /// Accepted before with another payload.
    Conflict,
    /// Older than what is remembered.
    TooOld,
}

/// Bounds of a table.
#[derive(Clone, Copy, Debug)]
pub struct DedupeLimits {
    /// Most windows.
    pub publishers_max: usize,
    /// Most ids in all windows together; 8 bytes each.
    pub entries_max: usize,
}

impl Default for DedupeLimits {
    fn default() -> Self {
        Self {
            publishers_max: DEDUPE_PUBLISHERS_MAX,
            entries_max: DEDUPE_ENTRIES_MAX,
        }
    }
}

/// Plain counters.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct DedupeCounters {
    /// Windows that ran out of time.
    pub expired: u64,
    /// Windows that were dropped because a table was full.
    pub evicted: u64,
    /// Of these, windows that had accepted something in the last five minutes.
    pub evicted_early: u64,
}

#[derive(Debug)]
struct Slot {
    instance: InstanceId,
    window: PublisherWindow,
}

/// The windows of many publishers.
#[derive(Debug)]
pub struct PublisherWindows {
    slots_by_instance: HashMap<InstanceId, u32>,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    entries: usize,
    /// Next slot that the sweep looks at.
    hand: usize,
    limits: DedupeLimits,
    counters: DedupeCounters,
}

impl PublisherWindows {
    /// An empty table.
    pub fn new(limits: DedupeLimits) -> Self {
        Self {
            slots_by_instance: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            entries: 0,
            hand: 0,
            limits,
            counters: DedupeCounters::default(),
        }
    }

    /// Judges an id without changing anything.
    pub fn look_up(
        &self,
        instance: InstanceId,
        class: Priority,
        client_message_id: u64,
        payload_hash: u64,
    ) -> Verdict {
        match self.window(instance) {
            Some(window) => window.look_up(class, client_message_id, payload_hash),
            None => Verdict::New,
        }
    }

    /// Remembers an id that was judged `New` and has been accepted, at `now_s` seconds
    /// since the Unix epoch.
    pub fn insert(
        &mut self,
        instance: InstanceId,
        class: Priority,
        client_message_id: u64,
        payload_hash: u64,
        now_s: u32,
    ) {
        let index = match self.slots_by_instance.get(&instance) {
            Some(index) => *index as usize,
            None => self.add(instance, now_s),
        };
        let Some(slot) = self.slots[index].as_mut() else {
            return;
        };
        let before = slot.window.len();
        slot.window
            .insert(class, client_message_id, payload_hash, now_s);
        self.entries = self.entries - before + slot.window.len();
        if self.entries > self.limits.entries_max {
            self.evict(index, now_s);
        }
    }

    /// Looks at up to `budget` windows for what is older than 10 minutes. Called with a
    /// small budget every turn or so, all of a table is visited in good time.
    pub fn sweep(&mut self, now_s: u32, budget: usize) {
        for _ in 0..budget.min(self.slots.len()) {
            self.hand = (self.hand + 1) % self.slots.len();
            let Some(slot) = self.slots[self.hand].as_mut() else {
                continue;
            };
            let before = slot.window.len();
            slot.window.prune(now_s);
            self.entries = self.entries - before + slot.window.len();
            if slot.window.idle_s(now_s) >= DEDUPE_KEEP_S {
                let instance = slot.instance;
                self.remove(instance);
                self.counters.expired += 1;
            }
        }
    }

    /// The window of one instance.
    pub fn window(&self, instance: InstanceId) -> Option<&PublisherWindow> {
        let index = *self.slots_by_instance.get(&instance)?;
        self.slots[index as usize].as_ref().map(|slot| &slot.window)
    }

    /// Publishers held.
    pub fn len(&self) -> usize {
        self.slots_by_instance.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.slots_by_instance.is_empty()
    }

    /// Ids held.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Counters since the start.
    pub fn counters(&self) -> &DedupeCounters {
        &self.counters
    }

    /// Gives every window away, in slot order; for handing recovered ones to shards.
    pub fn into_windows(self) -> impl Iterator<Item = (InstanceId, PublisherWindow)> {
        self.slots
            .into_iter()
            .flatten()
            .map(|slot| (slot.instance, slot.window))
    }

    fn add(&mut self, instance: InstanceId, now_s: u32) -> usize {
        if self.slots_by_instance.len() >= self.limits.publishers_max {
            self.evict(usize::MAX, now_s);
        }
        let slot = Some(Slot {
            instance,
            window: PublisherWindow::default(),
        });
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = slot;
                index
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        self.slots_by_instance.insert(instance, index);
        index as usize
    }

    fn remove(&mut self, instance: InstanceId) {
        if let Some(index) = self.slots_by_instance.remove(&instance) {
            if let Some(slot) = self.slots[index as usize].take() {
                self.entries -= slot.window.len();
            }
            self.free.push(index);
        }
    }

    /// Drops the quietest of the next few windows, but not the one at `spared`.
    fn evict(&mut self, spared: usize, now_s: u32) {
        let mut quietest: Option<(u32, InstanceId)> = None;
        let mut seen = 0;
        for _ in 0..self.slots.len() {
            self.hand = (self.hand + 1) % self.slots.len();
            let Some(slot) = self.slots[self.hand].as_ref() else {
                continue;
            };
            if self.hand == spared {
                continue;
            }
            let idle_s = slot.window.idle_s(now_s);
            if quietest.is_none_or(|(most, _)| idle_s > most) {
                quietest = Some((idle_s, slot.instance));
            }
            seen += 1;
            if seen == DEDUPE_EVICTION_CANDIDATES {
                break;
            }
        }
        if let Some((idle_s, instance)) = quietest {
            self.remove(instance);
            self.counters.evicted += 1;
            self.counters.evicted_early += u64::from(idle_s < DEDUPE_KEEP_PROMISED_S);
        }
    }
}
