//! `run storm`: connects with token check, from the first SYN to the last subscription.
//!
//! Beside it a bare server accepts as many connections and exchanges the same bytes in the same
//! number of round trips. With TLS there is none: rounds of full handshakes and rounds that
//! continue sessions take turns ([`super::storm_tls`]).
//!
//! Runs on: the bench's main thread.

use super::bench::Bench;
use super::issuer::Issuer;
use super::settle::{close_all, run_until, Counted};
use super::storm_load::{Bytes, StormLoad};
use super::storm_tls;
use super::users::{UserMaker, Users};
use super::watch::{Usage, Watch};
use crate::bare::script::{Script, Step};
use crate::cli::Tokens;
use crate::engine::token::{Grants, Signer};
use crate::engine::Greeting;
use crate::measure::{Latency, Profile, Profiler};
use crate::report::Goal;
use crate::servers::{BareServer, EdgeServer};
use crate::stats::{paired_ratio, Series};
use anyhow::{bail, Result};
use rustls::ClientConfig;
use std::net::SocketAddr;
use std::sync::Arc;

pub(super) const ROUNDS: u32 = 5;
/// Longest round.
pub(super) const ROUND_SECONDS: f64 = 60.0;
/// Students of a class.
const CLASS_SIZE: u32 = 30;

/// What is wanted of a storm.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Sessions of a round.
    pub sessions: u32,
    /// Sessions between SYN and subscribed at once.
    pub unfinished: u32,
    /// Speak TLS.
    pub tls: bool,
    /// How tokens are signed.
    pub tokens: Tokens,
}

/// To whom a round goes.
#[derive(Clone)]
pub(super) struct Target {
    pub address: SocketAddr,
    pub pid: u32,
    pub tls: Option<Arc<ClientConfig>>,
    pub is_profiled: bool,
}

impl Target {
    /// An edge, in plaintext.
    pub fn of(edge: &EdgeServer) -> Self {
        Self {
            address: edge.config.listen,
            pid: edge.pid(),
            tls: None,
            is_profiled: false,
        }
    }
}

/// One round.
pub(super) struct Round {
    pub usage: Usage,
    pub per_second: f64,
    pub cpu_us_each: f64,
    pub setup: Latency,
    pub bytes: Bytes,
    /// TLS handshakes that continued an earlier session.
    pub resumed: u32,
    pub profile: Option<Result<Profile, String>>,
}

/// Runs the scenario.
pub fn run(bench: &mut Bench, plan: Plan) -> Result<()> {
    let issuer = Issuer::prepare(bench, plan.tokens)?;
    if plan.tls {
        storm_tls::run(bench, plan, &issuer)?;
    } else {
        plaintext(bench, plan, &issuer)?;
    }
    if let Some(fetches) = issuer.fetches() {
        bench.report.count("key_set_fetches", fetches);
    }
    Ok(())
}

fn plaintext(bench: &mut Bench, plan: Plan, issuer: &Issuer) -> Result<()> {
    let Plan {
        sessions,
        unfinished,
        ..
    } = plan;
    let rounds = bench.repeats(ROUNDS);
    // A session outlives its connection, so every round's sessions exist at the end.
    let most = sessions * (rounds + 1);
    let mut edge = bench.start_edge_with(most, |config| config.keys = issuer.keys())?;
    let signer = issuer.signer(&mut edge)?;
    let target = Target::of(&edge);
    let (mut rate, mut cpu, mut bare_cpu) =
        (Series::default(), Series::default(), Series::default());
    let mut generator = Series::default();
    let mut setup = Latency::new();
    let mut last = None;
    for number in 1..=rounds {
        let load = StormLoad::sessions(users(bench, &signer, sessions)?);
        let ours = round(bench, &target, load, unfinished)?;
        let bare = bare_round(bench, &ours.bytes, plan)?;
        bench.progress.say(format!(
            "round {number}: {:.0} sessions/s, {:.1} us CPU each (bare {:.1})",
            ours.per_second, ours.cpu_us_each, bare.cpu_us_each
        ));
        rate.push(ours.per_second);
        cpu.push(ours.cpu_us_each);
        bare_cpu.push(bare.cpu_us_each);
        generator.push(ours.usage.generator.cpu);
        setup.add(&ours.setup);
        if let Some(reason) = ours.usage.generator.void_reason(false) {
            bench.report.void(reason);
        }
        last = Some(ours);
    }
    let report = &mut bench.report;
    report.series("sessions_per_second", &rate);
    if plan.tokens == Tokens::Hs256 {
        report.goal("sessions_per_second", Goal::AtLeast(15_000.0));
    }
    report.series("cpu_ratio_to_bare_accept", &paired_ratio(&cpu, &bare_cpu));
    report.series("cpu_us_per_session", &cpu);
    report.series("bare_cpu_us_per_session", &bare_cpu);
    report.series("generator_cpu", &generator);
    if let Some(round) = last {
        report.number("wire_bytes_per_event", f64::from(round.bytes.total()));
        report.text("limited_by", round.usage.limited_by());
    }
    bench.latency("setup", &setup, ROUND_SECONDS)
}

