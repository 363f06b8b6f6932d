//! How far a rewind goes back, and what is looked up before it is submitted again.

use super::*;
use crate::cursors::Settled;
use crate::lines::limits::REWIND_US;

/// When an id that was placed at 0 may be forgotten.
const LATE_US: u64 = 300_000_000;

const SECOND_US: u64 = 1_000_000;

/// Submits what waits at a time, and has it answered.
fn place(lines: &mut Lines, now_us: u64, repeated: bool) -> Vec<Placed> {
    let call = lines.next_call(now_us).expect("a call");
    let mut answer = published(&call);
    answer.iter_mut().for_each(|it| it.repeated = repeated);
    lines.placed(call.line, &answer)
}

/// The server proves nothing.
fn unproved(lines: &mut Lines) {
    while let Some(question) = lines.next_question(0) {
        lines.known(question.line, question.number, &[]);
    }
}

/// Reads for a rewind of which nothing is proved; `records` are what the log has.
fn rewind_to(lines: &mut Lines, records: &[LogRecord]) {
    unproved(lines);
    while let Some((id, read)) = lines.next_rewind() {
        let after = read.reader.after();
        let later = records.iter().filter(|record| record.at > after);
        lines.rewound(id, Some((read.reader, later.cloned().collect())));
    }
}

fn partition() -> u16 {
    partition_of("class.algebra", 8)
}

#[test]
fn a_rewind_that_begins_during_another_drops_nothing_of_it() {
    let mut lines = Lines::new(8, &[at(1, 0, 0), at(1, 1, 0)]);
    while let Some((id, read)) = lines.next_read() {
        lines.read(id, Some((read.reader, Vec::new())));
    }
    let own = partition_of("class.algebra", 8);
    let names = (1..).map(|number| format!("class.{number}"));
    let mut others = names.filter(|name| partition_of(name, 8) != own);
    let other = others.next().expect("a channel of another partition");
    let all = [
        record_of(at(1, 0, 1), "class.algebra"),
        record_of(at(1, 0, 2), &other),
        record_of(at(1, 1, 1), "class.algebra"),
    ];
    all.iter().for_each(|record| lines.offer(record));
    while let Some(call) = lines.next_call(0) {
        lines.placed(call.line, &published(&call));
    }
    let stretch = |id: LaneId| {
        let own = all.iter().filter(|record| record.at.shard == id.0);
        own.map(plain).collect::<Vec<_>>()
    };
    lines.rewind(&[own], 0);
    unproved(&mut lines);
    let (id, read) = lines.next_rewind().expect("a read");
    lines.rewound(id, Some((read.reader, stretch(id))));
    lines.rewind(&[partition_of(&other, 8)], 0);
    unproved(&mut lines);
    while let Some((id, read)) = lines.next_rewind() {
        lines.rewound(id, Some((read.reader, stretch(id))));
    }
    let mut again = Vec::new();
    while let Some(call) = lines.next_call(0) {
        again.extend(call.records.iter().map(|record| record.at));
        lines.placed(call.line, &published(&call));
    }
    again.sort();
    assert_eq!(again, [at(1, 0, 1), at(1, 0, 2), at(1, 1, 1)]);
}

#[test]
fn a_rewind_goes_back_by_a_minute_and_not_to_what_was_placed_before() {
    let mut lines = lines();
    for (sequence, now_us) in [(1, 0), (2, 101_000_000), (3, 159_000_000)] {
        lines.offer(&record(sequence));
        let call = lines.next_call(now_us).expect("a call");
        lines.placed(call.line, &published(&call));
    }
    lines.next_call(160_000_000);
    let partition = partition_of("class.algebra", 8);
    lines.rewind(&[partition], 160_000_000);
    unproved(&mut lines);
    let (id, read) = lines.next_rewind().expect("a read");
    let all = [1, 2, 3].map(|sequence| plain(&record(sequence)));
    lines.rewound(id, Some((read.reader, all.to_vec())));
    let call = lines.next_call(160_000_000).expect("a call");
    assert_eq!(sequences(&call), [2, 3]);
    lines.placed(call.line, &published(&call));
    lines.rewind(&[partition], 160_000_000 + 2 * REWIND_US);
    assert!(lines.next_rewind().is_none(), "nothing was placed lately");
}

#[test]
fn what_the_archive_answered_is_looked_up_again_by_a_rewind() {
    let mut lines = Lines::new(8, &[at(1, 0, 0)]).with_boot(2);
    let (id, read) = lines.next_read().expect("a read");
    let records = vec![plain(&record(1)), plain(&record(2))];
    lines.read(id, Some((read.reader, records.clone())));
    let call = lines.next_call(LATE_US).expect("a call");
    lines.looked_up(call.line, &[Some(placement(1)), None]);
    let call = lines.next_call(LATE_US).expect("a call");
    lines.placed(call.line, &published(&call));
    lines.rewind(&[call.line.partition], LATE_US);
    rewind_to(&mut lines, &records);
    let call = lines.next_call(LATE_US).expect("a call");
    assert_eq!((sequences(&call), call.doubtful), (vec![1, 2], true));
}

