//! The rules of [`EventLog`].

use std::time::{Duration, Instant};

use interlink_protocol::priority::Priority;

use super::{event, record};
use crate::event_log::{
    Append, AppendKind, EventLog, LogAnswer, LogError, LogPlace, LogPosition, LogRecord,
    LogRequest, Logged,
};
use crate::record::{Kind, Placement, Sequence};

/// A channel of each class, as the shipped namespaces have them.
const CHANNELS: [&str; Priority::COUNT] = [
    "alert.ada",
    "class.algebra",
    "activity.ada",
    "report.north.june",
];

/// How long an answer or a record may take before the suite gives it up; a group of a broker
/// forms within a few seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the suite.
pub fn event_log<L: EventLog>(mut make: impl FnMut() -> L) {
    records_are_read_in_order_and_whole(&mut make());
    what_was_not_committed_comes_again(&mut make());
    groups_do_not_disturb_each_other(&mut make());
    lanes_are_read_apart(&mut make());
    a_cursor_never_goes_back(&mut make());
    positions_that_follow_disturb_nothing(&mut make());
    a_call_has_a_bound(&mut make());
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
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            match self.log.complete() {
                Some((found, answer)) if found == ticket => return answer,
                _ => std::thread::yield_now(),
            }
        }
        panic!("no answer came");
    }

    fn append(&mut self, class: Priority, ids: std::ops::RangeInclusive<u64>) {
        let channel = CHANNELS[class.index()];
        let frames: Vec<_> = ids.clone().map(|id| event(channel, id)).collect();
        let appends: Vec<_> = ids
            .zip(&frames)
            .map(|(id, frame)| append(class, id, None, frame))
            .collect();
        let answer = self
            .try_call(LogRequest::Append(&appends))
            .expect("appended");
        assert_eq!(answer, LogAnswer::Appended);
    }

    /// One read.
    fn read(&mut self, group: &str, limit: usize) -> Vec<Logged> {
        let request = LogRequest::Read { group, limit };
        match self.try_call(request).expect("readable") {
            LogAnswer::Records(records) => {
                assert!(records.len() <= limit);
                records
            }
            other => panic!("not an answer to a read: {other:?}"),
        }
    }

    /// Reads until there are so many records.
    fn read_all(&mut self, group: &str, count: usize) -> Vec<Logged> {
        let mut records = Vec::new();
        let started = Instant::now();
        while records.len() < count {
            records.extend(self.read(group, count - records.len()));
            assert!(started.elapsed() < PATIENCE, "only {records:?} came");
        }
        records
    }

    fn ids(&mut self, group: &str, count: usize) -> Vec<u64> {
        ids(&self.read_all(group, count))
    }

    /// There is nothing more.
    fn expect_end(&mut self, group: &str) {
        assert_eq!(ids(&self.read(group, 10)), Vec::<u64>::new());
    }

    fn commit(&mut self, group: &str, through: &LogPlace) {
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

fn ids(records: &[Logged]) -> Vec<u64> {
    let ids = records.iter().map(|logged| logged.record.client_message_id);
    ids.collect()
}

fn append<'a>(
    class: Priority,
    id: u64,
    placement: Option<Placement>,
    frame: &'a [u8],
) -> Append<'a> {
    Append {
        from: LogPosition {
            boot: 1,
            shard: 0,
            kind: Kind::of(class),
            sequence: Sequence(id),
        },
        kind: AppendKind::Event,
        record: record(class, CHANNELS[class.index()], id, placement, frame),
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
    driver.expect_end("workers");
    driver.append(Priority::P1, 1..=5);
    let first = driver.read_all("workers", 1);
    let channel = CHANNELS[Priority::P1.index()];
    let frame = event(channel, 1);
    let expected = record(Priority::P1, channel, 1, None, &frame);
    let read = &first[0].record;
    assert_eq!(*read, LogRecord::of(&expected, read.at));
    let mut sources = vec![read.at];
    let next = driver.read_all("workers", 3);
    assert_eq!(ids(&next), [2, 3, 4]);
    sources.extend(next.iter().map(|logged| logged.record.at));
    assert!(
        sources.windows(2).all(|pair| pair[0] < pair[1]),
        "sequences of a source rise: {sources:?}"
    );
    assert_eq!(driver.ids("workers", 1), [5]);
    driver.expect_end("workers");
    driver.append(Priority::P0, 6..=6);
    assert_eq!(
        driver.ids("workers", 1),
        [6],
        "what comes later is read later"
    );
}

