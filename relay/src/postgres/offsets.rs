//! How far consumers have come: offsets of topics, places in journals, sequences of sources.

use std::collections::HashMap;

use deadpool_postgres::{Client, Transaction};

use super::error::StoreError;
use super::store::Store;
use super::values::{class_number, class_of, signed, unsigned};
use crate::archive::{Applied, Consumed, Source};
use crate::event_log::LogPosition;
use crate::record::{Kind, Sequence};

const CLAIM: &str = "
    INSERT INTO consumer_offset (group_name, topic, part, next_offset, through_us)
    VALUES ($1, $2, $3, $4, 0) ON CONFLICT DO NOTHING";

const NEXT: &str =
    "SELECT next_offset FROM consumer_offset WHERE group_name = $1 AND topic = $2 AND part = $3";

/// The only place that moves an offset.
const ADVANCE: &str = "
    UPDATE consumer_offset SET next_offset = $5, through_us = greatest(through_us, $6)
    WHERE group_name = $1 AND topic = $2 AND part = $3 AND next_offset = $4";

const SEQUENCES: &str = "
    SELECT node, boot, shard, class, highest FROM source_sequence
    WHERE group_name = $1 AND topic = $2 AND part = $3";

const SET_SEQUENCES: &str = "
    INSERT INTO source_sequence AS known
        (group_name, topic, part, node, boot, shard, class, highest, moved_us)
    SELECT $1, $2, $3, *, $9::bigint
    FROM unnest($4::text[], $5::bigint[], $6::integer[], $7::smallint[], $8::bigint[])
    ON CONFLICT (group_name, topic, part, node, boot, shard, class)
    DO UPDATE SET highest = greatest(known.highest, excluded.highest),
        moved_us = excluded.moved_us";

const COMMIT_LANE: &str = "
    INSERT INTO lane_offset AS known (group_name, shard, kind, boot, sequence)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (group_name, shard, kind)
    DO UPDATE SET boot = excluded.boot, sequence = excluded.sequence
    WHERE (excluded.boot, excluded.sequence) > (known.boot, known.sequence)";

const LANE: &str =
    "SELECT boot, sequence FROM lane_offset WHERE group_name = $1 AND shard = $2 AND kind = $3";

/// Highest sequences of sources.
pub(super) type Sequences = HashMap<Source, u64>;

impl Store {
    /// The next offset of a partition for a group; a group that is new begins at `first`.
    ///
    /// # Errors
    /// The database's.
    pub async fn claim(
        &self,
        group: &str,
        topic: &str,
        partition: i32,
        first: i64,
    ) -> Result<i64, StoreError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(CLAIM).await?;
        client
            .execute(&statement, &[&group, &topic, &partition, &first])
            .await?;
        let statement = client.prepare_cached(NEXT).await?;
        let row = client
            .query_one(&statement, &[&group, &topic, &partition])
            .await?;
        Ok(row.get(0))
    }

    /// The next offset of a partition, when the group has one.
    ///
    /// # Errors
    /// The database's.
    pub async fn next_offset(
        &self,
        group: &str,
        topic: &str,
        partition: i32,
    ) -> Result<Option<i64>, StoreError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(NEXT).await?;
        let row = client
            .query_opt(&statement, &[&group, &topic, &partition])
            .await?;
        Ok(row.map(|row| row.get(0)))
    }

    /// Moves an offset without an effect: what was consumed concerned nobody, or there was
    /// nothing up to `through_us`. Says whether it moved.
    ///
    /// # Errors
    /// The database's.
    pub async fn pass(&self, consumed: &Consumed<'_>) -> Result<bool, StoreError> {
        let mut client = self.client().await?;
        let work = client.transaction().await?;
        let moved = advance(&work, consumed).await?;
        work.commit().await?;
        Ok(moved)
    }

    /// Moves the place of a group in a lane of a journal, forward only.
    ///
    /// # Errors
    /// The database's.
    pub async fn commit_lane(&self, group: &str, place: LogPosition) -> Result<(), StoreError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(COMMIT_LANE).await?;
        let (shard, kind) = (i32::from(place.shard), place.kind as i16);
        let (boot, sequence) = (i64::from(place.boot), signed(place.sequence.0));
        client
            .execute(&statement, &[&group, &shard, &kind, &boot, &sequence])
            .await?;
        Ok(())
    }

    /// The place of a group in a lane of a journal.
    ///
    /// # Errors
    /// The database's.
    pub async fn lane(
        &self,
        group: &str,
        shard: u16,
        kind: Kind,
    ) -> Result<Option<LogPosition>, StoreError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(LANE).await?;
        let row = client
            .query_opt(&statement, &[&group, &i32::from(shard), &(kind as i16)])
            .await?;
        Ok(row.map(|row| LogPosition {
            boot: u32::try_from(row.get::<_, i64>(0)).unwrap_or(u32::MAX),
            shard,
            kind,
            sequence: Sequence(unsigned(row.get(1))),
        }))
    }
}

