//! What an archive is asked for before a channel begins, and where it begins then.

use interlink_protocol::ids::{Position, RecordId};
use interlink_protocol::priority::Priority;

use super::servers::{single, Server};
use super::{frame, now_us, Config, Node};
use crate::backplane::{
    next_epoch, partition_of, BackplaneAnswer, BackplaneError, BackplaneRequest, Floor, Publish,
    Published, Standing,
};

const A: &str = "class.algebra";

/// The newest event that an archive knows of a channel.
const ARCHIVED: Position = Position {
    epoch: 7,
    offset: 41,
    chain: 0x5eed,
};

/// Publishes one record to each channel.
fn publish(node: &mut Node, records: &[(&str, u64, Floor)]) -> BackplaneAnswer {
    let frames: Vec<_> = records
        .iter()
        .map(|(name, id, _)| frame(name, *id))
        .collect();
    let publishes: Vec<_> = records
        .iter()
        .zip(&frames)
        .map(|((channel, id, floor), frame)| Publish {
            channel,
            class: Priority::P1,
            record: RecordId(u128::from(*id)),
            accepted_at_us: now_us(),
            floor: *floor,
            frame,
        })
        .collect();
    let answer = node.call(BackplaneRequest::Publish(&publishes));
    answer.expect("the server is there")
}

fn placed(node: &mut Node, records: &[(&str, u64, Floor)]) -> Vec<Published> {
    match publish(node, records) {
        BackplaneAnswer::Published(published) => published,
        other => panic!("nothing was placed: {other:?}"),
    }
}

fn wanted(node: &mut Node, records: &[(&str, u64, Floor)]) -> Vec<String> {
    match publish(node, records) {
        BackplaneAnswer::TopsWanted(channels) => channels.into_iter().map(String::from).collect(),
        other => panic!("nothing is wanted: {other:?}"),
    }
}

/// Another channel of the partition of [`A`].
fn neighbour(config: &Config) -> String {
    let partition = |name: &str| partition_of(name, config.partitions);
    let mut names = (0..).map(|number| format!("class.{number}"));
    let other = names.find(|name| partition(name) == partition(A));
    other.expect("there is one")
}

fn key(config: &Config, name: &str) -> String {
    let partition = partition_of(A, config.partitions);
    format!("{}:{{p{partition}}}:{name}", config.prefix)
}

#[test]
fn nothing_of_a_call_is_placed_before_the_archive_was_asked_for_every_channel() {
    let server = Server::start(&[]);
    let config = single(server.address());
    let mut node = Node::connected(&config);
    let other = neighbour(&config);
    placed(&mut node, &[(A, 1, Floor::NONE)]);
    let call = |floor| [(A, 2, Floor::Unasked), (&*other, 3, floor)];
    assert_eq!(wanted(&mut node, &call(Floor::Unasked)), [&*other]);
    let known = node.known(&config, A, 2..=3);
    assert_eq!(known, [None, None], "neither of them");
    let places = placed(&mut node, &call(Floor::At(ARCHIVED)));
    assert!(places.iter().all(|one| !one.repeated));
    assert_eq!(places[0].placement.position.offset, 2);
    let (begin, epoch) = (places[1].placement, places[0].placement.position.epoch);
    assert_eq!(begin.previous_chain, ARCHIVED.chain, "the chain goes on");
    assert_eq!(
        begin.position,
        Position {
            epoch,
            ..ARCHIVED.after(RecordId(3))
        }
    );
    let next = placed(&mut node, &[(&other, 4, Floor::Unasked)]);
    assert_eq!(
        next[0].placement.position.offset, 43,
        "it is asked for once"
    );
}

