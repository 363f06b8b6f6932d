//! One row for every number of the mission and the design, then properties.

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;

/// A breaker and its clock.
struct Drill {
    breaker: Breaker,
    now_us: u64,
}

impl Drill {
    fn new() -> Self {
        Self::of(100)
    }

    fn of(capacity: u64) -> Self {
        let now_us = 0;
        let breaker = Breaker::new(capacity, now_us);
        Self { breaker, now_us }
    }

    fn wait(&mut self, time_us: u64) -> &mut Self {
        self.now_us += time_us;
        self
    }

    fn state(&mut self) -> State {
        self.breaker.traffic(self.now_us);
        self.breaker.state()
    }

    fn traffic(&mut self) -> Traffic {
        self.breaker.traffic(self.now_us)
    }

    fn end(&mut self, outcome: Outcome) -> &mut Self {
        let permit = self.breaker.begin_admitted(self.now_us);
        self.breaker.finish(permit, outcome, self.now_us);
        self
    }

    fn ends(&mut self, count: usize, outcome: Outcome) -> &mut Self {
        for _ in 0..count {
            self.end(outcome);
        }
        self
    }

    /// One call each second, for so long.
    fn steady(&mut self, time_us: u64, latency_us: u64) -> &mut Self {
        for _ in 0..time_us / SECOND {
            self.end(Outcome::Success { latency_us }).wait(SECOND);
        }
        self
    }

    /// A breaker that has just opened.
    fn open() -> Self {
        let mut drill = Self::new();
        drill.ends(20, Outcome::Failure);
        assert_eq!(drill.state(), State::Open);
        drill
    }

    fn half_open() -> Self {
        let mut drill = Self::open();
        assert_eq!(drill.wait(30 * SECOND).state(), State::HalfOpen);
        drill
    }

    fn restarting() -> Self {
        let mut drill = Self::half_open();
        drill.ends(10, OK).wait(30 * SECOND);
        assert_eq!(drill.state(), State::Restarting);
        drill
    }
}

const OK: Outcome = Outcome::Success { latency_us: 1_000 };

#[test]
fn it_opens_above_an_error_rate_of_50_percent() {
    let mut drill = Drill::new();
    drill.ends(50, OK).ends(50, Outcome::Failure);
    assert_eq!(drill.state(), State::Closed, "50 percent");
    drill.end(Outcome::Failure);
    assert_eq!(drill.state(), State::Open, "more");
    assert_eq!(drill.breaker.trip(), Some(Trip::Errors));
}

#[test]
fn it_is_not_judged_below_20_calls() {
    let mut drill = Drill::new();
    assert_eq!(drill.ends(19, Outcome::Failure).state(), State::Closed);
    assert_eq!(drill.ends(1, Outcome::Failure).state(), State::Open);
}

#[test]
fn errors_count_for_1_minute() {
    let mut drill = Drill::new();
    drill.ends(19, Outcome::Failure).wait(MINUTE);
    assert_eq!(drill.ends(19, Outcome::Failure).state(), State::Closed);
    let mut drill = Drill::new();
    drill.ends(19, Outcome::Failure).wait(MINUTE - 1);
    assert_eq!(drill.ends(1, Outcome::Failure).state(), State::Open);
}

#[test]
fn it_opens_when_latency_is_above_2x_normal_for_5_minutes() {
    let mut drill = Drill::new();
    drill
        .steady(30 * MINUTE, 1_000)
        .steady(5 * MINUTE - 10 * SECOND, 3_000);
    assert_eq!(drill.state(), State::Closed, "not yet 5 minutes");
    drill.steady(10 * SECOND, 3_000);
    assert_eq!(drill.state(), State::Open);
    assert_eq!(drill.breaker.trip(), Some(Trip::Latency));
}

#[test]
fn latency_up_to_2x_normal_is_borne() {
    let mut drill = Drill::new();
    drill.steady(30 * MINUTE, 1_000).steady(20 * MINUTE, 1_900);
    assert_eq!(drill.state(), State::Closed);
}

#[test]
fn a_fast_slot_ends_the_5_minutes() {
    let mut drill = Drill::new();
    drill.steady(30 * MINUTE, 1_000).steady(4 * MINUTE, 3_000);
    drill.steady(20 * SECOND, 1_000).steady(4 * MINUTE, 3_000);
    assert_eq!(drill.state(), State::Closed);
}

#[test]
fn slow_calls_are_not_judged_below_20() {
    let mut drill = Drill::new();
    drill.steady(30 * MINUTE, 1_000);
    for _ in 0..19 {
        drill
            .end(Outcome::Success { latency_us: 9_000 })
            .wait(20 * SECOND);
    }
    assert_eq!(drill.state(), State::Closed);
    drill
        .end(Outcome::Success { latency_us: 9_000 })
        .wait(20 * SECOND);
    assert_eq!(drill.state(), State::Open);
}

