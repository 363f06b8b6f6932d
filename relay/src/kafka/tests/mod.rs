//! The log on Kafka: form of records, faults by the mock cluster of the client library, and the
//! suite against a real broker.

mod broker;
mod copies;
mod faults;
mod group;
mod records;
mod stand;
mod stretch;

use std::sync::mpsc::{sync_channel, Receiver};
use std::sync::Arc;
use std::time::{Duration, Instant};

use interlink_protocol::frame::{EventFields, FrameEncoder};
use interlink_protocol::ids::{InstanceId, Position, RecordId};
use interlink_protocol::namespace::Namespaces;
use interlink_protocol::priority::Priority;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::Message;
use tokio::runtime::Handle;

use super::config::Config;
use super::consumer::Consumed;
use super::log::{KafkaLog, LogConfig};
use crate::event_log::{
    Append, AppendKind, EventLog, LogAnswer, LogError, LogPosition, LogRequest,
};
use crate::ports::Ticket;
use crate::record::{Kind, Placement, RecordRef, Sequence};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A runtime on a thread of its own, which lives as long as the process.
fn runtime() -> Handle {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let handle = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
}

/// An encoded event.
fn frame(channel: &str, publisher: &str, id: u64, placement: Placement) -> Vec<u8> {
    let payload = id.to_le_bytes();
    let fields = EventFields {
        channel,
        position: placement.position,
        previous_chain: placement.previous_chain,
        record: RecordId(u128::from(id)),
        publisher,
        priority: Priority::P1,
        event_type: 1,
        schema_version: 1,
        server_time_us: id,
        payload: &payload,
        conflation_key: None,
        trace: None,
    };
    FrameEncoder::new().event(&fields).to_vec()
}

fn append<'a>(class: Priority, channel: &'a str, id: u64, frame: &'a [u8]) -> Append<'a> {
    Append {
        from: LogPosition {
            boot: 3,
            shard: 1,
            kind: Kind::of(class),
            sequence: Sequence(id),
        },
        kind: AppendKind::Event,
        record: RecordRef {
            class,
            record: RecordId(u128::from(id)),
            instance: InstanceId(5),
            client_message_id: id,
            payload_hash: id * 3,
            accepted_at_us: id * 7,
            channel,
            placement: None,
            frame,
        },
    }
}

/// A position for tests.
fn placement(offset: u64) -> Placement {
    Placement {
        position: Position {
            epoch: 9,
            offset,
            chain: offset * 11,
        },
        previous_chain: offset * 13,
    }
}

/// A log and what wakes its driver.
struct Driven {
    log: KafkaLog,
    woken: Receiver<()>,
}

impl Driven {
    fn new(cluster: Config) -> Self {
        let (bell, woken) = sync_channel(1);
        let config = LogConfig {
            cluster,
            node: "node-1".into(),
            region: "eu".into(),
            namespaces: Arc::new(Namespaces::defaults()),
        };
        let wake = Arc::new(move || {
            // A bell that rings already is enough.
            let _ = bell.try_send(());
        });
        let log = KafkaLog::new(config, runtime(), wake).expect("a log");
        Self { log, woken }
    }

    /// Submits P1 events of a channel, one call for each range.
    fn submit(&mut self, channel: &str, ids: std::ops::Range<u64>) -> Option<Ticket> {
        let frames = ids
            .clone()
            .map(|id| frame(channel, "ada", id, Placement::default()));
        let frames: Vec<_> = frames.collect();
        let appends = ids
            .zip(&frames)
            .map(|(id, frame)| append(Priority::P1, channel, id, frame));
        let appends: Vec<_> = appends.collect();
        self.log.submit(LogRequest::Append(&appends), 0).ok()
    }

    /// Takes what has come without waiting.
    fn take(&mut self) -> Vec<(Ticket, Result<LogAnswer, LogError>)> {
        std::iter::from_fn(|| self.log.complete()).collect()
    }

    /// Waits for the answers of so many calls.
    fn wait(&mut self, count: usize) -> Vec<Ticket> {
        let (started, mut tickets) = (Instant::now(), Vec::new());
        while tickets.len() < count {
            for (ticket, answer) in self.take() {
                assert_eq!(answer.expect("appended"), LogAnswer::Appended);
                tickets.push(ticket);
            }
            assert!(started.elapsed() < PATIENCE, "only {tickets:?} came");
            if tickets.len() < count {
                let _ = self.woken.recv_timeout(Duration::from_secs(1));
            }
        }
        tickets
    }
}

/// Reads a partition from its begin to its end as it is now.
fn read_partition(cluster: &Config, topic: &str, partition: i32) -> Vec<Consumed> {
    let mut client: ClientConfig = cluster.client("test").expect("settings");
    client
        .set("group.id", "reader")
        .set("enable.auto.commit", "false");
    let consumer: BaseConsumer = client.create().expect("a consumer");
    let (low, high) = consumer
        .fetch_watermarks(topic, partition, PATIENCE)
        .expect("watermarks");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Beginning)
        .expect("a place");
    consumer.assign(&list).expect("assigned");
    let (started, mut records) = (Instant::now(), Vec::new());
    while (records.len() as i64) < high - low {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            records.push(Consumed {
                offset: message.offset(),
                timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
                key: message.key().unwrap_or_default().into(),
                value: message.payload().unwrap_or_default().into(),
                headers: super::consumer::headers_of(&message),
            });
        }
        assert!(started.elapsed() < PATIENCE, "the partition does not end");
    }
    records
}

/// The ids of events, as they stand.
fn ids(records: &[Consumed]) -> Vec<u64> {
    let events = records.iter().map(|record| match record.decode() {
        Ok(super::record::Item::Event(event)) => event.record.client_message_id,
        other => panic!("no event: {other:?}"),
    });
    events.collect()
}

/// The ids without those that are repeats by the rule of consumers: not above the highest.
fn ids_once(records: &[Consumed]) -> Vec<u64> {
    let mut highest = None;
    let ids = ids(records).into_iter();
    ids.filter(|id| {
        let is_new = highest.is_none_or(|highest| highest < *id);
        highest = highest.max(Some(*id));
        is_new
    })
    .collect()
}
