//! Batches for consumers: 1,000 records or 100 ms, one under way for each partition.
//!
//! Records of a partition gather while its last batch is worked on. When the next one is full
//! before that, the partition is to be paused, so that a consumer holds at most two batches of
//! each.
//!
//! Invariants: records of a partition leave in their order and once; no batch of a partition
//! leaves while another is under way. No I/O; time is an argument, milliseconds that never go
//! back.

use std::collections::HashMap;

use super::consumer::{Batch, Consumed, Lane};
use super::limits::{BATCH_BYTES, BATCH_MS, BATCH_RECORDS};

#[derive(Debug, Default)]
struct Gathering {
    records: Vec<Consumed>,
    bytes: usize,
    since_ms: u64,
    is_busy: bool,
    is_paused: bool,
}

impl Gathering {
    fn is_full(&self) -> bool {
        self.records.len() >= BATCH_RECORDS || self.bytes >= BATCH_BYTES
    }

    fn due_ms(&self) -> Option<u64> {
        if self.records.is_empty() || self.is_busy {
            return None;
        }
        Some(match self.is_full() {
            true => 0,
            false => self.since_ms + BATCH_MS,
        })
    }
}

/// The batches of a consumer.
#[derive(Debug, Default)]
pub(crate) struct Batcher {
    lanes: HashMap<Lane, Gathering>,
}

impl Batcher {
    /// A partition begins, or begins anew elsewhere: what was gathered of it is forgotten.
    pub fn open(&mut self, lane: Lane) {
        self.lanes.insert(lane, Gathering::default());
    }

    /// A partition ends.
    pub fn close(&mut self, lane: &Lane) {
        self.lanes.remove(lane);
    }

    /// Takes a record; says whether its partition has to be paused.
    #[must_use]
    pub fn push(&mut self, lane: &Lane, record: Consumed, now_ms: u64) -> bool {
        let Some(gathering) = self.lanes.get_mut(lane) else {
            return false;
        };
        if gathering.records.is_empty() {
            gathering.since_ms = now_ms;
        }
        gathering.bytes += record.bytes();
        gathering.records.push(record);
        let pause = gathering.is_full() && !gathering.is_paused;
        gathering.is_paused |= pause;
        pause
    }

    /// A partition's batch was worked off; says whether the partition has to be resumed.
    #[must_use]
    pub fn done(&mut self, lane: &Lane) -> bool {
        let Some(gathering) = self.lanes.get_mut(lane) else {
            return false;
        };
        gathering.is_busy = false;
        let resume = gathering.is_paused && !gathering.is_full();
        gathering.is_paused &= !resume;
        resume
    }

    /// The next batch that is due, and whether its partition has to be resumed.
    pub fn take(&mut self, now_ms: u64) -> Option<(Batch, bool)> {
        let mut lanes = self.lanes.iter_mut();
        let due = |gathering: &Gathering| gathering.due_ms().is_some_and(|due| due <= now_ms);
        let (lane, gathering) = lanes.find(|(_, gathering)| due(gathering))?;
        gathering.is_busy = true;
        gathering.bytes = 0;
        let resume = std::mem::take(&mut gathering.is_paused);
        let batch = Batch {
            lane: lane.clone(),
            records: std::mem::take(&mut gathering.records),
        };
        Some((batch, resume))
    }

    /// When the next batch is due.
    pub fn due_ms(&self) -> Option<u64> {
        self.lanes.values().filter_map(Gathering::due_ms).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(partition: i32) -> Lane {
        Lane {
            topic: "t".into(),
            partition,
        }
    }

    fn record(offset: i64, bytes: usize) -> Consumed {
        Consumed {
            offset,
            timestamp_ms: 0,
            key: Box::default(),
            value: vec![0; bytes].into(),
            headers: Box::default(),
        }
    }

    fn taken(batcher: &mut Batcher, now_ms: u64) -> Option<Vec<i64>> {
        let (batch, _) = batcher.take(now_ms)?;
        Some(batch.records.iter().map(|record| record.offset).collect())
    }

    #[test]
    fn a_batch_leaves_after_its_time() {
        let mut batcher = Batcher::default();
        batcher.open(lane(0));
        assert!(!batcher.push(&lane(0), record(1, 1), 1_000));
        assert!(!batcher.push(&lane(0), record(2, 1), 1_090));
        assert_eq!(batcher.due_ms(), Some(1_000 + BATCH_MS));
        assert_eq!(taken(&mut batcher, 1_000 + BATCH_MS - 1), None);
        assert_eq!(taken(&mut batcher, 1_000 + BATCH_MS), Some(vec![1, 2]));
    }

    #[test]
    fn a_full_batch_leaves_at_once() {
        let mut batcher = Batcher::default();
        batcher.open(lane(0));
        for offset in 1..BATCH_RECORDS as i64 {
            assert!(!batcher.push(&lane(0), record(offset, 1), 0));
        }
        assert_eq!(taken(&mut batcher, 0), None);
        assert!(batcher.push(&lane(0), record(BATCH_RECORDS as i64, 1), 0));
        let (batch, resume) = batcher.take(0).expect("a batch");
        assert_eq!(batch.records.len(), BATCH_RECORDS);
        assert!(resume);
        batcher.open(lane(1));
        assert!(batcher.push(&lane(1), record(1, BATCH_BYTES), 0), "by size");
        assert_eq!(taken(&mut batcher, 0), Some(vec![1]));
    }

    #[test]
    fn one_batch_of_a_partition_is_under_way_and_others_do_not_wait() {
        let mut batcher = Batcher::default();
        batcher.open(lane(0));
        batcher.open(lane(1));
        let _ = batcher.push(&lane(0), record(1, 1), 0);
        assert_eq!(taken(&mut batcher, 500), Some(vec![1]));
        let _ = batcher.push(&lane(0), record(2, 1), 500);
        assert_eq!(batcher.due_ms(), None);
        let _ = batcher.push(&lane(1), record(7, 1), 600);
        assert_eq!(taken(&mut batcher, 1_000), Some(vec![7]));
        assert_eq!(taken(&mut batcher, 1_000), None);
        assert!(!batcher.done(&lane(0)));
        assert_eq!(taken(&mut batcher, 1_000), Some(vec![2]));
    }

    #[test]
    fn a_busy_partition_is_paused_when_its_next_batch_is_full() {
        let mut batcher = Batcher::default();
        batcher.open(lane(0));
        let _ = batcher.push(&lane(0), record(0, 1), 0);
        assert_eq!(taken(&mut batcher, 500), Some(vec![0]));
        assert!(batcher.push(&lane(0), record(1, BATCH_BYTES), 500));
        assert!(
            !batcher.push(&lane(0), record(2, 1), 500),
            "it is paused already"
        );
        assert!(!batcher.done(&lane(0)), "still full");
        let (batch, resume) = batcher.take(500).expect("a batch");
        assert_eq!(batch.records.len(), 2);
        assert!(resume);
    }

    #[test]
    fn what_was_gathered_of_a_partition_ends_with_it() {
        let mut batcher = Batcher::default();
        batcher.open(lane(0));
        let _ = batcher.push(&lane(0), record(1, 1), 0);
        batcher.open(lane(0));
        assert_eq!(taken(&mut batcher, 1_000), None);
        let _ = batcher.push(&lane(0), record(1, 1), 0);
        batcher.close(&lane(0));
        assert_eq!(taken(&mut batcher, 1_000), None);
        assert!(!batcher.push(&lane(0), record(2, 1), 0), "nobody's record");
    }
}
