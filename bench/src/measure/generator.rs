//! The generator watches itself: a run that it limits, or in which it lags, says nothing.
//!
//! Invariant: a verdict names what was exceeded and by how much; nothing is corrected.
//!
//! Runs on: the generator's thread.

use super::latency::Latency;
use crate::limits::{GENERATOR_CPU_MAX, GENERATOR_LAG_P99_NS_MAX};
use crate::sys;

/// Own CPU time at the start of a run.
#[derive(Clone, Copy, Debug)]
pub struct GeneratorGauge {
    started_ns: u64,
    cpu_ns: u64,
}

/// What the generator used and how late it was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeneratorShare {
    /// Share of one core, 0 to 1.
    pub cpu: f64,
    /// Lag at p99 in nanoseconds.
    pub lag_p99_ns: u64,
}

impl GeneratorGauge {
    /// Starts a measurement now.
    pub fn start() -> Self {
        Self {
            started_ns: sys::monotonic_ns(),
            cpu_ns: sys::own_cpu_ns(),
        }
    }

    /// What was used since the start; `lag` is how late scheduled output left.
    pub fn share(&self, lag: &Latency) -> GeneratorShare {
        let wall = sys::monotonic_ns().saturating_sub(self.started_ns).max(1);
        let cpu = sys::own_cpu_ns().saturating_sub(self.cpu_ns);
        GeneratorShare {
            cpu: cpu as f64 / wall as f64,
            lag_p99_ns: lag.percentile_ns(99.0),
        }
    }
}

impl GeneratorShare {
    /// Why a run with this share is void; for throughput only the CPU counts.
    pub fn void_reason(&self, latency_run: bool) -> Option<String> {
        if self.cpu > GENERATOR_CPU_MAX {
            return Some(format!(
                "the generator used {:.0} % of its core (limit {:.0} %)",
                self.cpu * 100.0,
                GENERATOR_CPU_MAX * 100.0
            ));
        }
        if latency_run && self.lag_p99_ns > GENERATOR_LAG_P99_NS_MAX {
            return Some(format!(
                "the generator's own lag at p99 was {:.3} ms (limit {:.3} ms)",
                self.lag_p99_ns as f64 / 1e6,
                GENERATOR_LAG_P99_NS_MAX as f64 / 1e6
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_voids_latency_runs_only() {
        let share = GeneratorShare {
            cpu: 0.5,
            lag_p99_ns: 300_000,
        };
        assert!(share.void_reason(true).unwrap().contains("lag"));
        assert_eq!(share.void_reason(false), None);
    }

    #[test]
    fn a_busy_generator_voids_every_run() {
        let share = GeneratorShare {
            cpu: 0.91,
            lag_p99_ns: 0,
        };
        assert!(share.void_reason(false).unwrap().contains("91 %"));
        assert_eq!(
            GeneratorShare {
                cpu: 0.90,
                lag_p99_ns: 0
            }
            .void_reason(true),
            None
        );
    }
}
