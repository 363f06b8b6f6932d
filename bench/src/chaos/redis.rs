//! Redis fails, or the path to it.
//!
//! Runs on: the bench's main thread.

use super::stage::{Shown, Stage, StagePlan};
use crate::cluster::site::Form;
use crate::proxy::{Fault, Kind};
use crate::report::Goal;
use crate::scenarios::bench::Bench;
use crate::stand::{ask_redis, is_master, Server, Stand};
use crate::stats::Series;
use anyhow::{ensure, Context, Result};
use rand::Rng;
use std::time::{Duration, Instant};

/// Seconds between the end of one round and the next fault.
const PAUSE_S: (f64, f64) = (1.0, 3.0);
/// Seconds for which a killed master stays away: longer than any failover.
const AWAY_S: f64 = 6.0;
/// Seconds in which clients come to rest.
const REST_S: f64 = 5.0;
/// Seconds for which connections that subscribe are silent: beyond the goal and the probe.
const WEDGED_S: f64 = 12.0;
/// Seconds for which a whole path is stopped.
const STOPPED_S: f64 = 3.0;
/// Seconds of each fault of a path.
const PATH_S: f64 = 5.0;
const PATH_DELAY: Duration = Duration::from_millis(50);
/// Longest time until a server follows its master again.
const FOLLOW_PATIENCE: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
const HEAL_MS_MAX: f64 = 5_000.0;
const PER_SECOND_LEAST: f64 = 10_000.0;

/// `chaos redis-failover`.
pub fn fail_over(bench: &mut Bench, plan: &StagePlan, forms: &[Form], rounds: u32) -> Result<()> {
    let mut all = Vec::new();
    for &form in forms {
        let word = if form == Form::Cluster {
            "cluster"
        } else {
            "sentinel"
        };
        let mut plan = plan.clone();
        plan.site.redis = form;
        plan.word = word;
        let mut stage = Stage::set(bench, &plan)?;
        for round in 1..=rounds {
            let pause = stage.between(PAUSE_S.0, PAUSE_S.1);
            stage.load.run_for(pause);
            let repaired_ms = fail_once(&mut stage)?;
            bench.progress.say(format!(
                "{word}, round {round} of {rounds}: last late event {repaired_ms:.0} ms after the \
                 kill"
            ));
        }
        let shown = stage.finish(bench, false)?;
        bench.report.number(
            &format!("repair_p99_ms_{word}"),
            shown.repair.percentile_ms(99.0),
        );
        bench.report.number(
            &format!("min_events_per_second_{word}"),
            shown.per_second_min(),
        );
        all.push(shown);
    }
    Shown::report(&all, &mut bench.report);
    // Where no event became late the time is none.
    let late = all.iter().filter(|shown| shown.after_return.count() > 0);
    let after_return_ms = late
        .map(|shown| shown.after_return.percentile_ms(99.0))
        .fold(0.0, f64::max);
    let report = &mut bench.report;
    report.count("rounds", u64::from(rounds));
    report.goal("unrepaired_gaps", Goal::Exactly(0.0));
    report.goal("repair_p99_ms", Goal::AtMost(HEAL_MS_MAX));
    report.number("after_return_ms", after_return_ms);
    report.goal("after_return_ms", Goal::AtMost(HEAL_MS_MAX));
    report.goal("min_events_per_second", Goal::AtLeast(PER_SECOND_LEAST));
    Ok(())
}

/// Kills a master, waits, starts it again and waits until every server that is no master follows
/// one: Sentinel turns the others to a new master only some time after it was chosen.
fn fail_once(stage: &mut Stage) -> Result<f64> {
    let servers = servers(stage)?;
    let masters: Vec<&Server> = servers.iter().filter(|server| is_master(server)).collect();
    ensure!(!masters.is_empty(), "no Redis server is a master");
    let victim = masters[stage.random.random_range(0..masters.len())].clone();
    stage
        .load
        .fault(&format!("kill Redis master {}", victim.name));
    Stand::kill(&victim)?;
    stage.load.run_for(AWAY_S);
    stage.load.returns();
    stage.site.stand()?.start(&[&victim.name])?;
    stage.load.healed();
    wait_until_followed(&servers)?;
    let repaired_ms = stage.load.tally().end_round();
    Ok(repaired_ms)
}

fn servers(stage: &mut Stage) -> Result<Vec<Server>> {
    let redis = &stage.site.stand()?.parts.redis;
    if let Some(sentinel) = &redis.sentinel {
        return Ok(sentinel.nodes.clone());
    }
    let cluster = redis.cluster.as_ref();
    Ok(cluster
        .context("the stand has no Redis with replicas")?
        .nodes
        .clone())
}

