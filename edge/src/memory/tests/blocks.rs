//! Block pools: exclusive blocks, the cap, reuse across classes.

use crate::memory::limits::CHUNK_BYTES;
use crate::memory::{BlockClass, BlockId, BlockPool};
use proptest::prelude::*;

#[test]
fn the_smallest_sufficient_class_is_chosen() {
    let cases = [
        (0, Some(BlockClass::B256)),
        (256, Some(BlockClass::B256)),
        (257, Some(BlockClass::K1)),
        (16 << 10, Some(BlockClass::K16)),
        ((16 << 10) + 1, Some(BlockClass::K68)),
        (CHUNK_BYTES, Some(BlockClass::K68)),
        (CHUNK_BYTES + 1, None),
    ];
    for (bytes, class) in cases {
        assert_eq!(BlockClass::for_bytes(bytes), class, "{bytes} bytes");
    }
}

#[test]
fn an_exhausted_pool_answers_none_and_counts() {
    let mut pool = BlockPool::new(CHUNK_BYTES).expect("pool");
    let blocks: Vec<_> = std::iter::from_fn(|| pool.alloc(BlockClass::K4)).collect();
    assert_eq!(blocks.len(), 17);
    assert_eq!(pool.alloc(BlockClass::B256), None);
    assert_eq!(pool.stats().refused, 2);
    pool.free(blocks[3]);
    assert_eq!(
        pool.alloc(BlockClass::B256),
        None,
        "the chunk still serves 4 KiB blocks"
    );
    assert_eq!(pool.alloc(BlockClass::K4), Some(blocks[3]));
}

#[test]
fn a_chunk_whose_last_block_is_freed_serves_any_class() {
    let mut pool = BlockPool::new(CHUNK_BYTES).expect("pool");
    let small: Vec<_> = std::iter::from_fn(|| pool.alloc(BlockClass::B256)).collect();
    assert_eq!(small.len(), CHUNK_BYTES / 256);
    for block in small {
        pool.free(block);
    }
    assert_eq!(pool.stats().held_bytes, 0);
    let large = pool.alloc(BlockClass::K68).expect("block");
    assert_eq!(pool.bytes(large).len(), CHUNK_BYTES);
}

#[test]
#[should_panic(expected = "is free")]
fn a_block_cannot_be_freed_twice() {
    let mut pool = BlockPool::new(CHUNK_BYTES).expect("pool");
    let block = pool.alloc(BlockClass::K1).expect("block");
    pool.free(block);
    pool.free(block);
}

#[test]
fn memory_given_back_reads_as_zero_and_can_be_taken_again() {
    let mut pool = BlockPool::new(4 * CHUNK_BYTES).expect("pool");
    let blocks: Vec<_> = std::iter::from_fn(|| pool.alloc(BlockClass::K68)).collect();
    for block in &blocks {
        pool.bytes_mut(*block).fill(9);
        pool.free(*block);
    }
    assert_eq!(
        pool.give_back(1, 2),
        2 * CHUNK_BYTES,
        "bounded by the limit"
    );
    assert_eq!(pool.give_back(1, 9), CHUNK_BYTES, "one chunk is kept");
    let sums: Vec<u8> = std::iter::from_fn(|| {
        let block = pool.alloc(BlockClass::K68)?;
        pool.bytes(block).iter().max().copied()
    })
    .collect();
    assert_eq!(sums, [9, 0, 0, 0], "the warm chunk goes first");
}

#[test]
fn a_pool_without_room_for_one_chunk_is_always_empty() {
    let mut pool = BlockPool::new(CHUNK_BYTES - 1).expect("pool");
    assert_eq!(pool.alloc(BlockClass::B256), None);
    assert!(BlockPool::new(usize::MAX).is_err());
}

proptest! {
    /// Every live block keeps the pattern its holder wrote, whatever the others do, and the
    /// statistics agree with what is held.
    #[test]
    fn live_blocks_never_overlap(
        steps in prop::collection::vec((0..8usize, any::<u16>()), 1..600),
    ) {
        let mut pool = BlockPool::new(6 * CHUNK_BYTES).expect("pool");
        let mut held: Vec<(BlockId, BlockClass, u8)> = Vec::new();
        for (action, choice) in steps {
            if let Some(class) = BlockClass::ALL.get(action) {
                if let Some(block) = pool.alloc(*class) {
                    prop_assert_eq!(pool.class_of(block), *class);
                    pool.bytes_mut(block).fill(choice as u8);
                    held.push((block, *class, choice as u8));
                }
            } else if !held.is_empty() {
                let (block, _, mark) = held.swap_remove(usize::from(choice) % held.len());
                prop_assert!(pool.bytes(block).iter().all(|byte| *byte == mark));
                pool.free(block);
            }
        }
        for (block, class, mark) in &held {
            prop_assert_eq!(pool.bytes(*block).len(), class.bytes());
            prop_assert!(pool.bytes(*block).iter().all(|byte| byte == mark));
        }
        let bytes: usize = held.iter().map(|(_, class, _)| class.bytes()).sum();
        prop_assert_eq!(pool.stats().live_bytes, bytes);
        for (block, _, _) in held {
            pool.free(block);
        }
        let stats = pool.stats();
        prop_assert_eq!((stats.live, stats.live_bytes, stats.held_bytes), ([0; 5], 0, 0));
    }
}
