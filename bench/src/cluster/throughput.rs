//! `cluster throughput`: durable events until a part of the machine is at its limit.
//!
//! An event counts when its subscriber on the other node has it and when its publisher was told
//! that it is settled, which means numbered by Redis and acknowledged by Kafka; the smaller of the
//! two rates is the result. The loop is closed over the whole path: a connection keeps so many
//! publishes that are not settled yet. Closed over answers alone it would only show how fast a
//! backlog grows, because a node answers `local` long before Redis and Kafka have the event.
//!
//! Runs on: the bench's main thread.

use super::chats::Chats;
use super::shares::{Groups, Shares};
use super::site::{Site, SitePlan};
use crate::limits::SERVER_SATURATED;
use crate::measure::CoreSample;
use crate::report::Goal;
use crate::scenarios::bench::Bench;
use crate::scenarios::groups::P1;
use crate::scenarios::settle::{close_all, run_for, run_until};
use crate::scenarios::traffic::Traffic;
use crate::scenarios::watch::Watch;
use crate::sys;
use anyhow::{ensure, Result};

/// Events a second of which nearly each is a call of its own to Redis: with 128 partitions a
/// partition sees one in 128 ms.
const SINGLE_RATE: f64 = 1_000.0;
const SINGLE_SECONDS: f64 = 20.0;
/// Seconds in which Redis is watched without traffic.
const IDLE_SECONDS: f64 = 5.0;
/// Of a smaller window so few may be settled that nobody is told of it.
const WINDOW_LEAST: u32 = 128;
const DRAIN_SECONDS: f64 = 60.0;
const PER_SECOND: f64 = 50_000.0;
const RATIO_MAX: f64 = 0.5;

/// Runs the scenario.
pub fn run(
    bench: &mut Bench,
    nodes: usize,
    connections: u32,
    (seconds, window): (f64, u32),
) -> Result<()> {
    check(nodes, window)?;
    let seconds = bench.seconds(seconds);
    let site = Site::build(bench, &SitePlan::new(nodes, connections))?;
    let mut chats = Chats::connect(bench, &site, connections)?;
    let parts = site.stand.as_ref().map(|stand| stand.parts.clone());
    let groups = Groups::new(site.pids(), &parts.unwrap_or_default());
    let single_us = single(bench, &groups, &mut chats)?;

    let Chats {
        fleet,
        traffic,
        source,
    } = &mut chats;
    traffic.keep_unsettled(*source, window, fleet.link());
    run_for(fleet, traffic, bench.options.warm_up)?;
    traffic.reset();
    let cores = cores(bench)?;
    let before = (groups.sample()?, fleet.link().totals, traffic.settled_p1());
    let watch = Watch::start(site.nodes[0].pid(), bench.options.edge_core, fleet.link())?;
    run_for(fleet, traffic, seconds)?;
    let usage = watch.end(fleet.link())?;
    let shares = groups.sample()?.since(&before.0);
    let busy = busy_since(bench, &cores)?;
    let totals = fleet.link().totals;
    let delivered = traffic.classes[P1].delivered;
    let accepted = traffic.classes[P1].accepted;
    let settled = traffic.settled_p1() - before.2;
    drain(fleet, traffic)?;

    let bytes =
        totals.received_bytes - before.1.received_bytes + totals.sent_bytes - before.1.sent_bytes;
    let rate = |count: u64| count as f64 / usage.seconds;
    let report = &mut bench.report;
    report.number("events_per_second", rate(delivered.min(settled)));
    report.goal("events_per_second", Goal::AtLeast(PER_SECOND));
    report.number("delivered_per_second", rate(delivered));
    report.number("settled_per_second", rate(settled));
    report.number("accepted_per_second", rate(accepted));
    report.number(
        "wire_bytes_per_event",
        bytes as f64 / delivered.max(1) as f64,
    );
    report.latency("ack", &traffic.classes[P1].ack);
    report.latency("delivery", &traffic.classes[P1].delivery);
    shares.report(report, delivered);
    report.number("edge_core_busy", busy[0]);
    report.number("other_core_busy", busy[1]);
    report.number("generator_cpu", usage.generator.cpu);
    report.text("limited_by", limited_by(busy, usage.generator.cpu, &shares));
    let batched_us = shares.cpu_s["redis"] * 1e6 / delivered.max(1) as f64;
    report.number("redis_cpu_us_per_event", batched_us);
    report.number("redis_cpu_us_one_record_a_call", single_us);
    report.number("redis_cpu_ratio", batched_us / single_us);
    report.goal("redis_cpu_ratio", Goal::AtMost(RATIO_MAX));
    report.count("acked_lost", traffic.classes[P1].missing());
    report.goal("acked_lost", Goal::Exactly(0.0));
    report.count("refused", traffic.classes[P1].refused_in_all);
    report.text("refusals_by_code", traffic.refusal_words());
    report.count("duplicated", traffic.totals().duplicated);
    report.count("reordered", traffic.totals().reordered);
    close_all(chats.fleet)
}

