//! Counts what is in the fed topics of a region, by the region in which events were accepted.
//!
//! Each event has one origin. In the log of its origin it stands once; a second time there means
//! that it came back from another region. In the log of another region it may stand again after a
//! bridge was killed, and consumers know that by the source's sequence.
//!
//! Limits: `limits.rs`. Runs on: the main thread.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::time::Instant;

use interlink_relay::kafka::record::HEADERS;
use interlink_relay::kafka::{self, route};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{Message, Offset, TopicPartitionList};
use serde::Serialize;

use super::limits::{CENSUS_EVENTS_MAX, CENSUS_SILENCE_MAX, POLL_WAIT, REQUEST_WAIT};
use crate::exit::{CommandError, Exit};

/// What is in a log of one region of origin.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
pub struct Count {
    /// Different events.
    pub events: u64,
    /// Events that stand there again.
    pub repeats: u64,
    /// Positions that followed their events.
    pub positioned: u64,
}

/// What is in a log, by region of origin.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Census {
    counts: BTreeMap<String, Count>,
    known: HashSet<u128>,
    /// Records that no node wrote.
    foreign: u64,
}

impl Census {
    /// Counts one record by its headers: id, kind and origin, in this order.
    pub fn note(&mut self, headers: [Option<&[u8]>; 3]) {
        let [Some(id), Some(kind), Some(origin)] = headers else {
            self.foreign += 1;
            return;
        };
        let (Ok(id), Ok(origin)) = (<[u8; 16]>::try_from(id), std::str::from_utf8(origin)) else {
            self.foreign += 1;
            return;
        };
        let count = self.counts.entry(origin.to_owned()).or_default();
        match kind {
            b"event" if self.known.insert(u128::from_le_bytes(id)) => count.events += 1,
            b"event" => count.repeats += 1,
            _ => count.positioned += 1,
        }
    }

    /// What there is of one origin.
    pub fn of(&self, origin: &str) -> Count {
        self.counts.get(origin).cloned().unwrap_or_default()
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = serde_json::json!({"origins": self.counts, "foreign": self.foreign});
        write!(f, "{object}")
    }
}

/// Reads every fed topic from its beginning to where it ends now.
///
/// # Errors
/// When the cluster does not answer, or has more events than are counted.
pub fn census(cluster: &kafka::Config) -> Result<Census, CommandError> {
    let failed = |error: &dyn fmt::Display| {
        let cause = format!("the topics cannot be read: {error}; are the brokers reachable?");
        CommandError::new(Exit::Unreachable, cause)
    };
    let client = cluster.client("interlink-workers-census");
    let mut client = client.map_err(|error| CommandError::new(Exit::Config, error))?;
    client.set("group.id", "interlink-census");
    client.set("enable.auto.commit", "false");
    let created = client.create::<BaseConsumer>();
    let consumer = created.map_err(|error| failed(&error))?;
    let mut ends = ends(&consumer, cluster).map_err(|error| failed(&error))?;
    let mut wanted = TopicPartitionList::new();
    for ((topic, partition), (first, _)) in &ends {
        let added = wanted.add_partition_offset(topic, *partition, Offset::Offset(*first));
        added.map_err(|error| failed(&error))?;
    }
    consumer.assign(&wanted).map_err(|error| failed(&error))?;
    let mut census = Census::default();
    let mut heard = Instant::now();
    while !ends.is_empty() {
        let Some(polled) = consumer.poll(POLL_WAIT) else {
            if heard.elapsed() > CENSUS_SILENCE_MAX {
                return Err(failed(&"nothing comes any more"));
            }
            continue;
        };
        let record = polled.map_err(|error| failed(&error))?;
        heard = Instant::now();
        let place = (record.topic().to_owned(), record.partition());
        let Some((_, end)) = ends.get(&place) else {
            continue;
        };
        if record.offset() < *end {
            census.note(headers(&record));
        }
        if record.offset() + 1 >= *end {
            ends.remove(&place);
        }
        if census.known.len() > CENSUS_EVENTS_MAX {
            let cause = format!("the topics have more than {CENSUS_EVENTS_MAX} events");
            return Err(CommandError::new(Exit::Refused, cause));
        }
    }
    Ok(census)
}

/// First and next offset by partition, where there is anything.
type Ends = BTreeMap<(String, i32), (i64, i64)>;

fn ends(
    consumer: &BaseConsumer,
    cluster: &kafka::Config,
) -> Result<Ends, rdkafka::error::KafkaError> {
    let names = route::fed_topics(&cluster.topic_prefix);
    let metadata = consumer.fetch_metadata(None, REQUEST_WAIT)?;
    let topics = metadata.topics().iter();
    let mut ends = Ends::new();
    for topic in topics.filter(|topic| names.iter().any(|name| name == topic.name())) {
        for partition in topic.partitions() {
            let place = (topic.name().to_owned(), partition.id());
            let (first, next) = consumer.fetch_watermarks(&place.0, place.1, REQUEST_WAIT)?;
            if first < next {
                ends.insert(place, (first, next));
            }
        }
    }
    Ok(ends)
}

/// Record id, kind and origin.
fn headers<'a>(record: &'a BorrowedMessage<'_>) -> [Option<&'a [u8]>; 3] {
    let [id, kind, origin, ..] = HEADERS;
    [id, kind, origin].map(|name| {
        let mut headers = record.headers()?.iter();
        headers.find(|header| header.key == name)?.value
    })
}
