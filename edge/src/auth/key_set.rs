//! The keys of one issuer, and what is known about the keys that it may still have.
//!
//! Invariant: a set belongs to one issuer and one source, so that a `kid` of one issuer never
//! finds the key of another.
//! Runs on: made by the control thread, read by any.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use xxhash_rust::xxh3::xxh3_64;

use super::algorithm::Algorithm;
use super::key::Key;
use super::limits::UNKNOWN_KIDS_MAX;

/// Keys of one issuer from one source.
#[derive(Clone, Debug)]
pub struct KeySet {
    /// Value that `iss` of a token of these keys has to have.
    pub issuer: Arc<str>,
    /// The keys.
    pub keys: Vec<Key>,
    /// What may be missing, for a set that is fetched from a URL.
    pub remote: Option<Remote>,
}

/// State of a set that is fetched.
#[derive(Clone, Debug, Default)]
pub struct Remote {
    /// Whether it was fetched and is not too old.
    pub is_known: bool,
    /// Hashes of asked-for `kid` values that the last fetch did not have, in order.
    pub absent: Vec<u64>,
}

impl KeySet {
    /// A set that is complete as it is.
    pub fn local(issuer: &str, keys: Vec<Key>) -> Self {
        Self {
            issuer: issuer.into(),
            keys,
            remote: None,
        }
    }

    /// The key that made the signature.
    pub(super) fn signer(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
        signed: &str,
        signature: &str,
    ) -> Option<&Key> {
        let mut candidates = self.keys.iter().filter(|key| key.fits(algorithm, kid));
        candidates.find(|key| key.has_signed(signed, signature))
    }

    /// Whether a fetch could bring the key of a token that no key here has signed.
    pub(super) fn may_bring(&self, algorithm: Algorithm, kid: Option<&str>) -> bool {
        let Some(remote) = &self.remote else {
            return false;
        };
        if algorithm.is_symmetric() {
            return false;
        }
        match kid {
            None => !remote.is_known,
            Some(kid) if remote.is_known => {
                let has_it = self.keys.iter().any(|key| key.fits(algorithm, Some(kid)));
                !has_it && remote.absent.binary_search(&kid_hash(kid)).is_err()
            }
            Some(_) => true,
        }
    }
}

/// How a `kid` is remembered: in eight bytes, whatever a client sent.
pub(super) fn kid_hash(kid: &str) -> u64 {
    xxh3_64(kid.as_bytes())
}

/// Unknown `kid` values that shards have seen and the control thread has not looked at.
#[derive(Debug)]
pub struct Asked(ArrayQueue<u64>);

impl Default for Asked {
    fn default() -> Self {
        Self(ArrayQueue::new(UNKNOWN_KIDS_MAX))
    }
}

impl Asked {
    /// Notes one; when there are too many already, it is asked for again by a later token.
    pub(super) fn push(&self, kid: &str) {
        let _full = self.0.push(kid_hash(kid));
    }

    /// Takes the oldest.
    pub(super) fn pop(&self) -> Option<u64> {
        self.0.pop()
    }
}
