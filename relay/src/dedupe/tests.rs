//! Windows against an oracle that remembers everything.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::limits::DEDUPE_GENERATION_S;

const A: InstanceId = InstanceId(1);

fn table() -> PublisherWindows {
    PublisherWindows::new(DedupeLimits::default())
}

#[test]
fn an_id_is_new_once_and_then_a_repeat_or_a_conflict() {
    let mut windows = table();
    assert_eq!(windows.look_up(A, Priority::P1, 5, 77), Verdict::New);
    windows.insert(A, Priority::P1, 5, 77, 0);
    assert_eq!(windows.look_up(A, Priority::P1, 5, 77), Verdict::Repeat);
    assert_eq!(windows.look_up(A, Priority::P1, 5, 78), Verdict::Conflict);
    assert_eq!(
        windows.look_up(A, Priority::P0, 5, 77),
        Verdict::New,
        "classes are apart"
    );
    assert_eq!(
        windows.look_up(InstanceId(2), Priority::P1, 5, 77),
        Verdict::New
    );
    assert_eq!(windows.window(A).map(PublisherWindow::highest), Some(5));
}

#[test]
fn a_refused_id_is_still_new_after_later_ones() {
    let mut windows = table();
    for id in [10, 12, 11, 3] {
        assert_eq!(windows.look_up(A, Priority::P1, id, id), Verdict::New);
        windows.insert(A, Priority::P1, id, id, 0);
        assert_eq!(windows.look_up(A, Priority::P1, id, id), Verdict::Repeat);
    }
    let window = windows
        .window(A)
        .and_then(|window| window.class(Priority::P1))
        .expect("a window");
    assert_eq!(
        window.iter().map(|(id, _)| id).collect::<Vec<_>>(),
        [3, 10, 11, 12]
    );
}

#[test]
fn ids_are_held_for_ten_minutes_and_then_too_old() {
    let mut window = ClassWindow::new(0);
    window.insert(1, 1, DEDUPE_GENERATION_S - 1);
    window.prune(DEDUPE_GENERATION_S - 1 + DEDUPE_KEEP_S);
    assert_eq!(window.look_up(1, 1), Verdict::Repeat);
    window.prune(3 * DEDUPE_GENERATION_S);
    assert_eq!(window.look_up(1, 1), Verdict::TooOld);
    assert_eq!(window.look_up(2, 1), Verdict::New);
}

#[test]
fn a_full_window_forgets_its_oldest_id() {
    let mut window = ClassWindow::new(0);
    for id in 1..=DEDUPE_WINDOW_IDS as u64 + 1 {
        window.insert(id, id, 0);
    }
    assert_eq!(window.len(), DEDUPE_WINDOW_IDS);
    assert_eq!(window.look_up(1, 1), Verdict::TooOld);
    assert_eq!(window.look_up(2, 2), Verdict::Repeat);
}

#[test]
fn a_counter_that_jumps_far_stays_exact_above_the_jump() {
    let mut window = ClassWindow::new(0);
    window.insert(1, 1, 0);
    window.insert(u64::MAX - 1, 2, 0);
    window.insert(u64::MAX, 3, 0);
    assert_eq!(window.look_up(1, 1), Verdict::TooOld);
    assert_eq!(window.look_up(2, 1), Verdict::TooOld);
    assert_eq!(window.look_up(u64::MAX - 1, 2), Verdict::Repeat);
    assert_eq!(window.look_up(u64::MAX - 2, 2), Verdict::New);
}

#[test]
fn a_full_table_drops_the_quietest_publisher_and_counts_it() {
    let mut windows = PublisherWindows::new(DedupeLimits {
        publishers_max: 4,
        entries_max: 100,
    });
    for instance in 1..=4u32 {
        windows.insert(
            InstanceId(u128::from(instance)),
            Priority::P1,
            1,
            1,
            instance,
        );
    }
    windows.insert(InstanceId(1), Priority::P1, 2, 1, 400);
    windows.insert(InstanceId(9), Priority::P1, 1, 1, 400);
    assert_eq!(windows.len(), 4);
    assert!(windows.window(InstanceId(2)).is_none(), "quiet for 398 s");
    windows.insert(InstanceId(10), Priority::P1, 1, 1, 302);
    assert_eq!(
        *windows.counters(),
        DedupeCounters {
            expired: 0,
            evicted: 2,
            evicted_early: 1
        }
    );
}

#[test]
fn the_entry_cap_spares_the_publisher_that_is_writing() {
    let mut windows = PublisherWindows::new(DedupeLimits {
        publishers_max: 9,
        entries_max: 10,
    });
    windows.insert(InstanceId(2), Priority::P1, 1, 1, 0);
    for id in 1..=20 {
        windows.insert(A, Priority::P1, id, id, 1);
    }
    assert!(windows.window(InstanceId(2)).is_none());
    assert_eq!(windows.look_up(A, Priority::P1, 20, 20), Verdict::Repeat);
}

#[test]
fn quiet_windows_expire_by_sweeping() {
    let mut windows = table();
    windows.insert(A, Priority::P1, 1, 1, 0);
    windows.sweep(DEDUPE_KEEP_S - 1, 10);
    assert_eq!(windows.len(), 1);
    windows.sweep(DEDUPE_KEEP_S, 10);
    assert!(windows.is_empty());
    assert_eq!(windows.entries(), 0);
    assert_eq!(windows.counters().expired, 1);
}

proptest! {
    /// The window agrees with an unbounded memory, or says that it cannot know.
    #[test]
    fn a_window_never_takes_an_id_twice(
        steps in proptest::collection::vec((0u64..3_000, 0u64..3, 0u32..120), 1..400),
        base in prop_oneof![Just(0u64), Just(u64::from(u32::MAX) - 500), Just(1u64 << 40)],
    ) {
        let mut window = ClassWindow::new(0);
        let mut oracle: BTreeMap<u64, (u64, u32)> = BTreeMap::new();
        let mut now_s = 0;
        for (step, hash, pause) in steps {
            now_s += pause;
            let id = base + step + 1;
            let verdict = window.look_up(id, hash);
            match oracle.get(&id) {
                None => prop_assert!(matches!(verdict, Verdict::New | Verdict::TooOld)),
                Some((known, accepted_s)) => {
                    let expected =
                        if *known == hash { Verdict::Repeat } else { Verdict::Conflict };
                    let fresh = now_s - accepted_s < DEDUPE_GENERATION_S;
                    prop_assert!(verdict == expected || verdict == Verdict::TooOld && !fresh
                        || verdict == Verdict::TooOld && id < window.highest());
                }
            }
            if verdict == Verdict::New {
                window.insert(id, hash, now_s);
                oracle.insert(id, (hash, now_s));
            }
            let held: Vec<_> = window.iter().map(|(id, _)| id).collect();
            prop_assert!(held.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert_eq!(window.len(), held.len());
        }
    }
}
