//! What nodes without a lease have fed is placed again: from a real Kafka into a real Redis.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use interlink_protocol::frame::{EventFields, FrameEncoder};
use interlink_protocol::ids::{InstanceId, Position, RecordId};
use interlink_protocol::namespace::Namespaces;
use interlink_protocol::priority::Priority;
use interlink_relay::backplane::{
    Backplane, BackplaneAnswer, BackplaneEvent, BackplaneRequest, Floor, NodeId, Publish,
};
use interlink_relay::event_log::{Append, AppendKind, EventLog, LogPosition, LogRequest};
use interlink_relay::kafka::record::Item;
use interlink_relay::kafka::route;
use interlink_relay::kafka::stretch::{Stretch, StretchConfig, StretchEvent};
use interlink_relay::kafka::{KafkaLog, LogConfig};
use interlink_relay::limits::LEASE_MS;
use interlink_relay::postgres::{self, Store};
use interlink_relay::record::{Kind, Placement, RecordRef, Sequence};
use interlink_relay::redis::{self, Mode, RedisBackplane};
use interlink_workers::exit::CommandError;
use interlink_workers::roles::Stop;
use interlink_workers::stored::{consume, Effect, Group};
use interlink_workers::topics;
use interlink_workers::unleased::pass::Counts;
use interlink_workers::unleased::{once, run, Setting};
use serde_json::Value;
use tokio::runtime::Handle;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How far a pass goes back.
const BACK: Duration = Duration::from_secs(120);
/// A lease.
const LEASE: Duration = Duration::from_millis(LEASE_MS);
/// Age of records that were accepted just now.
const NEW: Duration = Duration::ZERO;
/// Age of records whose ids may be forgotten.
const OLD: Duration = Duration::from_secs(300);
const CHANNEL: &str = "chat.room";
const REGION: &str = "eu";

fn stand() -> Value {
    let above = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/stand/stand.json");
    let path = std::env::var_os("INTERLINK_STAND").map_or(above.into(), PathBuf::from);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}. This test needs real servers: run `deploy/stand/stand up redis kafka`, \
             or name its stand.json in INTERLINK_STAND",
            path.display()
        )
    });
    serde_json::from_str(&text).expect("a stand.json")
}

fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a clock after 1970").as_micros() as u64
}

/// Topics and keys that nobody else has.
fn setting() -> Setting {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("unleased-{}-{}-{number}", std::process::id(), now_us());
    let stand = stand();
    let address = |address: &Value| address.as_str().expect("an address").to_owned();
    let cluster = interlink_relay::kafka::Config {
        brokers: vec![address(&stand["kafka"]["brokers"][0]["address"])],
        topic_prefix: format!("{name}."),
        ..Default::default()
    };
    let wanted = topics::wanted(topics::BUILT_IN, "single", &cluster.topic_prefix);
    let wanted = wanted.expect("a profile").into_iter();
    let fed = route::fed_topics(&cluster.topic_prefix);
    let wanted: Vec<_> = wanted.filter(|topic| fed.contains(&topic.name)).collect();
    let made = cluster.clone();
    // It waits on a runtime of its own, for which a test's thread has no room.
    let made = std::thread::spawn(move || {
        let plan = topics::look(&made, &wanted).expect("a plan");
        topics::apply(&made, &plan).expect("topics");
    });
    made.join().expect("topics");
    Setting {
        cluster,
        redis: redis::Config {
            mode: Mode::Single,
            addresses: vec![address(&stand["redis"]["single"]["address"])],
            prefix: name,
            ..redis::Config::default()
        },
        region: REGION.to_owned(),
        store: None,
    }
}

/// The backplane as a node has it.
struct Servers(RedisBackplane);

impl Servers {
    fn of(setting: &Setting) -> Self {
        let wake = Arc::new(|| {});
        let backplane = RedisBackplane::new(setting.redis.clone(), &Handle::current(), wake);
        Self(backplane.expect("a backplane"))
    }

