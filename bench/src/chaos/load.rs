//! The clients of a chaos run, on a runtime of their own beside the driver.
//!
//! Purpose: the driver kills, freezes and waits on its own thread while clients go on.
//! Limits: `limits::CHAOS_CONNECTS_MAX` clients connect at once.
//!
//! Runs on: the driver's thread; the clients on one worker thread, on the generator's core.

use super::client::{self, Shared};
use super::history::{History, Line};
use super::plan::Plan;
use super::tally::Tally;
use crate::engine::payload::Payload;
use crate::limits::CHAOS_CONNECTS_MAX;
use crate::sys;
use anyhow::{ensure, Context, Result};
use interlink_client::Client;
use std::path::Path;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Interval at which the driver looks whether something has come.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// Longest time in which all clients have to be connected.
const CONNECT_PATIENCE: Duration = Duration::from_secs(60);
/// Longest time that closing all clients may take.
const CLOSE_PATIENCE: Duration = Duration::from_secs(15);

/// The running clients.
pub struct Load {
    runtime: Runtime,
    shared: Arc<Shared>,
    clients: Vec<Client>,
}

impl Load {
    /// Connects and subscribes every client of a plan; nothing is published yet.
    pub fn start(plan: Plan, payload_bytes: usize, history: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("clients")
            .enable_all()
            .build()
            .context("starting the clients' runtime")?;
        let namespaces = ["alert", "chat", "activity", "usage"];
        let payloads = namespaces.map(|namespace| Payload::new(namespace, payload_bytes));
        let payloads = payloads.into_iter().collect::<Result<Vec<_>>>()?;
        let history = History::create(history)?;
        let shared = Arc::new(Shared::new(history, &plan, payloads));
        let members = plan.members;
        let starting = start_all(members, shared.clone());
        let clients = runtime
            .block_on(async { tokio::time::timeout(CONNECT_PATIENCE, starting).await })
            .with_context(|| format!("clients were not connected after {CONNECT_PATIENCE:?}"))??;
        Ok(Self {
            runtime,
            shared,
            clients,
        })
    }

    /// The counts.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        self.shared.tally()
    }

    /// Number of clients.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Offers this share of the plan's rate from now on; 0 is nothing.
    pub fn offer(&self, share: f64) {
        self.shared.share.send_replace(share);
    }

    /// Notes a fault in the history and starts its round. Called right before it is made.
    pub fn fault(&self, what: &str) {
        self.shared.history.note(&Line::Fault { what });
        self.tally().begin_round(sys::monotonic_ns());
    }

    /// Called right before a failed server is started again, after others have taken over.
    pub fn returns(&self) {
        self.tally().begin_return(sys::monotonic_ns());
    }

    /// Notes that the driver ended the fault.
    pub fn healed(&self) {
        self.shared.history.note(&Line::Healed {});
    }

    /// Lets clients work for so many seconds.
    pub fn run_for(&self, seconds: f64) {
        std::thread::sleep(Duration::from_secs_f64(seconds));
    }

    /// Waits until the counts are as wanted, at most so many seconds; true when they were.
    pub fn wait_until(&self, seconds: f64, is_so: impl Fn(&Tally) -> bool) -> bool {
        let start = Instant::now();
        loop {
            if is_so(&self.tally()) {
                return true;
            }
            if start.elapsed().as_secs_f64() > seconds {
                return false;
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Waits until everything that was handed over before this call is settled, at most so many
    /// seconds: the seconds that it took.
    pub fn wait_settled(&self, seconds: f64) -> Option<f64> {
        let start = Instant::now();
        let all = async {
            // All at once: clients go on, and one after the other would wait for ever later events.
            let mut waiting = JoinSet::new();
            for client in &self.clients {
                let client = client.clone();
                // A client that is closed has settled what it will.
                waiting.spawn(async move { drop(client.settled().await) });
            }
            while waiting.join_next().await.is_some() {}
        };
        let limit = Duration::from_secs_f64(seconds);
        let settled = self
            .runtime
            .block_on(async { tokio::time::timeout(limit, all).await });
        settled.ok().map(|()| start.elapsed().as_secs_f64())
    }

    /// Ends the offer, waits at most so many seconds until every answer and every acknowledged
    /// event is there and everything is settled, closes all clients and completes the history.
    pub fn finish(&self, seconds: f64) -> Result<bool> {
        self.offer(0.0);
        let start = Instant::now();
        let is_whole = self.wait_until(seconds, |tally| {
            tally.unanswered() == 0 && tally.unseen() == 0
        });
        let left = (seconds - start.elapsed().as_secs_f64()).max(1.0);
        let is_settled = self.wait_settled(left).is_some();
        // The clients' own looks note what has just settled.
        std::thread::sleep(Duration::from_millis(600));
        let close = async {
            let mut closing = JoinSet::new();
            for client in &self.clients {
                let client = client.clone();
                closing.spawn(async move { client.close().await });
            }
            while closing.join_next().await.is_some() {}
        };
        let closed = self
            .runtime
            .block_on(async { tokio::time::timeout(CLOSE_PATIENCE, close).await });
        self.shared.history.finish()?;
        ensure!(
            closed.is_ok(),
            "clients were not closed after {CLOSE_PATIENCE:?}"
        );
        Ok(is_whole && is_settled)
    }
}

/// Starts all members, some at once.
async fn start_all(members: Vec<super::plan::Member>, shared: Arc<Shared>) -> Result<Vec<Client>> {
    let mut starting = JoinSet::new();
    let mut clients = Vec::with_capacity(members.len());
    for member in members {
        if starting.len() >= CHAOS_CONNECTS_MAX {
            if let Some(started) = starting.join_next().await {
                clients.push(started.context("a client's task failed")??);
            }
        }
        starting.spawn(client::start(member, shared.clone()));
    }
    while let Some(started) = starting.join_next().await {
        clients.push(started.context("a client's task failed")??);
    }
    Ok(clients)
}
