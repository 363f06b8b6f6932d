//! Writes metrics in the Prometheus text format 0.0.4.
//!
//! Runs on: the control thread.

use std::fmt::Write;
use std::sync::Arc;

use super::counters::{Counters, Descriptor, Kind, ShardCounters};

/// Content type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Text that grows metric by metric.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// Adds the counters of all shards, each sample with a label `shard`.
    pub fn shards(&mut self, shards: &[Arc<ShardCounters>]) {
        let mut first = 0;
        for descriptor in Counters::DESCRIPTORS {
            self.head(descriptor.name, descriptor.text, descriptor.kind);
            for (shard, counters) in shards.iter().enumerate() {
                match descriptor.kind {
                    Kind::Histogram => self.histogram(descriptor, first, shard, counters),
                    Kind::Counter | Kind::Gauge => self.samples(descriptor, first, shard, counters),
                }
            }
            first += descriptor.slots;
        }
    }

    /// Adds one number.
    pub fn number(&mut self, name: &str, text: &str, kind: Kind, value: f64) {
        self.head(name, text, kind);
        let _ = writeln!(self.text, "{name} {value}");
    }

    /// Adds the constant 1 with one label. The value of the label is one of our own
    /// words and needs no escapes.
    pub fn fact(&mut self, name: &str, text: &str, label: &str, value: &str) {
        self.head(name, text, Kind::Gauge);
        let _ = writeln!(self.text, "{name}{{{label}=\"{value}\"}} 1");
    }

    /// The whole text.
    pub fn finish(self) -> String {
        self.text
    }

    fn head(&mut self, name: &str, text: &str, kind: Kind) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
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
            let name = descriptor.name;
            let _ = match (descriptor.label)(slot) {
                Some((label, word)) => {
                    writeln!(
                        self.text,
                        "{name}{{shard=\"{shard}\",{label}=\"{word}\"}} {value}"
                    )
                }
                None => writeln!(self.text, "{name}{{shard=\"{shard}\"}} {value}"),
            };
        }
    }

    fn histogram(
        &mut self,
        descriptor: &Descriptor,
        first: usize,
        shard: usize,
        from: &ShardCounters,
    ) {
        let name = descriptor.name;
        let mut count = 0;
        for slot in 0..descriptor.slots {
            let value = from.read(first + slot);
            let _ = match (descriptor.label)(slot) {
                Some((label, bound)) => {
                    count = value;
                    writeln!(
                        self.text,
                        "{name}_bucket{{shard=\"{shard}\",{label}=\"{bound}\"}} {value}"
                    )
                }
                // The slot after the buckets is the sum, in microseconds.
                None => writeln!(
                    self.text,
                    "{name}_sum{{shard=\"{shard}\"}} {}",
                    value as f64 / 1e6
                ),
            };
        }
        let _ = writeln!(self.text, "{name}_count{{shard=\"{shard}\"}} {count}");
    }
}