fn what_was_not_committed_comes_again<L: EventLog>(log: &mut L) {
    let mut driver = drive(log);
    driver.append(Priority::P1, 1..=5);
    let records = driver.read_all("workers", 4);
    driver.commit("workers", &records[1].place);
    driver.rewind("workers");
    assert_eq!(driver.ids("workers", 3), [3, 4, 5]);
    driver.expect_end("workers");
}

fn groups_do_not_disturb_each_other<L: EventLog>(log: &mut L) {
    let mut driver = drive(log);
    driver.append(Priority::P1, 1..=3);
    let last = driver.read_all("one", 3).remove(2);
    driver.commit("one", &last.place);
    assert_eq!(driver.ids("other", 3), [1, 2, 3]);
    driver.rewind("other");
    driver.expect_end("one");
    assert_eq!(driver.ids("other", 3), [1, 2, 3]);
}

fn lanes_are_read_apart<L: EventLog>(log: &mut L) {
    let mut driver = drive(log);
    driver.append(Priority::P1, 1..=2);
    driver.append(Priority::P3, 3..=4);
    let mut read = Vec::new();
    let started = Instant::now();
    while read.len() < 4 {
        let batch = driver.read("workers", 10);
        let classes = batch.iter().map(|logged| logged.record.class);
        let mut classes: Vec<_> = classes.collect();
        classes.dedup();
        assert!(classes.len() <= 1, "a batch is of one lane");
        read.extend(batch);
        assert!(started.elapsed() < PATIENCE, "only {read:?} came");
    }
    read.sort_by_key(|logged| logged.record.client_message_id);
    assert_eq!(ids(&read), [1, 2, 3, 4]);
    driver.commit("workers", &read[3].place);
    driver.rewind("workers");
    assert_eq!(
        driver.ids("workers", 2),
        [1, 2],
        "a commit moves its own lane only"
    );
}

fn a_cursor_never_goes_back<L: EventLog>(log: &mut L) {
    let mut driver = drive(log);
    driver.append(Priority::P1, 1..=3);
    let records = driver.read_all("workers", 3);
    driver.commit("workers", &records[2].place);
    driver.commit("workers", &records[0].place);
    driver.rewind("workers");
    driver.expect_end("workers");
}

fn positions_that_follow_disturb_nothing<L: EventLog>(log: &mut L) {
    let mut driver = drive(log);
    driver.append(Priority::P1, 1..=2);
    let frame = event(CHANNELS[Priority::P1.index()], 1);
    let positioned = Append {
        kind: AppendKind::Positioned,
        ..append(Priority::P1, 1, Some(Placement::default()), &frame)
    };
    let answer = driver.try_call(LogRequest::Append(&[positioned]));
    assert_eq!(answer.expect("appended"), LogAnswer::Appended);
    driver.append(Priority::P1, 3..=3);
    assert_eq!(driver.ids("workers", 3), [1, 2, 3]);
    driver.expect_end("workers");
}

fn a_call_has_a_bound<L: EventLog>(log: &mut L) {
    let mut driver = drive(log);
    let frame = event(CHANNELS[Priority::P1.index()], 1);
    let one = append(Priority::P1, 1, None, &frame);
    let many = vec![one; crate::limits::PORT_BATCH_MAX + 1];
    let answer = driver.try_call(LogRequest::Append(&many));
    assert!(matches!(answer, Err(LogError::TooMany { .. })));
}
