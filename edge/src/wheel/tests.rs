//! The wheel: single behaviours, and a binary heap as oracle.

use super::limits::{WHEEL_HORIZON_MS, WHEEL_INDICES_MAX, WHEEL_SLOTS, WHEEL_TICK_MS};
use super::Wheel;
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

const REVOLUTION_MS: u64 = WHEEL_SLOTS as u64 * WHEEL_TICK_MS;

fn wheel(now_ms: u64) -> Wheel {
    Wheel::new(1_000, now_ms).expect("wheel")
}

/// All that is due at `now_ms`, whatever number of turns it takes.
fn due(wheel: &mut Wheel, now_ms: u64) -> Vec<u32> {
    let mut out = Vec::new();
    while wheel.advance(now_ms, 32, &mut out) {}
    out
}

#[test]
fn a_deadline_fires_within_its_tick_and_never_early() {
    let mut wheel = wheel(5_003);
    wheel.schedule(1, 5_021);
    assert_eq!(wheel.next_deadline_ms(), Some(5_030));
    assert_eq!(due(&mut wheel, 5_029), [0_u32; 0]);
    assert_eq!(due(&mut wheel, 5_030), [1]);
    assert!(wheel.is_empty() && !wheel.is_scheduled(1));
    assert_eq!(wheel.next_deadline_ms(), None);
}

#[test]
fn a_past_deadline_fires_at_the_next_turn() {
    let mut wheel = wheel(5_000);
    wheel.schedule(3, 0);
    assert_eq!(wheel.next_deadline_ms(), Some(5_000));
    assert_eq!(due(&mut wheel, 5_000), [3]);
}

#[test]
fn a_turn_takes_at_most_its_limit_and_carries_the_rest_in_order() {
    let mut wheel = wheel(0);
    for index in 0..70 {
        wheel.schedule(index, 10 + u64::from(index / 50) * 10);
    }
    let mut out = Vec::new();
    assert!(wheel.advance(1_000, 32, &mut out));
    assert_eq!(out.len(), 32);
    wheel.schedule(900, 8);
    assert!(wheel.advance(1_000, 32, &mut out));
    assert!(!wheel.advance(1_000, 32, &mut out));
    let before: Vec<u32> = (0..50).chain([900]).chain(50..70).collect();
    assert_eq!(
        out, before,
        "late comers of a passed slot go before the slots that follow"
    );
}

#[test]
fn a_cancelled_deadline_never_fires_even_when_it_is_due_already() {
    let mut wheel = wheel(0);
    for index in 0..40 {
        wheel.schedule(index, 10);
    }
    let mut out = Vec::new();
    wheel.advance(10, 32, &mut out);
    assert!(wheel.cancel(39), "it waits among the leftovers");
    assert!(!wheel.cancel(39) && !wheel.cancel(0) && !wheel.cancel(999));
    out.clear();
    wheel.advance(10, 32, &mut out);
    assert_eq!(out, (32..39).collect::<Vec<_>>());
}

#[test]
fn a_new_deadline_replaces_the_old_one() {
    let mut wheel = wheel(0);
    wheel.schedule(7, 100);
    wheel.schedule(7, 30_000);
    assert_eq!((wheel.len(), wheel.next_deadline_ms()), (1, Some(30_000)));
    assert_eq!(due(&mut wheel, 29_999), [0_u32; 0]);
    assert_eq!(due(&mut wheel, 30_000), [7]);
}

#[test]
fn deadlines_beyond_one_revolution_wait_for_theirs() {
    let mut wheel = wheel(0);
    for revolutions in 0..4 {
        wheel.schedule(revolutions, 500 + u64::from(revolutions) * REVOLUTION_MS);
    }
    for revolutions in 0..4 {
        let at_ms = 500 + u64::from(revolutions) * REVOLUTION_MS;
        assert_eq!(due(&mut wheel, at_ms - 1), [0_u32; 0]);
        assert_eq!(due(&mut wheel, at_ms), [revolutions]);
    }
}

#[test]
fn a_clock_that_jumps_over_revolutions_fires_in_order_and_skips_nothing() {
    let mut wheel = wheel(0);
    wheel.schedule(2, 2 * REVOLUTION_MS + 500);
    wheel.schedule(1, REVOLUTION_MS + 700);
    wheel.schedule(3, 5 * REVOLUTION_MS);
    assert_eq!(due(&mut wheel, 4 * REVOLUTION_MS), [1, 2]);
    assert_eq!(due(&mut wheel, 5 * REVOLUTION_MS), [3]);
}

#[test]
fn a_deadline_beyond_the_horizon_fires_at_the_horizon() {
    let mut wheel = wheel(0);
    wheel.schedule(1, WHEEL_HORIZON_MS);
    wheel.schedule(2, WHEEL_HORIZON_MS + 7 * REVOLUTION_MS);
    assert_eq!(due(&mut wheel, WHEEL_HORIZON_MS - 1), [0_u32; 0]);
    assert_eq!(due(&mut wheel, WHEEL_HORIZON_MS), [1, 2]);
}

