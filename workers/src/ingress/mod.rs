//! What back ends want published, from a topic of Kafka.
//!
//! A record of the topic `ingress` is what `POST /v1/publish` of the server API takes, as JSON;
//! its key is what orders it: a user or a channel. `README.md` of this crate describes it. For
//! each key one call is under way; keys of a batch are worked on beside each other. The offset is
//! committed when everything of the batch is published or a dead letter. Before a batch is begun,
//! a mark says that it may have been attempted (`attempts.rs`).
//!
//! Invariants: a record is published at least once, and in effect once: it has the same
//! idempotency key at every attempt; what cannot be published for now holds its key up and no
//! other, what cannot be published at all becomes a dead letter before the offset passes it.
//! Limits: `limits.rs`. Runs on: tokio tasks, one for each batch.

mod attempts;
mod dead_letter;
mod limits;
mod record;
mod work;

use std::collections::HashMap;
use std::sync::Arc;

use interlink_relay::kafka::consumer::{GroupConfig, GroupConsumer, GroupEvent, Lane, StartAt};
use interlink_relay::kafka::{self, route};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{info, warn};

use crate::edge_api::{ApiConfig, EdgeApi};
use crate::exit::{CommandError, Exit};
use crate::roles::Stop;
use attempts::Attempts;
use work::Work;

pub(crate) use dead_letter::{DeadLetters, Reason};
pub(crate) use record::Wish;
pub(crate) use work::now_ms;

/// The consumer group.
pub const GROUP: &str = "realtime-ingress";

/// A batch that was worked off.
struct Done {
    lane: Lane,
    next: i64,
    mark: i64,
}

/// Batches under way.
#[derive(Default)]
struct Batches {
    tasks: JoinSet<Done>,
    handles: HashMap<Lane, AbortHandle>,
    /// Up to where an earlier worker may have attempted records, for partitions that were looked
    /// at.
    marks: HashMap<Lane, i64>,
}

impl Batches {
    fn give_up(&mut self, lanes: &[Lane]) {
        for lane in lanes {
            self.marks.remove(lane);
            if let Some(handle) = self.handles.remove(lane) {
                handle.abort();
            }
        }
    }
}

/// Publishes until it is stopped.
///
/// # Errors
/// When the configuration cannot be used. Servers that are away are no error.
pub async fn run(
    cluster: &kafka::Config,
    api: &ApiConfig,
    mut stop: Stop,
) -> Result<(), CommandError> {
    let wrong = |error: String| CommandError::new(Exit::Config, error);
    let work = Arc::new(Work {
        api: EdgeApi::new(api).map_err(|error| wrong(error.to_string()))?,
        letters: DeadLetters::new(cluster).map_err(|error| wrong(error.to_string()))?,
        attempts: Attempts::new(cluster).map_err(|error| wrong(error.to_string()))?,
        calls: Semaphore::new(limits::CALLS_MAX),
    });
    let topics = [format!("{}{}", cluster.topic_prefix, route::INGRESS)];
    let config = GroupConfig {
        cluster,
        group: GROUP,
        topics: &topics,
        client: "interlink-workers-ingress",
    };
    let opened = GroupConsumer::open(config, || {});
    let mut consumer = opened.map_err(|error| wrong(error.to_string()))?;
    info!(topic = topics[0], "publishing what back ends send");
    let mut batches = Batches::default();
    loop {
        tokio::select! {
            event = consumer.next() => match event {
                Some(event) => take(&consumer, event, &work, &mut batches),
                None => return Err(CommandError::new(Exit::Failed, "the consumer has ended")),
            },
            Some(done) = batches.tasks.join_next() => note_done(&consumer, done, &mut batches),
            () = stop.requested() => break,
        }
    }
    let finished = tokio::time::timeout(limits::STOP_TIME_MAX, async {
        while let Some(done) = batches.tasks.join_next().await {
            note_done(&consumer, done, &mut batches);
        }
    });
    if finished.await.is_err() {
        warn!("some batches were not finished in time; their records come again");
    }
    consumer.close().await;
    Ok(())
}

fn take(consumer: &GroupConsumer, event: GroupEvent, work: &Arc<Work>, batches: &mut Batches) {
    match event {
        GroupEvent::Assigned(lanes) => {
            let starts = lanes.into_iter().map(|lane| (lane, StartAt::Committed));
            consumer.start(starts.collect());
        }
        GroupEvent::Revoked { lanes, .. } => batches.give_up(&lanes),
        GroupEvent::Batch(batch) => {
            let (work, lane) = (work.clone(), batch.lane.clone());
            let mark = batches.marks.get(&lane).copied();
            let task = async move {
                let mark = work.publish(&batch, mark).await;
                Done {
                    lane: batch.lane.clone(),
                    next: batch.next(),
                    mark,
                }
            };
            batches.handles.insert(lane, batches.tasks.spawn(task));
        }
        GroupEvent::Committed { lane, outcome, .. } => {
            if let Err(error) = outcome {
                warn!(%error, ?lane, "an offset of the ingress topic was not committed");
            }
        }
        GroupEvent::Sought(_) => {}
    }
}

fn note_done(
    consumer: &GroupConsumer,
    done: Result<Done, tokio::task::JoinError>,
    batches: &mut Batches,
) {
    // One that was given up has no outcome.
    if let Ok(Done { lane, next, mark }) = done {
        // Of one that was given up another worker moves the mark.
        if batches.handles.remove(&lane).is_some() {
            batches.marks.insert(lane.clone(), mark);
        }
        consumer.commit(&lane, next);
        consumer.done(&lane);
    }
}
