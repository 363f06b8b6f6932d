//! Positions of records that were not fed yet: the backplane is quicker than Kafka.

use std::collections::{BTreeMap, VecDeque};

use super::lane::LaneId;
use super::limits::POSITIONS_MAX;
use crate::event_log::LogPosition;
use crate::record::Placement;

/// Positions of a node, for each log in its order.
#[derive(Debug, Default)]
pub(super) struct Positions {
    logs: BTreeMap<LaneId, VecDeque<(LogPosition, Placement)>>,
    held: usize,
}

impl Positions {
    /// Keeps a position. With too many the new one is left out: what came first is fed first,
    /// and the backplane remembers the newest longest.
    pub fn insert(&mut self, lane: LaneId, at: LogPosition, placement: Placement) {
        let log = self.logs.entry(lane).or_default();
        // Lines of different partitions overtake each other by a little.
        let place = log.partition_point(|entry| entry.0 < at);
        match log.get_mut(place).filter(|entry| entry.0 == at) {
            Some(entry) => entry.1 = placement,
            None if self.held < POSITIONS_MAX => {
                log.insert(place, (at, placement));
                self.held += 1;
            }
            None => {}
        }
    }

    /// The position of a record.
    pub fn get(&self, lane: LaneId, at: LogPosition) -> Option<Placement> {
        let log = self.logs.get(&lane)?;
        let place = log.partition_point(|entry| entry.0 < at);
        let entry = log.get(place).filter(|entry| entry.0 == at)?;
        Some(entry.1)
    }

    /// Everything of a log up to here is fed.
    pub fn forget_through(&mut self, lane: LaneId, done: LogPosition) {
        let Some(log) = self.logs.get_mut(&lane) else {
            return;
        };
        while log.pop_front_if(|entry| entry.0 <= done).is_some() {
            self.held -= 1;
        }
    }

    /// Positions that are kept.
    pub fn len(&self) -> usize {
        self.held
    }
}
