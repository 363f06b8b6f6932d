//! Single facts: where a record stands, whether it was accepted.

use std::collections::HashMap;

use interlink_protocol::ids::{Position, RecordId};
use tokio_postgres::Row;

use super::error::StoreError;
use super::limits::{ATTEMPT_AGE_US, ID_DAYS};
use super::store::Store;
use super::values::{position, signed, unsigned, Uuid};
use crate::dedupe::Verdict;
use crate::record::Placement;

/// The group whose progress tells how far the archive is complete.
pub(super) const ARCHIVAL: &str = "archival";

const LOCATE: &str = "SELECT epoch, position_offset, chain FROM record_id \
    WHERE record = $1 AND channel = $2 AND epoch IS NOT NULL \
    ORDER BY epoch DESC, position_offset DESC LIMIT 1";

const PLACES: &str = "SELECT DISTINCT ON (record) \
    record, epoch, position_offset, chain, previous_chain FROM record_id \
    WHERE record = ANY ($1) ORDER BY record, epoch DESC NULLS LAST, position_offset DESC";

/// The lookup of the id comes second, in a later snapshot than the progress it is judged by.
const PROGRESS: &str = "SELECT min(through_us) FROM consumer_offset WHERE group_name = $1";
const ACCEPTED: &str = "SELECT payload_hash FROM record_id WHERE record = $1 LIMIT 1";

impl Store {
    /// The newest position of a record, when it is known.
    ///
    /// # Errors
    /// The database's.
    pub async fn locate(
        &self,
        channel: &str,
        record: RecordId,
    ) -> Result<Option<Position>, StoreError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(LOCATE).await?;
        let record = Uuid::from(record);
        let row = client.query_opt(&statement, &[&record, &channel]).await?;
        Ok(row.map(|row| position(row.get(0), row.get(1), row.get(2))))
    }

    /// The newest places of records, in their order, where they are known.
    ///
    /// # Errors
    /// [`StoreError::Behind`] when one is not known and consumers have not come as far as the
    /// backplane's memory of ids reaches back.
    pub async fn places(
        &self,
        records: &[RecordId],
        now_us: u64,
    ) -> Result<Vec<Option<Placement>>, StoreError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(PROGRESS).await?;
        let through = client.query_one(&statement, &[&ARCHIVAL]).await?;
        let ids: Vec<Uuid> = records.iter().copied().map(Uuid::from).collect();
        let statement = client.prepare_cached(PLACES).await?;
        let rows = client.query(&statement, &[&ids]).await?;
        let known: HashMap<RecordId, Option<Placement>> = rows
            .iter()
            .map(|row| (row.get::<_, Uuid>(0).into(), placement_of(row)))
            .collect();
        let all = records.iter().all(|record| known.contains_key(record));
        if !all && !is_complete(through.get(0), now_us) {
            return Err(StoreError::Behind);
        }
        let places = records.iter().map(|record| *known.get(record)?);
        Ok(places.collect())
    }

    /// Whether a record was accepted whose first attempt was made at `since_us`.
    ///
    /// # Errors
    /// [`StoreError::Behind`] when it is not known and consumers have not come as far as the
    /// backplane's memory of ids reaches back.
    pub async fn accepted(
        &self,
        record: RecordId,
        payload_hash: u64,
        since_us: u64,
        now_us: u64,
    ) -> Result<Verdict, StoreError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(PROGRESS).await?;
        let through = client.query_one(&statement, &[&ARCHIVAL]).await?;
        let through: Option<i64> = through.get(0);
        let statement = client.prepare_cached(ACCEPTED).await?;
        let known = client.query_opt(&statement, &[&Uuid::from(record)]).await?;
        if let Some(row) = known {
            let is_same = row.get::<_, i64>(0) == signed(payload_hash);
            return Ok(match is_same {
                true => Verdict::Repeat,
                false => Verdict::Conflict,
            });
        }
        let kept_us = u64::from(ID_DAYS.unsigned_abs()) * 86_400_000_000;
        if since_us < now_us.saturating_sub(kept_us) {
            return Ok(Verdict::TooOld);
        }
        match is_complete(through, now_us) {
            true => Ok(Verdict::New),
            false => Err(StoreError::Behind),
        }
    }
}

/// Whether consumers have come so far that an id which is not known is new, or one that the
/// backplane remembers.
fn is_complete(through: Option<i64>, now_us: u64) -> bool {
    through.is_some_and(|us| unsigned(us) >= now_us.saturating_sub(ATTEMPT_AGE_US))
}

fn placement_of(row: &Row) -> Option<Placement> {
    let epoch: Option<i64> = row.get(1);
    Some(Placement {
        position: position(epoch?, row.get(2), row.get(3)),
        previous_chain: unsigned(row.get(4)),
    })
}
