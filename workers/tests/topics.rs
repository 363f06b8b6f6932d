//! `topics plan` and `topics apply` against a real broker, that of the test stand.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use interlink_relay::kafka::Config;
use interlink_workers::topics::{apply, look, wanted, Step, Wanted, BUILT_IN};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;

/// The brokers of the stand. There is no test without one.
fn brokers() -> Vec<String> {
    let above = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/stand/stand.json");
    let path = std::env::var_os("INTERLINK_STAND").map_or(above.into(), PathBuf::from);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}. This test needs a real Kafka: run `deploy/stand/stand up kafka`, or \
             name its stand.json in INTERLINK_STAND",
            path.display()
        )
    });
    let stand: serde_json::Value = serde_json::from_str(&text).expect("a stand.json");
    let brokers = stand["kafka"]["brokers"].as_array();
    let brokers = brokers.expect("the stand has no Kafka: run `deploy/stand/stand up kafka`");
    let addresses = brokers.iter().map(|broker| broker["address"].as_str());
    addresses
        .map(|address| address.expect("an address").to_owned())
        .collect()
}

struct Cluster {
    config: Config,
    wanted: Vec<Wanted>,
}

/// The stand's cluster with names of topics that nobody has used.
fn cluster(test: &str) -> Cluster {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("a clock after 1970").as_micros();
    let config = Config {
        brokers: brokers(),
        topic_prefix: format!("{test}-{}-{now}.", std::process::id()),
        ..Config::default()
    };
    let wanted = wanted(BUILT_IN, "single", &config.topic_prefix).expect("a profile");
    Cluster { config, wanted }
}

impl Cluster {
    fn steps(&self) -> Vec<Step> {
        let plan = look(&self.config, &self.wanted).expect("a plan");
        plan.lines.into_iter().flat_map(|line| line.steps).collect()
    }

    fn apply(&self) -> interlink_workers::topics::Done {
        let plan = look(&self.config, &self.wanted).expect("a plan");
        apply(&self.config, &plan).expect("applied")
    }

    fn name(&self, topic: &str) -> String {
        format!("{}{topic}", self.config.topic_prefix)
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        let client = self.config.client("test").expect("settings");
        client.create().expect("an admin client")
    }
}

fn wait<T>(answer: impl std::future::Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(answer)
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)))
}

#[test]
fn what_is_missing_is_created_and_then_kept() {
    let cluster = cluster("create");
    assert!(cluster.steps().iter().all(|step| *step == Step::Create));
    let done = cluster.apply();
    assert_eq!((done.created, done.refused), (10, 0));
    assert!(cluster.steps().iter().all(|step| *step == Step::Keep));
    assert_eq!(cluster.apply().kept, 10);
}

#[test]
fn a_short_retention_is_lengthened_and_other_settings_stay() {
    let cluster = cluster("alter");
    let name = cluster.name("high");
    let replication = TopicReplication::Fixed(1);
    let topic = NewTopic::new(&name, 4, replication)
        .set("retention.ms", "60000")
        .set("segment.bytes", "2097152");
    wait(cluster.admin().create_topics([&topic], &options())).expect("created");
    let done = cluster.apply();
    assert_eq!((done.created, done.altered), (9, 1));
    let topic = ResourceSpecifier::Topic(&name);
    let described = wait(cluster.admin().describe_configs([&topic], &options()));
    let described = described.expect("described").remove(0).expect("a topic");
    let value = |name: &str| described.get(name).and_then(|entry| entry.value.clone());
    assert_eq!(value("retention.ms").as_deref(), Some("21600000"));
    assert_eq!(value("segment.bytes").as_deref(), Some("2097152"));
    assert!(cluster.steps().iter().all(|step| *step == Step::Keep));
}

#[test]
fn nothing_is_shortened_and_no_partition_is_added_to_a_keyed_topic() {
    let cluster = cluster("refuse");
    let name = cluster.name("high");
    let topic = NewTopic::new(&name, 2, TopicReplication::Fixed(1));
    wait(cluster.admin().create_topics([&topic], &options())).expect("created");
    let longer = AlterConfig::new(ResourceSpecifier::Topic(&name))
        .set("retention.ms", "90000000000")
        .set("unclean.leader.election.enable", "false");
    wait(cluster.admin().alter_configs([&longer], &options())).expect("altered");
    assert_eq!(cluster.apply().refused, 2);
    let refused = cluster.steps();
    let refused = refused.iter().filter_map(|step| match step {
        Step::Refuse { cause, .. } => Some(cause.clone()),
        _ => None,
    });
    let refused: Vec<_> = refused.collect();
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].contains("2 partitions instead of 4"));
    assert!(refused[1].contains("retention.ms"));
}

#[test]
fn the_program_says_what_it_would_do_what_it_did_and_what_it_refused() {
    let cluster = cluster("program");
    let run = |command: &str| {
        let program = Command::new(env!("CARGO_BIN_EXE_interlink-workers"))
            .args(["topics", command, "--profile", "single"])
            .args(["--brokers", &cluster.config.brokers.join(",")])
            .args(["--prefix", &cluster.config.topic_prefix])
            .output();
        let output = program.expect("the program ran");
        let text = String::from_utf8(output.stdout).expect("text");
        (output.status.code(), text)
    };
    let (code, text) = run("plan");
    assert_eq!(code, Some(0));
    assert_eq!(text.matches("create").count(), 10, "{text}");
    let (code, text) = run("apply");
    assert_eq!(code, Some(0));
    assert!(text.contains("created 10, grown 0, altered 0, kept 0, refused 0"));
    let (code, text) = run("plan");
    assert_eq!((code, text.matches("nothing").count()), (Some(0), 10));
    let longer = cluster.name("high");
    let longer = AlterConfig::new(ResourceSpecifier::Topic(&longer)).set("retention.ms", "-1");
    wait(cluster.admin().alter_configs([&longer], &options())).expect("altered");
    let (code, text) = run("apply");
    assert_eq!(code, Some(8), "{text}");
    assert!(text.contains("REFUSED"), "{text}");
}

#[test]
fn a_cluster_that_is_away_is_named_with_the_cure() {
    let program = Command::new(env!("CARGO_BIN_EXE_interlink-workers"))
        .args(["topics", "plan", "--brokers", "127.0.0.1:9"])
        .output();
    let output = program.expect("the program ran");
    assert_eq!(output.status.code(), Some(7));
    let text = String::from_utf8(output.stderr).expect("text");
    assert!(text.contains("check kafka.brokers"), "{text}");
}
