//! Rates of many keys that all threads share.
//!
//! Purpose: for each key the one number of its rate ([`Arrival`]), in a table of fixed size. A key
//! has a few places where it may stand; when they are taken, the key among them that is nearest
//! to having its whole burst again is forgotten.
//!
//! Invariants: no lock, and no call waits; the number of a key is changed by compare and swap, so
//! threads that share a key together admit what the rate admits. A key that is taken in place of
//! another while a third thread counts may gain or lose single requests.
//!
//! Limits: 16 bytes a place, from the start. Keys are hashed with a secret seed, so that nobody
//! can choose keys that share their places.
//!
//! Runs on: any thread. Threads have to pass the same clock.

use std::sync::atomic::{AtomicU64, Ordering};

use interlink_protocol::session::rate::{Arrival, Exceeded, Rate};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::limits::{CLAIMS, WAYS};

/// A key of a table, from [`RateTable::key`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateKey(pub u64);

#[derive(Debug, Default)]
struct Place {
    /// 0 is nobody.
    key: AtomicU64,
    arrival: AtomicU64,
}

/// The table.
#[derive(Debug)]
pub struct RateTable {
    places: Box<[Place]>,
    seed: u64,
}

impl RateTable {
    /// A table of `places`, a power of two.
    pub fn new(places: usize, seed: u64) -> Self {
        assert!(places.is_power_of_two() && places >= WAYS);
        Self {
            places: (0..places).map(|_| Place::default()).collect(),
            seed,
        }
    }

    /// The key of a name.
    pub fn key(&self, name: &[u8]) -> RateKey {
        RateKey(xxh3_64_with_seed(name, self.seed) | 1)
    }

    /// Takes requests of a key that together cost `cost`.
    ///
    /// # Errors
    /// When they come too early.
    pub fn take(&self, key: RateKey, rate: &Rate, now_ns: u64, cost: u32) -> Result<(), Exceeded> {
        if !rate.is_bounded() {
            return Ok(());
        }
        let arrival = &self.place(key).arrival;
        let mut known = arrival.load(Ordering::Relaxed);
        loop {
            let next = rate.check(Arrival(known), now_ns, cost)?.0;
            let swapped =
                arrival.compare_exchange_weak(known, next, Ordering::Relaxed, Ordering::Relaxed);
            match swapped {
                Ok(_) => return Ok(()),
                Err(other) => known = other,
            }
        }
    }

    /// Gives a request back that was taken and shall not count.
    pub fn refund(&self, key: RateKey, rate: &Rate) {
        let place = self.ways(key).find(|place| place.holds(key));
        if let Some(place) = place {
            let refunded = |known| Some(rate.refund(Arrival(known)).0);
            // The closure always gives a value.
            let _ = place
                .arrival
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, refunded);
        }
    }

    fn ways(&self, key: RateKey) -> impl Iterator<Item = &Place> {
        let start = (key.0 >> 1) as usize;
        let mask = self.places.len() - 1;
        (0..WAYS).map(move |way| &self.places[(start + way) & mask])
    }

    /// The place of a key, which is taken for it if it has none.
    fn place(&self, key: RateKey) -> &Place {
        let mut last = self.choose(key);
        for _ in 0..CLAIMS {
            let (place, held) = last;
            if held == key.0 || place.claim(held, key) {
                return place;
            }
            last = self.choose(key);
        }
        last.0
    }

    /// Where the key stands or may stand best, and who stands there.
    fn choose(&self, key: RateKey) -> (&Place, u64) {
        let mut best = None;
        for place in self.ways(key) {
            let held = place.key.load(Ordering::Relaxed);
            if held == key.0 {
                return (place, held);
            }
            let arrival = match held {
                0 => 0,
                _ => place.arrival.load(Ordering::Relaxed),
            };
            if best.is_none_or(|(_, _, least)| arrival < least) {
                best = Some((place, held, arrival));
            }
        }
        let (place, held, _) = best.expect("a key has places");
        (place, held)
    }
}

impl Place {
    fn holds(&self, key: RateKey) -> bool {
        self.key.load(Ordering::Relaxed) == key.0
    }

    fn claim(&self, held: u64, key: RateKey) -> bool {
        let claimed = self
            .key
            .compare_exchange(held, key.0, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
        if claimed {
            self.arrival.store(0, Ordering::Relaxed);
        }
        claimed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// Five at once, then one a minute.
    const RATE: Rate = Rate::new(1, 60, 5);

    fn admitted(table: &RateTable, name: &[u8], tries: usize) -> usize {
        let key = table.key(name);
        (0..tries)
            .filter(|_| table.take(key, &RATE, 1, 1).is_ok())
            .count()
    }

    #[test]
    fn keys_have_rates_of_their_own() {
        let table = RateTable::new(64, 7);
        for name in [&b"a"[..], b"b", b"c"] {
            assert_eq!(admitted(&table, name, 10), 5);
        }
        assert_eq!(admitted(&table, b"a", 10), 0);
    }

    #[test]
    fn a_refund_makes_room_and_of_a_stranger_does_nothing() {
        let table = RateTable::new(64, 7);
        let key = table.key(b"a");
        assert_eq!(admitted(&table, b"a", 10), 5);
        table.refund(key, &RATE);
        assert_eq!(admitted(&table, b"a", 10), 1);
        table.refund(table.key(b"stranger"), &RATE);
        assert_eq!(admitted(&table, b"stranger", 10), 5);
    }

    #[test]
    fn the_key_nearest_to_its_whole_burst_is_forgotten_first() {
        let table = RateTable::new(WAYS, 7);
        let names: Vec<Vec<u8>> = (0..=WAYS as u8).map(|name| vec![name]).collect();
        let (newcomer, known) = names.split_last().expect("names");
        for (number, name) in known.iter().enumerate() {
            let taken = if number == 3 { 1 } else { 5 };
            assert_eq!(admitted(&table, name, taken), taken);
        }
        assert_eq!(admitted(&table, newcomer, 10), 5);
        // The one with the most left had to go; the others are still known.
        assert_eq!(admitted(&table, &known[2], 10), 0);
        assert_eq!(admitted(&table, &known[4], 10), 0);
    }

    #[test]
    fn threads_together_admit_what_the_rate_admits() {
        const THREADS: usize = 4;
        const RATE: Rate = Rate::new(1, 60, 10_000);
        let table = Arc::new(RateTable::new(64, 7));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let table = Arc::clone(&table);
                std::thread::spawn(move || {
                    let key = table.key(b"shared");
                    let tries = (0..10_000).filter(|_| table.take(key, &RATE, 1, 1).is_ok());
                    tries.count()
                })
            })
            .collect();
        let sum: usize = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .sum();
        assert_eq!(sum, 10_000);
    }

    #[test]
    fn a_flood_of_keys_takes_no_more_places() {
        let table = RateTable::new(64, 7);
        for number in 0..100_000_u32 {
            let key = table.key(&number.to_le_bytes());
            assert_eq!(table.take(key, &RATE, 1, 1), Ok(()));
        }
        assert_eq!(table.places.len(), 64);
    }
}
