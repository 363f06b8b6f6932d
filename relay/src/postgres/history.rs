//! Reading history.

use std::collections::HashMap;

use interlink_protocol::ids::{Position, RecordId};
use tokio_postgres::Row as SqlRow;

use super::error::StoreError;
use super::limits::LOST_ROWS;
use super::page::{page, Row, Wanted};
use super::store::Store;
use super::values::{class_of, position, signed, unsigned, Uuid};
use crate::files::{HistoryFloor, HistoryPage};
use crate::limits::{HISTORY_BYTES_MAX, HISTORY_EVENTS_MAX};
use crate::record::Placement;

const TOP: &str = "SELECT epoch, position_offset, chain FROM channel_top WHERE channel = $1";

const MANY_TOPS: &str = "SELECT channel, epoch, position_offset, chain FROM channel_top \
    WHERE channel = ANY ($1::text[])";

const TOPS_AFTER: &str = "SELECT channel, epoch, position_offset, chain FROM channel_top \
    WHERE channel > $1 ORDER BY channel LIMIT $2";

/// Frames beyond the bytes of a page are not read.
const EVENTS: &str = "
    SELECT position_offset, epoch, chain, previous_chain, record, class, accepted_us, stored_us,
           frame
    FROM (
        SELECT *, sum(octet_length(frame)) OVER (
            ORDER BY position_offset, epoch ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS bytes_before
        FROM (
            SELECT * FROM history
            WHERE channel = $1 AND position_offset >= $2 AND position_offset >= $3
              AND accepted_us >= $4
            ORDER BY position_offset, epoch LIMIT $5
        ) AS first
    ) AS sized
    WHERE coalesce(bytes_before, 0) < $6
    ORDER BY position_offset, epoch";

/// How many more bytes than a page has are read at most: rows of lost numberings among them.
const BYTES_READ: i64 = 2 * HISTORY_BYTES_MAX as i64;

impl Store {
    /// Position of the newest archived event of a channel.
    ///
    /// # Errors
    /// The database's.
    pub async fn top(&self, channel: &str) -> Result<Option<Position>, StoreError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(TOP).await?;
        let row = client.query_opt(&statement, &[&channel]).await?;
        Ok(row.map(|row| position(row.get(0), row.get(1), row.get(2))))
    }

    /// The same of many channels, in their order.
    ///
    /// # Errors
    /// The database's.
    pub async fn tops(&self, channels: &[Box<str>]) -> Result<Vec<Option<Position>>, StoreError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(MANY_TOPS).await?;
        let names: Vec<&str> = channels.iter().map(|channel| &**channel).collect();
        let rows = client.query(&statement, &[&names]).await?;
        let known: HashMap<&str, Position> = rows
            .iter()
            .map(|row| (row.get(0), position(row.get(1), row.get(2), row.get(3))))
            .collect();
        Ok(names.iter().map(|name| known.get(name).copied()).collect())
    }

    /// Channels after one in the order of their names, at most `limit`, with the positions of their
    /// newest archived events; an empty name asks from the first.
    ///
    /// # Errors
    /// The database's.
    pub async fn tops_after(
        &self,
        channel: &str,
        limit: usize,
    ) -> Result<Vec<(Box<str>, Position)>, StoreError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(TOPS_AFTER).await?;
        let limit = limit as i64;
        let rows = client.query(&statement, &[&channel, &limit]).await?;
        let tops = rows.iter().map(|row| {
            let name: &str = row.get(0);
            (name.into(), position(row.get(1), row.get(2), row.get(3)))
        });
        Ok(tops.collect())
    }

    /// Events of a channel after a position, at most `limit`; [`Position::ZERO`] asks from the
    /// oldest.
    ///
    /// # Errors
    /// [`StoreError::Behind`] when what follows may not be archived yet.
    pub async fn history(
        &self,
        channel: &str,
        after: Position,
        limit: usize,
        floor: HistoryFloor,
        now_us: u64,
    ) -> Result<HistoryPage, StoreError> {
        let limit = limit.clamp(1, HISTORY_EVENTS_MAX);
        let top = self.top(channel).await?;
        let oldest = match (floor.events, top) {
            (0, _) | (_, None) => 1,
            (events, Some(top)) => (top.offset + 1).saturating_sub(u64::from(events)).max(1),
        };
        let client = self.client().await?;
        let statement = client.prepare_cached(EVENTS).await?;
        let rows = client
            .query(
                &statement,
                &[
                    &channel,
                    &signed(after.offset),
                    &signed(oldest),
                    &signed(floor.accepted_us),
                    &((limit + LOST_ROWS) as i64),
                    &BYTES_READ,
                ],
            )
            .await?;
        let wanted = Wanted {
            after,
            limit,
            top,
            oldest,
            now_us,
        };
        let rows = rows.iter().map(row_of).collect();
        page(&wanted, rows).map_err(|_| StoreError::Behind)
    }
}

fn row_of(row: &SqlRow) -> Row {
    Row {
        placement: Placement {
            position: position(row.get(1), row.get(0), row.get(2)),
            previous_chain: unsigned(row.get(3)),
        },
        record: RecordId::from(row.get::<_, Uuid>(4)),
        class: class_of(row.get(5)),
        accepted_at_us: unsigned(row.get(6)),
        stored_at_us: unsigned(row.get(7)),
        frame: row.get(8),
    }
}
