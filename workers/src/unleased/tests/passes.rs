//! What a pass does.

use std::collections::{BTreeSet, HashMap};

use interlink_protocol::ids::RecordId;
use interlink_relay::backplane::{partition_of, Floor, NodeName};
use interlink_relay::kafka::consumer::{Batch, Lane};
use interlink_relay::kafka::record::Item;
use interlink_relay::record::Placement;

use super::world::{names, whose, Random, World, NOW_US, PARTITIONS};
use crate::testing::{lane, Fed};
use crate::unleased::limits::{AGE_MAX_US, OWED_BYTES_MAX};
use crate::unleased::pass::{Counts, Pass, Whose};

const SECOND_US: u64 = 1_000_000;

fn fed(id: u64) -> Fed<'static> {
    Fed {
        origin: "eu",
        node: "dead",
        channel: "chat.room",
        id,
        accepted_at_us: NOW_US - SECOND_US,
        place: None,
    }
}

fn id(number: u64) -> RecordId {
    RecordId(u128::from(number))
}

/// A pass over a world in which nobody has a lease.
fn pass(world: &World, whose: Whose) -> Pass {
    Pass::new(whose, BTreeSet::new(), world.log.keys().cloned().collect())
}

fn run(world: &mut World, whose: Whose, seed: u64) -> Counts {
    let pass = pass(world, whose);
    world.pass(pass, &mut Random(seed), |_, _, _| {})
}

/// The batch of everything in a partition of Kafka.
fn whole(world: &World, lane: &Lane) -> Batch {
    Batch {
        lane: lane.clone(),
        records: world.log[lane].clone(),
    }
}

#[test]
fn what_has_no_place_gets_one_and_the_log_is_told_once() {
    for seed in 0..50 {
        let mut world = World::default();
        (0..20).for_each(|id| world.feed(&lane(0), &fed(id)));
        let counts = run(&mut world, whose(false), seed);
        // One that was placed by a call whose answer was lost is known by the next.
        assert_eq!((counts.placed + counts.known, counts.told), (20, 20));
        assert_eq!(world.servers.order, (0..20).map(id).collect::<Vec<_>>());
        let counts = run(&mut world, whose(false), seed + 1);
        assert_eq!((counts.placed, counts.told, counts.known), (0, 0, 20));
    }
}

#[test]
fn a_place_that_was_told_later_is_not_told_again_and_one_that_was_never_told_is() {
    for seed in 0..50 {
        let mut world = World::default();
        let places: Vec<Placement> = (0..4)
            .map(|number| world.servers.place("chat.room", id(number)).placement)
            .collect();
        let placed = |number: u64| Fed {
            place: Some(places[number as usize]),
            ..fed(number)
        };
        world.feed(&lane(0), &placed(0));
        world.feed(&lane(0), &fed(1));
        world.feed(&lane(0), &fed(2));
        // A feeder that has restarted feeds again.
        world.feed(&lane(0), &fed(1));
        world.tell(&lane(0), &placed(1));
        let counts = run(&mut world, whose(false), seed);
        assert_eq!((counts.placed, counts.told), (0, 1), "that of 2");
        assert_eq!(world.told().get(&id(2)), Some(&places[2]));
    }
}

#[test]
fn what_servers_have_lost_is_placed_anew_and_its_new_place_is_told() {
    let mut before = World::default();
    let place = before.servers.place("chat.room", id(1)).placement;
    let mut world = World::default();
    world.servers.place("chat.room", id(9));
    let placed = Fed {
        place: Some(place),
        ..fed(1)
    };
    world.feed(&lane(0), &placed);
    let counts = run(&mut world, whose(false), 1);
    assert_eq!((counts.placed, counts.told), (1, 1));
    assert_ne!(world.told()[&id(1)], place);
    assert_eq!(world.told()[&id(1)], world.servers.places[&id(1)]);
}

