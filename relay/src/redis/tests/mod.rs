//! The backplane against real servers: the suites on the test stand, faults on servers of their
//! own, which a test may kill.

mod conformance;
mod faults;
mod floors;
mod functions;
mod proxy;
mod servers;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use interlink_protocol::frame::{
    decode_server, EventFields, FrameEncoder, FrameLimits, ServerFrame,
};
use interlink_protocol::ids::{Position, RecordId};
use interlink_protocol::priority::Priority;
use tokio::runtime::Handle;

use super::{Config, RedisBackplane};
use crate::backplane::{
    partition_of, Backplane, BackplaneAnswer, BackplaneError, BackplaneEvent, BackplaneRequest,
    Floor, Publish, Published, Standing,
};
use crate::record::Placement;

/// A server that has not done something by then does not do it.
const PATIENCE: Duration = Duration::from_secs(20);

/// The runtime of all tests, on a thread of its own as in a node.
fn runtime() -> &'static Handle {
    static RUNTIME: OnceLock<Handle> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let handle = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        handle
    })
}

/// A prefix that no other test uses, also not an earlier run on the same servers.
fn fresh_prefix() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let process = std::process::id();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("a clock after 1970")
        .as_nanos();
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("test-{now:x}-{process}-{next}")
}

fn backplane(config: &Config) -> RedisBackplane {
    RedisBackplane::new(config.clone(), runtime(), Arc::new(|| {})).expect("settings that work")
}

fn now_us() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("a clock after 1970").as_micros() as u64
}

/// A node that is driven by a test, with everything that it was told.
struct Node {
    backplane: RedisBackplane,
    /// Everything but answers, in order.
    events: Vec<BackplaneEvent>,
    standing: Option<Standing>,
}

impl Node {
    fn new(config: &Config) -> Self {
        Self {
            backplane: backplane(config),
            events: Vec::new(),
            standing: None,
        }
    }

    /// A node that was down, and remembers its servers.
    fn resumed(config: &Config, memory: &[u8]) -> Self {
        let backplane = RedisBackplane::resume(config.clone(), memory, runtime(), Arc::new(|| {}));
        Self {
            backplane: backplane.expect("settings that work"),
            events: Vec::new(),
            standing: None,
        }
    }

    fn connected(config: &Config) -> Self {
        let mut node = Self::new(config);
        node.await_standing(Standing::Connected);
        node
    }

    /// Takes one event; returns it when it is an answer.
    fn step(&mut self) -> Option<Result<BackplaneAnswer, BackplaneError>> {
        match self.backplane.complete() {
            Some(BackplaneEvent::Answer(_, answer)) => return Some(answer),
            Some(event) => {
                if let BackplaneEvent::Standing(standing) = event {
                    self.standing = Some(standing);
                }
                self.events.push(event);
            }
            None => std::thread::yield_now(),
        }
        None
    }

    fn until(&mut self, what: &str, mut is_done: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !is_done(self) {
            let answer = self.step();
            assert_eq!(answer, None, "nothing was asked");
            assert!(start.elapsed() < PATIENCE, "{what}:\n{}", self.story());
        }
    }

    fn await_standing(&mut self, standing: Standing) {
        self.until("another standing", |node| node.standing == Some(standing));
    }

    fn call(&mut self, request: BackplaneRequest<'_>) -> Result<BackplaneAnswer, BackplaneError> {
        self.backplane.submit(request, now_us()).expect("room");
        let start = Instant::now();
        loop {
            if let Some(answer) = self.step() {
                return answer;
            }
            assert!(start.elapsed() < PATIENCE, "no answer");
        }
    }

    fn try_publish(
        &mut self,
        channel: &str,
        ids: &[u64],
    ) -> Result<Vec<Published>, BackplaneError> {
        let frames: Vec<_> = ids.iter().map(|id| frame(channel, *id)).collect();
        let record = |(id, frame): (&u64, _)| Publish {
            channel,
            class: Priority::P1,
            record: RecordId(u128::from(*id)),
            accepted_at_us: now_us(),
            floor: Floor::NONE,
            frame,
        };
        let frames = frames.iter().map(|frame: &Vec<u8>| frame.as_slice());
        let records: Vec<_> = ids.iter().zip(frames).map(record).collect();
        match self.call(BackplaneRequest::Publish(&records))? {
            BackplaneAnswer::Published(published) => Ok(published),
            other => panic!("not an answer to a publish: {other:?}"),
        }
    }

