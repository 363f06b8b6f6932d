//! P0 deadlines: until when a device has to acknowledge an event, and what became of it.
//!
//! A deadline is stored in the transaction of the offset that it was read at. When it is due, the
//! cursors of its user decide: a device that is at the event or beyond ends it, otherwise it
//! becomes an escalation. Both happen once, in one transaction.

use interlink_protocol::ids::RecordId;

use super::error::StoreError;
use super::limits::DEADLINES_AT_ONCE;
use super::offsets::{open, sequences, set_sequences};
use super::plan::fresh;
use super::store::Store;
use super::values::{signed, unsigned, Uuid};
use crate::archive::{Applied, Consumed, Stored, TopicRecord};
use crate::record::Placement;

const SET: &str = "
    INSERT INTO deadline (record, user_name, channel, epoch, position_offset, accepted_us, due_us)
    SELECT new.* FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bigint[],
                         $6::bigint[], $7::bigint[])
        AS new (record, user_name, channel, epoch, position_offset, accepted_us, due_us)
    WHERE NOT EXISTS (SELECT FROM escalation WHERE escalation.record = new.record)
    ON CONFLICT DO NOTHING";

const PLACE: &str = "
    UPDATE deadline AS known SET epoch = new.epoch, position_offset = new.position_offset
    FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS new (record, epoch, position_offset)
    WHERE known.record = new.record AND (known.epoch IS NULL
        OR (new.epoch, new.position_offset) > (known.epoch, known.position_offset))";

/// Offsets go on across epochs, so that a cursor of a later epoch is beyond an event if its
/// offset is. An event without a position was delivered to nobody.
const TAKE_DUE: &str = "
    WITH due AS (
        SELECT * FROM deadline WHERE due_us <= $1 ORDER BY due_us LIMIT $2
        FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM deadline USING due WHERE deadline.record = due.record
    ), late AS (
        SELECT due.* FROM due WHERE NOT EXISTS (
            SELECT FROM delivery_cursor AS reached
            WHERE reached.user_name = due.user_name AND reached.channel = due.channel
              AND reached.epoch >= due.epoch AND reached.position_offset >= due.position_offset
        )
    ), kept AS (
        INSERT INTO escalation (record, user_name, channel, epoch, position_offset,
                                accepted_us, due_us, escalated_us, frame)
        SELECT late.record, late.user_name, late.channel, late.epoch, late.position_offset,
               late.accepted_us, late.due_us, $1, (
                   SELECT frame FROM history WHERE history.channel = late.channel
                     AND history.position_offset = late.position_offset
                     AND history.epoch = late.epoch LIMIT 1)
        FROM late ON CONFLICT DO NOTHING
        RETURNING record, user_name, channel, accepted_us, due_us
    )
    SELECT (SELECT count(*) FROM due), record, user_name, channel, accepted_us, due_us
    FROM (SELECT 1) AS always LEFT JOIN kept ON true";

/// A deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deadline<'a> {
    /// The event.
    pub record: RecordId,
    /// Who has to acknowledge it.
    pub user: &'a str,
    /// Full channel name.
    pub channel: &'a str,
    /// Where it stands, when that was known.
    pub placement: Option<Placement>,
    /// When it was accepted, microseconds since the Unix epoch.
    pub accepted_at_us: u64,
    /// When it is due, microseconds since the Unix epoch.
    pub due_us: u64,
}

/// An event that nobody acknowledged in time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Escalation {
    /// The event.
    pub record: RecordId,
    /// Whose it is.
    pub user: String,
    /// Full channel name.
    pub channel: String,
    /// When it was accepted, microseconds since the Unix epoch.
    pub accepted_at_us: u64,
    /// When it was due, microseconds since the Unix epoch.
    pub due_us: u64,
}

