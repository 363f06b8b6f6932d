//! The work on a claim: keys beside each other, rows of one key after each other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};
use interlink_relay::kafka::consumer::{Consumed, Lane};
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use super::limits::WORK_TIME;
use super::line::{lines, Line, Outcome, Row, Step};
use super::table::{Claim, Table};
use crate::edge_api::{judge, EdgeApi, Verdict};
use crate::ingress::{now_ms, DeadLetters, Reason, Wish};

/// What work on claims needs.
pub struct Work {
    pub table: Table,
    pub api: EdgeApi,
    pub letters: DeadLetters,
    pub calls: Semaphore,
    /// The `interlink-dead-topic` of its dead letters.
    pub place: Arc<str>,
}

impl Work {
    /// Publishes the rows of a claim as far as its time allows, and deletes those.
    pub async fn publish(&self, claim: Claim) {
        let until = claim.began + WORK_TIME;
        let lines = lines(claim.rows).into_iter();
        let mut lines: FuturesUnordered<_> = lines.map(|line| self.work_off(line, until)).collect();
        let mut outcome = Outcome::default();
        while let Some(one) = lines.next().await {
            outcome.gone.extend(one.gone);
            outcome.untouched.extend(one.untouched);
        }
        if let Err(error) = self.table.settle(&claim.name, &outcome).await {
            let rows = outcome.gone.len();
            warn!(%error, rows, "rows of the outbox stay and are published again under their keys");
        }
    }

    /// Publishes the rows of one key in their order.
    async fn work_off(&self, mut line: Line, until: Instant) -> Outcome {
        let mut after = Duration::ZERO;
        loop {
            match line.next(after) {
                Step::End => return line.end(),
                Step::Wait(pause) => {
                    if Instant::now() + pause >= until {
                        return line.end();
                    }
                    tokio::time::sleep(pause).await;
                }
                Step::Bury(row, reason) => {
                    let kept = tokio::time::timeout_at(until.into(), self.bury(row, &reason));
                    match kept.await {
                        Ok(()) => line.on_buried(),
                        Err(_) => return line.end(),
                    }
                }
                Step::Call(wish) => {
                    // It is never closed.
                    let _permit = self.calls.acquire().await;
                    if Instant::now() >= until {
                        return line.end();
                    }
                    let (verdict, may_have_effect) = self.attempt(wish).await;
                    if let Verdict::Again { cause, .. } = &verdict {
                        debug!(cause, "an event of the outbox is not published yet");
                    }
                    after = line.on_answer(verdict, may_have_effect);
                }
            }
        }
    }

    async fn attempt(&self, wish: &mut Wish) -> (Verdict, bool) {
        let body = wish.request(now_ms());
        match self.api.publish(body.into()).await {
            Ok((status, body)) => (judge(status, &body), status >= 500),
            Err(error) => {
                let verdict = Verdict::Again {
                    after: Duration::ZERO,
                    cause: error.to_string(),
                };
                (verdict, error.may_have_effect())
            }
        }
    }

    async fn bury(&self, row: &Row, reason: &Reason) {
        let record = Consumed {
            offset: row.id,
            timestamp_ms: 0,
            key: row.key.as_bytes().into(),
            value: row.publish.as_bytes().into(),
            headers: Box::default(),
        };
        let lane = Lane {
            topic: self.place.clone(),
            partition: i32::from(row.lane),
        };
        self.letters.keep(&record, &lane, reason).await;
    }
}