#[test]
fn a_channel_that_was_lost_goes_on_behind_the_newest_place_that_the_log_tells() {
    let mut world = World::default();
    let place = world.servers.place("chat.room", id(1)).placement;
    let placed = Fed {
        place: Some(place),
        ..fed(1)
    };
    world.feed(&lane(0), &placed);
    let mut pass = pass(&world, whose(false));
    pass.take(whole(&world, &lane(0)));
    let call = pass.next_call(NOW_US).expect("a call");
    assert_eq!(pass.publishes(&call)[0].floor, Floor::At(place.position));
}

#[test]
fn others_are_left_alone() {
    let mut world = World::default();
    let (mine, other) = ("chat.room", "chat.a");
    let scope = partition_of(mine, PARTITIONS);
    assert_ne!(partition_of(other, PARTITIONS), scope);
    world.feed(&lane(0), &fed(1));
    let foreign = Fed {
        origin: "us",
        ..fed(2)
    };
    world.feed(&lane(0), &foreign);
    let leased = Fed {
        node: "alive",
        ..fed(3)
    };
    world.feed(&lane(0), &leased);
    let elsewhere = Fed {
        channel: other,
        ..fed(4)
    };
    world.feed(&lane(0), &elsewhere);
    let mut damaged = fed(5).event(4);
    damaged.headers = Box::default();
    world.log.entry(lane(0)).or_default().push(damaged);
    let whose = Whose {
        scope: Some(BTreeSet::from([scope])),
        ..whose(false)
    };
    let pass = Pass::new(whose, names(&["alive"]), vec![lane(0)]);
    let counts = world.pass(pass, &mut Random(1), |_, _, _| {});
    assert_eq!(world.servers.order, [id(1)]);
    let found = (counts.read, counts.others, counts.unreadable);
    assert_eq!(found, (5, 3, 1));
}

#[test]
fn a_node_that_comes_back_is_left_alone_from_then_on_also_when_it_dies_again() {
    let mut world = World::default();
    (0..600).for_each(|id| world.feed(&lane(0), &fed(id)));
    let mut pass = pass(&world, whose(false));
    pass.take(whole(&world, &lane(0)));
    let first = pass.next_call(NOW_US).expect("a call");
    assert_eq!(pass.publishes(&first).len(), 256);
    pass.on_leases(&names(&["dead"]));
    pass.on_failed(&first);
    assert_eq!(pass.next_call(NOW_US), None, "it sees to itself");
    pass.on_leases(&names(&[]));
    world.feed(&lane(0), &fed(600));
    let later = world.log[&lane(0)][600..].to_vec();
    pass.take(Batch {
        lane: lane(0),
        records: later,
    });
    assert_eq!(
        pass.next_call(NOW_US),
        None,
        "earlier ones may have no place"
    );
    pass.end(&lane(0));
    pass.tell(|_, _| true);
    assert!(pass.is_over());
    assert_eq!((pass.counts().returned, pass.counts().others), (600, 1));
}

#[test]
fn without_an_archive_what_is_old_is_left_also_when_it_has_become_old_meanwhile() {
    let mut world = World::default();
    let old = Fed {
        accepted_at_us: NOW_US - AGE_MAX_US - 1,
        ..fed(1)
    };
    world.feed(&lane(0), &old);
    world.feed(&lane(0), &fed(2));
    // It was placed long ago, and the log says so.
    let placed = Fed {
        place: Some(Placement::default()),
        id: 3,
        ..old
    };
    world.tell(&lane(0), &placed);
    world.feed(&lane(0), &Fed { id: 3, ..old });
    world.tell(&lane(0), &placed);
    let mut pass = pass(&world, whose(false));
    pass.take(whole(&world, &lane(0)));
    pass.end(&lane(0));
    let call = pass.next_call(NOW_US).expect("a call");
    let records: Vec<_> = pass.publishes(&call).iter().map(|it| it.record).collect();
    assert_eq!(records, [id(2)]);
    pass.on_failed(&call);
    let later_us = NOW_US + AGE_MAX_US;
    assert_eq!(pass.next_call(later_us), None, "it may be forgotten by now");
    assert_eq!(pass.next_lookup(later_us), None);
    pass.tell(|_, _| true);
    assert!(pass.is_over());
    assert_eq!((pass.counts().old, pass.counts().known), (2, 1));
}

