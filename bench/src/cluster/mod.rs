//! `cluster`: what several nodes on Redis and Kafka carry, and at what cost.
//!
//! Purpose: the numbers of the cluster. Each command starts a stand and nodes of its own.
//! Invariants: a scenario is what [`DEFINITIONS`] says and is never adjusted to a result; it ends
//! with an error only when it could not be run.
//! Map: [`site`] is a cluster with its outside systems, [`topics`] makes its topics, [`shares`]
//! says where CPU time goes, [`chats`] is the traffic of one cluster, [`crossing`] that between two
//! regions, which a [`bridge`] carries; the scenarios are [`latency`], [`throughput`] and
//! [`regions`].
//!
//! Runs on: the bench's main thread, which is the generator's thread.

mod bridge;
mod chats;
pub mod cli;
mod crossing;
mod latency;
mod regions;
pub mod shares;
pub mod site;
mod throughput;
mod topics;

use crate::report::Report;
use crate::scenarios::bench::{Bench, Precedence};
use anyhow::Result;
use cli::ClusterScenario;

/// Name, definition and goals of every cluster scenario.
pub const DEFINITIONS: [(&str, &str, &str); 3] = [
    (
        "latency",
        "2,000 users on 2 nodes, each with a direct chat to a user of the other node. Capacity: \
         x1.2 steps of 5 s while 99 % is delivered and p99 is below 50 ms; then half of it for \
         60 s. CPU seconds for a million events of nodes, Redis and Kafka",
        "p99_ms < 10",
    ),
    (
        "throughput",
        "256 connections with 128 unsettled P1 each on 2 nodes, each chat with a subscriber on \
         the other node, 60 s; before it 1,000 events a second for 20 s, of which Redis numbers \
         nearly each by a call of its own",
        "events_per_second >= 50,000 delivered, and settled in Kafka, or the limit named; \
         redis_cpu_ratio <= 0.5 of one record a call; acked_lost = 0",
    ),
    (
        "regions",
        "two regions of 2 nodes, each with Redis and Kafka of its own, and a bridge in each \
         direction; 200 users in pairs, one in each region, chat with 500 events a second for \
         60 s; the bridges in turn are killed with -9 and started again 2 s later. Clients count \
         deliveries, and both logs are counted by region of origin",
        "delivered_once = events, duplicates = 0, lost = 0, loops = 0, order_violations = 0",
    ),
];

/// Runs a scenario and gives its result.
pub fn run(scenario: &ClusterScenario) -> Result<Report> {
    let parameters = scenario.parameters();
    let precedence = match scenario {
        ClusterScenario::Latency { .. } => Precedence::Generator,
        // A generator at its limit must not starve what it measures.
        ClusterScenario::Throughput { .. } | ClusterScenario::Regions { .. } => Precedence::Nobody,
    };
    let name = scenario.name();
    let mut bench = Bench::prepare_as(name, scenario.options(), &parameters, precedence)?;
    match scenario {
        ClusterScenario::Latency {
            nodes,
            users,
            half_load,
            ..
        } => latency::run(&mut bench, *nodes, *users, *half_load)?,
        ClusterScenario::Throughput {
            nodes,
            seconds,
            connections,
            window,
            ..
        } => throughput::run(&mut bench, *nodes, *connections, (*seconds, *window))?,
        ClusterScenario::Regions {
            seconds,
            users,
            restarts,
            ..
        } => regions::run(&mut bench, *seconds, *users, *restarts)?,
    }
    Ok(bench.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_cluster_scenario_has_a_definition() {
        let cli = crate::cli::Cli::command();
        let cluster = cli.find_subcommand("cluster").unwrap();
        let names: Vec<&str> = cluster
            .get_subcommands()
            .map(clap::Command::get_name)
            .collect();
        let defined: Vec<&str> = DEFINITIONS.iter().map(|definition| definition.0).collect();
        assert_eq!(names, defined);
    }
}
