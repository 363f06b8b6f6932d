//! Every number of the two classes, and that pauses stay within them.

use proptest::prelude::*;

use super::*;

#[test]
fn the_classes_have_their_numbers() {
    let real_time = RetryClass::REAL_TIME;
    assert_eq!((real_time.attempts, real_time.timeout_us), (3, 1_000_000));
    assert_eq!(real_time.backoff.first_us, 25_000);
    let standard = RetryClass::STANDARD;
    assert_eq!((standard.attempts, standard.timeout_us), (5, 30_000_000));
    assert_eq!(standard.backoff.first_us, 1_000_000);
}

#[test]
fn limits_of_pauses_double() {
    let limits = |class: RetryClass| {
        (1..class.attempts)
            .map(|failures| class.backoff.limit_us(failures))
            .collect::<Vec<_>>()
    };
    assert_eq!(limits(RetryClass::REAL_TIME), [25_000, 50_000]);
    assert_eq!(
        limits(RetryClass::STANDARD),
        [1_000_000, 2_000_000, 4_000_000, 8_000_000]
    );
    let lines = (1..=7).map(|failures| Backoff::LINE.limit_us(failures) / 1_000);
    assert_eq!(lines.collect::<Vec<_>>(), [25, 50, 100, 200, 400, 500, 500]);
}

/// Fails every attempt at once and counts them.
fn attempts(class: RetryClass, random: u64) -> (u32, u64) {
    let (mut retry, mut now_us, mut made) = (Retry::new(class), 0, 0);
    loop {
        match retry.next(now_us, random) {
            Next::Attempt { deadline_us } => {
                assert_eq!(deadline_us, now_us + class.timeout_us);
                made += 1;
                retry.on_failure(now_us, random);
            }
            Next::WaitUntil(until_us) => now_us = until_us,
            Next::GiveUp => return (made, now_us),
        }
    }
}

#[test]
fn attempts_are_used_up_after_the_longest_pauses() {
    assert_eq!(attempts(RetryClass::REAL_TIME, u64::MAX), (3, 75_000));
    assert_eq!(attempts(RetryClass::STANDARD, u64::MAX), (5, 15_000_000));
}

#[test]
fn an_attempt_without_an_answer_fails_at_its_deadline() {
    let mut retry = Retry::new(RetryClass::REAL_TIME);
    let deadline_us = 1_000_007;
    assert_eq!(retry.next(7, 0), Next::Attempt { deadline_us });
    assert_eq!(retry.next(8, 0), Next::WaitUntil(deadline_us));
    assert_eq!(retry.next(deadline_us, 0), Next::WaitUntil(deadline_us + 1));
    assert_eq!(retry.failures(), 1);
}

#[test]
fn a_permanent_failure_is_not_tried_again() {
    let mut retry = Retry::new(RetryClass::STANDARD);
    retry.next(0, 0);
    retry.on_permanent_failure();
    assert_eq!(retry.next(1, 0), Next::GiveUp);
}

#[test]
fn a_failure_without_an_attempt_does_not_count() {
    let mut retry = Retry::new(RetryClass::REAL_TIME);
    retry.on_failure(0, 0);
    retry.next(0, 0);
    retry.on_failure(0, u64::MAX);
    retry.on_failure(0, u64::MAX);
    assert_eq!(retry.failures(), 1);
}

proptest! {
    #[test]
    fn pauses_are_drawn_from_the_whole_range(
        failures in 0u32..=u32::MAX, random: u64, first_us in 1u64.., longest_us in 1u64..,
    ) {
        let backoff = Backoff { first_us, longest_us };
        let limit_us = backoff.limit_us(failures);
        prop_assert!(limit_us <= longest_us);
        let pause_us = backoff.pause_us(failures, random);
        prop_assert!((1..=limit_us).contains(&pause_us));
        prop_assert_eq!(backoff.pause_us(failures, 0), 1);
        prop_assert_eq!(backoff.pause_us(failures, u64::MAX), limit_us);
    }

    #[test]
    fn a_call_is_attempted_as_often_as_its_class_says(random: u64) {
        prop_assert_eq!(attempts(RetryClass::REAL_TIME, random).0, 3);
        prop_assert_eq!(attempts(RetryClass::STANDARD, random).0, 5);
    }
}
