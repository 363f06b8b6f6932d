//! One client of a chaos run: an application on the SDK, with everything noted that it does and
//! sees.
//!
//! Purpose: tasks for its state, each subscription, each route and its receipts, and what is
//! settled. The SDK alone reconnects, resumes, sends again and suppresses repeats.
//! Invariants: a publish is noted before it is handed over, and its payload names it; a client that
//! has to wait for its SDK offers nothing meanwhile, as an application that waits.
//!
//! Runs on: the runtime of the load.

use super::history::{self, History, Line};
use super::plan::{Member, Plan, Route};
use super::tally::{Acked, Tally};
use crate::engine::payload::Payload;
use crate::engine::stamp::{Stamp, STAMP_BYTES};
use crate::limits::CHAOS_RECEIPTS_MAX;
use crate::sys;
use anyhow::{Context, Result};
use interlink_client::{
    AckLevel, Client, Delivery, Error, PendingPublish, Position, State, Subscription,
};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{interval_at, Instant, MissedTickBehavior};

/// Pause between two looks at what is settled.
const SETTLED_LOOK: Duration = Duration::from_millis(250);

/// What all clients of a run share.
pub struct Shared {
    /// The history.
    pub history: History,
    /// Full channel names by number.
    pub channels: Vec<Arc<str>>,
    /// Payloads by class.
    pub payloads: Vec<Payload>,
    /// Share of the plan's rate that is offered; 0 while nothing is.
    pub share: watch::Sender<f64>,
    tally: Mutex<Tally>,
}

impl Shared {
    /// What the clients of a plan share.
    pub fn new(history: History, plan: &Plan, payloads: Vec<Payload>) -> Self {
        let tally = Mutex::new(Tally::new(plan.subscribers()));
        Self {
            history,
            channels: plan.channels.clone(),
            payloads,
            share: watch::Sender::new(0.0),
            tally,
        }
    }

    /// The counts.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of one client's connection.
#[derive(Debug, Default)]
struct Standing {
    /// When it was lost; 0 while it is there.
    lost_ns: u64,
    /// Subscriptions that have to go on.
    missing: HashSet<usize>,
}

/// The ends of one client that its tasks share.
#[derive(Clone)]
struct Own {
    name: Arc<str>,
    client: Client,
    shared: Arc<Shared>,
    standing: Arc<Mutex<Standing>>,
    subscribes: Arc<[usize]>,
    /// By class: the highest payload number that was handed over.
    handed: Arc<[AtomicU64; 4]>,
}

/// Connects a client, subscribes it, and starts its tasks. They end when the client is closed.
pub async fn start(member: Member, shared: Arc<Shared>) -> Result<Client> {
    let Some((first, others)) = member.addresses.split_first() else {
        anyhow::bail!("{} has no address", member.name);
    };
    let mut builder = Client::builder(first)
        .token(member.token.as_str())
        .device(&*member.name)
        .application("interlink-bench", env!("CARGO_PKG_VERSION"));
    for address in others {
        builder = builder.address(address);
    }
    let client = builder
        .connect()
        .await
        .with_context(|| format!("connecting {}", member.name))?;
    let own = Own {
        name: member.name.clone(),
        client: client.clone(),
        shared,
        standing: Arc::default(),
        subscribes: member.subscribes.into(),
        handed: Arc::default(),
    };
    own.note_connected();
    tokio::spawn(own.clone().watch_state());
    for &channel in own.subscribes.iter() {
        let name = own.shared.channels[channel].clone();
        let subscription = client
            .subscribe(&name)
            .await
            .with_context(|| format!("subscribing {} to {name}", own.name))?;
        own.note_subscribed(&name);
        tokio::spawn(own.clone().deliver(channel, subscription));
    }
    for route in member.routes {
        let (receipts, pending) = mpsc::channel(CHAOS_RECEIPTS_MAX);
        tokio::spawn(own.clone().answer(route.clone(), pending));
        tokio::spawn(own.clone().offer(route, receipts));
    }
    tokio::spawn(own.settle());
    Ok(client)
}

impl Own {
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_connected(&self) {
        let server = self.client.server();
        let (node, resumed) =
            server.map_or(("".into(), false), |server| (server.node, server.resumed));
        self.shared.tally().connect(sys::monotonic_ns());
        self.shared.history.note(&Line::Connected {
            client: &self.name,
            node: &node,
            resumed,
        });
    }

    fn note_subscribed(&self, channel: &str) {
        self.shared.history.note(&Line::Subscribed {
            client: &self.name,
            channel,
            recovered: true,
            reason: "new",
            epoch: 0,
            offset: 0,
        });
    }

    /// Notes losses and returns of the connection.
    async fn watch_state(self) {
        let mut states = self.client.state();
        let mut is_connected = *states.borrow_and_update() == State::Connected;
        while states.changed().await.is_ok() {
            let now = *states.borrow_and_update();
            if now == State::Closed {
                return;
            }
            // A loss and a return may have been too quick to be seen apart.
            if is_connected {
                self.note_lost();
                is_connected = false;
            }
            if now == State::Connected {
                self.note_connected();
                is_connected = true;
            }
        }
    }

    fn note_lost(&self) {
        self.shared.history.note(&Line::Lost { client: &self.name });
        let since_ns = self.shared.tally().fault_ns();
        let mut standing = self.standing();
        standing.lost_ns = since_ns.unwrap_or_else(sys::monotonic_ns);
        standing.missing = self.subscribes.iter().copied().collect();
    }

