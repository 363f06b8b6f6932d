//! `run rotation`: tokens, signing key and certificate are replaced while clients work.
//!
//! Everything is over TLS. Most sessions publish and subscribe as in the crash scenario and replace
//! their tokens, which live for a third of the run, before they end; some let theirs end and have
//! to be closed at once. Meanwhile a second key is published, signs everything, and the first one
//! is withdrawn; the certificate is replaced; and a few clients come and go, to see which
//! certificate new handshakes get.
//!
//! Runs on: the bench's main thread.

mod canary;
mod joins;
mod load;
#[cfg(test)]
mod tests;

use super::bench::Bench;
use super::crash::{self, SERVICES, SHARES};
use super::settle::{close_all, connect_all, run_until};
use super::transport::Secure;
use crate::engine::signing_key::{key_set, SigningKey};
use crate::engine::token::ISSUER;
use crate::engine::{Fleet, Greeting};
use crate::measure::{GeneratorGauge, GeneratorShare};
use crate::report::Goal;
use crate::servers::certificates::replace;
use crate::servers::{http, EdgeServer, KeysOf};
use crate::sys;
use anyhow::{bail, ensure, Result};
use interlink_uring::EdgeRing;
use load::{Cast, RotationLoad};
use rand::rngs::StdRng;
use rand::SeedableRng;
use std::path::PathBuf;

const SECONDS: f64 = 60.0;
/// Shorter runs have no room for a token's life and the steps.
const SECONDS_MIN: f64 = 12.0;
/// Life of a token, as a part of the run.
const TOKEN_LIFE: f64 = 1.0 / 3.0;
/// Steps, as parts of the run: the second key is published; the certificate is replaced; the first
/// key is withdrawn, when every token that it signed has been replaced.
const PUBLISH_AT: f64 = 0.10;
const CERTIFICATE_AT: f64 = 0.50;
const WITHDRAW_AT: f64 = 0.75;
/// When tokens end that are not replaced.
const EXPIRE_AT: std::ops::Range<f64> = 0.35..0.65;
/// Longest wait for the edge to know, or to have forgotten, a key.
const KEY_SECONDS: f64 = 10.0;
/// Events a second of all clients together.
const RATE: f64 = 2_000.0;
const UNFINISHED_MAX: u32 = 1_000;
/// Clients that come and go, and how many do so in a second.
const JOINERS: u32 = 32;
const JOINS_PER_SECOND: f64 = 20.0;
/// Longest time until everything has arrived.
const SETTLE_S: f64 = 30.0;
const REFRESHED: &str = "interlink_edge_tokens_refreshed_total";

/// The run's clock: steps are parts of its length.
struct Course {
    started_ns: u64,
    seconds: f64,
}

impl Course {
    /// Runs until a part of the run is over.
    fn run_to(
        &self,
        fleet: &mut Fleet<EdgeRing>,
        load: &mut RotationLoad,
        part: f64,
    ) -> Result<()> {
        let end_ns = self.started_ns + (self.seconds * part * 1e9) as u64;
        let left = end_ns.saturating_sub(sys::monotonic_ns()) as f64 / 1e9;
        run_until(fleet, load, left, |_, _| false).map(drop)
    }
}

/// What takes part.
struct Stage {
    secure: Secure,
    keys: [SigningKey; 2],
    key_file: PathBuf,
    edge: EdgeServer,
    fleet: Fleet<EdgeRing>,
    load: RotationLoad,
}

/// What the run showed beside the traffic.
struct Shown {
    /// From a key's publication to the first token that was taken.
    known_ms: f64,
    /// From a key's withdrawal to the first token that was refused.
    forgotten_ms: Option<f64>,
    share: GeneratorShare,
    wire_bytes: u64,
}

