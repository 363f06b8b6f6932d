//! The relay thread of a cluster: between the shards of a node and Redis, Kafka and PostgreSQL.
//!
//! Purpose: it stands in for the owner of every durable channel. Records that shards have on disk
//! are numbered by the backplane and fed to Kafka, in the order of their journals; numbered events
//! go to the shards that have subscribers; shards are told how far their records have come. What
//! does not fit memory, and what earlier boots left, is read from the journal again.
//!
//! Map: `task` is the loop; `intake` takes what shards and journal bring; `calls` asks Redis and
//! hears it, `log` does that with Kafka; `watches` are subscriptions, `questions` history, `reads`
//! which of both may be asked, `past` the history that only the archive has, `archive` all that is
//! asked of it, `floors` what it says of channels that Redis may have lost, `seeding` gives it all
//! of them, `nodes` the lease and what nodes tell each other; `settings` names the servers, `guard`
//! has the breakers, `counts` are the metrics, `kept` is what a later process needs, `feed` does
//! the same for a dead node's journal.
//!
//! Decisions are made by `interlink_relay::lines`; here bytes move.
//!
//! Thread: `relay`, a tokio runtime of one thread.

mod archive;
mod calls;
mod counts;
pub mod feed;
mod floors;
mod guard;
mod intake;
pub(crate) mod kept;
pub mod limits;
mod log;
mod nodes;
mod past;
pub mod questions;
mod reads;
mod seeding;
mod settings;
mod task;
#[cfg(test)]
mod tests;
mod watches;

use std::sync::mpsc::{Receiver, Sender};
use std::sync::Arc;
use std::time::Duration;

use interlink_relay::cursors::Settled;
use interlink_relay::event_log::{LogPosition, LogRecord};
use interlink_relay::files::LaneReader;

pub(crate) use counts::{breaker_word, METRICS, SYSTEMS};
pub use counts::{BackboneCounts, BreakerCounts};

use crate::config::Config;
use crate::exit::{CommandError, Exit};
use crate::files_thread::Peer;
use crate::lanes::Port;
use crate::server::NodeEvent;
use crate::shard::files::{FilesLink, FilesRequest};
use crate::shard::Message;
use task::Relay;

/// Records of a log, and where their reader stands; nothing when the files could not be read.
type LaneRecords = Option<(LaneReader, Vec<LogRecord>)>;

/// Where the relay thread goes on in the journal.
#[derive(Debug, Default)]
pub struct BackboneLogs {
    /// Behind which record, in every log.
    pub after: Vec<LogPosition>,
    /// What earlier processes have settled lately, for each log oldest first.
    pub settled: Vec<Settled>,
    /// The servers of Redis in which that was placed, as the backplane remembers them.
    pub servers: Vec<u8>,
}

/// What the relay thread starts from.
#[derive(Debug)]
pub struct RelayPlan {
    /// The configuration.
    pub config: Arc<Config>,
    /// Number of this boot of the journal.
    pub boot: u32,
    /// Its end of the lanes.
    pub port: Port<Message>,
    /// What shards ask of it; it ends when they all have ended.
    pub requests: Receiver<FilesRequest>,
    /// Where shards get their answers.
    pub peers: Vec<Peer>,
    /// Its link to the journal-files thread.
    pub files: FilesLink,
    /// Where it goes on in the journal.
    pub logs: BackboneLogs,
    /// Where it tells about itself.
    pub counts: Arc<BackboneCounts>,
    /// How long it goes on for what is under way once the last shard has ended; without a limit
    /// until nothing is left.
    pub last_words: Option<Duration>,
}

/// Starts the thread, which tells its end to `events`; the returned function waits for it.
///
/// # Errors
/// When a secret cannot be read or the thread does not start. Brokers that do not answer are no
/// error: the node serves what it can, and goes on when they come.
pub fn start(
    plan: RelayPlan,
    events: Sender<NodeEvent>,
) -> Result<Box<dyn FnOnce()>, CommandError> {
    let servers = settings::Servers::of(&plan.config)?;
    let thread = std::thread::Builder::new()
        .name("relay".into())
        .spawn(move || {
            let ended = run(plan, servers);
            let reason = match ended {
                Ok(()) => "every shard has ended".to_owned(),
                Err(error) => format!("{error:#}"),
            };
            // The main thread may have stopped waiting.
            let _ = events.send(NodeEvent::RelayEnded(reason));
        })
        .map_err(|error| CommandError::new(Exit::Host, error))?;
    Ok(Box::new(move || drop(thread.join())))
}

fn run(plan: RelayPlan, servers: settings::Servers) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        let relay = Relay::open(plan, servers)?;
        relay.run().await?;
        anyhow::Ok(())
    })
}
