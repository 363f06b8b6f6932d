//! `journal feed`: brings what the journal of a dead node still has to Redis and Kafka.
//!
//! Purpose: a node that never starts again leaves records on its disk that were acknowledged as
//! `local`. Its relay thread runs here without shards, over its data directory: it numbers what
//! has no position, feeds what Kafka has not acknowledged, and ends when nothing is left. What
//! other nodes were told already keeps its position, since the backplane knows the ids.
//!
//! Invariants: the data directory is locked, so that no node runs on it; how far it came is
//! written there, so that a stopped feed goes on where it stood. Nothing is removed.
//!
//! Threads: `relay` as in a node, `journal-files`, and the caller, who looks on.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::Arc;
use std::time::Duration;

use super::settings::Servers;
use super::{run, BackboneCounts, RelayPlan};
use crate::config::Config;
use crate::data_dir::DataDirectory;
use crate::exit::{CommandError, Exit};
use crate::files_thread::FilesThread;
use crate::lanes;
use crate::shard::Message;

/// How often the caller hears how far it is.
const SHOWN_EVERY: Duration = Duration::from_secs(1);

/// The journal is opened as that of a node with one shard, which writes nothing; logs of all
/// shards that the dead node had are read.
const SHARDS: u16 = 1;

/// Feeds the journal of `data`; returns what was done when nothing is left. `shown` is called
/// every second. Redis and Kafka may be away: it waits for them.
///
/// # Errors
/// When the configuration names no cluster, or the journal cannot be read.
pub fn feed(
    config: Config,
    data: &DataDirectory,
    mut shown: impl FnMut(&BackboneCounts),
) -> Result<Arc<BackboneCounts>, CommandError> {
    if !config.is_clustered() {
        let cause = "the configuration names no Redis and Kafka to which the journal could go";
        return Err(CommandError::new(Exit::Config, cause)
            .cure("give the configuration of the dead node with --config"));
    }
    let config = Arc::new(config);
    let counts = Arc::<BackboneCounts>::default();
    let (mut files, _) = FilesThread::open(&config, data, SHARDS)?;
    let logs = files.backbone_logs()?;
    let ports = lanes::mesh::<Message>(1).map_err(|error| CommandError::new(Exit::Host, error))?;
    let [port] = <[_; 1]>::try_from(ports).expect("a mesh of one thread has one port");
    let link = files.link(port.receiver.bell()).ok_or_else(|| {
        CommandError::new(Exit::Host, "the journal-files thread has started already")
    })?;
    // Nobody asks: the relay thread takes it that all shards have ended.
    let (_, requests) = mpsc::channel();
    let plan = RelayPlan {
        boot: files.boot(),
        port,
        requests,
        peers: Vec::new(),
        files: link,
        logs,
        last_words: None,
        counts: Arc::clone(&counts),
        config,
    };
    let servers = Servers::of(&plan.config)?;
    let (sender, ended) = mpsc::channel();
    let relay = std::thread::Builder::new().name("relay".into());
    let relay = relay
        .spawn(move || drop(sender.send(run(plan, servers))))
        .map_err(|error| CommandError::new(Exit::Host, error))?;
    let join_files = files.start()?;
    let outcome = loop {
        match ended.recv_timeout(SHOWN_EVERY) {
            Ok(outcome) => break outcome,
            Err(RecvTimeoutError::Timeout) => shown(&counts),
            Err(RecvTimeoutError::Disconnected) => {
                break Err(anyhow::anyhow!("the relay thread broke down"))
            }
        }
    };
    // Its outcome is known; a panic was reported where it happened.
    drop(relay.join());
    join_files();
    let failed = |error| CommandError::new(Exit::Host, format!("{error:#}"));
    outcome.map(|()| counts).map_err(failed)
}