    /// Publishes again and again until it is done, as the lines of a node do.
    fn publish(&mut self, channel: &str, ids: &[u64]) -> Vec<Published> {
        let start = Instant::now();
        loop {
            match self.try_publish(channel, ids) {
                Ok(published) => return published,
                Err(error) => assert_eq!(error, BackplaneError::Away),
            }
            assert!(start.elapsed() < PATIENCE, "it stays away");
        }
    }

    /// Where records of a channel's partition stand.
    fn known(
        &mut self,
        config: &Config,
        channel: &str,
        ids: std::ops::RangeInclusive<u128>,
    ) -> Vec<Option<Placement>> {
        let partition = partition_of(channel, config.partitions);
        let records: Vec<_> = ids.map(RecordId).collect();
        let records = records.as_slice();
        match self.call(BackplaneRequest::Known { partition, records }) {
            Ok(BackplaneAnswer::Known(known)) => known,
            other => panic!("not an answer about records: {other:?}"),
        }
    }

    fn subscribe(&mut self, channel: &str) -> Position {
        match self.call(BackplaneRequest::Subscribe { channel }) {
            Ok(BackplaneAnswer::Subscribed(position)) => position,
            other => panic!("not an answer to a subscription: {other:?}"),
        }
    }

    /// What came, for the message of a failed test.
    fn story(&self) -> String {
        let lines = self.events.iter().map(|event| match event {
            BackplaneEvent::Message { placement, .. } => {
                format!("a message at {:?}\n", placement.position)
            }
            other => format!("{other:?}\n"),
        });
        lines.collect()
    }

    /// Ids of delivered records, in order.
    fn delivered(&self) -> Vec<u64> {
        let events = self.events.iter();
        events.filter_map(delivered_id).collect()
    }

    fn await_delivered(&mut self, ids: &[u64]) {
        self.until("messages are missing", |node| {
            node.delivered().len() >= ids.len()
        });
        assert_eq!(self.delivered(), ids, "{}", self.story());
    }

    /// Where the channel stands after everything that came, from `position`.
    fn end(&self, position: Position) -> Position {
        let last = self.events.iter().rev().find_map(|event| match event {
            BackplaneEvent::Message { placement, .. } => Some(placement.position),
            BackplaneEvent::Skipped { position, .. } => Some(*position),
            _ => None,
        });
        last.unwrap_or(position)
    }

    /// Checks that what was delivered of one channel is continuous from `position`, as
    /// `Skipped` says, and returns where it ends.
    fn assert_continuous(&self, mut position: Position) -> Position {
        for event in &self.events {
            match event {
                BackplaneEvent::Message { placement, .. } => {
                    let place = placement.position;
                    assert_eq!(place.offset, position.offset + 1, "{}", self.story());
                    assert_eq!(placement.previous_chain, position.chain);
                    assert!(
                        position.offset == 0 || place.epoch == position.epoch,
                        "a change of the epoch is announced:\n{}",
                        self.story()
                    );
                    position = place;
                }
                BackplaneEvent::Skipped { position: to, .. } => position = *to,
                _ => {}
            }
        }
        position
    }
}

fn frame(channel: &str, id: u64) -> Vec<u8> {
    let payload = id.to_le_bytes();
    let fields = EventFields {
        channel,
        position: Position::ZERO,
        previous_chain: 0,
        record: RecordId(u128::from(id)),
        publisher: "ada",
        priority: Priority::P1,
        event_type: 1,
        schema_version: 1,
        server_time_us: id,
        payload: &payload,
        conflation_key: None,
        trace: None,
    };
    FrameEncoder::new().event(&fields).to_vec()
}

fn delivered_id(event: &BackplaneEvent) -> Option<u64> {
    let BackplaneEvent::Message { frame, .. } = event else {
        return None;
    };
    match decode_server(frame, &FrameLimits::SERVER) {
        Ok(ServerFrame::Event(event)) => Some(event.server_time_us()),
        other => panic!("not an event: {other:?}"),
    }
}
