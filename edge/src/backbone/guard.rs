//! The breaker of one system that the relay thread calls, with the calls that are under way.
//!
//! Purpose: an ordered line is never refused, it pauses. [`Guard::traffic`] says how much of the
//! lines may call now, [`Guard::admission`] which reads may be made; each call that was made is
//! noted, and its end is a sample.
//!
//! Invariants: a lost connection is the state `reconnecting` and no sample; a call counts once,
//! by its answer or when it is overdue. Latencies below the floor of the system count as the
//! floor: batches take longer under load than in a quiet hour, and that is no illness.
//!
//! Limits: as many calls as the port takes. No clock: time is an argument; one that goes back
//! stands still. Thread: relay.

use std::collections::HashMap;

use interlink_relay::backplane::{BackplaneAnswer, BackplaneError};
use interlink_relay::breaker::{Breaker, Outcome, Permit, State, Traffic, Trip};
use interlink_relay::limits::PORT_CALLS_MAX;
use interlink_relay::ports::Ticket;

use super::counts::{set, BreakerCounts};
use super::limits::TURN_US;
use super::reads::Admission;

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It was answered.
    Answered,
    /// It was refused.
    Failed,
    /// Its connection went, which the standing tells.
    Lost,
}

impl End {
    /// How a call to the backplane ended.
    pub fn of(answer: &Result<BackplaneAnswer, BackplaneError>) -> Self {
        match answer {
            Ok(_) => Self::Answered,
            Err(BackplaneError::Away) => Self::Lost,
            Err(_) => Self::Failed,
        }
    }
}

/// A breaker and its calls.
#[derive(Debug)]
pub struct Guard {
    breaker: Breaker,
    floor_us: u64,
    under_way: HashMap<Ticket, (Permit, u64)>,
    now_us: u64,
}

impl Guard {
    /// A closed breaker; latencies up to `floor_us` are as good as any.
    pub fn new(floor_us: u64, now_us: u64) -> Self {
        Self {
            breaker: Breaker::new(PORT_CALLS_MAX as u64, now_us),
            floor_us,
            under_way: HashMap::new(),
            now_us,
        }
    }

    fn at(&mut self, now_us: u64) -> u64 {
        self.now_us = self.now_us.max(now_us);
        self.now_us
    }

    /// What may be called now. While the connection is lost everything may try, four times a
    /// second: parts of the system may be reachable, and nothing of it is a sample.
    pub fn traffic(&mut self, now_us: u64) -> Traffic {
        let now_us = self.at(now_us);
        let traffic = self.breaker.traffic(now_us);
        match self.breaker.probe_is_due(now_us) {
            true => Traffic::All,
            false => traffic,
        }
    }

    /// Which reads may be made now.
    pub fn admission(&mut self, now_us: u64) -> Admission {
        Admission::of(self.traffic(now_us), self.turn())
    }

    /// Which part of the lines a share is, now: it moves on, so that each line has its turn even
    /// when the others have nothing to say.
    pub fn turn(&self) -> u64 {
        self.now_us / TURN_US
    }

    /// A call was made.
    pub fn called(&mut self, ticket: Ticket, now_us: u64) {
        let now_us = self.at(now_us);
        let permit = self.breaker.begin_admitted(now_us);
        self.under_way.insert(ticket, (permit, now_us));
    }

    /// A call has ended. One that is not known was overdue and has counted.
    pub fn ended(&mut self, ticket: Ticket, end: End, now_us: u64) {
        let now_us = self.at(now_us);
        let Some((permit, since_us)) = self.under_way.remove(&ticket) else {
            return;
        };
        let outcome = match end {
            End::Answered => Outcome::Success {
                latency_us: now_us.saturating_sub(since_us).max(self.floor_us),
            },
            End::Failed => Outcome::Failure,
            End::Lost => Outcome::Cancelled,
        };
        self.breaker.finish(permit, outcome, now_us);
    }

    /// Calls that have waited for longer than `limit_us` count as failed; they may still end.
    pub fn give_up_overdue(&mut self, limit_us: u64, now_us: u64) {
        let now_us = self.at(now_us);
        let breaker = &mut self.breaker;
        self.under_way.retain(|_, (permit, since_us)| {
            let overdue = now_us.saturating_sub(*since_us) >= limit_us;
            if overdue {
                breaker.finish(*permit, Outcome::Failure, now_us);
            }
            !overdue
        });
    }

    /// Whether the connection stands.
    pub fn connected(&mut self, connected: bool, now_us: u64) {
        let now_us = self.at(now_us);
        match connected {
            true => self.breaker.on_connected(now_us),
            false => self.breaker.on_lost(now_us),
        }
    }

