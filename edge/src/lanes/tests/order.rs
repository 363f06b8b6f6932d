//! Which entries go first, and when there is room.

use crate::lanes::limits::{
    lanes_bytes, reply_places, ring_places, LANES_BYTES_MAX, LANE_PLACES_MAX, LANE_PLACES_MIN,
    LANE_TAKE_MAX, LANE_THREADS_MAX, LANE_WEIGHTS,
};
use crate::lanes::{mesh, LaneError, Port, Taken};
use interlink_protocol::priority::Priority;

type Entry = u64;

fn ports(threads: usize) -> Vec<Port<Entry>> {
    mesh(threads).unwrap_or_else(|error| panic!("{error}"))
}

fn fill(port: &mut Port<Entry>, to: usize, priority: Priority) -> u64 {
    (0..)
        .find(|number| port.sender.push(to, priority, *number).is_err())
        .unwrap_or_default()
}

fn take(port: &mut Port<Entry>, budget: usize) -> Vec<Taken<Entry>> {
    let mut out = Vec::new();
    assert_eq!(port.receiver.take(budget, &mut out), out.len());
    out
}

fn shares(taken: &[Taken<Entry>]) -> [u32; Priority::COUNT] {
    let mut shares = [0; Priority::COUNT];
    for entry in taken {
        shares[entry.priority.index()] += 1;
    }
    shares
}

#[test]
fn the_most_urgent_entry_is_taken_first_whenever_it_came() {
    let mut ports = ports(2);
    for priority in [Priority::P3, Priority::P1, Priority::P0, Priority::P2] {
        ports[0].sender.push(1, priority, 7).expect("room");
    }
    let order: Vec<_> = take(&mut ports[1], 64)
        .iter()
        .map(|taken| taken.priority)
        .collect();
    assert_eq!(order, Priority::ALL);
}

#[test]
fn a_flood_of_every_priority_is_shared_by_weight_at_any_budget() {
    let mut ports = ports(2);
    for priority in Priority::ALL {
        fill(&mut ports[0], 1, priority);
    }
    assert_eq!(shares(&take(&mut ports[1], LANE_TAKE_MAX)), LANE_WEIGHTS);
    let mut single = Vec::new();
    for _ in 0..LANE_TAKE_MAX {
        single.extend(take(&mut ports[1], 1));
    }
    assert_eq!(shares(&single), LANE_WEIGHTS);
}

#[test]
fn a_priority_alone_has_the_whole_take_and_no_take_exceeds_its_limit() {
    for priority in Priority::ALL {
        let mut ports = ports(2);
        fill(&mut ports[0], 1, priority);
        let taken = take(&mut ports[1], usize::MAX);
        assert_eq!(shares(&taken)[priority.index()] as usize, LANE_TAKE_MAX);
    }
}

#[test]
fn urgent_entries_can_be_taken_alone() {
    let mut ports = ports(2);
    for priority in Priority::ALL {
        ports[0].sender.push(1, priority, 7).expect("room");
    }
    let mut out = Vec::new();
    assert_eq!(ports[1].receiver.take_urgent(64, &mut out), 1);
    assert_eq!(shares(&out), [1, 0, 0, 0]);
    assert_eq!(shares(&take(&mut ports[1], 64)), [0, 1, 1, 1]);
}

#[test]
fn senders_of_one_priority_share_a_take() {
    let mut ports = ports(5);
    for port in &mut ports[..4] {
        fill(port, 4, Priority::P1);
    }
    let mut by_sender = [0; 4];
    for taken in take(&mut ports[4], 64) {
        by_sender[taken.from] += 1;
    }
    assert_eq!(by_sender, [16; 4]);
}

#[test]
fn a_full_ring_gives_the_entry_back_and_leaves_the_other_priorities_alone() {
    let mut ports = ports(2);
    let pushed = fill(&mut ports[0], 1, Priority::P1);
    let room = ring_places(2, Priority::P1) - reply_places(2, Priority::P1);
    assert_eq!(pushed as usize, room);
    assert_eq!(ports[0].sender.push(1, Priority::P1, 99), Err(99));
    assert_eq!(ports[0].sender.push(1, Priority::P0, 99), Ok(()));
    assert_eq!(ports[0].sender.counters().full, [0, 2, 0, 0]);
    assert_eq!(take(&mut ports[1], 1)[0].priority, Priority::P0);
}

#[test]
fn a_reserved_reply_has_room_in_a_ring_full_of_pushes() {
    let mut ports = ports(2);
    let mut reservations = Vec::new();
    while let Some(reservation) = ports[1].sender.reserve(0, Priority::P2) {
        reservations.push(reservation);
    }
    assert_eq!(reservations.len(), reply_places(2, Priority::P2));
    assert_eq!(ports[1].sender.counters().no_reply_room, [0, 0, 1, 0]);
    fill(&mut ports[0], 1, Priority::P2);
    for number in 0..reservations.len() as u64 {
        assert_eq!(ports[0].sender.push_reply(1, Priority::P2, number), Ok(()));
    }
    assert_eq!(
        ports[0].sender.push_reply(1, Priority::P2, 0),
        Err(0),
        "nobody reserved it"
    );
    assert!(
        ports[1].sender.reserve(0, Priority::P1).is_some(),
        "each priority has its room"
    );
    if let Some(reservation) = reservations.pop() {
        ports[1].sender.release(reservation);
    }
    assert!(ports[1].sender.reserve(0, Priority::P2).is_some());
}

#[test]
#[should_panic(expected = "thread 1 has no lane to thread 1")]
fn a_thread_has_no_lane_to_itself() {
    let _unused = ports(2)[1].sender.push(1, Priority::P0, 0);
}

#[test]
fn more_threads_than_the_limit_are_refused() {
    let refused = mesh::<Entry>(LANE_THREADS_MAX + 1).map(|_| ());
    assert_eq!(
        refused,
        Err(LaneError::TooManyThreads {
            threads: LANE_THREADS_MAX + 1
        })
    );
    assert_eq!(ports(1)[0].receiver.take(64, &mut Vec::new()), 0);
}

#[test]
fn rings_shrink_as_threads_grow_and_stay_within_the_bound() {
    for threads in 2..=LANE_THREADS_MAX {
        assert!(lanes_bytes(threads) <= LANES_BYTES_MAX, "{threads} threads");
        for priority in Priority::ALL {
            let places = ring_places(threads, priority);
            assert!(places >= LANE_PLACES_MIN && places <= ring_places(threads - 1, priority));
        }
    }
    assert_eq!(
        Priority::ALL.map(|class| ring_places(2, class)),
        LANE_PLACES_MAX
    );
}
