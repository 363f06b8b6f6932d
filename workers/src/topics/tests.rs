//! What is planned, without a cluster.

use std::collections::BTreeMap;

use super::plan::{settings_of, MIN_INSYNC, RETENTION, UNCLEAN};
use super::*;

const HOUR_MS: u64 = 3_600_000;

fn production() -> Vec<Wanted> {
    wanted(BUILT_IN, "production", "interlink.").expect("the file that comes with the program")
}

fn one(name: &str) -> Wanted {
    let mut all = production().into_iter();
    all.find(|topic| topic.name == name).expect("a topic")
}

/// A topic that is as wanted.
fn existing(wanted: &Wanted) -> Existing {
    Existing {
        partitions: wanted.partitions,
        replication: wanted.replication,
        settings: settings_of(wanted),
        own: settings_of(wanted),
    }
}

fn steps(wanted: &Wanted, found: Existing) -> Vec<Step> {
    let existing = BTreeMap::from([(wanted.name.clone(), found)]);
    let plan = compare(std::slice::from_ref(wanted), &existing, 3);
    plan.lines[0].steps.clone()
}

#[test]
fn the_file_holds_the_numbers_of_the_mission() {
    let sizes = |topic: &str| {
        let topic = one(topic);
        let hours = topic.retention_ms / HOUR_MS;
        (topic.partitions, topic.replication, hours, topic.min_insync)
    };
    for topic in ["critical", "high", "institution"] {
        assert_eq!(sizes(&format!("interlink.{topic}")), (100, 3, 6, 2));
    }
    for topic in ["academic", "standard"] {
        assert_eq!(sizes(&format!("interlink.{topic}")), (50, 3, 24, 2));
    }
    for topic in ["analytics", "batch", "jobs", "dead-letter"] {
        assert_eq!(sizes(&format!("interlink.{topic}")), (20, 2, 168, 2));
    }
    assert!(production().iter().all(|topic| topic.keyed));
    let single = wanted(BUILT_IN, "single", "interlink.").expect("a profile");
    assert!(single.iter().all(|topic| topic.replication == 1));
}

#[test]
fn what_is_missing_is_created_where_brokers_are_enough() {
    let plan = compare(&production(), &BTreeMap::new(), 3);
    assert!(plan.lines.iter().all(|line| line.steps == [Step::Create]));
    let plan = compare(&production(), &BTreeMap::new(), 2);
    let refused: Vec<_> = plan.refused().map(|(topic, _)| topic.replication).collect();
    assert!(!refused.is_empty() && refused.iter().all(|replicas| *replicas == 3));
    assert!(plan.to_string().contains("--profile single"));
}

#[test]
fn what_is_as_wanted_is_kept() {
    let topic = one("interlink.high");
    assert_eq!(steps(&topic, existing(&topic)), [Step::Keep]);
}

#[test]
fn the_partitions_of_a_keyed_topic_never_change() {
    let topic = one("interlink.high");
    for partitions in [1, 99, 101] {
        let mut found = existing(&topic);
        found.partitions = partitions;
        let steps = steps(&topic, found);
        let Step::Refuse { cure, .. } = &steps[0] else {
            panic!("not refused: {steps:?}");
        };
        assert!(cure.contains("new version") && cure.contains("drain"));
    }
}

#[test]
fn a_topic_without_keys_grows_and_never_shrinks() {
    let mut topic = one("interlink.jobs");
    topic.keyed = false;
    let mut found = existing(&topic);
    found.partitions = 3;
    assert_eq!(steps(&topic, found.clone()), [Step::Grow { from: 3 }]);
    found.partitions = 21;
    assert!(matches!(steps(&topic, found)[0], Step::Refuse { .. }));
}