fn check(nodes: usize, window: u32) -> Result<()> {
    ensure!(nodes >= 2, "--nodes must be at least 2");
    ensure!(
        window >= WINDOW_LEAST,
        "--window must be at least {WINDOW_LEAST}: a node tells settled ids by the 64"
    );
    Ok(())
}

/// CPU microseconds of Redis for an event that has a call of its own, beyond what it uses at rest.
fn single(bench: &mut Bench, groups: &Groups, chats: &mut Chats) -> Result<f64> {
    let Chats {
        fleet,
        traffic,
        source,
    } = chats;
    let idle = groups.sample()?;
    run_for(fleet, traffic, IDLE_SECONDS)?;
    let rest = groups.sample()?.since(&idle);
    let rest_share = rest.cpu_s["redis"] / rest.wall_s;
    traffic.open(*source, SINGLE_RATE, sys::monotonic_ns());
    run_for(fleet, traffic, bench.options.warm_up)?;
    traffic.reset();
    let before = groups.sample()?;
    run_for(
        fleet,
        traffic,
        bench.seconds(SINGLE_SECONDS).min(SINGLE_SECONDS),
    )?;
    let used = groups.sample()?.since(&before);
    let delivered = traffic.classes[P1].delivered;
    drain(fleet, traffic)?;
    let seconds = (used.cpu_s["redis"] - rest_share * used.wall_s).max(0.0);
    bench.report.number("redis_cpu_share_at_rest", rest_share);
    let each_us = seconds * 1e6 / delivered.max(1) as f64;
    bench.progress.say(format!(
        "one record a call: {each_us:.1} us of Redis each, {delivered} events"
    ));
    Ok(each_us)
}

fn drain(
    fleet: &mut crate::engine::Fleet<interlink_uring::EdgeRing>,
    traffic: &mut Traffic,
) -> Result<()> {
    traffic.pause();
    run_until(fleet, traffic, DRAIN_SECONDS, |traffic, _| {
        traffic.is_settled()
    })?;
    Ok(())
}

/// Samples of the nodes' core and of everybody else's.
fn cores(bench: &Bench) -> Result<[CoreSample; 2]> {
    Ok([
        CoreSample::take(bench.options.edge_core)?,
        CoreSample::take(bench.options.generator_core)?,
    ])
}

fn busy_since(bench: &Bench, before: &[CoreSample; 2]) -> Result<[f64; 2]> {
    let now = cores(bench)?;
    Ok([0, 1].map(|core| now[core].busy_since(&before[core])))
}

fn limited_by(busy: [f64; 2], generator: f64, shares: &Shares) -> String {
    let words = shares.words();
    let generator = generator * 100.0;
    if busy[0] > SERVER_SATURATED {
        format!("CPU of the nodes' core; {words}, generator {generator:.0} %")
    } else if busy[1] > SERVER_SATURATED {
        format!(
            "CPU of the core of Redis, Kafka and generator; {words}, generator {generator:.0} %"
        )
    } else {
        format!("waiting; {words}, generator {generator:.0} %")
    }
}