#[test]
fn a_partition_begins_above_every_epoch_that_the_archive_names() {
    let server = Server::start(&[]);
    let config = single(server.address());
    let mut node = Node::connected(&config);
    wanted(&mut node, &[(A, 1, Floor::Unasked)]);
    let left = server.ask(&["EXISTS", &key(&config, "meta")]);
    assert_eq!(left, redis::Value::Int(0), "no epoch is begun");
    // Of a node whose clock was an hour ahead.
    let ahead = Position {
        epoch: next_epoch(now_us() / 1_000 + 3_600_000, 0, 0),
        ..ARCHIVED
    };
    let first = placed(&mut node, &[(A, 1, Floor::At(ahead))]);
    assert!(first[0].placement.position.epoch > ahead.epoch);
}

#[test]
fn an_emptied_server_asks_for_what_it_knew_and_others_do_not() {
    let server = Server::start(&[]);
    let config = single(server.address());
    let mut node = Node::connected(&config);
    placed(&mut node, &[(A, 1, Floor::NONE), (A, 2, Floor::NONE)]);
    let know = [(A, 3, Floor::Unasked)];
    placed(&mut node, &know);
    server.ask(&["FLUSHALL"]);
    let mut node = Node::connected(&config);
    assert_eq!(wanted(&mut node, &know), [A]);
    let last = placed(&mut node, &[(A, 3, Floor::At(ARCHIVED))]);
    assert_eq!(last[0].placement.position.offset, 42);
}

#[test]
fn a_channel_is_asked_for_until_tops_have_taken_a_turn() {
    const DAY_MS: u64 = 86_400_000;
    let server = Server::start(&[]);
    let config = single(server.address());
    let mut node = Node::connected(&config);
    let other = neighbour(&config);
    placed(&mut node, &[(A, 1, Floor::NONE)]);
    let pass = |days: u64| {
        let then = now_us() / 1_000 - days * DAY_MS;
        let meta = key(&config, "meta");
        server.ask(&["HSET", &meta, "tops", &then.to_string()]);
    };
    pass(29);
    wanted(&mut node, &[(&other, 2, Floor::Unasked)]);
    pass(31);
    let begun = placed(&mut node, &[(&other, 2, Floor::Unasked)]);
    assert_eq!(begun[0].placement.position.offset, 1);
    let kept = placed(&mut node, &[(A, 3, Floor::Unasked)]);
    assert_eq!(kept[0].placement.position.offset, 2, "it is not forgotten");
}

/// Gives the partition of [`A`] what an archive knows; says whether it lacks channels.
fn seed(
    node: &mut Node,
    config: &Config,
    tops: &[(&str, Position)],
    is_all: bool,
) -> Result<bool, BackplaneError> {
    let tops: Vec<_> = tops
        .iter()
        .map(|(name, top)| (Box::from(*name), *top))
        .collect();
    let request = BackplaneRequest::Seed {
        partition: partition_of(A, config.partitions),
        tops: &tops,
        is_all,
    };
    match node.call(request)? {
        BackplaneAnswer::Seeded { lacks } => Ok(lacks),
        other => panic!("not an answer to seeds: {other:?}"),
    }
}

#[test]
fn a_partition_that_was_given_everything_begins_other_channels_by_itself() {
    let server = Server::start(&[]);
    let config = single(server.address());
    let mut node = Node::connected(&config);
    let other = neighbour(&config);
    assert_eq!(seed(&mut node, &config, &[], false), Ok(true));
    assert_eq!(seed(&mut node, &config, &[(A, ARCHIVED)], false), Ok(true));
    let known = placed(&mut node, &[(A, 1, Floor::Unasked)]);
    let place = known[0].placement;
    assert_eq!((place.position.offset, place.previous_chain), (42, 0x5eed));
    assert_eq!(wanted(&mut node, &[(&other, 2, Floor::Unasked)]), [&*other]);
    assert_eq!(seed(&mut node, &config, &[], true), Ok(false));
    let begun = placed(&mut node, &[(&other, 2, Floor::Unasked)]);
    assert_eq!(begun[0].placement.position.offset, 1);
    assert_eq!(seed(&mut node, &config, &[], false), Ok(false), "for good");
}

