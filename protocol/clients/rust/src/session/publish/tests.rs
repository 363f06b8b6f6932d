//! Behaviour of the publish book.

use std::sync::Arc;

use super::*;
use crate::error::Code;
use crate::event::AckLevel;
use interlink_protocol::ErrorCode;

fn draft(bytes: usize) -> Draft {
    Draft {
        channel: Arc::from("chat.a~b"),
        event_type: 0,
        schema_version: 1,
        payload: vec![7; bytes],
        time_to_live_ms: 0,
        conflation_key: None,
        ack_level: None,
        traceparent: None,
    }
}

fn push(book: &mut PublishBook, class: Priority) -> u64 {
    book.push(class, draft(10), 0).unwrap()
}

fn departed(book: &mut PublishBook, now_ms: u64) -> Vec<u64> {
    let mut ids = Vec::new();
    while let Some(departure) = book.depart(now_ms, |_| false) {
        ids.push(departure.id);
    }
    book.check_invariants();
    ids
}

fn accepted(first: u64, count: u32, settled: Option<[u64; 4]>) -> Answer {
    let kind = AnswerKind::Accepted {
        duplicate: false,
        level: AckLevel::Local,
        degraded: false,
        position: None,
    };
    Answer {
        first,
        count,
        kind,
        settled,
    }
}

fn refused(first: u64, code: ErrorCode, retry_after_ms: u32) -> Answer {
    let kind = AnswerKind::Refused {
        code: code.number(),
        temporary: code.is_temporary(),
        retry_after_ms,
    };
    Answer {
        first,
        count: 1,
        kind,
        settled: None,
    }
}

/// Takes an answer; the ids that were reported as acknowledged and as failed.
fn answer(book: &mut PublishBook, answer: &Answer, now_ms: u64) -> (Vec<u64>, Vec<u64>) {
    let (mut acknowledged, mut failed) = (Vec::new(), Vec::new());
    book.on_answer(answer, now_ms, |id, outcome| match outcome {
        PublishOutcome::Receipt(_) => acknowledged.push(id),
        PublishOutcome::Failed(_) => failed.push(id),
    });
    book.check_invariants();
    (acknowledged, failed)
}

#[test]
fn an_acknowledged_publish_is_kept_until_its_class_is_settled_past_it() {
    let mut book = PublishBook::default();
    let id = push(&mut book, Priority::P1);
    assert_eq!(departed(&mut book, 0), [id]);
    assert_eq!(
        answer(&mut book, &accepted(id, 1, None), 0),
        (vec![id], vec![])
    );
    assert_eq!((book.unsettled(), book.unanswered()), (1, 0));
    book.on_settled([9, 0, 9, 9]);
    assert_eq!(book.unsettled(), 1, "only the marks of other classes moved");
    book.on_settled([0, id, 0, 0]);
    assert_eq!(book.unsettled(), 0);
    assert_eq!(book.settled_counts(), [0, 1, 0, 0]);
}

#[test]
fn one_answer_covers_a_run_of_ids_and_its_position_is_the_last_ones() {
    let mut book = PublishBook::default();
    let ids: Vec<u64> = (0..3).map(|_| push(&mut book, Priority::P1)).collect();
    departed(&mut book, 0);
    let position = interlink_protocol::ids::Position {
        epoch: 1,
        offset: 9,
        chain: 4,
    };
    let mut run = accepted(ids[0], 3, None);
    if let AnswerKind::Accepted { position: at, .. } = &mut run.kind {
        *at = Some(position);
    }
    let mut positions = Vec::new();
    book.on_answer(&run, 0, |id, outcome| {
        if let PublishOutcome::Receipt(receipt) = outcome {
            positions.push((id, receipt.position));
        }
    });
    assert_eq!(
        positions,
        [(ids[0], None), (ids[1], None), (ids[2], Some(position))]
    );
}

#[test]
fn the_credit_bounds_what_is_unanswered_and_p0_has_its_own() {
    let mut book = PublishBook::default();
    for _ in 0..100 {
        push(&mut book, Priority::P1);
        push(&mut book, Priority::P0);
    }
    let ids = departed(&mut book, 0);
    let shared = limits::PUBLISH_CREDIT as usize;
    let critical = limits::PUBLISH_CREDIT_CRITICAL as usize;
    assert_eq!(ids.len(), shared + critical);
    assert!(
        ids[..critical].iter().all(|id| id % 2 == 0),
        "P0 leaves first"
    );
    answer(&mut book, &accepted(ids[critical], 1, None), 0);
    assert_eq!(departed(&mut book, 0).len(), 1);
}

#[test]
fn no_class_starves_another() {
    let mut book = PublishBook::default();
    let first_p3 = push(&mut book, Priority::P3);
    let first_p2 = push(&mut book, Priority::P2);
    for _ in 0..60 {
        push(&mut book, Priority::P1);
    }
    book.on_credit(20, 8);
    let ids = departed(&mut book, 0);
    assert!(ids.contains(&first_p2) && ids.contains(&first_p3));
    assert_eq!(ids[..8].iter().filter(|id| **id > first_p2).count(), 8);
}

