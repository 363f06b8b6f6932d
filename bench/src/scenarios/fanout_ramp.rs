//! Part B of `run fanout`: the publish rate is doubled until deliveries grow by less than 5 %.
//! Nine tenths of the highest rate that was borne, found between two doublings, are
//! measured in repeated runs, each with fresh connections, since a step beyond it leaves more
//! behind than can be waited for. A rate is borne when its p99 is below a second and the
//! generator is below the CPU at which its runs are void: beyond that the generator is measured,
//! not the edge.
//!
//! Runs on: the bench's main thread.

use super::bench::Bench;
use super::fanout::{traffic, UNFINISHED_MAX};
use super::settle::{close_all, connect_all, run_for, run_until};
use super::traffic::Traffic;
use super::watch::{Usage, Watch};
use crate::engine::{Fleet, Greeting};
use crate::measure::Latency;
use crate::report::Goal;
use crate::servers::http::metric;
use crate::servers::EdgeServer;
use crate::stats::Series;
use anyhow::Result;
use interlink_uring::EdgeRing;

const SECONDS: f64 = 10.0;
const REPEATS: u32 = 5;
/// Length of one step of the ramp.
const STEP_SECONDS: f64 = 5.0;
/// First publish rate of the ramp.
const FIRST_RATE: f64 = 10.0;
/// Growth below which the ramp ends.
const GROWTH_LEAST: f64 = 1.05;
/// Share of the highest bearable rate at which the repeated runs are made: at the edge itself
/// noise alone decides.
const MEASURED_SHARE: f64 = 0.9;
/// Halvings of the last doubling, which leave 4 % of doubt.
const BISECTIONS: u32 = 4;
/// A rate whose p99 is above this does not count.
const P99_MS_MAX: f64 = 1_000.0;
/// The edge's own count of sends; nearly all of them carry events here.
const SENDS_METRIC: &str = "interlink_edge_sends_total";
/// Wait for what is on its way after a step.
const DRAIN_SECONDS: f64 = 10.0;
/// Class of the channel.
const P1: usize = 1;

/// What one rate gave.
struct Step {
    rate: f64,
    deliveries: f64,
    p99_ms: f64,
    frames_per_send: f64,
    usage: Usage,
    latency: Latency,
    lost: u64,
    duplicated: u64,
    reordered: u64,
    skipped: u64,
}

/// Ramps, then measures.
pub fn run(
    bench: &mut Bench,
    edge: &EdgeServer,
    subscribers: u32,
    generator: &mut Series,
) -> Result<()> {
    let best = ramp(bench, edge, subscribers)? * MEASURED_SHARE;
    let mut runs = Vec::new();
    for _ in 0..bench.repeats(REPEATS) {
        let (mut fleet, mut traffic) = connect(bench, edge, subscribers)?;
        let warm_up = bench.options.warm_up;
        traffic.open(0, best, crate::sys::monotonic_ns());
        run_for(&mut fleet, &mut traffic, warm_up)?;
        let seconds = bench.seconds(SECONDS);
        runs.push(step(bench, edge, &mut fleet, &mut traffic, best, seconds)?);
        close_all(fleet)?;
    }
    report(bench, &runs, generator)
}

fn connect(
    bench: &mut Bench,
    edge: &EdgeServer,
    subscribers: u32,
) -> Result<(Fleet<EdgeRing>, Traffic)> {
    let mut traffic = traffic(bench, edge, subscribers)?;
    let address = edge.config.listen;
    let mut fleet = bench.fleet(address, Greeting::Session, subscribers + 1, UNFINISHED_MAX)?;
    connect_all(bench, &mut fleet, &mut traffic)?;
    Ok((fleet, traffic))
}

/// The highest publish rate that was borne: doubled until deliveries grow by less than 5 %, then
/// bisected between the highest rate that was borne and the next one that was not. A rate that is
/// not borne does not end the doubling: where an edge sends one event at a time, the generator may
/// be at its limit, and far below it at the next rate, at which several share a send.
fn ramp(bench: &mut Bench, edge: &EdgeServer, subscribers: u32) -> Result<f64> {
    let mut rate = bench.options.rate.unwrap_or(FIRST_RATE);
    let (mut borne, mut not_borne) = (rate, None);
    let mut last = 0.0;
    let (mut fleet, mut traffic) = connect(bench, edge, subscribers)?;
    loop {
        let tried = try_rate(bench, edge, &mut fleet, &mut traffic, rate)?;
        if tried.borne {
            (borne, not_borne) = (rate, None);
        } else {
            not_borne = not_borne.or(Some(rate));
        }
        if tried.deliveries < last * GROWTH_LEAST {
            break;
        }
        last = tried.deliveries;
        rate *= 2.0;
    }
    close_all(fleet)?;
    let Some(mut not_borne) = not_borne else {
        return Ok(borne);
    };
    for _ in 0..BISECTIONS {
        let middle = (borne * not_borne).sqrt();
        let (mut fleet, mut traffic) = connect(bench, edge, subscribers)?;
        match try_rate(bench, edge, &mut fleet, &mut traffic, middle)?.borne {
            true => borne = middle,
            false => not_borne = middle,
        }
        close_all(fleet)?;
    }
    Ok(borne)
}

