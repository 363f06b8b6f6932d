//! Latency from the scheduled time to the moment of arrival.
//!
//! Since the start is the schedule and never the actual send, a stall of the server or of the
//! generator counts against every event that should have been sent meanwhile (no coordinated
//! omission). Limits: 100 ns to 10 minutes at three digits; longer values count as 10 minutes.
//!
//! Runs on: the generator's thread.

use anyhow::{Context, Result};
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::Histogram;
use std::path::Path;
use std::time::{Duration, SystemTime};

const LOWEST_NS: u64 = 100;
const HIGHEST_NS: u64 = 600_000_000_000;
const DIGITS: u8 = 3;

/// Percentiles of every latency that is reported.
pub const PERCENTILES: [f64; 8] = [50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 100.0];

/// A distribution of nanoseconds.
#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl Latency {
    /// An empty distribution.
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, DIGITS)
            .expect("the bounds are constants that the histogram accepts");
        Self { histogram }
    }

    /// Records one value.
    pub fn record(&mut self, nanoseconds: u64) {
        self.histogram
            .saturating_record(nanoseconds.clamp(LOWEST_NS, HIGHEST_NS));
    }

    /// Records the time from `scheduled_ns` to `now_ns`.
    pub fn record_from(&mut self, scheduled_ns: u64, now_ns: u64) {
        self.record(now_ns.saturating_sub(scheduled_ns));
    }

    /// Adds all values of another distribution.
    pub fn add(&mut self, other: &Self) {
        self.histogram
            .add(&other.histogram)
            .expect("both have the same bounds");
    }

    /// Forgets all values.
    pub fn clear(&mut self) {
        self.histogram.reset();
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Value at a percentile (0 to 100) in nanoseconds; 0 without values.
    pub fn percentile_ns(&self, percentile: f64) -> u64 {
        self.histogram.value_at_percentile(percentile)
    }

    /// Value at a percentile (0 to 100) in milliseconds; NaN without values.
    pub fn percentile_ms(&self, percentile: f64) -> f64 {
        if self.histogram.is_empty() {
            return f64::NAN;
        }
        self.percentile_ns(percentile) as f64 / 1e6
    }

    /// Points of the percentile curve: percentile and milliseconds, ending at the maximum.
    pub fn curve(&self) -> Vec<(f64, f64)> {
        let mut points = Vec::new();
        if self.histogram.is_empty() {
            return points;
        }
        for value in self.histogram.iter_quantiles(4) {
            points.push((
                value.quantile_iterated_to() * 100.0,
                value.value_iterated_to() as f64 / 1e6,
            ));
        }
        points
    }

    /// Writes the distribution as an HdrHistogram V2 log of one interval.
    pub fn write_log(&self, path: &Path, tag: &str, length: Duration) -> Result<()> {
        let mut bytes = Vec::new();
        let mut serializer = V2DeflateSerializer::new();
        let start = SystemTime::now();
        let tag = hdrhistogram::serialization::interval_log::Tag::new(tag);
        let mut writer = IntervalLogWriterBuilder::new()
            .with_start_time(start)
            .add_comment("values are nanoseconds from the scheduled time")
            .begin_log_with(&mut bytes, &mut serializer)
            .context("starting the histogram log")?;
        writer
            .write_histogram(&self.histogram, Duration::ZERO, length, tag)
            .map_err(|error| anyhow::anyhow!("encoding the histogram log: {error:?}"))?;
        std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_counts_for_everything_scheduled_in_it() {
        let mut latency = Latency::new();
        for scheduled_us in 0..1000_u64 {
            latency.record_from(scheduled_us * 1000, 1_000_000);
        }
        let half = latency.percentile_ms(50.0);
        assert!((0.45..0.55).contains(&half), "{half}");
    }

    #[test]
    fn values_beyond_the_bounds_are_kept_at_them() {
        let mut latency = Latency::new();
        latency.record(0);
        latency.record(u64::MAX);
        assert_eq!(latency.count(), 2);
        assert!(latency.percentile_ms(100.0) > 590_000.0);
    }

    #[test]
    fn a_log_can_be_read_back() {
        use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.hlog");
        let mut latency = Latency::new();
        (1..=100).for_each(|ms| latency.record(ms * 1_000_000));
        latency
            .write_log(&path, "chat", Duration::from_secs(1))
            .unwrap();
        let text = std::fs::read(&path).unwrap();
        let intervals = IntervalLogIterator::new(&text)
            .filter(|entry| matches!(entry, Ok(LogEntry::Interval(_))))
            .count();
        assert_eq!(intervals, 1);
    }

    #[test]
    fn the_curve_never_falls() {
        let mut latency = Latency::new();
        (1..=5000_u64).for_each(|value| latency.record(value * 977));
        let curve = latency.curve();
        assert!(curve
            .windows(2)
            .all(|pair| pair[0].1 <= pair[1].1 && pair[0].0 <= pair[1].0));
        assert!(curve.last().unwrap().0 >= 99.99);
    }
}
