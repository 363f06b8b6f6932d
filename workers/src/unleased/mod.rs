//! Places again what nodes have fed that have no lease.
//!
//! A node that lives sees to its records itself: what it has accepted it places, and what servers
//! lost it places again. A node that was killed cannot. While it is down, what it fed to the log
//! without a place has none, and what a server that took over lacks stays lost. This part of the
//! role `realtime` does both from the log.
//!
//! It watches the leases of nodes and the servers of the backplane ([`watch`]) and consumes
//! nothing. When a node has lost its lease, or servers may have lost records, it reads the topics
//! since shortly before ([`interlink_relay::kafka::stretch`]) and places the records of nodes
//! without a lease in their order ([`pass`]). The backplane knows repeats by their ids, so that
//! several processes, and a node that comes back, may do the same at once.
//!
//! Limits: `limits.rs`; one pass at a time. Runs on: one tokio task, and the threads of the log
//! while a pass is under way.

pub mod limits;
pub mod pass;
mod stage;
#[cfg(test)]
mod tests;
pub mod watch;
mod work;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use interlink_relay::backplane::{
    Backplane, BackplaneAnswer, BackplaneEvent, BackplaneRequest, Standing,
};
use interlink_relay::kafka::stretch::StretchEvent;
use interlink_relay::kafka::Config as Cluster;
use interlink_relay::limits::LEASE_MS;
use interlink_relay::ports::Ticket;
use interlink_relay::postgres::Store;
use interlink_relay::redis::{self, RedisBackplane};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tracing::{debug, info};

use crate::exit::{CommandError, Exit};
use crate::roles::Stop;
use pass::Counts;
use watch::{Plan, Watch};
use work::Work;

/// What places records.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The log of the own region.
    pub cluster: Cluster,
    /// The backplane of the own region.
    pub redis: redis::Config,
    /// The region whose nodes these are.
    pub region: String,
    /// The archive, which is asked about records that are old.
    pub store: Option<Store>,
}

/// A look at the leases.
#[derive(Debug)]
enum Look {
    /// Not before this time.
    At(Instant),
    /// Asked, and when, in milliseconds.
    Asked(Ticket, u64),
}

/// The state.
struct Unleased {
    setting: Setting,
    backplane: RedisBackplane,
    bell: Arc<Notify>,
    watch: Watch,
    look: Look,
    work: Option<Work>,
    /// What the last pass has done.
    last: Option<Counts>,
    /// When it began, in milliseconds since the Unix epoch too.
    began: (Instant, u64),
}

/// Places records whenever they need it, until it is stopped.
///
/// # Errors
/// When the configuration cannot be used. Servers that are away are no error.
pub async fn run(setting: Setting, stop: Stop) -> Result<(), CommandError> {
    let mut unleased = Unleased::open(setting, limits::START_BACK_MS, LEASE_MS)?;
    unleased.drive(stop, |_| false).await
}

/// Makes one pass over what nodes without a lease have fed within the last `back`; says what it has
/// done, and nothing when it was stopped before.
///
/// # Errors
/// As [`run`].
pub async fn once(
    setting: Setting,
    back: Duration,
    stop: Stop,
) -> Result<Option<Counts>, CommandError> {
    let mut unleased = Unleased::open(setting, back.as_millis() as u64, 0)?;
    unleased.drive(stop, |it| it.last.is_some()).await?;
    Ok(unleased.last)
}

impl Unleased {
    /// One whose first pass goes back so far, and begins after so long.
    fn open(setting: Setting, back_ms: u64, hold_ms: u64) -> Result<Self, CommandError> {
        let began_ms = unix_us() / 1_000;
        let bell = Arc::new(Notify::new());
        let ringing = Arc::clone(&bell);
        let waker = Arc::new(move || ringing.notify_one());
        let backplane = RedisBackplane::new(setting.redis.clone(), &Handle::current(), waker);
        Ok(Self {
            backplane: backplane.map_err(|error| CommandError::new(Exit::Config, error))?,
            setting,
            bell,
            watch: Watch::new(began_ms, back_ms, hold_ms),
            look: Look::At(Instant::now()),
            work: None,
            last: None,
            began: (Instant::now(), began_ms),
        })
    }

    /// Milliseconds since the Unix epoch that never go back.
    fn now_ms(&self) -> u64 {
        let (began, began_ms) = self.began;
        began_ms + began.elapsed().as_millis() as u64
    }

