//! A cluster with clients on it, while things fail.
//!
//! Purpose: what every chaos scenario does alike: build, connect, let clients work, ask the
//! checker, report.
//! Invariant: clients offer events on their schedule from before the first fault to after the
//! last, whatever fails.
//!
//! Runs on: the bench's main thread; clients on theirs.

use super::load::Load;
use super::pace::{self, Capacity};
use super::plan::Plan;
use super::tally::Second;
use super::verdict::Verdict;
use crate::cluster::shares::{Groups, Sample};
use crate::cluster::site::{Site, SitePlan};
use crate::measure::{CoreSample, GeneratorGauge, Latency};
use crate::report::Report;
use crate::scenarios::bench::Bench;
use crate::sys;
use anyhow::{ensure, Context, Result};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::path::PathBuf;

/// Longest wait at the end for what is still on its way.
const FINISH_S: f64 = 60.0;
/// Sessions that a node has room for beyond all clients.
const SPARE_SESSIONS: u32 = 100;

/// What a scenario wants.
#[derive(Clone, Debug)]
pub struct StagePlan {
    /// Nodes and outside systems.
    pub site: SitePlan,
    /// Users.
    pub users: usize,
    /// Publishes a second, when the command line names no rate.
    pub rate: f64,
    /// Whether less is offered when all parts together do not carry that.
    pub is_paced: bool,
    /// Word that tells this stage from another of the same run.
    pub word: &'static str,
    /// Folder in which the history is kept.
    pub histories: Option<PathBuf>,
}

/// What one stage showed.
pub struct Shown {
    /// What the checker found.
    pub verdict: Verdict,
    /// From the publish to its answer.
    pub ack: Latency,
    /// From the publish to the delivery.
    pub delivery: Latency,
    /// From a fault to the last late event, by channel.
    pub repair: Latency,
    /// From the return of a server that had failed to the last event that became late by it.
    pub after_return: Latency,
    /// From a fault to the last subscription that goes on, by client.
    pub resume: Latency,
    /// Acknowledged publishes of each second of the run.
    pub seconds: Vec<Second>,
    /// Most welcomes in one second.
    pub connects_max: u64,
    /// Everything came and settled before the wait ended.
    pub is_whole: bool,
    /// Acknowledged publishes a second over the whole run.
    pub per_second: f64,
    /// Share of the nodes' core that was busy.
    pub edge_core_busy: f64,
    /// Share of the core of clients, Redis and Kafka that was busy.
    pub other_core_busy: f64,
    /// Share of a core that the clients used.
    pub clients_cpu: f64,
    /// Publishes a second that were offered.
    pub offered: f64,
    /// What all parts carry, if more was wanted.
    pub capacity: Option<Capacity>,
    /// Shares of a core by kind of process, in words; those that were killed do not count.
    pub shares: String,
}

/// One of the latencies of a stage.
type LatencyOf = fn(&Shown) -> &Latency;

/// A running stage.
pub struct Stage {
    /// The cluster.
    pub site: Site,
    /// The clients.
    pub load: Load,
    /// Everything random of the faults.
    pub random: StdRng,
    history: PathBuf,
    histories: Option<PathBuf>,
    offered: f64,
    capacity: Option<Capacity>,
    started_ns: u64,
    groups: Groups,
    usage: Sample,
    cores: [CoreSample; 2],
    gauge: GeneratorGauge,
}

impl Stage {
    /// Builds the cluster, connects the clients, and lets them work for the warm-up.
    pub fn set(bench: &mut Bench, plan: &StagePlan) -> Result<Self> {
        ensure!(plan.users >= 2, "--users must be at least 2");
        let clients = plan.users + super::plan::SERVICES;
        let site = SitePlan {
            sessions: clients as u32 + SPARE_SESSIONS,
            ..plan.site.clone()
        };
        let site = Site::build(bench, &site)?;
        let rate = bench.options.rate.unwrap_or(plan.rate);
        let people = Plan::new(&site.signer, &site.listens(), plan.users, rate)?;
        let history = bench.folder().join(format!("history-{}.ndjson", plan.word));
        let load = Load::start(people, bench.options.payload, &history)?;
        bench.progress.say(format!(
            "{} clients on {} nodes, {rate:.0} events a second",
            load.clients(),
            site.nodes.len()
        ));
        load.offer(1.0);
        load.run_for(bench.options.warm_up);
        let parts = site.stand.as_ref().map(|stand| stand.parts.clone());
        let groups = Groups::new(site.pids(), &parts.unwrap_or_default());
        let (mut offered, mut capacity) = (rate, None);
        if plan.is_paced {
            (offered, capacity) = pace::find(&load, rate, &groups, || cores(bench))?;
            if let Some(capacity) = &capacity {
                bench.progress.say(format!(
                    "{:.0} events a second are carried; {offered:.0} are offered",
                    capacity.per_second
                ));
                load.run_for(bench.options.warm_up);
            }
        }
        Ok(Self {
            random: StdRng::seed_from_u64(bench.options.seed),
            history,
            histories: plan.histories.clone(),
            offered,
            capacity,
            started_ns: sys::monotonic_ns(),
            usage: groups.sample()?,
            groups,
            cores: cores(bench)?,
            gauge: GeneratorGauge::start(),
            site,
            load,
        })
    }

