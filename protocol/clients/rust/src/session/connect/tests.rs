//! Behaviour of the connection's life.

use super::*;

fn online(connect: &mut Connect, now_ms: u64) {
    assert!(connect.start_when_due(now_ms));
    assert!(connect.on_open(now_ms));
    assert!(connect.on_welcome());
}

#[test]
fn the_table_allows_exactly_these_transitions() {
    use Phase::{Closed, Dialing, Greeting, Idle, Online, Suspended, Waiting};
    let turns = [
        Turn::Dial,
        Turn::Open,
        Turn::Welcome,
        Turn::Lose,
        Turn::Suspend,
        Turn::Close,
    ];
    let mut legal = Vec::new();
    for turn in turns {
        for phase in Phase::ALL {
            if let Some(next) = phase.after(turn) {
                legal.push((turn, phase, next));
            }
        }
    }
    assert_eq!(
        legal,
        [
            (Turn::Dial, Idle, Dialing),
            (Turn::Dial, Waiting, Dialing),
            (Turn::Dial, Suspended, Dialing),
            (Turn::Open, Dialing, Greeting),
            (Turn::Welcome, Greeting, Online),
            (Turn::Lose, Dialing, Waiting),
            (Turn::Lose, Greeting, Waiting),
            (Turn::Lose, Online, Waiting),
            (Turn::Suspend, Dialing, Suspended),
            (Turn::Suspend, Greeting, Suspended),
            (Turn::Suspend, Online, Suspended),
            (Turn::Close, Idle, Closed),
            (Turn::Close, Dialing, Closed),
            (Turn::Close, Greeting, Closed),
            (Turn::Close, Online, Closed),
            (Turn::Close, Waiting, Closed),
            (Turn::Close, Suspended, Closed),
        ]
    );
}

#[test]
fn five_failures_suspend_and_connect_starts_over() {
    let mut connect = Connect::new(BackoffPolicy::default(), 1);
    let mut now_ms = 0;
    for attempt in 1..=5 {
        assert!(connect.start_when_due(now_ms), "attempt {attempt}");
        assert!(connect.on_lost(now_ms, u64::MAX));
        assert_eq!(connect.state(), State::Reconnecting { attempt });
        assert!(!connect.start_when_due(now_ms));
        now_ms = connect.deadline_ms().unwrap();
    }
    assert!(connect.start_when_due(now_ms));
    assert!(connect.on_lost(now_ms, 0));
    assert_eq!(connect.state(), State::Suspended);
    assert!(!connect.start_when_due(now_ms + limits::SUSPENDED_RETRY_MS / 2 - 1));
    connect.want_now(now_ms);
    assert!(connect.start_when_due(now_ms));
    assert!(connect.on_lost(now_ms, 0));
    assert_eq!(connect.state(), State::Reconnecting { attempt: 1 });
}

#[test]
fn a_suspended_client_tries_slowly_by_itself() {
    let policy = BackoffPolicy {
        attempts: 0,
        ..BackoffPolicy::default()
    };
    let mut connect = Connect::new(policy, 1);
    assert!(connect.start_when_due(0));
    assert!(connect.on_lost(0, 0));
    assert_eq!(connect.state(), State::Suspended);
    assert!(connect.start_when_due(limits::SUSPENDED_RETRY_MS / 2));
}

#[test]
fn a_planned_move_counts_as_no_attempt_and_keeps_its_time() {
    let mut connect = Connect::new(BackoffPolicy::default(), 1);
    online(&mut connect, 0);
    connect.on_reconnect(3_000, Some("ws://other:1".into()), 1_000);
    assert!(!connect.move_is_due(3_999));
    // The server closes the socket before the time it named.
    assert!(connect.on_lost(2_000, u64::MAX));
    assert_eq!(connect.attempts(), 0);
    assert_eq!(connect.state(), State::Reconnecting { attempt: 0 });
    assert!(!connect.start_when_due(3_999));
    assert!(connect.start_when_due(4_000));
    assert_eq!(connect.target(), Some("ws://other:1"));
}

