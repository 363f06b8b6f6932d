//! Which idempotency keys of services were accepted: exact, two rotating sets.
//!
//! A service names each publish by a key of its own, which is hashed to a [`KeyId`]; there is no
//! counter whose neighbours would tell what is missing. Ids are held in a young and an old set
//! that change places every [`DEDUPE_GENERATION_S`], so that an id is known for five to ten
//! minutes.
//!
//! Invariants: an id is accepted at most once while it is known. When the young set is full the
//! sets change places early; `forgotten_early` counts the ids that were lost before their time.
//! Limits: [`KEYS_PER_SET`] ids a set; the memory of both is taken at the first id.
//! Runs on: the shard's thread.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use interlink_protocol::ids::InstanceId;

use crate::dedupe::fingerprint;
use crate::limits::{DEDUPE_GENERATION_S, KEYS_PER_SET};

/// What an idempotency key is known by: a hash of the caller, the channel and the key, which
/// stands where a session's records have their publisher instance.
pub type KeyId = InstanceId;

/// Number that a journal record has in place of a client message id when its instance is a
/// [`KeyId`]; those of sessions count from 1.
pub const KEY_MESSAGE_ID: u64 = 0;

/// What is known about an idempotency key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyVerdict {
    /// Not accepted, as far as is known.
    New,
    /// Accepted with the same payload, and settled.
    Settled,
    /// Accepted with the same payload, and waiting under this ticket.
    Waiting(u32),
    /// Accepted with another payload.
    Conflict,
}

/// The accepted id of a key as it is handed from an earlier boot to a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecoveredKey {
    /// The id.
    pub id: KeyId,
    /// Fingerprint of the payload.
    pub fingerprint: u32,
    /// When it was accepted, seconds since the Unix epoch.
    pub second: u32,
}

#[derive(Clone, Copy, Debug)]
struct Accepted {
    fingerprint: u32,
    /// 0 once it is settled.
    ticket: u32,
}

/// The ids are hashes already.
#[derive(Default)]
struct Folded(u64);

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 ^= value;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Set = HashMap<(u64, u64), Accepted, BuildHasherDefault<Folded>>;

/// The accepted keys of a shard; times are seconds of a clock that never goes back.
#[derive(Debug, Default)]
pub struct KeyMemory {
    young: Set,
    old: Set,
    since_s: u32,
    forgotten_early: u64,
}

fn halves(id: KeyId) -> (u64, u64) {
    ((id.0 >> 64) as u64, id.0 as u64)
}

impl KeyMemory {
    /// Judges an id.
    pub fn look_up(&self, id: KeyId, payload_hash: u64) -> KeyVerdict {
        let found = self.find(id);
        match found {
            None => KeyVerdict::New,
            Some(known) if known.fingerprint != fingerprint(payload_hash) => KeyVerdict::Conflict,
            Some(known) if known.ticket == 0 => KeyVerdict::Settled,
            Some(known) => KeyVerdict::Waiting(known.ticket),
        }
    }

    /// Remembers an id that was judged `New` and has been accepted; it waits under `ticket`, or
    /// is settled if that is 0.
    pub fn insert(&mut self, id: KeyId, payload_hash: u64, ticket: u32, now_s: u32) {
        let entry = Accepted {
            fingerprint: fingerprint(payload_hash),
            ticket,
        };
        self.add(id, entry, now_s);
    }

    /// Remembers an id that an earlier boot accepted. They may come in any order.
    pub fn restore(&mut self, key: &RecoveredKey, now_s: u32) {
        if now_s.saturating_sub(key.second) < 2 * DEDUPE_GENERATION_S {
            let entry = Accepted {
                fingerprint: key.fingerprint,
                ticket: 0,
            };
            self.add(key.id, entry, now_s);
        }
    }

    /// The publish of an id is settled.
    pub fn settle(&mut self, id: KeyId) {
        let key = halves(id);
        // An id that was forgotten meanwhile has nobody to tell.
        let found = match self.young.get_mut(&key) {
            Some(entry) => Some(entry),
            None => self.old.get_mut(&key),
        };
        if let Some(entry) = found {
            entry.ticket = 0;
        }
    }

    /// Ids held.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether no id is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ids that were forgotten before they were five minutes old.
    pub fn forgotten_early(&self) -> u64 {
        self.forgotten_early
    }

