//! The real node in tests: started, watched and ended as a process of its own.
//!
//! Every node gets a loopback address that no other process uses, so tests run beside each
//! other with the same ports. Nothing here sleeps to give the node time: every wait looks for
//! a condition and has a deadline. `unsafe` stands here for signals, which take plain numbers.

// Each test binary uses its own part of this.
#![expect(dead_code, reason = "each test binary uses its own part of this")]

pub mod certificates;
pub mod chat;
pub mod load;
pub mod process;
pub mod proxy;
pub mod raw;

use std::future::Future;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use interlink_client::{BackoffPolicy, Client, ClientBuilder};
use interlink_edge::auth::{mint_subscription, mint_user, Key, SubscriptionGrant, UserGrant};
use interlink_edge::config::Config;
use interlink_edge::data_dir::development_key_of;
use interlink_edge::server::unix_seconds;
use interlink_protocol::ids::placement_hash;
use tempfile::TempDir;

/// How long anything may take that normally takes milliseconds.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Pause between two looks at a condition of another process.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Port for clients; the address differs between nodes.
const CLIENT_PORT: u16 = 7700;
/// Port for metrics and health.
const CONTROL_PORT: u16 = 7701;
/// Port of the server API.
const API_PORT: u16 = 7702;
/// Life of the tokens that tests mint, in seconds.
const TOKEN_S: u64 = 3_600;

/// Waits until `condition` gives a value.
///
/// # Panics
/// When it gives none within [`PATIENCE`].
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "{what} did not happen within {PATIENCE:?}"
        );
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A loopback address of this process alone.
fn own_address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(number < 120, "a test binary starts at most 120 nodes");
    IpAddr::V4(Ipv4Addr::new(127, 100 + number, high, low))
}

/// How a node is started.
#[derive(Debug, Default)]
pub struct Setup {
    shards: u16,
    config: String,
}

impl Setup {
    /// A node with `shards` shard threads and otherwise the defaults.
    pub fn shards(shards: u16) -> Self {
        // Small segments make a start fast: each is written once before it is used.
        let config = "[journal]\nsegment_bytes = \"4MiB\"\n".to_owned();
        Self { shards, config }
    }

    /// Adds lines to the node's configuration file.
    pub fn config(mut self, lines: &str) -> Self {
        self.config.push_str(lines);
        self.config.push('\n');
        self
    }

    /// Starts the node and waits until it is ready.
    pub fn start(self) -> Node {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        std::fs::write(directory.path().join("edge.toml"), &self.config)
            .expect("a file can be written");
        let mut node = Node {
            directory,
            address: own_address(),
            shards: self.shards,
            child: None,
            predecessor: None,
        };
        node.start();
        node
    }
}

/// A node with its data directory; it is killed when this is dropped.
#[derive(Debug)]
pub struct Node {
    directory: TempDir,
    address: IpAddr,
    shards: u16,
    child: Option<Child>,
    predecessor: Option<Child>,
}

