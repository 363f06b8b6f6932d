//! The scenarios: one file each, and what they share.
//!
//! Invariants: a scenario is the definition in [`DEFINITIONS`] and is never adjusted to a result;
//! options change its size for short runs and are named in the result. A scenario ends with an
//! error only when it could not be run; missed goals are part of a result.
//!
//! Runs on: the bench's main thread, which is the generator's thread.

pub mod api;
pub mod api_caller;
pub mod api_load;
pub mod bench;
pub mod chat;
pub mod crash;
pub mod crash_load;
pub mod crash_user;
pub mod drain;
pub mod drain_load;
pub mod durable;
pub mod echo;
pub mod echo_load;
pub mod fanout;
pub mod fanout_ramp;
pub mod groups;
pub mod idle;
pub mod isolation;
pub mod issuer;
pub mod mixed;
pub mod profiled;
pub mod push_load;
pub mod rotation;
pub mod rounds;
pub mod settle;
pub mod slow;
pub mod slow_reader;
pub mod storm;
pub mod storm_load;
pub mod storm_tls;
pub mod traffic;
pub mod transport;
pub mod users;
pub mod watch;

use crate::cli::Scenario;
use crate::report::Report;
use anyhow::Result;
use bench::Bench;

/// Name, definition and goals of every scenario.
pub const DEFINITIONS: [(&str, &str, &str); 13] = [
    (
        "idle",
        "100,000 sessions on one shard, each subscribed to its user, a class of 30 and the \
         institution; heartbeats; 90 s; then one broadcast. --tls: over TLS",
        "lost_sessions = 0, broadcast_missed = 0, server_user_bytes_per_session <= 512, with TLS \
         <= 6,144",
    ),
    (
        "echo",
        "10,000 connections with one message under way: the codec path, and an ephemeral publish \
         to the own channel with its event back; beside them a bare ring with the same bytes. \
         --tls: both over TLS, with the share of cryptography in a profile, without goals",
        "codec_cpu_ratio_to_bare_ring <= 1.15, cpu_ratio_to_bare_ring <= 1.30",
    ),
    (
        "fanout",
        "10,000 subscribers of one channel. A: the next publish when all have the last. B: the \
         rate is doubled until deliveries grow by less than 5 %",
        "ratio_to_bare_send >= 0.95, deliveries_per_second >= 1,000,000 with p99_ms < 1,000",
    ),
    (
        "durable",
        "P1 from 1,024 connections, 64 unanswered each, no subscribers, 30 s; then an open loop \
         of 50,000/s for 60 s",
        "publish_ack_per_second >= 200,000, ack_p99_ms_at_50k < 20",
    ),
    (
        "chat",
        "2,000 users in 200 channels of 10. Capacity: steps of x1.2, 5 s each, while 99 % is \
         achieved and p99 < 50 ms; then half of it for 60 s",
        "p50_ms < 0.5, p99_ms < 2, p999_ms < 5",
    ),
    (
        "isolation",
        "chat at half load with 100 alerts a second; then the same with 64 connections that \
         always have P3 ready",
        "p0_p99_ratio <= 1.2, p0_lost = 0",
    ),
    (
        "mixed",
        "P0 to P3 as 1/60/29/10 %, 2,000 users, one subscriber a channel, 60 s each at 50,000/s \
         and 200,000/s",
        "p95, p99 and p99.9 of each class within the mission at 50,000/s, p0_lost = 0",
    ),
    (
        "crash",
        "500 users, 5,000/s, P0/P1/P3 as 10/60/30 %, kill -9 after 1 to 4 s each, unanswered \
         publishes sent again",
        "acked_lost, order_violations, duplicates_in_session, unreported_gaps, recovered_false = 0",
    ),
    (
        "drain",
        "20,000 sessions with 1,000 events a second as P0/P1/P3 10/60/30 %; a second process \
         takes over from the first, which sends its clients away at 5,000/s",
        "acked_lost, order_violations, duplicates_in_session, unreported_gaps, recovered_false, \
         not_moved, ended_unasked = 0, reconnects_per_second_max <= the set one, \
         interruption_p99_ms < 2,000",
    ),
    (
        "api",
        "50,000 events over the server API in requests of 100 on 4 connections, to the inboxes of \
         1,000 users, who check their order",
        "accepted, delivered = 50,000, lost, order_violations, duplicates = 0",
    ),
    (
        "slow",
        "chat at half load beside busy channels of P0 to P3; then the same with 100 connections \
         that subscribe to these and do not read; afterwards they read again, after the last run \
         not before the node has closed them",
        "memory_within_plan = 1, others_p99_ratio <= 1.2, durable_lost, unreported_gaps = 0",
    ),
    (
        "storm",
        "5 rounds of 20,000 connects with token check, at most 2,000 unfinished at once, from the \
         first SYN to the last subscription. --tokens: EdDSA, with the key in a file or fetched. \
         --tls: rounds of full and of resumed handshakes in turn, without goals",
        "sessions_per_second >= 15,000",
    ),
    (
        "rotation",
        "10,000 sessions over TLS with 2,000 events a second. All but 1,000 replace their tokens, \
         which live for a third of the run; the signing key is rotated with overlap, and the \
         certificate is replaced",
        "dropped_sessions, acked_lost, order_violations, duplicates_in_session, unreported_gaps, \
         recovered_false, refreshes_refused, subscriptions_ended, expired_wrong_codes, \
         expired_early, expired_not_closed, certificate_old_after_new = 0, \
         expired_closed_within_ms <= 1,000, certificate_new, refreshed_with_new_key >= 1",
    ),
];

