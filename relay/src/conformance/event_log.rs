//! The rules of [`EventLog`].

use interlink_protocol::priority::Priority;

use super::{event, record, COMPLETIONS_MAX};
use crate::event_log::{EventLog, LogAnswer, LogError, LogPosition, LogRecord, LogRequest};
use crate::record::Kind;

const CHANNEL: &str = "class.algebra";

/// Runs the suite.
pub fn event_log<L: EventLog>(mut make: impl FnMut() -> L) {
    records_are_read_in_order_and_whole(&mut make());
    what_was_not_committed_comes_again(&mut make());
    groups_do_not_disturb_each_other(&mut make());
    lanes_are_read_apart(&mut make());
    a_cursor_never_goes_back(&mut make());
}

struct Driver<'a, L> {
    log: &'a mut L,
    now_us: u64,
}

impl<L: EventLog> Driver<'_, L> {
    fn try_call(&mut self, request: LogRequest<'_>) -> Result<LogAnswer, LogError> {
        self.now_us += 1_000;
        let ticket = self
            .log
            .submit(request, self.now_us)
            .expect("room for a request");
        for _ in 0..COMPLETIONS_MAX {
            match self.log.complete() {
                Some((found, answer)) if found == ticket => return answer,
                _ => std::thread::yield_now(),
            }
        }
        panic!("no answer came");
    }

    fn append(&mut self, class: Priority, ids: std::ops::RangeInclusive<u64>) {
        let frames: Vec<_> = ids.clone().map(|id| event(CHANNEL, id)).collect();
        let records: Vec<_> = ids
            .zip(&frames)
            .map(|(id, frame)| record(class, CHANNEL, id, None, frame))
            .collect();
        let answer = self
            .try_call(LogRequest::Append(&records))
            .expect("appended");
        assert_eq!(answer, LogAnswer::Appended);
    }

    fn read(&mut self, group: &str, kind: Kind, limit: usize) -> Vec<LogRecord> {
        let request = LogRequest::Read {
            group,
            shard: 0,
            kind,
            limit,
        };
        match self.try_call(request).expect("readable") {
            LogAnswer::Records(records) => records,
            other => panic!("not an answer to a read: {other:?}"),
        }
    }

    fn ids(&mut self, group: &str, limit: usize) -> Vec<u64> {
        let records = self.read(group, Kind::Urgent, limit);
        records
            .iter()
            .map(|record| record.client_message_id)
            .collect()
    }

    fn commit(&mut self, group: &str, through: LogPosition) {
        let answer = self
            .try_call(LogRequest::Commit { group, through })
            .expect("committed");
        assert_eq!(answer, LogAnswer::Committed);
    }

    fn rewind(&mut self, group: &str) {
        let answer = self
            .try_call(LogRequest::Rewind { group })
            .expect("rewound");
        assert_eq!(answer, LogAnswer::Rewound);
    }
}

fn drive<L: EventLog>(log: &mut L) -> Driver<'_, L> {
    Driver {
        log,
        now_us: 1_000_000,
    }
}

fn records_are_read_in_order_and_whole<L: EventLog>(log: &mut L) {
    let mut driver = drive(log);
    assert!(driver.ids("workers", 10).is_empty());
    driver.append(Priority::P1, 1..=5);
    let first = driver.read("workers", Kind::Urgent, 1);
    let frame = event(CHANNEL, 1);
    let expected = record(Priority::P1, CHANNEL, 1, None, &frame);
    assert_eq!(first[0], LogRecord::of(&expected, first[0].at));
    assert_eq!(driver.ids("workers", 3), [2, 3, 4]);
    assert_eq!(driver.ids("workers", 3), [5]);
    assert!(driver.ids("workers", 3).is_empty());
    driver.append(Priority::P0, 6..=6);
    assert_eq!(
        driver.ids("workers", 3),
        [6],
        "what comes later is read later"
    );
}

fn what_was_not_committed_comes_again<L: EventLog>(log: &mut L) {
    let mut driver = drive(log);
    driver.append(Priority::P1, 1..=5);
    let records = driver.read("workers", Kind::Urgent, 4);
    driver.commit("workers", records[1].at);
    driver.rewind("workers");
    assert_eq!(driver.ids("workers", 10), [3, 4, 5]);
}

fn groups_do_not_disturb_each_other<L: EventLog>(log: &mut L) {
    let mut driver = drive(log);
    driver.append(Priority::P1, 1..=3);
    let last = driver.read("one", Kind::Urgent, 3)[2].at;
    driver.commit("one", last);
    assert_eq!(driver.ids("other", 10), [1, 2, 3]);
    driver.rewind("other");
    assert!(driver.ids("one", 10).is_empty());
}

fn lanes_are_read_apart<L: EventLog>(log: &mut L) {
    let mut driver = drive(log);
    driver.append(Priority::P1, 1..=2);
    driver.append(Priority::P3, 3..=4);
    let background = driver.read("workers", Kind::Background, 10);
    let ids: Vec<_> = background
        .iter()
        .map(|record| record.client_message_id)
        .collect();
    assert_eq!(ids, [3, 4]);
    driver.commit("workers", background[1].at);
    driver.rewind("workers");
    assert_eq!(
        driver.ids("workers", 10),
        [1, 2],
        "a commit moves its own lane only"
    );
}

fn a_cursor_never_goes_back<L: EventLog>(log: &mut L) {
    let mut driver = drive(log);
    driver.append(Priority::P1, 1..=3);
    let records = driver.read("workers", Kind::Urgent, 3);
    driver.commit("workers", records[2].at);
    driver.commit("workers", records[0].at);
    driver.rewind("workers");
    assert!(driver.ids("workers", 10).is_empty());
}
