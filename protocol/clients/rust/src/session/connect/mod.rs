//! The life of the connection, as a table of transitions.
//!
//! Purpose: decides when to dial, what a loss leads to and when the client is over. Moving
//! bytes is the driver's part.
//! Invariants: at most one connection is held at a time; an illegal transition is a value
//! and changes nothing; a node that could not be reached is not tried again before every other
//! address was.
//! Runs on: any thread; the clock and randomness come in as arguments.

use crate::event::State;
use crate::limits;
use crate::session::reconnect::{Backoff, BackoffPolicy, NextTry};

/// Where the connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Never dialled.
    Idle,
    /// The driver opens a connection.
    Dialing,
    /// `Hello` was sent or is about to be; `Welcome` has not come.
    Greeting,
    /// Welcomed.
    Online,
    /// Lost; the next attempt has a time.
    Waiting,
    /// The quick attempts are used up.
    Suspended,
    /// Over for good.
    Closed,
}

/// What happens to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Turn {
    /// An attempt starts.
    Dial,
    /// The connection is open.
    Open,
    /// `Welcome` came.
    Welcome,
    /// The connection or the attempt failed and another follows soon.
    Lose,
    /// The connection or the attempt failed and the quick attempts are used up.
    Suspend,
    /// The client ends.
    Close,
}

impl Phase {
    /// Every phase, for tests.
    pub const ALL: [Self; 7] = [
        Self::Idle,
        Self::Dialing,
        Self::Greeting,
        Self::Online,
        Self::Waiting,
        Self::Suspended,
        Self::Closed,
    ];

    /// The table of transitions; `None` is an illegal one.
    pub fn after(self, turn: Turn) -> Option<Self> {
        use Phase::{Closed, Dialing, Greeting, Idle, Online, Suspended, Waiting};
        Some(match (turn, self) {
            (Turn::Dial, Idle | Waiting | Suspended) => Dialing,
            (Turn::Open, Dialing) => Greeting,
            (Turn::Welcome, Greeting) => Online,
            (Turn::Lose, Dialing | Greeting | Online) => Waiting,
            (Turn::Suspend, Dialing | Greeting | Online) => Suspended,
            (Turn::Close, phase) if phase != Closed => Closed,
            _ => return None,
        })
    }

    /// True while the driver should hold a connection.
    pub fn holds_connection(self) -> bool {
        matches!(self, Self::Greeting | Self::Online)
    }
}

/// A move that the server asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PlannedMove {
    at_ms: u64,
    target: Option<Box<str>>,
}

/// The life of the connection.
#[derive(Clone, Debug)]
pub struct Connect {
    phase: Phase,
    backoff: Backoff,
    attempt: u32,
    ever_online: bool,
    /// Of the phases Dialing and Greeting the timeout, of the waiting ones the next attempt.
    deadline_ms: u64,
    planned: Option<PlannedMove>,
    target: Option<Box<str>>,
    /// Addresses that the driver has; at least one.
    addresses: usize,
    /// Which of them is used when no target is named.
    address: usize,
}

impl Connect {
    /// A client that has never dialled; no address counts as one.
    pub fn new(policy: BackoffPolicy, addresses: usize) -> Self {
        Self {
            phase: Phase::Idle,
            backoff: Backoff::new(policy),
            attempt: 0,
            ever_online: false,
            deadline_ms: 0,
            planned: None,
            target: None,
            addresses: addresses.max(1),
            address: 0,
        }
    }

    /// Where the connection stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Attempts since the last success.
    pub fn attempts(&self) -> u32 {
        self.backoff.attempts()
    }

