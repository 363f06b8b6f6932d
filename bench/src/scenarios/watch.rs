//! A measured window: what server, core and generator used from its start to its end.
//!
//! Runs on: the bench's main thread.

use crate::engine::Link;
use crate::limits::{GENERATOR_CPU_MAX, SERVER_SATURATED};
use crate::measure::{CoreSample, GeneratorGauge, GeneratorShare, ProcessSample};
use crate::sys;
use anyhow::Result;

/// The start of a window.
pub struct Watch {
    pid: u32,
    core: usize,
    started_ns: u64,
    process: ProcessSample,
    busy: CoreSample,
    gauge: GeneratorGauge,
}

/// What was used in a window.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Length in seconds.
    pub seconds: f64,
    /// The server's CPU time.
    pub server: ProcessSample,
    /// Share of the server's core that was busy, 0 to 1.
    pub core_busy: f64,
    /// The generator's own share.
    pub generator: GeneratorShare,
}

impl Watch {
    /// Starts a window over process `pid` on `core` and over the fleet of `link`.
    pub fn start(pid: u32, core: usize, link: &mut Link) -> Result<Self> {
        link.lag.clear();
        Ok(Self {
            pid,
            core,
            process: ProcessSample::take(pid)?,
            busy: CoreSample::take(core)?,
            gauge: GeneratorGauge::start(),
            started_ns: sys::monotonic_ns(),
        })
    }

    /// Ends the window.
    pub fn end(self, link: &Link) -> Result<Usage> {
        let seconds = (sys::monotonic_ns() - self.started_ns) as f64 / 1e9;
        let generator = self.gauge.share(&link.lag);
        Ok(Usage {
            seconds,
            server: ProcessSample::take(self.pid)?.since(&self.process),
            core_busy: CoreSample::take(self.core)?.busy_since(&self.busy),
            generator,
        })
    }
}

impl Usage {
    /// CPU microseconds of the server for each of `count` events.
    pub fn cpu_us_each(&self, count: u64) -> f64 {
        self.server.cpu_s() * 1e6 / count as f64
    }

    /// Busy microseconds of the server's core for each of `count` events.
    pub fn core_us_each(&self, count: u64) -> f64 {
        self.core_busy * self.seconds * 1e6 / count as f64
    }

    /// What kept the rate from being higher.
    pub fn limited_by(&self) -> &'static str {
        if self.generator.cpu > GENERATOR_CPU_MAX {
            "generator CPU"
        } else if self.core_busy > SERVER_SATURATED {
            "server CPU"
        } else {
            "offered load or waiting"
        }
    }
}
