//! Two regions and a bridge in each direction, over real servers. A region is a prefix of topics
//! in Kafka and a prefix of keys in Redis; `INTERLINK_STAND_OTHER` may name a second stand, which
//! is then the other region.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use interlink_protocol::frame::{
    decode_server, EventFields, FrameEncoder, FrameLimits, ServerFrame,
};
use interlink_protocol::ids::{InstanceId, Position, RecordId};
use interlink_protocol::namespace::Namespaces;
use interlink_protocol::priority::Priority;
use interlink_relay::backplane::{Backplane, BackplaneEvent, BackplaneRequest};
use interlink_relay::event_log::{Append, AppendKind, EventLog, LogPosition, LogRequest};
use interlink_relay::kafka::consumer::{GroupConfig, GroupConsumer, GroupEvent, StartAt};
use interlink_relay::kafka::record::Item;
use interlink_relay::kafka::{KafkaLog, LogConfig};
use interlink_relay::record::{Kind, RecordRef, Sequence};
use interlink_relay::redis::RedisBackplane;
use interlink_workers::config::Config;
use interlink_workers::exit::CommandError;
use interlink_workers::roles::{bridge, Stop, StopSender};
use interlink_workers::topics;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
const CHANNEL: &str = "chat.room";

fn stand(variable: &str) -> Option<Value> {
    let above = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/stand/stand.json");
    let path = match (std::env::var_os(variable), variable) {
        (Some(path), _) => PathBuf::from(path),
        (None, "INTERLINK_STAND") => above.into(),
        (None, _) => return None,
    };
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}. This test needs real servers: run `deploy/stand/stand up redis kafka`, \
             or name its stand.json in {variable}",
            path.display()
        )
    });
    Some(serde_json::from_str(&text).expect("a stand.json"))
}

/// A region of a deployment.
struct Region {
    name: &'static str,
    kafka: String,
    redis: String,
    prefix: String,
}

impl Region {
    fn new(name: &'static str, stand: &Value, run: &str) -> Self {
        let address = |address: &Value| {
            let text = address.as_str();
            text.expect("run `deploy/stand/stand up redis kafka`")
                .to_owned()
        };
        Self {
            name,
            kafka: address(&stand["kafka"]["brokers"][0]["address"]),
            redis: address(&stand["redis"]["single"]["address"]),
            prefix: format!("{run}-{name}"),
        }
    }

    fn kafka_section(&self) -> String {
        let Self { kafka, prefix, .. } = self;
        format!("brokers = [\"{kafka}\"]\ntopic_prefix = \"{prefix}.\"\n")
    }

    fn redis_section(&self) -> String {
        let Self { redis, prefix, .. } = self;
        format!("mode = \"single\"\naddresses = [\"{redis}\"]\nprefix = \"{prefix}\"\n")
    }

    /// The configuration of a bridge from here to another region.
    fn config(&self, target: &Self) -> Config {
        let text = format!(
            "[kafka]\n{}[bridge]\nregion = \"{}\"\ntarget = \"{}\"\n[bridge.kafka]\n{}\
             [bridge.redis]\n{}",
            self.kafka_section(),
            self.name,
            target.name,
            target.kafka_section(),
            target.redis_section()
        );
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("workers.toml");
        std::fs::write(&file, text).expect("written");
        Config::load(&file).expect("a configuration")
    }

    /// Creates the topics that nodes feed.
    fn make_topics(&self, other: &Self) {
        let cluster = self.config(other).kafka.client().expect("a cluster");
        let wanted = topics::wanted(topics::BUILT_IN, "single", &cluster.topic_prefix);
        let wanted = wanted.expect("a profile");
        let made = std::thread::spawn(move || {
            let plan = topics::look(&cluster, &wanted).expect("a plan");
            topics::apply(&cluster, &plan).expect("topics");
        });
        made.join().expect("topics");
    }

