//! The table in a back end's database: rows are claimed by lane and deleted when they are done.
//!
//! Every time is the database's. A claim that takes longer than its time costs calls and nothing
//! else: whoever attempts a row has seen the one before it published, and the server API knows
//! repeats.

use std::time::Instant;

use interlink_relay::postgres::{Config, ConfigError, Connections, StoreError};

use super::limits::{CLAIM_BYTES, CLAIM_LANES, CLAIM_TIME, LANE_ROWS};
use super::line::{Outcome, Row};
use crate::ingress::{now_ms, Reason, Wish};

const TAKE: &str = "
    WITH free AS (
        SELECT lane FROM outbox_lane AS own
        WHERE taken_until < clock_timestamp()
          AND EXISTS (SELECT FROM outbox WHERE outbox.lane = own.lane)
        ORDER BY random() LIMIT $2
        FOR UPDATE SKIP LOCKED
    )
    UPDATE outbox_lane AS own
    SET claim = $1, taken_until = clock_timestamp() + make_interval(secs => $3)
    FROM free WHERE own.lane = free.lane
    RETURNING own.lane";

/// A statement of its own: it has to see what the last owner of the lanes has deleted.
const READ: &str = "
    WITH waiting AS (
        SELECT head.* FROM unnest($1::smallint[]) AS taken (lane) CROSS JOIN LATERAL (
            SELECT id, attempted_at IS NOT NULL AS is_known, pg_column_size(publish) AS bytes
            FROM outbox WHERE outbox.lane = taken.lane ORDER BY id LIMIT $2
        ) AS head
    ), chosen AS (
        SELECT id, is_known, sum(bytes) OVER (ORDER BY id) - bytes AS before FROM waiting
    )
    UPDATE outbox SET attempted_at = coalesce(attempted_at, clock_timestamp())
    FROM chosen WHERE outbox.id = chosen.id AND chosen.before < $3
    RETURNING outbox.id, outbox.lane, chosen.is_known, coalesce(outbox.order_key, ''),
        outbox.publish::text, outbox.record::text,
        (extract(epoch FROM clock_timestamp() - outbox.attempted_at) * 1000)::bigint";

/// Lanes that somebody else has by now are left alone, and so are the times of their rows.
const SETTLE: &str = "
    WITH gone AS (
        DELETE FROM outbox WHERE id = ANY($2)
    ), released AS (
        UPDATE outbox_lane SET taken_until = '-infinity' WHERE claim = $1 RETURNING lane
    )
    UPDATE outbox SET attempted_at = NULL
    FROM released WHERE outbox.lane = released.lane AND outbox.id = ANY($3)";

/// Rows that nobody else publishes for a while.
#[derive(Debug)]
pub struct Claim {
    /// What it is known by.
    pub name: String,
    /// When it began.
    pub began: Instant,
    /// Its rows, in any order.
    pub rows: Vec<Row>,
}

/// The table.
#[derive(Clone, Debug)]
pub struct Table(Connections);

impl Table {
    /// The table as configured; nothing is connected yet.
    ///
    /// # Errors
    /// Contradictions, and files that cannot be read.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        interlink_relay::postgres::pool(config).map(Self)
    }

    /// Claims rows, if some wait that nobody has.
    ///
    /// # Errors
    /// The database's. Lanes that were taken are free again after [`CLAIM_TIME`].
    pub async fn claim(&self, name: String) -> Result<Option<Claim>, StoreError> {
        let began = Instant::now();
        let client = self.0.get().await?;
        let statement = client.prepare_cached(TAKE).await?;
        let seconds = CLAIM_TIME.as_secs_f64();
        let taken = client
            .query(&statement, &[&name, &CLAIM_LANES, &seconds])
            .await?;
        let lanes: Vec<i16> = taken.iter().map(|row| row.get(0)).collect();
        if lanes.is_empty() {
            return Ok(None);
        }
        let statement = client.prepare_cached(READ).await?;
        let found = client
            .query(&statement, &[&lanes, &LANE_ROWS, &CLAIM_BYTES])
            .await?;
        let rows = found.iter().map(|row| {
            let (id, key, publish): (i64, String, String) = (row.get(0), row.get(3), row.get(4));
            let since_ms = now_ms().saturating_sub(row.get::<_, i64>(6).max(0));
            let identity = || row.get::<_, String>(5);
            let wish = Wish::parse(publish.as_bytes(), key.as_bytes(), since_ms, identity);
            Row {
                id,
                lane: row.get(1),
                is_known: row.get(2),
                wish: wish.map_err(Reason::from),
                key,
                publish,
            }
        });
        Ok(Some(Claim {
            name,
            began,
            rows: rows.collect(),
        }))
    }

    /// Deletes what is done and lets others have the lanes.
    ///
    /// # Errors
    /// The database's. What was published is then published again under the same keys.
    pub async fn settle(&self, claim: &str, outcome: &Outcome) -> Result<(), StoreError> {
        let client = self.0.get().await?;
        let statement = client.prepare_cached(SETTLE).await?;
        client
            .execute(&statement, &[&claim, &outcome.gone, &outcome.untouched])
            .await?;
        Ok(())
    }
}