#[test]
fn old_records_of_an_earlier_boot_are_looked_up_first() {
    let mut lines = Lines::new(8, &[at(1, 0, 0)]).with_boot(2);
    let (id, read) = lines.next_read().expect("a read");
    let records = vec![plain(&record(1)), plain(&record(2))];
    lines.read(id, Some((read.reader, records)));
    let call = lines.next_call(LATE_US).expect("a call");
    assert!(call.doubtful);
    let placed = lines.looked_up(call.line, &[Some(placement(1)), None]);
    assert_eq!(placed.len(), 1);
    let call = lines.next_call(LATE_US).expect("a call");
    assert_eq!((sequences(&call), call.doubtful), (vec![2], false));
    lines.placed(call.line, &published(&call));
    assert_eq!(lines.done(LANE), Some(at(1, 0, 2)));
}

#[test]
fn a_repeat_does_not_tell_when_its_record_was_placed() {
    // Submitted at 0, answered at 200 s by its id: it may have been placed at either time.
    let submitted = || {
        let mut lines = lines();
        lines.offer(&record(1));
        let call = lines.next_call(0).expect("a call");
        lines.failed(call.line, SECOND_US);
        lines.resume();
        place(&mut lines, 200 * SECOND_US, true);
        lines
    };
    let again = |lines: &mut Lines, now_us: u64| {
        lines.rewind(&[partition()], now_us);
        rewind_to(lines, &[plain(&record(1))]);
        lines.next_call(now_us).map(|call| call.doubtful)
    };
    assert_eq!(again(&mut submitted(), 230 * SECOND_US), Some(false));
    assert_eq!(again(&mut submitted(), 250 * SECOND_US), Some(true));
    assert_eq!(again(&mut submitted(), 260 * SECOND_US), None);
    let planted = || again(&mut submitted(), 250 * SECOND_US);
    assert_eq!(with_planted(Planted::RepeatIsNew, planted), Some(false));
}

#[test]
fn what_a_rewind_finds_in_its_place_was_not_placed_by_it() {
    let mut lines = lines();
    lines.offer(&record(1));
    place(&mut lines, 0, false);
    lines.rewind(&[partition()], 50 * SECOND_US);
    rewind_to(&mut lines, &[plain(&record(1))]);
    let kept = place(&mut lines, 55 * SECOND_US, true);
    assert_eq!(kept[0].outcome, Outcome::Kept);
    lines.rewind(&[partition()], 61 * SECOND_US);
    assert!(lines.next_rewind().is_none());
}

#[test]
fn what_has_moved_is_gone_through_again_for_a_minute_and_nothing_before_it() {
    let mut lines = lines();
    let all: Vec<_> = (1..=3).map(|sequence| plain(&record(sequence))).collect();
    all.iter().for_each(|it| lines.offer(&Arc::new(it.clone())));
    place(&mut lines, 0, false);
    lines.rewind(&[partition()], 50 * SECOND_US);
    rewind_to(&mut lines, &all);
    let call = lines.next_call(70 * SECOND_US).expect("a call");
    let mut answer = published(&call);
    answer[0].repeated = true;
    let outcomes = lines.placed(call.line, &answer);
    let outcomes: Vec<_> = outcomes.iter().map(|it| it.outcome).collect();
    assert_eq!(outcomes, [Outcome::Kept, Outcome::Moved, Outcome::Moved]);
    lines.rewind(&[partition()], 129 * SECOND_US);
    rewind_to(&mut lines, &all);
    let call = lines.next_call(129 * SECOND_US).expect("a call");
    assert_eq!(sequences(&call), [2, 3]);
}

#[test]
fn a_record_of_this_boot_is_looked_up_once_its_first_attempt_may_be_forgotten() {
    let mut lines = lines().with_boot(1);
    lines.offer(&record(1));
    for (now_us, doubtful) in [
        (0, false),
        (239 * SECOND_US, false),
        (240 * SECOND_US, true),
    ] {
        let call = lines.next_call(now_us).expect("a call");
        assert_eq!(call.doubtful, doubtful, "{now_us}");
        lines.failed(call.line, now_us);
        lines.resume();
    }
    let call = lines.next_call(240 * SECOND_US).expect("a call");
    lines.looked_up(call.line, &[None]);
    // It was not placed by then, whatever became of later attempts.
    for (now_us, doubtful) in [(240 * SECOND_US, false), (480 * SECOND_US, true)] {
        let call = lines.next_call(now_us).expect("a call");
        assert_eq!(call.doubtful, doubtful, "{now_us}");
        lines.failed(call.line, now_us);
        lines.resume();
    }
}

