//! Whether Kafka keeps what it acknowledges on two brokers: what `replicated` may be said of.
//!
//! Purpose: a topic is asked for its replicas and for `min.insync.replicas`; with acks of all
//! replicas in sync, a record is on that many brokers when it is acknowledged. A topic is not
//! replicated until it is known to be. The user needs the right to describe the topics' settings;
//! without it nothing is replicated.
//!
//! Limits: one question at a time, [`limits::REPLICAS_SECS`] apart. Threads: [`Replicas`] anywhere;
//! the questions have a thread of their own, since the client library blocks, which ends when the
//! log is dropped, after the question under way.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use interlink_protocol::priority::Priority;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use tracing::{info, warn};

use super::config::{Config, ConfigError};
use super::limits;
use super::producer::Wake;
use super::route::{fed_topics, FED};

/// Setting of a topic: replicas that a write needs.
const MIN_INSYNC: &str = "min.insync.replicas";

/// Fewest brokers that have a record which is replicated.
const COPIES_MIN: u32 = 2;

/// All topics that nodes feed.
const ALL: u8 = (1 << FED.len()) - 1;

/// What a topic is kept on.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Copies {
    /// Fewest replicas of its partitions.
    pub replicas: u32,
    /// Replicas in sync that a write needs.
    pub min_insync: u32,
}

impl Copies {
    /// Whether an acknowledged record is on two brokers.
    pub fn are_enough(self) -> bool {
        self.min_insync >= COPIES_MIN && self.replicas >= self.min_insync
    }
}

/// Which topics are replicated, as far as is known.
#[derive(Debug, Default)]
pub(crate) struct Replicas {
    /// A bit for each topic, by the order of [`FED`].
    topics: AtomicU8,
}

impl Replicas {
    /// Whether every topic that may have records of a class is replicated.
    pub fn of(&self, class: Priority) -> bool {
        let needed = match class {
            // P0 has a topic of its own, whatever its namespace says: the first.
            Priority::P0 => 1,
            _ => ALL,
        };
        self.topics.load(Ordering::Relaxed) & needed == needed
    }

    /// Notes what was found, by the order of [`FED`]; says whether it is news.
    pub fn note(&self, found: &[Copies; FED.len()]) -> bool {
        let mut topics = 0;
        for (index, copies) in found.iter().enumerate() {
            topics |= u8::from(copies.are_enough()) << index;
        }
        self.topics.swap(topics, Ordering::Relaxed) != topics
    }
}

/// The thread that asks; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Asking {
    /// Says nothing; its end is what is heard.
    _alive: Mutex<SyncSender<()>>,
}

impl Asking {
    /// Asks a cluster from now on; `wake` is called when an answer is news.
    ///
    /// # Errors
    /// When the configuration contradicts itself, or no client or thread can be made.
    pub fn start(
        cluster: &Config,
        replicas: Arc<Replicas>,
        wake: Wake,
    ) -> Result<Self, ConfigError> {
        let asker = Asker::new(cluster, replicas, wake)?;
        let (alive, ended) = sync_channel(0);
        let thread = std::thread::Builder::new().name("kafka-replicas".into());
        thread
            .spawn(move || asker.run(&ended))
            .map_err(ConfigError::Thread)?;
        let _alive = Mutex::new(alive);
        Ok(Self { _alive })
    }
}

type Admin = AdminClient<DefaultClientContext>;

/// Asks a cluster.
pub(crate) struct Asker {
    admin: Admin,
    topics: Vec<String>,
    replicas: Arc<Replicas>,
    wake: Wake,
}

impl Asker {
    /// One that has asked nothing yet.
    pub fn new(cluster: &Config, replicas: Arc<Replicas>, wake: Wake) -> Result<Self, ConfigError> {
        Ok(Self {
            admin: cluster.client("interlink-replicas")?.create()?,
            topics: fed_topics(&cluster.topic_prefix),
            replicas,
            wake,
        })
    }

