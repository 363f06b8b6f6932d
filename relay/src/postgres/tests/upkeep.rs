//! Partitions and migrations.

use super::*;

const DAY_US: u64 = 86_400_000_000;

fn days(place: &Place, table: &str) -> (i64, i64, i64) {
    let parts = format!(
        "(SELECT split_part(reverse(inhrelid::regclass::text), '_', 1) AS part \
          FROM pg_inherits WHERE inhparent = '{table}'::regclass) AS parts"
    );
    let day = "replace(reverse(part), '\"', '')::bigint";
    (
        place.ask(&format!("SELECT min({day}) FROM {parts}")),
        place.ask(&format!("SELECT max({day}) FROM {parts}")),
        place.ask(&format!("SELECT count(*) FROM {parts}")),
    )
}

#[test]
fn days_come_in_time_and_go_by_dropping_a_table() {
    let place = Place::new();
    assert_eq!(days(&place, "record_id"), (19_992, 20_002, 11));
    assert_eq!(days(&place, "history"), (19_992, 20_002, 11));
    for day in 1..=40 {
        let tended = place.store.tend(NOW_US + day * DAY_US);
        place.run(tended).expect("tended");
    }
    // Eight days and one more, for clocks that differ; today, and two days ahead.
    assert_eq!(days(&place, "record_id"), (20_031, 20_042, 12));
    assert_eq!(days(&place, "history"), (20_009, 20_042, 34));
    place
        .run(place.store.tend(NOW_US + 40 * DAY_US))
        .expect("again");
}

#[test]
fn several_processes_bring_the_schema_up_to_date_at_once() {
    let place = Place::new();
    let stores: Vec<_> = (0..3)
        .map(|_| Store::new(&place.config).expect("a process"))
        .collect();
    place.run(async {
        let (one, two, three) = tokio::join!(
            stores[0].prepare(NOW_US),
            stores[1].prepare(NOW_US + DAY_US),
            stores[2].prepare(NOW_US)
        );
        one.and(two).and(three).expect("prepared");
    });
    assert_eq!(place.ask("SELECT count(*) FROM refinery_schema_history"), 1);
}

#[test]
fn an_old_event_is_kept_in_the_oldest_day_that_takes_some() {
    let place = Place::new();
    let claim = place.store.claim("archival", "interlink.high", 3, 0);
    place.run(claim).expect("claimed");
    let (a, one) = (source("a"), frame(1, Placement::default()));
    let old = ArchivedEvent {
        accepted_at_us: 1,
        ..event(1, None, &one)
    };
    let ahead = ArchivedEvent {
        accepted_at_us: u64::MAX / 2,
        ..event(2, None, &one)
    };
    let batch = [fed(&a, 1, old), fed(&a, 2, ahead)];
    assert_eq!(place.keep(0, &batch), stored(2, 0, 0));
    assert_eq!(
        place.ask("SELECT min(kept_day)::bigint FROM record_id"),
        19_992
    );
    assert_eq!(
        place.ask("SELECT max(kept_day)::bigint FROM record_id"),
        20_002
    );
}