    /// A subscription goes on; with the last one the client is back.
    fn note_recovered(&self, channel: usize) {
        let mut standing = self.standing();
        if standing.missing.remove(&channel) && standing.missing.is_empty() {
            let passed_ns = sys::monotonic_ns().saturating_sub(standing.lost_ns);
            drop(standing);
            self.shared.tally().resume.record(passed_ns);
        }
    }

    /// Takes what one subscription hands out.
    async fn deliver(self, channel: usize, mut subscription: Subscription) {
        let name = self.shared.channels[channel].clone();
        let mut last = (0, 0);
        let mut hint = 0;
        while let Some(delivery) = subscription.next().await {
            match &delivery {
                Delivery::Event(event) => {
                    let Position { epoch, offset, .. } = event.position;
                    last = (epoch, offset);
                    let stamp = Stamp::find(&event.payload, &mut hint).unwrap_or_default();
                    self.shared.history.note(&Line::Deliver {
                        client: &self.name,
                        channel: &name,
                        epoch,
                        offset,
                        id: stamp.sequence,
                    });
                    let now_ns = sys::monotonic_ns();
                    let mut tally = self.shared.tally();
                    tally.deliver(stamp.sequence, channel, stamp.scheduled_ns, now_ns);
                    continue;
                }
                Delivery::Recovered(_) => self.note_recovered(channel),
                Delivery::Gap(gap) => last = (gap.position.epoch, gap.position.offset),
                _ => {}
            }
            if let Some(line) = history::beside_events(&self.name, &name, &delivery, last) {
                self.shared.history.note(&line);
            }
        }
    }

    /// Publishes on one route while events are offered.
    async fn offer(self, route: Route, receipts: mpsc::Sender<(u64, u64, PendingPublish)>) {
        let channel = self.shared.channels[route.channel].clone();
        let payload = &self.shared.payloads[route.class];
        let publisher = self
            .client
            .publisher(&channel)
            .event_type(payload.event_type);
        let mut shares = self.shared.share.subscribe();
        loop {
            let Ok(share) = shares.wait_for(|share| *share > 0.0).await.map(|it| *it) else {
                return;
            };
            let period = Duration::from_secs_f64(1.0 / (route.rate * share).max(1e-3));
            let start = Instant::now() + period.mul_f64(rand::random());
            let mut ticks = interval_at(start, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            while *shares.borrow_and_update() == share {
                tokio::select! {
                    _ = ticks.tick() => {}
                    _ = shares.changed() => continue,
                }
                let (id, stamp) = self.note_publish(&channel, route.class);
                let mut bytes = payload.bytes.clone();
                stamp.write(&mut bytes[payload.stamp_at..payload.stamp_at + STAMP_BYTES]);
                match publisher.publish(bytes).enqueue().await {
                    Ok(pending) => {
                        self.handed[route.class].fetch_max(id, Ordering::Relaxed);
                        if receipts
                            .send((id, stamp.scheduled_ns, pending))
                            .await
                            .is_err()
                        {
                            return;
                        }
                    }
                    Err(error) => self.note_refused(id, &error),
                }
            }
        }
    }

    fn note_publish(&self, channel: &str, class: usize) -> (u64, Stamp) {
        let mut tally = self.shared.tally();
        let id = tally.publish();
        let stamp = Stamp {
            sender: 0,
            sequence: id,
            scheduled_ns: sys::monotonic_ns(),
        };
        self.shared.history.note(&Line::Publish {
            client: &self.name,
            channel,
            id,
            class,
            key: &self.name,
        });
        (id, stamp)
    }

    fn note_refused(&self, id: u64, error: &Error) {
        // A publish whose client was closed has no known outcome and is noted as nothing.
        let is_refused = !matches!(error, Error::Closed(_));
        self.shared.tally().give_up(id, is_refused);
        if is_refused {
            self.shared.history.note(&Line::Refused {
                client: &self.name,
                id,
                code: error.code().map_or(0, |code| code.0),
            });
        }
    }

    /// Takes the receipts of one route, in the order of its publishes.
    async fn answer(self, route: Route, mut pending: mpsc::Receiver<(u64, u64, PendingPublish)>) {
        while let Some((id, scheduled_ns, publish)) = pending.recv().await {
            match publish.await {
                Ok(receipt) => {
                    self.shared
                        .history
                        .note(&history::ack(&self.name, id, &receipt));
                    let acked = Acked {
                        id,
                        channel: route.channel,
                        class: route.class,
                        is_local: receipt.level == AckLevel::Local,
                        is_degraded: receipt.degraded,
                    };
                    let now_ns = sys::monotonic_ns();
                    self.shared.tally().ack(acked, scheduled_ns, now_ns);
                }
                Err(error) => self.note_refused(id, &error),
            }
        }
    }

    /// Notes again and again what is settled.
    async fn settle(self) {
        let mut noted = [0; 4];
        loop {
            let handed: [u64; 4] =
                std::array::from_fn(|class| self.handed[class].load(Ordering::Relaxed));
            if self.client.settled().await.is_err() {
                return;
            }
            for (class, &through) in handed.iter().enumerate() {
                if through > noted[class] {
                    noted[class] = through;
                    self.shared.history.note(&Line::Settled {
                        client: &self.name,
                        class,
                        through,
                    });
                }
            }
            tokio::time::sleep(SETTLED_LOOK).await;
        }
    }
}