/// Runs the scenario.
pub fn run(bench: &mut Bench, sessions: u32, expiring: u32) -> Result<()> {
    ensure!(
        expiring >= 1 && sessions >= expiring + 2,
        "--sessions must be at least 2 more than --expiring, which must be at least 1"
    );
    let seconds = bench.seconds(SECONDS);
    ensure!(
        seconds >= SECONDS_MIN,
        "--duration must be at least {SECONDS_MIN} s"
    );
    let mut stage = prepare(bench, sessions, expiring, seconds)?;
    connect_all(bench, &mut stage.fleet, &mut stage.load)?;
    let live = stage.fleet.link().live();
    bench.progress.say(format!("{live} clients are live"));
    let shown = rotate(bench, &mut stage, seconds)?;

    let Stage {
        mut edge,
        mut fleet,
        mut load,
        ..
    } = stage;
    load.joins.stop();
    load.traffic.pause();
    let lasting = live - expiring - 1;
    run_until(&mut fleet, &mut load, SETTLE_S, |load, link| {
        let is_seen = load.traffic.waiting() == 0 && crash::unseen(&load.traffic) == 0;
        is_seen && link.live() >= lasting
    })?;
    bench.report.count("sessions", u64::from(sessions));
    let lasting = fleet.link().live();
    bench.report.count("sessions_at_end", u64::from(lasting));
    let refreshed = http::metric(&edge.metrics()?, REFRESHED).unwrap_or(f64::NAN);
    bench.report.number("edge_tokens_refreshed", refreshed);
    close_all(fleet)?;
    let stopped = if edge.stop() { "yes" } else { "no" };
    bench.report.text("stopped_in_order", stopped);
    let missing_p3 = crash::missing_in_journal(bench, &edge, &load.traffic)?;
    tokens(bench, &load);
    keys_and_certificate(bench, &load, &shown);
    crash::findings(bench, &load.traffic, missing_p3);
    generator(bench, &load, &shown);
    Ok(())
}

fn prepare(bench: &mut Bench, sessions: u32, expiring: u32, seconds: f64) -> Result<Stage> {
    let secure = Secure::prepare(bench, 2, 0)?;
    let keys = [SigningKey::make("first")?, SigningKey::make("second")?];
    let key_file = bench.folder().join("keys.json");
    replace(&key_file, &key_set(&[&keys[0]]))?;
    let clients = sessions + SERVICES + JOINERS + 1;
    let edge = bench.start_edge_with(clients, |config| {
        config.tls = Some(secure.certificates.files());
        config.keys = KeysOf::File(key_file.clone());
    })?;
    let mut load = cast(bench, &keys, &secure, sessions - expiring, expiring)?;
    load.life_s = (seconds * TOKEN_LIFE).ceil() as u64;
    let fleet = bench.fleet_over(
        Some(secure.client.clone()),
        &[edge.config.listen],
        Greeting::Session,
        clients,
        UNFINISHED_MAX,
    )?;
    Ok(Stage {
        secure,
        keys,
        key_file,
        edge,
        fleet,
        load,
    })
}

/// The load, and in it all that is replaced.
fn rotate(bench: &mut Bench, stage: &mut Stage, seconds: f64) -> Result<Shown> {
    let Stage {
        secure,
        keys,
        key_file,
        edge,
        fleet,
        load,
    } = stage;
    let rate = bench.options.rate.unwrap_or(RATE);
    for (class, share) in SHARES.iter().enumerate().filter(|(_, share)| **share > 0.0) {
        load.traffic.open(class, rate * share, sys::monotonic_ns());
    }
    run_until(fleet, load, bench.options.warm_up, |_, _| false)?;
    let before = fleet.link().totals;
    let gauge = GeneratorGauge::start();
    let course = Course {
        started_ns: sys::monotonic_ns(),
        seconds,
    };
    load.joins.start(course.started_ns, JOINS_PER_SECOND);
    load.let_expire(course.started_ns, seconds, EXPIRE_AT);

    course.run_to(fleet, load, PUBLISH_AT)?;
    replace(key_file, &key_set(&[&keys[0], &keys[1]]))?;
    let Some(known_ms) = ask(fleet, load, 1, true)? else {
        let log = edge.log_end();
        bail!("the edge did not take the second key within {KEY_SECONDS} s: {log}");
    };
    load.key = 1;
    bench.progress.say("the second key signs");
    course.run_to(fleet, load, CERTIFICATE_AT)?;
    secure.certificates.serve(1)?;
    load.certificate.on_replaced(sys::monotonic_ns());
    bench.progress.say("the certificate is replaced");
    course.run_to(fleet, load, WITHDRAW_AT)?;
    replace(key_file, &key_set(&[&keys[1]]))?;
    let forgotten_ms = ask(fleet, load, 0, false)?;
    bench.progress.say("the first key is withdrawn");
    course.run_to(fleet, load, 1.0)?;
    let after = fleet.link().totals;
    Ok(Shown {
        known_ms,
        forgotten_ms,
        share: gauge.share(&fleet.link().lag),
        wire_bytes: after.received_bytes - before.received_bytes + after.sent_bytes
            - before.sent_bytes,
    })
}