#[test]
fn a_full_class_gives_the_publish_back_and_others_go_on() {
    let mut book = PublishBook::default();
    for _ in 0..limits::UNSETTLED_PER_CLASS_MAX {
        push(&mut book, Priority::P3);
    }
    assert_eq!(book.push(Priority::P3, draft(1), 0), Err(draft(1)));
    assert!(book.push(Priority::P1, draft(1), 0).is_ok());
    let mut book = PublishBook::default();
    let half = limits::UNSETTLED_BYTES_PER_CLASS_MAX / 2;
    assert!(book.push(Priority::P3, draft(half), 0).is_ok());
    assert!(book.push(Priority::P3, draft(half), 0).is_err());
    assert!(book.push(Priority::P3, draft(10), 0).is_ok());
    book.check_invariants();
}

#[test]
fn after_a_loss_unsettled_publishes_leave_again_in_order_before_new_ones() {
    let mut book = PublishBook::default();
    let old: Vec<u64> = (0..4).map(|_| push(&mut book, Priority::P1)).collect();
    departed(&mut book, 0);
    answer(&mut book, &accepted(old[0], 2, Some([0, old[0], 0, 0])), 0);
    book.on_lost();
    let new = push(&mut book, Priority::P1);
    book.on_welcome(false, old[3], [0; 4]);
    assert_eq!(departed(&mut book, 0), [old[1], old[2], old[3], new]);
}

#[test]
fn a_resumed_session_is_sent_only_what_it_did_not_acknowledge() {
    let mut book = PublishBook::default();
    let ids: Vec<u64> = (0..3).map(|_| push(&mut book, Priority::P1)).collect();
    departed(&mut book, 0);
    answer(&mut book, &accepted(ids[0], 1, None), 0);
    book.on_lost();
    book.on_welcome(true, ids[2], [0; 4]);
    assert_eq!(departed(&mut book, 0), [ids[1], ids[2]]);
}

#[test]
fn a_publish_is_reported_once_however_often_it_is_sent() {
    let mut book = PublishBook::default();
    let id = push(&mut book, Priority::P1);
    departed(&mut book, 0);
    assert_eq!(answer(&mut book, &accepted(id, 1, None), 0).0, [id]);
    book.on_lost();
    book.on_welcome(false, id, [0; 4]);
    assert_eq!(departed(&mut book, 0), [id]);
    assert_eq!(
        answer(&mut book, &accepted(id, 1, None), 0).0,
        [] as [u64; 0]
    );
}

#[test]
fn a_temporary_refusal_holds_the_class_and_keeps_the_order() {
    let mut book = PublishBook::default();
    let ids: Vec<u64> = (0..2).map(|_| push(&mut book, Priority::P1)).collect();
    let other = push(&mut book, Priority::P2);
    departed(&mut book, 0);
    answer(
        &mut book,
        &refused(ids[0], ErrorCode::Overloaded, 50),
        1_000,
    );
    answer(
        &mut book,
        &refused(ids[1], ErrorCode::Overloaded, 50),
        1_000,
    );
    let later = push(&mut book, Priority::P1);
    assert_eq!(departed(&mut book, 1_049), [] as [u64; 0]);
    assert_eq!(book.deadline_ms(1_000), Some(1_050));
    assert_eq!(departed(&mut book, 1_050), [ids[0], ids[1], later]);
    assert_eq!(answer(&mut book, &accepted(other, 1, None), 0).0, [other]);
}

#[test]
fn nothing_overtakes_a_refused_publish_whose_neighbours_are_still_on_their_way() {
    let mut book = PublishBook::default();
    let ids: Vec<u64> = (0..3).map(|_| push(&mut book, Priority::P1)).collect();
    departed(&mut book, 0);
    answer(&mut book, &refused(ids[0], ErrorCode::Overloaded, 10), 0);
    assert_eq!(
        departed(&mut book, 100),
        [] as [u64; 0],
        "the second may be refused too"
    );
    answer(&mut book, &refused(ids[1], ErrorCode::Overloaded, 10), 100);
    answer(&mut book, &refused(ids[2], ErrorCode::Overloaded, 10), 100);
    assert_eq!(departed(&mut book, 110), ids);
}

#[test]
fn a_mark_from_before_the_retry_does_not_settle_a_refused_publish() {
    let mut book = PublishBook::default();
    let ids: Vec<u64> = (0..2).map(|_| push(&mut book, Priority::P1)).collect();
    departed(&mut book, 0);
    answer(&mut book, &refused(ids[0], ErrorCode::QuotaExceeded, 1), 0);
    answer(&mut book, &accepted(ids[1], 1, Some([0, ids[1], 0, 0])), 0);
    departed(&mut book, 10);
    answer(&mut book, &accepted(ids[0], 1, None), 10);
    assert_eq!(
        book.unsettled(),
        2,
        "nothing says that the retry is settled"
    );
    book.on_settled([0, ids[1], 0, 0]);
    assert_eq!(book.unsettled(), 0);
}

