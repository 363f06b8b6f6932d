//! When a key set is fetched, and what is known of it meanwhile.
//!
//! Rules: it is fetched at the start and every refresh interval; a token with a `kid` that the
//! set does not have asks for an early fetch. No two fetches begin within the cool-down,
//! whatever clients send and however the source answers. While the source is away, the keys
//! stay for the keep time. A `kid` that was asked for and that the fetch did not bring is
//! refused until the cool-down is over, and may be asked for again then.
//!
//! Invariants: time is an argument; what clients send costs at most
//! [`UNKNOWN_KIDS_MAX`] numbers.
//! Runs on: the control thread.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::address::{Address, KeySource};
use super::key::Key;
use super::key_set::{kid_hash, KeySet, Remote};
use super::limits::UNKNOWN_KIDS_MAX;

/// Times of all sources.
#[derive(Clone, Copy, Debug)]
pub struct SourceTimes {
    /// Between two regular fetches.
    pub refresh: Duration,
    /// Between any two fetches.
    pub cooldown: Duration,
    /// How long keys are used after the last good fetch.
    pub keep: Duration,
}

/// Why a fetch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The start, the interval, or a signal.
    Regular,
    /// A token named an unknown key.
    UnknownKey,
}

/// One issuer's key set.
#[derive(Debug)]
pub(super) struct Source {
    issuer: Arc<str>,
    address: Address,
    keys: Vec<Key>,
    fetched_at: Option<Instant>,
    tried_at: Option<Instant>,
    is_fetching: bool,
    wanted: BTreeSet<u64>,
    absent: Vec<u64>,
}

