//! Channel logs: single behaviours.

use crate::memory::limits::{CHUNK_BYTES, LOG_FRAME_BYTES_MAX};
use crate::memory::{AppendError, BlockPool, ChannelLog, EventMeta, TrimRule, Unrecoverable};
use interlink_protocol::ids::Position;

fn pool(chunks: usize) -> BlockPool {
    BlockPool::new(chunks * CHUNK_BYTES).expect("pool")
}

fn at(offset: u64) -> Position {
    Position {
        epoch: 5,
        offset,
        chain: chain(offset),
    }
}

fn chain(offset: u64) -> u64 {
    offset * 1_000
}

fn event(offset: u64) -> EventMeta {
    EventMeta {
        position: at(offset),
        previous_chain: chain(offset - 1),
        time_s: offset as u32,
    }
}

fn keep(keep_events: u32, min_cursor: u64) -> TrimRule {
    TrimRule {
        keep_events,
        before_s: 0,
        min_cursor,
    }
}

/// A log with events 1 to `count` of `bytes` bytes each.
fn filled(pool: &mut BlockPool, count: u64, bytes: usize) -> ChannelLog {
    let mut log = ChannelLog::new(at(0), 0);
    for offset in 1..=count {
        let frame = vec![offset as u8; bytes];
        log.append(pool, &[&frame], &event(offset)).expect("append");
    }
    log
}

#[test]
fn one_small_event_costs_one_small_block_and_none_after_trimming() {
    let mut pool = pool(4);
    let mut log = filled(&mut pool, 1, 150);
    assert_eq!(pool.stats().live_bytes, 256);
    log.trim(&mut pool, &keep(0, log.head()));
    assert!(log.is_empty());
    assert_eq!(pool.stats().live_bytes, 0);
    assert_eq!((log.tail(), log.head(), log.top()), (150, 150, at(1)));
}

#[test]
fn a_busy_log_hands_out_long_runs_and_wastes_at_most_half() {
    let mut pool = pool(20);
    let log = filled(&mut pool, 1_000, 300);
    let (mut from, mut runs) = (log.tail(), 0);
    while let Some(run) = log.range(&pool, from) {
        (from, runs) = (from + run.len() as u64, runs + 1);
    }
    assert!(runs <= 30, "{runs} sends for 300,000 bytes");
    assert!(
        pool.stats().live_bytes < 2 * 1_000 * (300 + 24),
        "{:?}",
        pool.stats()
    );
}

#[test]
fn the_parts_of_a_frame_become_one_run() {
    let mut pool = pool(1);
    let mut log = ChannelLog::new(at(0), 40);
    let start = log.append(&mut pool, &[b"head", b"", b"body"], &event(1));
    assert_eq!(start, Ok(40));
    assert_eq!(log.range(&pool, 40), Some(&b"headbody"[..]));
    assert_eq!(log.range(&pool, 45), Some(&b"ody"[..]));
    assert_eq!(log.range(&pool, 48), None);
}

#[test]
fn the_largest_frame_fits_and_one_byte_more_does_not() {
    let mut pool = pool(2);
    let mut log = ChannelLog::new(at(0), 0);
    let frame = vec![7; LOG_FRAME_BYTES_MAX + 1];
    let bytes = frame.len();
    let refused = log.append(&mut pool, &[&frame], &event(1));
    assert_eq!(refused, Err(AppendError::TooLarge { bytes }));
    assert_eq!(log.append(&mut pool, &[&frame[1..]], &event(1)), Ok(0));
    assert_eq!(
        log.range(&pool, 0).map(<[u8]>::len),
        Some(LOG_FRAME_BYTES_MAX)
    );
}

#[test]
fn an_exhausted_pool_is_an_error_that_trimming_cures() {
    let mut pool = pool(1);
    let mut log = ChannelLog::new(at(0), 0);
    let frame = [1u8; 900];
    let mut offset = 1;
    while log.append(&mut pool, &[&frame], &event(offset)).is_ok() {
        offset += 1;
    }
    let head = log.head();
    let refused = log.append(&mut pool, &[&frame], &event(offset));
    assert_eq!(refused, Err(AppendError::PoolEmpty));
    assert_eq!(
        (log.head(), log.top()),
        (head, at(offset - 1)),
        "unchanged by the refusal"
    );
    log.trim(&mut pool, &keep(0, head));
    assert_eq!(log.append(&mut pool, &[&frame], &event(offset)), Ok(head));
}

