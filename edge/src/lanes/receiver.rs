//! `Receiver`: what the other threads have for this one.
//!
//! How entries are chosen: every priority has credit for a round, P0 the most. A take goes to
//! the most urgent priority that waits and has credit; when none of those that wait has any,
//! all credit is renewed. So P0 is first, and nothing that waits is passed over for more than
//! a round. Within a priority the senders take turns, eight entries each.
//!
//! Invariants: a take hands out at most 64 entries; credit and turns outlast a take, so that
//! small budgets are as fair as large ones; entries of one sender and priority keep their
//! order.
//!
//! Runs on: the thread that owns it.

use super::doorbell::Doorbell;
use super::limits::{LANE_TAKE_MAX, LANE_WEIGHTS};
use super::ring::Rings;
use interlink_protocol::priority::Priority;
use std::os::fd::RawFd;
use std::sync::Arc;

/// Entries in a row from one sender while others of the same priority wait.
const RUN: u32 = 8;

/// One entry and where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken<T> {
    /// The number of the sending thread.
    pub from: usize,
    /// The priority of the ring that it came through.
    pub priority: Priority,
    /// What was pushed.
    pub entry: T,
}

/// Whose turn it is among the senders of one priority.
#[derive(Debug, Clone, Copy)]
struct Turn {
    sender: usize,
    left: u32,
}

/// The taking end of a thread.
pub struct Receiver<T> {
    /// The rings that lead here with the number of their sender.
    incoming: Vec<(usize, Arc<Rings<T>>)>,
    bell: Arc<Doorbell>,
    credit: [u32; Priority::COUNT],
    turns: [Turn; Priority::COUNT],
}

impl<T> Receiver<T> {
    pub(super) fn new(incoming: Vec<(usize, Arc<Rings<T>>)>, bell: Arc<Doorbell>) -> Self {
        let turns = [Turn {
            sender: 0,
            left: RUN,
        }; Priority::COUNT];
        Self {
            incoming,
            bell,
            credit: LANE_WEIGHTS,
            turns,
        }
    }

    /// Takes at most `budget` entries, and never more than 64, appends them to `out` and
    /// returns how many.
    pub fn take(&mut self, budget: usize, out: &mut Vec<Taken<T>>) -> usize {
        let budget = budget.min(LANE_TAKE_MAX);
        let mut taken = 0;
        // One round may use up credit and the next serves what was passed over; a round that
        // finds nothing ends the take.
        while taken < budget {
            let round = self.take_round(budget - taken, out);
            if round == 0 && self.credit == LANE_WEIGHTS {
                break;
            }
            taken += round;
            if taken < budget {
                self.credit = LANE_WEIGHTS;
            }
        }
        taken
    }

    /// Takes entries of P0 only: after work that lasted long they go first.
    pub fn take_urgent(&mut self, budget: usize, out: &mut Vec<Taken<T>>) -> usize {
        self.take_class(Priority::P0, budget.min(LANE_TAKE_MAX) as u32, out)
    }

    /// Whether nothing waits in any lane.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let empty = |rings: &Rings<T>| Priority::ALL.iter().all(|class| rings.is_empty(*class));
        self.incoming.iter().all(|(_, rings)| empty(rings))
    }

    /// Entries that wait, by priority.
    #[must_use]
    pub fn depths(&self) -> [usize; Priority::COUNT] {
        Priority::ALL.map(|class| {
            let waiting = self.incoming.iter().map(|(_, rings)| rings.len(class));
            waiting.sum()
        })
    }

    /// The bell of this thread, for others that have something for it.
    #[must_use]
    pub fn bell(&self) -> Arc<Doorbell> {
        Arc::clone(&self.bell)
    }

    /// Names the eventfd on which this thread sleeps; before it first parks.
    ///
    /// # Errors
    /// When the descriptor cannot be duplicated.
    pub fn attach(&self, wake: RawFd) -> std::io::Result<()> {
        self.bell.attach(wake)
    }

    /// Prepares to sleep. True: nothing waits, and whatever comes from now on writes to the
    /// eventfd; check everything else that could have work, then sleep, then `unpark`.
    /// False: something waits and the thread counts as awake.
    #[must_use]
    pub fn park(&self) -> bool {
        self.bell.park();
        let may_sleep = self.is_empty();
        if !may_sleep {
            self.bell.unpark();
        }
        may_sleep
    }

    /// Ends the sleep that `park` prepared.
    pub fn unpark(&self) {
        self.bell.unpark();
    }

    /// Takes by what credit is left, most urgent first.
    fn take_round(&mut self, budget: usize, out: &mut Vec<Taken<T>>) -> usize {
        let mut taken = 0;
        for priority in Priority::ALL {
            let credit = self.credit[priority.index()];
            let limit = credit.min((budget - taken) as u32);
            let count = self.take_class(priority, limit, out);
            self.credit[priority.index()] -= count as u32;
            taken += count;
        }
        taken
    }

    /// Takes at most `limit` entries of one priority, senders in turn.
    fn take_class(&mut self, priority: Priority, limit: u32, out: &mut Vec<Taken<T>>) -> usize {
        let senders = self.incoming.len();
        let turn = &mut self.turns[priority.index()];
        let (mut taken, mut idle) = (0, 0);
        while taken < limit && idle < senders {
            let (from, rings) = &self.incoming[turn.sender];
            let entry = if turn.left > 0 {
                rings.pop(priority)
            } else {
                None
            };
            if let Some(entry) = entry {
                out.push(Taken {
                    from: *from,
                    priority,
                    entry,
                });
                turn.left -= 1;
                taken += 1;
                idle = 0;
                continue;
            }
            // A run that ended is no proof of an empty ring: it is looked at again later.
            idle = if turn.left > 0 { idle + 1 } else { 0 };
            turn.sender = (turn.sender + 1) % senders;
            turn.left = RUN;
        }
        taken as usize
    }
}
