//! A Redis that has lost everything: channels that no node watches go on where the archive knows
//! them to be. Each test has a Redis of its own.

use std::net::SocketAddr;

use interlink_client::{AckLevel, Client, Delivery, Position};
use interlink_edge::data_dir::development_key_of;
use interlink_protocol::ids::placement_hash;

use super::aged::PARTITIONS;
use super::stored::{archived, read_all, say_all, sections_with, store, until, LONG};
use super::support::chat::{next, next_event, say, text_of};
use super::support::proxy::Proxy;
use super::support::{Node, Setup};
use super::{client, stand, unique};

/// A cluster whose first node has said something that is archived, and is gone.
struct Cluster {
    redis: stand::OwnRedis,
    gone: Node,
    users: [String; 2],
    channel: String,
    top: Position,
}

impl Cluster {
    async fn start() -> Self {
        let redis = stand::OwnRedis::start();
        let sections = sections_with(&redis.address(), &stand::postgres()[0]);
        let name = unique("gone");
        let config = format!("[node]\nname = \"{name}\"\n{sections}{LONG}");
        let mut gone = Setup::shards(1).config(&config).start();
        let users = ["ada", "bob"].map(unique);
        let channel = format!("chat.{}~{}", users[0], users[1]);
        let ada = client(&gone, &gone, &users[0]).await;
        say_all(&ada, &channel, 1..=5).await;
        archived(&store(), &channel, 5).await;
        let top = store().top(&channel).await.expect("asked").expect("there");
        gone.kill();
        Self {
            redis,
            gone,
            users,
            channel,
            top,
        }
    }

    /// Another node, which has never seen the channel.
    fn node(&self, database: &str) -> Node {
        let key = development_key_of(&self.gone.data());
        let sections = sections_with(&self.redis.address(), database);
        let name = unique("new");
        let config =
            format!("[node]\nname = \"{name}\"\n[auth]\nkey_files = [{key:?}]\n{sections}{LONG}");
        Setup::shards(2).config(&config).start()
    }

    fn empty(&mut self) {
        self.redis.stop();
        self.redis.start_again();
    }

    /// The one event behind the newest that was archived before, once it has its position.
    async fn next(&self, bob: &Client) -> (Position, String) {
        let events = until("the event's position", async || {
            let page = bob.history(&self.channel).after(self.top).limit(10);
            let page = page.await.ok()?;
            // Only a page whose chain goes on from there counts.
            (page.recovered && !page.events.is_empty()).then_some(page.events)
        })
        .await;
        assert_eq!(events.len(), 1);
        (events[0].position, text_of(&events[0].payload))
    }

    fn check(&self, (position, text): (Position, String)) {
        assert_eq!((position.offset, &*text), (6, "6"));
        assert!(position.epoch > self.top.epoch, "{position:?}");
    }

    /// As [`Self::node`], with a way to the database that can be cut, and where it is.
    fn node_behind_a_way(&self) -> (Node, Proxy, SocketAddr) {
        let way = Proxy::at(SocketAddr::from(([127, 0, 0, 1], 0)), way_to());
        let way_at = way.address();
        (self.node(&way_at.to_string()), way, way_at)
    }

    /// A channel of another partition.
    fn elsewhere(&self, user: &str) -> String {
        loop {
            let name = format!("chat.{user}~{}", unique("eve"));
            if partition(&name) != partition(&self.channel) {
                return name;
            }
        }
    }

    /// Asks Redis about a key of the channel's partition.
    fn ask(&self, command: &str, key: &str) -> String {
        let partition = partition(&self.channel);
        let question = format!("{command} interlink:{{p{partition}}}:{key}");
        stand::tell(&self.redis.address(), &question)
    }
}

fn way_to() -> SocketAddr {
    stand::postgres()[0].parse().expect("an address")
}

fn partition(channel: &str) -> u64 {
    placement_hash(channel.as_bytes()) % PARTITIONS
}

#[tokio::test]
async fn a_channel_that_nobody_watched_goes_on_after_what_the_archive_knows() {
    let mut cluster = Cluster::start().await;
    cluster.empty();
    let node = cluster.node(&stand::postgres()[0]);
    let bob = client(&node, &cluster.gone, &cluster.users[1]).await;
    say(&bob, &cluster.channel, "6").await.expect("accepted");
    cluster.check(cluster.next(&bob).await);

    // So does its history, and the archive takes it for the same channel.
    archived(&store(), &cluster.channel, 6).await;
    let events = read_all(&bob, &cluster.channel).await;
    let texts = events
        .iter()
        .map(|(position, text)| (position.offset, &**text));
    let expected = ["1", "2", "3", "4", "5", "6"];
    assert!(texts.eq((1..).zip(expected)), "{events:?}");
}

#[tokio::test]
async fn while_the_archive_is_away_such_a_channel_waits_and_is_never_numbered_from_1() {
    let mut cluster = Cluster::start().await;
    let (node, way, way_at) = cluster.node_behind_a_way();
    let bob = client(&node, &cluster.gone, &cluster.users[1]).await;
    let known = cluster.elsewhere(&cluster.users[1]);
    let mut heard = bob.subscribe(&known).await.expect("subscribed");
    say(&bob, &known, "before").await.expect("accepted");
    assert_eq!(next_event(&mut heard).await.position.offset, 1);

    drop(way);
    cluster.empty();
    let unanswered = || node.metric("interlink_edge_archive_unanswered_total");
    let before = unanswered().unwrap_or(0.0);
    let receipt = say(&bob, &cluster.channel, "6").await.expect("accepted");
    assert_eq!(receipt.level, AckLevel::Local);
    until("two attempts", async || {
        (unanswered()? >= before + 2.0).then_some(())
    })
    .await;
    assert_eq!(cluster.ask("HLEN", "tops"), ":0\r\n");
    let waits = node.metric("interlink_edge_unplaced_records");
    assert!(waits.is_some_and(|waits| waits >= 1.0), "{waits:?}");
    // The node has heard every event of this one.
    say(&bob, &known, "meanwhile").await.expect("accepted");
    let event = loop {
        if let Delivery::Event(event) = next(&mut heard).await {
            break event;
        }
    };
    assert_eq!(text_of(&event.payload), "meanwhile");
    assert!(event.position.offset > 1, "{:?}", event.position);

    let _way = Proxy::at(way_at, way_to());
    cluster.check(cluster.next(&bob).await);
}

#[tokio::test]
async fn a_redis_that_was_told_everything_needs_the_archive_no_more() {
    let mut cluster = Cluster::start().await;
    cluster.empty();
    let (node, way, _) = cluster.node_behind_a_way();
    until("the end of what the archive knows", async || {
        let told = cluster.ask("HGET", "meta lacks") == "$1\r\n0\r\n";
        told.then_some(())
    })
    .await;
    drop(way);
    let bob = client(&node, &cluster.gone, &cluster.users[1]).await;
    let state = "interlink_edge_breaker_state{system=\"postgres\"}";
    until("the loss of the archive", async || {
        (node.metric(state)? == 4.0).then_some(())
    })
    .await;
    say(&bob, &cluster.channel, "6").await.expect("accepted");
    cluster.check(cluster.next(&bob).await);
    let new = cluster.elsewhere(&cluster.users[1]);
    let mut heard = bob.subscribe(&new).await.expect("subscribed");
    say(&bob, &new, "first").await.expect("accepted");
    assert_eq!(next_event(&mut heard).await.position.offset, 1);
}
