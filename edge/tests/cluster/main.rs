//! Nodes of a cluster on real Redis and Kafka: what a client sees whichever node it is on.

mod aged;
mod archive;
mod breaker;
mod emptied;
mod forms;
mod levels;
mod presence;
mod stale;
mod stand;
mod stored;
#[path = "../support/mod.rs"]
mod support;
mod unleased;

use interlink_client::{Client, Delivery, Position, Subscription};
use interlink_edge::data_dir::development_key_of;
use support::chat::{next, next_event, say, text_of};
use support::{Node, Setup, PATIENCE};

/// Two nodes of one cluster that accept the tokens of the first.
fn pair() -> (Node, Node) {
    pair_on(&stand::sections())
}

/// As [`pair`], with these sections of a configuration.
fn pair_on(sections: &str) -> (Node, Node) {
    let first = Setup::shards(1)
        .config(&format!(
            "[node]\nname = \"{}\"\n{sections}",
            unique("first")
        ))
        .start();
    let key = development_key_of(&first.data());
    let second = Setup::shards(2)
        .config(&format!(
            "[node]\nname = \"{}\"\n[auth]\nkey_files = [{key:?}]\n{sections}",
            unique("second")
        ))
        .start();
    (first, second)
}

/// A name that no other run uses: the stand outlives the tests.
fn unique(prefix: &str) -> String {
    format!("{prefix}-{:016x}", rand::random::<u64>())
}

async fn client(node: &Node, issuer: &Node, user: &str) -> Client {
    let client = node.client_with(issuer.token(user)).connect().await;
    client.expect("the node takes the client")
}

/// A subscription that goes on where it stood says first how many events it missed.
async fn recovered(heard: &mut Subscription, following: u32) {
    match next(heard).await {
        Delivery::Recovered(recovery) => {
            assert!(recovery.recovered, "{recovery:?}");
            assert_eq!(recovery.following, following);
        }
        other => panic!("not a recovery: {other:?}"),
    }
}

#[tokio::test]
async fn events_reach_subscribers_of_every_node_in_one_order() {
    let (first, second) = pair();
    let (ada, bob) = (unique("ada"), unique("bob"));
    let channel = format!("chat.{ada}~{bob}");
    let here = client(&first, &first, &ada).await;
    let there = client(&second, &first, &bob).await;
    let mut heard_here = here.subscribe(&channel).await.expect("subscribed");
    let mut heard_there = there.subscribe(&channel).await.expect("subscribed");
    for number in 0..50 {
        let (from, text) = match number % 2 {
            0 => (&here, format!("here {number}")),
            _ => (&there, format!("there {number}")),
        };
        say(from, &channel, &text).await.expect("accepted");
    }
    let mut last = None;
    for _ in 0..50 {
        let (one, other) = (
            next_event(&mut heard_here).await,
            next_event(&mut heard_there).await,
        );
        assert_eq!(
            (one.position, &one.payload),
            (other.position, &other.payload)
        );
        let offset = one.position.offset;
        assert!(
            last.is_none_or(|last| offset == last + 1),
            "{last:?} {offset}"
        );
        last = Some(offset);
    }
}

#[tokio::test]
async fn a_client_goes_on_at_another_node_where_it_stood() {
    let (first, second) = pair();
    let (ada, bob) = (unique("ada"), unique("bob"));
    let channel = format!("chat.{ada}~{bob}");
    let here = client(&first, &first, &ada).await;
    let there = client(&second, &first, &bob).await;
    let mut heard = there.subscribe(&channel).await.expect("subscribed");
    say(&here, &channel, "before").await.expect("accepted");
    let before = next_event(&mut heard).await;
    drop((heard, there));
    for number in 0..20 {
        say(&here, &channel, &format!("missed {number}"))
            .await
            .expect("accepted");
    }
    let again = client(&first, &first, &bob).await;
    let mut heard = again
        .subscribe(&channel)
        .recover_from(before.position)
        .await
        .expect("subscribed");
    recovered(&mut heard, 20).await;
    for number in 0..20 {
        let event = next_event(&mut heard).await;
        assert_eq!(text_of(&event.payload), format!("missed {number}"));
    }
}