#[test]
fn the_archive_is_asked_about_what_is_old_and_later_records_wait_behind_it() {
    let mut world = World::default();
    let old = Fed {
        accepted_at_us: NOW_US - AGE_MAX_US - 1,
        ..fed(1)
    };
    world.feed(&lane(0), &old);
    world.feed(&lane(0), &Fed { id: 2, ..old });
    world.feed(&lane(0), &fed(3));
    let mut pass = pass(&world, whose(true));
    pass.take(whole(&world, &lane(0)));
    assert_eq!(pass.next_call(NOW_US), None);
    let lookup = pass.next_lookup(NOW_US).expect("a question");
    assert_eq!(lookup.records, [id(1), id(2)]);
    assert_eq!(pass.next_lookup(NOW_US), None, "it is asked once");
    pass.on_looked_up(&lookup, None, NOW_US);
    let lookup = pass.next_lookup(NOW_US).expect("the archive was away");
    let places = [Some(Placement::default()), None];
    pass.on_looked_up(&lookup, Some(&places), NOW_US);
    let call = pass.next_call(NOW_US).expect("a call");
    let records: Vec<_> = pass.publishes(&call).iter().map(|it| it.record).collect();
    assert_eq!(records, [id(2), id(3)], "1 has a place");
    // What was looked up is remembered for as long as anything else from then on.
    pass.on_failed(&call);
    assert_eq!(pass.next_call(NOW_US + AGE_MAX_US + 1), None);
    assert!(pass.next_lookup(NOW_US + AGE_MAX_US + 1).is_some());
}

#[test]
fn an_answer_of_the_archive_is_of_no_later_batch() {
    let mut world = World::default();
    let old = Fed {
        accepted_at_us: NOW_US - AGE_MAX_US - 1,
        ..fed(1)
    };
    let later = Fed {
        node: "dead too",
        id: 2,
        ..old
    };
    world.feed(&lane(0), &old);
    world.feed(&lane(0), &later);
    let mut pass = pass(&world, whose(true));
    for record in world.log[&lane(0)].clone() {
        let lane = lane(0);
        let records = vec![record];
        pass.take(Batch { lane, records });
    }
    assert_eq!(pass.next_call(NOW_US), None);
    let lookup = pass.next_lookup(NOW_US).expect("a question");
    // Its node comes back meanwhile, and the next batch begins.
    pass.on_leases(&names(&["dead"]));
    assert_eq!(pass.next_call(NOW_US), None);
    let second = pass.next_lookup(NOW_US).expect("a question");
    assert_eq!(second.records, [id(2)]);
    pass.on_looked_up(&lookup, Some(&[None]), NOW_US);
    assert_eq!(pass.next_call(NOW_US), None, "nobody has answered for it");
    pass.on_looked_up(&second, Some(&[None]), NOW_US);
    assert!(pass.next_call(NOW_US).is_some());
}