    /// Whether the connection stands, as far as is known.
    pub fn is_connected(&self) -> bool {
        self.breaker.state() != State::Reconnecting
    }

    /// Whether nothing is called since calls failed.
    pub fn is_open(&self) -> bool {
        self.breaker.state() == State::Open
    }

    /// Shows the state to the scraper.
    pub fn show(&self, counts: &BreakerCounts) {
        let state = match self.breaker.state() {
            State::Closed => 0,
            State::Restarting => 1,
            State::HalfOpen => 2,
            State::Open => 3,
            State::Reconnecting => 4,
        };
        let trip = match self.breaker.trip() {
            None => 0,
            Some(Trip::Errors) => 1,
            Some(Trip::Latency) => 2,
            Some(Trip::Saturation) => 3,
            Some(Trip::Trial) => 4,
        };
        let counters = self.breaker.counters();
        set(&counts.state, state);
        set(&counts.trip, trip);
        set(&counts.opened, counters.opened);
        set(&counts.lost, counters.lost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::reads::PARTS;
    use std::sync::atomic::Ordering;

    const SECOND_US: u64 = 1_000_000;

    fn call(guard: &mut Guard, number: u64, end: End, now_us: u64) {
        guard.called(Ticket(number), now_us);
        guard.ended(Ticket(number), end, now_us);
    }

    fn state(guard: &Guard) -> u64 {
        let counts = BreakerCounts::default();
        guard.show(&counts);
        counts.state.load(Ordering::Relaxed)
    }

    #[test]
    fn calls_that_fail_pause_the_lines_and_return_in_steps() {
        let mut guard = Guard::new(0, 0);
        (0..19).for_each(|number| call(&mut guard, number, End::Failed, 0));
        assert_eq!(guard.traffic(0), Traffic::All);
        call(&mut guard, 19, End::Failed, 0);
        assert!(guard.is_open());
        assert_eq!(guard.traffic(29 * SECOND_US), Traffic::None);
        assert_eq!(guard.traffic(30 * SECOND_US), Traffic::Share(10));
        call(&mut guard, 20, End::Answered, 31 * SECOND_US);
        assert_eq!(guard.traffic(60 * SECOND_US), Traffic::Share(25));
        assert_eq!(guard.traffic(71 * SECOND_US), Traffic::Share(50));
        assert_eq!(guard.traffic(90 * SECOND_US), Traffic::All);
        assert_eq!(state(&guard), 0);
    }

    #[test]
    fn reads_that_fail_are_held_back_and_return_part_by_part() {
        let mut guard = Guard::new(0, 0);
        let parts = |guard: &mut Guard, now_s: u64| {
            let admission = guard.admission(now_s * SECOND_US);
            (0..PARTS).filter(|part| admission.admits(*part)).count()
        };
        (0..20).for_each(|number| {
            assert_eq!(parts(&mut guard, 0), PARTS);
            call(&mut guard, number, End::Failed, 0);
        });
        assert!(guard.admission(29 * SECOND_US).is_none());
        let mut tried: Vec<_> = (30..40)
            .flat_map(|now_s| {
                let admission = guard.admission(now_s * SECOND_US);
                (0..PARTS).filter(move |part| admission.admits(*part))
            })
            .collect();
        tried.sort_unstable();
        assert_eq!(tried, (0..PARTS).collect::<Vec<_>>(), "each in its second");
        call(&mut guard, 20, End::Answered, 40 * SECOND_US);
        let returning = [60, 71, 81].map(|now_s| parts(&mut guard, now_s));
        assert_eq!(returning, [3, 5, PARTS]);
    }

    #[test]
    fn a_lost_connection_is_probed_four_times_a_second_and_trips_nothing() {
        let mut guard = Guard::new(0, 0);
        guard.connected(false, 0);
        assert_eq!((state(&guard), guard.traffic(0)), (4, Traffic::All));
        (0..99).for_each(|number| call(&mut guard, number, End::Lost, 0));
        assert_eq!(guard.traffic(249_999), Traffic::None);
        assert_eq!(guard.traffic(250_000), Traffic::All);
        guard.connected(true, 300_000);
        assert_eq!((state(&guard), guard.traffic(300_000)), (0, Traffic::All));
    }

    #[test]
    fn calls_that_nobody_answers_fail_once_when_they_are_overdue() {
        let mut guard = Guard::new(0, 0);
        (0..20).for_each(|number| guard.called(Ticket(number), 0));
        guard.give_up_overdue(SECOND_US, SECOND_US - 1);
        assert!(!guard.is_open());
        guard.give_up_overdue(SECOND_US, SECOND_US);
        assert!(guard.is_open());
        guard.ended(Ticket(3), End::Answered, 2 * SECOND_US);
        assert!(guard.is_open());
    }
}
