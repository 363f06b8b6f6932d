//! A cluster with its archive: what Redis does not keep any more, and ids that are old.

use std::net::SocketAddr;

use interlink_client::{Code, Delivery, Error, ErrorCode, GapReason, Position};
use interlink_protocol::ids::placement_hash;
use interlink_wire::PublishStatus;

use super::aged::{attempt, OLD_MS, PARTITIONS};
use super::stored::{archived, pair, read_all, say_all, sections_at, store, until, LONG};
use super::support::chat::{next, next_event, say, text_of};
use super::support::proxy::Proxy;
use super::support::raw::Raw;
use super::support::{client_at, http_request, Node, Setup};
use super::{client, recovered, stand, unique};

/// More events than Redis keeps of a channel: 1,024 and some.
const SAID: u64 = 1_400;

fn is_lagging(error: &Error) -> bool {
    error.code() == Some(Code::from(ErrorCode::HistoryLagging)) && error.is_temporary()
}

#[tokio::test]
async fn history_older_than_redis_keeps_comes_from_the_archive_in_order() {
    let (first, second) = pair(LONG);
    let (ada, bob) = (unique("ada"), unique("bob"));
    let channel = format!("chat.{ada}~{bob}");
    let here = client(&first, &first, &ada).await;
    say_all(&here, &channel, 1..=SAID).await;
    archived(&store(), &channel, SAID).await;

    let there = client(&second, &first, &bob).await;
    let events = read_all(&there, &channel).await;
    for (number, (position, text)) in (1..).zip(&events) {
        assert_eq!((position.offset, &**text), (number, &*number.to_string()));
    }
    assert_eq!(events.len() as u64, SAID);
    let asked = second.metric("interlink_edge_archive_answers_total");
    assert!(asked.is_some_and(|asked| asked >= 1.0), "{asked:?}");

    // A subscription that goes on so far back misses nothing.
    let from = events[9].0;
    let mut heard = there.subscribe(&channel).recover_from(from).await;
    let heard = heard.as_mut().expect("subscribed");
    recovered(heard, (SAID - 10) as u32).await;
    for number in 11..=SAID {
        let event = next_event(heard).await;
        assert_eq!(event.position.offset, number);
        assert_eq!(text_of(&event.payload), number.to_string());
    }
    say(&here, &channel, "live").await.expect("accepted");
    assert_eq!(text_of(&next_event(heard).await.payload), "live");

    // A position that was never issued is not taken for one of the archive.
    let forged = Position {
        chain: !from.chain,
        ..from
    };
    let late = client(&second, &first, &ada).await;
    let mut refused = late.subscribe(&channel).recover_from(forged).await;
    match next(refused.as_mut().expect("subscribed")).await {
        Delivery::Recovered(recovery) => {
            assert!(!recovery.recovered);
            assert_ne!(recovery.reason, GapReason::Lagging, "that is for good");
        }
        other => panic!("not a recovery: {other:?}"),
    }
}

/// The way of a node to the database.
struct Way {
    database: SocketAddr,
    address: SocketAddr,
    proxy: Option<Proxy>,
}

impl Way {
    fn cut(&mut self) {
        self.proxy = None;
    }

    fn mend(&mut self) {
        self.proxy = Some(Proxy::at(self.address, self.database));
    }
}

/// A node, and its way to the database.
fn behind_a_way(name: &str) -> (Node, Way) {
    let database: SocketAddr = stand::postgres()[0].parse().expect("an address");
    let proxy = Proxy::at(SocketAddr::from(([127, 0, 0, 1], 0)), database);
    let address = proxy.address();
    let sections = sections_at(&address.to_string());
    let config = format!("[node]\nname = \"{}\"\n{sections}{LONG}", unique(name));
    let node = Setup::shards(1).config(&config).start();
    let way = Way {
        database,
        address,
        proxy: Some(proxy),
    };
    (node, way)
}

