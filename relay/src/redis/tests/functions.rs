//! The functions inside Redis, called as the backplane calls them, where it never would.

use interlink_protocol::ids::RecordId;
use interlink_protocol::priority::Priority;
use redis::{Arg, Value};

use super::servers::{single, Server};
use super::{frame, Config, Node};
use crate::backplane::{partition_of, Floor, Publish, Published};
use crate::redis::fault::Fault;
use crate::redis::functions::{published, Batch, Functions};
use crate::redis::lineage::Lineage;

const A: &str = "class.algebra";

/// The lineage of a server.
pub fn lineage_of(server: &Server) -> Lineage {
    let replies = [&["ROLE"][..], &["INFO", "server"], &["INFO", "replication"]];
    Lineage::read(&replies.map(|words| server.ask(words))).expect("a master")
}

/// The words of a call that publishes a record.
pub fn words(
    config: &Config,
    channel: &str,
    id: u64,
    lineage: Lineage,
    (known, epoch): (u64, u64),
) -> Vec<Vec<u8>> {
    let functions = Functions::new(&config.prefix, false);
    let frame = frame(channel, id);
    let record = Publish {
        channel,
        class: Priority::P1,
        record: RecordId(u128::from(id)),
        accepted_at_us: 1,
        floor: Floor::NONE,
        frame: &frame,
    };
    let partition = partition_of(channel, config.partitions);
    let command = functions.publish(&Batch::new(partition, &[record]), lineage, known, epoch);
    let words = command.args_iter().map(|word| match word {
        Arg::Simple(word) => word.to_vec(),
        _ => panic!("not a word"),
    });
    words.collect()
}

fn call(
    server: &Server,
    config: &Config,
    id: u64,
    life: &str,
    epoch: u64,
) -> Result<Published, Fault> {
    call_in(server, config, id, life, (0, epoch))
}

/// As [`call`], by a caller that knows an epoch.
fn call_in(
    server: &Server,
    config: &Config,
    id: u64,
    life: &str,
    epochs: (u64, u64),
) -> Result<Published, Fault> {
    let replid = Value::BulkString(format!("master_replid:{life}{life}").into_bytes());
    let run = Value::BulkString(format!("run_id:{life}{life}").into_bytes());
    let role = Value::Array(vec![Value::BulkString(b"master".to_vec())]);
    let lineage = Lineage::read(&[role, run, replid]).expect("a lineage");
    let words = words(config, A, id, lineage, epochs);
    let reply = server.try_ask(&words).map_err(|error| Fault::of(&error))?;
    Ok(published(&reply, 1).expect("a place").1[0])
}

const FIRST: &str = "0123456789abcdef";
const SECOND: &str = "fedcba9876543210";

#[test]
fn a_lineage_that_is_past_places_nothing() {
    let server = Server::start(&[]);
    let config = single(server.address());
    Node::connected(&config);
    let first = call(&server, &config, 1, FIRST, 5).expect("a place");
    assert_eq!(first.placement.position.epoch, 5);
    let second = call(&server, &config, 2, SECOND, 6).expect("a place");
    assert_eq!(second.placement.position.epoch, 6);
    assert_eq!(second.placement.position.offset, 2);
    assert_eq!(call(&server, &config, 3, FIRST, 7), Err(Fault::Lost));
    let third = call(&server, &config, 3, SECOND, 7).expect("a place");
    assert_eq!(
        (third.placement.position.offset, third.repeated),
        (3, false)
    );
    assert_eq!(third.placement.position.epoch, 6, "the epoch stays");
}

#[test]
fn epochs_of_a_partition_only_grow() {
    let server = Server::start(&[]);
    let config = single(server.address());
    Node::connected(&config);
    let epoch = u64::MAX - 255;
    call(&server, &config, 1, FIRST, epoch).expect("a place");
    for late in [epoch, epoch - 1, 1 << 56, 0] {
        let refused = call(&server, &config, 2, SECOND, late);
        assert_eq!(refused, Err(Fault::EpochBehind(epoch)), "all 64 bits");
    }
    let next = call(&server, &config, 2, SECOND, epoch + 1).expect("a place");
    assert_eq!(next.placement.position.epoch, epoch + 1);
}

