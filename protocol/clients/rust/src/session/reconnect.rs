//! When to try again after a loss.
//!
//! Purpose: exponential delays with full jitter, a bounded number of quick attempts, then a
//! slow pace. Full jitter is the scheme of "Exponential Backoff And Jitter" (AWS
//! Architecture Blog, 2015): each delay is uniform between zero and a doubling bound, so
//! that clients that lost one server together do not come back together.
//! Limits: `limits::RECONNECT_*`, `limits::SUSPENDED_RETRY_MS`.
//! Runs on: any thread; randomness comes in as an argument.

use crate::limits;

/// Delays between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffPolicy {
    /// Bound of the first delay in milliseconds; it doubles with each failure.
    pub first_ms: u64,
    /// Largest bound in milliseconds.
    pub max_ms: u64,
    /// Failed attempts after which the client is suspended.
    pub attempts: u32,
    /// Mean pause between attempts while suspended, in milliseconds.
    pub suspended_ms: u64,
}

impl Default for BackoffPolicy {
    fn default() -> Self {
        Self {
            first_ms: limits::RECONNECT_FIRST_MS,
            max_ms: limits::RECONNECT_DELAY_MAX_MS,
            attempts: limits::RECONNECT_ATTEMPTS,
            suspended_ms: limits::SUSPENDED_RETRY_MS,
        }
    }
}

/// What follows a failed attempt or a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextTry {
    /// Attempt number `attempt` (from 1) starts after `delay_ms`.
    Soon {
        /// Milliseconds to wait.
        delay_ms: u64,
        /// Number of the attempt that follows.
        attempt: u32,
    },
    /// The quick attempts are used up; the next slow one starts after `delay_ms`.
    Suspended {
        /// Milliseconds to wait.
        delay_ms: u64,
    },
}

/// Counts the attempts since the last success.
#[derive(Clone, Debug)]
pub struct Backoff {
    policy: BackoffPolicy,
    attempts: u32,
}

impl Backoff {
    /// Starts with no attempt counted.
    pub fn new(policy: BackoffPolicy) -> Self {
        Self {
            policy,
            attempts: 0,
        }
    }

    /// Names the next attempt after a loss or a failure; `random` is uniform over `u64`.
    pub fn next_try(&mut self, random: u64) -> NextTry {
        if self.attempts >= self.policy.attempts {
            let half = self.policy.suspended_ms / 2;
            return NextTry::Suspended {
                delay_ms: half + uniform(random, self.policy.suspended_ms),
            };
        }
        let doubled = 1u64.checked_shl(self.attempts).unwrap_or(u64::MAX);
        let bound = self.policy.first_ms.saturating_mul(doubled);
        self.attempts += 1;
        NextTry::Soon {
            delay_ms: uniform(random, bound.min(self.policy.max_ms)),
            attempt: self.attempts,
        }
    }

    /// Forgets the attempts: after a `Welcome`, or when the application asks to connect.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Attempts since the last success.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

/// Maps a uniform `u64` to `0..=bound` by multiplication (Lemire, 2019).
fn uniform(random: u64, bound: u64) -> u64 {
    ((u128::from(random) * (u128::from(bound) + 1)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_the_bound_and_then_the_client_is_suspended() {
        let mut backoff = Backoff::new(BackoffPolicy::default());
        let bounds: Vec<u64> = (0..5)
            .map(|_| match backoff.next_try(u64::MAX) {
                NextTry::Soon { delay_ms, .. } => delay_ms,
                NextTry::Suspended { .. } => panic!("suspended too early"),
            })
            .collect();
        assert_eq!(bounds, [1_000, 2_000, 4_000, 8_000, 16_000]);
        assert_eq!(backoff.next_try(0), NextTry::Suspended { delay_ms: 30_000 });
        assert_eq!(
            backoff.next_try(u64::MAX),
            NextTry::Suspended { delay_ms: 90_000 }
        );
    }

    #[test]
    fn jitter_reaches_zero_and_a_reset_starts_over() {
        let mut backoff = Backoff::new(BackoffPolicy::default());
        for _ in 0..6 {
            backoff.next_try(0);
        }
        backoff.reset();
        assert_eq!(
            backoff.next_try(0),
            NextTry::Soon {
                delay_ms: 0,
                attempt: 1
            }
        );
    }

    #[test]
    fn many_attempts_do_not_overflow_the_bound() {
        let mut backoff = Backoff::new(BackoffPolicy {
            attempts: 200,
            ..BackoffPolicy::default()
        });
        for _ in 0..200 {
            let NextTry::Soon { delay_ms, .. } = backoff.next_try(u64::MAX) else {
                panic!("suspended too early");
            };
            assert!(delay_ms <= limits::RECONNECT_DELAY_MAX_MS);
        }
    }
}
