//! Tells the database how far partitions without traffic are complete, and keeps it in order.
//!
//! A partition whose end is where this process reads next has been consumed through the moment
//! before its end was asked for.

use std::sync::Arc;

use interlink_relay::archive::Consumed;
use interlink_relay::kafka::consumer::Lane;
use interlink_relay::kafka::{Config, ConfigError};
use rdkafka::consumer::{BaseConsumer, Consumer};
use tracing::{debug, warn};

use super::limits::{PROGRESS_EVERY, UPKEEP_EVERY, WATERMARK_TIME};
use super::work::Work;
use super::{lock, now_us, Places};

pub(super) struct Progress {
    client: Arc<BaseConsumer>,
    work: Arc<Work>,
    places: Places,
}

impl Progress {
    pub fn new(cluster: &Config, work: &Arc<Work>, places: &Places) -> Result<Self, ConfigError> {
        let client = cluster.client("interlink-workers-progress")?;
        Ok(Self {
            client: Arc::new(client.create()?),
            work: work.clone(),
            places: places.clone(),
        })
    }

    pub async fn run(self) {
        let mut tended = tokio::time::Instant::now();
        loop {
            tokio::time::sleep(PROGRESS_EVERY).await;
            let idle: Vec<_> = {
                let places = lock(&self.places);
                let idle = places.iter().filter(|(_, place)| !place.is_working);
                idle.map(|(lane, place)| (lane.clone(), place.next))
                    .collect()
            };
            for (lane, next) in idle {
                self.note(lane, next).await;
            }
            if tended.elapsed() >= UPKEEP_EVERY {
                match self.work.store.tend(now_us()).await {
                    Ok(()) => tended = tokio::time::Instant::now(),
                    Err(error) => warn!(%error, "the upkeep of the database waits"),
                }
            }
        }
    }

    async fn note(&self, lane: Lane, next: i64) {
        let (client, asked, through_us) = (self.client.clone(), lane.clone(), now_us());
        let end = tokio::task::spawn_blocking(move || {
            client.fetch_watermarks(&asked.topic, asked.partition, WATERMARK_TIME)
        });
        let Ok(Ok((_, end))) = end.await else {
            debug!(?lane, "the end of a partition is not known");
            return;
        };
        if end != next {
            return;
        }
        let consumed = Consumed {
            group: self.work.group,
            topic: &lane.topic,
            partition: lane.partition,
            start: next,
            end: next,
            through_us,
        };
        if let Err(error) = self.work.store.pass(&consumed).await {
            debug!(%error, ?lane, "progress is not noted");
        }
    }
}