    async fn call(&mut self, request: BackplaneRequest<'_>) -> BackplaneAnswer {
        let started = Instant::now();
        loop {
            self.0.submit(request, now_us()).expect("room");
            let answer = loop {
                match self.0.complete() {
                    Some(BackplaneEvent::Answer(_, answer)) => break answer,
                    Some(_) => {}
                    None => tokio::task::yield_now().await,
                }
                assert!(started.elapsed() < PATIENCE, "no answer");
            };
            if let Ok(answer) = answer {
                return answer;
            }
        }
    }

    async fn lease(&mut self, name: &str, life: Duration) {
        let node = NodeId::of(name, 1);
        let life_ms = life.as_millis() as u64;
        self.call(BackplaneRequest::Lease { node, life_ms }).await;
    }

    async fn place(&mut self, id: u64) -> Placement {
        let publish = Publish {
            channel: CHANNEL,
            class: Priority::P1,
            record: RecordId(u128::from(id)),
            accepted_at_us: now_us(),
            floor: Floor::NONE,
            frame: &frame(id, Placement::default()),
        };
        match self.call(BackplaneRequest::Publish(&[publish])).await {
            BackplaneAnswer::Published(placed) => placed[0].placement,
            other => panic!("no place: {other:?}"),
        }
    }

    /// Ids and places in the channel.
    async fn history(&mut self) -> Vec<(u64, Placement)> {
        let request = BackplaneRequest::History {
            channel: CHANNEL,
            after: Position::ZERO,
            limit: 100,
        };
        match self.call(request).await {
            BackplaneAnswer::History(page) => {
                let events = page.events.iter();
                let events = events.map(|event| (event.record.0 as u64, event.placement));
                events.collect()
            }
            other => panic!("no history: {other:?}"),
        }
    }
}

fn frame(id: u64, placement: Placement) -> Vec<u8> {
    let fields = EventFields {
        channel: CHANNEL,
        position: placement.position,
        previous_chain: placement.previous_chain,
        record: RecordId(u128::from(id)),
        publisher: "ada",
        priority: Priority::P1,
        event_type: 1,
        schema_version: 1,
        server_time_us: 1,
        payload: b"hello",
        conflation_key: None,
        trace: None,
    };
    FrameEncoder::new().event(&fields).to_vec()
}

