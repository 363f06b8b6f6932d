//! A pass and what carries it out: the stretch that is read, the backplane's calls, the archive's
//! questions, and the log that is told places.
//!
//! Limits: [`limits::CALLS_MAX`] calls and [`limits::LOOKUPS_MAX`] questions are under way.
//! Runs on: the task of the module above.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use interlink_protocol::namespace::Namespaces;
use interlink_relay::backplane::{
    Backplane, BackplaneAnswer, BackplaneError, BackplaneRequest, NodeName,
};
use interlink_relay::event_log::{AppendKind, EventLog};
use interlink_relay::kafka::stretch::{Stretch, StretchConfig, StretchEvent};
use interlink_relay::kafka::{route, ConfigError, Forward, KafkaLog, LogConfig};
use interlink_relay::ports::Ticket;
use interlink_relay::postgres::{Store, StoreError};
use interlink_relay::record::Placement;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, Notify};
use tracing::{error, info, warn};

use super::pass::{Call, Counts, Lookup, Pass, Whose};
use super::watch::Plan;
use super::{limits, unix_us, Setting};

/// Name of the clients of a pass, and of the group whose rights they need.
const CLIENT: &str = "realtime-unleased";

type Found = (Lookup, Result<Vec<Option<Placement>>, StoreError>);

/// A pass under way.
pub(super) struct Work {
    pub plan: Plan,
    /// When it began, as the watch counts.
    pub began_ms: u64,
    whose: Whose,
    leased: BTreeSet<NodeName>,
    /// Once it is known what there is to read.
    pass: Option<Pass>,
    stretch: Option<Stretch>,
    log: KafkaLog,
    prefix: String,
    calls: HashMap<Ticket, Call>,
    appends: HashMap<Ticket, usize>,
    store: Option<Store>,
    lookups: usize,
    found: (mpsc::Sender<Found>, mpsc::Receiver<Found>),
    /// Nothing is asked before, after something had no effect.
    pause_until: Instant,
    began: Instant,
    told_at: Instant,
    is_stopping: bool,
}

impl Work {
    /// Begins a pass.
    pub fn open(
        setting: &Setting,
        plan: Plan,
        began_ms: u64,
        leased: BTreeSet<NodeName>,
        bell: &Arc<Notify>,
    ) -> Result<Self, ConfigError> {
        let since_us = unix_us().saturating_sub(plan.back_ms * 1_000);
        let stretch = Stretch::open(StretchConfig {
            cluster: &setting.cluster,
            topics: &route::fed_topics(&setting.cluster.topic_prefix),
            since_ms: (since_us / 1_000) as i64,
            client: CLIENT,
        })?;
        let log = LogConfig {
            cluster: setting.cluster.clone(),
            node: CLIENT.to_owned(),
            region: setting.region.clone(),
            namespaces: Arc::new(Namespaces::defaults()),
        };
        let ringing = Arc::clone(bell);
        let log = KafkaLog::new(
            log,
            Handle::current(),
            Arc::new(move || ringing.notify_one()),
        )?;
        let whose = Whose {
            region: setting.region.as_str().into(),
            partitions: setting.redis.partitions,
            scope: plan.scope.clone(),
            has_archive: setting.store.is_some(),
        };
        Ok(Self {
            plan,
            began_ms,
            whose,
            leased,
            pass: None,
            stretch: Some(stretch),
            log,
            prefix: setting.cluster.topic_prefix.clone(),
            calls: HashMap::new(),
            appends: HashMap::new(),
            store: setting.store.clone(),
            lookups: 0,
            found: mpsc::channel(limits::LOOKUPS_MAX),
            pause_until: Instant::now(),
            began: Instant::now(),
            told_at: Instant::now(),
            is_stopping: false,
        })
    }

    /// Whether what comes next of the stretch may be taken.
    pub fn reads(&self) -> bool {
        let has_room = self.pass.as_ref().is_none_or(Pass::has_room);
        has_room && self.stretch.is_some()
    }

    /// What comes next of the stretch.
    pub async fn next(&mut self) -> Option<StretchEvent> {
        match &mut self.stretch {
            Some(stretch) => stretch.next().await,
            None => std::future::pending().await,
        }
    }

    /// Takes what came of the stretch.
    pub fn take(&mut self, event: Option<StretchEvent>) {
        match (event, &mut self.pass) {
            (Some(StretchEvent::Found(spans)), _) => {
                let records: i64 = spans.iter().map(|span| span.end - span.start).sum();
                info!(records, partitions = spans.len(), "what nodes fed is read");
                let lanes = spans.into_iter().map(|span| span.lane).collect();
                let leased = std::mem::take(&mut self.leased);
                self.pass = Some(Pass::new(self.whose.clone(), leased, lanes));
            }
            (Some(StretchEvent::Batch(batch)), Some(pass)) => pass.take(batch),
            (Some(StretchEvent::Ended(lane)), Some(pass)) => pass.end(&lane),
            (Some(_), None) => {}
            (None, _) => self.stretch = None,
        }
    }

    /// These nodes have a lease by now.
    pub fn on_leases(&mut self, leased: &BTreeSet<NodeName>) {
        match &mut self.pass {
            Some(pass) => pass.on_leases(leased),
            None => self.leased.extend(leased),
        }
    }