#[test]
fn what_a_pass_holds_is_bounded() {
    let mut world = World::default();
    let mut pass = Pass::new(whose(false), BTreeSet::new(), vec![lane(0)]);
    let (mut next, mut bytes) = (0, 0);
    while pass.has_room() {
        let records: Vec<_> = (next..next + 1_000)
            .map(|number| fed(number).event(number as i64))
            .collect();
        bytes += records.iter().map(|it| it.bytes()).sum::<usize>();
        (next..next + 1_000).for_each(|number| {
            world.servers.place("chat.room", id(number));
        });
        next += 1_000;
        let lane = lane(0);
        pass.take(Batch { lane, records });
    }
    let mut told = 0;
    while let Some(call) = pass.next_call(NOW_US) {
        let publishes = pass.publishes(&call);
        let placed = publishes
            .iter()
            .map(|it| world.servers.place(it.channel, it.record));
        let placed: Vec<_> = placed.collect();
        pass.on_placed(&call, &placed);
        pass.tell(|_, places| {
            told += places.len();
            true
        });
    }
    assert!(
        pass.has_room() && told > 0,
        "what is too much is told at once"
    );
    pass.end(&lane(0));
    let mut owed = 0;
    pass.tell(|_, places| {
        owed += places.len();
        true
    });
    assert!(pass.is_over());
    assert_eq!(told + owed, next as usize);
    assert!(owed * bytes / next as usize <= OWED_BYTES_MAX, "{owed}");
}

/// Random logs of several nodes and partitions, of which some have leases or get them; servers
/// that lose calls and answers.
#[test]
fn random_passes_place_everything_once_and_in_order() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let mut world = World::default();
        let nodes = ["dead", "alive", "back"];
        let channels = ["chat.a", "chat.b", "chat.c", "chat.d"];
        let mut placeless = 0;
        for number in 0..150 {
            let lane = lane(random.below(3) as i32);
            let mut event = Fed {
                node: nodes[random.below(3)],
                channel: channels[random.below(4)],
                ..fed(number)
            };
            // Most were placed; the log may say so with the event, behind it, or not at all.
            let place = random.percent(60).then(|| {
                let placed = world.servers.place(event.channel, id(number));
                placed.placement
            });
            let with_event = random.percent(50);
            event.place = place.filter(|_| with_event);
            world.feed(&lane, &event);
            event.place = place;
            match place {
                Some(_) if !with_event && random.percent(60) => world.tell(&lane, &event),
                None if event.node == "dead" => placeless += 1,
                _ => {}
            }
        }
        let before = world.servers.order.len();
        let lanes: Vec<Lane> = world.log.keys().cloned().collect();
        let pass = Pass::new(whose(false), names(&["alive"]), lanes.clone());
        let back_at = random.below(200);
        let counts = world.pass(pass, &mut random, |pass, step, _| {
            if step == back_at {
                pass.on_leases(&names(&["back"]));
            }
        });
        assert!(counts.placed <= placeless + 150);
        check(&world, before, seed);
        let pass = Pass::new(whose(false), names(&["alive", "back"]), lanes);
        let again = world.pass(pass, &mut random, |_, _, _| {});
        assert_eq!((again.placed, again.told), (0, 0), "seed {seed}");
    }
}

/// What must hold after a pass whose servers had so many records before.
fn check(world: &World, before: usize, seed: u64) {
    let (order, told) = (&world.servers.order, world.told());
    let at: HashMap<RecordId, usize> = order.iter().copied().zip(0..).collect();
    assert_eq!(at.len(), order.len(), "seed {seed}: each once");
    for records in world.log.values() {
        let mut newest: HashMap<Box<str>, usize> = HashMap::new();
        for consumed in records {
            let Ok(Item::Event(event)) = consumed.decode() else {
                continue;
            };
            let (node, record) = (NodeName::of(&event.node), event.record);
            let placed = at.get(&record.record).copied();
            if node == NodeName::of("dead") {
                assert!(placed.is_some(), "seed {seed}: {record:?} has no place");
                let place = world.servers.places.get(&record.record);
                assert_eq!(told.get(&record.record), place, "seed {seed}");
            }
            let Some(placed) = placed.filter(|placed| *placed >= before) else {
                continue;
            };
            assert_ne!(node, NodeName::of("alive"), "seed {seed}");
            let newest = newest.entry(record.channel).or_default();
            assert!(*newest <= placed, "seed {seed}: out of order");
            *newest = placed;
        }
    }
}
