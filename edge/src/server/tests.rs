//! The order of start and stop, with shards that only start and stop.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

fn config(data: &Path) -> Config {
    let mut config = Config::default();
    config.node.data_directory = data.to_path_buf();
    config.node.shards = 2;
    config.listen.client_address.set_port(0);
    config.listen.control_address.set_port(0);
    config
}

/// Shards of which the first ends by itself at once and the others when they are asked.
fn first_shard_ends(plan: ShardPlan) -> Result<ShardSet, CommandError> {
    let stopping = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stopping);
    let events = plan.events.clone();
    let count = plan.counters.len();
    let error = Some("a test ends it".to_owned());
    events
        .send(NodeEvent::ShardEnded { shard: 0, error })
        .expect("the main thread listens");
    let stop = move || {
        asked.store(true, Ordering::Release);
        for shard in 1..count {
            let ended = NodeEvent::ShardEnded { shard, error: None };
            events.send(ended).expect("the main thread listens");
        }
    };
    let join = move || assert!(stopping.load(Ordering::Acquire), "joined before the stop");
    let joins = (0..count).map(|_| {
        let join = join.clone();
        Box::new(join) as Box<dyn FnOnce()>
    });
    Ok(ShardSet::new(stop, joins.collect()))
}

fn no_shards(plan: ShardPlan) -> Result<ShardSet, CommandError> {
    assert_ne!(plan.client_address.port(), 0, "shards get a real port");
    assert_eq!(plan.node.phase(), Phase::Starting);
    Err(CommandError::new(Exit::Host, "no shard can start"))
}

#[test]
fn a_shard_that_ends_by_itself_stops_the_node_in_order() {
    let data = tempfile::tempdir().expect("directory");
    let error = run(config(data.path()), first_shard_ends).expect_err("a part has ended");
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
    let error = run(config(data.path()), no_shards).expect_err("no shards");
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