#[test]
fn what_a_server_knows_is_not_changed_by_an_archive() {
    let server = Server::start(&[]);
    let config = single(server.address());
    let mut node = Node::connected(&config);
    let other = neighbour(&config);
    placed(&mut node, &[(A, 1, Floor::NONE), (&other, 2, Floor::NONE)]);
    // Of one channel only the events are left.
    server.ask(&["HDEL", &key(&config, "tops"), &other]);
    let tops = [(A, ARCHIVED), (&*other, ARCHIVED)];
    assert_eq!(seed(&mut node, &config, &tops, false), Ok(true));
    let next = placed(&mut node, &[(A, 3, Floor::NONE), (&other, 4, Floor::NONE)]);
    let offsets = next.iter().map(|one| one.placement.position.offset);
    assert!(offsets.eq([2, 2]), "{next:?}");
}

#[test]
fn a_server_that_was_emptied_meanwhile_is_not_told_that_it_lacks_nothing() {
    let server = Server::start(&[]);
    let config = single(server.address());
    let mut node = Node::connected(&config);
    assert_eq!(seed(&mut node, &config, &[(A, ARCHIVED)], false), Ok(true));
    server.ask(&["FLUSHALL"]);
    let told = seed(&mut node, &config, &[], true);
    assert_eq!(told, Err(BackplaneError::Away));
    let mut other = Node::connected(&config);
    assert_eq!(wanted(&mut other, &[(A, 1, Floor::Unasked)]), [A]);
}

#[test]
fn seeds_of_a_later_epoch_begin_one_above_it() {
    let server = Server::start(&[]);
    let config = single(server.address());
    let mut node = Node::connected(&config);
    assert_eq!(seed(&mut node, &config, &[], false), Ok(true));
    let ahead = Position {
        epoch: next_epoch(now_us() / 1_000 + 3_600_000, 0, 0),
        ..ARCHIVED
    };
    assert_eq!(seed(&mut node, &config, &[(A, ahead)], false), Ok(true));
    let first = placed(&mut node, &[(A, 1, Floor::Unasked)]);
    assert!(first[0].placement.position.epoch > ahead.epoch);
}

#[test]
fn seeds_of_several_partitions_are_refused() {
    let server = Server::start(&[]);
    let config = single(server.address());
    let mut node = Node::connected(&config);
    let names = (0..).map(|number| format!("class.{number}"));
    let own = partition_of(A, config.partitions);
    let mut others = names.filter(|name| partition_of(name, config.partitions) != own);
    let other = others.next().expect("there is one");
    let refused = seed(&mut node, &config, &[(&other, ARCHIVED)], false);
    assert_eq!(refused, Err(BackplaneError::Partitions));
}

#[test]
fn what_a_node_has_heard_counts_more_than_an_archive_that_is_behind() {
    let server = Server::start(&[]);
    let config = single(server.address());
    let (mut here, mut other) = (Node::connected(&config), Node::connected(&config));
    let pinned = here.subscribe(A);
    let before = other.publish(A, &[1, 2, 3]);
    here.await_delivered(&[1, 2, 3]);
    server.ask(&["FLUSHALL"]);
    let mut fresh = Node::connected(&config);
    let archived = [(A, before[1].placement.position)];
    assert_eq!(seed(&mut fresh, &config, &archived, true), Ok(false));
    // The node compares what it has heard with the server when it has connected anew.
    server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    here.until("no reconnection", |node| {
        node.standing != Some(Standing::Connected)
    });
    here.await_standing(Standing::Connected);
    // Answered behind what it asks for that.
    here.subscribe("class.botany");
    for _ in 0..3 {
        let top = here.call(BackplaneRequest::Top { channel: A });
        assert!(matches!(top, Ok(BackplaneAnswer::Top(top)) if top.offset == 2));
    }
    let next = here.publish(A, &[4])[0].placement;
    assert_eq!(next.position.offset, 4);
    assert_eq!(next.previous_chain, before[2].placement.position.chain);
    here.await_delivered(&[1, 2, 3, 4]);
    here.assert_continuous(pinned);
}
