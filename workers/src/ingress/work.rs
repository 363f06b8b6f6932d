//! The work on a batch: keys beside each other, records of one key after each other.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::stream::{FuturesUnordered, StreamExt};
use interlink_relay::kafka::consumer::{Batch, Consumed};
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use super::attempts::Attempts;
use super::dead_letter::{DeadLetters, Reason};
use super::limits::{PAUSE_FIRST, PAUSE_MAX};
use super::record::Wish;
use crate::edge_api::{judge, EdgeApi, Verdict};

/// What work on batches needs.
pub struct Work {
    pub api: EdgeApi,
    pub letters: DeadLetters,
    pub attempts: Attempts,
    pub calls: Semaphore,
}

/// A record and what it wants.
type Task<'a> = (&'a Consumed, Result<Wish, Reason>);

impl Work {
    /// Publishes a batch; returns when every record is published or a dead letter. Records before
    /// `mark` may have been attempted by an earlier worker; it is asked for when it is not known.
    /// Gives the mark.
    pub async fn publish(&self, batch: &Batch, mark: Option<i64>) -> i64 {
        let mark = match mark {
            Some(mark) => mark,
            None => self.attempts.mark(&batch.lane).await,
        };
        if mark < batch.next() {
            self.attempts.set_mark(&batch.lane, batch.next()).await;
        }
        let mut keys: HashMap<Box<[u8]>, Vec<Task<'_>>> = HashMap::new();
        for record in &batch.records {
            let wish = Wish::of(record, &batch.lane, record.offset < mark);
            let order = match &wish {
                Ok(wish) => wish.order.clone(),
                Err(_) => record.key.clone(),
            };
            let task = (record, wish.map_err(Reason::from));
            keys.entry(order).or_default().push(task);
        }
        let keys = keys.into_values().map(|tasks| self.work_off(batch, tasks));
        let mut keys: FuturesUnordered<_> = keys.collect();
        while keys.next().await.is_some() {}
        mark
    }

    /// Publishes the records of one key in their order.
    async fn work_off(&self, batch: &Batch, tasks: Vec<Task<'_>>) {
        for (record, wish) in tasks {
            let outcome = match wish {
                Ok(wish) => self.publish_one(wish).await,
                Err(reason) => Err(reason),
            };
            if let Err(reason) = outcome {
                self.letters.keep(record, &batch.lane, &reason).await;
            }
        }
    }

    /// Publishes one record, however often that has to be tried.
    async fn publish_one(&self, mut wish: Wish) -> Result<(), Reason> {
        let mut pause = PAUSE_FIRST;
        loop {
            let (after, cause) = match self.attempt(&mut wish).await {
                Verdict::Published => return Ok(()),
                Verdict::Refused { code, cause } => return Err(Reason { code, cause }),
                Verdict::Again { after, cause } => (after, cause),
            };
            if pause == PAUSE_MAX {
                warn!(cause, "an event of a back end is not published yet");
            } else {
                debug!(cause, "an event of a back end is not published yet");
            }
            tokio::time::sleep(after.max(pause)).await;
            pause = (2 * pause).min(PAUSE_MAX);
        }
    }

    async fn attempt(&self, wish: &mut Wish) -> Verdict {
        // It is never closed.
        let _permit = self.calls.acquire().await;
        let began_ms = now_ms();
        let body = wish.request(began_ms);
        let called = self.api.publish(body.into()).await;
        let is_open = match &called {
            Ok((status, _)) => *status >= 500,
            Err(error) => error.may_have_effect(),
        };
        if is_open {
            wish.note_attempt(began_ms);
        }
        match called {
            Ok((status, body)) => judge(status, &body),
            Err(error) => Verdict::Again {
                after: Duration::ZERO,
                cause: error.to_string(),
            },
        }
    }
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_millis() as i64)
}