pub(super) fn users(bench: &Bench, signer: &Signer, sessions: u32) -> Result<Users> {
    let mut maker = UserMaker::new(signer, bench.options.seed);
    let mut users = Users::default();
    for client in 0..sessions {
        let class = format!("c{}", client / CLASS_SIZE);
        let grants = Grants {
            classes: vec![class.clone()],
            ..Grants::member(&[])
        };
        let name = format!("u{client}");
        let user = maker
            .user(&name, &grants)?
            .subscribe(format!("user.{name}"))
            .subscribe(format!("class.{class}"))
            .subscribe("inst.1");
        users.push(user);
    }
    Ok(users)
}

fn bare_round(bench: &mut Bench, bytes: &Bytes, plan: Plan) -> Result<Round> {
    let steps = bytes.pairs().map(|(bytes_in, bytes_out)| Step {
        bytes_in,
        bytes_out,
    });
    let script = Script {
        steps: steps.to_vec(),
        repeats: false,
    };
    let bare = BareServer::exchange(bench.bare_address(), bench.options.edge_core, &script)?;
    let load = StormLoad::bare(*bytes, plan.sessions);
    let target = Target {
        address: bare.address,
        pid: bare.pid(),
        tls: None,
        is_profiled: false,
    };
    round(bench, &target, load, plan.unfinished)
}

pub(super) fn round(
    bench: &mut Bench,
    target: &Target,
    mut load: StormLoad,
    unfinished: u32,
) -> Result<Round> {
    let greeting = if load.is_bare() {
        Greeting::Bare
    } else {
        Greeting::Session
    };
    let sessions = load.count();
    let tls = target.tls.clone();
    let mut fleet = bench.fleet_over(tls, &[target.address], greeting, sessions, unfinished)?;
    let profiler = target
        .is_profiled
        .then(|| Profiler::start(target.pid, bench.folder()));
    let watch = Watch::start(target.pid, bench.options.edge_core, fleet.link())?;
    let started_ns = crate::sys::monotonic_ns();
    load.begin(fleet.link(), unfinished);
    let is_done = run_until(&mut fleet, &mut load, ROUND_SECONDS, |load, _| {
        load.done >= sessions || load.ends().count > 0
    })?;
    let seconds = (crate::sys::monotonic_ns() - started_ns) as f64 / 1e9;
    let usage = watch.end(fleet.link())?;
    let profile = profiler.map(|started| started.and_then(Profiler::finish));
    if let Some(cause) = load.ends().first {
        bail!(
            "{} of {sessions} sessions were set up when one ended: {cause:?}",
            load.done
        );
    }
    if !is_done {
        bail!(
            "{} of {sessions} sessions were set up within {ROUND_SECONDS} s",
            load.done
        );
    }
    let totals = fleet.link().totals;
    let bytes = load.bytes(&totals, sessions);
    close_all(fleet)?;
    Ok(Round {
        cpu_us_each: usage.cpu_us_each(u64::from(sessions)),
        usage,
        per_second: f64::from(sessions) / seconds,
        resumed: load.resumed,
        setup: load.setup,
        bytes,
        profile,
    })
}
