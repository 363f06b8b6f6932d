//! Kafka fails.
//!
//! Runs on: the bench's main thread.

use super::stage::{Shown, Stage, StagePlan};
use crate::report::Goal;
use crate::scenarios::bench::Bench;
use crate::stand::{Server, Stand, Starting};
use crate::stats::Series;
use crate::sys;
use anyhow::{ensure, Result};
use std::time::{Duration, Instant};

/// Seconds of work before the first fault and after each.
const REST_S: f64 = 5.0;
/// Seconds for which one broker is away.
const AWAY_S: f64 = 15.0;
/// Longest time until brokers answer again.
const START_PATIENCE: Duration = Duration::from_secs(180);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Longest wait for what was accepted without Kafka to be in it.
const CATCH_UP_PATIENCE_S: f64 = 300.0;
const CATCH_UP_S_MAX: f64 = 60.0;
/// Seconds after the kill in which the acks of P1 are not counted yet: what was on its way.
const UNDER_WAY_NS: u64 = 2_000_000_000;

/// `chaos kafka-loss`.
pub fn lose(bench: &mut Bench, mut plan: StagePlan) -> Result<()> {
    plan.site.brokers = 3;
    let mut stage = Stage::set(bench, &plan)?;
    let mut late_ms = Series::default();
    for number in 0..plan.site.brokers {
        stage.load.run_for(REST_S);
        let broker = brokers(&mut stage)?[number].clone();
        stage.load.fault(&format!("kill broker {}", broker.name));
        Stand::kill(&broker)?;
        stage.load.run_for(AWAY_S);
        let starting = stage.site.stand()?.begin_start(&[&broker.name])?;
        wait(&stage, starting)?;
        stage.site.stand()?.look()?;
        stage.load.healed();
        stage.load.run_for(REST_S);
        let late = stage.load.tally().end_round();
        late_ms.push(late);
        bench.progress.say(format!(
            "{} was away: last late event after {late:.0} ms",
            broker.name
        ));
    }
    let shown = stage.finish(bench, false)?;
    Shown::report(&[shown], &mut bench.report);
    bench.report.series("late_for_ms", &late_ms);
    Ok(())
}

/// `chaos kafka-outage`.
pub fn outage(bench: &mut Bench, mut plan: StagePlan, seconds: f64) -> Result<()> {
    plan.site.brokers = 3;
    let mut stage = Stage::set(bench, &plan)?;
    stage.load.run_for(REST_S);
    let all = brokers(&mut stage)?;
    stage.load.fault("kill all brokers");
    let killed_ns = sys::monotonic_ns();
    for broker in &all {
        Stand::kill(broker)?;
    }
    stage.load.run_for(seconds);
    let names: Vec<&str> = all.iter().map(|broker| broker.name.as_str()).collect();
    let starting = stage.site.stand()?.begin_start(&names)?;
    let outage_end_ns = sys::monotonic_ns();
    let start_s = wait(&stage, starting)?;
    stage.site.stand()?.look()?;
    stage.load.healed();
    bench.progress.say(format!(
        "brokers answer again after {start_s:.1} s; waiting until all is settled"
    ));
    // Everything that was handed over until now, while clients go on.
    let catch_up_s = stage.load.wait_settled(CATCH_UP_PATIENCE_S);
    stage.load.run_for(REST_S);
    let late_ms = stage.load.tally().end_round();
    let during = stage
        .load
        .tally()
        .between(killed_ns + UNDER_WAY_NS, outage_end_ns);
    let shown = stage.finish(bench, false)?;
    Shown::report(&[shown], &mut bench.report);
    let report = &mut bench.report;
    let local = during.iter().map(|second| second.p1_local).min();
    report.number(
        "p1_local_per_second_min",
        local.map_or(f64::NAN, |least| least as f64),
    );
    report.goal("p1_local_per_second_min", Goal::AtLeast(1.0));
    let degraded = during.iter().map(|second| second.p0_degraded).sum();
    report.count("p0_degraded_in_outage", degraded);
    report.number("late_for_ms", late_ms);
    report.number("brokers_start_seconds", start_s);
    report.number("catch_up_seconds", catch_up_s.unwrap_or(f64::NAN));
    report.goal("catch_up_seconds", Goal::AtMost(CATCH_UP_S_MAX));
    Ok(())
}

fn brokers(stage: &mut Stage) -> Result<Vec<Server>> {
    Ok(stage.site.stand()?.parts.kafka.brokers.clone())
}

/// Waits until servers that are being started answer; the seconds that it took.
fn wait(stage: &Stage, mut starting: Starting) -> Result<f64> {
    let start = Instant::now();
    while !starting.is_over()? {
        ensure!(
            start.elapsed() < START_PATIENCE,
            "brokers did not start within {START_PATIENCE:?}"
        );
        stage.load.run_for(LOOK_INTERVAL.as_secs_f64());
    }
    Ok(start.elapsed().as_secs_f64())
}
