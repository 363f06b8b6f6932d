//! When a system outside is not asked any more, and how it is asked again.
//!
//! Purpose: one machine for every system that a node or worker calls. It opens when calls fail,
//! become slow or saturate the system; it tries a tenth of the traffic before it closes, and lets
//! traffic return in steps.
//!
//! Two kinds of callers use it. Reads, webhooks and queries ask [`Breaker::begin`] for each call
//! and answer from what they have, marked as stale, when it says no. Ordered lines take
//! [`Breaker::traffic`]: what is not let through waits, by whole partitions, and keeps its order.
//!
//! A lost connection, a failover and a stale lineage are no samples: they are
//! [`State::Reconnecting`], in which nothing is called and a probe is due every
//! [`limits::PROBE_US`]. A batch is one sample.
//!
//! Invariants: an answer counts in the state in which its call began, and nowhere else; memory is
//! fixed, about 20 KB.
//!
//! No clock: times are arguments in microseconds that never go back. Runs on: any thread.

pub mod limits;
#[cfg(test)]
mod tests;
mod window;

use limits::{
    CALLS_MIN, ERROR_PERCENT, LATENCY_FACTOR, LATENCY_SLOT_US, LATENCY_US, OPEN_US, PROBE_US,
    RESTART_PERCENT, RESTART_US, SATURATION_PERCENT, SATURATION_US, TRIAL_PERCENT,
    TRIAL_SUCCESS_PERCENT, TRIAL_US,
};
use window::{Counts, Latencies, Normal};

/// What a breaker lets through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Traffic {
    /// Everything.
    All,
    /// What falls into so many percent by its hash.
    Share(u8),
    /// Nothing.
    None,
}

impl Traffic {
    /// Whether something with this hash is let through.
    pub fn admits(self, hash: u64) -> bool {
        match self {
            Self::All => true,
            Self::Share(percent) => hash % 100 < u64::from(percent),
            Self::None => false,
        }
    }
}

/// State of a breaker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// Calls are made.
    Closed,
    /// No calls are made.
    Open,
    /// A tenth of the calls is made and judged.
    HalfOpen,
    /// Calls return in steps.
    Restarting,
    /// The connection is lost: no calls are made but probes.
    Reconnecting,
}

/// What changes a state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Event {
    /// A limit was exceeded.
    Tripped,
    /// The time of a state is over.
    Elapsed,
    /// The trial succeeded.
    TrialPassed,
    /// The trial failed.
    TrialFailed,
}

/// The table of transitions; `None` when the event cannot happen there.
pub(crate) fn transition(from: State, event: Event) -> Option<State> {
    match (event, from) {
        (Event::Tripped, State::Closed | State::Restarting) => Some(State::Open),
        (Event::Elapsed, State::Open) => Some(State::HalfOpen),
        (Event::Elapsed, State::Restarting) => Some(State::Closed),
        (Event::TrialPassed, State::HalfOpen) => Some(State::Restarting),
        (Event::TrialFailed, State::HalfOpen) => Some(State::Open),
        _ => None,
    }
}

/// Why a breaker opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trip {
    /// More than half of the calls failed.
    Errors,
    /// Calls took more than twice as long as they use to.
    Latency,
    /// More than four fifths of the capacity were in use.
    Saturation,
    /// Less than nine tenths of the trial calls succeeded.
    Trial,
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was answered, after so many microseconds.
    Success {
        /// From its begin to its answer.
        latency_us: u64,
    },
    /// It failed or was not answered in time.
    Failure,
    /// Its connection was lost, or its server was not the right one any more.
    Lost,
    /// It was not made.
    Cancelled,
}

/// A call that was let through; given back with its outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a call that is not finished counts as one in flight for ever"]
pub struct Permit {
    generation: u64,
}

/// Counters since the start.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct BreakerCounters {
    /// Times that the breaker opened.
    pub opened: u64,
    /// Calls that it refused.
    pub refused: u64,
    /// Times that the connection was lost.
    pub lost: u64,
}

/// A breaker for one system.
#[derive(Debug)]
pub struct Breaker {
    state: State,
    /// Since when it is in this state.
    since_us: u64,
    /// Counts changes of state, so that late answers do not count.
    generation: u64,
    /// While the connection is lost: when the next probe is due.
    probe_at_us: Option<u64>,
    capacity: u64,
    in_flight: u64,
    counts: Counts,
    normal: Normal,
    /// Latencies since the begin of the present slot.
    slot: Latencies,
    slot_us: u64,
    /// Since when latency is too high, and the calls of that time.
    slow_since_us: Option<u64>,
    slow_calls: u64,
    saturated_since_us: Option<u64>,
    /// Calls of the trial, and those that succeeded.
    trial: (u64, u64),
    trip: Option<Trip>,
    counters: BreakerCounters,
}