/// What a rate of the ramp gave.
struct Tried {
    /// Deliveries a second.
    deliveries: f64,
    /// The p99 was below its limit, and the generator below the CPU at which a run is void.
    borne: bool,
}

fn try_rate(
    bench: &mut Bench,
    edge: &EdgeServer,
    fleet: &mut Fleet<EdgeRing>,
    traffic: &mut Traffic,
    rate: f64,
) -> Result<Tried> {
    let seconds = bench.seconds(SECONDS).min(STEP_SECONDS);
    traffic.open(0, rate, crate::sys::monotonic_ns());
    let step = step(bench, edge, fleet, traffic, rate, seconds)?;
    let valid = step.usage.generator.void_reason(false).is_none();
    Ok(Tried {
        deliveries: step.deliveries,
        borne: valid && step.p99_ms < P99_MS_MAX,
    })
}

/// Measures what is being offered, then stops it and waits for the rest.
fn step(
    bench: &mut Bench,
    edge: &EdgeServer,
    fleet: &mut Fleet<EdgeRing>,
    traffic: &mut Traffic,
    rate: f64,
    seconds: f64,
) -> Result<Step> {
    traffic.reset();
    let totals_before = traffic.totals();
    let sends_before = sends(edge)?;
    let watch = Watch::start(edge.pid(), bench.options.edge_core, fleet.link())?;
    run_for(fleet, traffic, seconds)?;
    let usage = watch.end(fleet.link())?;
    let delivered = traffic.classes[P1].delivered as f64;
    let frames_per_send = delivered / (sends(edge)? - sends_before);
    let latency = traffic.classes[P1].delivery.clone();
    traffic.pause();
    run_until(fleet, traffic, DRAIN_SECONDS, |traffic, _| {
        traffic.is_settled()
    })?;
    let totals = traffic.totals();
    let step = Step {
        rate,
        deliveries: delivered / usage.seconds,
        p99_ms: latency.percentile_ms(99.0),
        frames_per_send,
        usage,
        latency,
        lost: traffic.classes[P1]
            .missing()
            .saturating_sub(traffic.skipped),
        duplicated: totals.duplicated - totals_before.duplicated,
        reordered: totals.reordered - totals_before.reordered,
        skipped: traffic.skipped,
    };
    bench.progress.say(format!(
        "B, {rate:.0} publishes/s: {:.0} deliveries/s, p99 {:.1} ms, {frames_per_send:.1} frames \
         a send, {} missing, edge core {:.0} %, generator {:.0} %",
        step.deliveries,
        step.p99_ms,
        step.lost,
        usage.core_busy * 100.0,
        usage.generator.cpu * 100.0
    ));
    Ok(step)
}

fn sends(edge: &EdgeServer) -> Result<f64> {
    Ok(metric(&edge.metrics()?, SENDS_METRIC).unwrap_or(f64::NAN))
}

fn report(bench: &mut Bench, runs: &[Step], generator: &mut Series) -> Result<()> {
    let pick = |value: fn(&Step) -> f64| runs.iter().map(value).collect::<Series>();
    let sum = |value: fn(&Step) -> u64| runs.iter().map(value).sum::<u64>();
    let report = &mut bench.report;
    report.series("deliveries_per_second", &pick(|step| step.deliveries));
    report.goal("deliveries_per_second", Goal::AtLeast(1_000_000.0));
    report.series("p99_ms", &pick(|step| step.p99_ms));
    report.goal("p99_ms", Goal::Below(P99_MS_MAX));
    report.series("frames_per_send", &pick(|step| step.frames_per_send));
    report.number(
        "publishes_per_second_offered",
        runs.last().map_or(0.0, |step| step.rate),
    );
    report.count("lost", sum(|step| step.lost));
    report.count("duplicated", sum(|step| step.duplicated));
    report.count("reordered", sum(|step| step.reordered));
    report.count("skipped_announced", sum(|step| step.skipped));
    let mut latency = Latency::new();
    for step in runs {
        latency.add(&step.latency);
        generator.push(step.usage.generator.cpu);
        if let Some(reason) = step.usage.generator.void_reason(false) {
            report.void(format!("B: {reason}"));
        }
    }
    let limited_by = runs
        .last()
        .map_or("nothing", |step| step.usage.limited_by());
    report.text("limited_by", limited_by);
    bench.latency("delivery", &latency, bench.seconds(SECONDS))
}
