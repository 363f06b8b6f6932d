//! The tests: exhaustive small histories, random ones, and planted defects.

use interlink_protocol::priority::Priority;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::workload::{recover, Run};
use crate::journal::planted::{with_planted, Planted};
use crate::journal::SegmentReader;
use crate::record::{Kind, SegmentId, Sequence, StreamId};

const IMAGES: u64 = 5_000;
/// Images taken of one history.
const IMAGES_PER_RUN: u64 = 5;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// One history from a seed, and some images of its end. Every fourth history goes on in a
/// second boot, over segments of the first, that crashes as well.
fn run_seed(seed: u64) -> Result<(), String> {
    let mut random = StdRng::seed_from_u64(seed);
    let faults = if random.random_bool(0.3) { 0.1 } else { 0.0 };
    let mut run = Run::new(11, faults, Vec::new());
    let length = random.random_range(1..160);
    run.steps(length, &mut random);
    for _ in 0..IMAGES_PER_RUN {
        let image = run.disk.crash(&mut random);
        run.check(&image, run.durable())?;
    }
    // A failed write leaves pages in an unknown state, so that only the disk's promises
    // hold; without faults the page cache keeps everything written.
    if faults == 0.0 {
        let killed = run.disk.kill(&run.in_flight(), &mut random);
        run.check(&killed, run.written())?;
    }
    if seed.is_multiple_of(4) {
        let image = run.disk.crash(&mut random);
        let mut second = Run::new(12, 0.0, run.recycled());
        let length = random.random_range(1..100);
        second.steps(length, &mut random);
        let later = second.disk.crash(&mut random);
        run.check(&image, run.durable())
            .map_err(|error| format!("first boot: {error}"))?;
        second
            .check(&later, second.durable())
            .map_err(|error| format!("second boot: {error}"))?;
    }
    Ok(())
}

#[test]
fn crash_images_of_random_histories_keep_every_promise() {
    let images = setting("INTERLINK_CRASH_IMAGES", IMAGES);
    let seed = setting("INTERLINK_CRASH_SEED", 0x1_1a4b);
    println!("crash images: {images} from seed {seed}");
    for run in 0..images.div_ceil(IMAGES_PER_RUN) {
        let seed = seed + run;
        if let Err(error) = run_seed(seed) {
            panic!("INTERLINK_CRASH_SEED={seed} INTERLINK_CRASH_IMAGES=1: {error}");
        }
    }
}

/// Up to four records, every point between two operations, every subset of the sectors
/// that no sync has covered.
fn exhaust_small_histories() -> Result<u64, String> {
    let mut images = 0;
    let mut random = StdRng::seed_from_u64(1);
    for pattern in 0..3u32.pow(8) {
        let mut run = Run::new(3, 0.0, Vec::new());
        run.settle(&mut random);
        let mut rest = pattern;
        let mut appends = 0;
        for _ in 0..8 {
            match rest % 3 {
                0 if appends < 4 => {
                    appends += 1;
                    run.append(Priority::P1, 300, false);
                }
                1 => {
                    run.start_action();
                }
                _ => run.complete(0, &mut random),
            }
            rest /= 3;
        }
        let sectors = run.disk.unsynced_sectors();
        if sectors == 0 || sectors > 8 {
            continue;
        }
        for subset in 0..1u32 << sectors {
            let image = run.disk.crash_choosing(|sector| subset >> sector & 1 == 1);
            run.check(&image, run.durable()).map_err(|error| {
                format!("pattern {pattern}, subset {subset:b} of {sectors} sectors: {error}")
            })?;
            images += 1;
        }
    }
    Ok(images)
}

#[test]
fn crash_images_of_all_small_histories_keep_every_promise() {
    match exhaust_small_histories() {
        Ok(images) => {
            println!("crash images: {images} exhaustive");
            assert!(
                images > 5_000,
                "{images} images are too few to be all of them"
            );
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn crash_images_of_an_undisturbed_journal_hold_everything() {
    for seed in 0..50 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut run = Run::new(5, 0.0, Vec::new());
        run.steps(200, &mut random);
        run.settle(&mut random);
        let image = run.disk.crash(&mut random);
        let all = [0, 1].map(|kind: usize| Sequence(run.appended[kind].len() as u64));
        assert_eq!(run.durable(), all);
        assert_eq!(run.check(&image, all), Ok(()));
    }
}

/// Whether the check, and nothing else, complains.
fn is_caught(defect: Planted) -> bool {
    with_planted(defect, || (0..400).any(|seed| run_seed(seed).is_err()))
}

/// Flips each bit of the durable part of a log; every flip has to show: as damage, or, in
/// what no later block proves, as a torn end.
fn flip_every_bit() -> Result<(), String> {
    let mut random = StdRng::seed_from_u64(2);
    let mut run = Run::new(7, 0.0, Vec::new());
    run.settle(&mut random);
    for frame_bytes in [10, 400, 300, 200] {
        run.append(Priority::P1, frame_bytes, false);
        run.settle(&mut random);
    }
    let image = run.disk.crash(&mut random);
    let stream = StreamId {
        boot: 7,
        shard: 1,
        kind: Kind::Urgent,
    };
    let segment = SegmentId {
        kind: Kind::Urgent,
        number: 1,
    };
    let reader = SegmentReader::new(stream, 1, &image[&segment]);
    let blocks: Vec<_> = reader.blocks(0).collect();
    assert_eq!(blocks.len(), 4);
    let proven = blocks[3].offset as usize;
    let written = proven + blocks[3].header.length as usize;
    for bit in 0..written * 8 {
        let mut flipped = image.clone();
        if let Some(bytes) = flipped.get_mut(&segment) {
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        let (state, ids) = recover(stream, &flipped);
        let kept = ids.iter().all(|id| run.appended[0].contains(id));
        let damaged = state.damage.len() == 1 && state.damage[0].segment == 1;
        let cut = state.damage.is_empty() && state.last == Sequence(3);
        let seen = if bit / 8 < proven {
            damaged && ids.len() == 3
        } else {
            cut
        };
        if !kept || !seen {
            return Err(format!("bit {bit}: {state:?}"));
        }
    }
    Ok(())
}

#[test]
fn crash_images_show_every_flipped_bit() {
    assert_eq!(flip_every_bit(), Ok(()));
    assert!(with_planted(Planted::LengthUncovered, flip_every_bit).is_err());
}

#[test]
fn crash_images_find_every_planted_defect() {
    for defect in [
        Planted::AckBeforeSync,
        Planted::SyncSkipped,
        Planted::SyncErrorIgnored,
        Planted::ReuseUnnoticed,
        Planted::ChecksumIgnored,
        Planted::HoleBelieved,
    ] {
        assert!(is_caught(defect), "{defect:?} goes unnoticed");
    }
}
