//! Latencies of a shard as HdrHistograms that the scraper reads while they grow.
//!
//! The layout is HdrHistogram's with two significant digits and microseconds, so a value
//! is known to within 1/128. The library's own histogram belongs to one thread, and its
//! concurrent one allocates a new histogram at each look of the reader and makes the
//! reader wait for the recorder; here the counts are atomics with one writer, whose
//! relaxed loads and stores are plain moves. The reader makes the library's histogram of
//! what it found.
//!
//! Invariant: a [`SharedHistogram`] has one writer, its shard. A count never falls. A
//! reader sees each count as it was at some recent time; the total is the sum of the
//! counts it saw, so that it never disagrees with them.
//!
//! Limits: [`SLOTS`] numbers a histogram, 24 KiB; values above [`VALUE_MAX_US`] count as it.
//! Runs on: the shard writes, the control thread reads.

use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;
use interlink_protocol::priority::Priority;

use super::counters::Kind;
use super::metric::Metric;
use super::names;

/// Significant decimal digits of a value.
const DIGITS: u8 = 2;
/// Bits of a value that tell it from its neighbours: 256 steps hold two digits.
const STEP_BITS: u32 = 8;
/// Steps by which the slots grow with each doubling of the value.
const HALF: usize = 1 << (STEP_BITS - 1);
/// Bits of the largest value.
const VALUE_BITS: u32 = 30;
/// Largest value, 17.9 minutes: more than three times the goal of P3.
pub const VALUE_MAX_US: u64 = (1 << VALUE_BITS) - 1;
/// Numbers of one histogram.
pub const SLOTS: usize = (VALUE_BITS - STEP_BITS + 2) as usize * HALF;

/// Upper bounds of the exposed buckets in microseconds and as the label `le` in seconds.
/// They hold the goals of the classes (100 ms, 500 ms, 2 s, 5 min), of the node's latency
/// (100, 200, 500 ms), of the alerts (500 ms, 1 s) and of a turn (250 us).
pub const LADDER: [(u64, &str); 17] = [
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_000, "0.002"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (20_000, "0.02"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (200_000, "0.2"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_000_000, "2"),
    (10_000_000, "10"),
    (60_000_000, "60"),
    (300_000_000, "300"),
];

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// From a publish to its acknowledgement.
    Ack(Priority),
    /// From a publish to the moment from which it may be sent.
    Visible(Priority),
    /// From a publish to the end of the pass over its subscribers.
    Delivery(Priority),
    /// A write of the journal.
    JournalWrite,
    /// A data sync of the journal.
    JournalSync,
    /// A turn of the shard.
    Turn,
}

impl Stage {
    /// How many there are.
    pub const COUNT: usize = 3 * Priority::COUNT + 3;

    /// Its place among all.
    #[inline]
    pub fn index(self) -> usize {
        match self {
            Self::Ack(class) => class.index(),
            Self::Visible(class) => Priority::COUNT + class.index(),
            Self::Delivery(class) => 2 * Priority::COUNT + class.index(),
            Self::JournalWrite => 3 * Priority::COUNT,
            Self::JournalSync => 3 * Priority::COUNT + 1,
            Self::Turn => 3 * Priority::COUNT + 2,
        }
    }
}

