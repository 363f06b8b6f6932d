//! The work on a batch.

use std::time::Duration;

use interlink_relay::archive::{Applied, Consumed as Step};
use interlink_relay::kafka::consumer::{Batch, Consumed, Lane};
use interlink_relay::postgres::{DeadLetter, Store, StoreError};
use tracing::warn;

use super::effect::{record_of, source_of, Effect};
use super::limits::{ATTEMPTS, ATTEMPT_PAUSE, PAUSE_FIRST, PAUSE_MAX};
use super::now_us;
use crate::ingress::{DeadLetters, Reason};

/// What work on batches needs.
pub(super) struct Work {
    pub store: Store,
    pub letters: DeadLetters,
    pub group: &'static str,
    pub effect: Effect,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    /// It is stored; reading goes on.
    Done {
        /// The next offset.
        next: i64,
    },
    /// Somebody else has moved the offset.
    Elsewhere {
        /// To here.
        next: i64,
    },
}

impl Work {
    /// Where a partition goes on, however often that has to be asked.
    pub async fn claim(&self, lane: &Lane) -> i64 {
        let mut pause = PAUSE_FIRST;
        loop {
            let (topic, part) = (&lane.topic, lane.partition);
            match self.store.claim(self.group, topic, part, 0).await {
                Ok(next) => return next,
                Err(error) => rest(&mut pause, &error).await,
            }
        }
    }

    /// Stores a batch whose first record is at or behind `start`.
    pub async fn work_off(&self, batch: &Batch, start: i64) -> Outcome {
        match self.store_all(batch, &batch.records, start).await {
            Ok(outcome) => outcome,
            Err(_) => self.one_by_one(batch, start).await,
        }
    }

    /// Stores each record by itself; those that are refused become dead letters.
    async fn one_by_one(&self, batch: &Batch, start: i64) -> Outcome {
        let mut next = start;
        for record in &batch.records {
            let (mut attempts, mut pause) = (0, ATTEMPT_PAUSE);
            let outcome = loop {
                let one = std::slice::from_ref(record);
                match self.store_all(batch, one, next).await {
                    Ok(outcome) => break outcome,
                    Err(reason) => {
                        attempts += 1;
                        // A form that is wrong does not become right.
                        if attempts == ATTEMPTS || reason.code == MALFORMED {
                            break self.bury(batch, record, &reason, attempts, next).await;
                        }
                        tokio::time::sleep(pause).await;
                        pause *= 2;
                    }
                }
            };
            match outcome {
                Outcome::Done { next: moved } => next = moved,
                elsewhere => return elsewhere,
            }
        }
        Outcome::Done { next }
    }

    /// Stores records of a batch; waits while the database cannot be used.
    async fn store_all(
        &self,
        batch: &Batch,
        records: &[Consumed],
        start: i64,
    ) -> Result<Outcome, Reason> {
        let items = records.iter().map(|record| {
            record.decode().map_err(|error| Reason {
                code: MALFORMED.into(),
                cause: error.to_string(),
            })
        });
        let items = items.collect::<Result<Vec<_>, _>>()?;
        let sources: Vec<_> = items.iter().map(source_of).collect();
        let entries = sources.iter().zip(&items);
        let entries: Vec<_> = entries
            .map(|(source, item)| record_of(source, item))
            .collect();
        let step = self.step(&batch.lane, records, start);
        let mut pause = PAUSE_FIRST;
        loop {
            let applied = self.effect.apply(&self.store, &step, &entries, now_us());
            match applied.await {
                Ok(Applied::Stored(_)) => return Ok(Outcome::Done { next: step.end }),
                // The answer to an attempt before this one may have been lost.
                Ok(Applied::Elsewhere { next }) if next == step.end => {
                    return Ok(Outcome::Done { next });
                }
                Ok(Applied::Elsewhere { next }) => return Ok(Outcome::Elsewhere { next }),
                Err(error) if error.is_of_the_record() => {
                    return Err(Reason {
                        code: "refused_values".into(),
                        cause: error.to_string(),
                    });
                }
                Err(error) => rest(&mut pause, &error).await,
            }
        }
    }

    /// Keeps a dead letter in topic and table, then passes the record.
    async fn bury(
        &self,
        batch: &Batch,
        record: &Consumed,
        reason: &Reason,
        attempts: u32,
        start: i64,
    ) -> Outcome {
        self.letters.keep(record, &batch.lane, reason).await;
        let headers = record.headers.iter();
        let letter = DeadLetter {
            group: self.group,
            topic: &batch.lane.topic,
            partition: batch.lane.partition,
            offset: record.offset,
            key: &record.key,
            headers: headers.map(|(name, value)| (&**name, &**value)).collect(),
            value: &record.value,
            error: &format!("{}: {}", reason.code, reason.cause),
            attempts,
        };
        let mut pause = PAUSE_FIRST;
        while let Err(error) = self.store.keep_dead_letter(&letter, now_us()).await {
            rest(&mut pause, &error).await;
        }
        let step = self.step(&batch.lane, std::slice::from_ref(record), start);
        loop {
            match self.store.pass(&step).await {
                Ok(true) => return Outcome::Done { next: step.end },
                Ok(false) => {
                    let next = self.claim(&batch.lane).await;
                    return match next == step.end {
                        true => Outcome::Done { next },
                        false => Outcome::Elsewhere { next },
                    };
                }
                Err(error) => rest(&mut pause, &error).await,
            }
        }
    }

    fn step<'a>(&self, lane: &'a Lane, records: &[Consumed], start: i64) -> Step<'a> {
        let last = records.last();
        let through_ms = last.map_or(0, |record| record.timestamp_ms.max(0));
        Step {
            group: self.group,
            topic: &lane.topic,
            partition: lane.partition,
            start,
            end: last.map_or(start, |record| record.offset + 1),
            through_us: through_ms as u64 * 1_000,
        }
    }
}

/// Code of a record that no node wrote.
const MALFORMED: &str = "invalid_record";

/// Waits before the next attempt.
async fn rest(pause: &mut Duration, error: &StoreError) {
    warn!(%error, "a partition waits for the database");
    tokio::time::sleep(*pause).await;
    *pause = (2 * *pause).min(PAUSE_MAX);
}
