//! Limits of the lanes, each with its reason, and the bound on their memory.

use interlink_protocol::priority::Priority;

/// Most threads of a node that lanes connect: 64 shards, which is more cores than one machine
/// of this kind has, 7 relay threads and control.
pub const LANE_THREADS_MAX: usize = 72;

/// Largest entry, in bytes. Two fit a cache line; what is larger travels as a pointer.
pub const LANE_ENTRY_BYTES_MAX: usize = 32;

/// Bytes of one place in a ring: the entry and the stamp that `ArrayQueue` keeps beside it.
pub const LANE_PLACE_BYTES: usize = LANE_ENTRY_BYTES_MAX + 8;

/// Most entries of one take, so that a turn of 250 us stays short whatever waits.
pub const LANE_TAKE_MAX: usize = 64;

/// Share of each priority in a round of a taker with entries of all four waiting. P0 comes
/// first and has four fifths, P3 is never shut out: 12 of 64 entries are for the others
/// however much P0 brings.
pub const LANE_WEIGHTS: [u32; Priority::COUNT] = [52, 8, 3, 1];

/// Places of a ring by priority with two threads. A shard makes at most a few thousand
/// entries in a turn of its peer; P1 carries nearly all of them.
pub const LANE_PLACES_MAX: [usize; Priority::COUNT] = [1024, 4096, 2048, 1024];

/// Places that one taker has in all its rings of a priority together, divided among the
/// other threads: memory grows with the number of threads and not with its square.
pub const LANE_PLACES_A_TAKER: [usize; Priority::COUNT] = [16_384, 32_768, 16_384, 16_384];

/// Fewest places of a ring: a take of 64, and as much again while it runs.
pub const LANE_PLACES_MIN: usize = 128;

/// The part of a ring that replies may use alone, as one over this number: asking and
/// answering are half of the traffic between a home shard and an owner.
pub const LANE_REPLY_SHARE: usize = 2;

/// Bound on the memory of all lanes of a node, in bytes: 256 MiB with the most threads, which
/// is a machine with hundreds of GiB; two threads have 0.6 MiB.
pub const LANES_BYTES_MAX: usize = 256 << 20;

/// Places of one ring when `threads` threads are connected.
#[must_use]
pub const fn ring_places(threads: usize, priority: Priority) -> usize {
    let others = if threads < 2 { 1 } else { threads - 1 };
    let share = LANE_PLACES_A_TAKER[priority.index()] / others;
    let most = LANE_PLACES_MAX[priority.index()];
    if share > most {
        most
    } else if share < LANE_PLACES_MIN {
        LANE_PLACES_MIN
    } else {
        share
    }
}

/// Places of one ring that replies may use alone; as many replies may be outstanding.
#[must_use]
pub const fn reply_places(threads: usize, priority: Priority) -> usize {
    ring_places(threads, priority) / LANE_REPLY_SHARE
}

/// Bytes of all rings of a node with `threads` threads.
#[must_use]
pub const fn lanes_bytes(threads: usize) -> usize {
    let mut pair = 0;
    let mut index = 0;
    while index < Priority::COUNT {
        pair += ring_places(threads, Priority::ALL[index]) * LANE_PLACE_BYTES;
        index += 1;
    }
    threads * threads.saturating_sub(1) * pair
}

const _: () = {
    let mut threads = 0;
    while threads <= LANE_THREADS_MAX {
        assert!(
            lanes_bytes(threads) <= LANES_BYTES_MAX,
            "the memory of lanes is bounded"
        );
        threads += 1;
    }
};

const _: () = {
    let mut index = 0;
    let mut round = 0;
    while index < Priority::COUNT {
        assert!(
            LANE_WEIGHTS[index] > 0,
            "a priority without a share starves"
        );
        round += LANE_WEIGHTS[index];
        index += 1;
    }
    assert!(
        round as usize <= LANE_TAKE_MAX,
        "a full take serves every priority"
    );
};
