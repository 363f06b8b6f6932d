//! Single rules of lanes, lines and feeder; the simulation has the rest.

mod proving;
mod rewinds;

use std::sync::Arc;

use interlink_protocol::ids::{InstanceId, Position, RecordId};
use interlink_protocol::priority::Priority;

use super::limits::{
    AHEAD_RECORDS_MAX, BATCHES_MAX, CALL_RECORDS_MAX, LANE_RECORDS_MAX, POSITION_WAIT_US,
};
use super::planted::{with_planted, Planted};
use super::*;
use crate::backplane::{partition_of, Published};
use crate::breaker::Traffic;
use crate::event_log::{LogPosition, LogRecord};
use crate::record::{Kind, Placement, Sequence};

const LANE: LaneId = (0, Kind::Urgent);

fn at(boot: u32, shard: u16, sequence: u64) -> LogPosition {
    LogPosition {
        boot,
        shard,
        kind: Kind::Urgent,
        sequence: Sequence(sequence),
    }
}

fn record_of(at: LogPosition, channel: &str) -> Arc<LogRecord> {
    let id = u128::from(at.boot) << 96 | u128::from(at.shard) << 64 | u128::from(at.sequence.0);
    Arc::new(LogRecord {
        at,
        class: Priority::P1,
        record: RecordId(id),
        instance: InstanceId(1),
        client_message_id: at.sequence.0,
        payload_hash: 0,
        accepted_at_us: 0,
        channel: channel.into(),
        placement: None,
        frame: [0; 8].into(),
    })
}

fn record(sequence: u64) -> Arc<LogRecord> {
    record_of(at(1, 0, sequence), "class.algebra")
}

fn plain(record: &Arc<LogRecord>) -> LogRecord {
    LogRecord::clone(record)
}

fn placement(offset: u64) -> Placement {
    let position = Position {
        epoch: 1,
        offset,
        chain: offset,
    };
    Placement {
        position,
        previous_chain: 0,
    }
}

fn published(call: &Call) -> Vec<Published> {
    let place = |record: &Arc<LogRecord>| Published {
        placement: placement(record.at.sequence.0),
        repeated: false,
    };
    call.records.iter().map(place).collect()
}

fn sequences(call: &Call) -> Vec<u64> {
    call.records.iter().map(|it| it.at.sequence.0).collect()
}

/// Lines over one log whose end has been seen.
fn lines() -> Lines {
    let mut lines = Lines::new(8, &[at(1, 0, 0)]);
    let (id, read) = lines.next_read().expect("a start reads");
    lines.read(id, Some((read.reader, Vec::new())));
    lines
}

fn feeder() -> Feeder {
    let mut feeder = Feeder::new(&[at(1, 0, 0)]);
    let (id, read) = feeder.next_read().expect("a start reads");
    feeder.read(id, Some((read.reader, Vec::new())), 0);
    feeder
}

#[test]
fn a_start_reads_before_it_takes_what_is_new() {
    let mut lines = Lines::new(8, &[at(1, 0, 0)]);
    lines.offer(&record(2));
    assert!(lines.next_call(0).is_none());
    let (id, read) = lines.next_read().expect("a read");
    assert_eq!((id, read.durable), (LANE, Some(at(1, 0, 2))));
    lines.read(id, Some((read.reader, vec![plain(&record(1))])));
    let (id, read) = lines.next_read().expect("until nothing is left");
    lines.read(id, Some((read.reader, Vec::new())));
    let call = lines.next_call(0).expect("a call");
    assert_eq!(sequences(&call), [1, 2]);
    assert!(lines.next_read().is_none());
}

#[test]
fn a_hole_in_what_is_offered_is_read_from_the_journal() {
    let missing = || {
        let mut lines = lines();
        lines.offer(&record(1));
        lines.offer(&record(3));
        let (id, read) = lines.next_read()?;
        lines.read(id, Some((read.reader, vec![plain(&record(2))])));
        lines.next_call(0).map(|call| sequences(&call))
    };
    assert_eq!(missing(), Some(vec![1, 2, 3]));
    assert_eq!(with_planted(Planted::HoleUnnoticed, missing), None);
}