#[test]
fn a_target_that_cannot_be_reached_is_given_up() {
    let mut connect = Connect::new(BackoffPolicy::default(), 1);
    online(&mut connect, 0);
    connect.on_reconnect(0, Some("ws://other:1".into()), 0);
    assert!(connect.move_is_due(0));
    assert!(connect.on_lost(0, 0));
    assert!(connect.start_when_due(0));
    assert!(connect.on_lost(0, 0));
    assert_eq!(connect.target(), None);
    assert_eq!(connect.attempts(), 1);
}

#[test]
fn a_welcome_forgets_earlier_attempts() {
    let mut connect = Connect::new(BackoffPolicy::default(), 1);
    for _ in 0..3 {
        connect.want_now(0);
        connect.start_when_due(0);
        connect.on_lost(0, 0);
    }
    online(&mut connect, 0);
    assert_eq!(connect.attempts(), 0);
    assert!(connect.on_lost(10, u64::MAX));
    assert_eq!(connect.deadline_ms(), Some(10 + limits::RECONNECT_FIRST_MS));
}

#[test]
fn dialling_and_greeting_have_an_end() {
    let mut connect = Connect::new(BackoffPolicy::default(), 1);
    connect.start_when_due(0);
    assert!(!connect.is_overdue(limits::DIAL_TIMEOUT_MS - 1));
    assert!(connect.is_overdue(limits::DIAL_TIMEOUT_MS));
    connect.on_open(100);
    assert!(!connect.is_overdue(100 + limits::GREETING_TIMEOUT_MS - 1));
    assert!(connect.is_overdue(100 + limits::GREETING_TIMEOUT_MS));
    connect.on_welcome();
    assert!(!connect.is_overdue(u64::MAX));
}

#[test]
fn nothing_follows_a_close() {
    let mut connect = Connect::new(BackoffPolicy::default(), 1);
    assert!(connect.close());
    assert!(!connect.close());
    assert!(!connect.start_when_due(u64::MAX));
    assert!(!connect.on_lost(0, 0));
    assert_eq!(connect.deadline_ms(), None);
    assert_eq!(connect.state(), State::Closed);
}

#[test]
fn a_failed_attempt_leads_to_the_next_address_and_round_again() {
    let mut connect = Connect::new(BackoffPolicy::default(), 3);
    let mut tried = Vec::new();
    for _ in 0..5 {
        connect.want_now(0);
        assert!(connect.start_when_due(0));
        tried.push(connect.address());
        assert!(connect.on_lost(0, 0));
    }
    assert_eq!(tried, [0, 1, 2, 0, 1]);
}

#[test]
fn a_lost_connection_is_sought_where_it_was_before_elsewhere() {
    let mut connect = Connect::new(BackoffPolicy::default(), 2);
    online(&mut connect, 0);
    assert!(connect.on_lost(10, 0));
    assert_eq!(connect.address(), 0);
    assert!(connect.start_when_due(10));
    // Open, and refused before `Welcome`, is a failed attempt as well.
    assert!(connect.on_open(10));
    assert!(connect.on_lost(20, 0));
    assert_eq!(connect.address(), 1);
    online(&mut connect, 20);
    assert!(connect.on_lost(30, 0));
    assert_eq!(connect.address(), 1);
}

#[test]
fn a_move_without_a_target_leaves_the_node_and_a_target_that_fails_as_well() {
    let mut connect = Connect::new(BackoffPolicy::default(), 3);
    online(&mut connect, 0);
    connect.on_reconnect(0, None, 0);
    assert!(connect.on_lost(0, 0));
    assert_eq!((connect.address(), connect.target()), (1, None));
    online(&mut connect, 0);
    connect.on_reconnect(0, Some("ws://other:1".into()), 0);
    assert!(connect.on_lost(0, 0));
    assert_eq!(
        (connect.address(), connect.target()),
        (1, Some("ws://other:1"))
    );
    assert!(connect.start_when_due(0));
    assert!(connect.on_lost(0, 0));
    assert_eq!((connect.address(), connect.target()), (2, None));
}

#[test]
fn a_single_address_is_tried_again_and_again() {
    let mut connect = Connect::new(BackoffPolicy::default(), 0);
    for _ in 0..3 {
        connect.want_now(0);
        assert!(connect.start_when_due(0));
        assert!(connect.on_lost(0, 0));
        assert_eq!(connect.address(), 0);
    }
}
