//! The suite of the port.

use std::sync::Arc;

use super::*;
use crate::conformance;
use crate::postgres::PostgresArchive;
use crate::record::RecordRef;

/// What the suite takes for now.
const SUITE_NOW_US: u64 = 1_000_000;

#[test]
fn conformance_of_the_postgres_archive() {
    // Schemas live as long as the archives that are made in them.
    let mut places = Vec::new();
    conformance::archive(|records| {
        let place = Place::new();
        place
            .run(place.store.tend(SUITE_NOW_US))
            .expect("partitions");
        keep(&place, records);
        let (config, runtime) = (place.config.clone(), place.runtime.handle().clone());
        places.push(place);
        PostgresArchive::new(&config, runtime, Arc::new(|| {})).expect("an archive")
    });
}

fn keep(place: &Place, records: &[RecordRef<'_>]) {
    let source = source("n");
    let events = records.iter().map(|record| ArchivedEvent {
        record: record.record,
        class: record.class,
        channel: record.channel,
        payload_hash: record.payload_hash,
        accepted_at_us: record.accepted_at_us,
        placement: record.placement,
        frame: record.frame,
    });
    let fed: Vec<_> = (1..)
        .zip(events)
        .map(|(n, one)| fed(&source, n, one))
        .collect();
    let consumed = Consumed {
        through_us: SUITE_NOW_US,
        ..at(0, fed.len() as i64)
    };
    let store = &place.store;
    let (topic, part) = (consumed.topic, consumed.partition);
    let claim = store.claim(consumed.group, topic, part, 0);
    assert_eq!(place.run(claim).expect("claimed"), 0);
    let kept = place.run(store.keep(&consumed, &fed, SUITE_NOW_US));
    assert_eq!(kept.expect("kept"), stored(fed.len() as u64, 0, 0));
}

#[test]
fn conformance_through_tls_and_only_with_the_right_authority() {
    let config = Config {
        schema: config().schema,
        ..stand::encrypted()
    };
    let place = Place::of(config.clone());
    let sql = "SELECT count(*) FROM pg_stat_ssl WHERE ssl AND pid = pg_backend_pid()";
    assert_eq!(place.ask(sql), 1);
    let directory = tempfile::tempdir().expect("a directory");
    let authorities = directory.path().join("other.pem");
    std::fs::write(&authorities, OTHER_AUTHORITY).expect("written");
    let store = Store::new(&Config {
        authorities: Some(authorities),
        ..config
    });
    let store = store.expect("a configuration");
    let refused = place.run(store.top(CHANNEL)).expect_err("not trusted");
    assert!(!refused.is_of_the_record());
    assert!(refused.to_string().contains("certificate"), "{refused}");
}

/// An authority whose key nobody has; made for this test.
const OTHER_AUTHORITY: &str = include_str!("other-authority.pem");
