//! `cluster latency`: from a publish on one node to the delivery on another.
//!
//! Runs on: the bench's main thread.

use super::chats::Chats;
use super::shares::Groups;
use super::site::{Site, SitePlan};
use crate::measure::Latency;
use crate::report::Goal;
use crate::scenarios::bench::Bench;
use crate::scenarios::groups::{self, P1};
use crate::scenarios::settle::{close_all, run_for, run_until};
use crate::scenarios::watch::{Usage, Watch};
use crate::stats::Series;
use crate::sys;
use anyhow::{ensure, Result};

const SECONDS: f64 = 60.0;
/// The run is cut into this many slices, which give lowest and highest.
const SLICES: u32 = 6;
const DRAIN_SECONDS: f64 = 20.0;
/// Generator's own lag at p99 that makes the run void, in nanoseconds: with Redis and Kafka on its
/// core it is less exact than alone.
const LAG_P99_NS_MAX: u64 = 2_000_000;
const P99_MS: f64 = 10.0;

#[derive(Default)]
struct Slices {
    p50_ms: Series,
    p99_ms: Series,
    p999_ms: Series,
    lag_ns: u64,
    generator_cpu: f64,
    edge_core_busy: f64,
    all: Latency,
}

impl Slices {
    fn note(&mut self, usage: &Usage, latency: &Latency) {
        self.p50_ms.push(latency.percentile_ms(50.0));
        self.p99_ms.push(latency.percentile_ms(99.0));
        self.p999_ms.push(latency.percentile_ms(99.9));
        self.lag_ns = self.lag_ns.max(usage.generator.lag_p99_ns);
        self.generator_cpu = self.generator_cpu.max(usage.generator.cpu);
        self.edge_core_busy = self.edge_core_busy.max(usage.core_busy);
        self.all.add(latency);
    }
}

/// Runs the scenario.
pub fn run(bench: &mut Bench, nodes: usize, users: u32, half: Option<f64>) -> Result<()> {
    ensure!(nodes >= 2, "--nodes must be at least 2");
    let site = Site::build(bench, &SitePlan::new(nodes, users))?;
    let mut chats = Chats::connect(bench, &site, users)?;
    let pid = site.nodes[0].pid();
    let half = match half {
        Some(rate) => rate,
        None => {
            let Chats {
                fleet,
                traffic,
                source,
            } = &mut chats;
            let capacity = groups::capacity(bench, pid, fleet, traffic, *source)?;
            let report = &mut bench.report;
            report.number("capacity_per_second", capacity.per_second);
            report.text("capacity_limited_by", capacity.limited_by);
            capacity.per_second / 2.0
        }
    };
    let Chats {
        fleet,
        traffic,
        source,
    } = &mut chats;
    traffic.open(*source, half, sys::monotonic_ns());
    run_for(fleet, traffic, bench.options.warm_up)?;
    let parts = site.stand.as_ref().map(|stand| stand.parts.clone());
    let groups = Groups::new(site.pids(), &parts.unwrap_or_default());
    let before = (groups.sample()?, fleet.link().totals);
    let mut slices = Slices::default();
    let seconds = bench.seconds(SECONDS);
    for _ in 0..SLICES {
        traffic.reset();
        let watch = Watch::start(pid, bench.options.edge_core, fleet.link())?;
        run_for(fleet, traffic, seconds / f64::from(SLICES))?;
        let usage = watch.end(fleet.link())?;
        slices.note(&usage, &traffic.classes[P1].delivery);
    }
    let shares = groups.sample()?.since(&before.0);
    let totals = fleet.link().totals;
    traffic.pause();
    run_until(fleet, traffic, DRAIN_SECONDS, |traffic, _| {
        traffic.is_settled()
    })?;
    let events = slices.all.count();
    let bytes = totals.received_bytes - before.1.received_bytes;
    let report = &mut bench.report;
    report.number("half_load_per_second", half);
    report.number("wire_bytes_per_event", bytes as f64 / events as f64);
    shares.report(report, events);
    report.text("limited_by", format!("offered load; {}", shares.words()));
    report.count("lost", traffic.classes[P1].missing());
    report.goal("lost", Goal::Exactly(0.0));
    report.count("refused", traffic.classes[P1].refused_in_all);
    report.count("duplicated", traffic.totals().duplicated);
    report.count("reordered", traffic.totals().reordered);
    conclude(bench, &slices, seconds)?;
    close_all(chats.fleet)
}

fn conclude(bench: &mut Bench, slices: &Slices, seconds: f64) -> Result<()> {
    let report = &mut bench.report;
    let percentiles = [
        ("p50_ms", &slices.p50_ms, 50.0),
        ("p99_ms", &slices.p99_ms, 99.0),
        ("p999_ms", &slices.p999_ms, 99.9),
    ];
    for (name, series, percentile) in percentiles {
        report.series(name, series);
        // The slices give the noise; the value itself is that of the whole run.
        report.number(name, slices.all.percentile_ms(percentile));
    }
    report.goal("p99_ms", Goal::Below(P99_MS));
    report.number("generator_cpu", slices.generator_cpu);
    report.number("generator_lag_p99_ms", slices.lag_ns as f64 / 1e6);
    report.number("edge_core_busy", slices.edge_core_busy);
    if slices.lag_ns > LAG_P99_NS_MAX {
        report.void(format!(
            "the generator's own lag at p99 was {:.1} ms (limit {:.0} ms)",
            slices.lag_ns as f64 / 1e6,
            LAG_P99_NS_MAX as f64 / 1e6
        ));
    }
    bench.latency("delivery", &slices.all, seconds)
}