/// How the stages are exposed: metrics in order, each with its first stage and whether
/// its four classes or the shards are told apart.
pub(super) const METRICS: [(Metric, Stage, Split); 6] = [
    (
        Metric {
            name: names::ACK_LATENCY,
            text:
                "Time from a publish to its acknowledgement, by class: from the start of the turn \
                   that took its bytes to the end of the turn that made the answer ready to send. \
                   Time in the socket's buffers is not in it.",
            kind: Kind::Histogram,
            labels: &["class"],
            worry: "p99 above 100 ms for p0, 500 ms for p1, 2 s for p2, 5 min for p3",
        },
        Stage::Ack(Priority::P0),
        Split::Classes,
    ),
    (
        Metric {
            name: names::VISIBLE_LATENCY,
            text:
                "Time from a publish to the moment from which its event may be sent, by class, on \
                   each shard with subscribers: on durable channels the wait for the journal's \
                   write, and between shards the lanes. Resolved to a turn.",
            kind: Kind::Histogram,
            labels: &["class"],
            worry: "p99 above a few milliseconds: the disk takes writes late, or shards are busy",
        },
        Stage::Visible(Priority::P0),
        Split::Classes,
    ),
    (
        Metric {
            name: names::DELIVERY_LATENCY,
            text:
                "Time from a publish to the end of the pass that handed its event to the sockets \
                   of all subscribers of the shard, by class. All events of a pass count as its \
                   oldest. Clients whose sockets are full, or that continue from history, are \
                   served later and are not in it.",
            kind: Kind::Histogram,
            labels: &["class"],
            worry: "p95 above 100 ms, p99 above 200 ms or an average above 500 ms, but for p3",
        },
        Stage::Delivery(Priority::P0),
        Split::Classes,
    ),
    (
        Metric {
            name: names::JOURNAL_WRITE_LATENCY,
            text: "Time of a write of the journal to the page cache, resolved to a turn.",
            kind: Kind::Histogram,
            labels: &[],
            worry: "p99 above 5 ms: the kernel holds writes back because the disk lags",
        },
        Stage::JournalWrite,
        Split::None,
    ),
    (
        Metric {
            name: names::SYNC_LATENCY,
            text: "Time of a data sync of the journal, resolved to a turn.",
            kind: Kind::Histogram,
            labels: &[],
            worry: "p99 above 20 ms: every acknowledgement waits for it",
        },
        Stage::JournalSync,
        Split::None,
    ),
    (
        Metric {
            name: names::TURN_LATENCY,
            text: "Time of a turn of the shard, without sleep. The sum is the time that the shard \
                   was busy, so its rate is the load of the shard's core.",
            kind: Kind::Histogram,
            labels: &["shard"],
            worry: "rate of the sum above 0.8 for minutes: the shard's core is saturated",
        },
        Stage::Turn,
        Split::Shards,
    ),
];

/// What the samples of a metric are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Split {
    /// By nothing.
    None,
    /// By class.
    Classes,
    /// By shard.
    Shards,
}

/// Where HdrHistogram counts a value.
#[inline]
pub(super) fn slot_of(value_us: u64) -> usize {
    let value = value_us.min(VALUE_MAX_US);
    let shift = u64::BITS - (value | ((1 << STEP_BITS) - 1)).leading_zeros() - STEP_BITS;
    (shift as usize) * HALF + (value >> shift) as usize
}

/// Largest value that a slot counts.
pub(super) fn highest_of(slot: usize) -> u64 {
    if slot < 2 * HALF {
        return slot as u64;
    }
    let shift = slot / HALF - 1;
    (((slot % HALF + HALF + 1) as u64) << shift) - 1
}

/// A histogram that one thread writes and others read.
#[derive(Debug)]
pub struct SharedHistogram {
    slots: Box<[AtomicU64]>,
    sum_us: AtomicU64,
}

impl Default for SharedHistogram {
    fn default() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            sum_us: AtomicU64::new(0),
        }
    }
}

impl SharedHistogram {
    /// Counts `count` samples of one value. To be called by the writer alone.
    #[inline]
    pub fn record(&self, value_us: u64, count: u64) {
        add(&self.slots[slot_of(value_us)], count);
        add(&self.sum_us, value_us * count);
    }
}

/// Adds without a locked instruction, since nobody else writes.
#[inline]
fn add(number: &AtomicU64, count: u64) {
    let value = number.load(Ordering::Relaxed);
    number.store(value.wrapping_add(count), Ordering::Relaxed);
}

/// The histograms of one shard.
#[derive(Debug, Default)]
pub struct ShardLatencies {
    stages: [SharedHistogram; Stage::COUNT],
}

impl ShardLatencies {
    /// The histogram of a stage.
    #[inline]
    pub fn stage(&self, index: usize) -> &SharedHistogram {
        &self.stages[index]
    }
}

/// What a reader found in the histograms of one stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    counts: Vec<u64>,
    sum_us: u64,
}