    /// A subscriber of the channel in this region.
    async fn subscriber(&self, other: &Self) -> RedisBackplane {
        let bridge = other.config(self);
        let redis = bridge.bridge().expect("a section").redis.client();
        let redis = redis.expect("a configuration");
        let backplane = RedisBackplane::new(redis, &Handle::current(), Arc::new(|| {}));
        let mut backplane = backplane.expect("a backplane");
        let request = BackplaneRequest::Subscribe { channel: CHANNEL };
        let started = Instant::now();
        let mut ticket = None;
        loop {
            ticket = ticket.or_else(|| backplane.submit(request, 1).ok());
            match backplane.complete() {
                Some(BackplaneEvent::Answer(_, Ok(_))) => return backplane,
                Some(BackplaneEvent::Answer(_, Err(_))) => ticket = None,
                _ => tokio::task::yield_now().await,
            }
            assert!(started.elapsed() < PATIENCE, "no subscription");
        }
    }

    /// Feeds events of this region, as its nodes do.
    async fn feed(&self, other: &Self, ids: std::ops::Range<u64>) {
        let config = LogConfig {
            cluster: self.config(other).kafka.client().expect("a cluster"),
            node: format!("node-{}", self.name),
            region: self.name.to_owned(),
            namespaces: Arc::new(Namespaces::defaults()),
        };
        let log = KafkaLog::new(config, Handle::current(), Arc::new(|| {}));
        let mut log = log.expect("a log");
        let frames: Vec<_> = ids.clone().map(frame).collect();
        let appends = ids.zip(&frames).map(|(id, frame)| append(id, frame));
        let appends: Vec<_> = appends.collect();
        let submitted = log.submit(LogRequest::Append(&appends), 1);
        submitted.expect("room");
        let started = Instant::now();
        loop {
            if let Some((_, answer)) = log.complete() {
                answer.expect("appended");
                break;
            }
            assert!(started.elapsed() < PATIENCE, "nothing was appended");
            tokio::task::yield_now().await;
        }
        let ended = tokio::task::spawn_blocking(move || drop(log)).await;
        ended.expect("ended");
    }

    /// How often each event is in the topic, once there are so many; with origin and whether it
    /// has a place.
    async fn logged(&self, other: &Self, count: usize) -> BTreeMap<u64, (usize, String, bool)> {
        let cluster = self.config(other).kafka.client().expect("a cluster");
        let topics = [format!("{}high", cluster.topic_prefix)];
        let config = GroupConfig {
            cluster: &cluster,
            group: "test",
            topics: &topics,
            client: "test",
        };
        let mut consumer = GroupConsumer::open(config, || {}).expect("a member");
        let (mut found, mut records) = (BTreeMap::new(), 0);
        while records < count {
            let next = tokio::time::timeout(PATIENCE, consumer.next()).await;
            match next.expect("in time").expect("a living member") {
                GroupEvent::Assigned(lanes) => {
                    let starts = lanes.into_iter().map(|lane| (lane, StartAt::Committed));
                    consumer.start(starts.collect());
                }
                GroupEvent::Batch(batch) => {
                    for record in &batch.records {
                        let Ok(Item::Event(event)) = record.decode() else {
                            panic!("no event: {record:?}");
                        };
                        records += 1;
                        let placed = event.record.placement.is_some();
                        let entry = found.entry(event.record.client_message_id);
                        let entry = entry.or_insert((0, event.origin.to_string(), placed));
                        entry.0 += 1;
                    }
                    consumer.done(&batch.lane);
                }
                _ => {}
            }
        }
        found
    }
}

fn frame(id: u64) -> Vec<u8> {
    let fields = EventFields {
        channel: CHANNEL,
        position: Position::ZERO,
        previous_chain: 0,
        record: RecordId(u128::from(id)),
        publisher: "ada",
        priority: Priority::P1,
        event_type: 1,
        schema_version: 1,
        server_time_us: id,
        payload: &id.to_le_bytes(),
        conflation_key: None,
        trace: None,
    };
    FrameEncoder::new().event(&fields).to_vec()
}

