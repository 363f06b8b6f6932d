//! The outside systems of a run: Redis and Kafka as `deploy/stand/stand` starts them.
//!
//! Purpose: a stand of its own for each run, in the run's folder and on the run's ports; its
//! servers killed, frozen and started again as faults want it.
//! Invariants: the stand ends with the bench, also when the bench is killed: a guard process in a
//! session of its own holds a pipe, and stops the stand when the pipe ends.
//! Limits: `limits::STAND_PORT_OFFSET` says where its ports begin.
//!
//! Runs on: the bench's main thread.

use crate::limits::{STAND_PORT_OFFSET, STAND_PORT_STEP};
use crate::sys;
use anyhow::{bail, ensure, Context, Result};
use serde::Deserialize;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// Where the stand's program is, seen from the repository's root.
const PROGRAM: &str = "deploy/stand/stand";
/// Interval at which a server that starts or ends is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// Longest wait for the end of a killed server.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer of Redis to an inline command that is read.
const ANSWER_BYTES: usize = 64 * 1024;

/// One server.
#[derive(Clone, Debug, Deserialize)]
pub struct Server {
    /// Name in the stand.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Process id.
    pub pid: u32,
}

/// Sentinels and the servers that they watch.
#[derive(Clone, Debug, Deserialize)]
pub struct Sentinel {
    /// Name of the master.
    pub master: String,
    /// The Sentinels.
    pub sentinels: Vec<Server>,
    /// Master and replicas.
    pub nodes: Vec<Server>,
}

/// A list of servers.
#[derive(Clone, Debug, Deserialize)]
pub struct Cluster {
    /// The servers.
    pub nodes: Vec<Server>,
}

/// Redis in its three forms.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Redis {
    /// One server.
    pub single: Option<Server>,
    /// Sentinels.
    pub sentinel: Option<Sentinel>,
    /// Redis Cluster.
    pub cluster: Option<Cluster>,
}

/// Kafka.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Kafka {
    /// The brokers.
    pub brokers: Vec<Server>,
}

/// What `stand.json` says.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Parts {
    /// Redis.
    #[serde(default)]
    pub redis: Redis,
    /// Kafka.
    #[serde(default)]
    pub kafka: Kafka,
}

/// A running stand; stopped when dropped.
pub struct Stand {
    program: PathBuf,
    directory: PathBuf,
    /// What runs, with the process ids of the last look.
    pub parts: Parts,
    guard: Child,
    /// Its end is what the guard waits for.
    _alive: ChildStdin,
}

impl Stand {
    /// Starts parts in `directory` on `core`; stand number `number` of this run. Its ports begin
    /// `limits::STAND_PORT_OFFSET` behind the run's.
    pub fn up(
        directory: &Path,
        parts: &[&str],
        (port, number): (u16, u16),
        core: usize,
    ) -> Result<Self> {
        let program = PathBuf::from(PROGRAM);
        ensure!(
            program.is_file(),
            "{PROGRAM} does not exist here: run the bench from the root of the repository"
        );
        let base = port + STAND_PORT_OFFSET + number * STAND_PORT_STEP;
        let (guard, alive) = start_guard(&program, directory)?;
        let stand = Self {
            program,
            directory: directory.to_owned(),
            parts: Parts::default(),
            guard,
            _alive: alive,
        };
        let mut arguments = vec!["up"];
        arguments.extend(parts);
        let (base, core) = (base.to_string(), core.to_string());
        arguments.extend(["--base-port", base.as_str(), "--core", core.as_str()]);
        stand.command(&arguments)?;
        stand.looked_at()
    }

    fn looked_at(mut self) -> Result<Self> {
        self.look()?;
        Ok(self)
    }