/// Opens the transaction of a batch, in which its offset has moved; or says what the archive
/// holds when another consumer has moved it.
pub(super) async fn open<'a>(
    client: &'a mut Client,
    consumed: &Consumed<'_>,
) -> Result<Result<Transaction<'a>, Applied>, StoreError> {
    let work = client.transaction().await?;
    if advance(&work, consumed).await? {
        return Ok(Ok(work));
    }
    let statement = work.prepare_cached(NEXT).await?;
    let (group, topic) = (consumed.group, consumed.topic);
    let row = work
        .query_opt(&statement, &[&group, &topic, &consumed.partition])
        .await?;
    let next = row.map_or(0, |row| row.get(0));
    Ok(Err(Applied::Elsewhere { next }))
}

/// Moves an offset if it is where its consumer believes it to be. The row stays locked until the
/// transaction ends, so that effects of one partition come after each other.
pub(super) async fn advance(
    work: &Transaction<'_>,
    consumed: &Consumed<'_>,
) -> Result<bool, StoreError> {
    let statement = work.prepare_cached(ADVANCE).await?;
    let moved = work
        .execute(
            &statement,
            &[
                &consumed.group,
                &consumed.topic,
                &consumed.partition,
                &consumed.start,
                &consumed.end,
                &signed(consumed.through_us),
            ],
        )
        .await?;
    Ok(moved == 1)
}

/// What is known of the sources of a partition.
pub(super) async fn sequences(
    work: &Transaction<'_>,
    consumed: &Consumed<'_>,
) -> Result<Sequences, StoreError> {
    let statement = work.prepare_cached(SEQUENCES).await?;
    let (group, topic) = (&consumed.group, &consumed.topic);
    let rows = work
        .query(&statement, &[group, topic, &consumed.partition])
        .await?;
    let known = rows.iter().map(|row| {
        let source = Source {
            node: row.get::<_, &str>(0).into(),
            boot: u32::try_from(row.get::<_, i64>(1)).unwrap_or(u32::MAX),
            shard: u16::try_from(row.get::<_, i32>(2)).unwrap_or(u16::MAX),
            class: class_of(row.get(3)),
        };
        (source, unsigned(row.get(4)))
    });
    Ok(known.collect())
}

/// Stores what has risen.
pub(super) async fn set_sequences(
    work: &Transaction<'_>,
    consumed: &Consumed<'_>,
    risen: &Sequences,
    now_us: u64,
) -> Result<(), StoreError> {
    if risen.is_empty() {
        return Ok(());
    }
    let (mut nodes, mut boots, mut shards) = (Vec::new(), Vec::new(), Vec::new());
    let (mut classes, mut highest) = (Vec::new(), Vec::new());
    for (source, sequence) in risen {
        nodes.push(&*source.node);
        boots.push(i64::from(source.boot));
        shards.push(i32::from(source.shard));
        classes.push(class_number(source.class));
        highest.push(signed(*sequence));
    }
    let statement = work.prepare_cached(SET_SEQUENCES).await?;
    let (group, topic, now) = (&consumed.group, &consumed.topic, signed(now_us));
    let part = &consumed.partition;
    work.execute(
        &statement,
        &[
            group, topic, part, &nodes, &boots, &shards, &classes, &highest, &now,
        ],
    )
    .await?;
    Ok(())
}