impl Breaker {
    /// A closed breaker for a system that takes `capacity` calls at once.
    pub fn new(capacity: u64, now_us: u64) -> Self {
        Self {
            state: State::Closed,
            since_us: now_us,
            generation: 0,
            probe_at_us: None,
            capacity: capacity.max(1),
            in_flight: 0,
            counts: Counts::new(now_us),
            normal: Normal::new(now_us),
            slot: Latencies::new(),
            slot_us: now_us,
            slow_since_us: None,
            slow_calls: 0,
            saturated_since_us: None,
            trial: (0, 0),
            trip: None,
            counters: BreakerCounters::default(),
        }
    }

    /// What is let through now.
    pub fn traffic(&mut self, now_us: u64) -> Traffic {
        self.advance(now_us);
        match self.state() {
            State::Closed => Traffic::All,
            State::Open | State::Reconnecting => Traffic::None,
            State::HalfOpen => Traffic::Share(TRIAL_PERCENT),
            State::Restarting => {
                let step_us = RESTART_US / RESTART_PERCENT.len() as u64;
                let step = (now_us.saturating_sub(self.since_us) / step_us) as usize;
                let percent = RESTART_PERCENT.get(step).copied().unwrap_or(100);
                Traffic::Share(percent)
            }
        }
    }

    /// Asks for one call; `hash` or a random number decides when a share is let through.
    pub fn begin(&mut self, hash: u64, now_us: u64) -> Option<Permit> {
        if self.traffic(now_us).admits(hash) {
            return Some(self.begin_admitted(now_us));
        }
        self.counters.refused += 1;
        None
    }

    /// A call of a partition that [`Self::traffic`] lets through is made.
    pub fn begin_admitted(&mut self, now_us: u64) -> Permit {
        self.in_flight += 1;
        self.note_load(now_us);
        Permit {
            generation: self.generation,
        }
    }

    /// A call has ended.
    pub fn finish(&mut self, permit: Permit, outcome: Outcome, now_us: u64) {
        // What was due before the answer is decided without it.
        self.advance(now_us);
        self.in_flight = self.in_flight.saturating_sub(1);
        self.note_load(now_us);
        let counts = permit.generation == self.generation && self.probe_at_us.is_none();
        match outcome {
            Outcome::Lost => self.on_lost(now_us),
            Outcome::Success { latency_us } if counts => self.sample(Some(latency_us), now_us),
            Outcome::Failure if counts => self.sample(None, now_us),
            _ => {}
        }
        self.advance(now_us);
    }

    /// The connection was lost or its server has changed.
    pub fn on_lost(&mut self, now_us: u64) {
        if self.probe_at_us.is_none() {
            self.probe_at_us = Some(now_us);
            self.counters.lost += 1;
            self.saturated_since_us = None;
            self.slow_since_us = None;
            self.slow_calls = 0;
        }
    }

    /// Whether a probe of the lost connection is due; its failure is no sample.
    pub fn probe_is_due(&mut self, now_us: u64) -> bool {
        match &mut self.probe_at_us {
            Some(at_us) if *at_us <= now_us => {
                *at_us = now_us.saturating_add(PROBE_US);
                true
            }
            _ => false,
        }
    }

    /// The connection is back: the breaker is in the state in which it was, as far as its time
    /// is not over.
    pub fn on_connected(&mut self, now_us: u64) {
        self.probe_at_us = None;
        self.note_load(now_us);
        self.advance(now_us);
    }

    /// The state as of the last call.
    pub fn state(&self) -> State {
        match self.probe_at_us {
            Some(_) => State::Reconnecting,
            None => self.state,
        }
    }

    /// Why it opened last.
    pub fn trip(&self) -> Option<Trip> {
        self.trip
    }

    /// Calls that are under way.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Counters since the start.
    pub fn counters(&self) -> BreakerCounters {
        self.counters
    }

    /// When the state changes or a probe is due without a call.
    pub fn next_at_us(&self) -> Option<u64> {
        if self.probe_at_us.is_some() {
            return self.probe_at_us;
        }
        let after = |time_us: u64| Some(self.since_us.saturating_add(time_us));
        match self.state {
            State::Open => after(OPEN_US),
            State::HalfOpen => after(TRIAL_US),
            State::Restarting => after(RESTART_US),
            State::Closed | State::Reconnecting => None,
        }
    }