#[test]
fn a_smaller_block_serves_when_the_grown_size_is_exhausted() {
    let mut pool = pool(2);
    let mut log = filled(&mut pool, 60, 300);
    let mut offset = 61;
    while log
        .append(&mut pool, &[&[1u8; 300]], &event(offset))
        .is_ok()
    {
        offset += 1;
    }
    assert_eq!(
        pool.alloc(crate::memory::BlockClass::K1),
        None,
        "every block that helps is used"
    );
}

#[test]
fn frames_stay_while_a_cursor_needs_them_or_the_rule_keeps_them() {
    let mut pool = pool(4);
    let mut log = filled(&mut pool, 10, 100);
    assert_eq!(
        log.trim(&mut pool, &keep(0, 250)),
        200,
        "the cursor is inside the third frame"
    );
    assert_eq!(log.tail(), 200);
    assert_eq!(log.trim(&mut pool, &keep(5, 1_000)), 300);
    assert_eq!((log.events(), log.base()), (5, at(5)));
    let old = TrimRule {
        keep_events: 5,
        before_s: 8,
        min_cursor: 1_000,
    };
    assert_eq!(
        log.trim(&mut pool, &old),
        200,
        "events of the seconds 6 and 7"
    );
    assert_eq!(log.range(&pool, 650), None, "an overrun cursor");
    log.clear(&mut pool);
    assert_eq!(pool.stats().live_bytes, 0);
}

#[test]
fn a_position_is_checked_by_the_chain_of_its_neighbour() {
    let mut pool = pool(4);
    let mut log = filled(&mut pool, 20, 100);
    let wrong = |offset| Position {
        chain: 1,
        ..at(offset)
    };
    let other_epoch = |offset| Position {
        epoch: 9,
        ..at(offset)
    };
    assert_eq!(log.find(&pool, at(7)), Ok(700));
    assert_eq!(log.find(&pool, at(20)), Ok(2_000));
    assert_eq!(
        log.find(&pool, other_epoch(7)),
        Ok(700),
        "the chain proves the same events"
    );
    assert_eq!(
        log.find(&pool, other_epoch(0)),
        Err(Unrecoverable::Diverged)
    );
    assert_eq!(log.find(&pool, wrong(7)), Err(Unrecoverable::Diverged));
    assert_eq!(log.find(&pool, wrong(20)), Err(Unrecoverable::Diverged));
    assert_eq!(log.find(&pool, at(21)), Err(Unrecoverable::Ahead));
    log.trim(&mut pool, &keep(10, 2_000));
    assert_eq!(
        log.find(&pool, at(10)),
        Ok(1_000),
        "the first retained event follows it"
    );
    assert_eq!(log.find(&pool, wrong(10)), Err(Unrecoverable::Diverged));
    assert_eq!(log.find(&pool, at(9)), Err(Unrecoverable::Trimmed));
}

#[test]
fn a_hole_in_the_log_is_never_bridged() {
    let mut pool = pool(4);
    let mut log = filled(&mut pool, 3, 100);
    log.append(&mut pool, &[&[4; 100]], &event(6))
        .expect("append");
    log.append(&mut pool, &[&[4; 100]], &event(7))
        .expect("append");
    for offset in 3..6 {
        assert_eq!(
            log.find(&pool, at(offset)),
            Err(Unrecoverable::Gap),
            "offset {offset}"
        );
    }
    assert_eq!(log.find(&pool, at(2)), Ok(200));
    assert_eq!(log.find(&pool, at(6)), Ok(400));
    let repeat = log.append(&mut pool, &[&[4; 100]], &event(7));
    assert_eq!(repeat, Err(AppendError::NotNewer { offset: 7, top: 7 }));
}

#[test]
fn an_epoch_tells_unchained_numberings_apart() {
    let mut pool = pool(1);
    let unchained = |epoch, offset| Position {
        epoch,
        offset,
        chain: 0,
    };
    let mut log = ChannelLog::new(unchained(1, 0), 0);
    for offset in 1..=3 {
        let position = unchained(1, offset);
        let meta = EventMeta {
            position,
            previous_chain: 0,
            time_s: 0,
        };
        log.append(&mut pool, &[&[0; 10]], &meta).expect("append");
    }
    assert_eq!(log.find(&pool, unchained(1, 2)), Ok(20));
    assert_eq!(
        log.find(&pool, unchained(2, 2)),
        Err(Unrecoverable::Diverged)
    );
    assert_eq!(
        log.find(&pool, unchained(2, 3)),
        Err(Unrecoverable::Diverged)
    );
}
