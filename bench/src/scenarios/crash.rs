//! `run crash`: kill -9 under load, again and again.
//!
//! Lost is what was acknowledged and did not arrive: P0 and P1 at the channel's subscriber within
//! the settling time after the last restart, P3 in the journal as `journal dump` shows it.
//! Unanswered publishes are sent again, so that nothing may be missing and nothing may be double.
//!
//! Runs on: the bench's main thread.

use super::bench::Bench;
use super::crash_load::{CrashLoad, CrashRoute};
use super::crash_user::{CrashUser, Ledger, Subscription};
use super::settle::{close_all, run_until, Counted};
use crate::engine::payload::Payload;
use crate::engine::token::{Grants, Signer};
use crate::engine::{Fleet, Greeting};
use crate::measure::GeneratorGauge;
use crate::report::Goal;
use crate::servers::EdgeServer;
use crate::stats::Series;
use crate::sys;
use anyhow::{ensure, Context, Result};
use interlink_protocol::ids::{record_id, InstanceId, RecordId};
use interlink_uring::EdgeRing;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::HashSet;

const RATE: f64 = 5_000.0;
/// Share of P0, P1, P2 and P3.
pub(super) const SHARES: [f64; 4] = [0.10, 0.60, 0.0, 0.30];
/// Seconds between a restart and the next kill.
const KILL_AFTER_S: std::ops::Range<f64> = 1.0..4.0;
const UNFINISHED_MAX: u32 = 500;
/// Back ends that publish alerts.
pub(super) const SERVICES: u32 = 8;
const CONNECT_SECONDS: f64 = 30.0;
const INSTITUTION: &str = "1";

/// Runs the scenario.
pub fn run(bench: &mut Bench, kills: u32, count: u32, settle: f64) -> Result<()> {
    ensure!(count >= 2, "--users must be at least 2");
    let mut edge = bench.start_edge(count + SERVICES, None)?;
    let mut random = StdRng::seed_from_u64(bench.options.seed);
    let mut load = load(bench, &edge.signer()?, count, &mut random)?;
    let clients = count + SERVICES;
    let mut fleet = bench.fleet(
        edge.config.listen,
        Greeting::Session,
        clients,
        UNFINISHED_MAX,
    )?;
    (0..clients).for_each(|client| fleet.link().connect(client));
    wait_until_live(&mut fleet, &mut load)?;
    let rate = bench.options.rate.unwrap_or(RATE);
    let gauge = GeneratorGauge::start();
    for (class, share) in SHARES.iter().enumerate().filter(|(_, share)| **share > 0.0) {
        load.open(class, rate * share, sys::monotonic_ns());
    }
    let before = fleet.link().totals;
    let (mut ready_ms, mut live_ms) = (Series::default(), Series::default());
    for kill in 1..=kills {
        let seconds = random.random_range(KILL_AFTER_S);
        let seconds = bench
            .options
            .duration
            .map_or(seconds, |limit| seconds.min(limit));
        run_until(&mut fleet, &mut load, seconds, |_, _| false)?;
        let (ready, live) = crash(&mut edge, &mut fleet, &mut load)?;
        bench.progress.say(format!(
            "kill {kill} of {kills}: ready after {ready:.0} ms, all live after {live:.0} ms, \
             {} acknowledged so far",
            load.acked
        ));
        ready_ms.push(ready);
        live_ms.push(live);
    }
    load.pause();
    let expected = |load: &mut CrashLoad| load.waiting() == 0 && unseen(load) == 0;
    run_until(&mut fleet, &mut load, settle, |load, _| expected(load))?;
    let share = gauge.share(&fleet.link().lag);
    let after = fleet.link().totals;
    let bytes = after.received_bytes - before.received_bytes + after.sent_bytes - before.sent_bytes;
    load.reconnects = false;
    close_all(fleet)?;
    let stopped = edge.stop();
    let missing_p3 = missing_in_journal(bench, &edge, &load)?;

    let report = &mut bench.report;
    report.series("recovery_ms", &ready_ms);
    report.series("all_live_ms", &live_ms);
    report.number(
        "wire_bytes_per_event",
        bytes as f64 / load.acked.max(1) as f64,
    );
    report.number("generator_cpu", share.cpu);
    report.text("limited_by", "offered load or waiting");
    report.text("stopped_in_order", if stopped { "yes" } else { "no" });
    report.count("kills", u64::from(kills));
    findings(bench, &load, missing_p3);
    Ok(())
}

/// Users, their channels and what they publish.
pub(super) fn load(
    bench: &Bench,
    signer: &Signer,
    count: u32,
    random: &mut StdRng,
) -> Result<CrashLoad> {
    let mut users = Vec::new();
    let mut routes = Vec::new();
    let mut route = |publisher, class, channel: String| {
        routes.push(CrashRoute {
            publisher,
            channel,
            class,
            ledger: Ledger::default(),
        });
    };
    for client in 0..count {
        let next = (client + 1) % count;
        let before = (client + count - 1) % count;
        let name = format!("u{client}");
        route(count + client % SERVICES, 0, format!("alert.{name}"));
        route(client, 1, format!("chat.{name}~u{next}"));
        route(client, 3, format!("usage.{INSTITUTION}.{name}"));
        let channels = [format!("alert.{name}"), format!("chat.u{before}~{name}")];
        users.push(user(signer, name, &[], channels.to_vec(), random)?);
    }
    for service in 0..SERVICES {
        users.push(user(
            signer,
            format!("s{service}"),
            &["service"],
            Vec::new(),
            random,
        )?);
    }
    let payload = |namespace| Payload::new(namespace, bench.options.payload);
    let payloads = vec![
        payload("alert")?,
        payload("chat")?,
        payload("activity")?,
        payload("usage")?,
    ];
    Ok(CrashLoad::new(users, routes, payloads, bench.options.seed))
}

