//! Counts and latencies of one priority class.
//!
//! Runs on: the generator's thread.

use crate::measure::Latency;

/// Number of priority classes.
pub const CLASSES: usize = 4;

/// What happened to the events of one class.
#[derive(Clone, Debug, Default)]
pub struct ClassCounts {
    /// Events that were due, since the last reset.
    pub offered: u64,
    /// Publishes answered as accepted, since the last reset.
    pub accepted: u64,
    /// Publishes answered as refused, since the last reset.
    pub refused: u64,
    /// Distinct deliveries, since the last reset.
    pub delivered: u64,
    /// Events that found the wait for credit full, since the last reset.
    pub given_up: u64,
    /// Deliveries that accepted publishes should have caused, since the start.
    pub expected_in_all: u64,
    /// Distinct deliveries since the start.
    pub delivered_in_all: u64,
    /// Refusals since the start.
    pub refused_in_all: u64,
    /// From the schedule to each delivery, since the last reset.
    pub delivery: Latency,
    /// From the schedule to the answer, since the last reset.
    pub ack: Latency,
}

impl ClassCounts {
    /// Starts a window; what counts since the start goes on.
    pub fn reset(&mut self) {
        self.offered = 0;
        self.accepted = 0;
        self.refused = 0;
        self.delivered = 0;
        self.given_up = 0;
        self.delivery.clear();
        self.ack.clear();
    }

    /// Accepted deliveries that have not come (yet).
    pub fn missing(&self) -> u64 {
        self.expected_in_all.saturating_sub(self.delivered_in_all)
    }
}
