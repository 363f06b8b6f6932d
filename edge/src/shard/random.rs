//! Random numbers for secrets, without a system call each.
//!
//! Invariant: session keys come from a cryptographic generator that the kernel seeds,
//! since whoever guesses one can resume the session. Thread: the shard.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The generator of a shard.
#[derive(Debug)]
pub struct Random(StdRng);

impl Random {
    /// Seeded by the kernel.
    pub fn from_system() -> Self {
        Self(StdRng::from_os_rng())
    }

    /// 128 random bits.
    pub fn next_u128(&mut self) -> u128 {
        self.0.random()
    }
}
