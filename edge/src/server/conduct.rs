//! Conducts a serving node to its end.
//!
//! Purpose: waits for signals, requests and parts that end, and carries out what [`Giving`]
//! decides: intake ends, what was accepted is settled, a successor gets sockets and journal,
//! clients are sent away at the configured rate, the shards end.
//!
//! Limits: `drain.settlement` for settling; for a successor those of the hand-over; for the
//! clients as long as the rate asks for, and [`SPARE_TIME`]. A second signal ends the
//! process at once: what was acknowledged is on disk.
//!
//! Runs on: the main thread.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::giving::{Action, Giving, Happening};
use super::{NodeEvent, NodeState, Phase, ShardSet};
use crate::config::Drain;
use crate::control::Control;
use crate::data_dir::DataDirectory;
use crate::exit::{CommandError, Exit};
use crate::hand_over::door::Heard;
use crate::hand_over::limits::{PREPARE_PATIENCE, RECOVER_PATIENCE};
use crate::hand_over::link::{say, Message};
use crate::hand_over::successor::offer;
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
    /// The control endpoint.
    pub control: &'a mut Control,
    /// The lock of the data directory, until it is given up.
    pub data: Option<Arc<DataDirectory>>,
}

/// What [`Conduct::run`] keeps between two events.
struct Progress {
    giving: Giving,
    /// When what the state waits for is overdue.
    deadline: Option<Instant>,
    began: Instant,
    is_signalled: bool,
    /// The end was asked for while a successor was being waited for.
    is_asked: bool,
    successor: Option<(usize, UnixStream)>,
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
            is_asked: false,
            successor: None,
            outcome: Ok(()),
        };
        while progress.giving != Giving::Leaving || !self.shards.have_ended() {
            let Some(happening) = self.next(&mut progress) else {
                return progress.outcome;
            };
            if let Some(happening) = happening {
                self.go_on(happening, &mut progress);
            }
        }
        self.shards.join();
        info!(seconds = progress.began.elapsed().as_secs_f32(), "stopped");
        progress.outcome
    }

    /// Takes one step, and those that follow from it.
    fn go_on(&mut self, happening: Happening, progress: &mut Progress) {
        let mut next = Some(happening);
        while let Some(happening) = next.take() {
            for action in progress.giving.on(happening) {
                next = next.or(self.carry_out(*action, progress));
            }
            if progress.giving == Giving::Serving && progress.is_asked {
                next = Some(Happening::Asked);
            }
        }
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
            (Giving::Settling | Giving::Yielding, Some(left)) => {
                self.inbox.recv_timeout(left.min(LOOK_EVERY))
            }
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
                progress.is_asked = true;
                Some(Some(Happening::Asked))
            }
            NodeEvent::DrainAsked => {
                info!("stopping, since the control endpoint was asked to drain");
                progress.is_asked = true;
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
            NodeEvent::RelayEnded(reason) if progress.giving == Giving::Leaving => {
                warn!(reason, "the relay thread ended");
                Some(None)
            }
            NodeEvent::ControlEnded(_) | NodeEvent::RelayEnded(_) => {
                Some(Some(broken(&event, progress)))
            }
            NodeEvent::Successor { number, heard } => Some(hear(number, heard, progress)),
        }
    }

    fn on_timeout(&self, progress: &mut Progress) -> Option<Option<Happening>> {
        let settles = matches!(progress.giving, Giving::Settling | Giving::Yielding);
        if settles && self.shards.are_settled() {
            return Some(Some(Happening::Settled));
        }
        if progress.deadline.is_none_or(|at| at > Instant::now()) {
            return Some(None);
        }
        match progress.giving {
            Giving::Settling => warn!("not everything was stored in time; it is sent again"),
            Giving::Yielding => warn!("not everything was stored in time; the node serves on"),
            Giving::Offering => warn!("the successor was not prepared in time"),
            Giving::Released => fail(progress, "the successor did not serve in time"),
            Giving::Leaving => {
                fail(progress, "the shards did not end in time");
                return None;
            }
            Giving::Serving => return Some(None),
        }
        Some(Some(Happening::Overdue))
    }

    /// Carries out an action; says what follows from it at once.
    fn carry_out(&mut self, action: Action, progress: &mut Progress) -> Option<Happening> {
        let now = Instant::now();
        match action {
            Action::Offer => {
                progress.deadline = Some(now + PREPARE_PATIENCE);
                return self.offer(progress).is_err().then_some(Happening::Lost);
            }
            Action::EndIntake => {
                progress.began = now;
                progress.deadline = Some(now + self.drain.settlement);
                self.node.advance(Phase::Draining);
                self.shards.set_course(Course::Settling);
            }
            Action::BeginIntake => {
                self.shards.set_course(Course::Serving);
                self.node.serve_on();
            }
            Action::Dismiss => {
                progress.deadline = None;
                if let Some((_, stream)) = progress.successor.take() {
                    // One that is gone need not be told.
                    let _ = stream.shutdown(Shutdown::Both);
                }
            }
            Action::Release => {
                progress.deadline = Some(now + RECOVER_PATIENCE);
                return self.release(progress);
            }
            Action::SendAway => self.send_away(progress),
        }
        None
    }

    fn offer(&self, progress: &Progress) -> std::io::Result<()> {
        match (&progress.successor, self.control.sockets()) {
            (Some((_, stream)), Some(others)) => offer(stream, self.shards.sockets(), others),
            _ => Err(std::io::ErrorKind::NotConnected.into()),
        }
    }

    /// Gives up journal, control and API address, and lock, in this order, and tells the successor.
    fn release(&mut self, progress: &mut Progress) -> Option<Happening> {
        if !self.shards.give_up_journal() {
            fail(progress, "the journal could not be given up in time");
            return Some(Happening::Broken);
        }
        self.control.close();
        self.data = None;
        let (_, stream) = progress.successor.as_ref()?;
        info!(
            settled_ms = progress.began.elapsed().as_millis() as u64,
            "gave up the journal"
        );
        // When the successor is gone, the door says so as well.
        let _ = say(stream, Message::Released, None);
        None
    }

    fn send_away(&mut self, progress: &mut Progress) {
        self.node.advance(Phase::Draining);
        self.shards.close_sockets();
        let clients = self.counters.iter();
        let clients: u64 = clients
            .map(|shard| shard.value(names::CONNECTIONS_OPEN))
            .sum();
        let per_second = self.drain.reconnects_per_second;
        info!(clients, per_second, "sending clients away");
        let seconds = clients as f64 / f64::from(per_second);
        let time = Duration::from_secs_f64(seconds * 1.1) + SPARE_TIME;
        progress.deadline = Some(Instant::now() + time);
        self.shards.set_course(Course::Leaving);
    }
}