#[test]
fn normal_is_the_median_while_closed_over_the_last_hour() {
    // What was usual an hour ago is not usual now.
    let mut drill = Drill::new();
    drill.steady(30 * MINUTE, 10_000).wait(60 * MINUTE);
    drill.steady(30 * MINUTE, 1_000).steady(5 * MINUTE, 3_000);
    assert_eq!(drill.state(), State::Open);
    // Trials and restarts are not usual.
    let mut drill = Drill::restarting();
    drill.steady(30 * SECOND, 90_000).steady(MINUTE, 1_000);
    assert_eq!(drill.state(), State::Closed);
    let normal = drill.breaker.normal.median_us(drill.now_us).1;
    assert!(
        normal.is_some_and(|normal_us| normal_us < 1_100),
        "{normal:?}"
    );
}

#[test]
fn it_opens_above_80_percent_of_capacity_for_2_minutes() {
    let mut drill = Drill::of(100);
    let mut permits: Vec<_> = (0..80).map(|_| drill.breaker.begin_admitted(0)).collect();
    assert_eq!(drill.wait(10 * MINUTE).state(), State::Closed, "80 percent");
    permits.push(drill.breaker.begin_admitted(drill.now_us));
    assert_eq!(drill.wait(2 * MINUTE - 1).state(), State::Closed);
    assert_eq!(drill.wait(1).state(), State::Open);
    assert_eq!(drill.breaker.trip(), Some(Trip::Saturation));
}

#[test]
fn a_moment_below_80_percent_ends_the_2_minutes() {
    let mut drill = Drill::of(10);
    let mut permits: Vec<_> = (0..9).map(|_| drill.breaker.begin_admitted(0)).collect();
    drill.wait(119 * SECOND);
    let permit = permits.pop().expect("a permit");
    drill.breaker.finish(permit, OK, drill.now_us);
    permits.push(drill.breaker.begin_admitted(drill.now_us));
    assert_eq!(drill.wait(119 * SECOND).state(), State::Closed);
    assert_eq!(drill.wait(SECOND).state(), State::Open);
}

#[test]
fn it_stays_open_for_30_seconds_and_lets_nothing_through() {
    let mut drill = Drill::open();
    assert_eq!(drill.traffic(), Traffic::None);
    let refused = drill.breaker.begin(0, drill.now_us);
    assert_eq!((refused, drill.breaker.counters().refused), (None, 1));
    assert_eq!(drill.wait(30 * SECOND - 1).state(), State::Open);
    assert_eq!(drill.breaker.next_at_us(), Some(30 * SECOND));
    assert_eq!(drill.wait(1).state(), State::HalfOpen);
}

#[test]
fn half_open_lets_10_percent_through() {
    let mut drill = Drill::half_open();
    assert_eq!(drill.traffic(), Traffic::Share(10));
    let admitted = (0..1_000).filter(|hash| drill.traffic().admits(*hash));
    assert_eq!(admitted.count(), 100);
}

#[test]
fn a_partition_is_let_through_as_a_whole() {
    let mut drill = Drill::half_open();
    let first: Vec<_> = (0..128)
        .filter(|hash| drill.traffic().admits(*hash))
        .collect();
    drill.wait(20 * SECOND);
    let later: Vec<_> = (0..128)
        .filter(|hash| drill.traffic().admits(*hash))
        .collect();
    assert_eq!(first, later);
}

#[test]
fn half_open_is_judged_over_30_seconds() {
    let mut drill = Drill::half_open();
    drill.ends(100, Outcome::Failure).wait(30 * SECOND - 1);
    assert_eq!(drill.state(), State::HalfOpen);
    assert_eq!(drill.wait(1).state(), State::Open);
    assert_eq!(drill.breaker.trip(), Some(Trip::Trial));
}

#[test]
fn half_open_closes_at_90_percent_success() {
    for (successes, to) in [(90, State::Restarting), (89, State::Open)] {
        let mut drill = Drill::half_open();
        drill
            .ends(successes, OK)
            .ends(100 - successes, Outcome::Failure);
        assert_eq!(drill.wait(30 * SECOND).state(), to, "{successes} of 100");
    }
}

#[test]
fn half_open_without_a_call_goes_on_trying() {
    let mut drill = Drill::half_open();
    assert_eq!(drill.wait(10 * MINUTE).state(), State::HalfOpen);
    drill.end(OK);
    assert_eq!(drill.state(), State::Restarting);
}

#[test]
fn traffic_returns_with_25_50_and_100_percent_over_30_seconds() {
    let mut drill = Drill::restarting();
    let mut steps = Vec::new();
    for _ in 0..30 {
        steps.push(drill.traffic());
        drill.wait(SECOND);
    }
    let expected = [25, 50, 100].map(|percent| vec![Traffic::Share(percent); 10]);
    assert_eq!(steps, expected.concat());
    assert_eq!(drill.traffic(), Traffic::All);
    assert_eq!(drill.state(), State::Closed);
}

#[test]
fn a_restart_that_fails_opens_again() {
    let mut drill = Drill::restarting();
    drill.wait(5 * SECOND).ends(20, Outcome::Failure);
    assert_eq!(drill.state(), State::Open);
    assert_eq!(drill.wait(30 * SECOND).state(), State::HalfOpen);
}