pub(super) fn user(
    signer: &Signer,
    name: String,
    roles: &[&str],
    channels: Vec<String>,
    random: &mut StdRng,
) -> Result<CrashUser> {
    let subscription = |channel| Subscription {
        channel,
        position: None,
    };
    Ok(CrashUser {
        token: signer.user(&name, &Grants::member(roles))?,
        name,
        instance: InstanceId(random.random()),
        subscriptions: channels.into_iter().map(subscription).collect(),
        ..CrashUser::default()
    })
}

fn wait_until_live(fleet: &mut Fleet<EdgeRing>, load: &mut CrashLoad) -> Result<()> {
    let clients = fleet.link().clients();
    let is_live = run_until(fleet, load, CONNECT_SECONDS, |_, link| {
        link.live() == clients
    })?;
    ensure!(
        is_live,
        "not every client was live after {CONNECT_SECONDS} s: {}; {:?}",
        fleet.link().phases(),
        load.ends()
    );
    Ok(())
}

/// One kill: milliseconds until the server is ready again, and until every client is live.
fn crash(
    edge: &mut EdgeServer,
    fleet: &mut Fleet<EdgeRing>,
    load: &mut CrashLoad,
) -> Result<(f64, f64)> {
    edge.kill()?;
    let started_ns = sys::monotonic_ns();
    edge.restart()?;
    let ready_ms = (sys::monotonic_ns() - started_ns) as f64 / 1e6;
    // The ends of the old connections are seen first; then every client comes back.
    let clients = fleet.link().clients();
    run_until(fleet, load, CONNECT_SECONDS, |_, link| {
        link.live() < clients
    })?;
    wait_until_live(fleet, load)?;
    Ok((ready_ms, (sys::monotonic_ns() - started_ns) as f64 / 1e6))
}

/// Acknowledged P0 and P1 that their subscriber has not got.
pub(super) fn unseen(load: &CrashLoad) -> u64 {
    let delivered = load.routes.iter().filter(|route| route.class < 2);
    delivered.map(|route| route.ledger.acked_unseen()).sum()
}

/// Acknowledged P3 that `journal dump` does not show.
pub(super) fn missing_in_journal(
    bench: &mut Bench,
    edge: &EdgeServer,
    load: &CrashLoad,
) -> Result<u64> {
    let journal = edge.config.data.join("journal");
    let mut present = HashSet::new();
    let arguments = ["journal", "dump", &journal.to_string_lossy()];
    let is_whole = edge.command(&arguments, |line| {
        let entry: serde_json::Value =
            serde_json::from_str(line).with_context(|| format!("journal dump printed: {line}"))?;
        if entry["kind"] == "record" {
            present.extend(entry["record"].as_str().and_then(parse_record));
        }
        Ok(())
    })?;
    if !is_whole {
        bench
            .report
            .note("journal dump reported damage; see its standard error");
    }
    let mut missing = 0;
    for route in load.routes.iter().filter(|route| route.class == 3) {
        let user = &load.users[route.publisher as usize];
        let id = |id| record_id(INSTITUTION, &user.name, user.instance, id);
        missing += route
            .ledger
            .acked_ids()
            .filter(|&acked| !present.contains(&id(acked)))
            .count();
    }
    Ok(missing as u64)
}

/// A record id in hexadecimal, with or without dashes.
fn parse_record(text: &str) -> Option<RecordId> {
    u128::from_str_radix(&text.replace('-', ""), 16)
        .ok()
        .map(RecordId)
}

/// Adds what the checks found to the result.
pub(super) fn findings(bench: &mut Bench, load: &CrashLoad, missing_p3: u64) {
    let found = &load.findings;
    let report = &mut bench.report;
    report.count("acked", load.acked);
    let unseen = unseen(load);
    report.count("acked_lost", unseen + missing_p3);
    report.count("acked_lost_p0_p1", unseen);
    report.count("acked_lost_p3", missing_p3);
    for (name, count) in [
        ("order_violations", found.order_violations),
        ("duplicates_in_session", found.duplicates_in_session),
        ("unreported_gaps", found.unreported_gaps),
        ("recovered_false", found.recovered_false),
    ] {
        report.count(name, count);
        report.goal(name, Goal::Exactly(0.0));
    }
    report.goal("acked_lost", Goal::Exactly(0.0));
    for (class, name) in [(0, "acked_p0"), (1, "acked_p1"), (3, "acked_p3")] {
        let routes = load.routes.iter().filter(|route| route.class == class);
        report.count(name, routes.map(|route| route.ledger.acked()).sum());
    }
    report.count("sent_again", found.sent_again);
    report.count("sessions_resumed", found.resumed);
    report.count("positions_announced", found.announced);
    report.count("frames_wrong", found.wrong);
    report.count("unanswered_at_end", load.waiting() as u64);
    report.count("refused", load.refusals.values().sum());
    let codes: Vec<String> = load
        .refusals
        .iter()
        .map(|(code, count)| format!("{code}:{count}"))
        .collect();
    report.text("refusals_by_code", codes.join(" "));
    let reasons: Vec<String> = load
        .not_recovered
        .iter()
        .map(|(reason, count)| format!("{reason}:{count}"))
        .collect();
    report.text("not_recovered_by_reason", reasons.join(" "));
    report.latency("ack", &load.ack);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_ids_are_read_with_and_without_dashes() {
        let id = RecordId(0x0123_4567_89ab_8def_8123_4567_89ab_cdef);
        assert_eq!(parse_record(&id.to_string()), Some(id));
        assert_eq!(
            parse_record("01234567-89ab-8def-8123-456789abcdef"),
            Some(id)
        );
        assert_eq!(parse_record("no id"), None);
    }
}