    fn sample(&mut self, latency_us: Option<u64>, now_us: u64) {
        match self.state {
            State::Closed | State::Restarting => {
                self.counts.add(latency_us.is_none(), now_us);
                if let Some(latency_us) = latency_us {
                    self.slot.add(latency_us);
                    if self.state == State::Closed {
                        self.normal.add(latency_us, now_us);
                    }
                }
            }
            State::HalfOpen => {
                self.trial.0 += 1;
                self.trial.1 += u64::from(latency_us.is_some());
            }
            State::Open | State::Reconnecting => {}
        }
    }

    fn note_load(&mut self, now_us: u64) {
        let is_saturated = self.in_flight * 100 > self.capacity * SATURATION_PERCENT;
        match (is_saturated, self.saturated_since_us) {
            (true, None) => self.saturated_since_us = Some(now_us),
            (false, Some(_)) => self.saturated_since_us = None,
            _ => {}
        }
    }

    /// Takes the transitions that are due.
    fn advance(&mut self, now_us: u64) {
        if self.probe_at_us.is_some() {
            return;
        }
        self.compare_latency(now_us);
        while let Some((event, trip)) = self.due(now_us) {
            let Some(to) = transition(self.state, event) else {
                return;
            };
            if to == State::Open {
                self.counters.opened += 1;
                self.trip = trip;
            }
            self.enter(to, now_us);
        }
    }

    fn due(&mut self, now_us: u64) -> Option<(Event, Option<Trip>)> {
        let passed_us = now_us.saturating_sub(self.since_us);
        match self.state {
            State::Closed | State::Restarting => {
                if let Some(trip) = self.exceeded(now_us) {
                    return Some((Event::Tripped, Some(trip)));
                }
                let over = self.state == State::Restarting && passed_us >= RESTART_US;
                over.then_some((Event::Elapsed, None))
            }
            State::Open => (passed_us >= OPEN_US).then_some((Event::Elapsed, None)),
            State::HalfOpen => {
                let (calls, successes) = self.trial;
                // Without a call there is nothing to judge.
                if passed_us < TRIAL_US || calls == 0 {
                    return None;
                }
                Some(match successes * 100 >= calls * TRIAL_SUCCESS_PERCENT {
                    true => (Event::TrialPassed, None),
                    false => (Event::TrialFailed, Some(Trip::Trial)),
                })
            }
            State::Reconnecting => None,
        }
    }

    fn exceeded(&mut self, now_us: u64) -> Option<Trip> {
        let (calls, failures) = self.counts.sums(now_us);
        if calls >= CALLS_MIN && failures * 100 > calls * ERROR_PERCENT {
            return Some(Trip::Errors);
        }
        let since = |since_us: Option<u64>, time_us: u64| {
            since_us.is_some_and(|since_us| now_us.saturating_sub(since_us) >= time_us)
        };
        if since(self.saturated_since_us, SATURATION_US) {
            return Some(Trip::Saturation);
        }
        let slow = since(self.slow_since_us, LATENCY_US) && self.slow_calls >= CALLS_MIN;
        slow.then_some(Trip::Latency)
    }

    /// Compares the latencies of a slot that is over with the normal one.
    fn compare_latency(&mut self, now_us: u64) {
        if now_us.saturating_sub(self.slot_us) < LATENCY_SLOT_US {
            return;
        }
        let (calls, normal_us) = self.normal.median_us(now_us);
        let normal_us = normal_us.filter(|_| calls >= CALLS_MIN);
        if let (Some(median_us), Some(normal_us)) = (self.slot.median_us(), normal_us) {
            if median_us > LATENCY_FACTOR * normal_us {
                self.slow_since_us.get_or_insert(self.slot_us);
                self.slow_calls += self.slot.calls();
            } else {
                self.slow_since_us = None;
                self.slow_calls = 0;
            }
        }
        self.slot.clear();
        let passed_us = now_us - self.slot_us;
        self.slot_us += passed_us - passed_us % LATENCY_SLOT_US;
    }

    fn enter(&mut self, state: State, now_us: u64) {
        self.state = state;
        self.since_us = now_us;
        self.generation += 1;
        self.trial = (0, 0);
        if state != State::Closed {
            self.counts = Counts::new(now_us);
            self.slot.clear();
            self.slot_us = now_us;
            self.slow_since_us = None;
            self.slow_calls = 0;
            self.saturated_since_us = None;
            self.note_load(now_us);
        }
    }
}
