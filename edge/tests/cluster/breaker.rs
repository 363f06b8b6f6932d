//! The breaker of Redis seen live: it trips, is told, and lets what waited through in order.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use interlink_client::{Delivery, Subscription};
use interlink_wire::events::{NodeHealth, NodeStatus};

use super::support::chat::{say, text_of};
use super::support::{http_get, Setup, PATIENCE};
use super::{client, stand, unique};

/// Open for 30 s, half-open for 30 s, and 20 s until every partition is called again.
const RETURN: Duration = Duration::from_secs(120);

/// One command to the stand's Redis, which answers `+OK`.
fn redis(command: &str) {
    let mut stream = TcpStream::connect(stand::redis()).expect("Redis listens");
    let line = format!("{command}\r\n");
    stream.write_all(line.as_bytes()).expect("sent");
    let mut answer = [0; 64];
    let length = stream.read(&mut answer).expect("answered");
    assert_eq!(&answer[..length], b"+OK\r\n", "{command}");
}

/// Publishes while Redis refuses; fewer than a client keeps unsettled.
const SAID: u32 = 50;

/// The next state of the node that says something of Redis which `is_wanted`.
async fn told(states: &mut Subscription, is_wanted: impl Fn(NodeHealth, &str) -> bool) {
    let look = async {
        loop {
            let Some(Delivery::Event(event)) = states.next().await else {
                continue;
            };
            let status = flatbuffers::root::<NodeStatus>(&event.payload).expect("a status");
            let findings = status.findings().into_iter().flatten();
            let mut redis = findings.filter(|finding| finding.name() == "redis");
            if redis.any(|found| is_wanted(found.health(), found.detail().unwrap_or_default())) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("told");
}

#[tokio::test]
async fn a_breaker_trips_is_told_and_returns_without_loss() {
    let user = unique("breaker");
    redis(&format!("ACL SETUSER {user} on >secret ~* &* +@all"));
    let secrets = tempfile::tempdir().expect("a directory");
    let password = secrets.path().join("password");
    std::fs::write(&password, "secret").expect("written");
    let sections = stand::sections_of(&format!(
        "username = \"{user}\"\npassword_file = {password:?}\n"
    ));
    let name = format!("[node]\nname = \"{}\"\n{sections}", unique("tripping"));
    let node = Setup::shards(1).config(&name).start();
    let state = || {
        let (_, body) = http_get(node.control(), "/metrics").expect("answered");
        let line = "interlink_edge_breaker_state{system=\"redis\"} ";
        let found = body.lines().find_map(|it| it.strip_prefix(line));
        found.map(str::to_owned).expect("the metric")
    };
    let operator = node.token_of("olga", |grant| grant.roles.push("operator".into()));
    let olga = node.client_with(operator).connect().await.expect("olga");
    let mut states = olga.subscribe("sys.status").await.expect("subscribed");
    let (ada, bob) = (unique("ada"), unique("bob"));
    let channel = format!("chat.{ada}~{bob}");
    let here = client(&node, &node, &ada).await;
    let there = client(&node, &node, &bob).await;
    let mut heard = there.subscribe(&channel).await.expect("subscribed");

    redis(&format!("ACL SETUSER {user} -fcall"));
    for number in 0..SAID {
        let text = number.to_string();
        say(&here, &channel, &text).await.expect("acknowledged");
    }
    told(&mut states, |health, detail| {
        health == NodeHealth::Failing && detail == "open: too many errors"
    })
    .await;
    assert_eq!(state(), "3");

    redis(&format!("ACL SETUSER {user} +fcall"));
    let all = async {
        for number in 0..SAID {
            match heard.next().await {
                Some(Delivery::Event(event)) => {
                    assert_eq!(text_of(&event.payload), number.to_string());
                }
                other => panic!("not an event: {other:?}"),
            }
        }
    };
    tokio::time::timeout(RETURN, all).await.expect("it returns");
    assert_ne!(state(), "3");

    // The user is gone, and with it every connection of the node.
    redis(&format!("ACL SETUSER {user} off"));
    let mut kill = TcpStream::connect(stand::redis()).expect("Redis listens");
    let line = format!("CLIENT KILL USER {user}\r\n");
    kill.write_all(line.as_bytes()).expect("sent");
    told(&mut states, |health, detail| {
        health == NodeHealth::Degraded && detail == "reconnecting"
    })
    .await;
    assert_eq!(state(), "4");
}
