//! Publishing for back ends, from a real Kafka through the server API of a real node.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use interlink_relay::kafka::consumer::{GroupConfig, GroupConsumer, GroupEvent, StartAt};
use interlink_relay::kafka::Config;
use interlink_workers::edge_api::ApiConfig;
use interlink_workers::ingress;
use interlink_workers::roles::Stop;
use interlink_workers::topics;
use rdkafka::message::ToBytes;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{json, Value};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Port of the server API; the address differs between nodes.
const API_PORT: u16 = 7702;

/// The brokers of the stand. There is no test without one.
fn brokers() -> Vec<String> {
    let above = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/stand/stand.json");
    let path = std::env::var_os("INTERLINK_STAND").map_or(above.into(), PathBuf::from);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}. This test needs a real Kafka: run `deploy/stand/stand up kafka`, or \
             name its stand.json in INTERLINK_STAND",
            path.display()
        )
    });
    let stand: Value = serde_json::from_str(&text).expect("a stand.json");
    let brokers = stand["kafka"]["brokers"].as_array();
    let brokers = brokers.expect("the stand has no Kafka: run `deploy/stand/stand up kafka`");
    let addresses = brokers.iter().map(|broker| broker["address"].as_str());
    addresses
        .map(|address| address.expect("an address").to_owned())
        .collect()
}

/// The program of a node, which cargo builds beside this test.
fn edge_program() -> PathBuf {
    let own = std::env::current_exe().expect("a path");
    let folder = own.parent().and_then(Path::parent).expect("a folder");
    let program = folder.join("interlink-edge");
    assert!(
        program.exists(),
        "{} is missing: run `cargo build -p interlink-edge` first",
        program.display()
    );
    program
}

/// A node of its own, on loopback addresses that no other test uses.
struct Node {
    process: Option<Child>,
    address: String,
    directory: TempDir,
}

impl Node {
    fn new() -> Self {
        static COUNT: AtomicU8 = AtomicU8::new(1);
        let third = (std::process::id() % 250 + 1) as u8;
        let fourth = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut node = Self {
            process: None,
            address: format!("127.77.{third}.{fourth}"),
            directory: tempfile::tempdir().expect("a directory"),
        };
        node.start();
        node
    }

