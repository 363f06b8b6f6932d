//! History while Redis cannot be asked: what the node keeps itself, marked as stale.

use std::net::SocketAddr;

use interlink_client::{
    AckLevel, Client, Code, Error, ErrorCode, GapReason, HistoryPage, Position,
};
use interlink_protocol::ids::placement_hash;

use super::stored::{say_all, until};
use super::support::chat::{next_event, say, text_of};
use super::support::proxy::Proxy;
use super::support::{client_at, http_request, placed_name, Node, Setup};
use super::{client, recovered, stand, unique};

/// Events that the node has brought to a subscriber before Redis goes.
const SAID: u64 = 20;

fn is_unavailable(error: &Error) -> bool {
    error.code() == Some(Code::from(ErrorCode::Unavailable)) && error.is_temporary()
}

fn offsets(page: &HistoryPage) -> Vec<u64> {
    let events = page.events.iter();
    events.map(|event| event.position.offset).collect()
}

fn breaker(node: &Node, system: &str) -> Option<f64> {
    node.metric(&format!(
        "interlink_edge_breaker_state{{system=\"{system}\"}}"
    ))
}

/// A node with this Redis.
fn node_on(name: &str, sections: &str) -> Node {
    let name = unique(name);
    Setup::shards(SHARDS)
        .config(&format!("[node]\nname = \"{name}\"\n{sections}"))
        .start()
}

fn redis() -> SocketAddr {
    stand::redis().parse().expect("an address")
}

/// A way to Redis that can be cut, by dropping it.
fn way_to_redis() -> Proxy {
    Proxy::at(SocketAddr::from(([127, 0, 0, 1], 0)), redis())
}

async fn lost(node: &Node) {
    until("the loss of Redis", async || {
        (breaker(node, "redis")? == 4.0).then_some(())
    })
    .await;
}

/// Shards of a node.
const SHARDS: u16 = 3;

/// Two users of the first two shards, and their channel, whose owner is the third.
fn users() -> (String, String, String) {
    let shards = u64::from(SHARDS);
    let ada = placed_name(&unique("ada"), 0, shards, 0);
    let prefix = unique("bob");
    let found = (0..).find_map(|which| {
        let bob = placed_name(&prefix, 1, shards, which);
        let channel = format!("chat.{ada}~{bob}");
        let owner = placement_hash(channel.as_bytes()) % shards;
        (owner == 2).then_some((bob, channel))
    });
    let (bob, channel) = found.expect("a hash reaches every shard");
    (ada, bob, channel)
}

/// What a client is told while Redis is cut off, of a channel of which the node has pushed
/// everything.
async fn read_from_memory(client: &Client, channel: &str) {
    let page = client.history(channel).limit(15).await.expect("a page");
    assert!(page.stale && page.recovered, "{:?}", page.reason);
    assert_eq!(offsets(&page), (1..=15).collect::<Vec<_>>());
    assert!(page.more, "five are left");
    let tenth = page.events[9].position;
    let page = client.history(channel).after(tenth).await.expect("a page");
    assert!(page.stale && page.recovered && !page.more, "{page:?}");
    assert_eq!(offsets(&page), (11..=SAID).collect::<Vec<_>>());
    let last = page.events[9].position;
    let page = client.history(channel).after(last).await.expect("a page");
    assert!(page.stale && page.recovered, "{page:?}");
    assert!(offsets(&page).is_empty());
    // A position that the node cannot prove: what it has is given, and not taken for all.
    let forged = Position {
        chain: !tenth.chain,
        ..tenth
    };
    let page = client.history(channel).after(forged).await.expect("a page");
    assert!(page.stale && !page.recovered, "{page:?}");
    assert_eq!(page.reason, GapReason::Lagging);
    assert_eq!(offsets(&page), (11..=SAID).collect::<Vec<_>>());
}

fn read_as_service(node: &Node, channel: &str) -> (u16, String) {
    let service = node.token_of("reports", |grant| grant.roles.push("service".into()));
    let (path, bearer) = (
        format!("/v1/history?channel={channel}"),
        format!("Authorization: Bearer {service}\r\n"),
    );
    http_request(node.api(), "GET", &path, &bearer).expect("an answer")
}