    fn run(&self, ended: &Receiver<()>) {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else {
            return;
        };
        let mut complained = false;
        loop {
            let pause = match runtime.block_on(self.ask()) {
                Ok(found) => {
                    complained = false;
                    self.tell(&found);
                    limits::REPLICAS_SECS
                }
                Err(error) => {
                    if !std::mem::replace(&mut complained, true) {
                        warn!(%error, "Kafka does not say how its topics are replicated");
                    }
                    limits::REPLICAS_AGAIN_SECS
                }
            };
            match ended.recv_timeout(Duration::from_secs(pause)) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn tell(&self, found: &[Copies; FED.len()]) {
        if !self.replicas.note(found) {
            return;
        }
        for (topic, copies) in self.topics.iter().zip(found) {
            let Copies {
                replicas,
                min_insync,
            } = *copies;
            if copies.are_enough() {
                info!(
                    topic,
                    replicas, min_insync, "acknowledged records are replicated"
                );
            } else {
                warn!(
                    topic,
                    replicas,
                    min_insync,
                    "acknowledged records are not replicated: give the topic 3 replicas and \
                     min.insync.replicas 2, and the user the right to describe its settings"
                );
            }
        }
        (self.wake)();
    }

    /// How each topic is kept, by the order of [`FED`]; zeros for one that is not there.
    pub async fn ask(&self) -> Result<[Copies; FED.len()], KafkaError> {
        let wait = Duration::from_secs(limits::REPLICAS_WAIT_SECS);
        let metadata = self.admin.inner().fetch_metadata(None, wait)?;
        let mut found = [Copies::default(); FED.len()];
        for topic in metadata.topics() {
            let known = self.topics.iter().position(|known| known == topic.name());
            if let Some(index) = known {
                let partitions = topic.partitions().iter();
                let replicas = partitions.map(|partition| partition.replicas().len() as u32);
                found[index].replicas = replicas.min().unwrap_or(0);
            }
        }
        let there = |index: &usize| found[*index].replicas > 0;
        let asked: Vec<usize> = (0..FED.len()).filter(there).collect();
        if asked.is_empty() {
            return Ok(found);
        }
        let names = asked.iter().map(|index| self.topics[*index].as_str());
        let names: Vec<_> = names.map(ResourceSpecifier::Topic).collect();
        let options = AdminOptions::new().request_timeout(Some(wait));
        let described = self.admin.describe_configs(&names, &options).await?;
        for (index, described) in asked.into_iter().zip(described) {
            // One that may not be described is not known to be replicated.
            let entries = described.map(|described| described.entries);
            let mut entries = entries.unwrap_or_default().into_iter();
            let setting = entries.find(|entry| entry.name == MIN_INSYNC);
            let value = setting.and_then(|entry| entry.value);
            found[index].min_insync = value.and_then(|it| it.parse().ok()).unwrap_or(0);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use interlink_protocol::namespace::Topic;

    fn copies(replicas: u32, min_insync: u32) -> Copies {
        Copies {
            replicas,
            min_insync,
        }
    }

    #[test]
    fn two_brokers_have_to_have_a_record_before_it_is_acknowledged() {
        for (replicas, min_insync, enough) in [
            (3, 2, true),
            (2, 2, true),
            (3, 1, false),
            (1, 1, false),
            (1, 2, false),
            (0, 0, false),
        ] {
            let copies = copies(replicas, min_insync);
            assert_eq!(copies.are_enough(), enough, "{copies:?}");
        }
    }

    #[test]
    fn a_class_is_replicated_when_all_of_its_topics_are() {
        let replicas = Replicas::default();
        assert_eq!(Priority::ALL.map(|class| replicas.of(class)), [false; 4]);
        let mut found = [copies(3, 2); FED.len()];
        assert!(replicas.note(&found) && !replicas.note(&found));
        assert_eq!(Priority::ALL.map(|class| replicas.of(class)), [true; 4]);
        let batch = FED.iter().position(|topic| *topic == Topic::Batch);
        found[batch.expect("fed")] = copies(3, 1);
        assert!(replicas.note(&found));
        let of = Priority::ALL.map(|class| replicas.of(class));
        assert_eq!(of, [true, false, false, false]);
        assert_eq!(FED[0], Topic::Critical);
        found[0] = copies(1, 1);
        replicas.note(&found);
        assert!(!replicas.of(Priority::P0));
    }
}
