//! `run chat`: group chats at half of their capacity.
//!
//! Runs on: the bench's main thread.

use super::bench::Bench;
use super::groups::{self, P1};
use super::settle::{close_all, connect_all, run_for, run_until};
use super::traffic::Traffic;
use super::users::{UserMaker, Users};
use super::watch::{Usage, Watch};
use crate::cli::Groups;
use crate::engine::Greeting;
use crate::measure::Latency;
use crate::report::Goal;
use crate::stats::Series;
use anyhow::Result;

const SECONDS: f64 = 60.0;
/// The run is cut into this many slices, which give lowest and highest.
const SLICES: u32 = 6;
const UNFINISHED_MAX: u32 = 500;
const DRAIN_SECONDS: f64 = 10.0;

/// Runs the scenario.
pub fn run(bench: &mut Bench, groups: &Groups) -> Result<()> {
    groups::check(groups)?;
    let edge = bench.start_edge(groups.users, None)?;
    let signer = edge.signer()?;
    let mut maker = UserMaker::new(&signer, bench.options.seed);
    let mut users = Users::default();
    for client in 0..groups.users {
        users.push(groups::user(groups, &mut maker, client)?);
    }
    let mut traffic = Traffic::new(users, bench.options.seed);
    let chat = traffic.add_source(groups::routes(bench, groups)?);
    let address = edge.config.listen;
    let mut fleet = bench.fleet(address, Greeting::Session, groups.users, UNFINISHED_MAX)?;
    connect_all(bench, &mut fleet, &mut traffic)?;

    let half = match groups.half_load {
        Some(rate) => rate,
        None => {
            let capacity = groups::capacity(bench, edge.pid(), &mut fleet, &mut traffic, chat)?;
            bench
                .report
                .number("capacity_per_second", capacity.per_second);
            let deliveries = capacity.per_second * traffic.fan(chat);
            bench
                .report
                .number("capacity_deliveries_per_second", deliveries);
            bench
                .report
                .text("capacity_limited_by", capacity.limited_by);
            capacity.per_second / 2.0
        }
    };
    traffic.open(chat, half, crate::sys::monotonic_ns());
    run_for(&mut fleet, &mut traffic, bench.options.warm_up)?;
    let before = fleet.link().totals;
    let mut slices = Slices::default();
    let seconds = bench.seconds(SECONDS);
    for _ in 0..SLICES {
        traffic.reset();
        let watch = Watch::start(edge.pid(), bench.options.edge_core, fleet.link())?;
        run_for(&mut fleet, &mut traffic, seconds / f64::from(SLICES))?;
        let usage = watch.end(fleet.link())?;
        slices.note(usage, &traffic.classes[P1].delivery);
    }
    let after = fleet.link().totals;
    traffic.pause();
    run_until(&mut fleet, &mut traffic, DRAIN_SECONDS, |traffic, _| {
        traffic.is_settled()
    })?;
    let bytes = (after.received_bytes - before.received_bytes) as f64;
    bench
        .report
        .number("wire_bytes_per_event", bytes / slices.all.count() as f64);
    bench.report.number("half_load_per_second", half);
    report(bench, &slices, &traffic, seconds)?;
    close_all(fleet)
}

#[derive(Default)]
struct Slices {
    p50_ms: Series,
    p99_ms: Series,
    p999_ms: Series,
    generator_cpu: Series,
    core_busy: Series,
    lag_ms: Series,
    all: Latency,
    last: Option<Usage>,
}

impl Slices {
    fn note(&mut self, usage: Usage, latency: &Latency) {
        self.p50_ms.push(latency.percentile_ms(50.0));
        self.p99_ms.push(latency.percentile_ms(99.0));
        self.p999_ms.push(latency.percentile_ms(99.9));
        self.generator_cpu.push(usage.generator.cpu);
        self.core_busy.push(usage.core_busy);
        self.lag_ms.push(usage.generator.lag_p99_ns as f64 / 1e6);
        self.all.add(latency);
        self.last = Some(usage);
    }
}

fn report(bench: &mut Bench, slices: &Slices, traffic: &Traffic, seconds: f64) -> Result<()> {
    let report = &mut bench.report;
    let percentiles = [
        ("p50_ms", &slices.p50_ms, 50.0, 0.5),
        ("p99_ms", &slices.p99_ms, 99.0, 2.0),
        ("p999_ms", &slices.p999_ms, 99.9, 5.0),
    ];
    for (name, series, percentile, goal) in percentiles {
        report.series(name, series);
        // The slices give the noise; the value itself is that of the whole run.
        report.number(name, slices.all.percentile_ms(percentile));
        report.goal(name, Goal::Below(goal));
    }
    report.series("generator_cpu", &slices.generator_cpu);
    report.series("generator_lag_p99_ms", &slices.lag_ms);
    report.series("edge_core_busy", &slices.core_busy);
    report.text(
        "limited_by",
        slices.last.map_or("nothing", |usage| usage.limited_by()),
    );
    report.count("lost", traffic.classes[P1].missing());
    report.count("refused", traffic.classes[P1].refused_in_all);
    report.text("refusals_by_code", traffic.refusal_words());
    report.count("duplicated", traffic.totals().duplicated);
    report.count("reordered", traffic.totals().reordered);
    if let Some(usage) = slices.last {
        let worst = crate::measure::GeneratorShare {
            cpu: slices.generator_cpu.max(),
            lag_p99_ns: (slices.lag_ms.median() * 1e6) as u64,
        };
        if let Some(reason) = worst.void_reason(true) {
            report.void(reason);
        }
        report.number("edge_cpu_share", usage.server.cpu_s() / usage.seconds);
    }
    bench.latency("delivery", &slices.all, seconds)
}