#[test]
fn a_lane_is_bounded_and_comes_back_to_memory_under_load() {
    let mut lines = lines();
    let last = LANE_RECORDS_MAX as u64 + 2 * AHEAD_RECORDS_MAX as u64 + 10;
    (1..=last).for_each(|sequence| lines.offer(&record(sequence)));
    let (held, behind) = lines.backlog();
    assert!(held <= LANE_RECORDS_MAX + AHEAD_RECORDS_MAX && behind);
    assert!(lines.next_read().is_none(), "no room to read");
    let (mut next, mut reads) = (1, 0);
    let mut newest = last;
    while next <= newest {
        while let Some((id, read)) = lines.next_read() {
            let from = LANE_RECORDS_MAX as u64 + READ_RECORDS as u64 * reads;
            let stretch = from + 1..=(from + READ_RECORDS as u64).min(newest);
            reads += 1;
            let records = stretch.map(|sequence| plain(&record(sequence)));
            lines.read(id, Some((read.reader, records.collect())));
        }
        let call = lines.next_call(0).expect("a call");
        for sequence in sequences(&call) {
            assert_eq!(sequence, next);
            next += 1;
        }
        lines.placed(call.line, &published(&call));
        // Load does not end while it catches up.
        if newest < last + 2_000 {
            newest += 1;
            lines.offer(&record(newest));
        }
    }
    assert!(
        reads < 40,
        "it reads no further once it has met what is new: {reads}"
    );
    assert!(lines.is_idle());
}

#[test]
fn earlier_boots_go_first_over_all_shards() {
    let order = || {
        let mut lines = Lines::new(8, &[at(1, 0, 0), at(1, 1, 0)]);
        for _ in 0..3 {
            while let Some((id, read)) = lines.next_read() {
                let all: &[LogPosition] = match id.0 {
                    0 => &[at(1, 0, 1), at(2, 0, 1)],
                    _ => &[],
                };
                let first = lines.backlog().0 == 0 && id.0 == 0;
                let mine = all.iter().filter(|_| first);
                let records = mine.map(|at| plain(&record_of(*at, "class.algebra")));
                let records: Vec<_> = records.collect();
                lines.read(id, Some((read.reader, records)));
            }
        }
        lines
    };
    let mut lines = order();
    assert_eq!(lines.next_call(0).map(|call| call.records.len()), Some(2));
    // The other shard has not read its earlier boot.
    let mut lines = Lines::new(8, &[at(1, 0, 0), at(1, 1, 0)]);
    let (id, read) = lines.next_read().expect("a read");
    let newer = plain(&record_of(at(2, 0, 1), "class.algebra"));
    lines.read(id, Some((read.reader, vec![newer])));
    assert!(lines.next_call(0).is_none());
}

#[test]
fn one_call_of_a_line_is_under_way_and_takes_what_waited_meanwhile() {
    let mut lines = lines();
    lines.offer(&record(1));
    let call = lines.next_call(0).expect("a call");
    (2..=600).for_each(|sequence| lines.offer(&record(sequence)));
    assert!(lines.next_call(0).is_none());
    lines.placed(call.line, &published(&call));
    let call = lines.next_call(0).expect("a call");
    assert_eq!(call.records.len(), CALL_RECORDS_MAX);
}

#[test]
fn a_failed_call_goes_again_with_the_same_records_after_a_pause() {
    let mut lines = lines();
    lines.offer(&record(1));
    let call = lines.next_call(0).expect("a call");
    lines.offer(&record(2));
    lines.failed(call.line, 0);
    assert!(lines.next_call(0).is_none());
    let pause_us = lines.next_at_us().expect("a pause");
    let call = lines.next_call(pause_us).expect("a call");
    assert_eq!(sequences(&call), [1]);
    lines.failed(call.line, pause_us);
    lines.resume();
    assert!(
        lines.next_call(pause_us).is_some(),
        "nobody waits when it is back"
    );
}

#[test]
fn a_call_that_is_put_off_goes_again_at_once_with_the_same_records() {
    let mut lines = lines();
    lines.offer(&record(1));
    let call = lines.next_call(0).expect("a call");
    lines.offer(&record(2));
    lines.put_off(call.line);
    let call = lines.next_call(0).expect("a call");
    assert_eq!(sequences(&call), [1], "before any later one");
    assert_eq!(lines.counters().failures, 0);
    lines.placed(call.line, &published(&call));
    lines.put_off(call.line);
    let call = lines.next_call(0).expect("a call");
    assert_eq!(sequences(&call), [2], "a late word changes nothing");
}

#[test]
fn a_call_that_is_put_off_after_its_server_has_changed_waits_for_the_rewind() {
    let mut lines = lines();
    lines.offer(&record(1));
    let call = lines.next_call(0).expect("a call");
    lines.placed(call.line, &published(&call));
    lines.offer(&record(2));
    let call = lines.next_call(0).expect("a call");
    lines.rewind(&[call.line.partition], 0);
    let question = lines.next_question(0).expect("a question");
    lines.known(question.line, question.number, &[]);
    lines.put_off(call.line);
    assert!(lines.next_call(0).is_none(), "what may be lost goes first");
    let (id, read) = lines.next_rewind().expect("a read");
    lines.rewound(id, Some((read.reader, vec![plain(&record(1))])));
    let call = lines.next_call(0).expect("a call");
    assert_eq!(sequences(&call), [1, 2]);
}

