//! `cluster regions`: two regions, a bridge in each direction, and bridges that are killed.
//!
//! Clients say what was delivered in either region. What came back to its own region they may not
//! see, since nodes know ids; so the logs of both regions are counted as well, where an event of
//! the region itself must stand once.
//!
//! Runs on: the bench's main thread.

use super::bridge::Bridge;
use super::crossing::Crossing;
use super::site::{Site, SitePlan};
use super::topics::find_tool;
use crate::engine::Fleet;
use crate::measure::Latency;
use crate::report::Goal;
use crate::scenarios::bench::Bench;
use crate::scenarios::settle::{close_all, run_for, run_until};
use crate::sys;
use anyhow::{ensure, Context, Result};
use interlink_uring::EdgeRing;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};

/// Names of the regions.
const REGIONS: [&str; 2] = ["eu", "us"];
/// Nodes of each region.
const NODES: usize = 2;
/// Events a second, half of them from each region.
const RATE: f64 = 500.0;
/// How long a killed bridge is away.
const AWAY_SECONDS: f64 = 2.0;
/// Longest wait for what is on its way: the group's session of a killed bridge, several times.
const DRAIN_SECONDS: f64 = 90.0;
/// How long clients listen for what comes again when everything has come.
const LISTEN_SECONDS: f64 = 5.0;
const SPARE_SESSIONS: u32 = 100;

/// What a log has of one region of origin.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Count {
    events: u64,
    repeats: u64,
}

/// What `interlink-workers topics census` says of a log.
#[derive(Clone, Debug, Deserialize)]
struct Census {
    origins: BTreeMap<String, Count>,
}

impl Census {
    fn of(&self, origin: &str) -> Count {
        self.origins.get(origin).copied().unwrap_or_default()
    }
}

/// Runs the scenario.
pub fn run(bench: &mut Bench, seconds: f64, users: u32, restarts: u32) -> Result<()> {
    let eu = site(bench, 0, users)?;
    let us = site(bench, 1, users)?;
    let mut bridges = [
        Bridge::start(bench, (REGIONS[0], &eu), (REGIONS[1], &us))?,
        Bridge::start(bench, (REGIONS[1], &us), (REGIONS[0], &eu))?,
    ];
    let (mut crossing, mut fleet) = Crossing::connect(bench, [&eu, &us], users)?;
    let rate = bench.options.rate.unwrap_or(RATE);
    bench.progress.say(format!(
        "{users} clients in two regions, {rate:.0} events a second"
    ));
    // Bridges join their groups before anything is measured.
    let warm_up = bench.options.warm_up;
    offer(&mut crossing, rate, true);
    run_for(&mut fleet, &mut crossing, warm_up)?;
    ensure!(
        drain(&mut fleet, &mut crossing)?,
        "the bridges carried {} of {} events of the warm-up in {DRAIN_SECONDS:.0} s",
        crossing.abroad().delivered,
        crossing.accepted()
    );
    crossing.latency.clear();
    offer(&mut crossing, rate, true);
    let seconds = bench.seconds(seconds);
    let part = seconds / f64::from(restarts + 1);
    run_for(&mut fleet, &mut crossing, part)?;
    let undisturbed = crossing.latency.clone();
    for restart in 0..restarts {
        let bridge = &mut bridges[restart as usize % 2];
        bench
            .progress
            .say(format!("killing bridge {}", restart % 2 + 1));
        bridge.kill()?;
        let away = AWAY_SECONDS.min(part);
        run_for(&mut fleet, &mut crossing, away)?;
        bridge.restart()?;
        run_for(&mut fleet, &mut crossing, part - away)?;
    }
    let is_whole = drain(&mut fleet, &mut crossing)?;
    run_for(&mut fleet, &mut crossing, LISTEN_SECONDS)?;
    for bridge in &mut bridges {
        bridge.ensure_runs()?;
    }
    let logs = [census(bench, &eu)?, census(bench, &us)?];
    conclude(bench, &crossing, &undisturbed, &logs);
    let report = &mut bench.report;
    report.count("bridge_restarts", u64::from(restarts));
    report.text("settled_at_end", if is_whole { "yes" } else { "no" });
    report.number("offered_per_second", rate);
    close_all(fleet)
}

