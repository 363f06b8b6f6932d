//! What a process does with records. Each role is a folder here.
//!
//! A role is a function that runs until it is told to stop, then finishes what is under way and
//! leaves its consumer groups. A process runs one or several; when one fails, all of them stop.
//!
//! Runs on: a tokio runtime of several threads.

pub mod archival;
pub mod bridge;
pub mod realtime;

use interlink_relay::postgres::{Store, StoreError};
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info};

use crate::config::Config;
use crate::exit::{CommandError, Exit};
use crate::stored;

/// What a process does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Role {
    /// Keep history, ids and tops of what nodes feed.
    Archival,
    /// Publish what back ends send to the ingress topic or commit to an outbox, through the
    /// server API of edges, escalate what nobody acknowledges in time, and place again what nodes
    /// have fed that have no lease.
    Realtime,
    /// Carry the events of this region to another one.
    Bridge,
}

impl Role {
    async fn run(self, config: &Config, mut stop: Stop) -> Result<(), CommandError> {
        match self {
            Self::Archival => match store(config, &mut stop).await? {
                Some(store) => archival::run(config, store, stop).await,
                None => Ok(()),
            },
            Self::Realtime => realtime::run(config, stop).await,
            Self::Bridge => bridge::run(config, stop).await,
        }
    }
}

/// Tells when to stop.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// Tells others to stop; so does dropping it.
#[derive(Debug)]
pub struct StopSender(watch::Sender<bool>);

impl Stop {
    /// A pair of both ends.
    pub fn pair() -> (StopSender, Self) {
        let (sender, receiver) = watch::channel(false);
        (StopSender(sender), Self(receiver))
    }

    /// Returns when it is time to stop.
    pub async fn requested(&mut self) {
        // A sender that is gone is a request as well.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

impl StopSender {
    /// It is time to stop.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// Runs roles until a signal or a failure.
///
/// # Errors
/// Why a role failed.
pub fn run(config: &Config, roles: &[Role]) -> Result<(), CommandError> {
    config.log.install()?;
    let failed = |error: std::io::Error| CommandError::new(Exit::Failed, error);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let (sender, stop) = Stop::pair();
        let mut running = JoinSet::new();
        for role in roles.iter().copied() {
            let (config, stop) = (config.clone(), stop.clone());
            running.spawn(async move { (role, role.run(&config, stop).await) });
        }
        let mut outcome = Ok(());
        loop {
            tokio::select! {
                ended = running.join_next() => match ended {
                    None => return outcome,
                    Some(ended) => {
                        sender.stop();
                        outcome = outcome.and(judge(ended));
                    }
                },
                _ = terminate.recv() => sender.stop(),
                _ = interrupt.recv() => sender.stop(),
            }
        }
    })
}

/// The database, up to date; nothing when it is time to stop before it answers.
async fn store(config: &Config, stop: &mut Stop) -> Result<Option<Store>, CommandError> {
    let Some(database) = config.postgres.client()? else {
        let cause = "the role needs a database; set postgres.address";
        return Err(CommandError::new(Exit::Config, cause));
    };
    let wrong = |error| CommandError::new(Exit::Config, error);
    let store = Store::new(&database).map_err(wrong)?;
    tokio::select! {
        outcome = prepared(&store) => outcome.map(|()| Some(store)),
        () = stop.requested() => Ok(None),
    }
}

/// Brings the schema up to date, however long the database is away.
async fn prepared(store: &Store) -> Result<(), CommandError> {
    loop {
        match store.prepare(stored::now_us()).await {
            Ok(()) => return Ok(()),
            Err(error @ StoreError::Setup(_)) => {
                return Err(CommandError::new(Exit::Refused, error))
            }
            Err(error) => {
                tracing::warn!(%error, "waiting for the database");
                tokio::time::sleep(stored::limits::PAUSE_MAX).await;
            }
        }
    }
}

type Ended = Result<(Role, Result<(), CommandError>), tokio::task::JoinError>;

fn judge(ended: Ended) -> Result<(), CommandError> {
    match ended {
        Ok((role, Ok(()))) => info!(?role, "stopped in order"),
        Ok((role, Err(cause))) => {
            error!(?role, %cause, "a role failed");
            return Err(cause);
        }
        Err(cause) => return Err(CommandError::new(Exit::Failed, cause)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PostgresSection;

    #[tokio::test]
    async fn stopping_reaches_everybody_and_so_does_a_lost_sender() {
        let (sender, stop) = Stop::pair();
        let (mut one, mut other) = (stop.clone(), stop);
        sender.stop();
        one.requested().await;
        drop(sender);
        other.requested().await;
    }
    #[tokio::test]
    async fn a_role_that_waits_for_its_database_can_be_stopped() {
        let config = Config {
            postgres: PostgresSection {
                // Nobody listens there.
                address: "127.0.0.1:1".into(),
                ..PostgresSection::default()
            },
            ..Config::default()
        };
        let (sender, stop) = Stop::pair();
        let waiting = Role::Archival.run(&config, stop);
        let (ended, ()) = tokio::join!(waiting, async { sender.stop() });
        ended.expect("stopped in order");
    }
}
