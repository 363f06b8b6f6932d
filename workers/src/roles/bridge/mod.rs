//! The role `bridge`: carries the events of one region to one other.
//!
//! A full mesh has a bridge for each ordered pair of regions. A bridge reads the topics of its own
//! region as a group of its own and takes only what originates there, so that nothing goes in
//! circles. Each event is placed and delivered by the backplane of the target, which knows
//! repeats by the record id, and then appended to the same topic of the target's log, with key,
//! identity, origin and source as they are and the place that it has there; consumers know repeats
//! by the source's sequence. The offset is committed afterwards.
//!
//! When the target's backplane may have lost what it placed last, the bridge goes back by 60 s:
//! ids that are known keep their places, others are placed anew, and their new places follow in
//! the log.
//!
//! Invariants: events of one publisher keep their order; an event is appended after it was placed;
//! nothing is committed before the target's log has acknowledged it.
//! Limits: one batch of a partition is under way. Runs on: one tokio task.

mod limits;
mod marks;
mod onward;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use interlink_protocol::namespace::{Namespaces, Topic};
use interlink_relay::backplane::{
    Backplane, BackplaneAnswer, BackplaneError, BackplaneEvent, BackplaneRequest, Floor,
};
use interlink_relay::event_log::EventLog;
use interlink_relay::kafka::consumer::{
    Batch, GroupConfig, GroupConsumer, GroupEvent, Lane, StartAt,
};
use interlink_relay::kafka::record::Item;
use interlink_relay::kafka::route::{self, topic_name};
use interlink_relay::kafka::{Config as Cluster, Forward, KafkaLog, LogConfig};
use interlink_relay::limits::PORT_BATCH_MAX;
use interlink_relay::ports::Ticket;
use interlink_relay::redis::RedisBackplane;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::Stop;
use crate::config::{BridgeSection, Config};
use crate::exit::{CommandError, Exit};
use crate::transit::{Gate, Transit};
use marks::Marks;
use onward::{onward, Onward};

/// What a lane has under way.
#[derive(Debug)]
struct Crossing {
    /// Tells answers for it from those for an earlier one of its lane.
    number: u64,
    transit: Transit,
    /// What is still to be appended, once everything is placed.
    onward: Option<Vec<Onward>>,
    /// How much of it was given to the log.
    given: usize,
    /// Calls of the log without an answer.
    appends: usize,
}

/// The state of a bridge.
struct Bridge<B> {
    own: Box<str>,
    prefix: String,
    partitions: u16,
    backplane: B,
    log: KafkaLog,
    consumer: GroupConsumer,
    crossings: HashMap<Lane, Crossing>,
    marks: HashMap<Lane, Marks>,
    /// Batches so far.
    count: u64,
    /// Calls of the backplane: lane, batch and partition.
    placing: HashMap<Ticket, (Lane, u64, u16)>,
    /// Calls of the log: lane and batch.
    appending: HashMap<Ticket, (Lane, u64)>,
    began: Instant,
    /// Nothing is placed before this time, after a call had no effect.
    pause_until: Option<Instant>,
}

/// Carries events until it is stopped.
///
/// # Errors
/// When the configuration cannot be used. Servers that are away are no error.
pub async fn run(config: &Config, stop: Stop) -> Result<(), CommandError> {
    let section = config.bridge()?;
    let source = config.kafka.client()?;
    let (from, to) = (&section.region, &section.target);
    info!(from, to, "carrying events to another region");
    let critical = format!("{}{}", source.topic_prefix, topic_name(Topic::Critical));
    let all = route::fed_topics(&source.topic_prefix).into_iter();
    let (critical, others) = all.partition(|topic| *topic == critical);
    // Critical events have connections, batches and a group of their own.
    let critical = carry(section, &source, critical, "-critical", stop.clone());
    let others = carry(section, &source, others, "", stop);
    tokio::try_join!(critical, others).map(drop)
}

