//! Where the servers of the test stand are.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::support::wait_for;

/// The sections of a node's configuration that make it one of the stand's cluster.
///
/// # Panics
/// Without a stand: these tests are about real servers and never pass without them.
pub fn sections() -> String {
    sections_of("")
}

/// As [`sections`], with more lines of the section `redis`.
pub fn sections_of(redis_lines: &str) -> String {
    sections_with(&redis(), redis_lines)
}

/// As [`sections`], with another Redis.
pub fn sections_on(redis: &str) -> String {
    sections_with(redis, "")
}

fn sections_with(redis: &str, redis_lines: &str) -> String {
    let broker = &stand()["kafka"]["brokers"][0]["address"];
    format!(
        "[redis]\nmode = \"single\"\naddresses = [\"{redis}\"]\n{redis_lines}[kafka]\n\
         brokers = [{broker}]\n"
    )
}

/// How the servers of Redis are arranged.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// One, through TLS and with passwords; Kafka too.
    Tls,
    /// A master and replicas that Sentinels watch.
    Sentinel,
    /// Redis Cluster.
    Cluster,
}

/// As [`sections`], with the Redis of a form.
pub fn sections_of_form(form: Form) -> String {
    let stand = stand();
    let (redis, broker) = (&stand["redis"], &stand["kafka"]["brokers"][0]);
    let addresses = |servers: &Value| -> Vec<String> {
        let servers = servers.as_array();
        let cure = "a stand with every form of Redis: run `deploy/stand/stand up`";
        let servers = servers.expect(cure).iter();
        let addresses = servers.filter_map(|server| server["address"].as_str());
        addresses.map(str::to_owned).collect()
    };
    let settings = |mode: &str, addresses: &[String]| {
        let broker = &broker["address"];
        format!(
            "[redis]\nmode = {mode:?}\naddresses = {addresses:?}\n[kafka]\nbrokers = [{broker}]\n"
        )
    };
    match form {
        Form::Sentinel => settings("sentinel", &addresses(&redis["sentinel"]["sentinels"])),
        Form::Cluster => settings("cluster", &addresses(&redis["cluster"]["nodes"])),
        Form::Tls => {
            let (redis, kafka) = (&redis["single"]["tls"], &broker["tls"]);
            let secured = |at: &Value| {
                let (user, password) = (&at["username"], &at["password_file"]);
                let authorities = &at["authorities"];
                format!(
                    "username = {user}\npassword_file = {password}\ntls = true\n\
                     authorities = {authorities}\n"
                )
            };
            format!(
                "[redis]\nmode = \"single\"\naddresses = [{}]\n{}[kafka]\nbrokers = [{}]\n\
                 mechanism = \"scram-sha-512\"\n{}",
                redis["address"],
                secured(redis),
                kafka["address"],
                secured(kafka)
            )
        }
    }
}

/// A Redis of one test, which keeps nothing when it is stopped.
pub struct OwnRedis {
    port: u16,
    process: Child,
}

impl OwnRedis {
    /// Starts a server at a port that nobody listens on.
    pub fn start() -> Self {
        let free = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let process = serve(port);
        Self { port, process }
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it.
    pub fn stop(&mut self) {
        self.process.kill().expect("a child can be killed");
        self.process.wait().expect("a child can be waited for");
    }

    /// Starts it again, empty.
    pub fn start_again(&mut self) {
        self.process = serve(self.port);
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(port: u16) -> Child {
    let process = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no"])
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server 7 runs: install it, such as the package redis-server");
    wait_for("Redis", || {
        TcpStream::connect(("127.0.0.1", port)).ok().map(drop)
    });
    process
}

/// The address of Redis.
pub fn redis() -> String {
    let stand = stand();
    let address = stand["redis"]["single"]["address"].as_str();
    address.expect("a stand with Redis").to_owned()
}

/// One command to Redis; its short answer.
pub fn tell_redis(command: &str) -> String {
    tell(&redis(), command)
}

/// One command to the Redis at an address; its short answer.
pub fn tell(redis: &str, command: &str) -> String {
    let mut stream = TcpStream::connect(redis).expect("Redis listens");
    let line = format!("{command}\r\n");
    stream.write_all(line.as_bytes()).expect("sent");
    let mut answer = [0; 64];
    let length = stream.read(&mut answer).expect("answered");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

/// Where the database is: address, database, user, and the file with the password.
pub fn postgres() -> [String; 4] {
    let stand = stand();
    ["address", "database", "user", "password_file"].map(|name| {
        let value = stand["postgres"][name].as_str();
        let cure = "a stand with PostgreSQL: run `deploy/stand/stand up redis kafka postgres`";
        value.expect(cure).to_owned()
    })
}

/// Addresses of the brokers.
pub fn brokers_at() -> Vec<String> {
    let stand = stand();
    let brokers = stand["kafka"]["brokers"].as_array().into_iter().flatten();
    let addresses = brokers.filter_map(|broker| broker["address"].as_str());
    addresses.map(str::to_owned).collect()
}

/// How many brokers of Kafka it has.
pub fn brokers() -> usize {
    let stand = stand();
    let brokers = stand["kafka"]["brokers"].as_array();
    brokers.map_or(0, Vec::len)
}

fn stand() -> Value {
    let above = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/stand/stand.json");
    let path = std::env::var("INTERLINK_STAND").unwrap_or_else(|_| above.to_owned());
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!(
            "{path}: {error}. This test needs real servers: run `deploy/stand/stand up redis \
             kafka postgres` and `interlink-workers topics apply --profile single`, or name their \
             stand.json in INTERLINK_STAND"
        )
    });
    serde_json::from_str(&text).expect("a stand.json")
}