    /// An answer of the backplane.
    pub fn on_answer(&mut self, ticket: Ticket, answer: Result<BackplaneAnswer, BackplaneError>) {
        let call = self.calls.remove(&ticket);
        let (Some(call), Some(pass)) = (call, &mut self.pass) else {
            return;
        };
        match answer {
            Ok(BackplaneAnswer::Published(placed)) => pass.on_placed(&call, &placed),
            answer => {
                if let Err(error @ BackplaneError::Refused) = answer {
                    warn!(%error, "records of nodes without a lease");
                }
                pass.on_failed(&call);
                self.pause_until = Instant::now() + limits::PAUSE;
            }
        }
    }

    /// No more calls are made.
    pub fn stop(&mut self) {
        self.is_stopping = true;
        self.stretch = None;
    }

    /// Whether everything is placed and told; of one that was stopped, what was under way.
    pub fn is_over(&self) -> bool {
        let is_idle = self.calls.is_empty() && self.appends.is_empty();
        let is_placed = self.pass.as_ref().is_some_and(Pass::is_over);
        is_idle && (is_placed || self.is_stopping)
    }

    /// Whether the reading has ended by itself.
    pub fn has_failed(&self) -> bool {
        let reads = self.pass.as_ref().is_none_or(Pass::reads);
        reads && self.stretch.is_none() && !self.is_stopping
    }

    /// Does what can be done.
    pub fn pump(&mut self, backplane: &mut impl Backplane, now_us: u64) {
        self.take_appended();
        self.take_found(now_us);
        if !self.is_stopping && self.pause_until <= Instant::now() {
            self.place(backplane, now_us);
            self.look_up(now_us);
        }
        self.tell();
        self.say();
    }

    fn place(&mut self, backplane: &mut impl Backplane, now_us: u64) {
        let Some(pass) = &mut self.pass else { return };
        while self.calls.len() < limits::CALLS_MAX {
            let Some(call) = pass.next_call(now_us) else {
                return;
            };
            let request = pass.publishes(&call);
            match backplane.submit(BackplaneRequest::Publish(&request), now_us) {
                Ok(ticket) => {
                    self.calls.insert(ticket, call);
                }
                Err(_) => return pass.on_failed(&call),
            }
        }
    }

    fn look_up(&mut self, now_us: u64) {
        let (Some(pass), Some(store)) = (&mut self.pass, &self.store) else {
            return;
        };
        while self.lookups < limits::LOOKUPS_MAX {
            let Some(lookup) = pass.next_lookup(now_us) else {
                return;
            };
            self.lookups += 1;
            let (store, found) = (store.clone(), self.found.0.clone());
            tokio::spawn(async move {
                let places = store.places(&lookup.records, now_us).await;
                // Nobody takes it once the pass has ended.
                let _ = found.send((lookup, places)).await;
            });
        }
    }

    fn take_found(&mut self, now_us: u64) {
        while let Ok((lookup, places)) = self.found.1.try_recv() {
            self.lookups -= 1;
            if let Err(error) = &places {
                warn!(%error, "old records of nodes without a lease wait for the archive");
                self.pause_until = Instant::now() + limits::PAUSE;
            }
            if let Some(pass) = &mut self.pass {
                pass.on_looked_up(&lookup, places.as_deref().ok(), now_us);
            }
        }
    }

    fn tell(&mut self) {
        let Some(pass) = &mut self.pass else { return };
        let (log, appends, prefix) = (&mut self.log, &mut self.appends, &self.prefix);
        pass.tell(|lane, told| {
            let topic = lane.topic.strip_prefix(&**prefix).unwrap_or(&lane.topic);
            let forwards = told.iter().map(|told| Forward {
                topic,
                record: &told.record,
                kind: AppendKind::Positioned,
                placement: told.placement,
            });
            let forwards: Vec<_> = forwards.collect();
            let submitted = log.forward(&forwards);
            submitted
                .map(|ticket| appends.insert(ticket, told.len()))
                .is_ok()
        });
    }

    fn take_appended(&mut self) {
        while let Some((ticket, answer)) = self.log.complete() {
            self.appends.remove(&ticket);
            if let Err(error) = answer {
                warn!(%error, "places of records are not told");
            }
        }
    }

    fn say(&mut self) {
        if self.told_at.elapsed() >= limits::PROGRESS_EVERY {
            self.told_at = Instant::now();
            let counts = self.counts();
            let open = self.pass.as_ref().map(Pass::open_lanes);
            info!(?counts, open_partitions = ?open, "records of nodes without a lease");
        }
    }

    fn counts(&self) -> Counts {
        self.pass.as_ref().map(Pass::counts).unwrap_or_default()
    }

    /// Ends it, whether it is over or not; says what it has done.
    pub fn end(self) -> Counts {
        let counts = self.counts();
        let took_ms = self.began.elapsed().as_millis() as u64;
        info!(
            ?counts,
            took_ms,
            is_over = self.is_over(),
            "a pass over what nodes fed has ended"
        );
        if counts.old > 0 {
            error!(
                records = counts.old,
                "records of nodes without a lease are too old to be placed again without an \
                 archive: run `interlink-edge journal feed` on the disk of their node, and give \
                 this role the section [postgres]"
            );
        }
        // The clients of the log take up to half a second to end.
        let log = self.log;
        tokio::task::spawn_blocking(move || drop(log));
        counts
    }
}
