//! What servers do to a backplane: failover, loss, silence and refusal.

use std::time::Instant;

use interlink_protocol::ids::{Position, RecordId};
use interlink_protocol::priority::Priority;

use super::functions::{lineage_of, words};
use super::proxy::Proxy;
use super::servers::{single, Server};
use super::{now_us, Config, Node, PATIENCE};
use crate::backplane::{
    partition_of, Backplane, BackplaneAnswer, BackplaneError, BackplaneEvent, BackplaneRequest,
    Floor, Publish, Published, SkipReason, Standing,
};
use crate::files::Gap;
use crate::redis::functions::{published, Functions};
use crate::redis::limits::PUSH_BYTES_MAX;
use crate::redis::Mode;

const A: &str = "class.algebra";

fn lineage_changes(node: &Node) -> usize {
    let events = node.events.iter();
    events
        .filter(|event| matches!(event, BackplaneEvent::LineageChanged { .. }))
        .count()
}

#[test]
fn a_server_that_took_over_while_a_node_was_down_is_told_before_anything_is_placed() {
    let (master, replica) = (Server::start(&[]), Server::start(&[]));
    replica.follow(&master);
    let proxy = Proxy::to(master.address());
    let config = single(proxy.address());
    let mut node = Node::connected(&config);
    node.publish(A, &[1]);
    let memory = node.backplane.memory().expect("nothing has changed");
    drop(node);
    let mut same = Node::resumed(&config, &memory);
    assert!(same.publish(A, &[1])[0].repeated);
    assert_eq!(lineage_changes(&same), 0);
    drop((same, master));
    replica.ask(&["REPLICAOF", "NO", "ONE"]);
    proxy.lead_to(replica.address());
    let mut node = Node::resumed(&config, &memory);
    node.until("no change of lineage", |node| lineage_changes(node) == 1);
    assert_eq!(
        node.standing,
        Some(Standing::Reconnecting),
        "{}",
        node.story()
    );
    node.publish(A, &[2]);
    let later = node.backplane.memory().expect("the change was taken");
    assert_ne!(later, memory);
}

#[test]
fn a_promoted_replica_that_lacks_events_gives_no_offset_again() {
    let (master, replica) = (Server::start(&[]), Server::start(&[]));
    replica.follow(&master);
    let proxy = Proxy::to(master.address());
    let config = single(proxy.address());
    let (mut here, mut there) = (Node::connected(&config), Node::connected(&config));
    let pinned = (here.subscribe(A), there.subscribe(A));
    let kept = here.publish(A, &[1, 2, 3]);
    here.await_delivered(&[1, 2, 3]);
    there.await_delivered(&[1, 2, 3]);
    master.replicate();
    // The replica hears nothing more, and is promoted.
    replica.ask(&["REPLICAOF", "NO", "ONE"]);
    let lost = here.publish(A, &[4, 5]);
    here.await_delivered(&[1, 2, 3, 4, 5]);
    there.await_delivered(&[1, 2, 3, 4, 5]);
    drop(master);
    proxy.lead_to(replica.address());
    here.until("no change of lineage", |node| lineage_changes(node) == 1);
    there.until("no change of lineage", |node| lineage_changes(node) == 1);
    here.await_standing(Standing::Connected);
    // What is new comes first at one node, and what was lost again at the other.
    let new = there.publish(A, &[6, 7]);
    let again = here.publish(A, &[3, 4, 5, 8]);
    assert!(again[0].repeated, "the replica has it");
    assert_eq!(again[0].placement, kept[2].placement);
    let epochs = |one: &Published| one.placement.position.epoch;
    assert!(epochs(&new[0]) > epochs(&lost[1]), "{new:?} {lost:?}");
    assert_eq!(new[0].placement.position.offset, 4);
    assert_eq!(
        new[0].placement.previous_chain, kept[2].placement.position.chain,
        "it goes on after what the replica has"
    );
    for node in [&mut here, &mut there] {
        // Nothing is skipped, and nothing comes twice.
        node.await_delivered(&[1, 2, 3, 4, 5, 6, 7, 8]);
    }
    for (node, pinned) in [(&here, pinned.0), (&there, pinned.1)] {
        let end = node.assert_continuous(pinned);
        assert_eq!(end, again[3].placement.position);
        let went_back = node.events.iter().any(|event| {
            matches!(event, BackplaneEvent::Skipped { position, skipped: 0, reason, .. }
                if *reason == SkipReason::Lineage && position.offset == 3)
        });
        assert!(went_back, "{}", node.story());
    }
    let known = here.known(&config, A, 1..=9);
    assert_eq!(known[2], Some(kept[2].placement));
    assert_eq!(known[3], Some(again[1].placement), "not the lost one");
    assert_eq!(known[8], None);
    let request = BackplaneRequest::History {
        channel: A,
        after: lost[0].placement.position,
        limit: 10,
    };
    let Ok(BackplaneAnswer::History(page)) = here.call(request) else {
        panic!("not an answer about history");
    };
    assert_eq!(page.gap, Some(Gap::Unknown), "a lost position is not taken");
}