#[test]
fn unnamed_pauses_double_and_every_pause_is_bounded() {
    let mut book = PublishBook::default();
    let id = push(&mut book, Priority::P1);
    let mut pauses = Vec::new();
    let mut now_ms = 0;
    for _ in 0..12 {
        departed(&mut book, now_ms);
        answer(&mut book, &refused(id, ErrorCode::Overloaded, 0), now_ms);
        let until = book.deadline_ms(now_ms).unwrap();
        pauses.push(until - now_ms);
        now_ms = until;
    }
    assert_eq!(pauses[..3], [200, 400, 800]);
    assert_eq!(pauses[11], limits::RETRY_AFTER_MAX_MS);
    departed(&mut book, now_ms);
    answer(
        &mut book,
        &refused(id, ErrorCode::Overloaded, u32::MAX),
        now_ms,
    );
    assert_eq!(
        book.deadline_ms(now_ms),
        Some(now_ms + limits::RETRY_AFTER_MAX_MS)
    );
}

#[test]
fn a_final_refusal_is_reported_with_its_code_and_leaves_no_hole() {
    let mut book = PublishBook::default();
    let ids: Vec<u64> = (0..2).map(|_| push(&mut book, Priority::P1)).collect();
    departed(&mut book, 0);
    let mut outcomes = Vec::new();
    let answer = refused(ids[1], ErrorCode::NotPermitted, 0);
    book.on_answer(&answer, 0, |id, outcome| outcomes.push((id, outcome)));
    let error = Error::refused(Code::from(ErrorCode::NotPermitted));
    assert_eq!(outcomes, [(ids[1], PublishOutcome::Failed(error))]);
    assert_eq!(book.settled_counts()[1], 0, "the first one is still open");
    book.on_answer(&accepted(ids[0], 1, Some([0, ids[0], 0, 0])), 0, |_, _| {});
    assert_eq!(book.settled_counts()[1], 2);
}

#[test]
fn a_publish_that_was_never_sent_expires() {
    let mut book = PublishBook::default();
    book.on_credit(1, 1);
    let mut draft = draft(1);
    draft.time_to_live_ms = 100;
    let sent = book.push(Priority::P1, draft.clone(), 0).unwrap();
    let unsent = book.push(Priority::P1, draft, 50).unwrap();
    departed(&mut book, 0);
    let mut expired = Vec::new();
    book.expire(149, |id, _| expired.push(id));
    assert!(expired.is_empty(), "the sent one is left to the server");
    assert_eq!(book.deadline_ms(149), Some(150));
    book.expire(150, |id, outcome| {
        assert_eq!(outcome, PublishOutcome::Failed(Error::Expired));
        expired.push(id);
    });
    assert_eq!(expired, [unsent]);
    assert_eq!(answer(&mut book, &accepted(sent, 1, None), 150).0, [sent]);
}

#[test]
fn the_age_counts_from_the_first_attempt() {
    let mut book = PublishBook::default();
    push(&mut book, Priority::P1);
    assert_eq!(
        book.depart(1_000, |_| false)
            .map(|departure| departure.age_ms),
        Some(0)
    );
    book.on_lost();
    assert_eq!(
        book.depart(4_500, |_| false)
            .map(|departure| departure.age_ms),
        Some(3_500)
    );
}

#[test]
fn ids_of_an_earlier_life_of_the_instance_are_not_used_again() {
    let mut book = PublishBook::default();
    book.on_welcome(false, 41, [0; 4]);
    assert_eq!(push(&mut book, Priority::P1), 42);
}

#[test]
fn the_end_reports_every_publisher_that_waits() {
    let mut book = PublishBook::default();
    let ids: Vec<u64> = Priority::ALL
        .iter()
        .map(|class| push(&mut book, *class))
        .collect();
    departed(&mut book, 0);
    answer(&mut book, &accepted(ids[1], 1, None), 0);
    assert_eq!(book.drain_unreported(), [ids[0], ids[2], ids[3]]);
    assert_eq!(book.unsettled(), 0);
    assert_eq!(book.settled_counts(), [1; 4]);
}

#[test]
fn a_class_waits_behind_a_channel_that_takes_nothing_yet_and_others_go() {
    let mut book = PublishBook::default();
    let held = |channel: &str| channel == "collab.paper";
    let to = |channel: &str| Draft {
        channel: channel.into(),
        ..draft(10)
    };
    let first = book.push(Priority::P1, to("collab.paper"), 0).unwrap();
    let second = book.push(Priority::P1, to("chat.a~b"), 0).unwrap();
    let other = book.push(Priority::P3, to("report.daily"), 0).unwrap();
    assert_eq!(book.depart(0, held).map(|next| next.id), Some(other));
    assert!(!book.can_depart(0, held));
    assert!(book.depart(0, held).is_none());
    assert_eq!(departed(&mut book, 0), [first, second]);
}
