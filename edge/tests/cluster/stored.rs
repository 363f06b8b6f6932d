//! The archive of the tests' cluster: a schema of its own, which the role `archival` of
//! `interlink-workers` fills while the tests run. `unsafe` stands here for a signal, which takes
//! plain numbers.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use interlink_client::{Client, Position};
use interlink_edge::data_dir::development_key_of;
use interlink_relay::postgres::{Config, Store};
use tempfile::TempDir;

use super::support::chat::{saying, text_of};
use super::support::{Node, Setup};
use super::{stand, unique};

/// How long a batch may take to come from a node through Kafka into the database. A group that
/// begins, or whose last member was killed, waits for its first partitions.
const ARCHIVED: Duration = Duration::from_secs(60);

/// Namespaces that promise more history than Redis keeps.
pub const LONG: &str = "[namespaces.chat]\nhistory_events = 10000\n\
                    [namespaces.user]\nhistory_events = 10000\nopaque_allowed = true\n";

/// The schema of this run.
fn schema() -> &'static str {
    static SCHEMA: OnceLock<String> = OnceLock::new();
    SCHEMA.get_or_init(|| format!("cluster_{}", std::process::id()))
}

/// The program of the workers, which cargo builds beside that of the node.
pub fn program() -> PathBuf {
    let node = Path::new(env!("CARGO_BIN_EXE_interlink-edge"));
    let program = node.with_file_name("interlink-workers");
    assert!(
        program.exists(),
        "{} is missing: run `cargo build -p interlink-workers` first",
        program.display()
    );
    program
}

/// The section of a node or a worker that names the database at an address.
fn section(address: &str) -> String {
    let [_, database, user, password] = stand::postgres();
    let schema = schema();
    format!(
        "[postgres]\naddress = \"{address}\"\ndatabase = \"{database}\"\nuser = \"{user}\"\n\
         password_file = \"{password}\"\nschema = \"{schema}\"\n"
    )
}

/// Starts the worker once for all tests; it ends with this process.
fn archival() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        let (ready, is_ready) = std::sync::mpsc::channel();
        // The worker is told of the end of the thread that started it, so that this one stays.
        std::thread::spawn(move || {
            let started = start();
            let _ = ready.send(());
            loop {
                std::thread::park();
                let _ = &started;
            }
        });
        is_ready.recv().expect("the worker starts");
    });
}

fn start() -> (Child, TempDir) {
    use std::os::unix::process::CommandExt;
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("workers.toml");
    let [address, ..] = stand::postgres();
    let brokers = stand::brokers_at();
    let text = format!("[kafka]\nbrokers = {brokers:?}\n{}", section(&address));
    std::fs::write(&config, text).expect("written");
    let log = std::fs::File::create(directory.path().join("log")).expect("a log");
    let mut command = Command::new(program());
    command.args(["run", "archival", "--config"]).arg(&config);
    // SAFETY: prctl is one system call on plain numbers, allowed between fork and exec.
    unsafe {
        // An ordered end, so that the next member of the group has its partitions at once.
        command.pre_exec(
            || match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            },
        );
    }
    let child = command.stdin(Stdio::null()).stdout(Stdio::null());
    let child = child.stderr(log).spawn().expect("the workers start");
    (child, directory)
}

/// Sections of a node that asks the archive at an address.
pub fn sections_at(address: &str) -> String {
    sections_with(&stand::redis(), address)
}

/// As [`sections_at`], with a Redis of its own.
pub fn sections_with(redis: &str, address: &str) -> String {
    archival();
    format!("{}{}", stand::sections_on(redis), section(address))
}

/// Sections of a node that asks the archive.
pub fn sections() -> String {
    sections_at(&stand::postgres()[0])
}

/// Two nodes of one cluster with an archive, with more lines of configuration.
pub fn pair(more: &str) -> (Node, Node) {
    let (first, second) = (unique("first"), unique("second"));
    let sections = sections();
    let first = Setup::shards(1)
        .config(&format!("[node]\nname = \"{first}\"\n{sections}{more}"))
        .start();
    let key = development_key_of(&first.data());
    let auth = format!("[auth]\nkey_files = [{key:?}]\n");
    let second = Setup::shards(2)
        .config(&format!(
            "[node]\nname = \"{second}\"\n{auth}{sections}{more}"
        ))
        .start();
    (first, second)
}

/// The database, for looking at it.
pub fn store() -> Store {
    let [address, database, user, password] = stand::postgres();
    let config = Config {
        address,
        database,
        user,
        password_file: Some(password.into()),
        schema: schema().into(),
        ..Config::default()
    };
    Store::new(&config).expect("a configuration")
}

/// Looks until `look` gives something.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        loop {
            ticks.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    let found = tokio::time::timeout(ARCHIVED, looking).await;
    found.unwrap_or_else(|_| panic!("{what} did not come"))
}

/// Waits until everything of a channel up to an offset is in the archive.
pub async fn archived(store: &Store, channel: &str, offset: u64) {
    until("the channel's archive", async || {
        let top = store.top(channel).await.ok()??;
        (top.offset >= offset).then_some(())
    })
    .await;
}

/// Publishes numbered chat messages as fast as the client takes them.
pub async fn say_all(client: &Client, channel: &str, numbers: std::ops::RangeInclusive<u64>) {
    let mut receipts = Vec::new();
    for number in numbers {
        let publish = saying(client, channel, &number.to_string());
        receipts.push(publish.enqueue().await.expect("the client takes publishes"));
    }
    for receipt in receipts {
        receipt.await.expect("every publish is acknowledged");
    }
}

/// Reads a channel's history from its beginning to its end.
pub async fn read_all(client: &Client, channel: &str) -> Vec<(Position, String)> {
    let mut events = Vec::new();
    let mut after = Position::ZERO;
    loop {
        let page = client.history(channel).after(after).limit(300).await;
        let page = page.expect("history is read");
        assert!(page.recovered, "{:?}", page.reason);
        for event in &page.events {
            events.push((event.position, text_of(&event.payload)));
        }
        match events.last() {
            Some(last) if page.more => after = last.0,
            _ => return events,
        }
    }
}
