//! Servers: those of the test stand, and own ones for tests that kill.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Instant;

use serde_json::Value;

use super::{fresh_prefix, Config, PATIENCE};
use crate::redis::lineage::field;
use crate::redis::Mode;

/// What the test stand says about Redis.
pub fn stand() -> Value {
    let named = std::env::var_os("INTERLINK_STAND").map(PathBuf::from);
    let path = named.unwrap_or_else(|| {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/stand/stand.json")
    });
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!(
            "{} could not be read ({error}): start the servers with `deploy/stand/stand up redis \
             redis-sentinel redis-cluster`",
            path.display()
        )
    });
    let stand: Value = serde_json::from_str(&text).expect("the stand writes JSON");
    stand["redis"].clone()
}

/// A text of the stand.
pub fn text(value: &Value) -> String {
    let text = value.as_str();
    text.unwrap_or_else(|| panic!("the stand lacks a part of Redis: {value}"))
        .to_owned()
}

/// Settings for a single server at an address, with a fresh prefix.
pub fn single(address: String) -> Config {
    Config {
        mode: Mode::Single,
        addresses: vec![address],
        prefix: fresh_prefix(),
        partitions: 16,
        ..Config::default()
    }
}

/// A server of one test.
pub struct Server {
    process: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Server {
    /// Starts a server with further settings, such as `--min-replicas-to-write 1`.
    pub fn start(settings: &[&str]) -> Self {
        let settings = [&["--save", "", "--repl-diskless-sync-delay", "0"], settings].concat();
        Self::start_in(tempfile::tempdir().expect("a directory"), &settings)
    }

    /// Starts a sentinel that decides alone over a master called `interlink`.
    pub fn start_sentinel(master: &Server) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let settings = format!(
            "sentinel monitor interlink 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds interlink 500\n",
            master.port
        );
        std::fs::write(directory.path().join("sentinel.conf"), settings).expect("a file");
        let sentinel = Self::start_in(directory, &["sentinel.conf", "--sentinel"]);
        let start = Instant::now();
        let knows_a_replica = || {
            let replicas = sentinel.ask(&["SENTINEL", "REPLICAS", "interlink"]);
            matches!(replicas, redis::Value::Array(replicas) if !replicas.is_empty())
        };
        while !knows_a_replica() {
            assert!(start.elapsed() < PATIENCE, "the sentinel finds no replica");
            std::thread::yield_now();
        }
        sentinel
    }

    fn start_in(directory: tempfile::TempDir, settings: &[&str]) -> Self {
        let port = free_port();
        // A file of settings comes first.
        let (file, settings) = match settings {
            [file, rest @ ..] if !file.starts_with('-') => (Some(*file), rest),
            all => (None, all),
        };
        let process = Command::new("redis-server")
            .args(file)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(settings)
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server 7 runs: install it, such as the package redis-server");
        let server = Self {
            process,
            port,
            _directory: directory,
        };
        let start = Instant::now();
        while server.try_ask(&["PING"]).is_err() {
            assert!(start.elapsed() < PATIENCE, "redis-server does not answer");
            std::thread::yield_now();
        }
        server
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Asks the server something that it may refuse.
    pub fn try_ask<W: redis::ToRedisArgs>(&self, words: &[W]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(("127.0.0.1", self.port))?;
        let mut connection = client.get_connection()?;
        let mut command = redis::Cmd::new();
        command.arg(words).query(&mut connection)
    }

    /// Asks the server something.
    pub fn ask<W: redis::ToRedisArgs>(&self, words: &[W]) -> redis::Value {
        self.try_ask(words).expect("the server answers")
    }

    /// Follows a master from now on and waits until it has everything.
    pub fn follow(&self, master: &Server) {
        self.ask(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]);
        master.replicate();
    }

    /// Waits until the one replica has everything.
    pub fn replicate(&self) {
        let start = Instant::now();
        while !self.is_replicated() {
            assert!(start.elapsed() < PATIENCE, "the replica does not follow");
            std::thread::yield_now();
        }
    }

    fn is_replicated(&self) -> bool {
        let info = self.ask(&["INFO", "replication"]);
        let replica = field(&info, "slave0").filter(|replica| replica.contains("state=online"));
        let confirmed = replica.and_then(|replica| {
            let (_, offset) = replica.split_once("offset=")?;
            offset.split_once(',')?.0.parse::<u64>().ok()
        });
        let own = field(&info, "master_repl_offset").and_then(|own| own.parse::<u64>().ok());
        own.is_some_and(|own| confirmed.is_some_and(|confirmed| confirmed >= own))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port below 10000 that nobody listens on, each once in this process.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 6_300 + (std::process::id() % 40) as u16;
    loop {
        let port = 6_300 + (first - 6_300 + NEXT.fetch_add(1, Ordering::Relaxed)) % 100;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