/// Carries the events of some topics.
async fn carry(
    section: &BridgeSection,
    source: &Cluster,
    topics: Vec<String>,
    suffix: &str,
    mut stop: Stop,
) -> Result<(), CommandError> {
    let bell = Arc::new(Notify::new());
    let group = format!("bridge-{}{suffix}", section.target);
    let group = GroupConfig {
        cluster: source,
        group: &group,
        topics: &topics,
        client: "interlink-workers-bridge",
    };
    let mut bridge = open(section, group, &bell)?;
    loop {
        tokio::select! {
            event = bridge.consumer.next() => match event {
                Some(event) => bridge.take(event),
                None => return Err(CommandError::new(Exit::Failed, "the consumer has ended")),
            },
            () = bell.notified() => {}
            () = tokio::time::sleep(limits::PAUSE) => {}
            () = stop.requested() => break,
        }
        bridge.pump();
    }
    let until = Instant::now() + limits::STOP_TIME_MAX;
    while !bridge.crossings.is_empty() && Instant::now() < until {
        tokio::select! {
            () = bell.notified() => {}
            () = tokio::time::sleep(limits::PAUSE) => {}
        }
        bridge.pump();
    }
    let Bridge { consumer, log, .. } = bridge;
    consumer.close().await;
    // Its clients take up to half a second to end.
    let ended = tokio::task::spawn_blocking(move || drop(log)).await;
    ended.map_err(|error| CommandError::new(Exit::Failed, error))
}

fn open(
    section: &BridgeSection,
    group: GroupConfig<'_>,
    bell: &Arc<Notify>,
) -> Result<Bridge<RedisBackplane>, CommandError> {
    let wrong = |error: String| CommandError::new(Exit::Config, error);
    let redis = section.redis.client()?;
    let partitions = redis.partitions;
    let wake = |bell: &Arc<Notify>| {
        let bell = bell.clone();
        Arc::new(move || bell.notify_one())
    };
    let runtime = Handle::current();
    let backplane = RedisBackplane::new(redis, &runtime, wake(bell));
    let log = LogConfig {
        cluster: section.kafka.client()?,
        node: format!("bridge-{}", section.region),
        region: section.region.clone(),
        namespaces: Arc::new(Namespaces::defaults()),
    };
    let log = KafkaLog::new(log, runtime, wake(bell));
    let consumer = GroupConsumer::open(group, || {});
    Ok(Bridge {
        own: section.region.as_str().into(),
        prefix: group.cluster.topic_prefix.clone(),
        partitions,
        backplane: backplane.map_err(|error| wrong(error.to_string()))?,
        log: log.map_err(|error| wrong(error.to_string()))?,
        consumer: consumer.map_err(|error| wrong(error.to_string()))?,
        crossings: HashMap::new(),
        marks: HashMap::new(),
        count: 0,
        placing: HashMap::new(),
        appending: HashMap::new(),
        began: Instant::now(),
        pause_until: None,
    })
}

/// Whether an item is an event that originates in a region. Places of one region mean nothing in
/// another.
fn is_of(item: &Item, region: &str) -> bool {
    match item {
        Item::Event(event) => *event.origin == *region,
        Item::Positioned(_) => false,
    }
}

impl<B: Backplane> Bridge<B> {
    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn take(&mut self, event: GroupEvent) {
        match event {
            GroupEvent::Assigned(lanes) => {
                let starts = lanes.into_iter().map(|lane| (lane, StartAt::Committed));
                self.consumer.start(starts.collect());
            }
            GroupEvent::Revoked { lanes, .. } => {
                for lane in &lanes {
                    self.crossings.remove(lane);
                    self.marks.remove(lane);
                }
            }
            GroupEvent::Batch(batch) => self.begin(batch),
            GroupEvent::Sought(lane) => {
                if let Some(marks) = self.marks.get_mut(&lane) {
                    marks.on_sought();
                }
            }
            GroupEvent::Committed { lane, outcome, .. } => {
                if let Err(error) = outcome {
                    warn!(%error, ?lane, "an offset was not committed; events come again");
                }
            }
        }
    }

    fn begin(&mut self, batch: Batch) {
        let now_ms = self.now_ms();
        let marks = self.marks.entry(batch.lane.clone()).or_default();
        if !marks.accepts() {
            // It was read before a seek that is under way.
            return;
        }
        marks.note(batch.start(), now_ms);
        let lane = batch.lane.clone();
        let own = &self.own;
        let transit = Transit::new(batch, self.partitions, |item| is_of(item, own));
        if transit.unreadable > 0 {
            let count = transit.unreadable;
            warn!(
                count,
                ?lane,
                "records that no node wrote stay in their region"
            );
        }
        self.count += 1;
        let crossing = Crossing {
            number: self.count,
            transit,
            onward: None,
            given: 0,
            appends: 0,
        };
        self.crossings.insert(lane, crossing);
    }