    async fn drive(
        &mut self,
        mut stop: Stop,
        is_done: impl Fn(&Self) -> bool,
    ) -> Result<(), CommandError> {
        let bell = Arc::clone(&self.bell);
        while !is_done(self) {
            tokio::select! {
                read = read(&mut self.work) => if let Some(work) = &mut self.work {
                    work.take(read);
                },
                () = bell.notified() => {}
                () = tokio::time::sleep(limits::PAUSE) => {}
                () = stop.requested() => break,
            }
            self.pump()?;
        }
        let Some(mut work) = self.work.take() else {
            return Ok(());
        };
        // Places that are on their way to the log arrive; those of calls under way are told by the
        // next pass.
        let until = Instant::now() + limits::STOP_TIME_MAX;
        work.stop();
        while !work.is_over() && Instant::now() < until {
            tokio::select! {
                () = bell.notified() => {}
                () = tokio::time::sleep(limits::PAUSE) => {}
            }
            self.take_events(&mut Some(&mut work));
            work.pump(&mut self.backplane, unix_us());
        }
        work.end();
        Ok(())
    }

    /// Takes what has come and does what can be done.
    fn pump(&mut self) -> Result<(), CommandError> {
        let mut work = self.work.take();
        let has_changed = self.take_events(&mut work.as_mut());
        let now_ms = self.now_ms();
        if let Some(mut under_way) = work {
            if has_changed || under_way.has_failed() {
                info!(has_changed, "the pass is made again");
                self.watch.put_back(&under_way.plan, under_way.began_ms);
                under_way.end();
            } else {
                under_way.pump(&mut self.backplane, unix_us());
                match under_way.is_over() {
                    true => self.last = Some(under_way.end()),
                    false => self.work = Some(under_way),
                }
            }
        } else if let Some(plan) = self.watch.next_plan(now_ms) {
            self.begin(plan, now_ms)?;
        }
        self.look_at_leases();
        Ok(())
    }

    fn begin(&mut self, plan: Plan, began_ms: u64) -> Result<(), CommandError> {
        let leased = self.watch.leased();
        let nodes = leased.len();
        let Plan { back_ms, scope } = &plan;
        let partitions = scope.as_ref().map(|scope| scope.len());
        info!(
            back_ms,
            nodes,
            ?partitions,
            "records of nodes without a lease are placed again"
        );
        let bell = Arc::clone(&self.bell);
        let work = Work::open(&self.setting, plan, began_ms, leased, &bell);
        self.work = Some(work.map_err(|error| CommandError::new(Exit::Config, error))?);
        Ok(())
    }

    /// Takes what the backplane says; says whether servers have changed.
    fn take_events(&mut self, work: &mut Option<&mut Work>) -> bool {
        let mut has_changed = false;
        while let Some(event) = self.backplane.complete() {
            let now_ms = self.now_ms();
            match event {
                BackplaneEvent::Answer(ticket, answer) => match &self.look {
                    Look::Asked(asked, asked_ms) if *asked == ticket => {
                        let asked_ms = *asked_ms;
                        self.look = Look::At(Instant::now() + limits::LOOK_EVERY);
                        match answer {
                            Ok(BackplaneAnswer::Leases(leases)) => {
                                self.watch.on_leases(&leases, asked_ms, now_ms);
                                if let Some(work) = work {
                                    work.on_leases(&self.watch.leased());
                                }
                            }
                            answer => debug!(?answer, "leases of nodes are not known"),
                        }
                    }
                    _ => {
                        if let Some(work) = work {
                            work.on_answer(ticket, answer);
                        }
                    }
                },
                BackplaneEvent::LineageChanged { partitions } => {
                    has_changed = true;
                    let scope = Some(partitions.iter().copied().collect());
                    self.watch.on_changed(scope, now_ms);
                }
                BackplaneEvent::Standing(standing) => {
                    info!(?standing, "the backplane of the own region");
                    self.watch
                        .on_connected(standing == Standing::Connected, now_ms);
                }
                _ => {}
            }
        }
        has_changed
    }

    fn look_at_leases(&mut self) {
        if let Look::At(at) = self.look {
            if at <= Instant::now() {
                let asked_ms = self.now_ms();
                if let Ok(ticket) = self.backplane.submit(BackplaneRequest::Leases, unix_us()) {
                    self.look = Look::Asked(ticket, asked_ms);
                }
            }
        }
    }
}

/// What comes next for a pass that has room.
async fn read(work: &mut Option<Work>) -> Option<StretchEvent> {
    match work.as_mut().filter(|work| work.reads()) {
        Some(work) => work.next().await,
        None => std::future::pending().await,
    }
}

/// Microseconds since the Unix epoch.
fn unix_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_micros() as u64)
}