#[test]
fn an_idle_wheel_follows_the_clock() {
    let mut wheel = wheel(0);
    let later_ms = 2 * WHEEL_HORIZON_MS;
    assert_eq!(due(&mut wheel, later_ms), [0_u32; 0]);
    wheel.schedule(1, later_ms + 5_000);
    assert_eq!(due(&mut wheel, later_ms + 4_999), [0_u32; 0]);
    assert_eq!(due(&mut wheel, later_ms + 5_000), [1]);
}

#[test]
#[should_panic(expected = "index 1000 is not below 1000")]
fn an_index_beyond_the_capacity_is_a_mistake() {
    wheel(0).schedule(1_000, 10);
}

#[test]
fn a_capacity_beyond_the_links_is_refused() {
    assert!(Wheel::new(WHEEL_INDICES_MAX, 0).is_ok());
    assert!(Wheel::new(WHEEL_INDICES_MAX + 1, 0).is_err());
}

#[derive(Debug, Clone)]
enum Step {
    Schedule { index: u32, ahead_ms: u64 },
    Cancel { index: u32 },
    Advance { by_ms: u64, limit: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let ahead = prop_oneof![6 => 0..500u64, 3 => 0..45_000u64, 1 => 0..400_000u64];
    let by = prop_oneof![8 => 0..60u64, 3 => 0..3_000u64, 1 => 0..200_000u64];
    prop_oneof![
        5 => (0..60u32, ahead).prop_map(|(index, ahead_ms)| Step::Schedule { index, ahead_ms }),
        1 => (0..60u32).prop_map(|index| Step::Cancel { index }),
        4 => (by, 1..12usize).prop_map(|(by_ms, limit)| Step::Advance { by_ms, limit }),
    ]
}

/// The oracle: a heap of deadlines in ticks; `current` tells which of them still counts.
#[derive(Default)]
struct Oracle {
    heap: BinaryHeap<Reverse<(u64, u64, u32)>>,
    current: BTreeMap<u32, u64>,
    scheduled: u64,
}

impl Oracle {
    fn schedule(&mut self, index: u32, at_ms: u64) {
        self.scheduled += 1;
        self.current.insert(index, self.scheduled);
        self.heap.push(Reverse((
            at_ms.div_ceil(WHEEL_TICK_MS),
            self.scheduled,
            index,
        )));
    }

    fn is_current(&self, number: u64, index: u32) -> bool {
        self.current.get(&index) == Some(&number)
    }

    /// The indices due at a time with their ticks, in order.
    fn due(&self, now_ms: u64) -> BTreeMap<u32, u64> {
        let now = now_ms / WHEEL_TICK_MS;
        let entries = self.heap.iter().map(|Reverse(entry)| entry);
        let due = entries
            .filter(|(tick, number, index)| *tick <= now && self.is_current(*number, *index));
        due.map(|(tick, _, index)| (*index, *tick)).collect()
    }

    fn first_tick(&mut self) -> Option<u64> {
        while let Some(Reverse((tick, number, index))) = self.heap.peek().copied() {
            if self.is_current(number, index) {
                return Some(tick);
            }
            self.heap.pop();
        }
        None
    }
}

proptest! {
    #[test]
    fn a_wheel_behaves_as_a_heap(
        start in 0..1_000_000u64,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut wheel = Wheel::new(60, start).expect("wheel");
        let (mut oracle, mut now) = (Oracle::default(), start);
        for step in steps {
            match step {
                Step::Schedule { index, ahead_ms } => {
                    wheel.schedule(index, now + ahead_ms);
                    oracle.schedule(index, now + ahead_ms);
                }
                Step::Cancel { index } => {
                    prop_assert_eq!(wheel.cancel(index), oracle.current.remove(&index).is_some());
                }
                Step::Advance { by_ms, limit } => {
                    now += by_ms;
                    let due = oracle.due(now);
                    let mut out = Vec::new();
                    let has_more = wheel.advance(now, limit, &mut out);
                    prop_assert!(out.len() <= limit);
                    for index in &out {
                        prop_assert!(due.contains_key(index), "{} fired early or twice", index);
                        oracle.current.remove(index);
                    }
                    let left = oracle.due(now);
                    prop_assert!(has_more || left.is_empty(), "due entries were forgotten");
                    let ticks: Vec<u64> = out.iter().map(|index| due[index]).collect();
                    prop_assert!(ticks.is_sorted(), "fired in the order of their slots");
                    let last = ticks.last().copied().unwrap_or(0);
                    prop_assert!(left.values().all(|tick| *tick >= last), "one was passed over");
                }
            }
            prop_assert_eq!(wheel.len(), oracle.current.len());
            let scheduled: Vec<u32> = (0..60).filter(|index| wheel.is_scheduled(*index)).collect();
            let wanted: Vec<u32> = oracle.current.keys().copied().collect();
            prop_assert_eq!(scheduled, wanted);
            match (wheel.next_deadline_ms(), oracle.first_tick()) {
                (Some(next), Some(first)) => prop_assert!(next <= (first * WHEEL_TICK_MS).max(now)),
                (next, first) => prop_assert_eq!(next.is_some(), first.is_some()),
            }
        }
        let mut fired = Vec::new();
        while wheel.advance(now + WHEEL_HORIZON_MS, 7, &mut fired) {}
        fired.sort_unstable();
        let wanted: Vec<u32> = oracle.current.keys().copied().collect();
        prop_assert_eq!(fired, wanted);
    }
}