    /// Reads `stand.json` again.
    pub fn look(&mut self) -> Result<()> {
        let file = self.directory.join("stand.json");
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("reading {}", file.display()))?;
        self.parts = serde_json::from_str(&text)
            .with_context(|| format!("{} is no description of a stand", file.display()))?;
        Ok(())
    }

    /// Where the servers keep what they keep: one folder for each name.
    pub fn data_of(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Starts servers that have ended, with their data, and waits until they answer.
    pub fn start(&mut self, names: &[&str]) -> Result<()> {
        let mut arguments = vec!["start"];
        arguments.extend(names);
        self.command(&arguments)?;
        self.look()
    }

    /// Begins to start servers that have ended; [`Starting::wait`] sees the end.
    pub fn begin_start(&self, names: &[&str]) -> Result<Starting> {
        let mut command = self.prepared("start");
        command.args(names);
        let child = command.spawn().context("starting servers of the stand")?;
        Ok(Starting { child })
    }

    /// Kills a server without warning and waits for its end.
    pub fn kill(server: &Server) -> Result<()> {
        sys::signal(server.pid, libc::SIGKILL)
            .with_context(|| format!("killing {} (process {})", server.name, server.pid))?;
        let start = Instant::now();
        while is_running(server.pid) {
            ensure!(
                start.elapsed() < END_PATIENCE,
                "{} (process {}) does not end",
                server.name,
                server.pid
            );
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    fn prepared(&self, command: &str) -> Command {
        let mut prepared = Command::new(&self.program);
        prepared
            .arg(command)
            .arg("--directory")
            .arg(&self.directory)
            .stdin(Stdio::null())
            // Standard output belongs to the result.
            .stdout(Stdio::null());
        prepared
    }

    fn command(&self, arguments: &[&str]) -> Result<()> {
        let mut command = self.prepared(arguments[0]);
        command.args(&arguments[1..]);
        let status = command.status().context("running the stand")?;
        ensure!(
            status.success(),
            "{PROGRAM} {} failed; its words are above",
            arguments.join(" ")
        );
        Ok(())
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        // What cannot be stopped here is what the guard tries again.
        let _ = self.command(&["down"]);
        let _ = self.guard.kill();
        let _ = self.guard.wait();
    }
}

/// Servers that are being started.
pub struct Starting {
    child: Child,
}

impl Starting {
    /// True when the servers answer.
    pub fn is_over(&mut self) -> Result<bool> {
        match self.child.try_wait().context("watching the stand")? {
            None => Ok(false),
            Some(status) if status.success() => Ok(true),
            Some(_) => bail!("the stand could not start its servers; its words are above"),
        }
    }
}

/// Starts the process that stops the stand when this one has ended.
fn start_guard(program: &Path, directory: &Path) -> Result<(Child, ChildStdin)> {
    let binary = std::env::current_exe().context("finding the bench's own binary")?;
    let mut command = Command::new(binary);
    command
        .arg("stand-guard")
        .arg("--program")
        .arg(program)
        .arg("--directory")
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        // An interrupt at the terminal must not end it with the bench.
        .process_group(0);
    let mut guard = command.spawn().context("starting the stand's guard")?;
    let alive = guard.stdin.take().context("the guard has no pipe")?;
    Ok((guard, alive))
}

/// Waits for the end of the input, then stops the stand: the guard's whole life.
pub fn guard(program: &Path, directory: &Path) -> Result<()> {
    let mut nothing = Vec::new();
    std::io::stdin()
        .read_to_end(&mut nothing)
        .context("waiting for the bench's end")?;
    let mut command = Command::new(program);
    command.arg("down").arg("--directory").arg(directory);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.status().context("stopping the stand")?;
    ensure!(
        status.success(),
        "the stand in {} stays",
        directory.display()
    );
    // The run's folder would have been removed by the bench, had it lived.
    let run = directory.parent().unwrap_or(directory);
    if run.file_name().is_some_and(is_run_folder) {
        // What is left of it harms nobody.
        let _ = std::fs::remove_dir_all(run);
    }
    Ok(())
}

fn is_run_folder(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy()
        .starts_with(crate::scenarios::bench::FOLDER_PREFIX)
}

/// True while a process runs; one that has ended and waits for its parent does not.
fn is_running(pid: u32) -> bool {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let state = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    !state.starts_with(['Z', 'X'])
}

/// Asks a Redis server by an inline command and gives the first part of its answer.
pub fn ask_redis(address: SocketAddr, command: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, END_PATIENCE)
        .with_context(|| format!("connecting to Redis at {address}"))?;
    stream.set_read_timeout(Some(END_PATIENCE))?;
    write!(stream, "{command}\r\n").context("asking Redis")?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while answer.len() < ANSWER_BYTES && !is_whole(&answer) {
        match stream.read(&mut chunk).context("reading from Redis")? {
            0 => break,
            count => answer.extend_from_slice(&chunk[..count]),
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    ensure!(
        !answer.starts_with('-'),
        "Redis at {address} answered {command:?} with {answer}"
    );
    Ok(answer)
}

/// Whether a simple reply or a bulk string has come as a whole.
fn is_whole(answer: &[u8]) -> bool {
    let Some(line) = answer.windows(2).position(|window| window == b"\r\n") else {
        return false;
    };
    let text = String::from_utf8_lossy(&answer[..line]);
    match text.strip_prefix('$').map(str::parse::<usize>) {
        Some(Ok(bytes)) => answer.len() >= line + 2 + bytes + 2,
        _ => true,
    }
}

/// Whether a Redis server is a master.
pub fn is_master(server: &Server) -> bool {
    ask_redis(server.address, "INFO replication").is_ok_and(|text| text.contains("role:master"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESCRIPTION: &str = r#"{
        "redis": {"sentinel": {"master": "interlink",
            "sentinels": [{"name": "sentinel-1", "address": "127.0.0.1:6716", "pid": 4}],
            "nodes": [{"name": "redis-node-1", "address": "127.0.0.1:6710", "pid": 5,
                       "tls": {"address": "127.0.0.1:6713"}}]}},
        "kafka": {"brokers": [{"name": "kafka-1", "address": "127.0.0.1:6750", "pid": 6}]}}"#;

    #[test]
    fn a_description_is_read_and_absent_parts_are_absent() {
        let parts: Parts = serde_json::from_str(DESCRIPTION).unwrap();
        let sentinel = parts.redis.sentinel.unwrap();
        assert_eq!(
            (sentinel.master.as_str(), sentinel.nodes[0].pid),
            ("interlink", 5)
        );
        assert_eq!(parts.kafka.brokers[0].name, "kafka-1");
        assert!(parts.redis.single.is_none() && parts.redis.cluster.is_none());
    }

    #[test]
    fn answers_are_read_to_their_end() {
        assert!(is_whole(b"+OK\r\n") && is_whole(b"$3\r\nabc\r\n") && is_whole(b"$-1\r\n"));
        assert!(!is_whole(b"+O") && !is_whole(b"$3\r\nabc") && !is_whole(b""));
    }

    #[test]
    fn a_process_that_has_ended_does_not_run() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert!(!is_running(pid) && is_running(std::process::id()));
    }
}
