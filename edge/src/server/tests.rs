//! The order of start and stop, with shards that only start and stop.

use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::*;
use crate::shard::drain::Course;

fn config(data: &Path) -> Config {
    let mut config = Config::default();
    config.node.data_directory = data.to_path_buf();
    config.node.shards = 2;
    config.listen.client_address.set_port(0);
    config.listen.control_address.set_port(0);
    config.listen.api_address.set_port(0);
    config
}

/// Levers of shards that are threads of nobody: they end when they are to leave.
struct Asked {
    course: Arc<AtomicU8>,
    events: Sender<NodeEvent>,
    shards: Vec<usize>,
    settles: bool,
}

impl Levers for Asked {
    fn set_course(&self, course: Course) {
        self.course.store(course as u8, Ordering::Release);
        if course == Course::Leaving {
            for &shard in &self.shards {
                let ended = NodeEvent::ShardEnded { shard, error: None };
                self.events.send(ended).expect("the main thread listens");
            }
        }
    }

    fn are_settled(&self) -> bool {
        assert_eq!(self.course.load(Ordering::Acquire), Course::Settling as u8);
        self.settles
    }

    fn give_up_journal(&self) -> bool {
        panic!("nobody takes over");
    }
}

/// Shards that end when they are told to leave, of which `ended` have ended before.
fn shards(plan: &ShardPlan, ended: usize, settles: bool) -> ShardSet {
    let course = Arc::new(AtomicU8::new(0));
    let levers = Asked {
        course: Arc::clone(&course),
        events: plan.events.clone(),
        shards: (ended..plan.counters.len()).collect(),
        settles,
    };
    let join = move || {
        let course = course.load(Ordering::Acquire);
        assert_eq!(course, Course::Leaving as u8, "joined before the end");
    };
    let joins = plan.counters.iter().map(|_| {
        let join = join.clone();
        Box::new(join) as Box<dyn FnOnce()>
    });
    ShardSet::new(levers, joins.collect(), Vec::new())
}

/// Shards of which the first ends by itself at once and the others when they are asked.
fn first_shard_ends(plan: ShardPlan) -> Result<ShardSet, CommandError> {
    let error = Some("a test ends it".to_owned());
    plan.events
        .send(NodeEvent::ShardEnded { shard: 0, error })
        .expect("the main thread listens");
    Ok(shards(&plan, 1, true))
}

fn asked_at_once(plan: ShardPlan) -> Result<ShardSet, CommandError> {
    plan.events
        .send(NodeEvent::DrainAsked)
        .expect("the main thread listens");
    Ok(shards(&plan, 0, true))
}

fn never_settled(plan: ShardPlan) -> Result<ShardSet, CommandError> {
    plan.events
        .send(NodeEvent::Signal("SIGTERM"))
        .expect("the main thread listens");
    Ok(shards(&plan, 0, false))
}

fn no_shards(plan: ShardPlan) -> Result<ShardSet, CommandError> {
    assert_ne!(plan.client_address.port(), 0, "shards get a real port");
    assert_eq!(plan.node.phase(), Phase::Starting);
    Err(CommandError::new(Exit::Host, "no shard can start"))
}

#[test]
fn a_shard_that_ends_by_itself_stops_the_node_in_order() {
    let data = tempfile::tempdir().expect("directory");
    let error =
        run(config(data.path()), Entry::Alone, first_shard_ends).expect_err("a part has ended");
    assert_eq!(error.exit, Exit::Broken);
    assert!(
        error
            .to_string()
            .contains("shard 0 has ended: a test ends it"),
        "{error}"
    );
}

#[test]
fn a_node_that_cannot_start_gives_its_directory_free() {
    let data = tempfile::tempdir().expect("directory");
    let error = run(config(data.path()), Entry::Alone, no_shards).expect_err("no shards");
    assert_eq!(error.exit, Exit::Host);
    assert!(DataDirectory::open(data.path()).is_ok());
}

#[test]
fn configured_keys_are_used_instead_of_a_development_key() {
    let data = tempfile::tempdir().expect("directory");
    let mut config = config(data.path());
    let path = data.path().join("school.key");
    crate::auth::Key::read_or_create(&path).expect("written");
    config.auth.key_files = vec![path];
    let keys = load_keys(&config, data.path()).expect("read");
    assert!(keys.created.is_none());
    assert!(!data.path().join("keys/development.key").exists());
    config.auth.key_files.push(data.path().join("missing.key"));
    let error = load_keys(&config, data.path()).expect_err("missing");
    assert_eq!(error.exit, Exit::Config);
}

#[test]
fn a_node_that_is_asked_to_drain_settles_and_ends_well() {
    let data = tempfile::tempdir().expect("directory");
    run(config(data.path()), Entry::Alone, asked_at_once).expect("an ordered end");
    assert!(DataDirectory::open(data.path()).is_ok());
}

#[test]
fn what_does_not_settle_in_time_does_not_hold_up_the_end() {
    let data = tempfile::tempdir().expect("directory");
    let mut config = config(data.path());
    config.drain.settlement = Duration::from_millis(100);
    run(config, Entry::Alone, never_settled).expect("an ordered end");
}

#[test]
fn the_table_of_the_end_is_as_committed() {
    let table = interlink_protocol::session::machine::render::<giving::Giving>();
    assert_eq!(table, include_str!("giving.txt"), "{table}");
}
