//! A database that is away, slow, or not as it must be.

use std::sync::Arc;

use super::*;
use crate::archive::{Archive, ArchiveError, ArchiveRequest};
use crate::limits::PORT_CALLS_MAX;
use crate::ports::Busy;
use crate::postgres::{DeadLetter, PostgresArchive, StoreError};

#[test]
fn a_database_that_is_away_is_temporary_and_never_of_a_record() {
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address").to_string();
    drop(free);
    let store = Store::new(&Config {
        address,
        ..Config::default()
    });
    let (runtime, store) = (runtime(), store.expect("a configuration"));
    let error = runtime.block_on(store.top(CHANNEL)).expect_err("away");
    assert!(matches!(error, StoreError::Lost(_)), "{error}");
    assert!(ArchiveError::from(error).is_temporary());
}

#[test]
fn a_connection_that_the_server_ends_is_replaced() {
    let place = Place::new();
    assert!(place.run(place.store.top(CHANNEL)).is_ok());
    let other = Store::new(&place.config).expect("a second process");
    let killed = place.run(async {
        let client = other.client().await.expect("a connection");
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE pid <> pg_backend_pid() AND usename = current_user \
                   AND query LIKE '%channel_top%' AND query NOT LIKE '%pg_stat_activity%'";
        let row = client.query_one(sql, &[]).await.expect("a row");
        row.get::<_, i64>(0)
    });
    assert!(killed >= 1);
    let again = (0..3).find_map(|_| place.run(place.store.top(CHANNEL)).ok());
    assert!(again.is_some(), "a fresh connection");
}

#[test]
fn a_statement_that_waits_too_long_for_a_lock_is_no_fault_of_its_records() {
    let place = Place::new();
    let claim = place.store.claim("archival", "interlink.high", 3, 0);
    place.run(claim).expect("claimed");
    let (a, one) = (source("a"), frame(1, Placement::default()));
    let batch = [fed(&a, 1, event(1, None, &one))];
    let outcome = place.run(async {
        let mut client = place.store.client().await.expect("a connection");
        let work = client.transaction().await.expect("a transaction");
        let lock = "SELECT next_offset FROM consumer_offset FOR UPDATE";
        work.query_one(lock, &[]).await.expect("locked");
        place.store.keep(&at(0, 1), &batch, NOW_US).await
    });
    assert!(matches!(outcome, Err(StoreError::Away(_))), "{outcome:?}");
    assert_eq!(place.keep(0, &batch), stored(1, 0, 0));
}

#[test]
fn a_schema_that_is_missing_is_a_matter_of_the_set_up() {
    let _guard = Place::new();
    let store = Store::new(&config()).expect("a configuration");
    let error = runtime()
        .block_on(store.top(CHANNEL))
        .expect_err("no table");
    assert!(matches!(error, StoreError::Setup(_)), "{error}");
}

#[test]
fn the_port_takes_no_more_than_it_may_and_answers_everything_it_took() {
    let place = Place::new();
    let (config, handle) = (place.config.clone(), place.runtime.handle().clone());
    let (wake, woken) = std::sync::mpsc::channel();
    let waker = Arc::new(move || {
        let _ = wake.send(());
    });
    let archive = PostgresArchive::new(&config, handle, waker);
    let mut archive = archive.expect("an archive");
    let mut tickets = std::collections::HashSet::new();
    let request = ArchiveRequest::Top { channel: CHANNEL };
    for _ in 0..PORT_CALLS_MAX {
        tickets.insert(archive.submit(request, NOW_US).expect("room"));
    }
    assert_eq!(archive.submit(request, NOW_US), Err(Busy));
    while !tickets.is_empty() {
        woken.recv().expect("a wake for each answer");
        while let Some((ticket, answer)) = archive.complete() {
            answer.expect("answered");
            assert!(tickets.remove(&ticket));
        }
    }
    assert!(archive.submit(request, NOW_US).is_ok());
}

#[test]
fn a_dead_letter_is_kept_once_with_everything_it_came_with() {
    let place = Place::new();
    let letter = DeadLetter {
        group: "archival",
        topic: "interlink.high",
        partition: 3,
        offset: 9,
        key: b"ada",
        headers: vec![("interlink-kind", b"\0".as_slice())],
        value: b"\xff\0",
        error: &format!("zero \0 and {}", "long ".repeat(1_000)),
        attempts: 5,
    };
    for _ in 0..2 {
        let kept = place.store.keep_dead_letter(&letter, NOW_US);
        place.run(kept).expect("kept");
    }
    assert_eq!(place.ask("SELECT count(*) FROM dead_letter"), 1);
    let length = place.ask("SELECT max(octet_length(error))::bigint FROM dead_letter");
    assert!((2_040..=2_048).contains(&length), "{length}");
}