#[test]
fn a_subscriber_that_hears_nothing_is_replaced() {
    let server = Server::start(&[]);
    let proxy = Proxy::to(server.address());
    let mut here = Node::connected(&single(proxy.address()));
    let pinned = here.subscribe(A);
    here.publish(A, &[1]);
    here.await_delivered(&[1]);
    proxy.wedge(b"SUBSCRIBE");
    here.publish(A, &[2, 3]);
    here.await_delivered(&[1, 2, 3]);
    // Two clients of pub/sub have been there, one after the other.
    here.publish(A, &[4]);
    here.await_delivered(&[1, 2, 3, 4]);
    here.assert_continuous(pinned);
    assert_eq!(lineage_changes(&here), 0);
}

#[test]
fn messages_while_a_connection_is_cut_are_read_afterwards() {
    let server = Server::start(&[]);
    let proxy = Proxy::to(server.address());
    let config = single(proxy.address());
    let mut here = Node::connected(&config);
    let mut direct = Node::connected(&Config {
        addresses: vec![server.address()],
        ..config
    });
    let pinned = here.subscribe(A);
    let mut ids = Vec::new();
    for round in 0..5_u64 {
        for id in 0..40 {
            ids.push(round * 40 + id);
            direct.publish(A, &[round * 40 + id]);
            if id == 20 {
                proxy.cut();
            }
        }
        here.await_delivered(&ids);
    }
    here.assert_continuous(pinned);
}

#[test]
fn what_is_too_much_for_a_caller_is_read_or_counted_afterwards() {
    let server = Server::start(&[]);
    let config = single(server.address());
    let mut here = Node::connected(&config);
    let mut other = Node::connected(&config);
    let pinned = here.subscribe(A);
    let frame = vec![7; 40_000];
    // More than both bounds of bytes hold together, while nobody takes anything.
    let calls = 3 * PUSH_BYTES_MAX / (16 * frame.len());
    for call in 0..calls as u128 {
        let record = |at: u128| Publish {
            channel: A,
            class: Priority::P1,
            record: RecordId(call * 16 + at),
            accepted_at_us: 1,
            floor: Floor::NONE,
            frame: &frame,
        };
        let records: Vec<_> = (0..16).map(record).collect();
        let answer = other.call(BackplaneRequest::Publish(&records));
        assert!(matches!(answer, Ok(BackplaneAnswer::Published(_))));
    }
    let end = pinned.offset + 16 * calls as u64;
    here.until("it stays behind", |node| node.end(pinned).offset == end);
    let skipped = here.events.iter().map(|event| match event {
        BackplaneEvent::Skipped {
            skipped, reason, ..
        } => {
            assert_eq!(*reason, SkipReason::Retention);
            *skipped
        }
        _ => 0,
    });
    let skipped: u64 = skipped.sum();
    let messages = here.events.iter();
    let messages = messages.filter(|event| matches!(event, BackplaneEvent::Message { .. }));
    assert_eq!(messages.count() as u64 + skipped, end - pinned.offset);
    here.assert_continuous(pinned);
}

#[test]
fn the_last_event_before_a_silence_is_found() {
    let server = Server::start(&[]);
    let config = single(server.address());
    let mut here = Node::connected(&config);
    here.subscribe(A);
    here.publish(A, &[1]);
    here.await_delivered(&[1]);
    // An event that everybody misses.
    let other = placed_unheard(&server, &config, A, 2);
    assert_eq!(other[0].placement.position.offset, 2);
    here.await_delivered(&[1, 2]);
}

/// Publishes what is sent to a name that nobody hears.
fn placed_unheard(server: &Server, config: &Config, channel: &str, id: u64) -> Vec<Published> {
    let functions = Functions::new(&config.prefix, false);
    let partition = partition_of(channel, config.partitions);
    let heard = functions.message_channel(partition, "");
    let mut words = words(config, channel, id, lineage_of(server), (0, 0));
    for word in words.iter_mut().filter(|word| **word == heard.as_bytes()) {
        *word = b"unheard:".to_vec();
    }
    published(&server.ask(&words), 1).expect("a place").1
}