#[test]
fn nothing_is_placed_by_a_caller_that_knows_another_epoch() {
    let server = Server::start(&[]);
    let config = single(server.address());
    Node::connected(&config);
    call(&server, &config, 1, FIRST, 5).expect("a place");
    call_in(&server, &config, 2, FIRST, (5, 9)).expect("the epoch is known");
    let other = call_in(&server, &config, 3, FIRST, (4, 9));
    assert_eq!(other, Err(Fault::EpochChanged));
    server.ask(&["FLUSHALL"]);
    let emptied = call_in(&server, &config, 3, FIRST, (5, 9));
    assert_eq!(emptied, Err(Fault::EpochChanged));
    let again = call(&server, &config, 1, FIRST, 9).expect("a place");
    assert_eq!((again.placement.position.epoch, again.repeated), (9, false));
    let late = call_in(&server, &config, 3, SECOND, (5, 10));
    assert_eq!(late, Err(Fault::EpochChanged), "another node was first");
    let past = call_in(&server, &config, 3, SECOND, (0, 10)).expect("a place");
    assert_eq!(past.placement.position.epoch, 10);
    let stale = call_in(&server, &config, 4, FIRST, (5, 11));
    assert_eq!(stale, Err(Fault::Lost), "the lineage is asked first");
}

#[test]
fn record_ids_are_remembered_for_one_to_two_turns() {
    let server = Server::start(&[]);
    let config = single(server.address());
    Node::connected(&config);
    let partition = partition_of(A, config.partitions);
    let meta = format!("{}:{{p{partition}}}:meta", config.prefix);
    let pass_a_turn = || {
        let turned = server.ask(&["HGET", &meta, "ids"]);
        let Value::BulkString(turned) = turned else {
            panic!("no time: {turned:?}")
        };
        let turned = String::from_utf8(turned).expect("a number");
        let turned = turned.parse::<u64>().expect("a number") - 301_000;
        server.ask(&["HSET", &meta, "ids", &turned.to_string()]);
    };
    let first = call(&server, &config, 1, FIRST, 5).expect("a place");
    pass_a_turn();
    let again = call(&server, &config, 1, FIRST, 5).expect("a place");
    assert_eq!((again.placement, again.repeated), (first.placement, true));
    pass_a_turn();
    let forgotten = call(&server, &config, 1, FIRST, 5).expect("a place");
    assert!(!forgotten.repeated);
}

#[test]
fn streams_are_bounded_and_end_with_time() {
    let server = Server::start(&[]);
    let config = single(server.address());
    let mut node = Node::connected(&config);
    for batch in 0..20_u64 {
        let ids: Vec<u64> = (batch * 100..batch * 100 + 100).collect();
        node.publish(A, &ids);
    }
    let partition = partition_of(A, config.partitions);
    let stream = format!("{}:{{p{partition}}}:s:{A}", config.prefix);
    let Value::Int(length) = server.ask(&["XLEN", &stream]) else {
        panic!("no length")
    };
    assert!((1024..1224).contains(&length), "{length} entries");
    let Value::Int(life) = server.ask(&["PTTL", &stream]) else {
        panic!("no life")
    };
    assert!((1..=3_600_000).contains(&life), "{life} ms");
}

/// How often a server has run a command.
fn runs(server: &Server, command: &str) -> u64 {
    let Value::BulkString(stats) = server.ask(&["INFO", "commandstats"]) else {
        panic!("no statistics")
    };
    let stats = String::from_utf8(stats).expect("a text");
    let line = format!("cmdstat_{command}:calls=");
    let calls = stats.lines().find_map(|it| it.strip_prefix(&*line));
    let calls = calls.and_then(|it| it.split(',').next());
    calls.map_or(0, |calls| calls.parse().expect("a number"))
}

#[test]
fn replicas_are_sent_what_a_call_keeps_and_neither_messages_nor_the_same_lives_again() {
    let (master, replica) = (Server::start(&[]), Server::start(&[]));
    replica.follow(&master);
    let config = single(master.address());
    let mut node = Node::connected(&config);
    node.publish(A, &[1]);
    master.replicate();
    let lives = runs(&replica, "pexpireat");
    assert!(lives > 0, "what ends with time ends there too");
    (2..=20).for_each(|id| drop(node.publish(A, &[id])));
    master.replicate();
    assert_eq!(runs(&replica, "xadd"), 20);
    assert_eq!(runs(&replica, "pexpireat"), lives);
    assert_eq!(runs(&replica, "publish"), 0);
    assert!(runs(&master, "publish") >= 20);
}
