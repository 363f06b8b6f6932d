//! What tests of publishing for back ends need: a real node, and topics on a real Kafka.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use interlink_relay::kafka::consumer::{GroupConfig, GroupConsumer, GroupEvent, StartAt};
use interlink_relay::kafka::Config;
use interlink_workers::edge_api::ApiConfig;
use interlink_workers::topics;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Port of the server API; the address differs between nodes.
const API_PORT: u16 = 7702;
/// Events of a page of history.
const PAGE_EVENTS: usize = 100;

/// What the stand says of its servers. There is no test without them.
pub fn stand(part: &str) -> Value {
    let above = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/stand/stand.json");
    let path = std::env::var_os("INTERLINK_STAND").map_or(above.into(), PathBuf::from);
    let cure =
        format!("run `deploy/stand/stand up {part}`, or name its stand.json in INTERLINK_STAND");
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; {cure}", path.display()));
    let stand: Value = serde_json::from_str(&text).expect("a stand.json");
    assert!(stand[part].is_object(), "the stand has no {part}: {cure}");
    stand[part].clone()
}

/// The brokers of the stand.
fn brokers() -> Vec<String> {
    let kafka = stand("kafka");
    let brokers = kafka["brokers"].as_array().expect("brokers").iter();
    let addresses = brokers.map(|broker| broker["address"].as_str());
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
pub struct Node {
    process: Option<Child>,
    address: String,
    directory: TempDir,
}

impl Node {
    pub fn new() -> Self {
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

    pub fn start(&mut self) {
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

    pub fn kill(&mut self) {
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

    pub fn api(&self) -> ApiConfig {
        ApiConfig {
            addresses: vec![format!("http://{}:{API_PORT}", self.address)],
            token_file: self.token(),
            authorities: None,
        }
    }

    /// Payloads of a channel's history, the first 100 of them.
    pub async fn history(&self, channel: &str) -> Vec<Value> {
        let token = std::fs::read_to_string(self.token()).expect("a token");
        let (address, token, limit) = (&self.address, token.trim(), PAGE_EVENTS);
        let stream = TcpStream::connect((&**address, API_PORT)).await;
        let mut stream = stream.expect("the API");
        let request = format!(
            "GET /v1/history?channel={channel}&limit={limit} HTTP/1.1\r\nHost: {address}\r\n\
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

    pub async fn wait_for(&self, channel: &str, count: usize) -> Vec<Value> {
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
pub fn cluster() -> Config {
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

/// The numbers of events.
pub fn numbers(events: &[Value]) -> Vec<u64> {
    let numbers = events.iter().map(|event| event["number"].as_u64());
    numbers.map(|number| number.expect("a number")).collect()
}

/// `report` channels take opaque events of services.
pub const CHANNEL: &str = "report.north.june";

/// Values and codes of the first dead letters.
pub async fn letters(cluster: &Config, count: usize) -> Vec<(String, String)> {
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