#[tokio::test]
async fn history_comes_from_memory_and_is_stale_while_redis_is_cut_off() {
    let way = way_to_redis();
    let address = way.address();
    let node = node_on("cut-off", &stand::sections_on(&address.to_string()));
    let (ada, bob, channel) = users();
    let silent = format!("chat.{ada}~{}", unique("nobody"));
    let here = client(&node, &node, &ada).await;
    let there = client(&node, &node, &bob).await;
    let mut heard = there.subscribe(&channel).await.expect("subscribed");
    for number in 1..=SAID {
        say(&here, &channel, &number.to_string())
            .await
            .expect("accepted");
    }
    for number in 1..=SAID {
        assert_eq!(next_event(&mut heard).await.position.offset, number);
    }
    // The shard of the other hears the channel now, and has kept nothing of it; the owner does not
    // hear it.
    let _late = here.subscribe(&channel).await.expect("subscribed");
    for reader in [&here, &there] {
        let page = reader.history(&channel).await.expect("a page");
        assert!(!page.stale);
        assert_eq!(offsets(&page).len() as u64, SAID);
    }

    drop(way);
    lost(&node).await;
    for reader in [&here, &there] {
        read_from_memory(reader, &channel).await;
    }
    let refused = here.history(&silent).await.expect_err("nobody knows it");
    assert!(is_unavailable(&refused), "{refused}");
    let (status, body) = read_as_service(&node, &channel);
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("\"stale\":true"), "{body}");
    let (status, body) = read_as_service(&node, &silent);
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("\"unavailable\""), "{body}");
    let kept = node.metric("interlink_edge_histories_from_memory_total");
    assert_eq!(kept, Some(11.0));
    let level = say(&here, &channel, "meanwhile").await.expect("accepted");
    assert_eq!(level.level, AckLevel::Local);

    let _way = Proxy::at(address, redis());
    let page = until("Redis", async || {
        let page = here.history(&channel).await.ok()?;
        (!page.stale && page.events.len() as u64 > SAID).then_some(page)
    })
    .await;
    assert_eq!(text_of(&page.events[SAID as usize].payload), "meanwhile");
    let page = here.history(&silent).await.expect("it is known again");
    assert_eq!((page.events.len(), page.stale), (0, false));
    let (_, body) = read_as_service(&node, &channel);
    assert!(body.contains("\"stale\":false"), "{body}");
}

/// More events than the log of a channel keeps.
const MISSED: u64 = 400;

#[tokio::test]
async fn a_subscription_that_is_behind_waits_for_redis_and_misses_nothing() {
    let way = way_to_redis();
    let address = way.address();
    let node = node_on("behind", &stand::sections_on(&address.to_string()));
    let (ada, bob, channel) = users();
    let here = client(&node, &node, &ada).await;
    let mut heard_here = here.subscribe(&channel).await.expect("subscribed");
    let network = Proxy::at(SocketAddr::from(([127, 0, 0, 1], 0)), node.clients());
    let network_at = network.address();
    let there = client_at(network_at, node.token(&bob)).connect().await;
    let there = there.expect("the node takes the client");
    let mut heard = there.subscribe(&channel).await.expect("subscribed");
    say_all(&here, &channel, 1..=1).await;
    assert_eq!(next_event(&mut heard).await.position.offset, 1);

    // The client comes back to its session when its events are in Redis alone, which is away.
    drop(network);
    say_all(&here, &channel, 2..=MISSED).await;
    for number in 1..=MISSED {
        assert_eq!(next_event(&mut heard_here).await.position.offset, number);
    }
    drop(way);
    lost(&node).await;
    let _network = Proxy::at(network_at, node.clients());
    recovered(&mut heard, (MISSED - 1) as u32).await;

    let _way = Proxy::at(address, redis());
    for number in 2..=MISSED {
        let event = next_event(&mut heard).await;
        assert_eq!(event.position.offset, number);
        assert_eq!(text_of(&event.payload), number.to_string());
    }
    let kept = node.metric("interlink_edge_histories_from_memory_total");
    assert_eq!(kept, Some(0.0));
}

#[tokio::test]
async fn reads_that_fail_open_a_breaker_of_their_own_and_lines_go_on() {
    let user = unique("reader");
    let redis = |command: &str| assert_eq!(stand::tell_redis(command), "+OK\r\n", "{command}");
    redis(&format!("ACL SETUSER {user} on >secret ~* &* +@all"));
    let secrets = tempfile::tempdir().expect("a directory");
    let password = secrets.path().join("password");
    std::fs::write(&password, "secret").expect("written");
    let sections = stand::sections_of(&format!(
        "username = \"{user}\"\npassword_file = {password:?}\n"
    ));
    let node = node_on("reading", &sections);
    let (ada, bob, channel) = users();
    let here = client(&node, &node, &ada).await;
    let there = client(&node, &node, &bob).await;
    let mut heard = there.subscribe(&channel).await.expect("subscribed");
    say(&here, &channel, "before").await.expect("accepted");
    assert_eq!(text_of(&next_event(&mut heard).await.payload), "before");
    let page = here.history(&channel).await.expect("a page");
    assert_eq!((page.events.len(), page.stale), (1, false));

    // From now on Redis refuses what is read, and nothing else.
    redis(&format!("ACL SETUSER {user} -fcall_ro"));
    until("the breaker of reads", async || {
        let page = here.history(&channel).await.expect("a page");
        assert_eq!((page.events.len(), page.stale), (1, true));
        (breaker(&node, "redis_reads")? == 3.0).then_some(())
    })
    .await;
    assert_eq!(breaker(&node, "redis"), Some(0.0));
    say(&here, &channel, "live").await.expect("accepted");
    assert_eq!(text_of(&next_event(&mut heard).await.payload), "live");

    // It stays open for its time, whatever Redis would answer.
    redis(&format!("ACL SETUSER {user} +fcall_ro"));
    let page = here.history(&channel).await.expect("a page");
    assert_eq!((page.events.len(), page.stale), (2, true));
    let refused = here
        .history(&format!("chat.{ada}~{}", unique("nobody")))
        .await;
    let refused = refused.expect_err("it is not asked of Redis");
    assert!(is_unavailable(&refused), "{refused}");
    assert_eq!(breaker(&node, "redis_reads"), Some(3.0));
    redis(&format!("ACL SETUSER {user} off"));
}
