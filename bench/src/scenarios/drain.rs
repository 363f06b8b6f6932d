//! `run drain`: a second process takes over from the first under load.
//!
//! Every client publishes and subscribes as in the crash scenario and obeys `Reconnect` as an SDK
//! does. Lost is what either process acknowledged and did not arrive.
//!
//! Runs on: the bench's main thread.

use super::bench::Bench;
use super::crash::{self, SERVICES, SHARES};
use super::drain_load::DrainLoad;
use super::settle::{close_all, connect_all, run_until};
use crate::engine::Greeting;
use crate::measure::GeneratorGauge;
use crate::report::Goal;
use crate::servers::http;
use crate::sys;
use anyhow::{ensure, Result};
use rand::rngs::StdRng;
use rand::SeedableRng;

/// Events a second of all clients together: beside it the moves are what costs.
const RATE: f64 = 1_000.0;
const UNFINISHED_MAX: u32 = 2_000;
/// Longest time beyond what the rate of moves asks for.
const SPARE_S: f64 = 30.0;
/// Seconds of load after the last move.
const AFTER_S: f64 = 2.0;
/// Longest time until everything has arrived.
const SETTLE_S: f64 = 30.0;

/// Runs the scenario.
pub fn run(bench: &mut Bench, sessions: u32, per_second: u32) -> Result<()> {
    ensure!(sessions >= 2, "--sessions must be at least 2");
    ensure!(per_second >= 1, "--reconnects must be at least 1");
    let clients = sessions + SERVICES;
    let mut old = bench.start_edge_with(clients, |config| {
        config.reconnects_per_second = Some(per_second);
    })?;
    let mut random = StdRng::seed_from_u64(bench.options.seed);
    let traffic = crash::load(bench, &old.signer()?, sessions, &mut random)?;
    let mut load = DrainLoad::new(traffic);
    let listen = old.config.listen;
    let mut fleet = bench.fleet(listen, Greeting::Session, clients, UNFINISHED_MAX)?;
    connect_all(bench, &mut fleet, &mut load)?;

    let rate = bench.options.rate.unwrap_or(RATE);
    for (class, share) in SHARES.iter().enumerate().filter(|(_, share)| **share > 0.0) {
        load.traffic.open(class, rate * share, sys::monotonic_ns());
    }
    let warm_up = bench.options.warm_up;
    run_until(&mut fleet, &mut load, warm_up, |_, _| false)?;
    let gauge = GeneratorGauge::start();
    let started_ns = sys::monotonic_ns();
    let mut new = old.start_successor()?;
    let longest = f64::from(clients) / f64::from(per_second) * 1.2 + SPARE_S;
    run_until(&mut fleet, &mut load, longest, |load, _| {
        load.moved == clients
    })?;
    let moved_s = (sys::monotonic_ns() - started_ns) as f64 / 1e9;
    bench.progress.say(format!(
        "{} of {clients} clients moved in {moved_s:.1} s: {}",
        load.moved,
        fleet.link().phases()
    ));
    let after = bench.seconds(AFTER_S);
    run_until(&mut fleet, &mut load, after, |_, _| false)?;
    let share = gauge.share(&fleet.link().lag);
    load.traffic.pause();
    run_until(&mut fleet, &mut load, SETTLE_S, |load, _| {
        load.traffic.waiting() == 0 && crash::unseen(&load.traffic) == 0
    })?;
    let ended_in_order = old.wait_for_end();
    let metrics = new.metrics()?;
    load.traffic.reconnects = false;
    close_all(fleet)?;
    let stopped = new.stop();
    let missing_p3 = crash::missing_in_journal(bench, &new, &load.traffic)?;

    let report = &mut bench.report;
    report.count("sessions", u64::from(clients));
    report.number("moved_s", moved_s);
    report.number("generator_cpu", share.cpu);
    report.text("limited_by", "the set rate of moves");
    report.text("old_ended_in_order", words(ended_in_order));
    report.text("stopped_in_order", words(stopped));
    crash::findings(bench, &load.traffic, missing_p3);
    moves(bench, &load, clients, per_second);
    let created = http::metric(&metrics, "interlink_edge_sessions_created_total");
    bench
        .report
        .number("sessions_on_new", created.unwrap_or(f64::NAN));
    let wanted = Goal::AtLeast(f64::from(clients));
    bench.report.goal("sessions_on_new", wanted);
    if share.cpu > crate::limits::GENERATOR_CPU_MAX {
        bench.report.void("the generator was at its limit");
    }
    Ok(())
}

fn words(is_so: bool) -> &'static str {
    if is_so {
        "yes"
    } else {
        "no"
    }
}

fn moves(bench: &mut Bench, load: &DrainLoad, clients: u32, per_second: u32) {
    let report = &mut bench.report;
    report.count("not_moved", u64::from(clients - load.moved));
    report.goal("not_moved", Goal::Exactly(0.0));
    report.count("ended_unasked", load.ended_unasked);
    report.goal("ended_unasked", Goal::Exactly(0.0));
    report.count("reconnects_per_second_set", u64::from(per_second));
    let most = load.most_reconnects_in_a_second();
    report.count("reconnects_per_second_max", most);
    let bound = Goal::AtMost(f64::from(per_second));
    report.goal("reconnects_per_second_max", bound);
    report.latency("interruption", &load.interruption);
    report.goal("interruption_p99_ms", Goal::Below(2_000.0));
    report.number("publish_pause_ms", load.publish_pause_ms());
}