/// Until then a master would have fewer replicas than before, and the next round another subject.
fn wait_until_followed(servers: &[Server]) -> Result<()> {
    let start = Instant::now();
    loop {
        let stray = servers.iter().find_map(|server| {
            let answer = ask_redis(server.address, "INFO replication").unwrap_or_default();
            let follows = answer.contains("master_link_status:up");
            let is_followed =
                answer.contains("role:master") && !answer.contains("connected_slaves:0");
            (!follows && !is_followed).then_some((&server.name, answer))
        });
        let Some((name, answer)) = stray else {
            return Ok(());
        };
        ensure!(
            start.elapsed() < FOLLOW_PATIENCE,
            "{name} neither follows a master nor is one that is followed after \
             {FOLLOW_PATIENCE:?}: {answer}"
        );
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// `chaos redis-empty`.
pub fn empty(bench: &mut Bench, plan: &StagePlan) -> Result<()> {
    let mut stage = Stage::set(bench, plan)?;
    let server = single(&mut stage)?;
    let mut heal_ms = Series::default();
    stage.load.run_for(REST_S);
    stage.load.fault("FLUSHALL");
    ask_redis(server.address, "FLUSHALL")?;
    stage.load.healed();
    stage.load.run_for(REST_S * 2.0);
    heal_ms.push(stage.load.tally().end_round());
    bench
        .progress
        .say(format!("FLUSHALL: healed after {:.0} ms", heal_ms.max()));

    stage.load.fault("restart Redis without its files");
    Stand::kill(&server)?;
    let files = stage
        .site
        .stand()?
        .data_of(&server.name)
        .join("appendonlydir");
    std::fs::remove_dir_all(&files)
        .with_context(|| format!("removing {}: is that where Redis writes?", files.display()))?;
    stage.site.stand()?.start(&[&server.name])?;
    // Healing begins when there is a Redis again.
    stage.load.healed();
    stage.load.tally().begin_round(crate::sys::monotonic_ns());
    stage.load.run_for(REST_S * 2.0);
    let restarted_ms = stage.load.tally().end_round();
    heal_ms.push(restarted_ms);
    bench.progress.say(format!(
        "restart without files: healed after {restarted_ms:.0} ms"
    ));
    finish(bench, stage, &heal_ms)
}

/// `chaos wedged-pubsub`.
pub fn wedge(bench: &mut Bench, mut plan: StagePlan, rounds: u32) -> Result<()> {
    plan.site.redis = Form::Proxied;
    let mut stage = Stage::set(bench, &plan)?;
    let mut heal_ms = Series::default();
    let mut after_stop_ms = Series::default();
    for round in 0..rounds {
        let node = round as usize % stage.site.proxies.len();
        stage.load.run_for(REST_S);
        let fault: Fault = "stall subscribers".parse().map_err(anyhow::Error::msg)?;
        stage.load.fault(&format!("{fault}, node {}", node + 1));
        stage.site.proxies[node].set(fault)?;
        stage.load.run_for(WEDGED_S);
        let healed_ms = stage.load.tally().end_round();
        heal_ms.push(healed_ms);
        stage.site.proxies[node].set(Fault::NONE)?;
        stage.load.healed();

        stage.load.run_for(REST_S);
        stage
            .load
            .fault(&format!("SIGSTOP of the path, node {}", node + 1));
        stage.site.proxies[node].freeze(true)?;
        stage.load.run_for(STOPPED_S);
        stage.site.proxies[node].freeze(false)?;
        stage.load.healed();
        stage.load.tally().begin_round(crate::sys::monotonic_ns());
        stage.load.run_for(REST_S);
        let stopped_ms = stage.load.tally().end_round();
        after_stop_ms.push(stopped_ms);
        bench.progress.say(format!(
            "round {} of {rounds}: silent subscriber healed after {healed_ms:.0} ms, stopped path \
             after {stopped_ms:.0} ms",
            round + 1
        ));
    }
    bench.report.series("heal_after_stop_ms", &after_stop_ms);
    bench
        .report
        .goal("heal_after_stop_ms_max", Goal::AtMost(HEAL_MS_MAX));
    finish(bench, stage, &heal_ms)
}

/// `chaos redis-path`.
pub fn path(bench: &mut Bench, mut plan: StagePlan) -> Result<()> {
    plan.site.redis = Form::Proxied;
    let mut stage = Stage::set(bench, &plan)?;
    let mut heal_ms = Series::default();
    let kinds = [
        Kind::Delay(PATH_DELAY),
        Kind::Drop,
        Kind::Reset,
        Kind::HalfOpen,
        Kind::Stall,
    ];
    for kind in kinds {
        let fault = Fault::all(kind);
        stage.load.run_for(REST_S);
        stage.load.fault(&format!("{fault}, node 1"));
        stage.site.proxies[0].set(fault)?;
        stage.load.run_for(PATH_S);
        stage.site.proxies[0].set(Fault::NONE)?;
        stage.load.healed();
        stage.load.tally().begin_round(crate::sys::monotonic_ns());
        stage.load.run_for(REST_S * 2.0);
        let healed_ms = stage.load.tally().end_round();
        heal_ms.push(healed_ms);
        bench
            .progress
            .say(format!("{fault}: healed {healed_ms:.0} ms after its end"));
    }
    finish(bench, stage, &heal_ms)
}

fn single(stage: &mut Stage) -> Result<Server> {
    let single = stage.site.stand()?.parts.redis.single.clone();
    single.context("the stand has no single Redis")
}

/// The longest time counts.
fn finish(bench: &mut Bench, stage: Stage, heal_ms: &Series) -> Result<()> {
    let shown = stage.finish(bench, false)?;
    Shown::report(&[shown], &mut bench.report);
    bench.report.series("heal_ms", heal_ms);
    bench.report.number("heal_ms", heal_ms.max());
    bench.report.goal("heal_ms", Goal::AtMost(HEAL_MS_MAX));
    Ok(())
}