/// Runs a scenario and gives its result.
pub fn run(scenario: &Scenario) -> Result<Report> {
    let mut bench = Bench::prepare(scenario)?;
    match scenario {
        Scenario::Api { plan, .. } => api::run(&mut bench, *plan)?,
        Scenario::Echo {
            connections, tls, ..
        } => echo::run(&mut bench, *connections, *tls)?,
        Scenario::Fanout { subscribers, .. } => fanout::run(&mut bench, *subscribers)?,
        Scenario::Durable {
            connections,
            window,
            ..
        } => {
            durable::run(&mut bench, *connections, *window)?;
        }
        Scenario::Chat { groups, .. } => chat::run(&mut bench, groups)?,
        Scenario::Idle { sessions, tls, .. } => idle::run(&mut bench, *sessions, *tls)?,
        Scenario::Isolation {
            groups,
            alerts,
            background,
            ..
        } => {
            let wanted = isolation::Wanted {
                alerts: *alerts,
                background: *background,
            };
            isolation::run(&mut bench, groups, wanted)?;
        }
        Scenario::Mixed { users, .. } => mixed::run(&mut bench, *users)?,
        Scenario::Storm {
            sessions,
            unfinished,
            tls,
            tokens,
            ..
        } => {
            let plan = storm::Plan {
                sessions: *sessions,
                unfinished: *unfinished,
                tls: *tls,
                tokens: *tokens,
            };
            storm::run(&mut bench, plan)?;
        }
        Scenario::Rotation {
            sessions, expiring, ..
        } => rotation::run(&mut bench, *sessions, *expiring)?,
        Scenario::Drain {
            sessions,
            reconnects,
            ..
        } => drain::run(&mut bench, *sessions, *reconnects)?,
        Scenario::Slow {
            groups, stalled, ..
        } => slow::run(&mut bench, groups, *stalled)?,
        Scenario::Crash {
            kills,
            users,
            settle,
            ..
        } => {
            crash::run(&mut bench, *kills, *users, *settle)?;
        }
    }
    Ok(bench.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_scenario_has_a_definition() {
        let cli = crate::cli::Cli::command();
        let run = cli.find_subcommand("run").unwrap();
        let mut names: Vec<&str> = run.get_subcommands().map(clap::Command::get_name).collect();
        let mut defined: Vec<&str> = DEFINITIONS.iter().map(|definition| definition.0).collect();
        names.sort_unstable();
        defined.sort_unstable();
        assert_eq!(names, defined);
    }
}
