//! A node that dies, and workers that place what it had fed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use interlink_edge::data_dir::development_key_of;
use interlink_relay::backplane::{
    Backplane, BackplaneAnswer, BackplaneEvent, BackplaneRequest, NodeName,
};
use interlink_relay::redis::{Config, Mode, RedisBackplane};
use tokio::runtime::Handle;

use super::support::chat::{next_event, say, text_of};
use super::support::{wait_for, Setup, PATIENCE};
use super::{client, stand, stored, unique};

/// A process of the role `realtime`.
struct Worker(Child);

impl Worker {
    /// For the nodes of a region; its files are in a directory.
    fn start(region: &str, directory: &Path) -> Self {
        let config = directory.join("workers.toml");
        let token = directory.join("token");
        std::fs::write(&token, "nothing is published").expect("written");
        let text = format!(
            "region = \"{region}\"\n{}[edge]\napi = [\"http://127.0.0.1:9\"]\n\
             token_file = {token:?}\n",
            stand::sections()
        );
        std::fs::write(&config, text).expect("written");
        let log = std::fs::File::create(directory.join("log")).expect("a log");
        let mut command = Command::new(stored::program());
        command.args(["run", "realtime", "--config"]).arg(&config);
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.stderr(log).spawn().expect("the workers start"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether nodes of these names have a lease.
async fn leased<const N: usize>(names: [&str; N]) -> [bool; N] {
    let config = Config {
        mode: Mode::Single,
        addresses: vec![stand::redis()],
        ..Config::default()
    };
    let backplane = RedisBackplane::new(config, &Handle::current(), Arc::new(|| {}));
    let mut backplane = backplane.expect("a backplane");
    loop {
        let asked = backplane.submit(BackplaneRequest::Leases, 1);
        assert!(asked.is_ok());
        let answer = loop {
            match backplane.complete() {
                Some(BackplaneEvent::Answer(_, answer)) => break answer,
                _ => tokio::task::yield_now().await,
            }
        };
        if let Ok(BackplaneAnswer::Leases(leases)) = answer {
            let has = |name: &str| {
                let name = NodeName::of(name);
                leases.iter().any(|lease| lease.node.name() == name)
            };
            return names.map(has);
        }
    }
}

#[tokio::test]
async fn what_a_dead_node_had_only_fed_is_placed_by_workers() {
    let (living, dying, region) = (unique("living"), unique("dying"), unique("region"));
    let alive = Setup::shards(1)
        .config(&format!(
            "[node]\nname = \"{living}\"\n{}",
            stand::sections()
        ))
        .start();
    let key = development_key_of(&alive.data());
    // Nobody listens at port 9: the node places nothing.
    let mut dead = Setup::shards(2)
        .config(&format!(
            "[node]\nname = \"{dying}\"\nregion = \"{region}\"\n[auth]\nkey_files = [{key:?}]\n{}",
            stand::sections_on("127.0.0.1:9")
        ))
        .start();
    let (ada, bob) = (unique("ada"), unique("bob"));
    let channel = format!("chat.{ada}~{bob}");
    let there = client(&alive, &alive, &bob).await;
    let mut heard = there.subscribe(&channel).await.expect("subscribed");
    let here = client(&dead, &alive, &ada).await;
    for number in 0..20 {
        say(&here, &channel, &number.to_string())
            .await
            .expect("accepted");
    }
    wait_for("everything in Kafka", || {
        dead.metric("interlink_edge_fed_records_total")
            .filter(|fed| *fed >= 20.0)
    });
    dead.kill();
    // The client would send again what was not settled.
    drop(here);
    let seen = async {
        loop {
            let [lives, seems_to] = leased([&living, &dying]).await;
            assert!(!seems_to, "it never reached the servers of leases");
            if lives {
                break;
            }
        }
    };
    let seen = tokio::time::timeout(PATIENCE, seen).await;
    seen.expect("the node that lives has a lease");
    let directory = tempfile::tempdir().expect("a directory");
    let _worker = Worker::start(&region, directory.path());
    for number in 0..20 {
        let event = next_event(&mut heard).await;
        assert_eq!(text_of(&event.payload), number.to_string());
    }
}