impl Source {
    pub(super) fn new(source: KeySource) -> Self {
        Self {
            issuer: source.issuer.into(),
            address: source.address,
            keys: Vec::new(),
            fetched_at: None,
            tried_at: None,
            is_fetching: false,
            wanted: BTreeSet::new(),
            absent: Vec::new(),
        }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// When the present keys were fetched.
    pub(super) fn fetched_at(&self) -> Option<Instant> {
        self.fetched_at
    }

    /// The keys as the verifier wants them.
    pub(super) fn key_set(&self) -> KeySet {
        KeySet {
            issuer: Arc::clone(&self.issuer),
            keys: self.keys.clone(),
            remote: Some(Remote {
                is_known: self.fetched_at.is_some(),
                absent: self.absent.clone(),
            }),
        }
    }

    /// A token named this key, which no set has.
    pub(super) fn want(&mut self, kid: u64) {
        let known = self.keys.iter().filter_map(Key::kid);
        let has_it = { known }.any(|known| kid_hash(known) == kid);
        if !has_it && self.wanted.len() < UNKNOWN_KIDS_MAX {
            self.wanted.insert(kid);
        }
    }

    /// Forgets the cool-down: an operator asks.
    pub(super) fn hurry(&mut self) {
        self.tried_at = None;
        self.absent.clear();
    }

    /// Begins a fetch when one is due.
    pub(super) fn begin(&mut self, now: Instant, times: &SourceTimes) -> Option<Cause> {
        if self.is_fetching || self.is_cooling(now, times) {
            return None;
        }
        let has_passed = |since: Option<Instant>, length| {
            since.is_none_or(|since| now.duration_since(since) >= length)
        };
        let cause = if self.tried_at.is_none() || has_passed(self.fetched_at, times.refresh) {
            Cause::Regular
        } else if !self.wanted.is_empty() {
            Cause::UnknownKey
        } else {
            return None;
        };
        self.is_fetching = true;
        self.tried_at = Some(now);
        Some(cause)
    }

    /// A fetch brought these keys.
    pub(super) fn on_fetched(&mut self, keys: Vec<Key>, now: Instant) {
        self.is_fetching = false;
        self.fetched_at = Some(now);
        let present: BTreeSet<u64> = keys.iter().filter_map(Key::kid).map(kid_hash).collect();
        self.absent = self.wanted.difference(&present).copied().collect();
        self.wanted.clear();
        self.keys = keys;
    }

    /// A fetch failed; what is known stays.
    pub(super) fn on_failed(&mut self) {
        self.is_fetching = false;
    }

    /// Lets go of what has become too old; returns whether the key set has changed.
    pub(super) fn age(&mut self, now: Instant, times: &SourceTimes) -> bool {
        let mut changed = false;
        let fetched_at = self.fetched_at;
        if fetched_at.is_some_and(|since| now.duration_since(since) >= times.keep) {
            self.keys.clear();
            self.fetched_at = None;
            changed = true;
        }
        if !self.absent.is_empty() && !self.is_cooling(now, times) {
            self.absent.clear();
            changed = true;
        }
        changed
    }

    fn is_cooling(&self, now: Instant, times: &SourceTimes) -> bool {
        let cools = |since| now.duration_since(since) < times.cooldown;
        self.tried_at.is_some_and(cools)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const TIMES: SourceTimes = SourceTimes {
        refresh: Duration::from_secs(300),
        cooldown: Duration::from_secs(30),
        keep: Duration::from_secs(3_600),
    };

    fn key(kid: &str) -> Key {
        let secret = Key::of_secret(&[7; 32]).expect("a secret");
        secret.named(Some(kid.into()))
    }

    fn source() -> Source {
        let source = KeySource::parse("school http://127.0.0.1:9/keys");
        Source::new(source.expect("a source"))
    }

    #[test]
    fn a_set_is_fetched_at_the_start_and_at_its_interval() {
        let (mut source, start) = (source(), Instant::now());
        assert_eq!(source.begin(start, &TIMES), Some(Cause::Regular));
        assert_eq!(source.begin(start, &TIMES), None);
        source.on_fetched(vec![key("a")], start);
        assert_eq!(source.begin(start + 299 * SECOND, &TIMES), None);
        let next = source.begin(start + 300 * SECOND, &TIMES);
        assert_eq!(next, Some(Cause::Regular));
    }

    #[test]
    fn a_flood_of_unknown_keys_costs_one_fetch_a_cooldown_and_bounded_memory() {
        let (mut source, start) = (source(), Instant::now());
        source.begin(start, &TIMES);
        source.on_fetched(vec![key("a")], start);
        let mut fetches = 0;
        for second in 0..300 {
            let now = start + second * SECOND;
            (0..1_000).for_each(|number| source.want(u64::from(second) * 1_000 + number));
            if source.begin(now, &TIMES).is_some() {
                fetches += 1;
                source.on_fetched(vec![key("a")], now);
            }
            assert!(source.wanted.len() <= UNKNOWN_KIDS_MAX);
            assert!(source.absent.len() <= UNKNOWN_KIDS_MAX);
        }
        assert_eq!(fetches, 9);
    }

    #[test]
    fn a_source_that_fails_is_asked_again_after_the_cooldown_only() {
        let (mut source, start) = (source(), Instant::now());
        source.begin(start, &TIMES);
        source.on_failed();
        source.want(1);
        assert_eq!(source.begin(start + 29 * SECOND, &TIMES), None);
        let again = source.begin(start + 30 * SECOND, &TIMES);
        assert_eq!(again, Some(Cause::Regular));
    }

    #[test]
    fn keys_stay_while_their_source_is_away_up_to_the_keep_time() {
        let (mut source, start) = (source(), Instant::now());
        source.begin(start, &TIMES);
        source.on_fetched(vec![key("a")], start);
        source.begin(start + 300 * SECOND, &TIMES);
        source.on_failed();
        assert!(!source.age(start + 3_599 * SECOND, &TIMES));
        assert_eq!(source.key_set().keys.len(), 1);
        assert!(source.age(start + 3_600 * SECOND, &TIMES));
        let set = source.key_set();
        assert!(set.keys.is_empty() && !set.remote.expect("remote").is_known);
    }

    #[test]
    fn a_key_that_a_fetch_did_not_bring_is_refused_until_the_cooldown_is_over() {
        let (mut source, start) = (source(), Instant::now());
        source.begin(start, &TIMES);
        source.on_fetched(vec![key("a")], start);
        source.want(kid_hash("b"));
        source.want(kid_hash("c"));
        let later = start + 30 * SECOND;
        assert_eq!(source.begin(later, &TIMES), Some(Cause::UnknownKey));
        source.on_fetched(vec![key("a"), key("c")], later);
        let absent = source.key_set().remote.expect("remote").absent;
        assert_eq!(absent, [kid_hash("b")]);
        assert!(!source.age(later + 29 * SECOND, &TIMES));
        assert!(source.age(later + 30 * SECOND, &TIMES));
        assert!(source.key_set().remote.expect("remote").absent.is_empty());
    }

    #[test]
    fn an_operator_does_not_wait_for_the_cooldown() {
        let (mut source, start) = (source(), Instant::now());
        source.begin(start, &TIMES);
        source.on_failed();
        source.hurry();
        assert_eq!(source.begin(start + SECOND, &TIMES), Some(Cause::Regular));
    }
}
