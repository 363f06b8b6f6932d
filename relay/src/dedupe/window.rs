//! The accepted ids of one publisher instance in one class.
//!
//! Time is kept by generations of five minutes, not per id: at most two closed ones and the
//! running one are held, so that an id is remembered for 10 to 15 minutes. An id that comes
//! late joins the generation of its neighbours and may leave with them earlier; it is then
//! `TooOld`, not new.

use std::collections::VecDeque;

use crate::dedupe::Verdict;
use crate::limits::{DEDUPE_GENERATION_S, DEDUPE_WINDOW_IDS};

/// An accepted id.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    /// The id minus the window's base.
    id_low: u32,
    fingerprint: u32,
}

/// The last accepted ids of one publisher instance in one class; times are seconds of a
/// clock that never goes back.
#[derive(Clone, Debug)]
pub struct ClassWindow {
    entries: VecDeque<Accepted>,
    base: u64,
    highest: u64,
    forgotten_through: u64,
    /// Entries of each generation, oldest first; their sum is `entries.len()`.
    generations: [u16; 3],
    generation_since_s: u32,
    last_s: u32,
}

impl ClassWindow {
    /// A window that has accepted nothing.
    pub fn new(now_s: u32) -> Self {
        Self {
            entries: VecDeque::new(),
            base: 0,
            highest: 0,
            forgotten_through: 0,
            generations: [0; 3],
            generation_since_s: now_s,
            last_s: now_s,
        }
    }

    /// Judges an id.
    pub fn look_up(&self, id: u64, payload_hash: u64) -> Verdict {
        if id > self.highest {
            return Verdict::New;
        }
        if let Ok(index) = self.search(id) {
            let same = self.entries[index].fingerprint == fingerprint(payload_hash);
            return if same {
                Verdict::Repeat
            } else {
                Verdict::Conflict
            };
        }
        let spanned = self.highest - id <= u64::from(u32::MAX);
        if id <= self.forgotten_through || !spanned {
            return Verdict::TooOld;
        }
        // Among a full window's ids a late one would be the first to be forgotten.
        if self.entries.len() >= DEDUPE_WINDOW_IDS && id < self.lowest() {
            return Verdict::TooOld;
        }
        Verdict::New
    }

    /// Remembers an id that was judged `New`.
    pub fn insert(&mut self, id: u64, payload_hash: u64, now_s: u32) {
        self.prune(now_s);
        self.last_s = self.last_s.max(now_s);
        if self.entries.len() >= DEDUPE_WINDOW_IDS {
            self.forget_oldest();
        }
        self.include(id);
        let id_low = (id - self.base) as u32;
        let entry = Accepted {
            id_low,
            fingerprint: fingerprint(payload_hash),
        };
        if id > self.highest {
            self.highest = id;
            self.entries.push_back(entry);
            self.generations[2] += 1;
        } else if let Err(index) = self.search(id) {
            self.entries.insert(index, entry);
            self.generations[self.generation_of(index)] += 1;
        }
    }

    /// Forgets what is older than 10 minutes.
    pub fn prune(&mut self, now_s: u32) {
        let elapsed = now_s.saturating_sub(self.generation_since_s) / DEDUPE_GENERATION_S;
        for _ in 0..elapsed.min(3) {
            for _ in 0..self.generations[0] {
                self.forget_front();
            }
            self.generations = [self.generations[1], self.generations[2], 0];
        }
        self.generation_since_s += elapsed * DEDUPE_GENERATION_S;
    }

    /// Highest id accepted.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// The entry beside which the next one will stand.
    pub fn newest(&self) -> Option<&Accepted> {
        self.entries.back()
    }

    /// Ids held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no id is held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Seconds since something was accepted.
    pub fn idle_s(&self, now_s: u32) -> u32 {
        now_s.saturating_sub(self.last_s)
    }

    /// The held ids with their fingerprints, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        self.entries
            .iter()
            .map(|entry| (self.base + u64::from(entry.id_low), entry.fingerprint))
    }

    fn lowest(&self) -> u64 {
        self.entries
            .front()
            .map_or(u64::MAX, |entry| self.base + u64::from(entry.id_low))
    }

    fn search(&self, id: u64) -> Result<usize, usize> {
        match id.checked_sub(self.base).map(u32::try_from) {
            Some(Ok(low)) => self
                .entries
                .binary_search_by_key(&low, |entry| entry.id_low),
            Some(Err(_)) => Err(self.entries.len()),
            None => Err(0),
        }
    }

    fn generation_of(&self, index: usize) -> usize {
        let first = usize::from(self.generations[0]);
        let second = first + usize::from(self.generations[1]);
        usize::from(index >= first) + usize::from(index >= second)
    }

    /// Moves the base so that `id` and all held ids can be stored relative to it.
    fn include(&mut self, id: u64) {
        if self.entries.is_empty() {
            self.base = id;
        }
        if id >= self.base && id - self.base <= u64::from(u32::MAX) {
            return;
        }
        // A counter that jumps by four billion gives up what it left behind.
        while !self.entries.is_empty() && id.saturating_sub(self.lowest()) > u64::from(u32::MAX) {
            self.forget_oldest();
        }
        let base = self.lowest().min(id);
        for entry in &mut self.entries {
            entry.id_low = (self.base + u64::from(entry.id_low) - base) as u32;
        }
        self.base = base;
    }

    fn forget_oldest(&mut self) {
        if let Some(generation) = self.generations.iter_mut().find(|count| **count > 0) {
            *generation -= 1;
        }
        self.forget_front();
    }

    fn forget_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            let id = self.base + u64::from(entry.id_low);
            self.forgotten_through = self.forgotten_through.max(id);
        }
    }
}

/// What a window keeps of a payload's hash.
pub(crate) fn fingerprint(payload_hash: u64) -> u32 {
    (payload_hash ^ payload_hash >> 32) as u32
}
