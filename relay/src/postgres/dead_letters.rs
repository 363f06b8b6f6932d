//! Dead letters: records that could not be processed, as they were in their topic.

use super::error::StoreError;
use super::limits::ERROR_BYTES_MAX;
use super::store::Store;
use super::values::signed;

const KEEP: &str = "
    INSERT INTO dead_letter (group_name, topic, part, topic_offset, key, header_names,
                             header_values, value, error, attempts, failed_us)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT DO NOTHING";

/// A record that could not be processed.
#[derive(Clone, Debug)]
pub struct DeadLetter<'a> {
    /// Who tried.
    pub group: &'a str,
    /// Where it was.
    pub topic: &'a str,
    /// See `topic`.
    pub partition: i32,
    /// See `topic`.
    pub offset: i64,
    /// Its key.
    pub key: &'a [u8],
    /// Its headers.
    pub headers: Vec<(&'a str, &'a [u8])>,
    /// Its value.
    pub value: &'a [u8],
    /// What is wrong, and the cure.
    pub error: &'a str,
    /// How often it was tried.
    pub attempts: u32,
}

impl Store {
    /// Keeps a dead letter; once for each group and record.
    ///
    /// # Errors
    /// The database's; keeping it again is right.
    pub async fn keep_dead_letter(
        &self,
        letter: &DeadLetter<'_>,
        now_us: u64,
    ) -> Result<(), StoreError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(KEEP).await?;
        // A text of the database has no zero bytes.
        let clean = |text: &str| text.replace('\0', "\u{fffd}");
        let names: Vec<_> = letter.headers.iter().map(|(name, _)| clean(name)).collect();
        let values: Vec<_> = letter.headers.iter().map(|(_, value)| *value).collect();
        let mut error = clean(letter.error);
        let end = (0..=ERROR_BYTES_MAX.min(error.len())).rfind(|end| error.is_char_boundary(*end));
        error.truncate(end.unwrap_or(0));
        client
            .execute(
                &statement,
                &[
                    &letter.group,
                    &letter.topic,
                    &letter.partition,
                    &letter.offset,
                    &letter.key,
                    &names,
                    &values,
                    &letter.value,
                    &error,
                    &i32::try_from(letter.attempts).unwrap_or(i32::MAX),
                    &signed(now_us),
                ],
            )
            .await?;
        Ok(())
    }
}

const COUNT: &str = "SELECT count(*) FROM dead_letter WHERE group_name = $1";

impl Store {
    /// How many dead letters a group has.
    ///
    /// # Errors
    /// The database's.
    pub async fn dead_letters(&self, group: &str) -> Result<u64, StoreError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(COUNT).await?;
        let row = client.query_one(&statement, &[&group]).await?;
        Ok(row.get::<_, i64>(0).unsigned_abs())
    }
}