    fn start(&mut self) {
        let at = |port: u16| format!("{}:{port}", self.address);
        let process = Command::new(edge_program())
            .arg("run")
            .args([
                "--listen",
                &at(API_PORT - 2),
                "--control",
                &at(API_PORT - 1),
            ])
            .args(["--api", &at(API_PORT), "--shards", "1"])
            .arg("--data")
            .arg(self.directory.path())
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        self.process = Some(process.expect("a node"));
        let api: SocketAddr = at(API_PORT).parse().expect("an address");
        let started = Instant::now();
        while std::net::TcpStream::connect(api).is_err() {
            assert!(started.elapsed() < PATIENCE, "the node does not start");
            std::thread::yield_now();
        }
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// A file with a token of a service.
    fn token(&self) -> PathBuf {
        let made = Command::new(edge_program())
            .args(["token", "--user", "reports", "--role", "service", "--data"])
            .arg(self.directory.path())
            .output()
            .expect("a token");
        let path = self.directory.path().join("service-token");
        std::fs::write(&path, made.stdout).expect("written");
        path
    }

    fn api(&self) -> ApiConfig {
        ApiConfig {
            addresses: vec![format!("http://{}:{API_PORT}", self.address)],
            token_file: self.token(),
            authorities: None,
        }
    }

    /// Payloads of a channel's history.
    async fn history(&self, channel: &str) -> Vec<Value> {
        let token = std::fs::read_to_string(self.token()).expect("a token");
        let (address, token) = (&self.address, token.trim());
        let stream = TcpStream::connect((&**address, API_PORT)).await;
        let mut stream = stream.expect("the API");
        let request = format!(
            "GET /v1/history?channel={channel} HTTP/1.1\r\nHost: {address}\r\n\
             Authorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let events = body["events"].as_array().cloned().unwrap_or_default();
        events.iter().map(|event| event["json"].clone()).collect()
    }

    async fn wait_for(&self, channel: &str, count: usize) -> Vec<Value> {
        let started = Instant::now();
        loop {
            let events = self.history(channel).await;
            if events.len() >= count {
                return events;
            }
            assert!(started.elapsed() < PATIENCE, "only {events:?} came");
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A cluster with topics of its own.
fn cluster() -> Config {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("a clock after 1970").as_micros();
    let cluster = Config {
        brokers: brokers(),
        topic_prefix: format!("ingress-{}-{now}-{number}.", std::process::id()),
        ..Config::default()
    };
    let wanted = topics::wanted(topics::BUILT_IN, "single", &cluster.topic_prefix);
    let wanted = wanted.expect("a profile").into_iter();
    let wanted: Vec<_> = wanted
        .filter(|topic| topic.name.ends_with("ingress") || topic.name.ends_with("dead-letter"))
        .collect();
    // It waits on a runtime of its own, for which a test's thread has no room.
    let made = std::thread::spawn(move || {
        let plan = topics::look(&cluster, &wanted).expect("a plan");
        topics::apply(&cluster, &plan).expect("topics");
        cluster
    });
    made.join().expect("a cluster")
}

async fn send(cluster: &Config, key: &str, value: impl ToBytes) {
    let client = cluster.client("back-end").expect("settings");
    let producer: FutureProducer = client.create().expect("a producer");
    let topic = format!("{}ingress", cluster.topic_prefix);
    let record = FutureRecord::to(&topic).key(key).payload(&value);
    let sent = producer.send(record, PATIENCE).await;
    sent.expect("sent");
}

fn event(channel: &str, number: u32) -> String {
    json!({"channel": channel, "json": {"number": number}}).to_string()
}

fn numbers(events: &[Value]) -> Vec<u64> {
    let numbers = events.iter().map(|event| event["number"].as_u64());
    numbers.map(|number| number.expect("a number")).collect()
}

/// `report` channels take opaque events of services.
const CHANNEL: &str = "report.north.june";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_back_ends_send_is_published_in_order_and_once() {
    let (cluster, node) = (cluster(), Node::new());
    for number in 0..20 {
        send(&cluster, "north", event(CHANNEL, number)).await;
    }
    let (sender, stop) = Stop::pair();
    let (config, api) = (cluster.clone(), node.api());
    let running = tokio::spawn(async move { ingress::run(&config, &api, stop).await });
    let events = node.wait_for(CHANNEL, 20).await;
    assert_eq!(numbers(&events), (0..20).collect::<Vec<_>>());
    sender.stop();
    running.await.expect("joined").expect("stopped in order");

    // The next process begins behind it.
    let (sender, stop) = Stop::pair();
    let (config, api) = (cluster.clone(), node.api());
    let running = tokio::spawn(async move { ingress::run(&config, &api, stop).await });
    send(&cluster, "north", event(CHANNEL, 20)).await;
    let events = node.wait_for(CHANNEL, 21).await;
    assert_eq!(numbers(&events), (0..21).collect::<Vec<_>>());
    sender.stop();
    running.await.expect("joined").expect("stopped in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_holds_events_up_and_loses_and_repeats_none() {
    let (cluster, mut node) = (cluster(), Node::new());
    let (sender, stop) = Stop::pair();
    let (config, api) = (cluster.clone(), node.api());
    let running = tokio::spawn(async move { ingress::run(&config, &api, stop).await });
    for number in 0..5 {
        send(&cluster, "north", event(CHANNEL, number)).await;
    }
    node.wait_for(CHANNEL, 5).await;
    node.kill();
    for number in 5..10 {
        send(&cluster, "north", event(CHANNEL, number)).await;
    }
    node.start();
    let events = node.wait_for(CHANNEL, 10).await;
    assert_eq!(numbers(&events), (0..10).collect::<Vec<_>>());
    sender.stop();
    running.await.expect("joined").expect("stopped in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_never_be_published_is_a_dead_letter_and_holds_nobody_up() {
    let (cluster, node) = (cluster(), Node::new());
    for value in [
        "no JSON".to_owned(),
        event("sys.status", 1),
        event(CHANNEL, 2),
    ] {
        send(&cluster, "north", value).await;
    }
    let (sender, stop) = Stop::pair();
    let (config, api) = (cluster.clone(), node.api());
    let running = tokio::spawn(async move { ingress::run(&config, &api, stop).await });
    let events = node.wait_for(CHANNEL, 1).await;
    assert_eq!(numbers(&events), [2]);
    let letters = letters(&cluster, 2).await;
    let read = |(value, code): &(String, String)| (value.contains("JSON"), code.clone());
    assert_eq!(
        letters.iter().map(read).collect::<Vec<_>>(),
        [
            (true, "invalid_record".to_owned()),
            (false, "not_permitted".to_owned())
        ]
    );
    sender.stop();
    running.await.expect("joined").expect("stopped in order");
}

/// Values and codes of the first dead letters.
async fn letters(cluster: &Config, count: usize) -> Vec<(String, String)> {
    let topics = [format!("{}dead-letter", cluster.topic_prefix)];
    let config = GroupConfig {
        cluster,
        group: "test",
        topics: &topics,
        client: "test",
    };
    let mut consumer = GroupConsumer::open(config, || {}).expect("a member");
    let mut letters = Vec::new();
    while letters.len() < count {
        let next = tokio::time::timeout(PATIENCE, consumer.next()).await;
        match next.expect("in time").expect("a living member") {
            GroupEvent::Assigned(lanes) => {
                let starts = lanes.into_iter().map(|lane| (lane, StartAt::Committed));
                consumer.start(starts.collect());
            }
            GroupEvent::Batch(batch) => {
                for record in &batch.records {
                    let header = |name: &str| {
                        let mut headers = record.headers.iter();
                        let found = headers.find(|(header, _)| **header == *name);
                        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
                    };
                    let value = String::from_utf8_lossy(&record.value).into_owned();
                    let code = header("interlink-dead-code").expect("a code");
                    letters.push((value, code));
                }
                consumer.done(&batch.lane);
            }
            _ => {}
        }
    }
    letters
}
