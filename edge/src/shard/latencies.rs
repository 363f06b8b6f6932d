//! Samples of latencies, kept until the turn is over.
//!
//! Purpose: a turn has one clock read, at its start, so what a publish waited for in the
//! turn itself is known only when the next clock read comes: at the start of the next turn,
//! or before a sleep. Until then samples are kept as runs of one stage and one beginning,
//! which is what a batch of publishes or acknowledgements is.
//!
//! Limits: [`RUNS_MAX`] closed runs; beyond it a sample counts as the oldest of its stage's
//! open run. Nothing is allocated after the start.
//!
//! Thread: the shard.

use crate::telemetry::latency::{ShardLatencies, Stage};

/// Runs of one turn: as many publishes as it takes, in three stages.
const RUNS_MAX: usize = 256;

/// Samples of one stage that began at the same time.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    stage: u8,
    /// Shard microseconds, see `Clock::now_us`.
    since_us: u32,
    count: u32,
}

/// The samples of a turn.
#[derive(Debug)]
pub struct Samples {
    open: [Run; Stage::COUNT],
    /// Stages with an open run, one bit each.
    with_run: u32,
    closed: Vec<Run>,
    turn: Option<u64>,
}

const _: () = assert!(Stage::COUNT <= 32);

impl Default for Samples {
    fn default() -> Self {
        Self {
            open: [Run::default(); Stage::COUNT],
            with_run: 0,
            closed: Vec::with_capacity(RUNS_MAX),
            turn: None,
        }
    }
}

impl Samples {
    /// Notes `count` samples of `stage` that began at `since_us` and end with this turn.
    #[inline]
    pub fn note(&mut self, stage: Stage, since_us: u32, count: u32) {
        let index = stage.index();
        let run = &mut self.open[index];
        if run.count > 0 && run.since_us != since_us && self.closed.len() < RUNS_MAX {
            self.closed.push(*run);
            run.count = 0;
        }
        if run.count == 0 {
            run.stage = index as u8;
            run.since_us = since_us;
            self.with_run |= 1 << index;
        }
        run.count += count;
    }

    /// A turn begins.
    pub fn begin_turn(&mut self, now_ns: u64) {
        self.turn = Some(now_ns);
    }

    /// The turn is over: counts it and its samples and returns its length in nanoseconds.
    /// Does nothing when it was called already.
    pub fn end_turn(&mut self, now_ns: u64, into: &ShardLatencies) -> Option<u64> {
        let turn_ns = now_ns.saturating_sub(self.turn.take()?);
        let turn = into.stage(Stage::Turn.index());
        turn.record(turn_ns / 1_000, 1);
        let now_us = (now_ns / 1_000) as u32;
        for run in self.closed.drain(..) {
            record(into, &run, now_us);
        }
        while self.with_run != 0 {
            let index = self.with_run.trailing_zeros() as usize;
            self.with_run &= self.with_run - 1;
            record(into, &self.open[index], now_us);
            self.open[index].count = 0;
        }
        Some(turn_ns)
    }
}

fn record(into: &ShardLatencies, run: &Run, now_us: u32) {
    let waited = now_us.wrapping_sub(run.since_us);
    // The clocks of two shards may be of adjacent turns: what ends before it began took no time.
    let waited = if waited > u32::MAX / 2 { 0 } else { waited };
    into.stage(usize::from(run.stage))
        .record(u64::from(waited), u64::from(run.count));
}

#[cfg(test)]
mod tests {
    use interlink_protocol::priority::Priority;

    use super::*;
    use crate::telemetry::latency::Snapshot;

    fn found(latencies: &ShardLatencies, stage: Stage) -> (u64, u64) {
        let mut snapshot = Snapshot::empty();
        snapshot.add(latencies.stage(stage.index()));
        (snapshot.count(), snapshot.sum_us())
    }

    #[test]
    fn samples_last_to_the_end_of_their_turn() {
        let (mut samples, latencies) = (Samples::default(), ShardLatencies::default());
        let (ack, delivery) = (Stage::Ack(Priority::P1), Stage::Delivery(Priority::P0));
        samples.begin_turn(5_000_000);
        samples.note(ack, 1_000, 2);
        samples.note(ack, 1_000, 1);
        samples.note(ack, 4_000, 1);
        samples.note(delivery, 5_000, 7);
        assert_eq!(samples.end_turn(5_200_000, &latencies), Some(200_000));
        assert_eq!(samples.end_turn(9_000_000, &latencies), None);
        assert_eq!(found(&latencies, ack), (4, 3 * 4_200 + 1_200));
        assert_eq!(found(&latencies, delivery), (7, 7 * 200));
        assert_eq!(found(&latencies, Stage::Turn), (1, 200));
    }

    #[test]
    fn a_turn_with_too_many_beginnings_loses_no_sample() {
        let (mut samples, latencies) = (Samples::default(), ShardLatencies::default());
        let stage = Stage::Visible(Priority::P2);
        samples.begin_turn(0);
        for since_us in 0..2 * RUNS_MAX as u32 {
            samples.note(stage, since_us, 1);
        }
        samples.end_turn(1_000_000, &latencies);
        assert_eq!(found(&latencies, stage).0, 2 * RUNS_MAX as u64);
        assert_eq!(samples.closed.capacity(), RUNS_MAX);
    }

    #[test]
    fn time_wraps_and_never_runs_backwards() {
        let (mut samples, latencies) = (Samples::default(), ShardLatencies::default());
        let stage = Stage::Ack(Priority::P3);
        let wrapped_ns = (u64::from(u32::MAX) + 11) * 1_000;
        samples.begin_turn(wrapped_ns);
        samples.note(stage, u32::MAX - 9, 1);
        samples.note(stage, 12, 1);
        samples.end_turn(wrapped_ns, &latencies);
        assert_eq!(found(&latencies, stage), (2, 20));
    }
}