/// What a process that wants to take over means for the node. All but the one that is being
/// served are sent away.
fn hear(number: usize, heard: Heard, progress: &mut Progress) -> Option<Happening> {
    if let Heard::Called(stream) = heard {
        if progress.giving != Giving::Serving {
            // It may be gone already.
            let _ = stream.shutdown(Shutdown::Both);
            return None;
        }
        info!("another process takes over");
        progress.successor = Some((number, stream));
        return Some(Happening::Called);
    }
    let current = progress.successor.as_ref()?.0;
    if current != number {
        return None;
    }
    match heard {
        Heard::Called(_) => None,
        Heard::Prepared => Some(Happening::Prepared),
        Heard::Ready => {
            info!(
                pause_ms = progress.began.elapsed().as_millis() as u64,
                "the successor serves"
            );
            Some(Happening::Ready)
        }
        Heard::Gone => {
            if progress.giving == Giving::Released {
                fail(progress, "the successor ended before it served");
            } else if progress.giving != Giving::Leaving {
                warn!("the successor is gone; the node serves on");
            }
            Some(Happening::Lost)
        }
    }
}

/// The process will say what went wrong at its end.
fn fail(progress: &mut Progress, cause: &str) {
    error!("{cause}");
    progress.outcome = Err(CommandError::new(Exit::Broken, cause)
        .cure("see the log lines before; start the node again, it recovers its journal"));
}

/// A part has ended by itself: the node goes, and the process says so.
fn broken(event: &NodeEvent, progress: &mut Progress) -> Happening {
    error!(%event, "stopping because a part of the node has ended");
    let error = CommandError::new(Exit::Broken, event)
        .cure("see the log lines before; start the node again, it recovers its journal");
    progress.outcome = Err(error);
    Happening::Broken
}