impl Node {
    /// Starts the process on the node's data directory and waits until it is ready.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "the node runs already");
        self.child = Some(self.spawn(&[]));
        wait_for("readiness", || {
            if let Some(status) = self.exited() {
                panic!("the node ended at its start with {status}: {}", self.log());
            }
            (http_get(self.control(), "/readyz").ok()?.0 == 200).then_some(())
        });
    }

    /// Starts a process that takes over from the one that runs, which becomes the predecessor.
    pub fn start_successor(&mut self) {
        assert!(self.predecessor.is_none(), "one takes over already");
        let _ = std::fs::remove_file(self.output_path());
        self.predecessor = self.child.take();
        self.child = Some(self.spawn(&["--take-over"]));
    }

    /// Waits until the successor is ready.
    pub fn wait_for_successor(&mut self) {
        wait_for("the successor's readiness", || {
            self.successor_is_ready().then_some(())
        });
    }

    /// Whether the successor has told that it is ready.
    pub fn successor_is_ready(&mut self) -> bool {
        if let Some(status) = self.exited() {
            panic!("the successor ended with {status}: {}", self.log());
        }
        let said = std::fs::read_to_string(self.output_path());
        said.is_ok_and(|said| said.contains("is ready"))
    }

    /// Waits for the end of the predecessor.
    pub fn wait_for_predecessor(&mut self) -> ExitStatus {
        wait_for("the end of the predecessor", || self.predecessor_status())
    }

    /// The status of a predecessor that has ended.
    pub fn predecessor_status(&mut self) -> Option<ExitStatus> {
        let child = self.predecessor.as_mut().expect("there is one");
        let status = child.try_wait().expect("a child can be waited for")?;
        self.predecessor = None;
        Some(status)
    }

    /// Kills the predecessor as `kill -9` does.
    pub fn kill_predecessor(&mut self) {
        let mut child = self.predecessor.take().expect("there is one");
        child.kill().expect("a child can be killed");
        child.wait().expect("a child can be waited for");
    }

    /// Kills the successor, so that the predecessor is the node again.
    pub fn kill_successor(&mut self) {
        self.kill();
        self.child = self.predecessor.take();
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        let append = |path| {
            let mut options = std::fs::File::options();
            let file = options.create(true).append(true).open(path);
            file.expect("a file can be written")
        };
        let mut command = self.command("run");
        // SAFETY: prctl is one system call on plain numbers, allowed between fork and exec.
        unsafe {
            // The node ends with the thread that started it, also when that is killed.
            command.pre_exec(
                || match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                },
            );
        }
        command
            .args(["--listen", &self.clients().to_string()])
            .args(["--control", &self.control().to_string()])
            .args(["--api", &self.api().to_string()])
            .args(["--shards", &self.shards.to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(append(self.output_path()))
            .stderr(append(self.log_path()))
            .spawn()
            .expect("the binary of this package starts")
    }

    /// Changes the number of shard threads of the next start.
    pub fn set_shards(&mut self, shards: u16) {
        self.shards = shards;
    }

    /// A command of the binary with the node's configuration and data directory.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_interlink-edge"));
        command.arg(name);
        self.add_settings(&mut command);
        command
    }

    /// Adds the arguments that name the node's configuration and data directory.
    pub fn add_settings(&self, command: &mut Command) {
        command
            .arg("--config")
            .arg(self.directory.path().join("edge.toml"));
        command.arg("--data").arg(self.data());
    }

    /// The data directory.
    pub fn data(&self) -> std::path::PathBuf {
        self.directory.path().join("data")
    }

    fn log_path(&self) -> std::path::PathBuf {
        self.directory.path().join("log")
    }

    fn output_path(&self) -> std::path::PathBuf {
        self.directory.path().join("output")
    }

    /// What the node has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Where clients connect.
    pub fn clients(&self) -> SocketAddr {
        SocketAddr::new(self.address, CLIENT_PORT)
    }

    /// Where metrics and health are.
    pub fn control(&self) -> SocketAddr {
        SocketAddr::new(self.address, CONTROL_PORT)
    }

    /// Where the server API is.
    pub fn api(&self) -> SocketAddr {
        SocketAddr::new(self.address, API_PORT)
    }

    /// Process id.
    pub fn process(&self) -> u32 {
        self.child.as_ref().expect("the node runs").id()
    }

    /// The status of a process that has ended by itself.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        child.try_wait().expect("a child can be waited for")
    }

    /// Kills the process as `kill -9` does.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the node runs");
        child.kill().expect("a child can be killed");
        child.wait().expect("a child can be waited for");
    }

    /// Asks the process to stop in order, without waiting.
    pub fn ask_to_stop(&self) {
        // SAFETY: kill takes plain numbers; the process is a child that was not waited for.
        let result = unsafe { libc::kill(self.process() as i32, libc::SIGTERM) };
        assert_eq!(result, 0, "a child takes signals");
    }

    /// Waits for the end of a process that was asked to stop.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let status = wait_for("the end of the node", || self.exited());
        self.child = None;
        status
    }

    /// A metric, summed over its labels; `None` when it is not exposed.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let (status, body) = http_get(self.control(), "/metrics").expect("control answers");
        assert_eq!(status, 200, "{body}");
        let mut sum = None;
        for line in body.lines() {
            let Some(rest) = line.strip_prefix(name) else {
                continue;
            };
            if rest.starts_with(['{', ' ']) {
                let value: f64 = rest
                    .rsplit(' ')
                    .next()
                    .and_then(|value| value.parse().ok())?;
                sum = Some(sum.unwrap_or(0.0) + value);
            }
        }
        sum
    }

    /// The node's development key.
    fn key(&self) -> Key {
        Key::read(&development_key_of(&self.data())).expect("the first start made a key")
    }

    /// A token for `user` without anything else.
    pub fn token(&self, user: &str) -> String {
        self.token_of(user, |_| ())
    }

    /// A token for `user` with what `change` adds.
    pub fn token_of(&self, user: &str, change: impl FnOnce(&mut UserGrant)) -> String {
        let auth = Config::default().auth;
        let now_s = unix_seconds();
        let mut grant = UserGrant {
            user: user.into(),
            issuer: auth.issuer,
            audience: auth.audience,
            issued_at_s: now_s,
            not_before_s: now_s - 1,
            expires_at_s: now_s + TOKEN_S,
            ..UserGrant::default()
        };
        change(&mut grant);
        mint_user(&self.key(), &grant).expect("the key signs")
    }

    /// A token with which `user` may subscribe to `channel`.
    pub fn subscription_token(&self, user: &str, channel: &str) -> String {
        let grant = SubscriptionGrant {
            user: user.into(),
            channel: channel.into(),
            expires_at_s: unix_seconds() + TOKEN_S,
        };
        mint_subscription(&self.key(), &grant).expect("the key signs")
    }

    /// Starts to describe a client with this token that comes back fast.
    pub fn client_with(&self, token: String) -> ClientBuilder {
        client_at(self.clients(), token)
    }

    /// A connected client of `user`.
    pub async fn client(&self, user: &str) -> Client {
        self.client_with(self.token(user))
            .connect()
            .await
            .expect("the node takes the client")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
        if self.predecessor.is_some() {
            self.kill_predecessor();
        }
        if std::thread::panicking() {
            eprintln!("the node's log:\n{}", self.log());
        }
    }
}

