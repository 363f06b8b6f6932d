//! Writes metrics in the Prometheus text format 0.0.4.
//!
//! Runs on: the control thread.

use std::fmt::Write;
use std::sync::Arc;

use super::counters::{Counters, Descriptor, Kind, ShardCounters};
use super::latency::{self, Snapshot, Split, Stage, LADDER};
use super::metric::Metric;

/// Content type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Text that grows metric by metric.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// Adds the counters of all shards, each sample with a label `shard`, and the latencies.
    pub fn shards(&mut self, shards: &[Arc<ShardCounters>]) {
        let mut first = 0;
        for descriptor in Counters::DESCRIPTORS {
            self.head(&descriptor.metric);
            for (shard, counters) in shards.iter().enumerate() {
                self.samples(descriptor, first, shard, counters);
            }
            first += descriptor.slots;
        }
        self.latencies(shards);
    }

    /// Adds one number.
    pub fn number(&mut self, metric: &Metric, value: f64) {
        self.head(metric);
        let _ = writeln!(self.text, "{} {value}", metric.name);
    }

    /// Adds the constant 1 with the metric's one label. The value of the label is one of
    /// our own words and needs no escapes.
    pub fn fact(&mut self, metric: &Metric, value: &str) {
        self.head(metric);
        let label = metric.labels.first().unwrap_or(&"value");
        let _ = writeln!(self.text, "{}{{{label}=\"{value}\"}} 1", metric.name);
    }

    /// Adds numbers with their labels, written as `name="value"` with commas between them.
    pub fn labelled(&mut self, metric: &Metric, samples: impl Iterator<Item = (String, u64)>) {
        self.head(metric);
        for (labels, value) in samples {
            let _ = writeln!(self.text, "{}{{{labels}}} {value}", metric.name);
        }
    }

    /// Adds histograms, each with one label and its value.
    pub fn histograms(
        &mut self,
        metric: &Metric,
        samples: impl Iterator<Item = (String, Snapshot)>,
    ) {
        self.head(metric);
        for (label, found) in samples {
            self.histogram(metric.name, &label, &found);
        }
    }

    /// The whole text.
    pub fn finish(self) -> String {
        self.text
    }

    fn head(&mut self, metric: &Metric) {
        let (name, text, kind) = (metric.name, metric.text, metric.kind.word());
        let _ = writeln!(self.text, "# HELP {name} {text}\n# TYPE {name} {kind}");
    }

    fn samples(
        &mut self,
        descriptor: &Descriptor,
        first: usize,
        shard: usize,
        from: &ShardCounters,
    ) {
        for slot in 0..descriptor.slots {
            let value = from.read(first + slot);
            let name = descriptor.metric.name;
            let _ = write!(self.text, "{name}{{shard=\"{shard}\"");
            let labels = [(descriptor.label)(slot), (descriptor.second_label)(slot)];
            for (label, word) in labels.into_iter().flatten() {
                let _ = write!(self.text, ",{label}=\"{word}\"");
            }
            let _ = writeln!(self.text, "}} {value}");
        }
    }

    /// Adds all latencies. Those of messages are of all shards together, since a publish and
    /// its subscribers are seldom on one.
    fn latencies(&mut self, shards: &[Arc<ShardCounters>]) {
        for (metric, first, split) in &latency::METRICS {
            self.head(metric);
            let first = first.index();
            match split {
                Split::None => self.histogram(metric.name, "", &merged(shards, first)),
                Split::Classes => {
                    for class in interlink_protocol::priority::Priority::ALL {
                        let found = merged(shards, first + class.index());
                        let label = format!("class=\"{}\"", class.name());
                        self.histogram(metric.name, &label, &found);
                    }
                }
                Split::Shards => {
                    for (shard, counters) in shards.iter().enumerate() {
                        let found = merged(std::slice::from_ref(counters), first);
                        let label = format!("shard=\"{shard}\"");
                        self.histogram(metric.name, &label, &found);
                    }
                }
            }
        }
    }

    /// Adds buckets, sum and count; `label` is empty or one label with its value.
    fn histogram(&mut self, name: &str, label: &str, found: &Snapshot) {
        let text = &mut self.text;
        let (count, sum) = (found.count(), found.sum_us() as f64 / 1e6);
        let comma = if label.is_empty() { "" } else { "," };
        for ((_, bound), through) in LADDER.iter().zip(found.ladder()) {
            let _ = writeln!(
                text,
                "{name}_bucket{{{label}{comma}le=\"{bound}\"}} {through}"
            );
        }
        let _ = writeln!(text, "{name}_bucket{{{label}{comma}le=\"+Inf\"}} {count}");
        let labels = match label {
            "" => String::new(),
            label => format!("{{{label}}}"),
        };
        let _ = writeln!(
            text,
            "{name}_sum{labels} {sum}\n{name}_count{labels} {count}"
        );
    }
}

impl Kind {
    /// The word of the format.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What a stage of all shards holds now.
pub fn merged(shards: &[Arc<ShardCounters>], stage: usize) -> Snapshot {
    debug_assert!(stage < Stage::COUNT);
    let mut found = Snapshot::empty();
    for counters in shards {
        found.add(counters.latencies().stage(stage));
    }
    found
}
