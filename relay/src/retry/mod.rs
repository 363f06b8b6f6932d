//! When something that failed is tried again, and when it is given up.
//!
//! Purpose: one rule for every call to another system. Attempts are bounded, pauses double from
//! attempt to attempt, and each is drawn between nothing and its limit, so that callers that
//! failed together do not come back together (full jitter).
//!
//! Invariants: attempt `n` is followed by a pause of at most `first * 2^(n-1)`, never more than
//! `longest`; nothing overflows.
//!
//! No clock and no randomness of its own: times are arguments in microseconds, randomness is a
//! uniform `u64`. Runs on: any thread.

#[cfg(test)]
mod tests;

/// Pauses that double.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// Limit of the pause after the first failure, microseconds.
    pub first_us: u64,
    /// Limit of every pause, microseconds.
    pub longest_us: u64,
}

impl Backoff {
    /// For lines of the backplane, which give nothing up: a failover takes a second, and its end
    /// is to be noticed soon.
    pub const LINE: Self = Self {
        first_us: 25_000,
        longest_us: 500_000,
    };

    /// Limit of the pause after `failures` failures in a row.
    pub fn limit_us(self, failures: u32) -> u64 {
        let doublings = failures.saturating_sub(1).min(63);
        let limit = u128::from(self.first_us) << doublings;
        limit.min(u128::from(self.longest_us)) as u64
    }

    /// The pause after `failures` failures in a row, between 1 and the limit.
    pub fn pause_us(self, failures: u32, random: u64) -> u64 {
        let limit = u128::from(self.limit_us(failures));
        // The high bits of the product are uniform over the limit.
        1 + ((u128::from(random) * limit) >> 64) as u64
    }
}

/// How often and how long something is tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryClass {
    /// Attempts, the first one included.
    pub attempts: u32,
    /// Pauses between them.
    pub backoff: Backoff,
    /// Time after which an attempt counts as failed, microseconds.
    pub timeout_us: u64,
}

impl RetryClass {
    /// What people wait for.
    pub const REAL_TIME: Self = Self {
        attempts: 3,
        backoff: Backoff {
            first_us: 25_000,
            longest_us: 1_000_000,
        },
        timeout_us: 1_000_000,
    };

    /// Everything else.
    pub const STANDARD: Self = Self {
        attempts: 5,
        backoff: Backoff {
            first_us: 1_000_000,
            longest_us: 30_000_000,
        },
        timeout_us: 30_000_000,
    };
}

/// What happens to a call next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Make the attempt and end it at `deadline_us`.
    Attempt {
        /// When it counts as failed.
        deadline_us: u64,
    },
    /// Wait.
    WaitUntil(u64),
    /// The attempts are used up.
    GiveUp,
}

/// The state of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Due,
    Trying,
    Waiting(u64),
    Ended,
}

/// One call and its attempts.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    class: RetryClass,
    failures: u32,
    deadline_us: u64,
    state: State,
}

impl Retry {
    /// A call that was not attempted yet.
    pub fn new(class: RetryClass) -> Self {
        Self {
            class,
            failures: 0,
            deadline_us: 0,
            state: State::Due,
        }
    }

    /// What to do at `now_us`. An attempt that has passed its deadline counts as failed; `random`
    /// draws the pause after it.
    pub fn next(&mut self, now_us: u64, random: u64) -> Next {
        if self.state == State::Trying && now_us >= self.deadline_us {
            self.on_failure(now_us, random);
        }
        match self.state {
            State::Waiting(until_us) if now_us < until_us => Next::WaitUntil(until_us),
            State::Due | State::Waiting(_) => {
                self.state = State::Trying;
                self.deadline_us = now_us.saturating_add(self.class.timeout_us);
                let deadline_us = self.deadline_us;
                Next::Attempt { deadline_us }
            }
            State::Trying => Next::WaitUntil(self.deadline_us),
            State::Ended => Next::GiveUp,
        }
    }

    /// The attempt has failed. One that was not made is no failure.
    pub fn on_failure(&mut self, now_us: u64, random: u64) {
        if self.state != State::Trying {
            return;
        }
        self.failures += 1;
        self.state = match self.failures < self.class.attempts {
            true => {
                let pause_us = self.class.backoff.pause_us(self.failures, random);
                State::Waiting(now_us.saturating_add(pause_us))
            }
            false => State::Ended,
        };
    }

    /// The error can not pass: no further attempt is made.
    pub fn on_permanent_failure(&mut self) {
        self.state = State::Ended;
    }

    /// Attempts that have failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}