#[test]
fn a_breaker_pauses_whole_partitions() {
    let mut lines = lines();
    for sequence in 1..=200 {
        let channel = format!("class.{sequence}");
        lines.offer(&record_of(at(1, 0, sequence), &channel));
    }
    lines.admit(Traffic::None, 0);
    assert!(lines.next_call(0).is_none());
    lines.admit(Traffic::All, 0);
    let mut partitions = 0;
    while let Some(call) = lines.next_call(0) {
        let own = call.records.iter();
        assert!(own
            .clone()
            .all(|it| partition_of(&it.channel, 8) == call.line.partition));
        partitions += 1;
    }
    assert_eq!(partitions, 8);
}

#[test]
fn a_share_comes_to_every_partition_within_ten_turns() {
    for channel in 0..50 {
        let mut lines = lines();
        lines.offer(&record_of(at(1, 0, 1), &format!("class.{channel}")));
        let turns = (0..10).filter(|turn| {
            lines.admit(Traffic::Share(10), *turn);
            let call = lines.next_call(0);
            call.is_some_and(|call| {
                lines.failed(call.line, 0);
                lines.resume();
                true
            })
        });
        assert_eq!(turns.count(), 1, "class.{channel}");
    }
}

#[test]
fn a_cursor_that_passes_what_is_owed_is_found() {
    let ran = || std::panic::catch_unwind(a_record_waits_for_its_position_no_longer_than_50_ms);
    assert!(with_planted(Planted::CursorPasses, ran).is_err());
}

#[test]
fn a_record_waits_for_its_position_no_longer_than_50_ms() {
    let mut feeder = feeder();
    feeder.offer(&record(1), 0);
    let never = |_: &LogRecord| false;
    assert!(feeder
        .next_batch(Priority::P1, POSITION_WAIT_US - 1, never)
        .is_none());
    let batch = feeder
        .next_batch(Priority::P1, POSITION_WAIT_US, never)
        .expect("a batch");
    assert_eq!(batch.records[0].placement, None);
    feeder.appended(Priority::P1, batch.number);
    feeder.placed(&Placed {
        record: record(1),
        placement: placement(1),
        outcome: Outcome::Placed,
    });
    assert_eq!(feeder.done(LANE), Some(at(1, 0, 1)));
    assert_eq!(feeder.told(LANE), Some(at(1, 0, 0)), "its position is owed");
    let batch = feeder
        .next_batch(Priority::P1, POSITION_WAIT_US, never)
        .expect("a batch");
    assert!(batch.records[0].positioned);
    feeder.appended(Priority::P1, batch.number);
    assert_eq!(feeder.told(LANE), Some(at(1, 0, 1)));
}

#[test]
fn a_failed_batch_and_those_behind_it_go_again_in_order() {
    let mut feeder = feeder();
    for sequence in 1..=BATCHES_MAX as u64 * CALL_RECORDS_MAX as u64 + 1 {
        feeder.offer(&record(sequence), 0);
    }
    let mut late_us = POSITION_WAIT_US;
    let next = |feeder: &mut Feeder, late_us: u64| {
        let batch = feeder.next_batch(Priority::P1, late_us, |_: &LogRecord| false)?;
        Some((batch.number, batch.records[0].record.at.sequence.0))
    };
    let batches: Vec<_> = std::iter::from_fn(|| next(&mut feeder, late_us)).collect();
    assert_eq!(batches.len(), BATCHES_MAX);
    feeder.appended(Priority::P1, batches[0].0);
    feeder.failed(Priority::P1, batches[1].0);
    feeder.failed(Priority::P1, batches[2].0);
    feeder.appended(Priority::P1, batches[1].0);
    assert_eq!(next(&mut feeder, late_us), None, "it pauses");
    late_us += 1_000_000;
    let again: Vec<_> = std::iter::from_fn(|| next(&mut feeder, late_us)).collect();
    let firsts = |of: &[(u64, u64)]| of.iter().map(|it| it.1).collect::<Vec<_>>();
    assert_eq!(firsts(&again)[..BATCHES_MAX - 1], firsts(&batches)[1..]);
    assert_eq!(feeder.done(LANE), Some(at(1, 0, CALL_RECORDS_MAX as u64)));
}