#[test]
fn too_few_replicas_are_being_away_until_there_are_enough() {
    let server = Server::start(&["--min-replicas-to-write", "1"]);
    let mut here = Node::new(&single(server.address()));
    here.await_standing(Standing::Away);
    assert_eq!(here.try_publish(A, &[1]), Err(BackplaneError::Away));
    server.ask(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    here.await_standing(Standing::Connected);
    let placed = here.publish(A, &[1]);
    assert!(!placed[0].repeated, "nothing was placed while it was away");
}

#[test]
fn nothing_is_placed_through_a_server_that_is_no_master() {
    let (master, server) = (Server::start(&[]), Server::start(&[]));
    let mut here = Node::connected(&single(server.address()));
    let before = here.publish(A, &[1]);
    server.ask(&[
        "REPLICAOF",
        "127.0.0.1",
        master.address().split_once(':').expect("a port").1,
    ]);
    here.until("a replica is used", |node| {
        node.standing != Some(Standing::Connected)
    });
    assert_eq!(here.try_publish(A, &[2]), Err(BackplaneError::Away));
    server.ask(&["REPLICAOF", "NO", "ONE"]);
    here.await_standing(Standing::Connected);
    assert_eq!(lineage_changes(&here), 1);
    let after = here.publish(A, &[2]);
    let epoch = |one: &Published| one.placement.position.epoch;
    assert!(epoch(&after[0]) > epoch(&before[0]));
}

#[test]
fn nothing_is_placed_by_a_caller_that_has_not_heard_of_the_change_of_lineage() {
    let (master, server) = (Server::start(&[]), Server::start(&[]));
    let mut here = Node::connected(&single(server.address()));
    here.publish(A, &[1]);
    let master = master.address();
    let port = master.split_once(':').expect("a port").1;
    server.ask(&["REPLICAOF", "127.0.0.1", port]);
    here.until("a replica is used", |node| {
        node.standing != Some(Standing::Connected)
    });
    server.ask(&["REPLICAOF", "NO", "ONE"]);
    let frame = super::frame(A, 2);
    let records = [Publish {
        channel: A,
        class: Priority::P1,
        record: RecordId(2),
        accepted_at_us: 1,
        floor: Floor::NONE,
        frame: &frame,
    }];
    // Calls are on their way at all times, also when the server is there again.
    let start = Instant::now();
    let mut unanswered = 0;
    while lineage_changes(&here) == 0 {
        let request = BackplaneRequest::Publish(&records);
        if unanswered < 64 && here.backplane.submit(request, now_us()).is_ok() {
            unanswered += 1;
        }
        if let Some(answer) = here.step() {
            assert_eq!(answer, Err(BackplaneError::Away));
            unanswered -= 1;
        }
        assert!(start.elapsed() < PATIENCE, "no change of lineage");
    }
    while unanswered > 0 {
        if let Some(answer) = here.step() {
            assert_eq!(answer, Err(BackplaneError::Away), "{}", here.story());
            unanswered -= 1;
        }
        assert!(start.elapsed() < PATIENCE, "no answer");
    }
    let placed = here.publish(A, &[2]);
    assert!(!placed[0].repeated, "it was placed too early");
}

#[test]
fn an_emptied_server_goes_on_after_what_nodes_know() {
    let server = Server::start(&[]);
    let config = single(server.address());
    let (mut here, mut there) = (Node::connected(&config), Node::connected(&config));
    let pinned = (here.subscribe(A), there.subscribe(A));
    let before = here.publish(A, &[1, 2, 3]);
    here.await_delivered(&[1, 2, 3]);
    there.await_delivered(&[1, 2, 3]);
    server.ask(&["FLUSHALL"]);
    let after = there.publish(A, &[4]);
    assert_eq!(
        after[0].placement.position,
        Position {
            epoch: after[0].placement.position.epoch,
            ..before[2].placement.position.after(RecordId(4))
        }
    );
    here.await_delivered(&[1, 2, 3, 4]);
    there.await_delivered(&[1, 2, 3, 4]);
    here.assert_continuous(pinned.0);
    there.assert_continuous(pinned.1);
    let request = BackplaneRequest::History {
        channel: A,
        after: before[0].placement.position,
        limit: 10,
    };
    let Ok(BackplaneAnswer::History(page)) = here.call(request) else {
        panic!("not an answer about history");
    };
    assert_eq!((page.events.len(), page.gap), (0, Some(Gap::Retention)));
}

#[test]
fn what_an_emptied_server_has_lost_is_submitted_again() {
    const OTHER: &str = "class.botany";
    let server = Server::start(&[]);
    let config = single(server.address());
    assert_ne!(partition_of(A, 16), partition_of(OTHER, 16));
    let (mut here, mut there) = (Node::connected(&config), Node::connected(&config));
    let pinned = (here.subscribe(A), there.subscribe(A));
    let before = here.publish(A, &[1, 2, 3]);
    here.publish(OTHER, &[10]);
    here.await_delivered(&[1, 2, 3]);
    there.await_delivered(&[1, 2, 3]);
    server.ask(&["FLUSHALL"]);
    // It has the same process and history as before. Nothing new is placed before what is lost.
    let refused = here.try_publish(A, &[4]);
    assert_eq!(refused, Err(BackplaneError::Away));
    here.until("no change of lineage", |node| lineage_changes(node) == 1);
    let told = here.events.iter().find_map(|event| match event {
        BackplaneEvent::LineageChanged { partitions } => Some(partitions.len()),
        _ => None,
    });
    assert_eq!(told, Some(2), "all partitions at once");
    let again = here.publish(A, &[1, 2, 3, 4]);
    let epoch = |one: &Published| one.placement.position.epoch;
    assert!(epoch(&again[0]) > epoch(&before[2]) && !again[0].repeated);
    assert_eq!(again[0].placement.position.offset, 4);
    assert_eq!(
        again[0].placement.previous_chain,
        before[2].placement.position.chain
    );
    here.await_delivered(&[1, 2, 3, 4]);
    there.await_delivered(&[1, 2, 3, 4]);
    for (node, pinned) in [(&here, pinned.0), (&there, pinned.1)] {
        let end = node.assert_continuous(pinned);
        assert_eq!(end, again[3].placement.position);
    }
    assert_eq!(lineage_changes(&there), 0, "it has placed nothing");
    there.publish(A, &[5]);
    here.publish(A, &[6]);
    here.await_delivered(&[1, 2, 3, 4, 5, 6]);
    assert_eq!(lineage_changes(&here), 1, "once");
}

#[test]
fn a_silent_node_hears_that_its_server_was_emptied() {
    let server = Server::start(&[]);
    let mut here = Node::connected(&single(server.address()));
    here.publish(A, &[1]);
    server.ask(&["FLUSHALL"]);
    here.until("no change of lineage", |node| lineage_changes(node) == 1);
    assert!(!here.publish(A, &[1])[0].repeated);
}

#[test]
fn a_history_that_begins_again_below_what_was_delivered_is_delivered() {
    let server = Server::start(&[]);
    let config = single(server.address());
    let (mut here, mut there) = (Node::connected(&config), Node::connected(&config));
    let pinned = here.subscribe(A);
    let mut ids: Vec<u64> = (1..=400).collect();
    for call in ids.chunks(100) {
        there.publish(A, call);
    }
    here.await_delivered(&ids);
    server.ask(&["FLUSHALL"]);
    // This node does not hear the channel, and does not know how far it was.
    let mut other = Node::connected(&config);
    let placed = other.publish(A, &[401, 402, 403]);
    assert_eq!(placed[0].placement.position.offset, 1);
    ids.extend([401, 402, 403]);
    here.await_delivered(&ids);
    let end = here.assert_continuous(pinned);
    assert_eq!(end, placed[2].placement.position);
}

#[test]
fn a_failover_of_sentinel_is_followed() {
    let (master, replica) = (Server::start(&[]), Server::start(&[]));
    replica.follow(&master);
    let sentinel = Server::start_sentinel(&master);
    let config = Config {
        mode: Mode::Sentinel,
        addresses: vec![sentinel.address()],
        master: "interlink".into(),
        ..single(String::new())
    };
    let mut here = Node::connected(&config);
    let pinned = here.subscribe(A);
    here.publish(A, &[1, 2]);
    here.await_delivered(&[1, 2]);
    master.replicate();
    drop(master);
    here.until("no change of lineage", |node| lineage_changes(node) == 1);
    here.await_standing(Standing::Connected);
    let published = here.publish(A, &[2, 3]);
    assert!(published[0].repeated && !published[1].repeated);
    here.await_delivered(&[1, 2, 3]);
    here.assert_continuous(pinned);
}
