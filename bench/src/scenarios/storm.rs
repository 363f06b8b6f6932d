//! `run storm`: connects with token check, from the first SYN to the last subscription.
//!
//! Beside it a bare server accepts as many connections and exchanges the same bytes in the same
//! number of round trips.
//!
//! Runs on: the bench's main thread.

use super::bench::Bench;
use super::settle::{close_all, run_until, Counted};
use super::storm_load::{Bytes, StormLoad};
use super::users::{UserMaker, Users};
use super::watch::{Usage, Watch};
use crate::bare::script::{Script, Step};
use crate::engine::token::Grants;
use crate::engine::Greeting;
use crate::measure::Latency;
use crate::report::Goal;
use crate::servers::{BareServer, EdgeServer};
use crate::stats::{paired_ratio, Series};
use anyhow::{bail, Result};
use std::net::SocketAddr;

const ROUNDS: u32 = 5;
/// Longest round.
const ROUND_SECONDS: f64 = 60.0;
/// Students of a class.
const CLASS_SIZE: u32 = 30;

/// One round.
struct Round {
    usage: Usage,
    per_second: f64,
    cpu_us_each: f64,
    setup: Latency,
    bytes: Bytes,
}

/// Runs the scenario.
pub fn run(bench: &mut Bench, sessions: u32, unfinished: u32) -> Result<()> {
    let rounds = bench.repeats(ROUNDS);
    // A session outlives its connection, so every round's sessions exist at the end.
    let edge = bench.start_edge(sessions * (rounds + 1), None)?;
    let (mut rate, mut cpu, mut bare_cpu) =
        (Series::default(), Series::default(), Series::default());
    let mut generator = Series::default();
    let mut setup = Latency::new();
    let mut last = None;
    for number in 1..=rounds {
        let load = StormLoad::sessions(users(bench, &edge, sessions)?);
        let ours = round(bench, edge.config.listen, edge.pid(), load, unfinished)?;
        let bare = bare_round(bench, &ours.bytes, sessions, unfinished)?;
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
    report.goal("sessions_per_second", Goal::AtLeast(15_000.0));
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

fn users(bench: &Bench, edge: &EdgeServer, sessions: u32) -> Result<Users> {
    let signer = edge.signer()?;
    let mut maker = UserMaker::new(&signer, bench.options.seed);
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

fn bare_round(bench: &mut Bench, bytes: &Bytes, sessions: u32, unfinished: u32) -> Result<Round> {
    let steps = bytes.pairs().map(|(bytes_in, bytes_out)| Step {
        bytes_in,
        bytes_out,
    });
    let script = Script {
        steps: steps.to_vec(),
        repeats: false,
    };
    let bare = BareServer::exchange(bench.bare_address(), bench.options.edge_core, &script)?;
    let load = StormLoad::bare(*bytes, sessions);
    round(bench, bare.address, bare.pid(), load, unfinished)
}

fn round(
    bench: &mut Bench,
    address: SocketAddr,
    pid: u32,
    mut load: StormLoad,
    unfinished: u32,
) -> Result<Round> {
    let greeting = if load.is_bare() {
        Greeting::Bare
    } else {
        Greeting::Session
    };
    let sessions = load.count();
    let mut fleet = bench.fleet(address, greeting, sessions, unfinished)?;
    let watch = Watch::start(pid, bench.options.edge_core, fleet.link())?;
    let started_ns = crate::sys::monotonic_ns();
    load.begin(fleet.link(), unfinished);
    let is_done = run_until(&mut fleet, &mut load, ROUND_SECONDS, |load, _| {
        load.done >= sessions || load.ends().count > 0
    })?;
    let seconds = (crate::sys::monotonic_ns() - started_ns) as f64 / 1e9;
    let usage = watch.end(fleet.link())?;
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
        setup: load.setup,
        bytes,
    })
}
