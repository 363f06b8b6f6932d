//! Consumers whose offsets are in the database: from a real Kafka into a real PostgreSQL.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use interlink_protocol::frame::{EventFields, FrameEncoder};
use interlink_protocol::ids::{InstanceId, Position, RecordId};
use interlink_protocol::namespace::Namespaces;
use interlink_protocol::priority::Priority;
use interlink_relay::backplane::Sequencer;
use interlink_relay::event_log::{Append, AppendKind, EventLog, LogPosition, LogRequest};
use interlink_relay::files::HistoryFloor;
use interlink_relay::kafka::{route, Config, KafkaLog, LogConfig};
use interlink_relay::postgres::{self, Store};
use interlink_relay::record::{Kind, Placement, RecordRef, Sequence};
use interlink_workers::roles::Stop;
use interlink_workers::stored::{consume, Effect, Group};
use interlink_workers::topics;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::Value;
use tokio::runtime::Handle;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Kafka and PostgreSQL of the stand. There is no test without them.
fn stand() -> Value {
    let above = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/stand/stand.json");
    let path = std::env::var_os("INTERLINK_STAND").map_or(above.into(), PathBuf::from);
    let cure = "run `deploy/stand/stand up kafka postgres`, or name its stand.json in \
                INTERLINK_STAND";
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; {cure}", path.display()));
    let stand: Value = serde_json::from_str(&text).expect("a stand.json");
    assert!(stand["kafka"].is_object(), "the stand has no Kafka: {cure}");
    assert!(
        stand["postgres"].is_object(),
        "the stand has no PostgreSQL: {cure}"
    );
    stand
}

/// Topics and a schema that nobody else has.
struct Place {
    cluster: Config,
    store: Store,
}

impl Place {
    async fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        let stand = stand();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let brokers = stand["kafka"]["brokers"].as_array().expect("brokers");
        let cluster = Config {
            brokers: brokers.iter().map(|one| text(&one["address"])).collect(),
            topic_prefix: format!("{name}."),
            ..Config::default()
        };
        let wanted = topics::wanted(topics::BUILT_IN, "single", &cluster.topic_prefix);
        let wanted = wanted.expect("a profile");
        let made = cluster.clone();
        // It waits on a runtime of its own, for which a test's thread has no room.
        let made = std::thread::spawn(move || {
            let plan = topics::look(&made, &wanted).expect("a plan");
            topics::apply(&made, &plan).expect("topics");
        });
        made.join().expect("topics");
        let database = &stand["postgres"];
        let store = Store::new(&postgres::Config {
            address: text(&database["address"]),
            database: text(&database["database"]),
            user: text(&database["user"]),
            password_file: Some(text(&database["password_file"]).into()),
            schema: name,
            ..postgres::Config::default()
        });
        let store = store.expect("a configuration");
        store.prepare(now_us()).await.expect("a schema");
        Self { cluster, store }
    }

    /// Runs a group until `is_done`.
    async fn run(&self, name: &'static str, effect: Effect, is_done: impl AsyncFn() -> bool) {
        let group = Group {
            cluster: &self.cluster,
            name,
            topics: route::fed_topics(&self.cluster.topic_prefix),
            effect,
        };
        let (sender, stop) = Stop::pair();
        let watch = async {
            let started = Instant::now();
            let mut ticks = tokio::time::interval(Duration::from_millis(50));
            while !is_done().await {
                assert!(started.elapsed() < PATIENCE, "it does not come");
                ticks.tick().await;
            }
            sender.stop();
        };
        let (ended, ()) = tokio::join!(consume(group, self.store.clone(), stop), watch);
        ended.expect("stopped in order");
    }

    /// Feeds events as a node does.
    fn feed(
        &self,
        node: &str,
        channel: &str,
        class: Priority,
        events: &[(u64, Option<Placement>)],
    ) {
        let config = LogConfig {
            cluster: self.cluster.clone(),
            node: node.into(),
            region: "eu".into(),
            namespaces: Arc::new(Namespaces::defaults()),
        };
        let mut log = KafkaLog::new(config, Handle::current(), Arc::new(|| {})).expect("a log");
        let frames: Vec<_> = events
            .iter()
            .map(|(id, place)| frame(channel, class, *id, place.unwrap_or_default()))
            .collect();
        let appends: Vec<_> = events
            .iter()
            .zip(&frames)
            .map(|((id, place), frame)| append(channel, class, *id, *place, frame))
            .collect();
        log.submit(LogRequest::Append(&appends), 0).expect("room");
        let started = Instant::now();
        let answer = loop {
            if let Some((_, answer)) = log.complete() {
                break answer;
            }
            assert!(started.elapsed() < PATIENCE, "no acknowledgement");
            std::thread::yield_now();
        };
        answer.expect("appended");
        assert!(log.close(PATIENCE));
    }

    async fn top(&self, channel: &str) -> u64 {
        let top = self.store.top(channel).await.expect("known");
        top.map_or(0, |top| top.offset)
    }

    async fn history(&self, channel: &str) -> Vec<u64> {
        let floor = HistoryFloor::default();
        let page = self
            .store
            .history(channel, Position::ZERO, 100, floor, now_us());
        let page = page.await.expect("history");
        let events = page.events.iter().map(|event| event.record.0 as u64);
        events.collect()
    }
}

fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a time").as_micros() as u64
}

fn frame(channel: &str, class: Priority, id: u64, placement: Placement) -> Vec<u8> {
    let fields = EventFields {
        channel,
        position: placement.position,
        previous_chain: placement.previous_chain,
        record: RecordId(u128::from(id)),
        publisher: "ada",
        priority: class,
        event_type: 1,
        schema_version: 1,
        server_time_us: 1,
        payload: b"hello",
        conflation_key: None,
        trace: None,
    };
    FrameEncoder::new().event(&fields).to_vec()
}

fn append<'a>(
    channel: &'a str,
    class: Priority,
    id: u64,
    placement: Option<Placement>,
    frame: &'a [u8],
) -> Append<'a> {
    Append {
        from: LogPosition {
            boot: 1,
            shard: 0,
            kind: Kind::of(class),
            sequence: Sequence(id),
        },
        kind: AppendKind::Event,
        record: RecordRef {
            class,
            record: RecordId(u128::from(id)),
            instance: InstanceId(5),
            client_message_id: id,
            payload_hash: 7,
            accepted_at_us: now_us(),
            channel,
            placement,
            frame,
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nodes_feed_is_archived_once_through_restarts_and_dead_letters() {
    let place = Place::new().await;
    let channel = "class.algebra";
    let mut sequencer = Sequencer::new(1);
    let events: Vec<_> = (1..=20)
        .map(|id| (id, Some(sequencer.place(RecordId(u128::from(id))))))
        .collect();
    place.feed("a", channel, Priority::P1, &events[..10]);
    // Something else than a node writes into the same partition.
    let client = place.cluster.client("stranger").expect("settings");
    let producer: FutureProducer = client.create().expect("a producer");
    let topic = format!("{}academic", place.cluster.topic_prefix);
    let stranger = FutureRecord::to(&topic).key("ada").payload("no event");
    producer.send(stranger, PATIENCE).await.expect("sent");
    let ten = async || place.top(channel).await == 10;
    place.run("archival", Effect::Archive, ten).await;
    // A feeder that has restarted feeds again what it does not know to be there.
    place.feed("a", channel, Priority::P1, &events[5..]);
    let all = async || place.top(channel).await == 20;
    place.run("archival", Effect::Archive, all).await;
    assert_eq!(place.history(channel).await, (1..=20).collect::<Vec<_>>());
    let letters = place.store.dead_letters("archival").await;
    assert_eq!(letters.expect("counted"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_nobody_acknowledges_is_escalated() {
    let place = Place::new().await;
    let mut sequencer = Sequencer::new(1);
    let placement = sequencer.place(RecordId(1));
    place.feed("a", "alert.ada", Priority::P0, &[(1, Some(placement))]);
    let deadlines = Effect::Deadlines(Arc::new(Namespaces::defaults()));
    let stored = async || place.store.next_due().await.expect("known").is_some();
    place.run("realtime", deadlines, stored).await;
    let due = place.store.next_due().await.expect("known").expect("one");
    let (count, escalations) = place.store.take_due(due).await.expect("taken");
    assert_eq!((count, escalations.len()), (1, 1));
    assert_eq!(escalations[0].user, "ada");
}
