//! Consumer groups whose offsets are in the database, beside what they do.
//!
//! A batch, its effect and its offset are one transaction, which succeeds only from the offset
//! that this process believes to be the next: a member that has lost a partition without knowing
//! has no effect. When the offset is elsewhere, reading goes on from there.
//!
//! Errors of the connection, timeouts and conflicts hold a partition up while the member polls on;
//! no attempt is counted. A record whose form or values are refused is tried on its own and then
//! becomes a dead letter, in the topic and in the database, and its offset is passed.
//!
//! Invariants: one batch of a partition is under way; the offset passes a record after its effect
//! is stored or its dead letter is kept.
//! Limits: `limits.rs`. Runs on: tokio tasks, one for each batch.

mod effect;
pub mod limits;
mod progress;
mod work;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use interlink_relay::kafka;
use interlink_relay::kafka::consumer::{GroupConfig, GroupConsumer, GroupEvent, Lane, StartAt};
use interlink_relay::postgres::Store;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::exit::{CommandError, Exit};
use crate::ingress::DeadLetters;
use crate::roles::Stop;
pub use effect::Effect;
use work::{Outcome, Work};

/// The next offset of each partition that this process has, and whether a batch is under way.
type Places = Arc<Mutex<HashMap<Lane, Place>>>;

#[derive(Clone, Copy, Debug)]
struct Place {
    next: i64,
    is_working: bool,
}

/// What a group is made of.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    /// How the cluster is reached.
    pub cluster: &'a kafka::Config,
    /// The group.
    pub name: &'static str,
    /// Whole names of the topics.
    pub topics: Vec<String>,
    /// What a batch does.
    pub effect: Effect,
}

/// Consumes until it is stopped.
///
/// # Errors
/// When the configuration cannot be used. Servers that are away are no error.
pub async fn consume(group: Group<'_>, store: Store, mut stop: Stop) -> Result<(), CommandError> {
    let wrong = |error: String| CommandError::new(Exit::Config, error);
    let letters = DeadLetters::new(group.cluster).map_err(|error| wrong(error.to_string()))?;
    let config = GroupConfig {
        cluster: group.cluster,
        group: group.name,
        topics: &group.topics,
        client: group.name,
    };
    let opened = GroupConsumer::open(config, || {});
    let mut consumer = opened.map_err(|error| wrong(error.to_string()))?;
    let places = Places::default();
    let work = Arc::new(Work {
        store,
        letters,
        group: group.name,
        effect: group.effect,
    });
    let progress = progress::Progress::new(group.cluster, &work, &places)
        .map_err(|error| wrong(error.to_string()))?;
    let progress = tokio::spawn(progress.run());
    info!(group = group.name, "consuming");
    let mut tasks = JoinSet::new();
    let outcome = loop {
        tokio::select! {
            event = consumer.next() => match event {
                Some(event) => take(&consumer, event, &work, &places, &mut tasks).await,
                None => break Err(CommandError::new(Exit::Failed, "the consumer has ended")),
            },
            Some(done) = tasks.join_next() => note_done(&consumer, done, &places),
            () = stop.requested() => break Ok(()),
        }
    };
    progress.abort();
    let finished = tokio::time::timeout(limits::STOP_TIME_MAX, async {
        while let Some(done) = tasks.join_next().await {
            note_done(&consumer, done, &places);
        }
    });
    if finished.await.is_err() {
        warn!("some batches were not finished in time; their records come again");
    }
    consumer.close().await;
    outcome
}

async fn take(
    consumer: &GroupConsumer,
    event: GroupEvent,
    work: &Arc<Work>,
    places: &Places,
    tasks: &mut JoinSet<(Lane, Outcome)>,
) {
    match event {
        GroupEvent::Assigned(lanes) => {
            let mut starts = Vec::new();
            for lane in lanes {
                let next = work.claim(&lane).await;
                let place = Place {
                    next,
                    is_working: false,
                };
                lock(places).insert(lane.clone(), place);
                starts.push((lane, StartAt::Next(next)));
            }
            consumer.start(starts);
        }
        GroupEvent::Revoked { lanes, .. } => {
            let mut places = lock(places);
            for lane in &lanes {
                places.remove(lane);
            }
        }
        GroupEvent::Batch(batch) => {
            let start = {
                let mut places = lock(places);
                let Some(place) = places.get_mut(&batch.lane) else {
                    return;
                };
                place.is_working = true;
                place.next
            };
            let work = work.clone();
            tasks.spawn(async move {
                let outcome = work.work_off(&batch, start).await;
                (batch.lane, outcome)
            });
        }
        GroupEvent::Committed { lane, outcome, .. } => {
            if let Err(error) = outcome {
                warn!(%error, ?lane, "the offset in Kafka, which only shows the lag, did not move");
            }
        }
        GroupEvent::Sought(_) => {}
    }
}

fn note_done(
    consumer: &GroupConsumer,
    done: Result<(Lane, Outcome), tokio::task::JoinError>,
    places: &Places,
) {
    let Ok((lane, outcome)) = done else {
        return;
    };
    let mut places = lock(places);
    let Some(place) = places.get_mut(&lane) else {
        return;
    };
    place.is_working = false;
    match outcome {
        Outcome::Done { next } => {
            place.next = next;
            // Nobody reads it there; operators and autoscalers see the lag by it.
            consumer.commit(&lane, next);
            consumer.done(&lane);
        }
        Outcome::Elsewhere { next } => {
            info!(
                ?lane,
                next, "another member has been here; going on from its offset"
            );
            place.next = next;
            consumer.seek(&lane, StartAt::Next(next));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Microseconds since the Unix epoch.
pub(crate) fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_micros() as u64)
}
