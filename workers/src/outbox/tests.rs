//! What a line does with answers.

use std::time::Duration;

use super::limits::{PAUSE_FIRST, PAUSE_MAX};
use super::line::{lines, Line, Outcome, Row, Step};
use crate::edge_api::Verdict;
use crate::ingress::{Reason, Wish};

fn row(id: i64, key: &str, publish: &str) -> Row {
    let identity = || format!("record-{id}");
    let wish = Wish::parse(publish.as_bytes(), key.as_bytes(), 0, identity);
    Row {
        id,
        lane: 1,
        is_known: false,
        key: key.to_owned(),
        publish: publish.to_owned(),
        wish: wish.map_err(Reason::from),
    }
}

fn event(id: i64) -> Row {
    row(id, "ada", r#"{"channel":"user.ada"}"#)
}

fn again(after_ms: u64) -> Verdict {
    Verdict::Again {
        after: Duration::from_millis(after_ms),
        cause: "c".into(),
    }
}

/// The idempotency key of the call that comes next.
fn call(line: &mut Line) -> String {
    let Step::Call(wish) = line.next(Duration::ZERO) else {
        panic!("no call");
    };
    let body: serde_json::Value = serde_json::from_slice(&wish.request(0)).expect("JSON");
    body["idempotency_key"].as_str().expect("a key").to_owned()
}

#[test]
fn a_row_is_attempted_when_the_one_before_it_is_published() {
    let mut line = Line::new(vec![event(1), event(2)]);
    assert_eq!(call(&mut line), "record-1");
    // An attempt without an answer is made again, of the same row.
    line.on_answer(again(0), true);
    assert_eq!(line.next(Duration::ZERO), Step::Wait(PAUSE_FIRST));
    assert_eq!(call(&mut line), "record-1");
    line.on_answer(Verdict::Published, false);
    assert_eq!(call(&mut line), "record-2");
    line.on_answer(Verdict::Published, false);
    assert_eq!(line.next(Duration::ZERO), Step::End);
    assert_eq!(line.end().gone, [1, 2]);
}

#[test]
fn pauses_grow_to_their_limit_and_no_retry_comes_before_the_asked_time() {
    let mut line = Line::new(vec![event(1), event(2)]);
    let mut pauses = Vec::new();
    for _ in 0..10 {
        call(&mut line);
        let after = line.on_answer(again(0), false);
        let Step::Wait(pause) = line.next(after) else {
            panic!("no wait");
        };
        pauses.push(pause);
    }
    assert_eq!(pauses[..3], [1, 2, 4].map(|times| times * PAUSE_FIRST));
    assert_eq!(pauses[9], PAUSE_MAX);
    call(&mut line);
    let after = line.on_answer(again(7_000), false);
    assert_eq!(line.next(after), Step::Wait(Duration::from_secs(7)));
    // The next row begins anew.
    call(&mut line);
    line.on_answer(Verdict::Published, false);
    call(&mut line);
    let after = line.on_answer(again(0), false);
    assert_eq!(line.next(after), Step::Wait(PAUSE_FIRST));
}

#[test]
fn what_is_refused_for_good_is_buried_and_the_next_row_follows() {
    let mut line = Line::new(vec![event(1), row(2, "ada", "[]"), event(3)]);
    call(&mut line);
    line.on_answer(
        Verdict::Refused {
            code: "not_permitted".into(),
            cause: "c".into(),
        },
        false,
    );
    for (id, code) in [(1, "not_permitted"), (2, "invalid_record")] {
        let Step::Bury(row, reason) = line.next(Duration::ZERO) else {
            panic!("no dead letter");
        };
        assert_eq!((row.id, &*reason.code), (id, code));
        line.on_buried();
    }
    assert_eq!(call(&mut line), "record-3");
    assert_eq!(line.end().gone, [1, 2]);
}

#[test]
fn only_what_a_node_may_know_of_keeps_the_time_of_its_attempt() {
    let known = Row {
        is_known: true,
        ..event(3)
    };
    let mut line = Line::new(vec![event(1), event(2), known]);
    call(&mut line);
    // It was answered, so that it had no effect.
    line.on_answer(again(0), false);
    let untouched = vec![1, 2];
    let outcome = Outcome {
        gone: Vec::new(),
        untouched,
    };
    assert_eq!(line.end(), outcome);

    let mut line = Line::new(vec![event(1), event(2)]);
    call(&mut line);
    line.on_answer(again(0), true);
    line.next(Duration::ZERO);
    call(&mut line);
    line.on_answer(again(0), false);
    assert_eq!(line.end().untouched, [2]);
}

#[test]
fn keys_have_lines_of_their_own_in_the_order_of_ids() {
    let channel = r#"{"channel":"user.ada"}"#;
    let rows = vec![
        row(3, "", channel),
        row(2, "bob", channel),
        row(1, "user.ada", channel),
    ];
    let mut lines = lines(rows);
    assert_eq!(lines.len(), 2);
    // The channel orders what has no key, beside those with the channel as a key.
    assert_eq!(call(&mut lines[1]), "record-1");
    lines[1].on_answer(Verdict::Published, false);
    assert_eq!(call(&mut lines[1]), "record-3");
    assert_eq!(call(&mut lines[0]), "record-2");
}