/// Users, and who of them does what.
fn cast(
    bench: &Bench,
    keys: &[SigningKey; 2],
    secure: &Secure,
    refreshing: u32,
    expiring: u32,
) -> Result<RotationLoad> {
    let signers = [keys[0].signer(ISSUER)?, keys[1].signer(ISSUER)?];
    let mut random = StdRng::seed_from_u64(bench.options.seed);
    let mut traffic = crash::load(bench, &signers[0], refreshing, &mut random)?;
    traffic.reconnects = false;
    let others = [("e", expiring), ("j", JOINERS), ("canary", 1)];
    for (letter, count) in others {
        for number in 0..count {
            let name = format!("{letter}{number}");
            let channels = vec![format!("user.{name}")];
            let user = crash::user(&signers[0], name, &[], channels, &mut random)?;
            traffic.users.push(user);
        }
    }
    let cast = Cast {
        refreshing,
        services: SERVICES,
        expiring,
        joining: JOINERS,
    };
    let certificates = secure.certificates.all();
    Ok(RotationLoad::new(traffic, cast, signers, &certificates[1]))
}

/// Waits until tokens of a key are taken, or are not; how long that took.
fn ask(
    fleet: &mut Fleet<EdgeRing>,
    load: &mut RotationLoad,
    key: usize,
    wanted: bool,
) -> Result<Option<f64>> {
    load.canary.ask(fleet.link(), key, wanted);
    run_until(fleet, load, KEY_SECONDS, |load, _| {
        load.canary.took_ms.is_some()
    })?;
    Ok(load.canary.took_ms)
}

/// Adds what became of tokens.
fn tokens(bench: &mut Bench, load: &RotationLoad) {
    let found = &load.found;
    let report = &mut bench.report;
    report.count("dropped_sessions", found.dropped);
    report.goal("dropped_sessions", Goal::Exactly(0.0));
    if let Some(cause) = found.first_drop {
        report.note(format!(
            "the first session to be dropped ended by {cause:?}"
        ));
    }
    report.count("token_life_s", load.life_s);
    report.count("refreshes", found.refreshes);
    for (name, count) in [
        ("refreshes_refused", found.refreshes_refused),
        ("subscriptions_ended", found.subscriptions_ended),
        ("expired_wrong_codes", found.expired_wrong_codes),
        ("expired_early", found.expired_early),
        ("expired_not_closed", load.not_expired()),
    ] {
        report.count(name, count);
        report.goal(name, Goal::Exactly(0.0));
    }
    report.latency("refresh", &load.refresh);
    report.count("expired_closed", load.expired.count());
    report.number(
        "expired_closed_within_ms",
        load.expired.percentile_ms(100.0),
    );
    report.goal("expired_closed_within_ms", Goal::AtMost(1_000.0));
    report.latency("expired_closed_within", &load.expired);
}

/// Adds what became of keys and certificate.
fn keys_and_certificate(bench: &mut Bench, load: &RotationLoad, shown: &Shown) {
    let report = &mut bench.report;
    report.number("key_known_ms", shown.known_ms);
    report.count("refreshed_with_new_key", load.found.refreshed_with_new_key);
    report.goal("refreshed_with_new_key", Goal::AtLeast(1.0));
    report.number("key_forgotten_ms", shown.forgotten_ms.unwrap_or(f64::NAN));
    report.goal("key_forgotten_ms", Goal::AtMost(KEY_SECONDS * 1e3));
    if let Some(refusal) = load.canary.refusal {
        report.text("old_key_refused_by", format!("{refusal:?}"));
    }
    let certificate = &load.certificate;
    report.count("handshakes", load.found.handshakes);
    report.number("certificate_ms", certificate.took_ms());
    report.count("certificate_new", certificate.new);
    report.goal("certificate_new", Goal::AtLeast(1.0));
    report.count("certificate_old_after_new", certificate.old_after_new);
    report.goal("certificate_old_after_new", Goal::Exactly(0.0));
}

fn generator(bench: &mut Bench, load: &RotationLoad, shown: &Shown) {
    let report = &mut bench.report;
    let each = shown.wire_bytes as f64 / load.traffic.acked.max(1) as f64;
    report.number("wire_bytes_per_event", each);
    report.number("generator_cpu", shown.share.cpu);
    report.text("limited_by", "offered load or waiting");
    if let Some(reason) = shown.share.void_reason(false) {
        report.void(reason);
    }
}