/// A region.
fn site(bench: &mut Bench, number: u16, users: u32) -> Result<Site> {
    let region = REGIONS[usize::from(number)];
    let plan = SitePlan {
        region,
        number,
        ..SitePlan::new(NODES, users + SPARE_SESSIONS)
    };
    Site::build(bench, &plan).with_context(|| format!("building region {region}"))
}

fn offer(crossing: &mut Crossing, rate: f64, is_open: bool) {
    match is_open {
        true => {
            let now_ns = sys::monotonic_ns();
            crossing.traffic.open(crossing.source, rate, now_ns);
        }
        false => crossing.traffic.pause(),
    }
}

/// Ends the offer and waits for what is on its way; true when everything has come.
fn drain(fleet: &mut Fleet<EdgeRing>, crossing: &mut Crossing) -> Result<bool> {
    offer(crossing, 0.0, false);
    run_until(fleet, crossing, DRAIN_SECONDS, |crossing, _| {
        crossing.traffic.is_settled()
    })
}

/// Counts what is in the log of a region.
fn census(bench: &Bench, site: &Site) -> Result<Census> {
    let stand = site.stand.as_ref().context("a region has no log")?;
    let brokers = stand.parts.kafka.brokers.iter();
    let brokers: Vec<String> = brokers.map(|broker| broker.address.to_string()).collect();
    let output = Command::new(find_tool(bench)?)
        .args(["topics", "census", "--brokers", &brokers.join(",")])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("counting the topics")?;
    ensure!(
        output.status.success(),
        "the topics were not counted; see above"
    );
    serde_json::from_slice(&output.stdout).context("the census is no JSON object")
}

fn conclude(bench: &mut Bench, crossing: &Crossing, undisturbed: &Latency, logs: &[Census; 2]) {
    let events = crossing.accepted();
    let (home, abroad) = (crossing.home(), crossing.abroad());
    let own = |region: usize| logs[region].of(REGIONS[region]);
    let foreign = |region: usize| logs[region].of(REGIONS[1 - region]);
    let report = &mut bench.report;
    report.count("events", events);
    report.count(
        "delivered_once",
        abroad.delivered.saturating_sub(abroad.duplicated),
    );
    report.goal("delivered_once", Goal::Exactly(events as f64));
    report.count("duplicates", abroad.duplicated);
    report.goal("duplicates", Goal::Exactly(0.0));
    report.count("lost", events.saturating_sub(abroad.delivered));
    report.goal("lost", Goal::Exactly(0.0));
    let returned = own(0).repeats + own(1).repeats;
    report.count("loops", home.duplicated + returned);
    report.count("loops_delivered", home.duplicated);
    report.goal("loops", Goal::Exactly(0.0));
    report.count("order_violations", home.reordered + abroad.reordered);
    report.goal("order_violations", Goal::Exactly(0.0));
    report.count("home_lost", events.saturating_sub(home.delivered));
    report.goal("home_lost", Goal::Exactly(0.0));
    report.number("p50_ms", crossing.latency.percentile_ms(50.0));
    report.number("p99_ms", crossing.latency.percentile_ms(99.0));
    report.number("undisturbed_p50_ms", undisturbed.percentile_ms(50.0));
    report.number("undisturbed_p99_ms", undisturbed.percentile_ms(99.0));
    report.count("log_events", own(0).events + own(1).events);
    report.count("log_crossed", foreign(0).events + foreign(1).events);
    // Appended again by a bridge that was killed; consumers know them by their sequences.
    report.count("log_crossed_again", foreign(0).repeats + foreign(1).repeats);
    report.count("refused", crossing.traffic.refusals.values().sum());
    report.count("skipped", crossing.traffic.skipped);
}