#[test]
fn retention_is_lengthened_and_never_shortened() {
    let topic = one("interlink.high");
    let mut found = existing(&topic);
    found.own.insert("segment.bytes".into(), "1048576".into());
    found.own.insert(RETENTION.into(), "60000".into());
    found.settings.insert(RETENTION.into(), "60000".into());
    let steps_done = steps(&topic, found.clone());
    let Step::Alter { settings, changes } = &steps_done[0] else {
        panic!("not altered: {steps_done:?}");
    };
    assert_eq!(
        changes,
        &[(RETENTION, "60000".to_owned(), (6 * HOUR_MS).to_string())]
    );
    assert_eq!(
        settings["segment.bytes"], "1048576",
        "settings that a change does not repeat would be lost"
    );
    for longer in ["99999999999", "-1"] {
        found.settings.insert(RETENTION.into(), longer.into());
        let steps = steps(&topic, found.clone());
        assert!(matches!(&steps[..], [Step::Refuse { .. }]), "{steps:?}");
    }
}

#[test]
fn writes_are_made_safer_and_never_less_safe() {
    let topic = one("interlink.high");
    let mut found = existing(&topic);
    found.settings.insert(MIN_INSYNC.into(), "1".into());
    found.settings.insert(UNCLEAN.into(), "true".into());
    let steps_done = steps(&topic, found.clone());
    assert!(matches!(&steps_done[..], [Step::Alter { changes, .. }] if changes.len() == 2));
    found.settings.insert(MIN_INSYNC.into(), "3".into());
    found.settings.insert(UNCLEAN.into(), "false".into());
    assert!(matches!(&steps(&topic, found)[..], [Step::Refuse { .. }]));
}

#[test]
fn too_few_replicas_are_refused_with_the_cure() {
    let topic = one("interlink.high");
    let mut found = existing(&topic);
    found.replication = 1;
    let plan = compare(
        std::slice::from_ref(&topic),
        &BTreeMap::from([(topic.name.clone(), found)]),
        3,
    );
    assert!(plan.to_string().contains("kafka-reassign-partitions"));
}

#[test]
fn a_wrong_file_is_refused_with_its_cure() {
    let class = |partitions: u32, replication: u32, min_insync: u32| {
        format!(
            "[topics.a]\nclass = \"x\"\n[profiles.p.x]\npartitions = {partitions}\n\
             replication = {replication}\nmin_insync = {min_insync}\nretention_hours = 1"
        )
    };
    let cases = [
        (class(0, 1, 1), "change partitions"),
        (class(1, 9, 1), "change replication"),
        (class(1, 1, 2), "min_insync"),
        (class(1, 1, 1) + "\n[profiles.p.y]", "missing field"),
        (class(1, 1, 1).replace("\"x\"", "\"z\""), "add it"),
        (class(1, 1, 1) + "\nretentions = 1", "unknown field"),
    ];
    for (text, cure) in cases {
        let error = wanted(&text, "p", "").expect_err("wrong").to_string();
        assert!(error.contains(cure), "{error}");
    }
    let error = wanted(&class(1, 1, 1), "q", "").expect_err("no profile");
    assert!(error.to_string().contains("it has p"));
}

#[test]
fn a_census_tells_an_event_from_its_return_and_its_position() {
    let mut census = super::Census::default();
    let id = |id: u128| id.to_le_bytes();
    for (one, kind, origin) in [
        (id(1), "event", "eu"),
        (id(1), "positioned", "eu"),
        (id(2), "event", "us"),
        (id(1), "event", "eu"),
    ] {
        census.note([Some(&one), Some(kind.as_bytes()), Some(origin.as_bytes())]);
    }
    census.note([None, Some(b"event"), Some(b"eu")]);
    census.note([Some(b"short"), Some(b"event"), Some(b"eu")]);
    let eu = census.of("eu");
    assert_eq!((eu.events, eu.repeats, eu.positioned), (1, 1, 1));
    let printed: serde_json::Value = serde_json::from_str(&census.to_string()).expect("JSON");
    assert_eq!(printed["origins"]["us"]["events"], 1);
    assert_eq!(printed["foreign"], 2);
}