/// Feeds events that were accepted some time ago, as a node does.
async fn feed(setting: &Setting, node: &str, age: Duration, events: &[(u64, Option<Placement>)]) {
    let config = LogConfig {
        cluster: setting.cluster.clone(),
        node: node.to_owned(),
        region: REGION.to_owned(),
        namespaces: Arc::new(Namespaces::defaults()),
    };
    let mut log = KafkaLog::new(config, Handle::current(), Arc::new(|| {})).expect("a log");
    let frames = events
        .iter()
        .map(|(id, place)| frame(*id, place.unwrap_or_default()));
    let frames: Vec<_> = frames.collect();
    let append = |((id, placement), frame): (&(u64, Option<Placement>), _)| Append {
        from: LogPosition {
            boot: 1,
            shard: 0,
            kind: Kind::Urgent,
            sequence: Sequence(*id),
        },
        kind: AppendKind::Event,
        record: RecordRef {
            class: Priority::P1,
            record: RecordId(u128::from(*id)),
            instance: InstanceId(5),
            client_message_id: *id,
            payload_hash: 7,
            accepted_at_us: now_us() - age.as_micros() as u64,
            channel: CHANNEL,
            placement: *placement,
            frame,
        },
    };
    let appends: Vec<_> = events
        .iter()
        .zip(frames.iter().map(|it| &**it))
        .map(append)
        .collect();
    log.submit(LogRequest::Append(&appends), 1).expect("room");
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

/// Places that the log tells apart from their events, in its order.
async fn told(setting: &Setting) -> Vec<(u64, Placement)> {
    let topics = [format!("{}high", setting.cluster.topic_prefix)];
    let config = StretchConfig {
        cluster: &setting.cluster,
        topics: &topics,
        since_ms: (now_us() / 1_000) as i64 - PATIENCE.as_millis() as i64,
        client: "test",
    };
    let mut stretch = Stretch::open(config).expect("a stretch");
    let mut told = Vec::new();
    while let Some(event) = stretch.next().await {
        let StretchEvent::Batch(batch) = event else {
            continue;
        };
        for record in &batch.records {
            if let Ok(Item::Positioned(place)) = record.decode() {
                assert_eq!((&*place.node, &*place.channel), ("dead", CHANNEL));
                told.push((place.record.0 as u64, place.placement));
            }
        }
    }
    told
}

async fn pass(setting: &Setting) -> Counts {
    let (_sender, stop) = Stop::pair();
    let pass = tokio::time::timeout(PATIENCE, once(setting.clone(), BACK, stop)).await;
    let counts = pass.expect("in time").expect("a pass");
    counts.expect("it was not stopped")
}

/// Looks at the channel until it is as it should be.
async fn wait_for(
    servers: &mut Servers,
    is_right: impl Fn(&[(u64, Placement)]) -> bool,
) -> Vec<(u64, Placement)> {
    let started = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    loop {
        let history = servers.history().await;
        if is_right(&history) {
            return history;
        }
        assert!(started.elapsed() < PATIENCE, "only {history:?} came");
        ticks.tick().await;
    }
}

/// Removes everything that servers know, and leaves them where they are.
fn forget_everything(setting: &Setting) {
    let mut server = TcpStream::connect(&setting.redis.addresses[0]).expect("the server");
    let script = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end";
    let pattern = format!("{}:*", setting.redis.prefix);
    let mut command = String::from("*4\r\n");
    for word in ["EVAL", script, "0", &pattern] {
        command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    server.write_all(command.as_bytes()).expect("sent");
    let mut answer = [0; 5];
    server.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"$-1\r\n", "a script without a result");
}

/// An archive that nobody else has.
async fn store(setting: &Setting) -> Store {
    let stand = stand();
    let database = &stand["postgres"];
    let text = |name: &str| {
        let text = database[name].as_str();
        text.unwrap_or_else(|| panic!("run `deploy/stand/stand up redis kafka postgres`: {name}"))
            .to_owned()
    };
    let store = Store::new(&postgres::Config {
        address: text("address"),
        database: text("database"),
        user: text("user"),
        password_file: Some(text("password_file").into()),
        schema: setting.redis.prefix.replace('-', "_"),
        ..postgres::Config::default()
    });
    let store = store.expect("a configuration");
    store.prepare(now_us()).await.expect("a schema");
    store
}

/// Archives what nodes feed, for ever.
async fn archive(setting: &Setting, store: &Store) -> Result<(), CommandError> {
    let (_sender, stop) = Stop::pair();
    let group = Group {
        cluster: &setting.cluster,
        name: "archival",
        topics: route::fed_topics(&setting.cluster.topic_prefix),
        effect: Effect::Archive,
    };
    consume(group, store.clone(), stop).await
}

fn ids(history: &[(u64, Placement)]) -> Vec<u64> {
    history.iter().map(|(id, _)| *id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_node_fed_is_placed_once_in_order_and_the_log_is_told() {
    let setting = setting();
    let mut servers = Servers::of(&setting);
    let mut events = Vec::new();
    for id in 1..=5 {
        let place = servers.place(id).await;
        // The places of 4 and 5 never came to the log.
        events.push((id, (id < 4).then_some(place)));
    }
    events.extend((6..=10).map(|id| (id, None)));
    feed(&setting, "dead", NEW, &events).await;
    let of_others: Vec<_> = (101..=105).map(|id| (id, None)).collect();
    servers.lease("alive", PATIENCE).await;
    feed(&setting, "alive", NEW, &of_others).await;

    let counts = pass(&setting).await;
    assert_eq!((counts.placed, counts.known, counts.told), (5, 5, 7));
    assert_eq!((counts.read, counts.others, counts.old), (15, 5, 0));
    let history = servers.history().await;
    assert_eq!(ids(&history), (1..=10).collect::<Vec<_>>());
    let mut places = told(&setting).await;
    places.sort_unstable_by_key(|(id, _)| *id);
    assert_eq!(places, history[3..], "in the log as in the channel");

    let counts = pass(&setting).await;
    assert_eq!((counts.placed, counts.known, counts.told), (0, 10, 0));
    assert_eq!(servers.history().await, history);
    assert_eq!(told(&setting).await.len(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_servers_have_lost_is_placed_again_behind_what_the_log_knows() {
    let mut setting = setting();
    let mut events = Vec::new();
    let mut before = Servers::of(&setting);
    for id in 1..=10 {
        events.push((id, Some(before.place(id).await)));
    }
    feed(&setting, "dead", NEW, &events).await;
    // Servers with nothing.
    setting.redis.prefix.push_str("-new");
    let mut servers = Servers::of(&setting);
    assert_eq!(servers.history().await, []);

    let counts = pass(&setting).await;
    assert_eq!((counts.placed, counts.known, counts.told), (10, 0, 10));
    let history = servers.history().await;
    assert_eq!(ids(&history), (1..=10).collect::<Vec<_>>());
    let offsets = history.iter().map(|(_, place)| place.position.offset);
    assert_eq!(offsets.collect::<Vec<_>>(), (11..=20).collect::<Vec<_>>());
    assert_eq!(told(&setting).await, history);
    let counts = pass(&setting).await;
    assert_eq!((counts.placed, counts.known, counts.told), (0, 10, 0));
    assert_eq!(servers.history().await, history);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_lease_has_ended_is_seen_and_nobody_is_placed_for_before() {
    let setting = setting();
    let mut servers = Servers::of(&setting);
    // Longer than until the first pass, which finds it alive.
    let life = Duration::from_secs(25);
    servers.lease("dead", life).await;
    let leased = Instant::now();
    let events: Vec<_> = (1..=10).map(|id| (id, None)).collect();
    feed(&setting, "dead", NEW, &events).await;
    let (sender, stop) = Stop::pair();
    let running = tokio::spawn(run(setting.clone(), stop));
    let history = wait_for(&mut servers, |history| !history.is_empty()).await;
    assert!(leased.elapsed() >= life - Duration::from_millis(100));
    assert_eq!(ids(&history), (1..=10).collect::<Vec<_>>(), "by one call");
    sender.stop();
    running.await.expect("joined").expect("stopped in order");
    assert_eq!(told(&setting).await, history, "what was placed is told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_were_emptied_get_again_what_a_dead_node_fed() {
    let setting = setting();
    let mut servers = Servers::of(&setting);
    let events: Vec<_> = (1..=10).map(|id| (id, None)).collect();
    feed(&setting, "dead", NEW, &events).await;
    let (sender, stop) = Stop::pair();
    let running = tokio::spawn(run(setting.clone(), stop));
    let first = wait_for(&mut servers, |history| history.len() == 10).await;
    let forgotten = Instant::now();
    forget_everything(&setting);
    assert_eq!(servers.history().await, []);
    let second = wait_for(&mut servers, |history| history.len() == 10).await;
    assert!(
        forgotten.elapsed() >= LEASE,
        "who lives has that long to come back"
    );
    assert_eq!(ids(&second), ids(&first));
    let (last, next) = (first[9].1.position, second[0].1.position);
    assert!(next.epoch > last.epoch && next.offset > last.offset);
    sender.stop();
    running.await.expect("joined").expect("stopped in order");
    assert_eq!(told(&setting).await, [first, second].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_old_is_placed_only_when_the_archive_knows_no_place_of_it() {
    let mut setting = setting();
    let mut servers = Servers::of(&setting);
    let events: Vec<_> = (1..=3).map(|id| (id, None)).collect();
    feed(&setting, "dead", OLD, &events).await;
    feed(&setting, "dead", NEW, &[(4, None)]).await;
    let counts = pass(&setting).await;
    assert_eq!((counts.old, counts.placed), (3, 1));
    assert_eq!(ids(&servers.history().await), [4]);

    let store = store(&setting).await;
    setting.store = Some(store.clone());
    setting.redis.prefix.push_str("-forgotten");
    let archiving = archive(&setting, &store);
    // It waits until consumers have come so far that an id which is not known is new.
    let counts = tokio::select! {
        ended = archiving => panic!("archival has ended: {ended:?}"),
        counts = pass(&setting) => counts,
    };
    // 4 was placed by the first pass, as the log tells, and is new to these servers.
    assert_eq!((counts.old, counts.placed, counts.known), (0, 4, 0));
    let mut servers = Servers::of(&setting);
    assert_eq!(ids(&servers.history().await), [1, 2, 3, 4]);
}
