//! The archive against a real PostgreSQL, each test in a schema of its own.

mod conformance;
mod deadlines;
mod faults;
mod keeping;
mod stand;
mod upkeep;

use std::sync::atomic::{AtomicU64, Ordering};

use interlink_protocol::frame::{EventFields, FrameEncoder};
use interlink_protocol::ids::{Position, RecordId};
use interlink_protocol::priority::Priority;
use tokio::runtime::{Builder, Runtime};

use super::{Config, Store};
use crate::archive::{Applied, ArchivedEvent, Consumed, Source, Stored, TopicEntry, TopicRecord};
use crate::record::Placement;

/// Noon of day 20,000.
const NOW_US: u64 = (20_000 * 24 + 12) * 3_600_000_000;

const CHANNEL: &str = "class.algebra";

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all();
    builder.build().expect("a runtime")
}

/// A configuration with a schema that nobody else has.
fn config() -> Config {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Config {
        schema: format!("test_{}_{number}", std::process::id()),
        connections: 4,
        ..stand::server()
    }
}

/// An empty archive in a schema of its own, which goes with it.
struct Place {
    config: Config,
    store: Store,
    runtime: Runtime,
}

impl Place {
    fn new() -> Self {
        Self::of(config())
    }

    fn of(config: Config) -> Self {
        let runtime = runtime();
        let store = Store::new(&config).expect("a configuration");
        let prepared = runtime.block_on(store.prepare(NOW_US));
        prepared.expect("a schema; is the database of the stand up?");
        Self {
            config,
            store,
            runtime,
        }
    }

    fn run<T>(&self, call: impl std::future::Future<Output = T>) -> T {
        self.runtime.block_on(call)
    }

    /// What a statement says in its first column.
    fn ask(&self, sql: &str) -> i64 {
        self.run(async {
            let client = self.store.client().await.expect("a connection");
            client.query_one(sql, &[]).await.expect("a row").get(0)
        })
    }

    fn keep(&self, start: i64, records: &[TopicRecord<'_>]) -> Applied {
        let end = start + records.len() as i64;
        let consumed = at(start, end);
        let kept = self.store.keep(&consumed, records, NOW_US);
        self.run(kept).expect("kept")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let drop = format!("DROP SCHEMA {} CASCADE", self.config.schema);
        self.runtime.block_on(async {
            let client = self.store.client().await;
            if let Ok(client) = client {
                let _ = client.batch_execute(&drop).await;
            }
        });
    }
}

fn at(start: i64, end: i64) -> Consumed<'static> {
    Consumed {
        group: "archival",
        topic: "interlink.high",
        partition: 3,
        start,
        end,
        through_us: NOW_US,
    }
}

fn source(node: &str) -> Source {
    Source {
        node: node.into(),
        boot: 1,
        shard: 0,
        class: Priority::P1,
    }
}

fn frame(id: u128, placement: Placement) -> Vec<u8> {
    let fields = EventFields {
        channel: CHANNEL,
        position: placement.position,
        previous_chain: placement.previous_chain,
        record: RecordId(id),
        publisher: "ada",
        priority: Priority::P1,
        event_type: 1,
        schema_version: 1,
        server_time_us: 1,
        payload: b"hello",
        conflation_key: None,
        trace: None,
    };
    FrameEncoder::new().event(&fields).to_vec()
}

fn event<'a>(id: u128, placement: Option<Placement>, frame: &'a [u8]) -> ArchivedEvent<'a> {
    ArchivedEvent {
        record: RecordId(id),
        class: Priority::P1,
        channel: CHANNEL,
        payload_hash: 7,
        accepted_at_us: NOW_US,
        placement,
        frame,
    }
}

fn fed<'a>(source: &'a Source, sequence: u64, event: ArchivedEvent<'a>) -> TopicRecord<'a> {
    TopicRecord {
        source,
        sequence,
        entry: TopicEntry::Event(event),
    }
}

fn positioned(source: &Source, id: u128, placement: Placement) -> TopicRecord<'_> {
    TopicRecord {
        source,
        sequence: 0,
        entry: TopicEntry::Positioned {
            record: RecordId(id),
            channel: CHANNEL,
            placement,
        },
    }
}

fn stored(events: u64, repeats: u64, orphans: u64) -> Applied {
    Applied::Stored(Stored {
        events,
        repeats,
        orphans,
    })
}

/// Offsets of all of the channel's history after a position.
fn offsets(place: &Place, after: Position) -> Vec<u64> {
    let floor = crate::files::HistoryFloor::default();
    let page = place.store.history(CHANNEL, after, 100, floor, NOW_US);
    let page = place.run(page).expect("history");
    assert_eq!(page.gap, None);
    for event in &page.events {
        let read = interlink_protocol::frame::event::read_position(&event.frame);
        let read = read.expect("an event");
        assert_eq!(
            read,
            (event.placement.position, event.placement.previous_chain)
        );
    }
    let positions = page.events.iter().map(|event| event.placement.position);
    positions.map(|position| position.offset).collect()
}
