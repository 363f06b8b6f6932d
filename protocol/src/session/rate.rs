//! Rates of requests: the generic cell rate algorithm.
//!
//! A key, such as a connection, has one number: the time at which its next request would arrive
//! if it kept exactly to its rate. A request may come earlier than that by the burst's length, and
//! moves the time on by one interval. What is admitted is what a bucket of `burst` tokens that
//! fills at the rate admits, without a timer that fills it and without a second number.
//! Source: ITU-T I.371, annex A (virtual scheduling).
//!
//! Invariant: of any key, at most `burst` + rate x t requests are admitted in a time t, whatever
//! their order and however many were refused; a refused request costs its key nothing.
//!
//! Limits: a time is 64 bits of nanoseconds, which end after 584 years.
//!
//! Runs on: any thread; time is an argument and the key's number is the caller's.

use std::num::NonZeroU64;

const SECOND_NS: u64 = 1_000_000_000;

/// When the next request of a key would arrive if it kept to its rate, in nanoseconds of the
/// clock that its requests are timed with. 0 is a key that has asked for nothing.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Arrival(pub u64);

/// A rate with a burst; none is a rate without bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    bound: Option<Bound>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Bound {
    interval_ns: u64,
    burst: u64,
}

/// The key exceeds its rate; how long it has to wait for this request, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the rate is exceeded; wait {0} ns")]
pub struct Exceeded(pub NonZeroU64);

impl Exceeded {
    /// The wait in milliseconds, rounded up, at least 1.
    #[must_use]
    pub fn wait_ms(self) -> u32 {
        let wait_ms = self.0.get().div_ceil(1_000_000);
        wait_ms.min(u64::from(u32::MAX)) as u32
    }
}

impl Rate {
    /// No bound.
    pub const UNBOUNDED: Self = Self { bound: None };

    /// `count` requests in each `period_s` seconds, of which `burst`, at least 1, may come at
    /// once. A count or period of 0 is no bound.
    #[must_use]
    pub const fn new(count: u32, period_s: u32, burst: u32) -> Self {
        if count == 0 || period_s == 0 {
            return Self::UNBOUNDED;
        }
        // Rounded up, so that the rate is never exceeded.
        let interval_ns = (period_s as u64 * SECOND_NS).div_ceil(count as u64);
        let burst = if burst == 0 { 1 } else { burst as u64 };
        Self {
            bound: Some(Bound { interval_ns, burst }),
        }
    }

    /// Whether there is a bound.
    #[must_use]
    pub const fn is_bounded(&self) -> bool {
        self.bound.is_some()
    }

    /// Decides requests that together cost `cost`; the key's number afterwards if they may come.
    /// What costs more than the burst counts as the burst, else it could never come.
    ///
    /// # Errors
    /// When they come too early.
    pub fn check(&self, key: Arrival, now_ns: u64, cost: u32) -> Result<Arrival, Exceeded> {
        let Some(bound) = self.bound else {
            return Ok(key);
        };
        let cost = u64::from(cost).min(bound.burst);
        let arrival = key.0.max(now_ns);
        let after = arrival.saturating_add(cost.saturating_mul(bound.interval_ns));
        let ahead = after - now_ns;
        let most = bound.burst.saturating_mul(bound.interval_ns);
        match NonZeroU64::new(ahead.saturating_sub(most)) {
            None => Ok(Arrival(after)),
            Some(wait) => Err(Exceeded(wait)),
        }
    }

    /// Takes requests that together cost `cost`.
    ///
    /// # Errors
    /// When they come too early; nothing is taken then.
    pub fn take(&self, key: &mut Arrival, now_ns: u64, cost: u32) -> Result<(), Exceeded> {
        *key = self.check(*key, now_ns, cost)?;
        Ok(())
    }

    /// Gives one request back that was taken and shall not count.
    #[must_use]
    pub fn refund(&self, key: Arrival) -> Arrival {
        let interval_ns = self.bound.map_or(0, |bound| bound.interval_ns);
        Arrival(key.0.saturating_sub(interval_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A bucket of tokens, counted in nanoseconds of filling so that nothing is rounded.
    struct Bucket {
        interval_ns: u64,
        burst: u64,
        level_ns: u64,
        at_ns: u64,
    }

    impl Bucket {
        fn full(interval_ns: u64, burst: u64) -> Self {
            Self {
                interval_ns,
                burst,
                level_ns: interval_ns * burst,
                at_ns: 0,
            }
        }

        fn take(&mut self, now_ns: u64, cost: u64) -> bool {
            let most = self.interval_ns * self.burst;
            self.level_ns = (self.level_ns + now_ns - self.at_ns).min(most);
            self.at_ns = now_ns;
            let price = cost.min(self.burst) * self.interval_ns;
            let pays = self.level_ns >= price;
            self.level_ns -= if pays { price } else { 0 };
            pays
        }
    }

    proptest! {
        #[test]
        fn it_admits_exactly_what_a_token_bucket_admits(
            count in 1u32..2_000,
            burst in 1u32..50,
            steps in prop::collection::vec((0u64..3_000_000_000, 0u32..60), 1..200),
        ) {
            let rate = Rate::new(count, 1, burst);
            let interval_ns = SECOND_NS.div_ceil(u64::from(count));
            let mut bucket = Bucket::full(interval_ns, u64::from(burst));
            let (mut key, mut now_ns) = (Arrival::default(), 0);
            for (pause, cost) in steps {
                // Mostly short pauses, so that the bound is met.
                now_ns += if pause % 4 == 0 { pause } else { pause % (2 * interval_ns) };
                let taken = rate.take(&mut key, now_ns, cost);
                prop_assert_eq!(taken.is_ok(), bucket.take(now_ns, u64::from(cost)));
            }
        }

        #[test]
        fn who_waits_as_told_is_admitted_and_who_comes_earlier_is_not(
            count in 1u32..100_000,
            burst in 1u32..100,
            cost in 1u32..100,
            now_ns in 0u64..1 << 60,
        ) {
            let rate = Rate::new(count, 60, burst);
            let mut key = Arrival::default();
            let wait = loop {
                match rate.take(&mut key, now_ns, cost) {
                    Ok(()) => {}
                    Err(Exceeded(wait)) => break wait.get(),
                }
            };
            prop_assert!(rate.check(key, now_ns + wait - 1, cost).is_err());
            prop_assert!(rate.check(key, now_ns + wait, cost).is_ok());
        }

        #[test]
        fn no_numbers_overflow(
            count: u32,
            period_s: u32,
            burst: u32,
            key: u64,
            now_ns: u64,
            cost: u32,
        ) {
            let rate = Rate::new(count, period_s, burst);
            if let Err(exceeded) = rate.check(Arrival(key), now_ns, cost) {
                prop_assert!(exceeded.wait_ms() >= 1);
            }
        }
    }

    #[test]
    fn a_refund_makes_room_for_one_more() {
        let rate = Rate::new(1, 60, 3);
        let mut key = Arrival::default();
        for _ in 0..3 {
            assert_eq!(rate.take(&mut key, 5, 1), Ok(()));
        }
        assert!(rate.take(&mut key, 5, 1).is_err());
        key = rate.refund(key);
        assert_eq!(rate.take(&mut key, 5, 1), Ok(()));
        assert!(rate.take(&mut key, 5, 1).is_err());
    }

    #[test]
    fn no_bound_admits_everything() {
        let rate = Rate::new(0, 1, 1);
        let mut key = Arrival::default();
        assert!((0..1_000).all(|_| rate.take(&mut key, 0, u32::MAX).is_ok()));
        assert_eq!(key, Arrival::default());
    }
}