impl Snapshot {
    /// Nothing.
    pub fn empty() -> Self {
        Self {
            counts: vec![0; SLOTS],
            sum_us: 0,
        }
    }

    /// Adds what a shard's histogram holds now.
    pub fn add(&mut self, histogram: &SharedHistogram) {
        for (count, slot) in self.counts.iter_mut().zip(&histogram.slots) {
            *count += slot.load(Ordering::Relaxed);
        }
        self.sum_us = self
            .sum_us
            .wrapping_add(histogram.sum_us.load(Ordering::Relaxed));
    }

    /// Samples in all.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Sum of all samples in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// Samples up to each bound of the [`LADDER`]. A slot counts where all of its values
    /// are below the bound, so a bucket never holds a sample beyond its bound; it may lack
    /// samples that are within 1/128 of it.
    pub fn ladder(&self) -> [u64; LADDER.len()] {
        let (mut through, mut slot) = (0, 0);
        LADDER.map(|(bound_us, _)| {
            while slot < SLOTS && highest_of(slot) <= bound_us {
                through += self.counts[slot];
                slot += 1;
            }
            through
        })
    }

    /// The samples that came since `earlier`, as the library's histogram.
    pub fn since(&self, earlier: &Self) -> Histogram<u64> {
        // Bounds and digits are constants that the library accepts.
        let Ok(mut histogram) = Histogram::new_with_bounds(1, VALUE_MAX_US, DIGITS) else {
            unreachable!("the bounds of the histogram are right");
        };
        let counts = self.counts.iter().zip(&earlier.counts);
        for (slot, (now, before)) in counts.enumerate() {
            let count = now.saturating_sub(*before);
            if count > 0 {
                histogram.saturating_record_n(highest_of(slot), count);
            }
        }
        histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values around every power of two and a spread between them.
    fn values() -> impl Iterator<Item = u64> {
        let edges = (0..VALUE_BITS).flat_map(|bit| {
            let power = 1_u64 << bit;
            [power.saturating_sub(1), power, power + 1, power + power / 3]
        });
        edges.chain(LADDER.map(|(bound, _)| bound))
    }

    #[test]
    fn the_layout_is_that_of_the_library() {
        let histogram =
            Histogram::<u64>::new_with_bounds(1, VALUE_MAX_US, DIGITS).expect("bounds are right");
        for value in values() {
            let slot = slot_of(value);
            assert!(slot < SLOTS);
            let highest = histogram.highest_equivalent(value);
            assert_eq!(highest_of(slot), highest, "{value}");
        }
        assert_eq!(histogram.len(), 0);
        assert_eq!(slot_of(VALUE_MAX_US), SLOTS - 1);
        assert_eq!(slot_of(u64::MAX), SLOTS - 1);
    }

    #[test]
    fn a_bucket_never_holds_what_is_beyond_its_bound() {
        for (place, (bound, label)) in LADDER.into_iter().enumerate() {
            let seconds: f64 = label.parse().expect("a number");
            assert_eq!((seconds * 1e6).round() as u64, bound);
            let histogram = SharedHistogram::default();
            histogram.record(bound - bound / 100, 1);
            histogram.record(bound + 1, 1);
            let mut found = Snapshot::empty();
            found.add(&histogram);
            assert_eq!(found.ladder()[place], 1, "{label}");
            assert_eq!(found.count(), 2);
            assert_eq!(found.sum_us(), 2 * bound - bound / 100 + 1);
        }
    }

    #[test]
    fn quantiles_are_of_the_samples_since_the_last_look() {
        let histogram = SharedHistogram::default();
        histogram.record(1_000_000, 50);
        let mut before = Snapshot::empty();
        before.add(&histogram);
        histogram.record(100, 98);
        histogram.record(2_000, 2);
        let mut now = Snapshot::empty();
        now.add(&histogram);
        let recent = now.since(&before);
        assert_eq!(recent.len(), 100);
        assert_eq!(recent.value_at_quantile(0.5), 100);
        let p99 = recent.value_at_quantile(0.99);
        assert!((2_000..2_020).contains(&p99), "{p99}");
    }
}