/// Starts to describe a client of the node behind `address` that comes back fast.
pub fn client_at(address: SocketAddr, token: String) -> ClientBuilder {
    client_of(&format!("ws://{address}"), token)
}

/// As [`client_at`], with the whole address.
pub fn client_of(address: &str, token: String) -> ClientBuilder {
    Client::builder(address)
        .token(token)
        .backoff(BackoffPolicy {
            first_ms: 20,
            max_ms: 200,
            attempts: 1_000,
            suspended_ms: 1_000,
        })
}

/// The `which`-th name with this prefix whose placement is `shard` among `shards`.
pub fn placed_name(prefix: &str, shard: u64, shards: u64, which: usize) -> String {
    let names = (0..).map(|number| format!("{prefix}{number}"));
    let mut placed = names.filter(|name| placement_hash(name.as_bytes()) % shards == shard);
    placed.nth(which).expect("a hash reaches every shard")
}

/// One `GET` on a connection of its own: status and body.
pub fn http_get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    http_request(address, "GET", path, "")
}

/// One HTTP request without a body on a connection of its own: status and body of the answer.
/// Each of the further header lines ends with CRLF.
pub fn http_request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other("no HTTP status"))?;
    Ok((status, body.to_owned()))
}

/// Runs what a test does with SDK clients.
///
/// # Panics
/// When it has not ended after three times [`PATIENCE`].
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let bounded = async { tokio::time::timeout(3 * PATIENCE, future).await };
    runtime
        .block_on(bounded)
        .expect("the test waits for something that does not come")
}
