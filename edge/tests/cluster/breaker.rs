//! The breaker of Redis seen live: it trips, is told, and lets what waited through in order.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use interlink_client::{AckLevel, Delivery, Subscription};
use interlink_wire::events::{NodeHealth, NodeStatus};

use super::support::chat::{say, text_of};
use super::support::Setup;
use super::{client, stand, unique};

/// Open for 30 s, half-open for 30 s, and as much again for a machine that is busy.
const RETURN: Duration = Duration::from_secs(120);

/// One command to the stand's Redis, which answers `+OK`.
fn redis(command: &str) {
    assert_eq!(stand::tell_redis(command), "+OK\r\n", "{command}");
}

/// Publishes while Redis refuses; fewer than a client keeps unsettled.
const SAID: u32 = 50;

/// Waits until the node says this of Redis.
async fn told(states: &mut Subscription, health: NodeHealth, detail: &str) {
    let look = async {
        loop {
            let Some(Delivery::Event(event)) = states.next().await else {
                continue;
            };
            let status = flatbuffers::root::<NodeStatus>(&event.payload).expect("a status");
            let findings = status.findings().into_iter().flatten();
            let mut redis = findings.filter(|finding| finding.name() == "redis");
            if redis.any(|found| (found.health(), found.detail()) == (health, Some(detail))) {
                return;
            }
        }
    };
    let told = tokio::time::timeout(RETURN, look).await;
    told.unwrap_or_else(|_| panic!("the node never says that Redis is {detail}"));
}

/// It takes a minute, which is how long a breaker is open and on trial.
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
    let number = |name: &str| node.metric(&format!("interlink_edge_{name}"));
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
        let receipt = say(&here, &channel, &number.to_string()).await;
        let level = receipt.expect("acknowledged").level;
        assert_eq!(level, AckLevel::Local);
    }
    told(&mut states, NodeHealth::Failing, "open: too many errors").await;
    assert_eq!(number("breaker_state{system=\"redis\"}"), Some(3.0));

    // It stays open for its time whatever Redis would answer; the node's disk acknowledges.
    redis(&format!("ACL SETUSER {user} +fcall"));
    let receipt = say(&here, &channel, &SAID.to_string()).await;
    assert_eq!(receipt.expect("acknowledged").level, AckLevel::Local);
    assert_eq!(number("breaker_state{system=\"redis\"}"), Some(3.0));
    assert_eq!(number("placed_records_total"), Some(0.0));
    told(&mut states, NodeHealth::Degraded, "half-open").await;
    let all = async {
        for number in 0..=SAID {
            match heard.next().await {
                Some(Delivery::Event(event)) => {
                    assert_eq!(text_of(&event.payload), number.to_string());
                }
                other => panic!("not an event: {other:?}"),
            }
        }
    };
    tokio::time::timeout(RETURN, all).await.expect("all come");
    // The trial went well: it has closed, and the rest of the traffic returns in steps.
    told(&mut states, NodeHealth::Degraded, "restarting").await;
    assert_eq!(number("breaker_opened_total{system=\"redis\"}"), Some(1.0));
    assert_eq!(number("placed_records_total"), Some(f64::from(SAID + 1)));

    // The user is gone, and with it every connection of the node.
    redis(&format!("ACL SETUSER {user} off"));
    let mut kill = TcpStream::connect(stand::redis()).expect("Redis listens");
    let line = format!("CLIENT KILL USER {user}\r\n");
    kill.write_all(line.as_bytes()).expect("sent");
    told(&mut states, NodeHealth::Degraded, "reconnecting").await;
    assert_eq!(number("breaker_state{system=\"redis\"}"), Some(4.0));
}
