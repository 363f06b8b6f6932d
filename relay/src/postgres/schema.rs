//! The schema brought up to date, and its partitions made and dropped.
//!
//! Several processes may do this at once: a lock of the database lets one after the other.

use deadpool_postgres::Transaction;

use super::error::StoreError;
use super::limits;
use super::store::Store;
use super::values::{day_of, signed};

mod embedded {
    refinery::embed_migrations!("src/postgres/migrations");
}

/// Key of the lock; the bytes of "ilnk".
const UPKEEP_LOCK: i64 = 0x696c_6e6b;

/// Tables with one partition a day.
const BY_DAY: [&str; 2] = ["history", "record_id"];

impl Store {
    /// Makes the schema, applies what migrations are missing, and does the first upkeep.
    /// `now_us` is microseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`StoreError::Setup`] when the user may not, or the schema is of a later version.
    pub async fn prepare(&self, now_us: u64) -> Result<(), StoreError> {
        let mut client = self.client().await?;
        client
            .query_one("SELECT pg_advisory_lock($1)::text", &[&UPKEEP_LOCK])
            .await?;
        let made = format!("CREATE SCHEMA IF NOT EXISTS {}", self.schema);
        let outcome = match client.batch_execute(&made).await {
            Err(error) => Err(error.into()),
            Ok(()) => {
                let runner = embedded::migrations::runner();
                let outcome = runner.run_async(&mut **client).await;
                outcome.map(drop).map_err(|error| of_migration(&error))
            }
        };
        let unlock = "SELECT pg_advisory_unlock($1)";
        client.query_one(unlock, &[&UPKEEP_LOCK]).await?;
        outcome?;
        drop(client);
        self.tend(now_us).await
    }

    /// Makes the partitions of today and the next days, drops those that are over, and forgets
    /// what was quiet for long. To be called at least once a day, best every hour.
    ///
    /// # Errors
    /// Calling it again is always right.
    pub async fn tend(&self, now_us: u64) -> Result<(), StoreError> {
        let mut client = self.client().await?;
        let work = client.transaction().await?;
        work.query_one("SELECT pg_advisory_xact_lock($1)::text", &[&UPKEEP_LOCK])
            .await?;
        let today = day_of(now_us);
        for (table, days) in BY_DAY.into_iter().zip([self.history_days, limits::ID_DAYS]) {
            let present = partitions(&work, table).await?;
            // New events of a retained day may come late, from a node that was away.
            let first = (today - limits::ID_DAYS).max(0);
            for day in first..=today + limits::DAYS_AHEAD {
                if !present.contains(&day) {
                    make(&work, table, day).await?;
                }
            }
            // A day more than promised: clocks differ.
            let over = present.iter().filter(|day| **day < today - days - 1);
            for day in over {
                let drop = format!("DROP TABLE \"{table}_{day}\"");
                work.batch_execute(&drop).await?;
            }
        }
        forget(&work, now_us).await?;
        work.commit().await?;
        Ok(())
    }
}

/// Days whose partitions exist.
async fn partitions(work: &Transaction<'_>, table: &str) -> Result<Vec<i32>, StoreError> {
    let sql = "SELECT part.relname::text FROM pg_inherits \
               JOIN pg_class AS part ON part.oid = inhrelid \
               WHERE inhparent = to_regclass($1)";
    let rows = work.query(sql, &[&table]).await?;
    let names = rows.iter().map(|row| row.get::<_, String>(0));
    let days = names.filter_map(|name| name.rsplit('_').next()?.parse().ok());
    Ok(days.collect())
}

/// Made apart and then attached, which does not wait for readers of the table.
async fn make(work: &Transaction<'_>, table: &str, day: i32) -> Result<(), StoreError> {
    let next = day + 1;
    let sql = format!(
        "CREATE TABLE \"{table}_{day}\" (LIKE {table} INCLUDING ALL);
         ALTER TABLE {table} ATTACH PARTITION \"{table}_{day}\"
             FOR VALUES FROM ({day}) TO ({next});"
    );
    Ok(work.batch_execute(&sql).await?)
}

async fn forget(work: &Transaction<'_>, now_us: u64) -> Result<(), StoreError> {
    let before = |days: u64| signed(now_us.saturating_sub(days * 86_400_000_000));
    let quiet = before(limits::QUIET_DAYS);
    let sources = before(limits::SOURCE_QUIET_DAYS);
    for (sql, time) in [
        ("DELETE FROM source_sequence WHERE moved_us < $1", sources),
        ("DELETE FROM delivery_cursor WHERE moved_us < $1", quiet),
        ("DELETE FROM channel_top WHERE moved_us < $1", quiet),
        ("DELETE FROM unplaced WHERE stored_us < $1", sources),
    ] {
        work.execute(sql, &[&time]).await?;
    }
    Ok(())
}

fn of_migration(error: &refinery::Error) -> StoreError {
    let cause = std::error::Error::source(error);
    let cause = cause.map_or(String::new(), |cause| format!(": {cause}"));
    StoreError::Setup(format!(
        "the schema cannot be brought up to date: {error}{cause}"
    ))
}