impl Store {
    /// Stores the deadlines of a batch, the places in it, and the offset, in one transaction.
    /// `deadline` says which events of the batch have one; repeats by sequence are left out.
    ///
    /// # Errors
    /// The database's, see [`Store::keep`].
    pub async fn keep_deadlines<'a>(
        &self,
        consumed: &Consumed<'_>,
        records: &[TopicRecord<'a>],
        deadline: impl Fn(&TopicRecord<'a>) -> Option<Deadline<'a>>,
        now_us: u64,
    ) -> Result<Applied, StoreError> {
        let mut client = self.client().await?;
        let work = match open(&mut client, consumed).await? {
            Ok(work) => work,
            Err(elsewhere) => return Ok(elsewhere),
        };
        let (fresh, risen) = fresh(records, &sequences(&work, consumed).await?);
        let new = (0..)
            .zip(records)
            .filter(|(index, _)| fresh.contains(index));
        let new: Vec<_> = new.filter_map(|(_, record)| deadline(record)).collect();
        let statement = work.prepare_cached(SET).await?;
        let (mut ids, mut users, mut channels) = (Vec::new(), Vec::new(), Vec::new());
        let (mut epochs, mut offsets) = (Vec::new(), Vec::new());
        let (mut accepted, mut due) = (Vec::new(), Vec::new());
        for deadline in &new {
            let position = deadline.placement.map(|placement| placement.position);
            ids.push(Uuid::from(deadline.record));
            users.push(deadline.user);
            channels.push(deadline.channel);
            epochs.push(position.map(|position| signed(position.epoch)));
            offsets.push(position.map(|position| signed(position.offset)));
            accepted.push(signed(deadline.accepted_at_us));
            due.push(signed(deadline.due_us));
        }
        work.execute(
            &statement,
            &[&ids, &users, &channels, &epochs, &offsets, &accepted, &due],
        )
        .await?;
        let (mut ids, mut epochs, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
        for (record, position) in newest_places(records) {
            ids.push(Uuid::from(record));
            epochs.push(signed(position.0));
            offsets.push(signed(position.1));
        }
        let statement = work.prepare_cached(PLACE).await?;
        work.execute(&statement, &[&ids, &epochs, &offsets]).await?;
        set_sequences(&work, consumed, &risen, now_us).await?;
        work.commit().await?;
        Ok(Applied::Stored(Stored {
            events: new.len() as u64,
            repeats: (records.len() - fresh.len()) as u64,
            orphans: 0,
        }))
    }

    /// Ends what is due: how many deadlines, and those that nobody had acknowledged. There may be
    /// more when as many as are taken at once were due.
    ///
    /// # Errors
    /// The database's; nothing is lost by one.
    pub async fn take_due(&self, now_us: u64) -> Result<(usize, Vec<Escalation>), StoreError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(TAKE_DUE).await?;
        let limit = DEADLINES_AT_ONCE as i64;
        let rows = client.query(&statement, &[&signed(now_us), &limit]).await?;
        let due = rows.first().map_or(0, |row| row.get::<_, i64>(0));
        let escalations = rows.iter().filter_map(|row| {
            Some(Escalation {
                record: row.get::<_, Option<Uuid>>(1)?.into(),
                user: row.get(2),
                channel: row.get(3),
                accepted_at_us: unsigned(row.get(4)),
                due_us: unsigned(row.get(5)),
            })
        });
        Ok((usize::try_from(due).unwrap_or(0), escalations.collect()))
    }

    /// When the next deadline is due, microseconds since the Unix epoch.
    ///
    /// # Errors
    /// The database's.
    pub async fn next_due(&self) -> Result<Option<u64>, StoreError> {
        let client = self.client().await?;
        let statement = client.prepare_cached("SELECT min(due_us) FROM deadline");
        let row = client.query_one(&statement.await?, &[]).await?;
        Ok(row.get::<_, Option<i64>>(0).map(unsigned))
    }
}

/// The newest place of each record that a batch gives one.
fn newest_places(records: &[TopicRecord<'_>]) -> std::collections::BTreeMap<RecordId, (u64, u64)> {
    let mut newest = std::collections::BTreeMap::new();
    for record in records {
        let (id, position) = (record.entry.record(), record.entry.position());
        let Some(position) = position else { continue };
        let place = (position.epoch, position.offset);
        let known = newest.entry(id).or_insert(place);
        *known = place.max(*known);
    }
    newest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Source, TopicEntry};
    use interlink_protocol::ids::Position;
    use interlink_protocol::priority::Priority;

    #[test]
    fn only_the_newest_place_of_a_record_counts() {
        let source = Source {
            node: "a".into(),
            boot: 1,
            shard: 0,
            class: Priority::P0,
        };
        let positioned = |epoch, offset| TopicRecord {
            source: &source,
            sequence: 1,
            entry: TopicEntry::Positioned {
                record: RecordId(1),
                channel: "alert.ada",
                placement: Placement {
                    position: Position {
                        epoch,
                        offset,
                        chain: 1,
                    },
                    previous_chain: 0,
                },
            },
        };
        let records = [positioned(1, 9), positioned(2, 5), positioned(1, 10)];
        let newest = newest_places(&records);
        assert_eq!(
            newest.into_iter().collect::<Vec<_>>(),
            [(RecordId(1), (2, 5))]
        );
    }
}
