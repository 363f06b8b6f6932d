//! Conducts a serving node to its end.
//!
//! Purpose: waits for signals, requests and parts that end, and carries out what [`Giving`]
//! decides: intake ends, what was accepted is settled, clients are sent away at the configured
//! rate, the shards end.
//!
//! Limits: `drain.settlement` for settling; for the clients as long as the rate asks for, and
//! [`SPARE_TIME`]. A second signal ends the process at once: what was acknowledged is on disk.
//!
//! Runs on: the main thread.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::giving::{Action, Giving, Happening};
use super::{NodeEvent, NodeState, Phase, ShardSet};
use crate::config::Drain;
use crate::exit::{CommandError, Exit};
use crate::shard::drain::Course;
use crate::telemetry::{names, ShardCounters};

/// Time that shards get beside what the rate asks for: close handshakes take a second each and
/// begin at once, a full flush of the journal takes milliseconds.
pub const SPARE_TIME: Duration = Duration::from_secs(10);

/// How often settling shards are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A serving node.
pub struct Conduct<'a> {
    /// What the parts of the node tell.
    pub inbox: &'a Receiver<NodeEvent>,
    /// The shards.
    pub shards: ShardSet,
    /// State of the node.
    pub node: &'a NodeState,
    /// Counters of the shards.
    pub counters: &'a [Arc<ShardCounters>],
    /// Rate and times.
    pub drain: Drain,
}

/// What [`Conduct::run`] keeps between two events.
struct Progress {
    giving: Giving,
    /// When what the state waits for is overdue.
    deadline: Option<Instant>,
    began: Instant,
    is_signalled: bool,
    outcome: Result<(), CommandError>,
}

impl Conduct<'_> {
    /// Serves until the end.
    ///
    /// # Errors
    /// Which part ended by itself, or that the shards did not end in time.
    pub fn run(mut self) -> Result<(), CommandError> {
        let mut progress = Progress {
            giving: Giving::default(),
            deadline: None,
            began: Instant::now(),
            is_signalled: false,
            outcome: Ok(()),
        };
        while progress.giving != Giving::Leaving || !self.shards.have_ended() {
            let Some(happening) = self.next(&mut progress) else {
                return progress.outcome;
            };
            for action in happening.map_or(&[][..], |it| progress.giving.on(it)) {
                self.carry_out(*action, &mut progress);
            }
        }
        self.shards.join();
        info!(seconds = progress.began.elapsed().as_secs_f32(), "stopped");
        progress.outcome
    }

    /// Waits for the next thing to happen; `None` when the process is to end at once.
    fn next(&mut self, progress: &mut Progress) -> Option<Option<Happening>> {
        match self.wait(progress) {
            Ok(event) => self.on_event(event, progress),
            Err(RecvTimeoutError::Timeout) => self.on_timeout(progress),
            Err(RecvTimeoutError::Disconnected) => {
                let error = CommandError::new(Exit::Broken, "every part of the node has ended");
                progress.outcome = Err(error);
                None
            }
        }
    }

    fn wait(&self, progress: &Progress) -> Result<NodeEvent, RecvTimeoutError> {
        let left = progress
            .deadline
            .map(|at| at.saturating_duration_since(Instant::now()));
        match (progress.giving, left) {
            (Giving::Settling, Some(left)) => self.inbox.recv_timeout(left.min(LOOK_EVERY)),
            (_, Some(left)) => self.inbox.recv_timeout(left),
            (_, None) => self
                .inbox
                .recv()
                .map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn on_event(&mut self, event: NodeEvent, progress: &mut Progress) -> Option<Option<Happening>> {
        match event {
            NodeEvent::Signal(name) if progress.is_signalled => {
                warn!(signal = name, "second signal: ending without waiting");
                None
            }
            NodeEvent::Signal(name) => {
                info!(signal = name, "stopping");
                progress.is_signalled = true;
                Some(Some(Happening::Asked))
            }
            NodeEvent::DrainAsked => {
                info!("stopping, since the control endpoint was asked to drain");
                Some(Some(Happening::Asked))
            }
            NodeEvent::ShardEnded { shard, error } if progress.giving == Giving::Leaving => {
                info!(shard, error = error.as_deref(), "shard ended");
                self.shards.note_end(shard);
                Some(None)
            }
            NodeEvent::ShardEnded { shard, .. } => {
                self.shards.note_end(shard);
                Some(Some(broken(&event, progress)))
            }
            NodeEvent::ControlEnded(reason) if progress.giving == Giving::Leaving => {
                warn!(reason, "control ended");
                Some(None)
            }
            NodeEvent::ControlEnded(_) => Some(Some(broken(&event, progress))),
        }
    }

    fn on_timeout(&self, progress: &mut Progress) -> Option<Option<Happening>> {
        let is_overdue = progress.deadline.is_some_and(|at| at <= Instant::now());
        match progress.giving {
            Giving::Settling if self.shards.are_settled() => Some(Some(Happening::Settled)),
            Giving::Settling if is_overdue => {
                warn!("not everything was stored in time; its publishers send it again");
                Some(Some(Happening::Overdue))
            }
            Giving::Leaving if is_overdue => {
                let error = CommandError::new(Exit::Broken, "the shards did not end in time");
                progress.outcome = Err(error);
                None
            }
            _ => Some(None),
        }
    }

    fn carry_out(&mut self, action: Action, progress: &mut Progress) {
        let now = Instant::now();
        match action {
            Action::EndIntake => {
                progress.began = now;
                progress.deadline = Some(now + self.drain.settlement);
                self.node.advance(Phase::Draining);
                self.shards.set_course(Course::Settling);
            }
            Action::SendAway => {
                self.node.advance(Phase::Draining);
                let clients = self
                    .counters
                    .iter()
                    .map(|shard| shard.value(names::CONNECTIONS_OPEN));
                let clients: u64 = clients.sum();
                info!(
                    clients,
                    per_second = self.drain.reconnects_per_second,
                    settled_ms = progress.began.elapsed().as_millis() as u64,
                    "sending clients away"
                );
                let seconds = clients as f64 / f64::from(self.drain.reconnects_per_second);
                progress.deadline = Some(now + Duration::from_secs_f64(seconds * 1.1) + SPARE_TIME);
                self.shards.set_course(Course::Leaving);
            }
        }
    }
}

/// A part has ended by itself: the node goes, and the process says so.
fn broken(event: &NodeEvent, progress: &mut Progress) -> Happening {
    error!(%event, "stopping because a part of the node has ended");
    let error = CommandError::new(Exit::Broken, event)
        .cure("see the log lines before; start the node again, it recovers its journal");
    progress.outcome = Err(error);
    Happening::Broken
}
