//! How a metric is declared: what the exposition and the reference say about it.
//!
//! Runs on: any thread; these are constants.

use super::counters::Kind;

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Name.
    pub name: &'static str,
    /// What it measures.
    pub text: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// Labels of its samples, without `le`.
    pub labels: &'static [&'static str],
    /// When a person should look, for the reference; empty when it only explains others.
    pub worry: &'static str,
}

impl Metric {
    /// A metric of the node without labels.
    pub const fn number(
        name: &'static str,
        text: &'static str,
        kind: Kind,
        worry: &'static str,
    ) -> Self {
        Self {
            name,
            text,
            kind,
            labels: &[],
            worry,
        }
    }

    /// The unit, which the name ends in.
    pub fn unit(&self) -> &'static str {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        match name.rsplit('_').next() {
            Some("seconds") => "s",
            Some("bytes") => "bytes",
            _ => "1",
        }
    }
}