#[tokio::test]
async fn ephemeral_events_reach_other_nodes() {
    let (first, second) = pair();
    let ada = unique("ada");
    let channel = format!("activity.{ada}");
    let here = client(&first, &first, &ada).await;
    let there = client(&second, &first, &ada).await;
    let mut heard = there.subscribe(&channel).await.expect("subscribed");
    // Nobody waits for the other node's subscription: what nobody stores may come too early.
    let said = async {
        loop {
            let typing = here.publish(&channel, b"typing".as_slice());
            typing.await.expect("accepted");
            let heard = tokio::time::timeout(PATIENCE / 100, heard.next()).await;
            if let Ok(Some(Delivery::Event(event))) = heard {
                break event;
            }
        }
    };
    let event = tokio::time::timeout(PATIENCE, said).await.expect("heard");
    assert_eq!(&*event.payload, b"typing");
}

#[tokio::test]
async fn a_killed_node_goes_on_with_what_it_had_accepted() {
    let (mut first, second) = pair();
    let (ada, bob) = (unique("ada"), unique("bob"));
    let channel = format!("chat.{ada}~{bob}");
    let here = client(&first, &first, &ada).await;
    let there = client(&second, &first, &bob).await;
    let mut heard = there.subscribe(&channel).await.expect("subscribed");
    for number in 0..30 {
        say(&here, &channel, &number.to_string())
            .await
            .expect("accepted");
    }
    first.kill();
    first.start();
    say(&here, &channel, "30").await.expect("accepted");
    for number in 0..31 {
        match next(&mut heard).await {
            Delivery::Event(event) => assert_eq!(text_of(&event.payload), number.to_string()),
            other => panic!("not an event: {other:?}"),
        }
    }
}

#[tokio::test]
async fn what_a_dead_node_had_accepted_is_fed_from_its_disk() {
    let sections = stand::sections();
    let name = unique("dead");
    // Nobody listens at port 9: the node accepts, and nothing leaves it.
    let cut_off = "[redis]\nmode = \"single\"\naddresses = [\"127.0.0.1:9\"]\n[kafka]\nbrokers = \
                   [\"127.0.0.1:9\"]\n";
    let mut dead = Setup::shards(1)
        .config(&format!("[node]\nname = \"{name}\"\n{cut_off}"))
        .start();
    let (ada, bob) = (unique("ada"), unique("bob"));
    let channel = format!("chat.{ada}~{bob}");
    let here = client(&dead, &dead, &ada).await;
    for number in 0..20 {
        say(&here, &channel, &number.to_string())
            .await
            .expect("accepted");
    }
    dead.kill();
    let config = dead.data().join("found.toml");
    std::fs::write(&config, format!("[node]\nname = \"{name}\"\n{sections}")).expect("a file");
    let feed = || {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_interlink-edge"))
            .args(["journal", "feed"])
            .arg(dead.data())
            .arg("--config")
            .arg(&config)
            .output()
            .expect("the program starts");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
        told
    };
    let told = feed();
    assert!(told.contains("placed 20; Kafka took 20; nothing"), "{told}");
    let again = feed();
    assert!(again.contains("placed 0; Kafka took 0; nothing"), "{again}");
    let alive = Setup::shards(1)
        .config(&format!(
            "[node]\nname = \"{}\"\n{sections}",
            unique("alive")
        ))
        .start();
    let there = client(&alive, &alive, &bob).await;
    let mut heard = there
        .subscribe(&channel)
        .recover_from(Position::ZERO)
        .await
        .expect("subscribed");
    recovered(&mut heard, 20).await;
    for number in 0..20 {
        let event = next_event(&mut heard).await;
        assert_eq!(text_of(&event.payload), number.to_string());
    }
}
