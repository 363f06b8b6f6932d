//! `chaos`: parts of a cluster fail under load, and the clients' histories say what that cost.
//!
//! Purpose: one command for each part that can fail. Clients are applications on the SDK, so that
//! resuming, sending again and reconnecting are those of real ones; the judgement is that of a
//! separate program (`bench/checker/`), which sees their histories alone.
//! Invariants: a scenario is what [`DEFINITIONS`] says and is never adjusted to a result; it ends
//! with an error only when it could not be run.
//! Map: [`plan`] who publishes what to whom, [`client`] and [`load`] the clients, [`pace`] how much
//! they offer, [`history`] what they note, [`tally`] what is counted meanwhile, [`verdict`] the
//! checker, [`stage`] what all scenarios do alike; the scenarios by what fails: [`edges`],
//! [`redis`], [`kafka`].
//!
//! Runs on: the bench's main thread; clients on one of their own.

pub mod cli;
mod client;
mod edges;
mod history;
mod kafka;
mod load;
mod pace;
mod plan;
mod redis;
mod stage;
mod tally;
mod verdict;

use crate::cluster::site::{Form, SitePlan};
use crate::report::Report;
use crate::scenarios::bench::{Bench, Precedence};
use anyhow::Result;
use cli::{ChaosOptions, ChaosScenario, Forms};
use stage::StagePlan;

/// Name, definition and goals of every chaos scenario. All of them want that nothing acknowledged
/// or settled is lost or missed, no order broken, nothing twice in a session, no unreported gap.
pub const DEFINITIONS: [(&str, &str, &str); 9] = [
    (
        "edge-kill",
        "300 SDK clients on the nodes of a cluster with 4,000 events a second; one node in turn is \
         killed with -9 after 1 to 3 s and started again a second later; its clients go on at \
         the next address. --nodes 1: a node without outside systems",
        "acked_lost = 0, resume_p99_ms <= 10,000",
    ),
    (
        "edge-loss",
        "the same, and one of three nodes is killed, with its disk, for good",
        "acked_lost = 0, resume_p99_ms <= 10,000",
    ),
    (
        "redis-failover",
        "10,000 events a second over 2 nodes, or half of what all parts together carry when that \
         is less; the Redis master (of a random partition in Redis Cluster) is killed with -9 and \
         comes back as a replica, with Sentinel and with Cluster",
        "unrepaired_gaps = 0, repair_p99_ms <= 5,000 from the kill, after_return_ms <= 5,000 at \
         p99, min_events_per_second >= 10,000 acknowledged or the limit named",
    ),
    (
        "redis-empty",
        "4,000 events a second over 2 nodes; everything in Redis is removed by FLUSHALL, then by a \
         restart without its files",
        "heal_ms <= 5,000 from the moment at which Redis answers again",
    ),
    (
        "wedged-pubsub",
        "4,000 events a second over 2 nodes, each with a fault proxy before Redis; the connections \
         of one that subscribe go silent while others work; then the whole proxy is stopped for \
         3 s",
        "heal_ms <= 5,000 from the silence, and from the end of the stop",
    ),
    (
        "redis-path",
        "the same; the path of one node gets a delay of 50 ms, loses all bytes, is reset, is half \
         open and stalls, 5 s each",
        "heal_ms <= 5,000 from the end of each",
    ),
    (
        "kafka-loss",
        "4,000 events a second over 2 nodes and three brokers; each broker in turn is killed with \
         -9 for 15 s",
        "acked_lost = 0",
    ),
    (
        "kafka-outage",
        "the same; all three brokers are killed for 60 s",
        "acks of P1 go on as local, catch_up_seconds <= 60",
    ),
    (
        "rolling-restart",
        "4,000 events a second over 3 nodes; each is stopped in order, which sends its clients \
         away at 50 a second, and started again",
        "duplicates_in_session = 0, reconnects_per_second_max <= the set rate",
    ),
];

/// Events a second of most scenarios: what a few hundred SDK clients and every outside system on
/// one core carry with room left.
const RATE: f64 = 4_000.0;
/// Events a second of the Redis failover.
const RATE_FAILOVER: f64 = 10_000.0;

/// Runs a scenario and gives its result.
pub fn run(scenario: &ChaosScenario) -> Result<Report> {
    let options = scenario.options();
    let parameters = scenario.parameters();
    let name = scenario.name();
    let mut bench = Bench::prepare_as(name, &options.run, &parameters, Precedence::Nobody)?;
    let bench_ref = &mut bench;
    match scenario {
        ChaosScenario::EdgeKill { rounds, nodes, .. } => {
            edges::kill(bench_ref, &plan(options, *nodes), *rounds)?;
        }
        ChaosScenario::EdgeLoss { nodes, .. } => edges::lose(bench_ref, &plan(options, *nodes))?,
        ChaosScenario::RollingRestart {
            nodes, reconnects, ..
        } => edges::roll(bench_ref, plan(options, *nodes), *reconnects)?,
        ChaosScenario::RedisFailover { rounds, form, .. } => {
            let forms = match form {
                Forms::Both => vec![Form::Sentinel, Form::Cluster],
                Forms::Sentinel => vec![Form::Sentinel],
                Forms::Cluster => vec![Form::Cluster],
            };
            let mut plan = plan(options, 2);
            plan.rate = RATE_FAILOVER;
            plan.is_paced = true;
            redis::fail_over(bench_ref, &plan, &forms, *rounds)?;
        }
        ChaosScenario::RedisEmpty { .. } => redis::empty(bench_ref, &plan(options, 2))?,
        ChaosScenario::WedgedPubsub { rounds, .. } => {
            redis::wedge(bench_ref, plan(options, 2), *rounds)?;
        }
        ChaosScenario::RedisPath { .. } => redis::path(bench_ref, plan(options, 2))?,
        ChaosScenario::KafkaLoss { .. } => kafka::lose(bench_ref, plan(options, 2))?,
        ChaosScenario::KafkaOutage { seconds, .. } => {
            kafka::outage(bench_ref, plan(options, 2), *seconds)?;
        }
    }
    Ok(bench.finish())
}

fn plan(options: &ChaosOptions, nodes: usize) -> StagePlan {
    StagePlan {
        site: SitePlan::new(nodes, 0),
        users: options.users,
        rate: RATE,
        is_paced: false,
        word: "run",
        histories: options.histories.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_chaos_scenario_has_a_definition() {
        let cli = crate::cli::Cli::command();
        let chaos = cli.find_subcommand("chaos").unwrap();
        let mut names: Vec<&str> = chaos
            .get_subcommands()
            .map(clap::Command::get_name)
            .collect();
        let mut defined: Vec<&str> = DEFINITIONS.iter().map(|definition| definition.0).collect();
        names.sort_unstable();
        defined.sort_unstable();
        assert_eq!(names, defined);
    }
}