    /// Takes answers and does what can be done.
    fn pump(&mut self) {
        while let Some(event) = self.backplane.complete() {
            self.take_placed(event);
        }
        while let Some((ticket, answer)) = self.log.complete() {
            let of = self.appending.remove(&ticket);
            let crossing = of.and_then(|(lane, number)| self.crossing(&lane, number));
            match (crossing, answer) {
                (Some(crossing), Ok(_)) => crossing.appends -= 1,
                (_, Err(error)) => warn!(%error, "the log of the other region"),
                (None, Ok(_)) => {}
            }
        }
        if self.pause_until.is_none_or(|until| until <= Instant::now()) {
            self.pause_until = None;
            self.place();
        }
        self.append();
        self.finish();
    }

    /// The batch of a lane, if it is still this one.
    fn crossing(&mut self, lane: &Lane, number: u64) -> Option<&mut Crossing> {
        let crossing = self.crossings.get_mut(lane);
        crossing.filter(|crossing| crossing.number == number)
    }

    fn take_placed(&mut self, event: BackplaneEvent) {
        match event {
            BackplaneEvent::Answer(ticket, answer) => {
                let Some((lane, number, partition)) = self.placing.remove(&ticket) else {
                    return;
                };
                let Some(crossing) = self.crossing(&lane, number) else {
                    return;
                };
                match answer {
                    Ok(BackplaneAnswer::Published(placed)) => {
                        crossing.transit.on_placed(partition, &placed);
                    }
                    answer => {
                        if let Err(error @ BackplaneError::Refused) = answer {
                            warn!(%error, "the backplane of the other region");
                        }
                        crossing.transit.on_failed(partition);
                        self.pause_until = Some(Instant::now() + limits::PAUSE);
                    }
                }
            }
            BackplaneEvent::LineageChanged { .. } => self.go_back(),
            BackplaneEvent::Standing(standing) => {
                info!(?standing, "the backplane of the other region");
            }
            _ => {}
        }
    }

    /// Carries the last minute again.
    fn go_back(&mut self) {
        let now_ms = self.now_ms();
        for (lane, marks) in &mut self.marks {
            if let Some(offset) = marks.go_back(now_ms) {
                self.crossings.remove(lane);
                self.consumer.seek(lane, StartAt::Next(offset));
            }
        }
    }

    fn place(&mut self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_us = now.map_or(0, |now| now.as_micros() as u64);
        for (lane, crossing) in &mut self.crossings {
            let transit = &mut crossing.transit;
            while let Some((partition, events)) = transit.next_call(|_, _| Gate::Go) {
                let events = events.to_vec();
                // A bridge has no way to the archive of the other region.
                let publishes = transit.publishes(&events, |_| Floor::NONE);
                let request = BackplaneRequest::Publish(&publishes);
                match self.backplane.submit(request, now_us) {
                    Ok(ticket) => {
                        let of = (lane.clone(), crossing.number, partition);
                        self.placing.insert(ticket, of);
                    }
                    Err(_) => {
                        transit.on_failed(partition);
                        return;
                    }
                }
            }
        }
    }

    fn append(&mut self) {
        for (lane, crossing) in &mut self.crossings {
            if crossing.onward.is_none() && crossing.transit.is_over() {
                let appended = self.marks.get(lane).map_or(0, Marks::appended);
                crossing.onward = Some(onward(&crossing.transit, appended));
            }
            let onward = crossing.onward.as_deref().unwrap_or_default();
            let topic = lane.topic.strip_prefix(&*self.prefix);
            for chunk in onward[crossing.given..].chunks(PORT_BATCH_MAX) {
                let forwards = chunk.iter().map(|onward| Forward {
                    topic: topic.unwrap_or(&lane.topic),
                    record: &crossing.transit.batch.records[onward.index],
                    kind: onward.kind,
                    placement: onward.placement,
                });
                let forwards: Vec<_> = forwards.collect();
                let Ok(ticket) = self.log.forward(&forwards) else {
                    return;
                };
                self.appending
                    .insert(ticket, (lane.clone(), crossing.number));
                crossing.given += chunk.len();
                crossing.appends += 1;
            }
        }
    }

    /// Commits what has arrived.
    fn finish(&mut self) {
        let arrived = |crossing: &Crossing| {
            let given = crossing.onward.as_ref().map(Vec::len);
            given == Some(crossing.given) && crossing.appends == 0
        };
        let done = self.crossings.iter();
        let done = done.filter(|(_, crossing)| arrived(crossing));
        let done: Vec<Lane> = done.map(|(lane, _)| lane.clone()).collect();
        for lane in done {
            let Some(crossing) = self.crossings.remove(&lane) else {
                continue;
            };
            let next = crossing.transit.batch.next();
            if let Some(marks) = self.marks.get_mut(&lane) {
                marks.note_appended(next);
            }
            self.consumer.commit(&lane, next);
            self.consumer.done(&lane);
        }
    }
}
