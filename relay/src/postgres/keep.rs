//! Storing a batch of a topic: history, ids, tops, sequences and the offset, all or nothing.

use std::collections::{BTreeMap, HashSet};

use deadpool_postgres::Transaction;
use interlink_protocol::ids::{Position, RecordId};

use super::error::StoreError;
use super::limits::{DAYS_AHEAD, ID_DAYS};
use super::offsets::{open, sequences, set_sequences};
use super::plan::plan;
use super::store::Store;
use super::values::{class_number, day_of, signed, Placements, Uuid};
use crate::archive::{Applied, ArchivedEvent, Consumed, TopicEntry, TopicRecord};
use crate::record::Placement;

const KNOWN: &str = "SELECT DISTINCT record FROM record_id WHERE record = ANY ($1::uuid[])";

const ACCEPT: &str = "
    INSERT INTO record_id (kept_day, record, payload_hash, class, channel,
                           epoch, position_offset, chain, previous_chain)
    SELECT * FROM unnest(
        $1::integer[], $2::uuid[], $3::bigint[], $4::smallint[], $5::text[],
        $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
    ON CONFLICT DO NOTHING";

const PLACE: &str = "
    INSERT INTO history (kept_day, channel, position_offset, epoch, chain, previous_chain,
                         record, class, accepted_us, stored_us, frame)
    SELECT day, channel, place, epoch, chain, previous, record, class, accepted, $11::bigint, frame
    FROM unnest(
        $1::integer[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
        $7::uuid[], $8::smallint[], $9::bigint[], $10::bytea[]
    ) AS new (day, channel, place, epoch, chain, previous, record, class, accepted, frame)
    ON CONFLICT DO NOTHING";

const UNPLACED: &str = "
    INSERT INTO unplaced (record, class, accepted_us, stored_us, frame)
    SELECT record, class, accepted, $5::bigint, frame
    FROM unnest($1::uuid[], $2::smallint[], $3::bigint[], $4::bytea[])
        AS new (record, class, accepted, frame)
    ON CONFLICT DO NOTHING";

/// An event that waited for its place, or stands at another one.
const COPY: &str = "
    INSERT INTO history (kept_day, channel, position_offset, epoch, chain, previous_chain,
                         record, class, accepted_us, stored_us, frame)
    SELECT known.kept_day, known.channel, place.position_offset, place.epoch, place.chain,
           place.previous_chain, place.record, coalesce(waiting.class, standing.class),
           coalesce(waiting.accepted_us, standing.accepted_us), $6::bigint,
           coalesce(waiting.frame, standing.frame)
    FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
        AS place (record, epoch, position_offset, chain, previous_chain)
    JOIN record_id AS known ON known.record = place.record
    LEFT JOIN unplaced AS waiting ON waiting.record = place.record
    LEFT JOIN history AS standing ON standing.channel = known.channel
        AND standing.position_offset = known.position_offset AND standing.epoch = known.epoch
    WHERE coalesce(waiting.frame, standing.frame) IS NOT NULL
    ON CONFLICT DO NOTHING";

/// A record has the newest of its places.
const MOVE: &str = "
    UPDATE record_id AS known SET epoch = place.epoch, position_offset = place.position_offset,
        chain = place.chain, previous_chain = place.previous_chain
    FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
        AS place (record, epoch, position_offset, chain, previous_chain)
    WHERE known.record = place.record AND (known.epoch IS NULL
        OR (place.epoch, place.position_offset) > (known.epoch, known.position_offset))";

const ARRIVED: &str = "DELETE FROM unplaced WHERE record = ANY ($1::uuid[])";

/// In the order of channels, so that two batches never wait for each other.
const TOPS: &str = "
    INSERT INTO channel_top AS known (channel, epoch, position_offset, chain, moved_us)
    SELECT *, $5::bigint FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
    ON CONFLICT (channel) DO UPDATE SET epoch = excluded.epoch,
        position_offset = excluded.position_offset, chain = excluded.chain,
        moved_us = excluded.moved_us
    WHERE (excluded.epoch, excluded.position_offset) > (known.epoch, known.position_offset)";

impl Store {
    /// Stores a batch and moves the offset, in one transaction. After an error nothing or all of
    /// it is stored; the same call again tells which by [`Applied::Elsewhere`].
    ///
    /// # Errors
    /// [`StoreError::Refused`] when a record of the batch is at fault.
    pub async fn keep(
        &self,
        consumed: &Consumed<'_>,
        records: &[TopicRecord<'_>],
        now_us: u64,
    ) -> Result<Applied, StoreError> {
        let mut client = self.client().await?;
        let work = match open(&mut client, consumed).await? {
            Ok(work) => work,
            Err(elsewhere) => return Ok(elsewhere),
        };
        let sequences = sequences(&work, consumed).await?;
        let known = known(&work, records).await?;
        let mut plan = plan(records, &sequences, &known);
        accept(&work, &plan.accepted, now_us).await?;
        place(&work, &plan.placed, now_us).await?;
        wait_for_place(&work, &plan.unplaced, now_us).await?;
        plan.counts.orphans = settle(&work, &plan.placed, &plan.moved, &known, now_us).await?;
        set_tops(&work, &plan.tops, now_us).await?;
        set_sequences(&work, consumed, &plan.sequences, now_us).await?;
        work.commit().await?;
        Ok(Applied::Stored(plan.counts))
    }
}

/// Ids of a batch that are stored already. The locked offset keeps others of the partition out,
/// and a record is always in the same one.
async fn known(
    work: &Transaction<'_>,
    records: &[TopicRecord<'_>],
) -> Result<HashSet<RecordId>, StoreError> {
    let ids = records.iter().map(|record| match &record.entry {
        TopicEntry::Event(event) => event.record,
        TopicEntry::Positioned { record, .. } => *record,
    });
    let ids: Vec<Uuid> = ids.map(Uuid::from).collect();
    let statement = work.prepare_cached(KNOWN).await?;
    let rows = work.query(&statement, &[&ids]).await?;
    let known = rows.iter().map(|row| row.get::<_, Uuid>(0).into());
    Ok(known.collect())
}

/// The day whose partition holds an event: its own, if that is still kept.
fn kept_day(accepted_at_us: u64, now_us: u64) -> i32 {
    let today = day_of(now_us);
    let oldest = (today - ID_DAYS).max(0);
    day_of(accepted_at_us).clamp(oldest, today + DAYS_AHEAD)
}

async fn accept(
    work: &Transaction<'_>,
    events: &[ArchivedEvent<'_>],
    now_us: u64,
) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let (mut days, mut records, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut classes, mut channels) = (Vec::new(), Vec::new());
    let (mut epochs, mut offsets) = (Vec::new(), Vec::new());
    let (mut chains, mut previous) = (Vec::new(), Vec::new());
    for event in events {
        days.push(kept_day(event.accepted_at_us, now_us));
        records.push(Uuid::from(event.record));
        hashes.push(signed(event.payload_hash));
        classes.push(class_number(event.class));
        channels.push(event.channel);
        let place = event.placement;
        epochs.push(place.map(|place| signed(place.position.epoch)));
        offsets.push(place.map(|place| signed(place.position.offset)));
        chains.push(place.map(|place| signed(place.position.chain)));
        previous.push(place.map(|place| signed(place.previous_chain)));
    }
    let statement = work.prepare_cached(ACCEPT).await?;
    work.execute(
        &statement,
        &[
            &days, &records, &hashes, &classes, &channels, &epochs, &offsets, &chains, &previous,
        ],
    )
    .await?;
    Ok(())
}

async fn place(
    work: &Transaction<'_>,
    placed: &[(ArchivedEvent<'_>, Placement)],
    now_us: u64,
) -> Result<(), StoreError> {
    if placed.is_empty() {
        return Ok(());
    }
    let (mut days, mut channels, mut records) = (Vec::new(), Vec::new(), Vec::new());
    let (mut classes, mut accepted, mut frames) = (Vec::new(), Vec::new(), Vec::new());
    let mut places = Placements::default();
    for (event, placement) in placed {
        days.push(kept_day(event.accepted_at_us, now_us));
        channels.push(event.channel);
        places.push(placement);
        records.push(Uuid::from(event.record));
        classes.push(class_number(event.class));
        accepted.push(signed(event.accepted_at_us));
        frames.push(event.frame);
    }
    let Placements {
        epochs,
        offsets,
        chains,
        previous,
    } = places;
    let statement = work.prepare_cached(PLACE).await?;
    let now = signed(now_us);
    work.execute(
        &statement,
        &[
            &days, &channels, &offsets, &epochs, &chains, &previous, &records, &classes, &accepted,
            &frames, &now,
        ],
    )
    .await?;
    Ok(())
}

async fn wait_for_place(
    work: &Transaction<'_>,
    events: &[ArchivedEvent<'_>],
    now_us: u64,
) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let records: Vec<_> = events
        .iter()
        .map(|event| Uuid::from(event.record))
        .collect();
    let classes: Vec<_> = events
        .iter()
        .map(|event| class_number(event.class))
        .collect();
    let accepted = events.iter().map(|event| signed(event.accepted_at_us));
    let accepted: Vec<_> = accepted.collect();
    let frames: Vec<_> = events.iter().map(|event| event.frame).collect();
    let statement = work.prepare_cached(UNPLACED).await?;
    let now = signed(now_us);
    work.execute(&statement, &[&records, &classes, &accepted, &frames, &now])
        .await?;
    Ok(())
}

/// Gives events of earlier batches their places, and repeats of them theirs; how many places
/// belong to nothing that is known.
async fn settle(
    work: &Transaction<'_>,
    placed: &[(ArchivedEvent<'_>, Placement)],
    moved: &[(RecordId, Placement)],
    known: &HashSet<RecordId>,
    now_us: u64,
) -> Result<u64, StoreError> {
    let orphans = moved.iter().filter(|(record, _)| !known.contains(record));
    let orphans = orphans.count() as u64;
    let repeated = placed.iter().map(|(event, place)| (event.record, *place));
    let places: BTreeMap<_, _> = moved
        .iter()
        .copied()
        .chain(repeated)
        .filter(|(record, _)| known.contains(record))
        .map(|(record, place)| ((record, place.position.epoch, place.position.offset), place))
        .collect();
    if places.is_empty() {
        return Ok(orphans);
    }
    let mut columns = Placements::default();
    let mut records = Vec::new();
    // The newest place of a record comes last, and one statement must not move a row twice.
    let mut newest: BTreeMap<RecordId, Placement> = BTreeMap::new();
    for ((record, _, _), placement) in &places {
        records.push(Uuid::from(*record));
        columns.push(placement);
        newest.insert(*record, *placement);
    }
    let statement = work.prepare_cached(COPY).await?;
    let now = signed(now_us);
    let Placements {
        epochs,
        offsets,
        chains,
        previous,
    } = &columns;
    work.execute(
        &statement,
        &[&records, epochs, offsets, chains, previous, &now],
    )
    .await?;
    let mut columns = Placements::default();
    newest.values().for_each(|place| columns.push(place));
    let records: Vec<_> = newest.keys().map(|record| Uuid::from(*record)).collect();
    let statement = work.prepare_cached(MOVE).await?;
    let Placements {
        epochs,
        offsets,
        chains,
        previous,
    } = &columns;
    work.execute(&statement, &[&records, epochs, offsets, chains, previous])
        .await?;
    let statement = work.prepare_cached(ARRIVED).await?;
    work.execute(&statement, &[&records]).await?;
    Ok(orphans)
}

async fn set_tops(
    work: &Transaction<'_>,
    tops: &BTreeMap<&str, Position>,
    now_us: u64,
) -> Result<(), StoreError> {
    if tops.is_empty() {
        return Ok(());
    }
    let channels: Vec<_> = tops.keys().copied().collect();
    let epochs: Vec<_> = tops.values().map(|top| signed(top.epoch)).collect();
    let offsets: Vec<_> = tops.values().map(|top| signed(top.offset)).collect();
    let chains: Vec<_> = tops.values().map(|top| signed(top.chain)).collect();
    let statement = work.prepare_cached(TOPS).await?;
    let now = signed(now_us);
    work.execute(&statement, &[&channels, &epochs, &offsets, &chains, &now])
        .await?;
    Ok(())
}
