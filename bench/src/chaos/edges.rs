//! Nodes fail.
//!
//! Runs on: the bench's main thread.

use super::stage::{Shown, Stage, StagePlan};
use crate::report::Goal;
use crate::scenarios::bench::Bench;
use anyhow::{ensure, Result};

/// Seconds between the end of one round and the next kill.
const KILL_AFTER_S: (f64, f64) = (1.0, 3.0);
/// Seconds for which a killed node is away.
const AWAY_S: f64 = 1.0;
/// Seconds after a restart in which clients come to rest.
const REST_S: f64 = 4.0;
/// Seconds before and after a node is lost for good.
const BEFORE_LOSS_S: f64 = 5.0;
const AFTER_LOSS_S: f64 = 20.0;
/// Longest p99 of a client's return.
const RESUME_MS_MAX: f64 = 10_000.0;

/// `chaos edge-kill`.
pub fn kill(bench: &mut Bench, plan: &StagePlan, rounds: u32) -> Result<()> {
    let mut stage = Stage::set(bench, plan)?;
    let nodes = stage.site.nodes.len();
    let mut longest = crate::stats::Series::default();
    for round in 0..rounds {
        let pause = stage.between(KILL_AFTER_S.0, KILL_AFTER_S.1);
        stage.load.run_for(pause);
        let victim = round as usize % nodes;
        stage.load.fault(&format!("kill node {}", victim + 1));
        stage.site.nodes[victim].kill()?;
        stage.load.run_for(AWAY_S);
        stage.site.nodes[victim].restart()?;
        stage.load.healed();
        stage.load.run_for(REST_S);
        let repaired_ms = stage.load.tally().end_round();
        longest.push(repaired_ms);
        bench.progress.say(format!(
            "round {} of {rounds}: node {} killed, last late event after {repaired_ms:.0} ms",
            round + 1,
            victim + 1
        ));
    }
    let shown = stage.finish(bench, false)?;
    Shown::report(&[shown], &mut bench.report);
    bench.report.count("rounds", u64::from(rounds));
    bench.report.series("late_for_ms", &longest);
    bench
        .report
        .goal("resume_p99_ms", Goal::AtMost(RESUME_MS_MAX));
    Ok(())
}

/// `chaos edge-loss`.
pub fn lose(bench: &mut Bench, plan: &StagePlan) -> Result<()> {
    ensure!(plan.site.nodes >= 2, "--nodes must be at least 2");
    let mut stage = Stage::set(bench, plan)?;
    stage.load.run_for(BEFORE_LOSS_S);
    stage.load.fault("lose node 1");
    let mut node = stage.site.nodes.remove(0);
    node.kill()?;
    std::fs::remove_dir_all(&node.config.data)?;
    stage.load.run_for(AFTER_LOSS_S);
    let repaired_ms = stage.load.tally().end_round();
    let shown = stage.finish(bench, true)?;
    Shown::report(&[shown], &mut bench.report);
    bench.report.number("late_for_ms", repaired_ms);
    bench
        .report
        .goal("resume_p99_ms", Goal::AtMost(RESUME_MS_MAX));
    Ok(())
}

/// `chaos rolling-restart`.
pub fn roll(bench: &mut Bench, mut plan: StagePlan, reconnects: u32) -> Result<()> {
    ensure!(reconnects >= 1, "--reconnects must be at least 1");
    plan.site.reconnects_per_second = Some(reconnects);
    let mut stage = Stage::set(bench, &plan)?;
    let mut in_order = true;
    for number in 0..stage.site.nodes.len() {
        stage.load.run_for(AWAY_S);
        stage.load.fault(&format!("restart node {}", number + 1));
        in_order &= stage.site.nodes[number].stop();
        stage.site.nodes[number].restart()?;
        stage.load.healed();
        stage.load.run_for(REST_S);
        let late_ms = stage.load.tally().end_round();
        bench.progress.say(format!(
            "node {} restarted, last late event after {late_ms:.0} ms",
            number + 1
        ));
    }
    let shown = stage.finish(bench, false)?;
    let most = shown.connects_max;
    Shown::report(&[shown], &mut bench.report);
    let report = &mut bench.report;
    report.text("stopped_in_order", if in_order { "yes" } else { "no" });
    report.count("reconnects_per_second_set", u64::from(reconnects));
    report.count("reconnects_per_second_max", most);
    let bound = Goal::AtMost(f64::from(reconnects));
    report.goal("reconnects_per_second_max", bound);
    Ok(())
}