#[test]
fn records_that_waited_long_are_not_old() {
    let mut lines = lines().with_boot(1);
    lines.offer(&record(1));
    let call = lines.next_call(LATE_US).expect("a call");
    assert!(!call.doubtful, "it was accepted at 0 and never submitted");
}

/// Lines of a second boot, behind what the first has settled: at 0 through 2, at 50 s through 4.
fn started() -> Lines {
    let points = [(2, 0), (4, 50 * SECOND_US)];
    let points = points.map(|(sequence, at_us)| Settled {
        through: at(1, 0, sequence),
        at_us,
    });
    let mut lines = Lines::new(8, &[at(1, 0, 4)])
        .with_boot(2)
        .with_settled(&points);
    let (id, read) = lines.next_read().expect("a start reads");
    lines.read(id, Some((read.reader, Vec::new())));
    lines
}

/// The same when the partition has answered.
fn started_and_heard() -> Lines {
    let mut lines = started();
    lines.offer(&record_of(at(2, 0, 1), "class.algebra"));
    place(&mut lines, 51 * SECOND_US, false);
    lines
}

#[test]
fn a_rewind_goes_back_to_what_was_settled_before_the_start() {
    let journal: Vec<_> = (1..=4).map(|sequence| plain(&record(sequence))).collect();
    let mut lines = started();
    lines.rewind(&[partition()], 109 * SECOND_US);
    rewind_to(&mut lines, &journal);
    assert_eq!(lines.cursor(LANE), Some(at(1, 0, 2)));
    let call = lines.next_call(109 * SECOND_US).expect("a call");
    assert_eq!((sequences(&call), call.doubtful), (vec![3, 4], false));
    let moved = lines.placed(call.line, &published(&call));
    assert!(moved.iter().all(|it| it.outcome == Outcome::Moved));
    assert_eq!(lines.cursor(LANE), Some(at(1, 0, 4)));
    lines.rewind(&[partition()], 110 * SECOND_US);
    rewind_to(&mut lines, &journal);
    let call = lines.next_call(110 * SECOND_US).expect("a call");
    assert_eq!(
        sequences(&call),
        [3, 4],
        "they were placed by this process just now"
    );
}

#[test]
fn a_rewind_after_a_start_leaves_what_was_settled_a_minute_ago() {
    let mut lines = started_and_heard();
    lines.rewind(&[partition()], 109 * SECOND_US);
    unproved(&mut lines);
    let (_, read) = lines.next_rewind().expect("a read");
    assert_eq!(read.reader.after(), at(1, 0, 2));
    let mut lines = started_and_heard();
    lines.rewind(&[partition()], 110 * SECOND_US);
    unproved(&mut lines);
    let (_, read) = lines.next_rewind().expect("a read");
    assert_eq!(read.reader.after(), at(1, 0, 4));
}

#[test]
fn a_server_that_changed_while_the_node_was_down_is_given_the_minute_before_that() {
    let mut lines = started();
    lines.rewind(&[partition()], 9_000 * SECOND_US);
    let (_, read) = lines.next_rewind().expect("a read");
    assert_eq!(read.reader.after(), at(1, 0, 2));
}

#[test]
fn what_an_earlier_process_placed_may_have_moved_before_it_died() {
    let mut lines = started();
    lines.rewind(&[partition()], 60 * SECOND_US);
    rewind_to(&mut lines, &[plain(&record(3)), plain(&record(4))]);
    let moved = place(&mut lines, 60 * SECOND_US, true);
    assert!(moved.iter().all(|it| it.outcome == Outcome::Moved));
}

#[test]
fn a_rewind_that_is_over_before_anybody_looks_is_told_of() {
    let mut lines = lines();
    lines.offer(&record(1));
    place(&mut lines, 0, false);
    lines.rewind(&[partition()], SECOND_US);
    rewind_to(&mut lines, &[plain(&record(1))]);
    place(&mut lines, SECOND_US, false);
    assert_eq!(lines.cursor(LANE), Some(at(1, 0, 1)));
    assert_eq!(lines.went_back(LANE), Some(at(1, 0, 0)));
    assert_eq!(lines.went_back(LANE), None);
}

#[test]
fn what_an_earlier_process_settled_is_looked_up_once_its_id_may_be_forgotten() {
    let settled = Settled {
        through: at(1, 0, 1),
        at_us: 239 * SECOND_US,
    };
    let begin = Settled {
        through: at(1, 0, 0),
        at_us: 0,
    };
    for (now_s, doubtful) in [(239, false), (240, true)] {
        let lines = Lines::new(8, &[at(1, 0, 1)]).with_boot(2);
        let mut lines = lines.with_settled(&[begin, settled]);
        lines.rewind(&[partition()], now_s * SECOND_US);
        rewind_to(&mut lines, &[plain(&record(1))]);
        let call = lines.next_call(now_s * SECOND_US).expect("a call");
        assert_eq!((sequences(&call), call.doubtful), (vec![1], doubtful));
    }
}
