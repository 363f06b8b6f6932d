//! Busy time of one core, from `/proc/stat`.
//!
//! A loopback send runs the receiver's protocol work on the sender's core, where no process
//! clock may count it; the core's busy time does. Resolution: one tick, usually 10 ms.
//!
//! Runs on: the generator's thread.

use anyhow::{Context, Result};

/// Ticks of one core since start-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreSample {
    busy: u64,
    total: u64,
}

impl CoreSample {
    /// Reads the counters of `core`.
    pub fn take(core: usize) -> Result<Self> {
        let text = std::fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
        Self::parse(&text, core)
            .with_context(|| format!("/proc/stat has no line for core {core}: is it online?"))
    }

    /// Fields (proc_stat(5)): user nice system idle iowait irq softirq steal guest guest_nice;
    /// guest time is part of user time already.
    fn parse(text: &str, core: usize) -> Option<Self> {
        let name = format!("cpu{core}");
        let line = text
            .lines()
            .find(|line| line.split(' ').next() == Some(&name))?;
        let ticks: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .take(8)
            .map_while(|field| field.parse().ok())
            .collect();
        if ticks.len() < 5 {
            return None;
        }
        let total: u64 = ticks.iter().sum();
        Some(Self {
            busy: total - ticks[3] - ticks[4],
            total,
        })
    }

    /// Share of the time since `earlier` in which the core was busy, 0 to 1.
    pub fn busy_since(&self, earlier: &Self) -> f64 {
        let total = self.total.saturating_sub(earlier.total);
        if total == 0 {
            return 0.0;
        }
        self.busy.saturating_sub(earlier.busy) as f64 / total as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  30 0 30 140 0 0 0 0 0 0\n\
                        cpu0 10 1 20 60 4 2 3 0 0 0\n\
                        cpu1 20 0 10 70 0 0 0 0 0 0\n\
                        intr 1 2 3\n";

    #[test]
    fn idle_and_iowait_are_not_busy() {
        let sample = CoreSample::parse(STAT, 0).unwrap();
        assert_eq!(
            sample,
            CoreSample {
                busy: 36,
                total: 100
            }
        );
        assert!((sample.busy_since(&CoreSample::default()) - 0.36).abs() < 1e-9);
    }

    #[test]
    fn an_absent_core_has_no_sample() {
        assert_eq!(CoreSample::parse(STAT, 12), None);
    }
}