    /// A number between two.
    pub fn between(&mut self, least: f64, most: f64) -> f64 {
        self.random.random_range(least..most)
    }

    /// Ends the offer, waits for what is on its way, stops the cluster and asks the checker.
    pub fn finish(mut self, bench: &mut Bench, is_disk_lost: bool) -> Result<Shown> {
        let ended_ns = sys::monotonic_ns();
        let [edges, others] = cores(bench)?;
        let shares = self.groups.sample()?.since(&self.usage).words();
        let clients_cpu = self.gauge.share(&Latency::new()).cpu;
        let is_whole = self.load.finish(FINISH_S)?;
        for node in &mut self.site.nodes {
            node.stop();
        }
        drop(self.site);
        if let Some(folder) = &self.histories {
            let name = self.history.file_name().unwrap_or_default();
            std::fs::create_dir_all(folder)
                .and_then(|()| std::fs::copy(&self.history, folder.join(name)))
                .with_context(|| format!("keeping the history in {}", folder.display()))?;
        }
        bench.progress.say("asking the checker");
        let verdict = Verdict::of(&self.history, is_disk_lost)?;
        let tally = self.load.tally();
        let seconds = tally.between(self.started_ns, ended_ns);
        let acked: u64 = seconds.iter().map(|second| second.acked).sum();
        Ok(Shown {
            verdict,
            ack: tally.ack.clone(),
            delivery: tally.delivery.clone(),
            repair: tally.repair.clone(),
            after_return: tally.after_return.clone(),
            resume: tally.resume.clone(),
            connects_max: tally.connects.iter().skip(1).copied().max().unwrap_or(0),
            is_whole,
            per_second: acked as f64 / seconds.len().max(1) as f64,
            seconds,
            edge_core_busy: edges.busy_since(&self.cores[0]),
            other_core_busy: others.busy_since(&self.cores[1]),
            clients_cpu,
            offered: self.offered,
            capacity: self.capacity,
            shares,
        })
    }
}

/// Busy time of the nodes' core and of everybody else's.
fn cores(bench: &Bench) -> Result<[CoreSample; 2]> {
    Ok([
        CoreSample::take(bench.options.edge_core)?,
        CoreSample::take(bench.options.generator_core)?,
    ])
}

impl Shown {
    /// Fewest acknowledged publishes in one second.
    pub fn per_second_min(&self) -> f64 {
        let acked = self.seconds.iter().map(|second| second.acked);
        acked.min().map_or(f64::NAN, |least| least as f64)
    }

    /// What kept the rate from being higher.
    pub fn limited_by(&self) -> String {
        if let Some(capacity) = &self.capacity {
            return capacity.limited_by.clone();
        }
        if self.per_second >= self.offered * 0.99 {
            return "offered load".to_owned();
        }
        let shares = format!("clients {:.0} %, {}", self.clients_cpu * 100.0, self.shares);
        pace::named([self.edge_core_busy, self.other_core_busy], &shares)
    }

    /// Adds what all scenarios show to a result; of several stages together.
    pub fn report(all: &[Self], report: &mut Report) {
        let verdicts: Vec<Verdict> = all.iter().map(|shown| shown.verdict.clone()).collect();
        Verdict::report(&verdicts, report);
        let least = |of: &dyn Fn(&Self) -> f64| all.iter().map(of).fold(f64::NAN, f64::min);
        let most = |of: &dyn Fn(&Self) -> f64| all.iter().map(of).fold(f64::NAN, f64::max);
        let capacities = all.iter().filter_map(|shown| shown.capacity.as_ref());
        if let Some(capacity) = capacities.map(|it| it.per_second).reduce(f64::min) {
            report.number("capacity_per_second", capacity);
        }
        report.number("offered_per_second", least(&|shown| shown.offered));
        report.number("events_per_second", least(&|shown| shown.per_second));
        report.number("min_events_per_second", least(&Self::per_second_min));
        report.number("edge_core_busy", most(&|shown| shown.edge_core_busy));
        report.number("other_core_busy", most(&|shown| shown.other_core_busy));
        report.number("generator_cpu", most(&|shown| shown.clients_cpu));
        let words: Vec<String> = all.iter().map(Self::limited_by).collect();
        report.text("limited_by", words.join("; "));
        let is_whole = all.iter().all(|shown| shown.is_whole);
        report.text("settled_at_end", if is_whole { "yes" } else { "no" });
        let latencies: [(&str, LatencyOf); 5] = [
            ("ack", |shown| &shown.ack),
            ("delivery", |shown| &shown.delivery),
            ("repair", |shown| &shown.repair),
            ("after_return", |shown| &shown.after_return),
            ("resume", |shown| &shown.resume),
        ];
        for (name, of) in latencies {
            let mut together = Latency::new();
            all.iter().for_each(|shown| together.add(of(shown)));
            report.latency(name, &together);
        }
    }
}
