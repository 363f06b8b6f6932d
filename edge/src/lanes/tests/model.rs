//! Lanes against queues without bounds, operation by operation.

use crate::lanes::limits::{reply_places, ring_places, LANE_TAKE_MAX};
use crate::lanes::{mesh, Port, Reservation, Taken};
use interlink_protocol::priority::Priority;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

const THREADS: usize = 3;

/// Entries of one round and of the one before: as long as anything that waits may wait.
const PASSED_OVER_MAX: usize = 2 * LANE_TAKE_MAX;

#[derive(Debug, Clone)]
enum Step {
    Push {
        from: usize,
        to: usize,
        class: usize,
        count: usize,
    },
    Ask {
        from: usize,
        to: usize,
        class: usize,
        count: usize,
    },
    Take {
        thread: usize,
        budget: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let lane = (0..THREADS, 1..THREADS, 0..Priority::COUNT, 1..900usize);
    let lane =
        lane.prop_map(|(from, by, class, count)| (from, (from + by) % THREADS, class, count));
    prop_oneof![
        3 => lane
            .clone()
            .prop_map(|(from, to, class, count)| Step::Push { from, to, class, count }),
        1 => lane.prop_map(|(from, to, class, count)| Step::Ask { from, to, class, count }),
        6 => (0..THREADS, 0..200usize).prop_map(|(thread, budget)| Step::Take { thread, budget }),
    ]
}

type Lane = (usize, usize, usize);

#[derive(Default)]
struct Oracle {
    lanes: BTreeMap<Lane, VecDeque<(u32, bool)>>,
    reserved: BTreeMap<Lane, Vec<Reservation>>,
    /// By taker and priority: entries of others taken since it was last served.
    passed_over: BTreeMap<(usize, usize), usize>,
    next: u32,
}

impl Oracle {
    fn push(&mut self, ports: &mut [Port<u32>], lane: Lane) {
        let (from, to, class) = lane;
        let priority = Priority::ALL[class];
        let queue = self.lanes.entry(lane).or_default();
        let room = ring_places(THREADS, priority) - reply_places(THREADS, priority);
        let result = ports[from].sender.push(to, priority, self.next);
        assert_eq!(result.is_ok(), queue.len() < room);
        if result.is_ok() {
            queue.push_back((self.next, false));
        }
        self.next += 1;
    }

    /// `to` asks `from`, which replies at once.
    fn ask(&mut self, ports: &mut [Port<u32>], lane: Lane) {
        let (from, to, class) = lane;
        let priority = Priority::ALL[class];
        let reserved = self.reserved.entry(lane).or_default();
        let reservation = ports[to].sender.reserve(from, priority);
        assert_eq!(
            reservation.is_some(),
            reserved.len() < reply_places(THREADS, priority)
        );
        let Some(reservation) = reservation else {
            return;
        };
        reserved.push(reservation);
        let reply = ports[from].sender.push_reply(to, priority, self.next);
        assert_eq!(reply, Ok(()), "a reserved reply always fits");
        self.lanes
            .entry(lane)
            .or_default()
            .push_back((self.next, true));
        self.next += 1;
    }

    fn take(&mut self, ports: &mut [Port<u32>], thread: usize, budget: usize) {
        let mut out = Vec::new();
        let count = ports[thread].receiver.take(budget, &mut out);
        let waiting = self.waiting(thread).iter().sum::<usize>();
        assert_eq!(
            count,
            waiting.min(budget).min(LANE_TAKE_MAX),
            "all that waits is found"
        );
        for Taken {
            from,
            priority,
            entry,
        } in out
        {
            let lane = (from, thread, priority.index());
            let (wanted, is_reply) = self
                .lanes
                .get_mut(&lane)
                .and_then(VecDeque::pop_front)
                .expect("pushed before");
            assert_eq!(entry, wanted, "the order of a lane is kept");
            if is_reply {
                let reservation = self.reserved.get_mut(&lane).and_then(Vec::pop);
                ports[thread]
                    .sender
                    .release(reservation.expect("reserved before"));
            }
            self.note_served(thread, priority.index());
        }
        let empty = self.waiting(thread).iter().sum::<usize>() == 0;
        assert_eq!(ports[thread].receiver.is_empty(), empty);
    }

    fn note_served(&mut self, thread: usize, served: usize) {
        let waiting = self.waiting(thread);
        for (class, waiting) in waiting.into_iter().enumerate() {
            let passed = self.passed_over.entry((thread, class)).or_default();
            *passed = if class == served || waiting == 0 {
                0
            } else {
                *passed + 1
            };
            assert!(*passed <= PASSED_OVER_MAX, "priority {class} starves");
        }
    }

    fn waiting(&self, thread: usize) -> [usize; Priority::COUNT] {
        let mut waiting = [0; Priority::COUNT];
        for ((_, to, class), queue) in &self.lanes {
            waiting[*class] += if *to == thread { queue.len() } else { 0 };
        }
        waiting
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn lanes_behave_as_queues_and_starve_nobody(steps in prop::collection::vec(step(), 1..80)) {
        let mut ports = mesh::<u32>(THREADS).expect("mesh");
        let mut oracle = Oracle::default();
        for step in steps {
            match step {
                Step::Push { from, to, class, count } => {
                    (0..count).for_each(|_| oracle.push(&mut ports, (from, to, class)));
                }
                Step::Ask { from, to, class, count } => {
                    (0..count).for_each(|_| oracle.ask(&mut ports, (from, to, class)));
                }
                Step::Take { thread, budget } => oracle.take(&mut ports, thread, budget),
            }
        }
    }
}
