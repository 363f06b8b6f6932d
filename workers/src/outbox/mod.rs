//! What back ends want published, from a table in their own database: a transactional outbox.
//!
//! A back end inserts a row in the transaction of the change that the event tells of
//! (`outbox.sql`, printed by `interlink-workers outbox sql`). Rows of one key are in one lane. A
//! worker claims lanes that have rows, attempts the rows of each key in their order through the
//! server API, and deletes what is published or a dead letter. Several workers share the lanes; the
//! lanes of one that was killed are free after 15 s.
//!
//! Invariants: a committed row is published at least once, and in effect once, since its
//! idempotency key is the same at every attempt; a row is attempted only when the one of its key
//! before it is published or a dead letter. So two workers with the same lane, one of which was
//! held up, break no order.
//! Limits: `limits.rs`. Runs on: tokio tasks, one for each claim.

mod limits;
mod line;
mod table;
#[cfg(test)]
mod tests;
mod work;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use interlink_relay::{kafka, postgres};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::edge_api::{ApiConfig, EdgeApi};
use crate::exit::{CommandError, Exit};
use crate::ingress::DeadLetters;
use crate::roles::Stop;
use table::Table;
use work::Work;

/// Connections to the database that a process needs.
pub const CONNECTIONS: usize = limits::CONNECTIONS;

/// The statements that make the tables in a schema.
///
/// # Errors
/// When the schema's name is not allowed.
pub fn sql(schema: &str) -> Result<String, CommandError> {
    let config = postgres::Config {
        schema: schema.to_owned(),
        ..postgres::Config::default()
    };
    let checked = config.check();
    checked.map_err(|error| CommandError::new(Exit::Config, error))?;
    Ok(include_str!("outbox.sql").replace("@schema@", schema))
}

/// Publishes until it is stopped.
///
/// # Errors
/// When the configuration cannot be used. Servers that are away are no error, and neither is a
/// table that is not there yet.
pub async fn run(
    database: &postgres::Config,
    cluster: &kafka::Config,
    api: &ApiConfig,
    mut stop: Stop,
) -> Result<(), CommandError> {
    let wrong = |error: String| CommandError::new(Exit::Config, error);
    let schema = &database.schema;
    let work = Arc::new(Work {
        table: Table::new(database).map_err(|error| wrong(error.to_string()))?,
        api: EdgeApi::new(api).map_err(|error| wrong(error.to_string()))?,
        letters: DeadLetters::new(cluster).map_err(|error| wrong(error.to_string()))?,
        calls: Semaphore::new(limits::CALLS_MAX),
        place: format!("{schema}.outbox").into(),
    });
    info!(schema, "publishing from the outbox");
    let mut claims = JoinSet::new();
    tokio::select! {
        () = look(&work, &mut claims) => {}
        () = stop.requested() => {}
    }
    let ended = async { while claims.join_next().await.is_some() {} };
    if tokio::time::timeout(limits::STOP_TIME_MAX, ended)
        .await
        .is_err()
    {
        warn!("some claims were not finished in time; their rows come again");
    }
    Ok(())
}

/// Claims rows for ever.
async fn look(work: &Arc<Work>, claims: &mut JoinSet<()>) {
    let own = name();
    let mut pause = limits::PAUSE_FIRST;
    for number in 0_u64.. {
        while claims.len() >= limits::CLAIMS_MAX {
            claims.join_next().await;
        }
        match work.table.claim(format!("{own}-{number}")).await {
            Ok(Some(claim)) => {
                let work = work.clone();
                claims.spawn(async move { work.publish(claim).await });
            }
            Ok(None) => {
                while claims.try_join_next().is_some() {}
                tokio::time::sleep(limits::LOOK_EVERY).await;
            }
            Err(error) => {
                let cure =
                    "where its tables are missing, `interlink-workers outbox sql` makes them";
                warn!(%error, cure, "the outbox waits for its database");
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(limits::PAUSE_MAX);
                continue;
            }
        }
        pause = limits::PAUSE_FIRST;
    }
}

/// What the claims of this run are known by: no other run has the same process at the same time.
fn name() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_us = now.map_or(0, |now| now.as_micros());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}-{now_us}", host.trim(), std::process::id())
}
