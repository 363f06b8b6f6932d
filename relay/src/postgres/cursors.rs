//! Delivery cursors: forward only, of the same rules as [`crate::cursors`].

use std::collections::BTreeMap;

use interlink_protocol::ids::RecordId;

use super::error::StoreError;
use super::store::Store;
use super::values::{position, signed, Uuid};
use crate::cursors::{Cursor, CursorStart, CursorUpdate};
use crate::limits::CURSOR_DEVICES_MAX;

/// Rows are taken in the order of their keys, so that two calls never wait for each other.
const ADVANCE: &str = "
    INSERT INTO delivery_cursor AS known
        (user_name, channel, device, epoch, position_offset, chain, record, moved_us)
    SELECT *, $8::bigint FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::uuid[]
    )
    ON CONFLICT (user_name, channel, device) DO UPDATE SET
        epoch = excluded.epoch, position_offset = excluded.position_offset,
        chain = excluded.chain, record = excluded.record, moved_us = excluded.moved_us
    WHERE (excluded.epoch, excluded.position_offset) > (known.epoch, known.position_offset)";

/// Of too many devices on a channel the one that was quiet longest goes.
const FORGET: &str = "
    DELETE FROM delivery_cursor AS gone USING (
        SELECT user_name, channel, device, row_number() OVER (
            PARTITION BY user_name, channel ORDER BY moved_us DESC, device
        ) AS place
        FROM delivery_cursor WHERE user_name = ANY ($1::text[])
    ) AS ranked
    WHERE ranked.place > $2 AND gone.user_name = ranked.user_name
      AND gone.channel = ranked.channel AND gone.device = ranked.device";

const START: &str = "
    SELECT epoch, position_offset, chain, record, device = $3 FROM delivery_cursor
    WHERE user_name = $1 AND channel = $2
    ORDER BY (device = $3) DESC, epoch DESC, position_offset DESC LIMIT 1";

impl Store {
    /// Moves cursors.
    ///
    /// # Errors
    /// The database's; moving them again is right.
    pub async fn advance_cursors(
        &self,
        updates: &[CursorUpdate],
        now_us: u64,
    ) -> Result<(), StoreError> {
        let furthest = furthest(updates);
        if furthest.is_empty() {
            return Ok(());
        }
        let (mut users, mut channels, mut devices) = (Vec::new(), Vec::new(), Vec::new());
        let (mut epochs, mut offsets, mut chains) = (Vec::new(), Vec::new(), Vec::new());
        let mut records = Vec::new();
        for ((user, channel, device), cursor) in &furthest {
            users.push(*user);
            channels.push(*channel);
            devices.push(*device);
            epochs.push(signed(cursor.position.epoch));
            offsets.push(signed(cursor.position.offset));
            chains.push(signed(cursor.position.chain));
            records.push(Uuid::from(cursor.record));
        }
        let mut client = self.client().await?;
        let work = client.transaction().await?;
        let statement = work.prepare_cached(ADVANCE).await?;
        let now = signed(now_us);
        work.execute(
            &statement,
            &[
                &users, &channels, &devices, &epochs, &offsets, &chains, &records, &now,
            ],
        )
        .await?;
        users.dedup();
        let statement = work.prepare_cached(FORGET).await?;
        work.execute(&statement, &[&users, &(CURSOR_DEVICES_MAX as i64)])
            .await?;
        work.commit().await?;
        Ok(())
    }

    /// Where a device continues: at its own cursor, else at the user's furthest.
    ///
    /// # Errors
    /// The database's.
    pub async fn cursor(
        &self,
        user: &str,
        device: &str,
        channel: &str,
    ) -> Result<Option<CursorStart>, StoreError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(START).await?;
        let row = client
            .query_opt(&statement, &[&user, &channel, &device])
            .await?;
        Ok(row.map(|row| CursorStart {
            cursor: Cursor {
                position: position(row.get(0), row.get(1), row.get(2)),
                record: RecordId::from(row.get::<_, Uuid>(3)),
            },
            own: row.get(4),
        }))
    }
}

type Key<'a> = (&'a str, &'a str, &'a str);

/// The last place of each cursor: one statement cannot move a row twice.
fn furthest(updates: &[CursorUpdate]) -> BTreeMap<Key<'_>, Cursor> {
    let mut furthest: BTreeMap<Key<'_>, Cursor> = BTreeMap::new();
    let place = |cursor: &Cursor| (cursor.position.epoch, cursor.position.offset);
    for update in updates {
        let key = (&*update.user, &*update.channel, &*update.device);
        let known = furthest.entry(key).or_insert(update.cursor);
        if place(&update.cursor) > place(known) {
            *known = update.cursor;
        }
    }
    furthest
}