    fn find(&self, id: KeyId) -> Option<&Accepted> {
        let key = halves(id);
        self.young.get(&key).or_else(|| self.old.get(&key))
    }

    fn add(&mut self, id: KeyId, entry: Accepted, now_s: u32) {
        if self.young.capacity() == 0 {
            self.young.reserve(KEYS_PER_SET);
            self.old.reserve(KEYS_PER_SET);
            self.since_s = now_s;
        }
        let elapsed_s = now_s.saturating_sub(self.since_s);
        if elapsed_s >= DEDUPE_GENERATION_S {
            self.rotate(now_s);
            if elapsed_s >= 2 * DEDUPE_GENERATION_S {
                self.rotate(now_s);
            }
        } else if self.young.len() >= KEYS_PER_SET {
            self.forgotten_early += self.old.len() as u64;
            self.rotate(now_s);
        }
        self.young.insert(halves(id), entry);
    }

    fn rotate(&mut self, now_s: u32) {
        std::mem::swap(&mut self.young, &mut self.old);
        self.young.clear();
        self.since_s = now_s;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: u32 = 1_000_000;

    #[test]
    fn a_key_is_accepted_once_and_judged_by_its_payload() {
        let mut memory = KeyMemory::default();
        let id = InstanceId(7);
        assert_eq!(memory.look_up(id, 11), KeyVerdict::New);
        memory.insert(id, 11, 3, T0);
        assert_eq!(memory.look_up(id, 11), KeyVerdict::Waiting(3));
        assert_eq!(memory.look_up(id, 12), KeyVerdict::Conflict);
        memory.settle(id);
        assert_eq!(memory.look_up(id, 11), KeyVerdict::Settled);
        assert_eq!(memory.look_up(InstanceId(8), 11), KeyVerdict::New);
    }

    #[test]
    fn a_key_is_known_for_five_to_ten_minutes() {
        let mut memory = KeyMemory::default();
        memory.insert(InstanceId(1), 1, 0, T0);
        memory.insert(InstanceId(2), 1, 0, T0 + DEDUPE_GENERATION_S);
        assert_eq!(memory.look_up(InstanceId(1), 1), KeyVerdict::Settled);
        memory.insert(InstanceId(3), 1, 0, T0 + 2 * DEDUPE_GENERATION_S);
        assert_eq!(memory.look_up(InstanceId(1), 1), KeyVerdict::New);
        assert_eq!(memory.look_up(InstanceId(2), 1), KeyVerdict::Settled);
        memory.insert(InstanceId(4), 1, 0, T0 + 9 * DEDUPE_GENERATION_S);
        assert_eq!(memory.len(), 1);
        assert_eq!(memory.forgotten_early(), 0);
    }

    #[test]
    fn a_full_set_forgets_the_oldest_early_and_counts_them() {
        let mut memory = KeyMemory::default();
        let id = |number: usize| InstanceId(number as u128);
        for number in 0..KEYS_PER_SET {
            memory.insert(id(number), 1, 0, T0);
        }
        let taken = memory.young.capacity();
        memory.insert(id(KEYS_PER_SET), 1, 0, T0);
        assert_eq!(memory.look_up(id(0), 1), KeyVerdict::Settled);
        assert_eq!(memory.forgotten_early(), 0);
        for number in KEYS_PER_SET + 1..=2 * KEYS_PER_SET {
            memory.insert(id(number), 1, 0, T0);
        }
        assert_eq!(memory.look_up(id(0), 1), KeyVerdict::New);
        assert_eq!(memory.forgotten_early(), KEYS_PER_SET as u64);
        assert_eq!(memory.young.capacity(), taken, "sets never grow");
    }

    #[test]
    fn recovered_keys_that_are_too_old_are_not_taken() {
        let mut memory = KeyMemory::default();
        let key = |id: u128, second: u32| RecoveredKey {
            id: InstanceId(id),
            fingerprint: fingerprint(5),
            second,
        };
        memory.restore(&key(1, T0 - 10), T0);
        memory.restore(&key(2, T0 - 2 * DEDUPE_GENERATION_S), T0);
        assert_eq!(memory.look_up(InstanceId(1), 5), KeyVerdict::Settled);
        assert_eq!(memory.look_up(InstanceId(1), 6), KeyVerdict::Conflict);
        assert_eq!(memory.look_up(InstanceId(2), 5), KeyVerdict::New);
    }
}