fn append(id: u64, frame: &[u8]) -> Append<'_> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Append {
        from: LogPosition {
            boot: 1,
            shard: 0,
            kind: Kind::Urgent,
            sequence: Sequence(id),
        },
        kind: AppendKind::Event,
        record: RecordRef {
            class: Priority::P1,
            record: RecordId(u128::from(id)),
            instance: InstanceId(5),
            client_message_id: id,
            payload_hash: id,
            accepted_at_us: now.map_or(0, |now| now.as_micros() as u64),
            channel: CHANNEL,
            placement: None,
            frame,
        },
    }
}

/// The id that an event carries.
fn id_of(frame: &[u8]) -> u64 {
    let Ok(ServerFrame::Event(event)) = decode_server(frame, &FrameLimits::SERVER) else {
        panic!("no event: {frame:?}");
    };
    let payload = EventFields::from(event).payload;
    u64::from_le_bytes(payload.try_into().expect("an event of this test"))
}

/// The ids of the next messages, in the order in which subscribers get them.
async fn messages(backplane: &mut RedisBackplane, count: usize) -> Vec<u64> {
    let (started, mut ids) = (Instant::now(), Vec::new());
    while ids.len() < count {
        match backplane.complete() {
            Some(BackplaneEvent::Message { frame, .. }) => {
                ids.push(id_of(&frame));
            }
            Some(_) => {}
            None => tokio::task::yield_now().await,
        }
        assert!(started.elapsed() < PATIENCE, "only {ids:?} came");
    }
    ids
}

fn start(from: &Region, to: &Region) -> (StopSender, JoinHandle<Result<(), CommandError>>) {
    let (sender, stop) = Stop::pair();
    let config = from.config(to);
    (
        sender,
        tokio::spawn(async move { bridge::run(&config, stop).await }),
    )
}

async fn end(bridge: (StopSender, JoinHandle<Result<(), CommandError>>)) {
    let (sender, running) = bridge;
    sender.stop();
    running.await.expect("joined").expect("stopped in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_crosses_once_in_order_and_nothing_comes_back() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("a clock after 1970").as_micros();
    let run = format!("bridge-{}-{now}", std::process::id());
    let here = stand("INTERLINK_STAND").expect("a stand");
    let there = stand("INTERLINK_STAND_OTHER").unwrap_or_else(|| here.clone());
    let (eu, us) = (
        Region::new("eu", &here, &run),
        Region::new("us", &there, &run),
    );
    eu.make_topics(&us);
    us.make_topics(&eu);
    let mut in_us = us.subscriber(&eu).await;
    let mut in_eu = eu.subscriber(&us).await;
    let (eastward, westward) = (start(&eu, &us), start(&us, &eu));

    eu.feed(&us, 0..50).await;
    us.feed(&eu, 1_000..1_050).await;
    assert_eq!(messages(&mut in_us, 50).await, (0..50).collect::<Vec<_>>());
    let there = messages(&mut in_eu, 50).await;
    assert_eq!(there, (1_000..1_050).collect::<Vec<_>>());

    // A bridge that was away goes on where it was, and repeats nothing that is seen.
    end(eastward).await;
    eu.feed(&us, 50..60).await;
    let eastward = start(&eu, &us);
    assert_eq!(messages(&mut in_us, 10).await, (50..60).collect::<Vec<_>>());
    us.feed(&eu, 1_050..1_060).await;
    let there = messages(&mut in_eu, 10).await;
    assert_eq!(there, (1_050..1_060).collect::<Vec<_>>());
    end(eastward).await;
    end(westward).await;

    for (region, other, own, foreign) in [
        (&eu, &us, 0..60, 1_000..1_060),
        (&us, &eu, 1_000..1_060, 0..60),
    ] {
        let logged = region.logged(other, 120).await;
        for id in own {
            assert_eq!(logged[&id], (1, region.name.to_owned(), false));
        }
        for id in foreign {
            assert_eq!(logged[&id], (1, other.name.to_owned(), true));
        }
        let cluster = region.config(other).kafka.client().expect("a cluster");
        let census = tokio::task::spawn_blocking(move || topics::census(&cluster)).await;
        let census = census.expect("joined").expect("a census");
        for name in [region.name, other.name] {
            let count = census.of(name);
            assert_eq!((count.events, count.repeats), (60, 0), "{name} in {census}");
        }
    }
}
