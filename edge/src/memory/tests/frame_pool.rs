//! Frame pools: counting of holders, exclusive writing, return across threads.

use crate::memory::limits::{BLOCK_POOL_BYTES_MAX, CHUNK_BYTES, FRAME_POOL_BYTES_MAX};
use crate::memory::{FramePool, FrameRef};
use crossbeam_queue::ArrayQueue;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Barrier;

#[test]
fn a_frame_can_be_written_by_its_only_holder_alone() {
    let mut pool = FramePool::new(CHUNK_BYTES).expect("pool");
    let mut frame = pool.write(&[b"posi", b"tion"]).expect("frame");
    frame.get_mut().expect("one holder")[0] = b'P';
    let mut other = frame.clone();
    assert_eq!((frame.holders(), &other[..]), (2, &b"Position"[..]));
    assert!(frame.get_mut().is_none() && other.get_mut().is_none());
    drop(frame);
    assert!(other.get_mut().is_some());
}

#[test]
fn an_exhausted_pool_answers_none_until_a_frame_returns() {
    let mut pool = FramePool::new(CHUNK_BYTES).expect("pool");
    let mut frames: Vec<_> = std::iter::from_fn(|| pool.take(4_000)).collect();
    assert_eq!(frames.len(), 17);
    let kept = frames[0].clone();
    frames.swap_remove(0);
    assert!(pool.take(4_000).is_none(), "a clone still holds the frame");
    drop(kept);
    assert!(pool.take(4_000).is_some());
}

#[test]
fn the_largest_frame_fits_and_one_byte_more_does_not() {
    let mut pool = FramePool::new(2 * CHUNK_BYTES).expect("pool");
    assert_eq!(
        pool.take(FRAME_POOL_BYTES_MAX).map(|frame| frame.len()),
        Some(68 * 1024 - 32)
    );
    assert!(pool.take(FRAME_POOL_BYTES_MAX + 1).is_none());
    assert!(pool.take(usize::MAX).is_none());
}

#[test]
fn returned_frames_are_freed_in_one_batch() {
    let mut pool = FramePool::new(CHUNK_BYTES).expect("pool");
    let frames: Vec<_> = (0..20).filter_map(|_| pool.take(10)).collect();
    std::thread::scope(|scope| {
        scope.spawn(move || drop(frames));
    });
    assert_eq!(pool.stats().live[0], 20, "they wait on the stack");
    assert_eq!(pool.collect(), 20);
    assert_eq!(pool.stats().live_bytes, 0);
}

#[test]
fn frames_outlive_their_pool() {
    let mut pool = FramePool::new(CHUNK_BYTES).expect("pool");
    let frames: Vec<_> = (0..3u8)
        .filter_map(|mark| pool.write(&[&[mark; 100]]))
        .collect();
    let copies = frames.clone();
    drop(frames);
    drop(pool);
    for (mark, frame) in copies.iter().enumerate() {
        assert_eq!(frame[..], [mark as u8; 100]);
    }
}

/// 2,500 pools of 64 GiB of either kind are more than the address space of a process,
/// so a pool that keeps its memory makes a later one fail.
#[test]
fn the_memory_of_a_pool_ends_with_its_last_frame() {
    for round in 0..5_000 {
        let pool = FramePool::new(BLOCK_POOL_BYTES_MAX);
        let mut pool = pool.unwrap_or_else(|error| panic!("round {round}: {error}"));
        let first = pool.take(10).expect("frame");
        let second = pool.take(10).expect("frame");
        drop(first);
        pool.collect();
        let late = (round % 2 == 0).then_some(second);
        drop(pool);
        drop(late);
    }
}

/// Readers drop their frames while the pool is being dropped: whoever is last ends the memory,
/// exactly once. A fault shows as a crash or as a failed check of contents.
#[test]
fn the_end_of_a_pool_may_race_with_its_last_frames() {
    for round in 0..300u32 {
        let mut pool = FramePool::new(CHUNK_BYTES).expect("pool");
        let mark = round as u8;
        let frames: Vec<_> = (0..8).filter_map(|_| pool.write(&[&[mark; 200]])).collect();
        let start = Barrier::new(3);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                let (start, frames) = (&start, frames.clone());
                scope.spawn(move || {
                    start.wait();
                    for frame in frames {
                        assert!(frame.iter().all(|byte| *byte == mark));
                    }
                });
            }
            drop(frames);
            start.wait();
            drop(pool);
        });
    }
}

/// One producer, three readers: every reader sees the pattern of each frame unchanged while it
/// holds it, though blocks are reused all the time; at the end nothing is lost.
#[test]
fn readers_see_whole_frames_while_blocks_are_reused() {
    const FRAMES: u64 = 30_000;
    let mut pool = FramePool::new(2 * CHUNK_BYTES).expect("pool");
    let queues: Vec<ArrayQueue<FrameRef>> = (0..3).map(|_| ArrayQueue::new(64)).collect();
    let done = AtomicBool::new(false);
    let read = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for queue in &queues {
            let (done, read) = (&done, &read);
            scope.spawn(move || loop {
                let ended = done.load(Ordering::Acquire);
                match queue.pop() {
                    Some(frame) => {
                        check_pattern(&frame);
                        read.fetch_add(1, Ordering::Relaxed);
                    }
                    None if ended => break,
                    None => std::thread::yield_now(),
                }
            });
        }
        for number in 0..FRAMES {
            let frame = produce(&mut pool, number);
            for queue in &queues {
                let mut entry = frame.clone();
                while let Err(refused) = queue.push(entry) {
                    entry = refused;
                    std::thread::yield_now();
                }
            }
        }
        done.store(true, Ordering::Release);
    });
    assert_eq!(read.into_inner(), 3 * FRAMES);
    pool.collect();
    assert_eq!(pool.stats().live_bytes, 0);
}

fn produce(pool: &mut FramePool, number: u64) -> FrameRef {
    let length = 8 + (number * 37 % 1_900) as usize;
    loop {
        let Some(mut frame) = pool.take(length) else {
            std::thread::yield_now();
            continue;
        };
        let bytes = frame.get_mut().expect("one holder");
        bytes.fill(number as u8);
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        return frame;
    }
}

fn check_pattern(frame: &FrameRef) {
    let mut number = [0; 8];
    number.copy_from_slice(&frame[..8]);
    let number = u64::from_le_bytes(number);
    assert_eq!(frame.len(), 8 + (number * 37 % 1_900) as usize);
    assert!(frame[8..].iter().all(|byte| *byte == number as u8));
}