#[tokio::test]
async fn an_archive_that_is_away_is_a_matter_of_time_and_stops_nothing_live() {
    let (node, mut way) = behind_a_way("cut-off");
    let (ada, bob) = (unique("ada"), unique("bob"));
    let channel = format!("chat.{ada}~{bob}");
    let here = client(&node, &node, &ada).await;
    let there = client(&node, &node, &bob).await;
    say_all(&here, &channel, 1..=SAID).await;
    archived(&store(), &channel, SAID).await;
    let events = read_all(&there, &channel).await;
    let from = events[9].0;

    way.cut();
    until("the loss of the archive", async || {
        let error = there.history(&channel).after(from).limit(10).await.err()?;
        assert!(is_lagging(&error), "{error}");
        let state = node.metric("interlink_edge_breaker_state{system=\"postgres\"}");
        (state == Some(4.0)).then_some(())
    })
    .await;
    let mut heard = there.subscribe(&channel).recover_from(from).await;
    let heard = heard.as_mut().expect("subscribed");
    match next(heard).await {
        Delivery::Recovered(recovery) => {
            assert!(!recovery.recovered);
            assert_eq!(recovery.reason, GapReason::Lagging);
            assert!(recovery.retry_after.is_some(), "{recovery:?}");
        }
        other => panic!("not a recovery: {other:?}"),
    }
    for number in 0..20 {
        let text = format!("live {number}");
        say(&here, &channel, &text).await.expect("accepted");
        assert_eq!(text_of(&next_event(heard).await.payload), text);
    }
    let mut old = Raw::welcomed(node.clients(), &node.token(&ada), 7);
    let refused = attempt(&mut old, &channel, (1, OLD_MS), "old");
    assert_eq!(refused.status, PublishStatus::Refused);
    assert_eq!(refused.code, ErrorCode::Unavailable.number());

    // Services are told the same.
    let service = node.token_of("reports", |grant| grant.roles.push("service".into()));
    let (path, bearer) = (
        format!("/v1/history?channel={channel}"),
        format!("Authorization: Bearer {service}\r\n"),
    );
    let answered = http_request(node.api(), "GET", &path, &bearer).expect("an answer");
    assert_eq!(answered.0, 503, "{}", answered.1);
    assert!(answered.1.contains("history_lagging"), "{}", answered.1);

    way.mend();
    until("the archive", async || {
        let page = there.history(&channel).after(from).limit(10).await.ok()?;
        assert_eq!(page.events[0].position.offset, 11);
        Some(())
    })
    .await;
}

#[tokio::test]
async fn a_subscription_that_is_behind_waits_for_the_archive_and_misses_nothing() {
    let database: SocketAddr = stand::postgres()[0].parse().expect("an address");
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let archive = Proxy::at(anywhere, database);
    let archive_at = archive.address();
    let sections = sections_at(&archive_at.to_string());
    let name = unique("waiting");
    let node = Setup::shards(1)
        .config(&format!("[node]\nname = \"{name}\"\n{sections}{LONG}"))
        .start();
    let (ada, bob) = (unique("ada"), unique("bob"));
    let channel = format!("chat.{ada}~{bob}");
    let here = client(&node, &node, &ada).await;
    let network = Proxy::at(anywhere, node.clients());
    let network_at = network.address();
    let there = client_at(network_at, node.token(&bob)).connect().await;
    let there = there.expect("the node takes the client");
    let mut heard = there.subscribe(&channel).await.expect("subscribed");
    say_all(&here, &channel, 1..=1).await;
    assert_eq!(next_event(&mut heard).await.position.offset, 1);

    // The client loses its network, and comes back to its session when the archive is away.
    drop(network);
    say_all(&here, &channel, 2..=SAID).await;
    archived(&store(), &channel, SAID).await;
    drop(archive);
    let _network = Proxy::at(network_at, node.clients());
    let unanswered = || node.metric("interlink_edge_archive_unanswered_total");
    until("two attempts to read on", async || {
        (unanswered()? >= 2.0).then_some(())
    })
    .await;
    recovered(&mut heard, (SAID - 1) as u32).await;
    say_all(&here, &channel, SAID + 1..=SAID + 1).await;

    let _archive = Proxy::at(archive_at, database);
    for number in 2..=SAID + 1 {
        let event = next_event(&mut heard).await;
        assert_eq!(event.position.offset, number);
        assert_eq!(text_of(&event.payload), number.to_string());
    }
}

