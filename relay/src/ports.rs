//! What the ports to brokers and stores have in common.
//!
//! A port is a trait with two sides: `submit` takes a request or answers that it is busy,
//! `complete` gives results as they come. No runtime type appears: a shard's turn, a tokio
//! task or a plain loop drive the same trait, and an implementation that answers at once
//! queues its answer.

/// Names a submitted request until its answer comes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// The port has as many requests as it takes; complete some first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the port has too many requests under way: take completions, then submit again")]
pub struct Busy;

/// Hands out tickets and keeps answers until they are taken.
#[derive(Debug)]
pub(crate) struct Answers<T> {
    next: u64,
    ready: std::collections::VecDeque<(Ticket, T)>,
    limit: usize,
}

impl<T> Answers<T> {
    pub fn new(limit: usize) -> Self {
        Self {
            next: 0,
            ready: std::collections::VecDeque::new(),
            limit,
        }
    }

    /// Whether one more request can be taken.
    pub fn check_room(&self) -> Result<(), Busy> {
        if self.ready.len() < self.limit {
            Ok(())
        } else {
            Err(Busy)
        }
    }

    /// Keeps the answer to a new request.
    pub fn push(&mut self, answer: T) -> Ticket {
        self.next += 1;
        let ticket = Ticket(self.next);
        self.ready.push_back((ticket, answer));
        ticket
    }

    /// The oldest answer.
    pub fn pop(&mut self) -> Option<(Ticket, T)> {
        self.ready.pop_front()
    }
}