    /// The state that applications see.
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Online => State::Connected,
            Phase::Suspended => State::Suspended,
            Phase::Closed => State::Closed,
            _ if !self.ever_online && self.attempt == 0 => State::Connecting,
            _ => State::Reconnecting {
                attempt: self.attempt,
            },
        }
    }

    /// The application wants a connection now: waiting ends and attempts are forgotten.
    pub fn want_now(&mut self, now_ms: u64) {
        if matches!(self.phase, Phase::Idle | Phase::Waiting | Phase::Suspended) {
            self.backoff.reset();
            self.attempt = 0;
            self.deadline_ms = now_ms;
        }
    }

    /// Starts an attempt when one is due; true when the driver has to dial.
    pub fn start_when_due(&mut self, now_ms: u64) -> bool {
        if self.deadline_ms > now_ms || !self.turn(Turn::Dial) {
            return false;
        }
        self.deadline_ms = now_ms + limits::DIAL_TIMEOUT_MS;
        true
    }

    /// The address that the server named last; `None` is the configured one.
    pub fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// Number of the configured address for the next attempt.
    pub fn address(&self) -> usize {
        self.address
    }

    /// Gives the present node up: the next attempt goes to the next address.
    pub fn leave_node(&mut self) {
        self.target = None;
        self.address = (self.address + 1) % self.addresses;
    }

    /// The connection is open and `Hello` may leave; false when nobody asked for it.
    pub fn on_open(&mut self, now_ms: u64) -> bool {
        self.deadline_ms = now_ms + limits::GREETING_TIMEOUT_MS;
        self.turn(Turn::Open)
    }

    /// `Welcome` came; false when it may not come now.
    pub fn on_welcome(&mut self) -> bool {
        if !self.turn(Turn::Welcome) {
            return false;
        }
        self.backoff.reset();
        self.attempt = 0;
        self.ever_online = true;
        self.planned = None;
        true
    }

    /// The server asked to move after `delay_ms`.
    pub fn on_reconnect(&mut self, delay_ms: u64, target: Option<Box<str>>, now_ms: u64) {
        self.planned = Some(PlannedMove {
            at_ms: now_ms + delay_ms,
            target,
        });
    }

    /// True when the time of a planned move has come.
    pub fn move_is_due(&self, now_ms: u64) -> bool {
        let planned = self.planned.as_ref();
        self.phase == Phase::Online && planned.is_some_and(|planned| planned.at_ms <= now_ms)
    }

    /// The connection or the attempt failed. A connection that was lost is sought where it was,
    /// since its session may live there still; after a failed attempt comes the next address. A
    /// planned move counts as no attempt, and without a target goes to the next address; a named
    /// target is used until an attempt to reach it fails.
    pub fn on_lost(&mut self, now_ms: u64, random: u64) -> bool {
        if let Some(planned) = self.planned.take() {
            if !self.turn(Turn::Lose) {
                return false;
            }
            self.attempt = 0;
            match planned.target {
                Some(target) => self.target = Some(target),
                None => self.leave_node(),
            }
            self.deadline_ms = planned.at_ms.max(now_ms);
            return true;
        }
        if !matches!(self.phase, Phase::Dialing | Phase::Greeting | Phase::Online) {
            return false;
        }
        if self.phase != Phase::Online {
            self.leave_node();
        }
        match self.backoff.next_try(random) {
            NextTry::Soon { delay_ms, attempt } => {
                self.attempt = attempt;
                self.deadline_ms = now_ms + delay_ms;
                self.turn(Turn::Lose)
            }
            NextTry::Suspended { delay_ms } => {
                self.deadline_ms = now_ms + delay_ms;
                self.turn(Turn::Suspend)
            }
        }
    }

    /// The client ends; false when it had ended before.
    pub fn close(&mut self) -> bool {
        self.turn(Turn::Close)
    }

    /// When this machine wants to be looked at again.
    pub fn deadline_ms(&self) -> Option<u64> {
        match self.phase {
            Phase::Online => self.planned.as_ref().map(|planned| planned.at_ms),
            Phase::Closed => None,
            _ => Some(self.deadline_ms),
        }
    }

    /// True when dialling or greeting took too long.
    pub fn is_overdue(&self, now_ms: u64) -> bool {
        let timed = matches!(self.phase, Phase::Dialing | Phase::Greeting);
        timed && self.deadline_ms <= now_ms
    }

    fn turn(&mut self, turn: Turn) -> bool {
        match self.phase.after(turn) {
            Some(next) => {
                self.phase = next;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests;
