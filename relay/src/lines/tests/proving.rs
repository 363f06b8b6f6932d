//! What a server that has taken over proves, and what it does not.

use super::*;

const SECOND_US: u64 = 1_000_000;

fn partition() -> u16 {
    partition_of("class.algebra", 8)
}

/// Lines that have placed records 1 to 10, one every two seconds, and whose server has changed.
fn changed() -> Lines {
    let mut lines = lines();
    for sequence in 1..=10 {
        lines.offer(&record(sequence));
        let call = lines.next_call(2 * sequence * SECOND_US).expect("a call");
        lines.placed(call.line, &published(&call));
    }
    lines.rewind(&[partition()], 21 * SECOND_US);
    lines
}

fn ask(lines: &mut Lines) -> Question {
    lines.next_question(21 * SECOND_US).expect("a question")
}

/// Where a server has the records of a question that it has.
fn places(question: &Question, has: impl Fn(u64) -> Option<Placement>) -> Vec<Option<Placement>> {
    let records = question.records.iter();
    records.map(|record| has(record.0 as u64)).collect()
}

/// What is submitted again.
fn again(lines: &mut Lines) -> Vec<u64> {
    while let Some((id, read)) = lines.next_rewind() {
        let after = read.reader.after();
        let journal = (1..=10).map(|sequence| plain(&record(sequence)));
        let records = journal.filter(|record| record.at > after).collect();
        lines.rewound(id, Some((read.reader, records)));
    }
    let call = lines.next_call(21 * SECOND_US);
    call.map_or(Vec::new(), |call| sequences(&call))
}

/// The server has the records up to one.
fn through(last: u64) -> impl Fn(u64) -> Option<Placement> {
    move |sequence| (sequence <= last).then(|| placement(sequence))
}

#[test]
fn only_what_a_server_cannot_prove_to_have_is_submitted_again() {
    let mut lines = changed();
    assert!(lines.next_rewind().is_none(), "the server is asked first");
    let question = ask(&mut lines);
    let asked: Vec<_> = question.records.iter().map(|it| it.0 as u64).collect();
    assert_eq!(asked, [10, 9, 8, 6, 2]);
    assert_eq!(lines.next_question(21 * SECOND_US), None, "once");
    lines.offer(&record(11));
    assert!(
        lines.next_call(21 * SECOND_US).is_none(),
        "what is new waits"
    );
    let known = places(&question, through(7));
    lines.known(question.line, question.number, &known);
    assert_eq!(lines.cursor(LANE), Some(at(1, 0, 6)));
    assert_eq!(again(&mut lines), [7, 8, 9, 10, 11]);
    assert_eq!(lines.counters().proved, 1);
}

#[test]
fn a_server_is_asked_when_its_partition_may_be_called() {
    let mut lines = changed();
    lines.admit(Traffic::None, 0);
    assert_eq!(lines.next_question(21 * SECOND_US), None, "it pauses");
    let asked = (0..10).filter(|&turn| {
        let mut lines = changed();
        lines.admit(Traffic::Share(10), turn);
        lines.next_question(21 * SECOND_US).is_some()
    });
    assert_eq!(asked.count(), 1, "once in ten turns");
    lines.admit(Traffic::All, 0);
    ask(&mut lines);
}

#[test]
fn a_server_that_has_everything_is_given_nothing_again() {
    let mut lines = changed();
    let question = ask(&mut lines);
    let known = places(&question, through(10));
    lines.known(question.line, question.number, &known);
    assert!(lines.next_rewind().is_none() && lines.is_idle());
    assert_eq!(lines.cursor(LANE), Some(at(1, 0, 10)));
}

#[test]
fn a_record_at_another_place_proves_nothing() {
    // Another node has submitted record 9 again, or an earlier rewind has.
    let moved = || {
        let mut lines = changed();
        let question = ask(&mut lines);
        let has = |sequence| match sequence {
            9 => Some(placement(99)),
            _ => through(2)(sequence),
        };
        lines.known(question.line, question.number, &places(&question, has));
        again(&mut lines)
    };
    assert_eq!(moved(), (3..=10).collect::<Vec<_>>());
    assert_eq!(with_planted(Planted::ProofAnywhere, moved), [10]);
}

#[test]
fn a_server_that_another_one_has_followed_proves_nothing() {
    let late = || {
        let mut lines = changed();
        let question = ask(&mut lines);
        lines.rewind(&[partition()], 21 * SECOND_US);
        let known = places(&question, through(10));
        lines.known(question.line, question.number, &known);
        if let Some(question) = lines.next_question(21 * SECOND_US) {
            lines.known(question.line, question.number, &[]);
        }
        again(&mut lines)
    };
    assert_eq!(late(), (1..=10).collect::<Vec<_>>());
    assert_eq!(with_planted(Planted::ProofLate, late), [0; 0]);
}

#[test]
fn a_repeat_is_no_proof() {
    let mut lines = lines();
    lines.offer(&record(1));
    let call = lines.next_call(SECOND_US).expect("a call");
    let mut answer = published(&call);
    answer[0].repeated = true;
    lines.placed(call.line, &answer);
    lines.rewind(&[partition()], 2 * SECOND_US);
    assert_eq!(lines.next_question(2 * SECOND_US), None);
    assert_eq!(again(&mut lines), [1]);
}

#[test]
fn a_question_that_is_not_answered_is_asked_again_and_then_given_up() {
    let mut lines = changed();
    let mut now_us = 21 * SECOND_US;
    for attempt in 1..=3 {
        let question = lines.next_question(now_us).expect("a question");
        lines.not_known(question.line, question.number, now_us);
        assert_eq!(lines.next_question(now_us), None, "it pauses");
        assert_eq!(lines.next_at_us().is_some(), attempt < 3);
        now_us = lines.next_at_us().unwrap_or(now_us);
    }
    assert_eq!(again(&mut lines), (1..=10).collect::<Vec<_>>());
}
