//! A transactional outbox, from a real PostgreSQL through the server API of a real node.

mod parts;

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use interlink_relay::kafka;
use interlink_relay::postgres::{self, pool, Connections};
use interlink_workers::exit::CommandError;
use interlink_workers::outbox;
use interlink_workers::roles::{Stop, StopSender};
use parts::{cluster, letters, numbers, stand, Node, CHANNEL, PATIENCE};
use tokio::task::JoinHandle;

/// What a back end inserts.
const INSERT: &str = "
    INSERT INTO outbox (order_key, publish)
    SELECT $1, jsonb_build_object('channel', $2::text, 'json', jsonb_build_object('number', number))
    FROM generate_series($3::bigint, $4::bigint) AS number";

/// The database of a back end, with an outbox of its own.
struct BackEnd {
    config: postgres::Config,
    pool: Connections,
}

impl BackEnd {
    async fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let server = stand("postgres");
        let text = |name: &str| server[name].as_str().expect("a text").to_owned();
        let config = postgres::Config {
            address: text("address"),
            database: text("database"),
            user: text("user"),
            password_file: Some(text("password_file").into()),
            schema: format!("outbox_{}_{number}", std::process::id()),
            ..postgres::Config::default()
        };
        let pool = pool(&config).expect("a configuration");
        let sql = outbox::sql(&config.schema).expect("statements");
        let client = pool.get().await.expect("a connection");
        for _ in 0..2 {
            let made = client.batch_execute(&sql).await;
            made.expect("they may be applied again");
        }
        Self { config, pool }
    }

    /// Commits events of a channel, each in a transaction of its own.
    async fn commit(&self, key: Option<&str>, channel: &str, numbers: std::ops::Range<i64>) {
        let client = self.pool.get().await.expect("a connection");
        for number in numbers {
            client
                .execute(INSERT, &[&key, &channel, &number, &number])
                .await
                .expect("inserted");
        }
    }

    async fn execute(&self, sql: &str) {
        let client = self.pool.get().await.expect("a connection");
        client.batch_execute(sql).await.expect("executed");
    }

    async fn count(&self) -> i64 {
        let client = self.pool.get().await.expect("a connection");
        let row = client.query_one("SELECT count(*) FROM outbox", &[]).await;
        row.expect("a count").get(0)
    }

    async fn wait_until_empty(&self) {
        let started = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while self.count().await > 0 {
            assert!(started.elapsed() < PATIENCE, "rows stay");
            ticks.tick().await;
        }
    }
}

/// A worker inside this process.
struct Worker {
    stop: StopSender,
    task: JoinHandle<Result<(), CommandError>>,
}

impl Worker {
    fn start(back_end: &BackEnd, cluster: &kafka::Config, node: &Node) -> Self {
        let (stop, told) = Stop::pair();
        let (database, cluster, api) = (back_end.config.clone(), cluster.clone(), node.api());
        let run = async move { outbox::run(&database, &cluster, &api, told).await };
        Self {
            stop,
            task: tokio::spawn(run),
        }
    }

    async fn stop(self) {
        self.stop.stop();
        self.task.await.expect("joined").expect("stopped in order");
    }
}

/// A worker as a process of its own, to be killed.
fn process(back_end: &BackEnd, cluster: &kafka::Config, node: &Node) -> Child {
    let (database, api) = (&back_end.config, node.api());
    let password = database.password_file.as_ref().expect("a file");
    let text = format!(
        "[kafka]\nbrokers = {:?}\ntopic_prefix = {:?}\n[edge]\napi = {:?}\ntoken_file = {:?}\n\
         [outbox]\naddress = {:?}\ndatabase = {:?}\nuser = {:?}\npassword_file = {password:?}\n\
         schema = {:?}\n",
        cluster.brokers,
        cluster.topic_prefix,
        api.addresses,
        api.token_file,
        database.address,
        database.database,
        database.user,
        database.schema,
    );
    let file = api.token_file.with_file_name("workers.toml");
    std::fs::write(&file, text).expect("written");
    let started = Command::new(env!("CARGO_BIN_EXE_interlink-workers"))
        .args(["run", "realtime", "--config"])
        .arg(file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    started.expect("a worker")
}

fn all(numbers: std::ops::Range<u64>) -> Vec<u64> {
    numbers.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_committed_is_published_in_order_and_once_and_nothing_else_is() {
    let (cluster, node, back_end) = (cluster(), Node::new(), BackEnd::new().await);
    // This channel has rows before there is a worker, and rows that are taken back.
    back_end.commit(None, CHANNEL, 0..20).await;
    back_end
        .execute(&format!(
            "BEGIN; INSERT INTO outbox (publish) \
             VALUES ('{{\"channel\": \"{CHANNEL}\", \"json\": {{\"number\": 999}}}}'); ROLLBACK"
        ))
        .await;
    let workers = [0, 1].map(|_| Worker::start(&back_end, &cluster, &node));
    let channels = ["report.north.july", "report.south.july", "report.west.july"];
    for channel in channels {
        back_end.commit(Some(channel), channel, 0..30).await;
    }
    back_end.commit(None, CHANNEL, 20..30).await;
    back_end.wait_until_empty().await;
    for channel in channels.into_iter().chain([CHANNEL]) {
        assert_eq!(numbers(&node.history(channel).await), all(0..30));
    }
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_holds_rows_up_and_loses_and_repeats_none() {
    let (cluster, mut node, back_end) = (cluster(), Node::new(), BackEnd::new().await);
    let worker = Worker::start(&back_end, &cluster, &node);
    back_end.commit(None, CHANNEL, 0..5).await;
    node.wait_for(CHANNEL, 5).await;
    node.kill();
    back_end.commit(None, CHANNEL, 5..10).await;
    assert!(back_end.count().await >= 5, "rows that no node has");
    node.start();
    back_end.wait_until_empty().await;
    assert_eq!(numbers(&node.history(CHANNEL).await), all(0..10));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_worker_goes_on_where_one_was_killed() {
    let (cluster, node, back_end) = (cluster(), Node::new(), BackEnd::new().await);
    back_end.commit(Some("north"), CHANNEL, 0..100).await;
    let mut killed = process(&back_end, &cluster, &node);
    let begun = node.wait_for(CHANNEL, 10).await.len();
    killed.kill().expect("killed");
    killed.wait().expect("ended");
    assert!(begun < 100, "it was over before it was killed");
    assert!(back_end.count().await > 0, "rows that were not deleted");
    let worker = Worker::start(&back_end, &cluster, &node);
    back_end.wait_until_empty().await;
    assert_eq!(numbers(&node.history(CHANNEL).await), all(0..100));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_can_never_be_published_is_a_dead_letter_and_holds_nobody_up() {
    let (cluster, node, back_end) = (cluster(), Node::new(), BackEnd::new().await);
    back_end
        .execute("INSERT INTO outbox (order_key, publish) VALUES ('north', '\"no object\"')")
        .await;
    back_end.commit(Some("north"), "sys.status", 1..2).await;
    back_end.commit(Some("north"), CHANNEL, 2..3).await;
    let worker = Worker::start(&back_end, &cluster, &node);
    back_end.wait_until_empty().await;
    assert_eq!(numbers(&node.history(CHANNEL).await), [2]);
    let letters = letters(&cluster, 2).await;
    let codes: Vec<_> = letters.iter().map(|(_, code)| &**code).collect();
    assert_eq!(codes, ["invalid_record", "not_permitted"]);
    assert!(letters[0].0.contains("no object"), "{letters:?}");
    worker.stop().await;
}