#[test]
fn a_lost_connection_is_no_sample_and_is_probed_every_250_ms() {
    let mut drill = Drill::new();
    drill.ends(1_000, Outcome::Lost);
    assert_eq!(
        (drill.state(), drill.traffic()),
        (State::Reconnecting, Traffic::None)
    );
    let mut probes = Vec::new();
    for millisecond in 0..1_000 {
        if drill.breaker.probe_is_due(millisecond * 1_000) {
            probes.push(millisecond);
        }
    }
    assert_eq!(probes, [0, 250, 500, 750]);
    drill.wait(SECOND).breaker.on_connected(SECOND);
    assert_eq!(drill.state(), State::Closed);
    assert_eq!(drill.breaker.counters().lost, 1);
}

#[test]
fn a_failure_while_the_connection_is_lost_is_no_sample() {
    let mut drill = Drill::new();
    let permits: Vec<_> = (0..50).map(|_| drill.breaker.begin_admitted(0)).collect();
    drill.breaker.on_lost(0);
    for permit in permits {
        drill.breaker.finish(permit, Outcome::Failure, 1);
    }
    drill.breaker.on_connected(2);
    assert_eq!(drill.wait(2).state(), State::Closed);
}

#[test]
fn an_open_breaker_that_loses_its_connection_tries_when_it_is_back() {
    let mut drill = Drill::open();
    drill.breaker.on_lost(drill.now_us);
    drill.wait(10 * SECOND).breaker.on_connected(10 * SECOND);
    assert_eq!(drill.state(), State::Open);
    assert_eq!(drill.wait(20 * SECOND).state(), State::HalfOpen);
}

#[test]
fn an_answer_of_an_earlier_state_is_no_sample() {
    let mut drill = Drill::new();
    let late: Vec<_> = (0..50).map(|_| drill.breaker.begin_admitted(0)).collect();
    drill.ends(20, Outcome::Failure).wait(30 * SECOND);
    assert_eq!(drill.state(), State::HalfOpen);
    for permit in late {
        drill.breaker.finish(permit, Outcome::Failure, drill.now_us);
    }
    drill.end(OK).wait(30 * SECOND);
    assert_eq!(drill.state(), State::Restarting);
}

#[test]
fn the_table_of_transitions_is_this() {
    let states = [
        State::Closed,
        State::Open,
        State::HalfOpen,
        State::Restarting,
        State::Reconnecting,
    ];
    let events = [
        Event::Tripped,
        Event::Elapsed,
        Event::TrialPassed,
        Event::TrialFailed,
    ];
    let mut table = String::new();
    for event in events {
        for from in states {
            if let Some(to) = transition(from, event) {
                table += &format!("{event:?}({from:?} => {to:?})\n");
            }
        }
    }
    let expected = "Tripped(Closed => Open)\n\
                    Tripped(Restarting => Open)\n\
                    Elapsed(Open => HalfOpen)\n\
                    Elapsed(Restarting => Closed)\n\
                    TrialPassed(HalfOpen => Restarting)\n\
                    TrialFailed(HalfOpen => Open)\n";
    assert_eq!(table, expected);
}

/// Something that happens to a breaker.
#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Begin(u64),
    End(usize, u8),
    Lost,
    Connected,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..20 * SECOND).prop_map(Step::Wait),
        any::<u64>().prop_map(Step::Begin),
        (any::<usize>(), 0u8..4).prop_map(|(which, how)| Step::End(which, how)),
        Just(Step::Lost),
        Just(Step::Connected),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_it_comes_back_and_counts_its_calls(
        steps in proptest::collection::vec(step(), 0..300),
    ) {
        let mut drill = Drill::of(8);
        let mut permits = Vec::new();
        for step in steps {
            let now_us = drill.now_us;
            match step {
                Step::Wait(time_us) => drill.now_us += time_us,
                Step::Begin(hash) => permits.extend(drill.breaker.begin(hash, now_us)),
                Step::End(which, how) if !permits.is_empty() => {
                    let permit = permits.swap_remove(which % permits.len());
                    let outcome = match how {
                        0 => OK,
                        1 => Outcome::Failure,
                        2 => Outcome::Lost,
                        _ => Outcome::Cancelled,
                    };
                    drill.breaker.finish(permit, outcome, now_us);
                }
                Step::End(..) => {}
                Step::Lost => drill.breaker.on_lost(now_us),
                Step::Connected => drill.breaker.on_connected(now_us),
            }
            prop_assert_eq!(drill.breaker.in_flight(), permits.len() as u64);
        }
        drill.breaker.on_connected(drill.now_us);
        for permit in permits {
            drill.breaker.finish(permit, OK, drill.now_us);
        }
        for _ in 0..20 {
            drill.wait(30 * SECOND);
            if drill.traffic() != Traffic::None {
                drill.end(OK);
            }
        }
        prop_assert_eq!(drill.state(), State::Closed);
    }
}