#[tokio::test]
async fn a_device_continues_on_another_node_where_it_acknowledged() {
    let (first, second) = pair(LONG);
    let ada = unique("ada");
    let inbox = format!("user.{ada}");
    let robot = first.token_of("robot", |grant| grant.roles.push("service".into()));
    let robot = first.client_with(robot).connect().await.expect("a service");
    let device = async |node: &Node, name: &str| {
        let client = node.client_with(first.token(&ada)).device(name);
        client.connect().await.expect("the node takes the client")
    };
    let phone = device(&first, "phone").await;
    let mut live = phone.subscribe(&inbox).manual_ack().await.expect("own");
    // A name that the database does not take holds nobody up.
    let hostile = device(&first, "a\0b").await;
    let mut odd = hostile.subscribe(&inbox).await.expect("own");
    for number in 1..=5 {
        let text = number.to_string();
        robot
            .publish(&inbox, text.into_bytes())
            .await
            .expect("sent");
    }
    for number in 1..=5u64 {
        let event = next_event(&mut live).await;
        assert_eq!(event.position.offset, number);
        if number == 3 {
            live.ack(&event);
        }
        next_event(&mut odd).await;
    }
    let metric = "interlink_edge_cursors_archived_total";
    until("the cursor's archive", async || {
        (first.metric(metric)? >= 1.0).then_some(())
    })
    .await;

    // The other node has never seen the user; a new device starts at the furthest of all.
    for name in ["phone", "tablet"] {
        let there = device(&second, name).await;
        let mut again = there.subscribe(&inbox).manual_ack().await.expect("own");
        recovered(&mut again, 2).await;
        for number in 4..=5u64 {
            assert_eq!(
                next_event(&mut again).await.position.offset,
                number,
                "{name}"
            );
        }
        there.close().await;
    }
}

/// Redis forgets the events of a channel, as it does an hour after the last.
fn forget_events(channel: &str) {
    let partition = placement_hash(channel.as_bytes()) % PARTITIONS;
    let answer = stand::tell_redis(&format!("DEL interlink:{{p{partition}}}:s:{channel}"));
    assert!(answer.starts_with(":1"), "{answer}");
}

#[tokio::test]
async fn an_acknowledgement_skips_nothing_that_the_archive_could_not_give() {
    let (node, mut way) = behind_a_way("unproven");
    let ada = unique("ada");
    let inbox = format!("user.{ada}");
    let robot = node.token_of("robot", |grant| grant.roles.push("service".into()));
    let robot = node.client_with(robot).connect().await.expect("a service");
    let write = async |number: u64| {
        let text = number.to_string().into_bytes();
        robot.publish(&inbox, text).await.expect("sent");
    };
    for number in 1..=5 {
        write(number).await;
    }
    archived(&store(), &inbox, 5).await;
    forget_events(&inbox);
    way.cut();
    let device = async || {
        let client = node.client_with(node.token(&ada)).device("phone");
        client.connect().await.expect("the node takes the client")
    };
    let phone = device().await;
    let mut live = phone.subscribe(&inbox).await.expect("own");
    match next(&mut live).await {
        Delivery::Recovered(recovery) => assert_eq!(recovery.reason, GapReason::Lagging),
        other => panic!("not a recovery: {other:?}"),
    }
    write(6).await;
    let event = next_event(&mut live).await;
    assert_eq!(event.position.offset, 6);
    live.ack(&event);
    phone.close().await;

    way.mend();
    let state = "interlink_edge_breaker_state{system=\"postgres\"}";
    until("the archive", async || {
        (node.metric(state)? == 0.0).then_some(())
    })
    .await;
    let phone = device().await;
    let mut again = phone.subscribe(&inbox).await.expect("own");
    recovered(&mut again, 6).await;
    for number in 1..=6 {
        assert_eq!(next_event(&mut again).await.position.offset, number);
    }
}
